from __future__ import annotations

import os
import re
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import ConfigurationError, UnknownNameError
from assay.money import (
    ROUNDINGS,
    Grid,
    Rounding,
    Scaled,
    product_expr,
    product_fits,
    quotient_expr,
    round_expr,
    round_money,
    round_to,
    rounded_product,
    rounded_quotient,
)

SUITES = Path(os.environ.get("ASSAY_SUITES", Path(__file__).parents[2] / "../shared/suites"))

TIES: list[tuple[Rounding, list[int]]] = [
    #             2.5  -2.5  3.5  2.4  -2.4  2.6  -2.6
    ("ceiling", [3, -2, 4, 3, -2, 3, -2]),
    ("down", [2, -2, 3, 2, -2, 2, -2]),
    ("floor", [2, -3, 3, 2, -3, 2, -3]),
    ("half_down", [2, -2, 3, 2, -2, 3, -3]),
    ("half_even", [2, -2, 4, 2, -2, 3, -3]),
    ("half_up", [3, -3, 4, 2, -2, 3, -3]),
    ("up", [3, -3, 4, 3, -3, 3, -3]),
]
VALUES = [Decimal(v) for v in ("2.5", "-2.5", "3.5", "2.4", "-2.4", "2.6", "-2.6")]


@pytest.mark.parametrize(("rounding", "expected"), TIES)
def test_each_name_means_what_it_says(rounding: Rounding, expected: list[int]) -> None:
    assert [round_to(v, 0, rounding) for v in VALUES] == expected
    assert [round_to(Fraction(v), 0, rounding) for v in VALUES] == expected
    frame = pl.DataFrame({"v": pl.Series(VALUES, dtype=pl.Decimal(38, 1))})
    assert frame.select(round_expr(pl.col("v"), 1, 0, rounding)).to_series().to_list() == expected


def test_every_name_is_in_the_table_above() -> None:
    assert [rounding for rounding, _ in TIES] == list(ROUNDINGS)


def test_money_has_the_digits_of_its_currency() -> None:
    assert str(round_money(Decimal("0.125"), "EUR")) == "0.13"
    assert str(round_money(Decimal("0.125"), "EUR", "half_even")) == "0.12"
    assert str(round_money(Decimal("1234.5"), "JPY")) == "1235"
    assert str(round_money(Decimal("-1.0005"), "KWD")) == "-1.001"
    assert str(round_money(Fraction(2, 3), "CLF")) == "0.6667"
    assert str(round_money(Decimal("-0.001"), "EUR")) == "0.00"


def test_wrong_use_says_so() -> None:
    with pytest.raises(UnknownNameError, match=r'no rounding "half_upp".*"half_up"'):
        round_to(Decimal(1), 2, "half_upp")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="half_up"):
        round_expr(pl.col("a"), 2, 1, "bankers")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="not finite"):
        round_to(Decimal("NaN"), 2, "half_up")
    with pytest.raises(ConfigurationError, match="cannot be rounded"):
        round_to(Decimal("1e20000"), 2, "half_up")


IBM = re.compile(r"^(\w+)\s+quantize\s+(\S+)\s+(\S+)\s+->\s+(\S+)")


