"""Ends of real processes while they publish to Delta and DuckDB: killed at each system call, and several at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from tests.sinks.using import staged_by

from assay.sinks import Delta, DuckDb, Mode
from assay.sinks import publish as sinks_publish

DELTA = Delta("lines", mode="upsert", key=("id",))
DUCKDB = DuckDb("lines", mode="upsert", key=("id",))
SINKS = [pytest.param(sink, id=sink.kind) for sink in (DELTA, DUCKDB)]
MODES: tuple[Mode, ...] = ("append", "replace", "upsert", "delete_missing")

# Publishes what stands in the files that it is given; the number after it is the run's.
PUBLISH = """
import json, sys
from assay.sinks import publish
for path in sys.argv[1:]:
    print(publish(json.load(open(path)), path), flush=True)
"""

# What a process does to the disk; where there is none of a name on a machine, strace passes it over.
CALLS = ("?fsync", "?fdatasync", "?rename", "?renameat", "?renameat2", "?link", "?linkat", "?unlink", "?unlinkat",
         "?mkdir", "?mkdirat", "?ftruncate", "?pwrite64", "?rmdir")  # fmt: skip


def prepare(root: Path, sink: Delta | DuckDb, name: str, rows: dict[str, Any]) -> Path:
    staged = staged_by(sink, root, name, pl.DataFrame(rows))
    path = root / f"{name}.json"
    path.write_text(json.dumps(staged))
    return path


def publish(*paths: Path, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-c", PUBLISH, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows(root: Path, sink: Delta | DuckDb) -> list[tuple[Any, ...]] | None:
    found = sink.open(root, root / "s", "lines", default="x.db").read()
    return None if found is None else sorted(found.collect().rows())


def after(mode: Mode, run: str) -> list[tuple[int, str]]:
    new = [(1, run), (2, run)]
    kept = {"append": [(0, "old"), (1, "old")], "upsert": [(0, "old")]}
    return sorted([*kept.get(mode, []), *new])


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Path, Path, Delta | DuckDb, Mode]]:
    """A project in which something is published, and a run that is prepared."""
    sink, mode = request.param
    root = tmp_path / "root"
    root.mkdir()
    declared = replace(sink, mode=mode)
    assert publish(prepare(root, declared, "old", {"id": [0, 1], "run": "old"})).stdout == "True\n"
    yield root, prepare(root, declared, "new", {"id": [1, 2], "run": "new"}), declared, mode
    shutil.rmtree(tmp_path)


def killed_at(call: str, number: int, root: Path, path: Path) -> bool:
    """Publish in a process that is killed as it makes the n-th such call; False if it makes fewer."""
    before = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
              "-e", f"inject={call}:signal=KILL:when={number}")  # fmt: skip
    done = publish(path, before=before)
    assert done.returncode in (0, -9, 137), done.stderr
    return done.returncode != 0


def survives(root: Path, path: Path, sink: Delta | DuckDb, mode: Mode, call: str) -> int:
    """Kill at each of these calls, on a copy each; returns how many there were."""
    number = 0
    while True:
        number += 1
        copy = root.with_name(f"{call.strip('?')}-{number}")
        shutil.copytree(root, copy, symlinks=True)
        moved = copy / path.name
        moved.write_text(path.read_text().replace(str(root), str(copy)))
        was_killed = killed_at(call, number, copy, moved)
        seen = rows(copy, sink)
        assert seen in ([(0, "old"), (1, "old")], after(mode, "new")), f"{call} {number}: half a state"
        again = publish(moved, moved)
        assert again.stdout.splitlines() == [str(seen != after(mode, "new")), "False"], again.stderr
        assert rows(copy, sink) == after(mode, "new"), f"{call} {number}"
        shutil.rmtree(copy)
        if not was_killed:
            return number - 1


KILLS = [pytest.param((sink, mode), id=f"{sink.kind}-{mode}") for sink in (DELTA, DUCKDB) for mode in MODES]


@pytest.mark.campaign
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("project", KILLS, indirect=True)
def test_a_process_that_is_killed_at_any_call_leaves_what_can_be_published_once(
    project: tuple[Path, Path, Delta | DuckDb, Mode], call: str
) -> None:
    root, path, sink, mode = project
    survives(root, path, sink, mode, call)


@pytest.mark.campaign
@pytest.mark.parametrize("sink", SINKS)
def test_a_process_that_is_killed_as_it_makes_the_first_table_leaves_none_or_all(
    tmp_path: Path, sink: Delta | DuckDb
) -> None:
    path = prepare(tmp_path, sink, "new", {"id": range(50_000), "run": "new"})
    for delay in (0.0, 0.01, 0.05, 0.1, 0.2):
        code = f"import assay.sinks, deltalake, duckdb; print(1, flush=True)\n{PUBLISH}"
        with subprocess.Popen([sys.executable, "-c", code, path], stdout=-1, stderr=-3) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
        found = sink.open(tmp_path, tmp_path / "s", "lines", default="x.db").read()
        assert found is None or found.collect().height == 50_000
    assert publish(path).returncode == 0
    assert len(rows(tmp_path, sink) or []) == 50_000
    assert publish(path).stdout == "False\n"


@pytest.mark.parametrize("sink", SINKS)
def test_processes_that_publish_at_once_publish_each_run_once(tmp_path: Path, sink: Delta | DuckDb) -> None:
    appends = replace(sink, mode="append")
    paths = [prepare(tmp_path, appends, f"r{n}", {"id": [n, 10 + n], "run": f"r{n}"}) for n in range(3)]

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda order: publish(*order), [paths, paths[::-1]]))

    assert {one.returncode for one in done} == {0}, [one.stderr for one in done]
    assert sum(one.stdout.count("True") for one in done) == 3
    expected = sorted((i, f"r{n}") for n in range(3) for i in (n, 10 + n))
    assert rows(tmp_path, sink) == expected


def test_readers_of_other_tools_never_see_half_a_table(tmp_path: Path) -> None:
    """A process that reads with deltalake itself, while versions come and go; DuckDB shuts readers out meanwhile."""
    reader = (
        "import sys; from deltalake import DeltaTable; import polars as pl\n"
        "while True:\n"
        "    found = pl.DataFrame(DeltaTable(sys.argv[1]).scan())\n"
        "    print(found.height, found['run'].n_unique(), flush=True)\n"
    )
    first, *others = [
        prepare(tmp_path, replace(DELTA, mode="replace"), f"r{n}", {"id": range(1_000 + n), "run": f"r{n}"})
        for n in range(8)
    ]
    publish(first)
    with subprocess.Popen([sys.executable, "-c", reader, str(tmp_path / "lines")], stdout=-1, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        publish(*others)
        process.terminate()
        seen = [line.split() for line in process.stdout.read().splitlines() if line.count(" ") == 1]
    assert len(seen) > 2
    assert {one for _, one in seen} == {"1"}
    assert {int(height) for height, _ in seen} <= set(range(1_000, 1_008))
    assert DeltaTable(tmp_path / "lines").version() == 7


def test_nothing_of_a_killed_attempt_is_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were placed and never committed are no rows, and go with the next vacuum."""
    sinks_publish(json.loads(prepare(tmp_path, DELTA, "old", {"id": [0, 1], "run": "old"}).read_text()), "old")
    new = json.loads(prepare(tmp_path, DELTA, "new", {"id": [1, 2], "run": "new"}).read_text())

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DeltaTable, "create_write_transaction", killed)
        sinks_publish(new, "other")
    assert rows(tmp_path, DELTA) == [(0, "old"), (1, "old")]
    table = DeltaTable(tmp_path / "lines")
    there = {path.name for path in (tmp_path / "lines").glob("*.parquet")}
    orphans = there - {Path(uri).name for uri in table.file_uris()}
    assert orphans
    gone = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert {Path(name).name for name in gone} == orphans
    assert rows(tmp_path, DELTA) == [(0, "old"), (1, "old")]
