"""Rows of CSV, many at once, as far as every quote in them stands where one may."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.reading.block import Bools, Ints
from assay.reading.octets import rare

Octets = npt.NDArray[np.uint8]

_LF = 10
_CR = 13
_BLANKS = (32, 9)


@dataclass(frozen=True)
class Quoting:
    """What stands outside of quotes in some text that begins with a row.

    Attributes:
        quotes: Where quotes stand, as far as they are where they may be.
        limit: Up to where that is so.
    """

    quotes: Ints
    limit: int

    def outside(self, places: Ints) -> Ints:
        """Those of some places that are not in quotes."""
        if not len(self.quotes):
            return places
        # Few places lie in quotes: those between one that opens and one that closes.
        change = np.zeros(len(places) + 1, np.int64)
        np.add.at(change, np.searchsorted(places, self.quotes[0::2]), 1)
        np.add.at(change, np.searchsorted(places, self.quotes[1::2]), -1)
        outside: Ints = places[change.cumsum()[:-1] == 0]
        return outside


def quoting(data: Octets, delimiter: int, quote: int | None) -> Quoting:
    """Tell the quotes that open and close cells from those that are wrong.

    A quote that opens a cell stands behind a delimiter or at the beginning of a line, one that closes it before a
    delimiter or a line's end; a doubled one looks like one that closes and one that opens.
    """
    if quote is None:
        return Quoting(np.zeros(0, np.int64), len(data))
    quotes = rare(data == quote)
    if not len(quotes):
        return Quoting(quotes, len(data))
    before = data[np.maximum(quotes - 1, 0)]
    behind = data[np.minimum(quotes + 1, len(data) - 1)]
    opens = (quotes == 0) | (before == delimiter) | (before == _LF) | (before == quote)
    closes = (quotes == len(data) - 1) | (behind == delimiter) | (behind == _LF) | (behind == quote)
    if (behind == _CR).any():
        # A carriage return is a line's end before a newline only; there may be two.
        second, third = (data[np.minimum(quotes + place, len(data) - 1)] for place in (2, 3))
        closes |= (behind == _CR) & ((second == _LF) | ((second == _CR) & (third == _LF)))
    wrong = np.where(np.arange(len(quotes)) % 2 == 0, ~opens, ~closes)
    # Two that touch are one only where the first closes and the second opens.
    if len(quotes) % 2:
        # What the last one opens is not closed here.
        wrong[-1] = True
    if not wrong.any():
        return Quoting(quotes, len(data))
    first = int(wrong.argmax())
    limit = int(quotes[first] if first % 2 == 0 else quotes[first - 1])
    return Quoting(quotes[: first - first % 2], limit)


@dataclass(frozen=True)
class Rows:
    """Rows that stand in a text, blank ones left out.

    Attributes:
        starts: Where each begins.
        ends: Where each ends, without the line's end.
        after: Behind the last line, blank ones included.
    """

    starts: Ints
    ends: Ints
    after: int


def rows(data: Octets, delimiter: int, found: Quoting) -> Rows:
    """The whole rows with which some text begins, as far as its quoting goes."""
    newlines = found.outside(rare(data[: found.limit] == _LF))
    if not len(newlines):
        none = np.zeros(0, np.int64)
        return Rows(none, none, 0)
    starts = np.concatenate(([0], newlines[:-1] + 1))
    ends = newlines.copy()
    while True:
        returns = (ends > starts) & (data[np.maximum(ends - 1, 0)] == _CR)
        if not returns.any():
            break
        ends -= returns
    # A blank row has nothing but blanks, and no delimiter, which may be one of them.
    blank = ends == starts
    first = data[starts]
    for row in np.flatnonzero(~blank & ((first == _BLANKS[0]) | (first == _BLANKS[1]))).tolist():
        text = data[starts[row] : ends[row]]
        blank[row] = bool(np.isin(text, _BLANKS).all()) and not (text == delimiter).any()
    kept = ~blank
    return Rows(starts[kept], ends[kept], int(newlines[-1]) + 1)


def clean(text: bytes, starts: Ints, ends: Ints) -> Bools:
    """Which rows of a text have no NUL and no carriage return."""
    none = np.ones(len(starts), np.bool_)
    for byte in (0, _CR):
        # To look for one byte takes no time.
        if text.find(byte, 0, int(ends[-1])) >= 0:
            odd = rare(np.frombuffer(text, np.uint8) == byte)
            none &= np.searchsorted(odd, starts) == np.searchsorted(odd, ends)
    return none
