"""The shipped battery, on our own sinks."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from psycopg import Copy
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.default import DefaultDialect

from assay.sinks import Csv, Jsonl, Mode, OnSchemaChange, Parquet, Sink, Sql
from assay.sinks.sql_database import Database
from assay.testing import FILE_STEPS, SinkConformance
from assay.testing.sinks import Bench


class TestParquet(SinkConformance):
    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Parquet("out/lines", mode=mode, key=key, part_rows=1_000, on_schema_change=on_schema_change)


class TestPartitionedParquet(SinkConformance):
    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Parquet(
            "out/lines",
            mode=mode,
            key=key,
            part_rows=1_000,
            on_schema_change=on_schema_change,
            file_bytes=3_000,
            partition_by="name",
        )

    # Their rows have no column "name"; test_parquet_sink.py has the values of partitions.
    test_values_come_back_equal = None  # type: ignore[assignment]
    test_naughty_strings_come_back_equal = None  # type: ignore[assignment]
    test_naughty_strings_are_keys_too = None  # type: ignore[assignment]
    test_exact_keys_of_every_kind_find_their_rows = None  # type: ignore[assignment]
    test_names_of_columns_are_names_and_nothing_else = None  # type: ignore[assignment]


class TestJsonl(SinkConformance):
    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Jsonl("out/lines [1] *.jsonl", mode=mode, key=key, on_schema_change=on_schema_change)


class TestJsonlZstd(SinkConformance):
    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Jsonl("out/lines.jsonl.zst", mode=mode, key=key, on_schema_change=on_schema_change)


class TestCsv(SinkConformance):
    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Csv("out/lines [1] *.csv", mode=mode, key=key, on_schema_change=on_schema_change)


class TestGuardedCsvGzip(SinkConformance):
    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Csv(
            "out/lines.csv.gz",
            mode=mode,
            key=key,
            on_schema_change=on_schema_change,
            delimiter=";",
            guard_formulas=True,
        )


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
