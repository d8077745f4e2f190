"""A plain function as a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from assay.errors import ConfigurationError
from assay.pipeline.context import IDENTITY, Context, is_hidden
from assay.pipeline.steps.protocol import BoundStep, Outcome, WholeOutcome

Function = Callable[[pl.LazyFrame], pl.LazyFrame]
F = TypeVar("F", bound=Function)


def rowwise(function: F) -> F:
    """Mark a step function as one that works on any part of the rows by itself.

    Then it is run batch by batch, which is faster and needs no memory. Without the mark it sees all rows at once, so
    that sums, sorts and windows over the whole are right.
    """
    function.__assay_rowwise__ = True  # type: ignore[attr-defined]
    return function


@dataclass(frozen=True)
class FunctionStep:
    """A function `LazyFrame -> LazyFrame`; rows keep their identity, the columns `_source` and `_record`."""

    function: Function

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", "function").strip("<>")

    def bind(self, schema: pl.Schema, context: Context) -> BoundStep:
        """Run it on an empty frame to learn its columns."""
        where = f"step {self.name}"
        try:
            made = self.function(pl.LazyFrame(schema=schema)).collect_schema()
        except pl.exceptions.PolarsError as error:
            raise ConfigurationError(str(error).splitlines()[0], where=where) from None
        except AttributeError as error:
            raise ConfigurationError(f"does not give a LazyFrame ({error})", where=where) from None
        except Exception as error:
            raise ConfigurationError(f"{type(error).__name__}: {error}", where=where) from error
        lost = [column for column in schema if is_hidden(column) and column not in made]
        if lost:
            raise ConfigurationError(
                f"loses the identity of its rows ({', '.join(lost)}): use with_columns, or select pl.col('^_.*$') too",
                where=where,
            )
        if getattr(self.function, "__assay_rowwise__", False):
            return BoundRowFunction(self.name, made, self.function)
        return BoundWholeFunction(self.name, made, self.function)


@dataclass
class BoundRowFunction:
    """A checked function that is run batch by batch."""

    name: str
    schema: pl.Schema
    function: Function
    fans_out: bool = True
    fingerprint: str = ""

    def open(self) -> None:
        """Nothing to read."""

    def apply(self, rows: pl.DataFrame) -> Outcome:
        """Run it; a row that it invents has no identity, which is an error."""
        made = self.function(rows.lazy()).collect()
        _see_identity(self.name, made.lazy())
        return Outcome(made)


@dataclass
class BoundWholeFunction:
    """A checked function that sees all rows."""

    name: str
    schema: pl.Schema
    function: Function
    fans_out: bool = True
    fingerprint: str = ""

    def open(self) -> None:
        """Nothing to read."""

    def apply_whole(self, rows: pl.LazyFrame) -> WholeOutcome:
        """Run it."""
        return WholeOutcome(self.function(rows))


def _see_identity(name: str, rows: pl.LazyFrame) -> None:
    nulls = rows.filter(pl.any_horizontal(pl.col(IDENTITY).is_null())).select(pl.len()).collect().item()
    if nulls:
        raise ConfigurationError(f"makes {nulls} rows that belong to no record", where=f"step {name}")
