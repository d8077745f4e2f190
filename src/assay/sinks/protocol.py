"""What a sink is: somewhere that the frames of a run go, staged first and then published at once.

A sink stands in a pipeline as a frozen value. When a run begins it is opened; then, in this order:

    target = sink.open(root, staging, "lines", default="orders.db")
    target.check(schema)              # before any data is read
    target.stage(frame)               # as often as needed: goes to the staging folder, nobody sees it
    staged = target.prepare()         # durable from here on; `staged` is JSON, and all that publishing needs
    publish(staged, run_id)           # now everybody sees it, all at once

`publish` may be called again, by another process, after a crash at any point, with nothing but the JSON: what is
visible afterwards is what one call makes visible. `discard` undoes what was staged and not published.

What a mode means is the same everywhere, rows being the rows of this run:

| mode | what is published afterwards |
|---|---|
| `append` | what was there, and the rows |
| `replace` | the rows |
| `upsert` | what was there but for the keys that the rows have, and the rows |
| `delete_missing` | the rows, by key: what has a key that they lack is gone, and a row that is equal stays untouched |
| `merge` | as `replace`: the pipeline reads what was there and merges it into the rows before it stages them |

A target that was read replaces only what was read: if another run has published in between, `publish` says so and
publishes nothing, because the rows do not contain what that run wrote.

Columns are as they were declared. Where the rows have others than what is published, `on_schema_change` says what is
done: `error`, or `add`, which adds new columns to what is published (old rows have null there). A column that is gone
or has another type is an error in either case, where old rows stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args

import polars as pl

from assay.errors import ConfigurationError, SinkError, unknown_name

Mode = Literal["append", "delete_missing", "merge", "replace", "upsert"]
"""How rows are put together with what is published already."""

MODES: tuple[Mode, ...] = get_args(Mode)

OnSchemaChange = Literal["error", "add"]
"""What is done where the rows have columns that are not published yet."""

KEEPING: tuple[Mode, ...] = ("append", "upsert")
"""Modes after which rows that were published before may still be there."""

Staged = dict[str, Any]
"""What `prepare` returns: JSON, and all that publishing needs.

Every sink gives `sink` (the name in the factory), `output`, `target` (for people), `mode`, `key` (list or null),
`on_schema_change`, `rows`, `folder` (of the staged files) and `files` (a list of `path`, `rows`, `bytes`,
`sha256`); more as it needs.
"""


class OpenSink(Protocol):
    """A sink in a run: takes the run's rows for one output."""

    @property
    def mode(self) -> Mode:
        """The mode that the sink was declared with."""
        ...

    @property
    def location(self) -> str:
        """Where the rows go, for people and for telling two outputs with one target; no secret is in it."""
        ...

    def check(self, schema: pl.Schema) -> None:
        """Take the schema of the frames to come; nothing is written.

        Raises:
            SinkError: a column cannot be stored, does not fit what is published already, or a key is no column;
                or something stands at the target that Assay did not make.
        """
        ...

    def stage(self, frame: pl.DataFrame) -> None:
        """Write some rows to the staging folder; memory does not grow with their number.

        Raises:
            SinkError: the schema is not the one that was checked, or a value cannot be stored.
        """
        ...

    def prepare(self, mode: Mode | None = None) -> Staged:
        """Make what was staged durable and say what is to be published; no row may follow.

        Args:
            mode: Another mode than the declared one (a replay appends where its run replaced).

        Raises:
            SinkError: two rows of the run have the same key, or what is published does not fit (any more).
        """
        ...

    def read(self) -> pl.LazyFrame | None:
        """What is published now, None if nothing is; what is prepared afterwards replaces this and nothing else."""
        ...


class Sink(Protocol):
    """A sink as it stands in a pipeline: a frozen value."""

    kind: ClassVar[str]
    """Its name in the factory."""

    @property
    def mode(self) -> Mode:
        """How rows are put together with what is published already."""
        ...

    @property
    def key(self) -> tuple[str, ...] | None:
        """Columns that tell the rows apart; unique within a run wherever given."""
        ...

    @property
    def on_schema_change(self) -> OnSchemaChange:
        """What is done where the rows have columns that are not published yet."""
        ...

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenSink:
        """Make it ready for one run; nothing is written yet.

        Args:
            root: Where relative paths begin.
            staging: A folder of this run and output alone, on the file system of `root`; made when needed.
            name: Name of the output, which errors give.
            default: Name of a database file, for sinks that need one and name none.
        """
        ...

    def under(self, folder: Path) -> Sink:
        """The same sink with its files in another folder; a database that is no file stays where it is."""
        ...

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Make what was prepared visible, all at once; False if this run has published it before.

        Raises:
            SinkError: what was staged is damaged, or the target is not what it was prepared for; nothing changed.
        """
        ...

    @classmethod
    def has_published(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Whether the target is there and knows that this run has published to it.

        Raises:
            SinkError: the target cannot be read.
        """
        ...


def declared(
    kind: str, mode: str, key: tuple[str, ...] | str | None, on_schema_change: str = "error"
) -> tuple[str, ...] | None:
    """Check mode, key and schema change as a sink is written down; returns the key as a tuple.

    Raises:
        ConfigurationError: no such mode or way to change, or a mode that needs a key has none.
    """
    if mode not in MODES:
        raise ConfigurationError(unknown_name("mode", mode, MODES), where=kind)
    if on_schema_change not in get_args(OnSchemaChange):
        known = get_args(OnSchemaChange)
        raise ConfigurationError(unknown_name("on_schema_change", on_schema_change, known), where=kind)
    columns = (key,) if isinstance(key, str) else tuple(key) if key is not None else None
    if mode in ("upsert", "delete_missing") and not columns:
        raise ConfigurationError(f'mode "{mode}" needs key=(...): the columns that tell rows apart', where=kind)
    if columns is not None and len(set(columns)) != len(columns):
        raise ConfigurationError(f"key names a column twice: {', '.join(columns)}", where=kind)
    return columns


def check_key(schema: pl.Schema, key: tuple[str, ...] | None, output: str) -> None:
    """Check that a key can tell rows apart.

    Raises:
        SinkError: it names no column, or one whose values are not compared exactly.
    """
    for name in key or ():
        if name not in schema:
            raise SinkError(f"key: {unknown_name('column', name, schema)}", sink=output)
        dtype = schema[name]
        if dtype.is_nested() or dtype.is_float() or isinstance(dtype, pl.Null):
            raise SinkError(f'column "{name}" is {dtype} and cannot be a key', sink=output)


def check_same_columns(
    stored: pl.Schema, schema: pl.Schema, output: str, *, ordered: bool, on_schema_change: OnSchemaChange = "error"
) -> None:
    """Check that rows of `schema` can stand beside those that are published.

    Raises:
        SinkError: names the first column that differs, and how.
    """
    for name, dtype in schema.items():
        if name not in stored:
            if on_schema_change == "add":
                continue
            raise SinkError(
                f'column "{name}" is not in what is published: {", ".join(stored)}; on_schema_change="add" adds it',
                sink=output,
            )
        if stored[name] != dtype:
            raise SinkError(f'column "{name}" is {stored[name]} in what is published, and now {dtype}', sink=output)
    for name in stored:
        if name not in schema:
            raise SinkError(f'column "{name}" is in what is published, and not in the new rows', sink=output)
    if ordered and stored.names() != [name for name in schema if name in stored]:
        raise SinkError(
            f"the columns are published in the order {', '.join(stored)}; now it is {', '.join(schema)}", sink=output
        )
