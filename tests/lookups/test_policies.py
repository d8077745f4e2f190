"""What becomes of rows whose key is not there, and what a lookup step refuses."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import BaseModel, Field

from assay import Choice, Dated, Lookup, Parquet, Pipeline, Result, Rows, Settings, Source, SqlTable, Table
from assay.errors import ConfigurationError


class Line(BaseModel):
    id: int
    sku: str | None


class Sale(Line):
    day: dt.date


class Note(BaseModel):
    sku: str
    valid_from: dt.date
    note: str


class Product(BaseModel):
    sku: str
    price: Annotated[Decimal, Field(max_digits=8, decimal_places=2)]
    name: str


PRODUCTS = Table(
    pl.DataFrame({"sku": ["pen", "cup"], "price": [Decimal("1.50"), Decimal(8)], "name": ["Pen", "Cup"]}), Product
)


def pipeline(*steps: Lookup, params: type[BaseModel] | None = None) -> Pipeline:
    rows = [{"id": 1, "sku": "pen"}, {"id": 2, "sku": "hat"}, {"id": 3, "sku": None}, {"id": 4, "sku": "cup"}]
    Path("lines.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = Source("lines.jsonl", Line, key=["id"])
    return Pipeline("p", params=params, source=source, steps=list(steps), outputs={"o": Rows(to=Parquet("out"))})


def run(**told: Any) -> Result:
    return pipeline(Lookup(PRODUCTS, on="sku", **told)).run()


def prices() -> list[tuple[Any, ...]]:
    return pl.read_parquet("out/*.parquet").select("id", "price", "name").rows()


def test_a_missing_key_is_rejected_with_the_name_of_the_lookup_and_the_key(project: Path) -> None:
    result = run()
    assert prices() == [(1, Decimal("1.50"), "Pen"), (4, Decimal("8.00"), "Cup")]
    errors = [r["errors"][0] for r in result.rejects.to_dicts()]
    assert errors == [
        {"loc": "sku", "type": "lookup_missing", "msg": f"No row in lookup table for {key}", "input": key}
        for key in ("hat", "null")
    ]
    assert {k: result.lookups["table"][k] for k in ("rows", "distinct", "missing")} == {
        "rows": 4,
        "distinct": 3,
        "missing": 1,
    }


def test_or_it_is_null_or_the_default_or_the_end_of_the_run(project: Path) -> None:
    run(on_missing="null")
    assert prices()[1:3] == [(2, None, None), (3, None, None)]
    run(on_missing="default", default={"price": Decimal("0.10")})
    assert prices()[1:3] == [(2, Decimal("0.10"), None), (3, Decimal("0.10"), None)]
    assert prices()[0] == (1, Decimal("1.50"), "Pen")
    failed = run(on_missing="fail")
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error["message"] == "lookup table has no row for hat, null (on_missing is fail)"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"on_missing": "rejct"}, 'Did you mean "reject"?'),
        ({"on_error": "drop"}, "Known: fail, reject"),
        ({"default": {"price": Decimal(1)}}, 'goes with on_missing="default"'),
        ({"prefix": "_"}, 'the prefix "_" begins with _'),
        ({"on": []}, "on names the key columns, each once"),
        ({"on": ["sku", "sku"]}, "on names the key columns, each once"),
        ({"on_missing": "default"}, 'goes with on_missing="default"'),
        ({"on_missing": "default", "default": {"prise": Decimal(1)}}, 'Did you mean "price"?'),
        ({"on_missing": "default", "default": {"price": "dear"}}, "of price"),
        ({"on_missing": "default", "default": {"price": 0.1}}, "of price"),
        ({"on_missing": "default", "default": {"price": Decimal("0.001")}}, "of price"),
        ({"on_missing": "default", "default": {"price": Decimal("12345678.90")}}, "of price"),
        ({"on_missing": "default", "default": {"name": 7}}, "of name"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_run(project: Path, told: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        pipeline(Lookup(PRODUCTS, **({"on": "sku"} | told))).check()
    assert words in str(wrong.value)


class Params(BaseModel):
    products: str | None = None


def test_a_parameter_chooses_and_fills_a_path(project: Path) -> None:
    (project / "other.csv").write_text("sku,price,name\npen,9.00,Other\n")
    step = Lookup(Choice("products", Table("{products}", Product), PRODUCTS), on="sku", on_missing="null")
    made = pipeline(step, params=Params)
    made.run()
    assert prices()[0] == (1, Decimal("1.50"), "Pen")
    made.run(set={"products": ""})
    assert prices()[0] == (1, Decimal("1.50"), "Pen")
    made.run(set={"products": "other.csv"})
    assert prices()[0] == (1, Decimal("9.00"), "Other")
    with pytest.raises(ConfigurationError, match="different columns"):
        Choice("products", Table("x.csv", Line), PRODUCTS)


@pytest.mark.parametrize("kind", ["table", "database", "dated"])
def test_figures_are_of_the_run_however_it_is_cut(project: Path, kind: str) -> None:
    keys = ["pen", "cup", "hat", "pen", "nib", "hat"]
    (project / "sales.jsonl").write_text(
        "".join(json.dumps({"id": n, "sku": keys[n % 6], "day": f"2026-01-{n % 28 + 1:02}"}) + "\n" for n in range(120))
    )
    with sqlite3.connect(project / "shop.db") as shop:
        shop.execute("CREATE TABLE products (sku TEXT, price TEXT, name TEXT)")
        shop.execute("INSERT INTO products VALUES ('pen', '1.50', 'Pen'), ('cup', '8.00', 'Cup')")
    shop.close()
    since = pl.DataFrame({"sku": ["pen", "cup"], "valid_from": [dt.date(2025, 1, 1)] * 2, "note": ["a", "b"]})
    step = {
        "table": Lookup(PRODUCTS, on="sku", name="it"),
        "database": Lookup(SqlTable("products", Product, "sqlite:///shop.db", whole_up_to=0), on="sku", name="it"),
        "dated": Lookup(Dated(Table(since, Note, name="notes")), on="sku", at="day", name="it"),
    }[kind]
    source = Source("sales.jsonl", Sale, key=["id"])
    cut = Pipeline("p", source=source, steps=[step], outputs={"o": Rows(to=Parquet("out"))}).run(
        settings=Settings.load(project, batch_records=2)
    )
    figures = cut.lookups["it"]
    assert {name: figures[name] for name in ("rows", "distinct", "missing")} == {
        "rows": 120,
        "distinct": 4,
        "missing": 2,
    }
    assert cut.counts["rejected"] == 60
