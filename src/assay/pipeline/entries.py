"""Entries of a ledger: what is booked for the rows of a run, given what is booked for their keys already.

The entries of one key are numbered from 1. The last of them says how the key stands: a `line` or a `correction` is
what is booked for it now; after a `reversal` nothing is. The id of an entry is the key and this number, such as
`A-17/2#3`, so it depends on nothing but what was booked before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import polars as pl
from polars.datatypes import IntegerType

from assay.errors import SinkError
from assay.money import EXACT

LINE: Final = "line"
REVERSAL: Final = "reversal"
CORRECTION: Final = "correction"

COLUMNS: Final = pl.Schema(
    {
        "entry": pl.String(),
        "entry_id": pl.String(),
        "entry_number": pl.Int64(),
        "corrects": pl.String(),
        "booked_on": pl.Date(),
        "booked_run": pl.String(),
    }
)
"""What the ledger adds to the columns of its rows."""

# Names that begin with "_" are never those of a user's column.
_OLD: Final = "_old_"
_ROW: Final = "_row"
_KIND: Final = "_kind"

Amounts = dict[str, dict[str, Decimal]]
"""By currency, sums of columns."""


@dataclass
class Booking:
    """What a run has booked to one ledger.

    Attributes:
        new: Lines booked for keys that had none.
        corrected: Lines that were reversed and booked anew.
        unchanged: Rows that are booked as they are.
        reversed: Lines that were reversed, since they are gone.
        beyond: Lines that differ and stay, since they are dated before the horizon.
        absent: Lines of which the run has no row, and that stay; None where a run cannot know.
        difference: By currency, what reversals and corrections add up to.
        forgone: By currency, what they would have added up to beyond the horizon.
    """

    new: int = 0
    corrected: int = 0
    unchanged: int = 0
    reversed: int = 0
    beyond: int = 0
    absent: int | None = None
    difference: Amounts = field(default_factory=dict)
    forgone: Amounts = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For the ledger of the run."""
        sums = {"difference": self.difference, "forgone": self.forgone}
        return {name: value for name, value in vars(self).items() if name not in sums} | {
            name: {currency: {one: format(sum_, "f") for one, sum_ in made.items()} for currency, made in by.items()}
            for name, by in sums.items()
        }


