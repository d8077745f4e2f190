"""The linter: planted faults are found, findings are true, and there is none where all values of a range are fine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assay.errors import ConfigurationError, PricingError
from assay.money import MINOR_UNITS
from assay.pricing import RULES, Finding, PriceBook, PriceList, RatesTable, Rating, Step, Wording, register
from assay.pricing.edges import Edge
from assay.pricing.terms import Terms

Content = dict[str, Any]


def book(*steps: Content, **fields: Any) -> PriceBook:
    return PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", **fields, "steps": list(steps)})


def rules(found: list[Finding]) -> list[tuple[str, str | None]]:
    return [(one.rule, one.step) for one in found]


def total(priced: PriceBook, inputs: Mapping[str, Any] | None) -> Decimal | None:
    """What the reference says; None where it refuses."""
    try:
        return priced.quote(**(inputs or {})).total
    except PricingError:
        return None


# What each finding claims, once more by `quote`


def _falls(priced: PriceBook, one: Finding) -> bool:
    low, high = total(priced, one.beside), total(priced, one.example)
    return low is not None and high is not None and high < low


def _is_refused(priced: PriceBook, one: Finding) -> bool:
    return total(priced, one.example) is None and (one.beside is None or total(priced, one.beside) is not None)


def _changed(priced: PriceBook, one: Finding, change: Callable[[Content], Content]) -> PriceBook:
    """The book with another entry, or step."""
    steps = [dict(step) for step in priced.model_dump(mode="json", exclude_none=True)["steps"]]
    index = next(number for number, step in enumerate(priced.steps) if step.id == one.step)
    entries = priced.steps[index].entries
    if one.entry is None or entries is None:
        steps[index] = change(steps[index])
    else:
        listed = list(steps[index][entries])
        listed[one.entry - 1] = change(listed[one.entry - 1])
        steps[index] = {**steps[index], entries: listed}
    return PriceBook.model_validate(priced.model_dump(mode="json", exclude_none=True) | {"steps": steps})


def _dearer(entry: Content) -> Content:
    prices = {"unit_price", "flat_fee", "price", "rate", "percent", "amount"} & entry.keys()
    return entry | {name: "8" if isinstance(entry[name], dict) else str(Decimal(entry[name]) / 2) for name in prices}


def _makes_no_difference(priced: PriceBook, one: Finding) -> bool:
    if one.entry is None:
        steps = tuple(step for step in priced.steps if step.id != one.step)
        other = priced.model_copy(update={"steps": steps})
        if "its amount" in one.message:
            other = _changed(priced, one, lambda step: step | {"amount": str(int(step["amount"]) + 1)})
        return total(other, one.example) == total(priced, one.example) is not None
    if "without it" in one.message:

        def fewer(step: Content) -> Content:
            return step | {"rules": [rule for at, rule in enumerate(step["rules"], 1) if at != one.entry]}

        other = _changed(priced, replace(one, entry=None), fewer)
        return total(other, one.example) == total(priced, one.example) is not None
    return total(_changed(priced, one, _dearer), one.example) == total(priced, one.example) is not None


def _has_idle_digits(priced: PriceBook, one: Finding) -> bool:
    def rounded(entry: Content) -> Content:
        amounts = {name: Decimal(value) for name, value in entry.items() if name in {"flat_fee", "amount", "price"}}
        unit = Decimal(1).scaleb(-MINOR_UNITS[priced.currency])
        return entry | {name: str(amount.quantize(unit, "ROUND_HALF_UP")) for name, amount in amounts.items()}

    return total(_changed(priced, one, rounded), one.example) == total(priced, one.example) is not None


def _contradicts(priced: PriceBook, one: Finding) -> bool:
    step = next(step for step in priced.steps if step.id == one.step)
    entries = step.entries or ""

    def turned(content: Content) -> Content:
        return content | {entries: content[entries][::-1]}

    return _is_refused(priced, one) or total(_changed(priced, one, turned), one.example) != total(priced, one.example)


TRUE: dict[str, Callable[[PriceBook, Finding], bool]] = {
    "cliff": _falls,
    "gap": _is_refused,
    "dates": _is_refused,
    "limited": _is_refused,
    "overlap": _contradicts,
    "unreachable": _makes_no_difference,
    "digits": _has_idle_digits,
    "unbounded": lambda priced, one: total(priced, one.example) is not None,
    "order": lambda priced, one: total(priced, one.example) is not None,
    "unchecked": lambda priced, one: total(priced, one.example) is None,
}


def test_every_rule_is_held_against_quotes() -> None:
    assert TRUE.keys() == RULES.keys()


def see_that_they_are_true(priced: PriceBook, found: list[Finding]) -> None:
    for one in found:
        assert TRUE[one.rule](priced, one), one


# Sound books, and faults planted in them

prices = st.integers(1, 400).map(lambda units: Decimal(units) / 4)


@st.composite
def tiers(draw: st.DrawFn) -> list[Content]:
    """Rising edges, the last open, and prices that rise so that neither model has a cliff."""
    tops = sorted(draw(st.sets(st.integers(2, 60), min_size=1, max_size=4)))
    dearer = sorted(draw(st.lists(prices, min_size=len(tops) + 1, max_size=len(tops) + 1)))
    made = [{"up_to": str(top), "unit_price": str(price)} for top, price in zip(tops, dearer, strict=False)]
    return [*made, {"unit_price": str(dearer[-1])}]


@st.composite
def years(draw: st.DrawFn) -> list[Content]:
    """A table of rates of which each ends where the next begins."""
    days = sorted(draw(st.sets(st.dates(dt.date(2019, 1, 1), dt.date(2022, 1, 1)), min_size=2, max_size=4)))
    ends = [None, *days, None]
    return [
        {"rate": str(10 + number), "category": "S"}
        | ({"valid_from": start} if start else {})
        | ({"valid_to": end} if end else {})
        for number, (start, end) in enumerate(pairwise(ends))
    ]


@st.composite
def sound(draw: st.DrawFn) -> Content:
    """The content of a book in which nothing is to be found: all its prices are above 0, and whole cents."""
    steps: list[Content] = []
    if draw(st.booleans()):
        steps.append({"kind": "free_units", "quantity": str(draw(st.integers(1, 30)))})
    steps.append({"kind": draw(st.sampled_from(["volume", "graduated"])), "id": "units", "tiers": draw(tiers())})
    if draw(st.booleans()):
        steps.append({"kind": "flat", "amount": str(draw(prices))})
    if draw(st.booleans()):
        steps.append({"kind": "percent_off", "percent": "10"})
    if draw(st.booleans()):
        steps.append({"kind": "tax", "id": "vat", "table": draw(years())})
    return {"currency": "EUR", "rounding": "half_up", "steps": steps}


@given(sound())
def test_nothing_is_found_in_a_sound_book(content: Content) -> None:
    assert PriceBook.model_validate(content).lint() == []


def step_of(content: Content, name: str) -> Content:
    found: Content = next(step for step in content["steps"] if step.get("id") == name)
    return found


def after_charges(content: Content, *steps: Content) -> None:
    place = max(n for n, step in enumerate(content["steps"]) if step["kind"] in ("volume", "graduated", "flat")) + 1
    content["steps"][place:place] = steps


def plant_a_cheaper_tier(content: Content) -> None:
    units = step_of(content, "units")
    units["kind"] = "volume"
    units["tiers"][-1]["unit_price"] = "0.01"


def plant_a_threshold(content: Content) -> None:
    step_of(content, "units")["kind"] = "graduated"
    after_charges(content, {"kind": "amount_off", "id": "off", "amount": "150", "at_least": "1000"})


def plant_a_last_tier(content: Content) -> None:
    step_of(content, "units")["tiers"][-1]["up_to"] = "70"


def plant_a_low_maximum(content: Content) -> None:
    units = step_of(content, "units")
    units["kind"] = "graduated"
    after_charges(content, {"kind": "maximum", "amount": str(Decimal(units["tiers"][0]["unit_price"]))})


def plant_a_worse_rule(content: Content) -> None:
    offers = [{"kind": "percent_off", "percent": "20"}, {"kind": "percent_off", "percent": "5"}]
    after_charges(content, {"kind": "stack", "id": "offers", "mode": "best", "rules": offers})


def plant_a_threshold_out_of_reach(content: Content) -> None:
    limit = {"kind": "maximum", "amount": "10000"}
    after_charges(content, limit, {"kind": "percent_off", "id": "off", "percent": "5", "at_least": "10000.01"})


def plant_a_maximum_below_the_minimum(content: Content) -> None:
    low, high = {"kind": "maximum", "id": "cap", "amount": "20"}, {"kind": "minimum", "id": "floor", "amount": "50"}
    after_charges(content, low, high)


def plant_a_minimum_above_the_maximum(content: Content) -> None:
    low, high = {"kind": "maximum", "id": "cap", "amount": "20"}, {"kind": "minimum", "id": "floor", "amount": "50"}
    after_charges(content, high, low)


def plant_a_higher_maximum(content: Content) -> None:
    caps = [{"kind": "maximum", "id": f"cap {amount}", "amount": amount} for amount in ("5000", "3000")]
    after_charges(content, *caps)


def plant_something_off_nothing(content: Content) -> None:
    after_charges(content, *({"kind": "percent_off", "id": f"{p} %", "percent": p} for p in ("100", "10")))


def plant_something_off_before_all_is(content: Content) -> None:
    after_charges(content, *({"kind": "percent_off", "id": f"{p} %", "percent": p} for p in ("10", "100")))


def plant_an_option_that_never_wins(content: Content) -> None:
    offers = [{"kind": "percent_off", "percent": percent} for percent in ("9.5", "10")]
    after_charges(content, {"kind": "stack", "id": "offers", "mode": "best", "rules": offers})


def plant_a_hole(content: Content) -> None:
    content["steps"] = [*(s for s in content["steps"] if s.get("id") != "vat"), VAT | {"table": list(VAT["table"])}]
    del step_of(content, "vat")["table"][1]


def plant_an_overlap(content: Content) -> None:
    plant_a_hole(content)
    vat = step_of(content, "vat")
    vat["table"] = list(VAT["table"])
    vat["table"][0] = vat["table"][0] | {"valid_to": dt.date(2020, 7, 2)}


def plant_a_digit(content: Content) -> None:
    step_of(content, "units")["tiers"][0]["flat_fee"] = "0.004"


def plant_cents_of_a_yen(content: Content) -> None:
    content["currency"] = "JPY"
    content["steps"].insert(0, {"kind": "flat", "id": "fee", "amount": "9.99"})


def plant_an_open_rate(content: Content) -> None:
    content["steps"].append({"kind": "tax", "id": "open", "rate": {"column": "tax_rate"}})


def plant_a_late_discount(content: Content) -> None:
    limit = {"kind": "maximum", "amount": "1000", "per": "document"}
    after_charges(content, limit, {"kind": "percent_off", "id": "late", "percent": "50"})


VAT: Content = {
    "kind": "tax",
    "id": "vat",
    "table": [
        {"rate": "19", "valid_to": dt.date(2020, 7, 1)},
        {"rate": "16", "valid_from": dt.date(2020, 7, 1), "valid_to": dt.date(2021, 1, 1)},
        {"rate": "19", "valid_from": dt.date(2021, 1, 1)},
    ],
}


@dataclass(frozen=True)
class Planted:
    plant: Callable[[Content], None]
    rule: str
    step: str | None


FAULTS = [
    Planted(plant_a_cheaper_tier, "cliff", "units"),
    Planted(plant_a_threshold, "cliff", "off"),
    Planted(plant_a_last_tier, "limited", "units"),
    Planted(plant_a_low_maximum, "unreachable", "units"),
    Planted(plant_a_worse_rule, "unreachable", "offers"),
    Planted(plant_a_threshold_out_of_reach, "unreachable", "off"),
    Planted(plant_a_maximum_below_the_minimum, "unreachable", "cap"),
    Planted(plant_a_minimum_above_the_maximum, "unreachable", "floor"),
    Planted(plant_a_higher_maximum, "unreachable", "cap 5000"),
    Planted(plant_something_off_nothing, "unreachable", "10 %"),
    Planted(plant_something_off_before_all_is, "unreachable", "10 %"),
    Planted(plant_an_option_that_never_wins, "unreachable", "offers"),
    Planted(plant_a_hole, "dates", "vat"),
    Planted(plant_an_overlap, "overlap", "vat"),
    Planted(plant_a_digit, "digits", "units"),
    Planted(plant_cents_of_a_yen, "digits", "fee"),
    Planted(plant_an_open_rate, "unbounded", "open"),
    Planted(plant_a_late_discount, "order", "late"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.plant.__name__.removeprefix("plant_"))
@settings(max_examples=15)
@given(data=st.data())
def test_a_planted_fault_is_found(fault: Planted, data: st.DataObject) -> None:
    content = data.draw(sound())
    fault.plant(content)
    priced = PriceBook.model_validate(content)
    found = priced.lint()
    assert (fault.rule, fault.step) in rules(found)
    see_that_they_are_true(priced, found)


# All values of a range, one by one


@st.composite
def small(draw: st.DrawFn) -> PriceBook:
    """A book whose edges are within 60 units, and whose thresholds may be anywhere."""
    price = prices.map(str)
    fee = st.one_of(st.just("0"), price)
    tops = draw(st.lists(st.integers(1, 60), max_size=3, unique=True).map(sorted))
    made = [{"up_to": str(top), "unit_price": draw(price), "flat_fee": draw(fee)} for top in tops]
    made.append({"unit_price": draw(price), "flat_fee": draw(fee)})
    charges: dict[str, Content] = {
        "volume": {"tiers": made},
        "graduated": {"tiers": made},
        "package": {"size": str(draw(st.integers(1, 20))), "price": draw(price)},
        "per_unit": {"unit_price": draw(price)},
    }
    kind = draw(st.sampled_from(sorted(charges)))
    steps: list[Content] = [{"kind": kind, **charges[kind]}]
    if draw(st.booleans()):
        steps.insert(0, {"kind": "free_units", "quantity": str(draw(st.integers(1, 30)))})
    amounts = st.integers(1, 3000).map(str)
    later = st.one_of(
        st.builds(lambda a, b: {"kind": "amount_off", "amount": a, "at_least": b}, amounts, amounts),
        st.builds(lambda b: {"kind": "percent_off", "percent": "15", "at_least": b}, amounts),
        st.builds(lambda a: {"kind": "fixed_price", "when": "lower", "amount": a}, amounts),
        st.builds(lambda a: {"kind": "maximum", "amount": a}, amounts),
        st.builds(lambda a: {"kind": "minimum", "amount": a}, amounts),
        st.just({"kind": "tax", "rate": "19"}),
    )
    steps += draw(st.lists(later, max_size=3))
    return book(*steps)


@given(small())
def test_a_cliff_is_found_where_there_is_one(priced: PriceBook) -> None:
    found = [one for one in priced.lint() if one.rule == "cliff"]
    see_that_they_are_true(priced, found)
    totals = [priced.quote(quantity=quantity).total for quantity in range(200)]
    if any(after < before for before, after in pairwise(totals)):
        assert found
    for one in found:
        high = Decimal(str(one.example["quantity"]))
        if high < 200:
            assert totals[int(high)] < totals[int(high) - 1]


# Of what is left after three of them, all amounts of these books are reached within `_ALL`.
PERCENTS = st.sampled_from([*range(1, 61), 100]).map(str)
OFFERS = st.one_of(
    st.builds(lambda a: {"kind": "amount_off", "amount": a}, st.integers(1, 90).map(str)),
    st.builds(lambda p: {"kind": "percent_off", "percent": p}, PERCENTS),
    st.builds(lambda a: {"kind": "fixed_price", "when": "lower", "amount": a}, st.integers(1, 90).map(str)),
    st.builds(
        lambda p, a: {"kind": "percent_off", "percent": p, "at_least": a},
        PERCENTS,
        st.integers(1, 200).map(str),
    ),
)


@st.composite
def limited(draw: st.DrawFn) -> Content:
    """A price a unit, and limits, discounts and options in any order, of which some never make a difference."""
    step = st.one_of(
        OFFERS,
        st.builds(lambda a: {"kind": "maximum", "amount": a}, st.integers(1, 200).map(str)),
        st.builds(lambda a: {"kind": "minimum", "amount": a}, st.integers(1, 200).map(str)),
        st.builds(
            lambda rules, mode: {"kind": "stack", "mode": mode, "rules": rules},
            st.lists(OFFERS, min_size=2, max_size=3),
            st.sampled_from(["best", "exclusive", "sequential"]),
        ),
    )
    steps = draw(st.lists(step, min_size=1, max_size=3))
    charge = {"kind": "per_unit", "unit_price": draw(st.sampled_from(["0.5", "1", "2", "7"]))}
    return {"currency": "EUR", "rounding": "half_up", "steps": [charge, *steps]}


_ALL = [*range(16_000), *(10**power + less for power in range(5, 12) for less in (-1, 0, 1))]


def _totals(content: Content, *, steps: list[Content]) -> list[Decimal | None]:
    priced = PriceBook.model_validate(content | {"steps": steps}).price(pl.DataFrame({"quantity": _ALL}))
    return priced.collect()["gross"].to_list()


@settings(max_examples=25)
@given(limited())
@example(
    {
        "currency": "EUR",
        "rounding": "half_up",
        "steps": [
            {"kind": "per_unit", "unit_price": "2"},
            {
                "kind": "stack",
                "mode": "best",
                "rules": [
                    {"kind": "amount_off", "amount": "5"},
                    {"kind": "percent_off", "percent": "10"},
                    {"kind": "fixed_price", "when": "lower", "amount": "48"},
                ],
            },
        ],
    }
)
def test_a_step_is_idle_where_no_quantity_shows_it(content: Content) -> None:
    """Each step and option is left out, each amount moved, and all quantities of a range priced, one by one."""
    steps = content["steps"]
    priced = PriceBook.model_validate(content)
    found = [one for one in priced.lint() if one.rule == "unreachable"]
    see_that_they_are_true(priced, found)
    told = {(one.step, one.entry) for one in found}
    known = _totals(content, steps=steps)
    for place, (made, step) in enumerate(zip(priced.steps, steps, strict=True)):
        if place == 0:
            continue
        without = _totals(content, steps=[*steps[:place], *steps[place + 1 :]]) == known
        moved = False
        if step["kind"] in ("maximum", "minimum", "amount_off", "fixed_price"):
            others = [{**step, "amount": str(int(step["amount"]) + by)} for by in (-1, 1)]
            moved = all(_totals(content, steps=[*steps[:place], o, *steps[place + 1 :]]) == known for o in others)
        assert ((made.id, None) in told) == (without or moved)
        for number in range(1, len(step.get("rules", ())) + 1):
            listed = step["rules"]
            rule, field = listed[number - 1], "percent" if listed[number - 1]["kind"] == "percent_off" else "amount"
            less, more = ({**rule, field: str(Decimal(rule[field]) + by)} for by in (Decimal("-0.01"), Decimal("0.01")))
            instead = [[], [less], *([[more]] if Decimal(more[field]) <= 100 or field == "amount" else [])]
            kept = [{**step, "rules": [*listed[: number - 1], *other, *listed[number:]]} for other in instead]
            left_out, *moves = (
                _totals(content, steps=[*steps[:place], other, *steps[place + 1 :]]) == known for other in kept
            )
            if left_out and all(moves) and not without:
                assert (made.id, number) in told
            if (made.id, number) in told:
                # Without it others may be dearer, as long as no other amount in it makes a difference.
                assert all(moves)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=4))
@example([(0, 2), (1, 2), (3, 4)])
def test_days_are_found_that_have_no_rate_or_two(windows: list[tuple[int, int]]) -> None:
    first = dt.date(2026, 1, 1)
    table = [
        {
            "rate": str(number + 1),
            "valid_from": first + dt.timedelta(days=low),
            "valid_to": first + dt.timedelta(days=high),
        }
        for number, (low, high) in enumerate(windows)
    ]
    priced = book({"kind": "flat", "amount": "100"}, {"kind": "tax", "table": table})
    found = priced.lint()
    see_that_they_are_true(priced, found)
    rates = [sum(low <= day < high for low, high in windows) for day in range(-1, 14)]
    if 1 not in rates:
        assert "unchecked" in dict(rules(found)) or "overlap" in dict(rules(found))
        return
    fine = [day for day, count in enumerate(rates) if count == 1]
    assert ("overlap" in dict(rules(found))) == any(count > 1 for count in rates)
    assert ("dates" in dict(rules(found))) == (0 in rates[fine[0] : fine[-1]])
    assert ("limited" in dict(rules(found))) == (rates[fine[-1] + 1] == 0)
    # Of three that contradict each other none makes a difference: without it two still do.
    telling = {
        number for number, (low, high) in enumerate(windows, 1) if {1, 2} & set(rates[low + 1 : max(low, high) + 1])
    }
    assert {one.entry for one in found if one.rule == "unreachable"} == set(range(1, len(windows) + 1)) - telling


# Single cases


def test_a_gap_of_quantities_is_found() -> None:
    @register
    class Split(Step):
        """A strategy of a user's: it has edges, and a hole between two of them."""

        kind: Literal["split"] = "split"

        def inputs(self) -> frozenset[str]:
            return frozenset({"quantity"})

        def edges(self, terms: Terms) -> list[Edge]:
            return [Edge("quantity", Decimal(10)), Edge("quantity", Decimal(20))]

        def apply(self, at: Rating) -> None:
            quantity = at.input("quantity")
            at.require(quantity <= 10 or quantity >= 20, "from 10 to 20 there is no price")
            at.charge(quantity, Wording("units", quantity, Decimal(1)))

    priced = book({"kind": "split"})
    found = priced.lint()
    assert rules(found) == [("gap", "split")]
    assert found[0].example == {"quantity": Decimal(11)}
    see_that_they_are_true(priced, found)


