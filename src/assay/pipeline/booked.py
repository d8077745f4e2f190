"""An output that is a ledger: what was booked is never changed, a correction is booked beside it.

Each run compares its rows, by their key, with the line that is booked for it now, and appends:

| the row | what is booked |
|---|---|
| has no line | a `line` |
| is booked as it is | nothing |
| differs in a compared column | a `reversal`: the old line with its amounts negated; and a `correction`: the row |

So the entries of a key add up to what the newest run says of it, to the last digit; a line is reversed at most once;
and the same run books nothing twice, whatever became of the first attempt. A reversal and a correction name the entry
that they correct (`corrects`). Nothing is ever replaced: `assay run --full` compares all files with what is booked.

Which rows a run lacks, it knows only of what it has read as a whole: `scope` names columns, such as the month, of whose
values a run has all records, or none. An incremental run and a replay read parts, and take nothing for gone.

What is decided is decided on one state of the ledger: the sink refuses to publish if somebody else has published since.
The rows wait on disk. Few are joined with the ledger as it lies there; many are spread over parts by their keys, and
the ledger with them, so that it is read once, and only a part of either is in memory.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import polars as pl
from polars.datatypes import IntegerType

from assay.errors import ConfigurationError, SinkError, unknown_name
from assay.pipeline.context import Context, visible
from assay.pipeline.entries import COLUMNS, Booking, Bookkeeper, decimal_paths
from assay.pipeline.outputs import published
from assay.pipeline.spool import Spool
from assay.pipeline.steps.protocol import need_columns
from assay.sinks import Sink

Correction = Literal["current", "original"]
"""On which date a correction is booked: the run's, or that of the line that it corrects."""

Gone = Literal["keep", "reverse"]
"""What is done with lines of which a run has no row any more."""

# Rows that are compared together, and how many files are written at once where there are more.
_PART_ROWS: Final = 262_144
_MOST_PARTS: Final = 256
# Names that begin with "_" are never those of a user's column.
_PART: Final = "_part"


