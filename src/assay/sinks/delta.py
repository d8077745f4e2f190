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

import errno
import hashlib
import json
import os
import random
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import polars as pl
import polars.selectors as cs

from assay.errors import ConfigurationError, SinkError
from assay.sinks.columns import check_moments, leaf_types, recast
from assay.sinks.delta_types import check_storable, delta_schema, is_plain, polars_schema, stored, stored_schema
from assay.sinks.durable import link_file, make_folder, sync_folder, write_file, writing_to
from assay.sinks.protocol import KEEPING, Mode, OnSchemaChange, Staged, check_key, check_same_columns, declared
from assay.sinks.registry import SinkFactory
from assay.sinks.staging import PART_ROWS, StagedFile, Staging, check_unique, encoded, scan, verified

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

_WAIT_SECONDS: Final = 60.0
_LOG: Final = "_delta_log"
# What a table may ask of those who write to it, as far as it is kept here.
_FEATURES: Final = frozenset({"appendOnly", "invariants", "timestampNtz"})
_READER, _WRITER = 1, 2
_WITH_FEATURES: Final = 7
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
_ROW: Final = "row"

Value = str | int | bool | date | Decimal | None


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
        columns = (self.partition_by,) if isinstance(self.partition_by, str) else tuple(self.partition_by)
        object.__setattr__(self, "partition_by", columns)
        if len(set(columns)) != len(columns):
            raise ConfigurationError(f"partition_by names a column twice: {', '.join(columns)}", where="Delta")
        if "://" in str(self.path):
            raise ConfigurationError(f"{self.path} is an address; Delta tables are written to folders", where="Delta")
        if "\x00" in str(self.path) or not Path(self.path).name:
            raise ConfigurationError(f"{str(self.path)!r} names no folder", where="Delta")
        if self.part_rows < 1:
            raise ConfigurationError(f"part_rows must be at least 1, not {self.part_rows}", where="Delta")
        if find_spec("deltalake") is None:
            raise ConfigurationError("Delta tables need an extra: pip install 'assay[delta]'", where="Delta")

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenDelta:
        """Make it ready for one run."""
        return OpenDelta(self, Table(_absolute(root / self.path), name), staging)

    def under(self, folder: Path) -> Delta:
        """The same folder name in `folder`."""
        return replace(self, path=folder / Path(self.path).name)

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Commit what was staged; False if this run has published it before.

        Raises:
            SinkError: a staged file is damaged, the table is not what it was, another run has published since this one
                read what was there, or the folder cannot be written to.
        """
        return _Publication(staged, run_id).publish()


class OpenDelta:
    """A Delta table in a run."""

    def __init__(self, sink: Delta, table: Table, staging: Path) -> None:
        self._sink, self._table, self._output = sink, table, table.output
        self._staging = Staging(staging, table.output, "parquet", sink.part_rows)
        self._schema: pl.Schema | None = None
        self._read = False
        self._base: int | None = None

    @property
    def mode(self) -> Mode:
        """As declared."""
        return self._sink.mode

    @property
    def location(self) -> str:
        """The absolute path."""
        return str(self._table.path)

    def check(self, schema: pl.Schema) -> None:
        """Take the schema; see `OpenSink.check`."""
        if not schema:
            raise SinkError("there is no column to write", sink=self._output)
        for name in self._sink.partition_by:
            if name not in schema:
                raise SinkError(f'partition_by: there is no column "{name}": {", ".join(schema)}', sink=self._output)
        check_storable(schema, self._sink.partition_by, self._output)
        check_key(schema, self._sink.key, self._output)
        self._check_fits(schema, self.mode)
        self._schema = schema
        self._staging.expect(stored_schema(schema))

    def stage(self, frame: pl.DataFrame) -> None:
        """Write some rows; see `OpenSink.stage`."""
        for name, dtype in (self._schema or {}).items():
            if frame.schema.get(name, dtype) != dtype:
                raise SinkError(
                    f'column "{name}" was announced as {dtype} and is {frame.schema[name]}', sink=self._output
                )
        check_moments(frame, stored, self._staging.rows, self._output)
        for name in self._sink.partition_by:
            # Delta has one text for both in the name of a partition.
            if name in frame.columns and frame.schema[name] == pl.String and (frame[name] == "").any():
                row = self._staging.rows + int((frame[name] == "").fill_null(value=False).arg_true()[0]) + 1
                raise SinkError(
                    f'column "{name}" has an empty text, which Delta reads as null where it is partitioned by it, '
                    f"first in row {row:,}",
                    sink=self._output,
                )
        as_stored = stored_schema(frame.schema)
        self._staging.add(pl.DataFrame([recast(column, as_stored[column.name]) for column in frame]))

    def prepare(self, mode: Mode | None = None) -> Staged:
        """Make it durable; see `OpenSink.prepare`."""
        mode = mode or self.mode
        declared("Delta", mode, self._sink.key)
        as_stored = self._staging.schema
        schema = self._schema or as_stored
        version = self._check_fits(schema, mode)
        files = self._staging.seal()
        check_unique(scan(files, "parquet"), self._staging.rows, self._sink.key, self._output)
        return {
            "sink": self._sink.kind,
            "output": self._output,
            "target": str(self._table.path),
            "mode": mode,
            "key": list(self._sink.key) if self._sink.key else None,
            "on_schema_change": self._sink.on_schema_change,
            "rows": self._staging.rows,
            "folder": str(self._staging.folder),
            "files": [file.as_json() for file in files],
            "schema": delta_schema(schema).to_json(),
            "partition_by": list(self._sink.partition_by),
            "read": self._read,
            "base": self._base,
            "version": version,
        }

    def read(self) -> pl.LazyFrame | None:
        """The version that is published now; its files stay until somebody vacuums the table; see `OpenSink.read`."""
        state = self._table.state()
        self._read, self._base = True, state.version if state else None
        return state.rows(state.files) if state else None

    def _check_fits(self, schema: pl.Schema, mode: Mode) -> int | None:
        state = self._table.state()
        if state is not None:
            state.check_fits(schema, mode, self._sink.on_schema_change, self._sink.partition_by)
        return state.version if state else None


@dataclass(frozen=True)
class DataFile:
    """A file of a table.

    Attributes:
        path: As the log has it, from the table's folder.
        size: In bytes.
        partition: The value of each partition column.
    """

    path: str
    size: int
    partition: dict[str, Value]


@dataclass(frozen=True)
class State:
    """A table as it is in one version."""

    table: DeltaTable
    folder: Path
    output: str
    version: int
    schema: pl.Schema
    partition_by: tuple[str, ...]
    files: tuple[DataFile, ...]

    def check_fits(self, schema: pl.Schema, mode: Mode, how: OnSchemaChange, partition_by: Sequence[str]) -> None:
        """Check that rows of a schema can be published here.

        Raises:
            SinkError: names the first column that differs, and how.
        """
        if tuple(partition_by) != self.partition_by:
            by = ", ".join(self.partition_by) or "nothing"
            raise SinkError(
                f"{self.folder} is partitioned by {by}: say partition_by={self.partition_by!r}", sink=self.output
            )
        if mode in KEEPING:
            check_same_columns(self.schema, schema, self.output, ordered=False, on_schema_change=how)
        features = self.table.protocol().writer_features or []
        for name, dtype in schema.items():
            naive = any(isinstance(leaf, pl.Datetime) and leaf.time_zone is None for leaf in leaf_types(dtype))
            if naive and "timestampNtz" not in features:
                raise SinkError(
                    f'column "{name}" is {dtype}, and {self.folder} was made without the table feature timestampNtz: '
                    "give the datetimes a zone, or add the feature to the table",
                    sink=self.output,
                )

    def rows(self, files: Sequence[DataFile]) -> pl.LazyFrame:
        """The rows of some of its files, in the columns as they were given."""
        as_stored = stored_schema(self.schema)
        return self.stored_rows(files).with_columns(
            _column(name).cast(dtype) for name, dtype in self.schema.items() if dtype != as_stored[name]
        )

    def stored_rows(self, files: Sequence[DataFile]) -> pl.LazyFrame:
        """The rows of some of its files, in the columns as they are stored."""
        schema = stored_schema(self.schema)
        inside = pl.Schema({name: dtype for name, dtype in schema.items() if name not in self.partition_by})
        groups: dict[tuple[Value, ...], list[Path]] = {}
        for file in files:
            groups.setdefault(tuple(file.partition.values()), []).append(self.folder / file.path)
        parts = [pl.LazyFrame(schema=schema)]
        for values, paths in groups.items():
            part = pl.scan_parquet(
                paths, glob=False, hive_partitioning=False, schema=inside, missing_columns="insert"
            ).with_columns(
                pl.lit(value, dtype=schema[name]).alias(name)
                for name, value in zip(self.partition_by, values, strict=True)
            )
            parts.append(part.select(_column(name) for name in schema))
        return pl.concat(parts)


class Table:
    """A folder that is, or becomes, a Delta table."""

    def __init__(self, path: Path, output: str) -> None:
        self.path, self.output = path, output

    def state(self) -> State | None:
        """What is published now, None if nothing is.

        Raises:
            SinkError: something else stands there, or a table with features that Assay does not know.
        """
        from deltalake import DeltaTable

        with speaking_of(self.path, self.output):
            if not self.path.exists():
                return None
            if not self.path.is_dir() or not DeltaTable.is_deltatable(self.path.as_uri()):
                if self.path.is_dir() and not any(self.path.iterdir()):
                    return None
                kind = "folder that is no Delta table" if self.path.is_dir() else "file"
                raise SinkError(f"{self.path} is a {kind}: move it away, or write elsewhere", sink=self.output)
            table = DeltaTable(self.path.as_uri())
            self._check_known(table)
            columns = tuple(table.metadata().partition_columns)
            files = tuple(
                DataFile(row["path"], row["size_bytes"], {name: row["partition"][name] for name in columns})
                for row in pl.DataFrame(table.get_add_actions()).iter_rows(named=True)
            )
            return State(table, self.path, self.output, table.version(), polars_schema(table.schema()), columns, files)

    def sync(self, versions: Sequence[int]) -> None:
        """Make commits durable."""
        log = self.path / _LOG
        for version in versions:
            # An old one may have been cleaned up, when a checkpoint had it.
            if (commit := log / f"{version:020}.json").exists():
                _sync_file(commit)
        sync_folder(log)

    def _check_known(self, table: DeltaTable) -> None:
        protocol = table.protocol()
        unknown = {*(protocol.reader_features or ()), *(protocol.writer_features or ())} - _FEATURES
        if protocol.min_writer_version < _WITH_FEATURES and (
            protocol.min_reader_version > _READER or protocol.min_writer_version > _WRITER
        ):
            unknown.add(f"reader {protocol.min_reader_version}, writer {protocol.min_writer_version}")
        unknown |= {name for name in table.metadata().configuration if name.startswith("delta.constraints.")}
        natural = pl.Schema(table.schema().to_arrow())
        for field in table.schema().fields:
            unknown |= {f'{name} of column "{field.name}"' for name in field.metadata if name.startswith("delta.")}
            if not field.nullable:
                unknown.add(f'NOT NULL of column "{field.name}"')
            if not is_plain(field.type, natural[field.name]):
                unknown.add(f'the type of column "{field.name}"')
        if unknown:
            raise SinkError(
                f"{self.path} asks of its writers what Assay does not know: {', '.join(sorted(unknown))}",
                sink=self.output,
            )


@dataclass(frozen=True)
class _Change:
    """What a commit does to the files of a table."""

    adds: list[AddAction]
    removes: list[DataFile]


class _Publication:
    """One output of a run on its way into a table."""

    def __init__(self, staged: Mapping[str, Any], run_id: str) -> None:
        from deltalake import Schema

        self._staged, self._output = staged, staged["output"]
        self._table = Table(Path(staged["target"]), self._output)
        self._token = f"assay {self._output} {run_id}"
        self._delta_schema = Schema.from_json(staged["schema"])
        self._schema = polars_schema(self._delta_schema)
        self._key: list[str] = staged["key"] or []
        self._partition_by: list[str] = staged["partition_by"]
        self._files: list[StagedFile] = []
        # Names are of this run and output alone; a second attempt gives the same rows the same name.
        self._mark = hashlib.sha256(self._token.encode()).hexdigest()[:12]

    def publish(self) -> bool:
        """See `Delta.publish`."""
        from deltalake.exceptions import CommitFailedError

        path = self._table.path
        deadline = time.monotonic() + _WAIT_SECONDS
        refused: tuple[int, str] | None = None
        with speaking_of(path, self._output):
            while True:
                state = self._table.state()
                version = state.version if state else -1
                if self._is_published(state):
                    return False
                if refused is not None and refused[0] == version:
                    # Nobody else was quicker.
                    raise SinkError(f"cannot write to {path}: {refused[1]}", sink=self._output)
                if time.monotonic() > deadline:
                    raise SinkError(f"others have been publishing to {path} for {_WAIT_SECONDS:.0f} s: run again",
                                    sink=self._output)  # fmt: skip
                self._files = self._files or verified(self._staged)
                try:
                    committed = self._create() if state is None else self._commit(state)
                except CommitFailedError as error:
                    refused, committed = (version, str(error)), False
                if committed:
                    self._table.sync([version + 1])
                    return True
                # So that two do not meet again.
                time.sleep(random.uniform(0, 0.1))  # noqa: S311

    def _is_published(self, state: State | None) -> bool:
        """Whether this run has published it before.

        Raises:
            SinkError: it has not, and what it read is there no more.
        """
        if state is not None and state.table.transaction_version(self._token) is not None:
            # Whoever committed it may have died before it was on the disk.
            seen = self._staged["version"]
            self._table.sync(range(0 if seen is None else seen + 1, state.version + 1))
            return True
        if self._staged["read"] and (state.version if state else None) != self._staged["base"]:
            raise SinkError(
                "another run has published since this one read what was there: run again", sink=self._output
            )
        return False

    def _create(self) -> bool:
        """Make the table with its first rows; False if somebody else was quicker."""
        from deltalake.transaction import create_table_with_add_actions

        path = self._table.path
        make_folder(path.parent)
        aside = Path(self._staged["folder"])
        if aside.stat().st_dev != path.parent.stat().st_dev:
            aside = path.parent
        with tempfile.TemporaryDirectory(dir=aside, prefix=".new-table-") as made:
            # The temporary folder is for nobody else's eyes; the table is for everybody whom its folder is for.
            folder = Path(made) / "table"
            folder.mkdir()
            create_table_with_add_actions(
                folder.as_uri(),
                self._delta_schema,
                self._new_files(folder),
                mode="error",
                partition_by=self._partition_by,
                commit_properties=self._properties(),
            )
            Table(folder, self._output).sync([0])
            sync_folder(folder)
            try:
                folder.rename(path)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
        sync_folder(path.parent)
        return True

    def _commit(self, state: State) -> bool:
        """Add a version.

        Raises:
            CommitFailedError: somebody else has added one since `state`.
        """
        mode = self._staged["mode"]
        state.check_fits(self._schema, mode, self._staged["on_schema_change"], self._partition_by)
        change = self._change(state, mode)
        actions: list[AddAction | RemoveAction]
        if dict(state.schema) == dict(self._schema):
            how, schema = "append", state.table.schema()
            actions = [*change.adds, *(_removal(file) for file in change.removes)]
        else:
            # Only what overwrites may change the columns: it removes all files by itself, and those that are to stay
            # come again under a name of this run.
            how, schema = "overwrite", self._delta_schema
            actions = [*self._again(state, [file for file in state.files if file not in change.removes]), *change.adds]
        state.table.create_write_transaction(
            actions, how, schema, partition_by=self._partition_by, commit_properties=self._properties()
        )
        return True

    def _change(self, state: State, mode: Mode) -> _Change:
        if mode == "append":
            return _Change(self._new_files(state.folder), [])
        if mode == "upsert":
            return self._upsert(state)
        if mode == "delete_missing" and dict(state.schema) == dict(self._schema):
            return self._differing(state)
        return _Change(self._new_files(state.folder), list(state.files))

    def _upsert(self, state: State) -> _Change:
        """The run's rows, and the files that have their keys, written anew without those."""
        adds = self._new_files(state.folder)
        removes = []
        replaced = _keys(scan(self._files, "parquet"), self._key)
        for number, file in enumerate(state.files):
            rows = state.stored_rows([file])
            # The keys of the run may be many, those of one file are not: they are what a join keeps in memory.
            keys = _keys(rows, self._key).with_row_index(_ROW).collect()
            names = keys.columns[1:]
            again = replaced.join(keys.lazy(), on=names, how="inner").select(_ROW).collect(engine="streaming")
            if not again.is_empty():
                rest = rows.collect().filter(~keys[_ROW].is_in(again[_ROW].implode()))
                adds += self._written(state.folder, rest, f"rest-{number:05d}")
                removes.append(file)
        return _Change(adds, removes)

    def _differing(self, state: State) -> _Change:
        """The run's rows that are not there, and the files that have any other than the run's."""
        kept: list[DataFile] = []
        new = scan(self._files, "parquet")
        for file in state.files:
            rows = state.stored_rows([file])
            keys = _keys(rows, self._key)
            once = _height(keys.unique()) == _height(rows)
            taken = _height(_keys(state.stored_rows(kept), self._key).join(keys, on=keys.collect_schema().names()))
            if once and not taken and _height(_same(rows, new, self._key)) == _height(rows):
                kept.append(file)
        removes = [file for file in state.files if file not in kept]
        if not kept:
            return _Change(self._new_files(state.folder), removes)
        there = _keys(state.stored_rows(kept), self._key).collect()
        adds = []
        for number, staged in enumerate(self._files):
            frame = pl.read_parquet(staged.path, glob=False, hive_partitioning=False)
            keys = _keys(frame.lazy(), self._key).with_row_index(_ROW)
            missing = keys.join(there.lazy(), on=there.columns, how="anti").select(_ROW).collect()
            rest = frame.filter(pl.int_range(pl.len()).is_in(missing[_ROW].implode()))
            adds += self._written(state.folder, rest, f"new-{number:05d}")
        return _Change(adds, removes)

    def _new_files(self, folder: Path) -> list[AddAction]:
        """The run's rows: the staged files themselves, or one of their rows for each partition."""
        adds = []
        told = _told(stored_schema(self._schema))
        for number, file in enumerate(self._files):
            if self._partition_by:
                frame = pl.read_parquet(file.path, glob=False, hive_partitioning=False)
                adds += self._written(folder, frame, f"{number:05d}")
            elif file.rows:
                name = f"part-{number:05d}-{self._mark}-{file.sha256[:8]}.parquet"
                _place(Path(file.path), folder / name)
                frame = pl.read_parquet(file.path, columns=told, glob=False, hive_partitioning=False)
                adds.append(_addition(folder, name, {}, file.rows, frame))
        sync_folder(folder)
        return adds

    def _written(self, folder: Path, rows: pl.DataFrame, part: str) -> list[AddAction]:
        """Write rows, as they are stored, to a file for each partition."""
        adds: list[AddAction] = []
        for number, (partition, frame) in enumerate(_partitions(rows, self._partition_by)):
            content = encoded(frame, "parquet")
            digest = hashlib.sha256(content).hexdigest()
            place = "".join(f"{_plain(name)}={_plain(_text(value))}/" for name, value in partition.items())
            name = f"{place}part-{part}-{number:05d}-{self._mark}-{digest[:8]}.parquet"
            make_folder((folder / name).parent)
            with tempfile.TemporaryDirectory(dir=self._staged["folder"], prefix=".part-") as made:
                write_file(aside := Path(made) / "part", content)
                _place(aside, folder / name)
            sync_folder((folder / name).parent)
            adds.append(_addition(folder, name, partition, frame.height, frame.select(_told(frame.schema))))
        return adds

    def _again(self, state: State, files: Sequence[DataFile]) -> list[AddAction]:
        """The same files under names of this run."""
        adds = []
        for number, file in enumerate(files):
            old = state.folder / file.path
            new = old.with_name(f"again-{number:05d}-{self._mark}.parquet")
            _place(old, new)
            sync_folder(new.parent)
            name = new.relative_to(state.folder).as_posix()
            adds.append(_addition(state.folder, name, file.partition, _height(state.stored_rows([file])), None))
        return adds

    def _properties(self) -> CommitProperties:
        from deltalake import CommitProperties, Transaction

        # Not tried again by the library: what a commit does depends on the version that it follows.
        return CommitProperties(max_commit_retries=0, app_transactions=[Transaction(self._token, 1)])


