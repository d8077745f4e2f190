"""The layout of JSON records: how they look, as literals and values, and how such records are walked through.

White space is part of the literals, as it was seen: a record that is laid out otherwise does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from assay.reading import Bools, Ints
from assay.records.cursor import Cursor
from assay.records.found import BARE, NULL, QUOTED, Level, merged

_QUOTE: Final = 34
_N: Final = 110
_BRACE: Final = 123
_BRACKET: Final = 91
_NULL: Final = b"null"
#: So many items of a list are walked through however few records have as many; then at least so many must.
_ITEMS: Final = 16
_FEW: Final = 64


class Layout(Protocol):
    """How a value looks."""

    @property
    def slot(self) -> int:
        """The number under which it is found."""
        ...

    def step(self, pending: bytes, cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
        """Move over the value, and note what is there.

        Args:
            pending: What comes before it.
            cursor: At that, in some records.
            rows: Which rows of the level these are; None: all, in order.
            level: Where it is noted.

        Returns:
            What is still to come behind it.
        """
        ...


@dataclass(frozen=True)
class Scalar:
    """A string, number, true, false or null.

    Attributes:
        slot: Its number.
        only: What it is taken to be in all records, "text" or "bare"; where it is not, the record does not fit, or its
            text is none that is claimed. Empty where it may be any.
    """

    slot: int
    only: Literal["text", "bare", ""] = ""

    def step(self, pending: bytes, cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
        """See `Layout`."""
        if self.only == "text":
            cursor.expect(pending + b'"')
            starts, ends = cursor.at, cursor.to_delimiter()
            cursor.ok = cursor.ok & (ends >= starts)
            cursor.at = ends
            level.put(self.slot, rows, starts, ends, QUOTED)
            return b'"'
        cursor.expect(pending)
        if self.only == "bare":
            ends = cursor.scalar_end()
            level.put(self.slot, rows, cursor.at, ends, BARE)
            cursor.at = ends
            return b""
        self._any(cursor, rows, level)
        return b""

    def _any(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        quoted = cursor.byte() == _QUOTE
        bare_ends = cursor.scalar_end()
        states = np.where(quoted, QUOTED, BARE).astype(np.uint8)
        null = (cursor.byte() == _N) & cursor.fits(_NULL) & (bare_ends == cursor.at + len(_NULL))
        states[null] = NULL
        text_ends = cursor.to_delimiter(1)
        cursor.ok = cursor.ok & ((text_ends > cursor.at) | ~quoted)
        level.put(self.slot, rows, cursor.at + quoted, np.where(quoted, text_ends, bare_ends), states)
        cursor.at = np.minimum(np.where(quoted, text_ends + 1, bare_ends), cursor.text.size)
        cursor.next = cursor.next + 2 * quoted


@dataclass(frozen=True)
class Fragment:
    """Any value, as it stands: nobody looks into it here.

    Attributes:
        slot: Its number.
    """

    slot: int

    def step(self, pending: bytes, cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
        """See `Layout`."""
        cursor.expect(pending)
        first = cursor.byte()
        nested = (first == _BRACE) | (first == _BRACKET)
        if not nested.any():
            return Scalar(self.slot).step(b"", cursor, rows, level)
        others = np.flatnonzero(~nested)
        if len(others):
            part = cursor.part(others)
            Scalar(self.slot).step(b"", part, others if rows is None else rows[others], level)
            cursor.join(others, part)
        places = np.flatnonzero(nested)
        part = cursor.part(places)
        ends = part.text.bracket_ends(part.at)
        part.ok &= ends > part.at
        level.put(self.slot, places if rows is None else rows[places], part.at, ends, BARE)
        part.at, part.next = ends, np.searchsorted(part.text.places, ends)
        cursor.join(places, part)
        return b""


@dataclass(frozen=True)
class Member:
    """A key of an object.

    Attributes:
        key: The key in its quotation marks, and the colon.
        value: Its value.
        optional: Whether it may be absent.
    """

    key: bytes
    value: Layout
    optional: bool


@dataclass(frozen=True)
class Object:
    """Members in an order.

    Attributes:
        slot: Its number.
        opening: `{`, and what stands before the first key.
        comma: What stands between two members.
        closing: What stands behind the last, and `}`.
        members: The members that were seen.
        nullable: Whether it may be null instead.
    """

    slot: int
    opening: bytes
    comma: bytes
    closing: bytes
    members: tuple[Member, ...]
    nullable: bool = True

    def walk(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """Move over an object that is a whole record."""
        cursor.expect(self.step(b"", cursor, rows, level))

    def step(self, pending: bytes, cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
        """See `Layout`."""
        if not self.nullable:
            return self.inside(pending, cursor, rows, level)
        cursor.expect(pending)
        return _unless_null(self, cursor, rows, level)

    def inside(self, pending: bytes, cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
        """Move over an object that is there."""
        level.put(self.slot, rows, cursor.at, cursor.at, BARE)
        begun: Bools | bool = False
        pending += self.opening
        for member in self.members:
            if not member.optional and isinstance(begun, bool):
                before = pending + self.comma if begun else pending
                pending, begun = member.value.step(before + member.key, cursor, rows, level), True
                continue
            cursor.expect(pending)
            pending = b""
            begun = self._maybe(member, begun, cursor, rows, level)
        return pending + self.closing

    def _maybe(
        self, member: Member, begun: Bools | bool, cursor: Cursor, rows: Ints | None, level: Level
    ) -> Bools | bool:
        """Move over a member where it is there; gives which objects have begun."""
        if isinstance(begun, bool):
            literal = self.comma + member.key if begun else member.key
            there = cursor.fits(literal)
        else:
            # Where a member came before, a comma must come first.
            with_comma = cursor.fits(self.comma + member.key)
            there = np.where(begun, with_comma, cursor.fits(member.key))
        there &= cursor.ok
        if not member.optional:
            cursor.ok = cursor.ok & there
        if not there.any():
            return begun
        if there.all() and isinstance(begun, bool):
            cursor.move(literal)
            cursor.expect(member.value.step(b"", cursor, rows, level))
            return True
        places = np.flatnonzero(there)
        part = cursor.part(places)
        if isinstance(begun, bool):
            part.move(literal)
        else:
            commas = np.flatnonzero(begun[places])
            behind = part.part(commas)
            behind.move(self.comma)
            part.join(commas, behind)
            part.move(member.key)
        part.expect(member.value.step(b"", part, places if rows is None else rows[places], level))
        cursor.join(places, part)
        return True if begun is True or not member.optional else there | begun


@dataclass(frozen=True)
class Array:
    """Items of one look.

    Attributes:
        slot: Its number.
        opening: `[`, and what stands before the first item.
        comma: What stands between two items.
        closing: What stands behind the last, and `]`.
        item: An item; None where none was seen.
    """

    slot: int
    opening: bytes
    comma: bytes
    closing: bytes
    item: Layout | None

    def step(self, pending: bytes, cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
        """See `Layout`."""
        cursor.expect(pending)
        return _unless_null(self, cursor, rows, level)

    def inside(self, pending: bytes, cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
        """Move over an array that is there."""
        cursor.expect(pending)
        level.put(self.slot, rows, cursor.at, cursor.at, BARE)
        empty = cursor.fits(b"[]")
        active = np.flatnonzero(~empty & cursor.ok)
        if len(active) < len(cursor):
            rest = np.flatnonzero(empty)
            part = cursor.part(rest)
            part.move(b"[]")
            cursor.join(rest, part)
        parts: list[tuple[Ints, Level]] = []
        step = self.opening
        while len(active):
            if self.item is None or (len(parts) >= _ITEMS and len(active) < max(_FEW, len(parts) // 2)):
                cursor.ok = cursor.ok.copy()
                cursor.ok[active] = False
                break
            part = cursor.part(active)
            items = Level(len(active))
            part.expect(self.item.step(step, part, None, items))
            step = self.comma
            more = part.fits(self.comma) & part.ok
            cursor.join(active, part)
            parts.append((active if rows is None else rows[active], items))
            ended = active[~more]
            if len(ended):
                last = cursor.part(ended)
                last.expect(self.closing)
                cursor.join(ended, last)
            active = active[more]
        level.add(self.slot, merged(parts))
        return b""


def _unless_null(layout: Object | Array, cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
    null = cursor.byte() == _N
    if not null.any():
        return layout.inside(b"", cursor, rows, level)
    null &= cursor.fits(_NULL)
    places = np.flatnonzero(null)
    part = cursor.part(places)
    level.put(layout.slot, places if rows is None else rows[places], part.at, part.at, NULL)
    part.move(_NULL)
    cursor.join(places, part)
    others = np.flatnonzero(~null)
    part = cursor.part(others)
    part.expect(layout.inside(b"", part, others if rows is None else rows[others], level))
    cursor.join(others, part)
    return b""
