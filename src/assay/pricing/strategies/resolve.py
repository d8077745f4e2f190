"""Resolve: which row of a price list applies, and the prices or rates that it gives to the steps after."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import BeforeValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError, nearest
from assay.money import Scaled, plain
from assay.pricing.batch import POSITION, Amount, BatchRating, Note
from assay.pricing.edges import Edge, Extreme, Place
from assay.pricing.moments import instant, intersection, is_aware, shown_instant
from assay.pricing.price_index import FOR_EVER, GROUP, NONE, PriceIndex
from assay.pricing.price_list import END, ID, NAMED, START, TOLD, Asked, PriceList
from assay.pricing.price_rows import MATCH, PriceRow, window_text
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Columns, Step
from assay.pricing.terms import Terms
from assay.pricing.values import at_least_one

NO_PRICE = "no price"
"""How the reason begins, after the step's id, for which a row is not priced that no row of a list is for."""

SEVERAL_PRICES = "several prices"
"""How it begins where several rows are for it, and none comes before the others."""

_ROWS = 20
"""Of so many rows of a list the edges are looked at beside each other step's."""

_ROWS_OWN = frozenset({*MATCH, "date", "document_id", "known_at", "line_id", "line_kind", "quantity"})
"""Inputs that only rows can bring."""


_ANY_DAY = dt.date(2026, 1, 1)
# Of more names than this none is looked for that is near: it would take longer than to price the row.
_NEAR = 1000


def _by_input(value: object) -> object:
    if isinstance(value, str):
        return {value: value}
    return {name: name for name in value} if isinstance(value, list | tuple) else value


