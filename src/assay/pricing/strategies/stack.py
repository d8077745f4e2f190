"""Stack: discounts that are combined, by a rule that is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import BeforeValidator, SerializeAsAny, model_validator
from pydantic_core import PydanticCustomError

from assay.money import Scaled
from assay.pricing.batch import BatchRating, Note
from assay.pricing.edges import Edge, Place
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import parsed_step, register
from assay.pricing.step import Step
from assay.pricing.strategies.amount_off import AmountOff
from assay.pricing.strategies.discount import Discount
from assay.pricing.strategies.percent_off import PercentOff
from assay.pricing.terms import Terms
from assay.pricing.values import AtLeastOne


@register
class Stack(Step):
    """Take several discounts off.

    "sequential": each off what the one before has left. "sum": the percentages are added, at most 100, and taken off
    at once; amounts are taken off what is left. "best": the largest one alone, of equal ones the first. "exclusive":
    the first one alone that takes something off.
    """

    entries: ClassVar[str | None] = "rules"

    kind: Literal["stack"] = "stack"
    mode: Literal["sequential", "sum", "best", "exclusive"] = "sequential"
    rules: Annotated[tuple[Annotated[SerializeAsAny[Step], BeforeValidator(parsed_step)], ...], AtLeastOne]

    @model_validator(mode="after")
    def _rules_that_combine(self) -> Stack:
        for rule in self.rules:
            if not isinstance(rule, Discount):
                raise PydanticCustomError("rules", "{kind} is no discount that can be stacked", {"kind": rule.kind})
            if rule.rounding is not None:
                raise PydanticCustomError("rules", "say the rounding of the stack, not of {kind}", {"kind": rule.kind})
            threshold = getattr(rule, "at_least", None) is not None
            if self.mode == "sum" and (threshold or not isinstance(rule, PercentOff | AmountOff)):
                raise PydanticCustomError(
                    "rules",
                    "a sum is of percentages and amounts without a threshold, not of {kind}",
                    {"kind": rule.kind},
                )
        return self

    def place(self) -> Place:
        """Among the line discounts."""
        return Place.LINE_DISCOUNTS

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """Of the rules, which all look at the net."""
        for number, rule in enumerate(self.rules, 1):
            for edge in rule.edges(terms):
                yield replace(edge, entry=number)

    def apply(self, at: Rating) -> None:
        """Reduce one item."""
        if self.mode == "sum":
            self._sum(at)
            return
        if self.mode == "sequential":
            for name, rule in self._named():
                exact, wording = rule.off(at, at.net)
                at.reduce(exact, replace(wording, rule=(name, rule.kind)))
            return
        offers = [(name, rule, *rule.off(at, at.net)) for name, rule in self._named()]
        sign = -1 if at.net < 0 else 1
        amounts = [sign * at.rounded(exact) for _, _, exact, _ in offers]
        if self.mode == "best":
            best = max(range(len(offers)), key=lambda index: (amounts[index], -index))
        else:
            best = next((index for index, amount in enumerate(amounts) if amount), 0)
        name, rule, exact, wording = offers[best]
        at.reduce(exact, replace(wording, rule=(name, rule.kind)))

    def apply_expr(self, at: BatchRating) -> None:
        """Reduce each row."""
        if self.mode == "sum":
            self._sum_expr(at)
            return
        if self.mode == "sequential":
            for name, rule in self._named():
                amount, note = rule.off_expr(at, at.sums.net)
                at.reduce(amount, replace(note, rule=(name, rule.kind)))
            return
        net = at.sums.net
        offers = [(name, rule, *rule.off_expr(at, net)) for name, rule in self._named()]
        sign = at.direction(net)
        amounts = [at.stored(at.signed(amount.value, sign)) for _, _, amount, _ in offers]
        chosen = at.keep(self._chosen(amounts))
        for index, (name, rule, amount, note) in enumerate(offers):
            picked = chosen == index
            at.reduce(at.when(picked, amount), replace(note, rule=(name, rule.kind), when=picked))

    def _chosen(self, amounts: Sequence[Scaled]) -> pl.Expr:
        """The index of the discount that counts."""
        index = pl.lit(0)
        if self.mode == "best":
            largest = amounts[0].units
            for number, amount in enumerate(amounts[1:], 1):
                better = amount.units > largest
                index = pl.when(better).then(pl.lit(number)).otherwise(index)
                largest = pl.when(better).then(amount.units).otherwise(largest)
            return index
        for number in range(len(amounts) - 1, -1, -1):
            index = pl.when(amounts[number].units != 0).then(pl.lit(number)).otherwise(index)
        return index

    def _sum(self, at: Rating) -> None:
        percents = [rule for rule in self.rules if isinstance(rule, PercentOff)]
        if percents:
            given = [at.value("percent", rule) for rule in percents]
            at.require(all(0 <= percent <= 100 for percent in given), "percent is outside 0 to 100")
            percent = min(sum(given, Decimal(0)), Decimal(100))
            at.reduce(at.net * percent.scaleb(-2), Wording("% off", at.net, percent))
        for name, rule in self._named():
            if isinstance(rule, AmountOff):
                exact, wording = rule.off(at, at.net)
                at.reduce(exact, replace(wording, rule=(name, rule.kind)))

    def _sum_expr(self, at: BatchRating) -> None:
        percents = [rule for rule in self.rules if isinstance(rule, PercentOff)]
        if percents:
            total = Scaled.literal(Decimal(0))
            for each in percents:
                percent = at.value("percent", each)
                at.require(percent.between(0, 100))
                total = at.plus(total, percent)
            total = at.lesser(total, Scaled.literal(Decimal(100)))
            net = at.sums.net
            at.reduce(at.product(net, total.behind(2)), Note("% off", net, total))
        for name, rule in self._named():
            if isinstance(rule, AmountOff):
                amount, note = rule.off_expr(at, at.sums.net)
                at.reduce(amount, replace(note, rule=(name, rule.kind)))

    def _named(self) -> Iterator[tuple[str, Discount]]:
        """The rules and their names: their ids, or kinds with a number where one comes again."""
        taken: dict[str, int] = {}
        for rule in self.rules:
            name = rule.id or rule.kind
            taken[name] = taken.get(name, 0) + 1
            if isinstance(rule, Discount):
                yield name if taken[name] == 1 else f"{name}/{taken[name]}", rule
