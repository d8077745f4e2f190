"""Values that the model accepts and that are not of the field's own kind: a reject at worst, never a broken read."""

import datetime as dt
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import (
    AnyUrl,
    AwareDatetime,
    BaseModel,
    Field,
    HttpUrl,
    PostgresDsn,
    SecretStr,
    field_validator,
    model_validator,
)

import assay
from assay.records.scan import Read
from assay.settings import Settings


class Colour(StrEnum):
    RED = "red"


def read(model: type[BaseModel], data: bytes = b"{}\n") -> Read:
    return assay.read(data, model, format="jsonl")


def test_a_default_of_another_type_is_converted_where_nothing_is_lost() -> None:
    class Line(BaseModel):
        price: Annotated[Decimal, Field(max_digits=8, decimal_places=2)] = 0  # type: ignore[assignment]

    assert read(Line).frame["price"].to_list() == [Decimal("0.00")]


@pytest.mark.parametrize(
    ("annotation", "default"),
    [(str, 5), (int, "abc"), (Colour, "blue"), (float, 10**400), (Annotated[Decimal, Field(decimal_places=2)], "x")],
)
def test_a_default_that_does_not_fit_is_a_reject(annotation: Any, default: Any) -> None:
    model = type("Line", (BaseModel,), {"__annotations__": {"x": annotation}, "x": default})
    result = read(model, b'{}\n{"x": 1}\n{"x": "red"}\n')
    assert result.rejects["stage"].to_list()[0] == "represent"
    assert result.counts["read"] == 3


def test_a_validator_of_the_whole_model_may_do_anything() -> None:
    class After(BaseModel):
        x: int
        text: str = ""

        @model_validator(mode="after")
        def stray(self) -> "After":
            if self.x == 1:
                self.x = "boo"  # type: ignore[assignment]
            if self.x == 2:
                self.text = 7  # type: ignore[assignment]
            return self

    class Wrap(BaseModel):
        x: int

        @model_validator(mode="wrap")
        @classmethod
        def stray(cls, value: Any, handler: Any) -> Any:
            made = handler(value)
            return None if made.x == 1 else made

    data = b'{"x": 1}\n{"x": 2}\n{"x": 3}\n'
    assert read(After, data).frame["x"].to_list() == [3]
    assert read(Wrap, data).frame["x"].to_list() == [2, 3]
    assert read(Wrap, data).rejects["stage"].to_list() == ["represent"]


def test_a_validator_may_make_a_number_too_large_for_a_column() -> None:
    class Line(BaseModel):
        x: float

        @field_validator("x")
        @classmethod
        def huge(cls, value: float) -> Any:
            return 10**400

    assert read(Line, b'{"x": 1}\n').rejects["stage"].to_list() == ["represent"]


def test_urls_are_text() -> None:
    class Line(BaseModel):
        http: HttpUrl
        any: AnyUrl
        dsn: PostgresDsn | None = None

    result = read(Line, b'{"http":"http://x.y","any":"a://b","dsn":"postgres://u:p@h/d"}\n')
    assert result.frame.row(0) == ("http://x.y/", "a://b", "postgres://u:p@h/d")


def test_a_decimal_that_fills_its_column_is_no_misfit() -> None:
    class Line(BaseModel):
        x: Annotated[Decimal, Field(max_digits=38, decimal_places=2)]

    digits = "9" * 36 + ".99"
    assert read(Line, f'{{"x":"{digits}"}}\n'.encode()).frame["x"].to_list() == [Decimal(digits)]


def test_times_that_no_column_holds() -> None:
    class Line(BaseModel):
        x: AwareDatetime
        y: dt.timedelta = dt.timedelta()

    result = read(Line, b'{"x":"9999-12-31T23:59:59-05:00"}\n{"x":"2024-01-01T00:00:00Z","y":"P999999999D"}\n')
    assert result.rejects["stage"].to_list() == ["represent", "represent"]


def test_a_secret_is_not_published_as_stars() -> None:
    class Line(BaseModel):
        key: SecretStr

    assert read(Line, b'{"key":"k"}\n').rejects["stage"].to_list() == ["represent"]


def test_odd_sources_and_models_are_said_in_words(tmp_path: Path) -> None:
    class Line(BaseModel):
        x: int

    file = tmp_path / "x.jsonl"
    file.write_text('{"x":1}\n{"x":"?"}\n')
    twice = assay.read([file, str(tmp_path / "*.jsonl")], Line, rejects=str(tmp_path / "rejects.parquet"))
    assert twice.counts == {"read": 2, "accepted": 1, "rejected": 1}
    assert pl.read_parquet(tmp_path / "rejects.parquet").height == 1
    with pytest.raises(assay.ValidationError):
        assay.read(file, Line, rejects="raise")
    for source in ([b"x"], "x" * 5000):
        with pytest.raises(assay.AssayError):
            assay.read(source, Line, format="jsonl")  # type: ignore[arg-type]
    with pytest.raises(assay.ConfigurationError, match="the model is a Pydantic model"):
        assay.scan(file, dict)  # type: ignore[arg-type]


def test_a_dotenv_that_is_no_text(project: Path) -> None:
    (project / ".env").write_bytes(b"ASSAY_OUTPUT=\xff\n")
    with pytest.raises(assay.ConfigurationError, match="is no UTF-8 text, at byte"):
        Settings.load()
