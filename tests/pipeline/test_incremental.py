"""Incremental runs publish each file once, and are together what one run over all files is."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import assay
from assay import (
    ConfigurationError,
    Count,
    Deduplicate,
    GroupBy,
    NotFoundError,
    Parquet,
    Pipeline,
    Rows,
    Source,
    Sql,
    Sum,
)
from assay.errors import SinkError
from assay.pipeline.execution import abandon, open_store, replay
from assay.pipeline.publishing import publish_all


class Line(BaseModel):
    order: str
    net: Decimal


Row = tuple[str, str]


def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
    file = folder / "in" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps({"order": order, "net": net}) + "\n" for order, net in rows))


def shop(mode: Any = "append", *, incremental: bool = True, **outputs: Any) -> Pipeline:
    given: dict[str, Any] = {
        "lines": Rows(to=Parquet("out/lines", mode=mode, key=("order",) if mode == "upsert" else None)),
        "total": GroupBy(net=Sum("net"), lines=Count(), to=Sql("total", mode="merge")),
    }
    return Pipeline(
        "shop", Source("in/*.jsonl", Line, decimals=(20, 2), incremental=incremental), outputs=outputs or given
    )


def lines(folder: Path) -> list[Row]:
    frame = pl.read_parquet(folder / "out/lines/*.parquet").sort("order", "net")
    return [(row["order"], str(row["net"])) for row in frame.iter_rows(named=True)]


def total(folder: Path) -> list[tuple[Any, ...]]:
    import sqlite3

    with sqlite3.connect(folder / "out/shop.db") as database:
        return database.execute('SELECT net, lines FROM "total"').fetchall()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    return tmp_path


def test_each_file_is_published_once(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    first = shop().run()
    assert first.ledger["incremental"] == {"new": 1, "changed": 0, "known": 0}
    nothing = shop().run()
    assert (nothing.repeats, nothing.id) == (True, first.id)
    write(folder, "b.jsonl", [("2", "2.00")])
    second = shop().run()
    assert second.counts["read"] == 1
    assert second.ledger["incremental"] == {"new": 1, "changed": 0, "known": 1}
    assert lines(folder) == [("1", "1.00"), ("2", "2.00")]
    assert [(Decimal(net), count) for net, count in total(folder)] == [(Decimal("3.00"), 2)]


def test_the_same_bytes_under_another_name_are_not_new(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    write(folder, "copy.jsonl", [("1", "1.00")])
    assert shop().run().counts["read"] == 1
    (folder / "in/a.jsonl").rename(folder / "in/moved.jsonl")
    assert shop().run().repeats
    assert lines(folder) == [("1", "1.00")]


def test_a_late_change_is_refused_where_it_would_count_twice(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    first = shop().run()
    write(folder, "a.jsonl", [("1", "1.50")])
    failed = shop().run()
    assert failed.status == "failed"
    message = (failed.error or {})["message"]
    assert f"in/a.jsonl: has changed since run {first.id} published its records; output lines (append)" in message
    assert "--full" in message
    assert lines(folder) == [("1", "1.00")]
    write(folder, "b.jsonl", [("2", "2.00")])
    full = shop().run(full=True)
    assert (full.status, full.counts["read"]) == ("published", 2)
    assert lines(folder) == [("1", "1.50"), ("2", "2.00")]
    assert [(Decimal(net), count) for net, count in total(folder)] == [(Decimal("3.50"), 2)]
    assert shop().run().repeats
    write(folder, "c.jsonl", [("3", "3.00")])
    shop().run()
    assert [(Decimal(net), count) for net, count in total(folder)] == [(Decimal("6.50"), 3)]


def test_a_late_change_is_published_by_key_and_told(folder: Path) -> None:
    def keyed() -> Pipeline:
        return shop(lines=Rows(to=Parquet("out/lines", mode="upsert", key=("order",))))

    write(folder, "a.jsonl", [("1", "1.00"), ("2", "2.00")])
    first = keyed().run()
    write(folder, "a.jsonl", [("1", "1.50")])
    second = keyed().run()
    assert second.ledger["incremental"] == {"new": 0, "changed": 1, "known": 0}
    assert f"in/a.jsonl has changed since run {first.id} published" in second.warnings[0]
    assert lines(folder) == [("1", "1.50"), ("2", "2.00")]


def test_what_is_rejected_of_a_changed_file_stays_as_it_was_and_is_told(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00"), ("2", "2.00"), ("3", "3.00")])
    by_key().run()
    write(folder, "a.jsonl", [("1", "1,50"), ("2", "x"), ("3", "3.50")])
    (warning, *_) = [one for one in by_key().run().warnings if "has changed" in one]
    assert "and so are the earlier states of the 2 that are rejected now (--full" in warning
    assert lines(folder) == [("1", "1.00"), ("2", "2.00"), ("3", "3.50")]


def test_a_full_run_over_some_files_says_what_is_gone(folder: Path) -> None:
    for name in ("1", "2", "3"):
        write(folder, f"{name}.jsonl", [(name, "1.00")])
    shop().run()
    assert not shop().run(full=True).warnings
    one = shop().run(full=True, input="in/3.jsonl")
    (told,) = one.warnings
    assert told == (
        "2 files that were published before are not among those of this run, such as in/1.jsonl: their records are in "
        "the outputs no more; the next run that finds them adds them"
    )
    assert lines(folder) == [("3", "1.00")]
    assert shop().run().counts["read"] == 2
    assert lines(folder) == [(name, "1.00") for name in ("1", "2", "3")]


def test_another_output_folder_has_a_memory_of_its_own(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    shop().run()
    elsewhere = shop().run(output="elsewhere")
    assert (elsewhere.repeats, elsewhere.counts["written"]) == (False, 1)
    assert shop().run(output="elsewhere").repeats


def test_what_was_not_published_is_new_again(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00"), ("2", "no")])
    assert shop().run(max_rejects=0).status == "rejected"
    assert shop().run(dry_run=True).dry_run
    assert shop().run().counts == {"read": 2, "written": 1, "filtered": 0, "rejected": 1}


def test_rejects_of_any_run_are_replayed(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00"), ("2", "no")])
    first = shop().run()
    write(folder, "b.jsonl", [("3", "3.00")])
    shop().run()
    with open_store(assay.Settings.load()) as store:
        store.edit_reject(first.id, 1, b'{"order": "2", "net": "2.00"}')
    assert replay(shop(), first.id).status == "published"
    assert lines(folder) == [("1", "1.00"), ("2", "2.00"), ("3", "3.00")]
    assert [(Decimal(net), count) for net, count in total(folder)] == [(Decimal("6.00"), 3)]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"lines": Rows(to=Parquet("out/lines"))}, 'mode="replace" would drop'),
        ({"lines": Rows(to=Parquet("o", mode="delete_missing", key=("order",)))}, 'mode="delete_missing" would drop'),
        ({"total": GroupBy(net=Sum("net"), to=Sql("total", mode="append"))}, "its new files alone"),
        ({"total": GroupBy("order", net=Sum("net"), to=Sql("t", mode="upsert", key=("order",)))}, "its new files"),
    ],
)
def test_outputs_that_cannot_grow_are_refused(folder: Path, outputs: dict[str, Any], words: str) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    with pytest.raises(ConfigurationError, match=words):
        shop(**outputs).check()


def test_options_that_do_not_go_with_it_are_refused(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    with pytest.raises(ConfigurationError, match="always reads all files"):
        shop(incremental=False).run(full=True)
    with pytest.raises(ConfigurationError, match="takes files as a whole"):
        shop().run(limit=1)
    told = Pipeline(
        "shop", Source("-", Line, format="jsonl", decimals=(20, 2), incremental=True), outputs=shop().outputs
    )
    failed = told.run(input=b'{"order": "1", "net": "1"}\n')
    assert "reads files" in (failed.error or {})["message"]


ROWS = st.lists(st.tuples(st.sampled_from("123"), st.sampled_from(["1.00", "-2.50", "0.01"])), max_size=3)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.lists(st.lists(ROWS, max_size=2), min_size=1, max_size=3))
def test_runs_day_by_day_equal_one_run_over_all(
    days: list[list[list[Row]]], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("days")
    monkeypatch.chdir(folder)
    (folder / "pipelines").mkdir()
    # A first field tells the files apart: the same bytes would be one file.
    write(folder, "first.jsonl", [("0", "0.01")])
    for number, day in enumerate(days):
        for index, rows in enumerate(day):
            write(folder, f"{number}-{index}.jsonl", [(f"{number}/{index}", "1.00"), *rows])
        assert shop().run().status == "published"
    grown = (lines(folder), [(Decimal(net), count) for net, count in total(folder)])
    assert shop().run(full=True).status == "published"
    assert (lines(folder), [(Decimal(net), count) for net, count in total(folder)]) == grown


def by_key() -> Pipeline:
    return shop("upsert", lines=Rows(to=Parquet("out/lines", mode="upsert", key=("order",))))


def test_bytes_that_come_back_are_published_again(folder: Path) -> None:
    for net in ("1.00", "2.00", "1.00"):
        write(folder, "a.jsonl", [("1", net)])
        assert not by_key().run().repeats
        assert lines(folder) == [("1", net)]


def test_a_file_that_was_away_during_a_full_run_is_new_again(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    shop().run()
    (folder / "in/a.jsonl").rename(folder / "away")
    write(folder, "b.jsonl", [("2", "2.00")])
    shop().run(full=True)
    (folder / "away").rename(folder / "in/a.jsonl")
    assert not shop().run().repeats
    assert lines(folder) == [("1", "1.00"), ("2", "2.00")]
    assert [(Decimal(net), count) for net, count in total(folder)] == [(Decimal("3.00"), 2)]


def test_a_full_run_reads_the_same_bytes_once(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    write(folder, "copy.jsonl", [("1", "1.00")])
    assert shop().run(full=True).counts["read"] == 1
    assert lines(folder) == [("1", "1.00")]


@pytest.mark.parametrize("pipeline", [shop, by_key])
def test_a_rotated_file_is_no_change_and_its_old_bytes_do_not_come_again(folder: Path, pipeline: Any) -> None:
    write(folder, "log.jsonl", [("1", "1.00")])
    pipeline().run()
    (folder / "in/log.jsonl").rename(folder / "in/log.1.jsonl")
    write(folder, "log.jsonl", [("2", "2.00")])
    rotated = pipeline().run()
    assert (rotated.counts["read"], rotated.ledger["incremental"]["changed"]) == (1, 0)
    write(folder, "more.jsonl", [("3", "3.00")])
    assert pipeline().run().counts["read"] == 1
    assert lines(folder) == [("1", "1.00"), ("2", "2.00"), ("3", "3.00")]


def test_what_a_full_run_has_published_is_not_replayed_as_well(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00"), ("2", "1,00")])
    first = shop().run()
    with open_store(assay.Settings.load()) as store:
        store.edit_reject(first.id, 1, b'{"order": "2", "net": "1.00"}')
    write(folder, "a.jsonl", [("1", "1.00"), ("2", "1.00")])
    full = shop().run(full=True)
    with pytest.raises(ConfigurationError, match=f"run {full.id} has replaced what run {first.id} published"):
        replay(shop(), first.id)
    assert lines(folder) == [("1", "1.00"), ("2", "1.00")]


def test_a_full_run_warns_of_what_any_replay_had_mended(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1,00")])
    first = shop().run()
    with open_store(assay.Settings.load()) as store:
        store.edit_reject(first.id, 1, b'{"order": "1", "net": "1.00"}')
    replay(shop(), first.id)
    write(folder, "b.jsonl", [("2", "2.00")])
    shop().run()
    full = shop().run(full=True)
    assert any(f"replayed after run {first.id}" in warning for warning in full.ledger["warnings"])


def test_rejects_are_not_added_to_groups_that_a_later_run_has_upserted(folder: Path) -> None:
    groups = {"orders": GroupBy("order", net=Sum("net"), to=Parquet("out/orders", mode="upsert", key=("order",)))}
    pipeline = shop(incremental=False, **groups)
    write(folder, "a.jsonl", [("1", "1.00"), ("1", "2,00")])
    first = pipeline.run()
    write(folder, "a.jsonl", [("1", "1.00"), ("1", "2.00")])
    later = pipeline.run()
    with open_store(assay.Settings.load()) as store:
        store.edit_reject(first.id, 1, b'{"order": "1", "net": "2.00"}')
    with pytest.raises(ConfigurationError, match=f"run {later.id} may have replaced groups"):
        replay(pipeline, first.id)


def test_a_key_that_an_earlier_run_has_published_is_not_appended_again(folder: Path) -> None:
    def unique() -> Pipeline:
        found = shop()
        return replace(found, source=replace(found.source, key=["order"]), steps=[Deduplicate()])

    write(folder, "a.jsonl", [("1", "1.00")])
    unique().run()
    write(folder, "b.jsonl", [("1", "1.00"), ("2", "2.00")])
    failed = unique().run()
    assert (
        "lines: 1 of these records have a key that is published already, such as 1" in (failed.error or {})["message"]
    )
    assert unique().run(full=True).counts == {"read": 3, "written": 2, "filtered": 1, "rejected": 0}
    assert [(Decimal(net), count) for net, count in total(folder)] == [(Decimal("3.00"), 2)]


def test_a_row_that_is_replaced_by_its_key_does_not_stay_in_totals(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    shop("upsert").run()
    write(folder, "b.jsonl", [("1", "5.00")])
    failed = shop("upsert").run()
    message = (failed.error or {})["message"]
    assert "such as 1: replaced here, they would still be counted in output total" in message
    assert lines(folder) == [("1", "1.00")]
    assert [(Decimal(net), count) for net, count in total(folder)] == [(Decimal("1.00"), 1)]


def test_what_is_edited_while_a_replay_runs_is_left_for_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that only conflicts is not read until it is mended: mended meanwhile, it was not published."""
    found = shop()
    pipeline = replace(found, source=replace(found.source, key=["order"]), steps=[Deduplicate()])
    write(folder, "a.jsonl", [("1", "1.00"), ("1", "9.00"), ("2", "2,00")])
    first = pipeline.run()
    with open_store(assay.Settings.load()) as store:
        numbers = {letter.stage: letter.number for letter in store.dead_letters(first.id)}
        store.edit_reject(first.id, numbers["validate"], b'{"order": "2", "net": "2.00"}')

        def edit(_: object) -> None:
            store.edit_reject(first.id, numbers["check"], b'{"order": "3", "net": "9.00"}')

        replay(pipeline, first.id, progress=edit)
        assert lines(folder) == [("1", "1.00"), ("2", "2.00")]
        assert store.dead_letter(first.id, numbers["check"]).state == "open"
        replay(pipeline, first.id)
    assert lines(folder) == [("1", "1.00"), ("2", "2.00"), ("3", "9.00")]


