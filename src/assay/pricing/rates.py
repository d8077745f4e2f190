"""Exchange rates as pricing needs them: a small protocol, and a table of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Protocol, runtime_checkable

import polars as pl

from assay.errors import ConfigurationError
from assay.money import EXACT, exact_decimal

NO_RATE = "no rate from"
"""How the reason begins, after the step's id, for which a row without a rate is not priced; its currency follows."""

RATE_PLACES = 18
"""Decimal places of the column fx_rate; a rate has at most as many, and as many digits before the point."""


@runtime_checkable
class Rates(Protocol):
    """Rates against one currency; which way they are quoted is the conversion's to say."""

    def frame(self) -> pl.DataFrame:
        """All of them: columns currency (String, each once) and rate (Decimal)."""
        ...

    def rate(self, currency: str) -> Decimal | None:
        """The rate of one currency; None where there is none."""
        ...


class RatesTable:
    """Rates from a mapping or a frame.

    Args:
        rates: `{"USD": "1.0557", ...}` (strings or Decimals), or a frame with the columns currency and rate.

    Raises:
        ConfigurationError: A currency stands there twice, a rate is a float, not above 0, or has too many digits.
    """

    def __init__(self, rates: Mapping[str, str | int | Decimal] | pl.DataFrame) -> None:
        pairs = _pairs(rates) if isinstance(rates, pl.DataFrame) else rates.items()
        self._rates: dict[str, Decimal] = {}
        for currency, rate in pairs:
            if currency in self._rates:
                raise ConfigurationError(f"two rates for {currency}: keep one of them (one day, one type)")
            self._rates[currency] = checked_rate(currency, rate)

    def frame(self) -> pl.DataFrame:
        """All rates, in the order given: currency (String), rate (Decimal(38, 18))."""
        return pl.DataFrame(
            {"currency": list(self._rates), "rate": list(self._rates.values())},
            schema={"currency": pl.String, "rate": pl.Decimal(38, RATE_PLACES)},
        )

    def rate(self, currency: str) -> Decimal | None:
        """The rate of one currency; None where there is none."""
        return self._rates.get(currency)

    def __repr__(self) -> str:
        return f"RatesTable({len(self._rates)} rates)"


def checked_rate(currency: str, rate: object) -> Decimal:
    """The rate, if a conversion can use it.

    Raises:
        ConfigurationError: It is a float, not above 0, or has more than 18 digits before or behind the point.
    """
    try:
        number = exact_decimal(rate)
    except ConfigurationError as error:
        raise type(error)(f"rate of {currency}: {error.message}") from None
    if number <= 0:
        raise ConfigurationError(f"rate of {currency}: {number} is not above 0")
    if number.adjusted() >= RATE_PLACES or places(number) > RATE_PLACES:
        raise ConfigurationError(
            f"rate of {currency}: {number} has more than {RATE_PLACES} digits before or behind the point"
        )
    return number


def places(rate: Decimal) -> int:
    """Decimal places that the rate needs."""
    exponent = rate.normalize(EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _pairs(frame: pl.DataFrame) -> Iterable[tuple[str, object]]:
    lacking = [name for name in ("currency", "rate") if name not in frame.columns]
    if lacking:
        raise ConfigurationError(
            f"rates need the columns currency and rate; there is no {' and no '.join(lacking)} among {frame.columns}"
        )
    if frame.select("currency", "rate").null_count().sum_horizontal().item():
        raise ConfigurationError("a currency or a rate is null: leave such rows out")
    return zip(frame["currency"].cast(pl.String), frame["rate"], strict=True)
