"""Time of use: the hour, the day, the month decide the price of a unit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError
from assay.money import ExactDecimal, Scaled, integer
from assay.pricing.batch import BatchRating, Note
from assay.pricing.edges import Edge
from assay.pricing.moments import instant, instant_expr, zone_info
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.values import AtLeastOne, Value

_DAY = 86_400 * 10**6
_YEARS = 10
_LONGEST = _YEARS * 366 * _DAY
_LATEST = 250_000_000_000 * 10**6  # in the year 9892: days after it are still dates
_LEAP_YEAR = dt.date(2028, 1, 1)
_LEAP_YEAR_DAYS = 366
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class TimeRate(BaseModel):
    """A price for the units used at some times.

    Attributes:
        unit_price: For each unit.
        months: 1 to 12; all where empty.
        days: Of the month, 1 to 31; all where empty.
        weekdays: 1 (Monday) to 7; all where empty.
        start: Time of day from which it holds.
        end: Time of day before which it holds; midnight is the end of the day.
        weight: Of several rates at a time the one with the largest weight counts, of equal ones the first listed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    money_fields: ClassVar[frozenset[str]] = frozenset({"unit_price"})

    unit_price: Value
    months: tuple[Annotated[int, Field(ge=1, le=12)], ...] = ()
    days: tuple[Annotated[int, Field(ge=1, le=31)], ...] = ()
    weekdays: tuple[Annotated[int, Field(ge=1, le=7)], ...] = ()
    start: dt.time = dt.time()
    end: dt.time = dt.time()
    weight: int = 0

    @model_validator(mode="after")
    def _in_order(self) -> TimeRate:
        if self.start.tzinfo is not None or self.end.tzinfo is not None:
            raise PydanticCustomError("times", "times of day are in the zone of the step: write them without one")
        if self.from_microsecond >= self.to_microsecond:
            raise PydanticCustomError("times", "start is not before end: write two rates for a night")
        return self

    @property
    def from_microsecond(self) -> int:
        """Of the day."""
        return _microsecond(self.start)

    @property
    def to_microsecond(self) -> int:
        """Of the day, not included."""
        return _microsecond(self.end) or _DAY

    def on(self, day: dt.date) -> bool:
        """Whether it holds on a day."""
        return (
            (not self.months or day.month in self.months)
            and (not self.days or day.day in self.days)
            and (not self.weekdays or day.isoweekday() in self.weekdays)
        )

    def on_expr(self, day: pl.Expr) -> pl.Expr:
        """The same, for a Date column."""
        conditions = [pl.lit(value=True)]
        if self.months:
            conditions.append(day.dt.month().cast(pl.Int64).is_in(list(self.months)))
        if self.days:
            conditions.append(day.dt.day().cast(pl.Int64).is_in(list(self.days)))
        if self.weekdays:
            conditions.append(day.dt.weekday().cast(pl.Int64).is_in(list(self.weekdays)))
        return pl.all_horizontal(conditions)


