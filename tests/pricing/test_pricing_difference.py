"""What a change of prices will do: held against the reference, against itself turned round, and against cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.pricing.drawn_pairs import Pair, pairs

from assay.errors import PricingError
from assay.money import EXACT
from assay.pricing import Difference, PriceBook
from assay.pricing.changes import path_between
from assay.pricing.difference import MEASURES

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

Row = dict[str, Any] | None
"""The amounts of a row, and their currency; None where it cannot be priced."""


def compared(pair: Pair, **how: Any) -> Difference:
    try:
        return pair.before.diff(pair.after, pair.frame, rates=pair.rates, key="n", **how)
    except PricingError as error:
        assume("too many digits to be compared" not in str(error))
        raise


def numbered(pair: Pair) -> Pair:
    frame = pair.frame.with_columns(n=pl.int_range(pl.len()), party=pl.int_range(pl.len()) % 2)
    return Pair(pair.before, pair.after, frame, pair.rates)


def by_reference(book: PriceBook, pair: Pair) -> list[Row]:
    """The amounts of each row, by `quote_document`."""
    rows = pair.frame.to_dicts()
    groups: dict[object, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        together = book.concerns_documents() and "document_id" in row
        groups[row["document_id"] if together else index].append(index)
    made: list[Row] = [None] * len(rows)
    for members in groups.values():
        try:
            receipts = book.quote_document([rows[index] for index in members], rates=pair.rates).receipts
        except PricingError:
            continue
        for index, receipt in zip(members, receipts, strict=True):
            made[index] = {name: getattr(receipt, name) for name in (*MEASURES, "currency")}
    return made


def total(rows: Sequence[Row], currency: str, name: str, of: Callable[[int], bool]) -> Decimal:
    chosen = (row[name] for n, row in enumerate(rows) if row is not None and row["currency"] == currency and of(n))
    return sum(chosen, Decimal(0))


def check_against_the_reference(pair: Pair, measure: Any) -> None:
    found = compared(pair, measure=measure, top=2)
    path = path_between(
        pair.before, pair.after, lambda stop: stop.book.result_currency() == pair.before.result_currency()
    )
    first = [by_reference(stop.book, pair) for stop in path.first]
    last = [by_reference(stop.book, pair) for stop in path.last]
    before, after = first[0], last[0] if path.changes else first[0]
    both = [n for n in range(len(before)) if before[n] is not None and after[n] is not None]
    everywhere = {n for n in both if all(rows[n] is not None for rows in (*first, *last))}
    assert found.rows == len(before)
    assert found.compared == len(both)
    for currency, amounts in found.totals.items():
        for name in MEASURES:
            assert amounts[name].before == total(before, currency, name, lambda _: True)
            assert amounts[name].after == total(after, currency, name, lambda _: True)
            assert sum((one.amounts[currency][name] for one in found.effects), Decimal(0)) == amounts[name].change
            for j in range(len(path.changes)):
                p, q = (
                    [total(rows, currency, name, lambda n: n in everywhere) for rows in way] for way in (first, last)
                )
                effect = (p[j + 1] - p[j] + q[j] - q[j + 1]) / 2
                assert found.effects[j].amounts[currency][name] == effect
        changes = {
            n: after[n][measure] - before[n][measure]  # type: ignore[index]  # both price it
            for n in both
            if before[n]["currency"] == currency  # type: ignore[index]
        }
        moves = found.moves[currency]
        assert (moves.dearer, moves.cheaper) == (
            sum(one > 0 for one in changes.values()),
            sum(one < 0 for one in changes.values()),
        )
        assert moves.same == sum(not one for one in changes.values())
        assert moves.changed == sum(before[n] != after[n] for n in changes)
        assert moves.dearer_by == sum((one for one in changes.values() if one > 0), Decimal(0))
        assert moves.cheaper_by == sum((one for one in changes.values() if one < 0), Decimal(0))
        for sign, parties in ((1, found.dearer), (-1, found.cheaper)):
            ranked = sorted((n for n in changes if changes[n] * sign > 0), key=lambda n: (-abs(changes[n]), n))
            told = [one for one in parties if one.currency == currency]
            if not pair.before.concerns_documents():
                assert [one.key["n"] for one in told] == ranked[:2]
            assert [one.change for one in told] == [changes[n] for n in ranked[:2]]
        for band in (one for one in found.bands if one.currency == currency):
            rows = [one for one in changes.values() if _within(one, band.low, band.high)]
            assert (band.rows, band.change) == (len(rows), sum(rows, Decimal(0)))
        assert sum(band.rows for band in found.bands if band.currency == currency) == moves.dearer + moves.cheaper
    states = Counter((before[n] is None, after[n] is None) for n in range(len(before)))
    unpriced = found.unpriced
    assert unpriced.both == states[True, True]
    assert unpriced.only_before == states[True, False]
    assert unpriced.only_after == states[False, True]
    assert sum(unpriced.before.values()) == states[True, True] + states[True, False]
    assert sum(unpriced.after.values()) == states[True, True] + states[False, True]


def _within(change: Decimal, low: Decimal | None, high: Decimal | None) -> bool:
    if (high is not None and high <= 0) or low is None:
        return (low is None or low <= change) and change < (high or 0)
    return low < change and (high is None or change <= high)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(pairs(), st.sampled_from(MEASURES))
def test_it_is_what_the_reference_says(pair: Pair, measure: str) -> None:
    with localcontext(EXACT):
        check_against_the_reference(numbered(pair), measure)


@pytest.mark.campaign
@settings(max_examples=5_000, deadline=None, suppress_health_check=SLOW, database=None)
@given(pairs(), st.sampled_from(MEASURES))
def test_it_is_what_the_reference_says_at_length(pair: Pair, measure: str) -> None:
    with localcontext(EXACT):
        check_against_the_reference(numbered(pair), measure)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(pairs(), st.sampled_from(["", "party"]))
def test_the_other_way_round_it_is_the_opposite(pair: Pair, by: str) -> None:
    there = numbered(pair)
    back = Pair(there.after, there.before, there.frame, there.rates)
    one, other = compared(there, by=by or ()), compared(back, by=by or ())
    assert one.rows == other.rows
    assert one.changed == other.changed
    assert {c: {n: (s.after, s.before) for n, s in a.items()} for c, a in one.totals.items()} == {
        c: {n: (s.before, s.after) for n, s in a.items()} for c, a in other.totals.items()
    }
    for left, right in zip(one.effects, other.effects, strict=True):
        assert left.rows == right.rows
        assert _ids(left.rule) == _ids(right.rule)
        assert left.amounts == {c: {n: -x for n, x in a.items()} for c, a in right.amounts.items()}
    for currency, moves in one.moves.items():
        turned = other.moves[currency]
        assert (moves.dearer, moves.same, moves.dearer_by) == (turned.cheaper, turned.same, -turned.cheaper_by)
    assert [(p.key, p.change) for p in one.dearer] == [(p.key, -p.change) for p in other.cheaper]
    assert [(b.currency, b.rows, b.change) for b in one.bands] == [
        (b.currency, b.rows, -b.change) for c in sorted(other.moves) for b in reversed(_of(other, c))
    ]
    assert (one.unpriced.before, one.unpriced.lost) == (other.unpriced.after, other.unpriced.won)


def _of(difference: Difference, currency: str) -> list[Any]:
    return [band for band in difference.bands if band.currency == currency]


def _ids(rule: str | None) -> set[str] | None:
    return None if rule is None else set(rule.replace(" + ", " -> ").split(" -> "))


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(pairs())
def test_a_book_does_not_differ_from_itself(pair: Pair) -> None:
    same = numbered(Pair(pair.before, pair.before, pair.frame, pair.rates))
    found = compared(same)
    assert (found.changed, found.effects, found.bands, found.dearer, found.cheaper) == (0, [], [], [], [])
    assert all(not shift.change for amounts in found.totals.values() for shift in amounts.values())
    assert all(moves.dearer == moves.cheaper == 0 for moves in found.moves.values())
    assert found.unpriced.only_before == found.unpriced.only_after == 0
