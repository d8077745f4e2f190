"""A run that could not finish publishing, and was resumed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from pydantic import BaseModel

from assay import GroupBy, Parquet, Pipeline, Rows, Settings, SinkError, Source, Sql, Sum
from assay.pipeline import execution
from assay.pipeline.publishing import publish_all
from assay.sinks import Staged


class Line(BaseModel):
    k: str
    v: int


def test_a_resumed_run_keeps_no_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "m.jsonl").write_text('{"k": "a", "v": 1}\n')
    pipeline = Pipeline(
        "m",
        source=Source("m.jsonl", Line),
        outputs={"rows": Rows(to=Parquet("out/m")), "sums": GroupBy("k", v=Sum("v"), to=Sql("sums"))},
    )

    def publish_one(run: str, decision: Iterable[Staged]) -> None:
        publish_all(run, list(decision)[:1])
        raise SinkError("disk full", sink="sums")

    with monkeypatch.context() as broken:
        broken.setattr(execution, "publish_all", publish_one)
        stopped = pipeline.run()
    assert (stopped.status, stopped.error and stopped.error["type"]) == ("running", "SinkError")
    assert not (project / "out/m.db").exists()

    resumed = execution.resume(pipeline, stopped.id, Settings.load())
    assert (resumed.status, resumed.error) == ("published", None)
    assert (project / "out/m.db").exists()


def test_a_run_that_first_finishes_another_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "m.jsonl").write_text('{"k": "a", "v": 1}\n')
    pipeline = Pipeline("m", source=Source("m.jsonl", Line), outputs={"rows": Rows(to=Parquet("out/m"))})

    def publish_none(_run: str, _decision: Iterable[Staged]) -> None:
        raise SinkError("disk full", sink="rows")

    with monkeypatch.context() as broken:
        broken.setattr(execution, "publish_all", publish_none)
        stopped = pipeline.run()
    again = pipeline.run()
    assert (again.id, again.repeats, again.finished) == (stopped.id, True, (stopped.id,))
    assert again.as_json()["finished"] == [stopped.id]
    assert pipeline.run().finished == ()
