"""A table of a DuckDB file, changed in one transaction that also carries the run's token.

A sink of its own, not `Sql` over a dialect of DuckDB: that would take every value through Python and store times and
nested columns as texts, while DuckDB has types for nearly all of them and reads Arrow where it lies.

DuckDB lets one process at a time write to a file, and none read it meanwhile. Whoever comes second waits for it, up to
a time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from assay.errors import ConfigurationError
from assay.sinks.protocol import Mode, OnSchemaChange, OpenSink, declared
from assay.sinks.registry import SinkFactory


@SinkFactory.register
@dataclass(frozen=True)
class DuckDb:
    """A table of a DuckDB file, loaded in one transaction.

    Attributes:
        table: Its name; made when missing. A table that Assay did not make must have the same columns.
        path: The file, relative to the project's root or absolute; by default the file of the pipeline, `.duckdb`.
        mode: append, replace, upsert, delete_missing or merge.
        key: Columns that tell rows apart; upsert and delete_missing need it. No floats, no nested columns, no nulls.
        folder: Where a default file goes; by default the root.
        on_schema_change: error, or add: the table gets new columns.
    """

    table: str
    path: str | Path | None = None
    mode: Mode = "replace"
    key: tuple[str, ...] | None = None
    folder: Path | None = None
    on_schema_change: OnSchemaChange = "error"
    kind: ClassVar[str] = "duckdb"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", declared("DuckDb", self.mode, self.key, self.on_schema_change))
        if not self.table or "\x00" in self.table or self.table.lower().startswith("assay_"):
            raise ConfigurationError(f"{self.table!r} cannot be the name of a table", where="DuckDb")
        if self.path is not None and (
            "\x00" in str(self.path) or not Path(self.path).name or str(self.path).startswith(":memory:")
        ):
            raise ConfigurationError(f"{str(self.path)!r} names no file", where="DuckDb")

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenSink:
        """Make it ready for one run.

        Raises:
            ConfigurationError: the package duckdb is not installed.
        """
        path = (self.folder or Path()) / Path(default).with_suffix(".duckdb") if self.path is None else Path(self.path)
        # Not resolved: the path may go through a link on purpose.
        file = Path(os.path.abspath(root / path))  # noqa: PTH100
        opened: OpenSink = _table().OpenDuckDb(self, _table().Database(file, self.table, name), staging)
        return opened

    def under(self, folder: Path) -> DuckDb:
        """The same table in a file of the same name in `folder`."""
        return replace(self, folder=folder) if self.path is None else replace(self, path=folder / Path(self.path).name)

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Load what was staged in one transaction; False if this run has published it before.

        Raises:
            ConfigurationError: the package duckdb is not installed.
            SinkError: a staged file is damaged, the table is not what it was, or the file cannot be written to.
        """
        published: bool = _table().publish(staged, run_id)
        return published

    @classmethod
    def has_published(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Whether the table is there, and the run's token."""
        found: bool = _table().has_published(staged, run_id)
        return found


def _table() -> ModuleType:
    try:
        from assay.sinks import duckdb_table  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise ConfigurationError("DuckDB files need an extra: pip install 'assay[duckdb]'", where="DuckDb") from None
    return duckdb_table
