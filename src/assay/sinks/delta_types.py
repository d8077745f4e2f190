"""How a column is stored in Delta Lake, whose types are fewer than those of Polars.

| column | Delta |
|---|---|
| Decimal(p, s) | decimal(p, s) |
| Int8, Int16, Int32, Int64 | byte, short, integer, long |
| UInt8, UInt16, UInt32; UInt64 | short, integer, long; decimal(20, 0) |
| Float32, Float64, Boolean, Date, String, Binary | float, double, boolean, date, string, binary |
| Datetime | timestamp_ntz, microseconds; with a zone: timestamp, which is UTC |
| Time, Duration | long: nanoseconds of the day; ticks of its unit |
| Enum, Categorical, Null | string |
| List, Struct | array, struct |

Where that does not say what the column was, the field's metadata does, under `assay.dtype`.
"""

from __future__ import annotations

import json
from typing import Any, Final

import polars as pl
from deltalake import Field, Schema
from deltalake.schema import ArrayType, DataType, PrimitiveType, StructType

from assay.errors import SinkError
from assay.sinks.columns import check_names, check_shape, leaf_types, mapped, schema_of_text, schema_text

DTYPE: Final = "assay.dtype"
_PARTITIONS: Final = (pl.Boolean, pl.Date, pl.String, pl.Enum, pl.Categorical)

_NAMES: Final[dict[type[pl.DataType], str]] = {
    pl.Binary: "binary",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Float32: "float",
    pl.Float64: "double",
    pl.Int8: "byte",
    pl.Int16: "short",
    pl.Int32: "integer",
    pl.Int64: "long",
    pl.String: "string",
}
_STORED: Final[dict[type[pl.DataType], pl.DataType]] = {
    pl.Categorical: pl.String(),
    pl.Duration: pl.Int64(),
    pl.Enum: pl.String(),
    pl.Null: pl.String(),
    pl.Time: pl.Int64(),
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Decimal(20, 0),
}


def stored(dtype: pl.DataType) -> pl.DataType:
    """The type in which values of a type that has none inside are stored."""
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", "UTC" if dtype.time_zone else None)
    return _STORED.get(type(dtype), dtype)


def stored_schema(schema: pl.Schema) -> pl.Schema:
    """The columns as they are stored."""
    return pl.Schema({name: mapped(dtype, stored) for name, dtype in schema.items()})


def check_storable(schema: pl.Schema, partition_by: tuple[str, ...], output: str) -> None:
    """Check that Delta can store such columns, and be partitioned by these.

    Raises:
        SinkError: names the first column that it cannot store or be partitioned by.
    """
    check_names(schema, "Delta", output)
    for name, dtype in schema.items():
        check_shape(name, dtype, "Delta", output)
        for leaf in leaf_types(dtype):
            kept = stored(leaf)
            if not isinstance(kept, pl.Decimal | pl.Datetime) and type(kept) not in _NAMES:
                raise SinkError(f'column "{name}" is {dtype}, which Delta cannot store: cast it', sink=output)
    for name in partition_by:
        if not (schema[name].is_integer() or isinstance(schema[name], _PARTITIONS)):
            raise SinkError(
                f'column "{name}" is {schema[name]}; a table is partitioned by texts, integers, dates or booleans',
                sink=output,
            )
    if len(partition_by) == len(schema):
        raise SinkError("a table that is partitioned by all of its columns has no rows left to store", sink=output)


def delta_schema(schema: pl.Schema) -> Schema:
    """The schema of a table that holds such columns; ask `check_storable` first."""
    fields = []
    for name, dtype in schema.items():
        natural = mapped(dtype, stored) == dtype
        metadata = None if natural else {DTYPE: schema_text(pl.Schema({name: dtype}))}
        fields.append(Field(name, _delta_type(mapped(dtype, stored)), nullable=True, metadata=metadata))
    return Schema(fields)


def polars_schema(schema: Schema) -> pl.Schema:
    """The columns that a table holds: as they were given to Assay, or as Delta has them."""
    natural = pl.Schema(schema.to_arrow())
    found: dict[str, pl.DataType] = {}
    for field in schema.fields:
        dtype = natural[field.name]
        text = field.metadata.get(DTYPE)
        given = schema_of_text(text)[field.name] if text else dtype
        # Somebody else may have changed the type since.
        found[field.name] = given if mapped(given, stored) == dtype else dtype
    return pl.Schema(found)


def is_plain(kind: DataType, dtype: pl.DataType) -> bool:
    """Whether a type of Delta is the one that `delta_schema` has for what Polars makes of it."""
    leaves = list(leaf_types(dtype))
    known = all(type(leaf) in _NAMES or isinstance(leaf, pl.Decimal | pl.Datetime) for leaf in leaves)
    return known and json.loads(_delta_type(dtype).to_json()) == json.loads(kind.to_json())


def _delta_type(dtype: Any) -> DataType:
    made = dtype() if isinstance(dtype, type) else dtype
    match made:
        case pl.Struct():
            return StructType([Field(f.name, _delta_type(f.dtype), nullable=True) for f in made.fields])
        case pl.List():
            return ArrayType(_delta_type(made.inner), contains_null=True)
        case pl.Decimal():
            return PrimitiveType(f"decimal({made.precision or 38},{made.scale})")
        case pl.Datetime():
            return PrimitiveType("timestamp" if made.time_zone else "timestamp_ntz")
    return PrimitiveType(_NAMES[type(made)])
