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

from assay.errors import ConfigurationError, PricingError
from assay.money import EXACT
from assay.pricing import ChangeLimit, Difference, PriceBook, PriceList, RatesTable, Shift
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
        for j in range(len(path.changes)):
            ways = (first[j], first[j + 1]), (last[j], last[j + 1])
            assert found.effects[j].rows == sum(any(one[n] != other[n] for one, other in ways) for n in everywhere)
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


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
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


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
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


@settings(max_examples=10, deadline=None, suppress_health_check=SLOW)
@given(pairs())
def test_a_book_does_not_differ_from_itself(pair: Pair) -> None:
    same = numbered(Pair(pair.before, pair.before, pair.frame, pair.rates))
    found = compared(same)
    assert (found.changed, found.effects, found.bands, found.dearer, found.cheaper) == (0, [], [], [], [])
    assert all(not shift.change for amounts in found.totals.values() for shift in amounts.values())
    assert all(moves.dearer == moves.cheaper == 0 for moves in found.moves.values())
    assert found.unpriced.only_before == found.unpriced.only_after == 0


# Cases


def book(*steps: dict[str, Any], **settings: Any) -> PriceBook:
    return PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", "steps": list(steps)} | settings)


PER_UNIT = {"kind": "per_unit", "unit_price": "2"}
TIERS = {"kind": "graduated", "tiers": [{"up_to": "10", "unit_price": "2"}, {"unit_price": "1.5"}]}
VAT = {"kind": "tax", "rate": "20"}
LINES = pl.DataFrame({"quantity": [1, 10, 20, None], "customer": ["a", "b", "a", "b"]})


def off(percent: str, **more: Any) -> dict[str, Any]:
    return {"kind": "percent_off", "percent": percent} | more


def effects(before: PriceBook, after: PriceBook, measure: str = "net") -> list[tuple[str | None, str, str]]:
    found = before.diff(after, LINES).effects
    return [(one.rule, one.how, str(one.amounts["EUR"][measure])) for one in found]


