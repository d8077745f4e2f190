"""The reference rates of the European Central Bank, from its own files: XML and CSV, of a day or of its history.

Both are published at https://www.ecb.europa.eu/stats/eurofxref/: a rate is what one euro buys.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Final

import polars as pl
from lxml import etree

from assay.errors import LookupFailed, SourceError
from assay.lookups.protocol import LookupContext, need_keys
from assay.lookups.registry import LookupFactory
from assay.lookups.table import OpenTable

RATES: Final = pl.Schema({"currency": pl.String(), "rate": pl.Decimal(38, 18), "valid_from": pl.Date()})
"""Columns of a table of dated rates."""

_PLAIN: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_MOST_DIGITS: Final = 19
_MOST_BYTES: Final = 64 * 1024 * 1024
_CUBE: Final = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}Cube"


@LookupFactory.register("ecb")
@dataclass(frozen=True)
class EcbRates:
    """A file of the ECB as dated rates: currency, rate, valid_from; `base` itself stands in it at 1, on every day.

    There is no rate on weekends and the bank's holidays: `Dated(EcbRates(...), max_age_days=...)` says what then holds.

    Args:
        path: eurofxref-*.xml, or eurofxref*.csv out of its archive; relative to the project, else to the pipeline.
        base: The currency that the rates are against. Another than EUR gives cross rates by way of the euro:
            what one unit of it buys, rounded half even to 18 places, since a quotient need not be a decimal. On days
            without a rate for it there are none.
        name: What rejects and reports call it.
    """

    path: str
    base: str = "EUR"
    name: str = "ecb"
    dated: ClassVar[bool] = False

    def columns(self) -> pl.Schema:
        """Those of dated rates."""
        return RATES

    def read(self, context: LookupContext) -> pl.DataFrame:
        """All rates of all days, by day, then as they stand in the file.

        Raises:
            SourceError: the file cannot be read, or is no such file.
            LookupFailed: a rate is no number above 0 that fits, or there is none for `base` on any day.
        """
        path = context.resolve(context.fill(self.path))
        try:
            data = Path(path).read_bytes() if Path(path).stat().st_size <= _MOST_BYTES else None
        except OSError as error:
            raise SourceError(error.strerror or str(error), file=path) from None
        if data is None:
            raise SourceError(f"is over {_MOST_BYTES:,} bytes, which no file of rates is", file=path)
        days = _from_xml(data, path) if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") else _from_csv(data, path)
        if not days:
            raise SourceError("has no rates: no day with a currency", file=path)
        rows: list[tuple[str, Decimal, date]] = []
        for day, rates in sorted(days.items()):
            # Before the bank quoted a currency, while it did not, and since it no longer does, it has no rate.
            pivot = rates.get(self.base)
            if pivot is not None:
                if rows:
                    rows += self._itself(rows[-1][2], day)
                rows += [self._row(currency, pivot, rate, day, path) for currency, rate in rates.items()]
        if not rows:
            raise LookupFailed(f"lookup {self.name}: {path}: no rate for {self.base} on any day")
        return pl.DataFrame(rows, schema=RATES, orient="row")

    def _itself(self, last: date, day: date) -> list[tuple[str, Decimal, date]]:
        """The base at 1 on the days between two that are quoted: one unit of it always buys one."""
        return [(self.base, Decimal(1), last + timedelta(days=n)) for n in range(1, (day - last).days)]

    def _row(self, currency: str, pivot: Decimal, quoted: Decimal, day: date, path: str) -> tuple[str, Decimal, date]:
        rate = cross_rate(pivot, quoted)
        if not rate or rate.adjusted() > _MOST_DIGITS:
            raise LookupFailed(
                f"lookup {self.name}: {path}: {day}: {self.base} in {currency} is {rate}, which no rate of 18 places "
                "and 20 digits before them can be"
            )
        return currency, rate, day

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenTable:
        """Read the rates; by currency alone it must be the file of one day."""
        need_keys(self.name, on, RATES)
        return OpenTable(self.name, self.read(context), on)


def cross_rate(base: Decimal, quoted: Decimal) -> Decimal:
    """What one unit of a currency buys of another, both against the same pivot: quoted / base, to 18 places half even.

    >>> cross_rate(Decimal("1.25"), Decimal("0.85"))    # 1 USD in GBP, where 1 EUR = 1.25 USD = 0.85 GBP
    Decimal('0.68')
    """
    numerator, n_scale = _scaled(quoted)
    denominator, d_scale = _scaled(base)
    # Integers, since every Decimal context rounds what does not fit, once more and silently.
    top, bottom = numerator * 10 ** (18 + d_scale), denominator * 10**n_scale
    whole, rest = divmod(top, bottom)
    whole += rest * 2 > bottom or (rest * 2 == bottom and whole % 2 == 1)
    text = f"{whole:019d}"
    made = f"{text[:-18]}.{text[-18:]}".rstrip("0").rstrip(".")
    return Decimal(made)


def _scaled(value: Decimal) -> tuple[int, int]:
    """Digits as an integer, and how many of them stand behind the point."""
    numerator, denominator = value.as_integer_ratio()
    scale = max(0, -int(value.as_tuple().exponent))
    return numerator * 10**scale // denominator, scale


def _from_xml(data: bytes, path: str) -> dict[date, dict[str, Decimal]]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise SourceError(f"is no XML: {error.msg}", file=path) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise SourceError("has a DOCTYPE, which no file of rates has", file=path)
    days: dict[date, dict[str, Decimal]] = {}
    for cube in root.iter(_CUBE):
        stated = cube.get("time")
        if stated is None:
            continue
        day = _day(str(stated), path)
        pairs = [(str(one.get("currency")), str(one.get("rate"))) for one in cube.iter(_CUBE) if one.get("currency")]
        _add(days, day, pairs, path)
    return days


def _from_csv(data: bytes, path: str) -> dict[date, dict[str, Decimal]]:
    try:
        lines = list(csv.reader(data.decode("utf-8-sig").splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        if data.startswith(b"PK"):
            raise SourceError("is an archive: take the CSV out of it first", file=path) from None
        raise SourceError(f"is no CSV of rates: {error}", file=path) from None
    head = [cell.strip() for cell in lines[0]] if lines else []
    if not head or head[0] != "Date":
        raise SourceError('is no file of rates of the ECB: its first column is not "Date"', file=path)
    days: dict[date, dict[str, Decimal]] = {}
    for number, line in enumerate(lines[1:], 2):
        cells = [cell.strip() for cell in line]
        if not any(cells):
            continue
        if len(cells) != len(head):
            raise SourceError(f"line {number} has {len(cells)} cells, the first {len(head)}", file=path)
        # Lines end in a comma. A currency has no rate before it was quoted, and none after.
        pairs = [
            (code, cell) for code, cell in zip(head[1:], cells[1:], strict=True) if code and cell not in ("", "N/A")
        ]
        _add(days, _day(cells[0], path), pairs, path)
    return days


def _add(days: dict[date, dict[str, Decimal]], day: date, pairs: list[tuple[str, str]], path: str) -> None:
    if day in days:
        raise LookupFailed(f"{path}: the day {day} stands in it twice")
    rates = {"EUR": Decimal(1)}
    for currency, text in pairs:
        if currency in rates:
            raise LookupFailed(f"{path}: {day}: {currency} has two rates")
        rates[currency] = _rate(text, f"{path}: {day}: {currency}")
    days[day] = rates


def _rate(text: str, place: str) -> Decimal:
    rate = Decimal(text) if _PLAIN.fullmatch(text) else Decimal(0)
    if rate <= 0 or rate.adjusted() >= 18 or int(rate.as_tuple().exponent) < -18:
        raise LookupFailed(f"{place}: {text!r} is no rate: a decimal over 0, with at most 18 digits on each side")
    return rate


def _day(text: str, path: str) -> date:
    for form in ("%Y-%m-%d", "%d %B %Y"):
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    raise SourceError(f"{text!r} is no day, such as 2026-10-30 or 30 October 2026", file=path)
