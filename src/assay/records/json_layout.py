"""The layout of JSON records: how they look, as literals and values, and how such records are walked through.

White space is part of the literals, as it was seen: a record that is laid out otherwise does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

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
_ITEMS: Final = 64
_FEW: Final = 16


class Layout(Protocol):
    """How a value looks."""

    @property
    def slot(self) -> int:
        """The number under which it is found."""
        ...

    def walk(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """Move over the value, and note what is there; see `assay.records.shape.Layout`."""
        ...


@dataclass(frozen=True)
class Scalar:
    """A string, number, true, false or null.

    Attributes:
        slot: Its number.
    """

    slot: int

    def walk(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """See `Layout`."""
        first = cursor.byte()
        quoted = first == _QUOTE
        if quoted.all():
            starts, ends = cursor.at + 1, cursor.to_delimiter(1)
            cursor.ok = cursor.ok & (ends >= starts)
            cursor.at, cursor.next = np.minimum(ends + 1, cursor.text.size), cursor.next + 2
            level.put(self.slot, rows, starts, ends, QUOTED)
            return
        bare_ends = cursor.scalar_end()
        states = np.full(len(cursor), BARE, np.uint8)
        null = first == _N
        if null.any():
            null &= cursor.fits(_NULL) & (bare_ends == cursor.at + len(_NULL))
            states[null] = NULL
        if not quoted.any():
            level.put(self.slot, rows, cursor.at, bare_ends, states)
            cursor.at = bare_ends
            return
        states[quoted] = QUOTED
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

    def walk(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """See `Layout`."""
        first = cursor.byte()
        nested = (first == _BRACE) | (first == _BRACKET)
        if not nested.any():
            Scalar(self.slot).walk(cursor, rows, level)
            return
        others = np.flatnonzero(~nested)
        if len(others):
            part = cursor.part(others)
            Scalar(self.slot).walk(part, others if rows is None else rows[others], level)
            cursor.join(others, part)
        places = np.flatnonzero(nested)
        part = cursor.part(places)
        ends = part.text.bracket_ends(part.at)
        part.ok &= ends > part.at
        level.put(self.slot, places if rows is None else rows[places], part.at, ends, BARE)
        part.at, part.next = ends, np.searchsorted(part.text.places, ends)
        cursor.join(places, part)


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
    """

    slot: int
    opening: bytes
    comma: bytes
    closing: bytes
    members: tuple[Member, ...]

    def walk(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """See `Layout`."""
        _unless_null(self, cursor, rows, level)

    def inside(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """Move over an object that is there."""
        level.put(self.slot, rows, cursor.at, cursor.at, BARE)
        members = self.members
        begun: Bools | bool = False
        pending = self.opening
        for member in members:
            if begun is True:
                pending = self.comma
            if not member.optional and isinstance(begun, bool):
                cursor.expect(pending + member.key)
                pending, begun = b"", True
                member.value.walk(cursor, rows, level)
                continue
            if begun is False:
                cursor.expect(pending)
                pending = b""
            begun = self._maybe(member, begun, cursor, rows, level)
        if not members:
            cursor.expect(self.opening + self.closing)
        else:
            cursor.expect((b"" if begun is not False else pending) + self.closing)

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
            member.value.walk(cursor, rows, level)
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
        member.value.walk(part, places if rows is None else rows[places], level)
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

    def walk(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """See `Layout`."""
        _unless_null(self, cursor, rows, level)

    def inside(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """Move over an array that is there."""
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
            if self.item is None or (len(parts) >= _ITEMS and len(active) < _FEW):
                cursor.ok = cursor.ok.copy()
                cursor.ok[active] = False
                break
            part = cursor.part(active)
            part.expect(step)
            step = self.comma
            items = Level(len(active))
            self.item.walk(part, None, items)
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


def _unless_null(layout: Object | Array, cursor: Cursor, rows: Ints | None, level: Level) -> None:
    null = cursor.byte() == _N
    if not null.any():
        layout.inside(cursor, rows, level)
        return
    null &= cursor.fits(_NULL)
    places = np.flatnonzero(null)
    part = cursor.part(places)
    level.put(layout.slot, places if rows is None else rows[places], part.at, part.at, NULL)
    part.move(_NULL)
    cursor.join(places, part)
    others = np.flatnonzero(~null)
    part = cursor.part(others)
    layout.inside(part, others if rows is None else rows[others], level)
    cursor.join(others, part)
