"""Tax: a percentage of the net, on top of it or included in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from assay.money import ExactDecimal, Scaled, integer
from assay.pricing.batch import ONE, Amount, BatchRating, Note, TaxNote
from assay.pricing.edges import Edge
from assay.pricing.moments import Window, days_window
from assay.pricing.rating import DocumentRating, Rating, Wording, each_line
from assay.pricing.receipt import TaxLine
from assay.pricing.registry import register
from assay.pricing.step import Step
from assay.pricing.terms import Terms
from assay.pricing.values import AtLeastOne, NotNegative

UNTAXED = frozenset({"AE", "E", "G", "K", "O", "Z"})
"""Categories of EN 16931 (UNCL 5305) that have a rate of 0: not the same, though their amounts are."""

EXEMPT = UNTAXED - {"Z"}
"""Those of them that want a reason."""


_ELSEWHERE = "elsewhere"
"""A place or category that no table names."""


class TaxRate(BaseModel):
    """A rate by place, category and date.

    Attributes:
        rate: Percent.
        place: Rows whose input `place` is this; any where None.
        category: Rows whose input `tax_category` is this; any where None.
        valid_from: From this day on; None: from ever.
        valid_to: Before this day; None: for ever.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Annotated[ExactDecimal, Field(ge=0)]
    place: str | None = None
    category: str | None = None
    valid_from: dt.date | None = None
    valid_to: dt.date | None = None

    @property
    def dated(self) -> bool:
        """Whether it is not of all times."""
        return self.valid_from is not None or self.valid_to is not None

    def matches(self, place: str | None, category: str | None, day: dt.date | None) -> bool:
        """Whether it is the rate of such a row."""
        return (
            (self.place is None or self.place == place)
            and (self.category is None or self.category == category)
            and (self.valid_from is None or (day is not None and self.valid_from <= day))
            and (self.valid_to is None or (day is not None and day < self.valid_to))
        )

    def window(self, zone: str | None) -> Window:
        """When it is valid."""
        return days_window((self.valid_from, self.valid_to), zone)

    def matches_expr(self, place: pl.Expr | None, category: pl.Expr | None, day: pl.Expr | None) -> pl.Expr:
        """The same, for columns (false for nulls)."""
        conditions = []
        if self.place is not None and place is not None:
            conditions.append(place == self.place)
        if self.category is not None and category is not None:
            conditions.append(category == self.category)
        if day is not None and self.valid_from is not None:
            conditions.append(day >= self.valid_from)
        if day is not None and self.valid_to is not None:
            conditions.append(day < self.valid_to)
        return pl.all_horizontal(conditions).fill_null(value=False) if conditions else pl.lit(value=True)


