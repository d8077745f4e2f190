"""`assay explain`: what it prints, and that it notices what does not agree."""

from pathlib import Path

import polars as pl
import pytest
from tests.cli.using import assay, document

BOOK = """
name = "shop"
currency = "EUR"
rounding = "half_up"

[[steps]]
kind = "graduated"
tiers = [{up_to = "10", unit_price = "1.005"}, {unit_price = "0.5", flat_fee = "2"}]

[[steps]]
kind = "document_discount"
amount = "1.00"

[[steps]]
kind = "tax"
rate = "19"
level = "document"
"""

PIPELINE = """
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from assay import Parquet, Pipeline, Price, Rows, Source


class Line(BaseModel):
    order: str
    n: int
    qty: Annotated[Decimal, Field(max_digits=8, decimal_places=2)]


shop = Pipeline(
    "shop",
    source=Source("lines.jsonl", Line, key=["order", "n"], reject_with="order"),
    steps=[Price("shop.toml", document="order", inputs={"quantity": "qty"}, receipts=True)],
    outputs={"lines": Rows(to=Parquet("out/lines"))},
)
"""

LINES = """{"order": "a", "n": 1, "qty": "12.5"}
{"order": "b", "n": 1, "qty": "1"}
{"order": "a", "n": 2, "qty": "3"}
{"order": "c", "n": 1, "qty": "x"}
"""


@pytest.fixture
def shop(project: Path) -> Path:
    (project / "pipelines" / "shop.py").write_text(PIPELINE)
    (project / "pipelines" / "shop.toml").write_text(BOOK)
    (project / "lines.jsonl").write_text(LINES)
    return project


def test_a_price_is_explained_and_proven(shop: Path) -> None:
    assert assay("run", "shop").exit_code == 0
    done = assay("explain", "latest", "a/1")
    assert done.exit_code == 0
    told = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert told[1] == "from lines.jsonl, record 0 (the first is 0), line 1, byte 0"
    # 10 x 1.005 = 10.05; 2.5 x 0.5 = 1.25; 2: 13.30, of 16.32 with the other line's 3.015 = 3.02; 1.00 x 13.30/16.32.
    assert "tier 1: 10 x 1.005 10.05" in told
    assert "tier 2: 2.5 x 0.5 1.25" in told
    assert "tier 2: flat fee 2 2.00" in told
    assert "share of the discount of 1.00 -0.81" in told
    assert "priced together with all 2 lines of its document" in told
    assert (
        told[-1] == "proven: the reference, the compiled book, and what is published in lines agree to the last digit"
    )


def test_the_receipt_of_a_row_adds_up(shop: Path) -> None:
    assert assay("run", "shop").exit_code == 0
    lines = pl.read_parquet("out/lines")
    assert lines.select((pl.col("net") + pl.col("tax")).sum() == pl.col("gross").sum()).item()
    for row in lines.to_dicts():
        assert sum(line["amount"] for line in row["receipt"] if line["adds_to_total"]) == row["gross"]


def test_json_has_every_line(shop: Path) -> None:
    assert assay("run", "shop").exit_code == 0
    made = document(assay("explain", "latest", "a/2", "--json"))
    assert made["proven"] is True
    assert made["place"] == {"source": "lines.jsonl", "record": 2, "line": 3, "offset": 73}
    assert [line["id"] for line in made["prices"][0]["lines"]] == ["graduated", "document_discount", "tax"]
    assert made["published"]["lines"][0]["net"] == made["prices"][0]["net"]


def test_a_changed_book_is_noticed(shop: Path) -> None:
    assert assay("run", "shop").exit_code == 0
    (shop / "pipelines" / "shop.toml").write_text(BOOK.replace('"0.5"', '"0.6"'))
    done = assay("explain", "latest", "a/1")
    assert done.exit_code == 1
    assert "note: the pipeline, a price book or a lookup has changed since this run" in done.stdout
    assert "DIFFERS: net: " in done.stdout


