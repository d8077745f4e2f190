"""The linter of price books: 1,000 rules, and a list of 100,000 prices."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest
from benchmarks.books import book

from assay.pricing import PriceBook, PriceList

MOST_SECONDS: Final = 5


def tiers(count: int) -> list[dict[str, str]]:
    """Prices that rise, so that nothing falls."""
    made = [{"up_to": str(10 * number), "unit_price": str(number)} for number in range(1, count)]
    return [*made, {"unit_price": str(count)}]


def rules() -> PriceBook:
    """450 tiers, 50 tiers that are filled one after the other, 450 rates of 450 places, 50 thresholds."""
    offers = [{"kind": "percent_off", "percent": "1", "at_least": str(200 * number)} for number in range(50, 0, -1)]
    rates = [{"rate": str(number % 25), "place": f"P{number}"} for number in range(450)]
    return book(
        {"kind": "volume", "tiers": tiers(450)},
        {"kind": "graduated", "tiers": tiers(50)},
        {"kind": "stack", "mode": "exclusive", "rules": offers},
        {"kind": "tax", "table": rates},
    )


def prices() -> tuple[PriceBook, dict[str, PriceList]]:
    rows = [
        {"product": f"s{number // 4}", "unit_price": "4", "min_quantity": number % 4 * 10 + 1}
        for number in range(100_000)
    ]
    resolve = {"kind": "resolve", "table": "list", "gives": ["unit_price"], "quantity": "quantity"}
    return book(resolve, {"kind": "per_unit", "unit_price": {"column": "unit_price"}}), {"list": PriceList(rows)}


@pytest.mark.parametrize("what", ["1,000 rules", "100,000 prices"])
def test_a_book_is_linted(benchmark: Any, what: str) -> None:
    benchmark.group = "linter"
    linted, lists = prices() if what == "100,000 prices" else (rules(), {})
    start = time.process_time()
    benchmark.pedantic(lambda: linted.lint(prices=lists), rounds=1)
    assert time.process_time() - start <= MOST_SECONDS
