"""The compiled twin of a price list: which row applies, found for many at once by binary search.

The rows that are for the same (the same columns name the same) are one group. Their moments of knowledge cut a group
into slabs, their quantities a slab into cells, and their windows a cell into segments, in each of which one row
applies, or none, or several tie. All slabs lie one behind the other in one array, as cells and segments do, so that a
search in each finds the row.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from assay.money import EXACT, Scaled, integer
from assay.pricing.moments import Window
from assay.pricing.price_rows import MATCH, PriceRow
from assay.pricing.rates import places

NONE: Final = -1
"""No row applies."""
TIE: Final = -2
"""Several do."""
UNKNOWN: Final = -3
"""The rows of the group would be cut into too many segments: the reference must look."""

GROUP: Final = "group"

FOR_EVER: Final = 2**63 - 1
"""The moment after all others."""

# So many segments a row of a group may be cut into, besides a number that any group may have.
_CUTS, _FREE = 64, 4096
# Behind all places.
_OPEN: Final = 2**62
# Quantities of more digits are not compared here.
_LARGEST = 2**60

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Axis:
    """Numbers at which something begins or ends, in order; what lies between two of them is alike."""

    edges: Ints

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Axis:
        """All different ones."""
        return cls(np.array(sorted(set(numbers)), dtype=np.int64))

    def place(self, numbers: Ints) -> Ints:
        """How many edges are reached: 0 before the first."""
        return np.searchsorted(self.edges, numbers, side="right")

    @property
    def width(self) -> int:
        """How many places there are."""
        return len(self.edges) + 1


class _Level:
    """What lies one behind the other: where each begins within what it is a part of."""

    def __init__(self) -> None:
        self.starts: list[int] = []

    @cached_property
    def _sorted(self) -> Ints:
        return np.array(self.starts, dtype=np.int64)

    def find(self, axis: Axis, parents: Ints, numbers: Ints) -> Ints:
        """The part of each parent in which the number lies; the first part begins before all numbers."""
        if axis.width == 1:
            # Each parent is one part.
            return parents
        wanted = parents * axis.width + axis.place(numbers)
        return np.searchsorted(self._sorted, wanted, side="right") - 1


class _TooManyError(Exception):
    """A group would be cut into more parts than is worth it."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A row, its number in the list from 0, and its places on the axes: from, and to (not included)."""

    index: int
    rank: tuple[Decimal, int]
    known: tuple[int, int]
    units: tuple[int, int]
    valid: tuple[int, int]


class _Mask:
    """The rows that name the same columns."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.keys: list[tuple[str | None, ...]] = []
        self.slabs, self.cells, self.segments = _Level(), _Level(), _Level()
        self.found: list[int] = []

    @cached_property
    def rows(self) -> Ints:
        """What applies in each segment: a row's number from 0, or none."""
        return np.array(self.found, dtype=np.int64)

    def add(self, key: tuple[str | None, ...], rows: Sequence[_Placed], widths: tuple[int, int, int]) -> None:
        """Add a group."""
        try:
            parts = list(_cut(rows, _CUTS * len(rows) + _FREE))
        except _TooManyError:
            parts = [(0, [(0, [(0, UNKNOWN)])])]
        group = len(self.keys)
        self.keys.append(key)
        for slab, cells in parts:
            self.slabs.starts.append(group * widths[0] + slab)
            for cell, segments in cells:
                self.cells.starts.append((len(self.slabs.starts) - 1) * widths[1] + cell)
                within = (len(self.cells.starts) - 1) * widths[2]
                self.segments.starts += [within + start for start, _ in segments]
                self.found += [row for _, row in segments]

    @cached_property
    def groups(self) -> pl.DataFrame:
        """The groups: the columns that they name, and their numbers."""
        columns = dict(zip(self.names, zip(*self.keys, strict=True), strict=True)) if self.names else {}
        groups = pl.Series(GROUP, range(len(self.keys)), dtype=pl.Int64)
        return pl.DataFrame(columns, schema=dict.fromkeys(self.names, pl.String)).with_columns(groups)


