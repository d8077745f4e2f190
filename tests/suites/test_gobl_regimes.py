"""GOBL's tax regimes: each rate that is dated there resolved by a price list, on both sides of each of its edges."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.pricing import PriceBook, PriceList

MICROSECOND = dt.timedelta(microseconds=1)

# What does not come out as the regimes say, and why; a new deviation fails, and so does one that has gone.
DEVIATIONS: dict[str, str] = {}
# Kinds of a rate that have no percentage, so that there is nothing to resolve.
NOT_EXPRESSED = {
    "gr VAT exempt": "exempt: a category without a rate",
    "pt VAT other": "the rate is the invoice's own",
}


@pytest.fixture
def regimes(suites: Path) -> dict[str, dict[str, Any]]:
    folder = suites / "gobl" / "regimes"
    if not folder.is_dir():
        pytest.skip("GOBL's regimes are absent")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def rates_of(name: str, regime: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each rate of a regime, and its values, the last one first."""
    for category in regime.get("categories", []):
        for rate in category.get("rates") or []:
            yield f"{name} {category['code']} {rate.get('rate') or rate.get('key')}", rate.get("values") or []


def region(value: Mapping[str, Any]) -> str | None:
    return next(iter(value.get("ext", {}).values()), None)


def percent(text: str) -> str:
    return text.rstrip("%")


def listed(name: str, regime: Mapping[str, Any]) -> list[dict[str, object]]:
    """The rows of a list. There a value holds until the next of the same region is since; here it says so."""
    rows: list[dict[str, object]] = []
    for kind, values in rates_of(name, regime):
        ends: dict[str | None, str] = {}
        for value in values:
            since = value.get("since")
            rows.append(
                {
                    "id": f"{kind} {region(value) or ''} {since or ''}",
                    "channel": name,
                    "place": region(value),
                    "tax_category": kind,
                    "valid_from": since,
                    "valid_to": ends.get(region(value)),
                    "rate": percent(value["percent"]),
                    "surcharge": percent(value.get("surcharge", "0")),
                }
            )
            if since is not None:
                ends[region(value)] = since
    return rows


def said(values: list[dict[str, Any]], day: dt.date, place: str | None) -> dict[str, Any] | None:
    """What the regime says: of the values that hold, those of the region come first, then the last."""
    holding = [value for value in values if value.get("since") is None or dt.date.fromisoformat(value["since"]) <= day]
    own = [value for value in holding if region(value) == place]
    return next(iter(own or [value for value in holding if region(value) is None]), None)


BOOK = {
    "currency": "EUR",
    "rounding": "half_up",
    "steps": [
        {"kind": "resolve", "table": "rates", "gives": ["rate", "surcharge"], "date": "at"},
        {"kind": "flat", "amount": "1000"},
        {"kind": "tax", "rate": {"column": "rate"}},
        {"kind": "tax", "rate": {"column": "surcharge"}, "code": "surcharge"},
    ],
}


def moments(values: list[dict[str, Any]]) -> list[dt.datetime]:
    """Each edge, the microsecond before it, and a day of today; local times."""
    edges = [dt.datetime.fromisoformat(value["since"]) for value in values if "since" in value]
    return [moment for edge in edges for moment in (edge - MICROSECOND, edge)] + [dt.datetime(2026, 6, 15, 12)]


def test_each_dated_rate_is_resolved(regimes: dict[str, dict[str, Any]]) -> None:
    outcomes: Counter[str] = Counter()
    wrong: dict[str, object] = {}
    for name, regime in regimes.items():
        rows = listed(name, regime)
        if not rows:
            outcomes["regimes without a rate of their own"] += 1
            continue
        book = PriceBook.model_validate(BOOK | {"zone": regime["time_zone"]})
        rates = {"rates": PriceList(rows)}
        for kind, values in rates_of(name, regime):
            if not values:
                assert kind in NOT_EXPRESSED, kind
                outcomes["cannot be expressed"] += 1
                continue
            asked: list[dict[str, Any]] = [
                {"at": moment, "place": place, "channel": name, "tax_category": kind}
                for place in {None, *map(region, values)}
                for moment in moments(values)
            ]
            frame = pl.DataFrame(asked, schema_overrides={"place": pl.String, "at": pl.Datetime("us")})
            in_zone = frame.with_columns(pl.col("at").dt.replace_time_zone(regime["time_zone"], non_existent="null"))
            priced, zoned = (
                book.price(one, prices=rates, errors="column", verify=100).collect() for one in (frame, in_zone)
            )
            found = []
            for line, row in zip(asked, priced.iter_rows(named=True), strict=True):
                value = said(values, line["at"].date(), line["place"])
                if value is None:
                    found.append("no price" in (row["pricing_error"] or ""))
                    continue
                tax = Decimal(percent(value["percent"])) + Decimal(percent(value.get("surcharge", "0")))
                found.append(row["tax"] == tax * 10)
                outcomes["moments"] += 1
            # An instant is in the days of the regime's own zone.
            assert zoned["tax"].equals(priced["tax"])
            outcomes["exact"] += len(values)
            if not all(found):
                wrong[kind] = [line for line, right in zip(asked, found, strict=True) if not right]
    assert wrong.keys() == DEVIATIONS.keys(), wrong
    assert outcomes["exact"] == 117
    assert outcomes["cannot be expressed"] == len(NOT_EXPRESSED) == 2
    assert outcomes["moments"] > 150