def test_times_without_a_price_and_with_two_are_found() -> None:
    rates = [
        {"unit_price": "0.25", "start": "06:00", "end": "22:00"},
        {"unit_price": "0.40", "start": "08:00", "end": "09:00"},
        {"unit_price": "0.50", "start": "10:00", "end": "11:00", "weight": 1},
    ]
    priced = book({"kind": "time_of_use", "zone": "Europe/Berlin", "rates": rates})
    found = priced.lint()
    assert {(one.rule, one.entry) for one in found} == {("dates", None), ("overlap", None), ("unreachable", 2)}
    see_that_they_are_true(priced, found)


def test_holes_between_rates_and_rates_without_an_age_are_found() -> None:
    convert = {"kind": "convert", "to": "EUR", "rates": "ecb", "date": "day", "direction": "divide"}
    days = ["2026-01-01", "2026-01-02", "2026-01-09"]
    frame = {
        "currency": ["USD"] * 3,
        "valid_from": [dt.date.fromisoformat(day) for day in days],
        "rate": [Decimal(1)] * 3,
    }

    rates = {"ecb": RatesTable(pl.DataFrame(frame))}
    flat = {"kind": "flat", "amount": {"column": "price"}}
    aged = book(flat, convert | {"max_age": 3})
    (hole,) = aged.lint(rates=rates)
    assert (hole.rule, hole.example["day"], hole.example["currency"]) == ("dates", dt.date(2026, 1, 6), "USD")
    with pytest.raises(PricingError, match="the nearest is of 2026-01-02, 4 days away"):
        aged.quote(rates=rates, **hole.example)
    ageless = book(flat, convert)
    (old,) = ageless.lint(rates=rates)
    assert old.rule == "unbounded"
    assert ageless.quote(rates=rates, **old.example).fx_date == dt.date(2026, 1, 9)
    # Without the table one stands in that has every rate.
    assert rules(ageless.lint()) == [("unbounded", "convert")]


