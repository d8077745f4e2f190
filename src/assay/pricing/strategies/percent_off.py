"""Percentage discount: the discount is rounded, the net is what remains."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from assay.money import plain
from assay.pricing.batch import BatchRating
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.values import Percentage


@register
class PercentOff(Step):
    """Take `percent` (0 to 100) of the net so far off; negative amounts mirror."""

    kind: Literal["percent_off"] = "percent_off"
    percent: Percentage

    def price(self, at: Rating) -> None:
        """Reduce one item."""
        percent = at.value("percent")
        at.require(0 <= percent <= 100, "percent is outside 0 to 100")
        at.reduce(at.net * percent.scaleb(-2), self.receipt_line(percent, at.net))

    def price_expr(self, at: BatchRating) -> None:
        """Reduce each row."""
        percent = at.value("percent")
        at.require(percent.between(0, 100), "percent is outside 0 to 100")
        at.reduce(at.product(at.net, percent.behind(2)))

    def receipt_line(self, percent: Decimal, net: Decimal) -> Wording:
        """Word the discount."""
        return Wording(f"{plain(percent)} % off {net:f}", rate=percent)
