"""Per unit: a price for each unit; the product is rounded, never the price."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import ClassVar, Literal

import polars as pl

from assay.money import Scaled
from assay.pricing.batch import BatchRating, Note
from assay.pricing.rating import Rating, Wording
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
        self._charge(at, at.turned * after, unit_price, per, "")
        if before:
            self._charge(at, -at.turned * before, unit_price, per, BEFORE)

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        before, after = at.units()
        unit_price = at.money("unit_price")
        per = at.optional("base_quantity", Decimal(1)) if at.has("base_quantity") else None
        if per is not None:
            at.require(per.units > 0)
        self._charge_expr(at, at.signed(after, at.turned), unit_price, per, "", None)
        if before is not None:
            turned = at.signed(before, at.signed(at.turned, Scaled.literal(Decimal(-1))))
            self._charge_expr(at, turned, unit_price, per, BEFORE, before.units != 0)

    def _charge(self, at: Rating, quantity: Decimal, price: Decimal, per: Decimal, before: str) -> None:
        exact = Fraction(quantity * price) / Fraction(per) if per != 1 else quantity * price
        at.charge(exact, Wording(before + "units", quantity, price))

    def _charge_expr(
        self,
        at: BatchRating,
        quantity: Scaled,
        price: Scaled,
        per: Scaled | None,
        before: str,
        when: pl.Expr | None,
    ) -> None:
        amount = at.product(quantity, price) if per is None else at.ratio(quantity, price, per)
        at.charge(amount if when is None else at.when(when, amount), Note(before + "units", quantity, price, when=when))
