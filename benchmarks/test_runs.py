"""The whole `assay run orders`, from start to publish; and that four times the lines need no more memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.child import start
from benchmarks.conftest import LINES, make

TIMES = 4
MOST_GROWTH = 1.3


def run(project: Path, data: Path, output: Path) -> dict[str, Any]:
    report = output.with_suffix(".json")
    orders = f"orders={data / 'orders'}/*"
    done = start("run", report, "orders", "--set", orders, "--output", output, folder=project)
    return json.loads(done.stdout) | json.loads(report.read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def peaks() -> dict[int, int]:
    return {}


@pytest.mark.parametrize("times", [1, TIMES])
def test_run_orders(
    benchmark: Any, note: Callable[..., object], peaks: dict[int, int], project: Path, tmp_path: Path, times: int
) -> None:
    benchmark.group = "run orders"
    data = make(tmp_path / "data", LINES * times)
    result = benchmark.pedantic(run, (project, data, tmp_path / "out"), rounds=1)
    counts = result["counts"]
    assert result["status"] == "published"
    assert counts["read"] == LINES * times == counts["written"] + counts["filtered"] + counts["rejected"]
    note(benchmark, f"assay run orders, {LINES * times:,} lines", counts["read"], result["peak"])
    peaks[times] = result["peak"]
    if len(peaks) == 2:
        assert peaks[TIMES] <= MOST_GROWTH * peaks[1], f"peak memory grows with the lines: {peaks}"
