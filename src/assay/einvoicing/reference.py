"""The sums of one document, computed again in plain decimals: what the checks of columns are held against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from assay.einvoicing.model import AllowanceCharge, Document, Subtotal
from assay.einvoicing.rules import (
    DIGITS,
    EXTENSION,
    FORGIVEN,
    LETTERS,
    OWN_DIGITS,
    OWN_LINE,
    PER_RATE,
    ROUNDING,
    Verdict,
    digits_of,
    taxable_rule,
)
from assay.money import EXACT, round_to

ZERO = Decimal(0)
HALF = Decimal("0.5")


@dataclass(frozen=True)
class Check:
    """One figure of a document, stated and computed.

    Attributes:
        rule: `BR-CO-10`, `BR-S-08`, ...; `LINE`, `TAXABLE`, `DIGITS` are our own.
        where: The line's id, or category and rate; empty for what a document has once.
        stated: None where the document leaves it out.
        computed: None where there is nothing to compute, or nothing to compute it from.
        exact: Our verdict.
        official: The norm's own test; None where it has none.
    """

    rule: str
    where: str
    stated: Decimal | None
    computed: Decimal | None
    exact: Verdict
    official: Verdict | None

    @property
    def difference(self) -> Decimal | None:
        """Stated less computed."""
        if self.stated is None or self.computed is None:
            return None
        return EXACT.subtract(self.stated, self.computed)


@dataclass(frozen=True)
class _Part:
    """What a category's taxable amount is made of."""

    category: str
    percent: Decimal
    amount: Decimal
    is_line: bool


def is_cii(document: Document) -> bool:
    """Whether it is in CII; else in UBL."""
    return document.cii_type is not None


def check(document: Document) -> list[Check]:
    """Every comparison of a document, in its order."""
    return [*_lines(document), *_totals(document), *_breakdown(document), *_payable(document), *_digits(document)]


def _lines(document: Document) -> Iterator[Check]:
    digits = digits_of(document.currency)
    for line in document.lines:
        where = f"line {line.id}"
        yield _present("BR-CO-04", where, line.category is not None)
        if line.quantity is not None and line.price is not None:
            # Multiply first, divide, and round once: a price for so many need not be a decimal for one.
            amount = Fraction(line.quantity) * Fraction(line.price) / Fraction(line.base_quantity or 1)
            computed = round_to(amount, digits, ROUNDING)
            for item in line.allowances_charges:
                computed = EXACT.add(computed, _signed(item))
            yield _check(OWN_LINE, where, line.net, computed, official=None)


def _totals(document: Document) -> Iterator[Check]:
    allowances = [item for item in document.allowances_charges if not item.is_charge]
    charges = [item for item in document.allowances_charges if item.is_charge]
    for kind, rule, items in (("allowance", "BR-32", allowances), ("charge", "BR-37", charges)):
        for number, item in enumerate(items, 1):
            yield _present(rule, f"{kind} {number}", item.category is not None)
    lines = _sum(line.net for line in document.lines)
    yield _equal("BR-CO-10", "", document.lines_total, lines)
    for rule, stated, items in (
        ("BR-CO-11", document.allowances_total, allowances),
        ("BR-CO-12", document.charges_total, charges),
    ):
        computed = _sum(item.amount for item in items)
        # What is left out is nothing; officially only where there is nothing to leave out.
        official = stated == computed if stated is not None else not items
        yield Check(rule, "", stated, computed, _verdict((stated or ZERO) == computed), _verdict(official))
    exclusive = None
    if document.lines_total is not None:
        exclusive = EXACT.subtract(document.lines_total, document.allowances_total or ZERO)
        exclusive = EXACT.add(exclusive, document.charges_total or ZERO)
    yield _equal("BR-CO-13", "", document.tax_exclusive, exclusive)


def _breakdown(document: Document) -> Iterator[Check]:
    parts = _parts(document)
    own = own_subtotals(document)
    for number, subtotal in enumerate(own, 1):
        category = subtotal.category
        where = f"breakdown {number}" if category is None else _place(category, subtotal.percent)
        yield _present("BR-47", where, category is not None)
        yield _present("BR-48", where, subtotal.percent is not None or category == "O")
        if category is not None:
            yield _taxable(document, subtotal, category, where, parts)
        tax = None if subtotal.taxable is None else _tax(subtotal.taxable, subtotal.percent, document.currency)
        official = _verdict(_is_tax_official(subtotal, inclusive=is_cii(document)))
        yield _check("BR-CO-17", where, subtotal.tax_amount, tax, official=official)
        if category in LETTERS:
            yield _tax_of_category(document, subtotal, category, where, tax)
    yield from _missing(document, parts, own)


