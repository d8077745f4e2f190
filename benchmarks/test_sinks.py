"""The sinks of files beside Polars' own writers, which make nothing durable, hash nothing and swap nothing.

In processor time: what either waits for is the disk, which others use too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from benchmarks.child import measured
from benchmarks.conftest import Keep
from benchmarks.figures import Figure, Reached
from benchmarks.sinks import BATCH, SINKS, rows, write
from benchmarks.turns import in_turns

ROWS: Final = 1_000_000
TIMES: Final = 4
MOST_GROWTH: Final = 1.3

Peer = Callable[[pl.LazyFrame, Path], Any]
PEERS: Final[dict[str, tuple[str, Peer, float | None]]] = {
    "Parquet": ("sink_parquet", lambda frame, path: frame.sink_parquet(path), 0.8),
    "Jsonl": ("sink_ndjson", lambda frame, path: frame.sink_ndjson(path), None),
    "Jsonl, .zst": (
        "sink_ndjson, zstd",
        lambda frame, path: frame.sink_ndjson(path.with_suffix(".zst"), compression="zstd"),
        None,
    ),
    "Csv": ("sink_csv", lambda frame, path: frame.sink_csv(path), None),
    "Csv, .gz": (
        "sink_csv, gzip",
        lambda frame, path: frame.sink_csv(path.with_suffix(".gz"), compression="gzip"),
        None,
    ),
}


@pytest.mark.parametrize("kind", SINKS)
def test_a_sink_beside_polars(benchmark: Any, keep: Keep, tmp_path: Path, kind: str) -> None:
    benchmark.group = "sinks"
    frame = rows(ROWS)
    peer, sink_to, wanted = PEERS[kind]

    def ours() -> None:
        write(SINKS[kind], tmp_path, frame.iter_slices(BATCH))

    taken = in_turns(ours, lambda: sink_to(frame.lazy(), tmp_path / "peer"), time.process_time)
    benchmark.pedantic(ours, rounds=1)
    keep(benchmark, Reached(Figure(kind, f"{peer} of the same frame", "rate", wanted), *taken, records=ROWS))


@pytest.mark.parametrize("kind", ["Parquet", "Jsonl", "Csv, .gz"])
def test_memory_does_not_grow_with_the_rows(benchmark: Any, keep: Keep, tmp_path: Path, kind: str) -> None:
    benchmark.group = "sinks"
    sizes = (ROWS, TIMES * ROWS)
    small, large = (measured("stage", kind, tmp_path / str(size), str(size))["peak"] for size in sizes)
    benchmark.pedantic(lambda: None, rounds=1)
    reached = Reached(Figure(f"{kind}, {sizes[1]:,} rows", f"{ROWS:,} rows", "memory", MOST_GROWTH), [large], [small])
    keep(benchmark, reached)
    assert reached.mark == "pass", f"peak memory grows with the rows: {reached.row()}"
