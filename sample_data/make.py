"""Make the data that the demo runs on: orders, a catalogue, rates and invoices, with mistakes planted in known places.

    python sample_data/make.py                                    # the committed files, byte for byte
    python sample_data/make.py --rows 1000000 --output big        # the same with a million order lines

Only the standard library, and of `random` only `random()`: its numbers are promised to stay the same over versions.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import random
import zlib
from array import array
from calendar import monthrange
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TypeVar
from xml.sax.saxutils import escape, quoteattr

T = TypeVar("T")

SEED = 20260101
ROWS = 2_000
ROWS_A_FILE = 250_000
FIRST_ORDER = 100_001
CUSTOMERS = 60
PRODUCTS = 120

# ---- orders ----------------------------------------------------------------------------------------------------

NOTES = (
    "Grüße aus Köln",
    "bitte nach 17 Uhr, Klingel „Özdemir“",
    'the sign says "ring twice"',
    "leave at C:\\depot\\door 4",
    "first line\nsecond line",
    "tab\there, half ½, 5 % off?",
    "日本語のメモ、急ぎません",
    "🚚 express, naïve café",
    "{not json} [at all], 'quoted'",
    "",
)
QUANTITIES = ("1", "1", "1", "2", "2", "3", "4", "5", "6", "8", "10", "12", "24", "100", "2.5", "0.75", "1.250")
DISCOUNTS = ("0", "0", "0", "0", "0", "0", "5", "5", "7.5", "10", "12.25", "33.3333")
LINES_AN_ORDER = (1, 1, 2, 2, 3, 3, 4, 5, 6)
# A product's category decides its rate of tax: name, rate.
CATEGORIES = (("hardware", "19"), ("office", "19"), ("books", "7"), ("food", "7"), ("energy", "19"), ("postage", "0"))

# What becomes of a line of each kind: the model or the parser rejects it, the lookup does, or it is dropped as a
# repetition. NOT_JSON: nobody can read an order's number in such a line for certain.
REJECTED = (
    "cut_json",
    "decimal_comma",
    "missing_customer",
    "negative_qty",
    "unknown_status",
    "bad_date",
    "qty_in_words",
    "lone_surrogate",
    "invalid_utf8",
    "discount_over_100",
)
NOT_JSON = ("cut_json", "lone_surrogate", "invalid_utf8")
UNKNOWN_SKU = "unknown_sku"
DUPLICATE = "duplicate"
KINDS = (*REJECTED, UNKNOWN_SKU, DUPLICATE)


@dataclass(slots=True)
class OrderLine:
    """One line of an order, each field as the JSON text that stands for it."""

    order_id: str
    line: int
    ordered_at: str
    customer_id: str
    status: str
    sku: str
    qty: str
    discount: str
    tax_rate: str
    note: str | None

    def to_json(self) -> str:
        """Return the line's JSON, without a line feed; an empty customer or a note of None leaves the key out."""
        customer = f'"customer_id":"{self.customer_id}",' if self.customer_id else ""
        note = "" if self.note is None else f',"note":{self.note}'
        return (
            f'{{"order_id":"{self.order_id}","line":{self.line},"ordered_at":"{self.ordered_at}",{customer}'
            f'"status":"{self.status}","sku":"{self.sku}","qty":{self.qty},"discount":"{self.discount}",'
            f'"tax_rate":"{self.tax_rate}"{note}}}'
        )


@dataclass(frozen=True)
class Planted:
    """A mistake and where it is; `line` counts from 1 in the file, `order_lines` and `order_void` are its order's."""

    kind: str
    file: str
    line: int
    order_id: str
    order_line: int
    order_lines: int
    order_void: int

    def to_json(self) -> str:
        """Return the entry of PLANTED.json."""
        effect = {UNKNOWN_SKU: "lookup", DUPLICATE: "duplicate"}.get(self.kind, "reject")
        return json.dumps(
            {
                "kind": self.kind,
                "effect": effect,
                "is_json": self.kind not in NOT_JSON,
                "file": self.file,
                "line": self.line,
                "order_id": self.order_id,
                "order_line": self.order_line,
                "order_lines": self.order_lines,
                "order_void": self.order_void,
            }
        )