def own_subtotals(document: Document) -> list[Subtotal]:
    """The breakdown in the document's own currency."""
    return [one for one in document.breakdown if one.tax_currency in (None, document.currency)]


def _taxable(document: Document, subtotal: Subtotal, category: str, where: str, parts: list[_Part]) -> Check:
    by_rate = category in PER_RATE or category not in LETTERS
    percent = subtotal.percent or ZERO
    same = [part for part in parts if part.category == category and (not by_rate or part.percent == percent)]
    stated, computed = subtotal.taxable, _sum(part.amount for part in same)
    equal = stated is not None and stated == computed
    near = stated is not None and EXACT.subtract(stated, computed).copy_abs() < FORGIVEN
    official: bool | None
    if category not in LETTERS:
        official = None
    elif category in PER_RATE and subtotal.percent is None:
        official = True
    elif is_cii(document):
        official = equal if category in PER_RATE or category == "O" else near
    elif category == "S":
        official = near and bool(same)
    else:
        official = (near if category in PER_RATE else equal) and bool(document.lines)
    verdict = None if official is None else _verdict(official)
    return Check(taxable_rule(category), where, stated, computed, _verdict(equal), verdict)


def _tax_of_category(document: Document, subtotal: Subtotal, category: str, where: str, tax: Decimal | None) -> Check:
    rule = f"BR-{LETTERS[category]}-09"
    if category not in PER_RATE:
        return _equal(rule, where, subtotal.tax_amount, ZERO)
    official = True
    if category == "S" or not is_cii(document):
        official = subtotal.percent is not None and _is_tax_near(subtotal, subtotal.percent, inclusive=False)
    return _check(rule, where, subtotal.tax_amount, tax, official=_verdict(official))


def _is_tax_official(subtotal: Subtotal, *, inclusive: bool) -> bool:
    percent = subtotal.percent
    if percent is None or -HALF <= percent < HALF:
        # The official test rounds both to whole numbers, half upwards, and wants 0.
        return subtotal.tax_amount is not None and -HALF <= subtotal.tax_amount < HALF
    return _is_tax_near(subtotal, percent, inclusive=inclusive)


def _is_tax_near(subtotal: Subtotal, percent: Decimal, *, inclusive: bool) -> bool:
    if subtotal.tax_amount is None or subtotal.taxable is None:
        return False
    # Signs are not looked at, and digits are two, whatever the currency.
    expected = _rounded_tax(subtotal.taxable.copy_abs(), percent, DIGITS)
    off = EXACT.subtract(subtotal.tax_amount.copy_abs(), expected).copy_abs()
    return off <= FORGIVEN if inclusive else off < FORGIVEN


def _missing(document: Document, parts: list[_Part], own: list[Subtotal]) -> Iterator[Check]:
    """That each category, and each rate of those that have several, has its breakdown."""
    stated = [one for one in own if one.category is not None]
    for category in sorted({part.category for part in parts} | {str(one.category) for one in stated}):
        theirs = [one for one in stated if one.category == category]
        of_lines = sum(part.category == category and part.is_line for part in parts)
        of_others = sum(part.category == category and not part.is_line for part in parts)
        if category in LETTERS:
            exact = _is_broken_down(category, of_lines + of_others, len(theirs))
            official = exact
            if is_cii(document):
                official = _is_broken_down_in_cii(category, of_lines, of_others, len(theirs))
            taxable = _sum(one.taxable or ZERO for one in theirs) if theirs else None
            amount = _sum(part.amount for part in parts if part.category == category)
            computed = amount if of_lines + of_others else None
            yield Check(f"BR-{LETTERS[category]}-01", category, taxable, computed, _verdict(exact), _verdict(official))
        if (category in PER_RATE and theirs) or category not in LETTERS:
            rates = {part.percent for part in parts if part.category == category}
            for percent in sorted(rates - {one.percent or ZERO for one in theirs}):
                amount = _sum(part.amount for part in parts if (part.category, part.percent) == (category, percent))
                official_rate: Verdict | None = "success" if category in LETTERS else None
                yield Check(taxable_rule(category), _place(category, percent), None, amount, "error", official_rate)


def _is_broken_down(category: str, parts: int, subtotals: int) -> bool:
    if category in PER_RATE:
        return (parts > 0) == (subtotals > 0)
    return subtotals == 1 or parts == subtotals == 0


def _is_broken_down_in_cii(category: str, of_lines: int, of_others: int, subtotals: int) -> bool:
    if category in PER_RATE:
        # As it is written there: two lines of a category do without any breakdown.
        return all(not count or count + subtotals >= 2 for count in (of_lines, of_others))
    if category == "O" and not subtotals:
        return True
    parts = of_lines + of_others
    return (subtotals == 1 and parts > 0) or subtotals == parts == 0


