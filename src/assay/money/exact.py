"""Exact decimals: what may become one, and the context in which nothing is lost.

Python's default context keeps 28 digits and rounds silently. Here every inexact step raises instead.
"""

from __future__ import annotations

import re
from decimal import (
    ROUND_HALF_EVEN,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
)
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError

MAX_DIGITS = 38
"""Digits that a decimal column can hold, before and behind the point together."""

# Operands are limited to MAX_DIGITS, and no formula multiplies more than a handful of them.
EXACT = Context(
    prec=10_000,
    rounding=ROUND_HALF_EVEN,
    traps=[Clamped, DivisionByZero, Inexact, InvalidOperation, Overflow, Underflow],
)

_TEXT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


class InexactNumberError(ConfigurationError, TypeError):
    """A float (or a bool) was given where an exact number is needed."""


def exact_decimal(value: object) -> Decimal:
    """Make an exact decimal of a Decimal, an int or a text such as "7.5".

    Raises:
        InexactNumberError: The value is a float or a bool, or no number at all.
        ConfigurationError: The text is not a finite decimal, or has more digits than a decimal column holds (38).
    """
    if type(value) is Decimal:
        number = value
    elif isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise InexactNumberError(_refusal(value))
    elif isinstance(value, str):
        number = _parsed(value)
    else:
        number = Decimal(value)
    if not number.is_finite():
        raise ConfigurationError(f"{number} is not a finite decimal")
    if not _fits(number):
        raise ConfigurationError(f"{number} has more than {MAX_DIGITS} digits, which is what a decimal column can hold")
    return number


def plain(number: Decimal) -> str:
    """The one text of a decimal: no exponent, no trailing zeros, no sign on zero.

    >>> plain(Decimal("1.50")), plain(Decimal("1E+3")), plain(Decimal("-0.0"))
    ('1.5', '1000', '0')
    """
    return format(number.normalize(EXACT), "f") if number else "0"


def _fits(number: Decimal) -> bool:
    sign_digits_exponent = number.as_tuple()
    digits, exponent = sign_digits_exponent.digits, sign_digits_exponent.exponent
    if not number or not isinstance(exponent, int):
        return bool(number.is_finite())
    if exponent < -MAX_DIGITS:  # zeros at the end do not count
        exponent += len(digits) - len("".join(map(str, digits)).rstrip("0"))
    places = max(0, -exponent)
    return places <= MAX_DIGITS and number.adjusted() + 1 + places <= MAX_DIGITS


def _parsed(text: str) -> Decimal:
    if not _TEXT.fullmatch(text):
        meant = text.strip().replace(",", ".")
        hint = f'; write "{meant}"' if _TEXT.fullmatch(meant) else ' such as "7.5"'
        raise ConfigurationError(f'"{text}" is not a decimal{hint}')
    return Decimal(text)


def _refusal(value: object) -> str:
    if isinstance(value, bool):
        return f"{value} is a bool, not a number"
    if isinstance(value, float):
        return (
            f"{value!r} is a float, and a float cannot hold most decimal fractions exactly: "
            f'write the string "{value!r}" (or a Decimal of it)'
        )
    return f'a {type(value).__name__} is not a number; write a string such as "7.5"'


def _validated(value: object) -> Decimal:
    try:
        return exact_decimal(value)
    except ConfigurationError as error:
        kind = "decimal_float" if isinstance(error, InexactNumberError) else "decimal_exact"
        raise PydanticCustomError(kind, "{reason}", {"reason": error.message}) from error


ExactDecimal = Annotated[
    Decimal, BeforeValidator(_validated, json_schema_input_type=str | int), PlainSerializer(plain, return_type=str)
]
"""A decimal in a price book: a string, an int or a Decimal of at most 38 digits; a float or a bool is refused."""
