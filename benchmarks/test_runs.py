"""The whole `assay run orders`, from start to publish: four times the lines need no more memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest
from benchmarks.child import ROOT, start
from benchmarks.conftest import Keep
from benchmarks.figures import Figure, Reached

import assay

#: Order lines of the smaller run.
LINES: Final = int(os.environ.get("ASSAY_BENCH_LINES", "400000"))
TIMES: Final = 4
MOST_GROWTH: Final = 1.3


def make(folder: Path, rows: int) -> Path:
    """Order lines, catalogue and rates by the script of the demo."""
    script = str(ROOT / "sample_data" / "make.py")
    subprocess.run(
        [sys.executable, script, "--rows", str(rows), "--output", str(folder)], check=True, capture_output=True
    )
    return folder


def run(project: Path, data: Path, output: Path, lines: int) -> dict[str, Any]:
    report = output.with_suffix(".json")
    began = time.perf_counter()
    given = ("--set", f"orders={data / 'orders'}/*", "--set", f"rates={data / 'eurofxref.xml'}")
    done = start("run", report, "orders", *given, "--output", output, folder=project)
    seconds = time.perf_counter() - began
    result: dict[str, Any] = json.loads(done.stdout) | json.loads(report.read_text()) | {"seconds": seconds}
    counts = result["counts"]
    assert result["status"] == "published"
    assert counts["read"] == lines == counts["written"] + counts["filtered"] + counts["rejected"]
    return result


def test_run_orders(benchmark: Any, keep: Keep, project: Path, tmp_path: Path) -> None:
    benchmark.group = "run orders"
    small, large = (make(tmp_path / str(lines), lines) for lines in (LINES, LINES * TIMES))
    before = run(project, small, tmp_path / "small-out", LINES)
    result = benchmark.pedantic(run, (project, large, tmp_path / "large-out", LINES * TIMES), rounds=1)
    name, other = f"assay run orders, {LINES * TIMES:,} lines", f"{LINES:,} lines"
    a_quarter = result["seconds"] / TIMES
    keep(benchmark, Reached(Figure(name, other, "rate"), [a_quarter], [before["seconds"]], LINES))
    memory = Reached(Figure(name, other, "memory", MOST_GROWTH), [result["peak"]], [before["peak"]])
    keep(benchmark, memory)
    assert memory.mark == "pass", f"peak memory grows with the lines: {memory.row()}"


def test_run_with_nothing_to_do(
    benchmark: Any, keep: Keep, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark.group = "run orders"
    monkeypatch.chdir(project)

    def again() -> float:
        began = time.perf_counter()
        result = assay.load("orders").run(output=tmp_path / "out")
        assert result.status == "published"
        return time.perf_counter() - began if result.repeats else 0.0

    assert again() == 0
    seconds: list[float] = []
    benchmark.pedantic(lambda: seconds.append(again()), rounds=5)
    assert all(seconds)
    figure = Figure("assay run orders, published before", "half a second", "time", 1.0)
    keep(benchmark, Reached(figure, seconds, [0.5] * len(seconds)))
