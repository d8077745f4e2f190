"""The two named pipelines of the project: on our data against what was planted, and on other people's invoices."""

import json
import shutil
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from lxml import etree
from sample_data.serve import serving
from tests.conftest import ROOT
from tests.suites.invoice_oracle import disagreements, read

import assay
from assay.pricing import RatesTable
from assay.settings import Settings

SUM_RULES = ("LINE", "BR-CO-10", "BR-CO-11", "BR-CO-12", "BR-CO-13", "BR-CO-14", "BR-CO-15", "BR-CO-16", "BR-CO-17")


@pytest.fixture
def copy(project: Path) -> Path:
    for name in ("pipelines", "sample_data"):
        shutil.copytree(ROOT / name, project / name, dirs_exist_ok=True)
    return project


def planted(copy: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((copy / "sample_data/PLANTED.json").read_text())
    return made


def test_orders_rejects_what_was_planted_and_nothing_else(copy: Path) -> None:
    result = assay.load("orders").run()
    assert result.status == "published"
    truth = planted(copy)
    wrong = [p for p in truth["planted"] if p["effect"] in ("reject", "lookup")]
    rejects = result.rejects.filter(pl.col("stage") != "document")
    found = {(Path(r["source"]).name, r["line"]) for r in rejects.to_dicts()}
    assert found == {(Path(p["file"]).name, p["line"]) for p in wrong}
    # Every line of an order that a bad line touches is rejected, but for the void ones, which are filtered before.
    whole = sum(p["order_lines"] - p["order_void"] for p in wrong)
    voids = truth["orders"]["void_lines"]
    duplicates = sum(p["effect"] == "duplicate" for p in truth["planted"])
    assert result.counts["rejected"] == whole
    assert result.counts["filtered"] == voids + duplicates
    assert result.counts["read"] == truth["orders"]["lines"]
    lines = pl.read_parquet("out/lines/*.parquet")
    assert lines.height == result.counts["written"]
    touched = {p["order_id"] for p in wrong}
    assert not touched & set(lines["order_id"])


def test_orders_prices_are_those_of_the_book_line_by_line(copy: Path) -> None:
    result = assay.load("orders").run()
    lines = pl.read_parquet("out/lines/*.parquet")
    book = assay.PriceBook.load("pipelines/orders.toml")
    history = [
        (currency, Decimal(rate), date.fromisoformat(day))
        for day, rates in rates_by_day().items()
        for currency, rate in rates.items()
    ]
    schema = pl.Schema({"currency": pl.String(), "rate": pl.Decimal(20, 8), "valid_from": pl.Date()})
    table = RatesTable(pl.DataFrame(history, schema, orient="row"))
    catalogue = {e.get("sku"): e for e in etree.parse("sample_data/catalogue.xml").getroot().iter("product")}
    for row in lines.sample(200, seed=7).iter_rows(named=True):
        product = catalogue[row["sku"]]
        receipt = book.quote(
            quantity=row["qty"],
            unit_price=Decimal(str(product.findtext("list_price"))),
            currency=product.findtext("currency"),
            discount_percent=row["discount_percent"],
            tax_rate=row["tax_rate"],
            day=row["ordered_at"],
            rates={"ecb": table},
        )
        assert (receipt.net, receipt.tax, receipt.total) == (row["net"], row["tax"], row["gross"])
    assert lines["net"].sum() == Decimal(result.money["EUR"]["net"])


def rates_by_day() -> dict[str, dict[str, str]]:
    cubes = etree.parse("sample_data/eurofxref.xml").getroot().iter("{*}Cube")
    return {
        str(cube.get("time")): {str(one.get("currency")): str(one.get("rate")) for one in cube}
        for cube in cubes
        if cube.get("time")
    }


def day_of(row: dict[str, Any]) -> str:
    return str(row["ordered_at"].astimezone(ZoneInfo("Europe/Berlin")).date())


def half_up(amount: Fraction, digits: int) -> Fraction:
    """No code of ours: whole units, half away from zero."""
    units = abs(amount) * 10**digits
    whole = (2 * units.numerator + units.denominator) // (2 * units.denominator)
    return Fraction(whole if amount >= 0 else -whole, 10**digits)


def test_the_sums_of_orders_are_those_of_fractions_by_hand(copy: Path) -> None:
    result = assay.load("orders").run()
    catalogue = {e.get("sku"): e for e in etree.parse("sample_data/catalogue.xml").getroot().iter("product")}
    history = rates_by_day()
    net_sum = tax_sum = Fraction(0)
    for row in pl.read_parquet("out/lines/*.parquet").iter_rows(named=True):
        product = catalogue[row["sku"]]
        currency = str(product.findtext("currency"))
        digits = 0 if currency == "JPY" else 2
        base = half_up(Fraction(row["qty"]) * Fraction(str(product.findtext("list_price"))), digits)
        net = base - half_up(base * Fraction(row["discount_percent"]) / 100, digits)
        if currency != "EUR":
            day = max(d for d in history if d <= day_of(row))
            net = half_up(net / Fraction(history[day][currency]), 2)
        tax = half_up(net * Fraction(row["tax_rate"]) / 100, 2)
        assert (Fraction(row["net"]), Fraction(row["tax"]), Fraction(row["gross"])) == (net, tax, net + tax)
        net_sum, tax_sum = net_sum + net, tax_sum + tax
    money = result.money["EUR"]
    assert (Fraction(money["net"]), Fraction(money["tax"])) == (net_sum, tax_sum)
    assert Fraction(money["gross"]) == net_sum + tax_sum


def test_orders_takes_customers_from_a_service(copy: Path) -> None:
    assert assay.load("orders").run().status == "published"
    expected = pl.read_parquet("out/lines/*.parquet")
    with serving(copy / "sample_data/customers.jsonl") as url:
        result = assay.load("orders").run(set={"customers": url})
    assert result.status == "published"
    assert pl.read_parquet("out/lines/*.parquet").equals(expected)
    figures = result.lookups["customers"]
    assert (figures["calls"], figures["missing"], figures["errors"]) == (60, 0, 0)
    assert figures["distinct"] == 60
    assert result.lookups["catalogue"]["calls"] == 0


def test_invoices_names_the_planted_disagreements_with_both_numbers(copy: Path) -> None:
    result = assay.load("invoices").run()
    found = {(Path(r["source"]).name, r["errors"][0]["msg"]) for r in result.rejects.to_dicts()}
    expected = set()
    for one in planted(copy)["invoices"]:
        place = " at lines.1" if one["rule"] == "LINE" else ""
        words = f"{one['rule']}{place}: stated {one['stated']}, computed {one['computed']}"
        expected.add((Path(one["file"]).name, words))
    assert found == expected
    assert result.counts["read"] == 14


@pytest.mark.parametrize(
    ("pattern", "files"),
    [("en16931/ubl/**/*.xml", 17), ("xrechnung/test/**/*_ubl.xml", 45), ("en16931/testfiles/**/*.xml", None)],
)
def test_invoices_agrees_with_an_independent_oracle(copy: Path, suites: Path, pattern: str, files: int | None) -> None:
    paths = sorted(suites.glob(pattern))
    if not paths:
        pytest.skip(f"{pattern} is absent")
    paths = [p for p in paths if read(p).tag.endswith(("}Invoice", "}CreditNote")) and "ubl" in read(p).tag]
    result = assay.load("invoices").run(input=paths, settings=Settings.load(run_store=f"sqlite:///{copy}/x.db"))
    assert result.status == "published"
    assert files is None or result.counts["read"] == files
    truth = {}
    for path in paths:
        wrong = [c.rule for c in disagreements(read(path)) if c.rule in SUM_RULES]
        if wrong:
            truth[str(path)] = wrong[0]
    found = {r["source"]: r["errors"][0]["type"] for r in result.rejects.to_dicts()}
    assert found == truth
    assert result.counts == {
        "read": len(paths),
        "written": len(paths) - len(truth),
        "filtered": 0,
        "rejected": len(truth),
    }
