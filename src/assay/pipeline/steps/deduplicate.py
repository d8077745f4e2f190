"""Deduplicate: the first of several equal records stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from assay.errors import ConfigurationError
from assay.pipeline.context import IDENTITY, Context, is_hidden
from assay.pipeline.steps.protocol import WholeOutcome, need_columns, reject_rows

#: The type of the error of a record that has the key of another.
CONFLICT: Final = "duplicate_conflict"
_ROW: Final = "_row"
#: So many keys are counted at a time, to bound memory.
_KEYS_AT_ONCE: Final = 250_000


@dataclass(frozen=True, init=False)
class Deduplicate:
    """Of rows with the same key, keep the first in the order of the source.

    A later row that is equal in all columns is filtered. A later row that has the same key and says something else
    is rejected: which of the two is right is not ours to guess.

    Args:
        key: Columns of the key; by default the key of the source.
        name: What the ledger calls it.
    """

    key: tuple[str, ...]
    name: str

    def __init__(self, *key: str, name: str = "deduplicate") -> None:
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "name", name)

    def bind(self, schema: pl.Schema, context: Context) -> BoundDeduplicate:
        """Check the key."""
        if not self.key:
            raise ConfigurationError("no key: name its columns, or give the source a key", where=f"step {self.name}")
        need_columns(list(self.key), schema, f"step {self.name}")
        return BoundDeduplicate(self.name, schema, self.key)


@dataclass
class BoundDeduplicate:
    """A checked deduplication."""

    name: str
    schema: pl.Schema
    key: tuple[str, ...]
    fans_out: bool = False
    fingerprint: str = ""

    def open(self) -> None:
        """Nothing to read."""

    def apply_whole(self, rows: pl.LazyFrame) -> WholeOutcome:
        """Find the keys that come more than once; only their rows are held in memory."""
        key = list(self.key)
        double_keys = _double_keys(rows.select(key))
        if not double_keys.height:
            return WholeOutcome(rows)
        numbered = rows.with_row_index(_ROW)
        doubles = (
            numbered.join(double_keys.lazy(), on=key, how="semi", nulls_equal=True)
            .collect(engine="streaming")
            .sort(_ROW)
        )
        content = [column for column in self.schema if not is_hidden(column)]
        doubles = doubles.with_columns(
            _later=pl.col(_ROW) != pl.col(_ROW).first().over(key),
            _same=pl.all_horizontal(pl.col(content).eq_missing(pl.col(content).first().over(key))),
        )
        later = doubles.filter("_later")
        conflicting = later.filter(~pl.col("_same"))
        rejected = reject_rows(
            conflicting,
            "check",
            ".".join(key),
            CONFLICT,
            pl.lit("Record has the key of an earlier one and other contents"),
            pl.concat_str(pl.col(key).cast(pl.String), separator=" / ", ignore_nulls=True),
        )
        kept = numbered.join(later.select(_ROW).lazy(), on=_ROW, how="anti", maintain_order="left")
        if conflicting.height:
            kept = kept.join(
                conflicting.select(IDENTITY).unique().lazy(), on=IDENTITY, how="anti", maintain_order="left"
            )
        return WholeOutcome(kept.drop(_ROW), rejected)


def _double_keys(keys: pl.LazyFrame) -> pl.DataFrame:
    """The keys that come more than once, counted a part of all possible keys at a time."""
    rows = int(keys.select(pl.len()).collect(engine="streaming").item())
    parts = max(1, -(-rows // _KEYS_AT_ONCE))
    part_of = pl.struct(pl.all()).hash() % parts
    found = [
        (keys if parts == 1 else keys.filter(part_of == part))
        .group_by(pl.all())
        .len()
        .filter(pl.col("len") > 1)
        .drop("len")
        .collect(engine="streaming")
        for part in range(parts)
    ]
    return pl.concat(found)
