"""Rows that go to the disk: order lines, with money, moments and texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from assay.sinks import Csv, Jsonl, Parquet, discard, publish

BATCH: Final = 65_536
SINKS: Final[dict[str, Parquet | Jsonl | Csv]] = {
    "Parquet": Parquet("lines"),
    "Jsonl": Jsonl("lines.jsonl"),
    "Jsonl, .zst": Jsonl("lines.jsonl.zst"),
    "Csv": Csv("lines.csv"),
    "Csv, .gz": Csv("lines.csv.gz"),
}
_runs = itertools.count(1)


def rows(count: int, first: int = 0) -> pl.DataFrame:
    """Order lines."""
    n = pl.Series(range(first, first + count))
    return pl.DataFrame(
        {
            "id": n,
            "order": "A-" + (n % 200_000).cast(pl.String).str.zfill(6),
            "sku": "SKU" + (n * 7_919 % 997).cast(pl.String),
            "day": (n % 900 + 19_000).cast(pl.Int32).cast(pl.Date),
            "at": (n * 1_000_003 + 1_700_000_000_000_000).cast(pl.Datetime("us", "UTC")),
            "qty": (n * 37 % 1_000).cast(pl.Decimal(10, 3)),
            "net": (n * 7_919 % 100_003).cast(pl.Decimal(38, 2)),
            "tax": (n * 31 % 1_009).cast(pl.Decimal(38, 2)),
            "live": n % 2 == 0,
        }
    )


def write(sink: Parquet | Jsonl | Csv, root: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Stage, prepare, publish: a whole run of a sink."""
    run = f"run-{next(_runs)}"
    target = sink.open(root, root / ".staging" / run, "lines", default="")
    target.check(rows(0).schema)
    for frame in frames:
        target.stage(frame)
    staged = target.prepare()
    publish(staged, run)
    discard(staged)
