"""Which of 100,000 prices applies, beside a plain `join_asof` that knows of no customers, breaks, ties or zones."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any, Final

import numpy as np
import polars as pl
from benchmarks.conftest import Keep
from benchmarks.figures import Figure, Reached
from benchmarks.turns import in_turns

from assay.pricing import PriceBook, PriceList

PRODUCTS: Final = 20_000
YEARS: Final = 5
LINES: Final = 1_000_000
LEAST_RATE: Final = 1_000_000
LEAST_RATIO: Final = 0.35

BOOK: Final = PriceBook.model_validate(
    {
        "currency": "EUR",
        "rounding": "half_up",
        "zone": "Europe/Berlin",
        "steps": [
            {"kind": "resolve", "table": "list", "gives": ["unit_price"], "date": "day", "quantity": "quantity"},
            {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
        ],
    }
)


def prices() -> pl.DataFrame:
    """A price a product and year."""
    years = pl.DataFrame({"valid_from": [dt.date(2020 + year, 1, 1) for year in range(YEARS)]})
    products = pl.DataFrame({"product": [f"P-{number:06}" for number in range(PRODUCTS)]})
    draw = np.random.default_rng(3)
    cents = pl.Series(draw.integers(1, 100_000, PRODUCTS * YEARS)).cast(pl.Int128)
    return products.join(years, how="cross").with_columns(
        valid_to=pl.col("valid_from").dt.offset_by("1y"),
        unit_price=cents.reinterpret(dtype=pl.Decimal(38, 2)),
    )


def lines() -> pl.DataFrame:
    """Lines of any product on any day."""
    draw = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "product": pl.Series(draw.integers(0, PRODUCTS, LINES)),
            "day": pl.Series(draw.integers(0, 365 * YEARS, LINES)),
            "quantity": draw.integers(1, 100, LINES),
        }
    ).with_columns(
        pl.format("P-{}", pl.col("product").cast(pl.String).str.zfill(6)).alias("product"),
        (pl.lit(dt.date(2020, 1, 1)) + pl.duration(days="day")).alias("day"),
    )


def test_resolution_beside_a_plain_join(benchmark: Any, keep: Keep) -> None:
    benchmark.group = "pricing"
    table, frame = prices(), lines()
    listed = {"list": PriceList(table)}
    BOOK.price(frame.head(1), prices=listed).collect()

    def ours() -> pl.DataFrame:
        return BOOK.price(frame, prices=listed).collect()

    def joined() -> pl.DataFrame:
        found = (
            frame.lazy()
            .sort("day")
            .join_asof(
                table.lazy().sort("valid_from"),
                left_on="day",
                right_on="valid_from",
                by="product",
                check_sortedness=False,
            )
        )
        return found.with_columns(net=pl.col("quantity") * pl.col("unit_price")).collect()

    assert ours()["net"].sum() == joined()["net"].sum()
    taken = in_turns(ours, joined, time.process_time)
    benchmark.pedantic(ours, rounds=1)
    figure = Figure(
        f"resolve {len(table):,} prices, and price", "sort and join_asof, times the quantity", "rate", LEAST_RATIO
    )
    keep(benchmark, Reached(figure, *taken, records=LINES))
    assert LINES / min(taken[0]) >= LEAST_RATE, f"{LINES / min(taken[0]):,.0f} lines a second of the processor"
