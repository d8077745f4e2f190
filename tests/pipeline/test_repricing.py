"""March is published, and in April its prices turn out to have been others.

What was published in March stays, and can be made again as it was; April books what corrects it; together they are what
the prices known now come to.
"""

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import AwareDatetime, BaseModel

from assay import Booked, Parquet, Pipeline, Price, PriceBook, Rows, Source, Table
from assay.money import EXACT
from assay.pricing import PriceList

PRICES = [
    {"id": "winter", "product": "tea", "valid_from": "2026-01-01", "valid_to": "2026-03-15", "unit_price": "0.333"},
    {"id": "spring", "product": "tea", "valid_from": "2026-03-15", "unit_price": "0.3715"},
    {"id": "mug", "product": "mug", "unit_price": "7.99"},
    {"id": "ann's", "product": "mug", "customer": "ann", "unit_price": "7.49"},
]
APRIL_10 = "2026-04-10T08:00:00Z"
#: Known in April: tea had cost less since the middle of March, and all of ann's mugs more.
CORRECTIONS = [
    {"id": "spring", "product": "tea", "valid_from": "2026-03-15", "unit_price": "0.3405", "known_from": APRIL_10},
    {"id": "ann's", "product": "mug", "customer": "ann", "unit_price": "7.61", "known_from": APRIL_10},
]
END_OF_MARCH = "2026-03-31T23:59:59+02:00"

BOOK = PriceBook.model_validate(
    {
        "currency": "EUR",
        "rounding": "half_up",
        "zone": "Europe/Berlin",
        "steps": [
            {"kind": "resolve", "table": "list", "gives": ["unit_price"], "date": "day"},
            {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
            {"kind": "percent_off", "percent": "7.5"},
            {"kind": "tax", "rate": "19"},
        ],
    }
)
AMOUNTS = ["quantity", "base", "discount", "net", "tax", "gross"]


class Sale(BaseModel):
    id: int
    customer: str
    product: str
    quantity: Decimal
    day: dt.date


class Listed(BaseModel):
    id: str
    product: str
    customer: str | None = None
    valid_from: dt.date | None = None
    valid_to: dt.date | None = None
    known_from: AwareDatetime | None = None
    unit_price: Decimal


class Params(BaseModel):
    on: dt.date
    months: str = "*"


def shop(*, incremental: bool, correction: Any = "current") -> Pipeline:
    prices = {"list": Table("prices.jsonl", Listed, decimals=(12, 4))}
    return Pipeline(
        "shop",
        Source("sales/{months}.jsonl", Sale, key=["id"], decimals=(12, 2), incremental=incremental),
        steps=[Price(BOOK, prices=prices)],
        params=Params,
        outputs={
            "ledger": Booked(
                key=["id"],
                columns=["id", "customer", "product", "day", "currency", *AMOUNTS],
                amounts=AMOUNTS,
                to=Parquet("out/ledger", mode="append"),
                dated="day",
                today="{on}",
                correction=correction,
            )
        },
    )


def sales(month: int) -> list[dict[str, Any]]:
    """Sales of a month, half of them of its second half, some in fractions, some returned."""
    return [
        {
            "id": 100 * month + number,
            "customer": ["ann", "bob"][number % 3 == 0],
            "product": ["tea", "mug"][number % 2],
            "quantity": str(Decimal(number * 37 % 101 - 20).scaleb(-(number % 3))),
            "day": f"2026-{month:02}-{number % 28 + 1:02}",
        }
        for number in range(60)
    ]


def feed(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def priced(
    rows: list[dict[str, Any]], listed: list[dict[str, str]], known_at: str | None = None
) -> dict[int, list[Any]]:
    """What each sale comes to by the scalar reference."""
    prices = {"list": PriceList(listed)}
    found = {}
    for row in rows:
        names = {name: row[name] for name in ("customer", "product", "day")}
        receipt = BOOK.quote(quantity=Decimal(row["quantity"]), **names, prices=prices, known_at=known_at)
        found[row["id"]] = [Decimal(row["quantity"]), *(getattr(receipt, name) for name in AMOUNTS[1:])]
    return found


def amounts(frame: pl.DataFrame) -> dict[int, list[Any]]:
    """By sale, the sums of its lines."""
    found: dict[int, list[Any]] = {}
    for id_, *values in frame.select("id", *AMOUNTS).iter_rows():
        before = found.get(id_, [Decimal(0)] * len(AMOUNTS))
        found[id_] = [EXACT.add(one, more) for one, more in zip(before, values, strict=True)]
    return found


def ledger() -> pl.DataFrame:
    return pl.read_parquet("out/ledger/*.parquet")


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("correction", ["current", "original"])
def test_march_is_what_was_published_and_april_what_corrects_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, correction: Any, incremental: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    pipeline = shop(incremental=incremental, correction=correction)
    march, april = sales(3), sales(4)
    feed("sales/2026-03.jsonl", march)
    feed("prices.jsonl", PRICES)
    first = pipeline.run({"on": dt.date(2026, 3, 31)}).raise_for_status()
    published = ledger()
    assert amounts(published) == priced(march, PRICES)

    feed("prices.jsonl", PRICES + CORRECTIONS)
    feed("sales/2026-04.jsonl", april)
    second = pipeline.run({"on": dt.date(2026, 4, 30)}, full=incremental).raise_for_status()
    now = ledger()
    before, after = priced(march, PRICES), priced(march, PRICES + CORRECTIONS)
    changed = {id_ for id_ in before if before[id_] != after[id_]}
    assert 20 < len(changed) < 60
    told = second.booked["ledger"]
    assert (told["new"], told["corrected"], told["unchanged"]) == (60, len(changed), 60 - len(changed))

    # Nothing of what was published has changed, and all together is what is known now.
    assert now.filter(booked_run=first.id).sort("id").equals(published.sort("id"))
    assert amounts(now) == after | priced(april, PRICES + CORRECTIONS)
    corrections = now.filter(pl.col("entry") != "line")
    assert set(corrections["id"]) == changed
    assert amounts(corrections) == {
        id_: [EXACT.subtract(new, old) for new, old in zip(after[id_], before[id_], strict=True)] for id_ in changed
    }
    in_march = pl.col("booked_on") < dt.date(2026, 4, 1)
    if correction == "current":
        # The books of March are closed: its sums are as they were published.
        assert amounts(now.filter(in_march)) == before
        assert set(corrections["booked_on"]) == {dt.date(2026, 4, 30)}
    else:
        assert amounts(now.filter(in_march)) == after

    # Once more, the same books nothing.
    again = pipeline.run({"on": dt.date(2026, 4, 30)}, full=incremental, force=True).raise_for_status()
    assert (again.booked["ledger"]["unchanged"], ledger().height) == (120, now.height)

    # March as it was known in March, made elsewhere, is to the last cent what was published then.
    march_only = {"on": dt.date(2026, 3, 31), "months": "2026-03"}
    plain = Rows(to=Parquet("out/march"), columns=published.columns[:-6])
    repriced = replace(
        pipeline, name="march", source=replace(pipeline.source, incremental=False), outputs={"march": plain}
    )
    repriced.run(march_only, known_at=END_OF_MARCH).raise_for_status()
    assert amounts(pl.read_parquet("out/march/*.parquet")) == amounts(published)
    elsewhere = pipeline.run(march_only, known_at=END_OF_MARCH, output="elsewhere").raise_for_status()
    assert elsewhere.booked["ledger"]["new"] == 60
    ours = pl.read_parquet("elsewhere/ledger/*.parquet").drop("booked_run")
    assert ours.sort("id").equals(published.drop("booked_run").sort("id"))
