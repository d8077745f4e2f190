"""Print the table of fields and defaults in docs/pricing.md; tests/docs holds the page against it."""

# ruff: noqa: INP001

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from assay.money import plain
from assay.pricing import Step, strategy, strategy_kinds

HEAD = "| kind | fields, and their defaults |\n|---|---|\n"


def table() -> str:
    """A row a kind, and a row for the tables inside it."""
    rows = []
    for kind in strategy_kinds():
        model = strategy(kind)
        if not model.__module__.startswith("assay.pricing."):
            continue  # one that somebody has registered
        rows.append(f"| `{kind}` | {_fields(model)} |")
        for field, inner in _inside(model):
            rows.append(f"| {field} of `{kind}` | {_fields(inner)} |")
    return HEAD + "\n".join(rows) + "\n"


def _fields(model: type[BaseModel]) -> str:
    own = {name: field for name, field in model.model_fields.items() if name not in Step.model_fields}
    return ", ".join(f"`{name}`{_default(field)}" for name, field in own.items())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.default
    others = [str(one) for one in _choices(field.annotation) if one != value]
    if others:
        return f" = {value} ({', '.join(others)})"
    if isinstance(value, dt.time):
        return f" = {value:%H:%M}"
    if value is None:
        return " = none"
    if isinstance(value, tuple):
        return " = none"
    if isinstance(value, Decimal):
        return f" = {plain(value)}"
    return f" = {str(value).lower() if isinstance(value, bool) else value}"


def _choices(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _inside(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        waiting: list[object] = [field.annotation]
        while waiting:
            one = waiting.pop()
            if isinstance(one, type) and issubclass(one, BaseModel) and name in ("tiers", "rates", "table"):
                yield f"`{name}`", one
            waiting += get_args(one)


if __name__ == "__main__":
    sys.stdout.write(table())
