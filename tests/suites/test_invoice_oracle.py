"""Which invoices of the EU's and Germany's test suites do not add up to the cent, and that all the others do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree
from tests.suites.invoice_oracle import NAMESPACES, Check, checks, disagreements, read

PROJECT = Path(__file__).resolve().parents[2]
SUITES = Path(os.environ.get("ASSAY_SUITES", PROJECT / "../shared/suites"))
INVOICES = PROJECT / "sample_data" / "invoices"
DOCUMENTS = ("en16931/ubl/examples", "en16931/testfiles", "xrechnung/test")

# What each document states and what it comes to, read and found wrong in the document itself. All but the last are
# lines that the sums above them agree with.
WRONG = {
    # 486 days at 4.9715 are 2,416.149; 7,781.50 at 23 % over 360 days is 4.97151 a day, and the
    # price was rounded before it was multiplied.
    "BIS_Billing_30-Rantefaktura_Enkel.xml": [("LINE", "1", "2416.16", "2416.15")],
    # Two laptops at 1,273.00, less and plus 12.00, billed as one.
    "ubl-tc434-test-1.xml": [("LINE", "1", "1273.00", "2546.00")],
    "ubl-tc434-example2.xml": [("LINE", "1", "1273.00", "2546.00")],
    "guide-example2.xml": [("LINE", "1", "1273.00", "2546.00")],
    # Returned goods: the amount is negative, quantity and price are not.
    "guide-example1.xml": [("LINE", "20", "-109.98", "109.98")],
    "ubl-tc434-example1.xml": [("LINE", "20", "-109.98", "109.98")],
    "ubl-tc434-example10.xml": [("LINE", "20", "-109.98", "109.98")],
    # Two at 800.00 for 400.00, or for 800.00.
    "guide-example3.xml": [("LINE", "1", "400.00", "1600.00"), ("LINE", "2", "400.00", "1600.00")],
    "ubl-tc434-example3.xml": [("LINE", "1", "800.00", "1600.00"), ("LINE", "2", "800.00", "1600.00")],
    # Energy bills whose unit prices were rounded after the amount was computed.
    "03.01a-INVOICE_ubl.xml": [("LINE", "3.3", "48.33", "48.34")],
    "03.04a-INVOICE_ubl.xml": [("LINE", "2", "9223.92", "9223.91"), ("LINE", "3", "241.47", "241.46")],
    "03.05a-INVOICE_ubl.xml": [("LINE", "2", "6912.37", "6912.36")],
    # 3,986.34 at 19 % are 757.4046.
    "01.06_minimal_test_ubl.xml": [("BR-CO-17", "S 19", "757.41", "757.40")],
}
# The official cases of the rules that the oracle computes; without the tolerance, which only real documents use.
RULE_CASES = re.compile(r"BR-(CO-1[0-7](-2)?|(S|Z|E|AE|IC|G|O|IG|IP)-08(-\d)?)\.xml")


def documents() -> list[Path]:
    found = [
        path
        for folder in DOCUMENTS
        for path in sorted((SUITES / folder).rglob("*"))
        if path.suffix.lower() == ".xml" and not path.stem.endswith("_uncefact")
    ]
    return found or [SUITES]


def as_text(check: Check) -> tuple[str, str, str, str]:
    return check.rule, check.where, str(check.stated), str(check.computed)


@pytest.fixture
def suites() -> Path:
    if not SUITES.is_dir():
        pytest.skip(f"the suites are not at {SUITES}; ASSAY_SUITES names their folder")
    return SUITES


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_each_document_of_the_suites_adds_up_but_for_what_is_wrong_in_it(suites: Path, path: Path) -> None:
    found = disagreements(read(path))

    assert [as_text(check) for check in found] == WRONG.get(path.name, [])


def test_every_document_that_is_known_to_be_wrong_was_looked_at(suites: Path) -> None:
    names = [path.name for path in documents()]

    assert len(names) == len(set(names)) == 93
    assert set(WRONG) <= set(names)


def test_third_party_payments_of_the_extension_are_part_of_the_amount_due(suites: Path) -> None:
    path = suites / "xrechnung/test/business-cases/extension/05.01a-INVOICE_ubl.xml"
    invoice = read(path)
    assert disagreements(invoice) == []

    named = invoice.find("cbc:CustomizationID", NAMESPACES)
    assert named is not None
    named.text = "urn:cen.eu:en16931:2017"

    assert [as_text(check) for check in disagreements(invoice)] == [("BR-CO-16", "", "366.86", "336.90")]


def rule_cases() -> Iterator[tuple[str, str, str, etree._Element]]:
    for path in sorted((SUITES / "en16931/invoice-unit-ubl").glob("BR-*.xml")):
        if not RULE_CASES.fullmatch(path.name):
            continue
        for number, case in enumerate(read(path).iterfind("{*}test"), 1):
            for verdict in case.iterfind("{*}assert/*"):
                name = etree.QName(verdict).localname
                if name in {"success", "error"}:
                    yield f"{path.stem} {number}", name, (verdict.text or "").strip(), case[-1]


def test_the_official_cases_of_the_sums_are_judged_as_their_authors_say(suites: Path) -> None:
    judged = [
        (case, rule, verdict, "error" if rule in {check.rule for check in disagreements(document)} else "success")
        for case, verdict, rule, document in rule_cases()
    ]

    assert [each for each in judged if each[2] != each[3]] == []
    assert sum(verdict == "error" for _, _, verdict, _ in judged) > 40
    assert sum(verdict == "success" for _, _, verdict, _ in judged) > 100


# One figure of an invoice of our own is changed; the rule that must notice, and no sum above it.
BROKEN = {
    "cac:InvoiceLine[1]/cac:Price/cbc:PriceAmount": {"LINE"},
    "cac:InvoiceLine[1]/cbc:InvoicedQuantity": {"LINE"},
    "cac:InvoiceLine[1]/cbc:LineExtensionAmount": {"LINE", "BR-CO-10", "BR-S-08"},
    "cac:LegalMonetaryTotal/cbc:LineExtensionAmount": {"BR-CO-10", "BR-CO-13"},
    "cac:LegalMonetaryTotal/cbc:AllowanceTotalAmount": {"BR-CO-11", "BR-CO-13"},
    "cac:LegalMonetaryTotal/cbc:ChargeTotalAmount": {"BR-CO-12", "BR-CO-13"},
    "cac:LegalMonetaryTotal/cbc:TaxExclusiveAmount": {"BR-CO-13", "BR-CO-15"},
    "cac:LegalMonetaryTotal/cbc:TaxInclusiveAmount": {"BR-CO-15", "BR-CO-16"},
    "cac:LegalMonetaryTotal/cbc:PrepaidAmount": {"BR-CO-16"},
    "cac:LegalMonetaryTotal/cbc:PayableRoundingAmount": {"BR-CO-16"},
    "cac:LegalMonetaryTotal/cbc:PayableAmount": {"BR-CO-16"},
    "cac:TaxTotal/cbc:TaxAmount": {"BR-CO-14", "BR-CO-15"},
    "cac:TaxTotal/cac:TaxSubtotal/cbc:TaxAmount": {"BR-CO-14", "BR-CO-17"},
    "cac:TaxTotal/cac:TaxSubtotal/cbc:TaxableAmount": {"BR-S-08", "BR-CO-17"},
}


@pytest.mark.parametrize("path", BROKEN)
def test_a_figure_that_is_off_is_reported_by_its_own_rules(path: str) -> None:
    invoice = read(INVOICES / "INV-2026-0001.xml")
    assert disagreements(invoice) == []
    element = invoice.find(path, NAMESPACES)
    assert element is not None
    assert element.text is not None

    element.text = str(Decimal(element.text) + 1)

    assert {check.rule for check in disagreements(invoice)} == BROKEN[path]


def test_two_tax_totals_in_the_currency_of_the_document_are_an_error() -> None:
    invoice = read(INVOICES / "INV-2026-0001.xml")
    total = invoice.find("cac:TaxTotal", NAMESPACES)
    assert total is not None
    second = etree.SubElement(invoice, etree.QName(total))
    amount = etree.SubElement(second, etree.QName(NAMESPACES["cbc"], "TaxAmount"), currencyID="EUR")
    amount.text = "1.00"

    assert [check.rule for check in disagreements(invoice)] == ["BR-CO-15"]
    amount.set("currencyID", "SEK")
    assert disagreements(invoice) == []


def test_every_figure_of_an_invoice_is_looked_at() -> None:
    rules = [check.rule for check in checks(read(INVOICES / "INV-2026-0001.xml"))]

    assert {f"BR-CO-{number}" for number in range(10, 18)} | {"LINE", "BR-S-08"} <= set(rules)
