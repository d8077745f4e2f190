"""What comes from a frame or a database is the value that is there, or an error that names it."""

from __future__ import annotations

import datetime as dt
import math
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import BaseModel, Field, create_model

from assay import SqlTable, Table
from assay.errors import LookupFailed
from assay.lookups import LookupContext
from assay.settings import Settings

HERE = LookupContext((Path(),), Settings())
Cents = Annotated[Decimal, Field(max_digits=20, decimal_places=2)]


class Line(BaseModel):
    price: Cents = Field(alias="Price")
    weight: float = 0.0


def read(value: Any, kind: Any, dtype: Any = None) -> Any:
    model = create_model("Fact", value=(kind, ...))
    frame = pl.DataFrame({"value": pl.Series([value], dtype=dtype)})
    return Table(frame, model).read(HERE)["value"].item()


@pytest.mark.parametrize(
    "length",
    [dt.timedelta(days=-1, seconds=3600), dt.timedelta(microseconds=-1), dt.timedelta(days=3, microseconds=5)],
)
def test_a_duration_keeps_its_sign(length: dt.timedelta) -> None:
    assert read(length, dt.timedelta) == length


def test_bytes_are_their_text_and_never_how_python_writes_them(tmp_path: Path) -> None:
    assert read("pen é".encode(), str) == "pen é"
    with pytest.raises(LookupFailed, match="invalid utf-8"):
        read(b"\xff", str)
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("CREATE TABLE facts (value BLOB)")
        shop.execute("INSERT INTO facts VALUES (x'70656e')")
    shop.close()
    table = SqlTable("facts", create_model("Fact", value=(str, ...)), f"sqlite:///{tmp_path / 'shop.db'}")
    assert table.read(HERE)["value"].to_list() == ["pen"]


def test_what_is_no_number_is_not_null() -> None:
    assert math.isnan(read(math.nan, float | None))
    assert read(-math.inf, float | None) == -math.inf


def test_an_integer_over_64_bits_is_told() -> None:
    with pytest.raises(LookupFailed, match="over 64 bits"):
        read(2**70, int, pl.Int128)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([0.1, 0.2], list[Cents]),
        ({"Price": 0.1, "weight": 1.5}, Line),
        ([{"Price": 0.1, "weight": 1.5}], list[Line]),
    ],
)
def test_money_that_is_a_float_is_refused_however_deep(value: Any, kind: Any) -> None:
    with pytest.raises(LookupFailed, match=r"value comes as a float \(0.1\)"):
        read(value, kind)


def test_a_float_beside_money_is_none_of_it() -> None:
    assert read({"Price": "0.10", "weight": 1.5}, Line) == {"price": Decimal("0.10"), "weight": 1.5}
