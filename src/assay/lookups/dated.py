"""Dated lookups: what held at a moment, as far as it was known at another."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Protocol

import polars as pl

from assay.errors import ConfigurationError, LookupFailed
from assay.lookups.protocol import Answer, LookupContext, LookupStats, need_keys
from assay.lookups.registry import LookupFactory
from assay.lookups.table import content_hash, see_unique

WhenMissing = Literal["previous", "next", "error"]

_AT: Final = "__at"
_ENDS: Final = "valid_to"
_FROM: Final = "__from"


class Readable(Protocol):
    """A lookup that can be read whole: `Table`, `SqlTable`, `EcbRates`."""

    @property
    def name(self) -> str:
        """What rejects and reports call it."""
        ...

    def columns(self) -> pl.Schema:
        """Its columns."""
        ...

    def read(self, context: LookupContext) -> pl.DataFrame:
        """All of its rows."""
        ...


@LookupFactory.register("dated")
@dataclass(frozen=True)
class Dated:
    """A table whose rows hold from a moment on: until the next of the same key, or until `valid_to`, which is no longer
    part of it (half-open).

    Args:
        source: A lookup that can be read whole.
        missing: Where no row begins on the very day (or at the very instant) asked for: "previous", the last one that
            began before; "next", the first one after; "error", none.
        max_age_days: How far off that row may be, in calendar days of `zone`; a row farther off is none. None: any.
        valid_from: The column of dates (or instants with a zone) from which on a row holds.
        valid_to: The column of ends; a null is open. None: "valid_to" where there is a column of this name, else none.
        known_from: The column of instants since when a row is known; several rows of the same key and `valid_from`
            are corrections, of which the last known counts. None: all is known.
        known_at: What is known at this moment counts; None: all.
        zone: Where an instant becomes a day; to be given where that is done: the one of the moment asked for and
            `valid_from` is an instant and the other a day, or `max_age_days` counts between instants.
    """  # noqa: D205 - the summary needs two lines

    source: Readable
    missing: WhenMissing = "previous"
    max_age_days: int | None = None
    valid_from: str = "valid_from"
    valid_to: str | None = None
    known_from: str | None = None
    known_at: dt.datetime | None = None
    zone: str | None = None
    dated: ClassVar[bool] = True

    def __post_init__(self) -> None:
        where = f"lookup {self.name}"
        if not callable(getattr(self.source, "read", None)):
            raise ConfigurationError(
                f"{type(self.source).__name__} cannot be read whole, so that it cannot be dated; a table of a file, "
                "a frame or a database can",
                where=where,
            )
        if self.missing not in ("previous", "next", "error"):
            raise ConfigurationError(f'missing is "previous", "next" or "error", not {self.missing!r}', where=where)
        if self.max_age_days is not None and self.max_age_days < 0:
            raise ConfigurationError(f"max_age_days must not be under 0, not {self.max_age_days}", where=where)
        if self.known_at is not None and (self.known_from is None or self.known_at.tzinfo is None):
            raise ConfigurationError("known_at needs known_from, and a zone", where=where)
        try:
            zoneinfo.ZoneInfo(self.zone or "UTC")
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise ConfigurationError(f'there is no time zone "{self.zone}"', where=where) from None

    @property
    def name(self) -> str:
        """That of the source."""
        return self.source.name

    def columns(self) -> pl.Schema:
        """Those of the source."""
        return self.source.columns()

    @property
    def ends(self) -> str | None:
        """The column of ends, named or not."""
        return self.valid_to if self.valid_to is not None or _ENDS not in self.columns() else _ENDS

    def see_moment(self, column: str, dtype: pl.DataType) -> None:
        """See that a column of the records can be asked with.

        Raises:
            ConfigurationError: it is no moment, or the zone matters and is not given.
        """
        see_moment(self.name, column, dtype)
        begins = self.columns().get(self.valid_from)
        if self.zone is not None or begins is None or not _is_moment(begins):
            return
        where = f"lookup {self.name}"
        if (dtype == pl.Date) != (begins == pl.Date):
            instant, day = (self.valid_from, column) if dtype == pl.Date else (column, self.valid_from)
            raise ConfigurationError(
                f"{instant} is an instant and {day} a day: say in which zone a day begins, such as "
                'Dated(..., zone="Europe/Berlin")',
                where=where,
            )
        if self.max_age_days is not None and begins != pl.Date:
            raise ConfigurationError(
                f"max_age_days counts days between the instants {self.valid_from} and {column}: say in which zone, "
                'such as Dated(..., zone="Europe/Berlin")',
                where=where,
            )

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenDated:
        """Read the table and see that no two rows of a key begin at the same moment."""
        schema = self.columns()
        keys = list(on[:-1])
        need_keys(self.name, [*keys, self.valid_from, *filter(None, (self.ends, self.known_from))], schema)
        where = f"lookup {self.name}"
        if self.missing == "next" and self.ends is not None:
            raise ConfigurationError(
                f'{self.ends} ends a row, and missing="next" begins it early: choose one', where=where
            )
        if on[-1] in schema:
            raise ConfigurationError(f"{on[-1]} is a column of the table as well; name the moment apart", where=where)
        for column in filter(None, (self.valid_from, self.ends)):
            if not _is_moment(schema[column]):
                raise ConfigurationError(f"{column} is {schema[column]}; a date, or a time with its zone", where=where)
        if self.known_from is not None and not (
            _is_moment(schema[self.known_from]) and schema[self.known_from] != pl.Date
        ):
            raise ConfigurationError(
                f"{self.known_from} is {schema[self.known_from]}; a time with its zone", where=where
            )
        if self.ends is not None and schema[self.ends] != schema[self.valid_from]:
            raise ConfigurationError(f"{self.ends} and {self.valid_from} are of different types", where=where)
        return OpenDated(self, self.source.read(context), keys, on[-1])


class OpenDated:
    """A dated table in memory.

    Raises:
        LookupFailed: two rows of a key begin at the same moment (and are known from the same), or one ends before.
    """

    def __init__(self, definition: Dated, frame: pl.DataFrame, keys: Sequence[str], at: str) -> None:
        self.stats = LookupStats()
        self._definition = definition
        # Where it matters, it was given: `Dated.see_moment`.
        self._zone = definition.zone or "UTC"
        self._keys = list(keys)
        self._at = at
        self._whole = frame
        begin, end, known = definition.valid_from, definition.ends, definition.known_from
        moments = [begin, *([known] if known else [])]
        for column in moments:
            lacking = frame.filter(pl.col(column).is_null())
            if lacking.height:
                key = " / ".join(map(str, lacking.select(keys).row(0))) if keys else "the table"
                raise LookupFailed(
                    f"lookup {definition.name}: a row of {key} has no {column}: say from when on, however early"
                )
        see_unique(definition.name, frame, [*keys, *moments])
        self._unique = [*keys, *moments]
        if end is not None:
            empty = frame.filter(pl.col(end) <= pl.col(begin))
            if empty.height:
                key = " / ".join(map(str, empty.select(*keys, begin).row(0)))
                raise LookupFailed(f"lookup {definition.name}: the row of {key} ends before it begins, or as it does")
        if known is not None:
            if definition.known_at is not None:
                frame = frame.filter(pl.col(known) <= definition.known_at)
            frame = frame.sort(known).unique([*keys, begin], keep="last", maintain_order=True)
        self._frame = frame.with_columns(pl.col(begin).alias(_FROM)).sort(_FROM)

    @property
    def fingerprint(self) -> str:
        """Hash of its rows by key and moment, of those not known yet as well."""
        return content_hash(self._whole, self._unique)

    def answer(self, keys: pl.DataFrame) -> Answer:
        """The rows that held at the moments asked for."""
        definition = self._definition
        definition.see_moment(self._at, keys.schema[self._at])
        asked = keys.with_columns(self.moment(self._at, keys.schema[self._at]).alias(_AT)).sort(_AT)
        if definition.missing == "error":
            found = asked.join(self._frame, left_on=[*self._keys, _AT], right_on=[*self._keys, _FROM], how="inner")
            found = found.with_columns(pl.col(_AT).alias(_FROM))
        else:
            backward = definition.missing == "previous"
            found = asked.join_asof(
                self._frame,
                left_on=_AT,
                right_on=_FROM,
                by=self._keys or None,
                strategy="backward" if backward else "forward",
                coalesce=False,
                # Both are sorted above, by the moment alone, which is what an as-of join by groups wants.
                check_sortedness=False,
            ).filter(pl.col(_FROM).is_not_null())
        if definition.ends is not None:
            found = found.filter(pl.col(definition.ends).is_null() | (pl.col(_AT) < pl.col(definition.ends)))
        if definition.max_age_days is not None:
            age = (self._day(_AT) - self._day(_FROM)).dt.total_days().abs()
            found = found.filter(age <= definition.max_age_days)
        return Answer(found.drop(_AT, _FROM))

    def close(self) -> None:
        """A table in memory holds nothing."""

    def moment(self, column_name: str, dtype: pl.DataType) -> pl.Expr:
        """What is asked for by a column of this type, in the type of `valid_from`."""
        wanted = self._frame.schema[_FROM]
        column = pl.col(column_name)
        if wanted == pl.Date:
            return column if dtype == pl.Date else column.dt.convert_time_zone(self._zone).dt.date()
        if dtype == pl.Date:
            return self._midnight(column).cast(wanted)
        return column.cast(wanted)

    def _midnight(self, day: pl.Expr) -> pl.Expr:
        """When a day begins. Where clocks go forward at midnight there is none: then at the first instant after."""
        zone = self._zone
        naive = day.cast(pl.Datetime("us"))
        made = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        # Noon before is a time that is; the night between is shorter by what the clocks jump.
        noon = (naive - pl.duration(hours=12)).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return pl.coalesce(made, noon + pl.duration(hours=12)).dt.convert_time_zone("UTC")

    def _day(self, column: str) -> pl.Expr:
        if self._frame.schema[_FROM] == pl.Date:
            return pl.col(column)
        return pl.col(column).dt.convert_time_zone(self._zone).dt.date()


def _is_moment(dtype: pl.DataType) -> bool:
    return dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is not None)


def see_moment(name: str, column: str, dtype: pl.DataType) -> None:
    """Raise a ConfigurationError where a column of the records is no moment."""
    if not _is_moment(dtype):
        raise ConfigurationError(f"{column} is {dtype}; a date, or a time with its zone", where=f"lookup {name}")
