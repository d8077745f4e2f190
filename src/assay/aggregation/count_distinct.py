"""Number of different values, exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import polars as pl

from assay.aggregation.measure import Dtypes, Measure, Parts, column_dtype, is_scalar, named, refusal

VALUES: Final = "values"


@dataclass(frozen=True)
class CountDistinct(Measure):
    """The number of different values of a column: Int64; null is no value, all NaN are one.

    The state keeps every different value of a group, so its size is theirs.
    """

    column: str
    merges_from_result: ClassVar[bool] = False

    def result_dtype(self, schema: pl.Schema) -> pl.DataType:
        """Int64."""
        dtype = column_dtype(schema, self.column, "CountDistinct")
        if not is_scalar(dtype):
            raise refusal("CountDistinct", self.column, dtype, "only single values are counted: take a field of it")
        return pl.Int64()

    def partial(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """The different values of a batch."""
        return {VALUES: named(self.column).drop_nulls().unique().implode()}

    def merge(self, parts: Parts, dtypes: Dtypes) -> dict[str, pl.Expr]:
        """The different values of all."""
        return {VALUES: parts[VALUES].explode(empty_as_null=False).unique().implode()}

    def final(self, parts: Parts, dtypes: Dtypes) -> pl.Expr:
        """How many there are."""
        return parts[VALUES].list.len().cast(pl.Int64)
