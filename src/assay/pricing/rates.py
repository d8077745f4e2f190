"""Exchange rates as pricing needs them: a small protocol, and tables of them, dated or not."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Protocol, runtime_checkable

import polars as pl

from assay.errors import ConfigurationError
from assay.money import EXACT, exact_decimal
from assay.pricing.moments import Days, days_window

NO_RATE = "no rate from"
"""How the reason begins, after the step's id, for which a row without a rate is not priced; its currency follows."""

RATE_PLACES = 18
"""Decimal places of the column fx_rate; a rate has at most as many, and as many digits before the point."""

WINDOW = ("start", "end")
"""Columns of `RatesTable.windows`."""

# A table keeps as many of itself, as it was known at so many moments.
_KEPT = 16


@runtime_checkable
class Rates(Protocol):
    """Rates against one currency; which way they are quoted is the conversion's to say."""

    def frame(self) -> pl.DataFrame:
        """All of them: columns currency (String) and rate (Decimal), each currency once.

        If they are dated also valid_from (Date), each currency and day once; if they were corrected also known_from
        (Datetime with a zone), each once more.
        """
        ...


class RatesTable:
    """Rates from a mapping or a frame.

    Args:
        rates: `{"USD": "1.0557", ...}` (strings or Decimals), or a frame with the columns currency and rate and, if
            they are dated, valid_from (Date): the day from which the rate holds until the next. With known_from
            (Datetime with a zone; null is from ever) rows of the same currency and day are corrections: the last known
            counts.

    Raises:
        ConfigurationError: A currency (and day) stands there twice, a rate is a float, not above 0, or has too many
            digits.
    """

    def __init__(self, rates: Mapping[str, str | int | Decimal] | pl.DataFrame) -> None:
        self.dated = isinstance(rates, pl.DataFrame) and "valid_from" in rates.columns
        self.known: list[int] = []
        self._windows: dict[object, pl.DataFrame] = {}
        self._rates: dict[str, Decimal] = {}
        self._days: dict[str, list[dt.date]] = {}
        self._by_day: dict[str, list[Decimal]] = {}
        if isinstance(rates, pl.DataFrame) and "known_from" in rates.columns:
            self._versions = _versions(rates, dated=self.dated)
            self._as_of: dict[int, RatesTable] = {}
            self.known = self._versions["known_from"].drop_nulls().unique().sort().to_list()
            rates = self._known_by(len(self.known))
        if isinstance(rates, pl.DataFrame) and self.dated:
            self._fill(rates)
            return
        pairs = _pairs(rates) if isinstance(rates, pl.DataFrame) else rates.items()
        for currency, rate in pairs:
            if currency in self._rates:
                raise ConfigurationError(f"two rates for {currency}: keep one of them (one day, one type)")
            self._rates[currency] = checked_rate(currency, rate)

    def as_of(self, known: int | None) -> RatesTable:
        """The rates as they were known at a moment, in microseconds since the epoch; None: the last known of each."""
        number = len(self.known) if known is None else bisect_right(self.known, known)
        if number == len(self.known):
            return self
        if number not in self._as_of:
            while len(self._as_of) >= _KEPT:
                self._as_of.pop(next(iter(self._as_of)))
            self._as_of[number] = RatesTable(self._known_by(number))
        return self._as_of[number]

    def versions(self) -> Iterator[RatesTable]:
        """The table as it was known at first, and after each moment of `known`."""
        for number in range(len(self.known) + 1):
            yield self if number == len(self.known) else RatesTable(self._known_by(number))

    def windows(self, missing: str, max_age: int | None, zone: str | None) -> pl.DataFrame:
        """The frame of a dated table, and from when to when each rate counts: `WINDOW`, as `moments.Window`."""
        key = (missing, max_age, zone)
        if key not in self._windows:
            frame = self.frame()
            windows = [
                days_window(self.window(currency, day, missing, max_age), zone)
                for currency, day in frame.select("currency", "valid_from").iter_rows()
            ]
            ends = ([window[place] for window in windows] for place in (0, 1))
            columns = [pl.Series(name, values, dtype=pl.Int64) for name, values in zip(WINDOW, ends, strict=True)]
            self._windows[key] = frame.with_columns(columns)
        return self._windows[key]

    def _known_by(self, number: int) -> pl.DataFrame:
        """The last rate of each currency and day of those known by the first so many moments."""
        known = pl.col("known_from").is_null()
        if number:
            known |= pl.col("known_from") <= self.known[number - 1]
        keys = ["currency", "valid_from"] if self.dated else ["currency"]
        versions = self._versions.filter(known).sort("known_from", nulls_last=False, maintain_order=True)
        return versions.unique(keys, keep="last", maintain_order=True).drop("known_from")

    def _fill(self, frame: pl.DataFrame) -> None:
        if frame.schema["valid_from"] != pl.Date():
            raise ConfigurationError(f"valid_from is {frame.schema['valid_from']}, not a Date")
        if frame["valid_from"].null_count():
            raise ConfigurationError("a valid_from is null: leave such rows out")
        for (currency, rate), day in zip(_pairs(frame.sort("valid_from")), frame["valid_from"].sort(), strict=True):
            days = self._days.setdefault(currency, [])
            if days and days[-1] == day:
                raise ConfigurationError(f"two rates for {currency} from {day}: keep one of them")
            days.append(day)
            self._by_day.setdefault(currency, []).append(checked_rate(currency, rate))

    def frame(self) -> pl.DataFrame:
        """All rates, in the order given: currency (String), rate (Decimal(38, 18)), and valid_from where dated."""
        number = pl.Decimal(38, RATE_PLACES)
        if not self.dated:
            return pl.DataFrame(
                {"currency": list(self._rates), "rate": list(self._rates.values())},
                schema={"currency": pl.String, "rate": number},
            )
        rows = [
            (currency, day, rate)
            for currency, days in self._days.items()
            for day, rate in zip(days, self._by_day[currency], strict=True)
        ]
        schema = pl.Schema({"currency": pl.String(), "valid_from": pl.Date(), "rate": number})
        return pl.DataFrame(rows, schema=schema, orient="row")

    def rate(self, currency: str) -> Decimal | None:
        """The rate of one currency; None where there is none."""
        return self._rates.get(currency)

    def of(self, currency: str) -> list[Decimal]:
        """All rates of one currency, of a dated table."""
        return self._by_day.get(currency, [])

    def days(self, currency: str) -> list[dt.date]:
        """The days of one currency's rates, in order, of a dated table."""
        return self._days.get(currency, [])

    def currencies(self) -> list[str]:
        """All that have a rate."""
        return list(self._days if self.dated else self._rates)

    def on(self, currency: str, day: dt.date, missing: str) -> tuple[Decimal, dt.date] | None:
        """The rate of a day, and the day it is of.

        Args:
            currency: Whose.
            day: Which.
            missing: Where there is none from that very day: "previous" takes the last before, "next" the first after,
                "error" none.
        """
        days = self._days.get(currency, [])
        index = bisect_left(days, day) if missing == "next" else bisect_right(days, day) - 1
        if not 0 <= index < len(days) or (missing == "error" and days[index] != day):
            return None
        return self._by_day[currency][index], days[index]

    def window(self, currency: str, day: dt.date, missing: str, max_age: int | None) -> Days:
        """The days on which the rate of a day is the one that `on` finds: from, and to (not included); None is open."""
        days = self._days[currency]
        index = bisect_left(days, day)
        before = days[index - 1] if index else None
        after = days[index + 1] if index + 1 < len(days) else None
        if missing == "error":
            return day, _later(day, 1)
        if missing == "next":
            start = None if before is None else _later(before, 1)
            oldest = None if max_age is None else _later(day, -max_age)
            return max(filter(None, (start, oldest)), default=None), _later(day, 1)
        oldest = None if max_age is None else _later(day, max_age + 1)
        return day, min(filter(None, (after, oldest)), default=None)

    def __repr__(self) -> str:
        count = sum(map(len, self._days.values())) if self.dated else len(self._rates)
        return f"RatesTable({count} rates)"