def test_a_finding_says_what_is_where() -> None:
    tiers = [{"up_to": "10", "unit_price": "2"}, {"up_to": "100", "unit_price": "1.9"}, {"unit_price": "1.5"}]
    (cliff,) = book({"kind": "volume", "tiers": tiers}).lint()
    assert cliff.message == "the total falls from 190.00 EUR at quantity 100 to 151.50 EUR at 101"
    assert (cliff.example, cliff.beside) == ({"quantity": Decimal(101)}, {"quantity": Decimal(100)})


def test_the_smallest_step_decides_what_is_a_cliff() -> None:
    """From 10 on units are cheaper by 5 %: eleven cost more than ten, and 10.01 cost less."""
    priced = book({"kind": "volume", "tiers": [{"up_to": "10", "unit_price": "2"}, {"unit_price": "1.9"}]})
    assert priced.lint() == []
    (cliff,) = priced.lint(smallest={"quantity": "0.01"})
    assert cliff.example == {"quantity": Decimal("10.01")}
    see_that_they_are_true(priced, [cliff])
    with pytest.raises(ConfigurationError, match="smallest step of quantity is 0"):
        priced.lint(smallest={"quantity": 0})


def test_a_rate_that_the_row_brings_is_limited_by_a_maximum() -> None:
    fee = {"kind": "cost_plus", "multiplier": {"column": "factor"}}
    assert rules(book(fee).lint()) == [("unbounded", "cost_plus")]
    assert book(fee, {"kind": "maximum", "amount": "5000"}).lint() == []