@register
class Tax(Step):
    """Add `rate` percent of the net as tax.

    Several are parallel, each on the net; a `compound` one is on the net and the taxes before it. `table` gives rates
    by place, category and date instead of `rate`. `inclusive`: the net so far includes the tax, which is taken out:
    net = R(gross / (1 + rate)), and tax = gross - net; several that follow each other share that by largest remainder.

    `level` says what is rounded: the tax of each "line", of each rate and category of a "document" (EN 16931,
    BR-CO-17; allocated to the lines by largest remainder), or of one "unit", times the quantity.

    `category` (by default the row's `tax_category`) keeps apart what has the same amount: exempt, zero-rated, reverse
    charge. `retained`: the buyer keeps the tax back and pays it himself; it lowers what is payable, not the total.
    """

    taxes: ClassVar[bool] = True
    entries: ClassVar[str | None] = "table"
    alternatives: ClassVar[bool] = True

    kind: Literal["tax"] = "tax"
    rate: NotNegative | None = None
    table: Annotated[tuple[TaxRate, ...], Field(max_length=500), AtLeastOne] | None = None
    inclusive: bool = False
    level: Literal["line", "document", "unit"] = "line"
    category: str | None = None
    exemption_reason: str | None = None
    retained: bool = False
    compound: bool = False
    code: str | None = None

    @model_validator(mode="after")
    def _that_makes_sense(self) -> Tax:
        if (self.rate is None) == (self.table is None):
            raise PydanticCustomError("one_of", "give either rate or table")
        rates = [self.rate] if self.table is None else [entry.rate for entry in self.table]
        if self.category in UNTAXED and any(isinstance(rate, Decimal) and rate for rate in rates):
            raise PydanticCustomError(
                "category", 'category {category} has a rate of 0: write rate = "0"', {"category": self.category}
            )
        if self.exemption_reason is not None and self.category is not None and self.category not in EXEMPT:
            raise PydanticCustomError(
                "exemption_reason", "category {category} is no exemption", {"category": self.category}
            )
        if self.inclusive and (self.retained or self.level == "unit"):
            raise PydanticCustomError("inclusive", "a tax that is included is neither retained nor per unit")
        if self.inclusive and self.level == "document" and self.compound:
            raise PydanticCustomError("inclusive", "taxes of a document that are included are not compound")
        return self

    @property
    def name(self) -> str:
        """Which tax it is."""
        return self.code or self.id or self.kind

    def inputs(self) -> frozenset[str]:
        """What the rate needs."""
        names = set(super().inputs())
        for entry in self.table or ():
            names |= {"place"} if entry.place is not None else set()
            names |= {"tax_category"} if entry.category is not None else set()
            names |= {"date"} if entry.dated else set()
        return frozenset(names | ({"quantity"} if self.level == "unit" else set()))

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The days on which rates change, of each place and category; of what has no dates itself."""
        named = self.inputs()
        table = self.table or ()
        keys = dict.fromkeys((entry.place or _ELSEWHERE, entry.category or _ELSEWHERE) for entry in table)
        for place, category in keys:
            key = {"place": place, "tax_category": category}
            given = {name: value for name, value in key.items() if name in named}
            for number, entry in enumerate(table, 1):
                if not (entry.place in {None, place} and entry.category in {None, category}):
                    continue
                days = [day for day in (entry.valid_from, entry.valid_to) if day is not None]
                for day in days:
                    yield Edge("date", day, number, given)
                if not days and given:
                    name, value = next(iter(given.items()))
                    yield Edge(name, value, number, {other: text for other, text in given.items() if other != name})

    def example(self) -> dict[str, object]:
        """The first entry's place, category and day."""
        found = super().example()
        for entry in (self.table or ())[:1]:
            day = entry.valid_from or (entry.valid_to or dt.date(2026, 1, 2)) - dt.timedelta(days=1)
            known = {"place": entry.place or _ELSEWHERE, "tax_category": entry.category or _ELSEWHERE, "date": day}
            found |= {name: value for name, value in known.items() if name in found}
        return found

    optional_inputs: ClassVar[frozenset[str]] = frozenset({"tax_category"})

    def changes_due(self) -> bool:
        """A retained tax lowers it."""
        return self.retained

    def whole_document(self) -> bool:
        """Where it is per document."""
        return self.level == "document"

    def needs_document(self) -> bool:
        """Where it is per document."""
        return self.level == "document"

    def join(self, following: Step) -> Step | None:
        """Taxes that are included are taken out together."""
        return InclusiveTaxes.of(self).join(following) if self.inclusive else None

    # The reference

    def apply(self, at: Rating) -> None:
        """Tax one item."""
        if self.inclusive:
            InclusiveTaxes.of(self).apply(at)
            return
        rate, base = self.rate_of(at), self.base_of(at)
        tax = TaxLine(self.name, self.category_of(at), rate, base, Decimal(0), self.retained)
        exact: Fraction | Decimal = base * rate.scaleb(-2)
        if self.level == "unit":
            quantity = at.input("quantity")
            unit = at.rounded(Fraction(exact) / Fraction(quantity)) if quantity else Decimal(0)
            at.add_tax(unit * quantity, tax, Wording("tax of one unit, for units", quantity, unit))
            return
        at.add_tax(exact, tax, Wording(f"% {self.name} of", base, rate))

    def apply_document(self, at: DocumentRating) -> None:
        """Tax the lines of a document."""
        if self.level != "document":
            super().apply_document(at)
        elif self.inclusive:
            InclusiveTaxes.of(self).apply_document(at)
        else:
            self._apply_document(at)

    def _apply_document(self, at: DocumentRating) -> None:
        at.total(lambda line: line.net)
        groups: dict[tuple[Decimal, str | None], list[int]] = {}
        for index, group in enumerate(at.each(lambda line: (self.rate_of(line), self.category_of(line)))):
            groups.setdefault(group, []).append(index)
        for (rate, category), members in groups.items():
            bases = [self.base_of(at.lines[index]) for index in members]
            exact = [base * rate.scaleb(-2) for base in bases]
            total = at.first.rounded(sum(exact, Decimal(0)))
            for index, base, share in zip(members, bases, at.spread(exact, total, members), strict=True):
                tax = TaxLine(self.name, category, rate, base, Decimal(0), self.retained)
                wording = Wording(f"% {self.name} of the document, on", base, rate)
                at.lines[index].add_tax(share, tax, wording, rounded=True)

    def rate_of(self, at: Rating) -> Decimal:
        """The rate, percent."""
        if self.table is None:
            rate = at.value("rate", self)
            at.require(rate >= 0, "rate is below 0")
            return rate
        place = at.text("place") if any(entry.place is not None for entry in self.table) else None
        category = at.text("tax_category") if any(entry.category is not None for entry in self.table) else None
        day = at.day("date") if any(entry.dated for entry in self.table) else None
        found = [entry for entry in self.table if entry.matches(place, category, day)]
        if len(found) != 1:
            where = ", ".join(str(part) for part in (place, category, day) if part is not None) or "it"
            raise at.error(f"{'no rate' if not found else f'{len(found)} rates'} of {self.name} for {where}")
        at.hold(found[0].window(at.terms.zone))
        return found[0].rate

    def base_of(self, at: Rating) -> Decimal:
        """What the rate is applied to."""
        return at.net + at.tax if self.compound else at.net

    def category_of(self, at: Rating) -> str | None:
        """The category: the step's, else the row's."""
        return self.category if self.category is not None else at.text("tax_category")

    # The twin

    def apply_expr(self, at: BatchRating) -> None:
        """Tax each row."""
        if self.inclusive:
            InclusiveTaxes.of(self).apply_expr(at)
            return
        rate = self.rate_expr(at)
        base = at.stored(at.sums.net + at.sums.tax) if self.compound else at.sums.net
        category = self.category_expr(at)
        if self.level == "unit":
            quantity = at.input("quantity")
            one = at.chosen(quantity.units == 0, ONE, quantity)
            unit = at.when(quantity.units != 0, at.ratio(base, rate.behind(2), one)).value
            amount = at.product(unit, quantity)
            note = Note("tax of one unit, for units", quantity, unit)
        elif self.level == "document" and at.document is not None:
            at.total(base)
            amount = Amount(self._document_expr(at, rate, base, category))
            note = Note(f"% {self.name} of the document, on", base, rate)
        else:
            amount = at.product(base, rate.behind(2))
            what = f"% {self.name} of the document, on" if self.level == "document" else f"% {self.name} of"
            if self.level == "document":
                amount = Amount(amount.value)
            note = Note(what, base, rate)
        at.add_tax(amount, TaxNote(self.name, category, rate, base, amount.value, self.retained), note)

    def _document_expr(self, at: BatchRating, rate: Scaled, base: Scaled, category: pl.Expr | None) -> Scaled:
        """The document's tax of each rate and category, allocated."""
        document = at.document
        if document is None:
            raise AssertionError("rows have a document here")
        by = [expr for expr in (rate.units, category) if expr is not None and expr.meta.root_names()]
        exact = at.in_rows(at.exact(base, rate.behind(2)))
        at.doubt(exact.units.abs().cast(pl.Float64).sum().over(document.key) >= 5e37)
        summed = at.stored(Scaled(exact.units.sum().over(document.key, *by), exact.scale))
        total = at.rounded(summed).value
        unit = at.unit_grid().times(1)
        # Units of the currency are at.unit of 10**-scale: the share is exact / 10**(places behind) / unit.
        places = exact.scale - total.scale
        numerator = exact.units if places >= 0 else exact.units * integer(10**-places)
        denominator = at.keep(integer(10 ** max(0, places)) * unit)
        shares = document.spread(at, at.keep(numerator), denominator, at.keep(total.units.floordiv(unit)), *by)
        return at.stored(Scaled(shares * unit, total.scale, total.bound))

    def rate_expr(self, at: BatchRating) -> Scaled:
        """The rate, percent."""
        if self.table is None:
            rate = at.value("rate", self)
            at.require(rate.between(0))
            return rate
        named = self.inputs()
        place = at.text("place") if "place" in named else None
        category = at.text("tax_category") if "tax_category" in named else None
        day = at.day("date") if "date" in named else None
        matches = [at.keep(entry.matches_expr(place, category, day)) for entry in self.table]
        at.require(pl.sum_horizontal([match.cast(pl.Int32) for match in matches]) == 1)
        if at.terms.resolves and "date" in named:
            windows = [entry.window(at.terms.zone) for entry in self.table]
            at.hold(*(_chosen(matches, [window[end] for window in windows]) for end in (0, 1)))
        scale = max(max(0, -int(entry.rate.as_tuple().exponent)) for entry in self.table)
        units = [int(entry.rate.scaleb(scale)) for entry in self.table]
        value: pl.Expr = integer(units[-1])
        for match, unit in zip(reversed(matches[:-1]), reversed(units[:-1]), strict=True):
            value = pl.when(match).then(integer(unit)).otherwise(value)
        return at.stored(Scaled(value, scale, max(units)))

    def category_expr(self, at: BatchRating) -> pl.Expr | None:
        """The category: the step's, else the row's."""
        return pl.lit(self.category) if self.category is not None else at.text("tax_category")


