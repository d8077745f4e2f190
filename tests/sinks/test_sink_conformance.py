"""The shipped battery, on our own sinks."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from assay.sinks import Csv, Jsonl, Mode, OnSchemaChange, Parquet, Sink, Sql
from assay.testing import FILE_STEPS, SinkConformance


class TestParquet(SinkConformance):
    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Parquet("out/lines", mode=mode, key=key, part_rows=1_000, on_schema_change=on_schema_change)


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