@dataclass(frozen=True)
class Bookkeeper:
    """How rows become entries.

    Attributes:
        rows: The columns of the rows.
        key: Columns that name a line.
        amounts: Columns, or fields in them such as `taxes.amount`, that a reversal negates.
        compared: Columns of which another value makes a correction.
        dated: The column with the date of a row, or None.
        current: The date of the run.
        keeps_period: Whether a correction is booked on the date of the line that it corrects.
        horizon: Lines of before this date are not corrected.
        currency: The column with the currency of the amounts, where there is one.
        output: Name of the output, which errors give.
    """

    rows: pl.Schema
    key: Sequence[str]
    amounts: Sequence[str]
    compared: Sequence[str]
    dated: str | None
    current: dt.date
    keeps_period: bool
    horizon: dt.date | None
    currency: str | None
    output: str

    @property
    def schema(self) -> pl.Schema:
        """The columns of the ledger."""
        return pl.Schema(self.rows | COLUMNS)

    def last(self, stored: pl.LazyFrame, keys: pl.DataFrame) -> pl.DataFrame:
        """The last entry of each of some keys that has one.

        Raises:
            SinkError: what is published was booked by another key, or is there twice.
        """
        found = stored.join(keys.lazy(), on=list(self.key), how="semi").collect(engine="streaming")
        return self._last(found)

    def gone(self, stored: pl.LazyFrame, keys: pl.DataFrame, scopes: pl.DataFrame) -> pl.DataFrame:
        """The last entries of keys that are booked within some scopes, and have no row, where a line is booked now."""
        found = self._absent(stored, keys, scopes).collect(engine="streaming")
        return self._last(found).filter(pl.col("entry") != REVERSAL)

    def count_open(self, stored: pl.LazyFrame) -> int:
        """How many lines are booked now: those that were, without the reversed ones."""
        sign = pl.when(pl.col("entry") == REVERSAL).then(-1).otherwise(1)
        return int(stored.select(sign.sum()).collect(engine="streaming").item())

    def count_absent(self, stored: pl.LazyFrame, keys: pl.DataFrame, scopes: pl.DataFrame) -> int:
        """How many lines are booked now within some scopes of which the run has no row."""
        return self.count_open(self._absent(stored, keys, scopes))

    def entries(self, rows: pl.DataFrame, last: pl.DataFrame, run: str, booking: Booking) -> pl.DataFrame:
        """What is to be booked for some rows.

        Args:
            rows: Rows, with all that have the same key.
            last: The last entry of each of their keys that has one.
            run: Id of the run.
            booking: Is told how many there were.

        Raises:
            SinkError: two rows have one key, or a row has none, or no date.
        """
        self._see_keys(rows)
        if self.dated is not None and rows[self.dated].null_count():
            shown = self._shown(rows.filter(pl.col(self.dated).is_null()))
            raise SinkError(f"{shown} has no {self.dated}, by which lines are dated", sink=self.output)
        old = last.select(*self.key, *(pl.col(name).alias(_OLD + name) for name in last.columns))
        pairs = rows.with_row_index(_ROW).join(old, on=list(self.key), how="left", maintain_order="left")
        pairs = pairs.with_columns(self._kind().alias(_KIND))
        of = {kind: pairs.filter(pl.col(_KIND) == kind) for kind in ("new", "corrected", "beyond")}
        booking.new += of["new"].height
        booking.corrected += of["corrected"].height
        booking.beyond += of["beyond"].height
        booking.unchanged += rows.height - sum(one.height for one in of.values())
        corrections = self._corrections(of["corrected"], run)
        self._add(booking.difference, corrections)
        self._add(booking.forgone, self._corrections(of["beyond"], run))
        made = pl.concat([self._lines(of["new"], run), corrections])
        return made.sort(_ROW, "entry_number").select(self.schema.names())

    def reversals(self, last: pl.DataFrame, run: str, booking: Booking) -> pl.DataFrame:
        """Reverse lines, each the last entry of its key."""
        old = last.select(pl.lit(0, pl.UInt32()).alias(_ROW), *(pl.col(c).alias(_OLD + c) for c in last.columns))
        made = self._reversals(old, run)
        booking.reversed += made.height
        self._add(booking.difference, made)
        return made.select(self.schema.names())

    def _absent(self, stored: pl.LazyFrame, keys: pl.DataFrame, scopes: pl.DataFrame) -> pl.LazyFrame:
        # A reversal has the scope of the line that it reverses, so within a scope the last entry says how it stands.
        inside = stored.join(scopes.lazy(), on=scopes.columns, how="semi", nulls_equal=True)
        return inside.join(keys.lazy(), on=list(self.key), how="anti")

    def _last(self, entries: pl.DataFrame) -> pl.DataFrame:
        last = entries.sort("entry_number", descending=True).unique(list(self.key), keep="first", maintain_order=True)
        other = last.filter(pl.col("entry_id").ne_missing(self._id(pl.col("entry_number"))))
        if other.height:
            raise SinkError(
                f"entry {other['entry_id'][0]} was not booked by the key ({', '.join(self.key)}): a ledger keeps its "
                "key; book to another place",
                sink=self.output,
            )
        twice = entries.filter(entries.select(*self.key, "entry_number").is_duplicated())
        if twice.height:
            raise SinkError(
                f"entry {twice['entry_id'][0]} is there twice: something else has written it", sink=self.output
            )
        return last

    def _kind(self) -> pl.Expr:
        is_open = (pl.col(_OLD + "entry") != REVERSAL).fill_null(value=False)
        differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(_OLD + name)) for name in self.compared)
        date = pl.col(_OLD + (self.dated or "booked_on"))
        is_beyond = date < self.horizon if self.horizon is not None else pl.lit(value=False)
        return (
            pl.when(~is_open)
            .then(pl.lit("new"))
            .when(~differs)
            .then(pl.lit("unchanged"))
            .when(is_beyond)
            .then(pl.lit("beyond"))
            .otherwise(pl.lit("corrected"))
        )

    def _lines(self, pairs: pl.DataFrame, run: str) -> pl.DataFrame:
        return self._entries(
            pairs,
            {name: pl.col(name) for name in self.rows},
            LINE,
            after=pl.col(_OLD + "entry_number").fill_null(0) + 1,
            corrects=pl.lit(None, pl.String()),
            booked_on=pl.lit(self.current) if self.dated is None else pl.col(self.dated),
            run=run,
        )

    def _corrections(self, pairs: pl.DataFrame, run: str) -> pl.DataFrame:
        new = self._entries(
            pairs,
            {name: pl.col(name) for name in self.rows},
            CORRECTION,
            after=pl.col(_OLD + "entry_number") + 2,
            corrects=pl.col(_OLD + "entry_id"),
            booked_on=self._corrected_on(),
            run=run,
        )
        return pl.concat([self._reversals(pairs, run), new])

    def _reversals(self, pairs: pl.DataFrame, run: str) -> pl.DataFrame:
        old = {name: pl.col(_OLD + name) for name in self.rows}
        for name, inside in _by_column(self.amounts).items():
            self._see_negatable(pairs, name)
            old[name] = _negated(old[name], self.rows[name], inside)
        return self._entries(
            pairs,
            old,
            REVERSAL,
            after=pl.col(_OLD + "entry_number") + 1,
            corrects=pl.col(_OLD + "entry_id"),
            booked_on=self._corrected_on(),
            run=run,
        )

    def _entries(
        self,
        pairs: pl.DataFrame,
        columns: Mapping[str, pl.Expr],
        entry: str,
        *,
        after: pl.Expr,
        corrects: pl.Expr,
        booked_on: pl.Expr,
        run: str,
    ) -> pl.DataFrame:
        made = pairs.select(
            _ROW,
            *(value.alias(name) for name, value in columns.items()),
            pl.lit(entry).alias("entry"),
            after.cast(pl.Int64()).alias("entry_number"),
            corrects.alias("corrects"),
            booked_on.alias("booked_on"),
            pl.lit(run).alias("booked_run"),
        )
        return made.with_columns(self._id(pl.col("entry_number")).alias("entry_id")).select(_ROW, *self.schema.names())

    def _corrected_on(self) -> pl.Expr:
        return pl.col(_OLD + "booked_on") if self.keeps_period else pl.lit(self.current)

    def _id(self, number: pl.Expr) -> pl.Expr:
        parts = []
        for name in self.key:
            text = pl.col(name).cast(pl.String())
            if self.rows[name] == pl.String():
                # So that no two keys have one id.
                text = text.str.replace_all("%", "%25", literal=True).str.replace_all("/", "%2F", literal=True)
            parts.append(text)
        return pl.format("{}#{}", pl.concat_str(parts, separator="/"), number)

    def _add(self, sums: Amounts, entries: pl.DataFrame) -> None:
        """Add up the amounts that are columns of their own."""
        if entries.is_empty():
            return
        columns = [name for name in self.amounts if name in self.rows and self.rows[name].is_numeric()]
        currency = pl.lit("") if self.currency is None else pl.col(self.currency).cast(pl.String()).fill_null("")
        wide = {name: pl.Decimal(38, getattr(self.rows[name], "scale", 0)) for name in columns}
        by = entries.group_by(currency.alias("_currency")).agg(pl.col(name).cast(wide[name]).sum() for name in columns)
        for row in by.sort("_currency").iter_rows(named=True):
            there = sums.setdefault(row.pop("_currency"), {})
            for name, value in row.items():
                there[name] = EXACT.add(there.get(name, Decimal(0)), value)

    def _see_keys(self, rows: pl.DataFrame) -> None:
        wrong = f"key ({', '.join(self.key)}) does not tell the rows apart: "
        without = rows.filter(pl.any_horizontal(pl.col(name).is_null() for name in self.key))
        if without.height:
            raise SinkError(f"{wrong}{self._shown(without)} has a null", sink=self.output)
        again = rows.filter(rows.select(self.key).is_duplicated())
        if again.height:
            times = again.join(again.head(1), on=list(self.key), how="semi").height
            raise SinkError(f"{wrong}{self._shown(again)} is there {times:,} times", sink=self.output)

    def _see_negatable(self, pairs: pl.DataFrame, name: str) -> None:
        dtype = self.rows[name]
        if isinstance(dtype, IntegerType) and pairs.filter(pl.col(_OLD + name) == dtype.min()).height:
            raise SinkError(f"{name} is the least {dtype}, of which there is no negative", sink=self.output)

    def _shown(self, rows: pl.DataFrame) -> str:
        return ", ".join(f"{name}={rows[name][0]!r}" for name in self.key)


