"""How many different keys there were in a run, batch after batch."""

from __future__ import annotations

import polars as pl


class DistinctKeys:
    """Counts the different rows of frames that have the same columns; keeps a hash of eight bytes of each."""

    def __init__(self) -> None:
        self._known = pl.Series(dtype=pl.UInt64)
        self._new: list[pl.Series] = []
        self._waiting = 0

    def add(self, keys: pl.DataFrame) -> None:
        """Take some keys, which may have come before."""
        if not keys.height:
            return
        self._new.append(keys.hash_rows())
        self._waiting += keys.height
        # Merged when they have doubled, so that many small batches do not cost a round of all keys each.
        if self._waiting > len(self._known):
            self._merge()

    def __len__(self) -> int:
        self._merge()
        return len(self._known)

    def _merge(self) -> None:
        if self._new:
            self._known = pl.concat([self._known, *self._new]).unique()
            self._new, self._waiting = [], 0
