"""Inputs that are misspelt or forgotten: what is billed in the wrong currency is said before, or not billed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from assay.errors import ConfigurationError
from assay.pricing import PriceBook

PER_UNIT = {"kind": "per_unit", "unit_price": {"column": "price"}}
TO_EURO = {"kind": "convert", "to": "EUR", "rates": {"USD": "0.92"}}


def book(*steps: dict[str, Any], **fields: Any) -> PriceBook:
    return PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", **fields, "steps": list(steps)})


def rows(**columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"quantity": [1, 1], "price": [Decimal("10.00")] * 2, **columns})


@pytest.mark.parametrize("name", ["list_currency", "currencyCode", "invoiceCurrency", "ccy", "CURRENCY", "Währung"])
@pytest.mark.parametrize("steps", [[PER_UNIT], [PER_UNIT, TO_EURO]])
@pytest.mark.parametrize("errors", ["raise", "column"])
def test_rows_in_another_currency_are_not_billed_in_the_book_s(name: str, steps: list[Any], errors: Any) -> None:
    frame = rows(**{name: ["EUR", "USD"]})
    said = f'rows say USD in "{name}".*priced in EUR.*inputs={{"currency": "{name}"}}'
    with pytest.raises(Exception, match=said):
        book(*steps).price(frame, errors=errors).collect()
    with pytest.raises(Exception, match=said):
        book(*steps).totals(frame.with_columns(document_id=pl.lit("a"))).collect()
    with pytest.raises(ConfigurationError, match=f"{name} says USD"):
        book(*steps).quote_document(frame.to_dicts())


def test_documents_are_looked_at_as_well() -> None:
    frame = rows(list_currency=["EUR", "USD"], document_id=["a", "a"])
    of_documents = book(PER_UNIT, {"kind": "document_discount", "percent": "10"})
    with pytest.raises(ConfigurationError, match="rows say USD"):
        of_documents.price(frame).collect()
    with pytest.raises(ConfigurationError, match="rows say USD"):
        list(of_documents.price_documents(frame))


def test_what_is_meant_is_done() -> None:
    frame = rows(list_currency=["EUR", "USD"])
    euro = book(PER_UNIT, TO_EURO)
    asked = euro.price(frame, inputs={"currency": "list_currency"}).collect()
    assert asked["net"].to_list() == [Decimal("10.00"), Decimal("9.20")]
    meant = euro.price(frame, inputs={"currency": None}, verify=2).collect()
    assert meant["net"].to_list() == [Decimal("10.00")] * 2
    assert euro.price(rows(list_currency=["EUR", "EUR"])).collect()["net"].sum() == 20


@pytest.mark.parametrize("name", ["concurrency", "country", "current", "price_list", "_currency"])
def test_other_columns_are_no_currencies(name: str) -> None:
    frame = rows(**{name: ["USD", "USD"]})
    assert book(PER_UNIT).price(frame).collect()["net"].sum() == 20
    assert book(PER_UNIT).doubts(frame.schema) == []


def test_a_column_of_codes_alone_is_a_currency() -> None:
    frame = rows(paid_in=["EUR", "USD"]).cast({"paid_in": pl.Enum(["EUR", "USD"])})
    with pytest.raises(Exception, match='rows say USD in "paid_in"'):
        book(PER_UNIT).price(frame).collect()


def test_no_input_at_all_may_be_meant() -> None:
    frame = rows(currency=["EUR", "USD"])
    with pytest.raises(ConfigurationError, match="the book adds currency, which the frame has already"):
        book(PER_UNIT).price(frame, inputs={"currency": None})
    with pytest.raises(ConfigurationError, match="the book needs the input price"):
        book(PER_UNIT).price(frame.drop("currency"), inputs={"price": None})


def test_a_misspelt_currency_column_is_told() -> None:
    with pytest.raises(ConfigurationError, match='no column "currency"; did you mean "curency"'):
        book(PER_UNIT).price(rows(curency=["USD", "USD"]))


def test_quote_knows_its_inputs() -> None:
    with pytest.raises(ConfigurationError) as caught:
        book(PER_UNIT).quote(quantity=1, price="10", quantity_befor=3)
    assert 'no input "quantity_befor"; did you mean "quantity_before"?' in str(caught.value)
    assert "It needs price, quantity, and takes base_quantity, currency, " in str(caught.value)
    with pytest.raises(ConfigurationError, match='no input "colour"\n'):
        book(PER_UNIT).quote(quantity=1, price="10", colour="red")
    # A row may have more.
    assert book(PER_UNIT).quote_document([{"quantity": 1, "price": "10", "colour": "red"}]).net == 10


def test_an_unknown_input_of_a_frame_is_told() -> None:
    with pytest.raises(ConfigurationError, match='no input "curency"; did you mean "currency"'):
        book(PER_UNIT).price(rows(), inputs={"curency": "price"})
    with pytest.raises(ConfigurationError, match='no column "price"; the nearest is "prices"'):
        book(PER_UNIT).price(rows().rename({"price": "prices"}))


@pytest.mark.parametrize(
    ("steps", "columns", "inputs", "said"),
    [
        ([PER_UNIT], ["list_currency"], {}, ['"list_currency" looks like one']),
        ([PER_UNIT], ["list_currency"], {"currency": None}, []),
        ([PER_UNIT], ["list_currency"], {"currency": "list_currency"}, []),
        ([PER_UNIT], ["currency", "list_currency"], {}, []),
        ([PER_UNIT, {**TO_EURO, "to": "USD", "rates": {}}], [], {}, ["convert takes every row for one in EUR"]),
        ([PER_UNIT, TO_EURO], ["list_currency"], {}, ['"list_currency" looks like one']),
        ([PER_UNIT], ["quantity_befor"], {}, ['"quantity_befor" is near']),
        ([PER_UNIT], ["quantity_befor"], {"quantity_before": "quantity_befor"}, []),
        ([PER_UNIT], ["colour"], {}, []),
    ],
)
def test_what_is_doubtful_is_said_before_there_are_rows(
    steps: list[Any], columns: list[str], inputs: dict[str, str | None], said: list[str]
) -> None:
    schema = pl.Schema({"quantity": pl.Int64(), "price": pl.Decimal(9, 2)} | dict.fromkeys(columns, pl.String()))
    doubts = book(*steps).doubts(schema, inputs)
    assert len(doubts) == len(said)
    assert all(one in doubt for one, doubt in zip(said, doubts, strict=True))