@register
class Resolve(Step):
    """Look up which row of a price list applies, and give its values to the steps after, which read them as inputs.

    `table` names a `PriceList` that is given when pricing. `gives` says which of its columns come as which
    inputs: a list of names, or a table of input and column. The most specific row counts: contract, then customer,
    customer_group, channel, product, tax_category, place, currency; then the highest quantity break that the input
    `quantity` names (without its sign) reaches; then the highest priority. A tie is an error that names both rows, and
    so is an item that no row is for.

    `date` names the input that decides between windows; it is a day or time of the book's zone, or else of the list's.
    The input known_at, or the argument of pricing, says as far as what was known then. A price that names no currency
    is in the book's.
    """

    optional_inputs: ClassVar[frozenset[str]] = frozenset({*MATCH, "known_at"}) - {"currency"}
    resolves: ClassVar[bool] = True

    kind: Literal["resolve"] = "resolve"
    table: Annotated[str, Field(min_length=1)]
    gives: Annotated[dict[str, str], BeforeValidator(_by_input)]
    date: Annotated[str, Field(min_length=1)] | None = None
    quantity: Annotated[str, Field(min_length=1)] | None = None

    @field_validator("gives")
    @classmethod
    def _what_rows_do_not_bring(cls, gives: dict[str, str]) -> dict[str, str]:
        at_least_one(tuple(gives))
        own = sorted(gives.keys() & _ROWS_OWN)
        if own:
            raise PydanticCustomError(
                "gives", "{name} comes with each row: a price list does not give it", {"name": ", ".join(own)}
            )
        return gives

    def inputs(self) -> frozenset[str]:
        """What decides."""
        return super().inputs() | {name for name in (self.date, self.quantity) if name is not None}

    def given(self) -> frozenset[str]:
        """The inputs that the list gives."""
        return frozenset(self.gives)

    def optional_inputs_with(self, tables: Columns) -> frozenset[str]:
        """Those by which the list tells prices apart."""
        columns = tables.get(self.table)
        if columns is None:
            return self.optional_inputs
        known = {"known_at"} if {"known_from", "known_to"} & {*columns} else set()
        return self.optional_inputs & {*columns, *known}

    def price_list(self) -> str:
        """The list's name."""
        return self.table

    def place(self) -> Place:
        """Before the charges."""
        return Place.RESOLUTION

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The quantity breaks of the first rows, for what they are; all rows are looked at as a list."""
        prices = terms.prices.get(self.table)
        for row in () if prices is None else prices.rows[:_ROWS]:
            given = self.asking_for(row)
            if self.quantity is not None:
                yield Edge(self.quantity, row.min_quantity or Decimal(1), None, given)
            elif (name := next((one for one in MATCH if one in given), None)) is not None:
                value = str(given.pop(name))
                yield Edge(name, value, None, given)

    def asking_for(self, row: PriceRow) -> dict[str, object]:
        """For whom a row of the list is, on a day on which it holds."""
        given: dict[str, object] = {
            name: value for name, value in zip(MATCH, row.match, strict=True) if value is not None
        }
        if self.date is not None:
            begins = row.valid_from or _ANY_DAY
            given[self.date] = begins if row.valid_to is None or row.valid_from else row.valid_to - dt.timedelta(1)
        return given

    def example(self) -> dict[str, object]:
        """Any day, and nobody in particular."""
        return super().example() | ({} if self.date is None else {self.date: _ANY_DAY})

    def extremes(self, terms: Terms) -> Iterable[Extreme]:
        """None: what a list gives is in the list."""
        return ()

    # The reference

    def apply(self, at: Rating) -> None:
        """Find the row of one item."""
        prices = at.terms.price_list(self.table)
        self.check(prices)
        asked = self._asked(at, prices)
        found = prices.resolve(asked, at.terms.zone)
        if len(found) != 1:
            raise at.error(self._none(at, prices, asked) if not found else self._several(at, prices, asked, found))
        row = found[0]
        for name, column in self.gives.items():
            value = row.values[prices.values.index(column)]
            if value is None:
                raise at.error(f'price "{row.id}" of {self.table} has no {column}')
            at.give(name, value, row.id, home=row.match[MATCH.index("currency")] is None)
        at.resolve(row.id, prices.windows(at.terms.zone)[row.number - 1])
        nothing = 0 * at.terms.unit(at.currency)
        at.record(Wording(self._told(prices, row), counts=False), nothing, nothing)

    def check(self, prices: PriceList) -> None:
        """See that the step says what such a list needs.

        Raises:
            ConfigurationError: A column is missing, or the list is dated or has breaks, and the step names no input.
        """
        for column in self.gives.values():
            if column not in prices.values:
                near = nearest(column, prices.values)
                meant = f'; did you mean "{near}"?' if near else ""
                raise ConfigurationError(
                    f'the prices "{self.table}" have no column {column}; there are {", ".join(prices.values)}{meant}'
                )
        if prices.dated and self.date is None:
            raise ConfigurationError(f'the prices "{self.table}" are dated: say by which input, date = ...')
        if prices.breaks and self.quantity is None:
            raise ConfigurationError(
                f'the prices "{self.table}" have quantity breaks: say of which input, quantity = ...'
            )

    def see_zone(self, prices: PriceList, zone: str | None, *, aware: bool) -> None:
        """See that the date can be compared with the windows.

        Raises:
            ConfigurationError: One is a day or time on the wall, the other an instant, and there is no zone.
        """
        if (prices.zone or zone) is not None or aware == prices.aware:
            return
        which, other = (self.date, f'the prices "{self.table}"')[:: -1 if aware else 1]
        raise ConfigurationError(
            f"{which} has no zone, and {other} has one: give the book the zone in which days begin, "
            'such as zone = "Europe/Berlin"'
        )

    def _asked(self, at: Rating, prices: PriceList) -> Asked:
        moment = None
        if prices.dated and self.date is not None:
            given = at.moment(self.date)
            self.see_zone(prices, at.terms.zone, aware=is_aware(given))
            moment = instant(given, at.terms.zone or prices.zone)
        quantity = abs(at.input(self.quantity)) if prices.breaks and self.quantity is not None else None
        names = [at.text(name) if name in prices.matches and name != "currency" else None for name in MATCH]
        names[MATCH.index("currency")] = at.currency
        return Asked(tuple(names), moment, quantity, at.known() if prices.known else None)

    def _key(self, at: Rating, prices: PriceList, asked: Asked) -> str:
        """What was looked for, in words."""
        pairs = zip(MATCH, asked.names, strict=True)
        named = [f'{name} "{value}"' for name, value in pairs if name in prices.matches and value]
        if asked.quantity is not None:
            named.append(f"{self.quantity} {plain(asked.quantity)}")
        words = f" for {', '.join(named)}" if named else ""
        if asked.at is not None and self.date is not None:
            words += f" on {at.moment(self.date).isoformat()}"
        if asked.known is not None:
            words += f" as known at {_shown(asked.known)}"
        return words

    def _several(self, at: Rating, prices: PriceList, asked: Asked, found: list[PriceRow]) -> str:
        windows = prices.windows(at.terms.zone)
        first, second = sorted(found, key=lambda row: row.number)[:2]
        one, other = windows[first.number - 1], windows[second.number - 1]
        start, end = intersection(one, other)
        both = window_text(
            first.valid_from if start == one[0] else second.valid_from,
            first.valid_to if end == one[1] else second.valid_to,
        )
        more = f" and {len(found) - 2} more" if len(found) > 2 else ""
        return (
            f'{SEVERAL_PRICES}{self._key(at, prices, asked)} in {self.table}: "{first.id}" (row {first.number}) and '
            f'"{second.id}" (row {second.number}){more} both hold {both or "always"}: end one, or give one a priority'
        )

    def _none(self, at: Rating, prices: PriceList, asked: Asked) -> str:
        near = self._near(prices, asked, prices.windows(at.terms.zone))
        return f"{NO_PRICE}{self._key(at, prices, asked)} in {self.table}: {near}"

    def _near(self, prices: PriceList, asked: Asked, windows: list[tuple[int | None, int | None]]) -> str:
        """What there is instead."""
        rows = list(prices.candidates(asked.names))
        if not rows:
            return _strange(prices, asked) or "no row is for all of this"
        known = [row for row in rows if row.is_known(asked.known)]
        if not known:
            row = min(rows, key=lambda row: row.known_from or 0)
            since = "withdrawn" if asked.known is None or (row.known_from or 0) <= asked.known else "not known yet"
            return f'"{row.id}" was {since} then'
        reached = [row for row in known if row.reaches(asked.quantity)]
        if not reached:
            row = min(known, key=lambda row: abs(row.min_quantity - (asked.quantity or 0)))
            most = "" if row.max_quantity is None else f" up to {plain(row.max_quantity)}"
            return f'"{row.id}" is for {plain(row.min_quantity)}{most or " and more"}'
        at = asked.at or 0
        ended = [(end, row) for row in reached if (end := windows[row.number - 1][1]) is not None and end <= at]
        begins = [(start, row) for row in reached if (start := windows[row.number - 1][0]) is not None and start > at]
        near = []
        if ended:
            row = max(ended, key=lambda one: one[0])[1]
            near.append(f'"{row.id}" expired on {row.valid_to}')
        if begins:
            row = min(begins, key=lambda one: one[0])[1]
            near.append(f'"{row.id}" begins on {row.valid_from}')
        return ", ".join(near)

    def _told(self, prices: PriceList, row: PriceRow) -> str:
        """The words of the receipt's line."""
        values = ", ".join(
            f"{name} {plain(value)}"
            for name, column in self.gives.items()
            if (value := row.values[prices.values.index(column)]) is not None
        )
        return " ".join(filter(None, (f"price {row.id} of {self.table}: {values}", row.when())))

    # The twin

    def apply_expr(self, at: BatchRating) -> None:
        """Find the row of each row."""
        prices = at.terms.price_list(self.table)
        self.check(prices)
        facts = prices.frame(at.terms.zone)
        if at.receipts:
            key = (self.table, *self.gives.items())
            facts = facts.with_columns(prices.texts(key, lambda row: self._told(prices, row)).alias(TOLD))
        found = self._found(at, prices, facts)
        at.doubt(found.struct.field(ID).is_null())
        named = found.struct.field(NAMED)
        for name, column in self.gives.items():
            scale, bound = prices.sizes[column]
            units = at.keep(found.struct.field(column).reinterpret(dtype=pl.Int128))
            at.give(name, Scaled(units, scale, bound), named=named)
        at.resolve(*(found.struct.field(name) for name in (ID, START, END)))
        if at.receipts:
            at.record(Amount(at.zero()), Note(found.struct.field(TOLD), counts=False))

    def _found(self, at: BatchRating, prices: PriceList, facts: pl.DataFrame) -> pl.Expr:
        """What the list says for each row (a struct); null where that is for the reference to say."""
        known = at.known() if prices.known else None
        index = prices.index(at.terms.zone, at.terms.known_at, each_known=known is not None)
        if not index.comparable:
            at.doubt(pl.lit(value=True))
        texts = {name: at.text(name) for name in prices.matches if name != "currency"}
        texts["currency"] = pl.lit(at.currency) if isinstance(at.currency, str) else at.currency
        groups = []
        for mask in index.masks:
            on = {name: key for name in mask.names if (key := texts[name]) is not None}
            if len(on) < len(mask.names):
                groups.append(pl.lit(NONE, dtype=pl.Int64))
            elif not on:
                groups.append(pl.lit(0, dtype=pl.Int64))
            else:
                groups.append(at.join(mask.groups, on)[GROUP].fill_null(NONE))
        nothing = pl.lit(0, dtype=pl.Int64)
        moment = units = nothing
        if prices.dated and self.date is not None:
            _, dtype = at.moment(self.date)
            aware = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
            self.see_zone(prices, at.terms.zone, aware=aware)
            moment = at.instant(self.date, prices.zone)
        if prices.breaks and self.quantity is not None:
            units = at.keep(index.units(at.size(at.input(self.quantity))))
        until = nothing if known is None else known.fill_null(FOR_EVER)
        asked = [pl.col(POSITION), until, units.fill_null(0), moment.fill_null(0), *groups]
        search = partial(_search, index, facts)
        return at.keep(pl.map_batches(asked, search, return_dtype=pl.Struct(facts.schema), is_elementwise=True))


def _search(index: PriceIndex, facts: pl.DataFrame, columns: Sequence[pl.Series]) -> pl.Series:
    """The facts of the row that each row has, as a struct; null where there is no one row."""
    size = len(columns[0])
    known, units, valid, *groups = (np.broadcast_to(column.to_numpy(), size) for column in columns[1:])
    rows = pl.Series(index.find(groups, known, units, valid))
    found = facts.select(pl.all().gather(rows.set(rows < 0, None)))
    return found.to_struct("found")


def _strange(prices: PriceList, asked: Asked) -> str | None:
    """A name that no row has, or that all have and nobody is asked for."""
    for name, value, known in zip(MATCH, asked.names, prices.names, strict=True):
        if value in known or None in known or not known:
            continue
        if value is None:
            return f"all of its rows name a {name}, and none is given"
        near = nearest(value, [one for one in known if one is not None]) if len(known) <= _NEAR else None
        meant = f'; the nearest is "{near}"' if near else ""
        return f'no row has the {name} "{value}"{meant}'
    return None


def _shown(at: int) -> str:
    shown = shown_instant(at, None)
    return "" if shown is None else shown.isoformat().replace("+00:00", "Z")
