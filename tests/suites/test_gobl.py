"""GOBL's invoices of six countries: what they say of their totals, computed again by books, by both twins."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.money import round_to
from assay.pricing import PriceBook

# What does not come out as the document says, and why; a new deviation fails, and so does one that has gone.
DEVIATIONS: dict[str, str] = {}


@pytest.fixture
def documents(suites: Path) -> dict[str, dict[str, Any]]:
    folder = suites / "gobl"
    if not folder.is_dir():
        pytest.skip("GOBL's documents are absent")
    found = {}
    for path in sorted(folder.glob("*/out/*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        document = content.get("doc", content)
        if "totals" in document:
            found[f"{path.parent.parent.name}/{path.name}"] = document
    return found


def percent(text: str | None) -> Decimal:
    return Decimal((text or "0%").rstrip("%"))


def taxes_of(taxes: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A column a tax, and one for its surcharge (Spain's recargo de equivalencia)."""
    columns: dict[str, Any] = {}
    for tax in taxes or []:
        columns[tax["cat"]] = percent(tax.get("percent"))
        columns[tax["cat"] + " key"] = (tax.get("key") or "") + (tax.get("country") or "")
        if "surcharge" in tax:
            columns[tax["cat"] + "+"] = percent(tax["surcharge"])
    return columns


def rows_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [
        {
            "quantity": Decimal(line["quantity"]),
            "unit_price": Decimal(line["item"]["price"]),
            "line_kind": "line",
            "off": [percent(discount["percent"]) for discount in line.get("discounts", [])],
            **taxes_of(line.get("taxes")),
        }
        for line in document.get("lines", [])
    ]
    for kind, name in (("allowance", "discounts"), ("charge", "charges")):
        rows += [
            {
                "quantity": Decimal(1),
                "unit_price": Decimal(item["amount"]),
                "line_kind": kind,
                "off": [],
                **taxes_of(item.get("taxes")),
            }
            for item in document.get(name) or []
        ]
    return rows


def priced(document: dict[str, Any]) -> tuple[PriceBook, list[dict[str, Any]]]:
    """The book that the document's own rules make, and its rows."""
    rules, rows = document.get("tax") or {}, rows_of(document)
    categories = (document["totals"].get("taxes") or {}).get("categories", [])
    retained = {category["code"] for category in categories if category.get("retained")}
    # GOBL's two schools: sum, then round ("precise"), or round, then sum ("currency").
    line = "half_up" if rules.get("rounding") == "currency" else "none"
    included = rules.get("prices_include")
    codes = sorted({name for row in rows for name in row if name.removesuffix("+").isupper()})
    codes.sort(key=lambda code: code != included)
    deepest = max((len(row["off"]) for row in rows), default=0)
    for row in rows:
        off = row.pop("off")
        row |= {f"off{index}": off[index] if index < len(off) else Decimal(0) for index in range(deepest)}
        row |= {code: row.get(code, Decimal(0)) for code in codes}
        row |= {"tax_category": row.get(f"{included or 'VAT'} key", ""), "document_id": "1"}
    steps: list[dict[str, Any]] = [
        {"kind": "per_unit", "unit_price": {"column": "unit_price"}, "rounding": line},
        *({"kind": "percent_off", "percent": {"column": f"off{n}"}, "rounding": line} for n in range(deepest)),
    ]
    for code in codes:
        tax = {"kind": "tax", "id": code, "rate": {"column": code}, "level": "document", "rounding": "half_up"}
        steps.append(tax | {"inclusive": code == included, "retained": code in retained})
    content = {"currency": document["currency"], "rounding": "half_up", "steps": steps}
    return PriceBook.model_validate(content), rows


def stated(document: dict[str, Any]) -> dict[str, Decimal]:
    """The document's totals; of what includes taxes "total" is something else than the sum without."""
    totals = document["totals"]
    said = {name: Decimal(totals[name]) for name in ("tax", "total_with_tax", "payable")}
    if "prices_include" not in (document.get("tax") or {}):
        said["total"] = Decimal(totals["total"])
    for category in (totals.get("taxes") or {}).get("categories", []):
        said[category["code"]] = Decimal(category["amount"])
        if "surcharge" in category:
            said[category["code"] + "+"] = Decimal(category["surcharge"])
    return said


def test_the_documents_add_up_as_they_say(documents: dict[str, dict[str, Any]]) -> None:
    assert len(documents) == 52
    deviating = {}
    for name, document in documents.items():
        book, rows = priced(document)
        quoted = book.quote_document(rows)
        computed = {
            "total": quoted.tax_exclusive,
            "tax": quoted.tax,
            "total_with_tax": quoted.tax_inclusive,
            "payable": quoted.payable,
        }
        for tax in quoted.taxes:
            computed[tax.code] = computed.get(tax.code, Decimal(0)) + tax.amount
        said = stated(document)
        rounded = {key: round_to(computed.get(key, Decimal(0)), 2, "half_up") for key in said}
        if rounded != said:
            deviating[name] = {key: (said[key], rounded[key]) for key in said if said[key] != rounded[key]}
    assert deviating.keys() == DEVIATIONS.keys(), deviating


def test_the_batch_says_the_same_of_each(documents: dict[str, dict[str, Any]]) -> None:
    for name, document in documents.items():
        book, rows = priced(document)
        number = pl.Decimal(20, 6)
        schema = {key: number if isinstance(value, Decimal) else pl.String() for key, value in rows[0].items()}
        frame = pl.DataFrame(rows, schema=schema)
        totals = book.totals(frame).collect().row(0, named=True)
        quoted = book.quote_document(rows)
        for key in ("sum_of_lines", "allowances", "charges", "tax_exclusive", "tax", "retained", "payable"):
            assert totals[key] == getattr(quoted, key), (name, key)
        assert book.price(frame).collect()["gross"].sum() == quoted.gross
