from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import BaseModel, Field

from assay import SqlTable
from assay.errors import ConfigurationError, LookupFailed
from assay.lookups import LookupContext
from assay.lookups.table import OpenTable
from assay.settings import Settings


class Product(BaseModel):
    sku: Annotated[str, Field(alias="SKU")]
    shop: int
    price: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]


@pytest.fixture
def url(tmp_path: Path) -> str:
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.execute("CREATE TABLE products (SKU TEXT COLLATE NOCASE, shop INTEGER, price TEXT, other BLOB)")
    rows = [(f"P-{n}", n % 2, f"{n}.50", b"\xff") for n in range(1000)]
    connection.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return f"sqlite:///{tmp_path / 'shop.db'}"


def lookup(url: str, **told: Any) -> SqlTable:
    return SqlTable("products", Product, url, **told)


def context(**settings: Any) -> LookupContext:
    return LookupContext((Path(),), Settings(**settings))


def skus(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"sku": names}, schema={"sku": pl.String})


def test_whole_and_by_keys_give_the_same_rows(url: str) -> None:
    wanted = skus("P-999", *(f"P-{n}" for n in range(0, 900, 7)), "P-1000", "p-1", "x' OR '1'='1")
    made = {}
    for limit in (1000, 999, 0):
        found = lookup(url, whole_up_to=limit, batch=50).open(context(), ("sku",))
        assert isinstance(found, OpenTable) == (limit == 1000)
        made[limit] = found.answer(wanted).rows.sort("sku")
        queries = found.stats.calls
        found.close()
    assert made[1000].height == 130
    assert made[1000].equals(made[999])
    assert made[1000].equals(made[0])
    assert queries == 3
    assert made[0].row(0) == ("P-0", 0, Decimal("0.50"))


def test_several_key_columns(url: str) -> None:
    wanted = pl.DataFrame({"sku": ["P-1", "P-1", "P-2"], "shop": [1, 0, 0]})
    for limit in (0, 1000):
        found = lookup(url, whole_up_to=limit).open(context(), ("sku", "shop"))
        assert sorted(found.answer(wanted).rows["sku"]) == ["P-1", "P-2"]
        found.close()


@pytest.mark.parametrize("limit", [0, 10_000])
def test_what_is_wrong_in_it_fails_the_run(url: str, limit: int) -> None:
    path = url.removeprefix("sqlite:///")

    def change(statement: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    def answer() -> None:
        found = lookup(url, whole_up_to=limit).open(context(), ("sku",))
        try:
            found.answer(skus("P-1"))
        finally:
            found.close()

    change("UPDATE products SET price = 'dear' WHERE SKU = 'P-1'")
    with pytest.raises(LookupFailed, match="price: Input should be a valid decimal, got 'dear'"):
        answer()
    change("UPDATE products SET price = '1' WHERE SKU = 'P-1'")
    change("INSERT INTO products VALUES ('P-1', 3, '2', NULL)")
    with pytest.raises(LookupFailed, match="1 keys stand in it more than once: 'P-1'"):
        answer()
    change("DELETE FROM products WHERE shop = 3")
    change("CREATE TABLE other AS SELECT SKU, shop, CAST(price AS REAL) AS price FROM products")
    change("DROP TABLE products")
    with pytest.raises(LookupFailed, match="no such table"):
        answer()
    change("ALTER TABLE other RENAME TO products")
    with pytest.raises(LookupFailed, match="price comes as a float"):
        answer()


def test_passwords_come_from_the_settings_and_are_never_shown() -> None:
    with pytest.raises(ConfigurationError, match="name a secret instead") as wrong:
        lookup("postgresql+psycopg://u:s3cret@db.example/x").open(context(), ("sku",))
    assert "s3cret" not in str(wrong.value)
    with pytest.raises(ConfigurationError, match='no secret "warehouse"'):
        lookup("warehouse").open(context(), ("sku",))
    with pytest.raises(LookupFailed) as away:
        lookup("warehouse").open(context(secrets={"warehouse": "sqlite:////no/such/folder/x.db"}), ("sku",))
    assert "unable to open database file" in str(away.value)


def test_the_database_of_a_secret_is_used(url: str) -> None:
    found = lookup("warehouse").open(context(secrets={"warehouse": url}), ("sku",))
    assert found.answer(skus("P-7")).rows.height == 1
    with pytest.raises(ConfigurationError, match='no column "sko"'):
        lookup(url).open(context(), ("sko",))
    with pytest.raises(ConfigurationError, match="batch must be at least 1"):
        lookup(url, batch=0)
    with pytest.raises(ConfigurationError, match="cannot be used: NoSuchModuleError"):
        lookup("oracel://x").open(context(), ("sku",))
