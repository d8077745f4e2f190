"""Buy x, get y: of every so many units, some at a discount."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from assay.money import ExactDecimal, Scaled
from assay.pricing.batch import BatchRating, Note
from assay.pricing.edges import Edge, Place
from assay.pricing.rating import DocumentRating, Rating, Wording, each_line
from assay.pricing.receipt import AT_PERCENT
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.values import Percentage


@register
class BuyXGetY(Step):
    """Of every `buy` + `get` units of a document, take `percent` off `get` of them: the cheapest, or the dearest.

    Units cost their line's net / quantity; of equal ones the earlier line's come first. Lines whose quantity or net
    is not above 0 do not count. At most `max_times` times. A row without document_id is a document of its own.
    """

    kind: Literal["buy_x_get_y"] = "buy_x_get_y"
    buy: Annotated[ExactDecimal, Field(gt=0)]
    get: Annotated[ExactDecimal, Field(gt=0)]
    percent: Percentage = Decimal(100)
    select: Literal["cheapest", "dearest"] = "cheapest"
    max_times: Annotated[int, Field(ge=1)] | None = None

    def inputs(self) -> frozenset[str]:
        """The units."""
        return super().inputs() | {"quantity"}

    def place(self) -> Place:
        """Among the line discounts."""
        return Place.LINE_DISCOUNTS

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The units that the first, the second and the last time need."""
        for times in sorted({1, 2, self.max_times or 1}):
            yield Edge("quantity", (self.buy + self.get) * times)

    def whole_document(self) -> bool:
        """It counts the units of a document."""
        return True

    def apply_document(self, at: DocumentRating) -> None:
        """Reduce the lines of a document."""
        at.total(lambda line: line.net)
        units = at.each(_units)
        times = int(sum(units, Decimal(0)) // (self.buy + self.get))
        left = self.get * (times if self.max_times is None else min(times, self.max_times))
        turned = 1 if self.select == "cheapest" else -1
        order = sorted(
            (index for index, count in enumerate(units) if count),
            key=lambda index: (
                turned * Fraction(at.lines[index].net) / Fraction(units[index]),
                at.lines[index].order(index),
            ),
        )
        reduced = dict.fromkeys(range(len(units)), Decimal(0))
        for index in order:
            reduced[index] = min(units[index], left)
            left -= reduced[index]

        def reduce(index: int) -> None:
            line = at.lines[index]
            percent = line.value("percent")
            line.require(0 <= percent <= 100, "percent is outside 0 to 100")
            exact = (
                Fraction(line.net) * Fraction(reduced[index]) / Fraction(units[index]) * Fraction(percent) / 100
                if units[index]
                else Fraction(0)
            )
            line.reduce(exact, Wording(f"{self.select} units{AT_PERCENT}", reduced[index], percent))

        each_line(((index, index) for index in reduced), reduce)

    def apply_expr(self, at: BatchRating) -> None:
        """Reduce each row."""
        percent = at.value("percent")
        at.require(percent.between(0, 100))
        net, quantity, nothing = at.sums.net, at.input("quantity"), Scaled.literal(Decimal(0))
        at.total(net)
        units = at.chosen((quantity.units > 0) & (net.units > 0), quantity, nothing)
        times = at.floor_quotient(at.total(units), Scaled.literal(self.buy + self.get))
        if self.max_times is not None:
            times = at.lesser(times, Scaled.literal(Decimal(self.max_times)))
        free = at.exact(times, Scaled.literal(self.get))
        before = self._units_before(at, net, units)
        reduced = at.lesser(units, at.greater(free if before is None else at.minus(free, before), nothing))
        divisor = at.chosen(units.units == 0, Scaled.literal(Decimal(1)), units)
        off = at.ratio(net, at.exact(reduced, percent.behind(2)), divisor)
        at.reduce(off, Note(f"{self.select} units{AT_PERCENT}", reduced, percent))

    def _units_before(self, at: BatchRating, net: Scaled, units: Scaled) -> Scaled | None:
        """The units of the document that come before the row's."""
        document = at.document
        if document is None:
            return None
        some = at.keep(units.units > 0)
        price, exact = at.unit_price(net, units)
        key = price if self.select == "cheapest" else pl.lit(0, dtype=pl.Int128) - price
        # Prices that look alike, but were rounded to look so, may be of either order.
        alike = at.keep(pl.len().over(document.key, price, some))
        at.doubt(some & (alike > 1) & ~exact)
        place = at.keep(
            pl.struct((~some).cast(pl.Int8).alias("last"), key.alias("price"), document.order.alias("order"))
            .rank("ordinal")
            .over(document.key)
        )
        running = units.units.cum_sum().over(document.key, order_by=place)
        return at.stored(Scaled(running - units.units, units.scale))


def _units(line: Rating) -> Decimal:
    quantity = line.input("quantity")
    return quantity if quantity > 0 and line.net > 0 else Decimal(0)
