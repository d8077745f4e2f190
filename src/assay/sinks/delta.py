"""A Delta Lake table in a folder; rows and the run's token become visible in one commit of its log.

Staged rows wait in Parquet files. Publishing gives these files a second name in the table's folder (no row is written
twice) and commits them to the log, with the run and the output as an application transaction: that is the token. A
commit names the version that it follows, and one version has one commit; who comes second looks again at what there is.

    out/lines/_delta_log/00000000000000000003.json     adds part-00000-..., txn "assay lines run2"
    out/lines/part-00000-3b1f0c5d9a12-5e1d0f3a.parquet

The log is written by deltalake, which leaves it to the operating system when it reaches the disk; so it is synced here
right after. The first version of a table is built aside, and the folder put in its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

import polars as pl

from assay.errors import ConfigurationError
from assay.sinks.protocol import Mode, OnSchemaChange, OpenSink, declared
from assay.sinks.registry import SinkFactory
from assay.sinks.staging import PART_ROWS

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")


@SinkFactory.register
@dataclass(frozen=True)
class Delta:
    """A Delta Lake table in a folder.

    Attributes:
        path: The folder, relative to the project's root or absolute. A folder that is there must be a Delta table, or
            be empty.
        mode: append, replace, upsert, delete_missing or merge.
        key: Columns that tell rows apart; upsert and delete_missing need it. No floats, no nested columns, no nulls.
        partition_by: Columns whose values each have files of their own: texts, integers, dates or booleans.
        part_rows: Rows a file.
        on_schema_change: error, or add: files that lack a new column are read with nulls in it.
    """

    path: str | Path
    mode: Mode = "replace"
    key: tuple[str, ...] | None = None
    partition_by: tuple[str, ...] = ()
    part_rows: int = PART_ROWS
    on_schema_change: OnSchemaChange = "error"
    kind: ClassVar[str] = "delta"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", declared("Delta", self.mode, self.key, self.on_schema_change))
        columns = _names(self.partition_by)
        object.__setattr__(self, "partition_by", columns)
        if len(set(columns)) != len(columns):
            raise ConfigurationError(f"partition_by names a column twice: {', '.join(columns)}", where="Delta")
        if "://" in str(self.path):
            raise ConfigurationError(f"{self.path} is an address; Delta tables are written to folders", where="Delta")
        if "\x00" in str(self.path) or not Path(self.path).name:
            raise ConfigurationError(f"{str(self.path)!r} names no folder", where="Delta")
        if self.part_rows < 1:
            raise ConfigurationError(f"part_rows must be at least 1, not {self.part_rows}", where="Delta")

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenSink:
        """Make it ready for one run.

        Raises:
            ConfigurationError: the package deltalake is not installed, or cannot open a folder of this name.
        """
        # Not resolved: the path may go through a link on purpose.
        folder = Path(os.path.abspath(root / self.path))  # noqa: PTH100
        if _CONTROL.search(str(folder)):
            raise ConfigurationError(f"{str(folder)!r} has a control character, which deltalake refuses", where="Delta")
        if _ESCAPE.search(str(folder)):
            raise ConfigurationError(
                f"{folder} has a % and two hexadecimal digits, which deltalake takes for one character", where="Delta"
            )
        opened: OpenSink = _run().OpenDelta(self, folder, name, staging)
        return opened

    def under(self, folder: Path) -> Delta:
        """The same folder name in `folder`."""
        return replace(self, path=folder / Path(self.path).name)

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Commit what was staged; False if this run has published it before.

        Raises:
            ConfigurationError: the package deltalake is not installed.
            SinkError: a staged file is damaged, the table is not what it was, another run has published since this one
                read what was there, or the folder cannot be written to.
        """
        published: bool = _run().publish(staged, run_id)
        return published

    @classmethod
    def has_published(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Whether the table is there, and the run's token in its log."""
        found: bool = _run().has_published(staged, run_id)
        return found

    @classmethod
    def staged_rows(cls, staged: Mapping[str, Any]) -> pl.LazyFrame:
        """The rows that were staged, in the columns as they were given."""
        rows: pl.LazyFrame = _run().staged_rows(staged)
        return rows


def _names(columns: tuple[str, ...] | str) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _run() -> ModuleType:
    try:
        from assay.sinks import delta_run  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name != "deltalake":
            raise
        raise ConfigurationError("Delta tables need an extra: pip install 'assay[delta]'", where="Delta") from None
    return delta_run
