"""A project that was moved with all that is in it goes on where it was."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

from assay import Csv, DuckDb, Parquet, Pipeline, Rows, Source, Sql
from assay.pipeline.moving import moved, seen_from


class Line(BaseModel):
    id: int


OUTPUTS: dict[str, Any] = {
    "parquet": Rows(to=Parquet("out/lines", mode="append")),
    "csv": Rows(to=Csv("out/lines.csv", mode="append")),
    "sql": Rows(to=Sql("lines", mode="append")),
    "duckdb": Rows(to=DuckDb("lines", "out/lines.duckdb", mode="append")),
}


@pytest.mark.parametrize("incremental", [False, True])
def test_nothing_is_appended_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, incremental: bool) -> None:
    pipeline = Pipeline("shop", Source("in/*.jsonl", Line, incremental=incremental), outputs=OUTPUTS)
    old, new = tmp_path / "old", tmp_path / "elsewhere" / "new"
    (old / "pipelines").mkdir(parents=True)
    (old / "in").mkdir()
    (old / "in/1.jsonl").write_text('{"id": 1}\n')
    monkeypatch.chdir(old)
    first = pipeline.run()
    other = pipeline.run(output="other")
    assert first.status == other.status == "published"
    new.parent.mkdir()
    old.rename(new)
    monkeypatch.chdir(new)
    assert [pipeline.run(output=folder).repeats for folder in (None, "other")] == [True, True]
    (new / "in/1.jsonl").write_text('{"id": 1}\n{"id": 2}\n' if not incremental else '{"id": 1}\n')
    (new / "in/2.jsonl").write_text('{"id": 3}\n')
    assert pipeline.run().status == "published"
    ids = pl.read_parquet("out/lines/*.parquet")["id"].sort().to_list()
    assert ids == ([1, 3] if incremental else [1, 1, 2, 3])
    # Elsewhere is another place.
    assert not pipeline.run(output=tmp_path / "far").repeats


def test_places_are_those_of_the_project_alone() -> None:
    assert seen_from("/a/b", "/a/b/out/lines") == "out/lines"
    assert seen_from("/a/b", "/a/bc/out") == "/a/bc/out"
    assert seen_from(None, "/a/b") == "/a/b"
    staged = {"url": "sqlite:////a/b/x.db", "files": [{"path": "/a/b/1"}], "target": "/a/bc/1", "rows": 1}
    assert moved([staged], "/a/b", "/n") == [
        {"url": "sqlite:////n/x.db", "files": [{"path": "/n/1"}], "target": "/a/bc/1", "rows": 1}
    ]
    assert moved([staged], None, "/n") == moved([staged], "/n", "/n") == [staged]
