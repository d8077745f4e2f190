"""The ECB's reference rates: weekends, holidays, cross rates, withdrawn currencies, by both twins and by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from assay import EcbRates
from assay.errors import PricingError
from assay.lookups import LookupContext
from assay.money import round_to
from assay.pricing import PriceBook, RatesTable
from assay.settings import Settings

FILE = "eurofxref-hist-90d-b.xml"
CUBE = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}Cube"
RESOLVED = {"kind": "resolve", "table": "list", "gives": ["amount"], "date": "day"}
FLAT = {"kind": "flat", "amount": {"column": "amount"}}


@pytest.fixture
def folder(suites: Path) -> Path:
    if not (suites / "fx-ecb" / FILE).is_file():
        pytest.skip("the ECB's rates are absent")
    return suites / "fx-ecb"


@pytest.fixture
def by_hand(folder: Path) -> dict[dt.date, dict[str, Decimal]]:
    """The file, read by the standard library."""
    days = [cube for cube in ET.parse(folder / FILE).iter(CUBE) if cube.get("time")]
    return {
        dt.date.fromisoformat(day.attrib["time"]): {one.attrib["currency"]: Decimal(one.attrib["rate"]) for one in day}
        for day in days
    }


def table(folder: Path, base: str = "EUR") -> RatesTable:
    return RatesTable(EcbRates(FILE, base=base).read(LookupContext((folder,), Settings())))


def book(to: str = "EUR", **fields: object) -> PriceBook:
    convert = {"kind": "convert", "to": to, "rates": "ecb", "direction": "divide", "date": "day", **fields}
    return PriceBook.model_validate({"currency": to, "rounding": "half_up", "steps": [FLAT, convert]})


def both(book: PriceBook, rates: RatesTable, lines: list[dict[str, Any]]) -> list[Any]:
    """What the reference and the twin say: net, rate and day of each line, or why there is none."""
    priced = book.price(pl.DataFrame(lines), rates={"ecb": rates}, errors="column").collect()
    said: list[Any] = []
    for line, row in zip(lines, priced.iter_rows(named=True), strict=True):
        try:
            receipt = book.quote(**line, rates={"ecb": rates})
        except PricingError as error:
            said.append(str(error))
            got: object = row["pricing_error"]
        else:
            said.append((receipt.net, receipt.fx_rate, receipt.fx_date))
            got = (row["net"], row["fx_rate"], row["fx_date"])
        assert got == said[-1]
    return said


def test_every_day_and_currency_weekends_and_holidays_among_them(
    folder: Path, by_hand: dict[dt.date, dict[str, Decimal]]
) -> None:
    first, last = min(by_hand), max(by_hand)
    days = [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
    currencies = sorted({currency for rates in by_hand.values() for currency in rates})
    assert (len(by_hand), len(days), len(currencies)) == (64, 89, 31)
    lines: list[dict[str, Any]] = [
        {"amount": Decimal("1234.56"), "currency": currency, "day": day} for day in days for currency in currencies
    ]
    rates = table(folder)
    places = {"JPY": 0, "KRW": 0}
    for missing in ("previous", "next", "error"):
        found = iter(
            both(
                book(on_missing=missing),
                rates,
                [line | {"amount": Decimal(1234) if line["currency"] in places else line["amount"]} for line in lines],
            )
        )
        for line, said in zip(lines, found, strict=True):
            published = [
                day
                for day in sorted(by_hand, reverse=missing == "previous")
                if day == line["day"] or (missing != "error" and (day < line["day"]) == (missing == "previous"))
            ]
            if not published:
                assert said == f'convert: no rate from "{line["currency"]}" to EUR on {line["day"]}'
                continue
            amount = Decimal(1234) if line["currency"] in places else line["amount"]
            rate = by_hand[published[0]][line["currency"]]
            net = round_to(Fraction(amount) / Fraction(rate), 2, "half_up")
            assert said == (net, rate, published[0])


def test_a_rate_that_is_too_old_is_none(folder: Path) -> None:
    """Between the years no bank day is further off than three days; a week after the last there is none."""
    rates, priced = table(folder), book(max_age=3)
    lines = [
        {"amount": Decimal(10), "currency": "USD", "day": day}
        for day in (dt.date(2016, 12, 26), dt.date(2017, 1, 1), dt.date(2017, 3, 6), dt.date(2017, 3, 7))
    ]
    said = both(priced, rates, lines)
    assert [one[2] if isinstance(one, tuple) else one for one in said] == [
        dt.date(2016, 12, 23),
        dt.date(2016, 12, 30),
        dt.date(2017, 3, 3),
        (
            'convert: no rate from "USD" to EUR on 2017-03-07: the nearest is of 2017-03-03, 4 days away, and 3 are '
            "allowed"
        ),
    ]


def test_cross_rates_by_way_of_the_euro(folder: Path, by_hand: dict[dt.date, dict[str, Decimal]]) -> None:
    rates, priced = table(folder, "USD"), book("USD")
    day = dt.date(2017, 1, 7)  # a Saturday
    friday = by_hand[dt.date(2017, 1, 6)]
    lines = [{"amount": Decimal(100), "currency": currency, "day": day} for currency in ("GBP", "EUR", "USD", "JPY")]
    said = both(priced, rates, lines)
    for line, (net, _, of) in zip(lines, said, strict=True):
        quoted = {"EUR": Decimal(1), **friday}[str(line["currency"])]
        # 18 places of a rate move no cent of such an amount.
        assert net == round_to(Fraction(100) * Fraction(friday["USD"]) / Fraction(quoted), 2, "half_up")
        assert of == (day if line["currency"] == "USD" else dt.date(2017, 1, 6))


@pytest.mark.parametrize(("currency", "euro"), [("BGN", "5.11"), ("HRK", "1.35")])
def test_withdrawn_currencies_convert_on_days_on_which_they_were_quoted(
    folder: Path, by_hand: dict[dt.date, dict[str, Decimal]], currency: str, euro: str
) -> None:
    line = {"amount": Decimal(10), "currency": currency, "day": dt.date(2017, 3, 3)}
    [(net, rate, day)] = both(book(), table(folder), [line])
    assert (str(net), rate, day) == (euro, by_hand[dt.date(2017, 3, 3)][currency], dt.date(2017, 3, 3))


def test_a_price_is_valid_as_long_as_its_rate(folder: Path) -> None:
    """Over Christmas the rate of the 23rd holds to the 27th, and so does what is priced by it."""
    convert = {"kind": "convert", "to": "EUR", "rates": "ecb", "direction": "divide", "date": "day", "max_age": 7}
    priced = PriceBook.model_validate(
        {"currency": "EUR", "rounding": "half_up", "zone": "Europe/Berlin", "steps": [RESOLVED, FLAT, convert]}
    )
    tables: dict[str, Any] = {
        "rates": {"ecb": table(folder)},
        "prices": {"list": [{"amount": "10", "currency": "USD", "valid_from": "2016-01-01"}]},
    }
    frame = pl.DataFrame({"currency": ["USD"], "day": [dt.date(2016, 12, 25)]})
    row = priced.price(frame, verify=1, **tables).collect().row(0, named=True)
    receipt = priced.quote(currency="USD", day="2016-12-25", **tables)
    window = (receipt.price_from, receipt.price_to)
    assert (row["price_from"], row["price_to"]) == window
    assert [one and one.isoformat() for one in window] == ["2016-12-23T00:00:00+01:00", "2016-12-27T00:00:00+01:00"]
