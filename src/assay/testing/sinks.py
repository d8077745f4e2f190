"""What every sink must do.

Subclass in a test module, say how the sink is made, and pytest runs the whole battery:

    class TestMySink(SinkConformance):
        def make(self, mode, key=None, on_schema_change="error"):
            return MySink("lines", mode=mode, key=key, on_schema_change=on_schema_change)
"""
# ruff: noqa: D102, S101 - these are tests: their names say what they are about, and they assert

from __future__ import annotations

import functools
import json
import math
import os
import pickle
import threading
import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import polars as pl
import polars.selectors as cs
import pytest
from polars.testing import assert_frame_equal

from assay.errors import ConfigurationError, SinkError
from assay.sinks import Mode, OnSchemaChange, OpenSink, Sink, SinkFactory, Staged, discard, publish, staged_rows

Steps = tuple[tuple[Any, str], ...]

FILE_STEPS: Steps = tuple(
    (os, name) for name in ("fsync", "link", "mkdir", "open", "rename", "replace", "rmdir", "symlink", "unlink")
)
"""Steps on files between which a process can be killed."""

_MONEY = pl.Decimal(38, 10)
_SCHEMA = pl.Schema({"id": pl.Int64(), "name": pl.String(), "net": _MONEY})
_MODES: tuple[Mode, ...] = ("append", "replace", "upsert", "delete_missing")

_STRINGS = [
    "",
    " ",
    "NULL",
    "None",
    "'; DROP TABLE lines; --",
    '"quoted"',
    "it''s",
    "back\\slash",
    "%s %(a)s :a ? {a} $1",
    "tab\tnewline\nreturn\rformfeed\f",
    "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "\ufeffbom",
    "\u202eright to left",
    "e\u0301 and \u00e9",
    "emoji 👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "\U0010ffff \uffff \ufdd0",
    "=1+1",
    "1e400",
    "0x1F",
    "x" * 10_000,
]


class _Crash(BaseException):
    """A process that ends: nothing may catch it."""


def _rows(*rows: tuple[int, str | None, str | None]) -> pl.DataFrame:
    amounts = [None if net is None else Decimal(net) for _, _, net in rows]
    columns = {"id": [row[0] for row in rows], "name": [row[1] for row in rows], "net": amounts}
    return pl.DataFrame(columns, schema=_SCHEMA)


def _assert_same(found: pl.DataFrame | None, expected: pl.DataFrame) -> None:
    assert found is not None, "nothing is published"
    assert found.schema == expected.schema
    order = [cs.by_name(name) for name, dtype in expected.schema.items() if not dtype.is_nested()]
    assert_frame_equal(found.sort(order), expected.sort(order), check_exact=True)


@dataclass
class Bench:
    """A project folder, and runs that write to one sink in it."""

    folder: Path
    make: Callable[..., Sink]
    _runs: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    @property
    def root(self) -> Path:
        """The project's root."""
        return self.folder / "root"

    def staging(self, run: str) -> Path:
        """The staging folder of a run."""
        return self.folder / "staging" / run / "lines"

    def open(
        self,
        mode: Mode = "append",
        key: tuple[str, ...] | None = None,
        on_schema_change: OnSchemaChange = "error",
        *,
        run: str = "r",
    ) -> OpenSink:
        """A new object, as a new process has it."""
        return self.make(mode, key, on_schema_change).open(self.root, self.staging(run), "lines", default="pipeline.db")

    def prepare(
        self,
        frame: pl.DataFrame | Sequence[pl.DataFrame],
        mode: Mode = "append",
        key: tuple[str, ...] | None = None,
        on_schema_change: OnSchemaChange = "error",
        *,
        run: str,
    ) -> Staged:
        """Stage and prepare; only what JSON can carry comes back."""
        frames = [frame] if isinstance(frame, pl.DataFrame) else list(frame)
        target = self.open(mode, key, on_schema_change, run=run)
        target.check(frames[0].schema)
        for one in frames:
            target.stage(one)
        staged: Staged = json.loads(json.dumps(target.prepare()))
        return staged

    def publish(
        self,
        frame: pl.DataFrame | Sequence[pl.DataFrame],
        mode: Mode = "append",
        key: tuple[str, ...] | None = None,
        on_schema_change: OnSchemaChange = "error",
    ) -> str:
        """A whole run; returns its id."""
        run = f"run-{next(self._runs)}"
        staged = self.prepare(frame, mode, key, on_schema_change, run=run)
        assert publish(staged, run) is True
        discard(staged)
        return run

    def published(self, schema: pl.Schema | None = None) -> pl.DataFrame | None:
        """What a new process finds."""
        target = self.open()
        if schema is not None:
            target.check(schema)
        found = target.read()
        return None if found is None else found.collect()

    def files(self) -> dict[str, bytes]:
        """All files of the project, to see that nothing has changed."""
        return {str(p): p.read_bytes() for p in sorted(self.folder.rglob("*")) if p.is_file()}


