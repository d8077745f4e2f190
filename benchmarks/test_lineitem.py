"""TPC-H lineitem, all 16 fields: the compiled verdict beside Polars that validates nothing, and the loops."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from benchmarks.child import peak_bytes
from benchmarks.lineitem import LineItem, make, untyped, unvalidated, with_bad_rows
from benchmarks.ways import tuned_jsonl, usual_jsonl
from polars.testing import assert_frame_equal

import assay

#: 1.2 million records at 0.2.
SCALE: Final = os.environ.get("ASSAY_BENCH_SCALE", "0.2")
#: The loops take a part of them: their rate does not depend on the size.
LOOP_RECORDS: Final = 100_000


def validated(path: Path) -> pl.DataFrame:
    return assay.scan(path, LineItem, rejects="drop").collect()


@pytest.fixture(scope="session")
def lineitem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("lineitem"), SCALE)


@pytest.fixture(scope="session")
def part(lineitem: Path) -> Path:
    path = lineitem.with_name("part.jsonl")
    with lineitem.open("rb") as lines, path.open("wb") as out:
        out.writelines(line for _, line in zip(range(LOOP_RECORDS), lines, strict=False))
    return path


WAYS: Final[dict[str, Callable[[Path], pl.DataFrame]]] = {
    "assay.scan": validated,
    "scan_ndjson and casts, nothing validated": unvalidated,
    "scan_ndjson of integers and texts": untyped,
}


@pytest.mark.parametrize("name", WAYS)
def test_whole(benchmark: Any, note: Callable[..., object], lineitem: Path, name: str) -> None:
    benchmark.group = "lineitem"
    frame = benchmark.pedantic(WAYS[name], (lineitem,), rounds=5, warmup_rounds=1)
    if name != "scan_ndjson of integers and texts":
        assert_frame_equal(frame.head(1000), validated(lineitem).head(1000))
    note(benchmark, name, frame.height, peak_bytes())


@pytest.mark.parametrize("name", ["assay.scan", "the usual loop", "the tuned loop"])
def test_part(benchmark: Any, note: Callable[..., object], part: Path, name: str) -> None:
    benchmark.group = f"lineitem, {LOOP_RECORDS:,}"
    ways = {"the usual loop": usual_jsonl, "the tuned loop": tuned_jsonl}
    way = validated if name == "assay.scan" else (lambda path: ways[name](path, LineItem)[0])
    frame = benchmark.pedantic(way, (part,), rounds=3, warmup_rounds=1)
    assert_frame_equal(frame, validated(part))
    note(benchmark, name, frame.height, peak_bytes())


def test_bad_rows(benchmark: Any, note: Callable[..., object], lineitem: Path) -> None:
    benchmark.group = "lineitem"
    bad = with_bad_rows(lineitem, 0.01)
    frame = benchmark.pedantic(validated, (bad,), rounds=3, warmup_rounds=1)
    read = validated(lineitem).height
    assert frame.height == read - -(-read // 100)
    note(benchmark, "assay.scan, 1 % bad", read, peak_bytes())
