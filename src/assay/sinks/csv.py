"""A CSV file that is replaced in one step."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import polars as pl
import polars.selectors as cs

from assay.errors import ConfigurationError
from assay.sinks.protocol import Mode, OnSchemaChange, declared
from assay.sinks.registry import SinkFactory
from assay.sinks.text_file import OpenTextFile, check_path, publish_text, staged_text, text_versions
from assay.sinks.text_values import csv_cells, csv_type, from_csv
from assay.sinks.versions import absolute

_DELIMITERS: Final = {",": ",", ";": ";", "|": "|", "\t": "tab"}
# A spreadsheet takes a cell that begins like this for a formula. The apostrophes let a guard be told from a value.
_GUARDED: Final = r"^'*[=+\-@\t\r]"
_UNGUARDED: Final = r"^'('*[=+\-@\t\r])"


@SinkFactory.register
@dataclass(frozen=True)
class Csv:
    """A CSV file with a header (RFC 4180, UTF-8, lines end in LF); compressed where its name ends in .gz or .zst.

    Null is an empty cell, the empty string is `""`. Decimals are written with all their places; nested columns as JSON.
    How each type is written: `assay.sinks.text_values`.

    Attributes:
        path: The file, relative to the project's root or absolute. It is a link to the published version; Assay never
            touches a file there that it did not make.
        mode: append, replace, upsert, delete_missing or merge.
        key: Columns that tell rows apart; upsert and delete_missing need it. No floats, no nested columns, no nulls.
        on_schema_change: error, or add: the file is written anew, with empty cells in a column that it lacked.
        delimiter: Between cells: a comma, a semicolon, a bar or a tab.
        guard_formulas: Put an apostrophe before texts that begin with = + - @, a tab or a carriage return, which
            spreadsheets would take for formulas (and before such as have apostrophes there already, so that reading
            can take it off again). Numbers stay as they are.
    """

    path: str | Path
    mode: Mode = "replace"
    key: tuple[str, ...] | None = None
    on_schema_change: OnSchemaChange = "error"
    delimiter: str = ","
    guard_formulas: bool = False
    kind: ClassVar[str] = "csv"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", declared("Csv", self.mode, self.key, self.on_schema_change))
        check_path(self.path, "Csv")
        if self.delimiter not in _DELIMITERS:
            known = " ".join(_DELIMITERS.values())
            raise ConfigurationError(f"delimiter must be one of {known}, not {self.delimiter!r}", where="Csv")

    @property
    def text(self) -> CsvText:
        """How it writes."""
        return CsvText(self.delimiter, self.guard_formulas)

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenTextFile:
        """Make it ready for one run."""
        return OpenTextFile(self, absolute(root / self.path), staging, name)

    def under(self, folder: Path) -> Csv:
        """The same file name in `folder`."""
        return replace(self, path=folder / Path(self.path).name)

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Build the next version and swap the link; see `Sink.publish`."""
        return publish_text(staged, run_id, CsvText(**staged["options"]))

    @classmethod
    def has_published(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Whether the published version, or one before it, is this run's."""
        return text_versions(staged, CsvText(**staged["options"])).has_published(run_id)

    @classmethod
    def staged_rows(cls, staged: Mapping[str, Any]) -> pl.LazyFrame:
        """The rows that were staged."""
        return staged_text(staged, CsvText(**staged["options"]))


@dataclass(frozen=True)
class CsvText:
    """Rows as CSV."""

    delimiter: str
    guard_formulas: bool
    name: ClassVar[str] = "csv"

    @property
    def options(self) -> dict[str, Any]:
        """What differs from sink to sink."""
        return {"delimiter": self.delimiter, "guard_formulas": self.guard_formulas}

    def head(self, schema: pl.Schema) -> bytes:
        """The header."""
        names = pl.DataFrame([list(schema)], schema=[f"{i}" for i in range(len(schema))], orient="row")
        return bytes(self.rows(names))

    def rows(self, frame: pl.DataFrame) -> bytes | memoryview:
        """A record for each row."""
        cells = csv_cells(frame)
        if self.guard_formulas:
            texts = [name for name, dtype in cells.schema.items() if isinstance(dtype, pl.String)]
            cells = cells.with_columns(_guarded(cs.by_name(name).as_expr()) for name in texts)
        stream = io.BytesIO()
        cells.write_csv(stream, include_header=False, separator=self.delimiter)
        return stream.getbuffer()

    def scan(self, path: Path, schema: pl.Schema) -> pl.LazyFrame:
        """The rows of a file, as they were."""
        stored = pl.Schema({name: csv_type(dtype) for name, dtype in schema.items()})
        rows = pl.scan_csv(
            path,
            has_header=False,
            skip_rows=1,
            schema=stored,
            separator=self.delimiter,
            glob=False,
            raise_if_empty=False,
        )
        return rows.select(self._column(name, dtype) for name, dtype in schema.items())

    def _column(self, name: str, dtype: pl.DataType) -> pl.Expr:
        cell = cs.by_name(name).as_expr()
        if self.guard_formulas and isinstance(csv_type(dtype), pl.String):
            cell = cell.str.replace(_UNGUARDED, "${1}")
        return from_csv(cell, dtype).alias(name)


def _guarded(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.contains(_GUARDED)).then(pl.lit("'") + text).otherwise(text).name.keep()
