"""Orders, products and customers of others, through models as people write them: the counts, and the sums."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from tests.reading.hostile import Outcome, both

import assay

Amount = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4)]
Share = Annotated[Decimal, Field(ge=0, le=1, max_digits=5, decimal_places=4)]


@pytest.fixture
def folder(suites: Path) -> Path:
    if not (suites / "northwind").is_dir():
        pytest.skip("the order fixtures are absent")
    return suites


def read(source: Any, model: type[BaseModel], **options: Any) -> list[dict[str, Any]]:
    found = both(source, model=model, **options)
    assert (found.error, found.rejects) == (None, [])
    return found.rows


class Northwind(BaseModel):
    model_config = ConfigDict(alias_generator=lambda name: to_camel(name).replace("Id", "ID"), populate_by_name=True)


class Detail(Northwind):
    product_id: int
    unit_price: Price
    quantity: Annotated[int, Field(gt=0)]
    discount: Share


class ShipAddress(Northwind):
    street: str
    city: str
    region: str
    postal_code: int | str
    country: str


class NorthwindOrder(Northwind):
    order_id: int
    customer_id: Annotated[str, Field(min_length=5, max_length=5)]
    employee_id: int
    order_date: dt.datetime
    shipped_date: dt.datetime | Literal["NULL"]
    ship_via: Literal[1, 2, 3]
    freight: Amount
    ship_address: ShipAddress
    details: Annotated[list[Detail], Field(min_length=1)]


@pytest.mark.parametrize("way", ["array", "array in one line", "lines", "under a path"])
def test_northwind_orders(folder: Path, way: str) -> None:
    path = folder / "northwind/orders.json"
    orders = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    text = json.loads(path.read_text("utf-8"))
    if way == "array":
        rows = read(path, NorthwindOrder)
    elif way == "lines":
        rows = read(b"\n".join(json.dumps(order).encode() for order in text), NorthwindOrder, format="jsonl")
    elif way == "under a path":
        data = json.dumps({"page": 1, "data": {"orders": text}, "next": None}).encode()
        rows = read(data, NorthwindOrder, format="json", record="data.orders")
    else:
        rows = read(json.dumps(text).encode(), NorthwindOrder, format="json")
    assert len(rows) == 830
    details = [detail for row in rows for detail in row["details"]]
    assert len(details) == 2155
    assert sum(d["unit_price"] * d["quantity"] for d in details) == Decimal("1354458.59")
    assert sum(d["unit_price"] * d["quantity"] * (1 - d["discount"]) for d in details) == Decimal("1265793.0395")
    assert sum(row["freight"] for row in rows) == Decimal("64942.69")
    assert [row["order_id"] for row in rows] == [order["orderID"] for order in orders]
    assert rows[0]["order_date"] == dt.datetime(1996, 8, 1)
    # A column of more than one type is JSON text: numbers stay numbers.
    codes = [json.loads(row["ship_address"]["postal_code"]) for row in rows]
    assert codes == [order["shipAddress"]["postalCode"] for order in orders]
    assert sum(isinstance(code, int) for code in codes) == 579


def test_northwind_where_the_model_knows_less(folder: Path) -> None:
    """Postal codes as text only, and dates without "NULL": exactly those orders are rejected that have others."""

    class Address(Northwind):
        postal_code: str

    class Order(Northwind):
        order_id: int
        shipped_date: dt.datetime | None
        ship_address: Address

    path = folder / "northwind/orders.json"
    orders = json.loads(path.read_text("utf-8"))
    found = both(path, model=Order)
    number = [isinstance(order["shipAddress"]["postalCode"], int) for order in orders]
    unshipped = [order["shippedDate"] == "NULL" for order in orders]
    wrong = [index for index, pair in enumerate(zip(number, unshipped, strict=True)) if any(pair)]
    assert [reject["record"] for reject in found.rejects] == wrong
    locs = [{error["loc"] for error in reject["errors"]} for reject in found.rejects]
    assert locs == [
        ({"shipAddress.postalCode"} if number[index] else set()) | ({"shippedDate"} if unshipped[index] else set())
        for index in wrong
    ]
    assert len(found.rows) == 830 - len(wrong)
    assert sum(number) == 579


def test_northwind_products_and_customers(folder: Path) -> None:
    class Product(Northwind):
        product_id: int
        name: Annotated[str, Field(min_length=1)]
        unit_price: Price
        units_in_stock: Annotated[int, Field(ge=0)]
        discontinued: bool

    rows = read(folder / "northwind/products.json", Product)
    assert len(rows) == 77
    assert sum(row["unit_price"] for row in rows) == Decimal("2222.71")
    assert sum(row["discontinued"] for row in rows) == 8

    class Address(Northwind):
        city: str
        country: str
        postal_code: int | str

    class Customer(Northwind):
        customer_id: str = Field(alias="customerID", pattern="^[A-Z]{5}$")
        company_name: str
        address: Address

    rows = read(folder / "northwind/customers.json", Customer)
    assert len(rows) == 91
    names = {row["customer_id"]: row["company_name"] for row in rows}
    assert names["BERGS"] == "Berglunds snabbköp"
    orders = read(folder / "northwind/orders.json", NorthwindOrder)
    assert {order["customer_id"] for order in orders} <= set(names)


class ShopLine(BaseModel):
    price: Amount
    quantity: int
    sku: str


class ShopOrder(BaseModel):
    id: int
    created_at: AwareDatetime
    currency: Literal["USD", "EUR"]
    cancelled_at: AwareDatetime | None
    total_price: Amount
    total_tax: Amount
    total_discounts: Amount
    total_line_items_price: Amount
    line_items: list[ShopLine] = []
    taxes_included: bool


class ReconciledOrder(ShopOrder):
    """As somebody writes it who does not trust totals."""

    @model_validator(mode="after")
    def lines_add_up(self) -> ReconciledOrder:
        total = sum((line.price * line.quantity for line in self.line_items), Decimal(0))
        if self.line_items and total != self.total_line_items_price:
            raise ValueError(f"lines come to {total}, stated are {self.total_line_items_price}")
        return self


def test_shopify(folder: Path) -> None:
    path = folder / "shopify/fixtures/order.json"
    (row,) = read(path, ShopOrder, record="order")
    assert [line["price"] * line["quantity"] for line in row["line_items"]] == [Decimal("199.00")] * 3
    assert (row["total_line_items_price"], row["total_price"]) == (Decimal("398.00"), Decimal("409.94"))
    assert row["created_at"] == dt.datetime(2008, 1, 10, 16, tzinfo=dt.UTC)
    # The document contradicts itself, and a model that looks notices.
    found = both(path, model=ReconciledOrder, record="order")
    assert found.rows == []
    assert "lines come to 597.00, stated are 398.00" in found.rejects[0]["errors"][0]["msg"]
    (row,) = read(folder / "shopify/fixtures/orders.json", ReconciledOrder, record="orders")
    assert row["total_price"] == row["total_line_items_price"] - row["total_discounts"] + row["total_tax"]

    class Variant(BaseModel):
        model_config = ConfigDict(extra="ignore")
        sku: str
        price: Amount
        compare_at_price: Amount | None
        taxable: bool

    rows = read(folder / "shopify/fixtures/variants.json", Variant, record="variants")
    assert {row["sku"] for row in rows} == {f"IPOD2008{colour}" for colour in ("PINK", "RED", "GREEN", "BLACK")}
    assert sum(row["price"] for row in rows) == 4 * Decimal("199.00")


class WooLine(BaseModel):
    name: str
    quantity: int
    total: Amount
    total_tax: Amount
    price: Amount


class WooRefund(BaseModel):
    id: int
    total: Annotated[Amount, Field(le=0)]


class WooOrder(BaseModel):
    id: int
    number: str
    status: Literal["processing", "completed", "refunded"]
    currency: str
    date_created: dt.datetime
    date_paid: dt.datetime | None
    shipping_total: Amount
    total: Amount
    total_tax: Amount
    prices_include_tax: bool
    line_items: list[WooLine]
    refunds: list[WooRefund]


def test_woocommerce(folder: Path) -> None:
    rows = read(folder / "woocommerce/orders.json", WooOrder)
    assert [(row["id"], row["total"], row["status"]) for row in rows] == [
        (727, Decimal("29.35"), "processing"),
        (723, Decimal("39.00"), "completed"),
    ]
    for row in rows:
        lines = sum(line["total"] + line["total_tax"] for line in row["line_items"])
        assert lines + row["shipping_total"] == row["total"]
    assert [sum(refund["total"] for refund in row["refunds"]) for row in rows] == [0, Decimal("-19.00")]
    assert rows[0]["line_items"][1]["name"] == "Ship Your Idea &ndash; Color: Black, Size: M Test"
    assert [row["date_paid"] for row in rows] == [dt.datetime(2017, 3, 22, 16, 28, 8), None]


class MsBook(BaseModel):
    id: str = Field(pattern=r"^bk\d{3}$")
    author: str
    genre: Literal["Computer", "Fantasy", "Romance", "Horror", "Science Fiction"]
    price: Amount
    published: Annotated[dt.date, Field(alias="publish_date")]


class Item(BaseModel):
    part: Annotated[str, Field(alias="PartNumber", pattern=r"^\d{3}-[A-Z]{2}$")]
    quantity: Annotated[int, Field(alias="Quantity", gt=0)]
    price: Annotated[Amount, Field(alias="USPrice")]
    ships: Annotated[dt.date | None, Field(alias="ShipDate")] = None


class Address(BaseModel):
    kind: Annotated[Literal["Shipping", "Billing"], Field(alias="Type")]
    zip: Annotated[str, Field(alias="Zip", pattern=r"^\d{5}$")]


class Items(BaseModel):
    items: Annotated[list[Item], Field(alias="Item")]


class PurchaseOrder(BaseModel):
    number: Annotated[int, Field(alias="PurchaseOrderNumber")]
    date: Annotated[dt.date, Field(alias="OrderDate")]
    addresses: Annotated[list[Address], Field(alias="Address", min_length=2, max_length=2)]
    notes: Annotated[str | None, Field(alias="DeliveryNotes")] = None
    items: Annotated[Items, Field(alias="Items")]


class OrderItem(BaseModel):
    """One row an item, with its order's number."""

    order: Annotated[int, assay.XPath("../../@PurchaseOrderNumber")]
    part: Annotated[str, Field(alias="PartNumber")]
    quantity: Annotated[int, Field(alias="Quantity")]
    price: Annotated[Amount, Field(alias="USPrice")]


