"""Pricing beside the scalar reference, beside itself without receipts, and beside floats."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from benchmarks.books import DISCOUNTS, DOCUMENTS, discounted, in_floats, lines
from benchmarks.child import measured
from benchmarks.conftest import Keep
from benchmarks.figures import Figure, Reached
from benchmarks.turns import ROUNDS, in_turns

LINES: Final = 500_000
QUOTED: Final = 2_000
LEAST_RATE: Final = 400_000
MOST_GROWTH: Final = 1.3
MOST_OF_A_DIFFERENCE: Final = 2.5
BOOK: Final = "graduated, discount, document discount, tax"


def test_documents_beside_the_reference(benchmark: Any, keep: Keep) -> None:
    benchmark.group = "pricing"
    frame = lines(LINES)
    few = frame.head(QUOTED).to_dicts()

    def ours() -> pl.DataFrame:
        return DOCUMENTS.price(frame).collect()

    def reference() -> None:
        for start in range(0, QUOTED, 5):
            DOCUMENTS.quote_document(few[start : start + 5])

    mine, theirs = in_turns(ours, reference)
    scaled = [seconds * LINES / QUOTED for seconds in theirs]
    benchmark.pedantic(ours, rounds=1)
    keep(benchmark, Reached(Figure(BOOK, "the scalar reference", "rate", 100), mine, scaled, records=LINES))
    assert LINES / min(mine) >= LEAST_RATE, f"{LINES / min(mine):,.0f} lines a second"


def test_receipts_beside_none(benchmark: Any, keep: Keep) -> None:
    benchmark.group = "pricing"
    frame = lines(LINES)

    def ours() -> pl.DataFrame:
        return DOCUMENTS.price(frame, receipts=True).collect()

    taken = in_turns(ours, lambda: DOCUMENTS.price(frame).collect())
    benchmark.pedantic(ours, rounds=1)
    keep(benchmark, Reached(Figure(f"{BOOK}, with receipts", "the same without", "time", 3), *taken, records=LINES))


def test_discounts_beside_floats(benchmark: Any, keep: Keep) -> None:
    benchmark.group = "pricing"
    frame = lines(2 * LINES).drop("document_id")

    def ours() -> pl.DataFrame:
        return DISCOUNTS.price(frame).collect(engine="streaming")

    taken = in_turns(ours, lambda: in_floats(frame).collect(engine="streaming"))
    benchmark.pedantic(ours, rounds=1)
    figure = Figure("quantity x price and two discounts", "the same in floats", "rate", 0.7)
    keep(benchmark, Reached(figure, *taken, records=2 * LINES))


@pytest.mark.parametrize("what", ["documents", "two discounts"])
def test_verifying_beside_none(benchmark: Any, keep: Keep, what: str) -> None:
    """A sample of 100 and the extremes: what they cost depends on how many these are, and hardly on the lines."""
    benchmark.group = "pricing"
    book, frame = (DOCUMENTS, lines(LINES)) if what == "documents" else (DISCOUNTS, lines(LINES).drop("document_id"))
    taken = in_turns(
        lambda: book.price(frame, verify=100).collect(), lambda: book.price(frame).collect(), time.process_time
    )
    benchmark.pedantic(lambda: None, rounds=1)
    keep(benchmark, Reached(Figure(f"{what}, verify=100", "the same without", "time"), *taken, records=LINES))


def test_a_difference_beside_one_pricing(benchmark: Any, keep: Keep) -> None:
    benchmark.group = "pricing"
    frame = lines(LINES).with_columns(customer=pl.int_range(pl.len()) % 1_000)
    other = discounted(DOCUMENTS, "7.6")

    def ours() -> None:
        DOCUMENTS.diff(other, frame, by="customer")

    taken = in_turns(ours, lambda: DOCUMENTS.price(frame).collect(), time.process_time)
    benchmark.pedantic(ours, rounds=1)
    figure = Figure(f"diff of two books ({BOOK}), one rule changed", "one pricing", "time", MOST_OF_A_DIFFERENCE)
    keep(benchmark, Reached(figure, *taken, records=LINES))


def test_a_difference_of_the_cheapest_book(benchmark: Any, keep: Keep) -> None:
    benchmark.group = "pricing"
    frame = lines(2 * LINES).drop("document_id")
    other = discounted(DISCOUNTS, "7.6")
    price = partial(DISCOUNTS.price(frame).collect, engine="streaming")
    taken = in_turns(lambda: DISCOUNTS.diff(other, frame), price, time.process_time)
    benchmark.pedantic(lambda: None, rounds=1)
    keep(benchmark, Reached(Figure("diff of two discounts", "one pricing", "time"), *taken, records=2 * LINES))


def test_memory_does_not_grow_with_the_lines(benchmark: Any, keep: Keep, tmp_path: Path) -> None:
    benchmark.group = "pricing"
    sizes = (LINES, 10 * LINES)
    for count in sizes:
        lines(count).write_parquet(tmp_path / f"{count}.parquet", row_group_size=100_000)
    began = time.perf_counter()
    small, large = (
        measured("price", tmp_path / f"{count}.parquet", tmp_path / f"{count}-out.parquet")["peak"] for count in sizes
    )
    assert time.perf_counter() - began < 60 * ROUNDS
    benchmark.pedantic(lambda: None, rounds=1)
    figure = Figure(f"{BOOK}: ten times the lines", f"{LINES:,} lines", "memory", MOST_GROWTH)
    keep(benchmark, Reached(figure, [large], [small]))
