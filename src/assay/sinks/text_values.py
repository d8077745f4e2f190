"""How a column is written as text, in JSON and in CSV, and read again: exactly.

| column | JSON | CSV |
|---|---|---|
| Decimal(p, s) | string, all s places: a number would be a float to most readers | number, all s places |
| integers | number | number |
| Float32, Float64 | number, shortest; "NaN", "Infinity", "-Infinity" | number, shortest; NaN, inf, -inf |
| Boolean | true, false | true, false |
| Date | "2024-02-29" | 2024-02-29 |
| Datetime | "2024-02-29T12:00:00.000000", with a zone in UTC and with a Z | the same |
| Time | "12:00:00.000000000" | the same |
| Duration | number, in the column's unit | the same |
| String, Enum, Categorical | string | text; the empty string is `""`, null is nothing |
| Binary | string, base64 | base64 |
| List, Array, Struct | array, object | JSON as above |

Polars writes and reads. The one thing that its JSON cannot say is a float that is no number: rows with one are written
by a plain reference, one by one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import date
from typing import Any, Final

import polars as pl
import polars.selectors as cs

from assay.errors import SinkError

_NOT_FINITE: Final = {"NaN": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
_FIRST_DAY: Final = date(1, 1, 1).toordinal() - date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date(9999, 12, 31).toordinal() - date(1970, 1, 1).toordinal()
_TICKS_A_DAY: Final = {"ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
_PLACES: Final = {"ms": 3, "us": 6, "ns": 9}
_LARGEST: Final = 2**63 - 1
_LEAVES: Final = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
    *(pl.Float32, pl.Float64, pl.Decimal, pl.Boolean, pl.Null),
    *(pl.String, pl.Enum, pl.Categorical, pl.Binary, pl.Date, pl.Datetime, pl.Time, pl.Duration),
)
_X: Final = "x"

Leaf = Callable[[pl.Expr, pl.DataType], pl.Expr | None]


def check_storable(name: str, dtype: pl.DataType, output: str) -> None:
    """Check that text can hold a column.

    Raises:
        SinkError: it cannot.
    """
    match dtype:
        case pl.Struct():
            if not dtype.fields:
                raise SinkError(f'column "{name}" has a struct without fields: there is nothing to write', sink=output)
            for field in dtype.fields:
                check_storable(name, instance(field.dtype), output)
        case pl.List() | pl.Array():
            check_storable(name, instance(dtype.inner), output)
        case _ if not isinstance(dtype, _LEAVES):
            raise SinkError(f'column "{name}" is {dtype}, which is not written as text: cast it', sink=output)


def check_values(frame: pl.DataFrame, first_row: int, output: str) -> None:
    """Check that all values can be written so that any reader understands them.

    Args:
        frame: Rows of a run.
        first_row: How many came before.
        output: Name of the output.

    Raises:
        SinkError: a date is outside of the years 1 to 9999; names the column and the first such row.
    """
    for name, dtype in frame.schema.items():
        odd = _anywhere(cs.by_name(name).as_expr(), dtype, _beyond_years)
        if odd is None:
            continue
        rows = frame.select(odd.fill_null(value=False).arg_true()).to_series()
        if len(rows):
            raise SinkError(
                f'column "{name}" has a date outside of the years 1 to 9999, first in row {first_row + rows[0] + 1:,}',
                sink=output,
            )


def instance(dtype: Any) -> pl.DataType:
    """A type as Polars gives it in schemas: of a class, its instance."""
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made


# JSON -----------------------------------------------------------------------------------------------------------------


def json_lines(frame: pl.DataFrame) -> bytes | memoryview:
    """A line of JSON for each row."""
    texts = frame.select(
        _as_text(cs.by_name(name).as_expr(), dtype).alias(name) for name, dtype in frame.schema.items()
    )
    if not _unspeakable(frame):
        stream = io.BytesIO()
        texts.write_ndjson(stream)
        return stream.getbuffer()
    return "".join(f"{line}\n" for line in _json(frame, texts)).encode()


def json_type(dtype: pl.DataType) -> pl.DataType:
    """The type that JSON is decoded to, from which `from_json` makes the column."""
    match dtype:
        case pl.Struct():
            return pl.Struct({field.name: json_type(instance(field.dtype)) for field in dtype.fields})
        case pl.List() | pl.Array():
            return pl.List(json_type(instance(dtype.inner)))
        case pl.Boolean():
            return dtype
        case _ if dtype.is_unsigned_integer():
            return pl.UInt64()
        case _ if dtype.is_signed_integer() or isinstance(dtype, pl.Duration):
            return pl.Int64()
    # Of floats and decimals too: Polars would take a number on its way to a Decimal through a float.
    return pl.String()


def from_json(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The column from what JSON was decoded to."""
    match dtype:
        case pl.Struct():
            # By place: a field may be named "*", which would mean all of them.
            places = [f"f{i}" for i in range(len(dtype.fields))]
            inside = text.struct.rename_fields(places).struct
            fields = [
                from_json(inside.field(place), instance(field.dtype)).alias(field.name)
                for place, field in zip(places, dtype.fields, strict=True)
            ]
            return pl.when(text.is_not_null()).then(pl.struct(fields))
        case pl.List():
            return text.list.eval(from_json(pl.element(), instance(dtype.inner)))
        case pl.Array():
            return text.list.eval(from_json(pl.element(), instance(dtype.inner))).list.to_array(dtype.size)
    return _from_text(text, dtype)


