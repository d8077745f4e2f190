"""The shape of JSON records: layout and columns side by side, from the model and from what records look like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Final, Literal

import polars as pl

from assay.reading import Block
from assay.records.assemble import Constant, Ignored, Leaf, Many, Presence, Referred, Struct, Value
from assay.records.claims import ANY_TEXT, Claim, Node, NotCompiled, Site, claim_for
from assay.records.cursor import JsonText, Text
from assay.records.field_reference import FieldReference, json_check, stands_alone
from assay.records.json_layout import Array, Fragment, Layout, Member, Object, Scalar
from assay.records.observe import Gaps, Observed
from assay.records.schema import NotCompiledModel, Schema, extra_behavior, instance, undefaulted
from assay.records.shape import FieldVerdict, Shape

_ANYTHING: Final = Claim(
    r"^(?:true|false|-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][+-]?[0-9]{1,2})?)$", ANY_TEXT
)
_NO_GAPS: Final = Gaps()
#: Seen so often and of one kind only, a scalar is taken to be of that kind.
_SURE: Final = 10
_NO_PRESENCE: Final = Presence()
#: A key that nobody asks for and that came more rarely than in one of so many is not looked for in all the others.
_RARE: Final = 20
_TRUE: Final = pl.Series([True])


class JsonShapes:
    """Compiles a model for what its JSON records look like; see `Shapes`."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def text(self, block: Block) -> Text:
        """See `Shapes`."""
        return JsonText(block)

    def shape(self, records: Sequence[bytes], block: Block) -> Shape:
        """See `Shapes`."""
        seen = Observed()
        for data in records:
            seen.note_json(data)
        node = self._schema.root()
        walk = _JsonShape(self._schema, count())
        layout, fields, ignored = walk.object(node, seen, self._schema.columns.schema)
        if not layout.members:
            raise NotCompiledModel("no field was seen")
        return Shape(layout, fields, ignored, spaced=walk.spaced)

    def explain(self) -> dict[str, FieldVerdict]:
        """See `Shapes`."""
        try:
            node = self._schema.root()
            fields = self._schema.see_model(node)
        except NotCompiled as error:
            return {"": FieldVerdict("record", str(error))}
        verdicts = {}
        for name, field in fields.items():
            walk = _JsonShape(self._schema, count())
            site = Site(node.get("config", {}), self._schema.columns.schema[name])
            try:
                self._schema.see_keys(field)
                self._schema.keys_of(name, field, node.get("config", {}))
                walk.value(field["schema"], self._ideal(field["schema"], ()), site)
            except NotCompiled as error:
                verdicts[name] = FieldVerdict("record", str(error))
            else:
                verdicts[name] = FieldVerdict.of_parts(walk.alone)
        return verdicts

    def _ideal(self, node: Node, within: tuple[str, ...]) -> Observed:
        """What a value of this node would look like, everything being there."""
        while node["type"] in ("default", "nullable", "definitions", "definition-ref", "json-or-python"):
            ref = node.get("schema_ref")
            if ref is not None:
                if ref in within:
                    return Observed({"object"})
                within = (*within, ref)
            node = node["schema"] if node["type"] in ("default", "nullable") else self._schema.resolved(node)
        if node["type"] == "model":
            made = Observed({"object"})
            fields = self._schema.see_model(node)
            config = node.get("config", {})
            for name, field in fields.items():
                key = self._schema.keys_of(name, field, config)[0]
                made.keys[json.dumps(key, ensure_ascii=False)[1:-1]] = self._ideal(field["schema"], within)
            return made
        if node["type"] in ("list", "tuple"):
            items = node.get("items_schema")
            inner = items[0] if isinstance(items, list) and items else items
            return Observed({"array"}, items=self._ideal(inner, within) if isinstance(inner, dict) else None)
        return Observed({"number", "text"})


