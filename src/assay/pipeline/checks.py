"""Checks of what a run is about to publish: on the staged rows, before the decision; one that fails stops it.

A replay adds a few records to what another run has published: what is said of a whole feed (its number of rows, its
control total, its freshness) is not said of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, runtime_checkable

import polars as pl

from assay.errors import AssayError, CheckFailed, ConfigurationError, unknown_name
from assay.money import EXACT
from assay.pipeline.context import Context
from assay.pipeline.steps.protocol import bind_expression


@dataclass(frozen=True)
class Pending:
    """What a check may look at.

    Attributes:
        outputs: The rows that each output is about to publish (of this run; merged groups are those of all runs).
        counts: Records read, written, filtered, rejected.
        money: By currency, the sums of the ledger as decimal strings.
        context: Parameters and settings.
        is_replay: Whether these are records of an earlier run, mended.
    """

    outputs: Mapping[str, pl.LazyFrame]
    counts: Mapping[str, int]
    money: Mapping[str, Mapping[str, str]]
    context: Context
    is_replay: bool = False


@runtime_checkable
class Check(Protocol):
    """A check as it stands in a pipeline's definition."""

    @property
    def name(self) -> str:
        """What errors and the ledger call it."""
        ...

    def bind(self, schemas: Mapping[str, pl.Schema], context: Context) -> None:
        """See that it can be done, before any data is read.

        Raises:
            ConfigurationError: no such output or column, or a value that is none.
        """
        ...

    def failure(self, pending: Pending) -> str | None:
        """What is wrong, in words with figures; None where nothing is."""
        ...


@dataclass(frozen=True)
class RowCount:
    """The number of rows of an output.

    Attributes:
        output: The output.
        at_least: Fewer rows are a failure.
        at_most: More rows are a failure.
    """

    output: str
    at_least: int = 1
    at_most: int | None = None

    @property
    def name(self) -> str:
        """As the ledger has it."""
        return f"row count of {self.output}"

    def bind(self, schemas: Mapping[str, pl.Schema], context: Context) -> None:
        """See that there is such an output."""
        _schema(schemas, self.output, self.name)

    def failure(self, pending: Pending) -> str | None:
        """Count."""
        if pending.is_replay:
            return None
        rows = int(pending.outputs[self.output].select(pl.len()).collect(engine="streaming").item())
        if rows < self.at_least:
            return f"{rows:,} rows, at least {self.at_least:,} are expected"
        if self.at_most is not None and rows > self.at_most:
            return f"{rows:,} rows, at most {self.at_most:,} are expected"
        return None


@dataclass(frozen=True, init=False)
class Unique:
    """No two rows of an output have the same values in some columns.

    Attributes:
        output: The output.
        columns: The columns.
    """

    output: str
    columns: tuple[str, ...]

    def __init__(self, output: str, *columns: str) -> None:
        object.__setattr__(self, "output", output)
        object.__setattr__(self, "columns", columns)

    @property
    def name(self) -> str:
        """As the ledger has it."""
        return f"unique {', '.join(self.columns)} in {self.output}"

    def bind(self, schemas: Mapping[str, pl.Schema], context: Context) -> None:
        """See that there are such columns."""
        if not self.columns:
            raise ConfigurationError("name the columns that are unique together", where=f"check {self.name}")
        _need(_schema(schemas, self.output, self.name), self.columns, self.name)

    def failure(self, pending: Pending) -> str | None:
        """Look for values that are there twice."""
        rows = pending.outputs[self.output].group_by(self.columns).agg(pl.len().alias("_rows"))
        found = rows.filter(pl.col("_rows") > 1).sort("_rows", *self.columns, descending=True)
        again = found.select(pl.len().alias("n"), pl.all().first()).collect(engine="streaming")
        if not again["n"].item():
            return None
        *values, rows_of = again.drop("n").row(0)
        shown = ", ".join(f"{name}={value}" for name, value in zip(self.columns, values, strict=True))
        return f"{again['n'].item():,} are there more than once, such as {shown} ({rows_of:,} times)"


@dataclass(frozen=True)
class ControlTotal:
    """The sum of a column is what the sender says it is.

    Attributes:
        output: The output.
        column: A decimal or integer column.
        equals: The expected sum: a Decimal, an int, or a text that may name a parameter, such as "{control_total}".
        within: How far it may be off.
        where: Only rows for which this holds, such as `pl.col("currency") == "EUR"`.
    """

    output: str
    column: str
    equals: Decimal | int | str
    within: Decimal = Decimal(0)
    where: pl.Expr | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """As the ledger has it."""
        return f"control total of {self.column} in {self.output}"

    def bind(self, schemas: Mapping[str, pl.Schema], context: Context) -> None:
        """See that the column holds exact numbers, and that the total is one."""
        schema = _schema(schemas, self.output, self.name)
        _need(schema, [self.column], self.name)
        dtype = schema[self.column]
        if not (dtype.is_decimal() or dtype.is_integer()):
            raise ConfigurationError(
                f"{self.column} is {dtype}; a control total is of decimals or integers", where=f"check {self.name}"
            )
        if self.where is not None:
            bind_expression(self.where, schema, f"check {self.name}")
        try:
            self._expected(context)
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where=f"check {self.name}") from None

    def failure(self, pending: Pending) -> str | None:
        """Add up, exactly."""
        if pending.is_replay:
            return None
        rows = pending.outputs[self.output]
        if self.where is not None:
            rows = rows.filter(self.where)
        dtype = rows.collect_schema()[self.column]
        wide = pl.Decimal(38, dtype.scale) if isinstance(dtype, pl.Decimal) else pl.Decimal(38, 0)
        total = rows.select(pl.col(self.column).cast(wide).sum()).collect(engine="streaming").item()
        expected = self._expected(pending.context)
        off = EXACT.subtract(total, expected)
        if abs(off) <= self.within:
            return None
        allowed = f", {self.within} is allowed" if self.within else ""
        return f"{total}, and {expected} is expected: {off:+} off{allowed}"

    def _expected(self, context: Context) -> Decimal:
        text = context.fill(self.equals) if isinstance(self.equals, str) else str(self.equals)
        try:
            made = Decimal(text)
        except InvalidOperation:
            made = Decimal("NaN")
        if isinstance(self.equals, float) or not made.is_finite():
            raise ConfigurationError(f"{self.equals!r} is no exact amount")
        return made


