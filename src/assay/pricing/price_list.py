"""Price lists: prices or rates, and for whom, for how many, when they hold, and since when that is known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import polars as pl

from assay.errors import ConfigurationError
from assay.money import EXACT, MAX_DIGITS, MAX_UNITS
from assay.pricing.list_files import ListFile
from assay.pricing.moments import Window, instant, is_aware, zone_info
from assay.pricing.price_index import PriceIndex
from assay.pricing.price_rows import MATCH, PriceColumns, PriceRow
from assay.pricing.rates import places

ID: Final = "__id"
START: Final = "__start"
END: Final = "__end"
NAMED: Final = "__named"
"""Columns of what a row says: what names it, its window, and whether it names a currency."""
TOLD: Final = "__told"

# A list keeps as many of them: as it was known at so many moments.
_INDEXES = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """What a price is wanted for.

    Attributes:
        names: A value a column of `MATCH`, or None.
        at: When, in microseconds since the epoch; None where windows do not count.
        quantity: How many, 0 or more; None where that does not count.
        known: As far as it was known then; None: all that the list says.
    """

    names: tuple[str | None, ...]
    at: int | None
    quantity: Decimal | None
    known: int | None


class PriceList:
    """Prices or rates, and for whom, for how many, when they hold.

    Columns, all but the values optional:

    - contract, customer, customer_group, channel, product, tax_category, place, currency (String): what a row is for;
      null is anything. The most specific row counts: one that names a contract before one that names a customer, and
      so on in this order.
    - min_quantity and max_quantity (Decimal or integer, both inclusive): of several breaks that a quantity reaches the
      highest counts.
    - priority (integer, default 0): of rows that are alike in this the largest counts; where that is the same, too,
      there is no price, but an error that names both.
    - valid_from and valid_to (Date or Datetime): half-open; null is open, and so are the years 1 and 9999. Days and
      times without a zone are in `zone`, or else in the book's; a day begins when clocks first show its midnight.
    - known_from and known_to (Datetime with a zone): when the row was known. Without known_to it is known until one of
      the same id (without ids: for the same, from the same quantity and day, of the same priority) is known later.
    - id (String or integer): what receipts and errors call a row; by default its number, from 1.
    - values (Decimal or integer): all others, such as unit_price, flat_fee, tax_rate.

    Args:
        rows: A frame, or mappings of columns to values, in which decimals and moments may be texts.
        zone: IANA name of the time zone of days and of times without a zone.

    Attributes:
        rows: In the order given.
        matches: The columns there are that say what a row is for.
        values: The columns of values.
        sizes: Decimal places of each, and what its units do not exceed.
        dated: Whether a row has a window.
        breaks: Whether a row is for some quantities only.
        known: Whether a row was not always known.

    Raises:
        ConfigurationError: A column is unknown or of a wrong type, a value a float (also a TypeError), a window is
            empty, a row stands there twice; with the row.
    """

    def __init__(self, rows: pl.DataFrame | Iterable[Mapping[str, object]], *, zone: str | None = None) -> None:
        columns = PriceColumns.of(rows)
        self.zone = zone if zone is None else zone_info(zone).key
        self.matches, self.values = columns.matches, columns.values
        if not self.values:
            raise ConfigurationError("a price list has a column of Decimals at least, such as unit_price")
        self.rows = columns.rows()
        moments = [at for row in self.rows for at in (row.valid_from, row.valid_to) if at is not None]
        self.dated = bool(moments)
        self.aware = any(map(is_aware, moments))
        self.wall = not all(map(is_aware, moments))
        self.breaks = any(row.min_quantity or row.max_quantity is not None for row in self.rows)
        self.known = any(row.known_from is not None or row.known_to is not None for row in self.rows)
        self._see_windows()
        self.sizes = {name: self._size(number, name) for number, name in enumerate(self.values)}
        self._windows: dict[str | None, list[Window]] = {}
        self._frames: dict[str | None, pl.DataFrame] = {}
        self._texts: dict[object, pl.Series] = {}
        self._indexes: dict[tuple[str | None, int | None, bool], PriceIndex] = {}
        self._by_match: dict[tuple[str | None, ...], list[PriceRow]] = {}
        for row in self.rows:
            self._by_match.setdefault(row.match, []).append(row)
        self.masks = sorted({tuple(value is not None for value in match) for match in self._by_match}, reverse=True)

    @classmethod
    def load(cls, path: str | Path, *, zone: str | None = None) -> Self:
        """Read a list from a .csv, .tsv, .json, .jsonl, .ndjson or .parquet file.

        Columns that are none of a list's, and in which no row has a decimal, are left out.

        Raises:
            ConfigurationError: With the file, and the line or the row.
        """
        file = ListFile.read(Path(path))
        with file.named():
            return cls(file.rows, zone=zone)

    @cached_property
    def names(self) -> tuple[frozenset[str | None], ...]:
        """All that rows name, by column of `MATCH`; None where a row is for any."""
        columns = zip(*(row.match for row in self.rows), strict=True) if self.rows else [()] * len(MATCH)
        return tuple(map(frozenset, columns))

    def windows(self, zone: str | None) -> list[Window]:
        """When each row is valid, by its number - 1, in a book of this zone."""
        own = self.zone or zone
        if own not in self._windows:
            self._windows[own] = [
                (
                    None if row.valid_from is None else instant(row.valid_from, own),
                    None if row.valid_to is None else instant(row.valid_to, own),
                )
                for row in self.rows
            ]
        return self._windows[own]

    def candidates(self, names: tuple[str | None, ...]) -> Iterator[PriceRow]:
        """All rows that are for this, whenever they hold and were known, the most specific first."""
        for mask in self.masks:
            key = tuple(name if named else None for name, named in zip(names, mask, strict=True))
            if all((name is not None) == named for name, named in zip(key, mask, strict=True)):
                yield from self._by_match.get(key, ())

    def resolve(self, asked: Asked, zone: str | None) -> list[PriceRow]:
        """The row that counts; several where they tie, none where none fits. The reference: it looks at all of them."""
        windows = self.windows(zone)
        fitting = [
            row
            for row in self.candidates(asked.names)
            if row.is_known(asked.known) and row.reaches(asked.quantity) and holds(windows[row.number - 1], asked.at)
        ]
        best = max((row.rank for row in fitting), default=None)
        return [row for row in fitting if row.rank == best]

    def index(self, zone: str | None, known: int | None, *, each_known: bool) -> PriceIndex:
        """The compiled twin of `resolve`.

        Args:
            zone: The book's.
            known: As far as what was known then all are priced; None: all of it.
            each_known: Whether each row says that itself.
        """
        asked = (self.zone or zone, None if each_known or not self.known else known, each_known and self.known)
        if asked not in self._indexes:
            while len(self._indexes) >= _INDEXES:
                self._indexes.pop(next(iter(self._indexes)))
            rows = self.rows if asked[2] else [row for row in self.rows if row.is_known(asked[1])]
            self._indexes[asked] = PriceIndex(rows, self.windows(zone), each_known=asked[2])
        return self._indexes[asked]

    def frame(self, zone: str | None) -> pl.DataFrame:
        """What each row says, in a book of this zone: `ID`, `START`, `END`, `NAMED` and its values."""
        own = self.zone or zone
        if own not in self._frames:
            windows, place = self.windows(zone), MATCH.index("currency")
            values = {
                name: pl.Series(
                    [row.values[number] for row in self.rows], dtype=pl.Decimal(MAX_DIGITS, self.sizes[name][0])
                )
                for number, name in enumerate(self.values)
            }
            self._frames[own] = pl.DataFrame(
                {
                    ID: pl.Series([row.id for row in self.rows], dtype=pl.String),
                    START: pl.Series([start for start, _ in windows], dtype=pl.Int64),
                    END: pl.Series([end for _, end in windows], dtype=pl.Int64),
                    NAMED: pl.Series([row.match[place] is not None for row in self.rows], dtype=pl.Boolean),
                    **values,
                }
            )
        return self._frames[own]

    def texts(self, key: object, word: Callable[[PriceRow], str]) -> pl.Series:
        """What is said of each row, made once for each key."""
        if key not in self._texts:
            self._texts[key] = pl.Series([word(row) for row in self.rows], dtype=pl.String)
        return self._texts[key]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"PriceList({len(self.rows)} rows: {', '.join(self.values)})"

    def _size(self, number: int, name: str) -> tuple[int, int]:
        """Decimal places of a value column, and what its units at so many places do not exceed."""
        values = [value for row in self.rows if (value := row.values[number])]
        scale = max(map(places, values), default=0)
        bound = max((abs(int(value.scaleb(scale, context=EXACT))) for value in values), default=0)
        if bound > MAX_UNITS:
            raise ConfigurationError(
                f"its values have up to {scale} decimal places, and with as many the largest has more than "
                f"{MAX_DIGITS} digits",
                where=f"column {name}",
            )
        return scale, bound

    def _see_windows(self) -> None:
        """See that windows can be compared, and that none is empty."""
        if self.aware and self.wall and self.zone is None:
            odd = next(row for row in self.rows for at in (row.valid_from, row.valid_to) if at and not is_aware(at))
            raise ConfigurationError(
                f"{odd.place}: valid {odd.when()} has no zone, and other rows have one: "
                'give zone="Europe/Berlin", or wherever these days begin'
            )
        for row in self.rows:
            start, end = row.valid_from, row.valid_to
            if start is None or end is None:
                continue
            if type(start) is dt.date and type(end) is dt.date:
                empty = end <= start
            else:
                # Clocks that were put forward may leave out a window that the calendar has.
                zone = self.zone if is_aware(start) != is_aware(end) else None
                empty = instant(end, zone) <= instant(start, zone)
            if empty:
                raise ConfigurationError(
                    f"{row.place}: valid {row.when()} is no time at all: valid_to is the first moment after it"
                )


def as_price_list(prices: PriceList | pl.DataFrame | Iterable[Mapping[str, object]]) -> PriceList:
    """Any kind of prices as a list."""
    if isinstance(prices, PriceList):
        return prices
    return PriceList(prices)


def holds(window: Window, at: int | None) -> bool:
    """Whether a moment is in a window."""
    start, end = window
    return at is None or ((start is None or start <= at) and (end is None or at < end))
