"""Proration: of what a whole period costs, the part that was used."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from assay.money import Scaled
from assay.pricing.batch import BatchRating, Note
from assay.pricing.edges import Place
from assay.pricing.moments import instant
from assay.pricing.rating import Exact, Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step

_INPUTS = ("period_start", "period_end", "used_from", "used_to")
_ORDER = "period_start, used_from, used_to and period_end are not in this order, or the period has no length"
_FIXED = 30


@register
class Prorate(Step):
    """Charge used / whole of the net so far: R(net x used / whole), multiplied first.

    Periods are half-open, [period_start, period_end), and so is what was used of them, [used_from, used_to). By "day"
    calendar days of the book's zone are counted, leap days and change of clocks included; by "second" real time. With
    `basis=30` a period has 30 days whatever the calendar says, and a whole period is a whole period.

    The part that reaches the end of the period takes what the parts before have left: the net less `billed_before`,
    where that is given, else less R(net x days before / whole).
    """

    amount_inputs: ClassVar[frozenset[str]] = frozenset(_INPUTS)
    optional_inputs: ClassVar[frozenset[str]] = frozenset({"billed_before"})

    kind: Literal["prorate"] = "prorate"
    unit: Literal["day", "second"] = "day"
    basis: Annotated[Literal["real", 30], BeforeValidator(lambda basis: 30 if basis == "30" else basis)] = "real"

    @model_validator(mode="after")
    def _thirty_days(self) -> Prorate:
        if self.basis != "real" and self.unit != "day":
            raise PydanticCustomError("basis", "a basis of 30 is of days")
        return self

    def example(self) -> dict[str, object]:
        """A whole month."""
        first, last = dt.date(2026, 1, 1), dt.date(2026, 2, 1)
        return super().example() | {"period_start": first, "used_from": first, "period_end": last, "used_to": last}

    def place(self) -> Place:
        """Among the proration."""
        return Place.PRORATION

    def apply(self, at: Rating) -> None:
        """Prorate one item."""
        start, end, first, last = (self._number(at, name) for name in _INPUTS)
        at.require(start <= first <= last <= end and start < end, _ORDER)
        used, before, whole = last - first, first - start, end - start
        if self.basis != "real":
            used, before, whole = min(used, _FIXED), min(before, _FIXED), _FIXED
        if first == start and last == end:
            exact: Exact = at.net
        elif last == end:
            billed = at.optional("billed_before", None)
            exact = at.net - (at.rounded(_part(at.net, before, whole)) if billed is None else billed)
        else:
            exact = _part(at.net, used, whole)
        at.become(exact, Wording(f"{self.unit}s used", Decimal(used) if self.unit == "day" else None))

    def apply_expr(self, at: BatchRating) -> None:
        """Prorate each row."""
        start, end, first, last = (self._number_expr(at, name) for name in _INPUTS)
        at.require((start <= first) & (first <= last) & (last <= end) & (start < end))
        used, before, whole = last - first, first - start, end - start
        if self.basis != "real":
            used, before, whole = _capped(used), _capped(before), pl.lit(_FIXED, dtype=pl.Int64)
        net, units = at.sums.net, _whole_number(at, used)
        all_of_it = (first == start) & (last == end)
        part = at.ratio(net, units, _whole_number(at, whole))
        earlier = at.ratio(net, _whole_number(at, before), _whole_number(at, whole)).value
        if at.has("billed_before"):
            given = at.raw("billed_before").is_not_null()
            earlier = at.chosen(given, at.optional("billed_before", Decimal(0)), earlier)
        rest = at.rounded(at.minus(net, earlier))
        unit = units if self.unit == "day" else None
        amount = at.choose([(all_of_it, at.rounded(net)), (last == end, rest)], part)
        at.become(amount, Note(f"{self.unit}s used", unit))

    def _number(self, at: Rating, name: str) -> int:
        if self.unit == "day":
            return at.day(name).toordinal()
        return instant(at.moment(name), at.terms.zone)

    def _number_expr(self, at: BatchRating, name: str) -> pl.Expr:
        if self.unit == "day":
            return at.keep(at.day(name).cast(pl.Int32).cast(pl.Int64))
        return at.instant(name)


def _part(amount: Decimal, part: int, whole: int) -> Fraction:
    return Fraction(amount) * part / whole


def _capped(days: pl.Expr) -> pl.Expr:
    return pl.when(days > _FIXED).then(pl.lit(_FIXED, dtype=pl.Int64)).otherwise(days)


def _whole_number(at: BatchRating, number: pl.Expr) -> Scaled:
    return at.stored(Scaled(number.cast(pl.Int128), 0, 2**63))
