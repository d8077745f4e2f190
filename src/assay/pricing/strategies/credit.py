"""Credit: a prepaid balance pays first; nothing else changes."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

from assay.money import Scaled
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.edges import Place
from assay.pricing.rating import DocumentRating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.values import NotNegative


@register
class Credit(Step):
    """Pay what is payable from a prepaid `balance`, as far as that goes: net, tax and total stay (OpenMeter).

    A row without document_id is a document of its own. What is left of the balance is balance - prepaid.
    """

    money_fields: ClassVar[frozenset[str]] = frozenset({"balance"})

    settles: ClassVar[bool] = True

    kind: Literal["credit"] = "credit"
    balance: NotNegative

    def place(self) -> Place:
        """Among the credit."""
        return Place.CREDIT

    def whole_document(self) -> bool:
        """It pays the document."""
        return True

    def apply_document(self, at: DocumentRating) -> None:
        """Pay a document."""
        balance = at.value("balance", money=True)
        at.first.require(balance >= 0, "balance is below 0")
        due = max(at.total(lambda line: line.payable), Decimal(0))
        paid = min(at.first.rounded(balance), due)
        for line, share in zip(at.lines, at.shares(paid, lambda line: line.payable, within=True), strict=True):
            line.pay(share, Wording("prepaid from a balance of", balance))

    def apply_expr(self, at: BatchRating) -> None:
        """Pay for each row."""
        balance = at.same(at.money("balance"))
        at.require(balance.between(0))
        payable = at.payable()
        due = at.greater(at.total(payable), Scaled.literal(Decimal(0)))
        share = at.shares(at.lesser(at.rounded(balance).value, due), payable, within=True)
        at.sums.prepaid = at.stored(at.sums.prepaid + share)
        at.record(Amount(share), Note("prepaid from a balance of", balance, counts=False), turned=True)
