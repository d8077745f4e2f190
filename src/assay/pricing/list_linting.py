"""Findings in price lists: rows that tie, days without a row, rows that never count; one group of rows at a time.

Rows that are for the same (the same columns name the same) are looked at together, at their own quantities and
moments, by the list's reference: the cost grows with the number of rows, and only within a group with its square.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from assay.money import plain
from assay.pricing.moments import shown_instant
from assay.pricing.price_list import Asked, PriceList
from assay.pricing.price_rows import MATCH, PriceRow

MOST = 200
"""A group of more rows is told, and not looked at: each would be compared with all of its group."""


@dataclass(frozen=True)
class ListFinding:
    """What was found in a list.

    Attributes:
        rule: As the linter of books calls it.
        message: In words.
        names: What was asked for, by column.
        quantity: How many, or None.
        at: When (UTC), or None.
    """

    rule: str
    message: str
    names: dict[str, str]
    quantity: Decimal | None
    at: dt.datetime | None


def list_findings(prices: PriceList, zone: str | None) -> Iterator[ListFinding]:
    """Ties, holes between windows, and rows that never count, at the last that was known."""
    groups: dict[tuple[str | None, ...], list[PriceRow]] = {}
    for row in prices.rows:
        if row.is_known(None):
            groups.setdefault(row.match, []).append(row)
    windows = prices.windows(zone)
    for match, rows in groups.items():
        if len(rows) > MOST:
            names = _names(match)
            told = f"{len(rows)} rows are for {_told(names, None)}: more than {MOST} are not compared with each other"
            yield ListFinding("unchecked", told, names, None, None)
        elif len(rows) > 1:
            yield from _in_group(prices, zone, match, rows, [windows[row.number - 1] for row in rows])


def _in_group(
    prices: PriceList,
    zone: str | None,
    match: tuple[str | None, ...],
    rows: Sequence[PriceRow],
    windows: Sequence[tuple[int | None, int | None]],
) -> Iterator[ListFinding]:
    ends = sorted({edge for window in windows for edge in window if edge is not None})
    moments: list[int | None] = [None] if not prices.dated else [ends[0] - 1 if ends else 0, *ends]
    quantities: list[Decimal | None] = [None]
    if prices.breaks:
        tops = {row.max_quantity for row in rows if row.max_quantity is not None}
        quantities = sorted({row.min_quantity or Decimal(1) for row in rows} | tops | {top + 1 for top in tops})  # type: ignore[assignment]
    names = _names(match)
    shown = {at: shown_instant(at, prices.zone or zone) for at in moments}
    counted: set[int] = set()
    tied: set[tuple[int, ...]] = set()
    for quantity in quantities:
        found = [(at, prices.resolve(Asked(match, at, quantity, None), zone)) for at in moments]
        for at, best in found:
            own = [row for row in best if row.match == match]
            counted |= {row.number for row in own}
            key = tuple(row.number for row in own)
            if len(own) > 1 and key not in tied:
                tied.add(key)
                both = " and ".join(f'"{row.id}" (row {row.number})' for row in own[:2])
                told = f"{both} tie for {_told(names, quantity, shown[at])}: end one, or give one a priority"
                yield ListFinding("overlap", told, names, quantity, shown_instant(at, None))
        filled = [place for place, (_, best) in enumerate(found) if best]
        for before, after in pairwise(filled):
            if after - before > 1:
                at = found[before + 1][0]
                yield ListFinding(
                    "dates", f"no row for {_told(names, quantity, shown[at])}", names, quantity, shown_instant(at, None)
                )
                break
    for row in rows:
        if row.number not in counted:
            told = f'"{row.id}" (row {row.number}) never counts: others come before it for {_told(names, None)}'
            yield ListFinding(
                "unreachable", told, names, row.min_quantity or Decimal(1) if prices.breaks else None, None
            )


def _names(match: tuple[str | None, ...]) -> dict[str, str]:
    return {name: value for name, value in zip(MATCH, match, strict=True) if value is not None}


def _told(names: dict[str, str], quantity: Decimal | None, at: dt.datetime | None = None) -> str:
    words = [f'{name} "{value}"' for name, value in names.items()] or ["anything"]
    if quantity is not None:
        words.append(f"quantity {plain(quantity)}")
    return ", ".join(words) + ("" if at is None else f" at {at:%Y-%m-%d %H:%M %Z}")
