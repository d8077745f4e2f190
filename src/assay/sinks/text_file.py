"""One text file that is replaced in one step: what the sinks of JSON Lines and CSV have in common.

The rows of a run are staged as the file that they would be alone. To replace is to give that file a second name (a
hard link); to append or to upsert, what is published is copied before them, as one stream: a compressed file has one
member whatever happened to it, since some readers stop at the end of the first one, and say nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import polars as pl
import polars.selectors as cs

from assay.errors import ConfigurationError, SinkError
from assay.sinks.durable import link_file, make_folder, remove_folder, see_writable, sync_folder, writing_to
from assay.sinks.keys import keys_of, widened, without
from assay.sinks.protocol import KEEPING, Mode, OnSchemaChange, Sink, Staged, check_key, check_same_columns, declared
from assay.sinks.staging import StagedFile, Staging, check_unique, scan, verified
from assay.sinks.text_compression import check_suffix, compressor, decompressed
from assay.sinks.text_values import check_storable, check_values
from assay.sinks.versions import Content, Version, Versions

# Text is several times as large as the rows it says.
TEXT_ROWS: Final = 65_536
_COPY: Final = 1 << 20


class TextFormat(Protocol):
    """How rows are written as text."""

    @property
    def name(self) -> str:
        """Jsonl or csv."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """How it is written, where that differs from sink to sink; as JSON."""
        ...

    def head(self, schema: pl.Schema) -> bytes:
        """What stands before the first row."""
        ...

    def rows(self, frame: pl.DataFrame) -> bytes | memoryview:
        """Some rows."""
        ...

    def scan(self, path: Path, schema: pl.Schema) -> pl.LazyFrame:
        """The rows of a file that has some, as they were."""
        ...


class TextSink(Sink, Protocol):
    """A sink of text files."""

    @property
    def text(self) -> TextFormat:
        """How it writes."""
        ...


class OpenTextFile:
    """A text file in a run."""

    def __init__(self, sink: TextSink, path: Path, staging: Path, output: str) -> None:
        self._sink, self._path, self._output, self._folder = sink, path, output, staging
        self._file = _StagedText(staging / "rows", path.name, output, sink.text)
        self._staging = Staging(staging / "rows", output, self._file, TEXT_ROWS)
        # Beside the text, which would have to be parsed again for each comparison.
        self._keys = Staging(staging / "key", output, "arrow") if sink.key else None
        self._versions = _versions(path, output, sink.text)
        self._read = False
        self._base: str | None = None

    @property
    def mode(self) -> Mode:
        """As declared."""
        return self._sink.mode

    @property
    def location(self) -> str:
        """The absolute path."""
        return str(self._path)

    def check(self, schema: pl.Schema) -> None:
        """Take the schema; see `OpenSink.check`."""
        for name, dtype in schema.items():
            check_storable(name, dtype, self._output)
        if not schema:
            raise SinkError("there is no column to write", sink=self._output)
        see_writable(self._path, self._output)
        key = self._sink.key
        check_key(schema, key, self._output)
        self._check_fits(schema, self.mode)
        self._staging.expect(schema)
        self._file.expect(schema)
        if self._keys is not None:
            self._keys.expect(pl.Schema({name: schema[name] for name in key or ()}))

    def stage(self, frame: pl.DataFrame) -> None:
        """Write some rows; see `OpenSink.stage`."""
        self._staging.add(frame)
        if self._keys is not None:
            self._keys.add(frame.select(cs.by_name(name) for name in self._sink.key or ()))

    def prepare(self, mode: Mode | None = None) -> Staged:
        """Make it durable; see `OpenSink.prepare`."""
        mode = mode or self.mode
        sink = self._sink
        declared(sink.text.name, mode, sink.key)
        schema = self._staging.schema
        self._check_fits(schema, mode)
        keys = self._keys.seal() if self._keys else []
        if keys:
            check_unique(scan(keys, "arrow"), self._staging.rows, sink.key, self._output)
        return self._staging.prepared(sink, str(self._path), mode) | {
            "folder": str(self._folder),
            "keys": [file.as_json() for file in keys],
            "schema": _schema_as_json(schema),
            "options": sink.text.options,
            "read": self._read,
            "base": self._base,
        }

    def read(self) -> pl.LazyFrame | None:
        """The version that is published now; it stays readable until two further ones were published."""
        current = self._versions.current()
        self._read, self._base = True, current.name if current else None
        return _rows(current, self._sink.text) if current else None

    def _check_fits(self, schema: pl.Schema, mode: Mode) -> None:
        current = self._versions.current()
        if current is not None and mode in KEEPING:
            _check_same(current, schema, self._sink.text, self._output, self._sink.on_schema_change)


def check_path(path: str | Path, kind: str) -> None:
    """Check the path of a text file as a sink is written down.

    Raises:
        ConfigurationError: it names no file, or one whose compression is not written.
    """
    if "\x00" in str(path) or not Path(path).name:
        raise ConfigurationError(f"{str(path)!r} names no file", where=kind)
    check_suffix(Path(path), kind)


def publish_text(staged: Mapping[str, Any], run_id: str, text: TextFormat) -> bool:
    """Build the next version and swap the link; False if this run has published it before.

    Raises:
        SinkError: see `Versions.publish`; or what is published does not fit any more.
    """
    path, output = Path(staged["target"]), staged["output"]
    schema = _schema_of(staged["schema"])

    def build(current: Version | None, files: Sequence[StagedFile], folder: Path) -> Content:
        new, target = files[0], folder / path.name
        kept: Version | None = None
        if current is not None and staged["mode"] in KEEPING:
            _check_same(current, schema, text, output, staged["on_schema_change"])
            kept = current if current.content["rows"] else None
        rows = new.rows
        if kept is None:
            link_file(Path(new.path), target)
        else:
            rows += _put_behind(kept, new, staged, text, target)
        return {"parts": [path.name], "rows": rows, "schema": staged["schema"], "options": text.options}

    return text_versions(staged, text).publish(staged, run_id, build)


def text_versions(staged: Mapping[str, Any], text: TextFormat) -> Versions:
    """The versions of what is published where a run was to publish."""
    return _versions(Path(staged["target"]), staged["output"], text)


def staged_text(staged: Mapping[str, Any], text: TextFormat) -> pl.LazyFrame:
    """The rows that were staged."""
    schema = _schema_of(staged["schema"])
    return text.scan(Path(staged["files"][0]["path"]), schema) if staged["rows"] else pl.LazyFrame(schema=schema)


def _put_behind(kept: Version, new: StagedFile, staged: Mapping[str, Any], text: TextFormat, target: Path) -> int:
    """Write what stays of a version, and the new rows behind it; gives the number of rows that stay."""
    schema, old_schema = _schema_of(staged["schema"]), _schema_of(kept.content["schema"])
    upserts = staged["mode"] == "upsert"
    if schema == old_schema and not new.rows:
        link_file(kept.parts[0], target)
        return int(kept.content["rows"])
    file = _Writing(target)
    if schema == old_schema and not upserts:
        stay = int(kept.content["rows"])
        for piece in _content(kept.parts[0]):
            file.write(piece)
    else:
        stay = 0
        file.write(text.head(schema))
        keys = keys_of(scan(verified({**staged, "files": staged["keys"]}), "arrow"), staged["key"]) if upserts else None
        for batch in _rows(kept, text).collect_batches(chunk_size=TEXT_ROWS, maintain_order=True):
            rest = batch if keys is None else without(batch, keys, staged["key"])
            stay += rest.height
            file.write(text.rows(widened(rest, schema)))
    for piece in _content(Path(new.path), skip=len(text.head(schema))):
        file.write(piece)
    file.finish()
    return stay


class _StagedText:
    """The staged file, a part of rows at a time."""

    def __init__(self, folder: Path, name: str, output: str, text: TextFormat) -> None:
        self._path, self._output, self._text = folder / name, output, text
        self._schema = pl.Schema()
        self._rows = 0
        self._file: _Writing | None = None
        self.files: list[StagedFile] = []

    def expect(self, schema: pl.Schema) -> None:
        """Take the schema, which the head of the file says."""
        self._schema = schema

    def write(self, frame: pl.DataFrame) -> None:
        """Write some rows."""
        check_values(frame, self._rows, self._output)
        content = self._text.rows(frame)
        with writing_to(self._path, self._output, needed=len(content)):
            if self._file is None:
                remove_folder(self._path.parent)
                make_folder(self._path.parent)
                self._file = _Writing(self._path)
                self._file.write(self._text.head(self._schema))
            self._file.write(content)
        self._rows += frame.height

    def close(self) -> None:
        """Make it durable."""
        if self._file is not None:
            with writing_to(self._path, self._output, needed=self._file.size):
                size, digest = self._file.finish()
                sync_folder(self._path.parent)
            self.files = [StagedFile(str(self._path), self._rows, size, digest)]


class _Writing:
    """A new file, compressed as its name says; some bytes are compressed while the next are made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._compressor = compressor(path)
        self._sha256 = hashlib.sha256()
        self.size = 0
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[bytes | memoryview] | None = None
        path.write_bytes(b"")

    def write(self, content: bytes | memoryview) -> None:
        """Write some bytes."""
        self._settle()
        self._pending = self._pool.submit(self._compressed, content)

    def finish(self) -> tuple[int, str]:
        """Make it durable, but for its name; gives its size and SHA-256."""
        self._settle()
        self._pool.shutdown()
        rest = self._compressor.flush()
        self._sha256.update(rest)
        self._append(rest)
        with self._path.open("rb") as stream:
            os.fsync(stream.fileno())
        return self.size, self._sha256.hexdigest()

    def _compressed(self, content: bytes | memoryview) -> bytes | memoryview:
        compressed = self._compressor.compress(content)
        self._sha256.update(compressed)
        return compressed

    def _settle(self) -> None:
        if self._pending is not None:
            self._append(self._pending.result())
            self._pending = None

    def _append(self, content: bytes | memoryview) -> None:
        # Opened anew each time: a run that ends halfway leaves no open file behind.
        with self._path.open("ab") as stream:
            stream.write(content)
        self.size += len(content)


