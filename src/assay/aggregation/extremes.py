"""Smallest and largest value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from assay.aggregation.measure import (
    Dtypes,
    MergeableMeasure,
    Parts,
    column_dtype,
    is_ordered,
    named,
    refusal,
)

EXTREME: Final = "extreme"


@dataclass(frozen=True)
class _Extreme(MergeableMeasure):
    column: str

    def result_dtype(self, schema: pl.Schema) -> pl.DataType:
        """The column's type."""
        name = type(self).__name__
        dtype = column_dtype(schema, self.column, name)
        if not is_ordered(dtype):
            raise refusal(name, self.column, dtype, "its values have no order")
        return dtype

    def partial(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """The extreme of a batch."""
        return {EXTREME: self._of(named(self.column))}

    def merge(self, parts: Parts, dtypes: Dtypes) -> dict[str, pl.Expr]:
        """The extreme of extremes."""
        return {EXTREME: self._of(parts[EXTREME])}

    def final(self, parts: Parts, dtypes: Dtypes) -> pl.Expr:
        """The extreme."""
        return parts[EXTREME]

    def from_result(self, result: pl.Expr, dtype: pl.DataType) -> dict[str, pl.Expr]:
        """A stored extreme."""
        return {EXTREME: result}

    def _of(self, expr: pl.Expr) -> pl.Expr:
        raise NotImplementedError


class Min(_Extreme):
    """The smallest value, in the column's type; nulls and NaN do not count, a group without values has null.

    Texts compare by code point, enumerations by the order of their members.
    """

    def _of(self, expr: pl.Expr) -> pl.Expr:
        return expr.min()


class Max(_Extreme):
    """The largest value, in the column's type; otherwise as `Min`."""

    def _of(self, expr: pl.Expr) -> pl.Expr:
        return expr.max()
