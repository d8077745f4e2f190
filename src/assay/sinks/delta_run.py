"""A Delta table in a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from deltalake import Schema

from assay.errors import SinkError
from assay.sinks.columns import check_moments, recast
from assay.sinks.delta_commit import Publication, token_of
from assay.sinks.delta_table import NULL_PARTITION, Table, as_given
from assay.sinks.delta_types import check_storable, delta_schema, polars_schema, stored, stored_schema
from assay.sinks.protocol import Mode, Staged, check_key, declared
from assay.sinks.staging import Staging, check_unique, scan

if TYPE_CHECKING:
    from assay.sinks.delta import Delta


# A folder's name is at most 255 bytes long on most file systems; a byte of a text may become three there.
_PARTITION_BYTES: Final = 60


def publish(staged: Mapping[str, Any], run_id: str) -> bool:
    """See `Delta.publish`."""
    return Publication(staged, run_id).publish()


def has_published(staged: Mapping[str, Any], run_id: str) -> bool:
    """See `Delta.has_published`."""
    state = Table(Path(staged["target"]), staged["output"]).state()
    return state is not None and state.table.transaction_version(token_of(staged["output"], run_id)) is not None


def staged_rows(staged: Mapping[str, Any]) -> pl.LazyFrame:
    """See `Delta.staged_rows`."""
    rows = scan([Path(file["path"]) for file in staged["files"]], "parquet")
    return as_given(rows, polars_schema(Schema.from_json(staged["schema"])))


class OpenDelta:
    """A Delta table in a run."""

    def __init__(self, sink: Delta, folder: Path, output: str, staging: Path) -> None:
        self._sink, self._table, self._output = sink, Table(folder, output), output
        self._staging = Staging(staging, output, "parquet", sink.part_rows)
        self._schema: pl.Schema | None = None
        self._read = False
        self._base: int | None = None

    @property
    def mode(self) -> Mode:
        """As declared."""
        return self._sink.mode

    @property
    def location(self) -> str:
        """The absolute path."""
        return str(self._table.path)

    def check(self, schema: pl.Schema) -> None:
        """Take the schema; see `OpenSink.check`."""
        if not schema:
            raise SinkError("there is no column to write", sink=self._output)
        for name in self._sink.partition_by:
            if name not in schema:
                raise SinkError(f'partition_by: there is no column "{name}": {", ".join(schema)}', sink=self._output)
        check_storable(schema, self._sink.partition_by, self._output)
        check_key(schema, self._sink.key, self._output)
        self._check_fits(schema, self.mode)
        self._schema = schema
        self._staging.expect(stored_schema(schema))

    def stage(self, frame: pl.DataFrame) -> None:
        """Write some rows; see `OpenSink.stage`."""
        for name, dtype in (self._schema or {}).items():
            if frame.schema.get(name, dtype) != dtype:
                raise SinkError(
                    f'column "{name}" was announced as {dtype} and is {frame.schema[name]}', sink=self._output
                )
        check_moments(frame, stored, self._staging.rows, self._output)
        self._check_partitions(frame)
        as_stored = stored_schema(frame.schema)
        self._staging.add(pl.DataFrame([recast(column, as_stored[column.name]) for column in frame]))

    def prepare(self, mode: Mode | None = None) -> Staged:
        """Make it durable; see `OpenSink.prepare`."""
        mode = mode or self.mode
        declared("Delta", mode, self._sink.key)
        as_stored = self._staging.schema
        schema = self._schema or as_stored
        version = self._check_fits(schema, mode)
        files = self._staging.seal()
        check_unique(scan(files, "parquet"), self._staging.rows, self._sink.key, self._output)
        return self._staging.prepared(self._sink, str(self._table.path), mode) | {
            "schema": delta_schema(schema).to_json(),
            "partition_by": list(self._sink.partition_by),
            "read": self._read,
            "base": self._base,
            "version": version,
        }

    def read(self) -> pl.LazyFrame | None:
        """The version that is published now; its files stay until somebody vacuums the table; see `OpenSink.read`."""
        state = self._table.state()
        self._read, self._base = True, state.version if state else None
        return state.rows(state.files) if state else None

    def _check_partitions(self, frame: pl.DataFrame) -> None:
        long = f"a text of over {_PARTITION_BYTES} bytes, which is too long for the name of a partition"
        for name in self._sink.partition_by:
            if frame.schema.get(name) != pl.String:
                continue
            for wrong, words in (
                (frame[name] == "", "an empty text, which Delta reads as null where it is partitioned by it"),
                (frame[name] == NULL_PARTITION, f'the text "{NULL_PARTITION}", which is null to some readers'),
                (frame[name].str.len_bytes() > _PARTITION_BYTES, long),
            ):
                if wrong.any():
                    row = self._staging.rows + int(wrong.fill_null(value=False).arg_true()[0]) + 1
                    raise SinkError(f'column "{name}" has {words}, first in row {row:,}', sink=self._output)

    def _check_fits(self, schema: pl.Schema, mode: Mode) -> int | None:
        state = self._table.state()
        if state is not None:
            state.check_fits(schema, mode, self._sink.on_schema_change, self._sink.partition_by)
        return state.version if state else None
