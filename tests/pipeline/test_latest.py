"""`assay.latest`: all outputs of one run, however long publishing takes."""

import json
import os
import threading
import time
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

import assay
from assay.pipeline import execution
from assay.runs.tables import RUNS
from assay.sinks import publish

PIPELINE = """
from decimal import Decimal
from pydantic import BaseModel
from assay import GroupBy, Parquet, Pipeline, Rows, Source, Sql, Sum

class Line(BaseModel):
    order: str
    net: Decimal

shop = Pipeline(
    "shop", Source("in.jsonl", Line, decimals=(10, 2)),
    outputs={"lines": Rows(to=Parquet("out/lines")), "total": GroupBy(net=Sum("net"), to=Sql("total"))},
)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/shop.py").write_text(PIPELINE)
    write(tmp_path, 1)
    return tmp_path


def write(folder: Path, net: int) -> None:
    (folder / "in.jsonl").write_text("".join(json.dumps({"order": str(n), "net": net}) + "\n" for n in range(20)))


def seen(found: assay.pipeline.Latest) -> set[int]:
    """The states that the outputs are of: one, if all is well."""
    lines = set(found["lines"].collect()["net"].cast(pl.Int64).to_list())
    return lines | {int(found["total"].collect()["net"].item()) // 20}


def test_all_outputs_of_the_last_run(folder: Path) -> None:
    with pytest.raises(assay.NotFoundError, match="no published run of pipeline 'shop'"):
        assay.latest("shop")
    first = assay.load("shop").run()
    found = assay.latest("shop")
    assert (found.run, sorted(found)) == (first.id, ["lines", "total"])
    write(folder, 2)
    assert seen(found) == {1}
    second = assay.load("shop").run()
    assert (assay.latest("shop").run, seen(assay.latest("shop"))) == (second.id, {2})
    assert seen(found) == {1}


def test_what_a_run_is_checked_against_need_not_be_given(folder: Path) -> None:
    with (folder / "pipelines/shop.py").open("a") as file:
        file.write(
            "from dataclasses import replace\nfrom assay import ControlTotal\n"
            "class Params(BaseModel):\n    control: str = 'not given'\n"
            "shop = replace(shop, params=Params, checks=[ControlTotal('lines', 'net', equals='{control}')])\n"
        )
    first = assay.load("shop").run({"control": "20"})
    assert first.status == "published"
    assert assay.latest("shop").run == first.id


def test_another_folder_is_asked_for_itself(folder: Path) -> None:
    first = assay.load("shop").run()
    write(folder, 2)
    second = assay.load("shop").run(output="elsewhere")
    assert (assay.latest("shop").run, seen(assay.latest("shop"))) == (first.id, {1})
    found = assay.latest("shop", output="elsewhere")
    assert (found.run, seen(found)) == (second.id, {2})


def test_a_reader_never_sees_two_runs_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(run: str, decision: object) -> None:
        for staged in decision:  # type: ignore[attr-defined]
            publish(staged, run)
            time.sleep(0.05)

    assay.load("shop").run()
    monkeypatch.setattr(execution, "publish_all", slowly)
    ended = threading.Event()

    def runs() -> None:
        for net in range(2, 8):
            write(folder, net)
            assert assay.load("shop").run().status == "published"
        ended.set()

    states = []
    writer = threading.Thread(target=runs)
    writer.start()
    while not ended.is_set():
        found = assay.latest("shop")
        states.append(seen(found))
    writer.join()
    states.append(seen(assay.latest("shop")))
    assert all(len(state) == 1 for state in states), states
    assert states[-1] == {7}
    assert len(states) > 3


def test_a_run_that_died_while_publishing_is_named(folder: Path) -> None:
    first = assay.load("shop").run()
    with execution.open_store(assay.Settings.load()) as store, store._engine.begin() as connection:
        connection.execute(sa.update(RUNS).values(status="running"))
    with pytest.raises(assay.RunFailed, match=f"assay run shop --resume {first.id}"):
        assay.latest("shop", wait=0.1)


def test_who_may_only_read_can_do_that(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PIPELINE.replace('Parquet("out/lines")', 'Parquet("out/lines", mode="append")').replace(
        'to=Sql("total")', 'to=Jsonl("out/total.jsonl")'
    )
    (folder / "pipelines/shop.py").write_text(text.replace("import GroupBy", "import GroupBy, Jsonl"))
    run = assay.load("shop").run()
    may = os.access
    monkeypatch.setattr("assay.sinks.durable.os.access", lambda path, mode: not mode & os.W_OK and may(path, mode))
    with pytest.raises(assay.SinkError, match="may not be written to"):
        assay.load("shop").check()
    assert (assay.latest("shop").run, seen(assay.latest("shop"))) == (run.id, {1})
    # Nor need what is published fit what the next run would add.
    (folder / "pipelines/shop.py").write_text(
        text.replace("import GroupBy", "import GroupBy, Jsonl").replace("order: str", "order: str\n    more: int = 1")
    )
    assert seen(assay.latest("shop")) == {1}
