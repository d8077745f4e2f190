"""Totals of a column, exact and with room to spare: two limbs of 19 digits each.

Polars adds the decimals of a group-by modulo 2**128 and integers modulo 2**64, silently. A total kept as
`high` * 10**19 + `low` has room for more summands than there are; whether it fits its column is decided once, at the
end. So a total does not depend on the order of its parts, not even on whether some part alone would be too large.

`low` (0 <= low < 10**19) has the type that says what is summed: Decimal(38, s), or Int128 for integers. Floats are
what they are: one part, the usual sum.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from assay.aggregation.measure import Dtypes, Parts, column_dtype, named, refusal

HIGH: Final = "high"
LOW: Final = "low"
FLOAT: Final = "float"

BASE: Final = 10**19
DIGITS: Final = 38
# With this many digits a group of 10**10 rows still fits an Int128: no need to split each summand.
_NARROW: Final = 28


def summable(schema: pl.Schema, column: str, measure: str) -> pl.DataType:
    """The type of a column that can be added up.

    Raises:
        ConfigurationError: no such column, or none that can be added up.
    """
    dtype = column_dtype(schema, column, measure)
    if isinstance(dtype, pl.Int128 | pl.UInt128):
        raise refusal(measure, column, dtype, "integers of more than 64 bits are not added up: cast to Decimal(38, 0)")
    if not dtype.is_numeric():
        raise refusal(measure, column, dtype, "only numbers can be added up: cast it first")
    return dtype


def of_column(column: str, dtype: pl.DataType) -> dict[str, pl.Expr]:
    """The total of a column; nulls count as nothing."""
    if dtype.is_float():
        return {FLOAT: named(column).cast(pl.Float64).sum()}
    units = to_units(named(column), dtype)
    if isinstance(dtype, pl.Decimal) and (dtype.precision or DIGITS) > _NARROW:
        return _carried(units.floordiv(_int(BASE)).sum(), (units % _int(BASE)).sum(), dtype)
    return _carried(_int(0), units.sum(), dtype)


def of_total(total: pl.Expr, dtype: pl.DataType) -> dict[str, pl.Expr]:
    """A total that is stored, in parts again."""
    return {FLOAT: total} if dtype.is_float() else _carried(_int(0), to_units(total, dtype), dtype)


def merged(parts: Parts, dtypes: Dtypes) -> dict[str, pl.Expr]:
    """The total of totals."""
    if FLOAT in parts:
        return {FLOAT: parts[FLOAT].sum()}
    return _carried(parts[HIGH].sum(), to_units(parts[LOW], dtypes[LOW]).sum(), dtypes[LOW])


def value(parts: Parts, dtypes: Dtypes) -> pl.Expr:
    """The total as its column holds it (`total_dtype`); null where that has no room for it."""
    if FLOAT in parts:
        return parts[FLOAT]
    dtype = dtypes[LOW]
    high, low = parts[HIGH], to_units(parts[LOW], dtype)
    if isinstance(dtype, pl.Decimal):
        room = high.is_between(_int(-BASE), _int(BASE - 1)) & ~((high == _int(-BASE)) & (low == _int(0)))
        return _from_units(pl.when(room).then(high * _int(BASE) + low), dtype)
    return pl.when(high.is_between(_int(-1), _int(0))).then(high * _int(BASE) + low).cast(pl.Int64, strict=False)


def total_dtype(dtype: pl.DataType) -> pl.DataType:
    """What the total of a column is."""
    if isinstance(dtype, pl.Decimal):
        return pl.Decimal(DIGITS, dtype.scale)
    return pl.Float64() if dtype.is_float() else pl.Int64()


def to_units(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The unscaled integers of a Decimal or integer column."""
    return expr.reinterpret(dtype=pl.Int128) if isinstance(dtype, pl.Decimal) else expr.cast(pl.Int128)


def _from_units(units: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return units.reinterpret(dtype=pl.Decimal(DIGITS, dtype.scale)) if isinstance(dtype, pl.Decimal) else units


def _carried(high: pl.Expr, low: pl.Expr, dtype: pl.DataType) -> dict[str, pl.Expr]:
    return {HIGH: high + low.floordiv(_int(BASE)), LOW: _from_units(low % _int(BASE), dtype)}


def _int(number: int) -> pl.Expr:
    return pl.lit(number, dtype=pl.Int128)
