"""How a column is stored in SQL: its type there, and its values on the way in and out, exactly.

SQLite has five kinds of values and none of them is a decimal, a date or a list: they are texts there. SQLAlchemy's own
Numeric would take them through floats. PostgreSQL has types for them.

| column | SQLite | PostgreSQL |
|---|---|---|
| Decimal(p, s) | TEXT, all s places | NUMERIC(p, s) |
| UInt64 | TEXT | NUMERIC(20, 0) |
| other integers, Duration | BIGINT | BIGINT |
| Float32, Float64 | FLOAT; NaN as the text NaN, which SQLite has no number for | DOUBLE PRECISION |
| Boolean | BOOLEAN (0, 1) | BOOLEAN |
| Date | TEXT, ISO 8601 | DATE |
| Datetime | TEXT, ISO 8601 | TIMESTAMP; no nanoseconds |
| Datetime with a zone | TEXT, ISO 8601, in UTC | TIMESTAMP WITH TIME ZONE; no nanoseconds |
| Time | TEXT, ISO 8601 | TIME; no nanoseconds |
| String, Enum, Categorical, Null | TEXT | TEXT; no NUL |
| Binary | BLOB | BYTEA |
| List, Struct | TEXT, JSON; decimals as strings, binary as base64 | TEXT, JSON |
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from assay.errors import SinkError

Value = Callable[[Any], Any]

_TICKS: Final = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_PLACES: Final = {"ms": 3, "us": 6, "ns": 9}
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DATETIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z?)")
_TIME: Final = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{9}))?")


class SqlDecimal(TypeDecorator[Decimal]):
    """An exact decimal: TEXT on SQLite, where NUMERIC would become a float, NUMERIC(precision, scale) elsewhere.

    For columns of one's own mapped classes too: `price: Mapped[Decimal] = mapped_column(SqlDecimal(38, 2))`.
    """

    impl = sa.Numeric
    cache_ok = True

    def __init__(self, precision: int = 38, scale: int = 2) -> None:
        super().__init__(precision, scale, asdecimal=True)
        self.precision, self.scale = precision, scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """TEXT or NUMERIC."""
        kind = sa.Text() if dialect.name == "sqlite" else sa.Numeric(self.precision, self.scale, asdecimal=True)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """A text with exactly `scale` places on SQLite, so that equal decimals are equal texts.

        Raises:
            ValueError: the value is a float, or has more digits than the column.
        """
        if value is None:
            return None
        if type(value) not in (Decimal, int):
            raise ValueError(f"{value!r} is a {type(value).__name__}, and this column takes exact decimals")
        text = _fixed(Decimal(value), self.precision, self.scale)
        return text if dialect.name == "sqlite" else Decimal(text)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """A Decimal, always."""
        return None if value is None else Decimal(value)


def sql_type(name: str, dtype: pl.DataType, output: str) -> TypeEngine[Any]:
    """The SQL type of a column.

    Raises:
        SinkError: it cannot be stored.
    """
    _check_storable(name, dtype, output)
    match dtype:
        case pl.Decimal():
            return SqlDecimal(dtype.precision or 38, dtype.scale)
        case pl.UInt64():
            return SqlDecimal(20, 0)
        case pl.Boolean():
            return sa.Boolean()
        case pl.Binary():
            return sa.LargeBinary()
        case pl.Date():
            return sa.Text().with_variant(sa.Date(), "postgresql")
        case pl.Datetime():
            return sa.Text().with_variant(sa.TIMESTAMP(timezone=dtype.time_zone is not None), "postgresql")
        case pl.Time():
            return sa.Text().with_variant(sa.Time(), "postgresql")
    if dtype.is_integer() or isinstance(dtype, pl.Duration):
        return sa.BigInteger()
    return sa.Double().with_variant(sa.Float(), "sqlite") if dtype.is_float() else sa.Text()


@dataclass(frozen=True)
class Refused:
    """A value that cannot be stored.

    Attributes:
        row: Its place in the column.
        why: What it is, and what to do.
    """

    row: int
    why: str


def check_values(column: pl.Series, dialect: str) -> Refused | None:
    """The first value that the database (`sqlite` or `postgresql`) would not take, or would change; None if none."""
    try:
        _see_dates(column)
    except (ValueError, OverflowError):
        row = next(row for row in range(len(column)) if not _is_dated(column[row : row + 1]))
        return Refused(row, "has a date outside the years 1 to 9999, which cannot be stored")
    if dialect != "postgresql":
        return None
    # PostgreSQL has neither this character nor nanoseconds. Texts within nested values are JSON, which escapes it.
    why = "has a NUL character, which PostgreSQL has no text for: take it out, or store bytes"
    match column.dtype:
        case pl.String() | pl.Enum() | pl.Categorical():
            wrong = column.cast(pl.String).str.contains("\0", literal=True)
        case pl.Time():
            wrong = column.cast(pl.Int64) % 1000 != 0
            why = "has a time with nanoseconds, which PostgreSQL does not keep: round it"
        case pl.Datetime(time_unit="ns"):
            wrong = column.cast(pl.Int64) % 1000 != 0
            why = "has a datetime with nanoseconds, which PostgreSQL does not keep: round it, or cast it"
        case _:
            return None
    return Refused(wrong.fill_null(value=False).arg_max() or 0, why) if wrong.any() else None


def _see_dates(column: pl.Series) -> None:
    dtype = column.dtype
    if isinstance(dtype, pl.Date | pl.Datetime):
        write = _writer(dtype)
        for extreme in (column.cast(pl.Int64).min(), column.cast(pl.Int64).max()):
            if extreme is not None:
                write(extreme)
    elif _has_dates(dtype):
        write = _writer(dtype)
        for value in column.drop_nulls().cast(_plain(dtype)).to_list():
            write(value)


def _is_dated(column: pl.Series) -> bool:
    try:
        _see_dates(column)
    except (ValueError, OverflowError):
        return False
    return True


def to_sqlite(column: pl.Series) -> list[Any]:
    """The values of a column as SQLite's driver takes them; ask `check_values` first."""
    dtype = column.dtype
    if isinstance(dtype, pl.UInt64):
        return column.cast(pl.String).to_list()
    if dtype.is_nested():
        return to_json(column)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        zone = "Z" if dtype.time_zone else ""
        return column.dt.to_string(f"%Y-%m-%dT%H:%M:%S%.{_PLACES[dtype.time_unit]}f{zone}").to_list()
    if isinstance(dtype, pl.Date):
        return column.dt.to_string("%Y-%m-%d").to_list()
    if isinstance(dtype, pl.Time):
        return column.dt.to_string("%H:%M:%S%.9f").to_list()
    values = column.cast(_plain(dtype)).to_list()
    # SQLite would make NULL of NaN.
    is_lost = dtype.is_float() and bool(column.is_nan().any())
    return ["NaN" if v is not None and math.isnan(v) else v for v in values] if is_lost else values


