"""Currency conversion: one rounding a total, at the digits of the target."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field, PlainSerializer, field_validator, model_validator
from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError
from assay.money import Scaled, has_minor_units, minor_units, plain
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.edges import Edge, Extreme
from assay.pricing.moments import days_window
from assay.pricing.rates import NO_RATE, RATE_PLACES, WINDOW, RatesTable, checked_rate
from assay.pricing.rating import Exact, Rating, Wording
from assay.pricing.receipt import DIVIDED
from assay.pricing.registry import register
from assay.pricing.step import Columns, Step
from assay.pricing.terms import Terms

InlineRates = Annotated[
    dict[str, Decimal],
    PlainSerializer(lambda rates: {code: plain(rate) for code, rate in sorted(rates.items())}, return_type=dict),
]

# A table of all days is made for the twin; rates of more days than this are refused.
_MOST_DAYS = 20_000_000
# Of tables that were corrected at more moments, rows that say themselves what they know are left to the reference.
_MOST_VERSIONS = 64
_VERSION = "version"

_LATE_DAYS = 3_650
_FAR = dt.date(2100, 1, 1)


@register
class Convert(Step):
    """Go over to the currency `to`: the net is converted and rounded, and so is the base; the discount takes the
    difference of the two, so that net = base - discount holds to the last cent. A tax so far is converted as well.

    `rates` maps the row's currency to a rate, or names a table that is given when pricing. `direction` says how the
    rates are quoted: "multiply" where one unit of the row's currency buys `rate` units of `to`, "divide" where one
    unit of `to` buys `rate` units of the row's currency (as the ECB quotes against the euro, with `to = "EUR"`).
    A rate is never inverted silently. A row that is in `to` already has the rate 1; one without a rate is an error.

    A table with `valid_from` is dated: the input that `date` names decides. `on_missing` says what holds on a day of
    which there is no rate: that of the "previous" day that has one, of the "next", or an "error"; never one further
    away than `max_age` calendar days.
    """  # noqa: D205 - the summary needs two lines

    converts: ClassVar[bool] = True
    optional_inputs: ClassVar[frozenset[str]] = frozenset({"known_at"})

    kind: Literal["convert"] = "convert"
    to: str
    rates: InlineRates | Annotated[str, Field(min_length=1)]
    direction: Literal["multiply", "divide"] = "multiply"
    date: Annotated[str, Field(min_length=1)] | None = None
    on_missing: Literal["previous", "next", "error"] = "previous"
    max_age: Annotated[int, Field(ge=0)] | None = None

    @field_validator("to")
    @classmethod
    def _known_currency(cls, to: str) -> str:
        return _currency(to)

    @field_validator("rates", mode="before")
    @classmethod
    def _exact_rates(cls, rates: object) -> object:
        if not isinstance(rates, Mapping):
            if isinstance(rates, str) and rates:
                return rates
            raise PydanticCustomError("rates", "give a table of currency and rate, or the name of a rates table")
        try:
            return {_currency(str(code)): checked_rate(str(code), rate) for code, rate in rates.items()}
        except ConfigurationError as error:
            raise PydanticCustomError("rates", "{reason}", {"reason": error.message}) from error

    @model_validator(mode="after")
    def _dated_by_a_table(self) -> Convert:
        if self.date is not None and not isinstance(self.rates, str):
            raise PydanticCustomError("rates", "rates that stand in the book have no dates: name a table, or no date")
        if self.date is None and self.max_age is not None:
            raise PydanticCustomError("max_age", "say by which date rates are chosen: date = the name of an input")
        return self

    def inputs(self) -> frozenset[str]:
        """The date, if rates are dated."""
        return super().inputs() | ({self.date} if self.date is not None else set())

    def optional_inputs_with(self, tables: Columns) -> frozenset[str]:
        """The moment of knowledge, where the table may say when rates were known."""
        columns = tables.get(self.rates) if isinstance(self.rates, str) else ()
        return self.optional_inputs if columns is None or "known_from" in columns else frozenset()

    def rate_table(self) -> str | None:
        """The table's name, unless the rates stand in the book."""
        return self.rates if isinstance(self.rates, str) else None

    def dated(self) -> bool:
        """Whether it says of which day the rate was."""
        return self.date is not None

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The last days before holes between the rates that are too wide for `on_missing` and `max_age`."""
        if self.date is None:
            return
        reach = 0 if self.on_missing == "error" else self.max_age
        table = self._table(terms)
        if reach is None:
            return
        for code in table.currencies():
            days = table.days(code) if has_minor_units(code) and code != self.to else []
            for before, after in pairwise(days):
                if (after - before).days - 1 > reach:
                    last = before if self.on_missing == "next" else before + dt.timedelta(days=reach)
                    yield Edge(self.date, last, None, {"currency": code})
                    yield Edge(self.date, after, None, {"currency": code})

    def extremes(self, terms: Terms) -> Iterable[Extreme]:
        """A day long after the last rate, where no age is too high."""
        if self.date is None or self.max_age is not None or self.on_missing != "previous":
            return
        table = self._table(terms)
        known = [(table.days(code)[-1], code) for code in table.currencies() if has_minor_units(code)]
        for last, code in sorted(known)[-1:]:
            late = last + dt.timedelta(days=_LATE_DAYS)
            what = f"without max_age a rate is used however old it is, such as that of {last}"
            yield Extreme({"currency": code, self.date: late}, None, what)
        if not known:
            yield Extreme({self.date: _FAR}, None, "without max_age a rate is used however old it is")

    def example(self) -> dict[str, object]:
        """Any day: what is in the currency wanted needs no rate."""
        return super().example() | ({} if self.date is None else {self.date: dt.date(2026, 1, 1)})

    # The reference

    def apply(self, at: Rating) -> None:
        """Convert one item."""
        rate, day = self._rate(at)
        divides = self.direction == "divide"

        def converted(amount: Decimal) -> Exact:
            return Fraction(amount) / Fraction(rate) if divides else amount * rate

        at.convert(self.to, rate, converted, Wording(self._what(), at.net, rate), day)

    def _what(self) -> str:
        return f"to {self.to}{DIVIDED}" if self.direction == "divide" else f"to {self.to}, times the rate"

    def _rate(self, at: Rating) -> tuple[Decimal, dt.date | None]:
        table = self._table(at.terms)
        table = table.as_of(at.known()) if table.known else table
        self._check_own(table)
        day = at.day(self.date) if self.date is not None else None
        if at.currency == self.to:
            return Decimal(1), day
        if day is None:
            rate = table.rate(at.currency) if has_minor_units(at.currency) else None
            if rate is None:
                raise at.error(f'{NO_RATE} "{at.currency}" to {self.to}')
            return rate, None
        found = table.on(at.currency, day, self.on_missing) if has_minor_units(at.currency) else None
        if found is None:
            raise at.error(f'{NO_RATE} "{at.currency}" to {self.to} on {day}')
        if self.max_age is not None and abs((day - found[1]).days) > self.max_age:
            age = abs((day - found[1]).days)
            raise at.error(
                f'{NO_RATE} "{at.currency}" to {self.to} on {day}: the nearest is of {found[1]}, '
                f"{age} days away, and {self.max_age} are allowed"
            )
        window = table.window(at.currency, found[1], self.on_missing, self.max_age)
        at.hold(days_window(window, at.terms.zone))
        return found

    def _table(self, terms: Terms) -> RatesTable:
        table = terms.table(self.rates) if isinstance(self.rates, str) else RatesTable(dict(self.rates))
        if table.dated != (self.date is not None):
            raise ConfigurationError(
                f"the rates {self.rates} are dated: say by which input, date = ..."
                if table.dated
                else f"the rates {self.rates} have no column valid_from, and the book wants dated ones"
            )
        return table

    def _check_own(self, table: RatesTable) -> None:
        """Rates are quoted against the target: its own can only be 1."""
        own = {table.rate(self.to)} if not table.dated else set(table.of(self.to))
        wrong = [rate for rate in own if rate is not None and rate != 1]
        if wrong:
            raise ConfigurationError(
                f"the rate of {self.to} is {wrong[0]}, so the rates are not quoted against {self.to}: convert to the "
                "currency that they are quoted against"
            )

    # The twin

    def open_expr(self, at: BatchRating) -> None:
        """Look for the rates before anything is computed."""
        table = self._known(at)
        self._check_own(table)
        known = [code for code in table.currencies() if has_minor_units(code)]
        if self.date is None:
            rates = {code: rate for code in known if (rate := table.rate(code)) is not None}
            at.admit(rates | {self.to: Decimal(1)})
        else:
            at.open_grid(dict.fromkeys([*known, self.to]))

    def apply_expr(self, at: BatchRating) -> None:
        """Convert each row."""
        rate, day = (at.rate, None) if self.date is None else self._dated_rate(at, self.date)
        operation = at.quotient if self.direction == "divide" else at.product

        def converted(amount: Scaled) -> Amount:
            return operation(amount, rate)

        at.convert(self.to, rate, converted, Note(self._what(), at.sums.net, rate), day)

    def _known(self, at: BatchRating) -> RatesTable:
        """The table as it was known; where that differs between rows, the last known."""
        table = self._table(at.terms)
        if not table.known or at.known() is None:
            return table.as_of(at.terms.known_at)
        if self.date is None or len(table.known) > _MOST_VERSIONS:
            at.doubt(pl.lit(value=True))
        return table

    def _versions(self, at: BatchRating) -> tuple[pl.DataFrame, pl.Expr]:
        """The rates of each version of the table, and which version each row goes by."""
        table = self._known(at)
        known = at.known() if table.known else None
        if known is None or len(table.known) > _MOST_VERSIONS:
            return self._rates_of(table, at.terms).with_columns(pl.lit(0).alias(_VERSION)), pl.lit(0)
        versions = list(table.versions())
        for one in versions:
            self._check_own(one)
        frames = [
            self._rates_of(one, at.terms).with_columns(pl.lit(number).alias(_VERSION))
            for number, one in enumerate(versions)
        ]
        reached = pl.sum_horizontal([(known >= moment).cast(pl.Int32) for moment in table.known])
        return pl.concat(frames), at.keep(pl.when(known.is_null()).then(pl.lit(len(table.known))).otherwise(reached))

    def _rates_of(self, table: RatesTable, terms: Terms) -> pl.DataFrame:
        return table.windows(self.on_missing, self.max_age, terms.zone) if terms.resolves else table.frame()

    def _dated_rate(self, at: BatchRating, date: str) -> tuple[Scaled, pl.Expr]:
        day = at.day(date)
        rates, version = self._versions(at)
        grid = _every_day(rates, self.on_missing)
        currency = pl.lit(at.currency) if isinstance(at.currency, str) else at.currency
        # Beyond the last day (before the first) the rate is that day's, as far as max_age allows.
        days = grid["day"]
        edge = day if self.on_missing == "error" else day.clip(pl.lit(days.min()), pl.lit(days.max()))
        found = at.join(grid, {"currency": currency, _VERSION: version, "day": edge})
        home = currency == self.to
        age = (day - found["valid_from"]).dt.total_days()
        wrong_side = age < 0 if self.on_missing != "next" else age > 0
        at.doubt(~home & (found["rate"].is_null() | wrong_side.fill_null(value=True)))
        if self.max_age is not None:
            at.doubt(~home & (age.abs() > self.max_age).fill_null(value=True))
        units = found["rate"].reinterpret(dtype=pl.Int128)
        one = Scaled.literal(Decimal(1))
        rate = at.chosen(home, one, Scaled(units, RATE_PLACES))
        if at.terms.resolves:
            at.hold(*(pl.when(~home).then(found[name]) for name in WINDOW))
        return rate, at.keep(pl.when(home).then(day).otherwise(found["valid_from"]))


def _every_day(frame: pl.DataFrame, missing: str) -> pl.DataFrame:
    """Each currency's rate on each day between the first and the last: currency, version, day, rate, valid_from."""
    dated = frame.select("currency", pl.col("valid_from").alias("day"), pl.exclude("currency"))
    if missing == "error" or not dated.height:
        return dated
    days = dated.select(pl.date_range(pl.col("day").min(), pl.col("day").max()).alias("day"))
    by = ["currency", _VERSION]
    currencies = dated.select(by).unique(maintain_order=True)
    if days.height * currencies.height > _MOST_DAYS:
        raise ConfigurationError(
            f"rates of {currencies.height} currencies over {days.height} days are too many: leave some out"
        )
    grid = currencies.join(days, how="cross").sort("day")
    strategy: Literal["backward", "forward"] = "backward" if missing == "previous" else "forward"
    made = grid.join_asof(dated.sort("day"), on="day", by=by, strategy=strategy, check_sortedness=False)
    return made.filter(pl.col("rate").is_not_null())


def _currency(code: str) -> str:
    try:
        minor_units(code)
    except ConfigurationError as error:
        raise PydanticCustomError("currency", "{reason}", {"reason": error.message}) from error
    return code
