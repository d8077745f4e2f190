"""A Delta table as it is: its versions, files, columns and rows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import polars as pl
import polars.selectors as cs
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from assay.errors import SinkError
from assay.sinks.columns import leaf_types
from assay.sinks.delta_types import is_plain, polars_schema, stored_schema
from assay.sinks.durable import sync_folder
from assay.sinks.protocol import KEEPING, Mode, OnSchemaChange, check_same_columns

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_LOG: Final = "_delta_log"
# What a table may ask of those who write to it, as far as it is kept here.
_FEATURES: Final = frozenset({"appendOnly", "invariants", "timestampNtz"})
_READER, _WRITER = 1, 2
_WITH_FEATURES: Final = 7

NULL_PARTITION: Final = "__HIVE_DEFAULT_PARTITION__"
"""The name of null in the name of a partition's folder."""

Value = str | int | bool | date | Decimal | None
"""A value of a partition column, as it is stored."""


@dataclass(frozen=True)
class DataFile:
    """A file of a table.

    Attributes:
        path: From the table's folder.
        size: In bytes.
        partition: The value of each partition column.
    """

    path: str
    size: int
    partition: dict[str, Value]


@dataclass(frozen=True)
class State:
    """A table as it is in one version."""

    table: DeltaTable
    folder: Path
    output: str
    version: int
    schema: pl.Schema
    partition_by: tuple[str, ...]
    files: tuple[DataFile, ...]

    def check_fits(self, schema: pl.Schema, mode: Mode, how: OnSchemaChange, partition_by: Sequence[str]) -> None:
        """Check that rows of a schema can be published here.

        Raises:
            SinkError: names the first column that differs, and how.
        """
        if tuple(partition_by) != self.partition_by:
            by = ", ".join(self.partition_by) or "nothing"
            raise SinkError(
                f"{self.folder} is partitioned by {by}: say partition_by={self.partition_by!r}", sink=self.output
            )
        if mode in KEEPING:
            check_same_columns(self.schema, schema, self.output, ordered=False, on_schema_change=how)
        features = self.table.protocol().writer_features or []
        for name, dtype in schema.items():
            naive = any(isinstance(leaf, pl.Datetime) and leaf.time_zone is None for leaf in leaf_types(dtype))
            if naive and "timestampNtz" not in features:
                raise SinkError(
                    f'column "{name}" is {dtype}, and {self.folder} was made without the table feature timestampNtz: '
                    "give the datetimes a zone, or add the feature to the table",
                    sink=self.output,
                )

    def rows(self, files: Sequence[DataFile]) -> pl.LazyFrame:
        """The rows of some of its files, in the columns as they were given."""
        return as_given(self.stored_rows(files), self.schema)

    def stored_rows(self, files: Sequence[DataFile]) -> pl.LazyFrame:
        """The rows of some of its files, in the columns as they are stored."""
        schema = stored_schema(self.schema)
        inside = pl.Schema({name: dtype for name, dtype in schema.items() if name not in self.partition_by})
        groups: dict[tuple[Value, ...], list[Path]] = {}
        for file in files:
            groups.setdefault(tuple(file.partition.values()), []).append(self.folder / file.path)
        parts = [pl.LazyFrame(schema=schema)]
        for values, paths in groups.items():
            part = pl.scan_parquet(
                paths, glob=False, hive_partitioning=False, schema=inside, missing_columns="insert"
            ).with_columns(
                pl.lit(value, dtype=schema[name]).alias(name)
                for name, value in zip(self.partition_by, values, strict=True)
            )
            parts.append(part.select(column(name) for name in schema))
        return pl.concat(parts)


class Table:
    """A folder that is, or becomes, a Delta table."""

    def __init__(self, path: Path, output: str) -> None:
        self.path, self.output = path, output

    def state(self) -> State | None:
        """What is published now, None if nothing is.

        Raises:
            SinkError: something else stands there, or a table with features that Assay does not know.
        """
        with speaking_of(self.path, self.output):
            if not self.path.exists():
                return None
            if not self.path.is_dir() or not DeltaTable.is_deltatable(self.path.as_uri()):
                if self.path.is_dir() and not any(self.path.iterdir()):
                    return None
                kind = "folder that is no Delta table" if self.path.is_dir() else "file"
                raise SinkError(f"{self.path} is a {kind}: move it away, or write elsewhere", sink=self.output)
            table = DeltaTable(self.path.as_uri())
            self._check_known(table)
            columns = tuple(table.metadata().partition_columns)
            files = tuple(
                DataFile(unquote(row["path"]), row["size_bytes"], {name: row["partition"][name] for name in columns})
                for row in pl.DataFrame(table.get_add_actions()).iter_rows(named=True)
            )
            return State(table, self.path, self.output, table.version(), polars_schema(table.schema()), columns, files)

    def sync(self, versions: Sequence[int]) -> None:
        """Make commits durable."""
        log = self.path / _LOG
        for version in versions:
            # An old one may have been cleaned up, when a checkpoint had it.
            if (commit := log / f"{version:020}.json").exists():
                _sync_file(commit)
        sync_folder(log)

    def _check_known(self, table: DeltaTable) -> None:
        protocol = table.protocol()
        unknown = {*(protocol.reader_features or ()), *(protocol.writer_features or ())} - _FEATURES
        if protocol.min_writer_version < _WITH_FEATURES and (
            protocol.min_reader_version > _READER or protocol.min_writer_version > _WRITER
        ):
            unknown.add(f"reader {protocol.min_reader_version}, writer {protocol.min_writer_version}")
        unknown |= {name for name in table.metadata().configuration if name.startswith("delta.constraints.")}
        natural = pl.Schema(table.schema().to_arrow())
        for field in table.schema().fields:
            unknown |= {f'{name} of column "{field.name}"' for name in field.metadata if name.startswith("delta.")}
            if not field.nullable:
                unknown.add(f'NOT NULL of column "{field.name}"')
            if not is_plain(field.type, natural[field.name]):
                unknown.add(f'the type of column "{field.name}"')
        if unknown:
            raise SinkError(
                f"{self.path} asks of its writers what Assay does not know: {', '.join(sorted(unknown))}",
                sink=self.output,
            )


@contextmanager
def speaking_of(path: Path, output: str) -> Iterator[None]:
    """Turn what the operating system, deltalake and Polars have against a table into an error that names the output.

    Raises:
        SinkError: the disk is full, the folder may not be written to, the log is broken, a file is gone, and the like.
    """
    try:
        yield
    except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
        raise SinkError(f"{path}: {worded(error)}", sink=output) from error


def worded(error: Exception) -> str:
    """What an error says, on one line and without colours."""
    return " ".join(_COLOUR.sub("", str(error)).replace("↳", "").split())


def as_given(rows: pl.LazyFrame, schema: pl.Schema) -> pl.LazyFrame:
    """Rows as they are stored in the columns as they were given."""
    as_stored = stored_schema(schema)
    return rows.with_columns(column(name).cast(dtype) for name, dtype in schema.items() if dtype != as_stored[name])


def column(name: str) -> pl.Expr:
    """A column by its name, whatever is in it."""
    return cs.by_name(name).as_expr()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
