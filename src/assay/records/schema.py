"""A model's core schema, read by a whitelist: what is not known here is judged by the reference, whatever it means.

Whoever asks for a part of the schema is told `NotCompiled` where a node or a key of it is not on the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import polars as pl
from pydantic import BaseModel

from assay.records.assemble import Presence
from assay.records.claims import Node, NotCompiled
from assay.records.columns import Column, Columns, Unrepresentable

#: Keys of any node that no verdict depends on.
_HARMLESS: Final = frozenset(
    {
        "type",
        "ref",
        "metadata",
        "serialization",
        "cls_repr",
        "computed_fields",
        "frozen",
        "generic_origin",
        "model_name",
    }
    | {"serialization_alias", "serialization_exclude", "serialization_exclude_if", "title"}
)
_BOUNDED: Final = frozenset({"gt", "ge", "lt", "le", "strict"})
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "model": frozenset(
        {"cls", "schema", "config", "custom_init", "root_model", "post_init", "strict", "extra_behavior"}
        | {"revalidate_instances"}
    ),
    "model-fields": frozenset({"fields", "strict", "from_attributes", "extra_behavior"}),
    "model-field": frozenset({"schema", "validation_alias"}),
    "default": frozenset({"schema", "default", "default_factory", "default_factory_takes_data", "strict"}),
    "nullable": frozenset({"schema", "strict"}),
    "int": _BOUNDED | {"multiple_of"},
    "float": _BOUNDED | {"multiple_of", "allow_inf_nan"},
    "decimal": _BOUNDED | {"max_digits", "decimal_places", "multiple_of", "allow_inf_nan"},
    "str": frozenset({"min_length", "max_length", "pattern", "strip_whitespace", "to_lower", "to_upper", "strict"}),
    "bool": frozenset({"strict"}),
    "date": _BOUNDED | {"now_op", "now_utc_offset"},
    "datetime": _BOUNDED | {"now_op", "now_utc_offset", "tz_constraint", "microseconds_precision"},
    "time": _BOUNDED | {"tz_constraint", "microseconds_precision"},
    "uuid": frozenset({"version", "strict"}),
    "literal": frozenset({"expected"}),
    "enum": frozenset({"cls", "members", "sub_type", "strict", "missing"}),
    "list": frozenset({"items_schema", "min_length", "max_length", "fail_fast", "strict"}),
    "tuple": frozenset({"items_schema", "variadic_item_index", "min_length", "max_length", "fail_fast", "strict"}),
    "definitions": frozenset({"schema", "definitions"}),
    "definition-ref": frozenset({"schema_ref"}),
    "json-or-python": frozenset({"json_schema", "python_schema"}),
}
_CONFIG: Final = frozenset(
    {"strict", "str_min_length", "str_max_length", "str_strip_whitespace", "str_to_lower", "str_to_upper"}
    | {"regex_engine", "extra_fields_behavior", "validate_by_name", "validate_by_alias", "title", "loc_by_alias"}
    | {"hide_input_in_errors", "cache_strings", "revalidate_instances", "from_attributes"}
)
#: Factories of defaults whose value is a constant of its own each time.
_EMPTY: Final = (list, dict, set, frozenset, tuple)


class NotCompiledModel(NotCompiled):
    """Why all records of a model are judged by the reference."""


def extra_behavior(node: Node) -> str:
    """What becomes of keys that a model does not name: "ignore", "forbid" or "allow"."""
    return str(node.get("extra_behavior") or node.get("config", {}).get("extra_fields_behavior") or "ignore")


def undefaulted(node: Node) -> Node:
    """The node without its default."""
    inner: Node = node["schema"] if node["type"] == "default" else node
    return inner


def instance(dtype: Any) -> pl.DataType:
    """A Polars type that may be given as a class."""
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made


class Schema:
    """The core schema of a model, and its columns.

    Args:
        model: The model.
        columns: Its columns.
    """

    def __init__(self, model: type[BaseModel], columns: Columns) -> None:
        self.columns = columns
        self.definitions: dict[str, Node] = {}
        self._open: list[str] = []
        self._root = model.__pydantic_core_schema__

    def root(self) -> Node:
        """The node of the model itself."""
        return self.resolved(self._root)

    @contextmanager
    def inside(self, node: Node) -> Iterator[Node]:
        """The node behind references, while it is read.

        Raises:
            NotCompiled: it is being read already: the model holds itself.
        """
        ref = node.get("schema_ref")
        if ref is not None and ref in self._open:
            raise NotCompiled("a model that holds itself")
        if ref is not None:
            self._open.append(ref)
        try:
            yield self.resolved(node)
        finally:
            if ref is not None:
                self._open.pop()

    def resolved(self, node: Node) -> Node:
        """The node behind definitions and references, and the JSON side of a node that has two."""
        while True:
            kind = node["type"]
            if kind == "definitions":
                self.see_keys(node)
                self.definitions.update({d["ref"]: d for d in node["definitions"]})
                node = node["schema"]
            elif kind == "definition-ref":
                self.see_keys(node)
                found = self.definitions.get(node["schema_ref"])
                if found is None:
                    raise NotCompiled("a reference that leads nowhere")
                node = found
            elif kind == "json-or-python":
                self.see_keys(node)
                node = node["json_schema"]
            else:
                return node

    def see_model(self, node: Node) -> Mapping[str, Node]:
        """The fields of a model that may be compiled at all."""
        if node["type"] != "model":
            raise NotCompiledModel(f"the model is inside {node['type']}: a validator of the whole model")
        self.see_keys(node)
        cls = node["cls"]
        if node.get("custom_init") or node.get("root_model"):
            raise NotCompiledModel("a model with an __init__ of its own, or a RootModel")
        if cls.__new__ is not object.__new__:
            raise NotCompiledModel("a model with a __new__ of its own")
        post_init = node.get("post_init")
        if post_init is not None and cls.model_post_init.__qualname__ != "init_private_attributes":
            raise NotCompiledModel("a model with a model_post_init")
        unknown = set(node.get("config", {})) - _CONFIG
        if unknown:
            raise NotCompiledModel(f"the setting {', '.join(sorted(unknown))} of the model")
        if node.get("strict") and not node.get("config", {}).get("strict"):
            raise NotCompiledModel("a model that is strict by itself")
        fields = node["schema"]
        if fields["type"] != "model-fields":
            raise NotCompiledModel("a validator of the whole model")
        self.see_keys(fields)
        found: Mapping[str, Node] = fields["fields"]
        return found

    @staticmethod
    def see_keys(node: Node) -> None:
        """Raise where a node, or a key of it, is not on the list."""
        allowed = _KEYS.get(node["type"])
        if allowed is None:
            raise NotCompiled(f"{node['type']} is judged by the reference")
        unknown = {key for key, value in node.items() if value is not None} - allowed - _HARMLESS
        if unknown:
            raise NotCompiled(f"{', '.join(sorted(unknown))} of {node['type']}")

    @staticmethod
    def keys_of(name: str, field: Node, config: Mapping[str, Any]) -> list[str]:
        """Under which keys a field may come; under two of them at once it is not claimed."""
        alias = field.get("validation_alias", name)
        by_name, by_alias = config.get("validate_by_name", False), config.get("validate_by_alias", True)
        if isinstance(alias, str):
            keys = [alias]
        elif all(isinstance(path, list) and len(path) == 1 and isinstance(path[0], str) for path in alias):
            keys = [path[0] for path in alias]
        else:
            raise NotCompiledModel("an alias that is a path")
        if not by_alias:
            return [name]
        return list(dict.fromkeys([*keys, name] if by_name else keys))

    def presence(self, node: Node, column: Column, name: str) -> Presence:
        """What a field is where it is not written."""
        if node["type"] != "default":
            return Presence()
        try:
            self.see_keys(node)
        except NotCompiled:
            # Such as validate_default: what becomes of the default is not known.
            return Presence()
        if "default" in node:
            default = node["default"]
        elif node.get("default_factory") in _EMPTY and not node.get("default_factory_takes_data"):
            default = node["default_factory"]()
        else:
            return Presence()
        try:
            return Presence(default=column.series(name, [column.put(default)]))
        except (Unrepresentable, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError):
            # Defaults are not validated: the reference says what becomes of it.
            return Presence()
