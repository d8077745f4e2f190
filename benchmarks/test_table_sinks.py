"""Delta and DuckDB outputs beside the plain calls that write the same frame, without a promise for a crash."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import polars as pl
import pytest
from benchmarks.conftest import Keep
from benchmarks.figures import Figure, Reached
from benchmarks.turns import in_turns
from deltalake import write_deltalake

from assay import Delta, DuckDb
from assay.sinks import Mode, discard, publish

ROWS: Final = 1_000_000
#: Rows that a pipeline hands over at a time.
BATCH: Final = 50_000

Made = Delta | DuckDb


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """Priced lines as they come out of a pipeline: seven columns, no order in the amounts."""
    draw = np.random.default_rng(7)
    cents = draw.integers(0, 10_000_000, (2, ROWS))
    money = pl.Decimal(38, 2)
    return pl.DataFrame(
        {
            "id": np.arange(ROWS),
            "sku": pl.Series(draw.integers(0, 20_000, ROWS)).cast(pl.String),
            "customer": pl.Series(draw.integers(0, 200_000, ROWS)).cast(pl.String),
            "quantity": draw.integers(1, 100, ROWS),
            "day": pl.Series(draw.integers(19_000, 20_000, ROWS), dtype=pl.Int32).cast(pl.Date),
            "net": pl.Series(cents[0]).cast(pl.Decimal(38, 0)).cast(money) * Decimal("0.01"),
            "tax": pl.Series(cents[1]).cast(pl.Decimal(38, 0)).cast(money) * Decimal("0.01"),
        }
    )


def run(sink: Made, root: Path, name: str, frame: pl.DataFrame) -> None:
    """One output of a run, from opening to publishing."""
    target = sink.open(root, root / "staging" / name, "lines", default="x.db")
    target.check(frame.schema)
    for batch in frame.iter_slices(BATCH):
        target.stage(batch)
    staged = target.prepare()
    assert publish(staged, name)
    discard(staged)


def with_deltalake(root: Path, frame: pl.DataFrame) -> None:
    write_deltalake(root / "plain", frame, mode="append")


def with_duckdb(root: Path, frame: pl.DataFrame) -> None:
    with duckdb.connect(root / "plain.duckdb") as connection:
        connection.register("frame", frame)
        connection.execute("CREATE TABLE lines AS SELECT * FROM frame LIMIT 0").fetchall()
        connection.execute("INSERT INTO lines SELECT * FROM frame").fetchall()


WAYS: Final = [
    pytest.param(Delta("lines", mode="append"), with_deltalake, "write_deltalake", 0.8, id="delta"),
    pytest.param(DuckDb("lines", mode="append"), with_duckdb, "INSERT ... SELECT * FROM frame", None, id="duckdb"),
]


@pytest.mark.parametrize(("clock", "unit"), [(time.perf_counter, ""), (time.process_time, ", processor time")])
@pytest.mark.parametrize(("sink", "plain", "words", "wanted"), WAYS)
def test_append(
    benchmark: Any,
    keep: Keep,
    tmp_path: Path,
    frame: pl.DataFrame,
    sink: Made,
    plain: Callable[[Path, pl.DataFrame], None],
    words: str,
    wanted: float | None,
    clock: Callable[[], float],
    unit: str,
) -> None:
    benchmark.group = f"{sink.kind} output"
    numbers = itertools.count()

    def anew(way: Callable[[Path], None]) -> None:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        way(folder)
        shutil.rmtree(folder)

    def ours() -> None:
        anew(lambda folder: run(sink, folder, "r1", frame))

    def other() -> None:
        anew(lambda folder: plain(folder, frame))

    ours()
    other()
    taken = benchmark.pedantic(in_turns, (ours, other, clock), rounds=1)
    figure = Figure(f"`{type(sink).__name__}`, {ROWS:,} rows{unit}", words, "rate", wanted)
    keep(benchmark, Reached(figure, taken[0], taken[1], ROWS))


@pytest.mark.parametrize("sink", [Delta("lines", key=("id",)), DuckDb("lines", key=("id",))], ids=lambda s: s.kind)
def test_upsert(benchmark: Any, keep: Keep, tmp_path: Path, frame: pl.DataFrame, sink: Made) -> None:
    """A tenth of the rows, all over the table, against the same rows appended."""
    benchmark.group = f"{sink.kind} output"
    few = frame.sample(fraction=0.1, seed=7, shuffle=True)
    numbers = itertools.count()
    for mode in ("upsert", "append"):
        run(with_mode(sink, "append"), tmp_path / mode, "r", frame)

    def way(mode: Mode) -> None:
        run(with_mode(sink, mode), tmp_path / mode, f"r{next(numbers)}", few)

    taken = benchmark.pedantic(in_turns, (lambda: way("upsert"), lambda: way("append")), rounds=1)
    figure = Figure(f"`{type(sink).__name__}`, 10 % upserted into {ROWS:,} rows", "the same rows appended", "time", 2)
    keep(benchmark, Reached(figure, taken[0], taken[1]))


def with_mode(sink: Made, mode: Mode) -> Made:
    return type(sink)("lines", mode=mode, key=("id",))
