"""Documents drawn at random: such as add up, by a count that knows nothing of ours, and such as need not."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import polars as pl
from hypothesis import strategies as st

from assay.einvoicing import Document
from assay.records.columns import Columns

CATEGORIES = ("S", "L", "M", "Z", "E", "AE", "K", "G", "O")
RATES = {"S": ("19", "7", "2.1"), "L": ("7", "0"), "M": ("10", "4")}
SYNTAXES = {"UBL": {"cbc:InvoiceTypeCode": "380"}, "UBL credit note": {"cbc:CreditNoteTypeCode": "381"}}
SYNTAXES["CII"] = {"cii_type": "380"}

COLUMNS = Columns(Document)


def frame_of(documents: list[Document]) -> pl.DataFrame:
    """The columns that reading gives."""
    frame, misfits = COLUMNS.frame(documents)
    assert not misfits
    return frame


def half_up(amount: Fraction, digits: int) -> Decimal:
    """Half away from zero, by whole numbers."""
    units = abs(amount) * 10**digits
    whole = (2 * units.numerator + units.denominator) // (2 * units.denominator)
    made = Decimal(whole).scaleb(-digits).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return made if amount >= 0 else -made


def cents(least: int, most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(least, most).map(lambda units: Decimal(units).scaleb(-2))


@st.composite
def sound(draw: st.DrawFn) -> dict[str, Any]:
    """A document that adds up, as the object that the model takes."""
    currency = draw(st.sampled_from(["EUR", "EUR", "JPY"]))
    digits = 0 if currency == "JPY" else 2
    amount = st.integers(1, 9_999).map(lambda units: Decimal(units).scaleb(-digits).quantize(Decimal("0.01")))
    lines: list[dict[str, Any]] = []
    parts: list[tuple[str, str | None, Decimal]] = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        category, rate = draw(places())
        quantity = draw(st.integers(-500, 5_000).map(lambda units: Decimal(units).scaleb(-2)))
        price = draw(st.integers(0, 10**7).map(lambda units: Decimal(units).scaleb(-4)))
        base = draw(st.sampled_from(["1", "1", "3", "100"]))
        extras = draw(st.lists(st.tuples(st.booleans(), amount), max_size=2))
        net = half_up(Fraction(quantity) * Fraction(price) / Fraction(base), digits)
        net += sum((value if is_charge else -value for is_charge, value in extras), Decimal(0))
        lines.append(
            {"id": str(number), "quantity": str(quantity), "price": str(price), "base_quantity": base}
            | {"net": str(net), "category": category, "percent": rate}
            | {"allowances_charges": [{"is_charge": charge, "amount": str(value)} for charge, value in extras]}
        )
        parts.append((category, rate, net))
    items = draw(st.lists(st.tuples(st.booleans(), amount, places()), max_size=2))
    others = [
        {"is_charge": is_charge, "amount": str(value), "category": category, "percent": rate}
        for is_charge, value, (category, rate) in items
    ]
    parts += [(category, rate, value if charge else -value) for charge, value, (category, rate) in items]
    breakdown: list[dict[str, Any]] = []
    for category, rate in dict.fromkeys((category, rate) for category, rate, _ in parts):
        taxable = sum((value for *place, value in parts if place == [category, rate]), Decimal(0))
        tax = half_up(Fraction(taxable) * Fraction(rate or 0) / 100, digits)
        subtotal = {"taxable": str(taxable), "tax_amount": str(tax), "tax_currency": currency}
        breakdown.append(subtotal | {"category": category, "percent": rate})
    total = sum((Decimal(line["net"]) for line in lines), Decimal(0))
    allowances = sum((value for charge, value, _ in items if not charge), Decimal(0))
    charges = sum((value for charge, value, _ in items if charge), Decimal(0))
    exclusive = total - allowances + charges
    tax = sum((Decimal(one["tax_amount"]) for one in breakdown), Decimal(0))
    prepaid, rounding = draw(amount), draw(st.sampled_from([Decimal(0), Decimal(1), Decimal(-1)]))
    return {
        **SYNTAXES[draw(st.sampled_from(sorted(SYNTAXES)))],
        "invoice_id": "1",
        "currency": currency,
        "lines_total": str(total),
        "allowances_total": str(allowances),
        "charges_total": str(charges),
        "tax_exclusive": str(exclusive),
        "tax_inclusive": str(exclusive + tax),
        "prepaid": str(prepaid),
        "rounding": str(rounding),
        "payable": str(exclusive + tax - prepaid + rounding),
        "allowances_charges": others,
        "tax_amounts": [{"tax": str(tax), "tax_currency": currency}],
        "breakdown": breakdown,
        "lines": lines,
    }


@st.composite
def places(draw: st.DrawFn) -> tuple[str, str | None]:
    """A category and a rate that goes with it."""
    category = draw(st.sampled_from(["S", "S", *CATEGORIES]))
    return category, draw(st.sampled_from(RATES.get(category, (None if category == "O" else "0",))))


MAYBE_AMOUNT = st.none() | cents(-300, 300).map(str)
MAYBE_CATEGORY = st.sampled_from([None, "B", "", *CATEGORIES])
MAYBE_RATE = st.sampled_from([None, "0", "0.4", "0.5", "7", "19.25"])
CODES = st.sampled_from(["EUR", "JPY", "SEK", "XYZ"])


@st.composite
def any_document(draw: st.DrawFn) -> dict[str, Any]:
    """A document that need not add up, nor have what it must have."""

    def other() -> dict[str, Any]:
        made = {"is_charge": draw(st.booleans()), "amount": str(draw(cents(-300, 300)))}
        return made | {"category": draw(MAYBE_CATEGORY), "percent": draw(MAYBE_RATE)}

    def line(number: int) -> dict[str, Any]:
        made = {"id": str(number), "net": str(draw(cents(-300, 300))), "category": draw(MAYBE_CATEGORY)}
        made |= {"percent": draw(MAYBE_RATE), "quantity": draw(MAYBE_AMOUNT), "price": draw(MAYBE_AMOUNT)}
        return made | {
            "base_quantity": draw(st.sampled_from(["0", "1", "7", "0.000001"])),
            "allowances_charges": [other() for _ in range(draw(st.integers(0, 2)))],
        }

    def subtotal() -> dict[str, Any]:
        made = {"taxable": draw(MAYBE_AMOUNT), "tax_amount": draw(MAYBE_AMOUNT), "category": draw(MAYBE_CATEGORY)}
        return made | {"percent": draw(MAYBE_RATE), "tax_currency": draw(st.none() | CODES)}

    totals = ("lines_total", "allowances_total", "charges_total", "tax_exclusive", "tax_inclusive", "prepaid")
    return {
        **draw(st.sampled_from([*SYNTAXES.values(), {}])),
        "invoice_id": "1",
        "specification": draw(st.sampled_from([None, "urn:cen.eu:en16931:2017", EXTENDED])),
        "currency": draw(CODES),
        "accounting_currency": draw(st.none() | CODES),
        **{name: draw(MAYBE_AMOUNT) for name in (*totals, "rounding", "payable")},
        "third_party_payments": draw(st.lists(cents(0, 300).map(str), max_size=2)),
        "allowances_charges": [other() for _ in range(draw(st.integers(0, 3)))],
        "tax_amounts": draw(
            st.lists(
                st.fixed_dictionaries({"tax": cents(-300, 300).map(str), "tax_currency": st.none() | CODES}), max_size=3
            )
        ),
        "breakdown": [subtotal() for _ in range(draw(st.integers(0, 3)))],
        "lines": [line(number) for number in range(draw(st.integers(0, 3)))],
    }


EXTENDED = "urn:cen.eu:en16931:2017#conformant#urn:xeinkauf.de:kosit:extension:xrechnung_3.0"
