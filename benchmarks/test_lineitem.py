"""TPC-H lineitem, all 16 fields: the compiled verdict beside Polars that validates nothing, and the loops."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from benchmarks.lineitem import WAYS, make, peak_of, validated, with_bad_rows
from polars.testing import assert_frame_equal

#: 1.2 million records at 0.2.
SCALE: Final = os.environ.get("ASSAY_BENCH_SCALE", "0.2")
#: The loops take a part of them: their rate does not depend on the size.
LOOP_RECORDS: Final = 100_000


@pytest.fixture(scope="session")
def lineitem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("lineitem"), SCALE)


@pytest.fixture(scope="session")
def part(lineitem: Path) -> Path:
    path = lineitem.with_name("part.jsonl")
    with lineitem.open("rb") as lines, path.open("wb") as out:
        out.writelines(line for _, line in zip(range(LOOP_RECORDS), lines, strict=False))
    return path


@pytest.mark.parametrize("name", [name for name in WAYS if "loop" not in name])
def test_whole(benchmark: Any, note: Callable[..., object], lineitem: Path, name: str) -> None:
    benchmark.group = "lineitem"
    frame = benchmark.pedantic(WAYS[name], (lineitem,), rounds=5, warmup_rounds=1)
    if name != "scan_ndjson of integers and texts":
        assert_frame_equal(frame.head(1000), validated(lineitem).head(1000))
    note(benchmark, name, frame.height, peak_of(name, lineitem))


@pytest.mark.parametrize("name", ["assay.scan", "the usual loop", "the tuned loop"])
def test_part(benchmark: Any, note: Callable[..., object], part: Path, name: str) -> None:
    benchmark.group = f"lineitem, {LOOP_RECORDS:,}"
    frame = benchmark.pedantic(WAYS[name], (part,), rounds=3, warmup_rounds=1)
    assert_frame_equal(frame, validated(part))
    note(benchmark, name, frame.height, peak_of(name, part))


def test_bad_rows(benchmark: Any, note: Callable[..., object], lineitem: Path) -> None:
    benchmark.group = "lineitem"
    bad = with_bad_rows(lineitem, 0.01)
    frame = benchmark.pedantic(validated, (bad,), rounds=3, warmup_rounds=1)
    read = validated(lineitem).height
    assert frame.height == read - -(-read // 100)
    note(benchmark, "assay.scan, 1 % bad", read, peak_of("assay.scan", bad))
