"""Graduated percentage: each tier takes its percentage of the part of the amount that falls into it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from assay.money import ExactDecimal, Scaled
from assay.pricing.batch import BatchRating, Note
from assay.pricing.edges import Edge
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.tiers import above_expr, edges, reached, rising, tier_edges
from assay.pricing.values import AtLeastOne, NotNegative, Value


class RateTier(BaseModel):
    """A range of an amount: above the tier before, up to and with `up_to`.

    Attributes:
        up_to: The largest amount inside; None in the last tier: no end.
        rate: Percent of what is inside.
        flat_fee: Once, where the tier is entered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    money_fields: ClassVar[frozenset[str]] = frozenset({"flat_fee"})

    up_to: ExactDecimal | None = None
    rate: NotNegative = Decimal(0)
    flat_fee: Value = Decimal(0)


@register
class GraduatedPercentage(Step):
    """Charge each tier's percentage of the part of the input `amount` inside it, and the fee of each tier entered.

    Each is rounded. A negative amount is a refund: what the amount without its sign costs, turned.
    """

    amount_inputs: ClassVar[frozenset[str]] = frozenset({"amount"})
    prices: ClassVar[bool] = True

    entries: ClassVar[str | None] = "tiers"

    kind: Literal["graduated_percentage"] = "graduated_percentage"
    tiers: Annotated[tuple[RateTier, ...], AtLeastOne, rising]

    def money_columns(self) -> frozenset[str]:
        """The amount is money in the row's currency."""
        return super().money_columns() | {"amount"}

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """Of the tiers."""
        return tier_edges(self.tiers, "amount")

    def apply(self, at: Rating) -> None:
        """Charge for one item."""
        given = at.input("amount")
        self._in_home_currency(at)
        amount, sign = abs(given), at.turned * (-1 if given < 0 else 1)
        at.require(reached(self.tiers, amount) is not None, _ABOVE)
        for number, low, tier in edges(self.tiers):
            if amount <= low and number > 1:
                break
            inside = sign * ((amount if tier.up_to is None else min(amount, tier.up_to)) - low)
            if tier.rate and inside:
                rate = at.value("rate", tier)
                at.require(rate >= 0, "rate is below 0")
                at.charge(inside * rate.scaleb(-2), Wording("% of the amount", inside, rate, number))
            if tier.flat_fee:
                fee = sign * at.money("flat_fee", tier)
                at.charge(fee, Wording("flat fee", rate=fee, tier=number))

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        given = at.input("amount")
        if self._has_edges():
            at.require(at.in_currency(at.terms.currency))
        amount, sign = at.size(given), at.signed(at.direction(given), at.turned)
        last = self.tiers[-1].up_to
        if last is not None:
            at.require(~above_expr(at, amount, last))
        for number, low, tier in edges(self.tiers):
            entered = at.keep(above_expr(at, amount, low)) if number > 1 else None
            if tier.rate:
                rate = at.value("rate", tier)
                at.require(rate.between(0))
                reached_amount = amount if tier.up_to is None else at.lesser(amount, Scaled.literal(tier.up_to))
                inside = at.minus(reached_amount, Scaled.literal(low)) if number > 1 else reached_amount
                some = inside.units > 0
                quantity = at.stored(at.signed(inside, sign))
                fee = at.when(some, at.product(quantity, rate.behind(2)))
                at.charge(fee, Note("% of the amount", quantity, rate, number, when=some))
            if tier.flat_fee:
                flat = at.signed(at.money("flat_fee", tier), sign)
                amount_of = at.rounded(flat)
                if entered is not None:
                    amount_of = at.when(entered, amount_of)
                at.charge(amount_of, Note("flat fee", rate=flat, tier=number, when=entered))

    def _has_edges(self) -> bool:
        return any(tier.up_to is not None for tier in self.tiers)

    def _in_home_currency(self, at: Rating) -> None:
        home = at.terms.currency
        reason = f"the tiers are in {home}, the row in {at.currency}"
        at.require(not self._has_edges() or at.currency == home, reason)


_ABOVE = "the amount is above the last tier"
