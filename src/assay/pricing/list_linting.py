"""Findings in price lists: rows that tie, days or quantities without a row, rows that never count.

Rows that are for the same (the same columns name the same) are one group. At each quantity at which a row of the group
begins or ceases to count, its rows are swept in order of time, so that the cost grows with the number of rows at
that quantity, and not with its square. Where rows have no largest quantity, those of each break are swept alone: of
several breaks that a quantity reaches the highest counts, so that only its own rows can hide each other.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heappop, heappush
from itertools import pairwise

from assay.errors import nearest
from assay.money import EXACT, MINOR_UNITS, plain
from assay.pricing.moments import Window, shown_instant
from assay.pricing.price_list import PriceList
from assay.pricing.price_rows import MATCH, PriceRow
from assay.pricing.rates import places

MOST = 2_000_000
"""So many rows at most are swept, counted at each quantity: a group that needs more is told, and not looked at."""

_FEES = ("amount", "fee", "price")
_PER_UNIT = "unit_price"

_EVER, _FOR_EVER = -(2**63), 2**63
"""Before and after all moments."""

_Span = tuple[int, int]


@dataclass(frozen=True)
class ListFinding:
    """What was found in a list.

    Attributes:
        rule: As the linter of books calls it.
        message: In words.
        names: What was asked for, by column.
        quantity: How many, or None.
        at: When (UTC), or None.
        rows: Numbers of the rows that it concerns, from 1.
    """

    rule: str
    message: str
    names: dict[str, str]
    quantity: Decimal | None
    at: dt.datetime | None
    rows: tuple[int, ...] = ()


def list_findings(prices: PriceList, zone: str | None) -> Iterator[ListFinding]:
    """Ties, holes between windows and between quantities, and rows that never count, at the last that was known."""
    groups: dict[tuple[str | None, ...], list[PriceRow]] = {}
    for row in prices.rows:
        if row.is_known(None):
            groups.setdefault(row.match, []).append(row)
    left = MOST
    for match, rows in groups.items():
        group = _Group(prices, zone, match, rows)
        left -= group.cost if len(rows) > 1 else 0
        if left < 0:
            told = (
                f"{len(rows)} rows are for {_told(group.names, None)}, with {len(group.quantities)} different "
                "quantities: they are too many to be compared with each other"
            )
            yield ListFinding("unchecked", told, group.names, None, None)
            left += group.cost
        elif len(rows) > 1:
            yield from group.findings()


def currency_findings(prices: PriceList) -> Iterator[ListFinding]:
    """Currencies that there are not, and amounts of more digits than theirs: of fees, and not of prices a unit."""
    place = MATCH.index("currency")
    fees = [name for name in prices.values if name.endswith(_FEES) and name != _PER_UNIT]
    for row in prices.rows:
        currency = row.match[place]
        if currency is None:
            continue
        digits = MINOR_UNITS.get(currency)
        if digits is None:
            near = nearest(currency, MINOR_UNITS)
            meant = f' (did you mean "{near}"?)' if near else ""
            yield _of_row(row, f'row {row.number}: there is no currency "{currency}"{meant}')
            continue
        for name in fees:
            amount = row.values[prices.values.index(name)]
            if amount is not None and places(amount) > digits:
                told = f"row {row.number}: {name} is {plain(amount)}, and {currency} has {digits} decimal places"
                yield _of_row(row, told)


def _of_row(row: PriceRow, told: str) -> ListFinding:
    names = {name: value for name, value in zip(MATCH, row.match, strict=True) if value is not None}
    return ListFinding("digits", told, names, None, None, rows=(row.number,))


class _Group:
    """The rows that are for the same."""

    def __init__(
        self, prices: PriceList, zone: str | None, match: tuple[str | None, ...], rows: Sequence[PriceRow]
    ) -> None:
        self._prices, self._zone, self._match = prices, zone, match
        self._rows = rows
        windows = prices.windows(zone)
        self._spans = {row.number: _span(windows[row.number - 1]) for row in rows}
        ends = sorted({edge for span in self._spans.values() for edge in span} - {_EVER, _FOR_EVER})
        self._moments = [ends[0] - 1, *ends] if ends else []
        self._capped = any(row.max_quantity is not None for row in rows)
        self.names = {name: value for name, value in zip(MATCH, match, strict=True) if value is not None}
        found = prices.candidates(match) if len(prices.masks) > 1 and len(rows) > 1 else ()
        self._others = [row for row in found if row.match != match and row.is_known(None)]
        self._by_break: dict[Decimal, list[PriceRow]] = {}
        for row in rows:
            self._by_break.setdefault(row.min_quantity, []).append(row)
        self.quantities = self._edges()

    @property
    def cost(self) -> int:
        """So many rows are swept, at all quantities at most."""
        every = len(self._others) * len(self.quantities)
        return every + (len(self._rows) * len(self.quantities) if self._capped else len(self._rows))

    def findings(self) -> Iterator[ListFinding]:
        """Of this group."""
        counted: set[int] = set()
        tied: set[tuple[int, int]] = set()
        bare: set[int] = set()
        empty: Decimal | None = None
        met, covered = False, _Union()
        for quantity in self.quantities:
            reaching = self._reaching(quantity) if self._capped else self._by_break.get(quantity, [])
            for at, first, second in self._swept(reaching, counted):
                if (first.number, second.number) not in tied:
                    tied.add((first.number, second.number))
                    yield self._tie(first, second, quantity, at)
            own = (self._spans[row.number] for row in reaching)
            covered = _Union(own) if self._capped else covered.with_(own)
            spans = covered.with_(self._of_others(quantity)).spans
            if not spans and met:
                empty = quantity if empty is None else empty
            elif reaching:
                if empty is not None:
                    told = f"no row for {_told(self.names, empty)}, and there are for less and for more"
                    yield ListFinding("gap", told, self.names, empty, None)
                empty, met = None, True
            hole = self._hole(spans)
            if hole is not None and hole not in bare:
                bare.add(hole)
                told = f"no row for {_told(self.names, self._shown(quantity), self._moment(hole))}"
                yield ListFinding("dates", told, self.names, self._shown(quantity), shown_instant(hole, None))
        for row in self._rows:
            if row.number not in counted:
                told = (
                    f'"{row.id}" (row {row.number}) never counts: others come before it for {_told(self.names, None)}'
                )
                yield ListFinding(
                    "unreachable", told, self.names, self._shown(row.min_quantity), None, rows=(row.number,)
                )

    def _edges(self) -> list[Decimal]:
        """Quantities at which a row begins to count, is the last to, and ceases to."""
        rows = [*self._rows, *self._others]
        mins = {row.min_quantity for row in rows}
        tops = {row.max_quantity for row in rows if row.max_quantity is not None}
        unit = Decimal(1).scaleb(-max((places(one) for one in (*mins, *tops) if one), default=0))
        return sorted(mins | tops | {EXACT.add(top, unit) for top in tops})

    def _reaching(self, quantity: Decimal) -> list[PriceRow]:
        return [row for row in self._rows if row.reaches(quantity)]

    def _swept(self, rows: Sequence[PriceRow], counted: set[int]) -> Iterator[tuple[int, PriceRow, PriceRow]]:
        """When the two first of several rows of the largest rank tie; all rows that count are added to `counted`."""
        # Clocks that were put forward leave no time to some windows.
        rows = [row for row in rows if self._spans[row.number][0] < self._spans[row.number][1]]
        starts = sorted(rows, key=lambda row: self._spans[row.number][0])
        ends = sorted(rows, key=lambda row: self._spans[row.number][1])
        edges = sorted({edge for row in rows for edge in self._spans[row.number]} - {_FOR_EVER})
        ranks: dict[tuple[Decimal, int], _Rank] = {}
        top: list[tuple[Decimal, int]] = []
        begun = ended = 0
        for edge in edges:
            while ended < len(ends) and self._spans[ends[ended].number][1] <= edge:
                row = ends[ended]
                ranks[-row.min_quantity, -row.priority].remove(row)
                ended += 1
            while begun < len(starts) and self._spans[starts[begun].number][0] <= edge:
                row = starts[begun]
                key = -row.min_quantity, -row.priority
                if key not in ranks:
                    ranks[key] = _Rank()
                if not ranks[key].held:
                    heappush(top, key)
                ranks[key].add(row)
                begun += 1
            while top and not ranks[top[0]].held:
                heappop(top)
            if top:
                held = ranks[top[0]]
                counted.update(held.new())
                if len(held.held) > 1:
                    first, second = held.held[:2]
                    yield edge, self._prices.rows[first - 1], self._prices.rows[second - 1]

    def _tie(self, first: PriceRow, second: PriceRow, quantity: Decimal, at: int) -> ListFinding:
        both = " and ".join(f'"{row.id}" (row {row.number})' for row in (first, second))
        # A tie that has always been there is shown at the first moment that the group speaks of.
        shown = at if at != _EVER else self._moments[0] if self._moments else 0 if self._prices.dated else None
        told = _told(self.names, self._shown(quantity), None if shown is None else self._moment(shown))
        return ListFinding(
            "overlap",
            f"{both} tie for {told}: end one, or give one a priority",
            self.names,
            self._shown(quantity),
            None if shown is None else shown_instant(shown, None),
            rows=(first.number, second.number),
        )

    def _hole(self, spans: Sequence[_Span]) -> int | None:
        """The first of the group's moments that no row has, between others that have one."""
        if len(spans) < 2:
            return None
        first = next((at for at in self._moments if _within(spans, at)), None)
        last = next((at for at in reversed(self._moments) if _within(spans, at)), None)
        if first is None or last is None:
            return None
        for (_, end), (start, _) in pairwise(spans):
            place = bisect_left(self._moments, end)
            if place < len(self._moments) and first < self._moments[place] < min(start, last):
                return self._moments[place]
        return None

    def _of_others(self, quantity: Decimal) -> Iterator[_Span]:
        """Windows of less specific rows, which count where none of the group does."""
        windows = self._prices.windows(self._zone) if self._others else []
        asked = self._shown(quantity) or quantity
        return (_span(windows[row.number - 1]) for row in self._others if row.reaches(asked))

    def _shown(self, quantity: Decimal) -> Decimal | None:
        """A quantity as it is told: one, where any is meant."""
        if not self._prices.breaks:
            return None
        above = next((edge for edge in self.quantities if edge > quantity), None)
        return Decimal(1) if quantity == 0 and (above is None or above > 1) else quantity

    def _moment(self, at: int) -> dt.datetime | None:
        return shown_instant(at, self._prices.zone or self._zone)


