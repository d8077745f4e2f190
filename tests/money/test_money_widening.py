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
    Scaled,
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
    size,
)

Numbers = tuple[Decimal, Decimal]


@st.composite
def columns(draw: st.DrawFn) -> tuple[pl.Series, Scaled, list[Decimal]]:
    """A decimal column of any width, its values near nothing, in the middle and at the edge of the type."""
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, min(precision, 20)))
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
    left: tuple[pl.Series, Scaled, list[Decimal]],
    right: tuple[pl.Series, Scaled, list[Decimal]],
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
