"""The reference: one item is priced, step by step, in exact decimals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from assay.errors import ConfigurationError, PricingError
from assay.money import exact_decimal, minor_units, round_to
from assay.pricing.receipt import Line, Receipt
from assay.pricing.terms import TOO_FINE, TOO_LARGE, UNROUNDED_PLACES, Terms
from assay.pricing.values import Column

if TYPE_CHECKING:
    from assay.pricing.step import Step

_RESIDUE_PLACES = 20


@dataclass(frozen=True, slots=True)
class Wording:
    """What a step has to say about its amount.

    Attributes:
        what: In words.
        quantity: Units charged for.
        rate: Price, percentage or exchange rate that was applied.
    """

    what: str
    quantity: Decimal | None = None
    rate: Decimal | None = None


class Rating:
    """One item while it is being priced. Steps read their values from it and add to it.

    Its methods have the names of `BatchRating`, which does the same for columns. Amounts that steps hand over are
    exact; they are rounded here, once, to the digits of the currency that the item is in at that point.
    """

    def __init__(self, terms: Terms, inputs: Mapping[str, object], currency: str) -> None:
        self.terms = terms
        self.currency = currency
        self.base = self.discount = self.net = self.tax = Decimal(0)
        self.fx_rate: Decimal | None = None
        self._inputs = inputs
        self._lines: list[Line] = []
        self._step: Step
        self._limit = Decimal(10) ** terms.whole_digits

    def begin(self, step: Step) -> None:
        """Name the step under way: its rounding counts, and errors name it."""
        self._step = step

    # What steps read

    def input(self, name: str) -> Decimal:
        """The input of that name.

        Raises:
            PricingError: It is None.
            ConfigurationError: It is a float or no number.
        """
        value = self._inputs[name]
        if value is None:
            raise self.error(f"{name} is null")
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**38:
            raise self.error(f"{name} has more than 38 digits")
        try:
            return exact_decimal(value)
        except ConfigurationError as error:
            raise type(error)(error.message, where=f"input {name}") from None

    def value(self, field: str) -> Decimal:
        """A field of the step: what the book says, or the input that it names."""
        value = getattr(self._step, field)
        return self.input(value.column) if isinstance(value, Column) else value

    def money(self, field: str) -> Decimal:
        """A field that is an amount of money; one that the book says is in the book's currency."""
        if not isinstance(getattr(self._step, field), Column):
            self.require(self.currency == self.terms.currency, literal_elsewhere(field, self.terms, self.currency))
        return self.value(field)

    def require(self, holds: bool, reason: str) -> None:
        """Raise PricingError unless the condition holds."""
        if not holds:
            raise self.error(reason)

    # What steps do

    def charge(self, exact: Decimal | Fraction, wording: Wording) -> None:
        """Add a charge, rounded."""
        amount = self._rounded(exact)
        self.base += amount
        self.net += amount
        self._record(wording, amount, exact)

    def reduce(self, exact: Decimal | Fraction, wording: Wording) -> None:
        """Take a discount off, rounded; what remains is the net."""
        amount = self._rounded(exact)
        self.discount += amount
        self.net -= amount
        self._record(wording, -amount, -exact)

    def add_tax(self, exact: Decimal | Fraction, wording: Wording) -> None:
        """Add a tax, rounded."""
        amount = self._rounded(exact)
        self.tax += amount
        self._record(wording, amount, exact)

    def convert(
        self, to: str, rate: Decimal, converted: Callable[[Decimal], Decimal | Fraction], wording: Wording
    ) -> None:
        """Go over to another currency; the discount takes the difference of base and net."""
        self.currency, self.fx_rate = to, rate
        exact, exact_tax = converted(self.net), converted(self.tax)
        self.net = self._rounded(exact)
        self.base = self._rounded(converted(self.base))
        self.discount = self.base - self.net
        self.tax = self._rounded(exact_tax)
        self._lines = [replace(line, adds_to_total=False) for line in self._lines]
        self._record(wording, self.net + self.tax, exact + exact_tax)  # type: ignore[operator]  # both of one type

    def receipt(self, book: str | None) -> Receipt:
        """What came of it."""
        quantum = Decimal(1).scaleb(-self.terms.places(self.currency))
        base, discount, net, tax = (
            amount.quantize(quantum) for amount in (self.base, self.discount, self.net, self.tax)
        )
        lines = tuple(self._lines)
        rounding = self.terms.rounding
        return Receipt(self.currency, base, discount, net, tax, net + tax, self.fx_rate, lines, rounding, book)

    def error(self, reason: str) -> PricingError:
        """The error that this item cannot be priced, and which step says so."""
        return PricingError(f"{self._step.id}: {reason}")

    def _rounded(self, exact: Decimal | Fraction) -> Decimal:
        rounding = self._step.rounding or self.terms.rounding
        if rounding == "none":
            amount = round_to(exact, UNROUNDED_PLACES, "half_even")
        else:
            amount = round_to(exact, minor_units(self.currency), rounding)
        self.require(abs(amount) < self._limit, TOO_LARGE)
        if rounding == "none":
            self.require(amount == exact, TOO_FINE)
        return amount

    def _record(self, wording: Wording, amount: Decimal, exact: Decimal | Fraction) -> None:
        if isinstance(exact, Fraction):
            exact = round_to(exact, _RESIDUE_PLACES, "half_even")
        residue = amount - exact
        step = self._step
        self._lines.append(
            Line(
                id=step.id or step.kind,
                step=step.kind,
                what=wording.what,
                quantity=wording.quantity,
                rate=wording.rate,
                amount=amount,
                currency=self.currency,
                residue=residue,
            )
        )


def literal_elsewhere(field: str, terms: Terms, currency: str) -> str:
    """Why an amount that the book says cannot be used for an item in another currency."""
    return f"{field} is in {terms.currency}, the row in {currency}"
