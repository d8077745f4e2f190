"""Amounts that other people's tests expect: OpenMeter's rating, brick/money's allocation, IBM's decimals, ISO 4217."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from assay.errors import ConfigurationError
from assay.money import allocate, minor_units, round_expr, round_to
from assay.pricing import PriceBook


@pytest.fixture
def folder(suites: Path) -> Path:
    if not (suites / "rating-vectors").is_dir():
        pytest.skip("the vectors are absent")
    return suites


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def book_of(case: dict[str, Any]) -> PriceBook:
    params = dict(case["params"])
    limits = [{"kind": kind, "amount": params.pop(kind)} for kind in ("maximum", "minimum") if kind in params]
    if "tiers" in params:
        tiers = [
            {"unit_price": tier["unit"], "flat_fee": tier["flat"]} | ({"up_to": tier["up_to"]} if tier["up_to"] else {})
            for tier in params["tiers"]
        ]
        step = {"kind": case["model"], "tiers": tiers}
    elif case["model"] == "unit":
        step = {"kind": "per_unit", "unit_price": params["unit"]}
    else:
        step = {"kind": case["model"], **params}
    return PriceBook.model_validate({"currency": "USD", "rounding": "half_up", "steps": [step, *limits]})


def test_openmeter_rates_alike(folder: Path) -> None:
    cases = lines(folder / "rating-vectors" / "openmeter.jsonl")
    assert len(cases) == 37
    wrong = []
    for case in cases:
        book = book_of(case)
        quoted = book.quote(quantity=case["quantity"]).total
        rows = pl.DataFrame({"quantity": pl.Series([case["quantity"]]).cast(pl.Decimal(20, 6))})
        priced = book.price(rows).collect()["gross"].item()
        if not quoted == priced == Decimal(case["expected"]):
            wrong.append((case["id"], case["expected"], quoted, priced))
    assert wrong == []


def test_openmeter_explains_alike(folder: Path) -> None:
    case = lines(folder / "rating-vectors" / "openmeter.jsonl")[0]
    receipt = book_of(case).quote(quantity=case["quantity"])
    told = [(line.tier, line.what, line.quantity, line.amount) for line in receipt.lines]
    # A tier whose price is 0 makes no line here.
    expected = [
        (int(name[4]), "flat fee" if name.endswith("flat") else "units", Decimal(quantity), Decimal(amount))
        for name, quantity, amount in case["detail"]
        if amount
    ]
    assert sorted(told) == sorted(expected)


def test_brick_money_allocates_alike(folder: Path) -> None:
    cases = lines(folder / "money-vectors" / "allocate.jsonl")
    assert len(cases) == 26
    for case in cases:
        unit = Decimal(case["step_minor"]).scaleb(-minor_units(case["currency"]))
        ratios = [Fraction(ratio) for ratio in case["ratios"]]
        parts = allocate(case["amount"], ratios, case["currency"], unit, case["mode"])
        assert parts == [Decimal(part) for part in case["expected"]], case


_FINITE = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_MODES = {
    "ceiling": "ceiling",
    "down": "down",
    "floor": "floor",
    "half_down": "half_down",
    "half_even": "half_even",
    "half_up": "half_up",
    "up": "up",
}


def quantized(path: Path) -> Iterator[tuple[str, Decimal, int, Decimal]]:
    """Finite cases of our modes: rounding, operand, places, result."""
    mode = ""
    for row in path.read_text(encoding="utf-8").splitlines():
        words = row.replace("'", "").split()
        if words[:1] == ["rounding:"]:
            mode = words[1]
        if len(words) < 6 or words[1] != "quantize" or "->" not in words or mode not in _MODES:
            continue
        texts = (words[2], words[3], words[5])
        if not all(_FINITE.fullmatch(text) for text in texts):
            continue
        operand, pattern, result = map(Decimal, texts)
        exponent = pattern.as_tuple().exponent
        assert isinstance(exponent, int)
        if abs(exponent) > 1000:  # far beyond any amount
            continue
        yield mode, operand, -exponent, result


def test_ibm_decimals_round_alike(folder: Path) -> None:
    cases = list(quantized(folder / "decimal" / "quantize.decTest"))
    assert len(cases) > 300
    batch = 0
    for mode, operand, places, result in cases:
        assert round_to(operand, places, mode) == result, (mode, operand, places)  # type: ignore[arg-type]
        exponent = operand.as_tuple().exponent
        assert isinstance(exponent, int)
        scale = max(0, -exponent)
        if not (0 <= places <= 30 and scale <= 30 and abs(operand.adjusted()) < 30 and scale + operand.adjusted() < 36):
            continue
        units = pl.Series([int(operand.scaleb(scale))], dtype=pl.Int128)
        column = units.to_frame("x").select(pl.col("x").reinterpret(dtype=pl.Decimal(38, scale)))
        rounded = column.select(round_expr(pl.col("x"), scale, places, mode)).item()  # type: ignore[arg-type]
        assert rounded == result, (mode, operand, places)
        batch += 1
    assert batch > 200


def test_the_currencies_are_those_of_the_list(folder: Path) -> None:
    known: dict[str, int | None] = {}
    for entry in ET.parse(folder / "iso4217" / "list-one.xml").getroot().iter("CcyNtry"):
        code, digits = entry.findtext("Ccy"), entry.findtext("CcyMnrUnts")
        if code is not None and digits is not None:
            known[code] = int(digits) if digits.isdigit() else None
    for code, units in known.items():
        if units is None:
            with pytest.raises(ConfigurationError, match="no minor unit"):
                minor_units(code)
        else:
            assert minor_units(code) == units
    counts = {units: list(known.values()).count(units) for units in (0, 3, 4, None)}
    assert counts == {0: 17, 3: 7, 4: 2, None: 13}


def test_prices_of_a_token_keep_every_digit(folder: Path) -> None:
    path = folder / "price-tables" / "litellm_model_prices.json"
    table = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal)
    models = {
        name: price
        for name, entry in table.items()
        if isinstance(entry, dict) and isinstance(price := entry.get("input_cost_per_token"), Decimal)
    }
    assert len(models) > 1000
    assert min(price for price in models.values() if price) < Decimal("1E-9")
    tokens = 1_234_567
    rows = pl.DataFrame({"unit_price": list(models.values())}, schema={"unit_price": pl.Decimal(38, 18)})
    book = PriceBook.model_validate(
        {
            "currency": "USD",
            "rounding": "half_up",
            "steps": [{"kind": "per_unit", "unit_price": {"column": "unit_price"}}],
        }
    )
    priced = book.price(rows.with_columns(quantity=pl.lit(tokens))).collect()["gross"].to_list()
    expected = [round_to(Fraction(price) * tokens, 2, "half_up") for price in models.values()]
    assert priced == expected


def test_a_shop_s_sales_are_discounted_and_added_up(folder: Path) -> None:
    path = folder / "superstore" / "superstore.csv"
    if not path.is_file():
        pytest.skip("superstore is absent")
    with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {name.lower().replace(" ", "_"): name for name in rows[0]}
    assert len(rows) == 9994
    quantity = [int(row[names["quantity"]]) for row in rows]
    sales = [Decimal(row[names["sales"]]) for row in rows]
    discount = [Decimal(row[names["discount"]]) * 100 for row in rows]
    frame = pl.DataFrame(
        {
            "quantity": quantity,
            "amount": sales,
            "percent": discount,
            "document_id": [row[names["order_id"]] for row in rows],
        },
        schema_overrides={"amount": pl.Decimal(20, 6), "percent": pl.Decimal(9, 4)},
    )
    book = PriceBook.model_validate(
        {
            "currency": "USD",
            "rounding": "half_even",
            "steps": [
                {"kind": "flat", "amount": {"column": "amount"}},
                {"kind": "percent_off", "percent": {"column": "percent"}},
                {"kind": "document_discount", "percent": "3"},
                {"kind": "tax", "rate": "8.875", "level": "document"},
            ],
        }
    )
    priced = book.price(frame).collect()
    totals = book.totals(frame).collect()
    assert totals["tax_inclusive"].sum() == priced["gross"].sum()
    assert totals.height == len({row[names["order_id"]] for row in rows})
    for document in totals["document_id"].to_list()[::250]:
        lines_of = frame.filter(pl.col("document_id") == document).to_dicts()
        quoted = book.quote_document(lines_of)
        row = totals.row(by_predicate=pl.col("document_id") == document, named=True)
        assert (quoted.tax_exclusive, quoted.tax, quoted.payable) == (
            row["tax_exclusive"],
            row["tax"],
            row["payable"],
        )


def test_northwind_s_orders_come_to_what_they_are_known_for(folder: Path) -> None:
    path = folder / "northwind" / "orders.json"
    if not path.is_file():
        pytest.skip("Northwind is absent")
    orders = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    rows = [
        {
            "document_id": order["orderID"],
            "quantity": Decimal(detail["quantity"]),
            "unit_price": Decimal(detail["unitPrice"]),
            "percent": Decimal(detail["discount"]) * 100,
        }
        for order in orders
        for detail in order["details"]
    ]
    assert (len(orders), len(rows)) == (830, 2155)
    steps = [
        {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
        {"kind": "percent_off", "percent": {"column": "percent"}},
    ]
    number = pl.Decimal(18, 6)
    frame = pl.DataFrame(
        rows, schema={"document_id": pl.Int64(), **dict.fromkeys(("quantity", "unit_price", "percent"), number)}
    )
    unrounded = PriceBook.model_validate({"currency": "USD", "rounding": "none", "steps": steps})
    # The sum that everybody's first query of this database gives.
    assert unrounded.price(frame).collect()["net"].sum() == Decimal("1265793.0395")
    rounded = PriceBook.model_validate({"currency": "USD", "rounding": "half_up", "steps": steps})
    expected = sum(
        round_to(amount := row["quantity"] * row["unit_price"], 2, "half_up")
        - round_to(round_to(amount, 2, "half_up") * row["percent"] / 100, 2, "half_up")
        for row in rows
    )
    totals = rounded.totals(frame).collect()
    assert totals["payable"].sum() == rounded.price(frame).collect()["gross"].sum() == expected