@pytest.mark.parametrize("full", [False, True])
def test_after_a_run_was_given_up_half_way_only_a_full_run_publishes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, full: bool
) -> None:
    def halfway(run: str, decision: list[Any]) -> None:
        publish_all(run, decision[:1])
        raise SinkError("cannot be written", sink="total")

    write(folder, "a.jsonl", [("1", "1.00")])
    shop().run()
    write(folder, "b.jsonl", [("2", "2.00")])
    with monkeypatch.context() as patch:
        patch.setattr("assay.pipeline.execution.publish_all", halfway)
        stuck = shop().run(full=full)
    abandon(shop(), stuck.id, assay.Settings.load())
    failed = shop().run()
    assert f"run {stuck.id} was given up" in (failed.error or {})["message"]
    assert shop().run(full=True).status == "published"
    assert shop().run().repeats
    assert lines(folder) == [("1", "1.00"), ("2", "2.00")]
    assert [(Decimal(net), count) for net, count in total(folder)] == [(Decimal("3.00"), 2)]


def test_a_run_given_up_before_any_output_was_published_leaves_its_files_alone_new(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: str, decision: list[Any]) -> None:
        raise SinkError("cannot be written", sink="lines")

    write(folder, "a.jsonl", [("1", "1.00")])
    shop().run()
    write(folder, "b.jsonl", [("2", "2.00")])
    with monkeypatch.context() as patch:
        patch.setattr("assay.pipeline.execution.publish_all", broken)
        stuck = shop().run()
    abandon(shop(), stuck.id, assay.Settings.load())
    assert shop().run().counts["read"] == 1
    assert lines(folder) == [("1", "1.00"), ("2", "2.00")]


