"""The layout of XML records: how they look, as literals and texts, and how such records are walked through."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from assay.reading import Ints
from assay.records.cursor import Cursor
from assay.records.found import BARE, NULL, QUOTED, Level


@dataclass(frozen=True)
class AttributeValue:
    """The value of an attribute, up to the mark behind it.

    Attributes:
        slot: Its number.
        mark: The mark.
        claimed: Whether anybody looks at it: then an escape in it is decoded, else the record is left.
    """

    slot: int
    mark: int
    claimed: bool


@dataclass(frozen=True)
class Tag:
    """A start tag.

    Attributes:
        parts: Literals, and between them values of attributes; a literal is first and last.
        is_empty: Whether it is an end tag as well.
        is_nil: Whether it says that there is no value.
    """

    parts: tuple[bytes | AttributeValue, ...]
    is_empty: bool
    is_nil: bool


@dataclass(frozen=True)
class ElementLayout:
    """An element.

    Attributes:
        slot: Of its text; where it has children, of whether it is there.
        gap: White space before it.
        tags: The start tags that it may have.
        end: Its end tag.
        optional: Whether it may be absent.
        children: Its children in order; None where it has text.
        last_gap: White space behind the last child.
        empty_as_null: Whether no text is null.
        claimed: Whether anybody looks at its text; see `AttributeValue`.
        items: The slot under which several of it, one behind the other, are found as items; None where it stands once.
    """

    slot: int
    gap: bytes
    tags: tuple[Tag, ...]
    end: bytes
    optional: bool
    children: tuple[ElementLayout, ...] | None
    last_gap: bytes
    empty_as_null: bool
    claimed: bool
    items: int | None = None

    def walk(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """Move over the element, which is a whole record."""
        cursor.expect(self.step(b"", cursor, rows, level))

    def step(self, pending: bytes, cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
        """Move over the element, `pending` coming before it; gives what is still to come behind it."""
        if self.items is not None:
            cursor.expect(pending)
            self._walk_items(self.items, cursor, rows, level)
            return b""
        if not self.optional and len(self.tags) == 1:
            return self._behind_tag(
                self._tag(self.tags[0], pending + self.gap, cursor, rows, level), cursor, rows, level
            )
        cursor.expect(pending)
        open_rows = np.ones(len(cursor), np.bool_)
        for tag in self.tags:
            there = cursor.fits(self.gap + _first(tag)) & open_rows & cursor.ok
            if not there.any():
                continue
            places = np.flatnonzero(there)
            part = cursor.part(places)
            inner = places if rows is None else rows[places]
            tagged = self._tag(tag, self.gap, part, inner, level)
            part.expect(self._behind_tag(tagged, part, inner, level))
            if len(self.tags) > 1:
                # Another tag that begins alike may be meant.
                good = np.flatnonzero(part.ok)
                cursor.join(places[good], part.part(good))
                open_rows[places[good]] = False
            else:
                cursor.join(places, part)
                open_rows[places] = False
        if not self.optional:
            cursor.ok = cursor.ok & ~open_rows
        return b""

    def _walk_items(self, items_slot: int, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """Move over all elements of this kind that come one behind the other: over all of them at once.

        Wherever one may begin, it is walked through as if it did; an item is one that begins where its record stands,
        or where the item before it ends.
        """
        first, owners = self._beginnings(cursor)
        if not len(first):
            level.add(items_slot, (np.zeros(0, np.int64), Level(0)))
            return
        walk = Cursor.at_starts(cursor.text, first)
        items = Level(len(first))
        walk.expect(replace(self, items=None, optional=False).step(b"", walk, None, items))
        # The last of each row has none behind it, and neither has one that is followed by something else.
        follows = np.zeros(len(first), np.bool_)
        follows[:-1] = walk.ok[:-1] & (walk.at[:-1] == first[1:]) & (owners[:-1] == owners[1:])
        heads = np.flatnonzero(np.diff(owners, prepend=-1))
        breaks = np.flatnonzero(~follows)
        lasts = breaks[np.searchsorted(breaks, heads)]
        numbers = np.arange(len(first))
        place = np.searchsorted(heads, numbers, "right") - 1
        among = numbers <= lasts[place]
        where = owners[heads]
        level.add(items_slot, ((owners if rows is None else rows[owners])[among], items.keep(among)))
        level.put(items_slot, where if rows is None else rows[where], first[heads], first[heads], BARE)
        cursor.join(where, walk.part(lasts))

    def _beginnings(self, cursor: Cursor) -> tuple[Ints, Ints]:
        """Where items may begin, with the gap before them, and in which rows: only in those where one comes next."""
        some = np.zeros(len(cursor), np.bool_)
        for tag in self.tags:
            some |= cursor.fits(self.gap + _first(tag))
        rows = np.flatnonzero(some & cursor.ok)
        text = cursor.text
        # Records lie one behind the other, and so do the items of one level: a row ends where the next begins.
        ends = np.append(cursor.at[rows[1:]], text.size)
        ends = np.minimum(ends, text.ends_after(cursor.at[rows]))
        begin, end = (np.searchsorted(text.places, place) for place in (cursor.at[rows], ends))
        # What only looks like an item may lie in another one, and stand anywhere.
        counts = np.maximum(end - begin, 0)
        owners = np.repeat(rows, counts)
        places = text.places[np.arange(len(owners)) + np.repeat(begin - (counts.cumsum() - counts), counts)]
        fits = np.zeros(len(places), np.bool_)
        # Most tags are other ones, which their first letters tell.
        for tag in self.tags:
            fits |= text.begins(places, _first(tag))
        places, owners = places[fits] - len(self.gap), owners[fits]
        fits = np.zeros(len(places), np.bool_)
        for tag in self.tags:
            fits |= text.fits(places, self.gap + _first(tag))
        return places[fits], owners[fits]

    def _tag(self, tag: Tag, before: bytes, cursor: Cursor, rows: Ints | None, level: Level) -> tuple[Tag, bytes]:
        """Move over a start tag, but for its last literal, which is given back."""
        pending = before
        for part in tag.parts:
            if isinstance(part, bytes):
                pending += part
                continue
            cursor.expect(pending)
            pending = b""
            starts = cursor.at
            ends = cursor.text.next_mark(starts, part.mark)
            # White space in the value of an attribute is not what it seems.
            cursor.ok = cursor.ok & (ends < cursor.to_delimiter()) & cursor.text.in_one_line(starts, ends)
            if not part.claimed:
                _see_unclaimed(cursor, starts, ends)
            level.put(part.slot, rows, starts, ends, QUOTED)
            cursor.at = ends
        return tag, pending

    def _behind_tag(self, tagged: tuple[Tag, bytes], cursor: Cursor, rows: Ints | None, level: Level) -> bytes:
        tag, pending = tagged
        if self.children is not None and not tag.is_empty:
            level.put(self.slot, rows, cursor.at, cursor.at, BARE)
            for child in self.children:
                pending = child.step(pending, cursor, rows, level)
            return pending + self.last_gap + self.end
        cursor.expect(pending)
        if tag.is_empty or tag.is_nil:
            state = NULL if tag.is_nil or self.empty_as_null else QUOTED
            level.put(self.slot, rows, cursor.at, cursor.at, state)
            return b"" if tag.is_empty else self.end
        starts = cursor.at
        ends = cursor.to_delimiter()
        cursor.ok = cursor.ok & (ends >= starts)
        if not self.claimed:
            _see_unclaimed(cursor, starts, ends)
        states = np.full(len(cursor), QUOTED, np.uint8)
        if self.empty_as_null:
            states[starts == ends] = NULL
        level.put(self.slot, rows, starts, ends, states)
        cursor.at = ends
        return self.end


def _see_unclaimed(cursor: Cursor, starts: Ints, ends: Ints) -> None:
    """A text at which nobody looks must be right all the same."""
    ends = np.maximum(ends, starts)
    cursor.ok = cursor.ok & ~cursor.text.has_escape(starts, ends) & cursor.text.clean(starts, ends)


def _first(tag: Tag) -> bytes:
    """The literal with which a tag begins."""
    first = tag.parts[0]
    return first if isinstance(first, bytes) else b""
