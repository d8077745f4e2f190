from __future__ import annotations

import datetime as dt
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
    assert str(away.value) == "lookup products: there is no such SQLite file: /no/such/folder/x.db"


def test_a_mistyped_file_is_not_made(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(url.removeprefix("sqlite:///")).parent
    before = sorted(folder.iterdir())
    with pytest.raises(LookupFailed, match=r"no such SQLite file: .*/shopp.db; did you mean \".*/shop.db\"\?"):
        lookup(url.replace("shop.db", "shopp.db")).open(context(), ("sku",))
    monkeypatch.chdir(folder)
    with pytest.raises(LookupFailed, match=f"no such SQLite file: far.db, seen from {folder}"):
        lookup("sqlite:///far.db").open(context(), ("sku",))
    assert sorted(folder.iterdir()) == before
    lookup("sqlite:///shop.db").open(context(), ("sku",)).close()


def test_the_database_of_a_secret_is_used(url: str) -> None:
    found = lookup("warehouse").open(context(secrets={"warehouse": url}), ("sku",))
    assert found.answer(skus("P-7")).rows.height == 1
    with pytest.raises(ConfigurationError, match='no column "sko"'):
        lookup(url).open(context(), ("sko",))
    with pytest.raises(ConfigurationError, match="batch must be at least 1"):
        lookup(url, batch=0)
    with pytest.raises(ConfigurationError, match="cannot be used: NoSuchModuleError"):
        lookup("oracel://x").open(context(), ("sku",))


class Rate(BaseModel):
    amount: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]
    day: dt.date
    name: str | None


@pytest.fixture
def rates(tmp_path: Path) -> str:
    connection = sqlite3.connect(tmp_path / "rates.db")
    connection.execute("CREATE TABLE rates (amount TEXT, day TEXT, name TEXT)")
    rows = [(f"{n}.50", f"2026-01-{n:02}", f"r{n}" if n > 2 else None) for n in range(1, 32)]
    connection.executemany("INSERT INTO rates VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return f"sqlite:///{tmp_path / 'rates.db'}"


def test_a_key_that_sqlite_would_compare_as_text_is_not_asked_by_keys(rates: str) -> None:
    amounts = pl.DataFrame({"amount": [Decimal("7.50")]}, schema={"amount": pl.Decimal(10, 2)})
    found = SqlTable("rates", Rate, rates).open(context(), ("amount",))
    assert found.answer(amounts).rows.height == 1
    with pytest.raises(ConfigurationError, match="read the table whole"):
        SqlTable("rates", Rate, rates, whole_up_to=5).open(context(), ("amount",))
    days = pl.DataFrame({"day": [dt.date(2026, 1, 3), dt.date(2025, 1, 3)]})
    by_day = SqlTable("rates", Rate, rates, whole_up_to=5).open(context(), ("day",))
    assert by_day.answer(days).rows["name"].to_list() == ["r3"]
    by_day.close()


def test_rows_without_a_key_are_no_answer_however_the_table_is_read(rates: str) -> None:
    names = pl.DataFrame({"name": ["r3", "r99"]})
    for limit in (0, 100):
        found = SqlTable("rates", Rate, rates, whole_up_to=limit).open(context(), ("name",))
        assert found.answer(names).rows["name"].to_list() == ["r3"]
        found.close()


@pytest.mark.parametrize("batch", [1, 1000, 10_000])
def test_any_batch_of_several_columns_is_asked_in_statements_that_fit(url: str, batch: int) -> None:
    wanted = pl.DataFrame({"sku": [f"P-{n}" for n in range(1000)], "shop": [n % 2 for n in range(1000)]})
    some = wanted.head(30) if batch == 1 else wanted
    found = lookup(url, whole_up_to=0, batch=batch).open(context(), ("sku", "shop"))
    assert found.answer(some).rows.height == some.height
    found.close()


def test_more_keys_than_a_statement_has_places_for(url: str) -> None:
    found = lookup(url, whole_up_to=0, batch=50_000).open(context(), ("sku",))
    assert found.answer(skus(*(f"P-{n}" for n in range(40_000)))).rows.height == 1000
    assert found.stats.calls == 2
    found.close()


def test_the_order_in_which_a_database_gives_rows_changes_no_fingerprint(url: str) -> None:
    def fingerprint() -> str:
        found = lookup(url).open(context(), ("sku",))
        found.close()
        return found.fingerprint

    before = fingerprint()
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute("DELETE FROM products WHERE SKU = 'P-0'")
    connection.execute("INSERT INTO products VALUES ('P-0', 0, '0.50', NULL)")
    connection.commit()
    assert fingerprint() == before
    connection.execute("UPDATE products SET price = '0.51' WHERE SKU = 'P-0'")
    connection.commit()
    connection.close()
    assert fingerprint() != before


def test_a_password_in_the_query_of_a_url_is_one() -> None:
    with pytest.raises(ConfigurationError, match="name a secret instead") as wrong:
        lookup("sqlite:///x.db?password=s3cret").open(context(), ("sku",))
    assert "s3cret" not in str(wrong.value)
    secret = "sqlite:////no/such/folder/x.db?uri=true&password=s3cret"
    with pytest.raises(LookupFailed) as away:
        lookup("warehouse").open(context(secrets={"warehouse": secret}), ("sku",))
    assert "s3cret" not in str(away.value)
    with pytest.raises(ConfigurationError, match="whole_up_to must not be under 0"):
        lookup("sqlite://", whole_up_to=-1)
