"""Days and instants: what a date or a datetime is in the calendar of the book's time zone."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from assay.errors import ConfigurationError

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

Window = tuple[int | None, int | None]
"""From when, and until when (no longer part of it), in microseconds since the epoch; None is open."""

Days = tuple[dt.date | None, dt.date | None]
"""From which day, and to which (not included); None is open."""


@lru_cache(maxsize=256)
def zone_info(name: str) -> ZoneInfo:
    """The time zone of an IANA name, such as Europe/Berlin.

    Raises:
        ConfigurationError: There is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(f'no time zone "{name}"; write an IANA name such as Europe/Berlin') from error


def local_day(moment: dt.date, zone: str | None, name: str) -> dt.date:
    """The day of a date or datetime in the zone; a datetime without a zone is in the book's.

    Raises:
        ConfigurationError: It has a zone, and the book has none.
    """
    if not isinstance(moment, dt.datetime):
        return moment
    if moment.tzinfo is None:
        return moment.date()
    if zone is None:
        raise ConfigurationError(_no_zone(name))
    return moment.astimezone(zone_info(zone)).date()


def local_day_expr(column: pl.Expr, dtype: pl.DataType, zone: str | None, name: str) -> pl.Expr:
    """The twin of `local_day`: Date.

    Raises:
        ConfigurationError: The column is no Date or Datetime, or has a zone, and the book has none.
    """
    if isinstance(dtype, pl.Date):
        return column
    if not isinstance(dtype, pl.Datetime):
        raise ConfigurationError(f"the column is {dtype}, not a Date or a Datetime", where=f"input {name}")
    if dtype.time_zone is None:
        return column.dt.date()
    if zone is None:
        raise ConfigurationError(_no_zone(name))
    return column.dt.convert_time_zone(zone).dt.date()


def instant(moment: dt.date, zone: str | None) -> int:
    """Microseconds since the epoch: a date is its first moment; what has no zone is in the book's, else in UTC.

    Of a time that clocks show twice, the first is meant.
    """
    at = moment if isinstance(moment, dt.datetime) else dt.datetime.combine(moment, dt.time())
    if at.tzinfo is None:
        at = at.replace(tzinfo=dt.UTC if zone is None else zone_info(zone), fold=0)
    return (at - _EPOCH) // _MICROSECOND


def instant_expr(column: pl.Expr, dtype: pl.DataType, zone: str | None) -> pl.Expr:
    """The twin of `instant`: Int64; null where clocks do not show such a time."""
    at = column if isinstance(dtype, pl.Datetime) else column.cast(pl.Datetime("us"))
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        at = at.dt.replace_time_zone(zone or "UTC", ambiguous="earliest", non_existent="null")
    return at.dt.timestamp("us")


def read_moment(text: str) -> dt.date | None:
    """The day or time that a text in ISO 8601 says; None where it says none."""
    with suppress(ValueError):
        return dt.date.fromisoformat(text)
    with suppress(ValueError):
        return dt.datetime.fromisoformat(text)
    return None


def is_aware(moment: dt.date) -> bool:
    """Whether it is a datetime with a zone: the same instant everywhere."""
    return isinstance(moment, dt.datetime) and moment.tzinfo is not None


def known_instant(value: object, where: str) -> int:
    """Microseconds since the epoch of a datetime with a zone, or of its text in ISO 8601.

    Raises:
        ConfigurationError: It is something else, has no zone, or has no year in UTC that can be written.
    """
    moment = value
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            moment = value
    if not isinstance(moment, dt.datetime):
        shown = f'"{value}"' if isinstance(value, str) else f"a {type(value).__name__}"
        raise ConfigurationError(f'{shown} is no instant: write it as "2026-03-31T23:59:59Z"', where=where)
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"{moment.isoformat()} has no zone, and what was known when must not depend on where: write "
            f'"{moment.isoformat()}Z"',
            where=where,
        )
    try:
        moment.astimezone(dt.UTC)
    except OverflowError:
        raise ConfigurationError(
            f"{moment.isoformat()} is outside the years {dt.MINYEAR} to {dt.MAXYEAR} in UTC", where=where
        ) from None
    return (moment - _EPOCH) // _MICROSECOND


def shown_instant(at: int | None, zone: str | None) -> dt.datetime | None:
    """The instant as a datetime of the zone, or of UTC."""
    if at is None:
        return None
    return (_EPOCH + at * _MICROSECOND).astimezone(zone_info(zone or "UTC"))


def days_window(days: Days, zone: str | None) -> Window:
    """From the first moment of a day of the zone to the first of another; None is open."""
    start, end = days
    return (
        None if start is None or start.year == dt.MINYEAR else instant(start, zone),
        None if end is None or end.year == dt.MAXYEAR else instant(end, zone),
    )


def intersection(a: Window, b: Window) -> Window:
    """What is in both; where nothing is, it ends before it begins."""
    starts = [start for start in (a[0], b[0]) if start is not None]
    ends = [end for end in (a[1], b[1]) if end is not None]
    return max(starts, default=None), min(ends, default=None)


def _no_zone(name: str) -> str:
    return f'{name} has a time zone, and the book does not say in which its days begin: give zone = "Europe/Berlin"'
