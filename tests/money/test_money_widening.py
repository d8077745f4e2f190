"""Exact operations between columns: right to the last digit, or null; never something else."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.money import (
    EXACT,
    ROUNDINGS,
    Grid,
    Rounding,
    Scaled,
    below,
    ceil_quotient,
    chosen,
    exact_product,
    floor_quotient,
    greater,
    lesser,
    minus,
    negated,
    plus,
    rescaled,
    round_to,
    rounded,
    rounded_quotient,
    size,
)

Column = tuple[pl.Series, Scaled, list[Decimal]]


@st.composite
def columns(draw: st.DrawFn, max_scale: int = 20) -> Column:
    """A decimal column of any width, its values near nothing, in the middle and at the edge of the type."""
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, min(precision, max_scale)))
    edge = 10**precision - 1
    value = st.one_of(st.integers(-50, 50), st.integers(-edge, edge), st.sampled_from([0, 1, -1, edge, -edge]))
    units = draw(st.lists(value.map(lambda u: max(-edge, min(edge, u))), min_size=4, max_size=4))
    whole = pl.Series(units, dtype=pl.Int128).to_frame("v")
    dtype = pl.Decimal(precision, scale)
    series = whole.select(pl.col("v").reinterpret(dtype=pl.Decimal(38, scale)).cast(dtype)).to_series()
    return series, Scaled.column(pl.col("x"), dtype), [Decimal(unit).scaleb(-scale, context=EXACT) for unit in units]


OPERATIONS: dict[str, tuple[Callable[[Scaled, Scaled], Scaled], Callable[[Decimal, Decimal], Decimal]]] = {
    "plus": (plus, lambda a, b: a + b),
    "minus": (minus, lambda a, b: a - b),
    "lesser": (lesser, min),
    "greater": (greater, max),
    "exact_product": (exact_product, lambda a, b: a * b),
    "negated": (lambda a, b: negated(a), lambda a, b: -a),
    "size": (lambda a, b: size(a), lambda a, b: abs(a)),
    "chosen": (lambda a, b: chosen(pl.lit(value=True), a, b), lambda a, b: a),
}


@pytest.mark.parametrize("name", OPERATIONS)
@given(left=columns(), right=columns())
def test_an_operation_is_exact_or_null(
    name: str,
    left: Column,
    right: Column,
) -> None:
    operation, reference = OPERATIONS[name]
    frame = pl.DataFrame({"x": left[0], "y": right[0]})
    made = operation(left[1], Scaled.column(pl.col("y"), right[0].dtype))
    units = frame.select(made.units.alias("u")).to_series().to_list()
    with localcontext(EXACT):
        for unit, a, b in zip(units, left[2], right[2], strict=True):
            expected = reference(a, b)
            if unit is None:
                scale = max(-a.as_tuple().exponent, -b.as_tuple().exponent, made.scale)  # type: ignore[operator]
                assert max(abs(a), abs(b), abs(expected)) * Decimal(10) ** scale > Decimal(10) ** 37
            else:
                assert Decimal(unit).scaleb(-made.scale) == expected
                assert abs(unit) <= made.bound


@given(st.integers(0, 10**12), st.integers(0, 6), st.integers(1, 10**9), st.integers(0, 6))
def test_quotients_are_whole_numbers(a: int, a_scale: int, b: int, b_scale: int) -> None:
    frame = pl.DataFrame(
        {
            "a": pl.Series([Decimal(a).scaleb(-a_scale)], dtype=pl.Decimal(20, 6)),
            "b": pl.Series([Decimal(b).scaleb(-b_scale)], dtype=pl.Decimal(16, 6)),
        }
    )
    left, right = (Scaled.column(pl.col(name), frame.schema[name]) for name in ("a", "b"))
    made = frame.select(up=ceil_quotient(left, right).units, down=floor_quotient(left, right).units).row(0)
    exact = Fraction(a, 10**a_scale) / Fraction(b, 10**b_scale)
    assert made == (-((-exact.numerator) // exact.denominator), exact.numerator // exact.denominator)


def test_more_places_are_null_where_they_do_not_fit() -> None:
    frame = pl.DataFrame({"x": pl.Series([Decimal(1), Decimal(10**37)], dtype=pl.Decimal(38, 0))})
    made = frame.select(rescaled(Scaled.column(pl.col("x"), frame.schema["x"]), 2).units).to_series()
    assert made.to_list() == [100, None]


def test_by_more_places_than_there_are_digits_only_nothing_can_be_shown() -> None:
    frame = pl.DataFrame({"x": pl.Series([Decimal(1), Decimal(0)], dtype=pl.Decimal(38, 0))})
    column = Scaled.column(pl.col("x"), frame.schema["x"])
    for scale in (38, 39, 76):
        assert frame.select(rescaled(column, scale).units).to_series().to_list() == [None, 0]


@given(columns(), columns(), st.integers(0, 40), st.integers(0, 40))
def test_any_two_values_can_be_compared(left: Column, right: Column, a_places: int, b_places: int) -> None:
    frame = pl.DataFrame({"x": left[0], "y": right[0]})
    a, b = left[1].behind(a_places), Scaled.column(pl.col("y"), right[0].dtype).behind(b_places)
    made = frame.select(less=below(a, b), more=below(b, a)).rows()
    with localcontext(EXACT):
        for (less, more), x, y in zip(made, left[2], right[2], strict=True):
            x, y = x.scaleb(-a_places), y.scaleb(-b_places)  # noqa: PLW2901
            assert (less, more) == (x < y, y < x)


def test_values_that_differ_in_the_last_of_many_digits_are_not_equal() -> None:
    frame = pl.DataFrame({"x": pl.Series([1, -1, 0], dtype=pl.Int128)})
    x = Scaled(pl.col("x"), 0)
    for near in (sign * (10**37 + delta) for sign in (1, -1) for delta in (-1, 0, 1)):
        value = Scaled(pl.lit(near, dtype=pl.Int128), 37)
        exact = Fraction(near, 10**37)
        made = frame.select(less=below(x, value), more=below(value, x)).rows()
        assert made == [(number < exact, exact < number) for number in (1, -1, 0)]


@given(columns(12), columns(12), columns(12), st.integers(0, 6), st.sampled_from(ROUNDINGS))
def test_a_ratio_is_multiplied_first_and_rounded_once(
    amount: Column, numerator: Column, denominator: Column, scale: int, rounding: Rounding
) -> None:
    frame = pl.DataFrame({"x": amount[0], "n": numerator[0], "d": denominator[0]})
    n, d = (Scaled.column(pl.col(name), frame.schema[name]) for name in ("n", "d"))
    got = rounded_quotient(exact_product(amount[1], n), d, Grid(scale), rounding).amount
    units = frame.select(got.units.alias("u")).to_series().to_list()
    for unit, a, top, bottom in zip(units, amount[2], numerator[2], denominator[2], strict=True):
        if not bottom:
            assert unit is None
            continue
        product = Fraction(a) * Fraction(top)
        expected = Fraction(round_to(product / Fraction(bottom), scale, rounding))
        room = abs(product) * 10 ** (amount[1].scale + n.scale) < 4 * 10**37 and abs(expected) * 10**scale < 10**36
        assert unit is not None or not room
        assert unit is None or Fraction(unit, 10**scale) == expected


def test_a_third_of_an_amount_is_not_a_third_rounded_times_the_amount() -> None:
    frame = pl.DataFrame({"x": [Decimal("1000000.00")]})
    x = Scaled.column(pl.col("x"), frame.schema["x"])
    got = rounded_quotient(
        exact_product(x, Scaled.literal(Decimal(1))), Scaled.literal(Decimal(3)), Grid(2), "half_up"
    ).amount
    assert frame.select(got.decimal()).item() == Decimal("333333.33")


@given(columns(8), columns(8), columns(8), columns(8), st.integers(0, 4), st.sampled_from(ROUNDINGS))
def test_products_are_summed_before_they_are_rounded(
    a: Column, b: Column, c: Column, d: Column, scale: int, rounding: Rounding
) -> None:
    frame = pl.DataFrame({"x": a[0], "b": b[0], "c": c[0], "d": d[0]})
    factors = [a[1], *(Scaled.column(pl.col(name), frame.schema[name]) for name in "bcd")]
    exact = plus(exact_product(*factors[:2]), exact_product(*factors[2:]))
    units = frame.select(rounded(exact, Grid(scale), rounding).amount.units.alias("u")).to_series().to_list()
    for unit, *values in zip(units, a[2], b[2], c[2], d[2], strict=True):
        w, x, y, z = map(Fraction, values)
        expected = Fraction(round_to(w * x + y * z, scale, rounding))
        room = max(abs(w * x), abs(y * z), abs(expected)) * 10 ** max(exact.scale, scale) < 10**36
        assert unit is not None or not room
        assert unit is None or Fraction(unit, 10**scale) == expected