@contextmanager
def speaking_of(path: Path, output: str) -> Iterator[None]:
    """Turn what the operating system, deltalake and Polars have against a table into an error that names the output.

    Raises:
        SinkError: the disk is full, the folder may not be written to, the log is broken, a file is gone, and the like.
    """
    from deltalake.exceptions import DeltaError

    try:
        with writing_to(path, output):
            yield
    except (DeltaError, pl.exceptions.PolarsError) as error:
        raise SinkError(f"{path}: {error}", sink=output) from error


def _place(source: Path, target: Path) -> None:
    """Give a file its name in the table; what has this name already is the same file, from an earlier attempt."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        # No hard links here: a copy, whole before it has the name.
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        link_file(source, aside)
        aside.replace(target)


def _partitions(rows: pl.DataFrame, names: Sequence[str]) -> Iterator[tuple[dict[str, Value], pl.DataFrame]]:
    if rows.is_empty():
        return
    if not names:
        yield {}, rows
        return
    groups = rows.partition_by(names, as_dict=True, maintain_order=True, include_key=False)
    for values, frame in groups.items():
        yield dict(zip(names, values, strict=True)), frame


def _addition(
    folder: Path, name: str, partition: Mapping[str, Value], rows: int, told: pl.DataFrame | None
) -> AddAction:
    """The entry of a file in the log; `told` are the columns of which it says the range, for readers to skip files."""
    from deltalake.transaction import AddAction

    status = (folder / name).stat()
    statistics: dict[str, Any] = {"numRecords": rows}
    if told is not None:
        ranges = {column.name: (column.min(), column.max()) for column in told if column.null_count() < len(column)}
        statistics["minValues"] = {name: _json(low) for name, (low, _) in ranges.items()}
        statistics["maxValues"] = {name: _json(high) for name, (_, high) in ranges.items()}
        statistics["nullCount"] = {column.name: column.null_count() for column in told}
    values = {name: _text(value) for name, value in partition.items()}
    return AddAction(name, status.st_size, values, status.st_mtime_ns // 10**6, True, json.dumps(statistics))  # noqa: FBT003


def _removal(file: DataFile) -> RemoveAction:
    from deltalake.transaction import RemoveAction

    values = {name: _text(value) for name, value in file.partition.items()}
    return RemoveAction(file.path, True, time.time_ns() // 10**6, file.size, values)  # noqa: FBT003


def _keys(rows: pl.LazyFrame, key: Sequence[str]) -> pl.LazyFrame:
    # Under names of their own: "*" as a name would mean all columns.
    return rows.select(_column(name).alias(f"key {i}") for i, name in enumerate(key))


def _same(rows: pl.LazyFrame, new: pl.LazyFrame, key: Sequence[str]) -> pl.LazyFrame:
    """The rows that are among the new ones, to the last bit."""
    schema = rows.collect_schema()
    if any(leaf.is_float() for dtype in schema.values() if dtype.is_nested() for leaf in leaf_types(dtype)):
        # There is no way to tell 0.0 from -0.0 inside of others.
        return rows.head(0)
    ours, theirs = (
        frame.select(_column(name).alias(f"{side} {i}") for i, name in enumerate(schema))
        for frame, side in ((rows, "our"), (new, "their"))
    )
    places = [list(schema).index(name) for name in key]
    joined = ours.join(
        theirs, left_on=[f"our {i}" for i in places], right_on=[f"their {i}" for i in places], coalesce=False
    )
    equal = []
    for i, dtype in enumerate(schema.values()):
        pair = (pl.col(f"our {i}"), pl.col(f"their {i}"))
        equal.append(pair[0].eq_missing(pair[1]))
        if dtype.is_float():
            equal.append((1 / pair[0]).eq_missing(1 / pair[1]))
    return joined.filter(pl.all_horizontal(equal))


def _height(rows: pl.LazyFrame) -> int:
    height: int = rows.select(pl.len()).collect(engine="streaming").item()
    return height


def _told(schema: pl.Schema) -> list[str]:
    # Of texts and decimals too little fits into JSON without a change.
    return [name for name, dtype in schema.items() if dtype.is_integer() or isinstance(dtype, pl.Date)]


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _text(value: Value) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case date():
            return value.isoformat()
    return str(value)


def _plain(text: str | None) -> str:
    """A part of a folder's name; the log has the value itself."""
    return "__HIVE_DEFAULT_PARTITION__" if text is None else _UNSAFE.sub("_", text)[:60]


def _column(name: str) -> pl.Expr:
    return cs.by_name(name).as_expr()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _absolute(path: Path) -> Path:
    # Not resolved: the path may go through a link on purpose.
    return Path(os.path.abspath(path))  # noqa: PTH100
