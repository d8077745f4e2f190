"""Batch is quote, to the last cent: random books, rows at the edges, and proof that the draws find mistakes."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from tests.pricing.drawn import CHARGES, CURRENCIES, STEPS, Case, cases, differences

from assay.money import ROUNDINGS, Grid, Rounded, Rounding, Scaled, minor_units, round_expr
from assay.pricing import PriceBook, many_tiers

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.mark.parametrize("charge", sorted(CHARGES))
@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_each_charge_model(charge: str, data: st.DataObject) -> None:
    assert differences(data.draw(cases(charge=charge))) == []


@pytest.mark.parametrize("step", [*sorted(STEPS), "convert", "credit", "round_total"])
@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_each_step(step: str, data: st.DataObject) -> None:
    assert differences(data.draw(cases(step=step))) == []


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(cases())
def test_random_books(case: Case) -> None:
    assert differences(case) == []


def searched_differences(case: Case) -> list[tuple[object, object, object]]:
    """What differs where graduated tiers are searched, however few they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many_tiers, "MANY", 1)
        return differences(case, receipts=False)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(cases(charge="graduated"))
def test_graduated_tiers_that_are_searched(case: Case) -> None:
    assert searched_differences(case) == []


def test_a_tier_that_is_searched_from_the_wrong_side_is_found() -> None:
    """The tests above see the search: with an edge in the tier after it, they would fail."""
    real = pl.Series.search_sorted

    def wrong(self: pl.Series, element: pl.Series, side: str = "any") -> pl.Series:
        assert side == "left"
        return real(self, element, side="right")

    tiers = [
        {"up_to": "10", "unit_price": "2"},
        {"up_to": "20", "unit_price": "1", "flat_fee": "3"},
        {"unit_price": "0"},
    ]
    step = {"kind": "graduated", "tiers": tiers}
    book = PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", "steps": [step]})
    case = Case(book, pl.DataFrame({"quantity": [9, 10, 11, 20]}))
    assert searched_differences(case) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl.Series, "search_sorted", wrong)
        assert searched_differences(case) != []


@pytest.mark.campaign
@settings(max_examples=10_000, deadline=None, suppress_health_check=SLOW, database=None)
@given(cases(charge="graduated"))
def test_many_graduated_tiers_that_are_searched(case: Case) -> None:
    assert searched_differences(case) == []


def test_a_thousand_tiers_are_priced_at_each_edge() -> None:
    """Each tier, its edge and beside it, with credits; a plan that grows with the tiers took 20 seconds."""
    tiers = [{"up_to": f"{place}.5", "unit_price": f"{place % 7}.375", "flat_fee": "0.25"} for place in range(1, 1000)]
    for kind in ("tier", "total"):
        step = {"kind": "graduated", "tiers": [*tiers, {"unit_price": "0.125"}], "round": kind}
        book = PriceBook.model_validate({"currency": "EUR", "rounding": "half_even", "steps": [step]})
        edges = [
            Decimal(place) + by
            for place in (0, 1, 2, 500, 998, 999, 1000)
            for by in map(Decimal, ("0.49", "0.5", "0.51"))
        ]
        asked = [*edges, *(-one for one in edges), Decimal(0)]
        frame = pl.DataFrame({"quantity": asked}, schema={"quantity": pl.Decimal(12, 2)})
        begun = time.process_time()
        made = book.price(frame).collect()["net"].to_list()
        assert time.process_time() - begun < 5
        assert made == [book.quote(quantity=one).net for one in asked]


@pytest.mark.campaign
@settings(max_examples=20_000, deadline=None, suppress_health_check=SLOW, database=None)
@given(cases())
def test_many_random_books(case: Case) -> None:
    assert differences(case) == []


# Near ties: percentages p (in 1/10,000, coprime to 10) and amounts that put the discount a hair from half a cent.


@st.composite
def near_ties(draw: st.DrawFn) -> Case:
    p = draw(st.integers(1, 10**6 - 1).filter(lambda p: p % 2 and p % 5))
    currency = draw(st.sampled_from(CURRENCIES))
    inverse = pow(p, -1, 10**6)
    hairs = draw(st.lists(st.integers(-50, 50), min_size=8, max_size=8))
    cents = [(500_000 + hair) * inverse % 10**6 + 10**6 * draw(st.integers(0, 10**6)) for hair in hairs]
    digits = minor_units(currency)
    sign = draw(st.sampled_from([1, -1]))
    amounts = [Decimal(sign * units).scaleb(-digits) for units in cents]
    percent = str(Decimal(p).scaleb(-4))
    steps: list[dict[str, object]] = [{"kind": "per_unit", "unit_price": {"column": "unit_price"}}]
    steps.append(
        {"kind": "tax", "rate": percent} if draw(st.booleans()) else {"kind": "percent_off", "percent": percent}
    )
    rounding = draw(st.sampled_from(ROUNDINGS))
    book = PriceBook.model_validate({"currency": currency, "rounding": rounding, "steps": steps})
    prices = pl.Series(amounts, dtype=pl.Decimal(38, digits))
    return Case(book, pl.DataFrame({"quantity": [1] * len(amounts), "unit_price": prices}))


