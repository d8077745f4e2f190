"""What the command line says of a ledger."""

import json
from pathlib import Path

import pytest
from tests.cli.using import assay, document

PIPELINE = """
import datetime as dt
from decimal import Decimal
from pydantic import BaseModel
from assay import Booked, Parquet, Pipeline, Price, Source

class Usage(BaseModel):
    id: str
    quantity: Decimal
    price: Decimal
    currency: str

class Params(BaseModel):
    on: dt.date = dt.date(2026, 3, 31)

usage = Pipeline(
    "usage",
    Source("usage.jsonl", Usage, key=["id"], decimals=(12, 2)),
    steps=[Price("book.json", inputs={"unit_price": "price"})],
    params=Params,
    outputs={
        "ledger": Booked(
            key=["id"], amounts=["quantity", "net"], rates=["price"], to=Parquet("out/ledger", mode="append"),
            columns=["id", "quantity", "price", "currency", "net"], today="{on}",
        ),
    },
)
"""
BOOK = {
    "currency": "EUR",
    "mixed": True,
    "rounding": "half_up",
    "steps": [{"kind": "per_unit", "unit_price": {"column": "unit_price"}}],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/usage.py").write_text(PIPELINE)
    (tmp_path / "book.json").write_text(json.dumps(BOOK))
    return tmp_path


def write(folder: Path, **usage: str) -> None:
    made = [dict(zip(("quantity", "price", "currency"), text.split(), strict=True)) for text in usage.values()]
    lines = [json.dumps({"id": id_} | one) for id_, one in zip(usage, made, strict=True)]
    (folder / "usage.jsonl").write_text("\n".join(lines) + "\n")


def test_the_summary_says_what_was_booked(folder: Path) -> None:
    write(folder, a="15 10 EUR", b="1 1 EUR", c="2 3 USD", d="1 1 USD")
    first = assay("run", "usage")
    assert "booked   ledger  4 new, 0 corrected, 0 unchanged\n" in first.stdout
    assert "corrections" not in first.stdout
    write(folder, a="16 5 EUR", b="1 1 EUR", c="2 3 EUR")
    second = assay("run", "usage")
    assert (
        "booked   ledger  0 new, 2 corrected, 1 unchanged\n"
        "              EUR  corrections add up to quantity +3.00, net -64.0000\n"
        "              USD  corrections add up to quantity -2.00, net -6.0000\n"
    ) in second.stdout
    assert (
        "of which this run has no record (any more, or since it was rejected): 1; they stay"
        in second.stdout.replace("\n         ", " ")
    )
    again = document(assay("run", "usage", "--force", "--json"))
    assert again["booked"]["ledger"]["unchanged"] == 3
    assert assay("explain", "latest", "a").exit_code == 0
    explained = document(assay("explain", "latest", "a", "--json"))
    assert [row["entry_id"] for row in explained["published"]["ledger"]] == ["a#3"]


def test_a_line_that_was_corrected_since_is_explained_by_what_its_run_published(folder: Path) -> None:
    write(folder, a="15 10 EUR", b="1 1 EUR")
    first = document(assay("run", "usage", "--json"))["id"]
    (folder / "usage.jsonl").rename(folder / "usage-1.jsonl")
    write(folder, a="15 5 EUR", b="1 1 EUR")
    second = document(assay("run", "usage", "--json"))["id"]
    (folder / "usage.jsonl").unlink()
    (folder / "usage-1.jsonl").rename(folder / "usage.jsonl")
    done = assay("explain", first, "a")
    assert done.exit_code == 0
    assert "DIFFERS" not in done.stdout
    assert f"note: what run {first} published in ledger was corrected since: see its entries" in done.stdout
    assert (
        f"booked in ledger\n"
        f"  a#1  line, on 2026-03-31, by run {first}\n"
        f"      quantity 15.00, price 10.00, net 150.0000\n"
        f"  a#2  reversal of a#1, on 2026-03-31, by run {second}\n"
    ) in done.stdout
    assert f"proven: the reference, the compiled book, and what run {first} published in ledger agree" in done.stdout
    made = document(assay("explain", first, "a", "--json"))
    assert [entry["entry_id"] for entry in made["booked"]["ledger"]] == ["a#1", "a#2", "a#3"]
    assert [entry["entry_id"] for entry in made["published"]["ledger"]] == ["a#3"]
    assert "booked in ledger" not in assay("explain", first, "b").stdout


def test_show_says_what_a_ledger_is(folder: Path) -> None:
    shown = assay("show", "usage").stdout
    assert (
        "output   ledger  ledger by id, corrected in the current period; amounts quantity, net; rates price; "
        "booked on {on}  -> Parquet('out/ledger', mode='append')"
    ) in shown.replace("\n         ", " ")


def test_a_price_that_was_not_booked_yet_is_told_by_explain(folder: Path) -> None:
    write(folder, a="15 10 EUR")
    assert assay("run", "usage").exit_code == 0
    write(folder, a="15 11 EUR")
    done = assay("explain", "latest", "a")
    assert done.exit_code == 1
    assert "150.0000 is published in ledger, 165.00 computed" in done.stdout + done.stderr