def ibm_cases() -> list[tuple[Rounding, Decimal, int, Decimal]]:
    path = SUITES / "decimal/quantize.decTest"
    if not path.exists():
        pytest.skip("IBM's decimal test vectors are not at hand")
    cases: list[tuple[Rounding, Decimal, int, Decimal]] = []
    rounding = ""
    for line in path.read_text(encoding="ascii").splitlines():
        if line.lower().startswith("rounding:"):
            rounding = line.split(":")[1].strip()
        found = IBM.match(line)
        if found is None or rounding not in ROUNDINGS:
            continue
        _, operand, pattern, result = (part.strip("'") for part in found.groups())
        numbers = [text for text in (operand, pattern, result) if re.fullmatch(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?", text)]
        if len(numbers) == 3:
            value, like, expected = map(Decimal, numbers)
            exponent = like.as_tuple().exponent
            assert isinstance(exponent, int)
            if abs(exponent) < 100 and value.adjusted() < 100:
                cases.append((rounding, value, -exponent, expected))
    return cases


def test_ibm_vectors_hold_for_the_reference() -> None:
    cases = ibm_cases()
    assert len(cases) > 300
    for rounding, value, digits, expected in cases:
        assert round_to(value, digits, rounding) == expected, (rounding, value, digits)
        assert round_to(Fraction(value), digits, rounding) == expected, (rounding, value, digits)


def test_ibm_vectors_hold_for_the_twin() -> None:
    groups: dict[tuple[Rounding, int, int], list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for rounding, value, digits, expected in ibm_cases():
        exponent = value.as_tuple().exponent
        assert isinstance(exponent, int)
        scale = max(0, -exponent)
        if scale <= 38 and max(digits, 0) <= 38 and value.adjusted() + 1 + scale <= 38:
            groups[rounding, scale, digits].append((value, expected))
    assert sum(map(len, groups.values())) > 300
    for (rounding, scale, digits), cases in groups.items():
        frame = pl.DataFrame({"v": pl.Series([value for value, _ in cases], dtype=pl.Decimal(38, scale))})
        result = frame.select(round_expr(pl.col("v"), scale, digits, rounding)).to_series()
        for (value, expected), twin in zip(cases, result, strict=True):
            if expected.adjusted() + 1 + max(0, digits) > 38 and expected:
                assert twin is None
            else:
                assert twin == expected, (rounding, value, digits)


# Properties: the twin is the reference, or null where there is no room.

roundings = st.sampled_from(ROUNDINGS)


@st.composite
def columns(draw: st.DrawFn, max_scale: int = 38) -> tuple[pl.DataType, list[int]]:
    """A column type and some of its unscaled values: small, at the edges, near powers of ten."""
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, min(precision, max_scale)))
    limit = 10**precision - 1
    near_power = st.builds(
        lambda power, delta, factor: max(-limit, min(limit, factor * 10**power + delta)),
        st.integers(0, precision - 1),
        st.integers(-2, 2),
        st.sampled_from([1, -1, 5, -5]),
    )
    value = st.one_of(st.integers(-limit, limit), near_power, st.sampled_from([0, limit, -limit]))
    return pl.Decimal(precision, scale), draw(st.lists(value, min_size=4, max_size=4))


def series(dtype: pl.DataType, units: list[int]) -> pl.Series:
    assert isinstance(dtype, pl.Decimal)
    whole = pl.Series(units, dtype=pl.Int128).to_frame("v")
    wide = whole.select(pl.col("v").reinterpret(dtype=pl.Decimal(38, dtype.scale)))
    return wide.select(pl.col("v").cast(dtype)).to_series()


def exact(dtype: pl.DataType, units: int) -> Fraction:
    assert isinstance(dtype, pl.Decimal)
    return Fraction(units, 10**dtype.scale)


class Stages:
    """Keeps each intermediate column in the frame."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    def keep(self, expr: pl.Expr) -> pl.Expr:
        name = f"stage {self.frame.width}"
        self.frame = self.frame.with_columns(expr.alias(name))
        return pl.col(name)


@given(columns(), st.integers(-3, 20), roundings)
def test_rounding_a_column_is_rounding_its_values(
    column: tuple[pl.DataType, list[int]], digits: int, rounding: Rounding
) -> None:
    dtype, units = column
    assert isinstance(dtype, pl.Decimal)
    frame = pl.DataFrame({"v": series(dtype, units)})
    result = frame.select(round_expr(pl.col("v"), dtype.scale, digits, rounding)).to_series()
    assert result.dtype == pl.Decimal(38, max(digits, 0))
    for unit, twin in zip(units, result, strict=True):
        expected = round_to(exact(dtype, unit), digits, rounding)
        room = abs(Fraction(expected)) * 10 ** max(digits, 0) < 10**38
        assert twin == (expected if room else None)


@given(columns(), columns(), st.integers(0, 12), st.integers(0, 4), roundings, st.integers(20, 36))
def test_a_rounded_product_is_rounded_once(
    a: tuple[pl.DataType, list[int]],
    b: tuple[pl.DataType, list[int]],
    scale: int,
    fewer: int,
    rounding: Rounding,
    max_digits: int,
) -> None:
    fewer = min(fewer, scale)
    frame = pl.DataFrame({"a": series(*a), "b": series(*b)})
    left, right = Scaled.column(pl.col("a"), a[0]), Scaled.column(pl.col("b"), b[0])
    stages = Stages(frame)
    step = stages.keep(pl.lit(10**fewer, dtype=pl.Int128))
    got = rounded_product(left, right, Grid(scale, 10**fewer), rounding, max_digits, keep=stages.keep)
    per_row = rounded_product(left, right, Grid(scale, step), rounding, max_digits, keep=stages.keep)
    result = stages.frame.select(twin=got.amount.decimal(), exact=got.exact, per_row=per_row.amount.decimal())
    for x, y, (twin, is_exact, by_row) in zip(a[1], b[1], result.rows(), strict=True):
        product = exact(a[0], x) * exact(b[0], y)
        expected = round_to(product, scale - fewer, rounding)
        room = abs(Fraction(expected)) * 10**scale < 10**max_digits
        assert twin == (expected if room else None)
        assert by_row == twin
        if room:
            assert is_exact == (Fraction(expected) == product)
            assert abs(Fraction(expected)) * 10**scale < got.amount.bound + 1
        else:
            assert not got.complete


@given(columns(), columns(max_scale=20), st.integers(0, 10), roundings)
def test_a_quotient_is_rounded_once(
    a: tuple[pl.DataType, list[int]], b: tuple[pl.DataType, list[int]], scale: int, rounding: Rounding
) -> None:
    frame = pl.DataFrame({"a": series(*a), "b": series(*b)})
    result = frame.select(quotient_expr(pl.col("a"), a[0], pl.col("b"), b[0], scale, rounding)).to_series()
    for x, y, twin in zip(a[1], b[1], result, strict=True):
        if y == 0:
            assert twin is None
            continue
        expected = round_to(exact(a[0], x) / exact(b[0], y), scale, rounding)
        assert twin == (expected if abs(Fraction(expected)) * 10**scale < 10**36 else None)


@given(columns(max_scale=19), columns(max_scale=19))
def test_a_whole_product_loses_nothing(a: tuple[pl.DataType, list[int]], b: tuple[pl.DataType, list[int]]) -> None:
    frame = pl.DataFrame({"a": series(*a), "b": series(*b)})
    args = (pl.col("a"), a[0], pl.col("b"), b[0])
    for (x, y), (twin, fits) in zip(
        zip(a[1], b[1], strict=True),
        frame.select(p=product_expr(*args), f=product_fits(*args)).rows(),
        strict=True,
    ):
        product = exact(a[0], x) * exact(b[0], y)
        if fits or twin is not None:
            assert Fraction(twin) == product
        if abs(x * y) < 4 * 10**37:
            assert fits


@given(columns(), roundings, st.integers(0, 6))
def test_negatives_mirror_except_where_rounding_has_a_direction(
    column: tuple[pl.DataType, list[int]], rounding: Rounding, digits: int
) -> None:
    dtype, units = column
    mirror: dict[Rounding, Rounding] = {"ceiling": "floor", "floor": "ceiling"}
    for unit in units:
        value = exact(dtype, unit)
        mirrored = round_to(value, digits, mirror.get(rounding, rounding))
        assert round_to(-value, digits, rounding) == mirrored.copy_negate()  # unary minus keeps 28 digits only


def test_ties_after_a_quotient_are_not_rounded_twice() -> None:
    # 0.0149999.../1 would be 0.015 at three places, and then 0.02.
    frame = pl.DataFrame({"a": ["1.499"], "b": ["100"]}).cast(pl.Decimal(38, 3))
    dtype = pl.Decimal(38, 3)
    assert frame.select(quotient_expr(pl.col("a"), dtype, pl.col("b"), dtype, 2, "half_up")).item() == Decimal("0.01")


def test_the_expression_most_people_write_is_wrong_on_ties() -> None:
    """Why all this: 0.05 times 0.07250 keeps five places of seven and rounds half-even."""
    frame = pl.DataFrame({"a": [Decimal("0.05")], "b": [Decimal("0.07250")]})
    schema = frame.schema
    assert frame.select(pl.col("a") * pl.col("b")).item() == Decimal("0.00362")
    whole = frame.select(product_expr(pl.col("a"), schema["a"], pl.col("b"), schema["b"])).item()
    assert whole == Decimal("0.003625")


def test_a_divisor_that_cannot_be_doubled_is_not_doubled() -> None:
    """9 * 10**37 fits 128 bits, twice that does not: 5 * 10**-36 was rounded to -9."""
    frame = pl.DataFrame({"a": pl.Series([50, -3, 100], dtype=pl.Int128)})
    amount = Scaled(pl.col("a"), 37, 100)
    for step in (1, 5, 8, 9):
        made = rounded_product(amount, Scaled.literal(Decimal(1)), Grid(0, step), "half_up").amount
        assert frame.select(made.units).to_series().to_list() == [0, 0, 0]


def test_integers_of_any_width_are_numbers_and_floats_are_not() -> None:
    for dtype in (pl.Int8(), pl.UInt64(), pl.Int128(), pl.UInt128()):
        frame = pl.DataFrame({"a": pl.Series([7], dtype=dtype)})
        amount = rounded_product(
            Scaled.column(pl.col("a"), dtype), Scaled.literal(Decimal("1.5")), Grid(0), "half_up"
        ).amount
        assert frame.select(amount.decimal()).item() == 11
    with pytest.raises(TypeError, match="float"):
        Scaled.column(pl.col("a"), pl.Float32())
    with pytest.raises(TypeError, match="Boolean"):
        Scaled.column(pl.col("a"), pl.Boolean())
    with pytest.raises(ConfigurationError, match="String"):
        Scaled.column(pl.col("a"), pl.String())


def test_integers_beyond_38_digits_are_null() -> None:
    frame = pl.DataFrame({"a": pl.Series([10**38 - 1, 10**38, -(10**38)], dtype=pl.Int128)})
    column = Scaled.column(pl.col("a"), pl.Int128())
    assert frame.select(column.decimal()).to_series().to_list() == [Decimal(10**38 - 1), None, None]


def test_a_divisor_with_too_many_places_is_refused() -> None:
    a, b = Scaled.literal(Decimal(1)), Scaled.column(pl.col("b"), pl.Decimal(38, 38))
    with pytest.raises(ConfigurationError, match="38 decimal places"):
        rounded_quotient(a, b, Grid(2), "half_up")


def test_what_no_decimal_column_holds_is_null_and_not_the_end_of_the_query() -> None:
    """128 bits hold 1.7 * 10**38, a decimal column less than 10**38."""
    frame = pl.DataFrame({"a": pl.Series([13 * 10**37, 7, -13 * 10**37], dtype=pl.Int128)})
    huge, small = Scaled(pl.col("a"), 2), Scaled.literal(Decimal("1000000.000001"))
    quotient = rounded_quotient(huge, small, Grid(2), "half_up").amount
    product = rounded_product(Scaled(pl.col("a"), 30), small, Grid(2), "half_up").amount
    for made in (quotient, product):
        assert frame.select(made.units).to_series().to_list() == [None, 0, None]
