"""The verdict's figures: Assay beside its peers on TPC-H `lineitem`, in turns, to the same frame."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from benchmarks.child import measured
from benchmarks.conftest import Keep
from benchmarks.feeds import Feed
from benchmarks.figures import Figure, Reached
from benchmarks.ways import WAYS
from polars.testing import assert_frame_equal

import assay

#: 1.2 million records at 0.2.
SCALE: Final = os.environ.get("ASSAY_BENCH_SCALE", "0.2")
#: Of the larger of the two files that memory and the first batch are measured on; the other is a tenth of it.
MEMORY_SCALE: Final = os.environ.get("ASSAY_BENCH_MEMORY_SCALE", "0.2")
#: Python's loops take a part of the records, since their rate does not depend on the size.
PART: Final = min(400_000, round(float(SCALE) * 2_000_000))
#: Rounds of each after one to warm up; the fewer where the more would take longer than so many seconds.
MOST_ROUNDS: Final = 5
LEAST_ROUNDS: Final = 3
PATIENCE: Final = 150 * float(SCALE)

Check = Callable[[pl.DataFrame, pl.DataFrame], None]


def same_texts(ours: pl.DataFrame, other: pl.DataFrame) -> None:
    """The other left decimals, dates and enums as texts."""
    assert_frame_equal(ours.with_columns(pl.col(pl.Decimal, pl.Date, pl.Enum).cast(pl.String)), other)


def all_but_bad(ours: pl.DataFrame, other: pl.DataFrame) -> None:
    """Each hundredth record was rejected, the first among them."""
    assert_frame_equal(ours, other.filter(pl.int_range(pl.len()) % 100 != 0))


@dataclass(frozen=True)
class Pair:
    """A figure, and the two pieces of work that it compares: a way, and the kind of file that it reads."""

    figure: Figure
    ours: tuple[str, str]
    other: tuple[str, str]
    part: bool = False
    check: Check = assert_frame_equal

    def __str__(self) -> str:
        return str(self.figure)


JSONL: Final = ("assay.scan", "jsonl")

PAIRS: Final = [
    Pair(Figure("JSONL, 16 fields", "the usual loop", "rate", 10), JSONL, ("usual loop", "jsonl"), part=True),
    Pair(Figure("JSONL, 16 fields", "the tuned loop", "rate", 5, aim=8), JSONL, ("tuned loop", "jsonl"), part=True),
    Pair(
        Figure("JSONL, 16 fields", "scan_ndjson and casts, unvalidated", "rate", 0.6, aim=0.9),
        JSONL,
        ("scan_ndjson and casts", "jsonl"),
    ),
    Pair(
        Figure("JSONL, 16 fields", "scan_ndjson without casts, unvalidated", "rate"),
        JSONL,
        ("scan_ndjson without casts", "jsonl"),
        check=same_texts,
    ),
    Pair(
        Figure("JSONL, 16 fields", "DuckDB read_json, unvalidated", "rate", aim=1.0),
        JSONL,
        ("DuckDB read_json", "jsonl"),
    ),
    Pair(Figure("JSON array", "our JSONL", "rate", 0.6, aim=0.8), ("assay.scan", "json"), JSONL),
    Pair(Figure("JSON array, indented", "our JSONL", "rate"), ("assay.scan", "json, indented"), JSONL),
    *(
        Pair(Figure(f"XML, {layout}", against, "rate", wanted), ("assay.scan", f"xml, {layout}"), other, part=part)
        for layout, of_jsonl in (("one record a line", 0.9), ("pretty-printed", 0.5), ("all on one line", 0.5))
        for against, wanted, other, part in (
            ("lxml iterparse and Pydantic", 20, ("lxml iterparse and Pydantic", f"xml, {layout}"), True),
            ("xml2arrow and casts, unvalidated", 3, ("xml2arrow and casts", f"xml, {layout}"), False),
            ("our JSONL", of_jsonl, JSONL, False),
        )
    ),
    Pair(
        Figure("orders with lists of lines", "orjson and Pydantic", "rate", 5),
        ("assay.scan, orders with lines", "orders"),
        ("orjson and Pydantic, orders with lines", "orders"),
        part=True,
    ),
    Pair(
        Figure("1 % bad rows", "none", "time", 1.3),
        ("assay.scan", "jsonl, 1 % bad"),
        JSONL,
        check=all_but_bad,
    ),
    Pair(
        Figure("100 % to the reference", "the tuned loop", "time", 1.2),
        ("assay.scan, custom validator", "jsonl"),
        ("tuned loop, custom validator", "jsonl"),
        part=True,
    ),
    Pair(
        Figure("CSV, 5 fields", "scan_csv and casts, unvalidated", "rate", 0.6),
        ("assay.scan, 5 fields", "csv, 5 fields"),
        ("scan_csv and casts, 5 fields", "csv, 5 fields"),
    ),
    Pair(
        Figure("CSV, 16 fields", "scan_csv and casts, unvalidated", "rate", 0.6),
        ("assay.scan", "csv"),
        ("scan_csv and casts", "csv"),
    ),
]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_pair(benchmark: Any, keep: Keep, peak: Callable[[str, Path], int], folder: Path, pair: Pair) -> None:
    (our_way, our_kind), (other_way, other_kind) = pair.ours, pair.other
    if our_kind.startswith("csv") and "csv" not in assay.ProcessorFactory.names():
        pytest.skip("Assay does not read CSV yet")
    lines = PART if pair.part else None
    our_path, other_path = (Feed(kind, SCALE, lines).make(folder) for kind in (our_kind, other_kind))

    began = time.perf_counter()
    frame, other_frame = WAYS[our_way](our_path), WAYS[other_way](other_path)
    warm = time.perf_counter() - began
    pair.check(frame, other_frame)
    records = other_frame.height
    del frame, other_frame

    ours: list[float] = []

    def our_turn() -> None:
        began = time.perf_counter()
        frame = WAYS[our_way](our_path)
        ours.append(time.perf_counter() - began)
        del frame  # the other's is not dropped within its time either

    benchmark.group = pair.figure.what
    rounds = max(LEAST_ROUNDS, min(MOST_ROUNDS, round(PATIENCE / warm)))
    benchmark.pedantic(WAYS[other_way], (other_path,), setup=our_turn, rounds=rounds)
    peaks = peak(our_way, our_path), peak(other_way, other_path)
    keep(benchmark, Reached(pair.figure, ours, benchmark.stats.stats.data, records, peaks))


@pytest.fixture(scope="session")
def sizes(folder: Path) -> tuple[Path, Path]:
    """A file, and one of ten times the records."""
    tenth = str(Decimal(MEMORY_SCALE) / 10)
    return Feed("jsonl", tenth).make(folder), Feed("jsonl", MEMORY_SCALE).make(folder)


def test_memory_and_first_batch(benchmark: Any, keep: Keep, sizes: tuple[Path, Path]) -> None:
    """In processes of their own: what was read before is to change neither."""
    small, large = in_fresh_processes(benchmark, sizes, "batches")
    name = "10 x the file, in batches"
    keep(benchmark, Reached(Figure(name, "the file", "memory", 1.3), of(large, "peak"), of(small, "peak")))
    name = "first batch of 10 x the file"
    keep(benchmark, Reached(Figure(name, "of the file", "time", 1.2), of(large, "first"), of(small, "first")))


def test_memory_of_a_sink(benchmark: Any, keep: Keep, sizes: tuple[Path, Path], tmp_path: Path) -> None:
    small, large = in_fresh_processes(benchmark, sizes, "sink", tmp_path / "out.parquet")
    name = "10 x the file, sink_parquet"
    keep(benchmark, Reached(Figure(name, "the file", "memory", 1.3), of(large, "peak"), of(small, "peak")))


Found = list[dict[str, Any]]


def in_fresh_processes(benchmark: Any, sizes: tuple[Path, Path], what: str, *arguments: Path) -> tuple[Found, Found]:
    """Both files in turns."""
    benchmark.group = f"10 x the file, {what}"
    small: Found = []
    large: Found = []
    benchmark.pedantic(
        lambda: large.append(measured(what, sizes[1], *arguments)),
        setup=lambda: small.append(measured(what, sizes[0], *arguments)),
        rounds=LEAST_ROUNDS,
    )
    return small, large


def of(found: Found, key: str) -> list[float]:
    return [one[key] for one in found]