class _JsonShape:
    """One compilation: layout and columns side by side."""

    def __init__(self, schema: Schema, slots: count[int]) -> None:
        self._schema = schema
        self._slots = slots
        self.alone: list[str] = []
        self.spaced = False

    def object(
        self, node: Node, seen: Observed, schema: Mapping[str, pl.DataType]
    ) -> tuple[Object, dict[str, Value], list[Value]]:
        """The layout of an object of this model, its fields, and what of it is ignored."""
        fields = self._schema.see_model(node)
        config = node.get("config", {})
        behavior = extra_behavior(node)
        if behavior == "allow":
            raise NotCompiledModel("extra='allow'")
        written = _written(seen)
        slot = next(self._slots)
        values: dict[str, Value] = {}
        members: dict[str, tuple[Layout, bool]] = {}
        known: set[str] = set()
        for name, field in fields.items():
            self._schema.see_keys(field)
            keys = self._schema.keys_of(name, field, config)
            known.update(keys)
            there = [key for key in keys if key in written]
            if len(there) > 1:
                raise NotCompiledModel(f"{name} comes under several names: {', '.join(there)}")
            column = self._schema.columns.column_of(field["schema"], name)
            presence = self._schema.presence(field["schema"], column, name)
            site = Site(config, schema[name])
            if not there:
                if presence.default is None:
                    raise NotCompiledModel(f"the required field {name} was not seen")
                values[name] = Constant(schema[name], presence)
                continue
            if there[0] in members:
                raise NotCompiledModel(f"two fields under one key: {there[0]}")
            layout, values[name] = self.value(field["schema"], seen.keys[written[there[0]]], site, presence)
            members[there[0]] = (layout, presence.default is not None)
        ignored: list[Value] = []
        for key, raw in written.items():
            one = seen.keys[raw]
            if key not in members and key not in known and behavior == "ignore" and _is_usual(one, seen):
                layout, value = self._ignored(one)
                members[key] = (layout, True)
                ignored.append(value)
        gaps = self._gaps(seen, "object")
        layout_members = []
        for key, raw in written.items():
            if key in members:
                before, behind = gaps.colon
                literal = f'"{raw}"'.encode() + before + b":" + behind
                layout_members.append(Member(literal, *members[key]))
        comma = gaps.comma[0] + b"," + gaps.comma[1]
        opening, closing = b"{" + gaps.opening, gaps.closing + b"}"
        nullable = seen.kinds != {"object"}
        return Object(slot, opening, comma, closing, tuple(layout_members), nullable), values, ignored

    def value(self, node: Node, seen: Observed, site: Site, presence: Presence = _NO_PRESENCE) -> tuple[Layout, Value]:
        """The layout of a value, and its column: compiled, or by the reference where it stands alone."""
        slots = self._slots
        try:
            return self._compiled(node, seen, site, presence)
        except NotCompiledModel:
            raise
        except NotCompiled as error:
            inner = undefaulted(node)
            why_not = stands_alone(inner, self._schema.definitions, self._schema.see_model)
            if why_not:
                raise NotCompiledModel(f"{error}, with {why_not}") from None
            self.alone.append(str(error))
            slot = next(slots)
            column = self._schema.columns.column_of(inner, "")
            if column.dtype != site.dtype:
                raise NotCompiledModel(f"{error}, in a column that depends on where it is") from None
            refer = FieldReference(inner, self._schema.definitions, site.config, column)
            nullable = inner["type"] == "nullable"
            return Fragment(slot), Referred(slot, site.dtype, replace(presence, nullable=nullable), refer)

    def _compiled(self, node: Node, seen: Observed, site: Site, presence: Presence) -> tuple[Layout, Value]:
        self._schema.see_keys(node)
        kind = node["type"]
        if kind == "default":
            return self._compiled(node["schema"], seen, site, presence)
        if kind == "nullable":
            if node.get("strict") is not None:
                raise NotCompiled("strict on an optional")
            return self._compiled(node["schema"], seen, site, replace(presence, nullable=True))
        if kind in ("definitions", "definition-ref", "json-or-python"):
            with self._schema.inside(node) as inner:
                return self._compiled(inner, seen, site, presence)
        if kind == "model":
            return self._struct(node, seen, site, presence)
        if kind in ("list", "tuple"):
            return self._list(node, seen, site, presence)
        claim = claim_for(node, site)
        slot = next(self._slots)
        return Scalar(slot, _only(seen)), Leaf(slot, site.dtype, presence, claim)

    def _struct(self, node: Node, seen: Observed, site: Site, presence: Presence) -> tuple[Layout, Value]:
        if not isinstance(site.dtype, pl.Struct):
            raise NotCompiled("a model without fields")
        if "object" not in seen.kinds:
            return self._nothing(site, presence)
        schema = {field.name: instance(field.dtype) for field in site.dtype.fields}
        layout, fields, ignored = self.object(node, seen, schema)
        return layout, Struct(layout.slot, site.dtype, presence, fields, ignored)

    def _list(self, node: Node, seen: Observed, site: Site, presence: Presence) -> tuple[Layout, Value]:
        items = node.get("items_schema")
        if node["type"] == "tuple":
            if node.get("variadic_item_index") != 0 or not isinstance(items, list) or len(items) != 1:
                raise NotCompiled("a tuple of fixed length")
            items = items[0]
        if items is None or not isinstance(site.dtype, pl.List):
            raise NotCompiled("a list of anything")
        if "array" not in seen.kinds:
            return self._nothing(site, presence)
        slot = next(self._slots)
        inner = Site(site.config, instance(site.dtype.inner))
        gaps = self._gaps(seen, "array")
        item: Layout | None = None
        value: Value = Constant(inner.dtype, Presence())
        if seen.items is not None:
            item, value = self.value(items, seen.items, inner)
        layout = Array(slot, b"[" + gaps.opening, gaps.comma[0] + b"," + gaps.comma[1], gaps.closing + b"]", item)
        shortest, longest = node.get("min_length") or 0, node.get("max_length")
        return layout, Many(slot, site.dtype, presence, value, shortest, longest)

    def _nothing(self, site: Site, presence: Presence) -> tuple[Layout, Value]:
        """Where only nulls were seen: nothing is claimed of other values."""
        slot = next(self._slots)
        claim = Claim(None, None, lambda _: pl.lit(None, dtype=site.dtype))
        return Scalar(slot), Leaf(slot, site.dtype, presence, claim)

    def _ignored(self, seen: Observed) -> tuple[Layout, Value]:
        slot = next(self._slots)
        if seen.kinds & {"object", "array"}:
            return Fragment(slot), Referred(slot, pl.Boolean(), Presence(nullable=True, default=_TRUE), json_check)
        return Scalar(slot, _only(seen)), Ignored(slot, _ANYTHING)

    def _gaps(self, seen: Observed, kind: Literal["object", "array"]) -> Gaps:
        gaps = seen.gaps.get(kind, _NO_GAPS)
        spaces = b"".join((gaps.opening, *gaps.colon, *gaps.comma, gaps.closing))
        self.spaced = self.spaced or bool(spaces.strip(b" "))
        return gaps


def _is_usual(member: Observed, seen: Observed) -> bool:
    return member.count * _RARE >= seen.count and (member.count > 1 or seen.count == 1)


def _only(seen: Observed) -> Literal["text", "bare", ""]:
    """What a scalar is taken to be that was seen so often."""
    if seen.count < _SURE:
        return ""
    return "text" if seen.kinds == {"text"} else "bare" if seen.kinds <= {"number", "bool"} else ""


def _written(seen: Observed) -> dict[str, str]:
    """Keys, and how they are written between their quotation marks.

    Raises:
        NotCompiled: with an escaped quotation mark, or one key in two ways.
    """
    made: dict[str, str] = {}
    for raw in seen.keys:
        key = json.loads(f'"{raw}"') if "\\" in raw else raw
        if '"' in key or key in made:
            raise NotCompiledModel("keys that are written with escapes")
        made[key] = raw
    return made