@dataclass(frozen=True)
class Booked:
    """Rows as lines of a ledger, which are corrected by reversal and new line.

    Args:
        key: Columns that name a line; no two rows of a run have one.
        to: The sink, with mode="append".
        amounts: Numbers that add up (quantities, money), which a reversal negates; `taxes.amount` is the field `amount`
            of the structs in the column `taxes`.
        rates: Decimals that do not add up (unit prices, percentages, exchange rates), which a reversal keeps. Every
            decimal is an amount or a rate.
        columns: Which columns, in this order; all by default.
        compare: Columns of which another value makes a correction, besides the amounts; all by default.
        dated: The column with the date of a row: a line is booked on it; by default on the date of the run.
        correction: "current": a correction is booked on the date of the run; "original": on that of the line which it
            corrects, so that periods change that were closed.
        today: The date of the run: a date, or a text that may name a parameter, such as "{booked_on}"; by default the
            day on which it begins, in UTC.
        horizon: Lines dated before this date (or text, as `today`) are not corrected; the run says how many differ.
        scope: Columns of whose values a run has all records or none: within them a run says which lines are gone.
        gone: "keep" leaves lines of which the run has no row (any more, or since it is rejected now) as they are;
            "reverse" reverses them, within `scope`.
        currency: The column with the currency, by which the run's summary adds up; "currency" by default, where it is.
    """

    key: Sequence[str]
    to: Sink
    amounts: Sequence[str]
    rates: Sequence[str] = ()
    columns: Sequence[str] | None = None
    compare: Sequence[str] | None = None
    dated: str | None = None
    correction: Correction = "current"
    today: dt.date | str | None = None
    horizon: dt.date | str | None = None
    scope: Sequence[str] = ()
    gone: Gone = "keep"
    currency: str | None = None

    def __post_init__(self) -> None:
        for word, value, known in (
            ("correction", self.correction, get_args(Correction)),
            ("gone", self.gone, get_args(Gone)),
        ):
            if value not in known:
                raise ConfigurationError(unknown_name(word, value, known), where="Booked")
        for names in (self.key, self.amounts, self.rates, self.columns, self.compare, self.scope):
            if isinstance(names, str):
                raise ConfigurationError(f'"{names}" is a text; name columns in a list: ["{names}"]', where="Booked")
        if not self.key or not self.amounts:
            raise ConfigurationError(f"names no column in {'amounts' if self.key else 'key'}", where="Booked")
        if self.gone == "reverse" and not self.scope:
            raise ConfigurationError(
                'gone="reverse" needs scope=[...]: columns, such as the month, of whose values a run has all records',
                where="Booked",
            )

    def bind(self, name: str, schema: pl.Schema, context: Context) -> OpenBooked:
        """Check everything that is said of the columns.

        Raises:
            ConfigurationError: what is wrong.
        """
        where = f"output {name}"
        schema = published(visible(schema))
        if self.columns is not None:
            need_columns(list(self.columns), schema, where)
            schema = pl.Schema({column: schema[column] for column in self.columns})
        try:
            self._check(schema)
            today = _date(self.today, "today", context) or dt.datetime.now(dt.UTC).date()
            horizon = _date(self.horizon, "horizon", context)
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where=where) from None
        amounts = [one.partition(".")[0] for one in self.amounts]
        compared = schema.names() if self.compare is None else [*amounts, *self.compare]
        keeper = Bookkeeper(
            rows=schema,
            key=list(self.key),
            amounts=list(self.amounts),
            compared=[one for one in dict.fromkeys(compared) if one not in self.key],
            dated=self.dated,
            current=today,
            keeps_period=self.correction == "original",
            horizon=horizon,
            currency=self.currency or ("currency" if "currency" in schema else None),
            output=name,
        )
        return OpenBooked(keeper, list(self.scope), self.gone)

    def _check(self, schema: pl.Schema) -> None:
        if self.to.mode != "append":
            raise ConfigurationError(f'a ledger only grows: give its sink mode="append", not "{self.to.mode}"')
        for column in schema:
            if column in COLUMNS:
                raise ConfigurationError(f"{column} is a column that the ledger adds: rename it, or leave it out")
        for name in (*self.key, *self.scope, *(self.compare or ()), self.dated, self.currency):
            if name is not None and name not in schema:
                raise ConfigurationError(unknown_name("column", name, schema))
        for column in self.key:
            # Ids are made of them, and must be the same in years to come.
            if not isinstance(schema[column], pl.String | pl.Boolean | pl.Date | pl.Decimal | IntegerType):
                raise ConfigurationError(
                    f"{column} is {schema[column]}; the key of a ledger is text, whole numbers, decimals or dates"
                )
        if self.dated is not None and schema[self.dated] != pl.Date():
            raise ConfigurationError(f"{self.dated} is {schema[self.dated]}, not a date: add one by a step")
        self._check_amounts(schema)

    def _check_amounts(self, schema: pl.Schema) -> None:
        decimals = [path for name, dtype in schema.items() for path in decimal_paths(name, dtype)]
        numbers = [*decimals, *(name for name, dtype in schema.items() if dtype.is_signed_integer())]
        for amount in self.amounts:
            if amount in self.key:
                raise ConfigurationError(f"{amount} is in the key: an amount is none")
            if amount in numbers:
                continue
            if amount in schema:
                raise ConfigurationError(f"{amount} is {schema[amount]}; an amount is a decimal or a signed integer")
            raise ConfigurationError(unknown_name("amount", amount, numbers))
        for rate in self.rates:
            if rate in self.amounts:
                raise ConfigurationError(f"{rate} is named in amounts and in rates: it is one of them")
            if rate not in decimals:
                raise ConfigurationError(unknown_name("rate", rate, decimals))
        unsaid = [path for path in decimals if path not in (*self.amounts, *self.rates, *self.key)]
        if unsaid:
            raise ConfigurationError(
                f"{', '.join(unsaid)}: name each in amounts (it adds up, and a reversal negates it) or in rates (unit "
                "prices, percentages: a reversal keeps it)"
            )


