"""A spool: frames of a run kept on disk as Arrow files, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl


class Spool:
    """Frames of one schema in a folder, in order.

    Attributes:
        rows: How many rows they have.
    """

    def __init__(self, folder: Path, schema: pl.Schema) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._schema = schema
        self._count = 0
        self.rows = 0

    def write(self, frames: Iterable[pl.DataFrame]) -> int:
        """Append frames; gives the number of rows."""
        rows = 0
        for frame in frames:
            rows += frame.height
            if frame.height:
                frame.select(self._schema.names()).write_ipc(self._folder / f"{self._count:06}.arrow")
                self._count += 1
        self.rows += rows
        return rows

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for number in range(self._count):
            yield pl.read_ipc(self._folder / f"{number:06}.arrow")

    def scan(self) -> pl.LazyFrame:
        """All rows, lazily, in order."""
        if not self._count:
            return pl.LazyFrame(schema=self._schema)
        return pl.scan_ipc([self._folder / f"{number:06}.arrow" for number in range(self._count)])
