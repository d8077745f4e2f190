"""One output of a run on its way into a Delta table."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import polars as pl
from deltalake import CommitProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from assay.errors import SinkError
from assay.sinks.columns import leaf_types
from assay.sinks.delta_table import NULL_PARTITION, DataFile, State, Table, Value, column, speaking_of, worded
from assay.sinks.delta_types import polars_schema, stored_schema
from assay.sinks.durable import link_file, make_folder, sync_folder, write_file
from assay.sinks.protocol import Mode
from assay.sinks.staging import StagedFile, encoded, scan, verified

_WAIT_SECONDS: Final = 60.0
_ROW: Final = "row"


def token_of(output: str, run_id: str) -> str:
    """The application id that says: this run has published this output."""
    return f"assay {output} {run_id}"


@dataclass(frozen=True)
class _Change:
    """What a commit does to the files of a table."""

    adds: list[AddAction]
    removes: list[DataFile]


class Publication:
    """One output of a run on its way into a table."""

    def __init__(self, staged: Mapping[str, Any], run_id: str) -> None:
        self._staged, self._output = staged, staged["output"]
        self._table = Table(Path(staged["target"]), self._output)
        self._token = token_of(self._output, run_id)
        self._delta_schema = Schema.from_json(staged["schema"])
        self._schema = polars_schema(self._delta_schema)
        self._key: list[str] = staged["key"] or []
        self._partition_by: list[str] = staged["partition_by"]
        self._files: list[StagedFile] = []
        # Names are of this run and output alone; a second attempt gives the same rows the same name.
        self._mark = hashlib.sha256(self._token.encode()).hexdigest()[:12]

    def publish(self) -> bool:
        """See `Delta.publish`."""
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
                    refused, committed = (version, worded(error)), False
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
            frame = scan([staged], "parquet").collect()
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
                frame = scan([file], "parquet").collect()
                adds += self._written(folder, frame, f"{number:05d}")
            elif file.rows:
                name = f"part-{number:05d}-{self._mark}-{file.sha256[:8]}.parquet"
                _place(Path(file.path), folder / name)
                frame = scan([file], "parquet").select(column(name) for name in told).collect()
                adds.append(_addition(folder, name, {}, file.rows, frame))
        sync_folder(folder)
        return adds

    def _written(self, folder: Path, rows: pl.DataFrame, part: str) -> list[AddAction]:
        """Write rows, as they are stored, to a file for each partition."""
        adds: list[AddAction] = []
        for number, (partition, frame) in enumerate(_partitions(rows, self._partition_by)):
            content = encoded(frame, "parquet")
            digest = hashlib.sha256(content).hexdigest()
            place = "".join(f"{_quoted(name)}={_quoted(_text(value))}/" for name, value in partition.items())
            name = f"{place}part-{part}-{number:05d}-{self._mark}-{digest[:8]}.parquet"
            make_folder((folder / name).parent)
            with tempfile.TemporaryDirectory(dir=self._staged["folder"], prefix=".part-") as made:
                write_file(aside := Path(made) / "part", content)
                _place(aside, folder / name)
            sync_folder((folder / name).parent)
            adds.append(
                _addition(
                    folder, name, partition, frame.height, frame.select(column(name) for name in _told(frame.schema))
                )
            )
        return adds

    def _again(self, state: State, files: Sequence[DataFile]) -> list[AddAction]:
        """The same files under names of this run."""
        adds = []
        for file in files:
            old = state.folder / file.path
            # What is under a name in a table never changes, so the name stands for the rows.
            digest = hashlib.sha256(file.path.encode()).hexdigest()
            new = old.with_name(f"again-{digest[:16]}-{self._mark}.parquet")
            _place(old, new)
            sync_folder(new.parent)
            name = new.relative_to(state.folder).as_posix()
            adds.append(_addition(state.folder, name, file.partition, _height(state.stored_rows([file])), None))
        return adds

    def _properties(self) -> CommitProperties:
        # Not tried again by the library: what a commit does depends on the version that it follows.
        return CommitProperties(max_commit_retries=0, app_transactions=[Transaction(self._token, 1)])


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
    status = (folder / name).stat()
    statistics: dict[str, Any] = {"numRecords": rows}
    if told is not None:
        ranges = {one.name: (one.min(), one.max()) for one in told if one.null_count() < len(one)}
        statistics["minValues"] = {name: _json(low) for name, (low, _) in ranges.items()}
        statistics["maxValues"] = {name: _json(high) for name, (_, high) in ranges.items()}
        statistics["nullCount"] = {one.name: one.null_count() for one in told}
    values = {name: _text(value) for name, value in partition.items()}
    return AddAction(name, status.st_size, values, status.st_mtime_ns // 10**6, True, json.dumps(statistics))


def _removal(file: DataFile) -> RemoveAction:
    values = {name: _text(value) for name, value in file.partition.items()}
    return RemoveAction(file.path, True, time.time_ns() // 10**6, file.size, values)


def _keys(rows: pl.LazyFrame, key: Sequence[str]) -> pl.LazyFrame:
    # Under names of their own: "*" as a name would mean all columns.
    return rows.select(column(name).alias(f"key {i}") for i, name in enumerate(key))


def _same(rows: pl.LazyFrame, new: pl.LazyFrame, key: Sequence[str]) -> pl.LazyFrame:
    """The rows that are among the new ones, to the last bit."""
    schema = rows.collect_schema()
    if any(leaf.is_float() for dtype in schema.values() if dtype.is_nested() for leaf in leaf_types(dtype)):
        # There is no way to tell 0.0 from -0.0 inside of others.
        return rows.head(0)
    ours, theirs = (
        frame.select(column(name).alias(f"{side} {i}") for i, name in enumerate(schema))
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


def _quoted(text: str | None) -> str:
    # As Hive writes it, which some readers take the value from.
    return NULL_PARTITION if text is None else quote(text, safe="")
