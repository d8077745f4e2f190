"""Real ends of real processes: killed at each step of publishing, by the operating system's own exit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from assay.sinks import Csv, Jsonl, Mode, Parquet, Sql

FEW = [1, 3, 6, 9, 12, 15, 18]
ALL = list(range(1, 41))

# One child a step: it publishes its run and ends at the n-th call, with nothing cleaned up. Another one then
# publishes the same run from the same JSON. The parent never touches Polars, so forking is safe.
DRIVER = """
import json, os, sys
import assay.sinks, sqlalchemy
from sqlalchemy.engine.default import DefaultDialect

STEPS = [(os, n) for n in ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "symlink", "unlink")]
STEPS += [(sqlalchemy.Connection, "execute"), (sqlalchemy.Connection, "exec_driver_sql"), (DefaultDialect, "do_commit")]

def end_at(at):
    count = 0
    def wrapped(original):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == at:
                os._exit(9)
            return original(*args, **kwargs)
        return call
    for owner, name in STEPS:
        setattr(owner, name, wrapped(getattr(owner, name)))

def child(staged, run, at):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if at:
                end_at(at)
            assay.sinks.publish(staged, run)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

codes = []
for number, (staged, step) in enumerate(json.load(sys.stdin), start=1):
    codes.append([child(staged, f"run-{number}", step), child(staged, f"run-{number}", 0)])
print(json.dumps(codes))
"""


SINKS: dict[str, Csv | Jsonl | Parquet | Sql] = {
    "parquet": Parquet("lines", mode="upsert", key=("id",)),
    "partitions": Parquet("lines", mode="upsert", key=("id",), partition_by="run"),
    "jsonl": Jsonl("lines.jsonl", mode="upsert", key=("id",)),
    "csv": Csv("lines.csv.gz", mode="upsert", key=("id",)),
    "sql": Sql("lines", mode="upsert", key=("id",)),
}
MODES: tuple[Mode, ...] = ("append", "replace", "upsert", "delete_missing")
CASES = [
    *(pytest.param(sink, FEW, id=name) for name, sink in SINKS.items()),
    *(
        pytest.param(replace(sink, mode=mode), ALL, id=f"all-{name}-{mode}", marks=pytest.mark.campaign)
        for name, sink in SINKS.items()
        for mode in MODES
    ),
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("sink", "steps"), CASES)
def test_a_process_that_ends_at_any_step_leaves_what_can_be_published_once(
    tmp_path: Path, sink: Csv | Jsonl | Parquet | Sql, steps: list[int]
) -> None:
    prepared = []
    for number, step in enumerate(steps, start=1):
        target = sink.open(tmp_path, tmp_path / f"staging/{number}", "lines", default="x.db")
        frame = pl.DataFrame({"id": [0, number], "run": number})
        target.check(frame.schema)
        target.stage(frame)
        prepared.append((target.prepare(), step))

    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=json.dumps(prepared), capture_output=True, text=True, check=True
    )

    codes = json.loads(done.stdout)
    assert [first for first, _ in codes].count(9) >= min(10, len(steps) - 2), "too few were killed to tell"
    assert {first for first, _ in codes} <= {0, 9}, done.stderr
    assert {second for _, second in codes} == {0}, done.stderr
    found = sink.open(tmp_path, tmp_path / "s", "lines", default="x.db").read()
    assert found is not None
    runs = list(range(1, len(steps) + 1))
    expected = {"append": [0] * len(runs) + runs, "upsert": [0, *runs]}
    assert sorted(found.collect()["id"].to_list()) == expected.get(sink.mode, [0, runs[-1]])
