"""A database of PostgreSQL, and runs that publish to a table of it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from psycopg import sql
from tests.postgres import Cluster

from assay.sinks import Mode, OpenSink, Sql, Staged, publish

FRAME = pl.DataFrame({"id": [1, 2], "net": pl.Series([Decimal("0.10"), Decimal("-3.00")], dtype=pl.Decimal(12, 2))})


class Shop:
    """A database, and runs that publish to its table `lines`."""

    def __init__(self, cluster: Cluster, name: str, folder: Path) -> None:
        self.cluster, self.name, self.folder = cluster, name, folder
        self.url = cluster.url(name)

    def open(self, mode: Mode = "append", *, run: str = "x", **arguments: Any) -> OpenSink:
        sink = Sql(**({"table": "lines", "url": self.url, "mode": mode} | arguments))
        return sink.open(self.folder, self.folder / run, "lines", default="")

    def prepare(self, run: str, frame: pl.DataFrame = FRAME, mode: Mode = "append", **arguments: Any) -> Staged:
        target = self.open(mode, run=run, **arguments)
        target.check(frame.schema)
        target.stage(frame)
        return target.prepare()

    def publish(self, run: str, frame: pl.DataFrame = FRAME, mode: Mode = "append", **arguments: Any) -> None:
        assert publish(self.prepare(run, frame, mode, **arguments), run)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with self.cluster.connected(self.name) as connection:
            done = connection.execute(sql.SQL(statement))
            return done.fetchall() if done.description else []


@pytest.fixture
def shop(cluster: Cluster, tmp_path: Path) -> Iterator[Shop]:
    """A database to publish to."""
    with cluster.database() as name:
        yield Shop(cluster, name, tmp_path)
