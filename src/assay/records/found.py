"""What a layout finds in records: where the text of each value lies, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.reading import Bools, Ints

States = npt.NDArray[np.uint8]

#: What was found where a value may be.
ABSENT: Final = 0
NULL: Final = 1
#: As it stands: a number, true or false; an object or array; in XML and CSV never.
BARE: Final = 2
#: Text: between quotation marks in JSON, anywhere in XML and CSV.
QUOTED: Final = 3


class Found(NamedTuple):
    """Where the values of one slot lie: arrays of the length of their level."""

    starts: Ints
    ends: Ints
    states: States

    def is_all(self, state: int) -> bool:
        """Whether the same was found in all rows."""
        return bool((self.states == state).all())

    def part(self, rows: Ints | Bools) -> Found:
        """The same of some rows."""
        return Found(self.starts[rows], self.ends[rows], self.states[rows])


def together(several: Sequence[Found]) -> Found:
    """What was found of several slots, one behind the other."""
    return Found(
        np.concatenate([one.starts for one in several]),
        np.concatenate([one.ends for one in several]),
        np.concatenate([one.states for one in several]),
    )


def gathered(counts: Ints) -> Found:
    """What was found of an array that is gathered from others, by how many items each row has."""
    zeros = np.zeros(len(counts), np.int64)
    return Found(zeros, zeros, np.where(counts > 0, np.uint8(BARE), np.uint8(ABSENT)))


@dataclass
class Level:
    """Some records, or the items of one array in all of them.

    Attributes:
        size: How many.
        slots: What was found of each slot.
        items: Of the slots that are arrays: for each item, in which row of this level it lies (ascending), and the
            level that the items are.
    """

    size: int
    slots: dict[int, Found] = field(default_factory=dict)
    items: dict[int, tuple[Ints, Level]] = field(default_factory=dict)

    def put(self, slot: int, rows: Ints | None, starts: Ints, ends: Ints, states: States | int) -> None:
        """Note what was found of a slot, in some rows (None: in all)."""
        given = states if isinstance(states, np.ndarray) else np.full(len(starts), states, np.uint8)
        if rows is None:
            self.slots[slot] = Found(starts, ends, given)
            return
        made = self.slots.get(slot)
        if made is None:
            size = self.size
            made = Found(np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.uint8))
            self.slots[slot] = made
        made.starts[rows], made.ends[rows], made.states[rows] = starts, ends, given

    def add(self, slot: int, items: tuple[Ints, Level]) -> None:
        """Note the items of an array, in some of its rows."""
        before = self.items.get(slot)
        self.items[slot] = items if before is None else merged([before, items])

    def found(self, slot: int) -> Found:
        """What was found of a slot: nothing, where nobody came so far."""
        made = self.slots.get(slot)
        if made is None:
            zeros = np.zeros(self.size, np.int64)
            made = Found(zeros, zeros, np.zeros(self.size, np.uint8))
        return made

    def items_of(self, slots: Sequence[int]) -> tuple[Ints, Level]:
        """The items of an array, or of arrays within each other, the outermost first: their rows here, ascending."""
        owner, level = np.arange(self.size), self
        for slot in slots:
            inner, level = level.items.get(slot, (np.zeros(0, np.int64), Level(0)))
            owner = owner[inner]
        return owner, level

    def keep(self, rows: Bools) -> Level:
        """Some of the rows only, with their items."""
        made = Level(int(rows.sum()))
        made.slots = {slot: one.part(rows) for slot, one in self.slots.items()}
        place = rows.cumsum() - 1
        for slot, (owner, level) in self.items.items():
            kept = rows[owner]
            made.items[slot] = place[owner[kept]], level.keep(kept)
        return made


def merged(parts: list[tuple[Ints, Level]]) -> tuple[Ints, Level]:
    """Levels of items put together, ordered by their owners; among those of one owner the earlier part comes first."""
    owner = np.concatenate([rows for rows, _ in parts]) if parts else np.zeros(0, np.int64)
    order = np.argsort(owner, kind="stable")
    made = Level(len(owner))
    for slot in dict.fromkeys(slot for _, level in parts for slot in level.slots):
        made.slots[slot] = together([level.found(slot) for _, level in parts]).part(order)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    for slot in dict.fromkeys(slot for _, level in parts for slot in level.items):
        inner = []
        base = 0
        for rows, level in parts:
            if slot in level.items:
                inner_owner, inner_level = level.items[slot]
                inner.append((place[base + inner_owner], inner_level))
            base += len(rows)
        made.items[slot] = merged(inner)
    return owner[order], made
