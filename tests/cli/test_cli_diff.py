"""`assay diff`: what it prints, when it fails, and that its figures are those of two runs."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.cli.using import assay, document, tree

from assay.cli.diff import _kinds
from assay.pricing import PriceBook

BOOK = """
currency = "EUR"
rounding = "half_up"

[[steps]]
kind = "per_unit"
unit_price = "2"

[[steps]]
kind = "percent_off"
percent = {column = "percent"}

[[steps]]
kind = "tax"
rate = "20"
"""

DEARER = BOOK.replace('unit_price = "2"', 'unit_price = "2.1"')

PIPELINE = """
import datetime as dt
from decimal import Decimal
from typing import Annotated

import polars as pl
from pydantic import BaseModel, Field

from assay import Filter, Parquet, Pipeline, Price, Rows, Source


class Line(BaseModel):
    order: str
    n: int
    customer: str
    day: dt.date
    sent: dt.datetime
    qty: Annotated[Decimal, Field(max_digits=8, decimal_places=2)]
    pct: Annotated[Decimal, Field(max_digits=5, decimal_places=2)] | None = Decimal(0)


shop = Pipeline(
    "shop",
    source=Source("lines.jsonl", Line, key=["order", "n"], reject_with="order"),
    steps=[
        Filter("some", pl.col("qty") != 0),
        Price("shop.toml", inputs={"quantity": "qty", "percent": "pct"}),
        Filter("large", pl.col("net") > 0),
    ],
    outputs={"lines": Rows(to=Parquet("out/lines"))},
)
"""


def line(order: str, n: int, customer: str, qty: str, day: str = "2026-03-01", **more: Any) -> str:
    made = {"order": order, "n": n, "customer": customer, "day": day, "sent": f"{day}T12:00:00", "qty": qty}
    return json.dumps(made | more) + "\n"


LINES = (
    line("a", 1, "x", "10")
    + line("a", 2, "x", "5", pct="50")
    + line("b", 1, "y", "100", day="2026-03-02")
    + line("b", 2, "y", "0", day="2026-03-02")
    + line("c", 1, "y", "1")
    + line("c", 2, "y", "one")
    + line("d", 1, "z", "1", pct=None)
    + line("d", 2, "z", "7")
)


@pytest.fixture
def shop(project: Path) -> Path:
    (project / "pipelines" / "shop.py").write_text(PIPELINE)
    (project / "pipelines" / "shop.toml").write_text(BOOK)
    (project / "dearer.toml").write_text(DEARER)
    (project / "lines.jsonl").write_text(LINES)
    return project


def test_it_prints_what_changes(shop: Path) -> None:
    done = assay("diff", "shop", "--book", "dearer.toml", "--by", "customer")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    assert [" ".join(row.split()) for row in done.stdout.splitlines()] == [
        "shop step price, priced twice",
        f"before shop.toml {PriceBook.load('pipelines/shop.toml').fingerprint[:12]}",
        f"after dearer.toml {PriceBook.load('dearer.toml').fingerprint[:12]}",
        "input lines.jsonl",
        "records read 8, filtered 1, rejected 1, with rejected documents 1; 5 rows go to both books",
        "note steps after the pricing are not run: large",
        "",
        "total before after change %",
        "net EUR 225.00 236.25 +11.25 +5.00 %",
        "tax EUR 45.00 47.25 +2.25 +5.00 %",
        "gross EUR 270.00 283.50 +13.50 +5.00 %",
        "",
        "gross rows change EUR",
        "dearer 3 +13.50",
        "cheaper 0 0.00",
        "same 0",
        "never priced 2",
        "",
        "rule what is changed rows net EUR tax EUR gross EUR",
        "per_unit unit_price 2 -> 2.1 3 +11.25 +2.25 +13.50",
        "total +11.25 +2.25 +13.50",
        "",
        "a row changes by rows change EUR",
        "+0.1 to +1 1 +0.30",
        "+1 to +10 1 +1.20",
        "+10 to +100 1 +12.00",
        "",
        "pays more: 2 of 2, the greatest change first",
        "customer rows before EUR after EUR change EUR",
        "y 1 240.00 252.00 +12.00",
        "x 2 30.00 31.50 +1.50",
        "",
        "shop.toml cannot price 2 rows",
        "1 document_rejected: another line of its document cannot be priced",
        "1 percent_off: percent is null",
        "",
        "dearer.toml cannot price 2 rows",
        "1 document_rejected: another line of its document cannot be priced",
        "1 percent_off: percent is null",
        "",
    ]


def test_its_figures_are_those_of_two_runs(shop: Path) -> None:
    found = document(assay("diff", "shop", "--book", "dearer.toml", "--json"))
    before = document(assay("run", "shop", "--json"))
    (shop / "pipelines" / "shop.toml").write_text(DEARER)
    after = document(assay("run", "shop", "--json"))
    totals = found["difference"]["totals"]["EUR"]
    for name in ("net", "tax", "gross"):
        assert totals[name]["before"] == before["money"]["EUR"][name]
        assert totals[name]["after"] == after["money"]["EUR"][name]
    counts = found["counts"]
    unpriced = found["difference"]["unpriced"]["both"]
    assert before["counts"]["rejected"] == counts["rejected"] + counts["with_document"] + unpriced


def test_nothing_is_published_and_no_run_is_kept(shop: Path) -> None:
    before = tree(shop)
    assert assay("diff", "shop", "--book", "dearer.toml").exit_code == 0
    assert {name: data for name, data in tree(shop).items() if "__pycache__" not in name} == before
    assert "no runs" in assay("runs").stdout + assay("runs").stderr


def test_the_document_of_json(shop: Path) -> None:
    done = assay(
        "diff", "shop", "--book", "dearer.toml", "--book", "pipelines/shop.toml", "--fail-over", "1%", "--json"
    )
    assert done.exit_code == 3
    assert done.stderr == ""
    found = document(done)
    assert list(found) == [
        *("schema", "status", "pipeline", "step", "books", "files", "prices", "known_at", "counts", "difference"),
        *("notes", "fail_over"),
    ]
    assert found["status"] == "over_limit"
    assert found["fail_over"] == {"limit": "1 %", "exceeded": ["EUR"]}
    assert [one["book"] for one in found["books"]] == ["dearer.toml", "pipelines/shop.toml"]
    assert found["difference"]["effects"] == [
        {
            "rule": "per_unit",
            "how": "replaced",
            "what": "unit_price 2.1 -> 2",
            "rows": 3,
            "amounts": {"EUR": {"net": "-11.25", "tax": "-2.25", "gross": "-13.50", "payable": "-13.50"}},
        }
    ]
    assert found["difference"]["cheaper"][0] == {
        "key": {"order": "b", "n": 1},
        "currency": "EUR",
        "rows": 1,
        "before": "252.00",
        "after": "240.00",
        "change": "-12.00",
    }


@pytest.mark.parametrize(
    ("limit", "status"), [("5%", 0), ("4.9%", 3), ("13.50EUR", 0), ("13.49 EUR", 3), ("1000000EUR", 0)]
)
def test_a_limit(shop: Path, limit: str, status: int) -> None:
    done = assay("diff", "shop", "--book", "dearer.toml", "--fail-over", limit)
    assert done.exit_code == status
    if status:
        assert done.stderr.startswith("over the limit: gross changes by +13.50 EUR (+5.00 %), more than ")
    else:
        assert "within the limit of" in done.stdout


def test_a_limit_of_another_measure(shop: Path) -> None:
    tax = (shop / "dearer.toml").read_text().replace('"20"', '"21"').replace("2.1", "2")
    (shop / "dearer.toml").write_text(tax)
    assert assay("diff", "shop", "--book", "dearer.toml", "--fail-over", "0%").exit_code == 3
    assert assay("diff", "shop", "--book", "dearer.toml", "--fail-over", "0%", "--measure", "net").exit_code == 0


def test_since_a_day(shop: Path) -> None:
    # Two columns are dates, and the books take none of them.
    done = assay("diff", "shop", "--book", "dearer.toml", "--since", "2026-03-02")
    assert done.exit_code == 2
    assert "the books take no date: name a column by date (--date); there are day, sent" in done.stderr
    for column in ("day", "sent"):
        found = document(
            assay("diff", "shop", "--book", "dearer.toml", "--since", "2026-03-02", "--date", column, "--json")
        )
        assert found["counts"] == {
            "read": 8, "filtered": 1, "rejected": 1, "with_document": 1, "earlier": 4, "compared": 1
        }  # fmt: skip
        assert found["difference"]["totals"]["EUR"]["net"]["change"] == "10.00"


def test_the_date_of_the_book(shop: Path) -> None:
    pipeline = (shop / "pipelines" / "shop.py").read_text()
    (shop / "pipelines" / "shop.py").write_text(pipeline.replace('"pct"}', '"pct", "date": "day"}'))
    dated = BOOK.replace('rate = "20"', 'table = [{rate = "20", valid_from = "2026-01-01"}]')
    (shop / "pipelines" / "shop.toml").write_text(dated)
    (shop / "dated.toml").write_text(dated.replace('"20"', '"21"'))
    done = assay("diff", "shop", "--book", "dated.toml", "--since", "2026-03-02", "--json")
    assert done.exit_code == 0, done.stdout
    assert document(done)["counts"]["compared"] == 1


def test_documents_stay_whole(shop: Path) -> None:
    pipeline = (shop / "pipelines" / "shop.py").read_text()
    (shop / "pipelines" / "shop.py").write_text(pipeline.replace('"shop.toml", ', '"shop.toml", document="order", '))
    off = '[[steps]]\nkind = "document_discount"\namount = "1"\n\n[[steps]]\nkind = "tax"'
    (shop / "pipelines" / "shop.toml").write_text(BOOK.replace('[[steps]]\nkind = "tax"', off))
    (shop / "dearer.toml").write_text(DEARER.replace('[[steps]]\nkind = "tax"', off))
    later = line("a", 3, "x", "1", day="2026-03-05")
    (shop / "lines.jsonl").write_text(LINES + later)
    found = document(assay("diff", "shop", "--book", "dearer.toml", "--since", "2026-03-05", "--date", "day", "--json"))
    # All lines of the order of which one is of that day; two euro are off no line but all of them.
    assert found["counts"]["compared"] == 3
    assert found["difference"]["totals"]["EUR"]["net"] == {"before": "26.00", "after": "27.35", "change": "1.35"}
    before = document(assay("run", "shop", "--json"))
    whole = document(assay("diff", "shop", "--book", "dearer.toml", "--json"))
    assert whole["difference"]["totals"]["EUR"]["net"]["before"] == before["money"]["EUR"]["net"]


def test_an_input_that_the_other_book_does_not_know(shop: Path) -> None:
    (shop / "flat.toml").write_text(BOOK.replace('{column = "percent"}', '"0"'))
    done = assay("diff", "shop", "--book", "flat.toml")
    assert done.exit_code == 0, done.stderr
    assert "flat.toml does not know the input percent" in done.stdout
    assert "priced after only     2" in done.stdout


def test_several_pricing_steps(shop: Path) -> None:
    pipeline = (shop / "pipelines" / "shop.py").read_text()
    made = '"base", "discount", "tax", "gross", "currency", "rule_id", "taxes"'
    again = 'Price("shop.toml", inputs={"quantity": "qty", "percent": "pct"}, name="again")'
    second = f'lambda rows: rows.rename({{"net": "first"}}).drop({made}), {again}, Filter("large"'
    (shop / "pipelines" / "shop.py").write_text(pipeline.replace('Filter("large"', second))
    done = assay("diff", "shop", "--book", "dearer.toml")
    assert done.exit_code == 2
    assert "several steps price: say which (--step): price, again" in done.stderr
    for step in ("price", "again"):
        found = document(assay("diff", "shop", "--book", "dearer.toml", "--step", step, "--top", "0", "--json"))
        assert (found["step"], found["difference"]["totals"]["EUR"]["net"]["change"]) == (step, "11.25")
        assert found["difference"]["dearer"] == []


def test_another_input_in_part(shop: Path) -> None:
    (shop / "other.txt").write_text(line("q", 1, "x", "4") + line("q", 2, "x", "5"))
    done = assay(
        "diff", "shop", "--book", "dearer.toml", "--input", "other.txt", "--format", "jsonl", "--limit", "1", "--json"
    )
    assert document(done)["difference"]["totals"]["EUR"]["net"]["after"] == "8.40"


def test_the_same_book(shop: Path) -> None:
    done = assay("diff", "shop", "--book", "pipelines/shop.toml", "--fail-over", "0%")
    assert done.exit_code == 0
    assert "no rule is changed" in done.stdout
    assert "pays more" not in done.stdout


def test_no_records(shop: Path) -> None:
    (shop / "lines.jsonl").write_text(line("a", 1, "x", "0"))
    done = assay("diff", "shop", "--book", "dearer.toml", "--fail-over", "1%")
    assert done.exit_code == 0, done.stderr
    assert "net EUR" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["shop"], 2, "give what to compare with"),
        (["shop", "--book", "dearr.toml"], 2, 'did you mean "dearer.toml"'),
        (["shop", "--book", "broken.toml"], 2, "broken.toml:2"),
        (["shop", "--book", "wrong.toml"], 2, "step 1 (per_unit), unit_price"),
        (["shop", "--book", "dollars.toml"], 2, "in EUR and the second's in USD"),
        (["shop", "--book", "needs.toml"], 2, 'needs.toml: step price: no column "weight"'),
        (["shop", "--book", "dearer.toml", "--book", "dearer.toml", "--book", "dearer.toml"], 2, "3 are given"),
        (["shop", "--book", "dearer.toml", "--step", "prce"], 2, 'no pricing step "prce". Did you mean "price"'),
        (["shop", "--book", "dearer.toml", "--by", "custmer"], 2, 'Did you mean "customer"'),
        (["shop", "--book", "dearer.toml", "--since", "March"], 2, "does not match the format"),
        (["shop", "--book", "dearer.toml", "--since", "2026-03-01", "--date", "qty"], 2, "and no date"),
        (["shop", "--book", "dearer.toml", "--since", "2026-03-01", "--date", "dai"], 2, 'no column "dai"'),
        (["shop", "--book", "dearer.toml", "--date", "day"], 2, "give since (--since)"),
        (["shop", "--book", "dearer.toml", "--fail-over", "much"], 2, 'a limit is a share such as "1%"'),
        (["shop", "--book", "dearer.toml", "--fail-over", "1USD"], 2, "the amounts are in EUR"),
        (["shop", "--book", "dearer.toml", "--fail-over", "1%%"], 2, "--fail-over: a limit is a share"),
        (["shop", "--swap-date", "2026-03-01"], 2, "--swap-date takes two instants"),
        (["shop", "--swap-date", "2026-03-01..2026-04-01T00:00Z"], 2, "--swap-date: 2026-03-01T00:00:00 has no zone"),
        (["shop", "--book", "dearer.toml", "--input", "gone.jsonl"], 1, "gone.jsonl"),
        (["shp", "--book", "dearer.toml"], 2, 'Did you mean "shop"'),
        (["free", "--book", "dearer.toml"], 2, "no step prices"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_use(shop: Path, arguments: list[str], status: int, message: str, as_json: bool) -> None:
    (shop / "broken.toml").write_text('currency = "EUR"\nrounding = \n')
    (shop / "wrong.toml").write_text(BOOK.replace('unit_price = "2"', 'unit_price = "two"'))
    (shop / "dollars.toml").write_text(BOOK.replace('"EUR"', '"USD"'))
    (shop / "needs.toml").write_text(BOOK.replace('unit_price = "2"', 'unit_price = {column = "weight"}'))
    free = PIPELINE.replace('"shop"', '"free"').replace("shop =", "free =")
    free = free.replace('        Price("shop.toml", inputs={"quantity": "qty", "percent": "pct"}),\n', "")
    (shop / "pipelines" / "free.py").write_text(free.replace('"net") > 0', '"qty") > 0'))
    done = assay("diff", *arguments, *(["--json"] if as_json else []))
    assert done.exit_code == status, done.stdout + done.stderr
    told = document(done)["error"]["message"] if as_json else " ".join(done.stderr.split())
    assert message in " ".join(told.split())


LISTED = BOOK.replace(
    "[[steps]]",
    '[[steps]]\nkind = "resolve"\ntable = "list"\ngives = ["price"]\n\n[[steps]]',
    1,
).replace('unit_price = "2"', 'unit_price = {column = "price"}')

MODEL = """
class Listed(BaseModel):
    id: str
    customer: str | None
    price: Annotated[Decimal, Field(max_digits=8, decimal_places=2)]
    known_from: AwareDatetime


