"""Charge models of a quantity: each says what units cost as parts, quantity times rate; the rest is shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

import polars as pl

from assay.money import Scaled, negated
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
        sign = at.turned if after >= 0 else -at.turned
        for part in self.parts(at, abs(after)):
            quantity = sign * part.quantity
            at.charge(quantity * part.rate, Wording(part.what, quantity, part.rate, part.tier))
        for part in self.parts(at, before) if at.continues else ():
            quantity = at.turned * part.quantity
            at.take_back(quantity * part.rate, Wording(BEFORE + part.what, -quantity, part.rate, part.tier))

    def apply_expr(self, at: BatchRating) -> None:
        """Charge for each row."""
        before, after = at.units()
        sign = at.signed(at.direction(after), at.turned)
        for part in self.parts_expr(at, at.size(after)):
            quantity = at.stored(at.signed(part.quantity, sign))
            amount = _when(at, part.when, at.product(quantity, part.rate))
            at.charge(amount, Note(part.what, quantity, part.rate, part.tier, when=part.when))
        if before is None:
            return
        for part in self.parts_expr(at, before):
            quantity = at.stored(at.signed(part.quantity, at.turned))
            when = at.continues if part.when is None else at.continues & part.when
            amount = _when(at, when, at.opposite(at.product(quantity, part.rate)))
            at.charge(amount, Note(BEFORE + part.what, negated(quantity), part.rate, part.tier, when=when))


def rounded_once(at: Rating, parts: Sequence[Part], sign: int, units: Decimal, *, back: bool = False) -> None:
    """Charge the sum of the parts, rounded once (or take it back); they are told besides."""
    turn, what = (-1, BEFORE) if back else (1, "")
    for part in parts:
        quantity = sign * part.quantity
        exact = quantity * part.rate
        wording = Wording(what + part.what, turn * quantity, part.rate, part.tier, counts=False)
        at.record(wording, turn * at.told(exact), turn * exact)
    total = sum((sign * part.quantity * part.rate for part in parts), Decimal(0))
    wording = Wording(what + "all tiers", turn * sign * units)
    if back:
        at.take_back(total, wording)
    else:
        at.charge(total, wording)


def rounded_once_expr(
    at: BatchRating, parts: Sequence[PartColumns], sign: Scaled, units: Scaled, *, back: pl.Expr | None = None
) -> None:
    """The same, for columns; taken back where `back` is true, if it is given."""
    total = Scaled.literal(Decimal(0))
    what = "" if back is None else BEFORE
    for part in parts:
        quantity = at.stored(at.signed(part.quantity, sign))
        exact = at.exact(quantity, part.rate)
        when = part.when
        if when is not None:
            exact = at.chosen(when, exact, Scaled.literal(Decimal(0)))
        total = at.plus(total, exact)
        if not at.receipts:
            continue
        amount = _when(at, when, at.product(quantity, part.rate))
        if back is None:
            at.record(amount, Note(part.what, quantity, part.rate, part.tier, counts=False, when=when))
            continue
        when = back if when is None else back & when
        note = Note(what + part.what, negated(quantity), part.rate, part.tier, counts=False, when=when)
        at.record(at.opposite(amount), note)
    signed = at.stored(at.signed(units, sign))
    if back is None:
        at.charge(at.rounded(total), Note("all tiers", signed))
    else:
        amount = at.when(back, at.opposite(at.rounded(total)))
        at.charge(amount, Note(BEFORE + "all tiers", negated(signed), when=back))


def _when(at: BatchRating, condition: pl.Expr | None, amount: Amount) -> Amount:
    return amount if condition is None else at.when(condition, amount)
