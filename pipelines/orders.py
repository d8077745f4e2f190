"""Order lines, priced from the catalogue, discounted, converted to euro by the rate of its day, and taxed."""

from decimal import Decimal
from typing import Annotated, Literal

import polars as pl
from pydantic import AwareDatetime, BaseModel, Field

from assay import (
    Choice,
    Count,
    Deduplicate,
    EcbRates,
    Filter,
    GroupBy,
    Http,
    Lookup,
    Parquet,
    Pipeline,
    Price,
    Rows,
    Source,
    Sql,
    Sum,
    Table,
    XPath,
)

Quantity = Annotated[Decimal, Field(gt=0, max_digits=10, decimal_places=3)]
Percent = Annotated[Decimal, Field(ge=0, le=100, max_digits=7, decimal_places=4)]


class OrderLine(BaseModel):
    """One line of an order, as partners send it."""

    order_id: Annotated[str, Field(pattern=r"^A-[0-9]+$")]
    line: Annotated[int, Field(ge=1)]
    ordered_at: AwareDatetime
    customer_id: Annotated[str, Field(pattern=r"^C-[0-9]+$")]
    status: Literal["live", "void"]
    sku: str
    qty: Quantity
    discount_percent: Annotated[Percent, Field(alias="discount")]
    tax_rate: Percent
    note: str | None = None


class Product(BaseModel):
    """One product of the catalogue."""

    sku: str
    product: Annotated[str, XPath("name")]
    category: str
    list_price: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4)]
    list_currency: Annotated[str, XPath("currency")]


class Customer(BaseModel):
    """One customer, as the table or the service has it."""

    customer_id: str
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")]
    segment: Literal["retail", "trade", "public"]


class Params(BaseModel):
    """What can be set with --set."""

    orders: str = "sample_data/orders/*"
    #: A file of the European Central Bank, or in its shape.
    rates: str = "sample_data/eurofxref.xml"
    #: Address of the service that knows the customers; without it they come from a file.
    customers: str = ""


orders = Pipeline(
    "orders",
    params=Params,
    source=Source(
        "{orders}",
        OrderLine,
        key=["order_id", "line"],
        reject_with="order_id",  # one bad line rejects its whole order
    ),
    steps=[
        Deduplicate(),
        Filter("live", pl.col("status") != "void"),
        Lookup(Table("sample_data/catalogue.xml", Product), on="sku"),
        Lookup(
            Choice(
                "customers",
                Http("{customers}/customers/{customer_id}", Customer, hosts=["127.0.0.1", "localhost"]),
                otherwise=Table("sample_data/customers.jsonl", Customer),
            ),
            on="customer_id",
        ),
        Price(
            "orders.toml",
            document="order_id",
            inputs={"quantity": "qty", "unit_price": "list_price", "currency": "list_currency", "day": "ordered_at"},
            rates={"ecb": EcbRates("{rates}")},
        ),
    ],
    outputs={
        "lines": Rows(to=Parquet("out/lines")),
        "by_customer": GroupBy(
            "customer_id", lines=Count(), net=Sum("net"), tax=Sum("tax"), gross=Sum("gross"), to=Sql("by_customer")
        ),
        "by_category": GroupBy("category", lines=Count(), net=Sum("net"), to=Sql("by_category")),
    },
)
