"""Findings in price lists: what a sweep finds is what asking for every quantity at every moment finds."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assay.pricing import PriceBook, PriceList, list_linting
from assay.pricing.list_linting import list_findings
from assay.pricing.price_list import Asked

FIRST = dt.date(2026, 1, 1)
Content = dict[str, Any]


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def instants(number: int) -> int:
    return int(dt.datetime.combine(day(number), dt.time(), dt.UTC).timestamp()) * 10**6


@st.composite
def rows(draw: st.DrawFn) -> Content:
    made: Content = {"unit_price": "1", "product": draw(st.sampled_from(["a", "a", "a", None]))}
    start = draw(st.none() | st.integers(0, 6))
    end = draw(st.none() | st.integers((start or 0) + 1, 8))
    least = draw(st.sampled_from([None, 0, 1, 2, 4]))
    made |= {"valid_from": None if start is None else day(start), "valid_to": None if end is None else day(end)}
    made |= {"min_quantity": least, "priority": draw(st.integers(0, 1))}
    return made | {"max_quantity": draw(st.none() | st.integers(least or 0, 7))}


@dataclass
class Asking:
    """Who counts, asked for every quantity and moment."""

    prices: PriceList

    def best(self, match: tuple[str | None, ...], quantity: int, at: int | None) -> list[int]:
        return [row.number for row in self.prices.resolve(Asked(match, at, Decimal(quantity), None), None)]


def numbered(content: list[Content]) -> PriceList:
    return PriceList([{"id": number, **row} for number, row in enumerate(content)])


def check(content: list[Content]) -> None:
    prices = numbered(content)
    asking = Asking(prices)
    found = list(list_findings(prices, None))
    for match in dict.fromkeys(row.match for row in prices.rows):
        own = [row for row in prices.rows if row.match == match]
        names = {"product": match[4]} if match[4] else {}
        told = [one for one in found if one.names == names]
        if len(own) < 2:
            assert not told
            continue
        numbers = {row.number for row in own}
        days = {instants((moment - FIRST).days) for row in own for moment in (row.valid_from, row.valid_to) if moment}
        moments = [min(days) - 1, *sorted(days)] if days else [0]
        best = {(quantity, at): asking.best(match, quantity, at) for quantity in range(10) for at in moments}
        counted = {number for one in best.values() for number in one} & numbers
        never = {number for one in told if one.rule == "unreachable" for number in one.rows}
        assert never == numbers - counted
        ties = {pair[:2] for one in best.values() if len(pair := tuple(n for n in one if n in numbers)) > 1}
        assert {one.rows for one in told if one.rule == "overlap"} == ties
        holes = set()
        for quantity in range(10):
            filled = [place for place, at in enumerate(moments) if best[quantity, at]]
            holes |= {moments[a + 1] for a, b in pairwise(filled) if b > a + 1}
        bare = {int(one.at.timestamp() * 10**6) for one in told if one.rule == "dates" and one.at}
        assert bool(bare) == bool(holes)
        assert bare <= holes
        ever = [*moments, *(instants(number) for number in range(-1, 10))]
        priced = [any(asking.best(match, quantity, at) for at in ever) for quantity in range(10)]
        some = [quantity for quantity in range(10) if any(row.reaches(Decimal(quantity)) for row in own)]
        assert any(one.rule == "gap" for one in told) == (not all(priced[some[0] : some[-1] + 1]))
        for one in told:
            if one.quantity is not None and one.rule in ("dates", "gap"):
                at = moments[0] if one.at is None else int(one.at.timestamp() * 10**6)
                assert not asking.best(match, int(one.quantity), at)


@settings(max_examples=150, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=7, unique_by=str))
@example([{"unit_price": "1", "max_quantity": 2}, {"unit_price": "1", "min_quantity": 4}])
def test_what_is_found_is_what_asking_for_everything_finds(content: list[Content]) -> None:
    check(content)


@pytest.mark.campaign
@settings(max_examples=20_000, deadline=None, database=None)
@given(st.lists(rows(), min_size=1, max_size=9, unique_by=str))
def test_many_lists_are_found_as_asking_for_everything_finds(content: list[Content]) -> None:
    check(content)


def history(windows: int) -> list[Content]:
    """A product that changes its prices every day, with four breaks."""
    return [
        {
            "id": f"{number}/{least}",
            "product": "tea",
            "unit_price": "1",
            "min_quantity": least,
            "valid_from": day(number),
            "valid_to": day(number + 1),
        }
        for number in range(windows)
        for least in (1, 10, 100, 1000)
    ]


def test_ten_thousand_rows_of_one_product_are_compared() -> None:
    content = history(2_500)
    assert list(list_findings(PriceList(content), None)) == []
    content[4004]["valid_to"] = day(1_003)
    content[6000]["min_quantity"] = 2000
    late: Content = {"id": "late", "product": "tea", "unit_price": "1", "min_quantity": 1, "priority": -1}
    content.append(late | {"valid_from": day(700), "valid_to": day(900)})
    found = list(list_findings(PriceList(content), None))
    assert [(one.rule, one.rows) for one in found] == [
        ("overlap", (4005, 4009)),
        ("dates", ()),
        ("unreachable", (10_001,)),
    ]


def test_quantities_between_others_that_no_row_is_for_are_found() -> None:
    content = [{"unit_price": "1", "max_quantity": "10"}, {"unit_price": "2", "min_quantity": "10.5"}]
    (gap,) = list_findings(PriceList(content), None)
    assert (gap.rule, gap.quantity) == ("gap", Decimal("10.1"))
    assert gap.message == "no row for anything, quantity 10.1, and there are for less and for more"
    resolve = {"kind": "resolve", "table": "list", "gives": ["unit_price"], "quantity": "quantity"}
    steps = [resolve, {"kind": "per_unit", "unit_price": {"column": "unit_price"}}]
    book = PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", "steps": steps})
    (one,) = book.lint(prices={"list": PriceList(content)})
    assert (one.rule, one.example["quantity"]) == ("gap", Decimal("10.4"))


def test_rows_that_are_too_many_to_be_compared_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_linting, "MOST", 50)
    content: list[Content] = [
        {"product": "a", "unit_price": "1", "min_quantity": number, "max_quantity": number} for number in range(1, 9)
    ]
    small: list[Content] = [{"product": "b", "unit_price": "1"}, {"product": "b", "unit_price": "2"}]
    many, tie = list_findings(PriceList([{"id": n, **row} for n, row in enumerate(content + small)]), None)
    assert many.rule == "unchecked"
    assert many.message == (
        '8 rows are for product "a", with 9 different quantities: they are too many to be compared with each other'
    )
    assert (tie.rule, tie.names) == ("overlap", {"product": "b"})
