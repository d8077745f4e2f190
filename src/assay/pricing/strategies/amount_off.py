"""Amount off: a fixed discount, no more than there is to take it off."""

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
from assay.pricing.values import NotNegative, Value


@register
class AmountOff(Discount):
    """Take `amount` off the net so far, never below 0; credits (a negative net) are left as they are.

    With `at_least` only where the net is as large (a threshold).
    """

    money_fields: ClassVar[frozenset[str]] = frozenset({"amount", "at_least"})

    kind: Literal["amount_off"] = "amount_off"
    amount: NotNegative
    at_least: Value | None = None

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The threshold, and the net that is all taken off."""
        return at_amounts(self.at_least, self.amount)

    def off(self, at: Rating, net: Decimal) -> tuple[Decimal, Wording]:
        """The amount, or all of the net."""
        amount = at.money("amount", self)
        at.require(amount >= 0, "amount is below 0")
        enough = net > 0 and (self.at_least is None or net >= at.money("at_least", self))
        return min(amount, net) if enough else Decimal(0), Wording("off", rate=amount)

    def off_expr(self, at: BatchRating, net: Scaled) -> tuple[Amount, Note]:
        """The same, for columns."""
        amount = at.money("amount", self)
        at.require(amount.between(0))
        enough = net.units > 0
        if self.at_least is not None:
            enough = enough & at.at_most(at.money("at_least", self), net)
        return at.when(enough, at.rounded(at.lesser(amount, net))), Note("off", rate=amount)
