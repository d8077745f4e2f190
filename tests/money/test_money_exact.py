from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import BaseModel, ValidationError

from assay.errors import ConfigurationError
from assay.money import ExactDecimal, exact_decimal, plain


class Priced(BaseModel):
    price: ExactDecimal


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("7.5", "7.5"),
        (" 7".strip(), "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-1e3", "-1000"),
        (10, "10"),
        (Decimal("0.10"), "0.10"),
        ("9" * 38, "9" * 38),
        ("0." + "0" * 60, "0"),
        ("1." + "0" * 60, "1"),
        ("1e-38", "1e-38"),
    ],
)
def test_exact_numbers_are_taken_as_they_are(value: object, number: str) -> None:
    assert exact_decimal(value) == Decimal(number)
    assert Priced.model_validate({"price": value}).price == Decimal(number)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.1, 'a float cannot hold.*write the string "0.1"'),
        (True, "True is a bool"),
        ("7,5", '"7,5" is not a decimal; write "7.5"'),
        ("1_000", "not a decimal"),
        ("NaN", "not a decimal"),
        ("", "not a decimal"),
        ("\u0661", "not a decimal"),
        (Decimal("Infinity"), "not a finite decimal"),
        (Decimal("NaN"), "not a finite decimal"),
        (10**38, "more than 38 digits"),
        ("1e-39", "more than 38 digits"),
        ("9" * 20 + "." + "9" * 19, "more than 38 digits"),
        (None, "a NoneType is not a number"),
    ],
)
def test_what_is_no_exact_number_is_refused_with_the_reason(value: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        exact_decimal(value)
    with pytest.raises(ValidationError, match=words):
        Priced.model_validate({"price": value})


def test_a_float_is_also_a_type_error() -> None:
    with pytest.raises(TypeError):
        exact_decimal(1.5)


def test_json_carries_the_plain_text() -> None:
    assert Priced(price="1.500").model_dump_json() == '{"price":"1.5"}'
    assert Priced(price="1E+3").model_dump() == {"price": "1000"}
    with pytest.raises(ValidationError, match="float"):
        Priced.model_validate_json('{"price": 1.5}')


def test_a_wide_number_is_written_in_full() -> None:
    assert plain(Decimal("1" * 38)) == "1" * 38
    assert plain(Decimal("-0.00")) == "0"
