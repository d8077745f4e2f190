"""The shipped battery, on the Delta sink."""

from __future__ import annotations

import deltalake

from assay.sinks import Delta, Mode, OnSchemaChange, Sink, delta_commit
from assay.testing import FILE_STEPS, SinkConformance


class TestDelta(SinkConformance):
    steps = (
        *FILE_STEPS,
        (deltalake.DeltaTable, "create_write_transaction"),
        (delta_commit, "create_table_with_add_actions"),
    )

    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        return Delta("out/lines", mode=mode, key=key, part_rows=1_000, on_schema_change=on_schema_change)
