"""A lookup table read from a file: JSON, JSONL, XML, CSV."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from assay.errors import ConfigurationError, LookupFailed, unknown_name
from assay.lookups.protocol import LookupContext
from assay.reading import without_secrets
from assay.records import Format, RecordReader
from assay.records.rejects import first_reject


@dataclass(frozen=True)
class Table:
    """A file as a lookup table, each of its records validated by a model.

    A record that the model rejects fails the run: prices must not rest on a table that is partly read.

    Args:
        path: The file, a glob, or several; relative to the project, else to the pipeline's folder.
        model: The model of one row.
        format: As in `scan`; also `record`, `namespaces`, `empty_as_null`, `decimals`, `delimiter`, `quote`.
        column_names: As `columns` in `scan`.
    """

    path: str
    model: type[BaseModel]
    format: str | None = None
    record: str | None = None
    namespaces: Mapping[str, str] | None = None
    empty_as_null: bool | None = None
    decimals: tuple[int, int] | None = None
    delimiter: str | None = None
    quote: str | None = None
    column_names: Sequence[str] | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffixes."""
        return Path(without_secrets(self.path)).name.partition(".")[0]

    def columns(self) -> pl.Schema:
        """The model's columns."""
        return RecordReader(self.model, self._how()).schema

    def read(self, context: LookupContext) -> pl.DataFrame:
        """Read the table.

        Raises:
            SourceError: it cannot be read.
            LookupFailed: a record of it is wrong.
        """
        reader = RecordReader(self.model, self._how(), context.settings)
        frames = [pl.DataFrame(schema=reader.schema)]
        for batch in reader.batches(reader.check(context.resolve(self.path))):
            if batch.rejects.height:
                error = first_reject(batch.rejects)
                place = f"{error.source}: record {error.record} (line {error.line})"
                first = error.errors[0]
                raise LookupFailed(
                    f"lookup {self.name}: {place}: {first['loc']}: {first['msg']}, got {first['input']!r}; "
                    "a lookup table must be right as a whole"
                )
            frames.append(batch.frame.select(reader.schema.names()))
        return pl.concat(frames)

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenTable:
        """Read the table and see that its keys are unique."""
        for column in on:
            if column not in self.columns():
                raise ConfigurationError(f"lookup {self.name}: {unknown_name('column', column, self.columns())}")
        frame = self.read(context)
        doubles = frame.group_by(on).len().filter(pl.col("len") > 1).drop("len").sort(on)
        if doubles.height:
            some = ", ".join(" / ".join(map(repr, row)) for row in doubles.head(5).iter_rows())
            raise LookupFailed(
                f"lookup {self.name}: {doubles.height} keys stand in it more than once: {some}; a row would be doubled"
            )
        return OpenTable(frame)

    def _how(self) -> Format:
        return Format(
            self.format,
            self.record,
            self.namespaces,
            self.empty_as_null,
            self.decimals,
            delimiter=self.delimiter,
            quote=self.quote,
            columns=self.column_names,
        )


class OpenTable:
    """A table in memory: `frame`."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    @property
    def schema(self) -> pl.Schema:
        """Its columns."""
        return self.frame.schema

    @property
    def fingerprint(self) -> str:
        """Hash of its rows in order."""
        return hashlib.sha256(self.frame.write_json().encode()).hexdigest()

    def rows(self, keys: pl.DataFrame) -> pl.DataFrame:
        """The rows whose keys are asked for."""
        return self.frame.join(keys, on=keys.columns, how="semi")