def _versions(path: Path, output: str, text: TextFormat) -> Versions:
    return Versions(path, output, text.name, of="file")


def _check_same(
    current: Version, schema: pl.Schema, text: TextFormat, output: str, on_schema_change: OnSchemaChange
) -> None:
    stored = _schema_of(current.content["schema"])
    check_same_columns(stored, schema, output, ordered=True, on_schema_change=on_schema_change)
    for name, value in text.options.items():
        if (there := current.content["options"][name]) != value:
            raise SinkError(
                f"what is published was written with {name}={there!r}, and now it is {value!r}", sink=output
            )


def _rows(version: Version, text: TextFormat) -> pl.LazyFrame:
    schema = _schema_of(version.content["schema"])
    return text.scan(version.parts[0], schema) if version.content["rows"] else pl.LazyFrame(schema=schema)


def _content(path: Path, *, skip: int = 0) -> Iterator[bytes]:
    stream: BinaryIO
    with decompressed(path) as stream:
        stream.read(skip)
        while piece := stream.read(_COPY):
            yield piece


def _schema_as_json(schema: pl.Schema) -> str:
    """A schema as text: the beginning of an Arrow file, in base64; no other form of Polars' says all of it."""
    stream = io.BytesIO()
    pl.DataFrame(schema=schema).write_ipc(stream)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _schema_of(text: str) -> pl.Schema:
    return pl.read_ipc(io.BytesIO(base64.b64decode(text))).schema