def test_a_first_run_does_not_add_to_rows_whose_files_are_not_known(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1.00")])
    shop().run()
    shutil.rmtree(folder / ".assay")
    failed = shop().run()
    assert (
        "output lines: has rows already, and the run store does not know of which files"
        in (failed.error or {})["message"]
    )
    assert shop().run(full=True).status == "published"
    assert lines(folder) == [("1", "1.00")]
    shutil.rmtree(folder / ".assay")
    assert shop().run(force=True).status == "published"
    assert lines(folder) == [("1", "1.00"), ("1", "1.00")]
    assert shop().run().repeats


def test_a_replay_that_was_given_up_half_way_is_not_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def halfway(run: str, decision: list[Any]) -> None:
        publish_all(run, decision[:1])
        raise SinkError("cannot be written", sink="total")

    write(folder, "a.jsonl", [("1", "1.00"), ("2", "2,00")])
    first = shop().run()
    with open_store(assay.Settings.load()) as store:
        store.edit_reject(first.id, 1, b'{"order": "2", "net": "2.00"}')
    with monkeypatch.context() as patch:
        patch.setattr("assay.pipeline.execution.publish_all", halfway)
        stuck = replay(shop(), first.id)
    abandon(shop(), stuck.id, assay.Settings.load())
    with pytest.raises(ConfigurationError, match=f"replay {stuck.id} of these rejects was given up when output lines"):
        replay(shop(), first.id)
    assert lines(folder) == [("1", "1.00"), ("2", "2.00")]


def test_rejects_of_a_file_that_has_changed_since_do_not_replace_what_it_says_now(folder: Path) -> None:
    write(folder, "a.jsonl", [("1", "1,00")])
    first = by_key().run()
    write(folder, "a.jsonl", [("1", "5.00")])
    later = by_key().run()
    with open_store(assay.Settings.load()) as store:
        store.edit_reject(first.id, 1, b'{"order": "1", "net": "1.00"}')
    with pytest.raises(NotFoundError) as gone:
        replay(by_key(), first.id)
    assert gone.value.__notes__ == [f"They are superseded: run {later.id} has read the file again."]
    assert lines(folder) == [("1", "5.00")]