class TestAttribution:
    def test_one_change_is_the_difference(self) -> None:
        assert effects(book(PER_UNIT, VAT), book(PER_UNIT | {"unit_price": "2.1"}, VAT)) == [
            ("per_unit", "replaced", "3.10")
        ]

    def test_two_changes_share_what_they_do_together(self) -> None:
        # 31 x 2 = 62; price alone 31 x 3 = 93 (+31), 10 % alone -6.20, both 83.70: +21.70, so that -3.10 is shared.
        changed = book(PER_UNIT | {"unit_price": "3"}, off("10"))
        assert effects(book(PER_UNIT, off("0")), changed) == [
            ("per_unit", "replaced", "29.45"),
            ("percent_off", "replaced", "-7.75"),
        ]

    def test_half_a_cent_is_kept(self) -> None:
        # 0.01 a unit: of 1 unit 50 % are 0.01 off (half up), with the second price 0.02 - 0.01.
        rows = pl.DataFrame({"quantity": [1]})
        before = book(PER_UNIT | {"unit_price": "0.01"}, off("0"))
        after = book(PER_UNIT | {"unit_price": "0.02"}, off("50"))
        found = before.diff(after, rows).effects
        assert [str(one.amounts["EUR"]["net"]) for one in found] == ["0.01", "-0.01"]
        third = book(PER_UNIT | {"unit_price": "0.03"}, off("50"))
        assert [str(one.amounts["EUR"]["net"]) for one in before.diff(third, rows).effects] == ["0.015", "-0.015"]

    def test_a_charge_of_another_kind_takes_the_place(self) -> None:
        free = {"kind": "free_units", "quantity": "1"}
        assert effects(book(PER_UNIT, VAT), book(free, TIERS, VAT)) == [
            ("free_units", "added", "-5.75"),
            ("per_unit -> graduated", "replaced", "-4.75"),
        ]

    def test_a_step_that_moves_is_one_change(self) -> None:
        minimum = {"kind": "minimum", "amount": "15"}
        before, after = book(PER_UNIT, minimum, off("10")), book(PER_UNIT, off("10"), minimum)
        found = before.diff(after, LINES).effects
        assert [(one.rule, one.how) for one in found] == [("percent_off", "moved")]
        assert [one.rule for one in after.diff(before, LINES).effects] == ["percent_off"]

    def test_steps_of_one_place_have_one_order_both_ways(self) -> None:
        # 10 % off before or after the minimum: 18.00, or 20.00.
        minimum = {"kind": "minimum", "id": "least", "amount": "18.5"}
        one, other = book(PER_UNIT, off("10", id="loyal")), book(PER_UNIT, minimum)
        there, back = one.diff(other, LINES).effects, other.diff(one, LINES).effects
        assert {e.rule: e.amounts["EUR"]["net"] for e in there} == {e.rule: -e.amounts["EUR"]["net"] for e in back}
        assert [e.rule for e in there] == [e.rule for e in back] == ["least", "loyal"]

    def test_settings_are_one_change(self) -> None:
        before = book(PER_UNIT | {"unit_price": "0.125"})
        after = book(PER_UNIT | {"unit_price": "0.125"}, rounding="down", negative="reject")
        (one,) = before.diff(after, LINES).effects
        assert (one.rule, one.how) == ("book", "settings")
        assert one.what == "rounding half_up -> down; negative mirror -> reject"

    def test_amounts_of_other_places_are_brought_to_the_same(self) -> None:
        cents = PER_UNIT | {"unit_price": "0.125"}
        found = book(cents).diff(book(cents, rounding="none"), LINES)
        assert found.totals["EUR"]["net"] == Shift(Decimal("3.88"), Decimal("3.875"))
        assert [(one.key["row"], one.change) for one in found.cheaper] == [(0, Decimal("-0.005"))]
        assert found.effects[0].amounts["EUR"]["net"] == Decimal("-0.005")

    def test_changes_with_a_wrong_book_between_are_one(self) -> None:
        rates = {"kind": "convert", "to": "EUR", "rates": {"USD": "0.5"}}
        dollars = pl.DataFrame({"quantity": [1, 2], "currency": ["EUR", "USD"], "p": [1, 1]})
        charge = {"kind": "per_unit", "unit_price": {"column": "p"}}
        late = {"kind": "charge", "id": "fee", "amount": "0"}
        before = book(rates | {"id": "one"}, charge | {"unit_price": "2"}, late)
        after = book(charge, late, rates | {"id": "two"})
        found = before.diff(after, dollars)
        assert [(one.rule, one.how) for one in found.effects if one.rule] == [("one + per_unit + two", "together")]
        back = after.diff(before, dollars)
        assert back.effects[0].amounts["EUR"]["net"] == -found.effects[0].amounts["EUR"]["net"]

    def test_rows_that_only_a_book_between_cannot_price(self) -> None:
        # A fee in euro is not for a row in dollars; it is where the book is in dollars.
        charge = {"kind": "per_unit", "unit_price": {"column": "p"}}
        convert = {"kind": "convert", "to": "EUR", "rates": {"USD": "0.5"}}
        fee = {"kind": "charge", "id": "fee", "amount": "1"}
        rows = pl.DataFrame({"quantity": [1, 2], "p": [10, 10], "currency": ["USD", "USD"]})
        before, after = book(charge, convert), book(charge, fee, convert, currency="USD")
        found = before.diff(after, rows)
        assert [(one.rule, one.how, one.rows, one.amounts["EUR"]["net"]) for one in found.effects] == [
            ("book", "settings", 0, Decimal(0)),
            ("fee", "added", 0, Decimal(0)),
            (None, "inseparable", 2, Decimal(1)),
        ]
        assert found.totals["EUR"]["net"] == Shift(Decimal(15), Decimal(16))
        assert (found.moves["EUR"].dearer, found.moves["EUR"].dearer_by) == (2, Decimal(1))
        assert [one.change for one in found.dearer] == [Decimal("0.50")] * 2
        assert after.diff(before, rows).effects[2].amounts["EUR"]["net"] == -1

    def test_what_is_told_of_a_change(self) -> None:
        tiers = TIERS | {"tiers": [{"up_to": "10", "unit_price": "2"}, {"unit_price": "1.4"}]}
        (one,) = book(TIERS).diff(book(tiers), LINES).effects
        assert one.what == "tier 2 unit_price 1.5 -> 1.4"
        (one,) = book(PER_UNIT).diff(book(PER_UNIT, off("5", id="loyalty")), LINES).effects
        assert (one.rule, one.how, one.what) == ("loyalty", "added", "percent_off: percent 5")
        (one,) = book(PER_UNIT, VAT).diff(book(PER_UNIT), LINES).effects
        assert (one.rule, one.how, one.what) == ("tax", "removed", "rate 20")


