"""Rounding by name: the reference, on one number at a time."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction
from typing import Literal, get_args

from assay.errors import ConfigurationError, UnknownNameError
from assay.money.currencies import minor_units
from assay.money.exact import exact_decimal

Rounding = Literal["ceiling", "down", "floor", "half_down", "half_even", "half_up", "up"]
"""half_up: a tie goes away from zero; half_down: towards zero; up: away from zero; down: towards zero.

All of them mirror for negative amounts except ceiling and floor, which have a direction.
"""

ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)

_MODES: dict[str, str] = {
    "ceiling": decimal.ROUND_CEILING,
    "down": decimal.ROUND_DOWN,
    "floor": decimal.ROUND_FLOOR,
    "half_down": decimal.ROUND_HALF_DOWN,
    "half_even": decimal.ROUND_HALF_EVEN,
    "half_up": decimal.ROUND_HALF_UP,
    "up": decimal.ROUND_UP,
}

# Rounding is the one place where an inexact result is meant.
_CONTEXT = decimal.Context(prec=10_000, traps=[decimal.InvalidOperation])


def round_to(value: Decimal | Fraction, digits: int, rounding: Rounding) -> Decimal:
    """Round once to `digits` places behind the point (negative: tens, hundreds).

    Zero comes back without a sign.

    Raises:
        ConfigurationError: The value is not finite, or has more than 10,000 digits.
        UnknownNameError: No such rounding.
    """
    mode = _MODES.get(rounding)
    if mode is None:
        raise UnknownNameError("rounding", rounding, ROUNDINGS)
    if isinstance(value, Fraction):
        result = _round_fraction(value, digits, mode)
    else:
        if not value.is_finite():
            raise ConfigurationError(f"{value} cannot be rounded: it is not finite")
        try:
            result = value.quantize(Decimal((0, (1,), -digits)), rounding=mode, context=_CONTEXT)
        except decimal.InvalidOperation as error:
            raise ConfigurationError(
                f"a number of magnitude 1E{value.adjusted()} cannot be rounded to {digits} places"
            ) from error
    return result or result.copy_abs()


def round_money(amount: Decimal | Fraction | int | str, currency: str, rounding: Rounding = "half_up") -> Decimal:
    """Round once to the minor unit of a currency.

    >>> round_money(Decimal("1.005"), "EUR"), round_money(Decimal("-2.5"), "JPY")
    (Decimal('1.01'), Decimal('-3'))

    Raises:
        ConfigurationError: No such currency, or it has no minor unit; the amount is no exact number.
        TypeError: The amount is a float (an InexactNumberError).
    """
    exact = amount if isinstance(amount, Fraction) else exact_decimal(amount)
    return round_to(exact, minor_units(currency), rounding)


def _round_fraction(value: Fraction, digits: int, mode: str) -> Decimal:
    scaled = value * Fraction(10) ** digits
    floor = scaled.numerator // scaled.denominator
    rest = scaled - floor
    # Only which side of the half the rest is on matters, and that much a decimal can say exactly.
    half = Fraction(1, 2)
    side = "0" if not rest else "0.25" if rest < half else "0.5" if rest == half else "0.75"
    whole = _CONTEXT.add(Decimal(floor), Decimal(side)).quantize(Decimal(1), rounding=mode, context=_CONTEXT)
    return whole.scaleb(-digits, context=_CONTEXT)