@given(near_ties())
def test_a_hair_from_half_a_cent(case: Case) -> None:
    assert differences(case) == []


@st.composite
def unit_ties(draw: st.DrawFn) -> Case:
    """Quantity x price is exactly half a unit of the currency, for each row's own currency."""
    to = draw(st.sampled_from(CURRENCIES))
    rows = draw(st.lists(st.sampled_from([c for c in CURRENCIES if c != to]), min_size=6, max_size=6))
    halves = draw(st.lists(st.integers(-(10**6), 10**6), min_size=6, max_size=6))
    prices = [
        Decimal(2 * half + 1) * 5 * Decimal(1).scaleb(-minor_units(c) - 1) for half, c in zip(halves, rows, strict=True)
    ]
    rates: dict[str, str] = {c: draw(st.sampled_from(["0.5", "0.25", "1", "2.5", "0.00125", "8"])) for c in set(rows)}
    book = PriceBook.model_validate(
        {
            "currency": to,
            "rounding": draw(st.sampled_from(ROUNDINGS)),
            "steps": [
                {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
                {"kind": "percent_off", "percent": draw(st.sampled_from(["50", "12.5", "2.5"]))},
                {
                    "kind": "convert",
                    "to": to,
                    "rates": rates,
                    "direction": draw(st.sampled_from(["multiply", "divide"])),
                },
                {"kind": "tax", "rate": draw(st.sampled_from(["50", "7.5", "19"]))},
            ],
        }
    )
    frame = pl.DataFrame(
        {
            "quantity": [1] * 6,
            "unit_price": pl.Series(prices, dtype=pl.Decimal(20, 5)),
            "currency": rows,
        }
    )
    return Case(book, frame)


@given(unit_ties())
def test_exact_ties_in_each_rows_own_currency(case: Case) -> None:
    assert differences(case) == []


# A twin test counts once a seeded mistake has failed it. That it is found is the point, not the smallest case.

USUAL = settings(max_examples=60, deadline=None, database=None, phases=[Phase.generate])


def unwidened(a: Scaled, b: Scaled, grid: Grid, rounding: Rounding, max_digits: int = 36, **_: object) -> Rounded:
    """What most people write: multiply as Polars does (the larger scale, half-even), then round."""
    product = a.decimal() * b.decimal()
    scale = max(a.scale, b.scale)
    return rounded_from(product, scale, grid, rounding)


def rounded_twice(a: Scaled, b: Scaled, grid: Grid, rounding: Rounding, max_digits: int = 36, **_: object) -> Rounded:
    """Widened as it should be, but rounded half-even to one digit more before the real rounding."""
    scale = a.scale + b.scale
    whole = (a.units * b.units).reinterpret(dtype=pl.Decimal(38, scale))
    return rounded_from(round_expr(whole, scale, grid.scale + 1, "half_even"), grid.scale + 1, grid, rounding)


def ties_downward(a: Scaled, b: Scaled, grid: Grid, rounding: Rounding, max_digits: int = 36, **_: object) -> Rounded:
    """Right but for the tie."""
    scale = a.scale + b.scale
    whole = (a.units * b.units).reinterpret(dtype=pl.Decimal(38, scale))
    return rounded_from(whole, scale, grid, "half_down" if rounding == "half_up" else rounding)


def rounded_from(product: pl.Expr, scale: int, grid: Grid, rounding: Rounding) -> Rounded:
    amount = round_expr(product, scale, grid.scale, rounding).reinterpret(dtype=pl.Int128)
    return Rounded(Scaled(amount, grid.scale, 10**30), pl.lit(value=True), complete=True)


@pytest.mark.parametrize("mistake", [unwidened, rounded_twice])
def test_a_mistake_in_the_product_is_found_within_the_usual_draws(
    mistake: Callable[..., Rounded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.pricing.batch.rounded_product", mistake)
    found = find(near_ties(), lambda case: bool(differences(case)), settings=USUAL)
    monkeypatch.undo()
    assert differences(found) == []


def test_a_mistake_at_the_tie_is_found_within_the_usual_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    @st.composite
    def plain_ties(draw: st.DrawFn) -> Case:
        case = draw(unit_ties())
        steps = [step.model_dump(mode="json", exclude={"id"}, exclude_none=True) for step in case.book.steps[:2]]
        book = PriceBook.model_validate({"currency": "CLF", "rounding": "half_up", "steps": steps})
        return Case(book, case.frame.drop("currency"))

    monkeypatch.setattr("assay.pricing.batch.rounded_product", ties_downward)
    found = find(plain_ties(), lambda case: bool(differences(case)), settings=USUAL)
    monkeypatch.undo()
    assert differences(found) == []


def test_without_a_mistake_nothing_is_found() -> None:
    with pytest.raises(NoSuchExample):
        find(near_ties(), lambda case: bool(differences(case)), settings=USUAL)
