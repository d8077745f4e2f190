"""Discounts of a whole document, allocated to its lines."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from assay.money import Scaled
from assay.pricing.batch import Amount, BatchRating, Note
from assay.pricing.edges import Edge, Place, at_amounts
from assay.pricing.rating import DocumentRating, Wording
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.values import NotNegative, Percentage

OUTSIDE = "percent is outside 0 to 100"


class Allocated(Step):
    """A discount that is computed once for a document and allocated to its lines.

    The parts are in proportion to the lines' nets ("even": alike), by largest remainder, of equal ones the earlier
    line first; no part is larger than its line, and lines of the other sign take none. A percentage of a document
    below 0 mirrors; an amount leaves such a document as it is, and never goes below 0.
    """

    money_fields: ClassVar[frozenset[str]] = frozenset({"amount"})

    what: ClassVar[str]
    """How receipts call a line's part, before the discount of the document."""

    percent: Percentage | None = None
    amount: NotNegative | None = None
    allocate: Literal["proportional", "even"] = "proportional"

    @model_validator(mode="after")
    def _one_of_both(self) -> Allocated:
        if (self.percent is None) == (self.amount is None):
            raise PydanticCustomError("one_of", "give either percent or amount")
        return self

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The net that is all taken off."""
        return at_amounts(self.amount)

    def whole_document(self) -> bool:
        """It looks at the document's net."""
        return True

    def discount(self, at: DocumentRating) -> Decimal:
        """What is taken off the document, rounded."""
        total = at.total(lambda line: line.net)
        if self.percent is not None:
            percent = at.value("percent")
            at.first.require(0 <= percent <= 100, OUTSIDE)
            discount = at.first.rounded(total * percent.scaleb(-2))
            return discount if abs(discount) <= abs(total) else total
        amount = at.value("amount", money=True)
        at.first.require(amount >= 0, "amount is below 0")
        return min(at.first.rounded(amount), max(total, Decimal(0)))

    def discount_expr(self, at: BatchRating) -> Scaled:
        """The same, for columns."""
        total = at.total(at.sums.net)
        if self.percent is not None:
            percent = at.same(at.value("percent"))
            at.require(percent.between(0, 100))
            discount = at.product(total, percent.behind(2)).value
            return at.chosen(discount.units.abs() <= total.units.abs(), discount, total)
        amount = at.same(at.money("amount"))
        at.require(amount.between(0))
        return at.lesser(at.rounded(amount).value, at.greater(total, Scaled.literal(Decimal(0))))

    def apply_document(self, at: DocumentRating) -> None:
        """Reduce the lines of a document."""
        discount = self.discount(at)
        shares = at.shares(discount, lambda line: line.net, within=True, evenly=self.allocate == "even")
        for line, share in zip(at.lines, shares, strict=True):
            line.allowance += line.reduce(share, Wording(self.what, discount), rounded=True)

    def apply_expr(self, at: BatchRating) -> None:
        """Reduce each row."""
        discount = self.discount_expr(at)
        share = at.shares(discount, at.sums.net, within=True, evenly=self.allocate == "even")
        at.reduce(Amount(share), Note(self.what, discount))
        at.sums.allowance = at.stored(at.sums.allowance + share)


@register
class DocumentDiscount(Allocated):
    """Take `percent` or `amount` off a whole document; see `Allocated` for who bears how much of it."""

    what: ClassVar[str] = "share of the discount of"

    kind: Literal["document_discount"] = "document_discount"

    def place(self) -> Place:
        """Among the document discounts."""
        return Place.DOCUMENT_DISCOUNTS

    def needs_document(self) -> bool:
        """Rows must say their document."""
        return True


@register
class Coupon(Allocated):
    """Take a coupon's `percent` or `amount` off a document that it may be used for: at most `uses` times.

    How often it has been used before, `used`, comes with the row or is said in the book; what is left of an amount
    that carries over comes with the row: `amount = { column = "coupon_left" }`. A row without document_id is a
    document of its own. List it before the taxes.
    """

    what: ClassVar[str] = "share of the coupon of"

    kind: Literal["coupon"] = "coupon"
    uses: Annotated[int, Field(ge=1)] | None = None
    used: NotNegative = Decimal(0)

    def place(self) -> Place:
        """Among the coupons."""
        return Place.COUPONS

    def discount(self, at: DocumentRating) -> Decimal:
        """Nothing once it is used up."""
        used = at.value("used")
        discount = super().discount(at)
        return discount if self.uses is None or used < self.uses else Decimal(0)

    def discount_expr(self, at: BatchRating) -> Scaled:
        """The same, for columns."""
        used = at.same(at.value("used"))
        discount = super().discount_expr(at)
        if self.uses is None:
            return discount
        return at.when(at.less(used, Scaled.literal(Decimal(self.uses))), Amount(discount)).value
