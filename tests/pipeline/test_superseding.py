"""Rejects that a later run has made void are open no more, and no others are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

import assay
from assay import Booked, NotFoundError, Parquet, Pipeline, Rows, SinkError, Source
from assay.pipeline.execution import open_store, recover, replay


class Line(BaseModel):
    order: int
    net: int


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "in").mkdir()
    return tmp_path


def write(name: str, *rows: tuple[Any, Any]) -> None:
    text = "".join(json.dumps({"order": order, "net": net}) + "\n" for order, net in rows)
    Path("in", name).write_text(text)


def shop(mode: Any, *, incremental: bool = False) -> Pipeline:
    key = ("order",) if mode == "upsert" else None
    source = Source("in/*.jsonl", Line, format="jsonl", incremental=incremental)
    return Pipeline("shop", source, outputs={"lines": Rows(to=Parquet("out/lines", mode=mode, key=key))})


def states(run: str) -> dict[str, int]:
    with open_store(assay.Settings.load()) as store:
        return store.count_rejects(run)


def mend(run: str, number: int, order: int, net: int) -> None:
    with open_store(assay.Settings.load()) as store:
        store.edit_reject(run, number, json.dumps({"order": order, "net": net}).encode())


def lines() -> Sequence[tuple[int, int]]:
    return pl.read_parquet("out/lines/*.parquet").select("order", "net").sort("order").rows()


def test_what_was_replaced_is_open_no_more(folder: Path) -> None:
    write("a.jsonl", (1, "x"), (2, 2))
    stopped = shop("replace").run(max_rejects=0)
    assert states(stopped.id) == {"open": 1}
    first = shop("replace").run()
    assert (states(stopped.id), states(first.id)) == ({"superseded": 1}, {"open": 1})
    elsewhere = shop("replace").run(output="other")
    assert (states(first.id), states(elsewhere.id)) == ({"open": 1}, {"open": 1})
    write("a.jsonl", (1, "y"), (2, 2))
    tried = shop("replace").run(dry_run=True)
    assert (states(first.id), states(tried.id)) == ({"open": 1}, {"open": 1})
    second = shop("replace").run()
    assert (states(first.id), states(tried.id), states(second.id)) == (
        {"superseded": 1},
        {"superseded": 1},
        {"open": 1},
    )
    assert states(elsewhere.id) == {"open": 1}
    # What was published elsewhere is not replaced: it can still be added to.
    mend(elsewhere.id, 1, 1, 1)
    assert replay(shop("replace"), elsewhere.id).counts["written"] == 1
    assert states(elsewhere.id) == {"replayed": 1}


def test_a_file_that_was_read_again_by_key_takes_its_rejects_along(folder: Path) -> None:
    pipeline = shop("upsert", incremental=True)
    write("a.jsonl", (1, "x"), (2, 2))
    write("b.jsonl", (3, "x"), (4, 4))
    first = pipeline.run()
    write("a.jsonl", (1, 10), (2, "x"))
    second = pipeline.run()
    assert (states(first.id), states(second.id)) == ({"open": 1, "superseded": 1}, {"open": 1})
    mend(first.id, 2, 3, 3)
    assert replay(pipeline, first.id).counts["written"] == 1
    assert lines() == [(1, 10), (2, 2), (3, 3), (4, 4)]
    with pytest.raises(NotFoundError) as none:
        replay(pipeline, first.id)
    assert none.value.__notes__ == [f"They are superseded: run {second.id} has read the file again."]


def test_a_ledger_corrects_by_key_and_so_takes_the_rejects_along(folder: Path) -> None:
    booked = Booked(key=["order"], amounts=["net"], to=Parquet("out/booked", mode="append"))
    pipeline = Pipeline("shop", Source("in/*.jsonl", Line), outputs={"booked": booked})
    write("a.jsonl", (1, "x"), (2, 2))
    write("b.jsonl", (3, "x"))
    first = pipeline.run()
    write("a.jsonl", (1, 1), (2, "x"))
    second = pipeline.run(input="in/a.jsonl")
    assert (states(first.id), states(second.id)) == ({"open": 1, "superseded": 1}, {"open": 1})


def test_what_was_appended_stays_open_unless_nothing_of_its_run_was_published(folder: Path) -> None:
    write("a.jsonl", (1, "x"))
    write("b.jsonl", (2, 2))
    first = shop("append").run()
    assert shop("append").run(force=True).status == "published"
    assert states(first.id) == {"open": 1}
    stopped = shop("append").run(max_rejects=0, force=True)
    stream = shop("append").run(input=b'{"order": "x", "net": 1}', max_rejects=0)
    only_b = shop("append").run(input="in/b.jsonl")
    assert only_b.status == "published"
    assert (states(stopped.id), states(stream.id)) == ({"open": 1}, {"open": 1})
    assert shop("append").run(force=True).status == "published"
    assert shop("append").run(input=b'{"order": 7, "net": 1}').status == "published"
    assert (states(stopped.id), states(stream.id), states(first.id)) == ({"superseded": 1}, {"open": 1}, {"open": 1})


def test_a_run_that_is_finished_by_the_next_supersedes_as_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.jsonl", (1, "x"), (2, 2))
    first = shop("replace").run()
    write("a.jsonl", (1, "y"), (2, 2))
    with monkeypatch.context() as patch:

        def away(*_: object) -> None:
            raise SinkError("is away", sink="lines")

        patch.setattr("assay.pipeline.execution.publish_all", away)
        assert shop("replace").run().status == "running"
    assert states(first.id) == {"open": 1}
    with open_store(assay.Settings.load()) as store:
        recover(store, "shop")
    assert states(first.id) == {"superseded": 1}


def test_a_replay_puts_no_older_record_over_one_that_another_file_has_brought_since(folder: Path) -> None:
    pipeline = shop("upsert", incremental=True)
    write("a.jsonl", (1, "x"), (2, "x"), (3, 3))
    first = pipeline.run()
    write("b.jsonl", (1, 100))
    second = pipeline.run()
    mend(first.id, 1, 1, 1)
    mend(first.id, 2, 2, 2)
    refused = replay(pipeline, first.id)
    assert refused.status == "failed"
    assert refused.error is not None
    assert f"such as 1: run {second.id} has published since, and what is there may be newer" in refused.error["message"]
    with open_store(assay.Settings.load()) as store:
        store.close_rejects(first.id, [1], "discarded", "b.jsonl has it")
    assert replay(pipeline, first.id).status == "published"
    assert lines() == [(1, 100), (2, 2), (3, 3)]
