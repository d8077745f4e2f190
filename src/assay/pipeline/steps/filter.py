"""Filter: rows that do not pass are counted as filtered, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from assay.errors import ConfigurationError
from assay.pipeline.context import Context
from assay.pipeline.steps.protocol import Outcome, bind_expression


@dataclass(frozen=True)
class Filter:
    """Keep the rows for which `keep` is true (false and null are filtered).

    Args:
        name: What the ledger calls it.
        keep: An expression, or a function of the pipeline's parameters that gives one.
    """

    name: str
    keep: pl.Expr | Callable[[Any], pl.Expr]

    def bind(self, schema: pl.Schema, context: Context) -> BoundFilter:
        """Check the expression."""
        where = f"step {self.name}"
        keep = self.keep if isinstance(self.keep, pl.Expr) else self.keep(context.params)
        if bind_expression(keep, schema, where) != pl.Boolean():
            raise ConfigurationError("the condition is not true or false", where=where)
        return BoundFilter(self.name, schema, keep)


@dataclass
class BoundFilter:
    """A checked filter."""

    name: str
    schema: pl.Schema
    keep: pl.Expr
    fans_out: bool = False
    fingerprint: str = ""

    def open(self) -> None:
        """Nothing to read."""

    def apply(self, rows: pl.DataFrame) -> Outcome:
        """Drop what does not pass."""
        return Outcome(rows.filter(self.keep))