class PriceIndex:
    """Finds rows of a list.

    Args:
        rows: Of the list.
        windows: When each is valid.
        each_known: Whether what was known differs from one question to the other; else all rows count.

    Attributes:
        comparable: Whether quantities can be compared with the breaks, which may have too many digits; else no row is
            found.
        masks: The columns that rows name, the most specific first.
    """

    def __init__(self, rows: Sequence[PriceRow], windows: Sequence[Window], *, each_known: bool) -> None:
        self._known = Axis.of(
            at for row in rows for at in (row.known_from, row.known_to) if each_known and at is not None
        )
        self.places = max(
            (places(quantity) for row in rows for quantity in (row.min_quantity, row.max_quantity) if quantity),
            default=0,
        )
        edges = {edge for row in rows for edge in self._edges(row) if edge is not None}
        self.comparable = max(edges, default=0) < _LARGEST
        self._units = Axis.of(edges if self.comparable else ())
        self._valid = Axis.of(at for row in rows for at in windows[row.number - 1] if at is not None)
        self.masks = list(self._masks(rows, windows, each_known=each_known)) if self.comparable else []

    def units(self, quantity: Scaled) -> pl.Expr:
        """The quantity (0 or more) as an integer that compares to the breaks as it does: Int64."""
        top = integer(int(self._units.edges[-1]) // 2 + 1 if len(self._units.edges) else 1)
        by = self.places - quantity.scale
        if by >= 0:
            factor = integer(10**by)
            whole = pl.min_horizontal(quantity.units, top.floordiv(factor) + integer(1)) * factor
            return (pl.min_horizontal(whole, top) * integer(2)).cast(pl.Int64)
        divisor = integer(10**-by)
        whole = quantity.units.floordiv(divisor)
        rest = (quantity.units - whole * divisor != integer(0)).cast(pl.Int128)
        return (pl.min_horizontal(whole, top) * integer(2) + rest).cast(pl.Int64)

    def find(self, groups: Sequence[Ints], known: Ints, units: Ints, valid: Ints) -> Ints:
        """The row of each question, by its number from 0; `NONE`, `TIE` or `UNKNOWN`.

        Args:
            groups: A mask of `masks`, the group that the question names; -1 where it names none.
            known: As far as what was known then, in microseconds since the epoch.
            units: As `units` gives them.
            valid: The moment asked for.
        """
        result = np.full(len(valid), NONE, dtype=np.int64)
        for mask, group in zip(self.masks, groups, strict=True):
            at = np.flatnonzero((result == NONE) & (group >= 0))
            slab = mask.slabs.find(self._known, group[at], known[at])
            cell = mask.cells.find(self._units, slab, units[at])
            segment = mask.segments.find(self._valid, cell, valid[at])
            result[at] = mask.rows[segment]
        return result

    def _edges(self, row: PriceRow) -> tuple[int | None, int | None]:
        """From the least quantity on, and before what is more than the most."""
        least = 2 * int(row.min_quantity.scaleb(self.places, context=EXACT)) if row.min_quantity else None
        most = None if row.max_quantity is None else 2 * int(row.max_quantity.scaleb(self.places, context=EXACT)) + 1
        return least, most

    def _masks(self, rows: Sequence[PriceRow], windows: Sequence[Window], *, each_known: bool) -> Iterator[_Mask]:
        known = _placed(self._known, [(row.known_from, row.known_to) if each_known else (None, None) for row in rows])
        units = _placed(self._units, [self._edges(row) for row in rows])
        valid = _placed(self._valid, [windows[row.number - 1] for row in rows])
        groups: dict[tuple[str | None, ...], list[_Placed]] = {}
        for row, *spans in zip(rows, known, units, valid, strict=True):
            placed = _Placed(row.number - 1, (row.min_quantity, row.priority), *spans)
            groups.setdefault(row.match, []).append(placed)
        widths = self._known.width, self._units.width, self._valid.width
        masks: dict[tuple[bool, ...], _Mask] = {}
        for match, members in groups.items():
            named = tuple(value is not None for value in match)
            if named not in masks:
                masks[named] = _Mask([name for name, is_named in zip(MATCH, named, strict=True) if is_named])
            masks[named].add(tuple(value for value in match if value is not None), members, widths)
        return (masks[named] for named in sorted(masks, reverse=True))


def _placed(axis: Axis, spans: Sequence[Window]) -> list[tuple[int, int]]:
    """Places from which and to which (not included); an open end is behind all."""
    starts = np.array([0 if start is None else start for start, _ in spans], dtype=np.int64)
    ends = np.array([0 if end is None else end for _, end in spans], dtype=np.int64)
    firsts, lasts = axis.place(starts).tolist(), axis.place(ends).tolist()
    return [
        (0 if start is None else first, _OPEN if end is None else last)
        for (start, end), first, last in zip(spans, firsts, lasts, strict=True)
    ]


_Segments = list[tuple[int, int]]
_Cells = list[tuple[int, _Segments]]


def _cut(rows: Sequence[_Placed], most: int) -> Iterator[tuple[int, _Cells]]:
    """A group's slabs, their cells, their segments, each by the place from which it is."""
    left = most
    for slab, known in _parts(rows, lambda row: row.known):
        cells: _Cells = []
        for cell, reached in _parts(known, lambda row: row.units):
            segments = _segments(reached)
            cells.append((cell, segments))
            left -= len(segments)
            if left < 0:
                raise _TooManyError
        yield slab, cells


def _parts(
    rows: Sequence[_Placed], span: Callable[[_Placed], tuple[int, int]]
) -> Iterator[tuple[int, Sequence[_Placed]]]:
    """Where rows begin to count or cease to, and those that count from there on."""
    edges = sorted({0} | {edge for row in rows for edge in span(row) if edge < _OPEN})
    if len(edges) == 1:
        yield 0, rows
        return
    for edge in edges:
        yield edge, [row for row in rows if span(row)[0] <= edge < span(row)[1]]


def _segments(rows: Sequence[_Placed]) -> _Segments:
    """In which parts of time which row applies."""
    waiting = sorted((row for row in rows if row.valid[0] < row.valid[1]), key=lambda row: row.valid[0])
    edges = sorted({0} | {edge for row in waiting for edge in row.valid if edge < _OPEN})
    made: _Segments = []
    held: list[tuple[tuple[Decimal, int], int, _Placed]] = []
    arrived = 0
    for edge in edges:
        while arrived < len(waiting) and waiting[arrived].valid[0] <= edge:
            row = waiting[arrived]
            heapq.heappush(held, ((-row.rank[0], -row.rank[1]), row.index, row))
            arrived += 1
        best = _best(held, edge)
        if not made or made[-1][1] != best:
            made.append((edge, best))
    return made


def _best(held: list[tuple[tuple[Decimal, int], int, _Placed]], edge: int) -> int:
    """The row of the largest rank that has not ended."""

    def first() -> bool:
        while held and held[0][2].valid[1] <= edge:
            heapq.heappop(held)
        return bool(held)

    if not first():
        return NONE
    best = heapq.heappop(held)
    ties = first() and held[0][0] == best[0]
    heapq.heappush(held, best)
    return TIE if ties else best[1]
