"""Plain pricing in plain Python: items, a total, and a strategy. Exact: nothing is rounded here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from assay.errors import ConfigurationError
from assay.money import EXACT, exact_decimal


class Pricing(Protocol):
    """A way to price an order."""

    def calculate_price(self, base: Decimal) -> Decimal:
        """The price, given the sum of the items."""
        ...


@dataclass(frozen=True)
class RegularPricing:
    """The price is the sum of the items."""

    def calculate_price(self, base: Decimal) -> Decimal:
        """The price: `base`, unrounded.

        Raises:
            TypeError: `base` is a float; money is a Decimal.
        """
        return exact_decimal(base)


@dataclass(frozen=True)
class DiscountPricing:
    """A percentage off the sum of the items.

    >>> DiscountPricing(10).calculate_price(Decimal("9.99"))
    Decimal('8.9910')

    Raises:
        TypeError: `percent` is a float.
        ConfigurationError: It is outside 0 to 100.
    """

    percent: Decimal

    def __init__(self, percent: Decimal | int | str) -> None:
        number = exact_decimal(percent)
        if not 0 <= number <= 100:
            raise ConfigurationError(f"a discount of {number} % is outside 0 to 100")
        object.__setattr__(self, "percent", number)

    def calculate_price(self, base: Decimal) -> Decimal:
        """The price: `base` less the percentage, exact and unrounded.

        Raises:
            TypeError: `base` is a float; money is a Decimal.
        """
        share = EXACT.subtract(Decimal(100), self.percent)
        return EXACT.multiply(exact_decimal(base), EXACT.scaleb(share, -2))


@dataclass(frozen=True)
class Item:
    """A number of things at a price each.

    Raises:
        TypeError: The price or the quantity is a float.
    """

    price: Decimal
    quantity: Decimal

    def __init__(self, price: Decimal | int | str, quantity: Decimal | int | str = 1) -> None:
        object.__setattr__(self, "price", exact_decimal(price))
        object.__setattr__(self, "quantity", exact_decimal(quantity))


@dataclass(frozen=True)
class Order:
    """Items and the strategy that prices their sum.

    >>> Order([Item(Decimal("10")), Item(Decimal("2.50"), quantity=2)], DiscountPricing(10)).total()
    Decimal('13.5000')
    """

    items: tuple[Item, ...]
    pricing: Pricing

    def __init__(self, items: Iterable[Item], pricing: Pricing | None = None) -> None:
        object.__setattr__(self, "items", tuple(items))
        object.__setattr__(self, "pricing", RegularPricing() if pricing is None else pricing)

    def total(self) -> Decimal:
        """What the order costs: exact, nothing is rounded."""
        base = Decimal(0)
        for item in self.items:
            base = EXACT.add(base, EXACT.multiply(item.price, item.quantity))
        return self.pricing.calculate_price(base)