@register
class TimeOfUse(Step):
    """Charge units at the price of the time at which they were used.

    The quantity is spread evenly over [used_from, used_to), split where another rate begins (times of day, days and
    months are those of `zone`), and each rate's part is rounded. Where rows have no used_from and used_to, all of it
    was used at `date`. `increment` rounds each rate's units up to a multiple; `connect_fee` is charged once. A negative
    quantity is a credit.
    """

    amount_inputs: ClassVar[frozenset[str]] = frozenset({"quantity"})
    optional_inputs: ClassVar[frozenset[str]] = frozenset({"used_from", "used_to", "date"})
    money_fields: ClassVar[frozenset[str]] = frozenset({"connect_fee"})
    prices: ClassVar[bool] = True
    entries: ClassVar[str | None] = "rates"
    alternatives: ClassVar[bool] = True

    kind: Literal["time_of_use"] = "time_of_use"
    rates: Annotated[tuple[TimeRate, ...], AtLeastOne]
    zone: str
    increment: Annotated[ExactDecimal, Field(gt=0)] | None = None
    connect_fee: Value = Decimal(0)

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            return zone_info(zone).key
        except ConfigurationError as error:
            raise PydanticCustomError("zone", "{reason}", {"reason": error.message}) from error

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The times at which rates begin and end, on one day of each kind: days are alike on which the same hold."""
        seen: set[tuple[int, ...]] = set()
        for number in range(_LEAP_YEAR_DAYS):
            day = _LEAP_YEAR + dt.timedelta(days=number)
            holding = tuple(index for index, rate in enumerate(self.rates) if rate.on(day))
            if holding in seen:
                continue
            seen.add(holding)
            midnight = dt.datetime.combine(day, dt.time())
            yield Edge("date", midnight, holding[0] + 1 if holding else None)
            for index in holding:
                for edge in (self.rates[index].from_microsecond, self.rates[index].to_microsecond % _DAY):
                    yield Edge("date", midnight + dt.timedelta(microseconds=edge), index + 1)

    def example(self) -> dict[str, object]:
        """A moment of which the first rate is."""
        rate = self.rates[0]
        days = (_LEAP_YEAR + dt.timedelta(days=number) for number in range(_LEAP_YEAR_DAYS))
        day = next(filter(rate.on, days), _LEAP_YEAR)
        return super().example() | {"date": dt.datetime.combine(day, rate.start)}

    def apply(self, at: Rating) -> None:
        """Charge for one item."""
        quantity = at.input("quantity")
        start, end = self._span(at)
        at.require(start <= end, "used_to is before used_from")
        at.require(
            end - start <= _LONGEST and end <= _LATEST, f"the time from used_from to used_to is over {_YEARS} years"
        )
        used: dict[int, int] = {}
        for rate, length in self._used(at, start, end):
            used[rate] = used.get(rate, 0) + length
        whole = sum(used.values())
        turned = at.turned * (-1 if quantity < 0 else 1)
        if self.connect_fee:
            fee = turned * at.money("connect_fee")
            at.charge(fee, Wording("connect fee", rate=fee))
        for index in sorted(used):
            units = Fraction(abs(quantity)) * used[index] / whole
            if self.increment is not None:
                units = ceil(units / Fraction(self.increment)) * Fraction(self.increment)
            price = at.money("unit_price", self.rates[index])
            one_rate = len(used) == 1 or self.increment is not None
            shown = turned * _decimal(units) if one_rate else None
            at.charge(turned * units * Fraction(price), Wording("units", shown, price, index + 1))

    def _span(self, at: Rating) -> tuple[int, int]:
        """From when to when, in microseconds since the epoch."""
        if at.has("used_from") and at.has("used_to"):
            return instant(at.moment("used_from"), self.zone), instant(at.moment("used_to"), self.zone)
        at.require(at.has("date"), "neither used_from and used_to nor date say when it was used")
        moment = instant(at.moment("date"), self.zone)
        return moment, moment

    def _used(self, at: Rating, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The rates in the span, and how long each holds (1 for a moment)."""
        zone = zone_info(self.zone)
        edges = sorted({edge for rate in self.rates for edge in (rate.from_microsecond, rate.to_microsecond)} | {0})

        def local(moment: int) -> dt.datetime:
            return (_EPOCH + dt.timedelta(microseconds=moment)).astimezone(zone)

        first = local(start).date()
        days = (local(end).date() - first).days
        cuts = {start, end}
        for offset in range(-1, days + 2):
            midnight = dt.datetime.combine(first + dt.timedelta(days=offset), dt.time())
            for edge in edges:
                wall = midnight + dt.timedelta(microseconds=edge)
                for fold in (0, 1):
                    cut = (wall.replace(tzinfo=zone, fold=fold) - _EPOCH) // dt.timedelta(microseconds=1)
                    if start < cut < end:
                        cuts.add(cut)
        # A change of the clock moves the time of day, too: the moment of change is found where the offset differs.
        moments = sorted(cuts)
        if start == end:
            yield self._rate_at(at, local(start)), 1
            return
        for low, high in pairwise(moments):
            for piece_low, piece_high in _same_offset(low, high, local):
                yield self._rate_at(at, local(piece_low)), piece_high - piece_low

    def _rate_at(self, at: Rating, moment: dt.datetime) -> int:
        """Index of the rate that holds at a local time."""
        microsecond = _microsecond(moment.time())
        fitting = [
            index
            for index, rate in enumerate(self.rates)
            if rate.from_microsecond <= microsecond < rate.to_microsecond and rate.on(moment.date())
        ]
        if not fitting:
            raise at.error(f"no rate at {moment:%Y-%m-%d %H:%M} in {self.zone}")
        return max(fitting, key=lambda index: (self.rates[index].weight, -index))

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row: what was used within a day of the zone; the rest is left to the reference."""
        quantity = at.input("quantity")
        sign = at.signed(at.direction(quantity), at.turned)
        units = at.size(quantity)
        start, end, day, low, high = self._span_expr(at)
        moment = at.keep(start == end)
        used = self._used_expr(at, day, low, high, moment)
        whole = at.stored(Scaled(pl.when(moment).then(integer(1)).otherwise((end - start).cast(pl.Int128)), 0, _DAY))
        at.require(pl.sum_horizontal([part.units for part in used]) == whole.units)
        rates_used = at.keep(pl.sum_horizontal([(part.units > 0).cast(pl.Int8) for part in used]))
        if self.connect_fee:
            fee = at.signed(at.money("connect_fee"), sign)
            at.charge(at.rounded(fee), Note("connect fee", rate=fee))
        for index, (rate, part) in enumerate(zip(self.rates, used, strict=True)):
            price = at.money("unit_price", rate)
            some = at.keep(part.units > 0)
            if self.increment is None:
                signed = at.stored(at.signed(units, sign))
                amount = at.ratio(at.exact(signed, price), part, whole)
                alone = at.keep(pl.when(rates_used == 1).then(signed.units))
                shown = Scaled(alone, signed.scale, signed.bound)
            else:
                blocks = at.ceil_quotient(at.exact(units, part), at.exact(whole, Scaled.literal(self.increment)))
                shown = at.stored(at.signed(at.exact(blocks, Scaled.literal(self.increment)), sign))
                amount = at.product(shown, price)
            at.charge(at.when(some, amount), Note("units", shown, price, index + 1, when=some))

    def _span_expr(self, at: BatchRating) -> tuple[pl.Expr, pl.Expr, pl.Expr, pl.Expr, pl.Expr]:
        """Start and end (microseconds since the epoch), the local day, and their microseconds of that day."""
        if at.has("used_from") and at.has("used_to"):
            names = ("used_from", "used_to")
        elif at.has("date"):
            names = ("date", "date")
        else:
            raise ConfigurationError(f"step {self.id}: give used_from and used_to, or date")
        start, end = (at.keep(instant_expr(*at.moment(name), self.zone)) for name in names)
        at.doubt(start.is_null() | end.is_null())
        local = [
            at.keep(moment.cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(self.zone).dt.replace_time_zone(None))
            for moment in (start, end)
        ]
        day = at.keep(local[0].dt.date())
        midnight = day.cast(pl.Datetime("us")).dt.timestamp("us")
        low, high = (at.keep(moment.dt.timestamp("us") - midnight) for moment in local)
        # Within one day, during which the clocks did not change.
        at.require((end >= start) & (high <= _DAY) & ((high - low) == (end - start)))
        return start, end, day, low, high

    def _used_expr(
        self, at: BatchRating, day: pl.Expr, low: pl.Expr, high: pl.Expr, moment: pl.Expr
    ) -> Sequence[Scaled]:
        """How long each rate holds within the span (1 for a moment)."""
        edges = sorted(
            {0, _DAY} | {edge for rate in self.rates for edge in (rate.from_microsecond, rate.to_microsecond)}
        )
        order = sorted(range(len(self.rates)), key=lambda index: (-self.rates[index].weight, index))
        held = {index: at.keep(self.rates[index].on_expr(day)) for index in order}
        lengths: list[pl.Expr] = [integer(0)] * len(self.rates)
        for start, end in pairwise(edges):
            inside = pl.min_horizontal(high, pl.lit(end)) - pl.max_horizontal(low, pl.lit(start))
            there = (low >= start) & (low < end)
            length = at.keep(
                pl.when(moment)
                .then(there.cast(pl.Int64))
                .otherwise(pl.when(inside > 0).then(inside).otherwise(pl.lit(0)))
                .cast(pl.Int128)
            )
            taken: pl.Expr = pl.lit(value=False)
            for index in order:
                rate = self.rates[index]
                if not rate.from_microsecond <= start < rate.to_microsecond:
                    continue
                here = held[index] & ~taken
                lengths[index] = lengths[index] + pl.when(here).then(length).otherwise(integer(0))
                taken = taken | held[index]
        return [at.stored(Scaled(length, 0, _DAY)) for length in lengths]


def _same_offset(low: int, high: int, local: Callable[[int], dt.datetime]) -> Iterator[tuple[int, int]]:
    """The span, cut at the moment at which the clock changes, found by halving."""
    offset = local(low).utcoffset()
    if offset == local(high - 1).utcoffset():
        yield low, high
        return
    left, right = low, high - 1
    while right - left > 1:
        middle = (left + right) // 2
        if local(middle).utcoffset() == offset:
            left = middle
        else:
            right = middle
    yield low, right
    yield right, high


def _microsecond(time: dt.time) -> int:
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 10**6 + time.microsecond


def _decimal(units: Fraction) -> Decimal:
    return Decimal(units.numerator) / Decimal(units.denominator)
