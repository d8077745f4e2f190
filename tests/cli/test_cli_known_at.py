"""Price lists in a pipeline: March priced as known in March, after the corrections of April; rows without a price."""

from pathlib import Path

import polars as pl
import pytest
from tests.cli.using import assay, document

BOOK = """
name = "shop"
currency = "EUR"
rounding = "half_up"
zone = "Europe/Berlin"

[[steps]]
kind = "resolve"
table = "list"
gives = ["unit_price"]
date = "day"
quantity = "quantity"

[[steps]]
kind = "per_unit"
unit_price = { column = "unit_price" }
"""

PIPELINE = """
import datetime as dt
from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from assay import Parquet, Pipeline, Price, Rows, Source, Table


class Line(BaseModel):
    id: int
    sku: str
    customer: str | None = None
    qty: Annotated[Decimal, Field(max_digits=8, decimal_places=2)]
    day: dt.date


class Listed(BaseModel):
    id: str
    product: str
    customer: str | None = None
    min_quantity: Annotated[Decimal, Field(max_digits=8, decimal_places=0)] | None = None
    valid_from: dt.date | None = None
    valid_to: dt.date | None = None
    known_from: AwareDatetime | None = None
    unit_price: Annotated[Decimal, Field(max_digits=12, decimal_places=4)]


shop = Pipeline(
    "shop",
    source=Source("lines.jsonl", Line, key=["id"]),
    steps=[
        Price(
            "shop.toml",
            inputs={"quantity": "qty", "product": "sku"},
            prices={"list": Table("prices.csv", Listed, empty_as_null=True)},
        )
    ],
    outputs={"lines": Rows(to=Parquet("out/lines"))},
)
"""

LINES = """{"id": 1, "sku": "p", "qty": "2", "day": "2026-03-28"}
{"id": 2, "sku": "p", "qty": "2", "day": "2026-03-29"}
{"id": 3, "sku": "p", "customer": "c1", "qty": "10", "day": "2026-03-31"}
{"id": 4, "sku": "nothing", "qty": "1", "day": "2026-03-31"}
{"id": 5, "sku": "twice", "qty": "1", "day": "2026-03-31"}
"""

MARCH = """id,product,customer,min_quantity,valid_from,valid_to,known_from,unit_price
p-winter,p,,,2026-01-01,2026-03-29,,10
p-summer,p,,,2026-03-29,,,12
p-c1,p,c1,10,,,,8
t1,twice,,,2026-01-01,,,1
t2,twice,,,2026-03-01,,,2
"""

# Found out in April: the summer price had been 11 from the beginning.
APRIL = MARCH + "p-summer,p,,,2026-03-29,,2026-04-02T09:00:00Z,11\n"

AS_IN_MARCH = "2026-03-31T23:59:59Z"


@pytest.fixture
def shop(project: Path) -> Path:
    (project / "pipelines" / "shop.py").write_text(PIPELINE)
    (project / "shop.toml").write_text(BOOK)
    (project / "lines.jsonl").write_text(LINES)
    (project / "prices.csv").write_text(MARCH)
    return project


def published(project: Path) -> list[dict[str, object]]:
    return pl.read_parquet(project / "out" / "lines" / "*.parquet").sort("id").to_dicts()


def test_march_as_known_in_march_after_the_corrections_of_april(shop: Path) -> None:
    first = document(assay("run", "shop", "--json"))
    assert first["status"] == "published"
    before = published(shop)
    assert [(row["id"], str(row["net"]), row["price_id"]) for row in before] == [
        (1, "20.00", "p-winter"),
        (2, "24.00", "p-summer"),
        (3, "80.00", "p-c1"),
    ]
    (shop / "prices.csv").write_text(APRIL)
    again = document(assay("run", "shop", "--known-at", AS_IN_MARCH, "--json"))
    assert again["status"] == "published"
    assert (first.get("known_at"), again["known_at"]) == (None, AS_IN_MARCH)
    assert f"prices   as known at {AS_IN_MARCH}" in assay("runs", "show", again["id"]).stdout
    assert again["id"] != first["id"]
    assert published(shop) == before
    listed = assay("runs").stdout.splitlines()
    assert "known at" in listed[0]
    assert AS_IN_MARCH in listed[1]
    assert AS_IN_MARCH not in listed[2]

    corrected = document(assay("run", "shop", "--json"))
    assert corrected["id"] not in (first["id"], again["id"])
    assert [str(row["net"]) for row in published(shop)] == ["20.00", "22.00", "80.00"]


def test_a_run_is_explained_as_it_priced(shop: Path) -> None:
    (shop / "prices.csv").write_text(APRIL)
    run = document(assay("run", "shop", "--known-at", "2026-04-01T01:59:59+02:00", "--json"))["id"]
    told = assay("explain", run, "2")
    assert told.exit_code == 0
    assert "price p-summer of list: unit_price 12 from 2026-03-29" in told.stdout
    assert "proven: the reference, the compiled book, and what is published in lines agree" in told.stdout
    later = assay("explain", run, "2", "--known-at", "2026-04-02T09:00:00Z")
    assert later.exit_code == 1
    assert "net: 24.00 is published in lines, 22.00 computed" in later.stdout