@dataclass
class OrderMaker:
    """Makes orders one after the other, and plants a mistake about every hundred lines, never two in an order."""

    rng: random.Random
    number: int = FIRST_ORDER
    lines: int = 0
    void: int = 0
    next_mistake: int = 40
    kinds: list[str] = field(default_factory=list)

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices, each equally likely."""
        return choices[int(self.rng.random() * len(choices))]

    def skewed(self, count: int, power: int) -> int:
        """Return a number from 1 to `count`, the small ones most often."""
        chance = self.rng.random()
        # By multiplication: the last digit of a `pow` is a matter of the platform.
        return int(math.prod([chance] * power) * count) + 1

    def order(self, at: datetime, most: int) -> tuple[list[OrderLine], str | None, int]:
        """Return an order of at most `most` lines, the kind of mistake in it, and the place of the line that has it."""
        kind = self._next_kind() if self.lines >= self.next_mistake else None
        room = most - 1 if kind == DUPLICATE else most
        if room < 1:
            kind, room = None, most
        count = min(self.pick(LINES_AN_ORDER), room)
        customer = self.skewed(CUSTOMERS, 3)
        ordered_at = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        lines = [self._line(number, ordered_at, customer) for number in range(1, count + 1)]
        bad = 0
        if kind is not None:
            self.next_mistake = self.lines + 50 + int(self.rng.random() * 100)
            self.kinds.pop()
            bad = int(self.rng.random() * count)
            for line in lines:
                # So that it is plain which step has which line.
                line.status = "live" if line is lines[bad] or kind == UNKNOWN_SKU else line.status
            if kind == DUPLICATE:
                lines.append(lines[bad])
                bad = count
        self.number += 1
        self.lines += len(lines)
        self.void += sum(line.status == "void" for line in lines)
        return lines, kind, bad

    def _next_kind(self) -> str:
        if not self.kinds:
            # Every kind comes once before any comes again.
            self.kinds = sorted(KINDS, key=lambda _: self.rng.random())
        return self.kinds[-1]

    def _line(self, number: int, ordered_at: str, customer: int) -> OrderLine:
        product = self.skewed(PRODUCTS, 2)
        qty = self.pick(QUANTITIES)
        note = None
        chance = self.rng.random()
        if chance < 0.3:
            note = "null" if chance < 0.02 else json.dumps(self.pick(NOTES), ensure_ascii=chance < 0.12)
        return OrderLine(
            order_id=f"A-{self.number}",
            line=number,
            ordered_at=ordered_at,
            customer_id=f"C-{customer:04}",
            status="void" if self.rng.random() < 0.02 else "live",
            sku=sku(product),
            qty=qty if self.rng.random() < 0.25 else f'"{qty}"',
            discount=self.pick(DISCOUNTS),
            # Every tenth customer is abroad.
            tax_rate="0" if customer % 10 == 0 else category(product)[1],
            note=note,
        )


def spoil(line: OrderLine, kind: str | None) -> bytes:
    """Return the bytes of a line with a mistake of that kind in it, without the line feed."""
    match kind:
        case "decimal_comma":
            line.qty = '"12,50"'
        case "missing_customer":
            line.customer_id = ""
        case "negative_qty":
            line.qty = '"-3"'
        case "unknown_status":
            line.status = "pending"
        case "bad_date":
            line.ordered_at = f"{line.ordered_at[:4]}-02-30{line.ordered_at[10:]}"
        case "qty_in_words":
            line.qty = '"three"'
        case "lone_surrogate":
            line.note = '"broken \\ud800 pair"'
        case "invalid_utf8":
            line.note = '"caf@"'
        case "discount_over_100":
            line.discount = "105"
        case "unknown_sku":
            line.sku = "P-9999"
        case _:
            pass
    text = line.to_json().encode()
    if kind == "invalid_utf8":
        return text.replace(b"caf@", b"caf\xe9")
    return text[: len(text) * 3 // 5] if kind == "cut_json" else text


def month_names(count: int) -> Iterator[tuple[int, int, str]]:
    """Yield year, month and file name; every third file is compressed."""
    for index in range(count):
        year, month = 2026 + index // 12, index % 12 + 1
        yield year, month, f"{year}-{month:02}.jsonl{'.gz' if index % 3 == 2 else ''}"


def write_orders(folder: Path, rows: int, planted: Callable[[Planted], None]) -> dict[str, object]:
    """Write `rows` lines in files of a month each, report each mistake, and return the counts."""
    count = max(3, -(-rows // ROWS_A_FILE))
    months = list(month_names(count))
    refuse_other_files(folder, {name for *_, name in months})
    maker = OrderMaker(random.Random(SEED))
    files = []
    for index, (year, month, name) in enumerate(months):
        size = rows * (index + 1) // count - rows * index // count
        start = datetime(year, month, 1, 6, tzinfo=UTC)
        step = timedelta(days=monthrange(year, month)[1] - 1, hours=12) / size
        written = 0
        with order_file(folder / name, stored=rows == ROWS) as out:
            while written < size:
                lines, kind, bad = maker.order(start + step * written, size - written)
                void = sum(line.status == "void" for line in lines)
                for place, line in enumerate(lines):
                    out.write(spoil(line, kind if place == bad else None) + b"\n")
                if kind is not None:
                    line = lines[bad]
                    place = written + bad + 1
                    planted(Planted(kind, f"orders/{name}", place, line.order_id, line.line, len(lines), void))
                written += len(lines)
        files.append({"file": f"orders/{name}", "lines": size})
    return {"lines": rows, "orders": maker.number - FIRST_ORDER, "void_lines": maker.void, "files": files}


def order_file(path: Path, *, stored: bool) -> AbstractContextManager[io.BufferedIOBase]:
    """Open a file for lines, compressed where its name says so."""
    if path.suffix != ".gz":
        return path.open("wb")
    return stored_gzip(path) if stored else compressed_gzip(path)


@contextmanager
def compressed_gzip(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a gzip file that says nothing of when and under which name it was made."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as out:
        yield out


@contextmanager
def stored_gzip(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a gzip file of stored blocks.

    How well a build of zlib compresses is its own affair; blocks that are only stored are the same bytes everywhere,
    and the committed file has to be.
    """
    lines = io.BytesIO()
    yield lines
    content = lines.getvalue()
    with path.open("wb") as raw:
        raw.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
        for start in range(0, len(content), 0xFFFF):
            block = content[start : start + 0xFFFF]
            last = start + len(block) == len(content)
            size = len(block).to_bytes(2, "little")
            raw.write(bytes([last]) + size + bytes(byte ^ 0xFF for byte in size) + block)
        raw.write(zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little"))


# ---- catalogue and rates ---------------------------------------------------------------------------------------

THINGS = {
    "hardware": ("Hinge", "Nuts & bolts", "Wood screw <4 mm>", "Bracket", "Washer, Ø 8", "Drill bit"),
    "office": ("Pen", "Stapler", "Paper & card", "Folder „Büro“", "Label", "Ink"),
    "books": ("Atlas", "Kochbuch für Anfänger", "Tax & law", "O'Reilly's guide", 'The "small" grammar'),
    "food": ("Tea", "Käse", "Salt & pepper", "Crème fraîche", "Noodles 拉麺", "Oil"),
    "energy": ("Electricity, kWh", "Gas, kWh", "Heat, kWh", "Battery AA"),
    "postage": ("Stamp", "Parcel < 2 kg", "Letter & receipt"),
}
# One decimal price in every digit count that is met: whole yen, cents, and prices of energy to the hundredth cent.
DIGITS = {"EUR": 2, "USD": 2, "GBP": 2, "JPY": 0}
# Currency, decimal places, and where it starts in units of the last place: what one euro buys.
REFERENCE = (("USD", 4, 10853), ("JPY", 2, 16292), ("GBP", 5, 85456), ("CHF", 4, 9494))
SEGMENTS = ("retail", "trade", "public")
RATES = (("EUR", "1"), ("USD", "0.9214"), ("GBP", "1.1702"), ("JPY", "0.006138"), ("CHF", "1.0533"))


def sku(product: int) -> str:
    """Return the number of a product, from 1, as the catalogue and the orders have it."""
    return f"P-{product:04}"


def category(product: int) -> tuple[str, str]:
    """Return name and rate of tax of a product's category."""
    return CATEGORIES[product % len(CATEGORIES)]


def catalogue() -> str:
    """Return the catalogue, with each way that XML has to write a name."""
    rng = random.Random(SEED + 1)
    out = ['<?xml version="1.0" encoding="UTF-8"?>', '<catalogue currency="EUR" valid_from="2026-01-01">']
    for product in range(1, PRODUCTS + 1):
        kind, _ = category(product)
        things = THINGS[kind]
        name = f"{things[product // len(CATEGORIES) % len(things)]} {product}"
        chance = rng.random()
        currency = "EUR" if chance < 0.8 else ("USD", "GBP", "JPY")[int((chance - 0.8) * 15)]
        digits = 4 if kind == "energy" and currency != "JPY" else DIGITS[currency]
        # Energy costs cents, all else up to 80; yen come in hundreds.
        top = 4_000 if digits in (0, 4) else 8_000
        chance = rng.random()
        price = Decimal(int(chance * chance * top) + 25).scaleb(-digits)
        out.append(f"  <product sku={quoteattr(sku(product))}>")
        if product % 17 == 0:
            out.append("    <!-- price <under> review & not yet agreed -->")
        out.append(f"    <name>{_name(name, product)}</name>")
        out.append(f"    <category>{kind}</category>")
        out.append(f"    <list_price>{price:f}</list_price>")
        out.append(f"    <currency>{currency}</currency>")
        out.append("  </product>")
    return "\n".join([*out, "</catalogue>", ""])


def _name(name: str, product: int) -> str:
    if product % 11 == 0:
        return f"<![CDATA[{name}]]>"
    if product % 7 == 0:
        return escape(name).encode("ascii", "xmlcharrefreplace").decode()
    return escape(name)


def reference_rates(months: int) -> str:
    """Return a file of daily rates in the shape of the ECB's: what one euro buys, on working days but New Year's.

    It begins some days before the orders, so that each has a rate, and ends with their last month.
    """
    rng = random.Random(SEED + 2)
    units = {currency: start for currency, _, start in REFERENCE}
    last_year, last_month = 2026 + (months - 1) // 12, (months - 1) % 12 + 1
    day, last = date(2025, 12, 29), date(last_year, last_month, monthrange(last_year, last_month)[1])
    out = []
    while day <= last:
        if day.weekday() < 5 and (day.month, day.day) != (1, 1):
            out.append(f'    <Cube time="{day}">')
            for currency, digits, _ in REFERENCE:
                # A step of up to a third of a percent, up or down.
                units[currency] += int((rng.random() - 0.5) * units[currency] / 150)
                rate = Decimal(units[currency]).scaleb(-digits)
                out.append(f'      <Cube currency="{currency}" rate="{rate:f}"/>')
            out.append("    </Cube>")
        day += timedelta(days=1)
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" '
        'xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">\n'
        "  <gesmes:subject>Reference rates, made up for the demo</gesmes:subject>\n"
        "  <Cube>\n"
    )
    return head + "\n".join(out) + "\n  </Cube>\n</gesmes:Envelope>\n"


