"""What must hold of prices whatever they are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pricing.drawn import CHARGES, CURRENCIES, cases

from assay.errors import PricingError
from assay.money import ROUNDINGS
from assay.pricing import PriceBook

NEAREST = ["half_up", "half_even", "half_down"]
MIRRORING = [name for name in ROUNDINGS if name not in ("ceiling", "floor")]
USAGE = ["per_unit", "volume", "graduated", "package", "blocks"]
cents = st.integers(0, 10**7).map(lambda units: Decimal(units).scaleb(-2))
quantities = st.integers(0, 60_000).map(lambda units: Decimal(units).scaleb(-3))


def book(*steps: dict[str, Any], currency: str = "EUR", rounding: str = "half_up") -> PriceBook:
    return PriceBook.model_validate({"currency": currency, "rounding": rounding, "steps": list(steps)})


def literal(step: dict[str, Any]) -> bool:
    return "column" not in str(step)


@pytest.mark.parametrize("kind", USAGE)
@given(data=st.data(), before=quantities, more=quantities)
@settings(max_examples=40, deadline=None)
def test_the_bills_of_a_period_add_up_to_one(kind: str, data: st.DataObject, before: Decimal, more: Decimal) -> None:
    step = {"kind": kind, **data.draw(CHARGES[kind].filter(literal))}
    free = {"kind": "free_units", "quantity": data.draw(st.sampled_from(["0", "5", "12.5"]))}
    rounding = data.draw(st.sampled_from(ROUNDINGS))
    priced = book(free, step, rounding=rounding)
    try:
        whole = priced.quote(quantity=before + more).net
    except PricingError:
        return
    first = priced.quote(quantity=before).net
    second = priced.quote(quantity=more, quantity_before=before).net if before else whole - first
    assert first + second == whole


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_graduated_price_never_falls(data: st.DataObject) -> None:
    step = {"kind": "graduated", **data.draw(CHARGES["graduated"].filter(literal))}
    priced = book(step, rounding=data.draw(st.sampled_from(ROUNDINGS)))
    few, more = sorted((data.draw(quantities), data.draw(quantities)))
    last = step["tiers"][-1].get("up_to")
    if last is None or more <= Decimal(last):
        assert priced.quote(quantity=few).net <= priced.quote(quantity=more).net


@pytest.mark.parametrize("kind", USAGE)
@given(data=st.data(), quantity=quantities)
@settings(max_examples=30, deadline=None)
def test_a_credit_is_the_price_turned(kind: str, data: st.DataObject, quantity: Decimal) -> None:
    step = {"kind": kind, **data.draw(CHARGES[kind].filter(literal))}
    off = {"kind": "percent_off", "percent": "7.5"}
    priced = book(step, off, {"kind": "tax", "rate": "19"}, rounding=data.draw(st.sampled_from(MIRRORING)))
    try:
        charged = priced.quote(quantity=quantity)
    except PricingError:
        return
    credited = priced.quote(quantity=-quantity)
    if quantity:
        assert (credited.net, credited.tax, credited.total) == (-charged.net, -charged.tax, -charged.total)


@given(cents, st.integers(1, 9999), st.sampled_from(NEAREST))
def test_net_to_gross_to_net_is_the_identity(net: Decimal, rate: int, rounding: str) -> None:
    percent = str(Decimal(rate).scaleb(-2))
    flat = {"kind": "flat", "amount": {"column": "amount"}}
    gross = book(flat, {"kind": "tax", "rate": percent}, rounding=rounding).quote(amount=net).total
    back = book(flat, {"kind": "tax", "rate": percent, "inclusive": True}, rounding=rounding).quote(amount=gross)
    assert back.net == net
    assert back.total == gross


@given(cases(), st.randoms())
@settings(max_examples=12, deadline=None)
def test_the_order_of_rows_does_not_matter(case: Any, random: Any) -> None:
    if case.book.concerns_documents() and "line_id" not in case.frame.columns:
        return  # the order of lines breaks ties there
    order = list(range(case.frame.height))
    random.shuffle(order)
    priced = case.book.price(case.frame, rates=case.rates, errors="column").collect()
    shuffled = case.book.price(case.frame[order], rates=case.rates, errors="column").collect()
    columns = [name for name in priced.columns if name != "pricing_error"]
    assert shuffled.select(columns).equals(priced[order].select(columns))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8), st.integers(0, 10_000), st.sampled_from(CURRENCIES))
@settings(max_examples=60, deadline=None)
def test_shares_of_a_document_add_up(lines: list[int], percent: int, currency: str) -> None:
    scale = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3, "CLF": 4}[currency]
    amounts = [Decimal(units).scaleb(-scale) for units in lines]
    discount = {"kind": "document_discount", "percent": str(Decimal(percent).scaleb(-2))}
    priced = book({"kind": "flat", "amount": {"column": "amount"}}, discount, currency=currency)
    frame = pl.DataFrame({"amount": amounts, "document_id": ["x"] * len(amounts)})
    rows = priced.price(frame).collect()
    one = book({"kind": "flat", "amount": {"column": "amount"}}, discount, currency=currency).quote(amount=sum(amounts))
    assert rows["discount"].sum() == one.discount
    assert all(0 <= share <= amount for share, amount in zip(rows["discount"], amounts, strict=True))
