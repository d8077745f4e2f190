"""A file of JSON Lines that is replaced in one step."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import polars.selectors as cs

from assay.sinks.protocol import Mode, OnSchemaChange, declared
from assay.sinks.registry import SinkFactory
from assay.sinks.text_file import OpenTextFile, check_path, publish_text, staged_text, text_versions
from assay.sinks.text_values import from_json, json_lines, json_type
from assay.sinks.versions import absolute


@SinkFactory.register
@dataclass(frozen=True)
class Jsonl:
    """A file of JSON Lines, one object a row; compressed where its name ends in .gz or .zst.

    Decimals are JSON strings with all their places, so that no reader takes them through a float. Nested columns are
    nested JSON. How each type is written: `assay.sinks.text_values`.

    Attributes:
        path: The file, relative to the project's root or absolute. It is a link to the published version; Assay never
            touches a file there that it did not make.
        mode: append, replace, upsert, delete_missing or merge.
        key: Columns that tell rows apart; upsert and delete_missing need it. No floats, no nested columns, no nulls.
        on_schema_change: error, or add: the file is written anew, with nulls in a column that it lacked.
    """

    path: str | Path
    mode: Mode = "replace"
    key: tuple[str, ...] | None = None
    on_schema_change: OnSchemaChange = "error"
    kind: ClassVar[str] = "jsonl"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", declared("Jsonl", self.mode, self.key, self.on_schema_change))
        check_path(self.path, "Jsonl")

    @property
    def text(self) -> JsonLines:
        """How it writes."""
        return JsonLines()

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenTextFile:
        """Make it ready for one run."""
        return OpenTextFile(self, absolute(root / self.path), staging, name)

    def under(self, folder: Path) -> Jsonl:
        """The same file name in `folder`."""
        return replace(self, path=folder / Path(self.path).name)

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Build the next version and swap the link; see `Sink.publish`."""
        return publish_text(staged, run_id, JsonLines())

    @classmethod
    def has_published(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Whether the published version, or one before it, is this run's."""
        return text_versions(staged, JsonLines()).has_published(run_id)

    @classmethod
    def staged_rows(cls, staged: Mapping[str, Any]) -> pl.LazyFrame:
        """The rows that were staged."""
        return staged_text(staged, JsonLines())


@dataclass(frozen=True)
class JsonLines:
    """Rows as JSON Lines."""

    name: ClassVar[str] = "jsonl"

    @property
    def options(self) -> dict[str, Any]:
        """There is one way to write them."""
        return {}

    def head(self, schema: pl.Schema) -> bytes:
        """Nothing."""
        return b""

    def rows(self, frame: pl.DataFrame) -> bytes | memoryview:
        """A line for each row."""
        return json_lines(frame)

    def scan(self, path: Path, schema: pl.Schema) -> pl.LazyFrame:
        """The rows of a file, as they were."""
        stored = pl.Schema({name: json_type(dtype) for name, dtype in schema.items()})
        rows = pl.scan_ndjson(glob.escape(str(path)), schema=stored)
        return rows.select(from_json(cs.by_name(name).as_expr(), dtype).alias(name) for name, dtype in schema.items())