def customers() -> str:
    """Return the customers, one JSON object a line; every tenth is abroad, as its orders have it."""
    lines = []
    for number in range(1, CUSTOMERS + 1):
        country = "CH" if number % 10 == 0 else "DE"
        segment = SEGMENTS[number % len(SEGMENTS)]
        row = {"customer_id": f"C-{number:04}", "country": country, "segment": segment}
        lines.append(json.dumps(row))
    return "\n".join(lines) + "\n"


def rates() -> str:
    """Return the rates: what one unit of a currency is in euros."""
    lines = [f'    {{"currency": "{currency}", "rate": "{rate}"}}' for currency, rate in RATES]
    head = '{\n  "base": "EUR",\n  "date": "2026-03-31",\n  "source": "made up for the demo",\n  "rates": [\n'
    return head + ",\n".join(lines) + "\n  ]\n}\n"


# ---- invoices --------------------------------------------------------------------------------------------------

ROOT = "urn:oasis:names:specification:ubl:schema:xsd:{}-2"
AGGREGATE = "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
BASIC = "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
ZERO = Decimal(0)
REASONS = {"AE": "Reverse charge", "K": "Intra-community supply", "E": "Exempt, education", "O": "Outside the scope"}


@dataclass(frozen=True)
class Extra:
    """An allowance (a negative amount here) or a charge, of a line or of the document."""

    reason: str
    amount: str
    category: str = "S"
    rate: str = "19"


@dataclass(frozen=True)
class InvoiceLine:
    """A line: `price` is for `base` units. `misstated` is a net amount that is not what the line comes to."""

    name: str
    quantity: str
    price: str
    rate: str = "19"
    category: str = "S"
    unit: str = "C62"
    base: str | None = None
    extras: tuple[Extra, ...] = ()
    misstated: str | None = None