def test_rows_of_a_list_that_tie_end_early_or_never_count_are_found() -> None:
    rows: list[Content] = [
        {"id": "a", "product": "tea", "unit_price": "4", "valid_to": "2026-04-01"},
        {"id": "b", "product": "tea", "unit_price": "4.4", "valid_from": "2026-04-02"},
        {"id": "c", "product": "milk", "unit_price": "1"},
        {"id": "d", "product": "milk", "unit_price": "2", "valid_from": "2026-05-01"},
        {"id": "e", "product": "jam", "unit_price": "2"},
        {"id": "f", "product": "jam", "unit_price": "3", "priority": 1},
        {"id": "g", "product": "salt", "unit_price": "3", "valid_to": "2026-04-01"},
        {"id": "h", "product": "salt", "unit_price": "4", "valid_from": "2026-04-01"},
    ]
    prices = {"list": PriceList(rows)}
    resolve = {"kind": "resolve", "table": "list", "gives": ["unit_price"], "date": "day"}
    priced = book(resolve, {"kind": "per_unit", "unit_price": {"column": "unit_price"}}, zone="Europe/Berlin")
    found = priced.lint(prices=prices)
    assert [(one.rule, one.example["product"]) for one in found] == [
        ("dates", "tea"),
        ("overlap", "milk"),
        ("unreachable", "jam"),
    ]
    for one, words in zip(found, ["expired on 2026-04-01", "several prices for", None], strict=True):
        if words is None:
            assert priced.quote(prices=prices, **one.example).price_id == "f"
        else:
            with pytest.raises(PricingError, match=words):
                priced.quote(prices=prices, **one.example)
    assert rules(priced.lint()) == [("unchecked", None)]


