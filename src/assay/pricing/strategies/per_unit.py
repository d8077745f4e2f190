"""Per unit: a price for each unit; the product is rounded, never the price."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

from assay.money import plain
from assay.pricing.batch import BatchRating
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.values import Value


@register
class PerUnit(Step):
    """Charge `quantity` x `unit_price`, rounded once.

    A negative quantity (a credit) or price gives the mirrored amount.
    """

    amount_inputs: ClassVar[frozenset[str]] = frozenset({"quantity"})
    money_fields: ClassVar[frozenset[str]] = frozenset({"unit_price"})

    kind: Literal["per_unit"] = "per_unit"
    unit_price: Value

    def price(self, at: Rating) -> None:
        """Charge for one item."""
        quantity, unit_price = at.input("quantity"), at.money("unit_price")
        at.charge(quantity * unit_price, self.receipt_line(quantity, unit_price))

    def price_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        quantity, unit_price = at.input("quantity"), at.money("unit_price")
        at.charge(at.product(quantity, unit_price))

    def receipt_line(self, quantity: Decimal, unit_price: Decimal) -> Wording:
        """Word the charge."""
        return Wording(f"{plain(quantity)} x {plain(unit_price)}", quantity=quantity, rate=unit_price)
