"""Values that a store would change are found, and the first of them is named: held against plain Python."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import SinkError
from assay.sinks.columns import check_moments, mapped, recast, schema_of_text, schema_text

FIRST, LAST = -719_162, 2_932_896
TICKS = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def stored(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", dtype.time_zone)
    return pl.Duration("us") if isinstance(dtype, pl.Duration) else dtype


def is_lost(value: int, dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Date):
        return not FIRST <= value <= LAST
    assert isinstance(dtype, pl.Datetime | pl.Duration)
    is_finer = dtype.time_unit == "ns" and value % 1000 != 0
    if isinstance(dtype, pl.Duration):
        return is_finer or (dtype.time_unit == "ms" and not -(2**63) <= value * 1000 < 2**63)
    return is_finer or not FIRST <= value // (86_400 * TICKS[dtype.time_unit]) <= LAST


def edges(dtype: pl.DataType) -> st.SearchStrategy[int]:
    if isinstance(dtype, pl.Date):
        return st.sampled_from([FIRST - 1, FIRST, 0, LAST, LAST + 1]) | st.integers(-(2**31), 2**31 - 1)
    assert isinstance(dtype, pl.Datetime | pl.Duration)
    day = 86_400 * TICKS[dtype.time_unit]
    near = [FIRST * day - 1, FIRST * day, (LAST + 1) * day - 1, (LAST + 1) * day, 2**63 // 1000, 2**63 // 1000 + 1]
    near += [-(2**63) // 1000 - 1, -(2**63) // 1000, 999, 1000]
    return st.sampled_from([v for v in near if -(2**63) < v < 2**63]) | st.integers(-(2**63) + 1, 2**63 - 1)


DTYPES = [
    pl.Date(),
    pl.Datetime("ms", "UTC"),
    pl.Datetime("us"),
    pl.Datetime("ns", "UTC"),
    pl.Duration("ms"),
    pl.Duration("us"),
    pl.Duration("ns"),
]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(draw=st.data(), before=st.integers(0, 10))
def test_the_first_row_with_a_value_that_would_be_lost_is_named(
    dtype: pl.DataType, nested: bool, draw: st.DataObject, before: int
) -> None:
    values = st.one_of(st.none(), st.sampled_from([0, 1_000_000]), edges(dtype))
    plain: Any = pl.Int32() if isinstance(dtype, pl.Date) else pl.Int64()
    if nested:
        rows = draw.draw(st.lists(st.none() | st.lists(values, max_size=2), max_size=6))
        column = pl.Series("c", [None if r is None else [{"x": v} for v in r] for r in rows],
                           dtype=pl.List(pl.Struct({"x": plain}))).cast(pl.List(pl.Struct({"x": dtype})))  # fmt: skip
        lost = [any(v is not None and is_lost(v, dtype) for v in r or []) for r in rows]
    else:
        flat = draw.draw(st.lists(values, max_size=6))
        column = pl.Series("c", flat, dtype=plain).cast(dtype)
        lost = [v is not None and is_lost(v, dtype) for v in flat]
    frame = pl.DataFrame({"other": pl.Series([1] * len(column), dtype=pl.Int64)}).with_columns(column)
    if not any(lost):
        check_moments(frame, stored, before, "lines")
        there = recast(frame["c"], mapped(frame["c"].dtype, stored))
        assert recast(there, frame["c"].dtype).equals(frame["c"], null_equal=True)
        return
    with pytest.raises(SinkError, match=r'column "c" has .*, first in row \d+$') as raised:
        check_moments(frame, stored, before, "lines")
    # Of several kinds of loss one is told, with the first row of that kind.
    row = int(str(raised.value).rpartition(" ")[2]) - 1 - before
    assert lost[row]
    if len(set(lost)) == 1 or lost.count(True) == 1:
        assert row == lost.index(True)


def test_a_schema_comes_back() -> None:
    schema = pl.Schema(
        {
            "*": pl.Enum(["ä", "a"]),
            "b": pl.List(pl.Struct({"x": pl.Decimal(38, 38)})),
            "c": pl.Datetime("ns", "Asia/Tokyo"),
        }
    )
    assert schema_of_text(schema_text(schema)) == schema