class SinkConformance:
    """What every sink must do: subclass, and give `make`.

    Attributes:
        unstorable: Characters that the store cannot hold; staging them must be an error.
        steps: Functions, as (owner, name), between whose calls a process can be killed while it publishes. The
            battery raises at each of these calls, one run after the other.
        stride: Of these steps, how many are passed over from one crash to the next, and one more.
        readers: How many times the published rows are replaced, and read, at the same time.
        replaced: How many rows that are, at least.
    """

    unstorable: ClassVar[str] = ""
    steps: ClassVar[Steps] = FILE_STEPS
    stride: ClassVar[int] = 1
    readers: ClassVar[int] = 10
    replaced: ClassVar[int] = 3_000

    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        """A sink that names its target relative to the root, the same each time."""
        raise NotImplementedError

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Bench:
        """A new, empty project."""
        (tmp_path / "root").mkdir()
        return Bench(tmp_path, self.make)

    # Before publishing --------------------------------------------------------------------------------------------

    def test_the_sink_is_a_frozen_value_that_the_factory_knows(self) -> None:
        sink = self.make("upsert", ("id",))
        assert SinkFactory.get(sink.kind) is type(sink)
        assert sink == self.make("upsert", ("id",)) == pickle.loads(pickle.dumps(sink))  # noqa: S301 - our own
        assert sink != self.make("append", ("id",))
        assert hash(sink) == hash(self.make("upsert", ("id",)))
        assert (sink.mode, sink.key) == ("upsert", ("id",))
        with pytest.raises(AttributeError):
            sink.mode = "append"  # type: ignore[misc]

    def test_an_unknown_mode_and_a_missing_key_are_refused_when_the_sink_is_written_down(self) -> None:
        with pytest.raises(ConfigurationError, match=r'no mode "apend"\. Did you mean "append"'):
            self.make("apend")  # type: ignore[arg-type]
        for mode in ("upsert", "delete_missing"):
            with pytest.raises(ConfigurationError, match=f'"{mode}" needs key'):
                self.make(mode)
        with pytest.raises(ConfigurationError, match=r'no on_schema_change "ad"\. Did you mean "add"'):
            self.make("append", None, "ad")  # type: ignore[arg-type]

    def test_opening_and_checking_writes_nothing(self, bench: Bench) -> None:
        target = bench.open()
        target.check(_SCHEMA)
        assert target.read() is None
        assert bench.files() == {}

    def test_staged_and_prepared_rows_are_not_visible(self, bench: Bench) -> None:
        target = bench.open()
        target.check(_SCHEMA)
        target.stage(_rows((1, "a", "1.5")))
        assert bench.published() is None
        target.prepare()
        assert bench.published() is None

    def test_what_is_staged_can_be_read_before_it_is_published(self, bench: Bench) -> None:
        frames = [_rows((1, "a", "1.5")), _rows((2, None, None), (3, "", "-0.0000000001"))]
        _assert_same(staged_rows(bench.prepare(frames, run="x")).collect(), pl.concat(frames))
        _assert_same(staged_rows(bench.prepare(_rows(), run="y")).collect(), _rows())

    def test_what_is_prepared_is_json_and_says_what_it_is(self, bench: Bench) -> None:
        target = bench.open("upsert", ("id",))
        target.check(_SCHEMA)
        target.stage(_rows((1, "a", "1.5"), (2, "b", "1")))
        target.stage(_rows((3, "c", "1.5")))
        staged = target.prepare()
        assert staged == json.loads(json.dumps(staged))
        assert (staged["output"], staged["rows"], staged["mode"], staged["key"]) == ("lines", 3, "upsert", ["id"])
        assert staged["target"] == target.location
        assert sum(file["rows"] for file in staged["files"]) == 3
        assert all(Path(file["path"]).stat().st_size == file["bytes"] for file in staged["files"])
        assert Path(staged["folder"]) == bench.staging("r")

    def test_discarding_leaves_nothing_and_touches_nothing_else(self, bench: Bench) -> None:
        bench.publish(_rows((1, "a", "1")))
        before = bench.files()
        discard(bench.prepare(_rows((2, "b", "2")), run="x"))
        died = bench.open(run="y")
        died.check(_SCHEMA)
        died.stage(_rows((3, "c", "3")))
        discard(bench.staging("y"))
        discard(bench.staging("y"))
        assert bench.files() == before

    def test_what_an_earlier_attempt_staged_in_the_same_folder_is_not_published(self, bench: Bench) -> None:
        bench.prepare([_rows((1, "a", "1")), _rows((2, "b", "1"))], run="x")
        staged = bench.prepare(_rows((3, "c", "1")), run="x")
        publish(staged, "x")
        _assert_same(bench.published(), _rows((3, "c", "1")))

    def test_rows_that_are_not_as_announced_are_refused(self, bench: Bench) -> None:
        target = bench.open()
        with pytest.raises(SinkError, match="check"):
            target.stage(_rows())
        target.check(_SCHEMA)
        for wrong, words in [
            (_rows((1, "a", "1")).with_columns(pl.col("net").cast(pl.Decimal(38, 2))), '"net"'),
            (_rows((1, "a", "1")).drop("name"), '"name"'),
            (_rows((1, "a", "1")).with_columns(x=1), '"x"'),
        ]:
            with pytest.raises(SinkError, match=words):
                target.stage(wrong)
        target.stage(_rows((1, "a", "1")))
        target.prepare()
        with pytest.raises(SinkError, match="prepare"):
            target.stage(_rows((2, "a", "1")))

    def test_a_type_that_cannot_be_stored_is_named_before_any_data(self, bench: Bench) -> None:
        for dtype in (pl.Object(), pl.List(pl.Struct({"x": pl.Object()}))):
            with pytest.raises(SinkError, match=r'output lines: column "odd"'):
                bench.open().check(pl.Schema({"id": pl.Int64(), "odd": dtype}))

    def test_a_key_that_cannot_tell_rows_apart_is_named_before_any_data(self, bench: Bench) -> None:
        with pytest.raises(SinkError, match=r'no column "nam"\. Did you mean "name"'):
            bench.open("upsert", ("nam",)).check(_SCHEMA)
        for dtype in (pl.Float64(), pl.List(pl.Int64())):
            with pytest.raises(SinkError, match=r'"id" is .* cannot be a key'):
                bench.open("upsert", ("id",)).check(pl.Schema({"id": dtype}))

    @pytest.mark.parametrize("mode", _MODES)
    def test_a_key_that_is_there_twice_in_a_run_is_named(self, bench: Bench, mode: Mode) -> None:
        twice = [_rows((5, "a", "1"), (7, "b", "1"), (3, "c", "1")), _rows((3, "c", "2"), (7, "d", "3"))]
        with pytest.raises(SinkError, match=r"key \(id\).* id=7 is there 2 times, first in row 2"):
            bench.prepare(twice, mode, ("id",), run="x")
        with pytest.raises(SinkError, match=r"key \(id, name\).* id=5, name=None has a null, first in row 2"):
            bench.prepare(_rows((5, "a", "1"), (5, None, "1")), mode, ("id", "name"), run="y")
        assert bench.published() is None

    # Publishing ---------------------------------------------------------------------------------------------------

    def test_publishing_makes_exactly_the_staged_rows_visible(self, bench: Bench) -> None:
        frames = [_rows((1, "a", "1.5")), _rows(), _rows((2, None, None), (3, "c", "-0.0000000001"))]
        bench.publish(frames)
        _assert_same(bench.published(), pl.concat(frames))

    def test_it_is_known_which_runs_have_published(self, bench: Bench) -> None:
        staged = bench.prepare(_rows((1, "a", "1")), run="x")
        sink = SinkFactory.get(staged["sink"])
        assert sink.has_published(staged, "x") is False
        publish(staged, "x")
        assert sink.has_published(staged, "x") is True
        assert sink.has_published(staged, "y") is False
        discard(staged)
        for mode in ("append", "replace"):
            bench.publish(_rows((2, "a", "1")), mode)
            assert sink.has_published(staged, "x") is True

    @pytest.mark.parametrize("mode", _MODES)
    def test_publishing_a_run_again_changes_nothing(self, bench: Bench, mode: Mode) -> None:
        bench.publish(_rows((1, "a", "1")), mode, ("id",))
        staged = bench.prepare(_rows((1, "b", "2"), (2, "c", "3")), mode, ("id",), run="x")
        assert [publish(staged, "x"), publish(staged, "x")] == [True, False]
        after = bench.published()
        bench.publish(_rows((9, "z", "9")))
        assert publish(staged, "x") is False
        discard(staged)
        assert publish(staged, "x") is False
        assert after is not None
        _assert_same(bench.published(), pl.concat([after, _rows((9, "z", "9"))]))

    def test_the_same_run_may_publish_two_outputs(self, bench: Bench) -> None:
        staged = bench.prepare(_rows((1, "a", "1")), run="x")
        other = bench.make("append").open(
            bench.root, bench.staging("x").with_name("more"), "more", default="pipeline.db"
        )
        other.check(_SCHEMA)
        other.stage(_rows((2, "b", "2")))
        assert publish(staged, "x")
        assert publish(other.prepare(), "x")
        _assert_same(bench.published(), _rows((1, "a", "1"), (2, "b", "2")))

    def test_append_adds(self, bench: Bench) -> None:
        bench.publish(_rows((1, "a", "1"), (2, "b", "1")))
        bench.publish(_rows((2, "b", "1"), (3, "c", "1")))
        _assert_same(bench.published(), _rows((1, "a", "1"), (2, "b", "1"), (2, "b", "1"), (3, "c", "1")))

    @pytest.mark.parametrize("mode", ["replace", "merge"])
    def test_replace_replaces(self, bench: Bench, mode: Mode) -> None:
        bench.publish(_rows((1, "a", "1"), (2, "b", "1")), mode)
        bench.publish(_rows((2, "x", "5")), mode)
        _assert_same(bench.published(), _rows((2, "x", "5")))

    def test_upsert_replaces_what_has_the_same_key(self, bench: Bench) -> None:
        key = ("name", "id")
        bench.publish(_rows((1, "a", "1"), (2, "b", "1"), (2, "c", "1"), (4, "d", "1")), "upsert", key)
        bench.publish(_rows((2, "b", "7"), (5, "a", "7")), "upsert", key)
        expected = _rows((1, "a", "1"), (2, "b", "7"), (2, "c", "1"), (4, "d", "1"), (5, "a", "7"))
        _assert_same(bench.published(), expected)
        bench.publish(_rows((1, "a", "8"), (2, "b", "8"), (2, "c", "8"), (4, "d", "8"), (5, "a", "8")), "upsert", key)
        _assert_same(bench.published(), expected.with_columns(net=pl.lit(Decimal(8), dtype=_MONEY)))

    def test_delete_missing_leaves_exactly_the_rows(self, bench: Bench) -> None:
        key = ("name", "id")
        before = _rows((1, "a", "1"), (2, "b", "1"), (2, "c", None), (2, "c", None), (4, None, "1"))
        bench.publish(before)
        rows = _rows((1, "a", "1"), (2, "b", "7"), (2, "c", None), (5, "a", "7"))
        bench.publish(rows, "delete_missing", key)
        _assert_same(bench.published(), rows)
        bench.publish(rows[2:], "delete_missing", key)
        _assert_same(bench.published(), rows[2:])

    @pytest.mark.parametrize("mode", _MODES)
    def test_a_new_column_is_added_where_that_is_declared(self, bench: Bench, mode: Mode) -> None:
        bench.publish(_rows((1, "a", "1"), (2, "b", "2")), mode, ("id",))
        more = _rows((2, "x", "3"), (3, "y", None)).select(
            "id", pl.lit(value=True).alias("paid"), "name", "net", pl.Series("tags", [["a"], None])
        )
        bench.publish(more, mode, ("id",), "add")
        old = _rows((1, "a", "1"), (2, "b", "2"))
        kept = {"append": old, "upsert": old[:1], "replace": old[:0], "delete_missing": old[:0]}[mode]
        expected = pl.concat([kept, more], how="diagonal").select(more.columns)
        found = bench.published()
        assert found is not None
        _assert_same(found.select(more.columns), expected)
        bench.publish(more[:0], mode, ("id",))
        if mode in ("append", "upsert"):
            bench.publish(more.with_columns(id=9)[:1].cast(more.schema), mode, ("id",))
            again = bench.published()
            assert again is not None
            assert again.height == expected.height + 1

    @pytest.mark.parametrize("mode", ["append", "upsert"])
    def test_only_new_columns_are_added(self, bench: Bench, mode: Mode) -> None:
        bench.publish(_rows((1, "a", "1")))
        for changed, words in [
            (_rows((1, "a", "1")).drop("name").with_columns(new=1), '"name" is in what is published'),
            (_rows((1, "a", "1")).with_columns(net=1, new=1), '"net" is Decimal'),
        ]:
            with pytest.raises(SinkError, match=f"output lines: .*{words}"):
                bench.open(mode, ("id",), "add").check(changed.schema)

    def test_another_mode_than_the_declared_one_may_be_asked_for(self, bench: Bench) -> None:
        bench.publish(_rows((1, "a", "1")), "replace")
        target = bench.open("replace", run="x")
        target.check(_SCHEMA)
        target.stage(_rows((2, "b", "1")))
        staged = target.prepare("append")
        assert staged["mode"] == "append"
        publish(staged, "x")
        _assert_same(bench.published(), _rows((1, "a", "1"), (2, "b", "1")))

    @pytest.mark.parametrize("mode", _MODES)
    def test_no_rows_are_published_with_their_schema(self, bench: Bench, mode: Mode) -> None:
        bench.publish(_rows(), mode, ("id",))
        _assert_same(bench.published(), _rows())
        bench.publish(_rows((1, "a", "1")), mode, ("id",))
        bench.publish(_rows(), mode, ("id",))
        _assert_same(bench.published(), _rows() if mode in ("replace", "delete_missing") else _rows((1, "a", "1")))

    def test_two_runs_that_were_prepared_at_the_same_time_both_count(self, bench: Bench) -> None:
        first, second = (bench.prepare(_rows((n, "a", "1")), run=f"x{n}") for n in (1, 2))
        publish(second, "x2")
        publish(first, "x1")
        _assert_same(bench.published(), _rows((1, "a", "1"), (2, "a", "1")))

    def test_what_was_read_and_has_changed_since_is_not_replaced(self, bench: Bench) -> None:
        bench.publish(_rows((1, "a", "1")), "replace")
        target = bench.open("merge", run="x")
        target.check(_SCHEMA)
        stored = target.read()
        assert stored is not None
        target.stage(stored.collect())
        staged = target.prepare("replace")
        bench.publish(_rows((2, "b", "1")), "append")
        with pytest.raises(SinkError, match="another run has published"):
            publish(staged, "x")
        _assert_same(bench.published(), _rows((1, "a", "1"), (2, "b", "1")))

    def test_what_was_read_and_has_not_changed_is_replaced(self, bench: Bench) -> None:
        for run, net in (("x", "1"), ("y", "2")):
            target = bench.open("merge", run=run)
            target.check(_SCHEMA)
            target.read()
            target.stage(_rows((1, "a", net)))
            assert publish(target.prepare(), run)
        _assert_same(bench.published(), _rows((1, "a", "2")))

    @pytest.mark.parametrize("mode", ["append", "upsert"])
    def test_columns_that_do_not_fit_what_is_published_are_named(self, bench: Bench, mode: Mode) -> None:
        bench.publish(_rows((1, "a", "1")))
        kinds: dict[str, pl.DataType] = dict(_SCHEMA)
        wrong: list[tuple[dict[str, pl.DataType], str]] = [
            (kinds | {"net": pl.Decimal(38, 2)}, '"net" is Decimal.*scale=10.*scale=2'),
            (kinds | {"name": pl.Int64()}, '"name" is String'),
            (kinds | {"more": pl.Int64()}, '"more"'),
            ({"id": pl.Int64(), "net": _MONEY}, '"name"'),
        ]
        for schema, words in wrong:
            with pytest.raises(SinkError, match=f"output lines: .*{words}"):
                bench.open(mode, ("id",)).check(pl.Schema(schema))

    def test_damaged_staged_rows_are_not_published(self, bench: Bench) -> None:
        bench.publish(_rows((1, "a", "1")))
        staged = bench.prepare(_rows((2, "b", "2")), run="x")
        file = Path(staged["files"][0]["path"])
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(SinkError, match="damaged"):
            publish(staged, "x")
        file.unlink()
        with pytest.raises(SinkError, match="gone"):
            publish(staged, "x")
        _assert_same(bench.published(), _rows((1, "a", "1")))
        file.write_bytes(content)
        assert publish(staged, "x")
        _assert_same(bench.published(), _rows((1, "a", "1"), (2, "b", "2")))

    def test_files_go_under_another_folder_on_request(self, bench: Bench) -> None:
        elsewhere = bench.folder / "elsewhere"
        sink = bench.make("append").under(elsewhere)
        target = sink.open(bench.root, bench.staging("x"), "lines", default="pipeline.db")
        target.check(_SCHEMA)
        target.stage(_rows((1, "a", "1")))
        publish(target.prepare(), "x")
        assert bench.published() is None
        again = sink.open(bench.root, bench.staging("x"), "lines", default="pipeline.db").read()
        _assert_same(again.collect() if again is not None else None, _rows((1, "a", "1")))
        assert not any(path.is_file() for path in bench.root.rglob("*"))
        assert str(elsewhere) in target.location

    # Values -------------------------------------------------------------------------------------------------------

    def test_values_come_back_equal(self, bench: Bench) -> None:
        frame = _values()
        bench.publish(frame)
        _assert_same(bench.published(), frame)
        bench.publish(frame, "append")
        _assert_same(bench.published(), pl.concat([frame, frame]))

    def test_naughty_strings_come_back_equal(self, bench: Bench) -> None:
        nul = [] if "\x00" in self.unstorable else ["\x00", "a\x00b"]
        texts = [text for text in _STRINGS + nul if not set(text) & set(self.unstorable)]
        frame = pl.DataFrame({"id": range(len(texts)), "text": texts, "list": [[text, None] for text in texts]})
        bench.publish(frame)
        _assert_same(bench.published(), frame)

    def test_naughty_strings_are_keys_too(self, bench: Bench) -> None:
        texts = [text for text in [*_STRINGS, "\x00", "a\x00b"] if not set(text) & set(self.unstorable)]
        for amount in ("1", "2"):
            frame = pl.DataFrame({"key": texts}).with_columns(net=pl.lit(Decimal(amount), dtype=_MONEY))
            bench.publish(frame, "upsert", ("key",))
            _assert_same(bench.published(), frame)

    def test_characters_that_cannot_be_stored_are_an_error_when_they_are_staged(self, bench: Bench) -> None:
        for character in self.unstorable:
            target = bench.open()
            target.check(_SCHEMA)
            with pytest.raises(SinkError, match='column "name"'):
                target.stage(_rows((1, f"a{character}b", None)))

    def test_exact_keys_of_every_kind_find_their_rows(self, bench: Bench) -> None:
        key = ("i", "d", "t", "e", "m", "b", "u", "z")
        frame = pl.DataFrame(
            {
                "i": pl.Series([1, 1, -(2**63)], dtype=pl.Int64),
                "d": pl.Series([Decimal("1.50"), Decimal("-1.50"), Decimal("0.00")], dtype=pl.Decimal(38, 2)),
                "t": [date(2024, 2, 29)] * 3,
                "e": pl.Series(["x", "y", "x"], dtype=pl.Enum(["y", "x"])),
                "m": [datetime(2024, 2, 29, 12, 0, 0, n) for n in (0, 1, 2)],  # noqa: DTZ001 - without a zone
                "b": [True, False, True],
                "u": pl.Series([2**64 - 1, 0, 1], dtype=pl.UInt64),
                "z": [datetime(2024, 10, 27, 0, 30, tzinfo=UTC)] * 3,
                "v": [1, 1, 1],
            }
        )
        bench.publish(frame, "upsert", key)
        bench.publish(frame.with_columns(v=pl.lit(2, dtype=pl.Int64)), "upsert", key)
        found = bench.published()
        assert found is not None
        assert_frame_equal(found.sort(key), frame.with_columns(v=pl.lit(2, dtype=pl.Int64)).sort(key))

    def test_names_of_columns_are_names_and_nothing_else(self, bench: Bench) -> None:
        names = [
            'a "b" c',
            "select",
            "a'; DROP TABLE lines; --",
            "*",
            "^.*$",
            "%(x)s :y ?",
            "ä🙂",
            "new\nline",
            "a/b",
            " ",
        ]
        frame = pl.DataFrame({name: [i, i + 1] for i, name in enumerate(names)})
        key = (names[0], names[3], names[4], names[5])
        bench.publish(frame, "upsert", key)
        changed = frame.with_columns(cs.by_name(" ").as_expr() + 100)
        bench.publish(changed, "upsert", key)
        _assert_same(bench.published(), changed)
        with pytest.raises(SinkError, match="does not tell the rows apart"):
            bench.prepare(pl.concat([frame, frame]), "upsert", key, run="x")

    # Faults -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("mode", _MODES)
    def test_a_crash_at_any_step_of_publishing_is_mended_by_publishing_again(
        self, bench: Bench, mode: Mode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = _rows((0, "old", "0"), (1, "old", "0"))
        # Another beginning for each mode: together they come to all steps that they have in common.
        crashes, crashed, step = 0, True, 1 + _MODES.index(mode) % self.stride - self.stride
        while crashed:
            step += self.stride
            # As many steps each time: what is there before must not grow.
            bench.publish(before, "replace")
            run = f"crash-{step}"
            frame = _rows((1, run, "1"), (2, run, "2"))
            staged = bench.prepare(frame, mode, ("id",), run=run)
            after = _expected(before, frame, mode)
            with monkeypatch.context() as patch:
                crashed = _crash(patch, self.steps, step, functools.partial(publish, staged, run))
            crashes += crashed
            found = bench.published()
            assert found is not None
            assert _equal(found, before) or _equal(found, after), f"step {step}: half a state"
            publish(staged, run)
            _assert_same(bench.published(), after)
            assert publish(staged, run) is False
            discard(staged)
        assert crashes, "no step was found at which to crash: give `steps`"

    def test_a_reader_never_sees_half_a_state(self, bench: Bench) -> None:
        rows = self.replaced

        def state(run: int) -> pl.DataFrame:
            return (
                pl.DataFrame({"id": range(rows + run), "name": f"run {run}"})
                .with_columns(net=pl.lit(Decimal(run), dtype=_MONEY))
                .cast(_SCHEMA)
            )

        bench.publish(state(0), "replace")
        wrong: list[str] = []
        reads = 0
        done = threading.Event()

        def poll() -> None:
            nonlocal reads
            while not done.is_set() or reads == 0:
                begun = run
                try:
                    found = bench.published()
                except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                    # Only a state that was replaced twice while it was read may be gone.
                    if run < begun + 2:
                        wrong.append(repr(error))
                    continue
                reads += 1
                if found is None:
                    wrong.append("nothing")
                    return
                runs = found["net"].unique().to_list()
                if len(runs) != 1 or found.height != rows + int(runs[0]) or found["id"].n_unique() != found.height:
                    wrong.append(f"{found.height} rows of runs {runs}")
                    return

        run = 0
        reader = threading.Thread(target=poll)
        reader.start()
        deadline = clock.monotonic() + 20
        while min(reads, run) < self.readers and not wrong and clock.monotonic() < deadline:
            run += 1
            bench.publish(state(run), "replace")
        done.set()
        reader.join()
        assert wrong == []
        assert min(reads, run) >= self.readers, "too slow to tell"


def _crash(patch: pytest.MonkeyPatch, steps: Steps, at: int, action: Callable[[], object]) -> bool:
    """Run an action that ends at the n-th of these steps; False if it has fewer."""
    count = 0

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                raise _Crash
            return original(*args, **kwargs)

        return call

    for owner, name in steps:
        patch.setattr(owner, name, wrapped(getattr(owner, name)))
    try:
        action()
    except _Crash:
        return True
    return False


def _expected(before: pl.DataFrame, rows: pl.DataFrame, mode: Mode) -> pl.DataFrame:
    if mode in ("replace", "delete_missing"):
        return rows
    kept = before.join(rows, on="id", how="anti") if mode == "upsert" else before
    return pl.concat([kept, rows])


def _equal(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    return a.sort("id", "name", "net").equals(b.sort("id", "name", "net"))


def _values() -> pl.DataFrame:
    """Values of every kind, at their edges; three rows, the last one of nulls."""
    largest = Decimal("9999999999999999999999999999.9999999999")
    zone = ZoneInfo("Europe/Berlin")
    # The hour that comes twice, both times.
    fold = [datetime(2024, 10, 27, 0, 30, tzinfo=UTC), datetime(2024, 10, 27, 1, 30, tzinfo=UTC)]
    naive = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)]  # noqa: DTZ001 - without a zone
    nested = pl.Struct(
        {
            "amount": _MONEY,
            "day": pl.Date(),
            "at": pl.Datetime("us", "UTC"),
            "tags": pl.List(pl.String()),
            "weight": pl.Float64(),
            "flag": pl.Boolean(),
            "n": pl.UInt64(),
        }
    )
    one = {
        "amount": largest.copy_negate(),
        "day": date(2024, 2, 29),
        "at": fold[0],
        "tags": ['"', None, "\n", ""],
        "weight": -0.1,
        "flag": False,
        "n": 2**64 - 1,
    }
    none = dict.fromkeys(one)
    columns: dict[str, tuple[Any, list[Any]]] = {
        "id": (pl.Int64(), [1, 2]),
        "decimal": (_MONEY, [largest, largest.copy_negate()]),
        "cents": (pl.Decimal(5, 2), [Decimal("0.10"), Decimal("-999.99")]),
        "whole": (pl.Decimal(38, 0), [Decimal("9" * 38), Decimal(0)]),
        "tiny": (pl.Decimal(38, 38), [Decimal("0." + "9" * 38), Decimal("-1E-38")]),
        "day": (pl.Date(), [date(1, 1, 1), date(9999, 12, 31)]),
        "naive": (pl.Datetime("us"), naive),
        "milli": (pl.Datetime("ms"), [datetime(1969, 12, 31, 23, 59, 59, 999_000), naive[1].replace(microsecond=0)]),  # noqa: DTZ001
        "aware": (pl.Datetime("us", "UTC"), fold),
        "local": (pl.Datetime("us", "Europe/Berlin"), [at.astimezone(zone) for at in fold]),
        "clock": (pl.Time(), [time(0), time(23, 59, 59, 999_999)]),
        "span": (pl.Duration("us"), [timedelta(microseconds=-1), timedelta(days=10_000)]),
        "int8": (pl.Int8(), [-128, 127]),
        "int64": (pl.Int64(), [-(2**63), 2**63 - 1]),
        "uint64": (pl.UInt64(), [0, 2**64 - 1]),
        "float": (pl.Float64(), [0.1, math.inf]),
        "float32": (pl.Float32(), [math.nan, -0.0]),
        "nan": (pl.Float64(), [math.nan, 5e-324]),
        "flag": (pl.Boolean(), [True, False]),
        "kind": (pl.Enum(["b", "a"]), ["a", "b"]),
        "raw": (pl.Binary(), [b"", b"\x00\xff'"]),
        "text": (pl.String(), ["", "ä"]),
        "tags": (pl.List(pl.String()), [[], ["a", None]]),
        "amounts": (pl.List(_MONEY), [[largest, None], [Decimal("0.1")]]),
        "struct": (nested, [one, none]),
        "structs": (pl.List(nested), [[one, none, None], []]),
        "deep": (pl.List(pl.List(pl.Struct({"x": pl.Binary()}))), [[[{"x": b"\xff"}], [], None], [None]]),
        "nothing": (pl.Null(), [None, None]),
    }
    return pl.DataFrame([pl.Series(name, [*values, None], dtype=dtype) for name, (dtype, values) in columns.items()])
