"""What is particular to the Delta sink: the log, the files, tables of others, partitions, conflicts."""

from __future__ import annotations

import errno
import json
import os
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
import pytest
from deltalake import DeltaTable, Field, Schema, transaction, write_deltalake
from deltalake.schema import MapType, PrimitiveType
from polars.testing import assert_frame_equal
from tests.sinks.using import Published

from assay.errors import ConfigurationError, SinkError
from assay.sinks import Delta, Mode, delta_commit, publish
from assay.sinks.delta_table import Table

LONG = PrimitiveType("long")
FRAME = pl.DataFrame({"id": [1, 2, 3, 4], "run": "r1", "net": [Decimal("0.10"), None, Decimal("2.50"), Decimal(3)]})


TABLE = Published(Delta, {"path": "out/lines", "key": ("id",), "part_rows": 2}, FRAME)
opened, prepare, run, found = TABLE.opened, TABLE.prepare, TABLE.run, TABLE.found


def files(root: Path) -> list[str]:
    return sorted(Path(uri).name for uri in DeltaTable(root / "out/lines").file_uris())


def log(root: Path, version: int) -> list[dict[str, Any]]:
    text = (root / f"out/lines/_delta_log/{version:020}.json").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_rows_and_token_are_one_commit(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    run(tmp_path, "r2", FRAME.with_columns(id=pl.col("id") + 10))
    assert DeltaTable(tmp_path / "out/lines").version() == 1
    kinds = [next(iter(action)) for action in log(tmp_path, 1)]
    assert kinds == ["commitInfo", "add", "add", "txn"]
    assert log(tmp_path, 1)[-1]["txn"]["appId"] == "assay lines r2"
    assert not (tmp_path / "staging/r2").exists()


def test_other_tools_read_the_same_rows(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    run(tmp_path, "r2", FRAME.head(2).with_columns(run=pl.lit("r2")), "upsert")
    path = str(tmp_path / "out/lines")
    assert_frame_equal(pl.read_delta(path).sort("id"), found(tmp_path).sort("id"))
    by_itself = pl.DataFrame(DeltaTable(path).scan())
    assert by_itself.sort("id")["run"].to_list() == ["r2", "r2", "r1", "r1"]


def test_staged_files_are_the_tables_and_no_row_is_written_twice(tmp_path: Path) -> None:
    staged = prepare(tmp_path, "r1", FRAME)
    nodes = {Path(file["path"]).stat().st_ino for file in staged["files"]}
    publish(staged, "r1")
    assert {(tmp_path / "out/lines" / name).stat().st_ino for name in files(tmp_path)} == nodes


def test_an_upsert_writes_only_those_files_anew_that_change(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    before = files(tmp_path)
    run(tmp_path, "r2", FRAME[2:3].with_columns(run=pl.lit("r2")), "upsert")
    after = files(tmp_path)
    assert before[0] in after
    assert before[1] not in after
    assert sorted(found(tmp_path).select("id", "run").rows()) == [(1, "r1"), (2, "r1"), (3, "r2"), (4, "r1")]


def test_delete_missing_leaves_files_alone_whose_rows_are_all_there(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    before = files(tmp_path)
    run(tmp_path, "r2", FRAME, "delete_missing")
    assert files(tmp_path) == before
    assert [next(iter(action)) for action in log(tmp_path, 1)] == ["commitInfo", "txn"]
    changed = FRAME[:3].with_columns(run=pl.when(pl.col("id") == 3).then(pl.lit("r3")).otherwise("run"))
    run(tmp_path, "r3", changed, "delete_missing")
    assert before[0] in files(tmp_path)
    assert_frame_equal(found(tmp_path).sort("id"), changed)


@pytest.mark.parametrize("value", [-0.0, float("nan")])
def test_delete_missing_sees_every_bit(tmp_path: Path, value: float) -> None:
    for frame in (pl.DataFrame({"id": [1], "x": [value]}), pl.DataFrame({"id": [1], "x": [[{"y": value}]]})):
        root = tmp_path / frame.schema["x"].base_type().__name__
        zero = frame.clear().extend(
            pl.DataFrame({"id": [1], "x": [0.0 if frame["x"].dtype.is_float() else [{"y": 0.0}]]})
        )
        run(root, "r1", zero)
        run(root, "r2", frame, "delete_missing")
        assert repr(found(root).rows()) == repr(frame.rows())


def test_rows_with_one_key_that_were_appended_become_one(tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        run(tmp_path, name, key=None)
    run(tmp_path, "r3", FRAME, "delete_missing")
    assert_frame_equal(found(tmp_path).sort("id"), FRAME)


def test_an_old_version_stays_readable(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    old = opened(tmp_path).read()
    assert old is not None
    for number in range(2, 5):
        run(tmp_path, f"r{number}", FRAME.head(1), "replace")
    assert old.collect().height == 4
    assert pl.read_delta(str(tmp_path / "out/lines"), version=0).height == 4


def test_values_that_delta_has_no_type_for_are_what_they_were_for_others_too(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": [1],
            "big": pl.Series([2**64 - 1], dtype=pl.UInt64),
            "local": pl.Series([datetime(2024, 7, 1, 12)]).dt.replace_time_zone("Europe/Berlin"),
            "naive": [datetime(2024, 7, 1, 12)],
            "exact": pl.Series([1_000, ]).cast(pl.Datetime("ns")),
            "kind": pl.Series(["a"], dtype=pl.Enum(["b", "a"])),
        }
    )  # fmt: skip
    staged = prepare(tmp_path, "r1", frame)
    assert_frame_equal(Delta.staged_rows(staged).collect(), frame)
    publish(staged, "r1")
    assert_frame_equal(found(tmp_path), frame)
    seen = pl.read_delta(str(tmp_path / "out/lines"))
    assert seen.row(0) == (
        1,
        Decimal(2**64 - 1),
        datetime(2024, 7, 1, 10, tzinfo=UTC),
        datetime(2024, 7, 1, 12),
        datetime(1970, 1, 1, 0, 0, 0, 1),
        "a",
    )


def test_nanoseconds_that_would_be_lost_are_told_with_their_row(tmp_path: Path) -> None:
    nested = pl.List(pl.Struct({"at": pl.Datetime("ns", "UTC")}))
    cases: list[tuple[str, list[Any], pl.DataType]] = [
        ("at", [0, 1_000, 1_001, 1_002], pl.Datetime("ns")),
        ("inside", [[], None, [{"at": 5}], [{"at": 6}]], nested),
    ]
    for name, values, dtype in cases:
        plain = pl.Int64() if name == "at" else pl.List(pl.Struct({"at": pl.Int64()}))
        column = pl.Series(name, values, dtype=plain).cast(dtype)
        target = opened(tmp_path, key=None)
        target.check(pl.Schema({name: dtype}))
        target.stage(column.head(1).to_frame())
        with pytest.raises(SinkError, match=f'column "{name}" has parts of a microsecond.*first in row 3'):
            target.stage(column.slice(1).to_frame())


@pytest.mark.parametrize("day", [-800_000, 5_000_000])
def test_a_year_that_others_do_not_know_is_told_with_its_row(tmp_path: Path, day: int) -> None:
    target = opened(tmp_path, key=None)
    frame = pl.DataFrame({"day": pl.Series([0, 0, day], dtype=pl.Int32).cast(pl.Date)})
    target.check(frame.schema)
    with pytest.raises(SinkError, match='column "day" has a date outside the years 1 to 9999.*first in row 3'):
        target.stage(frame)


# Partitions


def test_a_table_is_partitioned(tmp_path: Path) -> None:
    frame = FRAME.with_columns(
        day=pl.Series([date(2024, 1, 1), date(2024, 1, 2), None, date(1, 1, 1)]),
        place=pl.Series(["a/b=%", "a/b=%", "ä 🙂", None], dtype=pl.Enum(["ä 🙂", "a/b=%"])),
        open=pl.Series([True, False, True, None]),
        n=pl.Series([2**64 - 1, 0, None, 1], dtype=pl.UInt64),
    )
    by = ("day", "place", "open", "n")
    run(tmp_path, "r1", frame, partition_by=by)
    assert_frame_equal(found(tmp_path, partition_by=by).sort("id"), frame)
    run(tmp_path, "r2", frame[1:3].with_columns(run=pl.lit("r2")), "upsert", partition_by=by)
    assert sorted(found(tmp_path, partition_by=by)["run"].to_list()) == ["r1", "r1", "r2", "r2"]
    run(tmp_path, "r3", frame[1:], "delete_missing", partition_by=by)
    assert_frame_equal(found(tmp_path, partition_by=by).sort("id"), frame[1:])
    assert (tmp_path / "out/lines/day=2024-01-01/place=a%2Fb%3D%25").is_dir()
    seen = pl.read_delta(str(tmp_path / "out/lines")).sort("id")
    assert seen["day"].to_list() == frame["day"][1:].to_list()
    assert seen["place"].to_list() == frame["place"][1:].to_list()
    by_itself = pl.DataFrame(DeltaTable(tmp_path / "out/lines").scan()).sort("id")
    assert by_itself["place"].to_list() == frame["place"][1:].to_list()


def test_partitions_must_be_those_of_the_table(tmp_path: Path) -> None:
    run(tmp_path, "r1", partition_by="run")
    for by in ((), ("id",)):
        with pytest.raises(SinkError, match=r"is partitioned by run: say partition_by=\('run',\)"):
            opened(tmp_path, "replace", partition_by=by).check(FRAME.schema)


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (("rum",), 'partition_by: there is no column "rum"'),
        (("net",), 'column "net" is Decimal.*; a table is partitioned by'),
        (("id", "run"), "no rows left to store"),
    ],
)
def test_partitions_that_cannot_be_are_refused_before_any_data(tmp_path: Path, by: tuple[str, ...], words: str) -> None:
    schema = FRAME.schema if "run" not in by or "id" not in by else pl.Schema({"id": pl.Int64(), "run": pl.String()})
    with pytest.raises(SinkError, match=words):
        opened(tmp_path, partition_by=by).check(schema)


def test_a_text_that_cannot_name_a_partition_is_told_with_its_row(tmp_path: Path) -> None:
    target = opened(tmp_path, partition_by="run")
    target.check(FRAME.schema)
    with pytest.raises(SinkError, match='column "run" has an empty text.*first in row 2'):
        target.stage(FRAME.with_columns(run=pl.Series(["a", "", None, ""])))
    with pytest.raises(SinkError, match='column "run" has the text "__HIVE.*null to some readers, first in row 4'):
        target.stage(FRAME.with_columns(run=pl.Series(["a", "b", None, "__HIVE_DEFAULT_PARTITION__"])))
    with pytest.raises(SinkError, match='column "run" has a text of over 60 bytes.*first in row 4'):
        target.stage(FRAME.with_columns(run=pl.Series(["a", "x" * 60, None, "ä" * 31])))


# What is there already


@pytest.mark.parametrize(("kind", "words"), [("folder", "a folder that is no Delta table"), ("file", "a file")])
def test_what_is_no_table_is_never_touched(tmp_path: Path, kind: str, words: str) -> None:
    staged = prepare(tmp_path, "r1", FRAME)
    out = tmp_path / "out/lines"
    out.parent.mkdir()
    if kind == "folder":
        out.mkdir()
        (out / "mine.parquet").write_bytes(b"mine")
    else:
        out.write_bytes(b"mine")
    with pytest.raises(SinkError, match=f"output lines: .*out/lines is {words}: move it away, or write elsewhere"):
        opened(tmp_path).check(FRAME.schema)
    with pytest.raises(SinkError, match=words):
        publish(staged, "r1")
    assert [p.name for p in out.rglob("*")] == (["mine.parquet"] if kind == "folder" else [])


def test_an_empty_folder_becomes_the_table(tmp_path: Path) -> None:
    (tmp_path / "out/lines").mkdir(parents=True)
    run(tmp_path, "r1")
    assert found(tmp_path).height == 4


def test_a_table_of_somebody_else_is_used(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "out/lines", FRAME.select("net", "id", "run"))
    run(tmp_path, "r1", FRAME.tail(1).with_columns(run=pl.lit("r2")), "upsert")
    assert found(tmp_path).columns == ["net", "id", "run"]
    assert sorted(found(tmp_path)["run"].to_list()) == ["r1", "r1", "r1", "r2"]
    write_deltalake(tmp_path / "out/lines", found(tmp_path).with_columns(id=pl.col("id") + 4), mode="append")
    assert found(tmp_path).height == 8


@pytest.mark.parametrize(
    ("fields", "arguments", "words"),
    [
        ([Field("id", LONG, nullable=False)], {}, 'NOT NULL of column "id"'),
        ([Field("id", MapType(LONG, LONG))], {}, 'the type of column "id"'),
        ([Field("id", LONG)], {"delta.enableChangeDataFeed": "true"}, "changeDataFeed|writer"),
        ([Field("id", LONG, metadata={"delta.generationExpression": "1"})], {}, "delta.generationExpression of"),
    ],
)
def test_a_table_that_asks_for_more_is_refused(
    tmp_path: Path, fields: list[Field], arguments: dict[str, str], words: str
) -> None:
    DeltaTable.create(str(tmp_path / "out/lines"), Schema([*fields, Field("n", LONG)]),
                      configuration=arguments)  # fmt: skip
    with pytest.raises(SinkError, match=f"asks of its writers what Assay does not know: .*({words})"):
        opened(tmp_path).check(pl.Schema({"id": pl.Int64(), "n": pl.Int64()}))


def test_a_table_with_constraints_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    DeltaTable(tmp_path / "out/lines").alter.add_constraint({"positive": "id > 0"})
    with pytest.raises(SinkError, match="delta.constraints.positive"):
        opened(tmp_path).check(FRAME.schema)


def test_datetimes_without_a_zone_need_a_table_that_has_them(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    frame = FRAME.with_columns(at=datetime(2024, 1, 1))
    with pytest.raises(SinkError, match='column "at" is Datetime.* without the table feature timestampNtz'):
        opened(tmp_path, on_schema_change="add").check(frame.schema)
    run(tmp_path / "new", "r1", frame.select("id", pl.struct("at").alias("inside")))
    assert found(tmp_path / "new")["inside"].to_list() == [{"at": datetime(2024, 1, 1)}] * 4


def test_a_replace_may_change_the_columns(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    other = FRAME.select(pl.col("id").cast(pl.String), pl.col("net").cast(pl.Decimal(20, 4)))
    run(tmp_path, "r2", other, "replace")
    assert_frame_equal(found(tmp_path).sort("id"), other)


def test_files_that_stay_when_a_column_is_added_are_not_written_anew(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    nodes = {(tmp_path / "out/lines" / name).stat().st_ino for name in files(tmp_path)}
    more = FRAME[:1].with_columns(tax=pl.Series([Decimal("1.25")]))
    run(tmp_path, "r2", more, "upsert", on_schema_change="add")
    assert sum((tmp_path / "out/lines" / name).stat().st_ino in nodes for name in files(tmp_path)) == 1
    assert found(tmp_path).sort("id")["tax"].to_list() == [Decimal("1.25"), None, None, None]


def test_a_name_that_deltalake_misreads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a%20b has a % and two hexadecimal digits"):
        opened(tmp_path, path="a%20b")
    with pytest.raises(ConfigurationError, match="has a control character"):
        opened(tmp_path, path="a\nb")


def test_a_table_may_have_any_other_name(tmp_path: Path) -> None:
    for number, name in enumerate(["a [b] {c} $x 'y'*", "a%b", "a#b?c", "ünï", "sp ace"]):
        for mode in ("append", "upsert"):
            run(tmp_path, f"r{number}{mode}", FRAME, mode, path=f"out/{name}")
        assert found(tmp_path, path=f"out/{name}").height == 4
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        ["a [b] {c} $x 'y'*", "a%b", "a#b?c", "ünï", "sp ace"]
    )


# Conflicts and faults


def other_commit(root: Path, name: str) -> None:
    write_deltalake(root / "out/lines", FRAME.with_columns(id=pl.col("id") + 100, run=pl.lit(name)), mode="append")


@pytest.mark.parametrize("mode", ["append", "upsert", "replace", "delete_missing"])
def test_who_is_second_looks_again(tmp_path: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "r1")
    staged = prepare(tmp_path, "r2", FRAME[:1].with_columns(run=pl.lit("r2")), mode)
    commit, others = DeltaTable.create_write_transaction, iter(["o1", "o2"])

    def late(self: DeltaTable, *args: Any, **kwargs: Any) -> None:
        for name in others:
            other_commit(tmp_path, name)
            break
        commit(self, *args, **kwargs)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", late)
    assert publish(staged, "r2")
    runs = sorted(found(tmp_path)["run"].to_list())
    theirs = ["o1"] * 4 + ["o2"] * 4
    expected = {"append": [*theirs, *["r1"] * 4, "r2"], "upsert": [*theirs, *["r1"] * 3, "r2"]}
    assert runs == expected.get(mode, ["r2"])
    assert publish(staged, "r2") is False


def test_who_is_second_with_a_new_column_keeps_the_files_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "r1")
    more = FRAME[2:3].with_columns(run=pl.lit("r2"), tax=pl.lit(1))
    staged = prepare(tmp_path, "r2", more, "upsert", on_schema_change="add")
    commit = DeltaTable.create_write_transaction

    def late(self: DeltaTable, *args: Any, **kwargs: Any) -> None:
        monkeypatch.undo()
        run(tmp_path, "other", FRAME[:2].with_columns(run=pl.lit("other")), "upsert")
        commit(self, *args, **kwargs)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", late)
    assert publish(staged, "r2")
    assert sorted(found(tmp_path).select("id", "run").rows()) == [(1, "other"), (2, "other"), (3, "r2"), (4, "r1")]


def test_who_has_read_and_is_second_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "r1")
    target = opened(tmp_path, "merge", "r2")
    target.check(FRAME.schema)
    target.read()
    target.stage(FRAME)
    staged = target.prepare()
    commit = DeltaTable.create_write_transaction

    def late(self: DeltaTable, *args: Any, **kwargs: Any) -> None:
        other_commit(tmp_path, "o")
        commit(self, *args, **kwargs)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", late)
    with pytest.raises(SinkError, match="another run has published since this one read"):
        publish(staged, "r2")
    assert sorted(found(tmp_path)["run"].to_list()) == ["o"] * 4 + ["r1"] * 4


def test_who_makes_the_table_second_adds_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (prepare(tmp_path, name, FRAME.with_columns(run=pl.lit(name))) for name in ("r1", "r2"))
    create = transaction.create_table_with_add_actions

    def late(*args: Any, **kwargs: Any) -> None:
        monkeypatch.undo()
        publish(first, "r1")
        create(*args, **kwargs)

    monkeypatch.setattr(delta_commit, "create_table_with_add_actions", late)
    assert publish(second, "r2")
    assert sorted(found(tmp_path)["run"].to_list()) == ["r1"] * 4 + ["r2"] * 4
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["lines"]


def test_a_commit_that_is_refused_for_another_reason_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "r1")
    staged = prepare(tmp_path, "r2", FRAME)

    def refuse(*_: Any, **__: Any) -> None:
        raise deltalake.exceptions.CommitFailedError("no space left")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", refuse)
    with pytest.raises(SinkError, match="output lines: cannot write to .*out/lines: no space left"):
        publish(staged, "r2")


def test_commits_are_on_the_disk_when_publish_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    for number in range(2):
        staged = prepare(tmp_path, f"r{number}", FRAME)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", recording)
            publish(staged, f"r{number}")
            commit = f"{number:020}.json"
            assert synced[synced.index(commit) + 1] == "_delta_log"
            synced.clear()
            # Whoever committed may have died before that.
            assert publish(staged, f"r{number}") is False
            assert commit in synced
        synced.clear()


def test_an_entry_of_the_log_that_a_power_cut_has_emptied_is_a_version_without_changes(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    staged = prepare(tmp_path, "r2", FRAME.with_columns(id=pl.col("id") + 4))
    publish(staged, "r2")
    (tmp_path / "out/lines/_delta_log/00000000000000000001.json").write_bytes(b"")
    assert found(tmp_path).height == 4
    assert publish(staged, "r2")
    assert found(tmp_path).height == 8


def test_a_token_survives_checkpoints_and_the_cleaning_of_the_log(tmp_path: Path) -> None:
    staged = prepare(tmp_path, "r0", FRAME)
    publish(staged, "r0")
    run(tmp_path, "r1", FRAME, "replace")
    table = DeltaTable(tmp_path / "out/lines")
    table.create_checkpoint()
    (tmp_path / "out/lines/_delta_log/00000000000000000000.json").unlink()
    assert publish(staged, "r0") is False
    assert Delta.has_published(staged, "r0")
    assert found(tmp_path).height == 4


def test_a_file_of_the_table_that_is_gone_is_told(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    (tmp_path / "out/lines" / files(tmp_path)[0]).unlink()
    staged = prepare(tmp_path, "r2", FRAME, "upsert")
    with pytest.raises(SinkError, match="output lines: .*out/lines.*part-00000"):
        publish(staged, "r2")


def test_a_broken_log_is_told(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    (tmp_path / "out/lines/_delta_log/00000000000000000000.json").write_bytes(b'{"add":')
    with pytest.raises(SinkError, match="output lines: .*out/lines"):
        opened(tmp_path).read()


def test_a_folder_that_cannot_be_written_to_is_an_error_that_names_the_output(tmp_path: Path) -> None:
    (tmp_path / "else").write_bytes(b"a file where a folder is needed")
    staged = prepare(tmp_path, "r1", FRAME, path="out/lines")
    with pytest.raises(SinkError, match=r"output lines: .*else/lines"):
        publish(staged | {"target": str(tmp_path / "else/lines")}, "r1")


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE as Linux has it")
@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_changes_nothing(tmp_path: Path, there: bool) -> None:
    import resource
    import signal

    if there:
        run(tmp_path, "r0", FRAME[:1])
    staged = prepare(tmp_path, "r1", FRAME)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(SinkError, match="output lines: .*out/lines: .*File too large"):
            publish(staged, "r1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / "out/lines").exists() == there
    assert publish(staged, "r1")
    assert found(tmp_path).height == (5 if there else 4)


def test_without_hard_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def refuse(source: Any, target: Any, **kwargs: Any) -> None:
        if "part-" in str(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target, **kwargs)

    monkeypatch.setattr("os.link", refuse)
    run(tmp_path, "r1")
    run(tmp_path, "r2", FRAME[:1].with_columns(run=pl.lit("r2")), "upsert")
    assert sorted(found(tmp_path)["run"].to_list()) == ["r1", "r1", "r1", "r2"]
    assert not [p.name for p in (tmp_path / "out/lines").iterdir() if p.name.startswith(".")]


def test_a_table_on_another_file_system_is_made_beside_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = prepare(tmp_path, "r1", FRAME)
    stat = Path.stat

    def elsewhere(self: Path, **kwargs: Any) -> os.stat_result:
        made = stat(self, **kwargs)
        if self == Path(staged["folder"]):
            return os.stat_result((*made[:2], made.st_dev + 1, *made[3:10]))
        return made

    monkeypatch.setattr(Path, "stat", elsewhere)
    assert publish(staged, "r1")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["lines"]


def test_what_the_log_says_of_the_files_is_true(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [5, -(2**63), None, 2**53 + 1], "day": [date(2024, 1, 2), None, None, date(1, 1, 1)]})
    run(tmp_path, "r1", frame, key=None)
    told = sorted(
        (json.loads(action["add"]["stats"]) for action in log(tmp_path, 0) if "add" in action),
        key=lambda stats: stats["minValues"]["id"],
    )
    assert told == [
        {
            "numRecords": 2,
            "minValues": {"id": -(2**63), "day": "2024-01-02"},
            "maxValues": {"id": 5, "day": "2024-01-02"},
            "nullCount": {"id": 0, "day": 1},
        },
        {
            "numRecords": 2,
            "minValues": {"id": 2**53 + 1, "day": "0001-01-01"},
            "maxValues": {"id": 2**53 + 1, "day": "0001-01-01"},
            "nullCount": {"id": 1, "day": 1},
        },
    ]
    path = str(tmp_path / "out/lines")
    for one in (5, -(2**63), 2**53 + 1, 2**53):
        assert pl.scan_delta(path).filter(pl.col("id") == one).collect().height == (frame["id"] == one).sum()


# As it is written down


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": ""}, "names no folder"),
        ({"path": "a\x00b"}, "names no folder"),
        ({"path": "s3://bucket/lines"}, "is an address; Delta tables are written to folders"),
        ({"part_rows": 0}, "part_rows"),
        ({"partition_by": ("a", "a")}, "partition_by names a column twice"),
    ],
)
def test_a_sink_that_makes_no_sense_is_refused_when_it_is_written_down(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Delta(**({"path": "out"} | arguments))


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (pl.Struct([]), "struct without fields"),
        (pl.List(pl.Int128()), r"is List\(Int128\), .*cast it"),
        (pl.Array(pl.Int8(), 2), "make it a list"),
        (pl.Struct({"A": pl.Int8(), "a": pl.Int8()}), 'fields "A" and "a"'),
    ],
)
def test_a_type_that_delta_cannot_store_is_named(tmp_path: Path, dtype: pl.DataType, words: str) -> None:
    with pytest.raises(SinkError, match=f'column "odd" .*{words}'):
        opened(tmp_path, key=None).check(pl.Schema({"odd": dtype}))


@pytest.mark.parametrize(("names", "words"), [(["Id", "id"], "one name"), (["a\x00"], "cannot be the name")])
def test_names_that_delta_does_not_have_are_refused(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(SinkError, match=words):
        opened(tmp_path, key=None).check(pl.Schema({name: pl.Int64() for name in names}))


def test_no_columns_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no column"):
        opened(tmp_path).check(pl.Schema())


def test_a_type_that_is_stored_as_another_is_not_taken_for_it(tmp_path: Path) -> None:
    target = opened(tmp_path, key=None)
    target.check(pl.Schema({"a": pl.UInt8()}))
    with pytest.raises(SinkError, match='column "a" was announced as UInt8 and is Int16'):
        target.stage(pl.DataFrame({"a": [1]}, schema={"a": pl.Int16}))


def test_a_type_that_somebody_changed_since_is_theirs(tmp_path: Path) -> None:
    run(tmp_path, "r1", FRAME.with_columns(id=pl.col("id").cast(pl.UInt8)))
    as_text = found(tmp_path).with_columns(id=pl.col("id").cast(pl.String))
    write_deltalake(tmp_path / "out/lines", as_text, mode="overwrite", schema_mode="overwrite")
    state = Table(tmp_path / "out/lines", "lines").state()
    assert state is not None
    assert state.schema["id"] == pl.String
