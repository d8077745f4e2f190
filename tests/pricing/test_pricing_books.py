from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from assay.errors import ConfigurationError, DuplicateError, UnknownNameError
from assay.pricing import (
    BatchRating,
    Note,
    PerUnit,
    PriceBook,
    Rating,
    Step,
    Wording,
    register,
    strategy,
    strategy_kinds,
)
from assay.pricing.registry import _strategies

TOML = """
name = "orders"
currency = "EUR"
rounding = "half_up"

[[steps]]
kind = "per_unit"
unit_price = {column = "list_price"}

[[steps]]
kind = "percent_off"
percent = "7.50"

[[steps]]
kind = "percent_off"
percent = 5
rounding = "half_even"

[[steps]]
kind = "convert"
to = "EUR"
rates = {USD = "1.10", JPY = "160"}
direction = "divide"

[[steps]]
kind = "tax"
id = "vat"
rate = "19"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "book.toml"


def test_a_book_loads_from_toml_and_its_dump_loads_to_the_same(path: Path, tmp_path: Path) -> None:
    path.write_text(TOML, encoding="utf-8")
    book = PriceBook.load(path)
    assert [step.id for step in book.steps] == ["per_unit", "percent_off", "percent_off/2", "convert", "vat"]
    dumped = tmp_path / "book.json"
    dumped.write_text(book.dump(), encoding="utf-8")
    again = PriceBook.load(dumped)
    assert again == book
    assert again.dump() == book.dump()
    assert again.fingerprint == book.fingerprint
    assert pickle.loads(pickle.dumps(book)) == book


def test_the_fingerprint_is_of_what_is_said_not_of_how(path: Path) -> None:
    path.write_text(TOML, encoding="utf-8")
    book = PriceBook.load(path)
    path.write_text(TOML.replace('"7.50"', '"7.5"').replace("percent = 5\n", 'percent = "5.0"\n'), encoding="utf-8")
    assert PriceBook.load(path).fingerprint == book.fingerprint
    path.write_text(TOML.replace('"7.50"', '"7.51"'), encoding="utf-8")
    assert PriceBook.load(path).fingerprint != book.fingerprint
    assert len(book.fingerprint) == 64


def loaded(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        PriceBook.load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ('"7.50"', '"7,5"', "step 2 (percent_off), percent", '"7,5" is not a decimal; write "7.5"'),
        ('"7.50"', "7.5", "step 2 (percent_off), percent", "7.5 is a float"),
        ('"7.50"', '"107"', "step 2 (percent_off), percent", "107 is outside 0 to 100"),
        ('"7.50"', "true", "step 2 (percent_off), percent", "True is a bool"),
        ('"7.50"', '{colum = "x"}', "step 2 (percent_off), percent", 'or {"column": "name of an input"}'),
        ('percent = "7.50"', 'pecent = "7.50"', "step 2 (percent_off), pecent", "no such key; did you mean percent?"),
        ('rounding = "half_up"\n', 'rounding = "half_upp"\n', "rounding", "half_up"),
        ('name = "orders"', 'nmae = "orders"', "nmae", "no such key; did you mean name?"),
        ('currency = "EUR"', 'currency = "EUX"', "currency", 'did you mean "EUR"'),
        ('to = "EUR"', 'to = "XAU"', "step 4 (convert), to", "no minor unit"),
        ('"1.10"', "1.10", "step 4 (convert), rates", "rate of USD: 1.1 is a float"),
        ("USD", "USDD", "step 4 (convert), rates", 'no currency "USDD"'),
        (
            '"percent_off"\npercent = 5',
            '"percent_of"\npercent = 5',
            "step 3 (percent_of)",
            'no pricing strategy "percent_of"',
        ),
        (
            '"percent_off"\npercent = 5',
            '"percent_of"\npercent = 5',
            "step 3 (percent_of)",
            'Did you mean "percent_off"?',
        ),
        ('"percent_off"\npercent = 5', '"xyz"\npercent = 5', "step 3 (xyz)", "Known: amount_off, blocks, buy_x_get_y"),
        ('kind = "tax"\n', 'knd = "tax"\n', "step 5", "say the kind of step; did you mean kind by knd?"),
        ('kind = "tax"\n', "", "step 5", "say the kind of step: amount_off, blocks, buy_x_get_y"),
        ('id = "vat"', 'id = "per_unit"', "", ""),
        ('rate = "19"', 'rate = "-19"', "step 5 (tax), rate", "-19 is below 0"),
        ('kind = "per_unit"\n', 'kind = "per_unit"\nid = "vat"\n', "steps", "two steps have the id 'vat'"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(path: Path, old: str, new: str, place: str, words: str) -> None:
    assert old in TOML
    if not words:
        path.write_text(TOML.replace(old, new, 1), encoding="utf-8")
        assert PriceBook.load(path).steps[0].id == "per_unit/2"
        return
    message = loaded(path, TOML.replace(old, new, 1))
    assert message.startswith(f"{path}: {place}: "), message
    assert words in message


def test_all_errors_come_at_once(path: Path) -> None:
    text = TOML.replace('"7.50"', '"7,5"').replace('"EUR"', '"EUX"', 1).replace('rate = "19"', 'rat = "19"')
    message = loaded(path, text)
    assert message.startswith(f"{path}: 3 errors")
    for key in (
        "currency: no currency",
        "step 2 (percent_off), percent: ",
        "step 5 (tax), rat: no such key; did you mean rate?",
    ):
        assert f"\n  {key}" in message


def test_a_syntax_error_has_its_line(path: Path) -> None:
    assert loaded(path, 'currency = "EUR"\nrounding = \n').startswith(f"{path}:2: TOML: ")
    json_path = path.with_suffix(".json")
    assert loaded(json_path, '{\n"currency": "EUR",,\n}').startswith(f"{json_path}:2: JSON: ")


def test_files_that_are_no_books(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"book.toml: cannot be read: No such file"):
        PriceBook.load(path)
    with pytest.raises(ConfigurationError, match=r'a .toml or .json file, not ".yaml"'):
        PriceBook.load(path.with_suffix(".yaml"))
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        PriceBook.load(path)
    json_path = path.with_suffix(".json")
    assert "stands there twice" in loaded(json_path, '{"currency": "EUR", "currency": "USD"}')
    assert "float" in loaded(
        json_path,
        '{"currency": "EUR", "rounding": "up", "steps": [{"kind": "per_unit", "unit_price": 0.5}]}',
    )
    assert loaded(json_path, "[]").startswith(f"{json_path}: ")


def test_a_book_has_steps_and_converts_once() -> None:
    with pytest.raises(ValidationError, match="steps\n  is empty: give one at least"):
        PriceBook(currency="EUR", rounding="half_up", steps=[])
    convert = {"kind": "convert", "to": "EUR", "rates": {}}
    with pytest.raises(ValidationError, match="converts once"):
        PriceBook(currency="EUR", rounding="half_up", steps=[convert, convert])
    with pytest.raises(ValidationError, match="after the conversion"):
        PriceBook(currency="EUR", rounding="half_up", steps=[convert, PerUnit(unit_price={"column": "unit_price"})])


def test_a_book_is_a_value() -> None:
    book = PriceBook(currency="EUR", rounding="half_up", steps=[{"kind": "per_unit", "unit_price": "2"}])
    with pytest.raises(ValidationError):
        book.currency = "USD"  # type: ignore[misc]
    assert book == PriceBook.model_validate(book.model_dump())
    assert "unit_price" in str(PerUnit.model_json_schema())


# Strategies of others


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = dict(_strategies)
    yield
    _strategies.clear()
    _strategies.update(known)


class Doubled(Step):
    """Charges the net once more."""

    kind: Literal["doubled"] = "doubled"

    def apply(self, at: Rating) -> None:
        at.charge(at.net, Wording("doubled"))

    def apply_expr(self, at: BatchRating) -> None:
        at.charge(at.rounded(at.sums.net), Note("doubled"))


@pytest.mark.usefixtures("_own_registry")
def test_a_registered_strategy_is_a_kind_of_step() -> None:
    assert register(Doubled) is Doubled
    assert register(Doubled) is Doubled, "a notebook cell may run twice"
    assert "doubled" in strategy_kinds()
    steps = [{"kind": "per_unit", "unit_price": "2"}, {"kind": "doubled"}]
    book = PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", "steps": steps})
    assert book.quote(quantity=3).total == 12
    import polars as pl

    assert book.price(pl.DataFrame({"quantity": [3]})).collect()["gross"].item() == 12


@pytest.mark.usefixtures("_own_registry")
def test_registering_what_is_none_is_refused() -> None:
    class PerUnitToo(Step):
        kind: Literal["per_unit"] = "per_unit"

    class Nameless(Step):
        pass

    with pytest.raises(DuplicateError, match="per_unit"):
        register(PerUnitToo)
    with pytest.raises(ConfigurationError, match="needs a kind"):
        register(Nameless)
    with pytest.raises(ConfigurationError, match="not a Step"):
        register(int)  # type: ignore[type-var]
    with pytest.raises(UnknownNameError, match=r'no pricing strategy "per_unti". Did you mean "per_unit"'):
        strategy("per_unti")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"kind": "tax", "rate": "19", "level": "docment"}, '"docment" is none of line, document, unit; did you mean'),
        ({"kind": "tax", "rate": "19", "rounding": "half"}, '"half" is none of ceiling, .*; did you mean "half_up"'),
        ({"kind": "convert", "to": "EUR", "rates": "x", "date": "d", "max_age": "a"}, '"a" is no whole number'),
        ({"kind": "convert", "to": "EUR", "rates": "x", "date": "d", "max_age": -1}, "-1 is not at least 0"),
        ({"kind": "tax", "rate": "19", "inclusive": "perhaps"}, '"perhaps" is neither true nor false'),
        (
            {"kind": "tax", "table": [{"rate": "1", "valid_from": "1.2.2026"}]},
            '"1.2.2026" is no day; write it as 2026-',
        ),
        ({"kind": "percent_off"}, r"steps\.1\.percent\n  is missing"),
        ({"kind": "percent_off", "pecent": "5"}, "no such key; did you mean percent?"),
        ({"kind": "volume", "tiers": [{"unit_prise": "1"}]}, "no such key; did you mean unit_price?"),
        ({"kind": "volume", "tiers": []}, "is empty: give one at least"),
        ({"kind": "prcent_off"}, 'Did you mean "percent_off"[?]'),
    ],
)
def test_mistakes_in_python_are_told_in_our_words(step: dict[str, Any], words: str) -> None:
    flat = {"kind": "flat", "amount": "1"}
    with pytest.raises(ValidationError, match=words) as caught:
        PriceBook.model_validate({"currency": "EUR", "rounding": "half_up", "steps": [flat, step]})
    assert caught.value.error_count() == 1
    told = str(caught.value)
    assert "errors.pydantic.dev" not in told
    assert "amount_off" not in told
    assert PriceBook.model_validate_json(
        '{"currency": "EUR", "rounding": "up", "steps": [{"kind": "flat", "amount": 1}]}'
    )
