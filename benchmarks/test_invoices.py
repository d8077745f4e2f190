"""`assay run invoices`: documents of 20 lines a second, one a file and many in one, and that memory is flat."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

import pytest
from benchmarks import einvoices
from benchmarks.child import start
from benchmarks.conftest import Keep
from benchmarks.figures import Figure, Reached

#: Documents of the smaller run: with fewer, memory still grows since batches are not full.
COUNT: Final = int(os.environ.get("ASSAY_BENCH_INVOICES", "8000"))
TIMES: Final = 4
MOST_GROWTH: Final = 1.3
#: Documents a second on two cores, of an idle machine.
LEAST_RATE: Final = 2_000


def run(project: Path, source: str, output: Path, count: int) -> dict[str, Any]:
    report = output.with_suffix(".json")
    began = time.perf_counter()
    done = start("run", report, "invoices", "--input", source, "--output", output, folder=project)
    seconds = time.perf_counter() - began
    result: dict[str, Any] = json.loads(done.stdout) | json.loads(report.read_text()) | {"whole": seconds}
    assert result["status"] == "published"
    assert result["counts"]["read"] == result["counts"]["written"] == count
    assert result["notes"] == [f"all {count:,} documents add up to the cent"]
    return result


@pytest.mark.parametrize("syntax", ["UBL", "CII"])
@pytest.mark.parametrize("way", ["one a file", "many in one"])
def test_run_invoices(benchmark: Any, keep: Keep, project: Path, tmp_path: Path, syntax: str, way: str) -> None:
    benchmark.group = "run invoices"
    small, large = (
        einvoices.files(tmp_path / f"in-{count}", count, syntax)
        if way == "one a file"
        else einvoices.one_file(tmp_path / f"in-{count}.xml", count, syntax)
        for count in (COUNT, COUNT * TIMES)
    )
    before = run(project, small, tmp_path / "small", COUNT)
    result = benchmark.pedantic(run, (project, large, tmp_path / "large", COUNT * TIMES), rounds=1)
    name = f"assay run invoices, {syntax}, {way}: {COUNT * TIMES:,} documents of {einvoices.LINES} lines"
    # What compiling takes, a run takes once: the rate is that of the documents that the larger run has more.
    more = (result["whole"] - before["whole"]) / (TIMES - 1)
    wanted = [COUNT / LEAST_RATE]
    keep(benchmark, Reached(Figure(name, f"{LEAST_RATE:,} a second", "rate", 1), [more], wanted, COUNT))
    memory = Figure(name, f"{COUNT:,} documents", "memory", MOST_GROWTH)
    keep(benchmark, Reached(memory, [result["peak"]], [before["peak"]]))
    verdicts = result["verdicts"]
    assert verdicts["reference"] * 100 <= result["counts"]["read"]
