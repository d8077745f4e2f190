"""The sums of documents in columns against the reference in decimals, and both against faults that were planted."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.einvoicing.drawn import any_document, frame_of, sound

from assay.einvoicing import Document, check, check_documents, every_check
from assay.einvoicing.reference import Check

WORDS = {True: "success", False: "error", None: None}
Row = tuple[str, str, Decimal | None, Decimal | None, str, str | None]


def by_reference(document: Document) -> list[Row]:
    return sorted((_row(one) for one in check(document)), key=repr)


def _row(one: Check) -> Row:
    amounts = [None if value is None else value.quantize(Decimal("0.01")) for value in (one.stated, one.computed)]
    return one.rule, one.where, amounts[0], amounts[1], one.exact, one.official


def by_twin(documents: list[Document]) -> list[list[Row]]:
    rows: list[list[Row]] = [[] for _ in documents]
    for one in every_check(frame_of(documents).lazy()).collect().iter_rows(named=True):
        exact, official = WORDS[one["exact"]], WORDS[one["official"]]
        assert exact is not None
        rows[one["_doc"]].append((one["rule"], one["where"], one["stated"], one["computed"], exact, official))
    return [sorted(one, key=repr) for one in rows]


@settings(max_examples=15)
@given(drawn=st.lists(any_document() | sound(), min_size=1, max_size=8))
def test_the_twins_agree_on_every_check(drawn: list[dict[str, Any]]) -> None:
    documents = [Document.model_validate(one) for one in drawn]
    for made, document in zip(by_twin(documents), documents, strict=True):
        assert made == by_reference(document)


@pytest.mark.campaign
@settings(max_examples=3_000)
@given(drawn=st.lists(any_document() | sound(), min_size=1, max_size=12))
def test_the_twins_agree_at_length(drawn: list[dict[str, Any]]) -> None:
    documents = [Document.model_validate(one) for one in drawn]
    for made, document in zip(by_twin(documents), documents, strict=True):
        assert made == by_reference(document)


@settings(max_examples=10)
@given(drawn=st.lists(sound(), min_size=1, max_size=8))
def test_what_adds_up_is_found_to_add_up(drawn: list[dict[str, Any]]) -> None:
    documents = [Document.model_validate(one) for one in drawn]
    assert [one for document in documents for one in check(document) if "error" in (one.exact, one.official)] == []
    made = check_documents(frame_of(documents).lazy()).collect()
    assert made["adds_up"].all()
    assert made["adds_up_officially"].all()
    assert made["findings"].list.len().sum() == 0


# A figure that is off, and the rules that must notice: no sum above it.
FAULTS: dict[str, set[str]] = {
    "lines_total": {"BR-CO-10", "BR-CO-13"},
    "allowances_total": {"BR-CO-11", "BR-CO-13"},
    "charges_total": {"BR-CO-12", "BR-CO-13"},
    "tax_exclusive": {"BR-CO-13", "BR-CO-15"},
    "tax_inclusive": {"BR-CO-15", "BR-CO-16"},
    "prepaid": {"BR-CO-16"},
    "rounding": {"BR-CO-16"},
    "payable": {"BR-CO-16"},
    "lines.net": {"LINE", "BR-CO-10", "BR-*-08"},
    "breakdown.taxable": {"BR-*-08"},
    "breakdown.tax_amount": {"BR-CO-14", "BR-CO-17", "BR-*-09"},
    "tax_amounts.tax": {"BR-CO-14", "BR-CO-15"},
}
#: Rules with a tolerance, officially, in one syntax or the other.
LENIENT = {"BR-CO-17", "BR-*-08", "BR-*-09"}


def _off(document: dict[str, Any], path: str, by: Decimal) -> dict[str, Any]:
    made = copy.deepcopy(document)
    holder, _, name = path.rpartition(".")
    where = made[holder][0] if holder else made
    where[name] = str(Decimal(where[name]) + by)
    return made


def _rules(findings: list[dict[str, Any]], verdict: str) -> set[str]:
    return {_general(one["rule"]) for one in findings if one[verdict] == "error"}


def _general(rule: str) -> str:
    letters = rule.split("-")
    return rule if letters[0] != "BR" or letters[1] == "CO" else f"BR-*-{letters[2]}"


@settings(max_examples=12)
@given(
    drawn=st.lists(
        st.tuples(sound(), st.sampled_from(sorted(FAULTS)), st.sampled_from(["0.01", "-0.01"])), min_size=1, max_size=8
    )
)
def test_a_cent_is_found_by_the_exact_verdict_where_it_is(drawn: list[tuple[dict[str, Any], str, str]]) -> None:
    documents = [Document.model_validate(_off(document, path, Decimal(by))) for document, path, by in drawn]
    made = check_documents(frame_of(documents).lazy()).collect()
    for row, (document, path, by) in zip(made.iter_rows(named=True), drawn, strict=True):
        found = [one for one in row["findings"] if one["rule"] != "DIGITS"]
        # The tax of a taxable amount that is a cent off may well be another one.
        most = FAULTS[path] | ({"BR-CO-17", "BR-*-09"} if path == "breakdown.taxable" else set())
        assert FAULTS[path] <= _rules(found, "exact") <= most
        assert not row["adds_up"]
        if document["currency"] == "EUR":
            assert {abs(one["difference"]) for one in found} == {Decimal(by).copy_abs()}
            assert row["findings"] == found
        # Officially only what has no tolerance fails, and a line is nobody's business. The test of CII takes any total
        # without tax, whatever the tax is.
        lenient = LENIENT | ({"BR-CO-15"} if "cii_type" in document else set())
        assert FAULTS[path] - lenient - {"LINE"} <= _rules(found, "official") <= most


@pytest.mark.parametrize("syntax", ["UBL", "CII"])
@pytest.mark.parametrize(
    ("path", "by", "rule", "ubl", "cii"),
    [
        ("breakdown.tax_amount", "0.99", "BR-CO-17", "success", "success"),
        ("breakdown.tax_amount", "1.00", "BR-CO-17", "error", "success"),
        ("breakdown.tax_amount", "1.01", "BR-CO-17", "error", "error"),
        ("breakdown.tax_amount", "-1.00", "BR-CO-17", "error", "success"),
        ("breakdown.tax_amount", "0.99", "BR-S-09", "success", "success"),
        ("breakdown.tax_amount", "1.00", "BR-S-09", "error", "error"),
        ("breakdown.taxable", "0.99", "BR-S-08", "success", "error"),
        ("breakdown.taxable", "1.00", "BR-S-08", "error", "error"),
        ("breakdown.taxable", "-0.01", "BR-S-08", "success", "error"),
    ],
)
def test_the_official_verdict_forgives_as_much_as_its_own_tests(
    syntax: str, path: str, by: str, rule: str, ubl: str, cii: str
) -> None:
    given_type = {"cbc:InvoiceTypeCode": "380"} if syntax == "UBL" else {"cii_type": "380"}
    document = Document.model_validate(_off(SMALL | given_type, path, Decimal(by)))
    assert by_twin([document]) == [by_reference(document)]
    found = {one.rule: one for one in check(document)}[rule]
    assert (found.exact, found.official) == ("error", ubl if syntax == "UBL" else cii)


@pytest.mark.parametrize(("category", "ubl", "cii"), [("Z", "error", "success"), ("O", "error", "error")])
def test_categories_without_tax_are_strict_in_one_syntax_alone(category: str, ubl: str, cii: str) -> None:
    percent = None if category == "O" else "0"
    subtotal = {"taxable": "99.01", "tax_amount": "0", "tax_currency": "EUR", "category": category, "percent": percent}
    line = {"id": "1", "net": "100", "category": category, "percent": percent}
    for given_type, official in (({"cbc:InvoiceTypeCode": "380"}, ubl), ({"cii_type": "380"}, cii)):
        made = SMALL | given_type | {"breakdown": [subtotal], "lines": [line]}
        document = Document.model_validate(made)
        assert by_twin([document]) == [by_reference(document)]
        found = {one.rule: one for one in check(document)}
        assert found[f"BR-{category}-08"].official == official
        assert found[f"BR-{category}-08"].exact == "error"


SMALL: dict[str, Any] = {
    "invoice_id": "1",
    "currency": "EUR",
    "lines_total": "100.00",
    "tax_exclusive": "100.00",
    "tax_inclusive": "119.00",
    "payable": "119.00",
    "tax_amounts": [{"tax": "19.00", "tax_currency": "EUR"}],
    "breakdown": [
        {"taxable": "100.00", "tax_amount": "19.00", "tax_currency": "EUR", "category": "S", "percent": "19"}
    ],
    "lines": [{"id": "1", "net": "100.00", "category": "S", "percent": "19.00"}],
}


def rules_of(document: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    """The failing rules of a document, exact and official verdict."""
    made = Document.model_validate(SMALL | {"cbc:InvoiceTypeCode": "380"} | document)
    assert by_twin([made]) == [by_reference(made)]
    found = {one.rule: (one.exact, one.official) for one in check(made)}
    return {rule: verdicts for rule, verdicts in found.items() if "error" in verdicts}


def test_a_line_without_tax_category_is_named() -> None:
    line = {"id": "7", "net": "100.00"}
    found = [one for one in check(Document.model_validate(SMALL | {"lines": [line]})) if one.exact == "error"]
    assert ("BR-CO-04", "line 7") in {(one.rule, one.where) for one in found}
    assert rules_of({"lines": [line]})["BR-CO-04"] == ("error", "error")


def test_a_rate_without_its_breakdown_is_found_and_the_official_tests_do_not_see_it() -> None:
    lines = [*SMALL["lines"], {"id": "2", "net": "0.00", "category": "S", "percent": "7"}]
    assert rules_of({"lines": lines}) == {"BR-S-08": ("error", "success")}


def test_a_category_without_any_breakdown_fails_both() -> None:
    lines = [*SMALL["lines"], {"id": "2", "net": "0.00", "category": "E", "percent": "0"}]
    assert rules_of({"lines": lines}) == {"BR-E-01": ("error", "error")}
    # Two lines of a category do without one, as the official test of CII is written.
    twice = [{"id": number, "net": "50.00", "category": "S", "percent": "19"} for number in "12"]
    made = Document.model_validate(SMALL | {"cii_type": "380", "breakdown": [], "lines": twice})
    assert {one.rule: one.official for one in check(made)}["BR-S-01"] == "success"


def test_the_tax_in_the_currency_of_the_accounts_must_be_there() -> None:
    accounts = {"accounting_currency": "SEK"}
    assert rules_of(accounts) == {"BR-53": ("error", "error")}
    both = [*SMALL["tax_amounts"], {"tax": "213.07", "tax_currency": "SEK"}]
    assert rules_of(accounts | {"tax_amounts": both}) == {}
    made = Document.model_validate(SMALL | accounts | {"tax_amounts": both})
    (row,) = check_documents(frame_of([made]).lazy()).collect().iter_rows(named=True)
    assert (row["tax_total"], row["tax_accounting"]) == (Decimal("19.00"), Decimal("213.07"))


def test_payments_to_third_parties_count_in_the_extension_alone() -> None:
    paid = {"third_party_payments": ["3.00"], "payable": "122.00"}
    assert rules_of(paid) == {"BR-CO-16": ("error", "error")}
    extension = {"specification": "urn:cen.eu:en16931:2017#conformant#urn:xeinkauf.de:kosit:extension:xrechnung_3.0"}
    assert rules_of(paid | extension) == {}
    assert rules_of(paid | extension | {"payable": "119.00"}) == {"BR-DEX-09": ("error", "error")}


def test_cents_in_a_currency_without_cents_are_named_field_by_field() -> None:
    document = SMALL | {"currency": "JPY", "tax_amounts": [{"tax": "19.00", "tax_currency": "JPY"}]}
    made = Document.model_validate(document | {"payable": "119.40", "rounding": "0.40", "breakdown": []})
    found = {(one.rule, one.where, one.official) for one in check(made) if one.rule == "DIGITS"}
    assert found == {("DIGITS", "payable", None), ("DIGITS", "rounding", None)}


def test_ties_are_rounded_away_from_zero_also_in_credit_notes() -> None:
    for taxable, tax in (("1460.50", "365.13"), ("-1460.50", "-365.13")):
        subtotal = {"taxable": taxable, "tax_amount": tax, "tax_currency": "EUR", "category": "S", "percent": "25"}
        found = {one.rule: one for one in check(Document.model_validate(SMALL | {"breakdown": [subtotal]}))}
        assert (found["BR-CO-17"].computed, found["BR-CO-17"].exact) == (Decimal(tax), "success")


def test_verdicts_are_columns_of_the_documents() -> None:
    rows = frame_of([Document.model_validate(SMALL), Document.model_validate(SMALL | {"payable": "1.00"})])
    made = check_documents(rows.lazy()).collect()
    assert made["adds_up"].to_list() == [True, False]
    assert made.select(pl.col("findings").list.len()).to_series().to_list() == [0, 1]
    assert [name for name in made.columns if name.startswith("_")] == []
