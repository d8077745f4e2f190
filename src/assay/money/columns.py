"""Exact decimal arithmetic on columns: the compiled twin of `rounding`.

Polars keeps only the larger scale of two decimal factors and rounds the product half-even, silently; and an overflow
of its decimals ends the whole query. So the arithmetic here is done on integers: a decimal column is its unscaled
Int128 and a scale known beforehand, and every result is rounded exactly once, to a `Grid`:

1. *Narrow*, where the widths of the operands prove that the full product fits 38 digits: multiply, then divide by a
   power of ten with a remainder. All of it is plain integer arithmetic.
2. *Wide*, everywhere else: Polars multiplies (and divides) decimals through 256 bits and rounds half-even to the
   scale asked for, so reinterpreting the integers at the right scale yields the quotient to within one unit. The
   exact remainder is small, therefore Int128 arithmetic, which wraps, gives it whatever the product's size was.
   One digit more than asked for is kept, with a sticky flag for anything non-zero behind it, so that ties are seen.

Rows whose result cannot be held are null, never wrong, and never end the query.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from assay.errors import ConfigurationError, UnknownNameError
from assay.money.exact import MAX_DIGITS, InexactNumberError
from assay.money.rounding import ROUNDINGS, Rounding

# A size is estimated in floating point, which is off by 1 in 10**15; what is estimated may be 10**37 at most.
_SURELY = 5e37
MAX_UNITS = 10**MAX_DIGITS - 1
_MAX_RESULT_DIGITS = MAX_DIGITS - 2
# Halves of what an Int64 and an Int128 hold: a size and a divisor that are less together can both be doubled.
_SHORT = 2**62
_HALF = 2**126

_INTEGER_BOUNDS: dict[pl.DataType, int] = {
    pl.Int8(): 2**7,
    pl.UInt8(): 2**8,
    pl.Int16(): 2**15,
    pl.UInt16(): 2**16,
    pl.Int32(): 2**31,
    pl.UInt32(): 2**32,
    pl.Int64(): 2**63,
    pl.UInt64(): 2**64,
}


Keep = Callable[[pl.Expr], pl.Expr]
"""Where an intermediate column is kept: computes the expression once and returns the column that has it."""


def repeat(expr: pl.Expr) -> pl.Expr:
    """Keep nothing: the expression is written out wherever it is needed (Polars finds most of the repetitions)."""
    return expr


@dataclass(frozen=True, slots=True)
class Scaled:
    """A column of exact decimals: `units` of 10**-scale.

    Attributes:
        units: Int128 expression; null where there is no value.
        scale: Places behind the point.
        bound: Every row holds |units| <= bound.
    """

    units: pl.Expr
    scale: int
    bound: int = MAX_UNITS

    @classmethod
    def column(cls, expr: pl.Expr, dtype: pl.DataType) -> Scaled:
        """Take a Decimal or integer column as it is.

        Integers of 128 bits that have more than 38 digits become null.

        Raises:
            InexactNumberError: The column is a float or a Boolean.
            ConfigurationError: It is no number at all.
        """
        if isinstance(dtype, pl.Decimal):
            return cls(expr.reinterpret(dtype=pl.Int128), dtype.scale, 10**dtype.precision - 1)
        if dtype in _INTEGER_BOUNDS:
            return cls(expr.cast(pl.Int128), 0, _INTEGER_BOUNDS[dtype])
        if dtype in (pl.Int128(), pl.UInt128()):
            return cls(within(expr.cast(pl.Int128, strict=False), MAX_UNITS), 0)
        if dtype.is_float():
            raise InexactNumberError(f"the column is {dtype}, and a float cannot hold most decimal fractions exactly")
        if dtype == pl.Boolean():
            raise InexactNumberError("the column is Boolean, not a number")
        raise ConfigurationError(f"the column is {dtype}, not a Decimal or an integer")

    @classmethod
    def literal(cls, value: Decimal) -> Scaled:
        """Take one exact decimal (at most 38 digits) for all rows."""
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            raise ConfigurationError(f"{value} is not a finite decimal")
        units = int("".join(map(str, digits)))
        while exponent < 0 and units % 10 == 0:
            units, exponent = units // 10, exponent + 1
        units *= 10 ** max(0, exponent)
        if units > MAX_UNITS or -exponent > MAX_DIGITS:
            raise ConfigurationError(f"{value} has more than {MAX_DIGITS} digits")
        return cls(integer(-units if sign else units), max(0, -exponent), units)

    def decimal(self, scale: int | None = None) -> pl.Expr:
        """The column as Decimal(38, scale); null where `scale` places leave no room for a row's digits."""
        by = 0 if scale is None else scale - self.scale
        if by < 0:
            raise ConfigurationError(f"{self.scale} places cannot be shown in {scale} without rounding: round first")
        fits = self.bound * 10**by <= MAX_UNITS
        units = self.units if fits else within(self.units, MAX_UNITS // 10**by)
        return (units * integer(10**by) if by else units).reinterpret(dtype=pl.Decimal(MAX_DIGITS, self.scale + by))

    def behind(self, places: int) -> Scaled:
        """Move the point to the left: a percentage is a fraction with its point two places to the left."""
        return Scaled(self.units, self.scale + places, self.bound)

    def between(self, low: int, high: int | None = None) -> pl.Expr:
        """Boolean: low <= value <= high; null where there is no value."""
        lowest = integer(max(low * 10**self.scale, -MAX_UNITS))
        if high is None:
            return self.units >= lowest
        return self.units.is_between(lowest, integer(min(high * 10**self.scale, MAX_UNITS)))

    def __add__(self, other: Scaled) -> Scaled:
        if self._is_nothing and other.scale == self.scale:
            return other
        return self if other._is_nothing and other.scale == self.scale else self._sum(other)

    @property
    def _is_nothing(self) -> bool:
        """Whether it is 0 in all rows, without a null."""
        return self.bound == 0 and not self.units.meta.root_names()

    def _sum(self, other: Scaled) -> Scaled:
        return self._aligned(other, self.units + other.units)

    def __sub__(self, other: Scaled) -> Scaled:
        if other._is_nothing and other.scale == self.scale:
            return self
        return self._aligned(other, self.units - other.units)

    def _aligned(self, other: Scaled, units: pl.Expr) -> Scaled:
        if self.scale != other.scale:
            raise ConfigurationError(f"amounts of {self.scale} and {other.scale} places cannot be added as they are")
        bound = self.bound + other.bound
        if bound > MAX_UNITS:
            raise ConfigurationError(f"a sum might need more than {MAX_DIGITS} digits: limit its summands first")
        return Scaled(units, self.scale, bound)


@dataclass(frozen=True, slots=True)
class Grid:
    """The values that a rounded amount may take: multiples of `step` units of 10**-scale.

    Attributes:
        scale: Places behind the point of the result.
        step: 1, or a positive number of units (at most 10**10), or an Int128 expression of such, row by row.
        max_step: A bound of the step, where it is an expression.
    """

    scale: int
    step: pl.Expr | int = 1
    max_step: int = 10**10

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= _MAX_RESULT_DIGITS:
            raise ConfigurationError(f"amounts have 0 to {_MAX_RESULT_DIGITS} decimal places, not {self.scale}")

    def times(self, factor: int) -> pl.Expr:
        """The step, in units of 10**-scale / factor."""
        return integer(self.step * factor) if isinstance(self.step, int) else self.step * integer(factor)

    @property
    def step_bound(self) -> int:
        """No row's step is larger."""
        return self.step if isinstance(self.step, int) else self.max_step


@dataclass(frozen=True, slots=True)
class Rounded:
    """A column rounded once.

    Attributes:
        amount: The result; null where an operand is, and where it has more digits than were allowed.
        exact: Boolean: nothing was lost in rounding; null where `amount` is.
        complete: No row became null for want of room: the widths of the operands prove it.
    """

    amount: Scaled
    exact: pl.Expr
    complete: bool


def rounded_product(
    a: Scaled, b: Scaled, grid: Grid, rounding: Rounding, max_digits: int = 36, *, keep: Keep = repeat
) -> Rounded:
    """Multiply and round once.

    Args:
        a: One factor.
        b: The other.
        grid: What values the result may have.
        rounding: By name.
        max_digits: Null where the result has more digits than this, counted in units of 10**-grid.scale; at most 36.
        keep: Where intermediate columns go; worth giving where the expression is long.
    """
    _check_digits(max_digits)
    behind = a.scale + b.scale - grid.scale
    bound, divisor = a.bound * b.bound * 10 ** max(0, -behind), 10 ** max(0, behind)
    if bound <= MAX_UNITS and divisor * grid.step_bound <= MAX_UNITS:
        # Where 64 bits are surely enough they are several times as quick, division above all.
        short = max(bound, a.bound, b.bound, divisor * grid.step_bound) < _SHORT
        dtype = pl.Int64 if short else pl.Int128
        product = a.units.cast(dtype) * b.units.cast(dtype)
        raised = product * pl.lit(10**-behind, dtype=dtype) if behind < 0 else product
        roomy = bound + divisor * grid.step_bound < (_SHORT if short else _HALF)
        cut = _Cut.by(raised, grid.times(divisor).cast(dtype), keep=keep, roomy=roomy)
        return _snapped(cut, grid, rounding, bound // divisor + grid.step_bound, max_digits)
    floor, sticky = _wide_product(a, b, behind - 1, keep)
    return _snapped(_Cut.by(floor, grid.times(10), sticky, keep=keep), grid, rounding, MAX_UNITS, max_digits)


def rounded_quotient(
    a: Scaled, b: Scaled, grid: Grid, rounding: Rounding, max_digits: int = 36, *, keep: Keep = repeat
) -> Rounded:
    """Divide and round once (half-even of a half-even quotient is the trap); null also where `b` is zero.

    Arguments are those of `rounded_product`.

    Raises:
        ConfigurationError: The divisor has too many decimal places (more than 37 - grid.scale + a.scale).
    """
    _check_digits(max_digits)
    ahead = grid.scale + 1 + b.scale - a.scale
    if ahead > MAX_DIGITS:
        raise ConfigurationError(f"a divisor of {b.scale} decimal places has too many: use fewer")
    dividend = keep(pl.when(b.units < 0).then(integer(0) - a.units).otherwise(a.units))
    divisor = keep(pl.when(b.units != 0).then(b.units.abs()))
    if a.bound * 10 ** max(0, ahead) <= MAX_UNITS:
        first = _Cut.by(dividend * integer(10 ** max(0, ahead)), divisor, keep=keep)
        floor, sticky = first.floor, first.rest != 0
    else:
        floor, sticky = _wide_quotient(dividend, divisor, max(0, ahead), keep)
    floor, sticky = _shifted(floor, sticky, max(0, -ahead), keep)
    return _snapped(_Cut.by(floor, grid.times(10), sticky, keep=keep), grid, rounding, MAX_UNITS, max_digits)


def exact_product(a: Scaled, b: Scaled) -> Scaled:
    """A * b, every digit; null where that does not surely fit 38 of them."""
    bound = a.bound * b.bound
    units = a.units * b.units
    if bound > MAX_UNITS:
        units = pl.when(_surely_fits(a.units, b.units)).then(units)
    return Scaled(units, a.scale + b.scale, min(bound, MAX_UNITS))


def rounded(a: Scaled, grid: Grid, rounding: Rounding, max_digits: int = 36, *, keep: Keep = repeat) -> Rounded:
    """Round once; arguments as those of `rounded_product`."""
    return rounded_product(a, Scaled(integer(1), 0, 1), grid, rounding, max_digits, keep=keep)


def round_expr(expr: pl.Expr, scale_in: int, digits: int, rounding: Rounding) -> pl.Expr:
    """The twin of `round_to`: Decimal(p, scale_in) in, Decimal(38, max(digits, 0)) out.

    Args:
        expr: A Decimal column of scale `scale_in`.
        scale_in: Its scale.
        digits: Places to keep; negative: tens, hundreds.
        rounding: By name.

    Null where the result has more than 38 digits (only when places are added, or a carry adds one).
    """
    _bump_rule(rounding)
    column = Scaled(expr.reinterpret(dtype=pl.Int128), scale_in)
    if digits >= scale_in:
        return column.decimal(digits)
    if scale_in - digits > MAX_DIGITS:
        # Only whether there is something, and of which sign, still matters.
        cut = _Cut.by(column.units.sign(), integer(10))
    else:
        cut = _Cut.by(column.units, integer(10 ** (scale_in - digits)))
    units = cut.rounded(rounding)
    if digits >= 0:
        return Scaled(units, digits).decimal(digits)
    if -digits >= MAX_DIGITS:
        return Scaled(pl.when(units == 0).then(units), 0).decimal()
    return Scaled(within(units, MAX_UNITS // 10**-digits) * integer(10**-digits), 0).decimal()


def product_expr(a: pl.Expr, a_dtype: pl.DataType, b: pl.Expr, b_dtype: pl.DataType) -> pl.Expr:
    """The whole product, nothing rounded: Decimal(38, sum of the scales), null where that does not surely fit.

    Raises:
        ConfigurationError: A column is no exact number, or the scales add up to more than 38.
    """
    left, right = Scaled.column(a, a_dtype), Scaled.column(b, b_dtype)
    product = exact_product(left, right)
    if product.scale > MAX_DIGITS:
        raise ConfigurationError(
            f"{a_dtype} times {b_dtype} needs {product.scale} places, and a column has 38: round first"
        )
    return product.decimal()


def product_fits(a: pl.Expr, a_dtype: pl.DataType, b: pl.Expr, b_dtype: pl.DataType) -> pl.Expr:
    """Boolean: the whole product surely fits, so `product_expr` has it; null where a factor is."""
    left, right = Scaled.column(a, a_dtype), Scaled.column(b, b_dtype)
    return _surely_fits(left.units, right.units)


def quotient_expr(
    a: pl.Expr, a_dtype: pl.DataType, b: pl.Expr, b_dtype: pl.DataType, digits: int, rounding: Rounding
) -> pl.Expr:
    """Divide and round once: Decimal(38, digits).

    Null where the divisor is zero and where the result has more than 36 digits.
    """
    left, right = Scaled.column(a, a_dtype), Scaled.column(b, b_dtype)
    return rounded_quotient(left, right, Grid(digits), rounding, _MAX_RESULT_DIGITS).amount.decimal()


@dataclass(frozen=True, slots=True)
class _Cut:
    """A division carried out: value = floor * divisor + rest, 0 <= rest < divisor.

    `sticky` says that something smaller than one unit of the rest follows; the divisor is even then.
    """

    floor: pl.Expr
    rest: pl.Expr
    divisor: pl.Expr
    sticky: pl.Expr | None
    #: The value itself, where twice its size and the divisor, and twice the divisor, have room.
    roomy: pl.Expr | None = None

    @classmethod
    def by(
        cls,
        value: pl.Expr,
        divisor: pl.Expr,
        sticky: pl.Expr | None = None,
        *,
        keep: Keep = repeat,
        roomy: bool = False,
    ) -> _Cut:
        value = keep(value)
        floor = keep(value.floordiv(divisor))
        return cls(floor, keep(value - floor * divisor), divisor, sticky, value if roomy else None)

    @property
    def inexact(self) -> pl.Expr:
        return self.rest != 0 if self.sticky is None else (self.rest != 0) | self.sticky

    @property
    def above_half(self) -> pl.Expr:
        above = self.rest > self.divisor - self.rest
        return above if self.sticky is None else above | (self._at_half & self.sticky)

    @property
    def tie(self) -> pl.Expr:
        return self._at_half if self.sticky is None else self._at_half & ~self.sticky

    @property
    def negative(self) -> pl.Expr:
        return self.floor < 0

    @property
    def odd(self) -> pl.Expr:
        return self.floor % integer(2) != 0

    def rounded(self, rounding: Rounding) -> pl.Expr:
        if rounding == "half_up" and self.roomy is not None:
            # What most books say takes half the steps: a half more, cut off, away from zero.
            size = (self.roomy.abs() * 2 + self.divisor).floordiv(self.divisor * 2)
            return (size * self.roomy.sign()).cast(pl.Int128)
        return self.floor + _bump_rule(rounding)(self).cast(pl.Int128)

    @property
    def _at_half(self) -> pl.Expr:
        return self.rest == self.divisor - self.rest


# When the next multiple above the floor is taken.
_BUMPS: dict[str, Callable[[_Cut], pl.Expr]] = {
    "ceiling": lambda cut: cut.inexact,
    "down": lambda cut: cut.inexact & cut.negative,
    "floor": lambda cut: cut.floor != cut.floor,  # never, but null where there is no value
    "half_down": lambda cut: cut.above_half | (cut.tie & cut.negative),
    "half_even": lambda cut: cut.above_half | (cut.tie & cut.odd),
    "half_up": lambda cut: cut.above_half | (cut.tie & ~cut.negative),
    "up": lambda cut: cut.inexact & ~cut.negative,
}


def _bump_rule(rounding: Rounding) -> Callable[[_Cut], pl.Expr]:
    rule = _BUMPS.get(rounding)
    if rule is None:
        raise UnknownNameError("rounding", rounding, ROUNDINGS)
    return rule


def _snapped(cut: _Cut, grid: Grid, rounding: Rounding, bound: int, max_digits: int) -> Rounded:
    multiples = cut.rounded(rounding)
    units = multiples if isinstance(grid.step, int) and grid.step == 1 else multiples * grid.times(1)
    limit = 10**max_digits - 1
    complete = bound <= limit
    if not complete:
        units = within(units, limit)
    amount = Scaled(units, grid.scale, min(bound, limit))
    return Rounded(amount, ~cut.inexact, complete)


def _wide_product(a: Scaled, b: Scaled, behind: int, keep: Keep) -> tuple[pl.Expr, pl.Expr]:
    """floor(a * b / 10**behind), and whether something is left over; null where 5 * 10**37 is not surely enough."""
    size = _estimate(a.units) * _estimate(b.units) * 10.0**-behind
    # What has no room in a decimal column makes the query fail, not the row.
    x = keep(pl.when((size < _SURELY) & _has_room(a.units) & _has_room(b.units)).then(a.units))
    if behind <= 0:
        return x * b.units * integer(10**-behind), pl.lit(value=False)
    first = min(behind, MAX_DIGITS)
    y = keep(pl.when(x.is_not_null()).then(b.units))
    near = keep((_at_scale(x, first) * _at_scale(y, first)).reinterpret(dtype=pl.Int128))
    rest = keep(x * b.units - near * integer(10**first))
    return _shifted(near - (rest < 0).cast(pl.Int128), rest != 0, behind - first, keep)


def _wide_quotient(dividend: pl.Expr, divisor: pl.Expr, ahead: int, keep: Keep) -> tuple[pl.Expr, pl.Expr]:
    """floor(dividend * 10**ahead / divisor) and whether something is left over, for 0 <= ahead <= 38."""
    size = _estimate(dividend) * 10.0**ahead / _estimate(divisor)
    x = keep(pl.when((size < _SURELY) & _has_room(dividend) & _has_room(divisor)).then(dividend))
    y = keep(pl.when(x.is_not_null()).then(divisor))
    near = keep((_at_scale(x, ahead) / _at_scale(y, ahead)).reinterpret(dtype=pl.Int128))
    rest = keep(x * integer(10**ahead) - near * divisor)
    return near - (rest < 0).cast(pl.Int128), rest != 0


def _shifted(floor: pl.Expr, sticky: pl.Expr, by: int, keep: Keep) -> tuple[pl.Expr, pl.Expr]:
    if by <= 0:
        return floor, sticky
    # No Int128 reaches 10**38, so a shift by more changes neither the floor (0 or -1) nor what is left.
    cut = _Cut.by(floor, integer(10 ** min(by, MAX_DIGITS)), keep=keep)
    return cut.floor, (cut.rest != 0) | sticky


def _estimate(units: pl.Expr) -> pl.Expr:
    """A size, not an amount: good enough to know that there is room."""
    return units.abs().cast(pl.Float64)


def _has_room(units: pl.Expr) -> pl.Expr:
    """Boolean: a decimal column of 38 digits holds these."""
    return units.is_between(integer(-MAX_UNITS), integer(MAX_UNITS))


def _surely_fits(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    """Boolean: the product of these integers surely fits 38 digits."""
    return _estimate(a) * _estimate(b) < _SURELY


def _at_scale(units: pl.Expr, scale: int) -> pl.Expr:
    return units.reinterpret(dtype=pl.Decimal(MAX_DIGITS, scale))


def within(units: pl.Expr, limit: int) -> pl.Expr:
    """Null unless |units| <= limit."""
    return pl.when(units.is_between(integer(-limit), integer(limit))).then(units)


def integer(value: int) -> pl.Expr:
    """A literal Int128."""
    return pl.lit(value, dtype=pl.Int128)


def _check_digits(max_digits: int) -> None:
    if not 1 <= max_digits <= _MAX_RESULT_DIGITS:
        raise ConfigurationError(f"a rounded column holds 1 to {_MAX_RESULT_DIGITS} digits, not {max_digits}")
