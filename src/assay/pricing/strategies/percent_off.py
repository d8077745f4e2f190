"""Percentage discount: the discount is rounded, the net is what remains."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import ClassVar, Literal

from assay.money import Scaled
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.edges import Edge, at_amounts
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.strategies.discount import Discount
from assay.pricing.terms import Terms
from assay.pricing.values import Percentage, Value


@register
class PercentOff(Discount):
    """Take `percent` (0 to 100) of the net so far off; negative amounts mirror.

    With `at_least` only where the net, without its sign, is as large (a threshold).
    """

    money_fields: ClassVar[frozenset[str]] = frozenset({"at_least"})

    kind: Literal["percent_off"] = "percent_off"
    percent: Percentage
    at_least: Value | None = None

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The threshold."""
        return at_amounts(self.at_least)

    def off(self, at: Rating, net: Decimal) -> tuple[Decimal, Wording]:
        """A percentage of the net."""
        percent = at.value("percent", self)
        at.require(0 <= percent <= 100, "percent is outside 0 to 100")
        enough = self.at_least is None or abs(net) >= at.money("at_least", self)
        return net * percent.scaleb(-2) if enough else Decimal(0), Wording("% off", net, percent)

    def off_expr(self, at: BatchRating, net: Scaled) -> tuple[Amount, Note]:
        """The same, for columns."""
        percent = at.value("percent", self)
        at.require(percent.between(0, 100))
        amount = at.product(net, percent.behind(2))
        if self.at_least is not None:
            amount = at.when(at.at_most(at.money("at_least", self), at.size(net)), amount)
        return amount, Note("% off", net, percent)
