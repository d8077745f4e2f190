"""What a UBL invoice says of itself, and what it comes to when it is added up again.

The oracle knows nothing of Assay: lxml reads, `decimal` counts, and every rule is one sum over the document as it
stands. The rules BR-* are those of EN 16931, to the cent (the norm's own test of BR-CO-17 and BR-S-08 forgives up to
1.00; here nothing is forgiven). Each takes what the document states for its parts, so one wrong figure is reported
where it is, not in every total above it. `LINE` (quantity times price) and `SUBLINES` are checks of our own: the norm
has no hard rule for a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from pathlib import Path

from lxml import etree

NAMESPACES = {
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}
QUANTITIES = {"Invoice": "cbc:InvoicedQuantity", "CreditNote": "cbc:CreditedQuantity"}
# A VAT category's code (UNTDID 5305) and the letters that its rules carry in the norm's UBL schematron.
CATEGORY_RULES = {"S": "S", "Z": "Z", "E": "E", "AE": "AE", "K": "IC", "G": "G", "O": "O", "L": "AF", "M": "AG"}
# All other currencies get two digits: the norm (BR-DEC-*) allows no third one, not even for the dinar.
WITHOUT_CENTS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
# Only this extension adds payments to third parties to the amount due; elsewhere cac:PrepaidPayment is mere record.
THIRD_PARTY_PAYMENTS = "urn:xeinkauf.de:kosit:extension:xrechnung_"
ZERO = Decimal(0)
PLAIN_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)


@dataclass(frozen=True)
class Check:
    """One figure of a document, stated and computed.

    Attributes:
        rule: `BR-CO-10`, `BR-S-08`, ..., or `LINE`, `SUBLINES`.
        where: The line's id, or category and rate as `S 19`; empty for what a document has once.
        stated: None where the document leaves out a figure that must stand there.
        computed: None where there is nothing to compute it from.
    """

    rule: str
    where: str
    stated: Decimal | None
    computed: Decimal | None

    @property
    def agrees(self) -> bool:
        """True where both are there and equal, to the last digit."""
        return self.stated is not None and self.stated == self.computed


def read(path: Path) -> etree._Element:
    """Return the root of an Invoice or CreditNote."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=True, remove_comments=True, remove_pis=True
    )
    return etree.parse(str(path), parser).getroot()


def disagreements(root: etree._Element) -> list[Check]:
    """Return the checks of a whole document that do not agree, in the document's order."""
    return [check for check in checks(root) if not check.agrees]


def checks(root: etree._Element) -> list[Check]:
    """Return every figure of the document, stated and computed."""
    # Wide enough that no product or quotient of real figures is rounded before R.
    with localcontext(Context(prec=80, rounding=ROUND_HALF_UP)):
        return [*_lines(root), *_sums(root), *_taxes(root), *_payable(root)]


def _lines(root: etree._Element) -> Iterator[Check]:
    kind = etree.QName(root).localname
    for line in root.iter(f"{{{NAMESPACES['cac']}}}{kind}Line", f"{{{NAMESPACES['cac']}}}Sub{kind}Line"):
        where = _text(line, "cbc:ID") or ""
        stated = _decimal(line, "cbc:LineExtensionAmount")
        quantity, price = _decimal(line, QUANTITIES[kind]), _decimal(line, "cac:Price/cbc:PriceAmount")
        # A title in a bill of quantities has neither; what it holds is in the lines below it.
        if quantity is not None and price is not None:
            # The price is the net price: an allowance in cac:Price is already off it.
            base = _decimal(line, "cac:Price/cbc:BaseQuantity") or Decimal(1)
            amount = _round(root, quantity * price / base)
            charges, allowances = _charges(line, charge=True), _charges(line, charge=False)
            yield Check("LINE", where, stated, amount - sum(allowances, ZERO) + sum(charges, ZERO))
        below = _all(line, f"cac:Sub{kind}Line")
        if below:
            yield Check("SUBLINES", where, stated, _sum(below, "cbc:LineExtensionAmount"))


def _sums(root: etree._Element) -> Iterator[Check]:
    total = root.find("cac:LegalMonetaryTotal", NAMESPACES)
    if total is None:
        return
    lines = _all(root, f"cac:{etree.QName(root).localname}Line")
    line_total = _decimal(total, "cbc:LineExtensionAmount")
    yield Check("BR-CO-10", "", line_total, _round(root, _sum(lines, "cbc:LineExtensionAmount")))
    allowance_total, charge_total = (
        _stated(total, "cbc:AllowanceTotalAmount"),
        _stated(total, "cbc:ChargeTotalAmount"),
    )
    yield Check("BR-CO-11", "", allowance_total, _round(root, sum(_charges(root, charge=False), ZERO)))
    yield Check("BR-CO-12", "", charge_total, _round(root, sum(_charges(root, charge=True), ZERO)))
    exclusive = None if line_total is None else _round(root, line_total - allowance_total + charge_total)
    yield Check("BR-CO-13", "", _decimal(total, "cbc:TaxExclusiveAmount"), exclusive)


