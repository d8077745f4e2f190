"""Sinks that need a package of their own: none is loaded before it is used, and a missing one is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

LISTED = """
import sys
from pathlib import Path
import assay
sinks = [assay.Delta("out/lines"), assay.DuckDb("lines"), assay.Parquet("out/p"), assay.Sql("lines")]
loaded = {"deltalake", "duckdb", "arro3"} & set(sys.modules)
assert not loaded, loaded
"""

MISSING = """
import sys
from pathlib import Path
import assay
from assay.errors import ConfigurationError
from assay.sinks import publish
sys.modules["{package}"] = None
sink = {sink}
opening = lambda: sink.open(Path(), Path("s"), "lines", default="x.db")
for action in (opening, lambda: publish({{"sink": sink.kind}}, "r")):
    try:
        action()
    except ConfigurationError as error:
        print(error)
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_sink_that_is_written_down_loads_nothing() -> None:
    assert python(LISTED) == ""


@pytest.mark.parametrize(
    ("package", "sink", "words"),
    [
        ("deltalake", 'assay.Delta("out/lines")', "Delta: Delta tables need an extra: pip install 'assay[delta]'"),
        ("duckdb", 'assay.DuckDb("lines")', "DuckDb: DuckDB files need an extra: pip install 'assay[duckdb]'"),
    ],
)
def test_a_package_that_is_missing_is_told_with_what_to_install(package: str, sink: str, words: str) -> None:
    assert python(MISSING.format(package=package, sink=sink)).splitlines() == [words, words]