def _payable(document: Document) -> Iterator[Check]:
    own = own_subtotals(document)
    taxes = own_taxes(document)
    for tax in taxes:
        if own or is_cii(document):
            yield _equal("BR-CO-14", "", tax, _sum(one.tax_amount or ZERO for one in own))
    if document.accounting_currency is not None:
        booked = accounting_tax(document)
        official = booked is not None and not (is_cii(document) and document.accounting_currency == document.currency)
        yield Check("BR-53", "", booked, None, _verdict(booked is not None), _verdict(official))
    exclusive, inclusive = document.tax_exclusive, document.tax_inclusive
    computed = None
    # Two totals in the document's currency would leave open which one counts.
    if exclusive is not None and len(taxes) == 1:
        computed = EXACT.add(exclusive, taxes[0])
    elif is_cii(document) and not taxes:
        computed = exclusive
    equal = inclusive is not None and inclusive == computed
    # The official test of CII takes any document that has no tax at all in its total.
    lenient = is_cii(document) and inclusive is not None and inclusive == exclusive
    yield Check("BR-CO-15", "", inclusive, computed, _verdict(equal), _verdict(equal or lenient))
    due, rule = None, "BR-CO-16"
    if inclusive is not None:
        due = EXACT.add(EXACT.subtract(inclusive, document.prepaid or ZERO), document.rounding or ZERO)
    if EXTENSION in (document.specification or ""):
        rule = "BR-DEX-09"
        due = None if due is None else EXACT.add(due, _sum(document.third_party_payments))
    yield _equal(rule, "", document.payable, due)


def own_taxes(document: Document) -> list[Decimal]:
    """The document's VAT, once for each time that it is stated in its own currency."""
    return [one.tax for one in document.tax_amounts if one.tax_currency in (None, document.currency)]


def accounting_tax(document: Document) -> Decimal | None:
    """The document's VAT in the currency of the accounts (BT-111)."""
    found = (one.tax for one in document.tax_amounts if one.tax_currency == document.accounting_currency)
    return next(found, None) if document.accounting_currency is not None else None


def _digits(document: Document) -> Iterator[Check]:
    """Amounts with cents in a currency that has none."""
    digits = digits_of(document.currency)
    if digits:
        return
    amounts = [(f"line {line.id}", line.net) for line in document.lines]
    amounts += [(name, amount) for name in TOTALS if (amount := getattr(document, name)) is not None]
    amounts += [("tax", tax) for tax in own_taxes(document)]
    for where, amount in amounts:
        rounded = round_to(amount, digits, ROUNDING)
        if rounded != amount:
            yield _check(OWN_DIGITS, where, amount, rounded, official=None)


#: The totals of a document, in its order.
TOTALS = (
    "lines_total",
    "allowances_total",
    "charges_total",
    "tax_exclusive",
    "tax_inclusive",
    "prepaid",
    "rounding",
    "payable",
)


def _parts(document: Document) -> list[_Part]:
    made = [
        _Part(line.category, line.percent or ZERO, line.net, is_line=True)
        for line in document.lines
        if line.category is not None
    ]
    made += [
        _Part(item.category, item.percent or ZERO, _signed(item), is_line=False)
        for item in document.allowances_charges
        if item.category is not None
    ]
    return made


def _check(
    rule: str, where: str, stated: Decimal | None, computed: Decimal | None, *, official: Verdict | None
) -> Check:
    exact = stated is not None and stated == computed
    return Check(rule, where, stated, computed, _verdict(exact), official)


def _equal(rule: str, where: str, stated: Decimal | None, computed: Decimal | None) -> Check:
    """A comparison that is exact officially, too."""
    made = _check(rule, where, stated, computed, official=None)
    return Check(rule, where, stated, computed, made.exact, made.exact)


def _present(rule: str, where: str, there: bool) -> Check:
    return Check(rule, where, None, None, _verdict(there), _verdict(there))


def _verdict(holds: bool) -> Verdict:
    return "success" if holds else "error"


def _place(category: str, percent: Decimal | None) -> str:
    return category if percent is None else f"{category} {percent.normalize():f}"


def _tax(taxable: Decimal, percent: Decimal | None, currency: str) -> Decimal:
    return _rounded_tax(taxable, percent or ZERO, digits_of(currency))


def _rounded_tax(taxable: Decimal, percent: Decimal, digits: int) -> Decimal:
    return round_to(Fraction(taxable) * Fraction(percent) / 100, digits, ROUNDING)


def _signed(item: AllowanceCharge) -> Decimal:
    return item.amount if item.is_charge else item.amount.copy_negate()


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
