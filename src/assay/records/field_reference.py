"""The reference verdict on one field alone, where it can be given without the rest of the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

import polars as pl
from pydantic_core import CoreConfig, CoreSchema, SchemaValidator, ValidationError, from_json

from assay.records.claims import Node, NotCompiled
from assay.records.columns import Column, Unrepresentable

#: Nodes whose verdict depends on their own value only, and that run no code of the user's.
_ALONE: Final = frozenset(
    {"any", "none", "bool", "int", "float", "decimal", "complex", "str", "bytes", "date", "time", "datetime"}
    | {"timedelta", "uuid", "url", "multi-host-url", "literal", "enum", "nullable", "default", "union", "tagged-union"}
    | {"list", "tuple", "set", "frozenset", "dict", "typed-dict", "typed-dict-field", "model", "model-fields"}
    | {"model-field", "definition-ref", "json-or-python", "lax-or-strict", "chain", "json", "is-instance"}
)
_PYDANTIC: Final = ("pydantic.", "pydantic_core.")
#: Values that are nested more deeply are left to the reference with their records, whose depth counts too.
_BRACKETS: Final = 100


class FieldReference:
    """Judges the JSON texts of one field; equal texts once.

    Args:
        node: The field's core schema.
        definitions: What it may refer to.
        config: The `ConfigDict` of its model.
        column: Its column.
    """

    def __init__(self, node: Node, definitions: Mapping[str, Node], config: Mapping[str, Any], column: Column) -> None:
        schema: dict[str, Any] = dict(node)
        if definitions:
            schema = {"type": "definitions", "schema": schema, "definitions": [*definitions.values()]}
        self._validator = SchemaValidator(cast(CoreSchema, schema), cast(CoreConfig, dict(config)))
        self._column = column

    def __call__(self, texts: pl.Series) -> pl.Series:
        """The column of the values; null where the reference does not take a text, or the column not its value."""
        return _of_distinct(texts, self._judge, self._column)

    def _judge(self, text: str) -> Any:
        if text.count("[") + text.count("{") > _BRACKETS:
            return None
        try:
            return self._column.put(self._validator.validate_json(text))
        except (ValidationError, Unrepresentable):
            return None


def json_check(texts: pl.Series) -> pl.Series:
    """True where a text is JSON that Pydantic reads, else null."""
    return _of_distinct(texts, _is_json, Column(pl.Boolean(), pl.Boolean()))


def stands_alone(node: Node, definitions: Mapping[str, Node], see_model: Callable[[Node], object]) -> str | None:
    """Why a field cannot be judged without its record; None where it can."""
    seen: set[str] = set()
    pending: list[Any] = [node]
    while pending:
        one = pending.pop()
        if not isinstance(one, dict):
            pending.extend(one if isinstance(one, list | tuple) else ())
            continue
        kind = one.get("type")
        if not isinstance(kind, str):
            pending.extend(one.values())
            continue
        why = _why_not_alone(one, kind, see_model)
        if why:
            return why
        if kind == "definition-ref":
            ref = one["schema_ref"]
            if ref not in seen:
                seen.add(ref)
                pending.append(definitions.get(ref))
            continue
        pending.extend(_parts(one))
    return None


def _parts(node: Node) -> Iterator[Any]:
    """What a node is made of."""
    for key in ("schema", "fields", "choices", "items_schema", "keys_schema", "values_schema", "json_schema"):
        if key in node:
            yield node[key]
    for key in ("python_schema", "lax_schema", "strict_schema", "steps"):
        if key in node:
            yield node[key]


def _why_not_alone(node: Node, kind: str, see_model: Callable[[Node], object]) -> str | None:
    if kind.startswith("function-"):
        function = node["function"]
        owner = str(getattr(function.get("function"), "__module__", ""))
        if function.get("type") != "no-info" or not owner.startswith(_PYDANTIC):
            return "a validator of the model's own"
        return None
    if kind not in _ALONE:
        return f"a {kind}"
    if kind == "default" and ("default_factory" in node or node.get("validate_default")):
        return "a default that is made"
    if kind == "tagged-union" and callable(node.get("discriminator")):
        return "a discriminator of the model's own"
    if kind == "model":
        try:
            see_model(node)
        except NotCompiled as error:
            return str(error)
    return None


def _of_distinct(texts: pl.Series, judge: Callable[[str], Any], column: Column) -> pl.Series:
    distinct = texts.unique(maintain_order=True)
    judged = pl.DataFrame({"text": distinct, "value": column.series("value", [judge(text) for text in distinct])})
    if distinct.len() == texts.len():
        return judged["value"]
    return texts.alias("text").to_frame().join(judged, on="text", how="left", maintain_order="left")["value"]


def _is_json(text: str) -> bool | None:
    if text.count("[") + text.count("{") > _BRACKETS:
        return None
    try:
        from_json(text)
    except ValueError:
        return None
    return True
