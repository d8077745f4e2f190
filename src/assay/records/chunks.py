"""Chunks of JSON Lines as columns of text, for the compiled verdict."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from assay.reading import Chunk, RawRecord

#: Place of each row, on request: name of the source, 0-based record, 1-based line, 0-based byte offset.
TRACE: Final = pl.Schema({"_source": pl.String(), "_record": pl.Int64(), "_line": pl.Int64(), "_offset": pl.Int64()})

_BLANK = " \t\r"
#: So many lines of a chunk may be no clean text.
_ODD: Final = 1_000
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
        odd: Lines that are no clean text, by number: their texts are blanks, and these are their bytes.
    """

    data: bytes
    texts: pl.Series
    fits: pl.Series
    offsets: pl.Series
    records: pl.Series
    blank: pl.Series | None
    odd: Mapping[int, bytes]

    @classmethod
    def cut(cls, chunk: Chunk, pattern: str | None, longest: int) -> Lines | None:
        """Cut a chunk; None where only the exact splitter can: much that is no text, or a line that is too long.

        Args:
            chunk: The chunk.
            pattern: Which texts `fits` tells; None for none.
            longest: Bytes that a record may have.
        """
        cleaned = None if chunk.too_long is not None else _cleaned(chunk.data)
        if cleaned is None:
            return None
        data, odd = cleaned
        end = 2 if b"\r" in data else 1
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
        if end == 2:
            data = joined(texts)
        records = pl.int_range(texts.len(), eager=True)
        blank: pl.Series | None = None
        if not frame[_FITS].all():
            blank = texts.str.strip_chars(_BLANK) == ""
            if odd:
                blank = blank & ~pl.int_range(texts.len(), eager=True).is_in(list(odd))
            if blank.any():
                records = records - (blank.cast(pl.Int64).cum_sum() - blank.cast(pl.Int64))
            else:
                blank = None
        return cls(data, texts, frame[_FITS], lengths.cum_sum() - lengths + chunk.offset, records, blank, odd)

    @property
    def count(self) -> int:
        """How many lines these are."""
        return self.texts.len()

    def head(self, lines: int) -> Lines:
        """The first lines."""
        blank = None if self.blank is None else self.blank.head(lines)
        texts = self.texts.head(lines)
        return Lines(
            joined(texts),
            texts,
            self.fits.head(lines),
            self.offsets.head(lines),
            self.records.head(lines),
            blank,
            self.odd,
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
                data = self.odd[row] if row in self.odd else self.texts[row].encode()
                yield RawRecord(data, record + self.records[row], line + row + 1, self.offsets[row])

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


def _cleaned(data: bytes) -> tuple[bytes, dict[int, bytes]] | None:
    """A chunk as clean text: lines that are no UTF-8, or that end otherwise than most, become blanks of their length.

    Returns:
        The bytes, and the lines that were blanked, by number; None where they are too many.
    """
    odd: dict[int, bytes] = {}
    returns = data.count(b"\r") if b"\r" in data else 0
    uniform = not returns or returns == data.count(b"\n") == data.count(b"\r\n")
    if uniform and data.isascii():
        return data, odd
    clean = bytearray(data)
    end = 0
    row = 0
    for at in _places(data, returns=not uniform):
        if at < end:
            continue
        start = data.rfind(b"\n", 0, at) + 1
        row += data.count(b"\n", end, start)
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        line = data[start:end]
        record = line.removesuffix(b"\r")
        if record.strip(_BLANK.encode()):
            odd[row] = record
        kept = len(record) if uniform else len(line)
        clean[start : start + kept] = b" " * kept
        if len(odd) > _ODD:
            return None
    return bytes(clean), odd


def _places(data: bytes, *, returns: bool) -> Iterator[int]:
    """Where something is that cannot stay: bytes that are no UTF-8, and carriage returns."""
    bad = _undecodable(data)
    if not returns:
        yield from bad
        return
    yield from sorted([*bad, *(found.start() for found in re.finditer(b"\r", data))])


def _undecodable(data: bytes) -> Iterator[int]:
    view = memoryview(data)
    place = 0
    while place < len(data):
        try:
            codecs.utf_8_decode(view[place:], "strict", True)
        except UnicodeDecodeError as error:
            yield place + error.start
            # What follows the line's end begins anew.
            place = data.find(b"\n", place + error.start) + 1
            if not place:
                return
        else:
            return