def test_the_same_run_is_known_by_what_it_knew(shop: Path) -> None:
    (shop / "prices.csv").write_text(APRIL)
    first = document(assay("run", "shop", "--known-at", AS_IN_MARCH, "--json"))["id"]
    same_instant = "2026-04-01T01:59:59+02:00"
    assert document(assay("run", "shop", "--known-at", same_instant, "--json"))["id"] == first
    assert document(assay("run", "shop", "--known-at", "2026-04-03T00:00Z", "--json"))["id"] != first
    # The rows of a table in another order are the same table.
    head, *rows = APRIL.splitlines()
    (shop / "prices.csv").write_text("\n".join([head, *reversed(rows)]) + "\n")
    changed = document(assay("run", "shop", "--known-at", "2026-04-03T00:00Z", "--json"))["id"]
    assert document(assay("run", "shop", "--known-at", "2026-04-03T00:00Z", "--json"))["id"] == changed


def test_rows_without_a_price_and_with_several_are_rejects(shop: Path) -> None:
    run = document(assay("run", "shop", "--json"))
    assert run["counts"]["rejected"] == 2
    shown = assay("rejects", "show", run["id"], "1").stdout
    assert "pricing" in shown
    assert 'price_missing: resolve: no price for product "nothing", quantity 1 on 2026-03-31 in list' in " ".join(
        shown.split()
    )
    shown = " ".join(assay("rejects", "show", run["id"], "2").stdout.split())
    assert 'price_ambiguous: resolve: several prices for product "twice"' in shown
    assert '"t1" (row 4) and "t2" (row 5) both hold from 2026-03-01' in shown


def test_a_list_without_rows_publishes_nothing(shop: Path) -> None:
    assert assay("run", "shop").exit_code == 0
    (shop / "prices.csv").write_text(MARCH.splitlines()[0] + "\n")
    done = assay("run", "shop")
    assert done.exit_code == 2
    assert "prices list: the table prices has no rows: was its file cut off?" in done.stderr
    assert pl.read_parquet(shop / "out/lines/*.parquet").height == 3


def test_a_replay_prices_by_what_the_run_knew(shop: Path) -> None:
    (shop / "prices.csv").write_text(APRIL)
    run = document(assay("run", "shop", "--known-at", AS_IN_MARCH, "--json"))["id"]
    (shop / "prices.csv").write_text(APRIL + "n,nothing,,,,,,7\nn,nothing,,,,,2026-04-01T00:00:00Z,9\n")
    assay("rejects", "replay", run)
    assert [(row["id"], str(row["net"])) for row in published(shop)][3:] == [(4, "7.00")]


def test_a_preview_prices_by_what_was_known(shop: Path) -> None:
    (shop / "prices.csv").write_text(APRIL)
    for known_at, net in ((AS_IN_MARCH, "24.00"), ("2026-04-03T00:00Z", "22.00")):
        stages = document(assay("preview", "shop", "--known-at", known_at, "--json"))["stages"]
        assert stages["price"][1]["net"] == net


@pytest.mark.parametrize(
    ("known_at", "reason"),
    [
        ("2026-03-31", "known_at: 2026-03-31T00:00:00 has no zone"),
        ("March", 'known_at: "March" is no instant: write it as "2026-03-31T23:59:59Z"'),
    ],
)
def test_an_instant_without_a_zone_is_refused(shop: Path, known_at: str, reason: str) -> None:
    done = assay("run", "shop", "--known-at", known_at)
    assert done.exit_code == 2
    assert reason in done.stderr


def test_known_at_where_nothing_says_what_was_known(shop: Path) -> None:
    (shop / "pipelines" / "shop.py").write_text(PIPELINE.replace("    known_from: AwareDatetime | None = None\n", ""))
    done = assay("run", "shop", "--known-at", AS_IN_MARCH)
    assert done.exit_code == 2
    assert "no table of its steps has a column known_from" in done.stderr


@pytest.mark.parametrize(
    ("change", "where", "reason"),
    [
        (
            ("unit_price: Annotated[Decimal, Field(max_digits=12, decimal_places=4)]", "unit_price: float"),
            "pipeline",
            "column unit_price: it is Float64, and prices are never floats",
        ),
        (("    product: str\n", "    prodct: str\n"), "pipeline", 'did you mean "product"'),
        (('"product": "sku"', '"product": "sku", "customer": None'), "pipeline", None),
        (
            ("customer: str | None = None\n    qty", "client: str | None = None\n    qty"),
            "pipeline",
            'the prices "list" are told apart by customer, which no input says',
        ),
        (
            ('Table("prices.csv", Listed, empty_as_null=True)', '"prices.csv"'),
            "pipeline",
            "the prices list are a str: give a table that can be read whole",
        ),
        (
            ('prices={"list":', 'prices={"lst":'),
            "pipeline",
            'the book asks for the prices "list": give prices={"list": Table(...)}',
        ),
        (
            ("2026-03-29,,10", "2026-01-01,,10"),
            "prices",
            'prices list: row 1 ("p-winter"): valid from 2026-01-01 to 2026-01-01 is no time at all',
        ),
        (("t2,twice", "t1,twice"), "prices", 'prices list: row 5 ("t1") has the id "t1" of row 4'),
        (("2026-03-29,,,12", "29.3.2026,,,12"), "prices", "prices.csv: record 1 (line 3): valid_from"),
    ],
)
def test_a_wrong_list_is_told_before_anything_is_read(
    shop: Path, change: tuple[str, str], where: str, reason: str | None
) -> None:
    file = shop / "pipelines" / "shop.py" if where == "pipeline" else shop / "prices.csv"
    before = file.read_text()
    file.write_text(before.replace(*change))
    assert file.read_text() != before
    done = assay("check", "shop")
    assert (done.exit_code == 0) == (reason is None)
    assert reason is None or reason in " ".join((done.stdout + done.stderr).split())
