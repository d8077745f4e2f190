"""The lookup in a table, on a real PostgreSQL."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import BaseModel, Field
from tests.shop import Shop

from assay import SqlTable
from assay.errors import LookupFailed
from assay.lookups import LookupContext
from assay.lookups.table import OpenTable
from assay.settings import Settings


class Product(BaseModel):
    sku: Annotated[str, Field(alias="SKU")]
    shop: int
    price: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]
    since: date | None


@pytest.fixture
def products(shop: Shop) -> Shop:
    shop.execute(
        """
        CREATE SCHEMA goods;
        CREATE TABLE goods.products ("SKU" text, shop int, price numeric(10, 2), since date, other bytea);
        INSERT INTO goods.products
            SELECT 'P-' || n, n % 2, n + 0.5, date '2024-02-29' + n, '\\xff' FROM generate_series(0, 999) n;
        """
    )
    return shop


def lookup(shop: Shop, **told: Any) -> SqlTable:
    return SqlTable("goods.products", Product, shop.url, **told)


def context(**settings: Any) -> LookupContext:
    return LookupContext((Path(),), Settings(**settings))


def test_whole_and_by_keys_give_the_same_rows(products: Shop) -> None:
    wanted = pl.DataFrame({"sku": ["P-999", *(f"P-{n}" for n in range(0, 900, 7)), "P-1000", "p-1", "x' OR '1'='1"]})
    made = {}
    for limit in (1000, 999, 0):
        found = lookup(products, whole_up_to=limit, batch=50).open(context(), ("sku",))
        assert isinstance(found, OpenTable) == (limit == 1000)
        made[limit] = found.answer(wanted).rows.sort("sku")
        found.close()
    assert made[1000].height == 130
    assert made[1000].equals(made[999])
    assert made[1000].equals(made[0])
    assert made[0].row(0) == ("P-0", 0, Decimal("0.50"), date(2024, 2, 29))


def test_several_key_columns_of_several_types(products: Shop) -> None:
    wanted = pl.DataFrame({"sku": ["P-1", "P-1", "P-2"], "since": [date(2024, 3, 1), date(2024, 3, 2), None]})
    for limit in (0, 1000):
        found = lookup(products, whole_up_to=limit).open(context(), ("sku", "since"))
        assert found.answer(wanted).rows["sku"].to_list() == ["P-1"]
        found.close()


def test_what_is_wrong_with_it_fails_the_run_with_no_value_or_password(products: Shop) -> None:
    url = products.url.replace("postgres@", "nobody:canary@")
    for settings, words in (
        ({"secrets": {"warehouse": url}}, r"lookup products: postgresql://nobody:\*\*\*@/shop.*role"),
        ({"secrets": {"warehouse": url.replace("/shop", "/nowhere")}}, "lookup products: .*nowhere"),
    ):
        with pytest.raises(LookupFailed, match=words) as told:
            SqlTable("goods.products", Product, "warehouse").open(context(**settings), ("sku",))
        assert "canary" not in str(told.value)
    products.execute("ALTER TABLE goods.products ALTER price TYPE float8")
    with pytest.raises(LookupFailed, match="price comes as a float"):
        lookup(products).open(context(), ("sku",))
    products.execute("ALTER TABLE goods.products DROP price")
    with pytest.raises(LookupFailed, match="column products.price does not exist"):
        lookup(products).open(context(), ("sku",))


def test_a_server_that_goes_away_between_two_batches_fails_the_lookup(products: Shop) -> None:
    found = lookup(products, whole_up_to=0).open(context(), ("sku",))
    assert found.answer(pl.DataFrame({"sku": ["P-1"]})).rows.height == 1
    products.cluster.stop()
    with pytest.raises(LookupFailed, match="lookup products: postgresql://.*: "):
        found.answer(pl.DataFrame({"sku": ["P-2"]}))
    products.cluster.start()
    assert found.answer(pl.DataFrame({"sku": ["P-2"]})).rows.height == 1
    found.close()
