"""Per unit: a price for each unit; the product is rounded, never the price."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import ClassVar, Literal

from assay.money import Scaled, negated
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.rating import Exact, Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.usage import BEFORE
from assay.pricing.values import Value


@register
class PerUnit(Step):
    """Charge `quantity` x `unit_price`, rounded once.

    A negative quantity (a credit) or price gives the mirrored amount. Where the input `base_quantity` says that the
    price is for so many units, the product is divided by it before it is rounded. Where `quantity_before` says what
    was billed before in the period, the charge is that of all units less that of the units before.
    """

    amount_inputs: ClassVar[frozenset[str]] = frozenset({"quantity"})
    optional_inputs: ClassVar[frozenset[str]] = frozenset({"quantity_before", "base_quantity"})
    money_fields: ClassVar[frozenset[str]] = frozenset({"unit_price"})
    prices: ClassVar[bool] = True

    kind: Literal["per_unit"] = "per_unit"
    unit_price: Value

    def apply(self, at: Rating) -> None:
        """Charge for one item."""
        before, after = at.units()
        unit_price = at.money("unit_price")
        per = at.optional("base_quantity", Decimal(1)) or Decimal(0)
        at.require(per > 0, "base_quantity is not above 0")
        quantity = at.turned * after
        at.charge(self._exact(quantity, unit_price, per), Wording("units", quantity, unit_price))
        if at.continues:
            quantity = at.turned * before
            at.take_back(self._exact(quantity, unit_price, per), Wording(BEFORE + "units", -quantity, unit_price))

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        before, after = at.units()
        unit_price = at.money("unit_price")
        per = at.optional("base_quantity", Decimal(1)) if at.has("base_quantity") else None
        if per is not None:
            at.require(per.units > 0)
        quantity = at.stored(at.signed(after, at.turned))
        at.charge(self._exact_expr(at, quantity, unit_price, per), Note("units", quantity, unit_price))
        if before is not None:
            when = at.continues
            quantity = at.stored(at.signed(before, at.turned))
            amount = at.when(when, at.opposite(self._exact_expr(at, quantity, unit_price, per)))
            at.charge(amount, Note(BEFORE + "units", negated(quantity), unit_price, when=when))

    @staticmethod
    def _exact(quantity: Decimal, price: Decimal, per: Decimal) -> Exact:
        return quantity * price if per == 1 else Fraction(quantity * price) / Fraction(per)

    @staticmethod
    def _exact_expr(at: BatchRating, quantity: Scaled, price: Scaled, per: Scaled | None) -> Amount:
        return at.product(quantity, price) if per is None else at.ratio(quantity, price, per)