# CSV ------------------------------------------------------------------------------------------------------------------


def csv_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns as Polars writes them to CSV."""
    columns = []
    for name, dtype in frame.schema.items():
        column = cs.by_name(name).as_expr()
        if dtype.is_nested():
            wrapped = frame.select(column.alias(_X))
            texts = wrapped.select(_as_text(pl.col(_X), dtype).alias(_X))
            cells = _json(wrapped, texts).str.strip_prefix(f'{{"{_X}":').str.head(-1)
            columns.append(cells.set(frame.select(column.is_null()).to_series(), None).alias(name))
        else:
            columns.append(frame.select(_as_text(column, dtype).alias(name)).to_series())
    return pl.DataFrame(columns)


def csv_type(dtype: pl.DataType) -> pl.DataType:
    """The type that a cell is read as, from which `from_csv` makes the column."""
    match dtype:
        case pl.Duration():
            return pl.Int64()
        case _ if dtype.is_numeric() or isinstance(dtype, pl.Boolean):
            return dtype
    return pl.String()


def from_csv(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The column from its cells."""
    if not dtype.is_nested():
        return _from_text(cell, dtype)
    wrapped = pl.concat_str(pl.lit(f'{{"{_X}":'), cell, pl.lit("}"))
    decoded = wrapped.str.json_decode(pl.Struct({_X: json_type(dtype)})).struct.field(_X)
    return from_json(decoded, dtype)


# Both -----------------------------------------------------------------------------------------------------------------


def _as_text(column: pl.Expr, dtype: pl.DataType, *, numbers: bool = True) -> pl.Expr:
    """What Polars writes exactly; without `numbers` floats, decimals and dates are text already."""
    match dtype:
        case pl.Struct():
            places = [f"f{i}" for i in range(len(dtype.fields))]
            inside = column.struct.rename_fields(places).struct
            fields = [
                _as_text(inside.field(place), instance(field.dtype), numbers=numbers).alias(field.name)
                for place, field in zip(places, dtype.fields, strict=True)
            ]
            return pl.when(column.is_not_null()).then(pl.struct(fields))
        case pl.List():
            return column.list.eval(_as_text(pl.element(), instance(dtype.inner), numbers=numbers))
        case pl.Array():
            return column.arr.to_list().list.eval(_as_text(pl.element(), instance(dtype.inner), numbers=numbers))
        case pl.Datetime():
            text = f"%Y-%m-%dT%H:%M:%S%.{_PLACES[dtype.time_unit]}f"
            # In UTC, whatever the zone: offsets are not always whole minutes.
            return (
                column.dt.convert_time_zone("UTC").dt.to_string(f"{text}Z")
                if dtype.time_zone
                else column.dt.to_string(text)
            )
        case pl.Time():
            return column.dt.to_string("%H:%M:%S%.9f")
        case pl.Duration():
            return column.cast(pl.Int64)
        case pl.Binary():
            return column.bin.encode("base64")
        case pl.Enum() | pl.Categorical() | pl.Null():
            return column.cast(pl.String)
        case pl.Date():
            return column if numbers else column.dt.to_string("%Y-%m-%d")
        case pl.Decimal() | pl.Float32() | pl.Float64():
            return column if numbers else column.cast(pl.String)
    return column


