"""kill -9 at the steps of a run that corrects a ledger: what is booked is what one whole run books."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.faults.test_crash_points import at_step
from tests.processes import run

PIPELINE = """
from decimal import Decimal
from pydantic import BaseModel
from assay import Booked, Jsonl, Parquet, Pipeline, Source, Sql

class Line(BaseModel):
    id: int
    customer: str
    net: Decimal

def ledger(to):
    return Booked(key=["id"], amounts=["net"], to=to, scope=["customer"], gone="reverse")

shop = Pipeline(
    "shop",
    Source("in.jsonl", Line, decimals=(20, 2)),
    outputs={
        "parquet": ledger(Parquet("out/ledger", mode="append")),
        "sqlite": ledger(Sql("ledger", mode="append")),
        "jsonl": ledger(Jsonl("out/ledger.jsonl", mode="append")),
    },
)
"""
ROWS = 300

Entry = tuple[str, Decimal]


class Project:
    """A ledger in three kinds of outputs, and what it is to be before and after a correction."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pipelines").mkdir(parents=True)
        (folder / "pipelines/shop.py").write_text(PIPELINE)
        self.feed({number: Decimal(number).scaleb(-2) for number in range(ROWS)})
        assert self.run()["booked"]["parquet"]["new"] == ROWS
        self.before = {f"{number}#1": Decimal(number).scaleb(-2) for number in range(ROWS)}
        # A third is dearer, ten are gone, ten are new.
        self.prices = {n: Decimal(n + (n % 3 == 0)).scaleb(-2) for n in range(10, ROWS + 10)}
        self.feed(self.prices)
        self.kept = folder.with_name("kept")
        shutil.copytree(folder, self.kept, symlinks=True)

    def feed(self, prices: dict[int, Decimal]) -> None:
        lines = [json.dumps({"id": id_, "customer": "c", "net": str(net)}) for id_, net in prices.items()]
        (self.folder / "in.jsonl").write_text("\n".join(lines) + "\n")

    def reset(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder, symlinks=True)

    def run(self) -> dict[str, Any]:
        done = run("run", "shop", "--json", cwd=self.folder)
        assert done.returncode == 0, done.stderr
        made: dict[str, Any] = json.loads(done.stdout)
        return made

    def entries(self) -> dict[str, list[Entry]]:
        """Entry and net of all that each output has."""
        found = pl.read_parquet(self.folder / "out/ledger/*.parquet").select("entry_id", "net").rows()
        with sqlite3.connect(self.folder / "out/shop.db") as database:
            table = [(id_, Decimal(net)) for id_, net in database.execute("SELECT entry_id, net FROM ledger")]
        lines = [json.loads(line) for line in (self.folder / "out/ledger.jsonl").read_text().splitlines()]
        return {"parquet": found, "sqlite": table, "jsonl": [(one["entry_id"], Decimal(one["net"])) for one in lines]}

    def check(self, entries: list[Entry], *, settled: bool) -> None:
        """What is there is as before, or all that the correction books and nothing twice."""
        found = dict(entries)
        assert len(found) == len(entries)
        if not settled and found == self.before:
            return
        assert {id_: found[id_] for id_ in self.before} == self.before
        sums: dict[int, Decimal] = {}
        for id_, net in entries:
            key = int(id_.partition("#")[0])
            sums[key] = sums.get(key, Decimal(0)) + net
        assert sums == {key: self.prices.get(key, Decimal(0)) for key in range(ROWS + 10)}
        changed = sum(number % 3 == 0 for number in range(10, ROWS))
        assert len(entries) == ROWS + 10 + 10 + 2 * changed


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in list(os.environ):
        if name.startswith("ASSAY_") and name != "ASSAY_SUITES":
            monkeypatch.delenv(name)
    return Project(tmp_path / "shop")


def broken_off(project: Project, number: int, when: str) -> bool:
    """End a run at the n-th step, and see to what must hold then; False if it came to its end."""
    project.reset()
    done = at_step(number, when)(project.folder)
    if done.returncode == 0:
        return False
    assert done.returncode == -signal.SIGKILL, done.stderr
    for entries in project.entries().values():
        project.check(entries, settled=False)
    project.run()
    for entries in project.entries().values():
        project.check(entries, settled=True)
    again = project.run()
    assert again["repeats"]
    return True


def test_a_few_steps(project: Project) -> None:
    # Before and after the decision, and between the outputs.
    for number, when in [(3, "after"), (4, "after"), (6, "before")]:
        assert broken_off(project, number, when)


@pytest.mark.campaign
@pytest.mark.parametrize("when", ["before", "after"])
def test_every_step(project: Project, when: str) -> None:
    assert any(not broken_off(project, number, when) for number in range(1, 100))