def test_a_changed_source_is_noticed(shop: Path) -> None:
    assert assay("run", "shop").exit_code == 0
    (shop / "lines.jsonl").write_text(LINES.replace("12.5", "12.75"))
    done = assay("explain", "latest", "a/1")
    assert done.exit_code == 1
    assert "note: lines.jsonl has changed since the run" in done.stdout


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("a/9", "no accepted record with order/n 'a/9'"),
        ("c/1", "assay rejects list"),
        ("a", 'the key is order/n, of 2 parts, and "a" has 1'),
    ],
)
def test_what_cannot_be_explained_is_said(shop: Path, key: str, words: str) -> None:
    assert assay("run", "shop").exit_code == 0
    done = assay("explain", "latest", key)
    assert done.exit_code != 0
    assert words in done.stderr


def mended(shop: Path, number: int, line: str) -> None:
    (shop / "mended.json").write_text(line)
    assert assay("rejects", "edit", "latest", str(number), "--from", "mended.json").exit_code == 0


def test_a_record_that_was_mended_and_replayed_is_explained(shop: Path) -> None:
    # One line of an order of two is wrong: both are rejected, and come back together.
    (shop / "lines.jsonl").write_text(LINES.replace('"n": 2, "qty": "3"', '"n": 2, "qty": "3,0"'))
    assert assay("run", "shop").exit_code == 0
    run = document(assay("runs", "latest", "--json"))["id"]
    before = assay("explain", run, "a/1")
    assert f"run {run} rejected the record (document_rejected: Its document is rejected: lines.jsonl record 2: qty" in (
        before.stdout
    )
    assert "published" not in before.stdout.splitlines()[-1]
    mended(shop, next(n for n in (1, 2, 3) if "3,0" in assay("rejects", "show", run, str(n)).stdout), MENDED)
    replayed = document(assay("rejects", "replay", run, "--json"))
    assert replayed["counts"]["written"] == 2
    for name in (run, replayed["id"], "latest"):
        done = assay("explain", name, "a/2")
        assert done.exit_code == 0
        told = [" ".join(line.split()) for line in done.stdout.splitlines()]
        assert "qty 3.00" in told
        assert "priced together with all 2 lines of its document" in told
        assert f"run {replayed['id']} replayed it as it was mended" in done.stdout
        assert told[-1].startswith("proven: ")
        assert "published in lines" in told[-1]
        other = assay("explain", name, "a/1")
        assert "replayed it as it was: " in other.stdout
        assert other.exit_code == 0
        assert assay("explain", name, "b/1").stdout.count("published in lines") == 1
    assert "no accepted record with order/n 'c/1'" in assay("explain", run, "c/1").stderr


MENDED = '{"order": "a", "n": 2, "qty": "3.00"}'


def test_what_was_discarded_is_said(shop: Path) -> None:
    (shop / "lines.jsonl").write_text(LINES.replace('"n": 2, "qty": "3"', '"n": 2, "qty": "3,0"'))
    assert assay("run", "shop").exit_code == 0
    sibling = next(n for n in (1, 2, 3) if '"a", "n": 1' in assay("rejects", "show", "latest", str(n)).stdout)
    assert assay("rejects", "discard", "latest", str(sibling), "--reason", "not ours").exit_code == 0
    assert "and it was discarded: not ours" in assay("explain", "latest", "a/1").stdout


@pytest.mark.parametrize("mark", ["rowwise", ""])
def test_a_document_may_be_named_by_a_step(shop: Path, mark: str) -> None:
    text = (
        PIPELINE.replace(
            "shop = Pipeline",
            f"""{f"@{mark}" if mark else ""}
def named(rows):
    return rows.with_columns(bill=pl.col("order").str.to_uppercase(), lines=pl.len().over("order"))


shop = Pipeline""",
        )
        .replace("steps=[", "steps=[named, ")
        .replace('document="order"', 'document="bill"')
    )
    text = text.replace("from assay import ", "import polars as pl\nfrom assay import rowwise, ")
    (shop / "pipelines" / "shop.py").write_text(text)
    assert assay("run", "shop").exit_code == 0
    done = assay("explain", "latest", "a/1")
    told = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert "bill A" in told
    assert "lines 2" in told
    assert "priced together with all 2 lines of its document" in told
    assert told[-1].startswith("proven: ")
    assert "no accepted record with order/n 'a/9'" in assay("explain", "latest", "a/9").stderr


