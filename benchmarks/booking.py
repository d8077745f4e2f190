"""Order lines that are booked to a ledger, and booked again when some have another price."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl
from benchmarks.sinks import BATCH, rows

from assay import Booked, Parquet
from assay.pipeline.context import Context
from assay.pipeline.entries import Booking
from assay.pipeline.spool import Spool
from assay.settings import Settings
from assay.sinks import discard, publish

LEDGER: Final = Booked(key=["id"], amounts=["qty", "net", "tax"], to=Parquet("ledger", mode="append"))
LINES: Final = Parquet("lines", mode="append")
#: One line of so many is dearer.
ONE_OF: Final = 100

_runs = itertools.count(1)


def lines(count: int, *, dearer: int = 0) -> Iterator[pl.DataFrame]:
    """Order lines in batches; one in a hundred costs so much more."""
    for first in range(0, count, BATCH):
        frame = rows(min(BATCH, count - first), first)
        more = pl.when(pl.col("id") % ONE_OF == 0).then(dearer).otherwise(0).cast(pl.Decimal(38, 2))
        yield frame.with_columns(pl.col("net") + more) if dearer else frame


def append(root: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Add rows to what is there, whatever it is."""
    run = f"run-{next(_runs)}"
    target = LINES.open(root, root / ".staging" / run, "lines", default="")
    target.check(rows(0).schema)
    for frame in frames:
        target.stage(frame)
    staged = target.prepare()
    publish(staged, run)
    discard(staged)


def book(root: Path, frames: Iterator[pl.DataFrame]) -> Booking:
    """Compare rows with what is booked, and book the difference."""
    run = f"run-{next(_runs)}"
    staging = root / ".staging" / run
    output = LEDGER.bind("ledger", rows(0).schema, Context(None, root, Settings()))
    target = LEDGER.to.open(root, staging / "ledger", "ledger", default="")
    target.check(output.schema)
    waiting = Spool(staging / "ledger.rows", output.rows)
    waiting.write(output.take(frame) for frame in frames)
    booking = Booking()
    for entries in output.entries(waiting, target.read(), staging / "ledger.parts", run, booking, whole=True):
        target.stage(entries)
    publish(target.prepare(), run)
    discard(staging)
    return booking
