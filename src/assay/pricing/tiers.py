"""Tiers: ranges of a quantity, told by their upper edges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Protocol, TypeVar

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from assay.money import ExactDecimal, Scaled, plain
from assay.pricing.batch import BatchRating
from assay.pricing.edges import Edge
from assay.pricing.values import AtLeastOne, Value


class Edged(Protocol):
    """What has an upper edge."""

    @property
    def up_to(self) -> Decimal | None:
        """The largest quantity inside, or None: no end."""
        ...


T = TypeVar("T", bound=Edged)


class Tier(BaseModel):
    """A range of a quantity: above the tier before, up to and with `up_to`.

    Attributes:
        up_to: The largest quantity inside; None in the last tier: no end.
        unit_price: For each unit.
        flat_fee: Once, where the tier is entered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    money_fields: ClassVar[frozenset[str]] = frozenset({"unit_price", "flat_fee"})

    up_to: ExactDecimal | None = None
    unit_price: Value = Decimal(0)
    flat_fee: Value = Decimal(0)


def _rising(tiers: tuple[T, ...]) -> tuple[T, ...]:
    edges = [tier.up_to for tier in tiers]
    for number, edge in enumerate(edges[:-1], 1):
        if edge is None:
            raise PydanticCustomError(
                "tiers", "tier {number} has no up_to, so the next is never reached", {"number": number}
            )
    low = Decimal(0)
    for number, edge in enumerate(edges, 1):
        if edge is not None and edge <= low:
            raise PydanticCustomError(
                "tiers",
                "up_to of tier {number} is {edge}: it must be above {low}",
                {"number": number, "edge": plain(edge), "low": plain(low)},
            )
        low = low if edge is None else edge
    return tiers


Tiers = Annotated[tuple[Tier, ...], AtLeastOne, AfterValidator(_rising)]
"""One or more, each with a larger `up_to` than the one before; the last may have none."""

rising = AfterValidator(_rising)
"""Checks tiers of another class."""

ABOVE = "the quantity is above the last tier"


def edges(tiers: Sequence[T]) -> Iterator[tuple[int, Decimal, T]]:
    """Number (from 1), lower edge and tier."""
    low = Decimal(0)
    for number, tier in enumerate(tiers, 1):
        yield number, low, tier
        low = low if tier.up_to is None else tier.up_to


def tier_edges(tiers: Sequence[T], of: str) -> Iterator[Edge]:
    """The upper edges, of the input `of`."""
    for number, tier in enumerate(tiers, 1):
        if tier.up_to is not None:
            yield Edge(of, tier.up_to, number)


def reached(tiers: Sequence[T], quantity: Decimal) -> tuple[int, T] | None:
    """The tier that a quantity of 0 or more falls into, and its number; None above the last."""
    for number, tier in enumerate(tiers, 1):
        if tier.up_to is None or quantity <= tier.up_to:
            return number, tier
    return None


def above_expr(at: BatchRating, quantity: Scaled, edge: Decimal) -> pl.Expr:
    """Boolean: quantity > edge."""
    return at.less(Scaled.literal(edge), quantity)


def number_expr(at: BatchRating, tiers: Sequence[T], quantity: Scaled) -> pl.Expr:
    """Number of the tier that each quantity falls into; rows above the last tier are left to the reference."""
    number = pl.lit(1, dtype=pl.Int64)
    for tier in tiers:
        if tier.up_to is None:
            break
        above = above_expr(at, quantity, tier.up_to)
        if tier is tiers[-1]:
            at.require(~above)
        else:
            number = number + above.cast(pl.Int64)
    return at.keep(number)


def chosen_expr(at: BatchRating, number: pl.Expr, values: Sequence[Scaled]) -> Scaled:
    """Of one value a tier that of the row's tier."""
    result = values[-1]
    for index in range(len(values) - 2, -1, -1):
        result = at.chosen(number == index + 1, values[index], result)
    return result
