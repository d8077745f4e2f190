"""The linter of price books: what may well not be meant, each with inputs that show it.

Nothing is known here of shapes that books have. Items are priced at each edge of each step and a smallest step beside
it (`search`), and what comes out is compared: along an axis, with entries reversed or alone, with a price changed,
with the steps in another order. A finding is made of inputs that have shown it, so that `book.quote` shows it again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from assay.errors import ConfigurationError
from assay.money import exact_decimal, minor_units, plain, round_to
from assay.pricing.idling import Idle, idle_steps
from assay.pricing.list_linting import list_findings
from assay.pricing.price_rows import MATCH
from assay.pricing.probing import Outcome, Prober
from assay.pricing.search import Axis, Point, Search
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.values import Column

RULES: Mapping[str, str] = {
    "cliff": "the total falls as a quantity or an amount grows",
    "gap": "values between others that are priced are refused",
    "dates": "days or times between others that are priced are refused",
    "overlap": "several entries apply, so that none does, or the first listed",
    "unreachable": "what an entry says never makes a difference",
    "digits": "an amount has more digits than are ever charged",
    "limited": "beyond the last entry all is refused",
    "unbounded": "nothing limits a rate, or the age of one",
    "order": "another order of steps than the canonical one makes another total",
    "unchecked": "no inputs were found that the book prices, so that nothing could be looked at",
}
"""What is looked for."""

_BOUNDS = frozenset({"up_to", "size", "at_least", "max_blocks"})
"""Fields of entries that say where they apply, and not what for."""

_ALONE = 12
"""So many refused items a step are looked at for entries that contradict each other."""


@dataclass(frozen=True)
class Finding:
    """Something about a book that may well not be meant.

    Attributes:
        rule: Which of `RULES`.
        message: In words, with the numbers.
        example: Inputs that show it: `book.quote(**example)`.
        beside: Inputs to compare them with, or None.
        step: Id of the step that it concerns, or None.
        entry: Number of the tier, rate or rule that it concerns, from 1, or None.
    """

    rule: str
    message: str
    example: Mapping[str, Any]
    beside: Mapping[str, Any] | None = None
    step: str | None = None
    entry: int | None = None


def lint(
    steps: Sequence[Step], terms: Terms, smallest: Mapping[str, Decimal | int | str] | None = None
) -> list[Finding]:
    """What may well not be meant in a book of these steps and terms, in the order of `RULES`, then of the steps.

    Raises:
        ConfigurationError: A smallest step is not above 0.
    """
    search = Search(Prober(steps, terms), _checked(smallest or {}))
    linter = _Linter(search)
    if not search.priced:
        outcome = search.prober.at(search.base)
        overlaps = list(linter.contradictions([outcome]))
        if overlaps:
            return overlaps
        message = f"no inputs were found that can be priced; the last that were tried are refused: {_reason(outcome)}"
        return [Finding("unchecked", message, dict(search.base))]
    found = [*linter.along_axes(), *linter.reversed(), *linter.entries(), *linter.digits(), *linter.unbounded()]
    found += linter.order()
    told = [(one.rule, one.step, _without_quantity(one.example)) for one in found]
    found += [one for one in linter.lists() if (one.rule, one.step, _without_quantity(one.example)) not in told]
    rules, ids = list(RULES), search.prober.ids
    return sorted(found, key=lambda one: (rules.index(one.rule), ids.index(one.step) if one.step in ids else -1))


def _checked(smallest: Mapping[str, Decimal | int | str]) -> dict[str, Decimal]:
    made = {name: exact_decimal(step) for name, step in smallest.items()}
    for name, step in made.items():
        if step <= 0:
            raise ConfigurationError(f"the smallest step of {name} is {step}: it must be above 0")
    return made


class _Linter:
    def __init__(self, search: Search) -> None:
        self._search, self._prober = search, search.prober
        self._steps = search.prober.steps

    # Along an axis

    def along_axes(self) -> Iterator[Finding]:
        """Cliffs, gaps, limits and contradictions."""
        cliffs: dict[str | None, list[tuple[Axis, Point, Point]]] = {}
        refused: list[Outcome] = []
        for axis in self._search.axes.values():
            outcomes = list(axis.outcomes())
            if axis.unit is not None:
                for low, high in self._falls(axis, outcomes):
                    cliffs.setdefault(self._falling(axis, low, high), []).append((axis, low, high))
            yield from self._refusals(axis, outcomes)
            refused += [one for _, one in outcomes if one.reason is not None]
        yield from (self._cliff(step, found) for step, found in cliffs.items())
        yield from self.contradictions(refused)

    def _falls(self, axis: Axis, outcomes: Sequence[tuple[Point, Outcome]]) -> Iterator[tuple[Point, Point]]:
        for (low, before), (high, after) in pairwise(outcomes):
            if before.total is None or after.total is None or after.total >= before.total:
                continue
            if isinstance(low, Decimal) and isinstance(high, Decimal):
                top = before.total
                yield axis.between(low, high, lambda one, top=top: one.total is None or one.total < top)  # type: ignore[misc]

    def _falling(self, axis: Axis, low: Point, high: Point) -> str | None:
        """The step that makes less of the larger value, and most so."""
        ids = self._prober.ids
        before, after = axis.at(low).made_by(ids), axis.at(high).made_by(ids)
        return min(ids, key=lambda step: after.get(step, Decimal(0)) - before.get(step, Decimal(0)))

    def _cliff(self, step: str | None, found: Sequence[tuple[Axis, Point, Point]]) -> Finding:
        def fall(one: tuple[Axis, Point, Point]) -> Decimal:
            axis, low, high = one
            return (axis.at(low).total or Decimal(0)) - (axis.at(high).total or Decimal(0))

        axis, low, high = max(found, key=fall)
        more = [_shown(one) for _, one, _ in found if one != low]
        also = f"; also after {_listed(more)}" if more else ""
        before, after = axis.at(low), axis.at(high)
        message = (
            f"the total falls from {self._money(before.total)} at {axis.input} {_shown(low)} "
            f"to {self._money(after.total)} at {_shown(high)}{also}"
        )
        return Finding("cliff", message, dict(after.inputs), dict(before.inputs), step)

    def _refusals(self, axis: Axis, outcomes: Sequence[tuple[Point, Outcome]]) -> Iterator[Finding]:
        """Refused values between priced ones, and beyond the last edge."""
        fine = [place for place, (_, one) in enumerate(outcomes) if one.reason is None]
        if not fine or isinstance(outcomes[0][0], str):
            return
        # Between the same two, some values may be refused for want of an entry, and others because of two.
        empty = [
            next((place for place in range(before + 1, after) if not self._applying(outcomes[place][1])), None)
            for before, after in pairwise(fine)
        ]
        holes = [(before, place, after) for (before, after), place in zip(pairwise(fine), empty, strict=True) if place]
        # Times of a day come again: what is refused at the end is between others, too.
        comes_again = isinstance(outcomes[0][0], dt.datetime)
        if comes_again and not holes and outcomes[-1][1].reason is not None:
            holes = [(fine[-1], fine[-1] + 1, fine[0])]
        if holes:
            before, place, after = holes[0]
            value, outcome = outcomes[place]
            more = [_shown(outcomes[one][0]) for _, one, _ in holes[1:]]
            message = (
                f"{axis.input} {_shown(value)}{_of(axis)} is refused{f', as are {_listed(more)}' if more else ''}, and "
                f"{_shown(outcomes[before][0])} and {_shown(outcomes[after][0])} are not: {_reason(outcome)}"
            )
            rule = "gap" if axis.unit is not None else "dates"
            yield Finding(rule, message, dict(outcome.inputs), dict(outcomes[before][1].inputs), outcome.refused_by)
        last, _ = outcomes[fine[-1]]
        beyond = axis.beside(last)[2]
        if beyond is None:
            return
        outcome = axis.at(beyond)
        edge = last if last in axis.owners else beyond
        if outcome.reason is None or comes_again or edge not in axis.owners or self._applying(outcome):
            return
        message = f"{axis.input} {_shown(beyond)}{_of(axis)} and all beyond is refused: {_reason(outcome)}"
        yield Finding("limited", message, dict(outcome.inputs), dict(axis.at(last).inputs), outcome.refused_by)

    # Entries that contradict each other

    def contradictions(self, refused: Iterable[Outcome]) -> Iterator[Finding]:
        """Items that a step refuses because several of its entries apply."""
        looked: dict[str, int] = {}
        told: set[tuple[str, tuple[int, ...]]] = set()
        for outcome in refused:
            step = next((one for one in self._steps if one.id == outcome.refused_by), None)
            if step is None or not step.alternatives or looked.get(step.id or "", 0) >= _ALONE:
                continue
            numbers = self._applying(outcome)
            if len(numbers) > 1 and (step.id or "", numbers) not in told:
                told.add((step.id or "", numbers))
                looked[step.id or ""] = looked.get(step.id or "", 0) + 1
                message = f"entries {_listed(map(str, numbers))} of {step.entries} apply at once: {_reason(outcome)}"
                yield Finding("overlap", message, dict(outcome.inputs), None, step.id)

    def _applying(self, outcome: Outcome) -> tuple[int, ...]:
        """Numbers of the entries that would price a refused item, each by itself; none where one is not enough."""
        step = next((one for one in self._steps if one.id == outcome.refused_by), None)
        if step is None or not step.alternatives or len(_entries(step)) < 2:
            return ()
        alone = [
            number
            for number, entry in enumerate(_entries(step), 1)
            if self._prober.instead(_with_entries(step, (entry,))).at(outcome.inputs).refused_by != step.id
        ]
        return tuple(alone) if len(alone) > 1 else ()

    def reversed(self) -> Iterator[Finding]:
        """Alternatives of which the first listed is taken: in the other order, the total is another."""
        for step in self._steps:
            entries = _entries(step)
            if not step.alternatives or len(entries) < 2:
                continue
            other = self._prober.instead(_with_entries(step, entries[::-1]))
            for outcome in self._items_of(step):
                turned = other.at(outcome.inputs)
                if outcome.reason is None and turned.priced != outcome.priced:
                    message = (
                        f"several of its {step.entries} apply alike at {_items(outcome.inputs)}, and the first listed "
                        f"is taken: the total is {self._money(outcome.total)}, and {self._money(turned.total)} if they "
                        "are listed the other way round"
                    )
                    yield Finding("overlap", message, dict(outcome.inputs), None, step.id)
                    break

    # What never makes a difference

    def entries(self) -> Iterator[Finding]:
        """Tiers, rates and rules whose price may be another, and no total is; steps that never make a difference."""
        near = {step.id: self._items_by_entry(step) for step in self._steps if _entries(step)}
        every = [one for axis in self._search.axes.values() for _, one in axis.outcomes()]
        every.append(self._prober.at(self._search.base))
        entries = self._idle(near, every)
        steps = list(idle_steps(self._search, entries))
        wholly = {one.step.id for one in steps if one.entry is None and one.why != "amount"}
        for step, number in entries:
            if step.id in wholly:
                continue
            own = near[step.id].get(number, [])
            shown = next((one for one in (*own[::-1], *every) if one.reason is None), every[0])
            message = (
                f"{_singular(step.entries)} {number} never makes a difference: with another price every total is "
                f"the same, as that of {_items(shown.inputs)} ({self._money(shown.total)})"
            )
            yield Finding("unreachable", message, dict(shown.inputs), None, step.id, number)
        yield from map(self._idling, steps)

    def _idling(self, one: Idle) -> Finding:
        inputs = one.outcome.inputs
        if one.nets is None:
            message = f"{one.message}, as that of {_items(inputs)} ({self._money(one.outcome.total)})"
        else:
            low, high = one.nets
            between = f"at most {self._money(high)}" if low <= 0 else f"{self._money(low)} to {self._money(high)}"
            message = f"it never does anything: the net before it is {between}, at {_items(inputs)}"
        return Finding("unreachable", message, dict(inputs), None, one.step.id, one.entry)

    def _idle(
        self, near: Mapping[str | None, Mapping[int, Sequence[Outcome]]], every: Sequence[Outcome]
    ) -> list[tuple[Step, int]]:
        """Entries that may have another price, and no total changes.

        Most show at their own edges that they matter, where they are dearer or cost nothing. What is left is made
        dearer together, at all items; where that makes a difference, the entry that does is found by halving.
        """
        base = self._prober.at(self._search.base)
        left: list[tuple[Step, int]] = []
        for step, number in [(one, place) for one in self._steps for place in range(1, len(_entries(one)) + 1)]:
            items = _likeliest(near[step.id].get(number, [])) or [base]
            others = (self._with([(step, number)], price) for price in (_dearer, _nothing))
            if _prices(_entries(step)[number - 1]) and not any(_shows(other, items) for other in others):
                left.append((step, number))
        for price in (_dearer, _nothing):
            other = self._with(left, price)
            for one in every if left else ():
                while left and _shows(other, [one]):
                    group = left
                    while len(group) > 1:
                        half = group[: len(group) // 2]
                        group = half if _shows(self._with(half, price), [one]) else group[len(half) :]
                    left = [entry for entry in left if entry is not group[0]]
                    other = self._with(left, price)
        return [
            (step, number)
            for step, number in left
            if not (step.alternatives and self._refuses(step, number, near[step.id].get(number, [])))
        ]

    def _with(self, entries: Sequence[tuple[Step, int]], price: Callable[[Decimal | Column], Decimal]) -> Prober:
        """The book with other prices in these entries."""
        changed: dict[str | None, list[int]] = {}
        for step, number in entries:
            changed.setdefault(step.id, []).append(number)
        steps = [_repriced(step, changed[step.id], price) if step.id in changed else step for step in self._steps]
        return Prober(steps, self._prober.terms)

    def _refuses(self, step: Step, number: int, near: Sequence[Outcome]) -> bool:
        """Whether items are refused because there is this entry, or priced because of it."""
        entries = _entries(step)
        if len(entries) < 2:
            return False
        other = self._prober.instead(_with_entries(step, [*entries[: number - 1], *entries[number:]]))
        return any(_differ(other.at(one.inputs), one) for one in near)

    # Digits, rates, order

    def digits(self) -> Iterator[Finding]:
        """Amounts that make the same totals when they are rounded to the currency's digits."""
        terms = self._prober.terms
        for step in self._steps:
            rounding = step.rounding or terms.rounding
            if rounding == "none" or terms.mixed:
                continue
            places = minor_units(terms.currency)
            for number, name, amount, other in _amounts(step):
                rounded = round_to(amount, places, rounding)
                if rounded == amount:
                    continue
                prober = self._prober.instead(other(rounded))
                outcomes = [one for one in self._items_of(step) if one.reason is None]
                moved = self._prober.instead(other(amount + 1))
                telling = [one for one in outcomes if moved.at(one.inputs).priced != one.priced]
                if not telling or any(prober.at(one.inputs).priced != one.priced for one in outcomes):
                    continue
                where = f" of {_singular(step.entries)} {number}" if number else ""
                message = (
                    f"{name}{where} is {plain(amount)}, and {terms.currency} has {places} decimal places: every total "
                    f"is the same with {rounded}, as that of {_items(telling[0].inputs)} "
                    f"({self._money(telling[0].total)})"
                )
                yield Finding("digits", message, dict(telling[0].inputs), None, step.id, number)

    def unbounded(self) -> Iterator[Finding]:
        """Inputs that no sound feed has, priced nevertheless."""
        for step in self._steps:
            for extreme in step.extremes(self._prober.terms):
                outcome = self._prober.at({**self._search.base, **extreme.inputs})
                if outcome.reason is not None:
                    continue
                beyond = None if extreme.beyond is None else {**self._search.base, **extreme.beyond}
                if beyond is not None and self._prober.at(beyond).priced == outcome.priced:
                    continue
                message = f"{extreme.what}: at {_items(extreme.inputs)} the total is {self._money(outcome.total)}"
                yield Finding("unbounded", message, dict(outcome.inputs), beyond, step.id)

    def order(self) -> Iterator[Finding]:
        """Steps that the canonical order has the other way round, where that makes another total."""
        placed = [(place, step) for step in self._steps if (place := step.place()) is not None]
        canonical = iter([step for _, step in sorted(placed, key=lambda one: one[0])])
        steps = [step if step.place() is None else next(canonical) for step in self._steps]
        if steps == list(self._steps):
            return
        other = Prober(steps, self._prober.terms)
        for outcome in (one for axis in self._search.axes.values() for _, one in axis.outcomes()):
            turned = other.at(outcome.inputs)
            if outcome.reason is None and turned.priced != outcome.priced and turned.reason is None:
                late = [
                    f"{after.id} ({behind.words}) stands after {before.id} ({ahead.words})"
                    for (ahead, before), (behind, after) in pairwise(placed)
                    if ahead > behind
                ]
                message = (
                    f"{_listed(late)}; in the canonical order the total of {_items(outcome.inputs)} is "
                    f"{self._money(turned.total)}, here {self._money(outcome.total)}"
                )
                first = next(after for (ahead, _), (behind, after) in pairwise(placed) if ahead > behind)
                yield Finding("order", message, dict(outcome.inputs), None, first.id)
                return

    def lists(self) -> Iterator[Finding]:
        """What is found in price lists, as far as the book's steps show it."""
        terms = self._prober.terms
        for step in self._steps:
            prices = terms.prices.get(step.price_list() or "")
            told: dict[str, int] = {}
            for one in () if prices is None else list_findings(prices, terms.zone):
                if told.get(one.rule, 0) >= _ALONE:
                    continue
                inputs = {name: value for name, value in self._search.base.items() if name not in MATCH}
                inputs |= one.names
                date, quantity = getattr(step, "date", None), getattr(step, "quantity", None)
                if one.quantity is not None and quantity is not None:
                    inputs[quantity] = one.quantity
                if one.at is not None and date is not None:
                    zoned = prices is not None and (prices.aware or prices.zone or terms.zone)
                    inputs[date] = one.at if zoned else one.at.replace(tzinfo=None)
                outcome = self._prober.at(inputs)
                if one.rule in ("overlap", "dates", "gap") and outcome.refused_by != step.id:
                    continue
                told[one.rule] = told.get(one.rule, 0) + 1
                yield Finding(one.rule, one.message, inputs, None, step.id)

    # Items to compare

    def _items_of(self, step: Step) -> Iterator[Outcome]:
        """All items on the axes that have edges of a step, or on those of the charges, where it has none."""
        own = [
            axis
            for axis in self._search.axes.values()
            if any(owner.id == step.id for owners in axis.owners.values() for owner, _ in owners)
        ]
        drivers = self._search.drivers()
        yield self._prober.at(self._search.base)
        for axis in own or drivers or list(self._search.axes.values()):
            yield from (one for _, one in axis.outcomes())

    def _items_by_entry(self, step: Step) -> dict[int, list[Outcome]]:
        """Items at the edges of each entry, and beside them."""
        found: dict[int, list[Outcome]] = {}
        for axis in self._search.axes.values():
            for value, owners in axis.owners.items():
                for owner, entry in owners:
                    if owner.id == step.id and entry is not None:
                        points = [point for point in axis.beside(value) if point is not None]
                        found.setdefault(entry, []).extend(axis.at(point) for point in points)
                        found.setdefault(entry + 1, []).append(axis.at(points[-1]))
        return found

    def _money(self, amount: Decimal | None) -> str:
        return "nothing" if amount is None else f"{amount:f} {self._prober.terms.result}"


