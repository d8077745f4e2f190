"""Flat: one amount, whatever the quantity."""

from __future__ import annotations

from typing import ClassVar, Literal

from assay.pricing.batch import BatchRating, Note
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.values import Value


@register
class Flat(Step):
    """Charge `amount` once, never times the quantity; a row with a negative quantity is credited it."""

    money_fields: ClassVar[frozenset[str]] = frozenset({"amount"})
    prices: ClassVar[bool] = True

    kind: Literal["flat"] = "flat"
    amount: Value

    def apply(self, at: Rating) -> None:
        """Charge one item."""
        amount = at.sign * at.money("amount")
        at.charge(amount, Wording("flat", rate=amount))

    def apply_expr(self, at: BatchRating) -> None:
        """Charge each row."""
        amount = at.signed(at.money("amount"), at.sign)
        at.charge(at.rounded(amount), Note("flat", rate=amount))