@dataclass(frozen=True)
class Invoice:
    """A document before it is added up.

    `off` is what the stated amount due has too much, and `tax_off` the tax of its first category: from there the sums
    go on. A line without a category belongs to none.
    """

    number: str
    buyer: str
    lines: tuple[InvoiceLine, ...]
    kind: str = "Invoice"
    currency: str = "EUR"
    extras: tuple[Extra, ...] = ()
    prepaid: str | None = None
    rounding: str | None = None
    accounting: tuple[str, str] | None = None
    encoding: str = "UTF-8"
    prefixes: tuple[str, str, str] = ("", "cac:", "cbc:")
    off: str = "0"
    tax_off: str = "0"
    syntax: str = "UBL"


@dataclass(frozen=True)
class Totals:
    """What a document comes to; `taxes` has category, rate, taxable amount and tax."""

    nets: tuple[Decimal, ...]
    lines: Decimal
    allowances: Decimal
    charges: Decimal
    exclusive: Decimal
    taxes: tuple[tuple[str, str, Decimal, Decimal], ...]
    tax: Decimal
    inclusive: Decimal
    payable: Decimal


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Round half up, away from zero, to the digits of the currency."""
    return amount.quantize(Decimal(1).scaleb(-DIGITS.get(currency, 2)), ROUND_HALF_UP)


def net_of(line: InvoiceLine, currency: str) -> Decimal:
    """Return what a line comes to: the product is rounded, never the price of one unit."""
    amount = Decimal(line.quantity) * Decimal(line.price) / Decimal(line.base or 1)
    return rounded(amount, currency) + sum((Decimal(extra.amount) for extra in line.extras), ZERO)


def tax_of(base: Decimal, rate: str, currency: str) -> Decimal:
    """Return the tax of a category."""
    return rounded(base * Decimal(rate or 0) / 100, currency)


def add_up(invoice: Invoice) -> Totals:
    """Add up a document the way EN 16931 does: tax once for each category and rate."""
    nets = tuple(
        Decimal(line.misstated) if line.misstated else net_of(line, invoice.currency) for line in invoice.lines
    )
    amounts = [Decimal(extra.amount) for extra in invoice.extras]
    groups: dict[tuple[str, str], Decimal] = {}
    parts = [(line.category, line.rate, net) for line, net in zip(invoice.lines, nets, strict=True)]
    parts += [(extra.category, extra.rate, Decimal(extra.amount)) for extra in invoice.extras]
    for code, rate, amount in (part for part in parts if part[0]):
        groups[code, rate] = groups.get((code, rate), ZERO) + amount
    taxes = tuple(
        (code, rate, base, tax_of(base, rate, invoice.currency) + (ZERO if number else Decimal(invoice.tax_off)))
        for number, ((code, rate), base) in enumerate(groups.items())
    )
    exclusive = sum(nets, ZERO) + sum(amounts, ZERO)
    tax = sum((amount for *_, amount in taxes), ZERO)
    return Totals(
        nets=nets,
        lines=sum(nets, ZERO),
        allowances=-sum((amount for amount in amounts if amount < 0), ZERO),
        charges=sum((amount for amount in amounts if amount >= 0), ZERO),
        exclusive=exclusive,
        taxes=taxes,
        tax=tax,
        inclusive=exclusive + tax,
        payable=exclusive + tax - Decimal(invoice.prepaid or 0) + Decimal(invoice.rounding or 0),
    )


class Ubl:
    """Writes a document as UBL 2.1."""

    def __init__(self, invoice: Invoice) -> None:
        self.invoice = invoice
        self.totals = add_up(invoice)
        self.root, self.aggregate, self.basic = invoice.prefixes
        self.out: list[str] = []
        self.depth = 0

    def document(self) -> bytes:
        """Return the document's bytes, in its encoding."""
        invoice = self.invoice
        self.out = [f'<?xml version="1.0" encoding="{invoice.encoding}"?>']
        spaces = {self.root: ROOT.format(invoice.kind), self.aggregate: AGGREGATE, self.basic: BASIC}
        names = [f"xmlns:{prefix[:-1]}" if prefix else "xmlns" for prefix in spaces]
        declared = " ".join(f'{name}="{space}"' for name, space in zip(names, spaces.values(), strict=True))
        with self.element(self.root + invoice.kind, declared):
            self.header()
            for extra in invoice.extras:
                self.allowance_charge(extra, with_category=True)
            self.taxes()
            self.monetary_total()
            for number, line in enumerate(invoice.lines, 1):
                self.line(number, line)
        return "\n".join([*self.out, ""]).encode(invoice.encoding)

    @contextmanager
    def element(self, name: str, attributes: str = "") -> Iterator[None]:
        """Write an element around what is written within."""
        self.out.append(f"{'  ' * self.depth}<{name}{' ' * bool(attributes)}{attributes}>")
        self.depth += 1
        yield
        self.depth -= 1
        self.out.append(f"{'  ' * self.depth}</{name}>")

    def group(self, name: str) -> AbstractContextManager[None]:
        """Write an aggregate element."""
        return self.element(self.aggregate + name)

    def text(self, name: str, value: str, **attributes: str) -> None:
        """Write a basic element."""
        given = "".join(f" {key}={quoteattr(text)}" for key, text in attributes.items())
        self.out.append(f"{'  ' * self.depth}<{self.basic}{name}{given}>{escape(value)}</{self.basic}{name}>")

    def amount(self, name: str, value: Decimal | str, currency: str | None = None) -> None:
        """Write an amount in the document's currency."""
        self.text(name, f"{value}", currencyID=currency or self.invoice.currency)

    def header(self) -> None:
        """Write what comes before the money."""
        invoice = self.invoice
        number = int(invoice.number[-4:])
        issued = date(2026, 1, 12) + timedelta(days=number * 6)
        self.text("CustomizationID", "urn:cen.eu:en16931:2017")
        self.text("ID", invoice.number)
        self.text("IssueDate", issued.isoformat())
        if invoice.kind == "Invoice":
            self.text("DueDate", (issued + timedelta(days=30)).isoformat())
        self.text(f"{invoice.kind}TypeCode", "380" if invoice.kind == "Invoice" else "381")
        self.text("DocumentCurrencyCode", invoice.currency)
        if invoice.accounting:
            self.text("TaxCurrencyCode", invoice.accounting[0])
        self.text("BuyerReference", f"order {4700 + number}")
        if invoice.kind == "CreditNote":
            with self.group("BillingReference"), self.group("InvoiceDocumentReference"):
                self.text("ID", "INV-2026-0001")
        for role, name, tax_id in (
            ("AccountingSupplierParty", "Muster & Söhne GmbH", "DE123456789"),
            ("AccountingCustomerParty", invoice.buyer, None),
        ):
            with self.group(role), self.group("Party"):
                with self.group("PostalAddress"):
                    self.text("CityName", "Köln" if tax_id else "Utrecht")
                    with self.group("Country"):
                        self.text("IdentificationCode", "DE" if tax_id else "NL")
                if tax_id:
                    with self.group("PartyTaxScheme"):
                        self.text("CompanyID", tax_id)
                        self.scheme()
                with self.group("PartyLegalEntity"):
                    self.text("RegistrationName", name)

    def allowance_charge(self, extra: Extra, *, with_category: bool) -> None:
        """Write an allowance or a charge."""
        amount = Decimal(extra.amount)
        with self.group("AllowanceCharge"):
            self.text("ChargeIndicator", "false" if amount < 0 else "true")
            self.text("AllowanceChargeReason", extra.reason)
            self.amount("Amount", abs(amount))
            if with_category:
                self.category("TaxCategory", extra.category, extra.rate)

    def category(self, name: str, code: str, rate: str, *, reason: bool = False) -> None:
        """Write a category of VAT; one outside the scope has no rate."""
        with self.group(name):
            self.text("ID", code)
            if rate:
                self.text("Percent", rate)
            if reason and code in REASONS:
                self.text("TaxExemptionReason", REASONS[code])
            self.scheme()

    def scheme(self) -> None:
        """Write that the tax is VAT."""
        with self.group("TaxScheme"):
            self.text("ID", "VAT")

    def taxes(self) -> None:
        """Write the tax in the document's currency, and the accounting currency's total if there is one."""
        with self.group("TaxTotal"):
            self.amount("TaxAmount", self.totals.tax)
            for code, rate, base, tax in self.totals.taxes:
                with self.group("TaxSubtotal"):
                    self.amount("TaxableAmount", base)
                    self.amount("TaxAmount", tax)
                    self.category("TaxCategory", code, rate, reason=True)
        if self.invoice.accounting:
            currency, rate = self.invoice.accounting
            with self.group("TaxTotal"):
                self.amount("TaxAmount", rounded(self.totals.tax * Decimal(rate), currency), currency)

    def monetary_total(self) -> None:
        """Write the sums; those that are zero are left out, as the norm allows."""
        invoice, totals = self.invoice, self.totals
        with self.group("LegalMonetaryTotal"):
            self.amount("LineExtensionAmount", totals.lines)
            self.amount("TaxExclusiveAmount", totals.exclusive)
            self.amount("TaxInclusiveAmount", totals.inclusive)
            if totals.allowances:
                self.amount("AllowanceTotalAmount", totals.allowances)
            if totals.charges:
                self.amount("ChargeTotalAmount", totals.charges)
            if invoice.prepaid:
                self.amount("PrepaidAmount", invoice.prepaid)
            if invoice.rounding:
                self.amount("PayableRoundingAmount", invoice.rounding)
            self.amount("PayableAmount", totals.payable + Decimal(invoice.off))

    def line(self, number: int, line: InvoiceLine) -> None:
        """Write a line."""
        quantity = "InvoicedQuantity" if self.invoice.kind == "Invoice" else "CreditedQuantity"
        with self.group(f"{self.invoice.kind}Line"):
            self.text("ID", str(number))
            self.text(quantity, line.quantity, unitCode=line.unit)
            self.amount("LineExtensionAmount", self.totals.nets[number - 1])
            for extra in line.extras:
                self.allowance_charge(extra, with_category=False)
            with self.group("Item"):
                self.text("Name", line.name)
                self.category("ClassifiedTaxCategory", line.category, line.rate)
            with self.group("Price"):
                self.amount("PriceAmount", line.price)
                if line.base:
                    self.text("BaseQuantity", line.base, unitCode=line.unit)


