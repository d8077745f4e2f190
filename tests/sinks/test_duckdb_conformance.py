"""The shipped battery, on the DuckDB sink."""

from __future__ import annotations

import os

import duckdb

from assay.sinks import DuckDb, Mode, OnSchemaChange, Sink, duckdb_table
from assay.testing import SinkConformance


class TestDuckDb(SinkConformance):
    # Every statement that changes anything; an end between two questions is no other than one before the first.
    steps = ((os, "fsync"), (duckdb_table, "_run"), (duckdb.DuckDBPyConnection, "close"))

    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return DuckDb('the "lines"; --', mode=mode, key=key, on_schema_change=on_schema_change)
