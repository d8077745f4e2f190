"""Price books that figures are taken of, and lines for them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl

from assay.pricing import PriceBook

GRADUATED: Final[dict[str, Any]] = {
    "kind": "graduated",
    "tiers": [
        {"up_to": "10", "unit_price": "2.5", "flat_fee": "1"},
        {"up_to": "25", "unit_price": "1.995"},
        {"unit_price": "0.985"},
    ],
}


def book(*steps: dict[str, Any]) -> PriceBook:
    """In euro, half up."""
    return PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", "steps": list(steps)})


#: Graduated tiers, a discount, one of the document that is allocated to its lines, and tax.
DOCUMENTS: Final = book(
    GRADUATED,
    {"kind": "percent_off", "percent": "7.5"},
    {"kind": "document_discount", "amount": "5"},
    {"kind": "tax", "rate": "19"},
)
#: Quantity times price, and two discounts.
DISCOUNTS: Final = book(
    {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
    {"kind": "percent_off", "percent": "7.5"},
    {"kind": "percent_off", "percent": "2"},
)


def discounted(of: PriceBook, percent: str) -> PriceBook:
    """The book with another percentage in its first discount."""
    steps = of.model_dump(mode="json", exclude_none=True)["steps"]
    next(step for step in steps if step["kind"] == "percent_off")["percent"] = percent
    return book(*steps)


def lines(count: int) -> pl.DataFrame:
    """Quantities of three places, prices of two, five lines a document."""
    draw = np.random.default_rng(5)
    drawn = pl.DataFrame({"quantity": draw.integers(1, 50_000, count), "unit_price": draw.integers(1, 100_000, count)})
    return drawn.select(
        quantity=pl.col("quantity").cast(pl.Int128).reinterpret(dtype=pl.Decimal(38, 3)).cast(pl.Decimal(9, 3)),
        unit_price=pl.col("unit_price").cast(pl.Int128).reinterpret(dtype=pl.Decimal(38, 2)).cast(pl.Decimal(9, 2)),
        document_id=pl.format("D-{}", pl.int_range(count) // 5),
    )


def in_floats(frame: pl.DataFrame) -> pl.LazyFrame:
    """What `DISCOUNTS` does, in floats: what it costs to be inexact."""
    quantity, price = (pl.col(name).cast(pl.Float64) for name in ("quantity", "unit_price"))
    return (
        frame.lazy()
        .with_columns(base=(quantity * price).round(2))
        .with_columns(first=(pl.col("base") * 0.075).round(2))
        .with_columns(rest=pl.col("base") - pl.col("first"))
        .with_columns(second=(pl.col("rest") * 0.02).round(2))
        .with_columns(
            discount=pl.col("first") + pl.col("second"), net=pl.col("rest") - pl.col("second"), tax=pl.lit(0.0)
        )
        .with_columns(gross=pl.col("net") + pl.col("tax"))
        .drop("first", "rest", "second")
    )
