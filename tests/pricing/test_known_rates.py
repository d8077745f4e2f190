"""Rates that were corrected: batch is quote is a loop over all rates, whatever each row knows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.pricing.drawn import reasons, shown, told

from assay.errors import PricingError
from assay.pricing import DocumentRating, PriceBook, PriceList, RatesTable, Receipt
from assay.pricing.twin import Runner

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
FIRST = dt.date(2026, 3, 25)  # the clocks of Berlin jump on the 29th
DAYS = [FIRST + dt.timedelta(days=number) for number in range(8)]
KNOWN = [dt.datetime(2026, month, 1, tzinfo=dt.UTC) for month in (2, 4, 6)]
RATES = pl.Schema(
    {
        "currency": pl.String(),
        "valid_from": pl.Date(),
        "rate": pl.Decimal(38, 18),
        "known_from": pl.Datetime("us", "UTC"),
    }
)


@dataclass(frozen=True)
class Case:
    """Rates, lines, how a rate is chosen, and whether the book looks prices up as well."""

    rates: list[dict[str, Any]]
    lines: list[dict[str, Any]]
    missing: str
    max_age: int | None
    known_at: dt.datetime | None
    resolves: bool

    def book(self) -> PriceBook:
        convert: dict[str, Any] = {
            "kind": "convert",
            "to": "EUR",
            "rates": "fx",
            "date": "day",
            "on_missing": self.missing,
        }
        steps: list[dict[str, Any]] = [
            {"kind": "flat", "amount": {"column": "amount"}},
            convert | ({} if self.max_age is None else {"max_age": self.max_age}),
        ]
        if self.resolves:
            steps.insert(0, {"kind": "resolve", "table": "list", "gives": ["amount"]})
        return PriceBook.model_validate(
            {"currency": "EUR", "rounding": "half_up", "zone": "Europe/Berlin", "steps": steps}
        )

    def tables(self) -> dict[str, Any]:
        listed = PriceList([{"currency": currency, "amount": 1} for currency in ("EUR", "USD", "GBP")])
        rates = RatesTable(pl.DataFrame(self.rates, schema=RATES))
        return {"rates": {"fx": rates}, "prices": {"list": listed} if self.resolves else {}, "known_at": self.known_at}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    keys = st.tuples(st.sampled_from(["USD", "GBP"]), st.sampled_from(DAYS), st.none() | st.sampled_from(KNOWN))
    rates = [
        {"currency": currency, "valid_from": day, "known_from": known, "rate": Decimal(number + 2)}
        for number, (currency, day, known) in enumerate(draw(st.lists(keys, unique=True, max_size=12)))
    ]
    days = [FIRST + dt.timedelta(days=number) for number in range(-2, 12)]
    each = draw(st.booleans())
    lines = [
        {"currency": draw(st.sampled_from(["EUR", "USD", "GBP"])), "day": draw(st.sampled_from(days))}
        | ({"known_at": draw(st.none() | st.sampled_from(KNOWN))} if each else {})
        for _ in range(draw(st.integers(1, 6)))
    ]
    resolves = draw(st.booleans())
    if not resolves:
        lines = [line | {"amount": 1} for line in lines]
    missing = draw(st.sampled_from(["previous", "next", "error"]))
    age = draw(st.none() | st.integers(0, 4))
    return Case(rates, lines, missing, age, draw(st.none() | st.sampled_from(KNOWN)), resolves)


def holding(case: Case, line: Mapping[str, Any], day: dt.date) -> tuple[Decimal, dt.date] | None:
    """The loop over all rates: that of the nearest day on the right side, in its last known version."""
    known = line.get("known_at") or case.known_at
    best: tuple[int, int, Decimal, dt.date] | None = None
    for rate in case.rates:
        since = rate["known_from"]
        if rate["currency"] != line["currency"] or (since is not None and known is not None and since > known):
            continue
        away = (day - rate["valid_from"]).days if case.missing != "next" else (rate["valid_from"] - day).days
        most = 0 if case.missing == "error" else case.max_age
        if away < 0 or (most is not None and away > most):
            continue
        version = 0 if since is None else 1 + KNOWN.index(since)
        if best is None or (away, -version) < (best[0], -best[1]):
            best = away, version, rate["rate"], rate["valid_from"]
    return None if best is None else best[2:]


def quoted(case: Case, line: Mapping[str, Any]) -> Receipt | PricingError:
    try:
        return case.book().quote_document([line], **case.tables()).receipts[0]
    except PricingError as error:
        return error


def check(case: Case) -> None:
    referred: list[object] = []
    by_reference = Runner.document

    def counted(runner: Runner, lines: Sequence[Mapping[str, object]]) -> DocumentRating:
        referred.append(lines)
        return by_reference(runner, lines)

    schema = {"known_at": pl.Datetime("us", "UTC")} if "known_at" in case.lines[0] else {}
    frame = pl.DataFrame(case.lines, schema_overrides=schema)
    with mock.patch.object(Runner, "document", counted):
        priced = case.book().price(frame, receipts=True, errors="column", **case.tables()).collect()
    certain = 0
    for line, row in zip(case.lines, priced.iter_rows(named=True), strict=True):
        receipt = quoted(case, line)
        home = line["currency"] == "EUR"
        expected = (Decimal(1), line["day"]) if home else holding(case, line, line["day"])
        if isinstance(receipt, PricingError):
            assert expected is None
            assert shown(row) == reasons(receipt, 1)[0]
            continue
        assert (receipt.fx_rate, receipt.fx_date) == expected
        assert receipt.net == expected[0]
        assert shown(row) == told(receipt, priced)
        certain += 1
        if not case.resolves:
            continue
        assert (row["price_from"], row["price_to"]) == (receipt.price_from, receipt.price_to)
        if home:
            assert (receipt.price_from, receipt.price_to) == (None, None)
            continue
        # The window is that of the days on which the very same rate holds, around the day asked for.
        days = [line["day"] + dt.timedelta(days=number) for number in range(-20, 21)]
        same = [day for day in days if holding(case, line, day) == expected]
        start, end = ((one and one.date()) for one in (receipt.price_from, receipt.price_to))
        assert [day for day in days if (start is None or start <= day) and (end is None or day < end)] == same
    assert len(referred) == len(case.lines) - certain


@settings(max_examples=120, deadline=None, suppress_health_check=SLOW)
@given(cases())
def test_batch_is_quote_is_a_loop_over_all_rates(case: Case) -> None:
    check(case)


@pytest.mark.campaign
@settings(max_examples=10_000, deadline=None, suppress_health_check=SLOW, database=None)
@given(cases())
def test_many_tables_of_rates(case: Case) -> None:
    check(case)