def as_table(rates: Rates | Mapping[str, str | int | Decimal] | pl.DataFrame) -> RatesTable:
    """Any kind of rates as a table."""
    if isinstance(rates, RatesTable):
        return rates
    if isinstance(rates, pl.DataFrame | Mapping):
        return RatesTable(rates)
    if not isinstance(rates, Rates):
        raise ConfigurationError(f"rates come as a table of currency and rate, not as a {type(rates).__name__}")
    return RatesTable(rates.frame())


def checked_rate(currency: str, rate: object) -> Decimal:
    """The rate, if a conversion can use it.

    Raises:
        ConfigurationError: It is a float, not above 0, or has more than 18 digits before or behind the point.
    """
    try:
        number = exact_decimal(rate)
    except ConfigurationError as error:
        raise type(error)(f"rate of {currency}: {error.message}") from None
    if number <= 0:
        raise ConfigurationError(f"rate of {currency}: {number} is not above 0")
    if number.adjusted() >= RATE_PLACES or places(number) > RATE_PLACES:
        raise ConfigurationError(
            f"rate of {currency}: {number} has more than {RATE_PLACES} digits before or behind the point"
        )
    return number


def places(rate: Decimal) -> int:
    """Decimal places that the rate needs."""
    exponent = rate.normalize(EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _later(day: dt.date, days: int) -> dt.date | None:
    """So many days later; None where calendars end before."""
    try:
        return day + dt.timedelta(days=days)
    except OverflowError:
        return None


def _versions(frame: pl.DataFrame, *, dated: bool) -> pl.DataFrame:
    """The frame, known_from in microseconds since the epoch; see that no two rates are known from the same moment."""
    dtype = frame.schema["known_from"]
    if not (isinstance(dtype, pl.Datetime) and dtype.time_zone is not None) and not isinstance(dtype, pl.Null):
        raise ConfigurationError(
            f"known_from is {dtype}, not a Datetime with a zone: what was known when must not depend on where"
        )
    made = frame.with_columns(pl.col("known_from").cast(pl.Datetime("us", "UTC")).dt.timestamp("us"))
    keys = ["currency", "valid_from", "known_from"] if dated else ["currency", "known_from"]
    twice = made.group_by(keys).len().filter(pl.col("len") > 1)
    if twice.height:
        row = twice.sort(keys).row(0, named=True)
        of = f" of {row['valid_from']}" if dated else ""
        raise ConfigurationError(
            f"two rates for {row['currency']}{of} are known from the same moment: keep one of them"
        )
    return made


def _pairs(frame: pl.DataFrame) -> Iterable[tuple[str, object]]:
    lacking = [name for name in ("currency", "rate") if name not in frame.columns]
    if lacking:
        raise ConfigurationError(
            f"rates need the columns currency and rate; there is no {' and no '.join(lacking)} among {frame.columns}"
        )
    if frame.select("currency", "rate").null_count().sum_horizontal().item():
        raise ConfigurationError("a currency or a rate is null: leave such rows out")
    return zip(frame["currency"].cast(pl.String), frame["rate"], strict=True)
