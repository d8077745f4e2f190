"""Which price applies: the list is a scalar loop over all rows, and batch is quote, whatever the windows are like."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st
from tests.pricing.drawn import reasons, shown, told

from assay.errors import ConfigurationError, PricingError
from assay.money import Scaled
from assay.pricing import DocumentRating, PriceBook, PriceList, Receipt, price_index
from assay.pricing.price_index import FOR_EVER, NONE, Axis, Ints, PriceIndex
from assay.pricing.price_rows import PriceRow
from assay.pricing.twin import Runner

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICRO = dt.timedelta(microseconds=1)

#: Zones, and local times at which their clocks do something odd: put forward at night or at midnight, put back over
#: midnight, a day left out; with leap days and ordinary ones.
ZONES = {
    None: ["2024-02-29T00:00", "2024-02-29T23:59:59.999999", "2026-03-01T00:00"],
    "Europe/Berlin": [
        "2026-03-29T02:00",
        "2026-03-29T02:30",
        "2026-03-29T03:00",
        "2026-10-25T02:00",
        "2026-10-25T03:00",
    ],
    "America/Sao_Paulo": ["2018-11-04T00:00", "2018-11-04T01:00", "2018-02-17T23:30", "2018-02-18T00:00"],
    "America/St_Johns": ["2006-10-28T23:01", "2006-10-29T00:00", "2006-10-29T00:01"],
    "Pacific/Apia": ["2011-12-29T00:00", "2011-12-30T00:00", "2011-12-31T00:00"],
    "Asia/Kathmandu": ["2024-02-28T00:00", "2024-02-29T00:00", "2024-03-01T05:45"],
}
MATCH = ("contract", "customer", "customer_group", "channel", "product", "tax_category", "place", "currency")
NAMES = ("customer", "customer_group", "product", "currency")
VALUES = {"currency": (None, "EUR", "EUR", "USD")}
UNITS = [Decimal(text) for text in ("0", "1", "2", "2.5", "2.50001", "10")]
KNOWN = [dt.datetime(2026, month, 1, hour, tzinfo=dt.UTC) for month, hour in product((1, 2, 4), (0, 12))]


def at(moment: dt.date, zone: str | None) -> int:
    """Microseconds since the epoch."""
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime.combine(moment, dt.time())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone or "UTC"))
    return (moment - EPOCH) // MICRO


@dataclass(frozen=True)
class Case:
    """A list's rows, what is asked of it, and the zone of the book."""

    rows: list[dict[str, Any]]
    asked: list[dict[str, Any]]
    zone: str | None
    known_at: dt.datetime | None
    kind: str

    @property
    def dated(self) -> bool:
        return any(row.get("valid_from") or row.get("valid_to") for row in self.rows)

    def book(self) -> PriceBook:
        resolve = {"kind": "resolve", "table": "list", "gives": ["unit_price"], "quantity": "quantity", "date": "day"}
        per_unit = {"kind": "per_unit", "unit_price": {"column": "unit_price"}}
        content = {"currency": "EUR", "rounding": "half_up", "mixed": True, "steps": [resolve, per_unit]}
        return PriceBook.model_validate(content | ({} if self.zone is None else {"zone": self.zone}))


