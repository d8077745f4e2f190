"""The fingerprint of a run is of its definition and of what its lookups hold, and of nothing else."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

import assay
from assay import (
    Dated,
    EcbRates,
    Http,
    Lookup,
    Parquet,
    Pipeline,
    Price,
    PriceBook,
    Rows,
    Source,
    SqlTable,
    Table,
    TTLCache,
)
from assay.lookups import LookupContext, OpenLookup
from assay.pipeline.fingerprint import describe
from assay.pipeline.plan import make_plan


class Line(BaseModel):
    id: int
    sku: str
    currency: str
    quantity: int
    unit_price: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]
    day: dt.date


class Product(BaseModel):
    sku: str
    name: str


BOOK = PriceBook.model_validate(
    {
        "currency": "EUR",
        "rounding": "half_up",
        "steps": [
            {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
            {"kind": "convert", "to": "EUR", "rates": "ecb", "direction": "divide", "date": "day"},
        ],
    }
)
STEPS: dict[str, Callable[[], Any]] = {
    "file": lambda: Lookup(Table("products.csv", Product), on="sku"),
    "database": lambda: Lookup(SqlTable("products", Product, "sqlite:///shop.db"), on="sku"),
    "dated": lambda: Lookup(Dated(EcbRates("rates.csv")), on="currency", at="day"),
    "rates": lambda: Price(BOOK, rates={"ecb": EcbRates("rates.csv")}),
}


def pipeline(step: Any) -> Pipeline:
    source = Source("lines.jsonl", Line, key=["id"])
    return Pipeline("p", source=source, steps=[step], outputs={"o": Rows(to=Parquet("out"))})


def fingerprint(step: Any) -> str:
    plan = make_plan(pipeline(step), params={}, settings=None)
    with closing(plan):
        plan.open_steps()
        return plan.fingerprint


def write(project: Path, name: str, rate: str) -> None:
    (project / "products.csv").write_text(f"sku,name\npen,{name}\n")
    (project / "rates.csv").write_text(f"Date,USD,\n2026-03-06,{rate},\n")
    with sqlite3.connect(project / "shop.db") as shop:
        shop.execute("DROP TABLE IF EXISTS products")
        shop.execute("CREATE TABLE products (sku, name)")
        shop.execute("INSERT INTO products VALUES ('pen', ?)", (name,))
    shop.close()


@pytest.mark.parametrize("kind", STEPS)
def test_other_contents_are_another_run(project: Path, kind: str) -> None:
    write(project, "Pen", "1.08")
    before = fingerprint(STEPS[kind]())
    assert fingerprint(STEPS[kind]()) == before
    write(project, "Biro", "1.09")
    assert fingerprint(STEPS[kind]()) != before


def test_where_answers_are_kept_is_no_part_of_it() -> None:
    http = Http("http://a.example/{sku}", Product, hosts=["a.example"])
    kept = [pipeline(Lookup(replace(http, cache=TTLCache(60)), on="sku")).fingerprint() for _ in range(2)]
    assert kept[0] == kept[1]


class Ours:
    """A lookup of a user's own, as the protocol has it."""

    name, dated = "ours", False

    def __init__(self, place: str) -> None:
        self.place = place
        self._table = Table("products.csv", Product)

    def columns(self) -> Any:
        return self._table.columns()

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenLookup:
        return self._table.open(context, on)


def test_a_lookup_of_your_own_is_known_by_its_class_and_what_it_was_told() -> None:
    one, same, other = (pipeline(Lookup(Ours(place), on="sku")).fingerprint() for place in ("a", "a", "b"))
    assert one == same != other


def test_names_mean_the_same_in_any_order() -> None:
    def price(*names: str) -> Price:
        return Price("book.toml", inputs={name: name.upper() for name in names})

    assert describe(price("quantity", "amount")) == describe(price("amount", "quantity"))
    assert describe(price("quantity", "amount")) != describe(price("quantity"))


def test_a_file_that_is_edited_during_a_run_is_not_what_runs(project: Path) -> None:
    file = project / "pipelines" / "p.py"
    code = (
        "import polars as pl\nfrom pydantic import BaseModel\nfrom assay import Parquet, Pipeline, Rows, Source\n"
        "class Line(BaseModel):\n    id: int\n"
        "def doubled(rows: pl.LazyFrame) -> pl.LazyFrame:\n    return rows.with_columns(pl.col('id') * 2)\n"
        "p = Pipeline('p', source=Source('*.jsonl', Line), steps=[doubled], outputs={'o': Rows(to=Parquet('out'))})\n"
    )
    file.write_text(code)
    (project / "a.jsonl").write_text('{"id": 1}\n')
    running = assay.load("p")
    before = running.fingerprint()
    with closing(make_plan(running, params={}, settings=None)) as plan:
        begun = plan.fingerprint
        file.write_text(code.replace("* 2", "* 30"))
        assert plan.fingerprint == begun
    assert assay.load("p").fingerprint() != before


def test_of_what_is_pythons_own_the_name_is_told() -> None:
    class Day(BaseModel):
        day: dt.date

    told = describe(Day)
    assert "datetime.date" in told
    assert "def __new__" not in told
