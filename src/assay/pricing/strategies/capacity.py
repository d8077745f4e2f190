"""Capacity: the peak picks a tier, and the tier has one price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
)
from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError
from assay.money import exact_decimal, plain
from assay.pricing.batch import BatchRating, Note
from assay.pricing.edges import Edge
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.tiers import ABOVE, above_expr, chosen_expr
from assay.pricing.values import AtLeastOne, Value

QUANTITY = "quantity"


def _limits(value: object) -> object:
    try:
        if isinstance(value, Mapping):
            return {str(name): exact_decimal(limit) for name, limit in value.items()}
        return None if value is None else {QUANTITY: exact_decimal(value)}
    except ConfigurationError as error:
        raise PydanticCustomError("up_to", "{reason}", {"reason": error.message}) from error


def _shown(limits: dict[str, Decimal] | None) -> object:
    if limits is None:
        return None
    shown = {name: plain(limit) for name, limit in sorted(limits.items())}
    return shown[QUANTITY] if set(shown) == {QUANTITY} else shown


class CapacityTier(BaseModel):
    """What holds peaks up to its limits, for one price.

    Attributes:
        up_to: The largest peak, or for several kinds of units a table of input and largest peak; None in the last
            tier: no end.
        flat_fee: The price.
        unit_price: 0, if it is said at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    money_fields: ClassVar[frozenset[str]] = frozenset({"flat_fee"})

    up_to: Annotated[
        dict[str, Decimal] | None,
        BeforeValidator(_limits, json_schema_input_type=str | int | dict[str, str] | None),
        PlainSerializer(_shown),
    ] = None
    flat_fee: Value = Decimal(0)
    unit_price: Literal[0] = Field(default=0, exclude=True)

    @field_validator("unit_price", mode="before")
    @classmethod
    def _no_unit_price(cls, price: object) -> object:
        """A tier may say that units cost nothing, as it does elsewhere."""
        try:
            free = not exact_decimal(price)
        except ConfigurationError:
            free = False
        if not free:
            raise PydanticCustomError("unit_price", "a capacity has one price, flat_fee; units cost nothing")
        return 0


def _rising(tiers: tuple[CapacityTier, ...]) -> tuple[CapacityTier, ...]:
    before: dict[str, Decimal] = {}
    for number, tier in enumerate(tiers, 1):
        if tier.up_to is None:
            if number < len(tiers):
                raise PydanticCustomError(
                    "tiers", "tier {number} has no up_to, so the next is never reached", {"number": number}
                )
            continue
        if before and set(tier.up_to) != set(before):
            raise PydanticCustomError("tiers", "tier {number} limits other units", {"number": number})
        falling = [name for name, limit in tier.up_to.items() if limit < before.get(name, Decimal(0))]
        if falling or tier.up_to == before or not tier.up_to:
            raise PydanticCustomError("tiers", "tier {number} holds no more than the one before", {"number": number})
        before = tier.up_to
    return tiers


@register
class Capacity(Step):
    """Charge the price of the smallest tier that holds the peak: 501 members are too many for a tier of 500.

    Of several kinds of units the one that needs the highest tier decides (Kill Bill's CAPACITY). A negative quantity
    is a credit of the price of the quantity without its sign.
    """

    optional_inputs: ClassVar[frozenset[str]] = frozenset({QUANTITY})
    prices: ClassVar[bool] = True

    entries: ClassVar[str | None] = "tiers"

    kind: Literal["capacity"] = "capacity"
    tiers: Annotated[tuple[CapacityTier, ...], AtLeastOne, AfterValidator(_rising)]

    def inputs(self) -> frozenset[str]:
        """The peaks, and what the prices name."""
        return super().inputs() | self._units()

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """Of the tiers, a kind of units each."""
        for number, tier in enumerate(self.tiers, 1):
            for name, limit in sorted((tier.up_to or {}).items()):
                yield Edge(name, limit, number)

    def apply(self, at: Rating) -> None:
        """Charge for one item."""
        number = max((self._tier(at, name) for name in sorted(self._units())), default=1)
        fee = at.sign * at.money("flat_fee", self.tiers[number - 1])
        at.charge(fee, Wording("capacity", rate=fee, tier=number))

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        number: pl.Expr = pl.lit(1, dtype=pl.Int64)
        for name in sorted(self._units()):
            number = pl.max_horizontal(number, self._tier_expr(at, name))
        kept = at.keep(number)
        fee = at.signed(chosen_expr(at, kept, [at.money("flat_fee", tier) for tier in self.tiers]), at.sign)
        at.charge(at.rounded(fee), Note("capacity", rate=fee, tier=kept))

    def _units(self) -> set[str]:
        return {name for tier in self.tiers for name in tier.up_to or ()} or {QUANTITY}

    def _tier(self, at: Rating, name: str) -> int:
        peak = abs(at.input(name))
        for number, tier in enumerate(self.tiers, 1):
            if tier.up_to is None or peak <= tier.up_to[name]:
                return number
        raise at.error(ABOVE)

    def _tier_expr(self, at: BatchRating, name: str) -> pl.Expr:
        peak = at.size(at.input(name))
        number: pl.Expr = pl.lit(1, dtype=pl.Int64)
        for tier in self.tiers:
            if tier.up_to is None:
                break
            above = above_expr(at, peak, tier.up_to[name])
            if tier is self.tiers[-1]:
                at.require(~above)
            else:
                number = number + above.cast(pl.Int64)
        return number
