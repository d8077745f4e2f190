"""Number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from assay.aggregation.measure import Dtypes, MergeableMeasure, Parts, column_dtype, named

COUNT: Final = "count"


@dataclass(frozen=True)
class Count(MergeableMeasure):
    """The number of rows, or with a column the number of rows where it is not null: Int64."""

    column: str | None = None

    def result_dtype(self, schema: pl.Schema) -> pl.DataType:
        """Int64."""
        if self.column is not None:
            column_dtype(schema, self.column, "Count")
        return pl.Int64()

    def partial(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """The rows of a batch."""
        rows = pl.len() if self.column is None else named(self.column).count()
        return {COUNT: rows.cast(pl.Int64)}

    def merge(self, parts: Parts, dtypes: Dtypes) -> dict[str, pl.Expr]:
        """The sum of counts."""
        return {COUNT: parts[COUNT].sum()}

    def final(self, parts: Parts, dtypes: Dtypes) -> pl.Expr:
        """The count."""
        return parts[COUNT]

    def from_result(self, result: pl.Expr, dtype: pl.DataType) -> dict[str, pl.Expr]:
        """A stored count."""
        return {COUNT: result}
