"""A folder of Parquet files that is replaced in one step: its path is a link to one version of it.

The name of a part says what is in it (the beginning of its SHA-256). A reader that has listed one version's parts and
opens them through the link after a swap therefore finds the same rows or no file, never other rows under a known name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import polars as pl

from assay.errors import ConfigurationError, SinkError
from assay.sinks.durable import link_file, write_file
from assay.sinks.keys import keys_of, widened, without
from assay.sinks.protocol import KEEPING, Mode, OnSchemaChange, Staged, check_key, check_same_columns, declared
from assay.sinks.registry import SinkFactory
from assay.sinks.staging import PART_ROWS, StagedFile, Staging, check_unique, encoded, scan
from assay.sinks.versions import Content, Version, Versions, absolute

_PART: Final = re.compile(r"part-(\d+)-[0-9a-f]+\.parquet")


@SinkFactory.register
@dataclass(frozen=True)
class Parquet:
    """A folder of Parquet files, zstd, replaced atomically; `pl.scan_parquet("out/lines/*.parquet")` reads it.

    Attributes:
        path: The folder, relative to the project's root or absolute. It is a link to the published version; Assay
            never touches a folder or file there that it did not make.
        mode: append, replace, upsert, delete_missing or merge.
        key: Columns that tell rows apart; upsert and delete_missing need it. No floats, no nested columns, no nulls.
        part_rows: Rows a file.
        on_schema_change: error, or add: files that lack a new column are written anew with nulls in it.
    """

    path: str | Path
    mode: Mode = "replace"
    key: tuple[str, ...] | None = None
    part_rows: int = PART_ROWS
    on_schema_change: OnSchemaChange = "error"
    kind: ClassVar[str] = "parquet"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", declared("Parquet", self.mode, self.key, self.on_schema_change))
        if "\x00" in str(self.path) or not Path(self.path).name:
            raise ConfigurationError(f"{str(self.path)!r} names no folder", where="Parquet")
        if self.part_rows < 1:
            raise ConfigurationError(f"part_rows must be at least 1, not {self.part_rows}", where="Parquet")

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenParquet:
        """Make it ready for one run."""
        return OpenParquet(self, absolute(root / self.path), staging, name)

    def under(self, folder: Path) -> Parquet:
        """The same folder name in `folder`."""
        return replace(self, path=folder / Path(self.path).name)

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Build the next version and swap the link; False if this run has published it before.

        Raises:
            SinkError: something else stands at the path, a staged file is damaged, or another run has published since
                this one read what was there.
        """

        def build(current: Version | None, files: Sequence[StagedFile], folder: Path) -> Content:
            return {"parts": _build(_plan(staged, files, current), folder)}

        return _versions(Path(staged["target"]), staged["output"]).publish(staged, run_id, build)

    @classmethod
    def has_published(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Whether the published version, or one before it, is this run's."""
        current = Versions(Path(staged["target"]), staged["output"]).current()
        return current is not None and [run_id, staged["output"]] in current.published


class OpenParquet:
    """A Parquet folder in a run."""

    def __init__(self, sink: Parquet, path: Path, staging: Path, output: str) -> None:
        self._sink, self._path, self._output = sink, path, output
        self._staging = Staging(staging, output, "parquet", sink.part_rows)
        self._versions = _versions(path, output)
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
            _check_storable(name, dtype, self._output)
        if not schema:
            raise SinkError("there is no column to write", sink=self._output)
        check_key(schema, self._sink.key, self._output)
        self._check_fits(schema, self.mode)
        self._staging.expect(schema)

    def stage(self, frame: pl.DataFrame) -> None:
        """Write some rows; see `OpenSink.stage`."""
        self._staging.add(frame)

    def prepare(self, mode: Mode | None = None) -> Staged:
        """Make it durable; see `OpenSink.prepare`."""
        mode = mode or self.mode
        declared("Parquet", mode, self._sink.key)
        schema = self._staging.schema
        self._check_fits(schema, mode)
        files = self._staging.seal()
        check_unique(scan(files, "parquet"), self._staging.rows, self._sink.key, self._output)
        return {
            "sink": self._sink.kind,
            "output": self._output,
            "target": str(self._path),
            "mode": mode,
            "key": list(self._sink.key) if self._sink.key else None,
            "on_schema_change": self._sink.on_schema_change,
            "rows": self._staging.rows,
            "folder": str(self._staging.folder),
            "files": [file.as_json() for file in files],
            "part_rows": self._sink.part_rows,
            "read": self._read,
            "base": self._base,
        }

    def read(self) -> pl.LazyFrame | None:
        """The version that is published now; it stays readable until two further ones were published."""
        current = self._versions.current()
        self._read, self._base = True, current.name if current else None
        return scan(current.parts, "parquet") if current else None

    def _check_fits(self, schema: pl.Schema, mode: Mode) -> None:
        current = self._versions.current()
        if current is not None and mode in KEEPING:
            stored = scan(current.parts, "parquet").collect_schema()
            how = self._sink.on_schema_change
            check_same_columns(stored, schema, self._output, ordered=True, on_schema_change=how)


@dataclass(frozen=True)
class _Plan:
    """What the next version is made of: old parts, without the rows whose keys come anew, and new parts.

    Old parts that lack columns get those of `widened`.
    """

    kept: Sequence[Path]
    new: Sequence[StagedFile]
    replaced: pl.LazyFrame | None
    key: tuple[str, ...]
    widened: pl.Schema | None


def _versions(path: Path, output: str) -> Versions:
    return Versions(path, output, "parquet", of="folder")


def _plan(staged: Mapping[str, Any], files: Sequence[StagedFile], current: Version | None) -> _Plan:
    mode = staged["mode"]
    old = current.parts if current is not None and mode in KEEPING else ()
    key = tuple(staged["key"] or ())
    widened: pl.Schema | None = None
    if old:
        stored, schema = (scan(parts, "parquet").collect_schema() for parts in (old, files))
        how = staged["on_schema_change"]
        check_same_columns(stored, schema, staged["output"], ordered=True, on_schema_change=how)
        widened = schema if stored != schema else None
    # Rows of the run are needed for themselves only where they have come; an empty part only gives a schema.
    new = [file for file in files if file.rows or not old]
    replaced = keys_of(scan(files, "parquet"), key) if mode == "upsert" and old else None
    return _Plan(old, new, replaced, key, widened)


def _build(plan: _Plan, folder: Path) -> list[str]:
    """Fill a new version's folder; gives the names of its parts in order."""
    parts: list[str] = []
    for old in plan.kept:
        rest = _without(old, plan)
        if rest is None:
            link_file(old, folder / old.name)
            parts.append(old.name)
        elif rest.height:
            content = encoded(rest, "parquet")
            parts.append(_name(_number(old.name), hashlib.sha256(content).hexdigest()))
            write_file(folder / parts[-1], content)
    number = max((_number(old.name) for old in plan.kept), default=-1) + 1
    for file in plan.new:
        parts.append(_name(number, file.sha256))
        link_file(Path(file.path), folder / parts[-1])
        number += 1
    return parts


def _without(old: Path, plan: _Plan) -> pl.DataFrame | None:
    """The rows of an old part whose key does not come anew, in the columns of now; None if the part stays as it is."""
    if plan.replaced is None and plan.widened is None:
        return None
    frame = pl.read_parquet(old, glob=False, hive_partitioning=False)
    rest = frame if plan.replaced is None else without(frame, plan.replaced, plan.key)
    if plan.widened is not None:
        return widened(rest, plan.widened)
    return None if rest is frame else rest


def _name(number: int, sha256: str) -> str:
    return f"part-{number:05d}-{sha256[:8]}.parquet"


def _number(name: str) -> int:
    found = _PART.fullmatch(name)
    if found is None:
        raise ValueError(f"{name} is not the name of a part")
    return int(found[1])


def _check_storable(name: str, dtype: pl.DataType, output: str) -> None:
    inner: Iterable[pl.DataType] = ()
    match dtype:
        case pl.Struct():
            if not dtype.fields:
                raise SinkError(f'column "{name}" has a struct without fields, which Parquet cannot store', sink=output)
            inner = [_instance(field.dtype) for field in dtype.fields]
        case pl.List() | pl.Array():
            inner = [_instance(dtype.inner)]
        case pl.Object() | pl.Unknown() | pl.Int128() | pl.UInt128():
            raise SinkError(f'column "{name}" is {dtype}, which Parquet cannot store: cast it', sink=output)
    for one in inner:
        _check_storable(name, one, output)


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
