"""The rows of a price list, read from a frame or from mappings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Final

import polars as pl

from assay.errors import ConfigurationError, nearest
from assay.money import InexactNumberError, exact_decimal, plain
from assay.pricing.moments import instant, is_aware, known_instant, read_moment

MATCH: Final = ("contract", "customer", "customer_group", "channel", "product", "tax_category", "place", "currency")
"""The columns that say for what a row is, the most specific first; a null is anything."""

_MOMENTS: Final = ("valid_from", "valid_to", "known_from", "known_to")
OWN_COLUMNS: Final = frozenset({"id", *MATCH, "min_quantity", "max_quantity", "priority", *_MOMENTS})

# Many systems write an open end so.
_EVER, _FOR_EVER = dt.MINYEAR, dt.MAXYEAR

_TEXT: Final = (pl.String, pl.Enum, pl.Categorical)
# What a column of a frame may be besides whole numbers, where those may be; and in words.
_TYPES: Final[Mapping[str, tuple[tuple[type[pl.DataType], ...], str]]] = {
    **dict.fromkeys(MATCH, (_TEXT, "a String")),
    "id": (_TEXT, "a String or whole numbers"),
    "priority": ((), "whole numbers"),
    **dict.fromkeys(("min_quantity", "max_quantity"), ((pl.Decimal,), "a Decimal or whole numbers")),
    **dict.fromkeys(("valid_from", "valid_to"), ((pl.Date, pl.Datetime), "a Date or a Datetime")),
    **dict.fromkeys(("known_from", "known_to"), ((pl.Datetime,), "a Datetime with a zone")),
}
_WHOLE: Final = frozenset({"id", "priority", "min_quantity", "max_quantity"})


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One row of a price list.

    Attributes:
        number: Its place in the list, from 1.
        id: What names it.
        match: What it is for, a value a column of `MATCH`; None is anything.
        min_quantity: From so many on.
        max_quantity: Up to so many, inclusive; None: any.
        priority: Of several the largest counts.
        valid_from: From then on; None: from ever.
        valid_to: Before then; None: for ever.
        known_from: Since when it is known, in microseconds since the epoch; None: from ever.
        known_to: Before when it was: it was withdrawn then, or a later known row took its place.
        values: One a value column.
    """

    number: int
    id: str
    match: tuple[str | None, ...]
    min_quantity: Decimal
    max_quantity: Decimal | None
    priority: int
    valid_from: dt.date | None
    valid_to: dt.date | None
    known_from: int | None
    known_to: int | None
    values: tuple[Decimal | None, ...]

    @property
    def rank(self) -> tuple[tuple[bool, ...], Decimal, int]:
        """What decides between rows that fit: the larger counts."""
        return tuple(value is not None for value in self.match), self.min_quantity, self.priority

    @property
    def place(self) -> str:
        """Where it stands, for errors."""
        return f"row {self.number}" + (f' ("{self.id}")' if self.id != str(self.number) else "")

    def is_known(self, at: int | None) -> bool:
        """Whether it was known at a moment; None is the end of time, when the last word on each counts."""
        if at is None:
            return self.known_to is None
        return (self.known_from is None or self.known_from <= at) and (self.known_to is None or at < self.known_to)

    def reaches(self, quantity: Decimal | None) -> bool:
        """Whether it is for such a quantity; None where quantities do not count."""
        if quantity is None:
            return True
        return self.min_quantity <= quantity and (self.max_quantity is None or quantity <= self.max_quantity)

    def when(self) -> str:
        """When it is valid, in words: "from 2026-01-01 to 2026-04-01"; empty where it always is."""
        return window_text(self.valid_from, self.valid_to)


