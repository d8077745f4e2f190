"""Minimum and maximum: what a line, a document or a period costs at least, and at most."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import ClassVar, Literal

import polars as pl

from assay.money import Scaled
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.edges import Edge, Place, at_amounts
from assay.pricing.rating import DocumentRating, Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.values import NotNegative

Per = Literal["line", "document", "period"]

_BELOW = "amount is below 0"


class _Limit(Step):
    """Of a period the input `billed_before` says what has been billed in it before this row."""

    money_fields: ClassVar[frozenset[str]] = frozenset({"amount"})

    amount: NotNegative
    per: Per = "line"

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The limit."""
        return at_amounts(self.amount)

    def inputs(self) -> frozenset[str]:
        """Of a period also what has been billed."""
        return super().inputs() | ({"billed_before"} if self.per == "period" else set())

    def example(self) -> dict[str, object]:
        """Of a period nothing has been billed before."""
        return super().example() | ({"billed_before": Decimal(0)} if self.per == "period" else {})

    def whole_document(self) -> bool:
        """Where it is per document."""
        return self.per == "document"

    def needs_document(self) -> bool:
        """Where it is per document."""
        return self.per == "document"

    def before(self, at: Rating) -> Decimal:
        """What was billed in the period before."""
        return at.input("billed_before") if self.per == "period" else Decimal(0)

    def before_expr(self, at: BatchRating) -> Scaled:
        """The same, for columns."""
        return at.input("billed_before") if self.per == "period" else Scaled.literal(Decimal(0))

    def limit(self, at: Rating) -> Decimal:
        """The amount."""
        amount = at.money("amount")
        at.require(amount >= 0, _BELOW)
        return amount

    def limit_expr(self, at: BatchRating) -> Scaled:
        """The same, for columns."""
        amount = at.money("amount")
        at.require(amount.between(0))
        return amount


@register
class Maximum(_Limit):
    """Take off what goes beyond `amount`: the net, with what was billed before in the period, is at most that.

    Credits are left as they are. Of a document the discount is allocated to the lines.
    """

    kind: Literal["maximum"] = "maximum"

    def place(self) -> Place:
        """Of a line before what concerns the document."""
        return Place.LINE_MAXIMUM if self.per == "line" else Place.MAXIMUM

    def apply(self, at: Rating) -> None:
        """Cap one item."""
        room = max(self.limit(at) - self.before(at), Decimal(0))
        over = at.net - at.rounded(room) if at.net > room else Decimal(0)
        at.reduce(max(over, Decimal(0)), Wording("above the maximum of", rate=self.limit(at)))

    def apply_document(self, at: DocumentRating) -> None:
        """Cap a document."""
        if self.per != "document":
            super().apply_document(at)
            return
        amount = at.value("amount", money=True)
        at.first.require(amount >= 0, _BELOW)
        over = max(at.total(lambda line: line.net) - at.first.rounded(amount), Decimal(0))
        shares = at.shares(over, lambda line: line.net, within=True)
        for line, share in zip(at.lines, shares, strict=True):
            line.allowance += line.reduce(share, Wording("share above the maximum of", over, amount), rounded=True)

    def apply_expr(self, at: BatchRating) -> None:
        """Cap each row."""
        nothing = Scaled.literal(Decimal(0))
        if self.per != "document":
            limit = self.limit_expr(at)
            room = at.rounded(at.greater(at.minus(limit, self.before_expr(at)), nothing)).value
            over = at.greater(at.minus(at.sums.net, room), nothing)
            at.reduce(at.rounded(over), Note("above the maximum of", rate=limit))
            return
        limit = at.same(self.limit_expr(at))
        over = at.greater(at.minus(at.total(at.sums.net), at.rounded(limit).value), nothing)
        share = at.shares(over, at.sums.net, within=True)
        at.reduce(Amount(share), Note("share above the maximum of", over, limit))
        at.sums.allowance = at.stored(at.sums.allowance + share)


@register
class Minimum(_Limit):
    """Charge what is missing to `amount`: the net, with what was billed before in the period, is at least that.

    Credits are left as they are. Of a document the charge is allocated to the lines. Of a period it is due on the
    last bill: where rows bring `period_end` and `used_to`, on those that reach the end.
    """

    optional_inputs: ClassVar[frozenset[str]] = frozenset({"period_end", "used_to"})

    kind: Literal["minimum"] = "minimum"

    def place(self) -> Place:
        """Of a line before what concerns the document; after the maximum."""
        return Place.LINE_MINIMUM if self.per == "line" else Place.MINIMUM

    def apply(self, at: Rating) -> None:
        """Charge one item."""
        limit = at.rounded(self.limit(at))
        missing = limit - self.before(at) - at.net
        due = missing > 0 and at.sign > 0 and at.net >= 0 and self._last(at)
        at.charge(missing if due else Decimal(0), Wording("up to the minimum of", rate=limit))

    def apply_document(self, at: DocumentRating) -> None:
        """Charge the lines of a document."""
        if self.per != "document":
            super().apply_document(at)
            return
        amount = at.value("amount", money=True)
        at.first.require(amount >= 0, _BELOW)
        total = at.total(lambda line: line.net)
        missing = max(at.first.rounded(amount) - total, Decimal(0)) if total >= 0 else Decimal(0)
        for line, share in zip(at.lines, at.shares(missing, lambda line: line.net), strict=True):
            line.surcharge += line.charge(share, Wording("share up to the minimum of", missing, amount), rounded=True)

    def apply_expr(self, at: BatchRating) -> None:
        """Charge each row."""
        nothing = Scaled.literal(Decimal(0))
        if self.per != "document":
            limit = at.rounded(self.limit_expr(at)).value
            missing = at.minus(at.minus(limit, self.before_expr(at)), at.sums.net)
            due = (missing.units > 0) & (at.sign.units > 0) & (at.sums.net.units >= 0)
            last = self._last_expr(at)
            if last is not None:
                due = due & last
            at.charge(at.when(due, at.rounded(missing)), Note("up to the minimum of", rate=limit))
            return
        given = at.same(self.limit_expr(at))
        total = at.total(at.sums.net)
        lacking = at.greater(at.minus(at.rounded(given).value, total), nothing)
        missing = at.chosen(total.units >= 0, lacking, nothing)
        share = at.shares(missing, at.sums.net)
        at.charge(Amount(share), Note("share up to the minimum of", missing, given))
        at.sums.surcharge = at.stored(at.sums.surcharge + share)

    def _last(self, at: Rating) -> bool:
        if self.per != "period" or not (at.has("period_end") and at.has("used_to")):
            return True
        return at.moment("used_to") == at.moment("period_end")

    def _last_expr(self, at: BatchRating) -> pl.Expr | None:
        if self.per != "period" or not (at.has("period_end") and at.has("used_to")):
            return None
        end, used = at.raw("period_end"), at.raw("used_to")
        return (end == used).fill_null(value=True)
