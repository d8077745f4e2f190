"""The types of columns in DuckDB, and how it is asked for them.

| column | DuckDB |
|---|---|
| Decimal(p, s) | DECIMAL(p, s) |
| integers, floats, Boolean, Date, String, Binary | the type of that size and name |
| Datetime | TIMESTAMP_MS, TIMESTAMP, TIMESTAMP_NS; with a zone: TIMESTAMP WITH TIME ZONE, microseconds |
| Time, Duration | TIME_NS, INTERVAL of microseconds |
| Enum | ENUM |
| Categorical, Null | VARCHAR |
| List, Struct | LIST, STRUCT |

What these types do not say (the zone, the unit of a duration) stands beside the run's token in `assay_publications`.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from assay.errors import SinkError
from assay.sinks.columns import leaf_types

_TYPES: Final[dict[type[pl.DataType], str]] = {
    pl.Binary: "BLOB",
    pl.Boolean: "BOOLEAN",
    pl.Categorical: "VARCHAR",
    pl.Date: "DATE",
    pl.Duration: "INTERVAL",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
    pl.Int8: "TINYINT",
    pl.Int16: "SMALLINT",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.Null: "VARCHAR",
    pl.String: "VARCHAR",
    pl.Time: "TIME_NS",
    pl.UInt8: "UTINYINT",
    pl.UInt16: "USMALLINT",
    pl.UInt32: "UINTEGER",
    pl.UInt64: "UBIGINT",
}


def sql_type(name: str, dtype: pl.DataType, output: str) -> str:
    """The type of a column in DuckDB.

    Raises:
        SinkError: there is none.
    """
    match dtype:
        case pl.Struct():
            fields = (f"{quoted(f.name)} {sql_type(name, _instance(f.dtype), output)}" for f in dtype.fields)
            return f"STRUCT({', '.join(fields)})"
        case pl.List():
            return f"{sql_type(name, _instance(dtype.inner), output)}[]"
        case pl.Decimal():
            return f"DECIMAL({dtype.precision or 38}, {dtype.scale})"
        case pl.Datetime():
            units = {"ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}
            return "TIMESTAMP WITH TIME ZONE" if dtype.time_zone else units[dtype.time_unit]
        case pl.Enum():
            categories = dtype.categories.to_list()
            if not categories or any("\x00" in category for category in categories):
                return "VARCHAR"
            return f"ENUM({', '.join(_text(category) for category in categories)})"
    found = _TYPES.get(type(dtype))
    if found is None:
        raise SinkError(f'column "{name}" is {dtype}, which DuckDB cannot store: cast it', sink=output)
    return found


def stored(dtype: pl.DataType) -> pl.DataType:
    """The type in which DuckDB gets values."""
    match dtype:
        case pl.Datetime(time_zone=str()):
            return pl.Datetime("us", "UTC")
        case pl.Duration():
            return pl.Duration("us")
        case pl.Enum() | pl.Categorical() | pl.Null():
            return pl.String()
    return dtype


def read_as(column: str, dtype: pl.DataType) -> str:
    """An SQL expression that gives a column as Polars can take it: it has no intervals."""
    if not any(isinstance(leaf, pl.Duration) for leaf in leaf_types(dtype)):
        return column
    match dtype:
        case pl.Struct():
            fields = (
                f"{quoted(f.name)} := {read_as(f'{column}.{quoted(f.name)}', _instance(f.dtype))}" for f in dtype.fields
            )
            return f"CASE WHEN {column} IS NULL THEN NULL ELSE struct_pack({', '.join(fields)}) END"
        case pl.List():
            # Each level has a name of its own, which is longer by one letter.
            element = f"element{column.count('element') * '_'}"
            return f"list_transform({column}, lambda {element}: {read_as(element, _instance(dtype.inner))})"
    return f"epoch_us({column})"


def quoted(name: str) -> str:
    """A name as SQL has it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