CII = "urn:un:unece:uncefact:data:standard:{}:100"
CII_SPACES = {
    "rsm": CII.format("CrossIndustryInvoice"),
    "ram": CII.format("ReusableAggregateBusinessInformationEntity"),
    "udt": CII.format("UnqualifiedDataType"),
}


class Cii:
    """Writes a document as UN/CEFACT CII (D16B)."""

    def __init__(self, invoice: Invoice) -> None:
        self.invoice = invoice
        self.totals = add_up(invoice)
        self.out: list[str] = []
        self.depth = 0

    def document(self) -> bytes:
        """Return the document's bytes."""
        invoice = self.invoice
        self.out = ['<?xml version="1.0" encoding="UTF-8"?>']
        declared = " ".join(f'xmlns:{prefix}="{space}"' for prefix, space in CII_SPACES.items())
        with self.element("rsm:CrossIndustryInvoice", declared):
            with (
                self.element("rsm:ExchangedDocumentContext"),
                self.element("ram:GuidelineSpecifiedDocumentContextParameter"),
            ):
                self.text("ram:ID", "urn:cen.eu:en16931:2017")
            with self.element("rsm:ExchangedDocument"):
                self.text("ram:ID", invoice.number)
                self.text("ram:TypeCode", "380" if invoice.kind == "Invoice" else "381")
                with self.element("ram:IssueDateTime"):
                    issued = date(2026, 1, 12) + timedelta(days=int(invoice.number[-4:]) * 6)
                    self.text("udt:DateTimeString", issued.strftime("%Y%m%d"), format="102")
            with self.element("rsm:SupplyChainTradeTransaction"):
                for number, line in enumerate(invoice.lines, 1):
                    self.line(number, line)
                with self.element("ram:ApplicableHeaderTradeAgreement"):
                    for role, name in (("Seller", "Muster & Söhne GmbH"), ("Buyer", invoice.buyer)):
                        with self.element(f"ram:{role}TradeParty"):
                            self.text("ram:Name", name)
                with self.element("ram:ApplicableHeaderTradeDelivery"):
                    pass
                with self.element("ram:ApplicableHeaderTradeSettlement"):
                    self.settlement()
        return "\n".join([*self.out, ""]).encode()

    @contextmanager
    def element(self, name: str, attributes: str = "") -> Iterator[None]:
        """Write an element around what is written within."""
        self.out.append(f"{'  ' * self.depth}<{name}{' ' * bool(attributes)}{attributes}>")
        self.depth += 1
        yield
        self.depth -= 1
        self.out.append(f"{'  ' * self.depth}</{name}>")

    def text(self, name: str, value: Decimal | str, **attributes: str) -> None:
        """Write an element with text."""
        given = "".join(f" {key}={quoteattr(text)}" for key, text in attributes.items())
        self.out.append(f"{'  ' * self.depth}<{name}{given}>{escape(str(value))}</{name}>")

    def line(self, number: int, line: InvoiceLine) -> None:
        """Write a line."""
        with self.element("ram:IncludedSupplyChainTradeLineItem"):
            with self.element("ram:AssociatedDocumentLineDocument"):
                self.text("ram:LineID", str(number))
            with self.element("ram:SpecifiedTradeProduct"):
                self.text("ram:Name", line.name)
            with (
                self.element("ram:SpecifiedLineTradeAgreement"),
                self.element("ram:NetPriceProductTradePrice"),
            ):
                self.text("ram:ChargeAmount", line.price)
                if line.base:
                    self.text("ram:BasisQuantity", line.base, unitCode=line.unit)
            with self.element("ram:SpecifiedLineTradeDelivery"):
                self.text("ram:BilledQuantity", line.quantity, unitCode=line.unit)
            with self.element("ram:SpecifiedLineTradeSettlement"):
                if line.category:
                    with self.element("ram:ApplicableTradeTax"):
                        self.category(line.category, line.rate)
                for extra in line.extras:
                    self.allowance_charge(extra, with_category=False)
                with self.element("ram:SpecifiedTradeSettlementLineMonetarySummation"):
                    self.text("ram:LineTotalAmount", self.totals.nets[number - 1])

    def category(self, code: str, rate: str) -> None:
        """Write a category of VAT."""
        self.text("ram:TypeCode", "VAT")
        self.text("ram:CategoryCode", code)
        if rate:
            self.text("ram:RateApplicablePercent", rate)

    def allowance_charge(self, extra: Extra, *, with_category: bool) -> None:
        """Write an allowance or a charge."""
        amount = Decimal(extra.amount)
        with self.element("ram:SpecifiedTradeAllowanceCharge"):
            with self.element("ram:ChargeIndicator"):
                self.text("udt:Indicator", "false" if amount < 0 else "true")
            self.text("ram:ActualAmount", abs(amount))
            self.text("ram:Reason", extra.reason)
            if with_category:
                with self.element("ram:CategoryTradeTax"):
                    self.category(extra.category, extra.rate)

    def settlement(self) -> None:
        """Write the tax and the sums."""
        invoice, totals = self.invoice, self.totals
        if invoice.accounting:
            self.text("ram:TaxCurrencyCode", invoice.accounting[0])
        self.text("ram:InvoiceCurrencyCode", invoice.currency)
        for code, rate, base, tax in totals.taxes:
            with self.element("ram:ApplicableTradeTax"):
                self.text("ram:CalculatedAmount", tax)
                self.text("ram:TypeCode", "VAT")
                if code in REASONS:
                    self.text("ram:ExemptionReason", REASONS[code])
                self.text("ram:BasisAmount", base)
                self.text("ram:CategoryCode", code)
                if rate:
                    self.text("ram:RateApplicablePercent", rate)
        for extra in invoice.extras:
            self.allowance_charge(extra, with_category=True)
        with self.element("ram:SpecifiedTradeSettlementHeaderMonetarySummation"):
            self.text("ram:LineTotalAmount", totals.lines)
            if totals.charges:
                self.text("ram:ChargeTotalAmount", totals.charges)
            if totals.allowances:
                self.text("ram:AllowanceTotalAmount", totals.allowances)
            self.text("ram:TaxBasisTotalAmount", totals.exclusive)
            self.text("ram:TaxTotalAmount", totals.tax, currencyID=invoice.currency)
            if invoice.accounting:
                currency, rate = invoice.accounting
                self.text("ram:TaxTotalAmount", rounded(totals.tax * Decimal(rate), currency), currencyID=currency)
            self.text("ram:GrandTotalAmount", totals.inclusive)
            if invoice.prepaid:
                self.text("ram:TotalPrepaidAmount", invoice.prepaid)
            if invoice.rounding:
                self.text("ram:RoundingAmount", invoice.rounding)
            self.text("ram:DuePayableAmount", totals.payable + Decimal(invoice.off))