# Books that differ in one thing


def _entries(step: Step) -> tuple[BaseModel, ...]:
    listed = () if step.entries is None else getattr(step, step.entries)
    return listed or ()


def _with_entries(step: Step, entries: Sequence[BaseModel]) -> Step:
    return step.model_copy(update={step.entries or "": tuple(entries)})


def _likeliest(near: Sequence[Outcome]) -> Sequence[Outcome]:
    """Of the items at an entry's edges those that are most likely inside: the first are before it, the last beyond."""
    return [*near[1:3], *near[:1]]


def _prices(entry: BaseModel) -> list[str]:
    """The fields of an entry that say what for, and not where."""
    names = [name for name in type(entry).model_fields if name not in _BOUNDS]
    return [name for name in names if isinstance(getattr(entry, name), Decimal | Column)]


def _repriced(step: Step, numbers: Sequence[int], price: Callable[[Decimal | Column], Decimal]) -> Step:
    """The step with other prices in some of its entries."""
    entries = list(_entries(step))
    for number in numbers:
        entry = entries[number - 1]
        entries[number - 1] = entry.model_copy(update={name: price(getattr(entry, name)) for name in _prices(entry)})
    return _with_entries(step, entries)


def _dearer(value: Decimal | Column) -> Decimal:
    # Of a percentage 100 is the most.
    return Decimal(13) if isinstance(value, Column) else Decimal(99) if value == 100 else value + 1


