"""Exact operations between decimal columns of any scales: nothing is rounded, nothing wraps round.

What a row would need more than 38 digits for is null, though its operands are not: so `result.units.is_null()` where
no operand is null says that it does not fit, and the caller leaves such a row to the reference. A condition on a null
is null, so a caller that chooses by one must look at the nulls first. `below` alone always fits.
"""

from __future__ import annotations

import polars as pl

from assay.money.columns import MAX_UNITS, Scaled, integer, within
from assay.money.exact import MAX_DIGITS

# Two of these add up to less than an Int128 holds.
_HALF = MAX_UNITS // 2


def rescaled(a: Scaled, scale: int) -> Scaled:
    """The same values with more places."""
    by = scale - a.scale
    if by == 0:
        return a
    limit = MAX_UNITS // 10**by
    units = a.units if a.bound <= limit else within(a.units, limit)
    # By more places than there are digits, only 0 can be shown, whatever the factor.
    return Scaled(units * integer(10 ** min(by, MAX_DIGITS)), scale, min(a.bound, limit) * 10**by)


def aligned(a: Scaled, b: Scaled) -> tuple[Scaled, Scaled]:
    """Both at the larger of their scales."""
    scale = max(a.scale, b.scale)
    return rescaled(a, scale), rescaled(b, scale)


def plus(a: Scaled, b: Scaled) -> Scaled:
    """A + b."""
    left, right = _summable(*aligned(a, b))
    return Scaled(left.units + right.units, left.scale, left.bound + right.bound)


def minus(a: Scaled, b: Scaled) -> Scaled:
    """A - b."""
    return plus(a, negated(b))


def negated(a: Scaled) -> Scaled:
    """-a."""
    return Scaled(integer(0) - a.units, a.scale, a.bound)


def size(a: Scaled) -> Scaled:
    """|a|."""
    return Scaled(a.units.abs(), a.scale, a.bound)


def chosen(condition: pl.Expr, a: Scaled, b: Scaled) -> Scaled:
    """A where the condition is true, else b."""
    left, right = aligned(a, b)
    units = pl.when(condition).then(left.units).otherwise(right.units)
    return Scaled(units, left.scale, max(left.bound, right.bound))


def lesser(a: Scaled, b: Scaled) -> Scaled:
    """The smaller of the two; null where one is."""
    left, right = aligned(a, b)
    return _ordered(below(right, left), below(left, right) | (left.units == right.units), right, left)


def greater(a: Scaled, b: Scaled) -> Scaled:
    """The larger of the two; null where one is."""
    left, right = aligned(a, b)
    return _ordered(below(left, right), below(right, left) | (left.units == right.units), right, left)


def below(a: Scaled, b: Scaled) -> pl.Expr:
    """Boolean: a < b, whatever their scales and sizes; null only where one is.

    What is the same in all rows stands on the right: on the left, Polars gives one row where the other is a constant.
    """
    by = b.scale - a.scale
    if by > 0 and a.bound * 10**by > MAX_UNITS:
        # a * 10**by < b where a < b / 10**by, upwards.
        ceiling = integer(0) - (integer(0) - b.units).floordiv(integer(10 ** min(by, MAX_DIGITS)))
        return below(Scaled(a.units, 0), Scaled(ceiling, 0))
    if by < 0 and b.bound * 10**-by > MAX_UNITS:
        floor = a.units.floordiv(integer(10 ** min(-by, MAX_DIGITS)))
        return below(Scaled(floor, 0), Scaled(b.units, 0))
    left, right = aligned(a, b)
    return left.units < right.units if left.units.meta.root_names() else right.units > left.units


def _ordered(first: pl.Expr, second: pl.Expr, a: Scaled, b: Scaled) -> Scaled:
    """A where the first is true, b where the second is; null where neither is known."""
    units = pl.when(first).then(a.units).when(second).then(b.units)
    return Scaled(units, a.scale, max(a.bound, b.bound))


def ceil_quotient(a: Scaled, b: Scaled) -> Scaled:
    """The whole number from a / b upwards, for a >= 0 and b > 0."""
    left, right = aligned(a, b)
    # -(-a // b): floordiv rounds towards minus infinity.
    return Scaled(integer(0) - (integer(0) - left.units).floordiv(right.units), 0, left.bound)


def floor_quotient(a: Scaled, b: Scaled) -> Scaled:
    """The whole number from a / b downwards, for a >= 0 and b > 0."""
    left, right = aligned(a, b)
    return Scaled(left.units.floordiv(right.units), 0, left.bound)


def _summable(a: Scaled, b: Scaled) -> tuple[Scaled, Scaled]:
    if a.bound + b.bound <= MAX_UNITS:
        return a, b
    return tuple(Scaled(within(x.units, _HALF), x.scale, min(x.bound, _HALF)) for x in (a, b))  # type: ignore[return-value]
