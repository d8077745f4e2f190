"""Pricing at points of a search: the reference without receipts, and what each step has made of the item."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext

from assay.errors import ConfigurationError, PricingError
from assay.money import EXACT
from assay.pricing.edges import NET
from assay.pricing.rates import RatesTable
from assay.pricing.rating import DocumentRating, Exact, Rating, Wording
from assay.pricing.step import Step, joined
from assay.pricing.tables import Tables
from assay.pricing.terms import Terms


@dataclass(frozen=True, slots=True)
class Stand:
    """An item before a step.

    Attributes:
        net: So far.
        total: Net and tax so far.
        units: What a charge would price, or None where there is no quantity.
    """

    net: Decimal
    total: Decimal
    units: Decimal | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an item costs, or why it is refused.

    Attributes:
        inputs: The item.
        total: Net and tax; None where it is refused.
        payable: What is to pay; None where it is refused.
        reason: Why it is refused, or None.
        refused_by: Id of the step that refuses it, if one does.
        stands: Before each step, by its id.
    """

    inputs: Mapping[str, object]
    total: Decimal | None = None
    payable: Decimal | None = None
    reason: str | None = None
    refused_by: str | None = None
    stands: Mapping[str, Stand] = field(default_factory=dict)

    @property
    def priced(self) -> tuple[Decimal | None, Decimal | None]:
        """What two outcomes are compared by."""
        return self.total, self.payable

    def before(self, step: str, of: str) -> Decimal | None:
        """The units or the net before a step."""
        stand = self.stands.get(step)
        if stand is None:
            return None
        return stand.net if of == NET else stand.units

    def made_by(self, steps: Sequence[str]) -> dict[str, Decimal]:
        """What each step has added to the total."""
        if self.total is None:
            return {}
        totals = [self.stands[step].total for step in steps if step in self.stands] + [self.total]
        return {step: after - before for step, before, after in zip(steps, totals, totals[1:], strict=False)}


class _Probe(Rating):
    """An item that remembers how it stood before each step, and writes no receipt."""

    def __init__(self, terms: Terms, inputs: Mapping[str, object]) -> None:
        self.stands: dict[str, Stand] = {}
        super().__init__(terms, inputs)

    def begin(self, step: Step) -> None:
        super().begin(step)
        units = self._units[1] if self._units is not None else self.optional("quantity", None)
        self.stands[step.id or step.kind] = Stand(self.net, self.net + self.tax, units)

    def record(self, wording: Wording, amount: Decimal, exact: Exact) -> None:
        """Nothing is told of a probe."""


class Prober:
    """Prices items by steps.

    Args:
        steps: As they stand in a book.
        terms: The book's.
    """

    def __init__(self, steps: Sequence[Step], terms: Terms) -> None:
        self.steps, self.terms = tuple(steps), terms
        self._joined = joined(steps)

    @property
    def ids(self) -> list[str]:
        """Of the steps as they run."""
        return [step.id or step.kind for step in self._joined]

    def instead(self, step: Step) -> Prober:
        """The same with another step of that id."""
        return Prober([step if one.id == step.id else one for one in self.steps], self.terms)

    def at(self, inputs: Mapping[str, object]) -> Outcome:
        """Price one item."""
        probe = None
        with localcontext(EXACT):
            try:
                probe = _Probe(self.terms, inputs)
                document = DocumentRating([probe])
                for step in self._joined:
                    document.begin(step)
                    step.apply_document(document)
                document.check()
            except (PricingError, ConfigurationError) as error:
                stands = {} if probe is None else probe.stands
                return Outcome(inputs, reason=str(error), refused_by=next(reversed(stands), None), stands=stands)
            return Outcome(inputs, probe.net + probe.tax, probe.payable, stands=probe.stands)


class Par(RatesTable):
    """A table that stands in for one that is not given: every rate is 1, on every day."""

    def __init__(self, *, dated: bool) -> None:
        super().__init__({})
        self.dated = dated

    def rate(self, currency: str) -> Decimal | None:
        """1."""
        return Decimal(1)

    def on(self, currency: str, day: dt.date, missing: str) -> tuple[Decimal, dt.date] | None:
        """1, of that day."""
        return Decimal(1), day

    def window(
        self, currency: str, day: dt.date, missing: str, max_age: int | None
    ) -> tuple[dt.date | None, dt.date | None]:
        """Always."""
        return None, None


def standing_in(steps: Sequence[Step], given: Tables) -> Tables:
    """The tables that are given, and for rates that are not such in which every rate is 1."""
    lacking = {name: step for step in steps if (name := step.rate_table()) is not None and name not in given.rates}
    made = {name: Par(dated=step.dated()) for name, step in lacking.items()}
    return replace(given, rates={**given.rates, **made})
