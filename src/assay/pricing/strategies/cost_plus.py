"""Cost plus: what something has cost, times a factor."""

from __future__ import annotations

from typing import ClassVar, Literal

from assay.pricing.batch import BatchRating, Note
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.values import NotNegative


@register
class CostPlus(Step):
    """Charge the metered cost (the input `amount`) x `multiplier`, rounded once; 0 is allowed."""

    amount_inputs: ClassVar[frozenset[str]] = frozenset({"amount"})
    prices: ClassVar[bool] = True

    kind: Literal["cost_plus"] = "cost_plus"
    multiplier: NotNegative

    def money_columns(self) -> frozenset[str]:
        """The cost is money in the row's currency."""
        return super().money_columns() | {"amount"}

    def apply(self, at: Rating) -> None:
        """Charge for one item."""
        cost, multiplier = at.turned * at.input("amount"), at.value("multiplier")
        at.require(multiplier >= 0, "multiplier is below 0")
        at.charge(cost * multiplier, Wording("cost", cost, multiplier))

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        cost, multiplier = at.signed(at.input("amount"), at.turned), at.value("multiplier")
        at.require(multiplier.between(0))
        at.charge(at.product(cost, multiplier), Note("cost", cost, multiplier))
