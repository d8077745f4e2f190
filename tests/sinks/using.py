"""Sinks as tests use them: runs are prepared, published and read; and a process that ends at any step of publishing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.sinks import Mode, OpenSink, Sink, Staged, discard, publish

# One child a step: it publishes its run and ends at the n-th call, with nothing cleaned up. Another one then
# publishes the same run from the same JSON. The parent opens no table, so forking is safe.
_DRIVER = """
import json, os, sys
import assay.sinks, assay.sinks.delta_commit, deltalake, duckdb, sqlalchemy
from sqlalchemy.engine.default import DefaultDialect

STEPS = [(os, n) for n in ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "symlink", "unlink")]
STEPS += [(sqlalchemy.Connection, "execute"), (sqlalchemy.Connection, "exec_driver_sql"), (DefaultDialect, "do_commit")]
STEPS += [(deltalake.DeltaTable, "create_write_transaction")]
STEPS += [(assay.sinks.delta_commit, "create_table_with_add_actions")]
STEPS += [(duckdb.DuckDBPyConnection, "execute"), (duckdb.DuckDBPyConnection, "close")]

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


def staged_by(sink: Sink, root: Path, run: str, frame: pl.DataFrame, default: str = "x.db") -> Staged:
    """What a run has prepared to publish to a sink."""
    target = sink.open(root, root / "staging" / run, "lines", default=default)
    target.check(frame.schema)
    target.stage(frame)
    return target.prepare()


def ended_at(prepared: Sequence[tuple[Staged, int]]) -> list[tuple[int, int]]:
    """Publish each, once by a process that ends at its n-th step (9 if it came that far), and again by another one."""
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER], input=json.dumps(prepared), capture_output=True, text=True, check=True
    )
    codes = [(first, second) for first, second in json.loads(done.stdout)]
    assert {first for first, _ in codes} <= {0, 9}, done.stderr
    assert {second for _, second in codes} == {0}, done.stderr
    return codes


@dataclass(frozen=True)
class Published:
    """A table in a folder that runs publish to.

    Attributes:
        declared: The sink's class.
        told: What it is told, unless a test tells otherwise.
        frame: The rows of a run, unless a test gives others.
        default: The file of the pipeline.
    """

    declared: Callable[..., Sink]
    told: dict[str, Any]
    frame: pl.DataFrame
    default: str = "orders.db"

    def opened(self, root: Path, mode: Mode = "append", run: str = "r", **arguments: Any) -> OpenSink:
        """The sink, ready for a run."""
        sink = self.declared(**(self.told | {"mode": mode} | arguments))
        return sink.open(root, root / "staging" / run, "lines", default=self.default)

    def prepare(
        self, root: Path, run: str, frame: pl.DataFrame | None = None, mode: Mode = "append", **arguments: Any
    ) -> Staged:
        """What a run has prepared."""
        sink = self.declared(**(self.told | {"mode": mode} | arguments))
        return staged_by(sink, root, run, self.frame if frame is None else frame, self.default)

    def run(
        self, root: Path, name: str, frame: pl.DataFrame | None = None, mode: Mode = "append", **arguments: Any
    ) -> None:
        """A run that publishes."""
        staged = self.prepare(root, name, frame, mode, **arguments)
        assert publish(staged, name)
        discard(staged)

    def found(self, root: Path, **arguments: Any) -> pl.DataFrame:
        """What is published."""
        rows = self.opened(root, **arguments).read()
        assert rows is not None
        return rows.collect()
