"""Days and instants: what a date or a datetime is in the calendar of the book's time zone."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from assay.errors import ConfigurationError

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


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


def _no_zone(name: str) -> str:
    return f'{name} has a time zone, and the book does not say in which its days begin: give zone = "Europe/Berlin"'
