"""Free units: the first units of a period are free; they are taken off before anything is priced."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import ClassVar, Literal

from assay.money import Scaled
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.edges import UNITS, Edge, Place
from assay.pricing.rating import Rating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.values import NotNegative


@register
class FreeUnits(Step):
    """Take `quantity` units off the item's before the steps that follow price them; never below 0.

    Where `quantity_before` says what was billed before in the period, it has used up free units first: 500 free over
    bills of 300, 250 and 100 leave 0, 50 and 100.
    """

    amount_inputs: ClassVar[frozenset[str]] = frozenset({"quantity"})
    optional_inputs: ClassVar[frozenset[str]] = frozenset({"quantity_before"})

    kind: Literal["free_units"] = "free_units"
    quantity: NotNegative

    def place(self) -> Place:
        """Among the free units."""
        return Place.FREE_UNITS

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The last free unit."""
        if isinstance(self.quantity, Decimal):
            yield Edge(UNITS, self.quantity)

    def apply(self, at: Rating) -> None:
        """Take units off one item."""
        free = at.value("quantity")
        at.require(free >= 0, "quantity is below 0")
        before, after = at.units()

        def rest(units: Decimal) -> Decimal:
            paid = max(abs(units) - free, Decimal(0))
            return -paid if units < 0 else paid

        at.use(rest(before), rest(after))
        taken = (after - before) - (rest(after) - rest(before))
        at.record(Wording("free units", taken), Decimal(0), Decimal(0))

    def apply_expr(self, at: BatchRating) -> None:
        """Take units off each row."""
        free = at.value("quantity")
        at.require(free.between(0))
        before, after = at.units()
        nothing = Scaled.literal(Decimal(0))

        def rest(units: Scaled) -> Scaled:
            paid = at.greater(at.minus(at.size(units), free), nothing)
            return at.stored(at.signed(paid, at.direction(units)))

        rest_after, rest_before = rest(after), None if before is None else rest(before)
        at.use(rest_before, rest_after)
        if at.receipts:
            taken = at.minus(after, rest_after)
            if before is not None and rest_before is not None:
                taken = at.minus(taken, at.minus(before, rest_before))
            at.record(Amount(at.zero()), Note("free units", taken))