def test_an_option_that_is_there_twice_is_no_option_of_any_price() -> None:
    """In each of the two a lower price would count: that another makes no difference would not be true."""
    twice = [{"kind": "fixed_price", "when": "lower", "amount": "1"}] * 2
    rules_given = [{"kind": "amount_off", "amount": "1"}, *twice]
    stack = {"kind": "stack", "mode": "best", "rules": rules_given}
    assert book({"kind": "per_unit", "unit_price": "0.5"}, stack).lint() == []


def test_rates_of_places_matter_at_their_places() -> None:
    table = [{"rate": "19", "place": "DE"}, {"rate": "20", "place": "AT"}, {"rate": "20", "place": "FR"}]
    flat = {"kind": "flat", "amount": "100"}
    assert book(flat, {"kind": "tax", "table": table}).lint() == []
    twice = book(flat, {"kind": "tax", "table": [*table, {"rate": "21", "place": "FR"}]})
    (overlap,) = twice.lint()
    assert (overlap.rule, overlap.example) == ("overlap", {"place": "FR"})
    see_that_they_are_true(twice, [overlap])


def test_an_entry_that_shows_only_in_large_quantities_matters() -> None:
    rates = [{"unit_price": "0.20"}, {"unit_price": "0.30", "start": "08:00", "end": "20:00", "weight": 1}]
    by_time = {"kind": "time_of_use", "zone": "Europe/Berlin", "rates": rates}
    assert book(by_time, {"kind": "minimum", "amount": "5"}).lint() == []


def test_a_dated_list_whose_first_rows_tie_is_looked_at() -> None:
    rows = [{"unit_price": "1", "valid_to": "2026-04-01"}, {"unit_price": "2", "valid_from": "2026-03-01"}]
    resolve = {"kind": "resolve", "table": "list", "gives": ["unit_price"], "date": "day"}
    priced = book(resolve, {"kind": "per_unit", "unit_price": {"column": "unit_price"}})
    assert rules(priced.lint(prices={"list": PriceList(rows)})) == [("overlap", "resolve")]
