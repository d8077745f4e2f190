"""Documents that cannot be priced in a pipeline: who is to blame, who goes with them, and where rows are kept."""

import json
import tempfile
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import BaseModel, Field

from assay import Explode, Parquet, Pipeline, Price, PriceBook, Rows, Source
from assay.pipeline import Result
from assay.pricing.documents import by_document

Quantity = Annotated[Decimal, Field(max_digits=8, decimal_places=2)]

BOOK = PriceBook.model_validate(
    {
        "currency": "EUR",
        "rounding": "half_up",
        "negative": "reject",
        "steps": [
            {"kind": "per_unit", "unit_price": {"column": "quantity"}},
            {"kind": "convert", "to": "EUR", "rates": {"USD": "0.92"}},
            {"kind": "document_discount", "percent": "10"},
        ],
    }
)


class Line(BaseModel):
    order: str
    qty: Quantity
    currency: str = "EUR"


def run(project: Path, lines: list[dict[str, Any]], **source: Any) -> Result:
    (project / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Pipeline(
        "p",
        Source("x.jsonl", Line, **source),
        steps=[Price(BOOK, document="order", inputs={"quantity": "qty"})],
        outputs={"r": Rows(to=Parquet("o"))},
    ).run()


LINES = [
    {"order": "a", "qty": "1"},
    {"order": "b", "qty": "1"},
    {"order": "a", "qty": "2", "currency": "CHF"},
    {"order": "c", "qty": "1"},
    {"order": "a", "qty": "3", "currency": "NOK"},
    {"order": "c", "qty": "-1"},
    {"order": "c", "qty": "2"},
]


@pytest.mark.parametrize("source", [{}, {"reject_with": "order"}])
def test_a_rejected_document_names_who_is_to_blame(project: Path, source: dict[str, str]) -> None:
    result = run(project, LINES, **source).raise_for_status()
    assert result.counts == {"read": 7, "written": 1, "filtered": 0, "rejected": 6}
    told = {
        row["record"]: (row["stage"], error["loc"], error["type"], error["msg"], error["input"])
        for row in result.rejects.to_dicts()
        for error in row["errors"]
    }
    with_a = "Its document is rejected: x.jsonl record 2: currency: rate_missing"
    with_c = "Its document is rejected: x.jsonl record 5: quantity: pricing_error"
    assert told == {
        0: ("document", "order", "document_rejected", with_a, "a"),
        2: ("pricing", "currency", "rate_missing", 'convert: no rate from "CHF" to EUR', "CHF"),
        3: ("document", "order", "document_rejected", with_c, "c"),
        4: ("pricing", "currency", "rate_missing", 'convert: no rate from "NOK" to EUR', "NOK"),
        5: ("pricing", "quantity", "pricing_error", "quantity: -1.00 is negative, and the book rejects that", ""),
        6: ("document", "order", "document_rejected", with_c, "c"),
    }
    # What is told first is the most frequent cause, not the most frequent consequence.
    assert "most for rate_missing (2)" in result.warnings[0]


def test_a_record_of_several_rows_is_rejected_once(project: Path) -> None:
    class Item(BaseModel):
        qty: Quantity

    class Order(BaseModel):
        order: str
        items: list[Item]

    orders = [("a", ["1", "-1", "2"]), ("a", ["3"]), ("b", ["1", "1"])]
    (project / "x.jsonl").write_text(
        "".join(json.dumps({"order": order, "items": [{"qty": q} for q in qty]}) + "\n" for order, qty in orders)
    )
    result = (
        Pipeline(
            "p",
            Source("x.jsonl", Order),
            steps=[Explode("items"), Price(BOOK, document="order", inputs={"quantity": "qty", "currency": None})],
            outputs={"r": Rows(to=Parquet("o"))},
        )
        .run()
        .raise_for_status()
    )
    assert result.counts == {"read": 3, "written": 1, "filtered": 0, "rejected": 2}
    assert [row["errors"][0]["type"] for row in result.rejects.sort("record").to_dicts()] == [
        "pricing_error",
        "document_rejected",
    ]


@pytest.mark.parametrize("order", ["together", "scattered"])
def test_rows_are_kept_in_the_run_s_folder(project: Path, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    monkeypatch.setattr("assay.pricing.book.by_document", partial(by_document, part_rows=4))
    # Nothing can be kept elsewhere.
    monkeypatch.setattr(tempfile, "tempdir", str(project / "nowhere"))
    lines = [{"order": str(n // 3 if order == "together" else n % 5), "qty": "1"} for n in range(30)]
    assert run(project, lines).raise_for_status().counts["written"] == 30
    assert pl.read_parquet("o").height == 30
    assert not list(project.rglob("*.arrow"))
