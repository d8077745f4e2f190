"""Splitting an amount without losing a cent: the reference, on one amount at a time.

Largest remainder is the method of Hamilton; `first` and `largest_ratio` are what brick/money does besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from assay.errors import ConfigurationError, UnknownNameError
from assay.money.currencies import minor_units
from assay.money.exact import EXACT, InexactNumberError, exact_decimal

Weight = Decimal | Fraction | int | str

AllocationMode = Literal["first", "largest_ratio", "largest_remainder"]

# What comes first when the units that are left over are given out, one each; weights of 0 get none.
_ORDERS: dict[str, Callable[[int, Fraction, Fraction], tuple[Fraction, int]]] = {
    "first": lambda index, _weight, _remainder: (Fraction(0), index),
    "largest_ratio": lambda index, weight, _remainder: (-weight, index),
    "largest_remainder": lambda index, _weight, remainder: (-remainder, index),
}


def allocate(
    amount: Decimal | int | str,
    weights: Sequence[Weight],
    currency: str = "EUR",
    increment: Decimal | int | str | None = None,
    mode: AllocationMode = "largest_remainder",
    limits: Sequence[Decimal | int | str] | None = None,
) -> list[Decimal]:
    """Split an amount in proportion to weights, so that the parts add up to it exactly.

    Each part gets the whole units (cents) of its share; the units left over go, one each, to the largest remainders,
    of equal ones to the earlier (`largest_remainder`), to the first parts (`first`), or to the largest weights
    (`largest_ratio`). A part of weight 0 gets nothing, unless all are 0: then they count alike. A negative amount
    gives the mirrored parts.

    >>> [str(part) for part in allocate(Decimal("100"), [1, 1, 1])]
    ['33.34', '33.33', '33.33']

    Args:
        amount: What is split: a multiple of the increment.
        weights: One a part; only their sizes count, not their signs.
        currency: ISO 4217 code; its minor unit is the increment unless that is given.
        increment: The smallest part, such as "0.05" for cash in CHF.
        mode: Who gets the units left over.
        limits: The largest size of each part; what a limit cuts off is redistributed to the others by their weights.

    Raises:
        ConfigurationError: The amount is no multiple of the increment, there are no weights, or the limits are too
            tight to hold the amount.
        TypeError: A float was given (an InexactNumberError).
    """
    whole = exact_decimal(amount)
    unit = Decimal(1).scaleb(-minor_units(currency)) if increment is None else exact_decimal(increment)
    if unit <= 0:
        raise ConfigurationError(f"an increment of {unit} is not above 0")
    units = Fraction(whole) / Fraction(unit)
    if units.denominator != 1:
        raise ConfigurationError(f"{whole} is no multiple of {unit}: round it before it is split")
    sizes = [abs(_weight(weight)) for weight in weights]
    if not sizes:
        raise ConfigurationError("an amount cannot be split into no parts: give a weight a part")
    room = None if limits is None else _room(limits, unit, len(sizes))
    parts = split(abs(units.numerator), sizes, room, mode)
    sign = -1 if whole < 0 else 1
    return [EXACT.multiply(unit, Decimal(sign * part)) or Decimal(0) * unit for part in parts]


def split(
    units: int,
    weights: Sequence[Fraction],
    room: Sequence[int] | None = None,
    mode: AllocationMode = "largest_remainder",
) -> list[int]:
    """Split whole units (0 or more) in proportion to weights of 0 or more, none above its room; see `allocate`.

    Raises:
        ConfigurationError: There is not room enough.
        UnknownNameError: No such mode.
    """
    order = _ORDERS.get(mode)
    if order is None:
        raise UnknownNameError("allocation mode", mode, _ORDERS)
    if not any(weights):
        weights = [Fraction(1)] * len(weights)
    parts = [0] * len(weights)
    open_parts = [index for index, weight in enumerate(weights) if weight]
    left = units
    while left:
        if not open_parts:
            raise ConfigurationError("the limits of the parts are too tight to hold the amount")
        shares = _proportional(left, {index: weights[index] for index in open_parts}, order)
        full = [] if room is None else [index for index in open_parts if shares[index] >= room[index]]
        if room is None or not any(shares[index] > room[index] for index in full):
            for index, share in shares.items():
                parts[index] = share
            return parts
        for index in full:
            parts[index] = room[index]
            left -= room[index]
        open_parts = [index for index in open_parts if index not in full]
    return parts


def _proportional(
    units: int, weights: dict[int, Fraction], order: Callable[[int, Fraction, Fraction], tuple[Fraction, int]]
) -> dict[int, int]:
    total = sum(weights.values())
    exact = {index: units * weight / total for index, weight in weights.items()}
    parts = {index: share.numerator // share.denominator for index, share in exact.items()}
    remainders = {index: exact[index] - part for index, part in parts.items()}
    left = units - sum(parts.values())
    for index in sorted(parts, key=lambda index: order(index, weights[index], remainders[index]))[:left]:
        parts[index] += 1
    return parts


def _room(limits: Sequence[Decimal | int | str], unit: Decimal, parts: int) -> list[int]:
    if len(limits) != parts:
        raise ConfigurationError(f"{len(limits)} limits for {parts} parts: give one a part")
    return [int(abs(Fraction(exact_decimal(limit))) / Fraction(unit)) for limit in limits]


def _weight(weight: Weight) -> Fraction:
    if isinstance(weight, Fraction):
        return weight
    try:
        return Fraction(exact_decimal(weight))
    except InexactNumberError as error:
        raise InexactNumberError(f"weight {weight!r}: {error.message}") from None
