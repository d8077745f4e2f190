"""Total of a column: exact for decimals and integers."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from assay.aggregation import totals
from assay.aggregation.measure import Dtypes, MergeableMeasure, Parts


@dataclass(frozen=True)
class Sum(MergeableMeasure):
    """The total of a column; nulls count as nothing, and a group of nulls has the total 0.

    | column | total |
    |---|---|
    | Decimal(p, s) | Decimal(38, s), exact |
    | integers of up to 64 bits | Int64, exact |
    | Float32, Float64 | Float64; its last bits depend on the order of the rows. Money is never a float |

    An exact total that its column cannot hold is an `AggregationError` at the end; on the way there is always room.
    """

    column: str

    def result_dtype(self, schema: pl.Schema) -> pl.DataType:
        """Decimal(38, s), Int64 or Float64."""
        return totals.total_dtype(totals.summable(schema, self.column, "Sum"))

    def partial(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """The total of a batch."""
        return totals.of_column(self.column, schema[self.column])

    def merge(self, parts: Parts, dtypes: Dtypes) -> dict[str, pl.Expr]:
        """The total of totals."""
        return totals.merged(parts, dtypes)

    def final(self, parts: Parts, dtypes: Dtypes) -> pl.Expr:
        """The total."""
        return totals.value(parts, dtypes)

    def has_value(self, parts: Parts) -> pl.Expr | None:
        """Every group has a total."""
        return None if totals.FLOAT in parts else pl.lit(value=True)

    def from_result(self, result: pl.Expr, dtype: pl.DataType) -> dict[str, pl.Expr]:
        """A stored total."""
        return totals.of_total(result, dtype)
