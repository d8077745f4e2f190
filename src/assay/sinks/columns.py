"""What sinks that store columns natively ask of them: the types inside, values that would not come back, the schema."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any, Final

import polars as pl

from assay.errors import SinkError

Leaf = Callable[[pl.DataType], pl.DataType]
Loss = Callable[[pl.Series, pl.DataType], bool]

# 0001-01-01 and 9999-12-31 as days since 1970.
_FIRST_DAY: Final = -719_162
_LAST_DAY: Final = 2_932_896
_TICKS_A_DAY: Final = {"ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
_LARGEST: Final = 2**63 - 1


def mapped(dtype: Any, leaf: Leaf) -> pl.DataType:
    """A type with every type inside it that has none inside replaced."""
    made = _instance(dtype)
    match made:
        case pl.Struct():
            return pl.Struct([pl.Field(field.name, mapped(field.dtype, leaf)) for field in made.fields])
        case pl.List():
            return pl.List(mapped(made.inner, leaf))
    return leaf(made)


def leaf_types(dtype: Any) -> Iterator[pl.DataType]:
    """The types inside a type that have none inside."""
    made = _instance(dtype)
    match made:
        case pl.Struct():
            for field in made.fields:
                yield from leaf_types(field.dtype)
        case pl.List():
            yield from leaf_types(made.inner)
        case _:
            yield made


def check_shape(name: str, dtype: Any, store: str, output: str) -> None:
    """Check that a type is made of lists and of structs that a store can have.

    Raises:
        SinkError: it has an array, or a struct without fields or with two fields of one name.
    """
    made = _instance(dtype)
    match made:
        case pl.Struct():
            if not made.fields:
                raise SinkError(f'column "{name}" has a struct without fields, which {store} cannot store', sink=output)
            seen: dict[str, str] = {}
            for field in made.fields:
                other = seen.setdefault(field.name.lower(), field.name)
                if other != field.name:
                    words = f'"{other}" and "{field.name}", which are one name in {store}'
                    raise SinkError(f'column "{name}" has fields {words}: rename one', sink=output)
                if not field.name or "\x00" in field.name:
                    words = f"{field.name!r}, which is no name in {store}"
                    raise SinkError(f'column "{name}" has a field {words}', sink=output)
                check_shape(name, field.dtype, store, output)
        case pl.List():
            check_shape(name, made.inner, store, output)
        case pl.Array():
            raise SinkError(f'column "{name}" has an {made}: make it a list, with arr.to_list()', sink=output)


def check_names(schema: pl.Schema, store: str, output: str) -> None:
    """Check that columns have names that a store can tell apart.

    Raises:
        SinkError: a name is empty or has a NUL, or two differ in case alone.
    """
    seen: dict[str, str] = {}
    for name in schema:
        if not name or "\x00" in name:
            raise SinkError(f"{name!r} cannot be the name of a column", sink=output)
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise SinkError(f'columns "{other}" and "{name}" have one name in {store}: rename one', sink=output)


def check_moments(frame: pl.DataFrame, stored: Leaf, before: int, output: str) -> None:
    """Check that dates, times and durations will come back as they are.

    Args:
        frame: Some rows.
        stored: The type in which each is stored.
        before: Number of rows that came before these.
        output: Name of the output.

    Raises:
        SinkError: names the first row with a year outside 1 to 9999, or with finer parts than are stored.
    """
    for column in frame:
        if not any(leaf.is_temporal() for leaf in leaf_types(column.dtype)):
            continue
        for is_lost, words in _LOSSES:
            if _any(column, is_lost, stored):
                row = before + _first(column, is_lost, stored) + 1
                raise SinkError(
                    f'column "{column.name}" has {words}, which cannot be stored, first in row {row:,}', sink=output
                )


def recast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """A column in another type; a value that does not fit is an error."""
    if column.dtype == dtype:
        return column
    if column.dtype.is_nested():
        # Polars 2.1 panics when it casts a list whose nulls hide elements; rows that are gathered hide none.
        column = column.gather(pl.int_range(len(column), eager=True))
    return column.cast(dtype)


def schema_text(schema: pl.Schema) -> str:
    """A schema as text: an empty Arrow file, base64. Types of a store alone do not say all."""
    stream = io.BytesIO()
    pl.DataFrame(schema=schema).write_ipc(stream)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def schema_of_text(text: str) -> pl.Schema:
    """The way back."""
    return pl.read_ipc(base64.b64decode(text)).schema


def _any(column: pl.Series, is_lost: Loss, stored: Leaf) -> bool:
    return any(is_lost(leaf, stored(leaf.dtype)) for leaf in _leaves(column) if leaf.dtype.is_temporal())


def _leaves(column: pl.Series) -> Iterator[pl.Series]:
    match column.dtype:
        case pl.Struct():
            for name in column.struct.fields:
                yield from _leaves(column.struct.field(name))
        case pl.List():
            # Elements that a null hides are none.
            yield from _leaves(column.drop_nulls().explode())
        case _:
            yield column


def _first(column: pl.Series, is_lost: Loss, stored: Leaf) -> int:
    """Index of the first value that is lost, where there is one."""
    start, length = 0, len(column)
    while length > 1:
        half = length // 2
        if _any(column.slice(start, half), is_lost, stored):
            length = half
        else:
            start, length = start + half, length - half
    return start


def _has_other_year(leaf: pl.Series, _stored: pl.DataType) -> bool:
    dtype = leaf.dtype
    if isinstance(dtype, pl.Date):
        ticks = 1
    elif isinstance(dtype, pl.Datetime):
        ticks = _TICKS_A_DAY[dtype.time_unit]
    else:
        return False
    raw = leaf.to_physical()
    low, high = raw.min(), raw.max()
    if not isinstance(low, int) or not isinstance(high, int):
        return False
    return low < _FIRST_DAY * ticks or high >= (_LAST_DAY + 1) * ticks


def _is_finer(leaf: pl.Series, stored: pl.DataType) -> bool:
    if not isinstance(leaf.dtype, pl.Datetime | pl.Duration) or leaf.dtype.time_unit != "ns":
        return False
    if isinstance(stored, pl.Datetime | pl.Duration) and stored.time_unit == "ns":
        return False
    return bool((leaf.to_physical() % 1000 != 0).any())


def _is_longer(leaf: pl.Series, stored: pl.DataType) -> bool:
    if not isinstance(leaf.dtype, pl.Duration) or leaf.dtype.time_unit != "ms":
        return False
    largest = _LARGEST // 1000
    return bool(((leaf.to_physical() > largest) | (leaf.to_physical() < -largest)).any())


_LOSSES: Final[tuple[tuple[Loss, str], ...]] = (
    (_has_other_year, "a date outside the years 1 to 9999"),
    (_is_finer, "parts of a microsecond"),
    (_is_longer, "a duration of over 292,000 years"),
)


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