@dataclass
class _Rank:
    """Rows of one rank that hold at a moment, by their numbers; and those not yet told of."""

    held: list[int] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)

    def add(self, row: PriceRow) -> None:
        insort(self.held, row.number)
        self.fresh.append(row.number)

    def remove(self, row: PriceRow) -> None:
        del self.held[bisect_left(self.held, row.number)]

    def new(self) -> list[int]:
        """Rows that hold and were not told of before."""
        found = [number for number in self.fresh if _has(self.held, number)] if self.fresh else []
        self.fresh.clear()
        return found


class _Union:
    """Windows as one, in order: what touches or overlaps is one span.

    Args:
        spans: In any order.
    """

    def __init__(self, spans: Iterable[_Span] = ()) -> None:
        made: list[_Span] = []
        for start, end in sorted(spans):
            if made and start <= made[-1][1]:
                made[-1] = made[-1][0], max(made[-1][1], end)
            else:
                made.append((start, end))
        self.spans = made

    def with_(self, spans: Iterable[_Span]) -> _Union:
        """Both together."""
        return _Union([*self.spans, *spans])


def _has(numbers: Sequence[int], number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


def _within(spans: Sequence[_Span], at: int) -> bool:
    place = bisect_left(spans, (at + 1, _EVER)) - 1
    return place >= 0 and at < spans[place][1]


def _span(window: Window) -> _Span:
    start, end = window
    return _EVER if start is None else start, _FOR_EVER if end is None else end


def _told(names: dict[str, str], quantity: Decimal | None, at: dt.datetime | None = None) -> str:
    words = [f'{name} "{value}"' for name, value in names.items()] or ["anything"]
    if quantity is not None:
        words.append(f"quantity {plain(quantity)}")
    return ", ".join(words) + ("" if at is None else f" at {at:%Y-%m-%d %H:%M %Z}")
