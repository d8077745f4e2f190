"""Whole runs into files of text: run twice, merged, checked, replayed, and the last state of all of them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

import assay
from assay import Count, Csv, GroupBy, Jsonl, Parquet, Pipeline, RowCount, Rows, Source, Sum
from assay.pipeline.execution import open_store, replay


class Line(BaseModel):
    order: str
    country: str
    note: str | None
    net: Decimal


SHOP = Pipeline(
    "shop",
    Source("in.jsonl", Line, decimals=(10, 2), key=["order"]),
    checks=[RowCount("lines", at_least=1)],
    outputs={
        "lines": Rows(to=Jsonl("out/lines.jsonl.gz")),
        "countries": Rows(to=Parquet("out/countries", partition_by="country")),
        "total": GroupBy("country", lines=Count(), net=Sum("net"), to=Csv("out/total.csv", mode="merge")),
    },
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    return tmp_path


def write(*rows: tuple[str, str, str | None, str]) -> None:
    fields = ("order", "country", "note", "net")
    lines = (json.dumps(dict(zip(fields, row, strict=True))) for row in rows)
    Path("in.jsonl").write_text("".join(f"{line}\n" for line in lines))


def total() -> list[tuple[object, ...]]:
    text = pl.Schema({"country": pl.String(), "lines": pl.Int64(), "net": pl.Decimal(38, 2)})
    return pl.read_csv("out/total.csv", schema=text).sort("country").rows()


def test_a_run_writes_files_that_say_what_came_in(folder: Path) -> None:
    write(("1", "DE", "", "0.10"), ("2", "FR", None, "2.00"), ("3", "DE", '=1+1,"\n', "3.05"))
    result = SHOP.run().raise_for_status()
    assert result.counts["written"] == 3
    lines = [json.loads(line) for line in pl.read_ndjson("out/lines.jsonl.gz").write_ndjson().splitlines()]
    assert [(one["note"], one["net"]) for one in lines] == [("", "0.10"), (None, "2.00"), ('=1+1,"\n', "3.05")]
    assert pl.scan_parquet("out/countries").filter(country="DE").collect().height == 2
    assert total() == [("DE", 2, Decimal("3.15")), ("FR", 1, Decimal("2.00"))]
    assert SHOP.run().raise_for_status().id == result.id
    assert total() == [("DE", 2, Decimal("3.15")), ("FR", 1, Decimal("2.00"))]


def test_totals_are_merged_and_a_replay_adds_what_was_mended(folder: Path) -> None:
    write(("1", "DE", "a", "0.10"))
    SHOP.run().raise_for_status()
    write(("2", "DE", "b", "0.20"), ("3", "FR", "c", "odd"))
    second = SHOP.run().raise_for_status()
    assert second.counts["rejected"] == 1
    assert total() == [("DE", 2, Decimal("0.30"))]

    with open_store(assay.Settings.load()) as store:
        store.edit_reject(second.id, 1, b'{"order":"3","country":"FR","note":"c","net":"1.00"}')
    replay(SHOP, second.id).raise_for_status()
    assert total() == [("DE", 2, Decimal("0.30")), ("FR", 1, Decimal("1.00"))]
    assert pl.read_ndjson("out/lines.jsonl.gz")["order"].to_list() == ["2", "3"]
    assert pl.read_parquet("out/countries")["order"].to_list() == ["2", "3"]


def test_a_check_reads_what_is_staged(folder: Path) -> None:
    outputs: dict[str, Any] = {
        "lines": Rows(to=Jsonl("out/lines.jsonl")),
        "total": GroupBy(net=Sum("net"), to=Csv("out/total.csv")),
    }
    checks = [RowCount("lines", at_least=3), RowCount("total", at_least=1)]
    made = Pipeline("shop", SHOP.source, checks=checks, outputs=outputs)
    write(("1", "DE", "a", "0.10"))
    result = made.run()
    assert result.status == "failed"
    assert not Path("out").exists()
    write(*((str(n), "DE", "a", "0.10") for n in range(3)))
    made.run().raise_for_status()
