"""A small shop whose runs are broken off at all places: incremental, with every kind of sink, so that a row which is
published twice, or not, is seen."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from psycopg import sql
from tests.postgres import Cluster
from tests.processes import Process

ASSAY = str(Path(sys.executable).with_name("assay"))
REJECTS = 3
ROWS = 400

PIPELINE = """
from decimal import Decimal
from pydantic import BaseModel
from assay import Count, GroupBy, Parquet, Pipeline, Rows, Source, Sql, Sum
{imports}

class Line(BaseModel):
    id: int
    customer: str
    net: Decimal

shop = Pipeline(
    "shop",
    Source("in/*.jsonl", Line, decimals=(20, 2), incremental=True),
    outputs={{
        "parquet": Rows(to=Parquet("out/lines", mode="append")),
        "sqlite": Rows(to=Sql("lines", mode="append")),
        "by_customer": GroupBy("customer", net=Sum("net"), lines=Count(), to=Sql("by_customer", mode="merge")),
{outputs}
    }},
)
"""

Row = tuple[int, str, Decimal]


def rows_of(day: int) -> list[Row]:
    """The good records of a day's file."""
    return [(day * ROWS + n, f"customer {n % 7}", Decimal(day * ROWS + n).scaleb(-2)) for n in range(ROWS)]


@dataclass
class Found:
    """How what is published differs from what should be."""

    records: int = 0
    lost: int = 0
    duplicated: int = 0
    half_written: int = 0

    def add(self, more: Found) -> None:
        for name, value in vars(more).items():
            setattr(self, name, getattr(self, name) + value)