def standing(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines among some entries that none of them reverses."""
    there = [dict(entry) for entry in entries]
    reversed_ones = {entry["corrects"] for entry in there if entry["entry"] == REVERSAL}
    return [one for one in there if one["entry"] != REVERSAL and one["entry_id"] not in reversed_ones]


def held(entries: Iterable[Mapping[str, Any]], key: Sequence[str], later: Collection[str]) -> list[dict[str, Any]]:
    """The lines among some entries, in order, that held before some later runs."""
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in entries:
        if entry["booked_run"] not in later:
            last[tuple(entry[name] for name in key)] = dict(entry)
    return [one for one in last.values() if one["entry"] != REVERSAL]


def decimal_paths(name: str, dtype: Any) -> Iterator[str]:
    """The decimals in a column: its name, or that of fields in it, such as `taxes.amount`."""
    match dtype:
        case pl.Decimal():
            yield name
        case pl.List() | pl.Array():
            yield from decimal_paths(name, dtype.inner)
        case pl.Struct():
            for one in dtype.fields:
                yield from decimal_paths(f"{name}.{one.name}", one.dtype)


def _negated(value: pl.Expr, dtype: Any, paths: Iterable[str]) -> pl.Expr:
    match dtype:
        case pl.List():
            return value.list.eval(_negated(pl.element(), dtype.inner, paths))
        case pl.Array():
            return value.arr.eval(_negated(pl.element(), dtype.inner, paths))
        case pl.Struct():
            types = {one.name: one.dtype for one in dtype.fields}
            inside = _by_column(paths).items()
            return value.struct.with_fields(
                _negated(pl.field(name), types[name], rest).alias(name) for name, rest in inside
            )
    return -value


def _by_column(paths: Iterable[str]) -> dict[str, list[str]]:
    """Paths by their first name; what is left of each is empty where it is the column itself."""
    found: dict[str, list[str]] = {}
    for path in paths:
        name, _, rest = path.partition(".")
        found.setdefault(name, []).append(rest)
    return found