@dataclass(frozen=True)
class Freshness:
    """The newest row of an output is not older than it may be.

    Attributes:
        output: The output.
        column: A date or datetime column; a datetime without zone is taken as UTC.
        within: How old the newest value may be.
        now: Gives the time, for tests.
    """

    output: str
    column: str
    within: dt.timedelta
    now: Callable[[], dt.datetime] = field(default=lambda: dt.datetime.now(dt.UTC), compare=False, repr=False)

    @property
    def name(self) -> str:
        """As the ledger has it."""
        return f"freshness of {self.column} in {self.output}"

    def bind(self, schemas: Mapping[str, pl.Schema], context: Context) -> None:
        """See that the column holds times."""
        schema = _schema(schemas, self.output, self.name)
        _need(schema, [self.column], self.name)
        if not isinstance(schema[self.column], pl.Date | pl.Datetime):
            raise ConfigurationError(
                f"{self.column} is {schema[self.column]}, not a date or datetime", where=f"check {self.name}"
            )

    def failure(self, pending: Pending) -> str | None:
        """Compare the newest value with the time now."""
        if pending.is_replay:
            return None
        newest = pending.outputs[self.output].select(pl.col(self.column).max()).collect(engine="streaming").item()
        if newest is None:
            return "there is no value at all"
        now = self.now()
        if not isinstance(newest, dt.datetime):
            # A day lasts until it ends.
            newest = dt.datetime.combine(newest, dt.time.max)
        moment = newest if newest.tzinfo is not None else newest.replace(tzinfo=dt.UTC)
        return None if now - moment <= self.within else f"the newest is of {newest}, older than {self.within}"


@dataclass(frozen=True)
class Holds:
    """An expression is true for every row of an output.

    Attributes:
        name: What it is called.
        output: The output.
        expression: A boolean expression; null counts as false.
    """

    name: str
    output: str
    expression: pl.Expr = field(compare=False)

    def bind(self, schemas: Mapping[str, pl.Schema], context: Context) -> None:
        """See that it is boolean."""
        dtype = bind_expression(self.expression, _schema(schemas, self.output, self.name), f"check {self.name}")
        if dtype != pl.Boolean:
            raise ConfigurationError(f"it gives {dtype}, not true or false", where=f"check {self.name}")

    def failure(self, pending: Pending) -> str | None:
        """Look for rows where it is not true."""
        wrong = pending.outputs[self.output].filter(~self.expression.fill_null(value=False))
        count = wrong.select(pl.len()).collect(engine="streaming").item()
        if not count:
            return None
        first = wrong.head(1).collect(engine="streaming").row(0, named=True)
        shown = ", ".join(f"{name}={value}" for name, value in list(first.items())[:6])
        return f"{count:,} rows of {self.output} are otherwise; the first: {shown}"


@dataclass(frozen=True)
class FunctionCheck:
    """A function `(pending) -> str | None` as a check."""

    function: Callable[[Pending], str | None]

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def bind(self, schemas: Mapping[str, pl.Schema], context: Context) -> None:
        """Nothing is known of a function before it is called."""

    def failure(self, pending: Pending) -> str | None:
        """Call it."""
        try:
            return self.function(pending)
        except AssayError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's function: whatever it raises is a failure of the check
            return f"{type(error).__name__}: {error}"


def as_check(check: Check | Callable[[Pending], str | None]) -> Check:
    """A check, or a function as one."""
    return check if isinstance(check, Check) else FunctionCheck(check)


def run_checks(checks: Sequence[Check], pending: Pending) -> Iterator[str]:
    """Do all checks; gives the names of those that were done.

    Raises:
        CheckFailed: names every one that failed, and why.
    """
    failed = []
    for check in checks:
        failure = check.failure(pending)
        if failure is not None:
            failed.append(f"{check.name}: {failure}")
        else:
            yield check.name
    if failed:
        raise CheckFailed("a check failed, and nothing was published: " + "; ".join(failed))


def _schema(schemas: Mapping[str, pl.Schema], output: str, name: str) -> pl.Schema:
    if output not in schemas:
        raise ConfigurationError(unknown_name("output", output, schemas), where=f"check {name}")
    return schemas[output]


def _need(schema: pl.Schema, columns: Sequence[str], name: str) -> None:
    for column in columns:
        if column not in schema:
            raise ConfigurationError(unknown_name("column", column, schema), where=f"check {name}")


Checks = Sequence[Check | Callable[[Pending], Any]]
"""What a pipeline's `checks` may be."""
