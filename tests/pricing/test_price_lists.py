"""Which price applies, and what is said where none does or several do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from assay.errors import ConfigurationError, PricingError
from assay.pricing import PriceBook, PriceList, RatesTable, Receipt, Verifier
from assay.pricing.price_index import UNKNOWN

RESOLVE: dict[str, Any] = {"kind": "resolve", "table": "list", "gives": ["unit_price"]}
PER_UNIT = {"kind": "per_unit", "unit_price": {"column": "unit_price"}}
Rows = list[dict[str, object]]


def book(resolve: Mapping[str, object] = RESOLVE, *steps: Mapping[str, object], **fields: object) -> PriceBook:
    content = {"currency": "EUR", "rounding": "half_up", "steps": [resolve, *(steps or [PER_UNIT])]}
    return PriceBook.model_validate(content | fields)


def quote(
    rows: Rows, resolve: Mapping[str, object] = RESOLVE, fields: Mapping[str, object] | None = None, **inputs: Any
) -> Receipt:
    return book(resolve, **(fields or {})).quote(prices={"list": PriceList(rows)}, **({"quantity": 1} | inputs))


# The most specific counts


LEVELS: Rows = [
    {"id": "default", "unit_price": "6"},
    {"id": "channel", "channel": "shop", "unit_price": "5"},
    {"id": "group", "customer_group": "vip", "unit_price": "4"},
    {"id": "customer", "customer": "c1", "unit_price": "3"},
    {"id": "contract", "contract": "k1", "unit_price": "2"},
]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, "default"),
        ({"channel": "shop"}, "channel"),
        ({"channel": "web"}, "default"),
        ({"channel": "shop", "customer_group": "vip"}, "group"),
        ({"channel": "shop", "customer_group": "vip", "customer": "c1"}, "customer"),
        ({"channel": "shop", "customer_group": "vip", "customer": "c1", "contract": "k1"}, "contract"),
        ({"customer": "c2", "contract": "k2"}, "default"),
    ],
)
def test_contract_customer_group_channel_default(names: dict[str, Any], expected: str) -> None:
    nobody: dict[str, Any] = dict.fromkeys(("contract", "customer", "customer_group", "channel"))
    assert quote(LEVELS, **(nobody | names)).price_id == expected


def test_a_row_that_names_several_is_ranked_by_the_most_specific_and_then_the_next() -> None:
    rows: Rows = [
        {"id": "group and channel", "customer_group": "vip", "channel": "shop", "unit_price": "1"},
        {"id": "customer", "customer": "c1", "channel": None, "unit_price": "2"},
        {"id": "customer and channel", "customer": "c1", "channel": "shop", "unit_price": "3"},
    ]
    line: dict[str, Any] = {"customer": "c1", "customer_group": "vip"}
    assert quote(rows, **line, channel="shop").price_id == "customer and channel"
    assert quote(rows, **line, channel="web").price_id == "customer"


def test_the_more_specific_counts_even_where_the_other_has_a_higher_break_or_priority() -> None:
    rows: Rows = [
        {"id": "mine", "customer": "c1", "unit_price": "2"},
        {"id": "bulk", "min_quantity": 10, "priority": 9, "unit_price": "1"},
    ]
    resolve = RESOLVE | {"quantity": "quantity"}
    assert quote(rows, resolve, quantity=100, customer="c1").price_id == "mine"
    assert quote(rows, resolve, quantity=100, customer="c2").price_id == "bulk"


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("0", "one"), ("9.9", "one"), ("10", "ten"), ("99", "ten"), ("100", "hundred"), ("-10", "ten")],
)
def test_the_highest_break_that_is_reached_counts_and_a_credit_is_that_of_its_quantity(
    quantity: str, expected: str
) -> None:
    rows: Rows = [
        {"id": "one", "unit_price": "3"},
        {"id": "ten", "min_quantity": "10", "unit_price": "2", "priority": -1},
        {"id": "hundred", "min_quantity": "100", "unit_price": "1"},
    ]
    assert quote(rows, RESOLVE | {"quantity": "quantity"}, quantity=quantity).price_id == expected


def test_breaks_of_many_digits() -> None:
    rows: Rows = [
        {"id": "one", "unit_price": "3"},
        {"id": "fine", "min_quantity": "0.0000000000000000000000001", "unit_price": "2"},
        {"id": "huge", "min_quantity": 10**30, "unit_price": "1"},
    ]
    frame = pl.DataFrame(
        {"quantity": pl.Series([Decimal(0), Decimal("0.000001"), Decimal(10) ** 30], dtype=pl.Decimal(38, 6))}
    )
    for some, expected in ((rows[:2], ["one", "fine", "fine"]), (rows, ["one", "fine", "huge"])):
        resolved = book(RESOLVE | {"quantity": "quantity"})
        priced = resolved.price(frame, prices={"list": PriceList(some)}, verify=3).collect()
        assert priced["price_id"].to_list() == expected


def test_what_the_list_does_not_ask_for_may_be_anything() -> None:
    rows: Rows = [{"id": "any", "unit_price": "3"}]
    frame = pl.DataFrame({"quantity": [1, None], "product": [17, 18], "known_at": [dt.date(2026, 1, 1)] * 2})
    priced = book().price(frame, prices={"list": PriceList(rows)}, errors="column").collect()
    assert priced["pricing_error"].to_list() == [None, "per_unit: quantity is null"]


def test_max_quantity_is_inclusive() -> None:
    rows: Rows = [{"id": "few", "max_quantity": 10, "unit_price": "3", "priority": 1}, {"id": "any", "unit_price": "2"}]
    resolve = RESOLVE | {"quantity": "quantity"}
    assert [quote(rows, resolve, quantity=q).price_id for q in ("10", "10.001")] == ["few", "any"]


def test_priority_decides_between_alike() -> None:
    rows: Rows = [{"id": "sale", "unit_price": "2", "priority": 1}, {"id": "list", "unit_price": "3"}]
    assert quote(rows).price_id == "sale"


# Windows


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-28T23:59:59.999999+01:00", "winter"),
        ("2026-03-29T00:00+01:00", "summer"),  # the 29th begins an hour before the clocks jump
        ("2026-03-28T23:00Z", "summer"),
        ("2026-03-28T22:59:59.999999Z", "winter"),
    ],
)
def test_days_begin_in_the_zone_of_the_book(moment: str, expected: str) -> None:
    rows: Rows = [
        {"id": "winter", "valid_to": "2026-03-29", "unit_price": "3"},
        {"id": "summer", "valid_from": "2026-03-29", "unit_price": "2"},
    ]
    receipt = quote(rows, RESOLVE | {"date": "at"}, {"zone": "Europe/Berlin"}, at=moment)
    assert receipt.price_id == expected


def test_leap_day_and_last_microsecond() -> None:
    rows: Rows = [
        {"id": "leap day", "valid_from": "2024-02-29", "valid_to": "2024-03-01", "unit_price": "3"},
        {"id": "always", "unit_price": "2", "priority": -1},
    ]
    resolve = RESOLVE | {"date": "at"}
    asked = ["2024-02-28T23:59:59.999999", "2024-02-29", "2024-02-29T23:59:59.999999", "2024-03-01T00:00"]
    assert [quote(rows, resolve, at=one).price_id for one in asked] == ["always", "leap day", "leap day", "always"]


def test_the_window_is_what_all_that_contributed_have_in_common() -> None:
    prices = PriceList([{"id": "p", "valid_from": "2026-01-01", "unit_price": "2"}])
    rates = PriceList(
        [
            {"id": "old", "valid_to": "2026-02-01", "tax_rate": "19"},
            {"id": "new", "valid_from": "2026-02-01", "valid_to": "2026-05-01", "tax_rate": "20"},
        ]
    )
    fx = RatesTable(
        pl.DataFrame(
            {
                "currency": ["USD", "USD"],
                "valid_from": [dt.date(2026, 3, 2), dt.date(2026, 3, 4)],
                "rate": pl.Series(["2", "4"]).str.to_decimal(scale=0),
            }
        )
    )
    priced = book(
        RESOLVE | {"date": "day"},
        PER_UNIT,
        {"kind": "convert", "to": "EUR", "rates": "fx", "date": "day", "max_age": 3},
        {"kind": "resolve", "id": "vat", "table": "rates", "gives": {"rate": "tax_rate"}, "date": "day"},
        {"kind": "tax", "rate": {"column": "rate"}},
    )
    tables: dict[str, Any] = {"rates": {"fx": fx}, "prices": {"list": prices, "rates": rates}}

    def window(day: str, currency: str) -> tuple[object, object]:
        # The price names no currency, so that it is for rows in EUR; a conversion still looks at those in USD.
        receipt = priced.quote(quantity=1, day=day, currency=currency, **tables)
        frame = pl.DataFrame({"quantity": [1], "day": [dt.date.fromisoformat(day)], "currency": [currency]})
        row = priced.price(frame, **tables).collect().row(0, named=True)
        assert (row["price_id"], row["price_from"], row["price_to"]) == (
            receipt.price_id,
            receipt.price_from,
            receipt.price_to,
        )
        return receipt.price_from, receipt.price_to

    def utc(day: int, month: int = 3) -> dt.datetime:
        return dt.datetime(2026, month, day, tzinfo=dt.UTC)

    assert window("2026-03-03", "EUR") == (utc(1, 2), utc(1, 5))
    assert priced.quote(quantity=1, day="2026-03-03", **tables).price_id == "p, new"
    tables["prices"]["list"] = PriceList(
        [{"id": "p", "valid_from": "2026-01-01", "currency": "USD", "unit_price": "2"}]
    )
    assert window("2026-03-03", "USD") == (utc(2), utc(4))
    assert window("2026-03-06", "USD") == (utc(4), utc(8))


# What a price is


def test_a_price_that_names_no_currency_is_in_the_books() -> None:
    rows: Rows = [{"unit_price": "2"}]
    mixed = book(mixed=True)
    frame = pl.DataFrame({"quantity": [1, 1], "currency": ["EUR", "USD"]})
    reason = (
        'per_unit: unit_price of the price "1" is in EUR, as it names no currency, and the row is in USD: give the '
        "list a column currency"
    )
    priced = mixed.price(frame, prices={"list": PriceList(rows)}, errors="column").collect()
    assert priced["pricing_error"].to_list() == [None, reason]


def test_prices_in_several_currencies() -> None:
    prices = PriceList(
        [{"id": "e", "currency": "EUR", "unit_price": "2"}, {"id": "j", "currency": "JPY", "unit_price": "300"}]
    )
    frame = pl.DataFrame({"quantity": [1, 2], "currency": ["EUR", "JPY"]})
    priced = book(mixed=True).price(frame, prices={"list": prices}).collect()
    assert priced["net"].to_list() == [Decimal("2.0000"), Decimal("600.0000")]
    assert priced["price_id"].to_list() == ["e", "j"]


def test_one_list_gives_several_values_under_other_names() -> None:
    prices = PriceList([{"price": "12.50", "fee": "0.99", "per": 100}])
    priced = book(
        RESOLVE | {"gives": {"unit_price": "price", "fee": "fee", "base_quantity": "per"}},
        PER_UNIT,
        {"kind": "charge", "amount": {"column": "fee"}},
    )
    assert priced.required_inputs() == {"quantity"}
    assert "base_quantity" not in priced.optional_inputs()
    frame = pl.DataFrame({"quantity": [200]})
    assert priced.price(frame, prices={"list": prices}, verify=1).collect()["net"].to_list() == [Decimal("25.99")]
    line = priced.quote(quantity=200, prices={"list": prices}).lines[0]
    assert (line.what, line.amount, line.adds_to_total) == (
        "price 1 of list: unit_price 12.5, fee 0.99, base_quantity 100",
        Decimal(0),
        False,
    )


def test_explain_names_the_price_and_when_it_is_valid() -> None:
    rows: Rows = [{"id": "spring", "unit_price": "2", "valid_from": "2026-03-01", "valid_to": "2026-06-01"}]
    told = quote(rows, RESOLVE | {"date": "day"}, day="2026-04-01").explain()
    assert "price spring of list: unit_price 2 from 2026-03-01 to 2026-06-01" in told


# What is wrong with a row


def missing(rows: Rows, resolve: Mapping[str, object] = RESOLVE, **inputs: Any) -> str:
    with pytest.raises(PricingError) as error:
        quote(rows, resolve, **inputs)
    line = {"quantity": 1} | {name: value for name, value in inputs.items() if name != "known_at"}
    frame = pl.DataFrame([{name: _typed(value) for name, value in line.items()}]).cast({pl.Null: pl.String})
    priced = book(resolve).price(
        frame, prices={"list": PriceList(rows)}, errors="column", known_at=inputs.get("known_at")
    )
    assert priced.collect()["pricing_error"].item() == str(error.value)
    return str(error.value)


def _typed(value: object) -> object:
    try:
        return dt.date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value


def test_a_tie_names_both() -> None:
    rows: Rows = [
        {"id": "a", "product": "p", "unit_price": "2", "valid_from": "2026-01-01", "valid_to": "2026-03-01"},
        {"id": "b", "product": "p", "unit_price": "3", "valid_from": "2026-02-01"},
    ]
    assert missing(rows, RESOLVE | {"date": "day"}, product="p", day="2026-02-03") == (
        'resolve: several prices for product "p" on 2026-02-03 in list: "a" (row 1) and "b" (row 2) both hold '
        "from 2026-02-01 to 2026-03-01: end one, or give one a priority"
    )


@pytest.mark.parametrize(
    ("inputs", "near"),
    [
        ({"product": "p", "day": "2025-12-31"}, '"p1" begins on 2026-01-01'),
        ({"product": "p", "day": "2026-03-15"}, '"p2" expired on 2026-03-01, "p3" begins on 2026-04-01'),
        ({"product": "p", "day": "2027-01-01"}, '"p3" expired on 2026-05-01'),
        ({"product": "pp", "day": "2026-01-01"}, 'no row has the product "pp"; the nearest is "p"'),
        ({"product": "q", "day": "2026-01-01"}, '"q10" is for 10 and more'),
    ],
)
def test_what_is_near_where_there_is_no_price(inputs: dict[str, str], near: str) -> None:
    rows: Rows = [
        {"id": "p1", "product": "p", "unit_price": "2", "valid_from": "2026-01-01", "valid_to": "2026-02-01"},
        {"id": "p2", "product": "p", "unit_price": "2", "valid_from": "2026-02-01", "valid_to": "2026-03-01"},
        {"id": "p3", "product": "p", "unit_price": "2", "valid_from": "2026-04-01", "valid_to": "2026-05-01"},
        {"id": "q10", "product": "q", "unit_price": "2", "min_quantity": 10},
    ]
    told = missing(rows, RESOLVE | {"date": "day", "quantity": "quantity"}, **inputs)
    words = f'product "{inputs["product"]}", quantity 1 on {inputs["day"]}'
    assert told == f"resolve: no price for {words} in list: {near}"


def test_an_item_without_the_name_that_all_prices_have() -> None:
    rows: Rows = [{"product": "p", "unit_price": "2"}]
    assert missing(rows, product=None) == (
        "resolve: no price in list: all of its rows name a product, and none is given"
    )
    assert missing([{"currency": "USD", "unit_price": "2"}]) == (
        'resolve: no price for currency "EUR" in list: no row has the currency "EUR"'
    )


def test_a_price_that_was_not_known_yet() -> None:
    rows: Rows = [{"id": "a", "unit_price": "2", "known_from": "2026-02-01T00:00Z"}]
    assert missing(rows, known_at="2026-01-31T23:59:59Z") == (
        'resolve: no price as known at 2026-01-31T23:59:59Z in list: "a" was not known yet then'
    )


def test_a_row_of_the_list_without_the_value() -> None:
    rows: Rows = [{"id": "a", "unit_price": None, "fee": "1"}]
    assert missing(rows) == 'resolve: price "a" of list has no unit_price'


# What is wrong with a list


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"unit_price": 2.5}], "row 1, unit_price: "),
        ([{"unit_price": "2,50"}], 'row 1, unit_price: "2,50" is no decimal'),
        (
            [{"custmer": "c", "unit_price": "1"}],
            'row 1, custmer: "c" is no decimal, and a price list has no such column (did you mean "customer"?)',
        ),
        ([{"product": "p"}], "a price list has a column of Decimals at least"),
        ([{"unit_price": "1", "product": ""}], "row 1, product: is empty: a null says that the row is for any"),
        ([{"unit_price": "1", "min_quantity": -1}], "row 1, min_quantity: -1 is below 0"),
        (
            [{"unit_price": "1", "min_quantity": 5, "max_quantity": 4}],
            "row 1, max_quantity: 4 is below min_quantity, 5",
        ),
        ([{"unit_price": "1", "priority": "1"}], "row 1, priority: a str is no whole number"),
        ([{"unit_price": "1", "valid_from": "2026-02-30"}], 'row 1, valid_from: "2026-02-30" is no date or datetime'),
        (
            [{"unit_price": "1", "valid_from": "2026-02-01", "valid_to": "2026-02-01"}],
            "row 1: valid from 2026-02-01 to 2026-02-01 is no time at all",
        ),
        (
            [{"unit_price": "1", "valid_from": "2026-02-01"}, {"unit_price": "1", "valid_from": "2026-02-02T00:00Z"}],
            'row 1: valid from 2026-02-01 has no zone, and other rows have one: give zone="Europe/Berlin"',
        ),
        ([{"unit_price": "1", "known_from": "2026-02-01T00:00"}], "row 1, known_from: 2026-02-01T00:00:00 has no zone"),
        (
            [{"unit_price": "1", "known_from": "2026-02-01T00:00Z", "known_to": "2026-02-01T00:00Z"}],
            "row 1, known_to: is not after known_from: the row was never known",
        ),
        ([{"unit_price": "1", "id": None}], "row 1, id: is null: name every row, or none"),
        (
            [{"unit_price": "1", "id": "a"}, {"unit_price": "2", "id": "a"}],
            'row 2 ("a") has the id "a" of row 1, and both are known from the same moment: keep one',
        ),
        (
            [{"unit_price": "1", "product": "p"}, {"unit_price": "2", "product": "p"}],
            "row 2 is for the same as row 1, from the same quantity and moment, and both are known",
        ),
    ],
)
def test_a_wrong_list_is_told_with_its_row(rows: Rows, reason: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        PriceList(rows)
    assert str(error.value).startswith(reason)


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("unit_price", pl.Series([1.5]), "column unit_price: it is Float64, and prices are never floats"),
        ("note", pl.Series(["x"]), "column note: it is String, and a price list has no such column"),
        ("custommer", pl.Series(["x"]), 'and a price list has no such column (did you mean "customer"?)'),
        ("customer", pl.Series([1]), "column customer: it is Int64, not a String"),
        ("valid_from", pl.Series(["2026-01-01"]), "column valid_from: it is String, not a Date or a Datetime"),
        ("known_from", pl.Series([dt.datetime(2026, 1, 1)]), "column known_from: it has no zone"),
        ("known_from", pl.Series([dt.date(2026, 1, 1)]), "column known_from: it is Date, not a Datetime with a zone"),
        ("priority", pl.Series(["1"]), "column priority: it is String, not whole numbers"),
    ],
)
def test_a_wrong_column_is_told_by_its_type(column: str, values: pl.Series, reason: str) -> None:
    frame = pl.DataFrame({"unit_price": pl.Series([1])}).with_columns(values.alias(column))
    with pytest.raises(ConfigurationError, match=r".") as error:
        PriceList(frame)
    assert reason in str(error.value)
    assert isinstance(error.value, TypeError) == values.dtype.is_float()


def test_the_years_1_and_9999_are_open() -> None:
    rows: Rows = [{"unit_price": "1", "valid_from": "0001-01-01", "valid_to": "9999-12-31"}]
    receipt = quote(rows, RESOLVE | {"date": "day"}, day="2026-01-01")
    assert (receipt.price_from, receipt.price_to) == (None, None)


# What is wrong with a book, or with what it is given


def test_what_a_book_says_of_its_lists() -> None:
    prices = PriceList([{"unit_price": "1", "min_quantity": 2, "valid_from": "2026-01-01", "customer": "c"}])
    with pytest.raises(ConfigurationError, match='the book asks for the prices "list": give prices='):
        book().quote(quantity=1)
    with pytest.raises(ConfigurationError, match="are dated: say by which input, date = "):
        book().quote(quantity=1, customer="c", prices={"list": prices})
    with pytest.raises(ConfigurationError, match="have quantity breaks: say of which input, quantity = "):
        book(RESOLVE | {"date": "day"}).quote(quantity=1, customer="c", day="2026-01-01", prices={"list": prices})
    with pytest.raises(
        ConfigurationError, match='no column net_price; there are unit_price; did you mean "unit_price"'
    ):
        book(RESOLVE | {"gives": {"unit_price": "net_price"}}).quote(quantity=1, customer="c", prices={"list": prices})
    assert book().price_lists() == {"list"}


def test_a_name_by_which_prices_differ_must_be_given_or_said_to_be_nobodys() -> None:
    prices = {"list": PriceList([{"id": "mine", "customer": "c", "unit_price": "1"}, {"id": "any", "unit_price": "2"}])}
    frame = pl.DataFrame({"quantity": [1], "client": ["c"]})
    for act in (
        lambda: book().quote(quantity=1, prices=prices),
        lambda: book().price(frame, prices=prices),
        lambda: book().quote_document([{"quantity": 1}], prices=prices),
    ):
        with pytest.raises(
            ConfigurationError, match='the prices "list" are told apart by customer, which no input says'
        ):
            act()
    assert book().price(frame, prices=prices, inputs={"customer": "client"}).collect()["price_id"].item() == "mine"
    assert book().price(frame, prices=prices, inputs={"customer": None}, verify=1).collect()["price_id"].item() == "any"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([PER_UNIT, RESOLVE], 'step "resolve" gives unit_price, and step "per_unit" reads it before'),
        ([RESOLVE, RESOLVE, PER_UNIT], 'step "resolve/2" gives unit_price, and step "resolve" gives it before'),
        ([RESOLVE | {"gives": ["quantity"]}, PER_UNIT], "quantity comes with each row: a price list does not give it"),
        ([RESOLVE | {"gives": []}, PER_UNIT], "is empty: give one at least"),
    ],
)
def test_a_value_is_given_once_and_before_it_is_read(steps: list[dict[str, object]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", "steps": steps})


def test_a_date_without_a_zone_where_one_is_needed() -> None:
    days: Rows = [{"unit_price": "1", "valid_from": "2026-01-01"}]
    instants: Rows = [{"unit_price": "1", "valid_from": "2026-01-01T00:00Z"}]
    resolve = RESOLVE | {"date": "at"}
    with pytest.raises(
        ConfigurationError, match='the prices "list" has no zone, and at has one: give the book the zone'
    ):
        quote(days, resolve, at="2026-01-01T00:00Z")
    with pytest.raises(
        ConfigurationError, match='at has no zone, and the prices "list" has one: give the book the zone'
    ):
        quote(instants, resolve, at="2026-01-01")
    frame = pl.DataFrame({"quantity": [1], "at": [dt.date(2026, 1, 1)]})
    with pytest.raises(ConfigurationError, match="at has no zone"):
        book(resolve).price(frame, prices={"list": PriceList(instants)})
    assert quote(instants, resolve, {"zone": "Europe/Berlin"}, at="2026-01-02").price_id == "1"


# Known time


CORRECTED: Rows = [
    {"id": "p", "unit_price": "10", "valid_from": "2026-03-01"},
    {"id": "p", "unit_price": "11", "valid_from": "2026-03-01", "known_from": "2026-04-02T09:00Z"},
    {"id": "q", "product": "q", "unit_price": "5", "known_from": "2026-01-01T00:00Z", "known_to": "2026-04-01T00:00Z"},
]


@pytest.mark.parametrize(
    ("known_at", "product", "net"),
    [
        ("2026-03-31T23:59:59Z", None, "10.00"),
        ("2026-04-02T08:59:59.999999Z", None, "10.00"),
        ("2026-04-02T09:00Z", None, "11.00"),
        ("2026-04-02T11:00+02:00", None, "11.00"),
        (None, None, "11.00"),
        ("2026-03-31T23:59:59.999999Z", "q", "5.00"),
        ("2026-04-01T00:00Z", "q", "10.00"),
        (None, "q", "11.00"),
    ],
)
def test_a_price_as_it_was_known(known_at: str | None, product: str | None, net: str) -> None:
    receipt = quote(CORRECTED, RESOLVE | {"date": "day"}, day="2026-03-15", product=product, known_at=known_at)
    assert str(receipt.net) == net
    frame = pl.DataFrame(
        {"quantity": [1], "day": [dt.date(2026, 3, 15)], "product": [product]}, schema_overrides={"product": pl.String}
    )
    tables = {"list": PriceList(CORRECTED)}
    resolved = book(RESOLVE | {"date": "day"})
    assert resolved.price(frame, prices=tables, known_at=known_at, verify=1).collect()["net"].to_list() == [
        Decimal(net)
    ]
    if known_at is not None:
        each = frame.with_columns(pl.lit(dt.datetime.fromisoformat(known_at)).alias("known_at"))
        assert resolved.price(each, prices=tables, verify=1).collect()["net"].to_list() == [Decimal(net)]


def test_known_at_wants_a_zone() -> None:
    with pytest.raises(ConfigurationError, match=r"known_at: 2026-04-01T00:00:00 has no zone"):
        quote(CORRECTED, RESOLVE | {"date": "day"}, day="2026-03-15", product=None, known_at=dt.datetime(2026, 4, 1))
    frame = pl.DataFrame({"quantity": [1], "day": [dt.date(2026, 3, 15)], "known_at": [dt.datetime(2026, 4, 1)]})
    with pytest.raises(ConfigurationError, match="input known_at: the column is Datetime"):
        book(RESOLVE | {"date": "day"}).price(frame, inputs={"product": None}, prices={"list": PriceList(CORRECTED)})


def test_corrected_rates() -> None:
    fx = RatesTable(
        pl.DataFrame(
            {
                "currency": ["USD", "USD", "USD"],
                "valid_from": [dt.date(2026, 3, 2), dt.date(2026, 3, 2), dt.date(2026, 3, 3)],
                "rate": pl.Series(["2", "4", "5"]).str.to_decimal(scale=0),
                "known_from": [None, dt.datetime(2026, 4, 1, tzinfo=dt.UTC), None],
            }
        )
    )
    priced = PriceBook.model_validate(
        {
            "currency": "EUR",
            "rounding": "half_up",
            "steps": [
                {"kind": "flat", "amount": {"column": "amount"}},
                {"kind": "convert", "to": "EUR", "rates": "fx", "date": "day"},
            ],
        }
    )
    assert "known_at" in priced.optional_inputs()
    line: dict[str, Any] = {"amount": 1, "currency": "USD", "day": dt.date(2026, 3, 2)}
    march, april = dt.datetime(2026, 3, 31, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
    for known_at, net in ((march, "2.00"), (april, "4.00"), (None, "4.00")):
        assert priced.quote(**line, rates={"fx": fx}, known_at=known_at).net == Decimal(net)
        frame = pl.DataFrame([line])
        assert priced.price(frame, rates={"fx": fx}, known_at=known_at).collect()["net"].to_list() == [Decimal(net)]
    each = pl.DataFrame([line | {"known_at": march}, line | {"known_at": april}, line | {"known_at": None}])
    assert priced.price(each, rates={"fx": fx}).collect()["net"].to_list() == [Decimal(2), Decimal(4), Decimal(4)]
    assert priced.price(each, rates={"fx": fx}, known_at=march).collect()["net"].to_list() == [2, 4, 2]


def test_two_rates_known_from_the_same_moment() -> None:
    known = [dt.datetime(2026, 4, 1, tzinfo=dt.UTC)] * 2
    frame = pl.DataFrame({"currency": ["USD", "USD"], "rate": pl.Series([1, 2]), "known_from": known})
    with pytest.raises(ConfigurationError, match="two rates for USD are known from the same moment: keep one of them"):
        RatesTable(frame)


def test_the_verifier_sees_another_price() -> None:
    prices = {"list": PriceList([{"id": "a", "unit_price": "1"}])}
    frame = pl.DataFrame({"quantity": [1]})
    priced = book().price(frame, prices=prices).collect()
    Verifier(book(), 1, inputs={}, prices=prices).check(frame, priced)
    with pytest.raises(PricingError, match="verification: price_id was computed as b, and the reference says a"):
        Verifier(book(), 1, inputs={}, prices=prices).check(frame, priced.with_columns(price_id=pl.lit("b")))


def test_a_price_that_was_corrected_again_and_again_is_left_to_the_reference() -> None:
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    days = [start + dt.timedelta(days=number) for number in range(400)]
    rows: Rows = [
        {"product": "often", "unit_price": number + 1, "valid_from": day.date(), "priority": number, "known_from": day}
        for number, day in enumerate(days)
    ]
    prices = PriceList([*rows, {"product": "once", "unit_price": "7", "valid_from": None, "known_from": None}])
    index = prices.index("UTC", None, each_known=True)
    assert index.masks[0].rows.tolist() == [UNKNOWN, 400]
    frame = pl.DataFrame(
        {
            "quantity": [1, 1, 1],
            "product": ["often", "often", "once"],
            "day": [days[-1].date()] * 3,
            "known_at": [days[9], days[399], days[0]],
        }
    )
    priced = book(RESOLVE | {"date": "day"}, zone="UTC").price(frame, prices={"list": prices}, verify=3).collect()
    assert priced["net"].to_list() == [10, 400, 7]


# What the linter sees


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (
            [
                {"product": "p", "unit_price": "2", "valid_to": "2026-02-01"},
                {"product": "p", "unit_price": "2", "valid_from": "2026-03-01"},
            ],
            ("dates", 'no row for product "p" at 2026-02-01 00:00 UTC'),
        ),
        (
            [
                {"product": "p", "unit_price": "2", "valid_from": "2026-01-01", "valid_to": "2026-02-10"},
                {"product": "p", "unit_price": "2", "valid_from": "2026-02-01"},
            ],
            ("overlap", ""),
        ),
        (
            [{"product": "p", "unit_price": "2"}, {"product": "p", "unit_price": "1", "min_quantity": 10}],
            ("cliff", "the total falls from 18.00 EUR at quantity 9 to 10.00 EUR at 10"),
        ),
        (
            [
                {"product": "p", "unit_price": "2", "valid_to": "2026-02-01"},
                {"product": "p", "unit_price": "3", "valid_from": "2026-02-01"},
                {"product": "q", "customer": "c", "currency": "EUR", "unit_price": "3"},
            ],
            None,
        ),
    ],
)
def test_the_linter_finds_holes_ties_and_cliffs_of_a_list(rows: Rows, found: tuple[str, str] | None) -> None:
    prices = {"list": PriceList(rows)}
    resolved = book(RESOLVE | {"date": "day", "quantity": "quantity"})
    findings = resolved.lint(prices=prices)
    assert [one.rule for one in findings] == ([] if found is None else [found[0]])
    for one in findings:
        assert found is not None
        assert one.message.startswith(found[1])
        example: dict[str, Any] = dict(one.example)
        if found[0] == "cliff":
            assert resolved.quote(prices=prices, **example).total == 10
        else:
            with pytest.raises(PricingError):
                resolved.quote(prices=prices, **example)


@pytest.mark.parametrize("known_at", ["9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+10:00"])
def test_an_instant_that_utc_cannot_write_is_refused(known_at: str) -> None:
    prices = {"list": PriceList([{"unit_price": "2"}])}
    with pytest.raises(ConfigurationError, match="outside the years 1 to 9999 in UTC"):
        book().quote(quantity=1, prices=prices, known_at=known_at)
