"""What a step's field may hold: an exact decimal, or the name of an input that brings one with each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError
from assay.money import exact_decimal, plain


class Column(BaseModel):
    """A value that comes with each row: the name of an input (`{"column": "list_price"}`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Field(min_length=1)


def _taken(value: object) -> Decimal | Column:
    if isinstance(value, Column):
        return value
    if isinstance(value, Mapping):
        name = value.get("column")
        if len(value) == 1 and isinstance(name, str) and name:
            return Column(column=name)
        raise PydanticCustomError("value_column", 'write a decimal as a string, or {"column": "name of an input"}')
    try:
        return exact_decimal(value)
    except ConfigurationError as error:
        raise PydanticCustomError("value_decimal", "{reason}", {"reason": error.message}) from error


def _shown(value: Decimal | Column) -> str | dict[str, str]:
    return {"column": value.column} if isinstance(value, Column) else plain(value)


def _percentage(value: Decimal | Column) -> Decimal | Column:
    if isinstance(value, Decimal) and not 0 <= value <= 100:
        raise PydanticCustomError("percentage", "{value} is outside 0 to 100", {"value": plain(value)})
    return value


def _not_negative(value: Decimal | Column) -> Decimal | Column:
    if isinstance(value, Decimal) and value < 0:
        raise PydanticCustomError("not_negative", "{value} is below 0", {"value": plain(value)})
    return value


Value = Annotated[
    Decimal | Column,
    BeforeValidator(_taken, json_schema_input_type=str | int | Column),
    PlainSerializer(_shown, return_type=str | dict[str, str]),
]
"""An amount, price or rate: a decimal string (or int, or Decimal), or a `Column`."""

Percentage = Annotated[Value, AfterValidator(_percentage)]
"""0 to 100."""

NotNegative = Annotated[Value, AfterValidator(_not_negative)]
"""0 or more."""

T = TypeVar("T", bound=Sequence[object])


def at_least_one(values: T) -> T:
    """The values, if there are any. Pydantic's `min_length` would also count out those that are wrong."""
    if not values:
        raise PydanticCustomError("too_short", "is empty: give one at least")
    return values


AtLeastOne = AfterValidator(at_least_one)
