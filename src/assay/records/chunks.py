"""Chunks of JSON Lines as columns of text, for the compiled verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from assay.reading import Chunk, RawRecord

#: Place of each row, on request: name of the source, 0-based record, 1-based line, 0-based byte offset.
TRACE: Final = pl.Schema({"_source": pl.String(), "_record": pl.Int64(), "_line": pl.Int64(), "_offset": pl.Int64()})

_BLANK = " \t\r"
_LINE = "line"
_LENGTH = "length"
_FITS = "fits"


@dataclass(frozen=True)
class Lines:
    """The lines of a chunk.

    Attributes:
        data: All of them, as bytes.
        texts: Their texts without the line's end.
        fits: Which of them match the pattern that was asked for.
        offsets: Byte offset of each in the source.
        records: The number of the record of each line, from 0; a blank line has that of the next record.
        blank: Which lines are blank; None where none is.
    """

    data: bytes
    texts: pl.Series
    fits: pl.Series
    offsets: pl.Series
    records: pl.Series
    blank: pl.Series | None

    @classmethod
    def cut(cls, chunk: Chunk, pattern: str | None, longest: int) -> Lines | None:
        """Cut a chunk; None where only the exact splitter can: no UTF-8, stray CRs, or a line that is too long.

        Args:
            chunk: The chunk.
            pattern: Which texts `fits` tells; None for none.
            longest: Bytes that a record may have.
        """
        data = chunk.data
        end = 1
        if b"\r" in data:
            if not data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n"):
                return None
            end = 2
        if chunk.too_long is not None or not _is_text(data):
            return None
        fits = pl.lit(value=False) if pattern is None else pl.col(_LINE).str.contains(pattern)
        frame = (
            pl.scan_lines(data, name=_LINE)
            .select(_LINE, pl.col(_LINE).str.len_bytes().cast(pl.Int64).alias(_LENGTH), fits.alias(_FITS))
            .collect(engine="streaming")
        )
        lengths = frame[_LENGTH] + end
        missing = 0 if data.endswith(b"\n") else end
        if lengths.sum() != len(data) + missing or (lengths > longest + end).any():
            return None
        texts = frame[_LINE]
        records = pl.int_range(texts.len(), eager=True)
        blank: pl.Series | None = None
        if not frame[_FITS].all():
            blank = texts.str.strip_chars(_BLANK) == ""
            if blank.any():
                records = records - (blank.cast(pl.Int64).cum_sum() - blank.cast(pl.Int64))
            else:
                blank = None
        return cls(data, texts, frame[_FITS], lengths.cum_sum() - lengths + chunk.offset, records, blank)

    @property
    def count(self) -> int:
        """How many lines these are."""
        return self.texts.len()

    def head(self, lines: int) -> Lines:
        """The first lines."""
        blank = None if self.blank is None else self.blank.head(lines)
        texts = self.texts.head(lines)
        return Lines(
            joined(texts), texts, self.fits.head(lines), self.offsets.head(lines), self.records.head(lines), blank
        )

    def lines_of(self, records: int) -> int:
        """How many lines the first records take."""
        return int((self.records < records).sum())

    def of(self, rows: pl.Series) -> bytes:
        """Some of the lines as bytes."""
        return self.data if rows.len() == self.count else joined(self.texts.gather(rows))

    def search(self, rows: pl.Series, pattern: str) -> pl.Series:
        """Those of some lines that match another pattern."""
        texts = self.texts.gather(rows).alias(_LINE).to_frame().lazy()
        fits = texts.select(pl.col(_LINE).str.contains(pattern)).collect(engine="streaming").to_series()
        return rows.filter(fits)

    def raws(self, rows: Sequence[int], *, record: int, line: int) -> Iterator[RawRecord]:
        """Some lines as raw records; blank ones are none. `record` and `line` come before the chunk."""
        for row in rows:
            if self.blank is None or not self.blank[row]:
                yield RawRecord(self.texts[row].encode(), record + self.records[row], line + row + 1, self.offsets[row])

    def trace(self, source: str, rows: pl.Series, *, record: int, line: int) -> pl.DataFrame:
        """Source, record, line and offset of some lines. `record` and `line` come before the chunk."""
        every = rows.len() == self.count
        return pl.DataFrame(
            {
                "_source": pl.Series([source], dtype=pl.String).new_from_index(0, rows.len()),
                "_record": (self.records if every else self.records.gather(rows)) + record,
                "_line": rows.cast(pl.Int64) + line + 1,
                "_offset": self.offsets if every else self.offsets.gather(rows),
            },
            schema=TRACE,
        )


def joined(texts: pl.Series) -> bytes:
    """Texts as lines."""
    text: str | None = texts.str.join("\n").item()
    return (text or "").encode()


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
