"""The battery that is shipped for strategies, passed by all that are built in, and failed by a wrong one."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar, Literal

import polars as pl
import pytest

from assay.pricing import (
    BatchRating,
    Note,
    PriceList,
    Rating,
    Step,
    Wording,
    register,
    registry,
    strategy,
    strategy_kinds,
)
from assay.pricing.twin import Twin
from assay.testing import StrategyConformance

PRICE = {"kind": "per_unit", "unit_price": "1.255"}
FLAT = {"kind": "flat", "amount": {"column": "amount"}}
TIERS = [{"up_to": "10", "unit_price": "1.255", "flat_fee": "2"}, {"unit_price": "0.5"}]
HOURS = [{"unit_price": "1.25"}, {"unit_price": "2", "start": "08:00", "weight": 1}]
RULES = [{"kind": "percent_off", "percent": percent} for percent in ("5", "10", "15")]
DAY = dt.datetime(2026, 3, 2, 7)


class TestChargeModels(StrategyConformance):
    books = (
        [{"kind": "flat", "amount": "9.995"}],
        [PRICE],
        [{"kind": "volume", "tiers": TIERS}],
        [{"kind": "graduated", "tiers": TIERS}],
        [{"kind": "graduated", "tiers": TIERS, "round": "total"}],
        [{"kind": "package", "size": "20", "price": "4.005", "free": "5"}],
        [{"kind": "blocks", "tiers": [{"size": "10", "max_blocks": 3, "price": "0.5"}, {"size": "7", "price": "0.4"}]}],
        [{"kind": "capacity", "tiers": [{"up_to": "30", "flat_fee": "49"}, {"flat_fee": "99"}]}],
        [{"kind": "free_units", "quantity": "12.5"}, PRICE],
    )


class TestAmounts(StrategyConformance):
    books = (
        [{"kind": "percentage_fee", "rate": "1.55", "fixed": "0.25", "free_amount": "5", "per_event_max": "5"}],
        [{"kind": "graduated_percentage", "tiers": [{"up_to": "10", "rate": "3"}, {"rate": "1", "flat_fee": "2"}]}],
        [{"kind": "cost_plus", "multiplier": "1.205"}],
        [FLAT, {"kind": "convert", "to": "KWD", "rates": {"EUR": "0.333", "JPY": "0.002", "CLF": "12"}}],
    )


class TestTimes(StrategyConformance):
    books = (
        [
            {
                "kind": "time_of_use",
                "zone": "UTC",
                "rates": [{"unit_price": "1.25"}, {"unit_price": "2", "start": "08:00"}],
            }
        ],
        [PRICE, {"kind": "prorate"}],
        [PRICE, {"kind": "prorate", "unit": "second"}],
    )
    rows: ClassVar[dict[str, Any]] = {
        "used_from": [DAY, DAY + dt.timedelta(minutes=50)],
        "used_to": [DAY + dt.timedelta(minutes=61), DAY + dt.timedelta(hours=9)],
        "period_start": [DAY - dt.timedelta(days=3)],
        "period_end": [DAY + dt.timedelta(days=20)],
    }


class TestDiscounts(StrategyConformance):
    books = (
        [PRICE, {"kind": "percent_off", "percent": "7.5", "at_least": "3"}],
        [PRICE, {"kind": "fixed_price", "amount": "10", "when": "lower"}],
        [PRICE, {"kind": "stack", "rules": RULES}],
        [
            PRICE,
            {"kind": "stack", "mode": "best", "rules": RULES},
        ],
        [PRICE, {"kind": "charge", "percent": "2.5"}, {"kind": "tax", "rate": "19"}],
        [PRICE, {"kind": "tax", "rate": "19", "inclusive": True}, {"kind": "tax", "rate": "2", "inclusive": True}],
    )


class TestLimits(StrategyConformance):
    mirrors = False  # credits are left as they are
    books = (
        [PRICE, {"kind": "amount_off", "amount": "5"}],
        [PRICE, {"kind": "minimum", "amount": "10"}, {"kind": "maximum", "amount": "40"}],
        [PRICE, {"kind": "minimum", "amount": "10", "per": "period"}],
        [PRICE, {"kind": "credit", "balance": "12"}],
    )


class TestDocuments(StrategyConformance):
    books = (
        [PRICE, {"kind": "document_discount", "percent": "7.5"}, {"kind": "tax", "rate": "19", "level": "document"}],
        [PRICE, {"kind": "document_discount", "amount": "5", "allocate": "even"}],
        [PRICE, {"kind": "charge", "amount": "4.95", "per": "document"}],
        [PRICE, {"kind": "maximum", "amount": "40", "per": "document"}],
        [PRICE, {"kind": "buy_x_get_y", "buy": "2", "get": "1"}],
        [PRICE, {"kind": "coupon", "amount": "5", "uses": 1}],
    )
    rows: ClassVar[dict[str, Any]] = {"document_id": ["a", "b", "c", "d", "e", "f", "g"]}


class TestRoundedTotals(StrategyConformance):
    books = ([PRICE, {"kind": "round_total", "increment": "5", "rounding": "half_up"}],)
    rows: ClassVar[dict[str, Any]] = {"document_id": ["a", "b", "c"]}


class TestPriceLists(StrategyConformance):
    books = (
        [
            {"kind": "resolve", "table": "list", "gives": ["unit_price"], "date": "date", "quantity": "quantity"},
            {"kind": "per_unit", "unit_price": {"column": "unit_price"}},
        ],
    )
    rows: ClassVar[dict[str, Any]] = {
        "product": ["p", "q"],
        "date": [DAY, DAY + dt.timedelta(days=9)],
        "known_at": [dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC)],
    }
    prices: ClassVar[dict[str, PriceList]] = {
        "list": PriceList(
            [
                {"id": "any", "unit_price": "1.255"},
                {"id": "p", "product": "p", "unit_price": "1.005", "valid_to": "2026-03-05"},
                {"id": "p", "product": "p", "unit_price": "0.995", "known_from": "2026-03-09T00:00Z"},
                {"id": "q", "product": "q", "unit_price": "0.333", "min_quantity": "10.5"},
            ]
        )
    }


def test_the_batteries_have_every_strategy() -> None:
    tried = {
        str(step["kind"])
        for battery in StrategyConformance.__subclasses__()
        for steps in battery.books
        for step in steps
    }
    # Others may be registered in this process, by the documentation.
    ours = {kind for kind in strategy_kinds() if strategy(kind).__module__.startswith("assay.")}
    assert len(ours) == 28
    assert ours <= tried


class Half(Step):
    """Wrong: the twin forgets to round as the reference does."""

    kind: Literal["half"] = "half"

    def apply(self, at: Rating) -> None:
        at.charge(at.net / 2, Wording("half"))

    def apply_expr(self, at: BatchRating) -> None:
        at.charge(at.rounded(at.sums.net), Note("half"))


def test_a_wrong_strategy_fails_its_battery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_strategies", dict(registry._strategies))
    register(Half)

    class Battery(StrategyConformance):
        books: ClassVar[Any] = ([PRICE, {"kind": "half"}],)

    with pytest.raises(AssertionError):
        Battery().test_batch_is_quote("half_up")
    del Battery


CLEAN = [
    (battery, steps)
    for battery in StrategyConformance.__subclasses__()
    if battery.__module__ == __name__
    for steps in battery.books
]


@pytest.mark.parametrize(("battery", "steps"), CLEAN, ids=[str(steps[-1]["kind"]) for _, steps in CLEAN])
def test_the_twin_prices_clean_rows_itself(
    battery: type[StrategyConformance], steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = battery().made(steps, "half_up")
    frame = battery().drawn(book, 3)
    numbers = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Decimal)]
    clean = frame.with_columns(pl.int_range(1, pl.len() + 1).cast(pl.Decimal(12, 3)).alias(name) for name in numbers)
    monkeypatch.setattr(
        Twin, "_referred", lambda self, rows: pytest.fail(f"left to the reference: {rows.to_dicts()[0]}")
    )
    if book.optional_inputs() & {"document_id"} and "allocate" in str(steps):
        clean = clean.head(1)  # a share larger than its line is left to the reference
    assert book.price(clean, prices=battery.prices, receipts=True).collect()["net"].null_count() == 0
