"""What every step of a book shares: its currency, rounding and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from assay.errors import UnknownNameError
from assay.money import Rounding, minor_units
from assay.pricing.rates import Rates

BookRounding = Literal[Rounding, "none"]
"""A rounding by name, or "none": amounts stay exact, and one that needs more than ten places is an error."""

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
    """

    currency: str
    rounding: BookRounding
    unrounded: bool
    converts: bool
    tables: Mapping[str, Rates] = field(default_factory=dict)

    @property
    def whole_digits(self) -> int:
        """Digits an amount may have before the point: what 38 leave beside the places and room to compute."""
        return 26 if self.unrounded else 32

    def places(self, currency: str) -> int:
        """Decimal places of an amount in this currency."""
        return UNROUNDED_PLACES if self.unrounded else minor_units(currency)

    def table(self, name: str) -> Rates:
        """A rate table by name.

        Raises:
            UnknownNameError: It was not given.
        """
        if name not in self.tables:
            raise UnknownNameError("rates table", name, self.tables)
        return self.tables[name]