INVOICES = (
    Invoice(
        "INV-2026-0001",
        "Fietsen van Dijk B.V.",
        (
            InvoiceLine("Wheel, 28 inch", "12", "38.90"),
            InvoiceLine("Spokes, per hundred", "350", "41.75", base="100"),
            InvoiceLine("Hours of assembly", "7.25", "54.00", unit="HUR"),
        ),
        extras=(Extra("Loyal customer", "-25.00"), Extra("Freight", "18.50")),
        prepaid="300.00",
        rounding="0.01",
    ),
    Invoice(
        "INV-2026-0002",
        "Boekhandel De Pagina",
        (
            InvoiceLine("Atlas of rivers", "3", "49.95", rate="7"),
            InvoiceLine("Reading lamp <E27>", "2", "27.49"),
            InvoiceLine("Stamps", "40", "0.95", rate="0", category="Z"),
            InvoiceLine("Kochbuch für Anfänger", "5", "18.695", rate="7"),
        ),
        extras=(Extra("Trade fair", "-10.00", rate="7"), Extra("Parcel", "4.90")),
    ),
    Invoice(
        "INV-2026-0003",
        "Café Zürich & Co.",
        (
            InvoiceLine("Espresso, 1 kg", "24", "17.35", "7", extras=(Extra("Dented tins", "-12.40"),)),
            InvoiceLine("Cups", "144", "2.185", extras=(Extra("Print", "36.00"), Extra("Second choice", "-5.55"))),
            InvoiceLine("Returned grinder", "-1", "289.00"),
        ),
    ),
    Invoice(
        "INV-2026-0004",
        "Stadtwerke Beispiel AG",
        (
            InvoiceLine("Electricity, day", "18234.5", "72.5", unit="KWH", base="1000"),
            InvoiceLine("Electricity, night", "9120.25", "0.0411", unit="KWH"),
            InvoiceLine("Meter, days of a year", "90", "84.30", unit="DAY", base="365"),
        ),
        currency="CHF",
        prepaid="1500.00",
        rounding="0.02",
    ),
    Invoice(
        "INV-2026-0005",
        "Half a Cent Ltd.",
        (
            InvoiceLine("Tie upwards", "1", "1460.50", rate="25"),
            InvoiceLine("Tie of a product", "5", "0.333", rate="25"),
            InvoiceLine("Tie that even would round down", "1", "0.50", rate="9"),
        ),
    ),
    Invoice(
        "INV-2026-0006",
        "Groothandel Oost",
        (
            InvoiceLine("Steel sheet", "3.755", "812.40", "0", "K", unit="TNE"),
            InvoiceLine("Cutting", "11", "19.80", "0", "AE", unit="HUR"),
        ),
        extras=(Extra("Pallets", "36.00", "K", "0"),),
    ),
    Invoice(
        "INV-2026-0007",
        "Acme Tools, Inc.",
        (
            InvoiceLine("Gear set", "16", "129.99", extras=(Extra("Volume", "-103.99"),)),
            InvoiceLine("Manual, printed", "16", "8.50", rate="7"),
        ),
        currency="USD",
        accounting=("EUR", "0.9214"),
    ),
    Invoice(
        "INV-2026-0008",
        "株式会社サンプル",
        (
            InvoiceLine("ノート", "37", "148", "10"),
            InvoiceLine("鉛筆", "250", "61.5", "10"),
            InvoiceLine("茶", "3", "972", "8"),
        ),
        currency="JPY",
        extras=(Extra("送料", "800", rate="10"),),
    ),
    Invoice(
        "INV-2026-0009",
        "Prefixes & Sons",
        (InvoiceLine("Namespace, default", "2", "19.99"), InvoiceLine("Namespace, bound", "6", "3.3333")),
        prefixes=("u:", "a:", ""),
        extras=(Extra("Early order", "-1.11"),),
    ),
    Invoice(
        "INV-2026-0010",
        "Bäckerei Höß",
        (
            InvoiceLine("Mehl, 25 kg", "8", "13.45", rate="7", unit="BG"),
            InvoiceLine("Größe M, Schürze", "4", "21.90"),
        ),
        encoding="ISO-8859-1",
    ),
    # The amount due is a cent too high.
    Invoice(
        "INV-2026-0011",
        "Off by One GmbH",
        (InvoiceLine("Cable, metre", "86.4", "2.35", unit="MTR"), InvoiceLine("Plugs", "30", "1.19")),
        prepaid="50.00",
        off="0.01",
    ),
    # Two digits changed places, and all sums go on from there.
    Invoice(
        "INV-2026-0012",
        "Swapped Digits S.A.",
        (InvoiceLine("Chair", "6", "119.30"), InvoiceLine("Desk", "3", "246.50", misstated="793.50")),
    ),
    Invoice(
        "INV-2026-0013",
        "Boulangerie Morel SARL",
        (
            InvoiceLine("Flour, 25 kg", "12", "14.85", rate="7", extras=(Extra("Torn bags", "-6.20"),)),
            InvoiceLine("Salt, per hundred kilos", "37.5", "44.10", rate="7", unit="KGM", base="100"),
            InvoiceLine("Oven, on loan", "1", "120.00"),
        ),
        extras=(Extra("Loyalty", "-10.00", rate="7"), Extra("Freight", "24.90")),
        prepaid="100.00",
        accounting=("CHF", "0.9361"),
        syntax="CII",
    ),
    # The tax is 40 cents too high, which the official tests forgive; the sums above it go on from there.
    Invoice(
        "INV-2026-0014",
        "Tolerance Ltd",
        (InvoiceLine("Consulting, hour", "37.25", "118.00", unit="HUR"), InvoiceLine("Train", "2", "89.90", "7")),
        tax_off="0.40",
        syntax="CII",
    ),
    # A line belongs to no category of VAT.
    Invoice(
        "INV-2026-0015",
        "No Category N.V.",
        (InvoiceLine("Desk lamp", "4", "39.50"), InvoiceLine("Gift wrapping", "4", "2.50", "", "")),
        syntax="CII",
    ),
    Invoice(
        "CN-2026-0003",
        "Boulangerie Morel SARL",
        (InvoiceLine("Flour, 25 kg", "1", "14.85", rate="7", extras=(Extra("Torn bags", "-6.20"),)),),
        kind="CreditNote",
        syntax="CII",
    ),
    Invoice(
        "CN-2026-0001",
        "Fietsen van Dijk B.V.",
        (
            InvoiceLine("Wheel, 28 inch", "2", "38.90", extras=(Extra("Scratched", "-7.00"),)),
            InvoiceLine("Spokes, per hundred", "36", "41.75", base="100"),
        ),
        kind="CreditNote",
        extras=(Extra("Share of the freight", "1.54"),),
    ),
    Invoice(
        "CN-2026-0002",
        "Evening School Leeds",
        (InvoiceLine("Course, cancelled", "1", "420.00", "0", "E"), InvoiceLine("Books kept", "-3", "21.75", "0", "E")),
        kind="CreditNote",
        currency="GBP",
        rounding="0.25",
    ),
)


