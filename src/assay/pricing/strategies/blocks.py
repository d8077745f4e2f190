"""Blocks: units are counted in blocks, and tiers limit the number of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from assay.money import ExactDecimal, Scaled
from assay.pricing.batch import BatchRating
from assay.pricing.edges import UNITS, Edge
from assay.pricing.rating import Rating
from assay.pricing.registry import register
from assay.pricing.terms import Terms
from assay.pricing.tiers import ABOVE, above_expr, chosen_expr
from assay.pricing.usage import Part, PartColumns, UsageModel
from assay.pricing.values import AtLeastOne, Value


class BlockTier(BaseModel):
    """Up to `max_blocks` blocks of `size` units, each for `price`.

    Attributes:
        size: Units of a block; a begun one is paid whole.
        max_blocks: How many there are in this tier; None in the last: no end.
        price: For each block.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    money_fields: ClassVar[frozenset[str]] = frozenset({"price"})

    size: Annotated[ExactDecimal, Field(gt=0)]
    max_blocks: Annotated[int, Field(ge=1)] | None = None
    price: Value


def _open_only_last(tiers: tuple[BlockTier, ...]) -> tuple[BlockTier, ...]:
    for number, tier in enumerate(tiers[:-1], 1):
        if tier.max_blocks is None:
            raise PydanticCustomError(
                "tiers", "tier {number} has no max_blocks, so the next is never reached", {"number": number}
            )
    return tiers


@register
class Blocks(UsageModel):
    """Charge blocks of units; 1,500 minutes in blocks of 10 are 150 blocks.

    `mode="all"` fills tier after tier, each with its own size and price; `mode="top"` counts all units in blocks of
    the tier that they reach (Kill Bill's ALL_TIERS and TOP_TIER).
    """

    entries: ClassVar[str | None] = "tiers"

    kind: Literal["blocks"] = "blocks"
    mode: Literal["all", "top"] = "all"
    tiers: Annotated[tuple[BlockTier, ...], AtLeastOne, AfterValidator(_open_only_last)]

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """Of the tiers, and of the first block of each."""
        for number, low, high, tier in self._edges():
            if high is None or low + tier.size < high:
                yield Edge(UNITS, low + tier.size, number)
            if high is not None:
                yield Edge(UNITS, high, number)

    def parts(self, at: Rating, quantity: Decimal) -> Sequence[Part]:
        """The blocks of each tier that has some."""
        last = self._capacity(len(self.tiers))
        at.require(last is None or quantity <= last, ABOVE)
        if self.mode == "top":
            number, tier = next(
                (number, tier) for number, _, high, tier in self._edges() if high is None or quantity <= high
            )
            blocks = ceil(Fraction(quantity) / Fraction(tier.size))
            return [Part("blocks", Decimal(blocks), at.money("price", tier), number)] if blocks else []
        parts = []
        for number, low, high, tier in self._edges():
            inside = (quantity if high is None else min(quantity, high)) - low
            if inside > 0:
                blocks = ceil(Fraction(inside) / Fraction(tier.size))
                parts.append(Part("blocks", Decimal(blocks), at.money("price", tier), number))
        return parts

    def parts_expr(self, at: BatchRating, quantity: Scaled) -> Sequence[PartColumns]:
        """The same, for columns."""
        last = self._capacity(len(self.tiers))
        if last is not None:
            at.require(~above_expr(at, quantity, last))
        if self.mode == "top":
            number = pl.lit(1, dtype=pl.Int64)
            for _, _, high, tier in self._edges():
                if high is not None and tier is not self.tiers[-1]:
                    number = number + above_expr(at, quantity, high).cast(pl.Int64)
            number = at.keep(number)
            sizes = chosen_expr(at, number, [Scaled.literal(tier.size) for tier in self.tiers])
            price = chosen_expr(at, number, [at.money("price", tier) for tier in self.tiers])
            blocks = at.ceil_quotient(quantity, sizes)
            return [PartColumns("blocks", blocks, price, number, quantity.units > 0)]
        parts = []
        for number_of, low, high, tier in self._edges():
            reached = quantity if high is None else at.lesser(quantity, Scaled.literal(high))
            inside = at.greater(at.minus(reached, Scaled.literal(low)), Scaled.literal(Decimal(0)))
            blocks = at.ceil_quotient(inside, Scaled.literal(tier.size))
            parts.append(PartColumns("blocks", blocks, at.money("price", tier), number_of, inside.units > 0))
        return parts

    def _edges(self) -> Iterator[tuple[int, Decimal, Decimal | None, BlockTier]]:
        """Number, lower and upper edge in units, tier."""
        for number, tier in enumerate(self.tiers, 1):
            yield number, self._capacity(number - 1) or Decimal(0), self._capacity(number), tier

    def _capacity(self, tiers: int) -> Decimal | None:
        """Units that so many tiers hold."""
        held = [None if tier.max_blocks is None else tier.size * tier.max_blocks for tier in self.tiers[:tiers]]
        return None if None in held else sum((units for units in held if units is not None), Decimal(0))