class TestWho:
    def test_groups_are_added_up(self) -> None:
        found = book(PER_UNIT).diff(book(PER_UNIT | {"unit_price": "3"}), LINES, by="customer")
        assert [(one.key, one.rows, one.before, one.after) for one in found.dearer] == [
            ({"customer": "a"}, 2, Decimal("42.00"), Decimal("63.00")),
            ({"customer": "b"}, 1, Decimal("20.00"), Decimal("30.00")),
        ]
        assert (found.cheaper, found.parties) == ([], (2, 0))

    def test_gross_is_with_tax(self) -> None:
        found = book(PER_UNIT, VAT).diff(book(PER_UNIT | {"unit_price": "3"}, VAT), LINES, top=1)
        assert [(one.before, one.after) for one in found.dearer] == [(Decimal("48.00"), Decimal("72.00"))]
        taxed = book(PER_UNIT, VAT).diff(book(PER_UNIT), LINES, top=1, measure="tax")
        assert [(one.before, one.after) for one in taxed.cheaper] == [(Decimal("8.00"), Decimal("0.00"))]

    def test_amounts_that_need_more_than_64_bits(self) -> None:
        rows = pl.DataFrame({"quantity": [10**20, 1]}, schema={"quantity": pl.Decimal(38, 0)})
        found = book(PER_UNIT).diff(book(PER_UNIT | {"unit_price": "3"}), rows)
        assert found.totals["EUR"]["net"].change == 10**20 + 1
        assert [one.change for one in found.dearer] == [10**20, 1]

    def test_groups_may_be_called_anything(self) -> None:
        rows = LINES.rename({"customer": "rows"}).with_columns(net_=pl.lit("x"))
        found = book(PER_UNIT).diff(book(TIERS), rows, by=["rows", "rows", "net_"])
        assert [(one.key, one.rows) for one in found.cheaper] == [({"rows": "a", "net_": "x"}, 2)]
        named = book(PER_UNIT).diff(book(TIERS), rows, key=["rows"])
        assert [(one.key, one.rows) for one in named.cheaper] == [({"rows": "a"}, 1)]

    def test_rows_are_numbered_where_nothing_names_them(self) -> None:
        found = book(PER_UNIT).diff(book(TIERS), LINES, top=1)
        assert [(one.key, one.change) for one in found.cheaper] == [({"row": 2}, Decimal("-5.00"))]
        assert found.parties == (0, 1)

    def test_rows_that_one_book_prices_are_told_apart(self) -> None:
        rows = pl.DataFrame({"quantity": [1, -2]})
        found = book(PER_UNIT).diff(book(PER_UNIT, negative="reject"), rows)
        assert found.unpriced.only_after == 1
        assert list(found.unpriced.after.values()) == [1]
        assert found.unpriced.lost["EUR"]["net"] == Decimal("-4.00")
        assert [(one.rule, one.how, one.amounts["EUR"]["net"]) for one in found.effects] == [
            ("book", "settings", 0),
            (None, "unpriced", Decimal("4.00")),
        ]

    def test_documents_that_are_kept_together(self) -> None:
        rows = pl.DataFrame({"quantity": [1, -2, 3, 4], "order": ["x", "x", "y", None]})
        found = book(PER_UNIT).diff(book(PER_UNIT, negative="reject"), rows, together="order")
        assert found.unpriced.only_after == 2
        assert sum(found.unpriced.after.values()) == 2
        assert found.totals["EUR"]["net"].after == 14
        dearer = book(PER_UNIT).diff(book(PER_UNIT | {"unit_price": "3"}, negative="reject"), rows, together="order")
        assert [one.key["row"] for one in dearer.dearer] == [3, 2]
        assert [one.rows for one in dearer.bands] == [2]

    def test_bands_take_their_far_ends(self) -> None:
        rows = pl.DataFrame({"quantity": [1, 2, 10, 100, 101, 200_000]})
        found = book(PER_UNIT).diff(book(PER_UNIT | {"unit_price": "2.1"}), rows)
        assert [(str(one.low), str(one.high), one.rows) for one in found.bands] == [
            ("0.01", "0.1", 1),
            ("0.1", "1", 2),
            ("1", "10", 1),
            ("10", "100", 1),
            ("10000", "None", 1),
        ]

    def test_many_rows_in_many_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("assay.pricing.comparing.BATCH_ROWS", 200)
        monkeypatch.setattr("assay.pricing.comparing._GROUPS", 4)
        rows = pl.DataFrame({"quantity": range(1_000)}).with_columns(who=pl.col("quantity") % 7)
        found = book(PER_UNIT).diff(book(TIERS), rows, top=3)
        assert [one.key["row"] for one in found.cheaper] == [999, 998, 997]
        grouped = book(PER_UNIT).diff(book(TIERS), rows, by="who", top=2)
        assert grouped.totals == found.totals
        assert [(one.key["who"], one.rows) for one in grouped.cheaper] == [(5, 143), (4, 143)]
        assert grouped.parties == (0, 7)

    def test_mixed_currencies_are_kept_apart(self) -> None:
        rows = pl.DataFrame({"quantity": [1, 2, 3], "p": [10, 10, 10], "currency": ["EUR", "JPY", "XAU"]})
        charge = {"kind": "per_unit", "unit_price": {"column": "p"}}
        found = book(charge, off("0"), mixed=True).diff(book(charge, off("10"), mixed=True), rows)
        assert {code: str(amounts["net"].change) for code, amounts in found.totals.items()} == {
            "EUR": "-1.0000",
            "JPY": "-2.0000",
        }
        assert found.unpriced.both == 1
        assert [(one.currency, one.key["row"]) for one in found.cheaper] == [("EUR", 0), ("JPY", 1)]


