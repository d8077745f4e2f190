"""Whole documents: large frames, odd orders, totals, and the sample that is priced twice."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import ConfigurationError, PricingError
from assay.pricing import PriceBook, Verifier
from assay.pricing.documents import by_document

BOOK = PriceBook.model_validate(
    {
        "currency": "EUR",
        "rounding": "half_up",
        "steps": [
            {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
            {"kind": "document_discount", "percent": "10"},
            {"kind": "charge", "amount": "4.95", "per": "document"},
            {"kind": "tax", "rate": {"column": "tax_rate"}, "level": "document", "code": "VAT"},
        ],
    }
)


def frame_of(documents: list[int], **columns: Any) -> pl.DataFrame:
    rows = len(documents)
    return pl.DataFrame(
        {
            "document_id": [f"d{number}" for number in documents],
            "quantity": [1 + index % 3 for index in range(rows)],
            "unit_price": [Decimal(100 + 7 * index % 991).scaleb(-2) for index in range(rows)],
            "tax_rate": [[Decimal(19), Decimal(7)][index % 2] for index in range(rows)],
            "n": list(range(rows)),
            **columns,
        }
    )


@pytest.mark.parametrize("order", ["together", "scattered"])
def test_parts_say_what_the_whole_says(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [index // 3 if order == "together" else index % 40 for index in range(120)]
    frame = frame_of(documents)
    whole = BOOK.price(frame, receipts=True).collect()
    totals = BOOK.totals(frame).collect()
    real = by_document
    monkeypatch.setattr("assay.pricing.book.by_document", lambda *args, **kwargs: real(*args, part_rows=20, **kwargs))
    assert BOOK.price(frame.lazy(), receipts=True).collect().equals(whole)
    again = BOOK.totals(frame.lazy()).collect()
    assert again.sort("document_id").equals(totals.sort("document_id"))
    if order == "together":
        assert again.equals(totals)
    assert (
        BOOK.price(frame.lazy())
        .select("n", "net")
        .filter(pl.col("n") > 100)
        .head(3)
        .collect()
        .equals(whole.filter(pl.col("n") > 100).head(3).select("n", "net"))
    )
    assert whole["gross"].sum() == totals["tax_inclusive"].sum() == totals["payable"].sum()


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_cutting_never_cuts_a_document(data: st.DataObject) -> None:
    documents = data.draw(st.lists(st.integers(0, 6), max_size=60))
    frame = pl.DataFrame({"d": [str(number) for number in documents], "n": range(len(documents))})
    seen: list[str] = []

    def apply(part: pl.DataFrame, before: int) -> pl.DataFrame:
        names = part["d"].unique().to_list()
        assert not set(names) & set(seen), "a document comes in one part"
        seen.extend(names)
        return part.with_columns(size=pl.len().over("d"))

    made = pl.concat(by_document(frame.lazy(), "d", apply, part_rows=data.draw(st.integers(1, 20))))
    expected = frame.with_columns(size=pl.len().over("d"))
    assert made.equals(expected) if documents else not made.height


def test_totals_are_those_of_the_european_norm() -> None:
    rows = [
        {"line_kind": "line", "quantity": 2, "unit_price": Decimal("50.00")},
        {"line_kind": "line", "quantity": 1, "unit_price": Decimal("25.00")},
        {"line_kind": "allowance", "quantity": 1, "unit_price": Decimal("12.50")},
        {"line_kind": "charge", "quantity": 1, "unit_price": Decimal("5.00")},
        {"line_kind": "credit", "quantity": 1, "unit_price": Decimal("10.00")},
    ]
    steps = [
        {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
        {"kind": "tax", "rate": "19", "level": "document", "category": "S"},
        {"kind": "tax", "id": "withheld", "rate": "10", "retained": True},
        {"kind": "credit", "balance": "20"},
        {"kind": "round_total", "increment": "0.05"},
    ]
    book = PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", "steps": steps})
    quoted = book.quote_document(rows)
    # 100 + 25 - 10 = 115; - 12.50 + 5 = 107.50; 19 %: 20.425 = 20.43; 127.93; - 10.75 - 20 = 97.18 -> 97.20
    said = {
        "sum_of_lines": "115.00",
        "allowances": "12.50",
        "charges": "5.00",
        "tax_exclusive": "107.50",
        "tax": "20.43",
        "tax_inclusive": "127.93",
        "retained": "10.75",
        "prepaid": "20.00",
        "rounding": "0.02",
        "payable": "97.20",
    }
    assert {name: str(getattr(quoted, name)) for name in said} == said
    frame = pl.DataFrame(rows).with_columns(document_id=pl.lit("x"))
    total = book.totals(frame).collect().row(0, named=True)
    assert {name: str(total[name]) for name in said} == said
    assert [(tax["code"], tax["category"], str(tax["base"]), str(tax["amount"])) for tax in total["taxes"]] == [
        ("tax", "S", "107.50", "20.43"),
        ("withheld", None, "107.50", "10.75"),
    ]
    priced = book.price(frame).collect()
    for name in ("prepaid", "rounding", "payable"):
        assert priced[name].sum() == total[name]


def test_a_document_with_a_wrong_line_is_not_priced() -> None:
    frame = frame_of([1, 1, 2]).with_columns(quantity=pl.Series([1, None, 1]))
    priced = BOOK.price(frame, errors="column").collect()
    assert priced["pricing_error"].to_list() == [
        "document_rejected: line 2 of its document: per_unit: quantity is null",
        "per_unit: quantity is null",
        None,
    ]
    assert priced["net"].null_count() == 2
    said = r'row 1 \(the first is 0\): document "d1": per_unit: quantity is null; errors="column"'
    with pytest.raises(PricingError, match=said):
        BOOK.price(frame).collect()
    with pytest.raises(PricingError, match="line 2 of the document: per_unit: quantity is null") as caught:
        BOOK.quote_document(frame.head(2).to_dicts())
    assert caught.value.lines == {1: "per_unit: quantity is null"}
    assert pickle.loads(pickle.dumps(caught.value)).lines == caught.value.lines


def test_every_line_that_is_wrong_has_its_reason() -> None:
    wrong = {"quantity": [1, None, None, 1], "tax_rate": [Decimal(19), Decimal(-1), Decimal(7), Decimal(7)]}
    frame = frame_of([1, 1, 1, 1], **wrong)
    reasons = BOOK.price(frame, errors="column").collect()["pricing_error"]
    sibling = "document_rejected: line 2 of its document: per_unit: quantity is null"
    assert reasons.to_list() == [sibling, "per_unit: quantity is null", "per_unit: quantity is null", sibling]
    with pytest.raises(PricingError, match=r"line 2 of the document: .* is null \(and 1 more lines\)"):
        BOOK.quote_document(frame.to_dicts())
    reasons = BOOK.price(frame.with_columns(quantity=1), errors="column").collect()["pricing_error"]
    assert reasons[1] == "tax: rate is below 0"
    assert reasons[0] == reasons[2] == "document_rejected: line 2 of its document: tax: rate is below 0"


def test_what_is_wrong_with_the_document_is_said_of_all_its_lines() -> None:
    coupon = {"kind": "coupon", "amount": {"column": "left"}}
    book = PriceBook.model_validate(
        {"currency": "EUR", "rounding": "half_up", "steps": [{"kind": "per_unit", "unit_price": "1"}, coupon]}
    )
    frame = pl.DataFrame({"document_id": ["a", "a", "b"], "quantity": [1, 1, 1], "left": [1, 2, 3]})
    reasons = book.price(frame, errors="column").collect()["pricing_error"]
    assert reasons.to_list() == ["coupon: amount differs within the document"] * 2 + [None]
    with pytest.raises(PricingError, match='^document "a": coupon: amount differs'):
        book.price(frame).collect()


def test_documents_must_be_named_where_the_book_speaks_of_them() -> None:
    with pytest.raises(ConfigurationError, match='no column "document_id"'):
        BOOK.price(frame_of([1]).drop("document_id"))
    assert BOOK.quote(quantity=1, unit_price="10", tax_rate=19).net == Decimal("13.95")


def test_a_wrong_twin_fails_the_run() -> None:
    frame = frame_of([1, 1, 2, 3])
    priced = BOOK.price(frame).collect()
    verifier = Verifier(BOOK, 10, inputs={})
    verifier.check(frame, priced)
    assert verifier.verified >= 4
    wrong = priced.with_columns(net=pl.col("net") + pl.Series([Decimal("0.00")] * 3 + [Decimal("0.01")]))
    with pytest.raises(PricingError, match="verification: net was computed as"):
        Verifier(BOOK, 10, inputs={}).check(frame, wrong)


def test_the_sample_has_the_extremes() -> None:
    frame = frame_of(list(range(1000)))
    priced = BOOK.price(frame).collect()
    largest = priced["net"].arg_max()
    assert largest is not None
    off = [Decimal("0.01") if index == largest else Decimal("0.00") for index in range(1000)]
    with pytest.raises(PricingError, match="verification"):
        Verifier(BOOK, 1, inputs={}).check(frame, priced.with_columns(net=pl.col("net") + pl.Series(off)))
