"""Quantile of a column, exact: one of its values, found from how often each occurs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import ClassVar, Final, Literal, get_args

import polars as pl

from assay.aggregation.measure import (
    Dtypes,
    Measure,
    Parts,
    column_dtype,
    is_ordered,
    named,
    refusal,
)
from assay.errors import ConfigurationError, unknown_name

COUNTED: Final = "counted"
_VALUE: Final = "value"
_TIMES: Final = "times"
_MAX_PLACES: Final = 9

Interpolation = Literal["higher", "lower", "nearest_rank"]
"""Which of n sorted values (counted from 0) is the quantile q.

lower: number floor(q·(n - 1)); higher: number ceil(q·(n - 1)); nearest_rank: number ceil(q·n) - 1, which is
`percentile_disc` of SQL.
"""


@dataclass(frozen=True)
class Quantile(Measure):
    """A quantile of a column, in the column's type; nulls do not count, a group without values has null.

    The result is always a value that occurs, so nothing is rounded, and texts and dates have quantiles too. NaN
    stands above all numbers. The state keeps every different value of a group with its count.

    Attributes:
        column: A column whose values have an order.
        q: 0 to 1, at most nine decimal places; a float is taken as it is written (0.1 is one tenth).
        interpolation: Which value is taken where q falls between two: `Interpolation`.
    """

    column: str
    q: Decimal | float | str
    interpolation: Interpolation = "lower"
    merges_from_result: ClassVar[bool] = False

    def __post_init__(self) -> None:
        known = get_args(Interpolation)
        if self.interpolation not in known:
            raise ConfigurationError(f"Quantile: {unknown_name('interpolation', self.interpolation, known)}")
        try:
            q = Decimal(str(self.q))
        except InvalidOperation:
            raise ConfigurationError(f"Quantile: q must be a number, not {self.q!r}") from None
        if not q.is_finite() or not 0 <= q <= 1 or q != round(q, _MAX_PLACES):
            raise ConfigurationError(
                f"Quantile: q must be 0 to 1 with at most {_MAX_PLACES} decimal places, not {self.q}"
            )

    def result_dtype(self, schema: pl.Schema) -> pl.DataType:
        """The column's type."""
        dtype = column_dtype(schema, self.column, "Quantile")
        if not is_ordered(dtype):
            raise refusal("Quantile", self.column, dtype, "its values have no order")
        return dtype

    def partial(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """How often each value occurs in a batch."""
        values = named(self.column).drop_nulls()
        return {COUNTED: _counted(values, values.is_not_null().cast(pl.Int64))}

    def merge(self, parts: Parts, dtypes: Dtypes) -> dict[str, pl.Expr]:
        """How often each value occurs in all."""
        counted = parts[COUNTED].explode(empty_as_null=False)
        return {COUNTED: _counted(counted.struct.field(_VALUE), counted.struct.field(_TIMES))}

    def final(self, parts: Parts, dtypes: Dtypes) -> pl.Expr:
        """The value at the quantile's place."""
        counted = pl.element()
        up_to = counted.struct.field(_TIMES).cum_sum()
        found = counted.struct.field(_VALUE).filter(up_to > self._index(up_to.last())).first()
        return parts[COUNTED].list.agg(found)

    def _index(self, n: pl.Expr) -> pl.Expr:
        q = Fraction(str(self.q))
        numerator, denominator = (pl.lit(part, dtype=pl.Int128) for part in (q.numerator, q.denominator))
        n = n.cast(pl.Int128)
        match self.interpolation:
            case "lower":
                return ((n - 1) * numerator).floordiv(denominator)
            case "higher":
                return ((n - 1) * numerator + denominator - 1).floordiv(denominator)
            case "nearest_rank":
                rank = (n * numerator + denominator - 1).floordiv(denominator)
                return pl.max_horizontal(rank - 1, pl.lit(0, dtype=pl.Int128))


def _counted(values: pl.Expr, times: pl.Expr) -> pl.Expr:
    """The different values in order, each with its number: aggregated without a group-by of its own."""
    ordered, running = values.sort(), times.sort_by(values).cum_sum()
    is_last = ordered.ne_missing(ordered.shift(-1))
    up_to = running.filter(is_last)
    each = up_to - up_to.shift(1, fill_value=0)
    return pl.struct(ordered.filter(is_last).alias(_VALUE), each.alias(_TIMES)).implode()
