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
    assert (result.status, result.counts["read"], result.counts["written"]) == ("published", 18, 18)
    findings = pl.read_parquet("out/findings/*.parquet")
    # What the tax of a category is, two rules say.
    found = {
        (Path(row["file"]).name, row["rule"], row["where"], str(row["stated"]), str(row["computed"])): row["official"]
        for row in findings.filter(pl.col("rule") != "BR-S-09").iter_rows(named=True)
    }
    expected = {}
    for one in planted(copy)["invoices"]:
        line = one["rule"] in ("LINE", "BR-CO-04")
        key = (f"line {one['where']}" if line else one["where"], one["stated"], one["computed"])
        official = {"LINE": None, "BR-CO-17": "success"}.get(one["rule"], "error")
        expected[Path(one["file"]).name, one["rule"], *key] = official
    assert found == expected
    documents = pl.read_parquet("out/documents/*.parquet")
    wrong = {Path(name).name for name in documents.filter(~pl.col("adds_up"))["file"]}
    assert wrong == {Path(one["file"]).name for one in planted(copy)["invoices"]}
    assert dict(documents["syntax"].value_counts().iter_rows()) == {
        "UBL invoice": 12,
        "UBL credit note": 2,
        "CII": 4,
    }
    assert result.notes[0] == "4 of 18 documents do not add up to the cent; 2 fail the official tests of EN 16931"
    told = "\n".join(result.notes)
    assert "BR-CO-16: stated 234.11, computed 234.10 (+0.01); official test: failed" in told
    assert "BR-CO-04 at line 2: missing; official test: failed" in told
    assert "LINE at line 2: stated 793.50, computed 739.50 (+54.00); no official test" in told
    assert result.as_json()["notes"] == result.notes


def test_the_ledger_has_the_money_of_documents_whose_total_is_net_and_tax(copy: Path) -> None:
    path = copy / "sample_data/invoices/INV-2026-0001.xml"
    wrong = path.read_text().replace(
        '<cbc:TaxExclusiveAmount currencyID="EUR">', '<cbc:TaxExclusiveAmount currencyID="EUR">1'
    )
    (copy / "wrong.xml").write_text(wrong)
    result = assay.load("invoices").run(input=[str(path), str(copy / "wrong.xml")])
    assert result.counts["rejected"] == 0
    assert set(pl.read_parquet("out/findings/*.parquet")["rule"]) == {"BR-CO-13", "BR-CO-15"}
    assert result.money == assay.load("invoices").run(input=str(path)).money


@pytest.mark.parametrize(
    ("pattern", "files"),
    [("en16931/ubl/**/*.xml", 17), ("xrechnung/test/**/*_ubl.xml", 45), ("en16931/testfiles/**/*.xml", None)],
)
def test_invoices_agrees_with_an_independent_oracle(copy: Path, suites: Path, pattern: str, files: int | None) -> None:
    paths = sorted(suites.glob(pattern))
    if not paths:
        pytest.skip(f"{pattern} is absent")
    result = assay.load("invoices").run(input=paths, settings=Settings.load(run_store=f"sqlite:///{copy}/x.db"))
    assert result.counts == {"read": len(paths), "written": len(paths), "filtered": 0, "rejected": 0}
    assert files is None or result.counts["read"] == files
    truth = {(str(path), check.rule) for path in paths for check in disagreements(read(path))}
    findings = pl.read_parquet("out/findings/*.parquet").filter(pl.col("rule") != "BR-S-09")
    assert set(findings.select("file", "rule").rows()) == truth


# ---- what is no invoice, or not quite -----------------------------------------------------------------------------


def test_a_document_is_what_its_root_says_whatever_its_file_is_called(copy: Path) -> None:
    sample = copy / "sample_data/invoices"
    (copy / "mixed").mkdir()
    (copy / "mixed/a.ubl").write_bytes((sample / "INV-2026-0013.xml").read_bytes())
    (copy / "mixed/b.xml").write_bytes((sample / "INV-2026-0001.xml").read_bytes())
    (copy / "mixed/c").write_bytes((sample / "CN-2026-0001.xml").read_bytes())
    result = assay.load("invoices").run(input=str(copy / "mixed/*"))
    assert (result.status, result.counts["rejected"]) == ("published", 0)
    found = pl.read_parquet("out/documents/*.parquet").select("invoice_id", "syntax").rows()
    assert found == [("INV-2026-0013", "CII"), ("INV-2026-0001", "UBL invoice"), ("CN-2026-0001", "UBL credit note")]


def bare(path: Path) -> bytes:
    """A document without its declaration."""
    return path.read_bytes().partition(b"?>")[2]


def test_several_documents_in_one_element_are_several_documents(copy: Path) -> None:
    sample = copy / "sample_data/invoices"
    names = ("INV-2026-0013", "INV-2026-0001", "CN-2026-0001")
    (copy / "several.xml").write_bytes(
        b"<e:all xmlns:e='urn:e'>" + b"".join(bare(sample / f"{n}.xml") for n in names) + b"</e:all>"
    )
    result = assay.load("invoices").run(input=str(copy / "several.xml"))
    assert result.status == "published"
    assert tuple(pl.read_parquet("out/documents/*.parquet")["invoice_id"]) == names


def test_two_documents_in_one_file_without_a_root_are_told(copy: Path) -> None:
    sample = copy / "sample_data/invoices"
    two = (sample / "INV-2026-0001.xml").read_bytes() + bare(sample / "INV-2026-0013.xml")
    (copy / "two.xml").write_bytes(two)
    result = assay.load("invoices").run(input=str(copy / "two.xml"))
    assert (result.status, result.error is not None) == ("failed", True)
    message = str((result.error or {})["message"])
    assert "two.xml: not well-formed XML at line" in message
    assert "several documents in one file stand in one element, or in files of their own" in message


def test_a_document_that_cannot_be_read_is_a_reject_with_its_field(copy: Path) -> None:
    text = (copy / "sample_data/invoices/INV-2026-0013.xml").read_text()
    (copy / "a.xml").write_text(text.replace("<ram:InvoiceCurrencyCode>EUR</ram:InvoiceCurrencyCode>", ""))
    (copy / "b.xml").write_text(text.replace("</ram:DuePayableAmount>", "1</ram:DuePayableAmount>"))
    result = assay.load("invoices").run(input=[str(copy / "a.xml"), str(copy / "b.xml")])
    found = [(Path(r["source"]).name, r["errors"][0]["loc"], r["errors"][0]["type"]) for r in result.rejects.to_dicts()]
    assert found == [("a.xml", "currency", "missing"), ("b.xml", "payable", "decimal_max_places")]
