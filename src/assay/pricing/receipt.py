"""The receipt: how a price came about, made by the computation itself."""

from __future__ import annotations

import datetime as dt
import html
from dataclasses import dataclass
from decimal import Decimal

from assay.money import EXACT, minor_units, plain
from assay.pricing.registry import strategy, strategy_kinds

RESIDUE_PLACES = 18
"""Decimal places of a residue; one that needs more (of a division, mostly) is rounded half-even to as many."""

DIVIDED = ", divided by the rate"
"""How the words of a conversion end where the rate divides; else it multiplies."""

AT_PERCENT = ", at % off"
"""How the words of units end of which the rate is a percentage that is taken off."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a receipt.

    Attributes:
        id: The step's id, such as "percent_off/2"; a rule inside a step adds its own ("stack.percent_off").
        step: The kind of the step, or of the rule inside it.
        what: In words, the same for each item: "units", "% off", "% VAT of".
        quantity: What the rate was applied to: units, or an amount of money; None where there is none.
        rate: Price, percentage or exchange rate that was applied, or None.
        amount: In `currency`, rounded; a discount is negative.
        currency: ISO 4217 code.
        residue: What rounding added: amount - exact, to `RESIDUE_PLACES` places.
        adds_to_total: Whether the amount is a part of the total: those lines add up to it.
        tier: Number of the tier, from 1, or None.
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
    tier: int | None = None

    @property
    def exact(self) -> Decimal:
        """The amount before it was rounded."""
        return EXACT.subtract(self.amount, self.residue)

    @property
    def text(self) -> str:
        """The line in words: "tier 2: 10 x 2.5", "7.5 % off 22.00", "up to the minimum of 5.00"."""
        what = self.what
        rate = None if self.rate is None else plain(self.rate)
        tier = "" if self.tier is None else f"tier {self.tier}: "
        if what.startswith("%"):
            of = None if self.quantity is None else format(self.quantity, "f")
            return tier + " ".join(part for part in (rate, what, of) if part is not None)
        if self.step == "convert":
            net = "" if self.quantity is None else format(self.quantity, "f")
            return f"{net} {'/' if what.endswith(DIVIDED) else 'x'} {rate} {what.partition(',')[0]}"
        quantity = None if self.quantity is None else plain(self.quantity)
        if what.endswith(AT_PERCENT):
            return f"{quantity} {what.removesuffix(AT_PERCENT)}, {rate} % off"
        if what.endswith("flat fee"):
            return f"{tier}{what} {rate}"
        if what.endswith((" of", "price")) or what == "off":
            return tier + self._of_money()
        numbers = " x ".join(part for part in (quantity, rate) if part is not None)
        if what == "units":
            return tier + numbers
        return f"{tier}{what}: {numbers}" if numbers else tier + what

    def _of_money(self) -> str:
        """Words that amounts of money follow, or stand among."""
        quantity, rate = (None if value is None else self._money(value) for value in (self.quantity, self.rate))
        if self.what == "off":
            return f"{rate} off"
        if quantity is not None and rate is not None:
            share, rest = self.what.split(" ", 1)
            return f"{share} of {quantity} {rest} {rate}"
        return f"{self.what} {rate if quantity is None else quantity}"

    def _money(self, value: Decimal) -> str:
        """With the digits of the currency, at least."""
        exponent = value.as_tuple().exponent
        digits = minor_units(self.currency)
        short = isinstance(exponent, int) and -exponent <= digits
        return format(value.quantize(Decimal(1).scaleb(-digits), context=EXACT), "f") if short else plain(value)


@dataclass(frozen=True, slots=True)
class TaxLine:
    """One tax on an item, or one group of a document's taxes.

    Attributes:
        code: Which tax: "VAT", or the id of its step.
        category: Such as S, Z, E or AE of EN 16931 (UNCL 5305), or None.
        rate: Percent.
        base: What it is a percentage of.
        amount: Rounded; positive also where it is retained.
        retained: Whether the buyer keeps it back and pays it himself: it lowers what is payable, not the total.
    """

    code: str
    category: str | None
    rate: Decimal
    base: Decimal
    amount: Decimal
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one item costs, and why.

    Attributes:
        currency: ISO 4217 code of all amounts (of lines before a conversion: their own).
        base: Sum of the charges.
        discount: What was taken off; net = base - discount.
        net: Before tax.
        tax: On the net, retained taxes not counted.
        total: Net + tax.
        retained: Taxes that the buyer keeps back.
        prepaid: What credits have paid.
        rounding: What rounding the amount due (cash) has added.
        payable: total - retained - prepaid + rounding.
        taxes: Each tax by itself.
        rule_id: Id of the rule that made the price: of the last step that is a charge model; None where there is none.
        fx_rate: The exchange rate as quoted, where the book converts.
        fx_date: The day of that rate, where rates are dated.
        price_id: What names the row of the price list that applied, where the book resolves; of several steps their
            rows, with ", " between.
        price_from: Since when this price is valid: what the windows of all rows and dated rates that contributed have
            in common; None where it is open.
        price_to: Before when it is.
        lines: One or more a step, in the order of the book.
        rounding_mode: The book's rounding.
        book: The book's name, or None.
        fingerprint: Of the book.
    """

    currency: str
    base: Decimal
    discount: Decimal
    net: Decimal
    tax: Decimal
    total: Decimal
    retained: Decimal
    prepaid: Decimal
    rounding: Decimal
    payable: Decimal
    taxes: tuple[TaxLine, ...]
    rule_id: str | None
    fx_rate: Decimal | None
    fx_date: dt.date | None
    lines: tuple[Line, ...]
    rounding_mode: str
    book: str | None
    fingerprint: str
    price_id: str | None = None
    price_from: dt.datetime | None = None
    price_to: dt.datetime | None = None

    @property
    def gross(self) -> Decimal:
        """The total, by the name that the column has."""
        return self.total

    def explain(self) -> str:
        """The receipt as text, one line a step; what was rounded shows its exact value.

        Lines of steps that have changed nothing are left out; `lines` has them.
        """
        rows = [(line.text, line.amount, _note(line, self.currency)) for line in self._telling()]
        rows += [(name, amount, "") for name, amount in self._sums()]
        width = max(len(what) for what, _, _ in rows)
        digits = max(len(f"{amount:f}") for _, amount, _ in rows)
        heading = f"{'book ' + self.book + '  ' if self.book else ''}{self.currency}, {self.rounding_mode}"
        body = (f"  {what:<{width}}  {amount:>{digits}f}  {note}".rstrip() for what, amount, note in rows)
        return "\n".join((heading, *body))

    def _telling(self) -> list[Line]:
        """The lines of steps that have changed something, or are a price or a tax."""
        found = []
        known = strategy_kinds()
        before: Line | None = None
        for line in self.lines:
            same = line.step == "convert" and (before is None or before.currency == line.currency)
            nothing = not line.amount and not line.residue and (line.rate is not None or not line.quantity)
            if not same and not (nothing and line.step in known and not _prices_or_taxes(line.step)):
                found.append(line)
            before = line
        return found

    def _sums(self) -> list[tuple[str, Decimal]]:
        """The sums; those that concern only what is to pay where they say something else than the total."""
        sums = [("net", self.net), ("tax", self.tax), ("total", self.total)]
        due = [
            ("retained tax", -self.retained),
            ("prepaid", -self.prepaid),
            ("rounding", self.rounding),
            ("to pay", self.payable),
        ]
        if self.payable == self.total:
            return sums
        return sums + [(name, amount) for name, amount in due if amount or name == "to pay"]

    def __repr__(self) -> str:
        return f"Receipt(total={self.total:f} {self.currency}, net={self.net:f}, tax={self.tax:f})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(line.id)}</td><td>{html.escape(line.text)}</td>"
            f'<td style="text-align:right">{line.amount:f}</td>'
            f"<td>{html.escape(_note(line, self.currency))}</td></tr>"
            for line in self._telling()
        )
        sums = "".join(
            f'<tr><th></th><th>{name}</th><th style="text-align:right">{amount:f}</th><th></th></tr>'
            for name, amount in self._sums()
        )
        heading = html.escape(f"{self.book or 'receipt'}, {self.currency}")
        return f"<table><caption>{heading}</caption><tbody>{rows}{sums}</tbody></table>"


