"""Business cases: what a book charges, by the reference and by the twin."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import polars as pl
import pytest

from assay.errors import AssayError, ConfigurationError, PricingError
from assay.pricing import Convert, PercentOff, PerUnit, PriceBook, RatesTable, Tax

Steps = list[dict[str, Any]]

PER_UNIT: dict[str, Any] = {"kind": "per_unit", "unit_price": {"column": "unit_price"}}
OFF: dict[str, Any] = {"kind": "percent_off", "percent": "7.5"}
TAX: dict[str, Any] = {"kind": "tax", "rate": "19"}
TO_EUR: dict[str, Any] = {"kind": "convert", "to": "EUR", "rates": "ecb", "direction": "divide"}
ECB = {"ecb": RatesTable({"USD": "1.0557", "JPY": "120.46", "KWD": "0.3", "HRK": "7.4"})}


def book(*steps: dict[str, Any], currency: str = "EUR", rounding: str = "half_up") -> PriceBook:
    return PriceBook.model_validate({"currency": currency, "rounding": rounding, "steps": list(steps)})


def both(priced: PriceBook, **row: Any) -> dict[str, Any]:
    """One row through both twins, which must agree."""
    receipt = priced.quote(rates=ECB, **row)
    columns = {
        name: pl.Series([value]) if not isinstance(value, Decimal) else pl.Series([value], dtype=pl.Decimal(38, 8))
        for name, value in row.items()
    }
    batch = priced.price(pl.DataFrame(columns), rates=ECB).collect().row(0, named=True)
    assert {name: getattr(receipt, name) for name in ("base", "discount", "net", "tax", "gross", "currency")} == {
        name: batch[name] for name in ("base", "discount", "net", "tax", "gross", "currency")
    }
    return batch


CASES: list[tuple[str, PriceBook, dict[str, Any], dict[str, str]]] = [
    (
        "the product is rounded, not the price",
        book(PER_UNIT),
        {"quantity": 55, "unit_price": Decimal("0.067")},
        {"net": "3.69"},  # 3.685
    ),
    (
        "a tie goes away from zero",
        book(PER_UNIT),
        {"quantity": 1, "unit_price": Decimal("1253.105")},
        {"net": "1253.11"},
    ),
    (
        "a credit mirrors",
        book(PER_UNIT, OFF, TAX),
        {"quantity": -1, "unit_price": Decimal(22)},
        {"base": "-22.00", "discount": "-1.65", "net": "-20.35", "tax": "-3.87", "gross": "-24.22"},
    ),
    (
        "the example of the documentation",
        book(PER_UNIT, OFF, TAX),
        {"quantity": 1, "unit_price": Decimal(22)},
        {"base": "22.00", "discount": "1.65", "net": "20.35", "tax": "3.87", "gross": "24.22"},
    ),
    (
        "5, 10, 15 % in sequence, each discount rounded: 12.825 is 12.83",
        book(PER_UNIT, *({"kind": "percent_off", "percent": p} for p in ("5", "10", "15"))),
        {"quantity": 1, "unit_price": Decimal(100)},
        {"net": "72.67", "discount": "27.33"},
    ),
    (
        "the same half-even: 12.82",
        book(PER_UNIT, *({"kind": "percent_off", "percent": p} for p in ("5", "10", "15")), rounding="half_even"),
        {"quantity": 1, "unit_price": Decimal(100)},
        {"net": "72.68"},
    ),
    (
        "rounding the discount up leaves less",
        book(PER_UNIT, {**OFF, "percent": "25", "rounding": "up"}),
        {"quantity": 1, "unit_price": Decimal("19.99")},
        {"discount": "5.00", "net": "14.99"},
    ),
    (
        "yen have no cents",
        book(PER_UNIT, OFF, currency="JPY"),
        {"quantity": 3, "unit_price": Decimal("33.5")},
        {"base": "101", "discount": "8", "net": "93"},
    ),
    (
        "dinars have fils",
        book(PER_UNIT, OFF, currency="KWD"),
        {"quantity": 1, "unit_price": Decimal("1.2345")},
        {"base": "1.235", "discount": "0.093", "net": "1.142"},
    ),
    (
        "nothing is nothing",
        book(PER_UNIT, OFF, TAX),
        {"quantity": 0, "unit_price": Decimal(22)},
        {"base": "0.00", "gross": "0.00"},
    ),
    (
        "two taxes are parallel",
        book(PER_UNIT, TAX, {"kind": "tax", "rate": "5"}),
        {"quantity": 1, "unit_price": Decimal("10.10")},
        {"net": "10.10", "tax": "2.43", "gross": "12.53"},  # 1.92 (1.919) + 0.51 (0.505)
    ),
    (
        "ECB quotes divide: on the rounded line, once",
        book(PER_UNIT, TO_EUR),
        {"quantity": 3, "unit_price": Decimal("33.335"), "currency": "USD"},
        {"net": "94.73"},  # 100.01 / 1.0557 = 94.7333
    ),
    (
        "each row is rounded in its own currency first",
        book(PER_UNIT, TO_EUR),
        {"quantity": 3, "unit_price": Decimal("33.5"), "currency": "JPY"},
        {"net": "0.84"},  # 101 / 120.46
    ),
    (
        "base and net are converted, the discount takes the difference",
        book(PER_UNIT, OFF, TO_EUR, TAX),
        {"quantity": 1, "unit_price": Decimal("0.33"), "currency": "USD"},
        {"base": "0.31", "discount": "0.02", "net": "0.29", "tax": "0.06", "gross": "0.35"},
    ),
    (
        "a tax before the conversion is converted",
        book(PER_UNIT, TAX, TO_EUR),
        {"quantity": 1, "unit_price": Decimal("1.00"), "currency": "KWD"},
        {"net": "3.33", "tax": "0.63", "gross": "3.96"},  # 0.190 / 0.3 = 0.6333
    ),
    (
        "the book's own currency has the rate 1",
        book(PER_UNIT, TO_EUR),
        {"quantity": 1, "unit_price": Decimal("9.99"), "currency": "EUR"},
        {"net": "9.99"},
    ),
    (
        "a withdrawn currency still converts",
        book(PER_UNIT, TO_EUR),
        {"quantity": 1, "unit_price": Decimal("7.40"), "currency": "HRK"},
        {"net": "1.00"},
    ),
    (
        "unrounded amounts have ten places",
        book(PER_UNIT, OFF, TAX, rounding="none"),
        {"quantity": 1, "unit_price": Decimal("0.01")},
        {"discount": "0.00075", "net": "0.00925", "tax": "0.0017575", "gross": "0.0110075"},
    ),
    (
        "one step of a rounded book may stay exact",
        book(PER_UNIT, {**OFF, "rounding": "none"}, TAX),
        {"quantity": 1, "unit_price": Decimal("0.01")},
        {"net": "0.00925", "tax": "0", "gross": "0.00925"},
    ),
]


@pytest.mark.parametrize(("priced", "row", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_cases(priced: PriceBook, row: dict[str, Any], expected: dict[str, str]) -> None:
    got = both(priced, **row)
    assert {name: got[name] for name in expected} == {name: Decimal(value) for name, value in expected.items()}


REASONS: list[tuple[PriceBook, dict[str, Any], str]] = [
    (book(PER_UNIT), {"quantity": None, "unit_price": Decimal(1)}, "per_unit: quantity is null"),
    (book(PER_UNIT), {"quantity": 1, "unit_price": None}, "per_unit: unit_price is null"),
    (
        book({"kind": "per_unit", "unit_price": "2", "id": "usage"}, TO_EUR),
        {"quantity": 1, "currency": "USD"},
        (
            "usage: unit_price is in EUR, the row in USD: let the row bring it, "
            'unit_price = { column = "name of an input" }'
        ),
    ),
    (
        book(PER_UNIT),
        {"quantity": 1, "unit_price": Decimal(1), "currency": "USD"},
        "currency: the row is in USD, the book in EUR, and no step converts",
    ),
    (book(PER_UNIT), {"quantity": 1, "unit_price": Decimal(1), "currency": None}, "currency is null"),
    (
        book(PER_UNIT, TO_EUR),
        {"quantity": None, "unit_price": Decimal(1), "currency": "CHF"},
        "per_unit: quantity is null",
    ),
    (
        book(PER_UNIT, {"kind": "percent_off", "percent": {"column": "percent"}}),
        {"quantity": 1, "unit_price": Decimal(1), "percent": Decimal("100.5")},
        "percent_off: percent is outside 0 to 100",
    ),
    (
        book(PER_UNIT, {"kind": "tax", "rate": {"column": "tax_rate"}}),
        {"quantity": 1, "unit_price": Decimal(1), "tax_rate": Decimal(-1)},
        "tax: rate is below 0",
    ),
    (
        book(PER_UNIT),
        {"quantity": Decimal(10**20), "unit_price": Decimal(10**12)},
        "per_unit: the amount has too many digits before the point",
    ),
    (
        book(PER_UNIT, rounding="none"),
        {"quantity": Decimal("0.00001"), "unit_price": Decimal("0.000001")},
        "per_unit: the amount needs more than 10 decimal places, and rounding is none",
    ),
    (book(PER_UNIT), {"quantity": 10**38, "unit_price": Decimal(1)}, "quantity has more than 38 digits"),
]


@pytest.mark.parametrize(("priced", "row", "reason"), REASONS, ids=[case[2] for case in REASONS])
def test_a_row_that_cannot_be_priced_says_why(priced: PriceBook, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(PricingError) as caught:
        priced.quote(rates=ECB, **row)
    assert str(caught.value) == reason
    types = {int: pl.Int128(), Decimal: pl.Decimal(38, 12), str: pl.String()}
    fine = {"quantity": 1, "unit_price": 1, "currency": "EUR", "percent": 1, "tax_rate": 1}
    frame = pl.DataFrame(
        {
            name: pl.Series(
                [fine[name], value],
                dtype=types[str if name == "currency" else Decimal if name != "quantity" else type(value or 1)],
                strict=False,
            )
            for name, value in row.items()
        }
    )
    priced_frame = priced.price(frame, rates=ECB, errors="column").collect()
    assert priced_frame["pricing_error"].to_list()[1] == reason
    assert priced_frame.select("base", "discount", "net", "tax", "gross").row(1) == (None,) * 5
    if "currency" in row:
        assert priced_frame["currency"][1] == row["currency"], "a row that could not be priced keeps its currency"
    engines: tuple[Literal["in-memory", "streaming"], ...] = ("in-memory", "streaming")
    for engine in engines:
        with pytest.raises(PricingError, match="row 1 ") as raised:
            priced.price(frame, rates=ECB).collect(engine=engine)
        assert reason in str(raised.value)


def test_frames_keep_their_columns_and_get_new_ones() -> None:
    frame = pl.LazyFrame({"qty": [2], "list_price": [Decimal("1.05")], "note": ["x"]})
    priced = book(PER_UNIT, TAX)
    result = priced.price(frame, inputs={"quantity": "qty", "unit_price": "list_price"})
    assert isinstance(result, pl.LazyFrame)
    collected = result.collect()
    made = ["base", "discount", "net", "tax", "gross", "currency", "rule_id", "taxes"]
    assert collected.columns == ["qty", "list_price", "note", *made]
    assert collected["rule_id"].to_list() == ["per_unit"]
    assert {name: collected.schema[name] for name in priced.output_schema()} == priced.output_schema()
    assert collected.schema["gross"] == pl.Decimal(38, 2)
    assert collected["currency"].to_list() == ["EUR"]


def test_a_conversion_adds_the_rate_and_replaces_the_currency() -> None:
    frame = pl.DataFrame(
        {"currency": ["USD", "EUR"], "quantity": [1, 1], "unit_price": [Decimal("1.00"), Decimal("2.00")]},
        schema_overrides={"currency": pl.Enum(["USD", "EUR"])},
    )
    result = book(PER_UNIT, TO_EUR).price(frame, rates=ECB).collect()
    assert result.columns[0] == "currency"
    assert result["currency"].to_list() == ["EUR", "EUR"]
    assert result["fx_rate"].to_list() == [Decimal("1.0557"), Decimal(1)]
    assert result.schema["fx_rate"] == pl.Decimal(38, 18)


def test_no_rows_are_no_rows() -> None:
    frame = pl.LazyFrame(schema={"quantity": pl.Int64(), "unit_price": pl.Decimal(10, 2), "currency": pl.String()})
    result = book(PER_UNIT, TO_EUR, TAX).price(frame, rates=ECB).collect()
    assert result.height == 0
    assert result.schema["gross"] == pl.Decimal(38, 2)


WRONG_FRAMES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"quantity": [1]}, {}, r'no column "unit_price"; there are quantity'),
    ({"quantity": [1], "unit_prise": [1]}, {}, r'no column "unit_price"; the nearest is "unit_prise"'),
    ({"qty": [1], "unit_price": [1]}, {"quantity": "qyt"}, r'no column "qyt" for the input quantity'),
    ({"quantity": [1], "unit_price": [1]}, {"quantty": "quantity"}, r'no input "quantty"; did you mean "quantity"'),
    ({"quantity": [1.5], "unit_price": [1]}, {}, r"input quantity: the column is Float64, and a float cannot"),
    ({"quantity": ["1"], "unit_price": [1]}, {}, r"input quantity: the column is String, not a Decimal"),
    ({"quantity": [True], "unit_price": [1]}, {}, r"input quantity: the column is Boolean"),
    ({"quantity": [1], "unit_price": [1], "net": [1], "tax": [2]}, {}, r"adds net, tax, which the frame has already"),
    ({"quantity": [1], "unit_price": [1], "currency": [1]}, {}, r'column "currency": the column is Int64'),
    (
        {"quantity": [1], "unit_price": [1], "ccy": ["EUR"], "currency": ["x"]},
        {"currency": "ccy"},
        r"adds currency, which the frame has already",
    ),
    ({"quantity": [1], "unit_price": [1], "__assay_price_1": [1]}, {}, r"are taken: rename __assay_price_1"),
]


@pytest.mark.parametrize(("columns", "inputs", "words"), WRONG_FRAMES)
def test_a_frame_that_does_not_fit_is_an_error_at_once(
    columns: dict[str, Any], inputs: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        book(PER_UNIT).price(pl.DataFrame(columns), inputs=inputs)


def test_quote_says_what_is_missing_or_inexact() -> None:
    with pytest.raises(
        ConfigurationError, match=r'needs the inputs unit_price; given: quantity, unit_prise \("unit_prise"'
    ):
        book(PER_UNIT).quote(quantity=1, unit_prise=2)
    with pytest.raises(ConfigurationError, match=r"input quantity: 1.5 is a float") as caught:
        book(PER_UNIT).quote(quantity=1.5, unit_price=2)
    assert isinstance(caught.value, TypeError)
    with pytest.raises(ConfigurationError, match=r'asks for the rates "ecb": give rates={"ecb": {"USD": "1.08", ...}}'):
        book(PER_UNIT, TO_EUR).quote(quantity=1, unit_price=2)
    with pytest.raises(ConfigurationError, match=r'asks for the rates "ecb": .*; given: ecb2 \("ecb2" is near\)'):
        book(PER_UNIT, TO_EUR).price(pl.DataFrame({"quantity": [1], "unit_price": [2]}), rates={"ecb2": RatesTable({})})
    with pytest.raises(ConfigurationError, match="not a string"):
        book(PER_UNIT).quote(quantity=1, unit_price=2, currency=978)


def test_days_may_be_texts() -> None:
    rates = [{"rate": "19", "valid_from": "2021-01-01"}, {"rate": "16", "valid_to": "2021-01-01"}]
    steps = [{"kind": "flat", "amount": "100"}, {"kind": "tax", "table": rates}]
    content = {"currency": "EUR", "rounding": "half_up", "zone": "Europe/Berlin", "steps": steps}
    taxed = PriceBook.model_validate(content)
    days = ["2020-12-31", "2021-01-01", "2020-12-31T23:30:00Z", "2020-12-31T23:30:00"]
    assert [int(taxed.quote(date=day).tax) for day in days] == [16, 19, 19, 16]
    with pytest.raises(ConfigurationError, match=r'input date: "1.1.2021" is no date or datetime: give one, or a text'):
        taxed.quote(date="1.1.2021")


def test_rates_quoted_against_another_currency_are_refused_by_both() -> None:
    to_usd = book(PER_UNIT, {**TO_EUR, "to": "USD"})
    frame = pl.DataFrame({"quantity": [1], "unit_price": [2], "currency": ["JPY"]})
    for attempt in (
        lambda: to_usd.quote(quantity=1, unit_price=2, currency="JPY", rates=ECB),
        lambda: to_usd.price(frame, rates=ECB),
    ):
        with pytest.raises(ConfigurationError, match="not quoted against USD"):
            attempt()


def test_rate_tables() -> None:
    frame = pl.DataFrame({"currency": ["USD", "JPY"], "rate": [Decimal("1.05"), Decimal("120.4")]})
    table = RatesTable(frame)
    assert table.rate("JPY") == Decimal("120.4")
    assert table.rate("CHF") is None
    assert RatesTable(table.frame()).frame().equals(table.frame())
    with pytest.raises(ConfigurationError, match="two rates for USD"):
        RatesTable(pl.concat([frame, frame]))
    with pytest.raises(ConfigurationError, match=r"rate of USD: 1.05 is a float"):
        RatesTable({"USD": 1.05})  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match="0 is not above 0"):
        RatesTable({"USD": "0"})
    with pytest.raises(ConfigurationError, match="more than 18 digits"):
        RatesTable({"USD": "1e-19"})
    with pytest.raises(ConfigurationError, match="no rate among"):
        RatesTable(frame.drop("rate"))
    with pytest.raises(ConfigurationError, match="is null"):
        RatesTable(
            pl.DataFrame({"currency": ["USD"], "rate": [None]}, schema={"currency": pl.String, "rate": pl.Decimal})
        )


def test_a_rate_of_a_currency_without_minor_units_does_not_disturb_the_others() -> None:
    rates = {"ecb": RatesTable({"XAU": "2000", "USD": "1.25"})}
    frame = pl.DataFrame({"quantity": [1, 1], "unit_price": [5, 5], "currency": ["USD", "XAU"]})
    result = book(PER_UNIT, TO_EUR).price(frame, rates=rates, errors="column").collect()
    assert result["net"].to_list() == [Decimal("4.00"), None]
    assert result["pricing_error"].to_list() == [
        None,
        'currency: "XAU" has no minor unit in ISO 4217 (metals, funds and tests have none): amounts cannot be rounded',
    ]


def test_the_receipt_explains_itself() -> None:
    priced = PriceBook(
        name="standard",
        currency="EUR",
        rounding="half_up",
        steps=[PerUnit(unit_price="2.2"), PercentOff(percent="7.5"), Tax(rate="19")],
    )
    receipt = priced.quote(quantity=10)
    assert receipt.total == Decimal("24.22")
    assert receipt.explain() == (
        "book standard  EUR, half_up\n"
        "  10 x 2.2           22.00\n"
        "  7.5 % off 22.00    -1.65\n"
        "  19 % tax of 20.35   3.87  rounded from 3.8665\n"
        "  net                20.35\n"
        "  tax                 3.87\n"
        "  total              24.22"
    )
    assert [line.id for line in receipt.lines] == ["per_unit", "percent_off", "tax"]
    assert [line.residue for line in receipt.lines] == [0, 0, Decimal("0.0035")]
    assert repr(receipt) == "Receipt(total=24.22 EUR, net=20.35, tax=3.87)"


def test_what_a_notebook_shows_is_escaped() -> None:
    priced = PriceBook(name="<b>", currency="EUR", rounding="half_up", steps=[PerUnit(unit_price="1", id="<script>")])
    for shown in (priced.quote(quantity=1)._repr_html_(), priced._repr_html_()):
        assert "<script>" not in shown
        assert "<b>" not in shown
        assert "&lt;script&gt;" in shown
    assert repr(priced) == "PriceBook('<b>', EUR, half_up: <script>)"


def test_lines_that_add_to_the_total_do_so_after_a_conversion() -> None:
    receipt = book(PER_UNIT, OFF, TO_EUR, TAX).quote(quantity=3, unit_price="33.335", currency="USD", rates=ECB)
    assert sum(line.amount for line in receipt.lines if line.adds_to_total) == receipt.total
    assert receipt.fx_rate == Decimal("1.0557")
    assert [line.currency for line in receipt.lines] == ["USD", "USD", "EUR", "EUR"]


def test_python_objects_make_the_same_book() -> None:
    made = PriceBook(
        currency="EUR",
        rounding="half_up",
        steps=[PerUnit(unit_price={"column": "unit_price"}), Convert(to="EUR", rates="ecb", direction="divide")],
    )
    assert made == book(PER_UNIT, TO_EUR)
    assert made.required_inputs() == {"quantity", "unit_price"}
    assert made.rate_tables() == {"ecb"}
    assert issubclass(ConfigurationError, AssayError)


def test_currencies_may_stay_mixed() -> None:
    content = {"currency": "EUR", "rounding": "half_up", "mixed": True, "steps": [PER_UNIT, TAX]}
    priced = PriceBook.model_validate(content)
    frame = pl.DataFrame(
        {
            "quantity": [1] * 5,
            "unit_price": [Decimal("10.12345")] * 5,
            "currency": ["EUR", "JPY", "KWD", "CLF", "XAU"],
        }
    )
    result = priced.price(frame, errors="column").collect()
    assert result.schema["net"] == pl.Decimal(38, 4)
    assert result["net"].to_list() == [Decimal("10.12"), Decimal(10), Decimal("10.123"), Decimal("10.1235"), None]
    assert result["tax"].to_list() == [Decimal("1.92"), Decimal(2), Decimal("1.923"), Decimal("1.9235"), None]
    assert result["currency"].to_list() == ["EUR", "JPY", "KWD", "CLF", "XAU"]
    assert "no minor unit" in result["pricing_error"][4]
    with pytest.raises(ValueError, match="does not leave currencies mixed"):
        PriceBook.model_validate(content | {"steps": [PER_UNIT, TO_EUR]})
