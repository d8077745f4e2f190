"""What a reviewer found: each was wrong once."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.pricing.drawn import Case, differences

from assay.errors import ConfigurationError, PricingError
from assay.pricing import PriceBook, Verifier, round_money


def book(*steps: dict[str, Any], **fields: Any) -> PriceBook:
    content = {"currency": "EUR", "rounding": "half_up", **fields, "steps": list(steps)}
    return PriceBook.model_validate(content)


VOLUME = {"kind": "volume", "tiers": [{"up_to": "3", "unit_price": "2"}, {"unit_price": "1"}]}


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_a_constant_quantity_is_priced_in_every_row(engine: Any) -> None:
    rows = pl.LazyFrame({"x": [1, 2]}).with_columns(quantity=pl.lit(5))
    assert book(VOLUME).price(rows).collect(engine=engine)["net"].to_list() == [5, 5]
    free = book({"kind": "free_units", "quantity": "100"}, VOLUME)
    assert free.price(pl.DataFrame({"quantity": [10, 20]})).collect(engine=engine)["net"].to_list() == [0, 0]


def test_totals_refuse_a_column_that_they_add() -> None:
    fee = {"kind": "percentage_fee", "rate": "10", "free_count": 1}
    frame = pl.DataFrame({"document_id": ["a"], "amount": [Decimal(100)], "allowance": [Decimal(7)]})
    with pytest.raises(ConfigurationError, match="allowance, which the frame has already"):
        book(fee, {"kind": "charge", "amount": {"column": "allowance"}}).totals(frame)


def test_the_end_of_time_is_one_row_s_problem() -> None:
    step = {"kind": "time_of_use", "zone": "UTC", "rates": [{"unit_price": "1"}]}
    first = dt.datetime(2024, 1, 1)
    frame = pl.DataFrame(
        {"quantity": [1, 1], "used_from": [first] * 2, "used_to": [dt.datetime(9999, 12, 31, 23), first]}
    )
    priced = book(step).price(frame, errors="column").collect()
    assert priced["net"].to_list() == [None, 1]
    assert "over 10 years" in priced["pricing_error"][0]


@pytest.mark.parametrize("amount", [1.005, None, True])
def test_rounding_refuses_what_is_no_exact_number(amount: Any) -> None:
    with pytest.raises(TypeError, match="float|NoneType|bool"):
        round_money(amount, "EUR")
    assert round_money("1.005", "EUR") == Decimal("1.01")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"currency": ' + "9" * 5000 + "}"])
def test_a_hostile_book_is_an_error_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "book.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"book\.json"):
        PriceBook.load(path)


def test_one_wrong_step_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "book.toml"
    path.write_text('currency = "EUR"\nrounding = "half_up"\n[[steps]]\nkind = "flat"\namount = 1.5\n')
    with pytest.raises(ConfigurationError) as caught:
        PriceBook.load(path)
    assert "2 errors" not in str(caught.value)
    assert "step 1 (flat), amount: 1.5 is a float" in str(caught.value)


@pytest.mark.parametrize("given", [[1], [[]]])
def test_lines_are_mappings(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="a line is a mapping"):
        book(VOLUME).quote_document(given)


def test_rows_are_frames() -> None:
    with pytest.raises(ConfigurationError, match="not as a list"):
        book(VOLUME).price([1])  # type: ignore[arg-type]
    convert = {"kind": "convert", "to": "EUR", "rates": "x"}
    with pytest.raises(ConfigurationError, match="not as a NoneType"):
        book(VOLUME, convert).quote(quantity=1, rates={"x": None})  # type: ignore[dict-item]


def test_a_currency_in_small_letters_is_told() -> None:
    with pytest.raises(PricingError, match='did you mean "EUR"'):
        book(VOLUME).quote(quantity=1, currency="eur")


def test_documents_may_be_numbers() -> None:
    priced = book(VOLUME, {"kind": "document_discount", "percent": "10"})
    frame = pl.DataFrame({"document_id": [7, 7, 8], "quantity": [1, 2, 5]})
    assert priced.price(frame).collect()["net"].to_list() == [Decimal("1.80"), Decimal("3.60"), Decimal("4.50")]
    assert priced.totals(frame).collect()["document_id"].to_list() == [7, 8]


def test_a_capacity_takes_the_tiers_of_others() -> None:
    tiers = [{"up_to": "500", "unit_price": "0", "flat_fee": "9"}, {"flat_fee": "20"}]
    assert book({"kind": "capacity", "tiers": tiers}).quote(quantity=501).total == 20
    with pytest.raises(ValueError, match="one price, flat_fee"):
        book({"kind": "capacity", "tiers": [{"unit_price": "1"}]})


def test_pricing_verifies_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"quantity": [1, 2, 5]})
    assert book(VOLUME).price(frame, verify=2).collect()["net"].to_list() == [2, 4, 5]
    seen: list[int] = []
    real = Verifier.check

    def check(self: Verifier, given: pl.DataFrame, priced: pl.DataFrame) -> None:
        seen.append(given.height)
        real(self, given, priced)

    monkeypatch.setattr(Verifier, "check", check)
    book(VOLUME).price(frame, verify=2).collect()
    assert sum(seen) == 3


def test_the_parts_of_a_period_add_up_with_what_was_billed() -> None:
    monthly = book({"kind": "flat", "amount": "10.00"}, {"kind": "prorate"})
    days = [dt.date(2024, 1, day) for day in (1, 4, 6, 8)]
    billed = Decimal(0)
    for start, end in pairwise(days):
        billed += monthly.quote(
            period_start=days[0], period_end=days[-1], used_from=start, used_to=end, billed_before=billed
        ).net
    assert billed == Decimal("10.00")


def test_a_tax_of_nothing_that_is_included_changes_nothing() -> None:
    steps: list[dict[str, Any]] = [
        {"kind": "flat", "amount": {"column": "amount"}, "rounding": "none"},
        {"kind": "tax", "inclusive": True, "rate": "0"},
        {"kind": "tax", "inclusive": True, "rate": {"column": "tax_rate"}},
    ]
    priced = book(*steps, rounding="ceiling")
    frame = pl.DataFrame({"amount": [Decimal("0.005")] * 2, "tax_rate": [0, 25]})
    assert priced.quote(amount="0.005", tax_rate=0).net == Decimal("0.005")
    result = priced.price(frame).collect()
    assert result["net"].to_list() == [Decimal("0.005"), Decimal("0.01")]
    assert result["gross"].to_list() == [Decimal("0.005")] * 2


def test_errors_are_raised_or_a_column() -> None:
    with pytest.raises(ConfigurationError, match="not 'null'"):
        book(VOLUME).price(pl.DataFrame({"quantity": [1]}), errors="null")  # type: ignore[arg-type]


def test_a_misspelt_currency_is_not_the_book_s() -> None:
    with pytest.raises(ConfigurationError, match='did you mean "currency"'):
        book(VOLUME).quote(quantity=1, curency="USD")
    with pytest.raises(ConfigurationError, match="list_currency says USD"):
        book(VOLUME).quote(quantity=1, list_currency="USD")


class Counted(Verifier):
    """Remembers the rows that are looked at."""

    looked: list[int]

    def _compare(self, given: pl.DataFrame, priced: pl.DataFrame, chosen: list[int]) -> None:
        self.looked = [*getattr(self, "looked", []), *chosen]
        super()._compare(given, priced, chosen)


@pytest.mark.parametrize("at", [Decimal(100), Decimal("100.01"), Decimal(500), Decimal("500.5"), Decimal(7)])
def test_the_sample_has_rows_at_and_beside_each_edge(at: Decimal) -> None:
    """A twin that is wrong at one value alone is found, where that is the nearest to an edge, on either side."""
    tiers = [{"up_to": "100", "unit_price": "2"}, {"up_to": "500", "unit_price": "1"}, {"unit_price": "3"}]
    priced_by = book({"kind": "free_units", "quantity": "7"}, {"kind": "graduated", "tiers": tiers})
    quantities = [Decimal(number) / 8 for number in range(1, 8000)] + [at + 7]
    frame = pl.DataFrame({"quantity": quantities}, schema={"quantity": pl.Decimal(12, 3)})
    priced = priced_by.price(frame).collect()
    wrong = priced.with_columns(net=pl.when(pl.col("quantity") == at + 7).then(pl.col("net") + 1).otherwise("net"))
    beside = {Decimal(107), Decimal("107.01"), Decimal(507)}
    if at + 7 in beside:
        with pytest.raises(PricingError, match="verification: net"):
            Verifier(priced_by, 1, inputs={}).check(frame, wrong)
    else:
        Verifier(priced_by, 1, inputs={}).check(frame, wrong)


def test_the_sample_has_the_days_on_which_rates_change() -> None:
    table = [{"rate": "19", "valid_to": dt.date(2020, 7, 1)}, {"rate": "16", "valid_from": dt.date(2020, 7, 1)}]
    taxed = book({"kind": "flat", "amount": "100"}, {"kind": "tax", "table": table})
    days = [dt.date(2019, 1, 1) + dt.timedelta(days=number) for number in range(1000)]
    frame = pl.DataFrame({"date": days})
    verifier = Counted(taxed, 1, inputs={})
    verifier.check(frame, taxed.price(frame).collect())
    assert {days.index(dt.date(2020, 6, 30)), days.index(dt.date(2020, 7, 1))} <= set(verifier.looked)


def test_the_sample_is_bounded() -> None:
    """Ever larger values, a price each, a hundred edges: a feed that is all extremes."""
    tiers = [{"up_to": str(top), "unit_price": "2"} for top in range(10, 2000, 10)]
    many = book({"kind": "volume", "tiers": [*tiers, {"unit_price": "1"}]})
    verifier = Verifier(many, 100, inputs={})
    for part in range(100):
        frame = pl.DataFrame({"quantity": range(part * 30, part * 30 + 30)})
        verifier.check(frame, many.price(frame).collect())
    assert 100 <= verifier.verified <= 1000


def test_rows_that_are_alike_are_sampled_once() -> None:
    verifier = Verifier(book(VOLUME), 100, inputs={})
    frame = pl.DataFrame({"quantity": [1, 2, 5] * 100})
    priced = book(VOLUME).price(frame).collect()
    for _ in range(20):
        verifier.check(frame, priced)
    assert verifier.verified <= 3


@pytest.mark.parametrize(("price", "quantity"), [(18, 30), (20, 19), (38, 10), (38, 38)])
@pytest.mark.parametrize("currency", ["EUR", "JPY"])
def test_prices_and_quantities_may_have_any_number_of_places(
    tmp_path: Path, price: int, quantity: int, currency: str
) -> None:
    steps = [{"kind": "per_unit", "unit_price": {"column": "list_price"}}]
    (tmp_path / "book.json").write_text(json.dumps({"currency": currency, "rounding": "half_up", "steps": steps}))
    book = PriceBook.load(tmp_path / "book.json")
    frame = pl.DataFrame(
        {"list_price": [Decimal("0.15"), None, Decimal(0)], "quantity": [Decimal("0.3"), Decimal(0), Decimal(0)]},
        schema={"list_price": pl.Decimal(38, price), "quantity": pl.Decimal(38, quantity)},
    )
    assert differences(Case(book, frame)) == []


@pytest.mark.parametrize(
    "step",
    [
        {"kind": "percentage_fee", "rate": "100", "fixed": "0.1", "per_event_max": "2"},
        {
            "kind": "graduated",
            "round": "total",
            "tiers": [{"up_to": "0.5", "unit_price": "0.33333333335"}, {"unit_price": "0.33333333335"}],
        },
    ],
)
def test_what_is_only_told_has_any_number_of_places(step: dict[str, object]) -> None:
    """A receipt tells parts of what is exact together: that does not depend on whether it is asked for."""
    book = PriceBook.model_validate({"currency": "EUR", "rounding": "none", "steps": [step]})
    amounts = [Decimal("21.4999999999999999"), Decimal(2), Decimal(1), Decimal(0)]
    inputs = {"amount": amounts, "quantity": amounts}
    frame = pl.DataFrame(
        {name: inputs[name] for name in book.required_inputs()},
        schema_overrides=dict.fromkeys(book.required_inputs(), pl.Decimal(20, 16)),
    )
    assert differences(Case(book, frame)) == []
    assert differences(Case(book, frame), receipts=False) == []
    assert book.price(frame, errors="column").collect()["net"].null_count() < 4
