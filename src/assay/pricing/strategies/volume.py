"""Volume: the tier of the whole quantity prices all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import ClassVar, Literal

from assay.money import Scaled
from assay.pricing.batch import BatchRating
from assay.pricing.edges import UNITS, Edge
from assay.pricing.rating import Rating
from assay.pricing.registry import register
from assay.pricing.terms import Terms
from assay.pricing.tiers import ABOVE, Tiers, chosen_expr, number_expr, reached, tier_edges
from assay.pricing.usage import Part, PartColumns, UsageModel


@register
class Volume(UsageModel):
    """Charge all units at the price of the tier that the quantity falls into, and that tier's flat fee.

    A quantity of 0 is in the first tier, whose flat fee is due. The total may fall where a cheaper tier begins.
    """

    entries: ClassVar[str | None] = "tiers"

    kind: Literal["volume"] = "volume"
    tiers: Tiers

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """Of the tiers."""
        return tier_edges(self.tiers, UNITS)

    def parts(self, at: Rating, quantity: Decimal) -> Sequence[Part]:
        """Units and flat fee of the tier."""
        found = reached(self.tiers, quantity)
        if found is None:
            raise at.error(ABOVE)
        number, tier = found
        fee, price = at.money("flat_fee", tier), at.money("unit_price", tier)
        parts = []
        if quantity and any(tier.unit_price for tier in self.tiers):
            parts.append(Part("units", quantity, price, number))
        if any(tier.flat_fee for tier in self.tiers):
            parts.append(Part("flat fee", Decimal(1), fee, number))
        return parts

    def parts_expr(self, at: BatchRating, quantity: Scaled) -> Sequence[PartColumns]:
        """The same, for columns."""
        number = number_expr(at, self.tiers, quantity)
        parts = []
        if any(tier.unit_price for tier in self.tiers):
            price = chosen_expr(at, number, [at.money("unit_price", tier) for tier in self.tiers])
            parts.append(PartColumns("units", quantity, price, number, quantity.units != 0))
        if any(tier.flat_fee for tier in self.tiers):
            fee = chosen_expr(at, number, [at.money("flat_fee", tier) for tier in self.tiers])
            parts.append(PartColumns("flat fee", Scaled.literal(Decimal(1)), fee, number))
        return parts
