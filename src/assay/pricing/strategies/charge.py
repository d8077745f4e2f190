"""Charges on top: surcharges of a line, or of a document, allocated to its lines."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.edges import Place
from assay.pricing.rating import DocumentRating, Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.values import NotNegative


@register
class Charge(Step):
    """Add `amount`, or `percent` of the net so far; taxes that follow are on it, too.

    `per="line"` charges each row; a credit is credited the same. `per="document"` charges the document once and
    allocates it to the lines in proportion to their nets.
    """

    money_fields: ClassVar[frozenset[str]] = frozenset({"amount"})

    kind: Literal["charge"] = "charge"
    amount: NotNegative | None = None
    percent: NotNegative | None = None
    per: Literal["line", "document"] = "line"

    @model_validator(mode="after")
    def _one_of_both(self) -> Charge:
        if (self.percent is None) == (self.amount is None):
            raise PydanticCustomError("one_of", "give either percent or amount")
        return self

    def place(self) -> Place:
        """Among the discounts of a line, or of a document."""
        return Place.LINE_DISCOUNTS if self.per == "line" else Place.DOCUMENT_DISCOUNTS

    def whole_document(self) -> bool:
        """Where it is per document."""
        return self.per == "document"

    def needs_document(self) -> bool:
        """Where it is per document."""
        return self.per == "document"

    def apply(self, at: Rating) -> None:
        """Charge one item."""
        if self.percent is not None:
            percent = at.value("percent")
            at.require(percent >= 0, "percent is below 0")
            at.charge(at.net * percent.scaleb(-2), Wording("% on", at.net, percent))
        else:
            amount = at.sign * at.money("amount")
            at.require(at.sign * amount >= 0, "amount is below 0")
            at.charge(amount, Wording("charge of", rate=amount))

    def apply_document(self, at: DocumentRating) -> None:
        """Charge the lines of a document."""
        if self.per == "line":
            super().apply_document(at)
            return
        if self.percent is not None:
            percent = at.value("percent")
            at.first.require(percent >= 0, "percent is below 0")
            charge = at.first.rounded(at.total(lambda line: line.net) * percent.scaleb(-2))
        else:
            amount = at.value("amount", money=True)
            at.first.require(amount >= 0, "amount is below 0")
            charge = at.first.rounded(-amount if at.total(lambda line: line.net) < 0 else amount)
        for line, share in zip(at.lines, at.shares(charge, lambda line: line.net), strict=True):
            line.surcharge += line.charge(share, Wording("share of the charge of", charge), rounded=True)

    def apply_expr(self, at: BatchRating) -> None:
        """Charge each row."""
        net = at.sums.net
        if self.percent is not None:
            percent = at.value("percent")
            at.require(percent.between(0))
            if self.per == "line":
                at.charge(at.product(net, percent.behind(2)), Note("% on", net, percent))
                return
            charge = at.product(at.total(net), at.same(percent).behind(2)).value
        else:
            given = at.money("amount")
            at.require(given.between(0))
            if self.per == "line":
                amount = at.signed(given, at.sign)
                at.charge(at.rounded(amount), Note("charge of", rate=amount))
                return
            total = at.total(net)
            charge = at.rounded(at.signed(at.same(given), at.direction(total))).value
        share = at.shares(charge, net)
        at.charge(Amount(share), Note("share of the charge of", charge))
        at.sums.surcharge = at.stored(at.sums.surcharge + share)
