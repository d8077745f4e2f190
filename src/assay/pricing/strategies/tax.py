"""Tax that is not in the price: a percentage of the net, rounded per line."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from assay.money import plain
from assay.pricing.batch import BatchRating
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.values import NotNegative


@register
class Tax(Step):
    """Add `rate` percent of the net as tax; several of them are parallel, each on the net."""

    kind: Literal["tax"] = "tax"
    rate: NotNegative

    def price(self, at: Rating) -> None:
        """Tax one item."""
        rate = at.value("rate")
        at.require(rate >= 0, "rate is below 0")
        at.add_tax(at.net * rate.scaleb(-2), self.receipt_line(rate, at.net))

    def price_expr(self, at: BatchRating) -> None:
        """Tax each row."""
        rate = at.value("rate")
        at.require(rate.between(0), "rate is below 0")
        at.add_tax(at.product(at.net, rate.behind(2)))

    def receipt_line(self, rate: Decimal, net: Decimal) -> Wording:
        """Word the tax."""
        return Wording(f"tax {plain(rate)} % of {net:f}", rate=rate)