def _taxes(root: etree._Element) -> Iterator[Check]:
    for total in _all(root, "cac:TaxTotal"):
        # The total in the accounting currency (BT-111) stands alone, without subtotals.
        if parts := _all(total, "cac:TaxSubtotal"):
            stated = _decimal(total, "cbc:TaxAmount")
            yield Check("BR-CO-14", "", stated, _round(root, _sum(parts, "cbc:TaxAmount")))
    taxable = _taxable(root)
    for part in [part for total in _document_tax_totals(root) for part in _all(total, "cac:TaxSubtotal")]:
        category, rate = _category(part, "cac:TaxCategory")
        base = _decimal(part, "cbc:TaxableAmount")
        computed = taxable.pop((category, rate), ZERO)
        yield Check(_taxable_rule(category), _place(category, rate), base, computed)
        tax = None if base is None else _round(root, base * rate / 100)
        yield Check("BR-CO-17", _place(category, rate), _decimal(part, "cbc:TaxAmount"), tax)
    for (category, rate), amount in taxable.items():
        yield Check(_taxable_rule(category), _place(category, rate), None, amount)


def _taxable(root: etree._Element) -> dict[tuple[str, Decimal], Decimal]:
    taxable: dict[tuple[str, Decimal], Decimal] = {}
    for line in _all(root, f"cac:{etree.QName(root).localname}Line"):
        key = _category(line, "cac:Item/cac:ClassifiedTaxCategory")
        taxable[key] = taxable.get(key, ZERO) + _stated(line, "cbc:LineExtensionAmount")
    for item in _all(root, "cac:AllowanceCharge"):
        key = _category(item, "cac:TaxCategory")
        amount = _stated(item, "cbc:Amount")
        taxable[key] = taxable.get(key, ZERO) + (amount if _is_charge(item) else -amount)
    return taxable


def _payable(root: etree._Element) -> Iterator[Check]:
    total = root.find("cac:LegalMonetaryTotal", NAMESPACES)
    if total is None:
        return
    inclusive, exclusive = (
        _decimal(total, "cbc:TaxInclusiveAmount"),
        _decimal(total, "cbc:TaxExclusiveAmount"),
    )
    taxes = [_decimal(each, "cbc:TaxAmount") for each in _document_tax_totals(root)]
    computed = None
    # Two totals in the document's currency would leave open which one counts: that is an error of its own.
    if len(taxes) == 1 and taxes[0] is not None and exclusive is not None:
        computed = _round(root, exclusive + taxes[0])
    yield Check("BR-CO-15", "", inclusive, computed)
    due = None
    if inclusive is not None:
        due = inclusive - _stated(total, "cbc:PrepaidAmount") + _stated(total, "cbc:PayableRoundingAmount")
        if THIRD_PARTY_PAYMENTS in (_text(root, "cbc:CustomizationID") or ""):
            due += _sum(_all(root, "cac:PrepaidPayment"), "cbc:PaidAmount")
        due = _round(root, due)
    yield Check("BR-CO-16", "", _decimal(total, "cbc:PayableAmount"), due)


def _document_tax_totals(root: etree._Element) -> list[etree._Element]:
    """All tax totals but those in another currency than the document's (BT-111, the accounting currency)."""
    document = _text(root, "cbc:DocumentCurrencyCode")
    stated_in = [(total, total.find("cbc:TaxAmount", NAMESPACES)) for total in _all(root, "cac:TaxTotal")]
    return [total for total, amount in stated_in if amount is None or amount.get("currencyID", document) == document]


def _category(element: etree._Element, path: str) -> tuple[str, Decimal]:
    # Category O carries no rate at all, and a line of category E may leave out its 0.
    return _text(element, f"{path}/cbc:ID") or "", _stated(element, f"{path}/cbc:Percent")


def _taxable_rule(category: str) -> str:
    return f"BR-{CATEGORY_RULES.get(category, category)}-08"


def _place(category: str, rate: Decimal) -> str:
    return f"{category} {rate.normalize():f}"


def _charges(element: etree._Element, *, charge: bool) -> list[Decimal]:
    items = [item for item in _all(element, "cac:AllowanceCharge") if _is_charge(item) is charge]
    return [_stated(item, "cbc:Amount") for item in items]


def _is_charge(item: etree._Element) -> bool:
    # xs:boolean has four spellings, and an example of the EU itself uses "0".
    return {"true": True, "1": True, "false": False, "0": False}[_text(item, "cbc:ChargeIndicator") or ""]


def _round(root: etree._Element, amount: Decimal) -> Decimal:
    places = 0 if _text(root, "cbc:DocumentCurrencyCode") in WITHOUT_CENTS.split() else 2
    return amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _sum(elements: Sequence[etree._Element], path: str) -> Decimal:
    return sum((_stated(element, path) for element in elements), ZERO)


def _stated(element: etree._Element, path: str) -> Decimal:
    value = _decimal(element, path)
    return ZERO if value is None else value


def _decimal(element: etree._Element, path: str) -> Decimal | None:
    text = _text(element, path)
    if text is None:
        return None
    if not PLAIN_DECIMAL.fullmatch(text):
        raise ValueError(f"{path}: {text!r} is not an xs:decimal")
    return Decimal(text)


def _text(element: etree._Element, path: str) -> str | None:
    text = element.findtext(path, namespaces=NAMESPACES)
    return None if text is None else text.strip(" \t\r\n")


def _all(element: etree._Element, path: str) -> list[etree._Element]:
    return element.findall(path, NAMESPACES)