@st.composite
def moments(draw: st.DrawFn, zone: str | None, kind: str) -> dt.date:
    """Near one of the odd times of a zone, or on it: a day, a time on the wall, an instant."""
    wall = dt.datetime.fromisoformat(draw(st.sampled_from(ZONES[zone])))
    near = (
        wall
        + draw(st.sampled_from([-86_400 * 10**6, -3600 * 10**6, -1, 0, 0, 0, 1, 1800 * 10**6, 86_400 * 10**6])) * MICRO
    )
    if kind == "date":
        return near.date()
    return near if kind == "wall" else near.replace(tzinfo=ZoneInfo(zone or "UTC"), fold=draw(st.integers(0, 1)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    zone = draw(st.sampled_from(list(ZONES)))
    kinds = ["date", "wall", "instant"] if zone is not None else draw(st.sampled_from([["date", "wall"], ["instant"]]))
    columns = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    known = draw(st.booleans())
    listed = draw(st.sampled_from(kinds))
    rows = []
    for number in range(draw(st.integers(0, 10))):
        row: dict[str, Any] = {
            name: draw(st.sampled_from(VALUES.get(name, (None, None, "a", "b")))) for name in columns
        }
        row["id"] = f"r{number}"
        row["unit_price"] = Decimal(number + 1)
        row["min_quantity"] = draw(st.sampled_from([UNITS[0], *UNITS[:4]]))
        most = draw(st.sampled_from([None, None, None, *UNITS]))
        row["max_quantity"] = None if most is None else max(most, row["min_quantity"])
        row["priority"] = draw(st.sampled_from([0, 0, 0, 1, -1]))
        start, end = (draw(st.none() | moments(zone, draw(st.sampled_from([listed, *kinds])))) for _ in range(2))
        if start is not None and end is not None and at(start, zone) > at(end, zone):
            start, end = end, start
        row["valid_from"], row["valid_to"] = start, end
        if known:
            row["known_from"], row["known_to"] = draw(
                st.sampled_from([(None, None), (KNOWN[0], KNOWN[3]), *((one, None) for one in KNOWN)])
            )
            row["id"] = draw(st.sampled_from([f"r{number}", "x", "y"]))
        rows.append(row)
    kind = draw(st.sampled_from(kinds))
    asked = [
        {
            **{name: draw(st.sampled_from(("a", "a", "b", None))) for name in NAMES if name != "currency"},
            "currency": draw(st.sampled_from(["EUR", "EUR", "USD"])),
            "day": draw(st.none() | moments(zone, kind)) if draw(st.integers(0, 9)) == 0 else draw(moments(zone, kind)),
            "quantity": draw(st.sampled_from([*UNITS, Decimal("9.999"), Decimal("-2.5"), Decimal(10) ** 20])),
            "known_at": draw(st.none() | st.sampled_from(KNOWN)),
        }
        for _ in range(draw(st.integers(1, 6)))
    ]
    if not draw(st.booleans()):
        for line in asked:
            del line["known_at"]
    return Case(rows, asked, zone, draw(st.none() | st.sampled_from(KNOWN)), kind)


def listed(case: Case) -> PriceList:
    try:
        return PriceList(case.rows or pl.DataFrame(schema={"unit_price": pl.Decimal(38, 0)}), zone=case.zone)
    except ConfigurationError as error:
        # Two rows of one id known from the same moment; windows that only the calendar has.
        assume("keep one" not in str(error) and "no time at all" not in str(error))
        raise


def winners(case: Case, line: Mapping[str, Any]) -> list[int]:
    """The scalar loop over all rows, which knows nothing of how a list is kept: the places of those that win."""
    known = line.get("known_at") or case.known_at
    fitting = []
    for number, row in enumerate(case.rows):
        since = row.get("known_from")
        later = [
            other["known_from"]
            for other in case.rows
            if other["id"] == row["id"] and other.get("known_from") and (since is None or other["known_from"] > since)
        ]
        fits = (
            all(row.get(name) in (None, line[name]) for name in NAMES)
            and (since is None or known is None or since <= known)
            and not any(known is None or other <= known for other in later)
            and (row.get("known_to") is None or (known is not None and known < row["known_to"]))
            and row["min_quantity"] <= abs(line["quantity"])
            and (row["max_quantity"] is None or abs(line["quantity"]) <= row["max_quantity"])
            and (
                not case.dated
                or row["valid_from"] is None
                or at(row["valid_from"], case.zone) <= at(line["day"], case.zone)
            )
            and (
                not case.dated or row["valid_to"] is None or at(line["day"], case.zone) < at(row["valid_to"], case.zone)
            )
        )
        if fits:
            named = tuple(row.get(name) is not None for name in MATCH)
            fitting.append(((named, row["min_quantity"], row["priority"]), number))
    best = max((rank for rank, _ in fitting), default=None)
    return [number for rank, number in fitting if rank == best]


def frame_of(case: Case) -> pl.DataFrame:
    zone = "UTC" if case.kind == "instant" else None
    kind = pl.Date() if case.kind == "date" else pl.Datetime("us", zone)
    schema = dict.fromkeys((*NAMES,), pl.String()) | {"day": kind, "quantity": pl.Decimal(38, 5)}
    if "known_at" in case.asked[0]:
        schema["known_at"] = pl.Datetime("us", "UTC")
    columns = {name: [line[name] for line in case.asked] for name in schema}
    if zone is not None:
        columns["day"] = [None if one is None else one.astimezone(dt.UTC) for one in columns["day"]]
    return pl.DataFrame(columns, schema=schema)


def quoted(
    book: PriceBook, line: Mapping[str, Any], prices: PriceList, known_at: dt.datetime | None
) -> Receipt | PricingError:
    try:
        return book.quote_document([line], prices={"list": prices}, known_at=known_at).receipts[0]
    except PricingError as error:
        return error


def check(case: Case) -> None:
    prices, book = listed(case), case.book()
    assert prices.zone == case.zone
    frame = frame_of(case)
    unsaid = {name: None for name in MATCH if name not in (*NAMES, "currency")}
    referred: list[object] = []

    by_reference = Runner.document

    def counted(runner: Runner, lines: Sequence[Mapping[str, object]]) -> DocumentRating:
        referred.append(lines)
        return by_reference(runner, lines)

    with mock.patch.object(Runner, "document", counted):
        priced = book.price(
            frame, inputs=unsaid, prices={"list": prices}, known_at=case.known_at, receipts=True, errors="column"
        ).collect()
    certain = 0
    for index, line in enumerate(frame.to_dicts()):
        if line["day"] is None and case.dated:
            assert "day is null" in priced["pricing_error"][index]
            continue
        given = case.asked[index]
        expected = winners(case, given)
        receipt = quoted(book, unsaid | line, prices, case.known_at)
        if isinstance(receipt, PricingError):
            assert shown(priced.row(index, named=True)) == reasons(receipt, 1)[0]
            if len(expected) == 1:
                # A price without a currency is in the book's.
                assert "names no currency" in str(receipt)
            else:
                assert ("several prices" if expected else "no price") in str(receipt)
                assert all(f'"{case.rows[number]["id"]}"' in str(receipt) for number in expected[:2])
            continue
        assert len(expected) == 1
        row = case.rows[expected[0]]
        assert receipt.price_id == row["id"]
        assert receipt.base == (line["quantity"] * row["unit_price"]).quantize(receipt.base)
        for name, shown_at in (("valid_from", receipt.price_from), ("valid_to", receipt.price_to)):
            assert (None if row[name] is None else at(row[name], case.zone)) == (
                None if shown_at is None else at(shown_at, None)
            )
        assert shown(priced.row(index, named=True)) == told(receipt, priced)
        assert priced["price_id"][index] == receipt.price_id
        certain += 1
    assert len(referred) <= frame.height - certain + _odd(case)


def _odd(case: Case) -> int:
    """Rows whose time on the wall clocks do not show, which the reference prices."""
    if case.zone is None:
        return 0
    odd = 0
    for line in case.asked:
        day = line["day"]
        if day is None or (isinstance(day, dt.datetime) and day.tzinfo is not None):
            continue
        wall = day if isinstance(day, dt.datetime) else dt.datetime.combine(day, dt.time())
        there = wall.replace(tzinfo=ZoneInfo(case.zone)).astimezone(dt.UTC).astimezone(ZoneInfo(case.zone))
        odd += there.replace(tzinfo=None, fold=0) != wall
    return odd


@settings(max_examples=120, deadline=None, suppress_health_check=SLOW)
@given(cases())
def test_batch_is_quote_is_a_loop_over_all_rows(case: Case) -> None:
    check(case)


@pytest.mark.campaign
@settings(max_examples=20_000, deadline=None, suppress_health_check=SLOW, database=None)
@given(cases())
def test_many_lists(case: Case) -> None:
    check(case)


def _left(axis: Axis, numbers: Ints) -> Ints:
    return np.searchsorted(axis.edges, numbers, side="left")


def _first(held: list[Any], edge: int) -> int:
    left = [one for one in held if one[2].valid[1] > edge]
    return min(left)[1] if left else NONE


def _whole(index: PriceIndex, quantity: Scaled) -> pl.Expr:
    return units(index, Scaled(quantity.units.floordiv(10**quantity.scale), 0))


units = PriceIndex.units

MISTAKES = {
    "an edge belongs to what is before it": (Axis, "place", _left),
    "of rows that tie the first counts": (price_index, "_best", _first),
    "what is behind the point of a quantity does not count": (PriceIndex, "units", _whole),
    "what was withdrawn is known": (PriceRow, "is_known", lambda row, at: (row.known_from or 0) <= (at or FOR_EVER)),
    "quantities do not count": (PriceRow, "reaches", lambda _row, _quantity: True),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_the_draws_find_mistakes(mistake: str) -> None:
    def is_wrong(case: Case) -> bool:
        try:
            check(case)
        except AssertionError:
            return True
        return False

    holder, name, wrong = MISTAKES[mistake]
    with mock.patch.object(holder, name, wrong):
        find(
            cases(),
            is_wrong,
            settings=settings(max_examples=3000, phases=[Phase.generate], database=None, suppress_health_check=SLOW),
        )


def _as_of(rows: list[dict[str, Any]], known: dt.datetime) -> list[dict[str, Any]]:
    """The list as it was then: without what became known later, withdrawals among it."""
    return [
        row | {"known_to": row.get("known_to") if row.get("known_to") and row["known_to"] <= known else None}
        for row in rows
        if row.get("known_from") is None or row["known_from"] <= known
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(cases(), st.sampled_from(KNOWN))
def test_pricing_as_known_then_is_pricing_by_the_list_of_then(case: Case, known: dt.datetime) -> None:
    prices, book, frame = listed(case), case.book(), frame_of(case).drop("known_at", strict=False)
    before = PriceList(
        _as_of(case.rows, known) or pl.DataFrame(schema={"unit_price": pl.Decimal(38, 0)}), zone=case.zone
    )
    unsaid = {name: None for name in MATCH if name != "currency" and name not in NAMES}
    said = ["price_id", "price_from", "price_to", "net"]
    wanted = book.price(frame, inputs=unsaid, prices={"list": before}, errors="column").collect()
    now = book.price(frame, inputs=unsaid, prices={"list": prices}, known_at=known, errors="column").collect()
    # A list of which no row had a window then does not ask for a day.
    asked = frame["day"].is_not_null() | (not case.dated)
    assert now.filter(asked).select(said).equals(wanted.filter(asked).select(said))
