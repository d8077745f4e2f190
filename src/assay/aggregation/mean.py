"""Mean of a column: for decimals the exact quotient, rounded once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar, Final

import polars as pl

from assay.aggregation import totals
from assay.aggregation.measure import Dtypes, Measure, Parts, named
from assay.errors import ConfigurationError, unknown_name
from assay.money import ROUNDINGS, Grid, Rounding, Scaled, round_to, rounded_quotient

COUNT: Final = "count"
_HIGH, _LOW, _COUNT = "high", "low", "count"
_MAX_COUNT: Final = 2**63 - 1
_MAX_PLACES: Final = 36


@dataclass(frozen=True)
class Mean(Measure):
    """The mean of a column; nulls do not count, and a group without values has null.

    Attributes:
        column: A Decimal or integer column gives Decimal(38, places): the exact total divided by the exact count,
            rounded once. A float column gives the plain Float64 mean.
        places: Places behind the point, 0 to 36; by default those of the Decimal column. An integer column has no
            default, a float column takes none.
        rounding: The name of the rounding.
    """

    column: str
    places: int | None = None
    rounding: Rounding = "half_even"
    merges_from_result: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.rounding not in ROUNDINGS:
            raise ConfigurationError(f"Mean: {unknown_name('rounding', self.rounding, ROUNDINGS)}")
        if self.places is not None and not 0 <= self.places <= _MAX_PLACES:
            raise ConfigurationError(f"Mean: places must be 0 to {_MAX_PLACES}, not {self.places}")

    def result_dtype(self, schema: pl.Schema) -> pl.DataType:
        """Decimal(38, places), or Float64 for floats."""
        dtype = totals.summable(schema, self.column, "Mean")
        if dtype.is_float():
            if self.places is not None:
                raise ConfigurationError(
                    f'Mean: column "{self.column}" is {dtype}, which has no decimal places: leave out places, '
                    "or make the column a Decimal"
                )
            return pl.Float64()
        if self.places is None and (not isinstance(dtype, pl.Decimal) or dtype.scale > _MAX_PLACES):
            raise ConfigurationError(f'Mean: column "{self.column}" is {dtype}: say to how many places the mean goes')
        return pl.Decimal(totals.DIGITS, self._places(dtype))

    def partial(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """Total and count of a batch."""
        total = totals.of_column(self.column, schema[self.column])
        return total | {COUNT: named(self.column).count().cast(pl.Int64)}

    def merge(self, parts: Parts, dtypes: Dtypes) -> dict[str, pl.Expr]:
        """Total of totals, sum of counts."""
        return totals.merged(parts, dtypes) | {COUNT: parts[COUNT].sum()}

    def final(self, parts: Parts, dtypes: Dtypes) -> pl.Expr:
        """Total divided by count."""
        counted = pl.when(parts[COUNT] > 0).then(parts[COUNT])
        if totals.FLOAT in parts:
            return parts[totals.FLOAT] / counted
        dtype = dtypes[totals.LOW]
        scale, places = dtype.scale if isinstance(dtype, pl.Decimal) else 0, self._places(dtype)
        low = totals.to_units(parts[totals.LOW], dtype)
        return pl.struct(parts[totals.HIGH].alias(_HIGH), low.alias(_LOW), counted.alias(_COUNT)).map_batches(
            lambda groups: _means(groups.struct.unnest(), scale, places, self.rounding),
            return_dtype=pl.Decimal(totals.DIGITS, places),
            is_elementwise=True,
        )

    def has_value(self, parts: Parts) -> pl.Expr | None:
        """A group with values has a mean."""
        return None if totals.FLOAT in parts else parts[COUNT] > 0

    def _places(self, dtype: pl.DataType) -> int:
        if self.places is not None:
            return self.places
        return dtype.scale if isinstance(dtype, pl.Decimal) else 0


def _means(groups: pl.DataFrame, scale: int, places: int, rounding: Rounding) -> pl.Series:
    """Compiled where columns have room for the way there, by the reference elsewhere."""
    kept = groups

    def keep(expr: pl.Expr) -> pl.Expr:
        # Written out instead, the expression takes Polars longer to plan than a million groups to compute.
        nonlocal kept
        name = f"kept {kept.width}"
        kept = kept.with_columns(expr.alias(name))
        return pl.col(name)

    units = pl.when(pl.col(_HIGH).abs() < totals.BASE).then(pl.col(_HIGH) * totals.BASE + pl.col(_LOW))
    total, count = Scaled(keep(units), scale), Scaled(keep(pl.col(_COUNT).cast(pl.Int128)), 0, _MAX_COUNT)
    mean = rounded_quotient(total, count, Grid(places), rounding, keep=keep).amount.decimal()
    means = kept.select(mean).to_series()
    at = (means.is_null() & groups[_COUNT].is_not_null()).arg_true()
    if at.is_empty():
        return means
    rows = groups.select(_HIGH, _LOW, _COUNT)[at].iter_rows()
    exact = [_reference(high * totals.BASE + low, count, scale, places, rounding) for high, low, count in rows]
    return means.scatter(at, pl.Series(exact, dtype=means.dtype))


def _reference(units: int, count: int, scale: int, places: int, rounding: Rounding) -> Decimal | None:
    """The mean, or None where Decimal(38, places) cannot hold it."""
    mean = round_to(Fraction(units, count * 10**scale), places, rounding)
    return mean if mean.copy_abs() < Decimal(10) ** (totals.DIGITS - places) else None