def _chosen(matches: Sequence[pl.Expr], moments: Sequence[int | None]) -> pl.Expr:
    """The moment of the entry that matches."""
    chosen = pl.lit(None, dtype=pl.Int64)
    for match, moment in zip(matches, moments, strict=True):
        chosen = pl.when(match).then(pl.lit(moment, dtype=pl.Int64)).otherwise(chosen)
    return chosen


class InclusiveTaxes(Step):
    """Taxes that the net so far includes, taken out together; made of `Tax` steps that follow each other."""

    taxes: ClassVar[bool] = True

    kind: Literal["tax"] = "tax"
    steps: tuple[Tax, ...]

    @classmethod
    def of(cls, tax: Tax) -> InclusiveTaxes:
        """Just one."""
        return cls(id=tax.id, rounding=tax.rounding, steps=(tax,))

    def join(self, following: Step) -> Step | None:
        """The next one, too, if it is included."""
        if not isinstance(following, Tax) or not following.inclusive:
            return None
        if "document" in {following.level, self.steps[0].level}:
            return None
        return InclusiveTaxes(id=self.id, rounding=self.rounding, steps=(*self.steps, following))

    def apply(self, at: Rating) -> None:
        """Take them out of one item's net."""
        shares = self._shares(at)
        factor = 1 + sum((share for share, _ in shares), Decimal(0))
        gross = at.net
        taxes = [
            (
                TaxLine(tax.name, tax.category_of(at), rate, Decimal(0), share),
                Wording(f"% {tax.name} included in", gross, rate),
            )
            for tax, (share, rate) in zip(self.steps, shares, strict=True)
        ]
        at.include_taxes(Fraction(gross) / Fraction(factor), lambda amount: Fraction(amount) / Fraction(factor), taxes)

    def apply_document(self, at: DocumentRating) -> None:
        """Take them out of the nets of a document's lines."""
        tax = self.steps[0]
        if tax.level != "document":
            super().apply_document(at)
            return
        at.total(lambda line: line.net)
        groups: dict[tuple[Decimal, str | None], list[int]] = {}
        for index, group in enumerate(at.each(lambda line: (tax.rate_of(line), tax.category_of(line)))):
            groups.setdefault(group, []).append(index)
        for (rate, category), members in groups.items():
            factor = 1 + Fraction(rate) / 100
            exact = [Fraction(at.lines[index].net) / factor for index in members]
            total = at.first.rounded(sum(exact, Fraction(0)))
            nets = dict(zip(members, at.spread(exact, total, members), strict=True))

            def include(
                index: int,
                nets: dict[int, Decimal] = nets,
                factor: Fraction = factor,
                rate: Decimal = rate,
                category: str | None = category,
            ) -> None:
                line = at.lines[index]
                wording = Wording(f"% {tax.name} of the document included in", line.net, rate)
                made = TaxLine(tax.name, category, rate, Decimal(0), rate)
                line.include_taxes(
                    nets[index], lambda amount: Fraction(amount) / factor, [(made, wording)], rounded=True
                )

            each_line(((index, index) for index in members), include)

    def apply_expr(self, at: BatchRating) -> None:
        """Take them out of each row's net."""
        rates = [tax.rate_expr(at) for tax in self.steps]
        shares: list[Scaled] = []
        for tax, rate in zip(self.steps, rates, strict=True):
            share = rate.behind(2)
            if tax.compound and shares:
                share = at.exact(share, self._sum(at, [ONE, *shares]))
            shares.append(share)
        factor = self._sum(at, [ONE, *shares])
        gross = at.sums.net
        tax = self.steps[0]
        if tax.level == "document" and at.document is not None:
            at.total(gross)
            gross = at.in_rows(gross)
            net = self._document_expr(at, gross, factor, rates[0], tax.category_expr(at))
            what = "of the document included in"
        else:
            net = at.quotient(gross, factor).value
            what = "of the document included in" if tax.level == "document" else "included in"
        at.include_taxes(
            net,
            factor,
            [
                (tax.name, tax.category_expr(at), rate, share, Note(f"% {tax.name} {what}", gross, rate, counts=False))
                for tax, rate, share in zip(self.steps, rates, shares, strict=True)
            ],
        )

    def _document_expr(
        self, at: BatchRating, gross: Scaled, factor: Scaled, rate: Scaled, category: pl.Expr | None
    ) -> Scaled:
        document = at.document
        if document is None:
            raise AssertionError("rows have a document here")
        by = [expr for expr in (rate.units, category) if expr is not None and expr.meta.root_names()]
        summed = at.stored(Scaled(gross.units.sum().over(document.key, *by), gross.scale))
        total = at.quotient(summed, factor).value
        unit = at.unit_grid().times(1)
        # gross / factor in units of the currency: both are integers, of the same scale but for the factor's.
        ahead = factor.scale + total.scale - gross.scale
        numerator = at.exact(gross, Scaled(integer(10 ** max(0, ahead)), 0, 10 ** max(0, ahead)))
        denominator = at.keep(factor.units * unit * integer(10 ** max(0, -ahead)))
        shares = document.spread(at, numerator.units, denominator, at.keep(total.units.floordiv(unit)), *by)
        return at.stored(Scaled(shares * unit, total.scale, total.bound))

    def _shares(self, at: Rating) -> Sequence[tuple[Decimal, Decimal]]:
        """Each tax as a part of the net, and its rate."""
        shares: list[tuple[Decimal, Decimal]] = []
        for tax in self.steps:
            rate = tax.rate_of(at)
            base = 1 + sum((share for share, _ in shares), Decimal(0)) if tax.compound else Decimal(1)
            shares.append((base * rate.scaleb(-2), rate))
        return shares

    @staticmethod
    def _sum(at: BatchRating, values: Sequence[Scaled]) -> Scaled:
        total = values[0]
        for value in values[1:]:
            total = at.plus(total, value)
        return total