def test_a_record_without_a_price_shows_its_steps(invoices: Path) -> None:
    done = assay("explain", "latest", "CN-2026-0001")
    assert done.exit_code == 0
    assert "step sums" in done.stdout
    assert "adds_up" in done.stdout
    assert "passed money_does_not_add_up" in done.stdout
    assert "no book prices this record" in done.stdout


@pytest.fixture
def invoices(shop: Path) -> Path:
    from tests.conftest import ROOT

    for name in ("pipelines", "sample_data"):
        for path in (ROOT / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                target = shop / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    assert assay("run", "invoices").exit_code == 0
    return shop


def test_the_name_of_a_pipeline_looks_back_through_its_runs(shop: Path) -> None:
    text = PIPELINE.replace('Source("lines.jsonl"', 'Source("in/*.jsonl", incremental=True, model=Line)').replace(
        ', model=Line), Line, key=["order", "n"]', ', model=Line, key=["order", "n"]'
    )
    text = text.replace('Parquet("out/lines")', 'Parquet("out/lines", mode="append")')
    (shop / "pipelines" / "shop.py").write_text(text)
    (shop / "in").mkdir()
    runs = []
    for name, line in (("1", LINES.splitlines()[0]), ("2", LINES.splitlines()[1]), ("3", '{"order": "a", "n": "1"}')):
        (shop / "in" / f"{name}.jsonl").write_text(line + "\n")
        runs.append(document(assay("run", "shop", "--json"))["id"])
    assert "no accepted record with order/n 'a/1'" in assay("explain", "latest", "a/1").stderr
    done = document(assay("explain", "shop", "a/1", "--json"))
    assert (done["run"], done["place"]["source"], done["proven"]) == (runs[0], "in/1.jsonl", True)
    assert done["published"]["lines"][0]["net"] == done["prices"][0]["net"]
    assert f"a / 1  run {runs[0]} of shop" in assay("explain", "shop", "a/1").stdout
    assert assay("explain", "shop", "b/1").stdout.startswith(f"b / 1  run {runs[1]} of shop")
    gone = assay("explain", "shop", "z/1")
    assert gone.exit_code == 2
    assert "no accepted record with order/n 'z/1'" in gone.stderr
    assert "looked at: the 3 published runs of shop" in gone.stderr
    assert "assay rejects list shop" in gone.stderr
    (shop / "in" / "2.jsonl").unlink()
    assert f"note: run {runs[1]} could not be looked at: in/2.jsonl" in assay("explain", "shop", "a/1").stdout


def test_what_a_later_run_has_replaced_is_said(shop: Path) -> None:
    (shop / "other.jsonl").write_text(LINES.splitlines()[1])
    first = document(assay("run", "shop", "--json"))["id"]
    second = document(assay("run", "shop", "--input", "other.jsonl", "--json"))["id"]
    done = assay("explain", "shop", "a/1")
    assert f"run {first} of shop" in done.stdout
    assert f"note: run {second} has replaced what run {first} published" in done.stdout


def test_what_was_made_elsewhere_is_looked_at_last(shop: Path) -> None:
    first = document(assay("run", "shop", "--json"))["id"]
    (shop / "all.jsonl").write_text(LINES + '{"order": "d", "n": 1, "qty": "1"}\n')
    other = document(assay("run", "shop", "--input", "all.jsonl", "--output", "check", "--json"))["id"]
    assert assay("explain", "shop", "a/1").stdout.startswith(f"a / 1  run {first} of shop")
    told = assay("explain", "shop", "d/1").stdout
    assert told.startswith(f"d / 1  run {other} of shop")
    assert f"note: run {other} published to {shop / 'check'}" in told
    assert "has replaced" not in told


def test_json_has_lists_and_structs_as_such(shop: Path) -> None:
    assert assay("run", "shop").exit_code == 0
    (row,) = document(assay("explain", "latest", "b/1", "--json"))["published"]["lines"]
    assert row["n"] == 1
    assert [line["step"] for line in row["receipt"]] == ["graduated", "document_discount", "tax"]
    assert all(isinstance(line["amount"], str) for line in row["receipt"])