def wrong_figures(invoice: Invoice) -> Iterator[dict[str, str]]:
    """Yield what the document states wrongly, with what it should be."""
    where = f"invoices/{invoice.number}.xml"
    for number, line in enumerate(invoice.lines, 1):
        if line.misstated:
            computed = str(net_of(line, invoice.currency))
            yield {"file": where, "rule": "LINE", "where": str(number), "stated": line.misstated, "computed": computed}
        if not line.category:
            yield {"file": where, "rule": "BR-CO-04", "where": str(number), "stated": "None", "computed": "None"}
    if Decimal(invoice.tax_off):
        code, rate, base, tax = add_up(invoice).taxes[0]
        computed = str(tax_of(base, rate, invoice.currency))
        place = {"file": where, "rule": "BR-CO-17", "where": f"{code} {rate}"}
        yield place | {"stated": str(tax), "computed": computed}
    if Decimal(invoice.off):
        due = add_up(invoice).payable
        stated = str(due + Decimal(invoice.off))
        yield {"file": where, "rule": "BR-CO-16", "where": "", "stated": stated, "computed": str(due)}


SYNTAXES: dict[str, Callable[[Invoice], Ubl | Cii]] = {"UBL": Ubl, "CII": Cii}


# ---- all of it -------------------------------------------------------------------------------------------------


