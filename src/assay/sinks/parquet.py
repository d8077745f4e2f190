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
from assay.sinks.durable import link_file, make_folder, see_writable, sync_folder, write_file
from assay.sinks.hive import check_partition_by
from assay.sinks.keys import keys_of, widened, without
from assay.sinks.protocol import KEEPING, Mode, OnSchemaChange, Staged, check_key, check_same_columns, declared
from assay.sinks.registry import SinkFactory
from assay.sinks.staging import PART_ROWS, Parts, StagedFile, Staging, check_unique, encoded, scan
from assay.sinks.versions import Content, Version, Versions, absolute

_PART: Final = re.compile(r"part-(\d+)-[0-9a-f]+\.parquet")


@SinkFactory.register
@dataclass(frozen=True)
class Parquet:
    """A folder of Parquet files, zstd, replaced atomically; `pl.scan_parquet("out/lines")` reads it.

    Attributes:
        path: The folder, relative to the project's root or absolute. It is a link to the published version; Assay
            never touches a folder or file there that it did not make.
        mode: append, replace, upsert, delete_missing or merge.
        key: Columns that tell rows apart; upsert and delete_missing need it. No floats, no nested columns, no nulls.
        part_rows: Rows a file, at most.
        file_bytes: Bytes a file, at most, where that is said too; but a file has one row at least.
        partition_by: Columns (text, integers, booleans, dates) whose values name folders, outermost first, as Hive has
            them: `country=DE/month=1`. The files keep the columns. Each has a file for each `part_rows` rows of a run.
        on_schema_change: error, or add: files that lack a new column are written anew with nulls in it.
    """

    path: str | Path
    mode: Mode = "replace"
    key: tuple[str, ...] | None = None
    part_rows: int = PART_ROWS
    on_schema_change: OnSchemaChange = "error"
    file_bytes: int | None = None
    partition_by: tuple[str, ...] | str = ()
    kind: ClassVar[str] = "parquet"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", declared("Parquet", self.mode, self.key, self.on_schema_change))
        if "\x00" in str(self.path) or not Path(self.path).name:
            raise ConfigurationError(f"{str(self.path)!r} names no folder", where="Parquet")
        if self.part_rows < 1:
            raise ConfigurationError(f"part_rows must be at least 1, not {self.part_rows}", where="Parquet")
        if self.file_bytes is not None and self.file_bytes < 1:
            raise ConfigurationError(f"file_bytes must be at least 1, not {self.file_bytes}", where="Parquet")
        by = (self.partition_by,) if isinstance(self.partition_by, str) else tuple(self.partition_by)
        object.__setattr__(self, "partition_by", by)
        if len(set(by)) != len(by):
            raise ConfigurationError(f"partition_by names a column twice: {', '.join(by)}", where="Parquet")

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
            parts = _build(_plan(staged, files, current), folder)
            return {"parts": parts, "partition_by": staged["partition_by"]}

        return _versions(Path(staged["target"]), staged["output"]).publish(staged, run_id, build)

    @classmethod
    def has_published(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Whether the published version, or one before it, is this run's."""
        return _versions(Path(staged["target"]), staged["output"]).has_published(run_id)


class OpenParquet:
    """A Parquet folder in a run."""

    def __init__(self, sink: Parquet, path: Path, staging: Path, output: str) -> None:
        self._sink, self._path, self._output = sink, path, output
        files = Parts(staging, output, "parquet", part_bytes=sink.file_bytes, partition_by=sink.partition_by)
        self._staging = Staging(staging, output, files, sink.part_rows)
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
        see_writable(self._path, self._output)
        check_key(schema, self._sink.key, self._output)
        self._check_fits(schema, self.mode)
        check_partition_by(schema, self._sink.partition_by, self._output)
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
        return self._staging.prepared(self._sink, str(self._path), mode) | {
            "partition_by": list(self._sink.partition_by),
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
            how = self._sink.on_schema_change
            _check_same(current, schema, self._sink.partition_by, self._output, how)


@dataclass(frozen=True)
class _Plan:
    """What the next version is made of: old parts, without the rows whose keys come anew, and new parts.

    Both by their place in the folder. Old parts that lack columns get those of `widened`.
    """

    kept: Mapping[str, Path]
    new: Sequence[tuple[str, StagedFile]]
    replaced: pl.LazyFrame | None
    key: tuple[str, ...]
    widened: pl.Schema | None


def _versions(path: Path, output: str) -> Versions:
    return Versions(path, output, "parquet", of="folder")


def _check_same(
    current: Version, schema: pl.Schema, by: Sequence[str], output: str, on_schema_change: OnSchemaChange
) -> pl.Schema:
    """Check that rows can stand beside those of a version; gives the columns of those."""
    stored = scan(current.parts, "parquet").collect_schema()
    check_same_columns(stored, schema, output, ordered=True, on_schema_change=on_schema_change)
    there = current.content.get("partition_by", [])
    if list(by) != there:
        raise SinkError(
            f"what is published is partitioned by {', '.join(there) or 'nothing'}, and now it is by "
            f"{', '.join(by) or 'nothing'}: a run that replaces can change that",
            sink=output,
        )
    return stored


def _plan(staged: Mapping[str, Any], files: Sequence[StagedFile], current: Version | None) -> _Plan:
    mode = staged["mode"]
    old = {}
    key = tuple(staged["key"] or ())
    wider: pl.Schema | None = None
    if current is not None and mode in KEEPING:
        old = dict(zip(current.content["parts"], current.parts, strict=True))
        schema = scan(files, "parquet").collect_schema()
        how = staged["on_schema_change"]
        stored = _check_same(current, schema, staged["partition_by"], staged["output"], how)
        wider = schema if stored != schema else None
    # Rows of the run are needed for themselves only where they have come; an empty part only gives a schema.
    root = Path(staged["folder"])
    new = [(str(Path(file.path).relative_to(root)), file) for file in files if file.rows or not old]
    replaced = keys_of(scan(files, "parquet"), key) if mode == "upsert" and old else None
    return _Plan(old, new, replaced, key, wider)


def _build(plan: _Plan, folder: Path) -> list[str]:
    """Fill a new version's folder; gives the places of its parts in order."""
    parts: list[str] = []

    def place(near: str, name: str) -> Path:
        parts.append(str(Path(near).with_name(name)))
        target = folder / parts[-1]
        make_folder(target.parent)
        return target

    for where, old in plan.kept.items():
        rest = _without(old, plan)
        if rest is None:
            link_file(old, place(where, old.name))
        elif rest.height:
            content = encoded(rest, "parquet")
            write_file(place(where, _name(_number(old.name), hashlib.sha256(content).hexdigest())), content)
    number = max((_number(old.name) for old in plan.kept.values()), default=-1) + 1
    for where, file in plan.new:
        link_file(Path(file.path), place(where, _name(number, file.sha256)))
        number += 1
    for filled in {(folder / part).parent for part in parts}:
        sync_folder(filled)
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
