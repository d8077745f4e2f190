"""Real ends of real processes: killed at each step of publishing, by the operating system's own exit."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.sinks.using import ended_at, staged_by

from assay.sinks import Csv, Delta, DuckDb, Jsonl, Mode, Parquet, Sql

ALL = list(range(1, 41))
FEW = [1, 3, 6, 9, 12, 15, 18]

AnySink = Csv | Delta | DuckDb | Jsonl | Parquet | Sql
SINKS: dict[str, AnySink] = {
    "parquet": Parquet("lines", mode="upsert", key=("id",)),
    "partitions": Parquet("lines", mode="upsert", key=("id",), partition_by="run"),
    "jsonl": Jsonl("lines.jsonl", mode="upsert", key=("id",)),
    "csv": Csv("lines.csv.gz", mode="upsert", key=("id",)),
    "sql": Sql("lines", mode="upsert", key=("id",)),
    "delta": Delta("lines", mode="upsert", key=("id",)),
    "duckdb": DuckDb("lines", mode="upsert", key=("id",)),
}
# Tables take fewer steps, each of another kind.
STEPS = {"delta": ALL[:10], "duckdb": ALL[:16]}
MODES: tuple[Mode, ...] = ("append", "replace", "upsert", "delete_missing")
CASES = [
    *(pytest.param(sink, STEPS.get(name, FEW), id=name) for name, sink in SINKS.items()),
    *(
        pytest.param(replace(sink, mode=mode), ALL, id=f"all-{name}-{mode}", marks=pytest.mark.campaign)
        for name, sink in SINKS.items()
        for mode in MODES
    ),
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("sink", "steps"), CASES)
def test_a_process_that_ends_at_any_step_leaves_what_can_be_published_once(
    tmp_path: Path, sink: AnySink, steps: list[int]
) -> None:
    codes = ended_at(
        [
            (staged_by(sink, tmp_path, str(number), pl.DataFrame({"id": [0, number], "run": number})), step)
            for number, step in enumerate(steps, start=1)
        ]
    )
    assert [first for first, _ in codes].count(9) >= 5, "too few were killed to tell"
    found = sink.open(tmp_path, tmp_path / "s", "lines", default="x.db").read()
    assert found is not None
    runs = list(range(1, len(steps) + 1))
    expected = {"append": [0] * len(runs) + runs, "upsert": [0, *runs]}
    assert sorted(found.collect()["id"].to_list()) == expected.get(sink.mode, [0, runs[-1]])