def make(folder: Path, rows: int) -> None:
    """Write everything below `folder`; what lies there under the same names is replaced."""
    for name in ("orders", "invoices"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    refuse_other_files(folder / "invoices", {f"{invoice.number}.xml" for invoice in INVOICES})
    (folder / "catalogue.xml").write_bytes(catalogue().encode())
    (folder / "rates.json").write_bytes(rates().encode())
    (folder / "customers.jsonl").write_bytes(customers().encode())
    (folder / "eurofxref.xml").write_bytes(reference_rates(max(12, -(-rows // ROWS_A_FILE))).encode())
    for invoice in INVOICES:
        (folder / "invoices" / f"{invoice.number}.xml").write_bytes(SYNTAXES[invoice.syntax](invoice).document())
    counts: Counter[str] = Counter()
    touched = array("Q")
    # Written as it comes: a hundredth of a hundred million lines is a lot of mistakes.
    with (folder / "PLANTED.json").open("wb") as out:
        out.write(b'{\n"planted": [')

        def report(planted: Planted) -> None:
            out.write((",\n" if counts else "\n").encode() + planted.to_json().encode())
            counts[planted.kind] += 1
            if planted.kind != DUPLICATE:
                touched.append(int(planted.order_id.removeprefix("A-")))

        orders = write_orders(folder / "orders", rows, report)
        out.write(b'\n],\n"orders_touched": [')
        for index, number in enumerate(touched):
            out.write(f'{", " if index else ""}"A-{number}"'.encode())
        wrong = [each for invoice in INVOICES for each in wrong_figures(invoice)]
        rest = {"counts": {kind: counts[kind] for kind in KINDS}, "orders": orders, "invoices": wrong}
        out.write(b"],\n" + json.dumps(rest, indent=1)[2:].encode() + b"\n")


def refuse_other_files(folder: Path, names: set[str]) -> None:
    """Stop where a folder has files of other data, which a pipeline would read along."""
    others = sorted(path.name for path in folder.iterdir() if path.name not in names)
    if others:
        raise SystemExit(f"{folder}: {others[0]} is not of this data; give an empty folder or remove it")


def main() -> None:
    """Read the command line and write."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Make the data of the demo: orders, catalogue, rates, invoices.")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"order lines in all (default {ROWS:,})")
    parser.add_argument("--output", type=Path, default=here, metavar="DIR", help="default: beside this script")
    given = parser.parse_args()
    if given.rows < 100:
        parser.error("--rows: at least 100, or there is no room for the mistakes")
    if given.rows != ROWS and given.output.resolve() == here:
        parser.error("--rows needs --output DIR: the files beside the script are the committed ones")
    make(given.output, given.rows)
    print(f"{given.rows:,} order lines and {len(INVOICES)} invoices in {given.output}")


if __name__ == "__main__":
    main()
