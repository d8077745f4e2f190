"""What every step of a book shares: its currency, rounding, zone and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeVar

from assay.errors import ConfigurationError, nearest
from assay.money import MAX_MINOR_UNITS, Rounding, minor_units
from assay.pricing.price_list import PriceList
from assay.pricing.rates import RatesTable

BookRounding = Literal[Rounding, "none"]
"""A rounding by name, or "none": amounts stay exact, and one that needs more than ten places is an error."""

Negative = Literal["mirror", "reject"]
"""What a negative quantity is: a credit, whose price is that of the quantity with the sign turned, or an error."""

LineKind = Literal["line", "allowance", "charge", "credit"]
"""What a row is: of allowances and credits the amounts are negative."""

UNROUNDED_PLACES = 10

TOO_LARGE = "the amount has too many digits before the point"
TOO_FINE = f"the amount needs more than {UNROUNDED_PLACES} decimal places, and rounding is none"


@dataclass(frozen=True, slots=True)
class Terms:
    """Currency, rounding, limits and rate tables under which a book prices.

    Attributes:
        currency: The book's; literal amounts are in it.
        rounding: The book's.
        unrounded: Whether any step leaves its amounts unrounded; all amounts have ten places then.
        converts: Whether a step converts, so that rows may be in other currencies.
        tables: Named rate tables.
        prices: Named price lists.
        resolves: Whether a step looks up a price, so that it is told when that is valid.
        known_at: As far as prices and rates were known then, in microseconds since the epoch; None: all of them.
        zone: IANA name of the time zone whose calendar counts, or None.
        negative: What a negative quantity is.
        name: The book's, for receipts.
        fingerprint: The book's, for receipts.
        rule_id: Id of the last step that sets a price, for receipts.
        result: The currency that amounts come out in, unless they are mixed.
        mixed: Whether rows keep the currency that they say.
    """

    currency: str
    rounding: BookRounding
    unrounded: bool
    converts: bool
    tables: Mapping[str, RatesTable] = field(default_factory=dict)
    prices: Mapping[str, PriceList] = field(default_factory=dict)
    known_at: int | None = None
    resolves: bool = False
    zone: str | None = None
    negative: Negative = "mirror"
    name: str | None = None
    fingerprint: str = ""
    rule_id: str | None = None
    result: str = ""
    mixed: bool = False

    @property
    def whole_digits(self) -> int:
        """Digits an amount may have before the point: what 38 leave beside the places and room to compute."""
        return 26 if self.unrounded else 32

    def places(self, currency: str) -> int:
        """Decimal places of an amount in this currency."""
        return UNROUNDED_PLACES if self.unrounded else minor_units(currency)

    @property
    def result_places(self) -> int:
        """Decimal places of the columns that come out."""
        if self.mixed:
            return UNROUNDED_PLACES if self.unrounded else MAX_MINOR_UNITS
        return self.places(self.result)

    def unit(self, currency: str) -> Decimal:
        """The smallest amount in this currency."""
        return Decimal(1).scaleb(-self.places(currency))

    def table(self, name: str) -> RatesTable:
        """A rate table by name.

        Raises:
            ConfigurationError: It was not given.
        """
        how = f'rates={{"{name}": {{"USD": "1.08", ...}}}}, or a RatesTable'
        return _given(self.tables, name, f'the book asks for the rates "{name}": give {how}')

    def price_list(self, name: str) -> PriceList:
        """A price list by name.

        Raises:
            ConfigurationError: It was not given.
        """
        how = f'prices={{"{name}": PriceList(...)}}'
        return _given(self.prices, name, f'the book asks for the prices "{name}": give {how}')


T = TypeVar("T")


def _given(tables: Mapping[str, T], name: str, lacking: str) -> T:
    if name not in tables:
        near = nearest(name, tables)
        given = f"; given: {', '.join(tables)}" if tables else ""
        meant = f' ("{near}" is near)' if near else ""
        raise ConfigurationError(f"{lacking}{given}{meant}")
    return tables[name]
