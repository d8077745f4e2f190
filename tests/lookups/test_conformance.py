"""Every kind of lookup, by the battery that is shipped."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.lookups.service import Service

from assay import Choice, Http, HttpLimits, SqlTable, Table
from assay.lookups import LookupContext, LookupSource
from assay.settings import Settings
from assay.testing import Fact, LookupConformance

SCHEMA = pl.Schema({"key": pl.String(), "number": pl.Int64(), "amount": pl.Decimal(20, 4), "note": pl.String()})


def line(row: dict[str, Any]) -> str:
    return json.dumps(row | {"amount": str(row["amount"])})


class TestFrame(LookupConformance):
    def make(self, rows: list[dict[str, Any]]) -> LookupSource:
        return Table(pl.DataFrame(rows, SCHEMA), Fact)


class OfFolder(LookupConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path


class TestFile(OfFolder):
    def make(self, rows: list[dict[str, Any]]) -> LookupSource:
        (self.folder / "facts.jsonl").write_text("\n".join(map(line, rows)))
        return Table(str(self.folder / "facts.jsonl"), Fact)


class TestParquetFile(OfFolder):
    def make(self, rows: list[dict[str, Any]]) -> LookupSource:
        pl.DataFrame(rows, SCHEMA).write_parquet(self.folder / "facts.parquet")
        return Table(str(self.folder / "facts.parquet"), Fact)


class TestSqlWhole(OfFolder):
    whole_up_to = 10_000

    def make(self, rows: list[dict[str, Any]]) -> LookupSource:
        connection = sqlite3.connect(self.folder / "facts.db")
        connection.execute("DROP TABLE IF EXISTS facts")
        connection.execute("CREATE TABLE facts (key TEXT, number INTEGER, amount TEXT, note TEXT)")
        values = [(row["key"], row["number"], str(row["amount"]), row["note"]) for row in rows]
        connection.executemany("INSERT INTO facts VALUES (?, ?, ?, ?)", values)
        connection.commit()
        connection.close()
        return SqlTable("facts", Fact, f"sqlite:///{self.folder / 'facts.db'}", whole_up_to=self.whole_up_to)


class TestSqlByKeys(TestSqlWhole):
    whole_up_to = 0


class TestHttp(LookupConformance):
    path = "/facts/{key}"
    batch = 1

    @pytest.fixture(autouse=True)
    def _service(self, service: Service) -> None:
        self.service = service

    def make(self, rows: list[dict[str, Any]]) -> LookupSource:
        self.service.records = {row["key"]: line(row).encode() for row in rows}
        limits = HttpLimits(wait_seconds=0.005)
        return Http(f"{self.service.url}{self.path}", Fact, hosts=["127.0.0.1"], batch=self.batch, limits=limits)


class TestHttpBatch(TestHttp):
    path = "/facts?ids={key}"
    batch = 100


class TestChoice(TestFrame):
    def make(self, rows: list[dict[str, Any]]) -> LookupSource:
        return Choice("elsewhere", Table("nowhere.jsonl", Fact), super().make(rows))

    def context(self) -> LookupContext:
        return LookupContext((Path(),), Settings(), {"elsewhere": ""})