shop = """


@pytest.fixture
def listed(shop: Path) -> Path:
    """The shop, whose prices are in a list."""
    text = PIPELINE.replace("shop = ", MODEL).replace("BaseModel, Field", "AwareDatetime, BaseModel, Field")
    text = text.replace("Price, Rows", "Price, Rows, Table")
    table = 'Table("prices.csv", Listed, empty_as_null=True)'
    (shop / "pipelines" / "shop.py").write_text(text.replace('"pct"}', f'"pct"}}, prices={{"list": {table}}}'))
    (shop / "pipelines" / "shop.toml").write_text(LISTED)
    old = "id,customer,price,known_from\nlist,,2,2026-01-01T00:00:00Z\nx,x,1.5,2026-01-01T00:00:00Z\n"
    (shop / "prices.csv").write_text(old + "x,x,1.8,2026-02-01T00:00:00Z\n")
    (shop / "draft.csv").write_text(old + "x,x,1.6,2026-02-01T00:00:00Z\n")
    return shop


def test_two_known_times(listed: Path) -> None:
    done = assay("diff", "shop", "--swap-date", "2026-01-31T00:00Z..2026-02-01T00:00Z", "--measure", "net")
    assert done.exit_code == 0, done.stderr
    shown = [" ".join(row.split()) for row in done.stdout.splitlines()]
    assert shown[1].endswith(", as known at 2026-01-31T00:00:00Z")
    assert shown[2].endswith(", as known at 2026-02-01T00:00:00Z")
    assert "tables known at 2026-01-31T00:00:00+00:00 -> 2026-02-01T00:00:00+00:00 2 +3.75 +0.75 +4.50" in shown
    assert "prices: 1 of 1, the greatest change first" in shown
    assert "x x 2 +3.75" in shown


def test_another_price_list_as_known_at_an_instant(listed: Path) -> None:
    asked = ("--prices", "list=draft.csv", "--measure", "net")
    found = document(assay("diff", "shop", *asked, "--known-at", "2026-01-31T00:00Z", "--json"))
    assert [one["rows"] for one in found["difference"]["effects"]] == [0]
    assert (found["prices"], found["files"]) == ({"list": "draft.csv"}, ["lines.jsonl"])
    assert found["known_at"] == ["2026-01-31T00:00:00Z"] * 2
    head = assay("diff", "shop", *asked, "--known-at", "2026-01-31T00:00Z").stdout.splitlines()[:3]
    assert ", prices list from draft.csv, as known at 2026-01-31T00:00:00Z" in " ".join(head[2].split())
    assert "draft.csv" not in head[1]
    both = assay(
        "diff", "shop", "--known-at", "2026-01-31T00:00Z", "--swap-date", "2026-01-31T00:00Z..2026-02-01T00:00Z"
    )
    assert both.exit_code == 2
    alone = assay("diff", "shop", "--known-at", "2026-01-31T00:00Z")
    assert (alone.exit_code, "give what to compare with" in alone.stderr) == (2, True)


def test_reasons_that_differ_in_a_value_are_told_together() -> None:
    reasons = {f'resolve: no price of "p{number}" on 2026-01-{number:02}': number for number in range(10, 14)}
    assert _kinds({"percent is null": 3} | reasons) == [
        ('resolve: no price of "p10" on 2026-01-10', 46, 4),
        ("percent is null", 3, 1),
    ]


def test_another_price_list(listed: Path) -> None:
    found = document(assay("diff", "shop", "--prices", "list=draft.csv", "--json"))["difference"]
    assert [one["what"] for one in found["effects"]] == ["prices list"]
    assert [(one["before"], one["after"], one["amounts"]["EUR"]["net"]) for one in found["prices"]] == [
        ("x", "x", "-2.50")
    ]


@pytest.mark.parametrize(
    ("prices", "status", "message"),
    [
        ("lst=draft.csv", 2, 'no price list "lst". Did you mean "list"'),
        ("draft.csv", 2, "--prices takes key=value"),
        ("list=gone.csv", 1, "gone.csv"),
        ("list=wrong.csv", 1, "wrong.csv"),
    ],
)
def test_a_wrong_price_list(listed: Path, prices: str, status: int, message: str) -> None:
    (listed / "wrong.csv").write_text("id,customer,price,known_from\nlist,,two,2026-01-01T00:00:00Z\n")
    done = assay("diff", "shop", "--prices", prices)
    assert done.exit_code == status, done.stderr
    assert message in done.stderr


def test_times_where_nothing_is_known_later(shop: Path) -> None:
    done = assay("diff", "shop", "--swap-date", "2026-01-31T00:00Z..2026-02-01T00:00Z")
    assert done.exit_code == 2
    assert "known_from" in done.stderr


def test_orders_by_their_own_book(project: Path, shop_of_orders: Path) -> None:
    found = document(assay("diff", "orders", "--book", "changed.toml", "--by", "customer_id", "--json"))
    totals = found["difference"]["totals"]["EUR"]
    assert totals["net"]["before"] == "525891.53"
    assert sum(Decimal(one["amounts"]["EUR"]["gross"]) for one in found["difference"]["effects"]) == Decimal(
        totals["gross"]["change"]
    )


@pytest.fixture
def shop_of_orders(project: Path) -> Path:
    import shutil

    from tests.conftest import ROOT

    for name in ("pipelines", "sample_data"):
        shutil.copytree(ROOT / name, project / name, dirs_exist_ok=True)
    changed = (project / "pipelines" / "orders.toml").read_text().replace("max_age = 5", "max_age = 1")
    (project / "changed.toml").write_text(changed.replace('rounding = "half_up"', 'rounding = "down"'))
    return project
