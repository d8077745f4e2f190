"""Staged parts: the rows of a run for one output, in files that nobody else looks at."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import polars.selectors as cs

from assay.errors import SinkError
from assay.sinks.durable import make_folder, remove_folder, sync_folder, write_file, writing_to

PART_ROWS: Final = 262_144
# Keys of this many rows are looked at together when duplicates are sought: it bounds memory, not the rows.
_KEY_ROWS: Final = 4_000_000
_ROW: Final = "row"

Format = Literal["arrow", "parquet"]


@dataclass(frozen=True)
class StagedFile:
    """One staged part, as JSON has it.

    Attributes:
        path: Absolute path.
        rows: Number of rows.
        bytes: Size.
        sha256: Of the whole file, hexadecimal.
    """

    path: str
    rows: int
    bytes: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """The part as it stands in `Staged`."""
        return {"path": self.path, "rows": self.rows, "bytes": self.bytes, "sha256": self.sha256}


class Staging:
    """Writes frames to parts of `part_rows` rows each, whatever the sizes of the frames.

    So parts depend on the rows and their order alone, and memory on `part_rows`.

    Args:
        folder: Made when the first part is written; what an earlier attempt left there goes.
        output: Name of the output, which errors give.
        file_format: parquet (zstd) or arrow (IPC, zstd).
        part_rows: Rows a part.
    """

    def __init__(self, folder: Path, output: str, file_format: Format, part_rows: int = PART_ROWS) -> None:
        self._folder, self._output, self._format, self._part_rows = folder, output, file_format, part_rows
        self._waiting: list[pl.DataFrame] = []
        self._rows_waiting = 0
        self._schema: pl.Schema | None = None
        self._sealed = False
        self.files: list[StagedFile] = []

    @property
    def folder(self) -> Path:
        """Where the parts are."""
        return self._folder

    @property
    def rows(self) -> int:
        """Rows so far."""
        return sum(file.rows for file in self.files) + self._rows_waiting

    @property
    def schema(self) -> pl.Schema:
        """The schema of all frames.

        Raises:
            SinkError: none was expected yet.
        """
        if self._schema is None:
            raise SinkError("check(schema) comes before the first row", sink=self._output)
        return self._schema

    def expect(self, schema: pl.Schema) -> None:
        """Take the schema of the frames to come."""
        self._schema = schema

    def add(self, frame: pl.DataFrame) -> None:
        """Write some rows.

        Raises:
            SinkError: they do not have the columns that were announced, or all was sealed before.
        """
        if self._sealed:
            raise SinkError("rows came after prepare()", sink=self._output)
        if frame.schema != self.schema:
            raise SinkError(_difference(self.schema, frame.schema), sink=self._output)
        while not frame.is_empty():
            head = frame.head(self._part_rows - self._rows_waiting)
            frame = frame.slice(head.height)
            self._waiting.append(head)
            self._rows_waiting += head.height
            if self._rows_waiting == self._part_rows:
                self._write()

    def seal(self) -> list[StagedFile]:
        """Make all parts durable; at least one, so that no rows have a schema too."""
        if not self._sealed:
            if self._waiting or not self.files:
                self._write()
            sync_folder(self._folder)
            self._sealed = True
        return self.files

    def _write(self) -> None:
        frame = pl.concat([pl.DataFrame(schema=self.schema), *self._waiting], rechunk=True)
        content = encoded(frame, self._format)
        path = self._folder / f"part-{len(self.files):05d}.{self._format}"
        with writing_to(path, self._output):
            if not self.files:
                remove_folder(self._folder)
                make_folder(self._folder)
            write_file(path, content)
        digest = hashlib.sha256(content).hexdigest()
        self.files.append(StagedFile(str(path), frame.height, len(content), digest))
        self._waiting, self._rows_waiting = [], 0


def encoded(frame: pl.DataFrame, file_format: Format) -> memoryview:
    """A frame as the bytes of one file; the same frame gives the same bytes."""
    stream = io.BytesIO()
    if file_format == "parquet":
        # The first level takes a fifth less time than Polars' own third, and as little room.
        frame.write_parquet(stream, compression="zstd", compression_level=1)
    else:
        frame.write_ipc(stream, compression="zstd")
    return stream.getbuffer()


def verified(staged: Mapping[str, Any]) -> list[StagedFile]:
    """The staged files, after a look that they are what was prepared.

    Raises:
        SinkError: one is missing or damaged.
    """
    files = [StagedFile(**file) for file in staged["files"]]
    for file in files:
        try:
            with Path(file.path).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            raise SinkError(f"the staged file {file.path} is gone: run again", sink=staged["output"]) from None
        if digest != file.sha256:
            raise SinkError(f"the staged file {file.path} is damaged: run again", sink=staged["output"])
    return files


def scan(files: Sequence[StagedFile] | Sequence[Path], file_format: Format) -> pl.LazyFrame:
    """The rows of files, in order."""
    paths = [Path(file.path) if isinstance(file, StagedFile) else file for file in files]
    if file_format == "parquet":
        return pl.scan_parquet(paths, glob=False, hive_partitioning=False)
    return pl.scan_ipc(paths, glob=False, hive_partitioning=False)


def staged_rows(staged: Mapping[str, Any]) -> pl.LazyFrame:
    """The rows that a sink has staged, before they are published."""
    paths = [Path(file["path"]) for file in staged["files"]]
    return scan(paths, "parquet" if paths[0].suffix == ".parquet" else "arrow")


def check_unique(rows: pl.LazyFrame, count: int, key: tuple[str, ...] | None, output: str) -> None:
    """Check that a key tells the rows of a run apart.

    Raises:
        SinkError: names the first row, in the order they came, whose key another row has too, or has a null.
    """
    if not key:
        return
    names = [f"key {i}" for i in range(len(key))]
    keys = rows.select(cs.by_name(name).as_expr().alias(alias) for name, alias in zip(key, names, strict=True))
    keys = keys.with_row_index(_ROW)
    buckets = count // _KEY_ROWS + 1
    bucket = pl.struct(names).hash() % buckets
    found: list[tuple[int, str]] = []
    for number in range(buckets):
        part = keys.filter(bucket == number) if buckets > 1 else keys
        # A null is worth knowing even once: it is equal to no other.
        has_null = pl.any_horizontal(pl.col(name).is_null() for name in names)
        groups = part.group_by(names).agg(pl.len().alias("times"), pl.col(_ROW).min())
        bad = groups.filter((pl.col("times") > 1) | has_null).sort(_ROW).head(1).collect(engine="streaming")
        for row in bad.iter_rows(named=True):
            shown = ", ".join(f"{name}={row[alias]!r}" for name, alias in zip(key, names, strict=True))
            times = row["times"]
            problem = f"is there {times:,} times" if times > 1 else "has a null"
            found.append((row[_ROW], f"{shown} {problem}"))
    if found:
        row_number, words = min(found)
        raise SinkError(
            f"key ({', '.join(key)}) does not tell the rows apart: {words}, first in row {row_number + 1:,}",
            sink=output,
        )


def _difference(expected: pl.Schema, given: pl.Schema) -> str:
    for name, dtype in expected.items():
        if name not in given:
            return f'rows without the column "{name}"'
        if given[name] != dtype:
            return f'column "{name}" was announced as {dtype} and is {given[name]}'
    extra = [name for name in given if name not in expected]
    return f'rows with another column, "{extra[0]}"' if extra else "rows with the columns in another order"
