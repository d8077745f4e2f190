"""TPC-H at scale 0.01, read from feeds, validated, priced by a book and added up: the published answers, exactly."""

from __future__ import annotations

import csv
import datetime as dt
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from benchmarks.feeds import Feed
from benchmarks.lineitem import LineItem

import assay
from assay.money import round_to
from assay.pricing import PriceBook

TABLES = "lineitem,orders,customer,supplier,nation,region"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tpch")
    generator = str(Path(sys.executable).with_name("tpchgen-cli"))
    command = [generator, "parquet", "-s", "0.01", "--tables", TABLES, "--output-dir", str(made / "tables-0.01")]
    subprocess.run(command, check=True, capture_output=True)
    return made


def answers(suites: Path, query: int) -> list[dict[str, str]]:
    path = suites / "tpch" / "answers-sf0.01" / f"q{query:02}.csv"
    if not path.is_file():
        pytest.skip("the published answers are absent")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="|"))


# What the specification writes as l_extendedprice * (1 - l_discount) * (1 + l_tax); its sums are not rounded.
BOOK = PriceBook.model_validate(
    {
        "currency": "USD",
        "rounding": "none",
        "steps": [
            {"kind": "flat", "amount": {"column": "amount"}},
            {"kind": "percent_off", "percent": {"column": "percent"}},
            {"kind": "tax", "rate": {"column": "tax_rate"}},
        ],
    }
)


@pytest.fixture(params=["jsonl", "json", "xml, one record a line"])
def priced(request: pytest.FixtureRequest, folder: Path) -> pl.LazyFrame:
    path = Feed(request.param, "0.01").make(folder)
    rows = assay.scan(path, LineItem)
    hundred = pl.lit(Decimal(100), dtype=pl.Decimal(3, 0))
    inputs = {"amount": "l_extendedprice"}
    percents = rows.with_columns(percent=pl.col("l_discount") * hundred, tax_rate=pl.col("l_tax") * hundred)
    return BOOK.price(percents, inputs=inputs)


def table(folder: Path, name: str) -> pl.LazyFrame:
    return pl.scan_parquet(folder / "tables-0.01" / f"{name}.parquet")


def exactly(got: list[dict[str, Any]], published: list[dict[str, str]], columns: list[str]) -> None:
    said = [tuple(Decimal(row[name]) for name in columns) for row in published]
    assert [tuple(row[name] for name in columns) for row in got] == said


def as_printed(value: Decimal, count: int, printed: str) -> str:
    """An average, to the digits that are printed (of a float 14 are sure)."""
    digits = min(14 - len(printed.partition(".")[0]), len(printed.partition(".")[2]))
    return f"{round_to(value / count, digits, 'half_even'):f}"


def test_q1(priced: pl.LazyFrame, suites: Path) -> None:
    published = answers(suites, 1)
    got = (
        priced.filter(pl.col("l_shipdate") <= dt.date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus")
        .agg(
            sum_qty=pl.col("l_quantity").sum(),
            sum_base_price=pl.col("l_extendedprice").sum(),
            sum_disc_price=pl.col("net").sum(),
            sum_charge=pl.col("gross").sum(),
            sum_discount=pl.col("l_discount").sum(),
            count_order=pl.len(),
        )
        .with_columns(pl.col("l_returnflag", "l_linestatus").cast(pl.String))
        .sort("l_returnflag", "l_linestatus")
        .collect()
        .to_dicts()
    )
    exactly(got, published, ["sum_qty", "sum_base_price", "sum_disc_price", "sum_charge", "count_order"])
    for row, said in zip(got, published, strict=True):
        for name, total in (("avg_qty", "sum_qty"), ("avg_price", "sum_base_price"), ("avg_disc", "sum_discount")):
            average = as_printed(row[total], row["count_order"], said[name])
            digits = len(average.partition(".")[2])
            assert average == f"{round_to(Decimal(said[name]), digits, 'half_even'):f}"


def test_q3(priced: pl.LazyFrame, folder: Path, suites: Path) -> None:
    day = dt.date(1995, 3, 15)
    customers = table(folder, "customer").filter(pl.col("c_mktsegment") == "BUILDING")
    orders = table(folder, "orders").filter(pl.col("o_orderdate") < day)
    got = (
        priced.filter(pl.col("l_shipdate") > day)
        .join(orders, left_on="l_orderkey", right_on="o_orderkey")
        .join(customers, left_on="o_custkey", right_on="c_custkey")
        .group_by("l_orderkey", "o_orderdate", "o_shippriority")
        .agg(revenue=pl.col("net").sum())
        .sort("revenue", "o_orderdate", descending=[True, False])
        .head(10)
        .collect()
        .to_dicts()
    )
    exactly(got, answers(suites, 3), ["l_orderkey", "revenue", "o_shippriority"])


def test_q5(priced: pl.LazyFrame, folder: Path, suites: Path) -> None:
    year = pl.col("o_orderdate").is_between(dt.date(1994, 1, 1), dt.date(1994, 12, 31))
    nations = table(folder, "nation").join(
        table(folder, "region").filter(pl.col("r_name") == "ASIA"), left_on="n_regionkey", right_on="r_regionkey"
    )
    got = (
        priced.join(table(folder, "orders").filter(year), left_on="l_orderkey", right_on="o_orderkey")
        .join(table(folder, "customer"), left_on="o_custkey", right_on="c_custkey")
        .join(table(folder, "supplier"), left_on=["l_suppkey", "c_nationkey"], right_on=["s_suppkey", "s_nationkey"])
        .join(nations, left_on="c_nationkey", right_on="n_nationkey")
        .group_by("n_name")
        .agg(revenue=pl.col("net").sum())
        .sort("revenue", descending=True)
        .collect()
        .to_dicts()
    )
    published = answers(suites, 5)
    assert [row["n_name"] for row in got] == [row["n_name"] for row in published]
    exactly(got, published, ["revenue"])


def test_q6(priced: pl.LazyFrame, suites: Path) -> None:
    got = (
        priced.filter(
            pl.col("l_shipdate").is_between(dt.date(1994, 1, 1), dt.date(1994, 12, 31)),
            pl.col("l_discount").is_between(Decimal("0.05"), Decimal("0.07")),
            pl.col("l_quantity") < 24,
        )
        .select(revenue=pl.col("discount").sum())
        .collect()
        .to_dicts()
    )
    exactly(got, answers(suites, 6), ["revenue"])