def microsoft(folder: Path, name: str) -> Path:
    path = folder / "ms-samples" / name
    if not path.is_file():
        pytest.skip("ms-samples is absent")
    return path


def test_microsoft_books(folder: Path) -> None:
    path = microsoft(folder, "books.xml")
    rows = read(path, MsBook)
    assert len(rows) == 12
    assert sum(row["price"] for row in rows) == Decimal("214.40")
    assert rows[0]["published"] == dt.date(2000, 10, 1)
    # The same, each record on one line, and all on one line.
    for old, new in ((b"\n", b" "), (b"\r\n", b"\n")):
        again = read(path.read_bytes().replace(old, new), MsBook, format="xml")
        assert [row["price"] for row in again] == [row["price"] for row in rows]


def test_microsoft_purchase_orders(folder: Path) -> None:
    path = microsoft(folder, "PurchaseOrders.xml")
    rows = read(path, PurchaseOrder)
    totals = [sum(item["quantity"] * item["price"] for item in row["items"]["items"]) for row in rows]
    assert totals == [Decimal("228.91"), Decimal("45.99"), Decimal("44.98")]
    assert [[address["kind"] for address in row["addresses"]] for row in rows] == [["Shipping", "Billing"]] * 3
    assert rows[0]["items"]["items"][1]["ships"] == dt.date(1999, 5, 21)
    items = pl.DataFrame(read(path, OrderItem, record="Item"))
    summed = items.group_by("order", maintain_order=True).agg((pl.col("price") * pl.col("quantity")).sum())
    assert summed["order"].to_list() == [row["number"] for row in rows]
    assert [Decimal(str(total)) for total in summed["price"]] == totals


def test_a_wrong_figure_costs_its_order_only(folder: Path) -> None:
    data = microsoft(folder, "PurchaseOrders.xml").read_bytes().replace(b"45.99", b"45,99")
    found: Outcome = both(data, model=PurchaseOrder, format="xml")
    assert [row["number"] for row in found.rows] == [99503, 99504]
    assert [[error["loc"] for error in reject["errors"]] for reject in found.rejects] == [["Items.Item.0.USPrice"]]