def to_json(column: pl.Series) -> list[str | None]:
    """The values of a nested column as JSON texts."""
    # Polars 2.1 panics when it casts a list whose nulls hide elements; rows that are gathered hide none.
    column = column.gather(list(range(len(column))))
    write = _writer(column.dtype)
    values = column.cast(_plain(column.dtype)).to_list()
    return [None if v is None else json.dumps(write(v), ensure_ascii=False, separators=(",", ":")) for v in values]


def from_sql(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """The way back.

    Raises:
        ValueError: a stored value is none of this type (somebody else has written it).
    """
    if isinstance(dtype, pl.Null):
        return pl.Series(name, values, dtype=pl.Null)
    read: Value | None = None
    if dtype.is_nested():
        inner = _reader(dtype)

        def read(v: Any) -> Any:
            return inner(json.loads(v))
    elif isinstance(dtype, pl.Decimal):
        precision, scale = dtype.precision or 38, dtype.scale

        def read(v: Any) -> Any:
            return _fixed(Decimal(v), precision, scale)
    elif isinstance(dtype, pl.UInt64):
        read = int
    elif dtype.is_float():
        read = float
    elif isinstance(dtype, pl.Boolean):
        read = _flag
    elif dtype.is_temporal() and not isinstance(dtype, pl.Duration):
        parse = _reader(dtype)

        def read(v: Any) -> Any:
            return parse(v) if isinstance(v, str) else _ticks(v, dtype)

    try:
        plain = values if read is None else [None if v is None else read(v) for v in values]
        return pl.Series(name, plain, dtype=_plain(dtype), strict=True).cast(dtype)
    except (pl.exceptions.PolarsError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"a stored value is no {dtype}: {error}") from error


def _has_dates(dtype: Any) -> bool:
    dtype = dtype() if isinstance(dtype, type) else dtype
    match dtype:
        case pl.Struct():
            return any(_has_dates(field.dtype) for field in dtype.fields)
        case pl.List():
            return _has_dates(dtype.inner)
    return isinstance(dtype, pl.Date | pl.Datetime)


def _plain(dtype: Any) -> pl.DataType:
    """The type in which values leave a column as Python's own, none of their digits lost."""
    dtype = dtype() if isinstance(dtype, type) else dtype
    match dtype:
        case pl.Struct():
            return pl.Struct({field.name: _plain(field.dtype) for field in dtype.fields})
        case pl.List():
            return pl.List(_plain(dtype.inner))
        case pl.Decimal() | pl.Enum() | pl.Categorical():
            return pl.String()
        case pl.Date() | pl.Datetime() | pl.Time() | pl.Duration():
            return pl.Int64()
    made: pl.DataType = dtype
    return made


def _writer(dtype: Any) -> Value:
    """A function from a value of the plain type to what JSON (or an ISO text column) holds."""
    dtype = dtype() if isinstance(dtype, type) else dtype
    match dtype:
        case pl.Struct():
            fields = [(field.name, _writer(field.dtype)) for field in dtype.fields]
            return lambda v: {name: None if v[name] is None else write(v[name]) for name, write in fields}
        case pl.List():
            inner = _writer(dtype.inner)
            return lambda v: [None if one is None else inner(one) for one in v]
        case pl.Date():
            return lambda v: date.fromordinal(_EPOCH_DAY + v).isoformat()
        case pl.Datetime():
            unit, zone = dtype.time_unit, "Z" if dtype.time_zone else ""
            return lambda v: _datetime_text(v, unit) + zone
        case pl.Time():
            return _time_text
        case pl.Binary():
            return lambda v: base64.b64encode(v).decode("ascii")
        case pl.Float32() | pl.Float64():
            # JSON has no other way to say these.
            return lambda v: v if math.isfinite(v) else str(v)
    return lambda v: v


def _reader(dtype: Any) -> Value:
    """The inverse of `_writer`."""
    dtype = dtype() if isinstance(dtype, type) else dtype
    match dtype:
        case pl.Struct():
            fields = [(field.name, _reader(field.dtype)) for field in dtype.fields]
            return lambda v: {name: None if v[name] is None else read(v[name]) for name, read in fields}
        case pl.List():
            inner = _reader(dtype.inner)
            return lambda v: [None if one is None else inner(one) for one in v]
        case pl.Date():
            return lambda v: date.fromisoformat(v).toordinal() - _EPOCH_DAY
        case pl.Datetime():
            unit, zone = dtype.time_unit, "Z" if dtype.time_zone else ""
            return lambda v: _datetime_ticks(v, unit, zone)
        case pl.Time():
            return _time_ticks
        case pl.Binary():
            return lambda v: base64.b64decode(v, validate=True)
        case pl.Float32() | pl.Float64():
            return float
    return lambda v: v


def _ticks(value: Any, dtype: pl.DataType) -> int:
    """The number that Polars keeps for a date or time as PostgreSQL's driver gives it."""
    match dtype, value:
        case pl.Datetime(), datetime() if (value.tzinfo is None) == (dtype.time_zone is None):
            since = value.replace(tzinfo=value.tzinfo or UTC) - _EPOCH
            ticks, rest = divmod((since // _MICROSECOND) * _TICKS[dtype.time_unit], 10**6)
            if rest:
                raise ValueError(f"{value} has more places than {dtype}")
            return ticks
        case pl.Time(), time(tzinfo=None):
            return ((value.hour * 60 + value.minute) * 60 + value.second) * 10**9 + value.microsecond * 1000
        case pl.Date(), date() if not isinstance(value, datetime):
            return value.toordinal() - _EPOCH_DAY
    raise ValueError(f"{value!r} is a {type(value).__name__}")


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value!r} is neither 0 nor 1")
    return bool(value)


def _datetime_text(ticks: int, unit: str) -> str:
    seconds, rest = divmod(ticks, _TICKS[unit])
    try:
        whole = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError("a datetime is outside the years 1 to 9999") from None
    return f"{whole.replace(tzinfo=None).isoformat()}.{rest:0{_PLACES[unit]}d}"


def _datetime_ticks(text: str, unit: str, zone: str) -> int:
    found = _DATETIME.fullmatch(text)
    if found is None or found[4] != zone or len(found[3] or "") > _PLACES[unit]:
        raise ValueError(f'"{text}" is not a datetime as it was stored')
    since = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00") - _EPOCH
    fraction = int((found[3] or "").ljust(_PLACES[unit], "0"))
    return (since.days * 86_400 + since.seconds) * _TICKS[unit] + fraction


def _time_text(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:09d}"


def _time_ticks(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a time as it was stored')
    checked = time(int(found[1]), int(found[2]), int(found[3]))
    return (checked.hour * 3600 + checked.minute * 60 + checked.second) * 10**9 + int(found[4] or 0)


def _fixed(value: Decimal, precision: int, scale: int) -> str:
    """A decimal's text with exactly `scale` places.

    Raises:
        ValueError: that would change it, or it has too many digits.
    """
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{value} is not a finite decimal")  # noqa: TRY004 - the type is right
    units = int("".join(map(str, digits)))
    shift = exponent + scale
    scaled, rest = (units * 10**shift, 0) if shift >= 0 else divmod(units, 10**-shift)
    if rest or scaled >= 10**precision:
        raise ValueError(f"{value} does not fit Decimal({precision}, {scale})")
    text = str(scaled).rjust(scale + 1, "0")
    whole, places = (text[:-scale], "." + text[-scale:]) if scale else (text, "")
    return ("-" if sign and scaled else "") + whole + places


def _check_storable(name: str, dtype: Any, output: str) -> None:
    dtype = dtype() if isinstance(dtype, type) else dtype
    match dtype:
        case pl.Struct():
            for field in dtype.fields:
                _check_storable(name, field.dtype, output)
        case pl.List():
            _check_storable(name, dtype.inner, output)
        case pl.Array():
            # Polars cannot cast all arrays to lists and back: nulls in arrays of arrays are lost, empty ones crash.
            raise SinkError(f'column "{name}" has an {dtype}: make it a list, with arr.to_list()', sink=output)
        case pl.Object() | pl.Unknown() | pl.Int128() | pl.UInt128():
            raise SinkError(f'column "{name}" is {dtype}, which SQL cannot store: cast it', sink=output)
