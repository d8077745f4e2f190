"""Graduated: each tier prices the units that fall into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import ClassVar, Literal

import polars as pl

from assay.money import Scaled
from assay.pricing.batch import BatchRating, Note
from assay.pricing.edges import UNITS, Edge
from assay.pricing.many_tiers import searched
from assay.pricing.rating import Rating
from assay.pricing.registry import register
from assay.pricing.terms import Terms
from assay.pricing.tiers import ABOVE, Tiers, above_expr, edges, reached, tier_edges
from assay.pricing.usage import Part, PartColumns, UsageModel, rounded_once, rounded_once_expr


@register
class Graduated(UsageModel):
    """Charge the units inside each tier at its price, and the flat fee of each tier that is entered.

    Tier k is entered where the quantity is above the edge of tier k - 1, the first one always. `round="tier"` rounds
    each tier's units and each fee (OpenMeter), `round="total"` rounds their sum (Lago): up to a cent a tier apart.
    """

    entries: ClassVar[str | None] = "tiers"

    kind: Literal["graduated"] = "graduated"
    tiers: Tiers
    round: Literal["tier", "total"] = "tier"

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """Of the tiers."""
        return tier_edges(self.tiers, UNITS)

    def apply(self, at: Rating) -> None:
        """Charge for one item."""
        if self.round == "tier":
            return super().apply(at)
        before, after = at.units()
        sign = -at.turned if after < 0 else at.turned
        rounded_once(at, self.parts(at, abs(after)), sign, abs(after))
        if at.continues:
            rounded_once(at, self.parts(at, before), at.turned, before, back=True)
        return None

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        before, after = at.units()
        if before is None and self._searched_expr(at, after):
            return None
        if self.round == "tier":
            return super().apply_expr(at)
        units = at.size(after)
        sign = at.signed(at.direction(after), at.turned)
        rounded_once_expr(at, self.parts_expr(at, units), sign, units)
        if before is not None:
            rounded_once_expr(at, self.parts_expr(at, before), at.turned, before, back=at.continues)
        return None

    def _searched_expr(self, at: BatchRating, after: Scaled) -> bool:
        """Charge by the tier in which each row is, and what is below it, where there are many; whether it was done."""
        mode = self.rounding or at.terms.rounding
        if mode == "none":
            return False
        units = at.size(after)
        tier = searched(at, self.tiers, units, mode if self.round == "tier" else None)
        if tier is None:
            return False
        last = self.tiers[-1].up_to
        if last is not None:
            at.require(~above_expr(at, units, last))
        sign = at.signed(at.direction(after), at.turned)
        inside = at.stored(at.signed(at.minus(units, tier.low), sign))
        before = at.stored(at.signed(tier.before, sign))
        if self.round == "tier":
            at.charge(at.product(inside, tier.price), Note("units"))
            at.charge(at.rounded(before), Note("tiers below"))
        else:
            at.charge(at.rounded(at.plus(at.exact(inside, tier.price), before)), Note("all tiers"))
        return True

    def parts(self, at: Rating, quantity: Decimal) -> Sequence[Part]:
        """Units and flat fee of each tier entered."""
        if reached(self.tiers, quantity) is None:
            raise at.error(ABOVE)
        parts = []
        for number, low, tier in edges(self.tiers):
            if quantity <= low and number > 1:
                break
            inside = quantity - low if tier.up_to is None else min(quantity, tier.up_to) - low
            if tier.unit_price and inside:
                parts.append(Part("units", inside, at.money("unit_price", tier), number))
            if tier.flat_fee:
                parts.append(Part("flat fee", Decimal(1), at.money("flat_fee", tier), number))
        return parts

    def parts_expr(self, at: BatchRating, quantity: Scaled) -> Sequence[PartColumns]:
        """The same, for columns."""
        parts = []
        last = self.tiers[-1].up_to
        if last is not None:
            at.require(~above_expr(at, quantity, last))
        for number, low, tier in edges(self.tiers):
            entered = at.keep(above_expr(at, quantity, low)) if number > 1 else None
            if tier.unit_price:
                reached_units = quantity if tier.up_to is None else at.lesser(quantity, Scaled.literal(tier.up_to))
                inside = at.minus(reached_units, Scaled.literal(low)) if number > 1 else reached_units
                some: pl.Expr = inside.units > 0
                parts.append(PartColumns("units", inside, at.money("unit_price", tier), number, some))
            if tier.flat_fee:
                fee = at.money("flat_fee", tier)
                parts.append(PartColumns("flat fee", Scaled.literal(Decimal(1)), fee, number, entered))
        return parts
