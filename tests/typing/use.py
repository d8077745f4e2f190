"""User code as the docs have it: never run, only type-checked (`make lint`)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, assert_type

import polars as pl
import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

import assay
from assay import (
    Count,
    Csv,
    Deduplicate,
    Err,
    Explode,
    Filter,
    GroupBy,
    Jsonl,
    Lookup,
    MoneyColumns,
    Ok,
    Parquet,
    Pipeline,
    Price,
    PriceBook,
    Reconcile,
    Result,
    Rows,
    Source,
    Sql,
    Sum,
    Table,
    TTLCache,
    UnitOfWork,
    rowwise,
)
from assay.pricing import Column, DiscountPricing, Item, Order, PercentOff, PerUnit, PriceList, RatesTable, Receipt, Tax


class Line(BaseModel):
    sku: str
    qty: Annotated[Decimal, Field(gt=0, max_digits=8, decimal_places=2)]
    currency: Annotated[str, assay.XPath("price/@currency")]


class Product(BaseModel):
    sku: str
    price: Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=4)]


class Params(BaseModel):
    month: str
    least: Decimal = Decimal(0)


def reading(folder: Path, stream: io.BytesIO) -> None:
    frame = assay.scan(folder / "lines.jsonl", Line, rejects="rejects.parquet", trace=True)
    assert_type(frame, pl.LazyFrame)
    collected: list[pl.DataFrame] = []
    assay.scan([folder / "a.xml", folder / "b.xml"], Line, record="c:line", namespaces={"c": "urn:c"})
    assay.scan("lines/**/*.jsonl.gz", Line, rejects=collected.append)
    assay.scan(b"[]", Line, format="json", record="data.lines", decimals=(38, 6), datetimes="utc")
    found = assay.read(stream, Line, format="jsonl")
    assert_type(found.frame, pl.DataFrame)
    assert_type(found.rejects, pl.DataFrame)
    assert_type(found.counts, dict[str, int])
    assay.scan(b"", Line, datetimes="local")  # type: ignore[arg-type]
    assay.scan(b"", Decimal)  # type: ignore[arg-type]


def validating() -> list[Line]:
    accepted: list[Line] = []
    for verdict in assay.validate([{"sku": "a", "qty": "1"}, b'{"sku": "a"}'], Line):
        match verdict:
            case Ok(line):
                assert_type(line, Line)
                accepted.append(line)
            case Err(errors):
                print(errors[0]["type"])  # noqa: T201
    return accepted


def live(params: Params) -> pl.Expr:
    return pl.col("qty") >= params.least


@rowwise
def doubled(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(twice=pl.col("qty") * 2)


def ranked(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(rank=pl.col("qty").rank())


book = PriceBook(
    currency="EUR",
    rounding="half_up",
    steps=(PerUnit(unit_price=Column(column="price")), PercentOff(percent=Decimal("7.5")), Tax(rate=Decimal(19))),
)

shop = Pipeline(
    "shop",
    params=Params,
    source=Source("{month}/*.jsonl", Line, key=["sku"], reject_with="sku"),
    steps=[
        Deduplicate(),
        Filter("live", live),
        Filter("known", pl.col("sku") != ""),
        Lookup(Table("products.xml", Product), on="sku", on_missing="null", prefix="product_"),
        doubled,
        ranked,
        Explode("parts", prefix="part_"),
        Reconcile("TWICE", stated=pl.col("twice"), computed=pl.col("qty") * 2),
        Price(book, inputs={"quantity": "qty"}, rates={"euro": Table("rates.json", Product, record="rates")}),
    ],
    outputs={
        "lines": Rows(to=Parquet("out/lines", mode="upsert", key=("sku",)), columns=["sku", "net"]),
        "by_sku": GroupBy("sku", lines=Count(), net=Sum("net"), to=Sql("by_sku", mode="merge")),
    },
    money=MoneyColumns(net="net", tax="tax", gross="gross"),
)
Csv("out/lines.csv", mode="delete_missing", key=("sku",), guard_formulas=True)
Jsonl("out/lines.jsonl.zst", mode="upsert", key=("sku",), on_schema_change="add")
Jsonl("out/lines.jsonl", delimiter=";")  # type: ignore[call-arg]
Parquet("out/lines", file_bytes=1_000_000, partition_by=("country", "month"))
Parquet("out/lines", mode="overwrite")  # type: ignore[arg-type]
Lookup(Table("products.xml", Product), on="sku", on_missing="skip")  # type: ignore[arg-type]
GroupBy("sku", net="sum", to=Sql("by_sku"))  # type: ignore[arg-type]


def running() -> None:
    pipeline = assay.load("shop")
    assert_type(pipeline, Pipeline)
    assert_type(pipeline.check({"month": "2026-01"}), pl.Schema)
    shown = pipeline.preview(5, {"month": "2026-01"})
    assert_type(shown.frames, dict[str, pl.DataFrame])
    result = pipeline.run({"month": "2026-01"}, input="lines.jsonl", output="out", max_rejects="1%", limit=100)
    assert_type(result, Result)
    assert_type(result.counts["read"], int)
    assert_type(result.money["EUR"]["net"], str)
    assert_type(result.rejects, pl.DataFrame)
    assert_type(result.raise_for_status(), Result)
    assert_type(assay.replay(pipeline, result.id), Result)
    print(result.status == "publishd")  # type: ignore[comparison-overlap]  # noqa: T201
    pipeline.run(engine="cluster")  # type: ignore[arg-type]


def pricing(frame: pl.LazyFrame) -> Decimal:
    loaded = PriceBook.load("pipelines/orders.toml")
    receipt = loaded.quote(quantity="2", unit_price=Decimal("1.49"), rates={"euro": RatesTable({"USD": "0.92"})})
    listed = PriceList([{"product": "tea", "unit_price": "4.00", "valid_from": "2026-03-01"}], zone="Europe/Berlin")
    as_known = loaded.quote(quantity=2, prices={"list": listed}, known_at="2026-03-31T23:59:59Z")
    assert_type(as_known.price_id, str | None)
    assert_type(receipt, Receipt)
    assert_type(receipt.total, Decimal)
    assert_type(loaded.price(frame, inputs={"quantity": "qty"}, errors="column"), pl.LazyFrame)
    assert_type(assay.round_money(Decimal("1.005"), "EUR"), Decimal)
    return Order([Item(Decimal(10), quantity=2)], pricing=DiscountPricing(10)).total()


def caching(clock: list[float]) -> Any:
    cache = TTLCache(ttl_seconds=60, maxsize=100, timer=lambda: clock[0])
    cache.set(("EUR", "USD"), Decimal("1.08"))
    assert_type(cache.stats.hits, int)
    return cache.get(("EUR", "USD"))


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


def storing(repository: assay.Repository[Customer]) -> None:
    assert_type(repository.get("C-1"), Customer | None)
    assert_type(repository.list(limit=10), list[Customer])
    with UnitOfWork(sessionmaker(sa.create_engine("sqlite://")), customers=Customer) as work:
        work.customers.save(Customer(id="C-1", name="Ann"))
        work.commit()
    storing(assay.MemoryRepository(Customer))
    with sessionmaker(sa.create_engine("sqlite://"))() as session:
        storing(assay.SqlRepository(session, Customer))


def billing(work: assay.AnyUnitOfWork) -> None:
    with work:
        customers: assay.Repository[Customer] = work.customers
        assert_type(customers.get("C-1"), Customer | None)
        storing(work.customers)
        work.rollback()


billing(UnitOfWork(sessionmaker(sa.create_engine("sqlite://")), customers=Customer))
billing(assay.MemoryUnitOfWork(assay.MemoryStore(), customers=Customer))
Rows(to=assay.Entities(Customer, "sqlite:///shop.db", mode="delete_missing", key=("name",)))


class Shouting:
    """A format of one's own."""

    def process(self, data: bytes) -> Mapping[str, str]:
        return {"sku": data.decode().upper()}

    def split(self, stream: io.BufferedIOBase) -> list[assay.RawRecord]:
        return [assay.RawRecord(line, number, number + 1, 0) for number, line in enumerate(stream)]


assay.ProcessorFactory.register("shout", Shouting)
