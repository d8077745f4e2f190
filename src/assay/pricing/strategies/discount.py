"""What discounts have in common: they say what they take off an amount; a stack combines them."""

from __future__ import annotations

from decimal import Decimal

from assay.money import Scaled
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.edges import Place
from assay.pricing.rating import Rating, Wording
from assay.pricing.step import Step


class Discount(Step):
    """Takes something off the net so far."""

    def place(self) -> Place:
        """Among the line discounts."""
        return Place.LINE_DISCOUNTS

    def off(self, at: Rating, net: Decimal) -> tuple[Decimal, Wording]:
        """What it takes off a net, exactly, and what it says of it."""
        raise NotImplementedError

    def off_expr(self, at: BatchRating, net: Scaled) -> tuple[Amount, Note]:
        """The same for columns, rounded."""
        raise NotImplementedError

    def apply(self, at: Rating) -> None:
        """Reduce one item."""
        at.reduce(*self.off(at, at.net))

    def apply_expr(self, at: BatchRating) -> None:
        """Reduce each row."""
        at.reduce(*self.off_expr(at, at.sums.net))
