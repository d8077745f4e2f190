"""The search of the linter and of boundary tests: axes of inputs, the edges on them, and items at and beside each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from assay.money import EXACT
from assay.pricing.edges import NET, UNITS, Edge
from assay.pricing.probing import Outcome, Prober
from assay.pricing.step import Step

Point = Decimal | dt.date | str

_FARTHEST = Decimal(10**12)
"""Larger than quantities and amounts are; items up to here are looked at."""

_SIZES = 9
"""So many quantities are tried, each ten times the one before, for one that costs something."""

_BESIDE = 50
"""So many edges are tried for inputs that can be priced at all."""


@dataclass
class Axis:
    """One input that varies while the others stay as they are.

    Attributes:
        input: Which.
        base: The other inputs.
        unit: The smallest step: a number, or for days and times None (a day, a microsecond).
        owners: Whose edges there are, and of which entries, by value.
        prober: Prices the items.
    """

    input: str
    base: Mapping[str, object]
    unit: Decimal | None
    prober: Prober
    owners: dict[Point, list[tuple[Step, int | None]]] = field(default_factory=dict)
    _known: dict[object, Outcome] = field(default_factory=dict)

    def at(self, value: object) -> Outcome:
        """The item at a value."""
        found = self._known.get(value)
        if found is None:
            found = self._known[value] = self.prober.at({**self.base, self.input: value})
        return found

    def beside(self, value: Point) -> tuple[Point | None, Point, Point | None]:
        """The values one smallest step before and after; None where there is none, as of texts."""
        if isinstance(value, str):
            return None, value, None
        if isinstance(value, Decimal):
            unit = self.unit or Decimal(1)
            before = EXACT.subtract(value, unit)
            return before if before >= 0 else None, value, EXACT.add(value, unit)
        step = dt.timedelta(microseconds=1) if isinstance(value, dt.datetime) else dt.timedelta(days=1)
        return value - step, value, value + step

    def points(self) -> list[Point]:
        """All values that have been looked at, in order."""
        return sorted(value for value in self._known if isinstance(value, Decimal | dt.date | str))

    def outcomes(self) -> Iterator[tuple[Point, Outcome]]:
        """All items that have been looked at, in order."""
        for value in self.points():
            yield value, self._known[value]

    def between(self, low: Decimal, high: Decimal, holds: Callable[[Outcome], bool]) -> tuple[Decimal, Decimal]:
        """Neighbouring values between which something begins to hold, where it holds at `high` and not at `low`."""
        unit = self.unit or Decimal(1)
        steps = int((high - low) / unit)
        first, last = 0, steps
        while last - first > 1:
            middle = (first + last) // 2
            if holds(self.at(EXACT.add(low, middle * unit))):
                last = middle
            else:
                first = middle
        return EXACT.add(low, first * unit), EXACT.add(low, last * unit)


class Search:
    """All axes of a book, with the items at each edge and a smallest step beside it.

    Args:
        steps: The book's.
        prober: Prices by them.
        smallest: The smallest step of inputs that are numbers; by default as the digits of their edges, at least 1 (of
            amounts of money the smallest unit of the currency).
    """

    def __init__(self, prober: Prober, smallest: Mapping[str, Decimal]) -> None:
        self.prober = prober
        self._smallest = smallest
        self._edges = [(step, edge) for step in prober.steps for edge in step.edges(prober.terms)]
        self.base = self._telling(self._first_that_is_priced())
        self.axes: dict[tuple[str, tuple[tuple[str, object], ...]], Axis] = {}
        self.unlocated: list[tuple[Step, Edge]] = []
        self._make_axes()

    @property
    def priced(self) -> bool:
        """Whether there are inputs that can be priced."""
        return self.prober.at(self.base).reason is None

    def drivers(self) -> list[Axis]:
        """The axes along which the charges grow."""
        return [self.axes[name, ()] for name in self._driving() if (name, ()) in self.axes]

    def _driving(self) -> list[str]:
        charged = [step for step in self.prober.steps if step.prices]
        money = dict.fromkeys(name for step in charged for name in sorted(step.money_columns()))
        return list(dict.fromkeys(["quantity", "amount", *money]))

    def _first_that_is_priced(self) -> Mapping[str, object]:
        base: dict[str, object] = {}
        for step in reversed(self.prober.steps):
            base |= step.example()
        listed = frozenset().union(*(step.given() for step in self.prober.steps))
        base = {name: value for name, value in base.items() if name != "document_id" and name not in listed}
        if self.prober.at(base).reason is None:
            return base
        for _, edge in self._edges[:_BESIDE]:
            if edge.input in (UNITS, NET):
                continue
            tried = {**base, **edge.given, edge.input: edge.value}
            if self.prober.at(tried).reason is None:
                return tried
        return base

    def _telling(self, base: Mapping[str, object]) -> Mapping[str, object]:
        """The same with a larger quantity or amount, where so little costs nothing."""
        tried = dict(base)
        for size in range(_SIZES):
            outcome = self.prober.at(tried)
            if outcome.reason is not None:
                break
            if outcome.total:
                return tried
            tried |= {name: Decimal(10) ** (size + 1) for name in self._driving() if name in base}
        return base

    def _make_axes(self) -> None:
        driving = self._driving()
        inner = [(step, edge) for step, edge in self._edges if edge.input in (UNITS, NET)]
        outer = [(step, edge) for step, edge in self._edges if edge.input not in (UNITS, NET)]
        for name in driving:
            if name in self.base:
                self._axis(name, {})
        groups: dict[object, list[tuple[Step, Edge]]] = {}
        for step, edge in outer:
            groups.setdefault(_key(edge.input, edge.given), []).append((step, edge))
        for found in groups.values():
            _, first = found[0]
            axis = self._telling_axis(first.input, first.given, [edge for _, edge in found])
            for step, edge in found:
                axis.owners.setdefault(edge.value, []).append((step, edge.entry))
        for axis in self.axes.values():
            self._look(axis)
        for step, edge in (one for one in inner if one[1].input == UNITS):
            self._locate_units(step, edge)
        for step, edge in (one for one in inner if one[1].input == NET):
            self._locate_net(step, edge)

    def _telling_axis(self, name: str, given: Mapping[str, object], edges: Sequence[Edge]) -> Axis:
        """The axis of edges of one input, with quantities and amounts so large that totals show as many as can be."""
        best, most = self._new_axis(name, given, edges), 0
        told = [edge for edge in edges if not isinstance(edge.value, str)]
        driving = self._driving()
        free = [] if name in driving else [one for one in driving if one in self.base and one not in given]
        larger = {one: self.base[one] for one in free}
        for size in range(_SIZES if larger else 0):
            grown = {one: Decimal(10) ** size * value for one, value in larger.items() if isinstance(value, Decimal)}
            axis = self._new_axis(name, {**given, **grown}, edges)
            shown = sum(len({axis.at(one).priced for one in axis.beside(edge.value)}) > 1 for edge in told)
            if shown > most:
                best, most = axis, shown
            if most == len(told):
                break
        return self.axes.setdefault(_key(name, given), best)

    def _axis(self, name: str, given: Mapping[str, object]) -> Axis:
        key = _key(name, given)
        if key not in self.axes:
            self.axes[key] = self._new_axis(name, given)
        return self.axes[key]

    def _new_axis(self, name: str, given: Mapping[str, object], edges: Sequence[Edge] = ()) -> Axis:
        number = not edges or isinstance(edges[0].value, Decimal)
        return Axis(name, {**self.base, **given}, self._unit(name) if number else None, self.prober)

    def _unit(self, name: str) -> Decimal | None:
        if name in self._smallest:
            return self._smallest[name]
        of = {name, UNITS} if name == "quantity" else {name}
        values = [edge.value for _, edge in self._edges if edge.input in of and isinstance(edge.value, Decimal)]
        places = max((max(0, -int(value.normalize().as_tuple().exponent)) for value in values), default=0)
        money = {column for step in self.prober.steps for column in step.money_columns()}
        own = self.prober.terms.unit(self.prober.terms.currency) if name in money else Decimal(1)
        return min(Decimal(1).scaleb(-places), own)

    def _look(self, axis: Axis) -> None:
        if axis.unit is not None:
            axis.at(Decimal(0))
            axis.at(axis.unit)
            axis.at(_FARTHEST)
        for value in list(axis.owners):
            for point in axis.beside(value):
                if point is not None:
                    axis.at(point)

    def _found(self, axis: Axis, value: Decimal, step: Step, entry: int | None) -> None:
        axis.owners.setdefault(value, []).append((step, entry))
        for point in axis.beside(value):
            if point is not None:
                axis.at(point)

    def _locate_units(self, step: Step, edge: Edge) -> None:
        """Find the quantity at which the step prices so many units."""
        axis = self._axis("quantity", {})
        wanted = edge.value
        if not isinstance(wanted, Decimal):
            return
        name = step.id or step.kind
        # What is free is free of any quantity, so that a large one tells how many that are.
        most = axis.at(_FARTHEST).before(name, UNITS)
        at = wanted if most is None else EXACT.add(wanted, EXACT.subtract(_FARTHEST, most))
        if axis.at(at).before(name, UNITS) == wanted:
            self._found(axis, at, step, edge.entry)
        else:
            self.unlocated.append((step, edge))

    def _locate_net(self, step: Step, edge: Edge) -> None:
        """Find the quantities or amounts at which the net before a step reaches, or passes, a value."""
        name, wanted = step.id or step.kind, edge.value
        if not isinstance(wanted, Decimal):
            return
        for axis in self.drivers():
            found = [at for passed in (False, True) for at in _crossings(axis, name, wanted, passed=passed)]
            for at in dict.fromkeys(found):
                self._found(axis, at, step, edge.entry)
            if found:
                return
        self.unlocated.append((step, edge))


def _key(name: str, given: Mapping[str, object]) -> tuple[str, tuple[tuple[str, object], ...]]:
    return name, tuple(sorted(given.items(), key=lambda item: item[0]))


def _crossings(axis: Axis, step: str, wanted: Decimal, *, passed: bool) -> Iterator[Decimal]:
    """The values after each of which the net before a step begins, or ceases, to reach (to pass) an amount."""

    def beyond(outcome: Outcome) -> bool | None:
        net = outcome.before(step, NET)
        return None if net is None else net > wanted if passed else net >= wanted

    for low, high in pairwise([value for value in axis.points() if isinstance(value, Decimal)]):
        sides = beyond(axis.at(low)), beyond(axis.at(high))
        if None not in sides and sides[0] != sides[1]:
            yield axis.between(low, high, lambda one, there=sides[1]: beyond(one) == there)[0]  # type: ignore[misc]
