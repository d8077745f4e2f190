"""The data that is measured on, and the table that a run of the benchmarks ends with."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import orjson
import pytest
from benchmarks.child import ROOT

#: Records for the three formats, and order lines for the whole run.
RECORDS: Final = int(os.environ.get("ASSAY_BENCH_RECORDS", "50000"))
LINES: Final = int(os.environ.get("ASSAY_BENCH_LINES", "400000"))
MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Figures:
    """What one benchmark found."""

    group: str
    name: str
    records: int
    seconds: float
    peak: int

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


FIGURES: Final = pytest.StashKey[list[Figures]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[Any, str, int, int], Figures]:
    """Keep the figures of a benchmark: of its fastest round, since noise only ever adds."""

    def keep(benchmark: Any, name: str, records: int, peak: int) -> Figures:
        made = Figures(benchmark.group, name, records, benchmark.stats.stats.min, peak)
        benchmark.extra_info |= {
            "records": made.records,
            "records_per_second": round(made.rate),
            "peak_mib": round(made.peak / MIB),
        }
        request.config.stash[FIGURES].append(made)
        return made

    return keep


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the figures as they stand in docs/benchmarks.md; ratios are to the first way of each group."""
    figures = config.stash[FIGURES]
    if not figures:
        return
    terminalreporter.section("figures")
    terminalreporter.line("| group | way | records | records/s | ratio | peak MiB | ratio |")
    terminalreporter.line("|---|---|---:|---:|---:|---:|---:|")
    for group in sorted({one.group for one in figures}):
        ways = [one for one in figures if one.group == group]
        ways.sort(key=lambda one: (not one.name.startswith("assay"), one.records, one.name))
        first = ways[0]
        for one in ways:
            terminalreporter.line(
                f"| {group} | {one.name} | {one.records:,} | {one.rate:,.0f} | {one.rate / first.rate:.2f} "
                f"| {one.peak / MIB:,.0f} | {one.peak / first.peak:.2f} |"
            )


def make(folder: Path, rows: int) -> Path:
    """Order lines, catalogue and rates by the script of the demo."""
    script = str(ROOT / "sample_data" / "make.py")
    subprocess.run(
        [sys.executable, script, "--rows", str(rows), "--output", str(folder)], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same order lines in three formats; lines that are not JSON are in the JSONL alone."""
    folder = make(tmp_path_factory.mktemp("lines"), RECORDS)
    paths = {fmt: folder / f"lines.{fmt}" for fmt in ("jsonl", "json", "xml")}
    raw = [line for path in sorted((folder / "orders").iterdir()) for line in _content(path).splitlines(keepends=True)]
    paths["jsonl"].write_bytes(b"".join(raw))
    records = list(_well_formed(raw))
    paths["json"].write_bytes(b"[\n" + b",\n".join(line for line, _ in records) + b"\n]\n")
    elements = (_element(record) for _, record in records)
    paths["xml"].write_text(f"<order_lines>\n{''.join(elements)}</order_lines>\n", encoding="utf-8")
    return paths


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's pipelines and sample data, to run in."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pipelines", "sample_data"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _well_formed(raw: list[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for line in raw:
        try:
            yield line.rstrip(b"\n"), orjson.loads(line)
        except orjson.JSONDecodeError:
            continue


def _element(record: dict[str, Any]) -> str:
    fields = "".join(f"<{key}>{escape(str(value))}</{key}>" for key, value in record.items() if value is not None)
    return f"<order_line>{fields}</order_line>\n"