@dataclass(frozen=True, slots=True)
class DocumentReceipt:
    """What a document costs: a receipt a line, and its totals (EN 16931, BT-106 to BT-115).

    Attributes:
        currency: ISO 4217 code of all amounts.
        receipts: One a line, in order; what concerns the whole document is allocated to them.
        sum_of_lines: BT-106: net of the lines, before what concerns the whole document.
        allowances: BT-107: taken off the document; not negative for an invoice.
        charges: BT-108: added to the document.
        tax_exclusive: BT-109: sum_of_lines - allowances + charges.
        tax: BT-110, retained taxes not counted.
        tax_inclusive: BT-112: tax_exclusive + tax.
        retained: Taxes that the buyer keeps back.
        prepaid: BT-113.
        rounding: BT-114.
        payable: BT-115: tax_inclusive - retained - prepaid + rounding.
        taxes: One a code, category and rate, in the order in which they came.
    """

    currency: str
    receipts: tuple[Receipt, ...]
    sum_of_lines: Decimal
    allowances: Decimal
    charges: Decimal
    tax_exclusive: Decimal
    tax: Decimal
    tax_inclusive: Decimal
    retained: Decimal
    prepaid: Decimal
    rounding: Decimal
    payable: Decimal
    taxes: tuple[TaxLine, ...]

    @property
    def net(self) -> Decimal:
        """Before tax."""
        return self.tax_exclusive

    @property
    def total(self) -> Decimal:
        """With tax."""
        return self.tax_inclusive

    @property
    def gross(self) -> Decimal:
        """With tax, by the name that the column has."""
        return self.tax_inclusive

    def explain(self) -> str:
        """The receipts of all lines as text, and what they come to."""
        receipts = (f"line {number}  {one.explain()}" for number, one in enumerate(self.receipts, 1))
        sums = [
            ("sum of lines", self.sum_of_lines),
            ("allowances", -self.allowances),
            ("charges", self.charges),
            ("net", self.net),
            *(
                (f"{plain(tax.rate)} % {tax.code} of {tax.base:f}", tax.amount)
                for tax in self.taxes
                if not tax.retained
            ),
            ("total", self.total),
            ("retained tax", -self.retained),
            ("prepaid", -self.prepaid),
            ("rounding", self.rounding),
            ("to pay", self.payable),
        ]
        always = ("sum of lines", "net", "total", "to pay")
        shown = [(name, amount) for name, amount in sums if amount or name in always]
        width = max(len(name) for name, _ in shown)
        digits = max(len(f"{amount:f}") for _, amount in shown)
        body = (f"  {name:<{width}}  {amount:>{digits}f}" for name, amount in shown)
        return "\n".join((*receipts, f"document  {self.currency}", *body))

    def __repr__(self) -> str:
        return f"DocumentReceipt(payable={self.payable:f} {self.currency}, {len(self.receipts)} lines)"


def _prices_or_taxes(kind: str) -> bool:
    found = strategy(kind)
    return found.prices or found.taxes or found.resolves


def _note(line: Line, currency: str) -> str:
    notes = [line.currency] if line.currency != currency else []
    if line.residue:
        notes.append(f"rounded from {plain(line.exact)}")
    return ", ".join(notes)
