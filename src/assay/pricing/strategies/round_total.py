"""Rounding of the amount to pay, as with cash in Swiss francs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from assay.money import ExactDecimal, Scaled
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.edges import Place
from assay.pricing.rating import DocumentRating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms


@register
class RoundTotal(Step):
    """Round what is payable, after what is prepaid, to a multiple of `increment`; the difference is a line of its own.

    Net, tax and total stay; payable = total - prepaid + rounding (EN 16931, BT-115). A row without document_id is a
    document of its own.
    """

    settles: ClassVar[bool] = True

    kind: Literal["round_total"] = "round_total"
    increment: Annotated[ExactDecimal, Field(gt=0)]

    def problem(self, terms: Terms) -> str | None:
        """The increment must be payable in the currency that amounts come out in, and the rounding have a name."""
        if terms.mixed:
            return "what is payable in one currency need not be in another: the book leaves currencies mixed"
        unit = terms.unit(terms.result)
        if self.increment % unit:
            return f"an increment of {self.increment} cannot be paid in {terms.result}, whose smallest unit is {unit}"
        if (self.rounding or terms.rounding) == "none":
            return "say a rounding by name, such as half_up"
        return None

    def place(self) -> Place:
        """Among the rounding."""
        return Place.ROUNDING

    def whole_document(self) -> bool:
        """It rounds what is to pay for a document."""
        return True

    def apply_document(self, at: DocumentRating) -> None:
        """Round a document."""
        due = at.total(lambda line: line.payable)
        difference = at.first.rounded_to(due, self.increment) - due
        for line, share in zip(at.lines, at.shares(difference, lambda line: line.payable), strict=True):
            line.round_due(share, Wording("rounding to a multiple of", rate=self.increment))

    def apply_expr(self, at: BatchRating) -> None:
        """Round for each row."""
        payable = at.payable()
        due = at.total(payable)
        difference = at.minus(at.rounded_to(due, self.increment), due)
        share = at.shares(difference, payable)
        at.sums.rounding = at.stored(at.sums.rounding + share)
        note = Note("rounding to a multiple of", rate=Scaled.literal(self.increment), counts=False)
        at.record(Amount(share), note)