def _nothing(value: Decimal | Column) -> Decimal:
    return Decimal(0)


def _shows(other: Prober, items: Sequence[Outcome]) -> bool:
    """Whether an item costs something else in another book."""
    return any(_differ(other.at(one.inputs), one) for one in items)


def _differ(one: Outcome, other: Outcome) -> bool:
    return one.priced != other.priced or (one.reason is None) != (other.reason is None)


def _amounts(step: Step) -> Iterator[tuple[int | None, str, Decimal, _Replace]]:
    """Literal amounts of money of a step and of its entries, and how to put others in their places."""
    for name in sorted(step.money_fields):
        value = getattr(step, name)
        if isinstance(value, Decimal):
            yield None, name, value, _Replace(step, None, name)
    for number, entry in enumerate(_entries(step), 1):
        for name in sorted(getattr(type(entry), "money_fields", ())):
            value = getattr(entry, name)
            if isinstance(value, Decimal):
                yield number, name, value, _Replace(step, number, name)


@dataclass(frozen=True)
class _Replace:
    step: Step
    number: int | None
    name: str

    def __call__(self, amount: Decimal) -> Step:
        if self.number is None:
            return self.step.model_copy(update={self.name: amount})
        entries = list(_entries(self.step))
        entries[self.number - 1] = entries[self.number - 1].model_copy(update={self.name: amount})
        return _with_entries(self.step, entries)


# Words


def _singular(entries: str | None) -> str:
    return {"table": "rate"}.get(entries or "", (entries or "entry").removesuffix("s"))


def _without_quantity(inputs: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in inputs.items() if not isinstance(value, Decimal)}


def _reason(outcome: Outcome) -> str:
    """Why an item is refused; the step that says so is told besides."""
    return (outcome.reason or "").removeprefix(f"{outcome.refused_by}: ")


def _shown(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:,f}" if abs(value) >= 10_000 else plain(value)
    return value.isoformat(" ") if isinstance(value, dt.datetime) else str(value)


def _of(axis: Axis) -> str:
    """What is special about the other inputs of an axis."""
    given = {name: value for name, value in axis.base.items() if isinstance(value, str)}
    return f" ({_items(given)})" if given else ""


def _items(inputs: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in inputs.items()) or "any input"


def _listed(words: Iterable[str], most: int = 3) -> str:
    shown = list(words)
    if len(shown) > most:
        return f"{', '.join(shown[:most])} and {len(shown) - most:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