def _from_text(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    match dtype:
        case pl.Datetime(time_zone=None):
            return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit=dtype.time_unit)
        case pl.Datetime():
            at = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit=dtype.time_unit, time_zone="UTC")
            return at.dt.convert_time_zone(str(dtype.time_zone))
        case pl.Date():
            return text.str.to_date("%Y-%m-%d")
        case pl.Time():
            return text.str.to_time("%H:%M:%S%.f")
        case pl.Binary():
            return text.str.decode("base64")
    return text.cast(dtype)


def _json(frame: pl.DataFrame, texts: pl.DataFrame) -> pl.Series:
    """Each row as a JSON object: as Polars writes it, or where it cannot, as the reference does."""
    lines = texts.select(pl.struct(pl.all()).struct.json_encode().alias(_X)).to_series()
    odd = _unspeakable(frame)
    if not odd:
        return lines
    leaves = frame[odd].select(
        _as_text(cs.by_name(name).as_expr(), dtype, numbers=False).alias(name) for name, dtype in frame.schema.items()
    )
    whole = pl.Struct(dict(frame.schema))
    return lines.scatter(odd, [_reference(one, whole) for one in leaves.iter_rows(named=True)])


def _reference(value: Any, dtype: pl.DataType) -> str:
    """JSON of a value, floats and decimals of which are text; a float that is no number is a string."""
    if value is None:
        return "null"
    match dtype:
        case pl.Struct():
            fields = (
                f"{json.dumps(field.name)}:{_reference(value[field.name], instance(field.dtype))}"
                for field in dtype.fields
            )
            return f"{{{','.join(fields)}}}"
        case pl.List() | pl.Array():
            return f"[{','.join(_reference(one, instance(dtype.inner)) for one in value)}]"
        case pl.Float32() | pl.Float64():
            return _NOT_FINITE.get(value, str(value))
    return json.dumps(value, ensure_ascii=False)


def _unspeakable(frame: pl.DataFrame) -> list[int]:
    """Rows with a float that Polars would write as null."""
    flags = [_anywhere(cs.by_name(name).as_expr(), dtype, _not_finite) for name, dtype in frame.schema.items()]
    found = [flag for flag in flags if flag is not None]
    if not found:
        return []
    return frame.select(pl.any_horizontal(found).fill_null(value=False).arg_true()).to_series().to_list()


def _anywhere(column: pl.Expr, dtype: pl.DataType, leaf: Leaf) -> pl.Expr | None:
    """Where a value, or one inside of it, is as `leaf` says; None if that cannot be of this type."""
    match dtype:
        case pl.Struct():
            places = [f"f{i}" for i in range(len(dtype.fields))]
            inside = column.struct.rename_fields(places).struct
            found = [
                _anywhere(inside.field(place), instance(field.dtype), leaf)
                for place, field in zip(places, dtype.fields, strict=True)
            ]
            flags = [flag for flag in found if flag is not None]
            return pl.any_horizontal(flags) if flags else None
        case pl.List() | pl.Array():
            inner = _anywhere(pl.element(), instance(dtype.inner), leaf)
            rows = column if isinstance(dtype, pl.List) else column.arr.to_list()
            return None if inner is None else rows.list.eval(inner).list.any()
    return leaf(column, dtype)


def _not_finite(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    return ~column.is_finite() if dtype.is_float() else None


def _beyond_years(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    match dtype:
        case pl.Date():
            ticks = 1
        case pl.Datetime():
            ticks = _TICKS_A_DAY[dtype.time_unit]
        case _:
            return None
    first, after = max(_FIRST_DAY * ticks, -_LARGEST), min((_LAST_DAY + 1) * ticks - 1, _LARGEST)
    return ~column.to_physical().cast(pl.Int64).is_between(first, after)