class KeptDatabase:
    """A database of PostgreSQL that can be put back to how it was."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = sql.Identifier(name)
        self._kept = sql.Identifier(f"{name}_kept")
        self.name = name
        self.url = cluster.url(name)

    def keep(self) -> None:
        """Keep it as it is now."""
        self._copy(self._name, self._kept)

    def reset(self) -> None:
        """Go back to what was kept."""
        self._copy(self._kept, self._name)

    def forget(self) -> None:
        """Drop what was kept."""
        with self._cluster.connected() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(self._kept))

    def lines(self) -> list[Row]:
        """The rows of the table `lines`, none where there is no such table."""
        with self._cluster.connected(self.name) as connection:
            try:
                return connection.execute("SELECT id, customer, net FROM lines").fetchall()
            except psycopg.errors.UndefinedTable:
                return []

    def _copy(self, source: sql.Identifier, target: sql.Identifier) -> None:
        with self._cluster.connected() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(target))
            # A process that was killed may leave a backend that has not noticed yet, and a template must have none.
            connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
                [source.as_string()[1:-1]],
            )
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(target, source))


class Shop:
    """The project in a folder."""

    def __init__(
        self,
        folder: Path,
        outputs: dict[str, str] | None = None,
        imports: str = "",
        database: KeptDatabase | None = None,
    ) -> None:
        self.folder = folder
        self.outputs = outputs or {}
        self.database = database
        (folder / "pipelines").mkdir(parents=True)
        more = "\n".join(f'        "{name}": {text},' for name, text in self.outputs.items())
        (folder / "pipelines/shop.py").write_text(PIPELINE.format(imports=imports, outputs=more))

    def feed(self, day: int) -> None:
        """A new file, with some records that are rejected."""
        lines = [json.dumps({"id": id_, "customer": customer, "net": str(net)}) for id_, customer, net in rows_of(day)]
        lines[3:3] = ['{"id": "no"}'] * REJECTS
        path = self.folder / f"in/{day}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        # Not written a moment ago: the run may trust what it remembers.
        os.utime(path, (1_700_000_000 + day, 1_700_000_000 + day))

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`assay run shop`."""
        return self.start(*arguments, **environment).wait()

    def start(self, *arguments: str, **environment: str) -> Process:
        """`assay run shop`, under way."""
        return Process("run", "shop", "--json", *arguments, cwd=self.folder, environment=environment)

    def published(self) -> dict[str, Counter[Row]]:
        """The rows of each output, as a reader finds them now."""
        found: dict[str, Counter[Row]] = {"parquet": Counter(), "sqlite": Counter()}
        if (self.folder / "out/lines").exists():
            found["parquet"].update(pl.read_parquet(self.folder / "out/lines/*.parquet").iter_rows())
        found["sqlite"].update(self._table("lines"))
        for name in self.outputs:
            found[name] = Counter(self.read(name))
        return found

    def read(self, name: str) -> list[Row]:
        """The rows of one of the further outputs."""
        if name == "postgresql":
            assert self.database is not None
            return self.database.lines()
        path = self.folder / "out" / {"jsonl": "lines.jsonl", "delta": "delta"}[name]
        if not path.exists():
            return []
        if name == "jsonl":
            made = [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]
            return [(row["id"], row["customer"], Decimal(row["net"])) for row in made]
        return list(pl.read_delta(str(path)).iter_rows())

    def totals(self) -> dict[str, tuple[Decimal, int]]:
        """Net and lines by customer."""
        rows = self._query('SELECT customer, net, lines FROM "by_customer"')
        return {customer: (Decimal(net), lines) for customer, net, lines in rows}

    def check(self, old: list[int], new: list[int], *, settled: bool) -> Found:
        """Compare with what should be: rows of `old` days are there, those of `new` ones all or not at all.

        Args:
            old: Days that were published before.
            new: Days of the run that was broken off.
            settled: Whether that run has been finished, so that its rows must be there.
        """
        before: Counter[Row] = Counter(row for day in old for row in rows_of(day))
        after: Counter[Row] = before + Counter(row for day in new for row in rows_of(day))
        found = Found()
        for rows in self.published().values():
            expected = after if settled or len(rows) > len(before) else before
            found.records += rows.total()
            found.lost += (expected - rows).total()
            found.duplicated += (rows - expected).total()
            found.half_written += not settled and rows not in (before, after)
        totals = self.totals()
        states = [_totals(before), _totals(after)]
        found.half_written += totals not in ([states[1]] if settled else states)
        return found

    def left(self) -> list[Path]:
        """What no run may leave behind."""
        return [path for path in self.folder.rglob("*") if path.name == ".assay-staging"]

    def rejects(self) -> int:
        """Dead letters of runs that were published."""
        with sqlite3.connect(self.folder / ".assay/runs.db") as store:
            query = "SELECT count(*) FROM rejects JOIN runs ON runs.id = rejects.run WHERE status = 'published'"
            return int(store.execute(query).fetchone()[0])

    def keep(self) -> Path:
        """Keep the project and all it has published as it is now; for `reset`."""
        kept = self.folder.with_name(f"{self.folder.name}.kept")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.folder, kept, symlinks=True)
        if self.database is not None:
            self.database.keep()
        return kept

    def reset(self, kept: Path) -> None:
        """Go back to what was kept; in the same place, as outputs are remembered by where they are."""
        shutil.rmtree(self.folder)
        shutil.copytree(kept, self.folder, symlinks=True)
        if self.database is not None:
            self.database.reset()

    def _table(self, name: str) -> list[Row]:
        return [(id_, customer, Decimal(net)) for id_, customer, net in self._query(f'SELECT * FROM "{name}"')]

    def _query(self, text: str) -> list[Any]:
        path = self.folder / "out/shop.db"
        if not path.exists():
            return []
        with sqlite3.connect(path) as database:
            try:
                return database.execute(text).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise


def _totals(rows: Counter[Row]) -> dict[str, tuple[Decimal, int]]:
    made: dict[str, tuple[Decimal, int]] = {}
    for (_, customer, net), count in rows.items():
        total, lines = made.get(customer, (Decimal(0), 0))
        made[customer] = (total + net * count, lines + count)
    return made
