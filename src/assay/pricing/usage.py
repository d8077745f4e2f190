"""Charge models of a quantity: each says what units cost as parts, quantity times rate; the rest is shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

import polars as pl

from assay.money import Scaled
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.rating import Rating, Wording
from assay.pricing.step import Step

BEFORE = "earlier bills, "
"""How the receipt lines begin that take off what the units before this item have cost."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a charge: quantity x rate.

    Attributes:
        what: In words.
        quantity: 0 or more.
        rate: Price of one.
        tier: Number of the tier, from 1.
    """

    what: str
    quantity: Decimal
    rate: Decimal
    tier: int | None = None


@dataclass(frozen=True, slots=True)
class PartColumns:
    """The same for columns; `when` says in which rows there is such a part (all of them where None)."""

    what: str
    quantity: Scaled
    rate: Scaled
    tier: pl.Expr | int | None = None
    when: pl.Expr | None = None


class UsageModel(Step):
    """A charge model of `quantity`.

    Each part is rounded. A negative quantity is a credit: the parts of the quantity without its sign, turned. Where
    `quantity_before` says how many units of the period were billed before, the charge is that of all units together
    less that of the units before, so that the bills of a period add up to what one bill would have been; 0 is a
    first bill.
    """

    amount_inputs: ClassVar[frozenset[str]] = frozenset({"quantity"})
    optional_inputs: ClassVar[frozenset[str]] = frozenset({"quantity_before"})
    prices: ClassVar[bool] = True

    def parts(self, at: Rating, quantity: Decimal) -> Sequence[Part]:
        """What a quantity of 0 or more costs."""
        raise NotImplementedError

    def parts_expr(self, at: BatchRating, quantity: Scaled) -> Sequence[PartColumns]:
        """The same, for columns."""
        raise NotImplementedError

    def apply(self, at: Rating) -> None:
        """Charge for one item."""
        before, after = at.units()
        self._charge(at, after, at.turned, "")
        if before:
            self._charge(at, before, -at.turned, BEFORE)

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        before, after = at.units()
        self._charge_expr(at, at.size(after), at.signed(at.direction(after), at.turned), "", None)
        if before is not None:
            turned = at.signed(at.turned, Scaled.literal(Decimal(-1)))
            self._charge_expr(at, before, turned, BEFORE, before.units != 0)

    def _charge(self, at: Rating, units: Decimal, turned: int, before: str) -> None:
        sign = turned if units >= 0 else -turned
        for part in self.parts(at, abs(units)):
            quantity = sign * part.quantity
            at.charge(quantity * part.rate, Wording(before + part.what, quantity, part.rate, part.tier))

    def _charge_expr(self, at: BatchRating, units: Scaled, sign: Scaled, before: str, present: pl.Expr | None) -> None:
        for part in self.parts_expr(at, units):
            quantity = at.stored(at.signed(part.quantity, sign))
            conditions = [condition for condition in (present, part.when) if condition is not None]
            when = pl.all_horizontal(conditions) if conditions else None
            amount = at.product(quantity, part.rate)
            at.charge(
                amount if when is None else at.when(when, amount),
                Note(before + part.what, quantity, part.rate, part.tier, when=when),
            )


def rounded_once(at: Rating, parts: Sequence[Part], sign: int, what: str, units: Decimal) -> None:
    """Charge the sum of the parts, rounded once; they are told besides."""
    for part in parts:
        quantity = sign * part.quantity
        exact = quantity * part.rate
        at.record(Wording(what + part.what, quantity, part.rate, part.tier, counts=False), at.rounded(exact), exact)
    total = sum((sign * part.quantity * part.rate for part in parts), Decimal(0))
    at.charge(total, Wording(what + "all tiers", sign * units))


def rounded_once_expr(
    at: BatchRating, parts: Sequence[PartColumns], sign: Scaled, what: str, units: Scaled, present: pl.Expr | None
) -> None:
    """The same, for columns."""
    total = Scaled.literal(Decimal(0))
    for part in parts:
        quantity = at.stored(at.signed(part.quantity, sign))
        conditions = [condition for condition in (present, part.when) if condition is not None]
        when = pl.all_horizontal(conditions) if conditions else None
        exact = at.exact(quantity, part.rate)
        if when is not None:
            exact = at.chosen(when, exact, Scaled.literal(Decimal(0)))
        total = at.plus(total, exact)
        if at.receipts:
            amount = at.product(quantity, part.rate)
            shown: Amount = amount if when is None else at.when(when, amount)
            at.record(shown, Note(what + part.what, quantity, part.rate, part.tier, counts=False, when=when))
    at.charge(at.rounded(total), Note(what + "all tiers", at.signed(units, sign), when=present))
