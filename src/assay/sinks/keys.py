"""Keys: rows of a run, and what has the same key among those that are published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl
import polars.selectors as cs

_ROW: Final = "row"


def keys_of(rows: pl.LazyFrame, key: Sequence[str]) -> pl.LazyFrame:
    """The columns of a key, under names of their own: "*" as a name would mean all columns."""
    return rows.select(cs.by_name(name).as_expr().alias(f"key {i}") for i, name in enumerate(key))


def without(frame: pl.DataFrame, keys: pl.LazyFrame, key: Sequence[str]) -> pl.DataFrame:
    """The rows whose key is not among `keys`, in their order; the very frame if that is all of them.

    The keys of a run may be many, those of one frame are not: they are what a join keeps in memory.
    """
    own = keys_of(frame.lazy(), key).with_row_index(_ROW).collect()
    again = keys.join(own.lazy(), on=own.columns[1:], how="inner").select(_ROW).collect(engine="streaming")
    return frame if again.is_empty() else frame.filter(~own[_ROW].is_in(again[_ROW].implode()))


def widened(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """The frame in the columns of `schema`; those that it lacks are null."""
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in frame.schema]
    return frame.with_columns(missing).select(cs.by_name(name) for name in schema)
