"""Boundary tests of a book: a pytest file of what items cost at each edge, and a smallest step beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from assay.errors import PricingError
from assay.money import plain
from assay.pricing.probing import Prober
from assay.pricing.rates import RatesTable
from assay.pricing.search import Search
from assay.pricing.terms import Terms

if TYPE_CHECKING:
    from assay.pricing.book import PriceBook

_HEAD = '''"""What items cost at each edge of {file}, and one smallest step before and after it.

Written by `assay check {file} --write-tests`, as the book was then ({fingerprint}): yours to keep and to change.
"""

{imports}
HERE = Path(__file__).resolve().parent
BOOK = PriceBook.load(HERE / {path})
{rates}'''

_PRICED = """

@pytest.mark.parametrize(("inputs", "total"), PRICED)
def test_total_at_an_edge(inputs, total):
    assert str(BOOK.quote({given}**inputs).total) == total
"""

_REFUSED = """

@pytest.mark.parametrize("inputs", REFUSED)
def test_refused_at_an_edge(inputs):
    with pytest.raises(PricingError):
        BOOK.quote({given}**inputs)
"""


def boundary_tests(book: PriceBook, terms: Terms, path: str) -> str:
    """A Python module with a test of every edge of the book.

    Rates tables that the book asks for are written into it, with rates of 1.

    Args:
        book: As it prices now: its totals are what the tests expect.
        terms: The book's, with rates of 1.
        path: Of the book's file, from the folder of the tests.
    """
    items: list[dict[str, Any]] = [dict(inputs) for inputs in _items(Search(Prober(book.steps, terms), {}))]
    rates = _rates(book, items)
    tables = {name: RatesTable(rows) for name, rows in rates.items()}
    priced: list[str] = []
    refused: list[str] = []
    for inputs in items:
        given = _literal(inputs)
        try:
            total = book.quote(rates=tables, **inputs).total
        except PricingError:
            refused.append(f"    {given},\n")
        else:
            priced.append(f'    ({given}, "{total}"),\n')
    dated = any(isinstance(rows, pl.DataFrame) for rows in rates.values())
    file = path.rsplit("/", 1)[-1]
    head = _HEAD.format(
        file=file,
        fingerprint=book.fingerprint[:12],
        imports=_imports(refused=bool(refused), dated=dated),
        path=_quoted(path),
        rates=_written(rates),
    )
    given = "rates=RATES, " if rates else ""
    text = head
    if priced:
        text += "\nPRICED = [\n" + "".join(priced) + "]\n"
    if refused:
        text += ("" if priced else "\n") + "REFUSED = [\n" + "".join(refused) + "]\n"
    if priced:
        text += _PRICED.format(given=given)
    return text + (_REFUSED.format(given=given) if refused else "")


def _items(search: Search) -> Iterator[Mapping[str, object]]:
    """Each edge, and one smallest step before and after it; of a book without edges one item."""
    told: set[str] = set()
    for axis in search.axes.values():
        for value in sorted(axis.owners):
            for point in axis.beside(value):
                inputs = {**axis.base, axis.input: point}
                if point is not None and _literal(inputs) not in told:
                    told.add(_literal(inputs))
                    yield inputs
    if not told:
        yield search.base


def _rates(book: PriceBook, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Tables in which the book's currency has the rate 1, on each day that the items have."""
    made: dict[str, Any] = {}
    for step in book.steps:
        name = step.rate_table()
        if name is None:
            continue
        if not step.dated():
            made[name] = {book.currency: "1"}
            continue
        days = {value for inputs in items for value in inputs.values() if isinstance(value, dt.date)}
        plain_days = sorted({day.date() if isinstance(day, dt.datetime) else day for day in days})
        columns = {"currency": [book.currency] * len(plain_days), "valid_from": plain_days}
        made[name] = pl.DataFrame(columns | {"rate": [Decimal(1)] * len(plain_days)})
    return made


def _written(rates: Mapping[str, Any]) -> str:
    if not rates:
        return ""
    lines = ["", "# Every rate is 1: the tests are of the book, not of the rates.", "RATES = {"]
    for name, table in rates.items():
        if isinstance(table, pl.DataFrame):
            lines += [f"    {_quoted(name)}: at_par(", f"        {_quoted(table['currency'][0])},", "        ["]
            lines += [f'            "{day}",' for day in table["valid_from"]]
            lines += ["        ],", "    ),"]
        else:
            lines.append(f"    {_quoted(name)}: {_literal(table)},")
    return "\n".join([*lines, "}", ""])


_AT_PAR = '''

def at_par(currency, days):
    """Rates of 1 from each of these days."""
    dates = [date.fromisoformat(day) for day in days]
    rows = {"currency": [currency] * len(days), "valid_from": dates, "rate": [Decimal(1)] * len(days)}
    return RatesTable(pl.DataFrame(rows))

'''


def _imports(*, refused: bool, dated: bool) -> str:
    lines = []
    if dated:
        lines += ["from datetime import date", "from decimal import Decimal"]
    lines += ["from pathlib import Path", ""]
    if dated:
        lines.append("import polars as pl")
    lines += ["import pytest", ""]
    if refused:
        lines.append("from assay.errors import PricingError")
    lines.append("from assay.pricing import PriceBook" + (", RatesTable" if dated else ""))
    return "\n".join(lines) + "\n" + (_AT_PAR if dated else "")


def _literal(inputs: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{_quoted(name)}: {_quoted(_text(value))}" for name, value in inputs.items()) + "}"


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
