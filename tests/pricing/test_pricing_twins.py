"""Batch is quote, to the last cent: random books, rows at the edges, and proof that the draws find mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from assay.errors import PricingError
from assay.money import EXACT, ROUNDINGS, Grid, Rounded, Rounding, Scaled, minor_units, round_expr
from assay.pricing import PriceBook, RatesTable

CURRENCIES = ["EUR", "JPY", "KWD", "CLF", "USD"]  # 2, 0, 3, 4 and 2 digits
INTEGER_RANGES: dict[pl.DataType, tuple[int, int]] = {
    pl.Int64(): (-(2**63), 2**63 - 1),
    pl.UInt8(): (0, 2**8 - 1),
    pl.Int128(): (-(2**127), 2**127 - 1),
}
MONEY = ["base", "discount", "net", "tax", "gross"]


@dataclass(frozen=True)
class Case:
    book: PriceBook
    frame: pl.DataFrame
    tables: dict[str, RatesTable]


def differences(case: Case) -> list[tuple[dict[str, Any], object, object]]:
    """Rows in which the batch says something else than the quote."""
    found: list[tuple[dict[str, Any], object, object]] = []
    priced = case.book.price(case.frame, rates=case.tables, errors="column").collect()
    assert priced.height == case.frame.height
    for row, batch in zip(case.frame.iter_rows(named=True), priced.iter_rows(named=True), strict=True):
        got: object = batch["pricing_error"] or tuple(batch[name] for name in (*MONEY, "currency"))
        expected: object
        try:
            receipt = case.book.quote(rates=case.tables, **row)
        except PricingError as error:
            expected = str(error)
            assert all(batch[name] is None for name in MONEY)
        else:
            with localcontext(EXACT):  # the default context would round the sums to 28 digits
                assert receipt.net == receipt.base - receipt.discount
                assert receipt.total == receipt.net + receipt.tax
                assert sum(line.amount for line in receipt.lines if line.adds_to_total) == receipt.total
            expected = (
                receipt.base,
                receipt.discount,
                receipt.net,
                receipt.tax,
                receipt.total,
                receipt.currency,
            )
            assert receipt.fx_rate == batch.get("fx_rate")
        if got != expected:
            found.append((row, got, expected))
    return found


# What is drawn

decimals = st.builds(
    lambda units, places: Decimal(units).scaleb(-places), st.integers(-(10**7), 10**7), st.integers(0, 6)
)
# One that makes ties: a divisor of a power of ten.
tie_makers = st.sampled_from(["0.5", "0.05", "0.005", "0.0005", "0.25", "0.125", "2.5", "0.00005", "1.5"])
prices = st.one_of(tie_makers, decimals.map(str), st.just("0"))
percents = st.one_of(
    st.sampled_from(["0", "100", "50", "12.5", "7.5", "0.5", "33.3333"]),
    st.builds(lambda units: str(Decimal(units).scaleb(-4)), st.integers(0, 10**6)),
)
step_roundings = st.one_of(st.none(), st.sampled_from([*ROUNDINGS, "none"]))
positive_rates = st.builds(
    lambda units, places: str(Decimal(units).scaleb(-places)), st.integers(1, 10**9), st.integers(0, 8)
)


def maybe_column(literal: st.SearchStrategy[str], column: str) -> st.SearchStrategy[object]:
    return st.one_of(literal, st.just({"column": column}))


@st.composite
def books(draw: st.DrawFn) -> tuple[PriceBook, dict[str, RatesTable]]:
    def step(kind: str, **fields: object) -> dict[str, object]:
        rounding = draw(step_roundings) if draw(st.integers(0, 3)) == 0 else None
        return {"kind": kind, **fields, **({"rounding": rounding} if rounding else {})}

    steps = [step("per_unit", unit_price=draw(maybe_column(prices, "unit_price")))]
    if draw(st.booleans()):
        steps.append(step("per_unit", unit_price=draw(maybe_column(prices, "list_price"))))
    if draw(st.booleans()):
        steps.append(step("percent_off", percent=draw(maybe_column(percents, "percent"))))
    currency = draw(st.sampled_from(CURRENCIES))
    tables: dict[str, RatesTable] = {}
    if draw(st.booleans()):
        to = draw(st.sampled_from(CURRENCIES))
        others = draw(st.lists(st.sampled_from([c for c in CURRENCIES if c != to]), unique=True))
        rates: object = {other: draw(positive_rates) for other in others}
        if draw(st.booleans()):
            tables["ecb"] = RatesTable(rates)  # type: ignore[arg-type]
            rates = "ecb"
        steps.append(step("convert", to=to, rates=rates, direction=draw(st.sampled_from(["multiply", "divide"]))))
    if draw(st.booleans()):
        steps.append(step("percent_off", percent=draw(percents)))
    taxes = draw(st.integers(0, 2))
    steps += [step("tax", rate=draw(maybe_column(percents, "tax_rate"))) for _ in range(taxes)]
    rounding = draw(st.sampled_from([*ROUNDINGS, "none"]))
    return PriceBook.model_validate({"currency": currency, "rounding": rounding, "steps": steps}), tables


@st.composite
def number_columns(draw: st.DrawFn, rows: int) -> pl.Series:
    """Integers or decimals of any width: small, tie-making, zero, null, and as large as the type holds."""
    dtype: pl.DataType = draw(
        st.one_of(
            st.sampled_from([pl.Int64(), pl.UInt8(), pl.Int128(), pl.Decimal(38, 0), pl.Decimal(38, 10)]),
            st.integers(1, 38).flatmap(lambda p: st.builds(pl.Decimal, st.just(p), st.integers(0, min(p, 20)))),
        )
    )
    if isinstance(dtype, pl.Decimal):
        low, high = 1 - 10**dtype.precision, 10**dtype.precision - 1
    else:
        low, high = INTEGER_RANGES[dtype]
    small = st.integers(-999, 999).filter(lambda units: low <= units <= high)
    value = st.one_of(small, small, st.integers(low, high), st.sampled_from([0, low, high]), st.none())
    units = draw(st.lists(value, min_size=rows, max_size=rows))
    if not isinstance(dtype, pl.Decimal):
        return pl.Series(units, dtype=dtype)
    whole = pl.Series(units, dtype=pl.Int128).to_frame("v")
    return whole.select(pl.col("v").reinterpret(dtype=pl.Decimal(38, dtype.scale)).cast(dtype)).to_series()


@st.composite
def cases(draw: st.DrawFn, rows: int = 5) -> Case:
    book, tables = draw(books())
    columns = {name: draw(number_columns(rows)) for name in sorted(book.required_inputs())}
    if draw(st.booleans()):
        codes = st.sampled_from([*CURRENCIES, book.currency, "CHF", "XAU", None])
        columns["currency"] = pl.Series(draw(st.lists(codes, min_size=rows, max_size=rows)), dtype=pl.String)
    return Case(book, pl.DataFrame(columns), tables)


@given(cases())
def test_batch_is_quote(case: Case) -> None:
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
    return Case(book, pl.DataFrame({"quantity": [1] * len(amounts), "unit_price": prices}), {})


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
    return Case(book, frame, {})


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
        return Case(book, case.frame.drop("currency"), {})

    monkeypatch.setattr("assay.pricing.batch.rounded_product", ties_downward)
    found = find(plain_ties(), lambda case: bool(differences(case)), settings=USUAL)
    monkeypatch.undo()
    assert differences(found) == []


def test_without_a_mistake_nothing_is_found() -> None:
    with pytest.raises(NoSuchExample):
        find(near_ties(), lambda case: bool(differences(case)), settings=USUAL)
