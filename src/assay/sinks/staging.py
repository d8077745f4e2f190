"""Staged parts: the rows of a run for one output, in files that nobody else looks at."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol

import polars as pl
import polars.selectors as cs

from assay.errors import SinkError
from assay.sinks.durable import make_folder, remove_folder, sync_folder, writing_to
from assay.sinks.hive import partitions
from assay.sinks.protocol import Mode, Sink, Staged

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


class StagedWriter(Protocol):
    """Where the rows of a run go, a part at a time."""

    @property
    def files(self) -> list[StagedFile]:
        """What is written and complete."""
        ...

    def write(self, frame: pl.DataFrame) -> None:
        """Write a part; the first one removes what an earlier attempt left."""
        ...

    def close(self) -> None:
        """Make all of it durable."""
        ...


class Parts:
    """A file for each part, or several.

    Args:
        folder: Where they go.
        output: Name of the output, which errors give.
        file_format: parquet (zstd) or arrow (IPC, zstd).
        part_bytes: Bytes of a file at most; a part of more is divided, down to single rows.
        partition_by: Columns; each combination of their values has a folder of its own.
    """

    def __init__(
        self,
        folder: Path,
        output: str,
        file_format: Format,
        *,
        part_bytes: int | None = None,
        partition_by: Sequence[str] = (),
    ) -> None:
        self._folder, self._output, self._format = folder, output, file_format
        self._part_bytes, self._partition_by = part_bytes, partition_by
        self._rows = self._count = 0
        self._pool: ThreadPoolExecutor | None = None
        self._pending: tuple[Path, int, int, Future[str]] | None = None
        self.files: list[StagedFile] = []

    def write(self, frame: pl.DataFrame) -> None:
        """Write a file, or several; while the next is encoded, the last one goes on its way to the disk."""
        by = self._partition_by
        parts = partitions(frame, by, self._rows, self._output) if by else [("", frame)]
        for folder, part in parts:
            for rows, content in self._divided(part):
                self._put(self._folder / folder, rows, content)
        self._rows += frame.height

    def close(self) -> None:
        """Make all of them durable, and their names."""
        self._settle()
        if self._pool is not None:
            self._pool.shutdown()
        for folder in {Path(file.path).parent for file in self.files} | {self._folder}:
            sync_folder(folder)

    def _divided(self, frame: pl.DataFrame) -> Iterator[tuple[int, memoryview]]:
        content = encoded(frame, self._format)
        most = self._part_bytes
        if most is None or len(content) <= most or frame.height <= 1:
            yield frame.height, content
            return
        pieces = -(-len(content) // most)
        for piece in frame.iter_slices(max(1, frame.height // pieces)):
            yield from self._divided(piece)

    def _put(self, folder: Path, rows: int, content: memoryview) -> None:
        self._settle()
        path = folder / f"part-{self._count:05d}.{self._format}"
        with writing_to(path, self._output, needed=len(content)):
            if not self._count:
                remove_folder(self._folder)
            make_folder(folder)
            stream = path.open("wb")
            try:
                stream.write(content)
            except BaseException:
                with contextlib.suppress(OSError):
                    stream.close()
                raise
        self._count += 1
        self._pool = self._pool or ThreadPoolExecutor(1)
        self._pending = path, rows, len(content), self._pool.submit(_synced, stream, content)

    def _settle(self) -> None:
        if self._pending is not None:
            path, rows, size, digest = self._pending
            self._pending = None
            with writing_to(path, self._output, needed=size):
                self.files.append(StagedFile(str(path), rows, size, digest.result()))


def _synced(stream: BinaryIO, content: memoryview) -> str:
    with stream:
        stream.flush()
        os.fsync(stream.fileno())
    return hashlib.sha256(content).hexdigest()


class Staging:
    """Writes frames in parts of `part_rows` rows each, whatever the sizes of the frames.

    So parts depend on the rows and their order alone, and memory on `part_rows`.

    Args:
        folder: Made when the first part is written; what an earlier attempt left there goes.
        output: Name of the output, which errors give.
        into: parquet or arrow, a file for each part; or what writes them otherwise.
        part_rows: Rows a part.
    """

    def __init__(self, folder: Path, output: str, into: Format | StagedWriter, part_rows: int = PART_ROWS) -> None:
        self._folder, self._output, self._part_rows = folder, output, part_rows
        self._writer = Parts(folder, output, into) if isinstance(into, str) else into
        self._waiting: list[pl.DataFrame] = []
        self._rows_waiting = self._rows_written = 0
        self._schema: pl.Schema | None = None
        self._sealed = False

    @property
    def folder(self) -> Path:
        """Where the parts are."""
        return self._folder

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self._rows_written + self._rows_waiting

    @property
    def files(self) -> list[StagedFile]:
        """What is written."""
        return self._writer.files

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
            if self._waiting or not self._rows_written:
                self._write()
            self._writer.close()
            self._sealed = True
        return self.files

    def prepared(self, sink: Sink, target: str, mode: Mode) -> Staged:
        """What every sink says of the rows that it has staged, now durable; see `Staged`."""
        files = self.seal()
        return {
            "sink": sink.kind,
            "output": self._output,
            "target": target,
            "mode": mode,
            "key": list(sink.key) if sink.key else None,
            "on_schema_change": sink.on_schema_change,
            "rows": self.rows,
            "folder": str(self._folder),
            "files": [file.as_json() for file in files],
        }

    def _write(self) -> None:
        self._writer.write(pl.concat([pl.DataFrame(schema=self.schema), *self._waiting], rechunk=True))
        self._rows_written += self._rows_waiting
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