# Price lists, and what was known when

LISTED = book(
    {"kind": "resolve", "table": "list", "gives": ["unit_price"]},
    {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
    off("0"),
)
OTHERWISE = book(*LISTED.model_dump(mode="json", exclude_none=True)["steps"][:2], off("10"))
PRICES = [
    {"id": "tea", "product": "tea", "unit_price": "2", "known_from": "2026-01-01T00:00:00Z"},
    {"id": "all", "unit_price": "1", "known_from": "2026-01-01T00:00:00Z"},
    {"id": "tea", "product": "tea", "unit_price": "3", "known_from": "2026-02-01T00:00:00Z"},
    {"id": "jam", "product": "jam", "unit_price": "5", "known_from": "2026-02-01T00:00:00Z"},
]
SOLD = pl.DataFrame({"product": ["tea", "jam", "jam", "nut"], "quantity": [1, 2, 3, 4]})


class TestTables:
    def test_two_known_times(self) -> None:
        prices = {"list": PriceList(PRICES)}
        found = LISTED.diff(LISTED, SOLD, prices=prices, known_at=("2026-01-15T00:00:00Z", "2026-02-15T00:00:00Z"))
        (one,) = found.effects
        assert (one.rule, one.how, one.rows) == ("tables", "tables", 3)
        assert one.what == "known at 2026-01-15T00:00:00Z -> 2026-02-15T00:00:00Z"
        assert one.amounts["EUR"]["net"] == Decimal("21.00")
        assert [(p.before, p.after, p.rows, str(p.amounts["EUR"]["net"])) for p in found.prices] == [
            ("all", "jam", 2, "20.00"),
            ("tea", "tea", 1, "1.00"),
        ]

    def test_another_list_and_another_rule_share_what_they_do_together(self) -> None:
        other = [row | {"unit_price": "4"} if row["id"] == "all" else row for row in PRICES]
        lists = {"prices": {"list": PriceList(PRICES)}, "other_prices": {"list": PriceList(other)}}
        found = LISTED.diff(OTHERWISE, SOLD, **lists)  # type: ignore[arg-type]
        # 4 nuts at 1, later at 4: +12, and -1.20 of both are shared; the rest is 28, and 10 % off.
        assert [(one.rule, one.what, str(one.amounts["EUR"]["net"])) for one in found.effects] == [
            ("tables", "prices list", "11.40"),
            ("percent_off", "percent 0 -> 10", "-3.80"),
        ]
        assert [(p.before, p.after, p.rows, str(p.amounts["EUR"]["net"])) for p in found.prices] == [
            ("all", "all", 1, "11.40")
        ]

    def test_the_same_tables_are_no_change(self) -> None:
        lists = {"prices": {"list": PriceList(PRICES)}, "other_prices": {"list": PriceList(PRICES)}}
        found = LISTED.diff(LISTED, SOLD, **lists)  # type: ignore[arg-type]
        assert (found.effects, found.prices) == ([], [])

    def test_corrected_rates(self) -> None:
        rates = [("USD", "0.5", "2026-01-01T00:00:00+00:00"), ("USD", "0.6", "2026-02-01T00:00:00+00:00")]
        known = pl.Datetime("us", "UTC")
        table = pl.DataFrame(rates, schema=["currency", "rate", "known_from"], orient="row").with_columns(
            pl.col("rate").cast(pl.Decimal(38, 4)),
            pl.col("known_from").str.to_datetime(time_unit="us", time_zone="UTC").cast(known),
        )
        converting = book(PER_UNIT | {"unit_price": {"column": "p"}}, {"kind": "convert", "to": "EUR", "rates": "fx"})
        rows = pl.DataFrame({"quantity": [1, 2], "p": [10, 10], "currency": ["USD", "EUR"]})
        both = ("2026-01-15T00:00:00Z", "2026-02-15T00:00:00Z")
        found = converting.diff(converting, rows, rates={"fx": RatesTable(table)}, known_at=both)
        assert found.effects[0].amounts["EUR"]["net"] == 1
        assert [(p.before, p.after) for p in found.prices] == [(None, None)]

    @settings(max_examples=20, deadline=None, suppress_health_check=SLOW)
    @given(st.data())
    def test_rows_of_lists_add_up_to_the_effect(self, data: st.DataObject) -> None:
        products = st.sampled_from(["a", "b", "c"])
        price = st.integers(0, 999).map(lambda cents: str(Decimal(cents) / 100))
        many = st.lists(
            st.tuples(st.sampled_from(["a", "b", "c", None]), price),
            min_size=1,
            max_size=4,
            unique_by=lambda one: one[0],
        )

        def drawn() -> PriceList:
            rows = [
                {"id": f"p{n}", "unit_price": one} | ({"product": name} if name else {})
                for n, (name, one) in enumerate(data.draw(many))
            ]
            return PriceList([{"product": "z", "id": "z", "unit_price": "1"}, *rows])

        rows = data.draw(st.lists(st.tuples(products, st.integers(-9, 99)), min_size=1, max_size=8))
        frame = pl.DataFrame(rows, schema=["product", "quantity"], orient="row")
        old, new = drawn(), drawn()
        before, after = data.draw(st.permutations([LISTED, data.draw(st.sampled_from([LISTED, OTHERWISE]))]))
        one = before.diff(after, frame, prices={"list": old}, other_prices={"list": new})
        other = after.diff(before, frame, prices={"list": new}, other_prices={"list": old})
        for found, book, table, end in ((one, before, old, "before"), (one, after, new, "after")):
            priced = book.price(frame, prices={"list": table}, errors="column").collect()
            assert getattr(found.totals["EUR"]["net"], end) == priced["net"].sum()
        assert sum((e.amounts["EUR"]["net"] for e in one.effects), Decimal(0)) == one.totals["EUR"]["net"].change
        if one.effects and one.effects[0].rule == "tables":
            assert (
                sum((p.amounts["EUR"]["gross"] for p in one.prices), Decimal(0))
                == one.effects[0].amounts["EUR"]["gross"]
            )
        assert {(p.before, p.after, p.rows, p.amounts["EUR"]["net"]) for p in one.prices} == {
            (p.after, p.before, p.rows, -p.amounts["EUR"]["net"]) for p in other.prices
        }


class TestWrongUse:
    def test_another_currency(self) -> None:
        with pytest.raises(ConfigurationError, match="in EUR and the second's in USD"):
            book(PER_UNIT).diff(book(PER_UNIT, currency="USD"), LINES)

    def test_mixed_against_converted(self) -> None:
        convert = {"kind": "convert", "to": "EUR", "rates": {"USD": "0.5"}}
        with pytest.raises(ConfigurationError, match="cannot be compared"):
            book(PER_UNIT, mixed=True).diff(book(PER_UNIT, convert), LINES)

    @pytest.mark.parametrize("how", [{"by": "custmer"}, {"key": "nothing"}, {"together": "nothing"}])
    def test_an_unknown_column(self, how: dict[str, str]) -> None:
        with pytest.raises(ConfigurationError, match='no column "'):
            book(PER_UNIT).diff(book(TIERS), LINES, **how)  # type: ignore[arg-type]

    def test_a_column_of_lists(self) -> None:
        rows = LINES.with_columns(tags=pl.lit([1, 2]))
        with pytest.raises(ConfigurationError, match="columns of single values"):
            book(PER_UNIT).diff(book(TIERS), rows, by="tags")

    def test_an_unknown_measure_and_input(self) -> None:
        with pytest.raises(ConfigurationError, match='no measure "gros"'):
            book(PER_UNIT).diff(book(TIERS), LINES, measure="gros")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match='no input "quantty"'):
            book(PER_UNIT).diff(book(TIERS), LINES, inputs={"quantty": "quantity"})

    def test_an_input_that_one_book_knows_is_for_that_one(self) -> None:
        rows = LINES.with_columns(p=pl.lit(1))
        column = book({"kind": "per_unit", "unit_price": {"column": "unit_price"}})
        found = book(PER_UNIT).diff(column, rows, inputs={"unit_price": "p"})
        assert found.totals["EUR"]["net"].change == -31

    def test_a_column_that_would_be_the_number(self) -> None:
        with pytest.raises(ConfigurationError, match="give key or by"):
            book(PER_UNIT).diff(book(TIERS), LINES.with_columns(row=1))

    def test_sums_that_fit_no_column(self) -> None:
        rows = pl.DataFrame({"quantity": [10**31] * 20_000}, schema={"quantity": pl.Decimal(38, 0)})
        with pytest.raises(PricingError, match="too many digits"):
            book(PER_UNIT).diff(book(TIERS), rows)


