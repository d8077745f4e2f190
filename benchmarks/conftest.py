"""The data that is measured on, and the table that a run of the benchmarks ends with."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
from benchmarks.child import ROOT, measured
from benchmarks.figures import HEAD, Reached

pytest_plugins = ["tests.postgres"]

Keep = Callable[[Any, Reached], None]
REACHED: Final = pytest.StashKey[list[Reached]]()
PACKAGES: Final = ("polars", "pydantic", "orjson", "lxml", "duckdb", "xml2arrow")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REACHED] = []


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Keep:
    """Keep a comparison for the table."""

    def add(benchmark: Any, reached: Reached) -> None:
        benchmark.extra_info[str(reached.figure)] = asdict(reached) | {"ratio": reached.ratio, "mark": reached.mark}
        request.config.stash[REACHED].append(reached)

    return add


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the figures as they stand in docs/benchmarks.md, and write them down for the next reader."""
    reached = config.stash[REACHED]
    if not reached:
        return
    terminalreporter.section("figures")
    for line in (*HEAD, *(one.row() for one in reached)):
        terminalreporter.line(line)
    written = ROOT / ".benchmarks" / "figures.json"
    written.parent.mkdir(exist_ok=True)
    found = {
        "environment": {name: value for name, value in os.environ.items() if name.startswith("ASSAY_BENCH_")},
        "python": sys.version.split()[0],
        "cpus": os.cpu_count(),
        "packages": {package: version(package) for package in PACKAGES},
        "figures": [asdict(one) | {"ratio": one.ratio, "best": one.best, "mark": one.mark} for one in reached],
    }
    written.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    terminalreporter.line(f"(also in {written.relative_to(ROOT)})")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For the files that are measured on: gigabytes, which are not to stay."""
    made = tmp_path_factory.mktemp("feeds")
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def peak() -> Callable[[str, Path], int]:
    """The most memory of a way on a file, in a process of its own, in bytes; measured once."""
    peaks: dict[tuple[str, Path], int] = {}

    def find(way: str, path: Path) -> int:
        if (way, path) not in peaks:
            peaks[way, path] = measured("way", way, path)["peak"]
        return peaks[way, path]

    return find


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's pipelines and sample data, to run in."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pipelines", "sample_data"):
        shutil.copytree(ROOT / name, folder / name)
    return folder
