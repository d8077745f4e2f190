"""Fixed price: the net becomes this amount."""

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
from assay.pricing.values import NotNegative


@register
class FixedPrice(Discount):
    """Make the net `amount`: the difference is a discount, below 0 where the price goes up.

    `when="lower"` leaves a net that is lower already. Of a credit the net becomes -amount.
    """

    money_fields: ClassVar[frozenset[str]] = frozenset({"amount"})

    kind: Literal["fixed_price"] = "fixed_price"
    amount: NotNegative
    when: Literal["always", "lower"] = "always"

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The price, where it is only taken if it is lower."""
        return at_amounts(self.amount if self.when == "lower" else None)

    def off(self, at: Rating, net: Decimal) -> tuple[Decimal, Wording]:
        """The difference."""
        amount = at.money("amount", self)
        at.require(amount >= 0, "amount is below 0")
        off = net - at.rounded(at.sign * amount)
        if self.when == "lower" and at.sign * off < 0:
            off = Decimal(0)
        return off, Wording("fixed price", rate=amount)

    def off_expr(self, at: BatchRating, net: Scaled) -> tuple[Amount, Note]:
        """The same, for columns."""
        amount = at.money("amount", self)
        at.require(amount.between(0))
        off = at.minus(net, at.rounded(at.signed(amount, at.sign)).value)
        result = at.rounded(off)
        if self.when == "lower":
            result = at.when(at.signed(off, at.sign).units >= 0, result)
        return result, Note("fixed price", rate=amount)
