"""What is changed between two price books, as single changes, and the books between the two.

Steps are aligned by their ids. A step of the one book takes the place of a step of the other that has another id where
both stand between the same common steps and have the same role: a charge model, a tax, a discount, a conversion. A
step that has moved past others is one change, as are the settings of the book together. All of this is the same
whichever of the two books is the first.

The books between: of the changes c1 ... ck in running order, P(j) has the first j of them made and Q(j) all but those
(P(0) is the first book, and Q(0) the second). A book between that is wrong, such as one that converts twice, does not
exist: the changes before and after it count as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from assay.errors import ConfigurationError
from assay.money import plain
from assay.pricing.step import Step
from assay.pricing.strategies.discount import Discount

if TYPE_CHECKING:
    from assay.pricing.book import PriceBook

How = Literal["replaced", "added", "removed", "moved", "settings", "tables", "together"]

SETTINGS = "book"
"""What the change of a book's settings is called."""

TABLES = "tables"
"""What the change of the tables is called that a book is given: price lists, rates, and as far as they were known."""

_SETTINGS = ("currency", "rounding", "zone", "negative", "mixed")
# So many differences of a step are told.
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a book.

    Attributes:
        rule: Id of the step; "a -> b" where a step of another id takes its place, "a + b" where two changes are one.
        how: What was done to it.
        what: In words: "percent 5 -> 7.5".
    """

    rule: str
    how: How
    what: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A book, and whether it is given the second tables."""

    book: PriceBook
    second: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """The changes that lead from one book to another, and the books between.

    Attributes:
        changes: In running order; the tables and the settings of the book come first.
        first: P(0) ... P(k): the changes made from the first on.
        last: Q(0) ... Q(k): the changes made from the last on, backwards.
    """

    changes: tuple[Change, ...]
    first: tuple[Stop, ...]
    last: tuple[Stop, ...]


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place in the order of both books' steps: what stands there before and after a change, and its number."""

    before: Step | None
    after: Step | None
    change: int


def path_between(before: PriceBook, after: PriceBook, usable: Callable[[Stop], bool], tables: str = "") -> Path:
    """The changes from one book to another.

    Args:
        before: The first book.
        after: The second one.
        usable: Whether a book between can be used.
        tables: In words, what is changed among the tables that they are given; empty where nothing is.
    """
    slots, changes = _aligned(before.steps, after.steps)
    settings = _settings_told(before, after)
    ahead = [Change(TABLES, "tables", tables)] * bool(tables) + [Change(SETTINGS, "settings", settings)] * bool(
        settings
    )
    changes = ahead + changes
    count = len(changes)

    def between(made: range) -> Stop | None:
        second = bool(tables) and 0 in made
        if len(made) in (0, count):
            return Stop(after if made else before, second)
        chosen = (slot.after if slot.change + len(ahead) in made else slot.before for slot in slots)
        shown = after if settings and len(ahead) - 1 in made else before
        try:
            book = type(before)(
                **{name: getattr(shown, name) for name in _SETTINGS}, steps=tuple(s for s in chosen if s is not None)
            )
        except ValidationError:
            return None
        stop = Stop(book, second)
        return stop if usable(stop) else None

    first = [between(range(made)) for made in range(count + 1)]
    last = [between(range(made, count)) for made in range(count + 1)]
    kept = [made for made in range(count + 1) if first[made] is not None and last[made] is not None]
    return Path(
        tuple(_together(changes[start:end]) for start, end in pairwise(kept)),
        tuple(stop for made in kept if (stop := first[made]) is not None),
        tuple(stop for made in kept if (stop := last[made]) is not None),
    )


def _together(changes: Sequence[Change]) -> Change:
    if len(changes) == 1:
        return changes[0]
    what = "; ".join(f"{one.rule} {one.how}: {one.what}" for one in changes)
    return Change(" + ".join(one.rule for one in changes), "together", what)


def _aligned(before: Sequence[Step], after: Sequence[Step]) -> tuple[list[_Slot], list[Change]]:
    """The steps of both books in one order, and the changes in running order."""
    old, new = {str(step.id): step for step in before}, {str(step.id): step for step in after}
    anchors = _common([name for name in old if name in new], [name for name in new if name in old])
    places: list[tuple[Step | None, Step | None]] = []
    left, right = _gaps(before, anchors), _gaps(after, anchors)
    for number, (theirs, ours) in enumerate(zip(left, right, strict=True)):
        places += _merged(theirs, ours, moved=old.keys() & new.keys())
        if number < len(anchors):
            places.append((old[anchors[number]], new[anchors[number]]))
    numbers: dict[str, int] = {}
    changes: list[Change] = []
    slots = []
    for one, other in places:
        name = _name_of(one, other)
        if one is not None and one == other:
            slots.append(_Slot(one, other, 0))
            continue
        if name not in numbers:
            numbers[name] = len(changes)
            moved = (one is None or other is None) and name in old and name in new
            changes.append(_moved(old[name], new[name]) if moved else _change(name, one, other))
        slots.append(_Slot(one, other, numbers[name]))
    return slots, changes


