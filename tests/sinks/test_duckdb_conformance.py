"""The shipped battery, on the DuckDB sink."""

from __future__ import annotations

import duckdb

from assay.sinks import DuckDb, Mode, OnSchemaChange, Sink
from assay.testing import FILE_STEPS, SinkConformance


class TestDuckDb(SinkConformance):
    steps = (
        *FILE_STEPS,
        (duckdb.DuckDBPyConnection, "execute"),
        (duckdb.DuckDBPyConnection, "register"),
        (duckdb.DuckDBPyConnection, "close"),
    )

    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return DuckDb('the "lines"; --', mode=mode, key=key, on_schema_change=on_schema_change)
