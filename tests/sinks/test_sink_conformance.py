"""The shipped battery, on our own sinks."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from psycopg import Copy
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.default import DefaultDialect

from assay.sinks import Mode, OnSchemaChange, Parquet, Sink, Sql
from assay.sinks.sql_database import Database
from assay.testing import FILE_STEPS, SinkConformance
from assay.testing.sinks import Bench


class TestParquet(SinkConformance):
    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Parquet("out/lines", mode=mode, key=key, part_rows=1_000, on_schema_change=on_schema_change)


class TestSql(SinkConformance):
    steps = (
        *FILE_STEPS,
        (sa.Connection, "execute"),
        (sa.Connection, "exec_driver_sql"),
        (DefaultDialect, "do_commit"),
        (DefaultDialect, "do_close"),
    )

    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Sql('the "lines"; --', mode=mode, key=key, on_schema_change=on_schema_change)


class TestPostgresql(SinkConformance):
    unstorable = "\0"
    # What comes before the commit is the server's to undo.
    steps = (
        (Copy, "write"),
        (PGDialect_psycopg, "do_commit"),
        (Database, "sync"),
    )

    @pytest.fixture(autouse=True)
    def _server(self, postgres: str) -> None:
        self.url = postgres

    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Sql('the "lines"; --', url=self.url, mode=mode, key=key, on_schema_change=on_schema_change)

    def test_files_go_under_another_folder_on_request(self, bench: Bench) -> None:
        sink = self.make("append")
        assert sink.under(bench.folder / "elsewhere") is sink
