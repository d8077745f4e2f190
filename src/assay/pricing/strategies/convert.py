"""Currency conversion: one rounding a total, at the digits of the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field, PlainSerializer, field_validator
from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError
from assay.money import has_minor_units, minor_units, plain
from assay.pricing.batch import BatchRating
from assay.pricing.rates import NO_RATE, RatesTable, checked_rate
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step

InlineRates = Annotated[
    dict[str, Decimal],
    PlainSerializer(lambda rates: {code: plain(rate) for code, rate in sorted(rates.items())}, return_type=dict),
]


@register
class Convert(Step):
    """Go over to the currency `to`: the net is converted and rounded, and so is the base; the discount takes the
    difference of the two, so that net = base - discount holds to the last cent. A tax so far is converted as well.

    `rates` maps the row's currency to a rate, or names a table that is given when pricing. `direction` says how the
    rates are quoted: "multiply" where one unit of the row's currency buys `rate` units of `to`, "divide" where one
    unit of `to` buys `rate` units of the row's currency (as the ECB quotes against the euro, with `to = "EUR"`).
    A rate is never inverted silently. A row that is in `to` already has the rate 1; one without a rate is an error.
    """  # noqa: D205 - the summary needs two lines

    converts: ClassVar[bool] = True

    kind: Literal["convert"] = "convert"
    to: str
    rates: InlineRates | Annotated[str, Field(min_length=1)]
    direction: Literal["multiply", "divide"] = "multiply"

    @field_validator("to")
    @classmethod
    def _known_currency(cls, to: str) -> str:
        return _currency(to)

    @field_validator("rates", mode="before")
    @classmethod
    def _exact_rates(cls, rates: object) -> object:
        if not isinstance(rates, Mapping):
            if isinstance(rates, str) and rates:
                return rates
            raise PydanticCustomError("rates", "give a table of currency and rate, or the name of a rates table")
        try:
            return {_currency(str(code)): checked_rate(str(code), rate) for code, rate in rates.items()}
        except ConfigurationError as error:
            raise PydanticCustomError("rates", "{reason}", {"reason": error.message}) from error

    def rate_table(self) -> str | None:
        """The table's name, unless the rates stand in the book."""
        return self.rates if isinstance(self.rates, str) else None

    def open(self, at: Rating) -> None:
        """Look for the rate before anything is computed."""
        self._rate(at)

    def open_expr(self, at: BatchRating) -> None:
        """Look for the rates before anything is computed."""
        quoted = self.rates if isinstance(self.rates, dict) else _quoted(at.terms.table(self.rates).frame())
        rates = {code: self._rate_of(quoted.get, code) for code in quoted}
        known = {code: rate for code, rate in rates.items() if rate is not None}
        at.admit(known | {self.to: Decimal(1)}, self.to, NO_RATE)

    def price(self, at: Rating) -> None:
        """Convert one item."""
        rate = self._rate(at)
        inverse = self.direction == "divide"
        at.convert(
            self.to,
            rate,
            lambda amount: Fraction(amount) / Fraction(rate) if inverse else amount * rate,
            self.receipt_line(at.net, at.currency, rate),
        )

    def price_expr(self, at: BatchRating) -> None:
        """Convert each row."""
        at.convert(self.to, at.quotient if self.direction == "divide" else at.product)

    def receipt_line(self, net: Decimal, currency: str, rate: Decimal) -> Wording:
        """Word the conversion."""
        sign = "/" if self.direction == "divide" else "x"
        return Wording(f"{net:f} {currency} {sign} {plain(rate)} to {self.to}", rate=rate)

    def _rate(self, at: Rating) -> Decimal:
        quoted = self.rates.get if isinstance(self.rates, dict) else at.terms.table(self.rates).rate
        rate = self._rate_of(quoted, at.currency)
        if rate is None:
            raise at.error(f'{NO_RATE} "{at.currency}" to {self.to}')
        return rate

    def _rate_of(self, quoted: Callable[[str], Decimal | None], currency: str) -> Decimal | None:
        """The rate of a currency whose amounts can be rounded; 1 for the target itself."""
        own = quoted(self.to)
        if own is not None and own != 1:
            raise ConfigurationError(
                f"the rate of {self.to} is {own}, so the rates are not quoted against {self.to}: convert to the "
                "currency that they are quoted against"
            )
        if currency == self.to:
            return Decimal(1)
        rate = quoted(currency) if has_minor_units(currency) else None
        return None if rate is None else checked_rate(currency, rate)


def _quoted(frame: pl.DataFrame) -> dict[str, Decimal]:
    """The table as a mapping, each currency once (a table may be another's class)."""
    table = RatesTable(frame).frame()
    return dict(zip(table["currency"], table["rate"], strict=True))


def _currency(code: str) -> str:
    try:
        minor_units(code)
    except ConfigurationError as error:
        raise PydanticCustomError("currency", "{reason}", {"reason": error.message}) from error
    return code
