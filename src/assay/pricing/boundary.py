"""Boundary tests of a book: a pytest file of what items cost at each edge, and a smallest step beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from assay.errors import PricingError
from assay.money import plain
from assay.pricing.price_list import PriceList
from assay.pricing.price_rows import MATCH
from assay.pricing.probing import Prober
from assay.pricing.rates import RatesTable, places
from assay.pricing.search import Axis, Point, Search
from assay.pricing.strategies.resolve import Resolve
from assay.pricing.terms import Terms

if TYPE_CHECKING:
    from assay.pricing.book import PriceBook

_ROWS = 50
"""Of so many rows of a list the edges are tested."""

_HEAD = '''"""What items cost at each edge of {file}, and one smallest step before and after it.

Written by `assay check {file} --write-tests`, as the book was then ({fingerprint}): yours to keep and to change.
"""

{imports}
{left_out}HERE = Path(__file__).resolve().parent
BOOK = PriceBook.load(HERE / {path})
{prices}{rates}'''

_PRICED = """

@pytest.mark.parametrize(("inputs", "total"), PRICED)
def test_total_at_an_edge(inputs, total):
    assert str(BOOK.quote({given}).total) == total
"""

_REFUSED = """

@pytest.mark.parametrize("inputs", REFUSED)
def test_refused_at_an_edge(inputs):
    with pytest.raises(PricingError):
        BOOK.quote({given})
"""


def boundary_tests(book: PriceBook, terms: Terms, path: str, lists: Mapping[str, str]) -> str:
    """A Python module with a test of every edge of the book, and of those of some rows of its price lists.

    Rates tables that the book asks for are written into it, with rates of 1; price lists are loaded from their files.

    Args:
        book: As it prices now: its totals are what the tests expect.
        terms: The book's, with rates of 1, and its price lists.
        path: Of the book's file, from the folder of the tests.
        lists: The same of the price lists, by name.
    """
    search = Search(Prober(book.steps, terms), {})
    left_out: list[str] = []
    items: list[dict[str, Any]] = [dict(inputs) for inputs in _items(search)]
    for step in search.prober.steps:
        if isinstance(step, Resolve) and step.table in terms.prices:
            items += _of_list(step, terms.prices[step.table], search, left_out)
    items = list({_literal(inputs): inputs for inputs in items}.values()) or [dict(search.base)]
    nobody: dict[str, Any] = dict.fromkeys(name for one in lists for name in terms.prices[one].matches)
    rates = _rates(book, items)
    tables = {name: RatesTable(rows) for name, rows in rates.items()}
    priced: list[str] = []
    refused: list[str] = []
    for inputs in items:
        given = _literal(inputs)
        try:
            total = book.quote(rates=tables, prices=terms.prices, **nobody | inputs).total
        except PricingError:
            refused.append(f"    {given},\n")
        else:
            priced.append(f'    ({given}, "{total}"),\n')
    dated = any(isinstance(rows, pl.DataFrame) for rows in rates.values())
    file = path.rsplit("/", 1)[-1]
    head = _HEAD.format(
        file=file,
        fingerprint=book.fingerprint[:12],
        imports=_imports(refused=bool(refused), dated=dated, lists=bool(lists)),
        left_out="".join(f"# {line}\n" for line in left_out),
        path=_quoted(path),
        prices=_loaded(lists, nobody),
        rates=_written(rates),
    )
    given = ("prices=PRICES, " if lists else "") + ("rates=RATES, " if rates else "")
    given += "**NOBODY | inputs" if nobody else "**inputs"
    text = head
    if priced:
        text += "\nPRICED = [\n" + "".join(priced) + "]\n"
    if refused:
        text += ("" if priced else "\n") + "REFUSED = [\n" + "".join(refused) + "]\n"
    if priced:
        text += _PRICED.format(given=given)
    return text + (_REFUSED.format(given=given) if refused else "")


def _items(search: Search) -> Iterator[Mapping[str, object]]:
    """Each edge of the book, and one smallest step before and after it."""
    for axis in search.axes.values():
        for value in sorted(axis.owners):
            if all(step.resolves for step, _ in axis.owners[value]):
                continue
            for point in axis.beside(value):
                if point is not None:
                    yield {**axis.base, axis.input: point}


def _of_list(step: Resolve, prices: PriceList, search: Search, left_out: list[str]) -> Iterator[dict[str, Any]]:
    """Each edge of some rows of a list, evenly apart: where quantities and windows begin and end, and beside it."""
    every = len(prices.rows)
    numbers = sorted({place * every // _ROWS for place in range(_ROWS)}) if every > _ROWS else range(every)
    if len(numbers) < every:
        left_out.append(
            f"Of {step.table}: the edges of {len(numbers)} rows, evenly apart; those of {every:,} are more."
        )
    own = {*MATCH, step.date, step.quantity}
    base = {name: value for name, value in search.base.items() if name not in own}
    breaks = [one for row in prices.rows for one in (row.min_quantity, row.max_quantity) if one]
    unit = Decimal(1).scaleb(-max(map(places, breaks), default=0))
    units = [axis.unit for axis in search.axes.values() if axis.input == step.quantity and axis.unit is not None]
    for number in numbers:
        row = prices.rows[number]
        inside = base | step.asking_for(row)
        if step.quantity is not None:
            inside[step.quantity] = row.min_quantity or min(Decimal(1), row.max_quantity or Decimal(1))
            axis = Axis(step.quantity, inside, min([unit, *units]), search.prober)
            yield from _beside(axis, row.min_quantity or None, row.max_quantity)
        if step.date is not None:
            yield from _beside(Axis(step.date, inside, None, search.prober), row.valid_from, row.valid_to)


def _beside(axis: Axis, *values: Point | None) -> Iterator[dict[str, Any]]:
    for value in values:
        for point in () if value is None else axis.beside(value):
            if point is not None:
                yield {**axis.base, axis.input: point}


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


def _loaded(lists: Mapping[str, str], nobody: Mapping[str, object]) -> str:
    if not lists:
        return ""
    named = ", ".join(f"{_quoted(name)}: PriceList.load(HERE / {_quoted(path)})" for name, path in lists.items())
    text = f"PRICES = {{{named}}}\n"
    return text + (f"NOBODY = {_literal(nobody)}\n" if nobody else "")


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


def _imports(*, refused: bool, dated: bool, lists: bool) -> str:
    lines = []
    if dated:
        lines += ["from datetime import date", "from decimal import Decimal"]
    lines += ["from pathlib import Path", ""]
    if dated:
        lines.append("import polars as pl")
    lines += ["import pytest", ""]
    if refused:
        lines.append("from assay.errors import PricingError")
    names = ["PriceBook", *(["PriceList"] if lists else []), *(["RatesTable"] if dated else [])]
    lines.append(f"from assay.pricing import {', '.join(names)}")
    return "\n".join(lines) + "\n" + (_AT_PAR if dated else "")


def _literal(inputs: Mapping[str, object]) -> str:
    return (
        "{"
        + ", ".join(
            f"{_quoted(name)}: {'None' if value is None else _quoted(_text(value))}" for name, value in inputs.items()
        )
        + "}"
    )


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