@dataclass(frozen=True, slots=True)
class PriceColumns:
    """What a price list is made of, checked by its types.

    Attributes:
        cells: Values by column.
        height: Number of rows.
    """

    cells: Mapping[str, Sequence[object]]
    height: int

    @classmethod
    def of(cls, rows: pl.DataFrame | Iterable[Mapping[str, object]]) -> PriceColumns:
        """Of a frame, or of mappings.

        Raises:
            ConfigurationError: A column is unknown, or of a type that it cannot be (also a TypeError for a float).
        """
        if isinstance(rows, pl.DataFrame):
            for name, dtype in rows.schema.items():
                _see_type(name, dtype)
            return cls({name: rows[name].to_list() for name in rows.columns}, rows.height)
        if not isinstance(rows, Iterable):
            raise ConfigurationError(f"prices come as a PriceList or a frame, not as a {type(rows).__name__}")
        given = list(rows)
        wrong = next((type(row).__name__ for row in given if not isinstance(row, Mapping)), None)
        if wrong is not None:
            raise ConfigurationError(f"a row of a price list is a mapping of columns to values, not a {wrong}")
        names = list(dict.fromkeys(name for row in given for name in row))
        return cls({name: [row.get(name) for row in given] for name in names}, len(given))

    @property
    def matches(self) -> tuple[str, ...]:
        """The columns of `MATCH` that there are."""
        return tuple(name for name in MATCH if name in self.cells)

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that hold prices or rates."""
        return tuple(name for name in self.cells if name not in OWN_COLUMNS)

    def rows(self) -> list[PriceRow]:
        """The rows, those that took the place of others told apart from these.

        Raises:
            ConfigurationError: With the row and the column.
        """
        return _superseded(list(self._parsed()), named="id" in self.cells)

    def _parsed(self) -> Iterator[PriceRow]:
        empty: list[object] = [None] * self.height
        own = {name: self.cells.get(name, empty) for name in OWN_COLUMNS}
        matches = [(name, own[name]) for name in MATCH]
        values = [(name, self.cells[name]) for name in self.values]
        for index in range(self.height):
            number = index + 1
            least = _number(own, "min_quantity", index) or Decimal(0)
            most = _number(own, "max_quantity", index)
            known_from, known_to = (_known(own, name, index) for name in ("known_from", "known_to"))
            if least < 0:
                raise _wrong(index, "min_quantity", f"{plain(least)} is below 0")
            if most is not None and most < least:
                raise _wrong(index, "max_quantity", f"{plain(most)} is below min_quantity, {plain(least)}")
            if known_from is not None and known_to is not None and known_to <= known_from:
                raise _wrong(index, "known_to", "is not after known_from: the row was never known")
            yield PriceRow(
                number=number,
                id=_id(own["id"][index], index) if "id" in self.cells else str(number),
                match=tuple(_text(column[index], index, name) for name, column in matches),
                min_quantity=least,
                max_quantity=most,
                priority=_priority(own["priority"][index], index),
                valid_from=_moment(own, "valid_from", index, _EVER),
                valid_to=_moment(own, "valid_to", index, _FOR_EVER),
                known_from=known_from,
                known_to=known_to,
                values=tuple(_number({name: column}, name, index) for name, column in values),
            )


def window_text(start: dt.date | None, end: dt.date | None) -> str:
    """A window in words."""
    parts = [f"from {start.isoformat()}" if start else "", f"to {end.isoformat()}" if end else ""]
    return " ".join(filter(None, parts))


def _see_type(name: str, dtype: pl.DataType) -> None:
    where = f"column {name}"
    if isinstance(dtype, pl.Null):
        return
    if dtype.is_float():
        raise InexactNumberError(f"it is {dtype}, and prices are never floats: read it as a Decimal", where=where)
    types, wanted = _TYPES.get(name, ((pl.Decimal,), ""))
    whole = dtype.is_integer() and (name in _WHOLE or name not in _TYPES)
    if whole or isinstance(dtype, types):
        if name.startswith("known") and isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
            raise ConfigurationError("it has no zone, and what was known when must not depend on where", where=where)
        return
    if wanted:
        raise ConfigurationError(f"it is {dtype}, not {wanted}", where=where)
    raise ConfigurationError(f"it is {dtype}, {_unknown(name)}", where=where)


def _unknown(name: str) -> str:
    near = nearest(name, OWN_COLUMNS)
    meant = f' (did you mean "{near}"?)' if near else ""
    return (
        f"and a price list has no such column{meant}: values are Decimals, {', '.join(MATCH)} say for what they are; "
        "leave others out"
    )


def _wrong(index: int, name: str, what: str) -> ConfigurationError:
    return ConfigurationError(what, where=f"row {index + 1}, {name}")


def _number(columns: Mapping[str, Sequence[object]], name: str, index: int) -> Decimal | None:
    value = columns[name][index]
    if value is None:
        return None
    try:
        return exact_decimal(value)
    except ConfigurationError as error:
        unknown = name not in OWN_COLUMNS and isinstance(value, str)
        what = f'"{value}" is no decimal, {_unknown(name)}' if unknown else error.message
        raise type(error)(what, where=f"row {index + 1}, {name}") from None


def _text(value: object, index: int, name: str) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    if value == "":
        raise _wrong(index, name, "is empty: a null says that the row is for any")
    raise _wrong(index, name, f"a {type(value).__name__} is no text")


def _id(value: object, index: int) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None:
        raise _wrong(index, "id", "is null: name every row, or none")
    return _text(value, index, "id") or ""


def _priority(value: object, index: int) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(index, "priority", f"a {type(value).__name__} is no whole number")
    return value


def _moment(columns: Mapping[str, Sequence[object]], name: str, index: int, open_year: int) -> dt.date | None:
    value = columns[name][index]
    if value is None:
        return None
    moment = read_moment(value) if isinstance(value, str) else value
    if not isinstance(moment, dt.date):
        shown = f'"{value}"' if isinstance(value, str) else f"a {type(value).__name__}"
        raise _wrong(index, name, f"{shown} is no date or datetime")
    return None if moment.year == open_year else moment


def _known(columns: Mapping[str, Sequence[object]], name: str, index: int) -> int | None:
    value = columns[name][index]
    if value is None or (isinstance(value, dt.date) and value.year in (_EVER, _FOR_EVER)):
        return None
    return known_instant(value, where=f"row {index + 1}, {name}")


def _same(row: PriceRow) -> object:
    """What rows without ids have in common that correct each other."""
    start = row.valid_from
    since = None if start is None else (instant(start, None), is_aware(start))
    return row.match, row.min_quantity, row.priority, since


def _superseded(rows: list[PriceRow], *, named: bool) -> list[PriceRow]:
    """Each row known until the next known of the same; see that no two are known from the same moment."""
    versions: dict[object, list[PriceRow]] = {}
    for row in rows:
        versions.setdefault(row.id if named else _same(row), []).append(row)
    made = list(rows)
    for same_rows in versions.values():
        if len(same_rows) == 1:
            continue
        ordered = sorted(same_rows, key=lambda row: (row.known_from is not None, row.known_from or 0))
        for row, after in pairwise(ordered):
            if row.known_from == after.known_from or after.known_from is None:
                twice = (
                    f'has the id "{row.id}" of row {row.number}'
                    if named
                    else f"is for the same as row {row.number}, from the same quantity and moment"
                )
                raise ConfigurationError(
                    f"{after.place} {twice}, and both are known from the same moment: keep one, or say by known_from "
                    "which corrects the other"
                )
            end = after.known_from if row.known_to is None else min(row.known_to, after.known_from)
            made[row.number - 1] = replace(row, known_to=end)
    return made