class TestLimit:
    DIFFERENCE = book(PER_UNIT).diff(book(PER_UNIT | {"unit_price": "2.02"}), LINES)  # 62.00 -> 62.62

    @pytest.mark.parametrize(
        ("limit", "exceeded"),
        [("1%", []), ("0.99 %", ["EUR"]), ("0.62EUR", []), ("0.61 EUR", ["EUR"]), ("0%", ["EUR"])],
    )
    def test_it_may_be_reached(self, limit: str, exceeded: list[str]) -> None:
        assert ChangeLimit.parse(limit).exceeded(self.DIFFERENCE) == exceeded

    @pytest.mark.parametrize("text", ["", "1", "%", "-1%", "1 EURO", "1 ABC", "1,5%", "1.2.3%", "EUR"])
    def test_what_is_no_limit(self, text: str) -> None:
        with pytest.raises(ConfigurationError):
            ChangeLimit.parse(text)

    def test_a_limit_in_another_currency(self) -> None:
        with pytest.raises(ConfigurationError, match="amounts are in EUR"):
            ChangeLimit.parse("1USD").exceeded(self.DIFFERENCE)


def test_a_difference_shows_itself() -> None:
    found = book(PER_UNIT).diff(book(TIERS), LINES)
    assert repr(found) == "Difference(gross -5.00 EUR; 1 of 4 rows)"
    assert "graduated" in found._repr_html_()
    assert found.as_json()["effects"][0]["amounts"]["EUR"]["gross"] == "-5.00"


def test_a_sample_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr("assay.pricing.comparing.Verifier.check", lambda self, given, priced: seen.append(given.height))
    book(PER_UNIT).diff(book(TIERS), LINES, verify=5)
    assert seen == [3, 3]
