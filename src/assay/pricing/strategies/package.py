"""Package: units are sold in packages, of which a begun one is paid whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from assay.money import ExactDecimal, Scaled, plain
from assay.pricing.batch import BatchRating
from assay.pricing.edges import UNITS, Edge
from assay.pricing.rating import Rating
from assay.pricing.registry import register
from assay.pricing.terms import Terms
from assay.pricing.usage import Part, PartColumns, UsageModel
from assay.pricing.values import Value


@register
class Package(UsageModel):
    """Charge `price` for each package of `size` units, a begun one whole; the first `free` units are free.

    20 units in packages of 20 are one package, 20.1 are two; 0 units, or no more than are free, are none.
    """

    money_fields: ClassVar[frozenset[str]] = frozenset({"price"})

    kind: Literal["package"] = "package"
    size: Annotated[ExactDecimal, Field(gt=0)]
    price: Value
    free: Annotated[ExactDecimal, Field(ge=0)] = Decimal(0)

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """What is free, and the first two packages."""
        for packages in range(3):
            yield Edge(UNITS, self.free + packages * self.size)

    def parts(self, at: Rating, quantity: Decimal) -> Sequence[Part]:
        """The packages."""
        packages = ceil(Fraction(max(quantity - self.free, Decimal(0))) / Fraction(self.size))
        return [Part(f"packages of {plain(self.size)}", Decimal(packages), at.money("price"))]

    def parts_expr(self, at: BatchRating, quantity: Scaled) -> Sequence[PartColumns]:
        """The same, for columns."""
        paid = quantity
        if self.free:
            paid = at.greater(at.minus(quantity, Scaled.literal(self.free)), Scaled.literal(Decimal(0)))
        packages = at.ceil_quotient(paid, Scaled.literal(self.size))
        return [PartColumns(f"packages of {plain(self.size)}", packages, at.money("price"))]
