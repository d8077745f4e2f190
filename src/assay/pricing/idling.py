"""Steps that never make a difference: every total is the same without them, or with other amounts in them.

A step may do nothing (a cap that the net never reaches), or do something that the steps after it undo (a cap below
the minimum that follows, 10 % off what 100 % off has left), or be an option that never wins (the smaller of two
percentages of which the better counts). What they have in common is looked for: the book is priced once more without
the step, at every item of the search, and between them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, pairwise

from assay.money import EXACT, plain
from assay.pricing.edges import NET
from assay.pricing.probing import Outcome, Prober
from assay.pricing.search import Axis, Search
from assay.pricing.step import Step

_MOST = 12
"""So many steps at most are looked at closely: for each the whole book is priced at some hundred items."""

_BETWEEN = 400
"""So many items at most are looked at between the edges."""

_FEW = 8
"""So many items at its own edges a step is tried at before all are: most show there that they matter."""

_LITTLE = Decimal("0.01")
"""By so much an option is made larger and smaller, so that what only says the same as another is not told."""


@dataclass(frozen=True)
class Idle:
    """A step, or an option of one, that never makes a difference.

    Attributes:
        step: The step.
        entry: Number (from 1) of the option, or None: the step itself.
        outcome: An item that shows it.
        why: "nothing": it does nothing at all; "undone": what it does is undone; "amount": another amount in it
            would be undone as well; "option": another option always comes before it.
        others: The amounts that were tried instead.
        nets: The least and the largest net before the step, where that is why.
    """

    step: Step
    entry: int | None
    outcome: Outcome
    why: str
    others: tuple[Decimal, ...] = ()
    nets: tuple[Decimal, Decimal] | None = None

    @property
    def message(self) -> str:
        """In words, up to the item that shows it."""
        if self.why == "amount":
            instead = " or ".join(map(plain, self.others))
            return f"its amount never makes a difference: with {instead} instead every total is the same"
        if self.why == "option":
            return f"rule {self.entry} never makes a difference: without it every total is the same"
        if self.why == "undone":
            return "what it does is undone by the steps after it: without it every total is the same"
        return "it never does anything: without it every total is the same"


def idle_steps(search: Search, told: Collection[tuple[Step, int]] = ()) -> Iterator[Idle]:
    """Steps and options that never make a difference, as far as the search reaches, besides options told already.

    Taxes are left alone (a rate of nothing says why nothing is due), and steps that convert, look up or settle; and
    those that need an input which does not vary in the search. A charge that others undo is told where no other step
    is.
    """
    look = _Look(search, told)
    found: list[Idle] = []
    for step in search.prober.steps:
        if not step.prices and look.reaches(step):
            found += look.at(step)
    if not found:
        for step in search.prober.steps:
            if step.prices and look.reaches(step):
                found += [one for one in look.at(step) if one.why == "undone"]
    yield from found


class _Look:
    """Items to compare, and the books that are compared."""

    def __init__(self, search: Search, told: Collection[tuple[Step, int]]) -> None:
        self._search, self._prober = search, search.prober
        self._told = {(step.id, number) for step, number in told}
        self._left = _MOST
        self._varied = {axis.input for axis in search.axes.values()}
        every = [one for axis in search.axes.values() for _, one in axis.outcomes()]
        self._items = [*every, self._prober.at(search.base)]
        self._between: list[Outcome] | None = None
        self._near: dict[tuple[str | None, int | None], list[Outcome]] = {}
        for axis in search.axes.values():
            for value, owners in axis.owners.items():
                points = [point for point in axis.beside(value) if point is not None]
                for owner, entry in owners:
                    self._near.setdefault((owner.id, entry), []).extend(axis.at(point) for point in points[::-1])

    def reaches(self, step: Step) -> bool:
        """Whether the search shows what the step does."""
        elsewhere = step.taxes or step.converts or step.resolves or step.settles
        return not elsewhere and step.inputs() <= self._varied

    def at(self, step: Step) -> Iterator[Idle]:
        """What of the step never makes a difference: all of it, or its amount, or options."""
        steps = [one for one in self._prober.steps if one is not step]
        if not self._matters(step, [Prober(steps, self._prober.terms)]):
            made = [one for one in self._items if one.made_by(self._prober.ids).get(step.id or "")]
            waits = any(edge.input == NET for edge in step.edges(self._prober.terms))
            nets = [one.stands[step.id or ""].net for one in self._priced() if step.id in one.stands]
            shown = made[0] if made else max(self._priced(), key=lambda one: self._net(one, step))
            tells = nets and not made and (waits or not max(nets))
            bounds = (min(nets), max(nets)) if tells else None
            yield Idle(step, None, shown, "undone" if made else "nothing", nets=bounds)
            return
        amounts = () if step.prices or step.entries else _amounts(step)
        for name, amount in amounts:
            others = tuple(other for other in (amount - 1, amount + 1) if other >= 0)
            books = [self._prober.instead(step.model_copy(update={name: other})) for other in others]
            if not self._matters(step, books):
                made = [one for one in self._items if one.made_by(self._prober.ids).get(step.id or "")]
                yield Idle(step, None, (made or self._priced())[0], "amount", others)
        yield from self._options(step)

    def _options(self, step: Step) -> Iterator[Idle]:
        """Of entries that are steps themselves those that another always comes before."""
        listed: Sequence[Step] = getattr(step, step.entries) if step.entries else ()
        if len(listed) < 2 or not all(isinstance(rule, Step) for rule in listed):
            return
        for number in range(1, len(listed) + 1):
            if (step.id, number) in self._told:
                continue
            before, rule, after = listed[: number - 1], listed[number - 1], listed[number:]
            instead = [(), *((other,) for other in _moved(rule))]
            books = [
                self._prober.instead(step.model_copy(update={step.entries or "": (*before, *other, *after)}))
                for other in instead
            ]
            # The option in another size first: that shows at once that most matter.
            if len(books) > 1 and not self._matters(step, books[::-1], number):
                shown = next((one for one in self._items if one.made_by(self._prober.ids).get(step.id or "")), None)
                yield Idle(step, number, shown or self._priced()[0], "option")

    def _matters(self, step: Step, books: Sequence[Prober], entry: int | None = None) -> bool:
        """Whether an item costs something else in one of the books: near the step's edges, anywhere, or in between."""
        near = self._near.get((step.id, entry), [])[:_FEW]
        likely = [self._items[-1], *self._items[:3]]
        if any(_differ(book.at(one.inputs), one) for book in books for one in chain(near, likely)):
            return True
        self._left -= 1
        if self._left < 0:
            return True
        if any(_differ(book.at(one.inputs), one) for book in books for one in self._items):
            return True
        if self._between is None:
            drivers = self._search.drivers()
            self._between = [
                self._prober.at({**axis.base, axis.input: value})
                for axis in drivers
                for value in _between(axis, _BETWEEN // len(drivers))
            ]
        return any(_differ(book.at(one.inputs), one) for book in books for one in self._between)

    def _priced(self) -> list[Outcome]:
        return [one for one in self._items if one.reason is None]

    def _net(self, outcome: Outcome, step: Step) -> Decimal:
        stand = outcome.stands.get(step.id or "")
        return Decimal(0) if stand is None else stand.net


def _amounts(step: Step) -> Iterator[tuple[str, Decimal]]:
    """Literal amounts of money of a step, besides the thresholds from which on it counts."""
    for name in sorted(step.money_fields - {"at_least"}):
        value = getattr(step, name)
        if isinstance(value, Decimal):
            yield name, value


def _moved(rule: Step) -> Iterator[Step]:
    """An option that gives a little more, and one that gives a little less, where what it gives stands in the book."""
    for name in ("amount", "percent"):
        value = getattr(rule, name, None)
        if isinstance(value, Decimal):
            for other in (value + _LITTLE, value - _LITTLE):
                if other >= 0 and (name != "percent" or other <= 100):
                    yield rule.model_copy(update={name: other})


def _between(axis: Axis, most: int) -> Iterator[Decimal]:
    """Values between those that have been looked at: some evenly apart, and some ever farther from either."""
    unit = axis.unit or Decimal(1)
    pairs = list(pairwise([value for value in axis.points() if isinstance(value, Decimal)]))
    each = max(1, most // max(1, len(pairs)))
    for low, high in pairs:
        steps = int((high - low) / unit)
        farther = [2**power for power in range(1, steps.bit_length())]
        even = {steps * place // (each // 2 + 1) for place in range(1, each // 2 + 1)}
        places = [*sorted(even), *farther[: each // 2], *(steps - one for one in farther[: each // 4])]
        for place in sorted(set(places)):
            if 0 < place < steps:
                yield EXACT.add(low, place * unit)


def _differ(one: Outcome, other: Outcome) -> bool:
    return one.priced != other.priced or (one.reason is None) != (other.reason is None)
