"""Percentage of an amount, and a fixed fee an event: what payment processors charge."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from assay.money import ExactDecimal, Scaled, integer, round_to
from assay.pricing.batch import ONE, BatchRating, Note
from assay.pricing.edges import Edge
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.values import NotNegative, Value

_ZERO = Decimal(0)
_OF_AMOUNT = "% of the amount"
_ONE_EVENT = "limits of an event's fee need one event a row (event_count 1)"


@register
class PercentageFee(Step):
    """Charge `rate` percent of the input `amount`, and `fixed` for each of `event_count` events (1 by default).

    The first events are free: up to `free_count` of them and up to `free_amount` of their amount, one allowance: what
    is used up first ends both, and it may end inside an event, which then pays its percentage on the rest and no
    fixed fee (Lago). Of a row with several events nothing is known of each, so that they count as equally large.
    `events_before` and `amount_before` say what has been used of the allowance before this row.

    `per_event_min` and `per_event_max` limit the fee of an event that is not free altogether; they need one event a
    row. A negative amount is a refund: the fee of the amount without its sign, turned.
    """

    amount_inputs: ClassVar[frozenset[str]] = frozenset({"amount"})
    optional_inputs: ClassVar[frozenset[str]] = frozenset({"event_count", "events_before", "amount_before"})
    money_fields: ClassVar[frozenset[str]] = frozenset({"fixed", "per_event_min", "per_event_max"})
    prices: ClassVar[bool] = True

    kind: Literal["percentage_fee"] = "percentage_fee"
    rate: NotNegative
    fixed: Value = _ZERO
    free_amount: Annotated[ExactDecimal, Field(ge=0)] = _ZERO
    free_count: Annotated[int, Field(ge=0)] = 0
    per_event_min: Value | None = None
    per_event_max: Value | None = None

    @model_validator(mode="after")
    def _limits_in_order(self) -> PercentageFee:
        low, high = self.per_event_min, self.per_event_max
        if isinstance(low, Decimal) and isinstance(high, Decimal) and low > high:
            raise PydanticCustomError("limits", "per_event_min is above per_event_max")
        return self

    def money_columns(self) -> frozenset[str]:
        """The amount is money in the row's currency."""
        return super().money_columns() | {"amount"}

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """What is free, and the amounts whose fees reach the limits."""
        if self.free_amount:
            yield Edge("amount", self.free_amount)
        if self.free_count:
            yield Edge("events_before", Decimal(self.free_count - 1))
        rate, fixed, unit = self.rate, self.fixed, terms.unit(terms.currency)
        for limit in (self.per_event_min, self.per_event_max):
            if not isinstance(limit, Decimal) or not isinstance(fixed, Decimal) or not isinstance(rate, Decimal):
                continue
            if rate and limit > fixed:
                yield Edge("amount", self.free_amount + (limit - fixed) * 100 / rate // unit * unit)

    def apply(self, at: Rating) -> None:
        """Charge for one item."""
        amount, events = at.input("amount"), at.optional("event_count", Decimal(1)) or _ZERO
        at.require(_whole(events), "event_count is no whole number of 0 or more")
        rate, fixed = at.value("rate"), at.money("fixed")
        at.require(rate >= 0, "rate is below 0")
        at.require(not self._limits() or events == 1, _ONE_EVENT)
        sign = at.turned * (-1 if amount < 0 else 1)
        free_events, free_amount = self._free(at, abs(amount), events)
        paid, paying = Fraction(abs(amount)) - free_amount, events - free_events
        percentage, fees = paid * Fraction(rate) / 100, Fraction(paying * fixed)
        # The allowance is told by what is left of the amount.
        shown = _decimal(sign * paid)
        if not self._several():
            at.charge(sign * percentage, Wording(_OF_AMOUNT, shown, rate))
            return
        for what, quantity, of, exact in (
            (_OF_AMOUNT, shown, rate, sign * percentage),
            ("events", sign * paying, fixed, sign * fees),
        ):
            at.record(Wording(what, quantity, of, counts=False), at.told(exact), exact)
        fee = percentage + fees
        if paid or paying:
            fee = self._limited(at, fee)
        at.charge(sign * fee, Wording("fee"))

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        given = at.input("amount")
        amount, events = at.size(given), at.optional("event_count", Decimal(1))
        rate, fixed = at.value("rate"), at.money("fixed")
        at.require(rate.between(0))
        if self._limits() or self.free_count or self.free_amount:
            at.require(~at.less(events, ONE) & ~at.less(ONE, events))
        elif at.has("event_count"):
            at.require(_whole_expr(events))
        sign = at.signed(at.direction(given), at.turned)
        paid, paying = self._paid_expr(at, amount, events)
        share = rate.behind(2)
        shown = at.stored(at.signed(paid, sign))
        if not self._several():
            at.charge(at.product(shown, share), Note(_OF_AMOUNT, shown, rate))
            return
        turned_events = at.stored(at.signed(paying, sign))
        if at.receipts:
            at.record(at.product(shown, share), Note(_OF_AMOUNT, shown, rate, counts=False))
            at.record(at.product(turned_events, fixed), Note("events", turned_events, fixed, counts=False))
        fee = at.plus(at.exact(paid, share), at.exact(paying, fixed))
        some = (paid.units != 0) | (paying.units != 0)
        if self.per_event_min is not None:
            low = at.money("per_event_min")
            fee = at.chosen(some & at.less(fee, low), low, fee)
        if self.per_event_max is not None:
            high = at.money("per_event_max")
            fee = at.chosen(some & at.less(high, fee), high, fee)
        at.charge(at.rounded(at.signed(fee, sign)), Note("fee"))

    def _several(self) -> bool:
        return bool(self.fixed) or self._limits()

    def _limits(self) -> bool:
        return self.per_event_min is not None or self.per_event_max is not None

    def _limited(self, at: Rating, fee: Fraction) -> Fraction:
        if self.per_event_min is not None:
            fee = max(fee, Fraction(at.money("per_event_min")))
        if self.per_event_max is not None:
            fee = min(fee, Fraction(at.money("per_event_max")))
        return fee

    def _free(self, at: Rating, amount: Decimal, events: Decimal) -> tuple[Decimal, Fraction]:
        """Events and amount that the allowance covers."""
        used = at.optional("events_before", _ZERO) or _ZERO
        at.require(not self.free_count or _whole(used), "events_before is no whole number of 0 or more")
        count_left = self.free_count - used
        amount_left = self.free_amount - (at.optional("amount_before", _ZERO) or _ZERO)
        counted, measured = self.free_count > 0, self.free_amount > 0
        covered = (counted or measured) and not (counted and count_left <= 0) and not (measured and amount_left <= 0)
        if not covered or not events:
            return _ZERO, Fraction(0)
        free = events
        if counted:
            free = min(free, count_left)
        if measured and amount:
            free = min(free, Decimal(ceil(Fraction(amount_left) * Fraction(events) / Fraction(amount))))
        covered_amount = Fraction(amount) * Fraction(free) / Fraction(events)
        return free, min(covered_amount, Fraction(amount_left)) if measured else covered_amount

    def _paid_expr(self, at: BatchRating, amount: Scaled, events: Scaled) -> tuple[Scaled, Scaled]:
        """What the allowance leaves of the amount and of one event."""
        conditions = []
        left = None
        if self.free_count:
            used = at.optional("events_before", _ZERO)
            at.require(_whole_expr(used))
            conditions.append(at.less(used, Scaled.literal(Decimal(self.free_count))))
        if self.free_amount:
            left = at.minus(Scaled.literal(self.free_amount), at.optional("amount_before", _ZERO))
            conditions.append(left.units > 0)
        if not conditions:
            return amount, events
        covered = at.keep(pl.all_horizontal(conditions))
        nothing = Scaled.literal(_ZERO)
        rest = nothing if left is None else at.greater(at.minus(amount, left), nothing)
        return at.chosen(covered, rest, amount), at.chosen(covered, nothing, events)


def _whole(number: Decimal) -> bool:
    return number >= 0 and number == number.to_integral_value()


def _whole_expr(number: Scaled) -> pl.Expr:
    one = integer(10**number.scale)
    return (number.units >= 0) & (number.units.floordiv(one) * one == number.units)


def _decimal(exact: Fraction) -> Decimal | None:
    """The number as a decimal, where it is one of no more than 18 places."""
    rounded = round_to(exact, 18, "half_even")
    return rounded.normalize() if rounded == exact else None
