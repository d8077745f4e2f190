"""Random pairs of books, of which one is the other changed, and rows for both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import polars as pl
from hypothesis import assume
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.pricing.drawn import CHARGES, STEPS, books, frames, step_roundings

from assay.money import ROUNDINGS
from assay.pricing import PriceBook, RatesTable


@dataclass(frozen=True)
class Pair:
    """Two books whose amounts are in one currency, rows for both, and the rates that they need."""

    before: PriceBook
    after: PriceBook
    frame: pl.DataFrame
    rates: dict[str, RatesTable]

    def __repr__(self) -> str:
        columns = "\n".join(f"  {c.name} {c.dtype} {c.to_list()}" for c in self.frame)
        rates = {name: table.frame().rows() for name, table in self.rates.items()}
        return f"{_shown(self.before)}\n{_shown(self.after)}\n{columns}\n  {rates}"


def _shown(book: PriceBook) -> str:
    content = json.loads(book.dump())
    steps = "\n".join(f"  {step}" for step in content.pop("steps"))
    return f"{content}\n{steps}"


@dataclass(frozen=True)
class _Both:
    """What `frames` asks of a book, of two."""

    before: PriceBook
    after: PriceBook

    @property
    def currency(self) -> str:
        return self.before.currency

    @property
    def steps(self) -> tuple[Any, ...]:
        return (*self.before.steps, *self.after.steps)

    def required_inputs(self) -> frozenset[str]:
        return self.before.required_inputs() | self.after.required_inputs()

    def optional_inputs(self) -> frozenset[str]:
        return (self.before.optional_inputs() | self.after.optional_inputs()) - self.required_inputs()


@st.composite
def changed(draw: st.DrawFn, book: PriceBook) -> PriceBook:
    """The book with some steps replaced, removed, added and moved, and perhaps another rounding."""
    content = json.loads(book.dump())
    steps: list[dict[str, Any]] = content["steps"]
    for number in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(steps) - 1))
        kind = steps[place]["kind"]
        what = draw(st.sampled_from(["replace", "replace", "round", "rename", "remove", "add", "move", "settings"]))
        if what == "replace" and (kind in CHARGES or kind in STEPS):
            drawn = draw(CHARGES[kind] if kind in CHARGES else STEPS[kind])
            steps[place] = {"kind": kind, **drawn, "id": steps[place]["id"]}
        elif what == "round":
            rounding = draw(step_roundings)
            steps[place].pop("rounding", None)
            steps[place] |= {"rounding": rounding} if rounding else {}
        elif what == "rename":
            steps[place]["id"] = f"new {number}"
        elif what == "remove" and len(steps) > 1:
            steps.pop(place)
        elif what == "add":
            name = draw(st.sampled_from([*sorted(STEPS), *sorted(CHARGES)]))
            drawn = draw(STEPS[name]) if name in STEPS else {"kind": name, **draw(CHARGES[name])}
            steps.insert(place, {**drawn, "id": f"added {number}"})
        elif what == "move":
            steps.insert(draw(st.integers(0, len(steps) - 1)), steps.pop(place))
        elif what == "settings":
            content["rounding"] = draw(st.sampled_from([*ROUNDINGS, "none"]))
    try:
        made = PriceBook.model_validate(content)
    except ValidationError:
        assume(False)
    assume(made.result_currency() == book.result_currency())
    assume(made.mixed == book.mixed)
    return made


@st.composite
def pairs(draw: st.DrawFn, rows: int = 6) -> Pair:
    """A book, the same changed, and rows."""
    before, rates = draw(books())
    after = draw(changed(before))
    if draw(st.booleans()):
        before, after = after, before
    both = cast("PriceBook", _Both(before, after))
    return Pair(before, after, draw(frames(both, rows)), rates)
