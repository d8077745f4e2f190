"""The receipt: how a price came about, made by the computation itself."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from decimal import Decimal

from assay.money import EXACT, plain


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a receipt.

    Attributes:
        id: The step's id, such as "percent_off/2"; a step with several lines adds to it.
        step: The step's kind.
        what: In words: "10 x 2.5", "7.5 % off 22.00".
        quantity: Units charged for, or None.
        rate: Price, percentage or exchange rate that was applied, or None.
        amount: In `currency`, rounded; a discount is negative.
        currency: ISO 4217 code.
        residue: What rounding added: amount - exact. Of a division the exact value is cut at 20 places.
        adds_to_total: Whether the amount is a part of the total: those lines add up to it.
    """

    id: str
    step: str
    what: str
    quantity: Decimal | None
    rate: Decimal | None
    amount: Decimal
    currency: str
    residue: Decimal
    adds_to_total: bool = True

    @property
    def exact(self) -> Decimal:
        """The amount before it was rounded."""
        return EXACT.subtract(self.amount, self.residue)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one item costs, and why.

    Attributes:
        currency: ISO 4217 code of all amounts (of lines before a conversion: their own).
        base: Sum of the charges.
        discount: What was taken off; net = base - discount.
        net: Before tax.
        tax: On the net.
        total: To pay: net + tax.
        fx_rate: The exchange rate as quoted, where the book converts.
        lines: One or more a step, in the order of the book.
        rounding: The book's rounding.
        book: The book's name, or None.
    """

    currency: str
    base: Decimal
    discount: Decimal
    net: Decimal
    tax: Decimal
    total: Decimal
    fx_rate: Decimal | None
    lines: tuple[Line, ...]
    rounding: str
    book: str | None = field(default=None)

    @property
    def gross(self) -> Decimal:
        """The total, by the name that the column has."""
        return self.total

    def explain(self) -> str:
        """The receipt as text, one line a step; what was rounded shows its exact value."""
        rows = [(line.what, line.amount, _note(line, self.currency)) for line in self.lines]
        rows += [("net", self.net, ""), ("tax", self.tax, ""), ("total", self.total, "")]
        width = max(len(what) for what, _, _ in rows)
        digits = max(len(f"{amount:f}") for _, amount, _ in rows)
        heading = f"{'book ' + self.book + '  ' if self.book else ''}{self.currency}, {self.rounding}"
        body = (f"  {what:<{width}}  {amount:>{digits}f}  {note}".rstrip() for what, amount, note in rows)
        return "\n".join((heading, *body))

    def __repr__(self) -> str:
        return f"Receipt(total={self.total:f} {self.currency}, net={self.net:f}, tax={self.tax:f})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(line.id)}</td><td>{html.escape(line.what)}</td>"
            f'<td style="text-align:right">{line.amount:f}</td>'
            f"<td>{html.escape(_note(line, self.currency))}</td></tr>"
            for line in self.lines
        )
        sums = "".join(
            f'<tr><th></th><th>{name}</th><th style="text-align:right">{amount:f}</th><th></th></tr>'
            for name, amount in (("net", self.net), ("tax", self.tax), ("total", self.total))
        )
        heading = html.escape(f"{self.book or 'receipt'}, {self.currency}")
        return f"<table><caption>{heading}</caption><tbody>{rows}{sums}</tbody></table>"


def _note(line: Line, currency: str) -> str:
    notes = [line.currency] if line.currency != currency else []
    if line.residue:
        notes.append(f"rounded from {plain(line.exact)}")
    return ", ".join(notes)