def _common(left: list[str], right: list[str]) -> list[str]:
    """The longest order that both have; of several that of the first names, so that it is the same either way round."""
    if left == right:
        return left
    place = {name: index for index, name in enumerate(right)}
    longest: dict[str, int] = {}
    for index in reversed(range(len(left))):
        name = left[index]
        longest[name] = 1 + max((longest[o] for o in left[index + 1 :] if place[o] > place[name]), default=0)
    found: list[str] = []
    candidates = left
    for wanted in range(max(longest.values(), default=0), 0, -1):
        name = min(one for one in candidates if longest[one] == wanted)
        found.append(name)
        candidates = [one for one in left[left.index(name) + 1 :] if place[one] > place[name]]
    return found


def _gaps(steps: Sequence[Step], anchors: Sequence[str]) -> list[list[Step]]:
    """The steps before, between and after the anchors."""
    gaps: list[list[Step]] = [[]]
    known = set(anchors)
    for step in steps:
        if step.id in known:
            gaps.append([])
        else:
            gaps[-1].append(step)
    return gaps


def _merged(left: Sequence[Step], right: Sequence[Step], moved: set[str]) -> Iterator[tuple[Step | None, Step | None]]:
    """What stands between two common steps, in one order; steps of one role take each other's place."""
    roles = [[None if step.id in moved else _role(step) for step in side] for side in (left, right)]
    pairs = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in reversed(range(len(left))):
        for j in reversed(range(len(right))):
            best = max(pairs[i + 1][j], pairs[i][j + 1])
            fits = roles[0][i] is not None and roles[0][i] == roles[1][j]
            pairs[i][j] = max(best, 1 + pairs[i + 1][j + 1]) if fits else best
    i = j = 0
    while i < len(left) or j < len(right):
        if i < len(left) and j < len(right):
            fits = roles[0][i] is not None and roles[0][i] == roles[1][j]
            if fits and pairs[i][j] == 1 + pairs[i + 1][j + 1]:
                yield left[i], right[j]
                i, j = i + 1, j + 1
                continue
            down, across = pairs[i + 1][j] == pairs[i][j], pairs[i][j + 1] == pairs[i][j]
            first = str(left[i].id) < str(right[j].id) if down and across else down
        else:
            first = i < len(left)
        if first:
            yield left[i], None
            i += 1
        else:
            yield None, right[j]
            j += 1


def _role(step: Step) -> str:
    roles = {"price": step.prices, "tax": step.taxes, "convert": step.converts, "discount": isinstance(step, Discount)}
    return next((role for role, has in roles.items() if has), step.kind)


# Words


def _name_of(one: Step | None, other: Step | None) -> str:
    names = [str(step.id) for step in (one, other) if step is not None]
    return " -> ".join(dict.fromkeys(names))


def _change(name: str, one: Step | None, other: Step | None) -> Change:
    if one is None or other is None:
        (step,) = (step for step in (one, other) if step is not None)
        shown = ", ".join(f"{key} {value}" for key, value in _told(step, defaults=False).items())
        words = [*([step.kind] if step.kind != step.id else []), *([shown] if shown else [])]
        return Change(name, "added" if one is None else "removed", ": ".join(words) or step.kind)
    return Change(name, "replaced", _differences(one, other))


def _moved(one: Step, other: Step) -> Change:
    also = "" if one == other else f", {_differences(one, other)}"
    return Change(str(one.id), "moved", f"its place among the steps{also}")


def _differences(one: Step, other: Step) -> str:
    if one.kind != other.kind:
        return f"{one.kind} -> {other.kind}"
    old, new = _told(one), _told(other)
    found = [
        f"{key} {old.get(key, 'none')} -> {new.get(key, 'none')}"
        for key in dict.fromkeys((*old, *new))
        if old.get(key) != new.get(key)
    ]
    if not found:
        return "its id"
    more = len(found) - _TOLD
    return "; ".join(found[:_TOLD]) + (f"; and {more} more" if more > 0 else "")


def _settings_told(before: PriceBook, after: PriceBook) -> str:
    return "; ".join(
        f"{name} {_value(getattr(before, name))} -> {_value(getattr(after, name))}"
        for name in _SETTINGS
        if getattr(before, name) != getattr(after, name)
    )


def _told(step: Step, *, defaults: bool = True) -> dict[str, str]:
    """What a step says, by the place where it says it: "tier 2 unit_price": "0.08"."""
    content = step.model_dump(exclude_none=True, exclude_defaults=not defaults, exclude={"id", "kind"})
    return dict(_flat(content, ""))


def _flat(value: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and set(value) == {"column"}:
        yield at, f'column "{value["column"]}"'
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{at} {key}".strip())
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value, 1):
            yield from _flat(inner, f"{at.removesuffix('s')} {number}".strip())
    else:
        yield at, _value(value)


def _value(value: object) -> str:
    return plain(value) if isinstance(value, Decimal) else "none" if value is None else str(value)


def same_currency(before: PriceBook, after: PriceBook) -> None:
    """See that the amounts of two books can be compared.

    Raises:
        ConfigurationError: They come out in different currencies.
    """
    one, other = before.result_currency(), after.result_currency()
    if one != other:
        raise ConfigurationError(
            f"the first book's amounts are in {one} and the second's in {other}: what they differ by is no amount of "
            "money; compare books of one currency"
        )
    if before.mixed != after.mixed and any(step.converts for step in (*before.steps, *after.steps)):
        raise ConfigurationError(
            "one book leaves each row in its own currency and the other one converts: their amounts cannot be compared"
        )