class OpenBooked:
    """Rows that wait to be compared with what is booked."""

    grouped = False

    def __init__(self, keeper: Bookkeeper, scope: Sequence[str], gone: Gone) -> None:
        self._keeper, self._scope, self._gone = keeper, scope, gone

    @property
    def schema(self) -> pl.Schema:
        """The columns of the ledger."""
        return self._keeper.schema

    @property
    def key(self) -> Sequence[str]:
        """The columns that name a line."""
        return self._keeper.key

    @property
    def rows(self) -> pl.Schema:
        """The columns of the rows that wait."""
        return self._keeper.rows

    def take(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The chosen columns, to be compared when all are there."""
        return rows.select(self.rows.names()).cast(self.rows)

    def rest(self) -> None:
        """Entries come from `entries`."""
        return

    def amend(self, stored: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
        """Entries are appended."""
        return pl.concat([stored, new])

    def entries(
        self, waiting: Spool, stored: pl.LazyFrame | None, folder: Path, run: str, booking: Booking, *, whole: bool
    ) -> Iterator[pl.DataFrame]:
        """What is to be booked, part by part.

        Args:
            waiting: What `take` gave.
            stored: What is booked, or None.
            folder: A folder of this output's own, which is not there, for what is too much for memory.
            run: Id of the run.
            booking: Is told how much there was.
            whole: Whether the run has read its sources as a whole, so that it can know what is gone.

        Raises:
            SinkError: two rows have one key, or what is booked is not what a ledger can be.
        """
        keeper, scopes = self._keeper, None
        stored = pl.LazyFrame(schema=keeper.schema) if stored is None else self._widened(stored)
        if whole:
            booking.absent = 0
            if self._scope:
                scopes = waiting.scan().select(self._scope).unique().collect(engine="streaming")
        for rows, booked in self._parts(waiting, stored, folder):
            keys = rows.select(keeper.key)
            yield keeper.entries(rows, keeper.last(booked, keys), run, booking)
            if scopes is not None and self._gone == "reverse":
                yield keeper.reversals(keeper.gone(booked, keys, scopes), run, booking)
            elif scopes is not None and booking.absent is not None:
                booking.absent += keeper.count_absent(booked, keys, scopes)
        if whole and scopes is None:
            booked_now = booking.unchanged + booking.corrected + booking.beyond
            booking.absent = keeper.count_open(stored) - booked_now

    def _parts(self, waiting: Spool, stored: pl.LazyFrame, folder: Path) -> Iterator[tuple[pl.DataFrame, pl.LazyFrame]]:
        """Rows, and entries among which are all of their keys; each key and each entry once, if there are several."""
        rows, entries = self.rows, self.schema
        if waiting.rows <= _PART_ROWS:
            yield _together(waiting, rows), stored
            return
        parts = min(waiting.rows // _PART_ROWS + 1, _MOST_PARTS)
        # By their keys, so that the ledger is read once, however many rows there are.
        spread = _spread(waiting, rows, self._keeper.key, folder / "rows", parts)
        batches = stored.collect_batches(chunk_size=_PART_ROWS, maintain_order=False)
        booked = _spread(batches, entries, self._keeper.key, folder / "entries", parts)
        for mine, there in zip(spread, booked, strict=True):
            yield _together(mine, rows), there.scan()

    def _widened(self, stored: pl.LazyFrame) -> pl.LazyFrame:
        """What is booked, with nulls in columns that come with this run."""
        there = stored.collect_schema()
        for column in COLUMNS:
            if column not in there:
                raise SinkError(
                    f"has rows that were not booked: there is no column {column}; book to another place",
                    sink=self._keeper.output,
                )
        new = [pl.lit(None, dtype).alias(name) for name, dtype in self.rows.items() if name not in there]
        return stored.with_columns(new).select(self.schema.names())


def check_booked(name: str, outputs: Mapping[str, Any], *, incremental: bool) -> None:
    """See that no output beside a ledger would have rows twice when they are priced again.

    Raises:
        ConfigurationError: one would.
    """
    ledger = next((one for one, output in outputs.items() if isinstance(output, Booked)), None)
    if ledger is None or incremental:
        return
    for other, output in outputs.items():
        if not isinstance(output, Booked) and output.to.mode in ("append", "merge"):
            raise ConfigurationError(
                f"each run adds its rows again (mode {output.to.mode}), while output {ledger} books what has changed: "
                "let it replace or upsert, or give it a pipeline of its own",
                where=f"pipeline {name}, output {other}",
            )


def _together(frames: Spool, schema: pl.Schema) -> pl.DataFrame:
    made: pl.DataFrame = pl.concat([pl.DataFrame(schema=schema), *frames])
    return made


def _spread(
    frames: Iterable[pl.DataFrame], schema: pl.Schema, key: Sequence[str], folder: Path, parts: int
) -> list[Spool]:
    """Frames on disk, in so many parts by their keys."""
    spools = [Spool(folder / str(number), schema) for number in range(parts)]
    held: list[pl.DataFrame] = []

    def write() -> None:
        together = pl.concat(held).with_columns((pl.struct(key).hash() % parts).alias(_PART))
        for (number,), part in together.partition_by(_PART, as_dict=True, include_key=False).items():
            spools[number].write([part])
        held.clear()

    for frame in frames:
        held.append(frame)
        if sum(one.height for one in held) >= _PART_ROWS:
            write()
    if held:
        write()
    return spools


def _date(given: dt.date | str | None, word: str, context: Context) -> dt.date | None:
    if given is None or (isinstance(given, dt.date) and not isinstance(given, dt.datetime)):
        return given
    text = context.fill(given) if isinstance(given, str) else str(given)
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f'{word}: "{text}" is no date, such as 2026-04-30') from None
