"""Whole runs into Delta and DuckDB: published once, merged, checked before the decision, under another folder."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from pydantic import BaseModel

from assay import Delta, DuckDb, GroupBy, Pipeline, Rows, Source, Sum
from assay.errors import RunFailed


class Line(BaseModel):
    id: int
    sku: str
    net: Decimal


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    return tmp_path


def write(*rows: tuple[int, str, str]) -> None:
    lines = (dict(zip(("id", "sku", "net"), row, strict=True)) for row in rows)
    Path("a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def pipeline(**outputs: Any) -> Pipeline:
    return Pipeline("shop", Source("a.jsonl", Line, decimals=(12, 2)), outputs=outputs)


@pytest.mark.parametrize(
    "total", [Delta("out/totals", mode="merge"), DuckDb("totals", mode="merge")], ids=lambda s: s.kind
)
def test_totals_are_those_of_all_runs(shop: Path, total: Delta | DuckDb) -> None:
    made = pipeline(totals=GroupBy("sku", net=Sum("net"), to=total))
    for rows in [((1, "x", "1.10"), (2, "y", "2.00")), ((3, "x", "0.05"),)]:
        write(*rows)
        for _ in range(2):
            assert made.run().status == "published"
    found = total.open(shop, shop / "s", "totals", default="out/shop.db").read()
    assert found is not None
    by_sku = dict(found.select("sku", "net").collect().rows())
    assert by_sku == {"x": Decimal("1.15"), "y": Decimal("2.00")}


def test_other_tools_find_the_rows_where_the_run_says_they_are(shop: Path) -> None:
    write((1, "x", "1.10"))
    made = pipeline(lines=Rows(to=Delta("out/lines")), copy=Rows(to=DuckDb("lines")))
    result = made.run()
    assert result.status == "published"
    targets = {name: output["target"] for name, output in result.outputs.items()}
    assert targets == {"lines": "out/lines", "copy": "out/shop.duckdb#lines"}
    assert pl.read_delta("out/lines")["net"].to_list() == [Decimal("1.10")]
    with duckdb.connect("out/shop.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT id, net FROM lines").fetchall() == [(1, Decimal("1.10"))]


def test_all_of_it_goes_under_another_folder(shop: Path) -> None:
    write((1, "x", "1.10"))
    made = pipeline(
        lines=Rows(to=Delta("out/lines")), copy=Rows(to=DuckDb("lines")), more=Rows(to=DuckDb("l", "d/m.db"))
    )
    assert made.run(output=shop / "else").status == "published"
    assert sorted(path.name for path in (shop / "else").iterdir() if path.name[0] != ".") == [
        "lines",
        "m.db",
        "shop.duckdb",
    ]
    assert not (shop / "out").exists()


def test_two_outputs_with_one_target_are_refused(shop: Path) -> None:
    write((1, "x", "1.10"))
    for sink in (Delta("out/lines"), DuckDb("lines")):
        with pytest.raises(RunFailed, match="outputs a and b are the same"):
            pipeline(a=Rows(to=sink), b=Rows(to=sink)).run().raise_for_status()
