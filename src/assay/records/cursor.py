"""Reading the same thing from many records at once: positions in a block, moved together.

A `Text` is a block with the places of one delimiter byte in it. A `Cursor` stands somewhere in each of some records and
is moved over literals and values, all records in a few vector operations. A record in which something else stands than
was expected is not `ok` any more; its position means nothing from then on, and nobody cares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import orjson

from assay.reading import Block, Bools, Ints
from assay.reading.json_text import QUOTE, brackets, unescaped
from assay.reading.octets import Octets, Words, rare

_WORD: Final = 8
_FIRST_PRINTED: Final = 32
_OPEN_BRACKET: Final = 91
_OPEN_BRACE: Final = 123
_LOW: Final = np.uint64(0x0101010101010101)
_HIGH: Final = np.uint64(0x8080808080808080)
_SPACE: Final = np.uint64(0x2020202020202020)
_NO_CONTROL: Final = np.uint64(0x2121212121212121)
_COMMAS: Final = np.uint64(0x2C2C2C2C2C2C2C2C)
_CLOSERS: Final = np.uint64(0x7D7D7D7D7D7D7D7D)
_ONE: Final = np.uint64(1)
_THREE: Final = np.uint64(3)


class Text(Octets):
    """The bytes of a block, where a delimiter stands in them, and where escapes begin.

    Args:
        block: The block.
        delimiter: One ASCII byte.

    Attributes:
        escape: The byte with which an escape begins in a text; none where it is empty.
        escapes: Where it stands; None where it does not.
        places: Where the delimiter stands, as such.
    """

    escape: ClassVar[bytes] = b""

    def __init__(self, block: Block, delimiter: int) -> None:
        super().__init__(block.data)
        self.block = block
        self._brackets: tuple[Ints, Ints] | None = None
        self._odd: Ints | None = None
        self._breaks: Ints | None = None
        self._marks: dict[int, Ints] = {}
        self.escapes: Ints | None = None
        if self.escape and self.escape in block.data:
            self.escapes = rare(self.content == self.escape[0])
        known = block.marks is not None and block.marks[0] == delimiter
        places = block.marks[1] if known and block.marks is not None else self._delimiters(delimiter)
        self.places: Ints = places if len(places) else np.array([self.size])
        self.delimiter = bytes([delimiter])

    def _delimiters(self, delimiter: int) -> Ints:
        places: Ints = np.flatnonzero(self.content == delimiter)
        return places

    def decoded(self, texts: list[str]) -> list[str | None]:
        """Texts without escapes, from such as are written with some; None where one is none that is claimed."""
        raise AssertionError("these texts have no escapes")

    def has_escape(self, starts: Ints, ends: Ints) -> Bools:
        """In which of these stretches an escape begins."""
        if self.escapes is None:
            return np.zeros(len(starts), np.bool_)
        there: Bools = np.searchsorted(self.escapes, starts) != np.searchsorted(self.escapes, ends)
        return there

    def clean(self, starts: Ints, ends: Ints) -> Bools:
        """Which of these stretches have no control character; they must not overlap."""
        places = self._odd
        if places is None:
            places = self._odd = self._odd_places()
        if len(places) == len(ends) and bool((places == ends).all()):
            # One stands behind each: the newlines between lines.
            return np.ones(len(ends), np.bool_)
        clean: Bools = np.searchsorted(places, starts) == np.searchsorted(places, ends)
        return clean

    def _odd_places(self) -> Ints:
        """Where a character stands that no value may have in it, for all the layout shows."""
        return rare(self.content < _FIRST_PRINTED)

    def in_one_line(self, starts: Ints, ends: Ints) -> Bools:
        """Which of these stretches have no control character at all."""
        if self._breaks is None:
            self._breaks = rare(self.content < _FIRST_PRINTED)
        single: Bools = np.searchsorted(self._breaks, starts) == np.searchsorted(self._breaks, np.maximum(ends, starts))
        return single

    def ends_after(self, at: Ints) -> Ints:
        """Where the records end in which these places are."""
        ends = self.block.ends
        return ends[np.minimum(np.searchsorted(ends, at, "right"), len(ends) - 1)]

    def begins(self, at: Ints, literal: bytes) -> Bools:
        """At which places the first bytes of a literal stand: a quick look, before a closer one."""
        return self.fits(at, literal[:_WORD])

    def next_mark(self, at: Ints, mark: int) -> Ints:
        """Where a byte stands next, from these places on; the end of the block where it does not."""
        places = self._marks.get(mark)
        if places is None:
            places = self._marks[mark] = np.append(rare(self.content == mark), self.size)
        return places[np.searchsorted(places, at)]

    def bracket_ends(self, at: Ints) -> Ints:
        """Behind the brackets that close those that stand at these places; the place itself where none does."""
        if self._brackets is None:
            self._brackets = self._pairs()
        opening, closing = self._brackets
        if not len(opening):
            return at
        found = np.minimum(np.searchsorted(opening, at), len(opening) - 1)
        return np.where(opening[found] == at, closing[found] + 1, at)

    def _pairs(self) -> tuple[Ints, Ints]:
        """Brackets of both kinds outside strings, in pairs, in the order in which they open."""
        content = self.content
        marks = brackets(content)
        starts = self.block.starts
        rows = np.searchsorted(starts, marks, "right") - 1
        marks, rows = marks[rows >= 0], rows[rows >= 0]
        quotes = np.searchsorted(self.places, marks) - np.searchsorted(self.places, starts)[rows]
        marks, rows = marks[quotes % 2 == 0], rows[quotes % 2 == 0]
        for _ in range(2):
            opening = (content[marks] == _OPEN_BRACE) | (content[marks] == _OPEN_BRACKET)
            depth = np.cumsum(np.where(opening, 1, -1))
            first = np.searchsorted(rows, np.arange(len(starts)))
            before = np.concatenate(([0], depth))[first]
            levels = depth - before[rows] + ~opening
            # A record whose brackets are no pairs has none, lest they be paired with another's.
            totals = np.concatenate(([0], depth))[np.searchsorted(rows, np.arange(len(starts)), "right")] - before
            odd = totals != 0
            odd[rows[levels < 1]] = True
            if not odd.any():
                break
            keep = ~odd[rows]
            marks, rows = marks[keep], rows[keep]
        order = np.lexsort((marks, levels))
        pairs = marks[order].reshape(-1, 2)
        pairs = pairs[np.argsort(pairs[:, 0])]
        return pairs[:, 0].copy(), pairs[:, 1].copy()


class JsonText(Text):
    """A block of JSON: its delimiters are the quotation marks that are not escaped."""

    escape = b"\\"

    def __init__(self, block: Block) -> None:
        super().__init__(block, QUOTE)

    def _delimiters(self, delimiter: int) -> Ints:
        places = super()._delimiters(delimiter)
        return places if self.escapes is None else unescaped(places, self.escapes, self.bytes)

    def decoded(self, texts: list[str]) -> list[str | None]:
        """See `Text`."""
        try:
            # Each is what stands between two quotation marks: none of them can run into the next.
            return list(orjson.loads('["' + '","'.join(texts) + '"]'))
        except orjson.JSONDecodeError:
            return [_decoded(text) for text in texts]


def _decoded(text: str) -> str | None:
    try:
        made: str = orjson.loads(f'"{text}"')
    except orjson.JSONDecodeError:
        return None
    return made


@dataclass(slots=True)
class Cursor:
    """A place in each of some records.

    Attributes:
        text: Where the records are.
        at: Places, as byte offsets in the block.
        next: Number of the next delimiter at or behind each place.
        ok: Which records have been as expected so far.
    """

    text: Text
    at: Ints
    next: Ints
    ok: Bools

    @classmethod
    def at_starts(cls, text: Text, starts: Ints) -> Cursor:
        """At the beginnings of records."""
        return cls(text, starts, np.searchsorted(text.places, starts), np.ones(len(starts), np.bool_))

    def __len__(self) -> int:
        return len(self.at)

    def part(self, rows: Ints) -> Cursor:
        """A cursor over some of the records."""
        return Cursor(self.text, self.at[rows], self.next[rows], self.ok[rows])

    def join(self, rows: Ints, part: Cursor) -> None:
        """Go where a cursor over some of the records went."""
        # What was found may hold the arrays of before.
        self.at, self.next, self.ok = self.at.copy(), self.next.copy(), self.ok.copy()
        self.at[rows], self.next[rows], self.ok[rows] = part.at, part.next, part.ok

    def fits(self, literal: bytes) -> Bools:
        """In which records the literal comes next."""
        return self.text.fits(self.at, literal)

    def move(self, literal: bytes) -> None:
        """Step over a literal that is there."""
        # A record that is not ok may stand anywhere; no other comes to the end of the block.
        self.at = np.minimum(self.at + len(literal), self.text.size)
        count = literal.count(self.text.delimiter)
        if count:
            self.next = self.next + count

    def expect(self, literal: bytes) -> None:
        """Step over a literal that must come next."""
        if literal:
            self.ok = self.ok & self.fits(literal)
            self.move(literal)

    def byte(self) -> npt.NDArray[np.uint8]:
        """The byte that comes next."""
        return self.text.bytes[self.at]

    def to_delimiter(self, ahead: int = 0) -> Ints:
        """Where the next delimiter stands, or a later one; where there is none any more, the last."""
        return self.text.places.take(self.next + ahead, mode="clip")

    def scalar_end(self) -> Ints:
        """Where the bare JSON value ends that comes next: at `,`, `}`, `]` or white space, at most 40 bytes on."""
        ends: Ints = self.at + _first_stop(self.text.words(self.at, 1)[:, 0])
        going = np.flatnonzero(ends == self.at + _WORD)
        for _ in range(4):
            if not len(going):
                break
            ends[going] += _first_stop(self.text.words(ends[going], 1)[:, 0])
            going = going[(ends[going] - self.at[going]) % _WORD == 0]
        cut: Ints = np.minimum(ends, self.text.size)
        return cut


def _first_stop(word: Words) -> Ints:
    """How many bytes of each word come before the first that ends a bare JSON value; 8 where none does.

    The bit tricks tell the lowest zero byte exactly; see H. S. Warren, Hacker's Delight, section 6-1.
    """
    comma = word ^ _COMMAS
    closer = (word | _SPACE) ^ _CLOSERS
    stops = (((word - _NO_CONTROL) & ~word) | ((comma - _LOW) & ~comma) | ((closer - _LOW) & ~closer)) & _HIGH
    lowest = (stops & (~stops + _ONE)) - _ONE
    before: Ints = np.asarray(np.bitwise_count(lowest) >> _THREE, np.int64)
    return before
