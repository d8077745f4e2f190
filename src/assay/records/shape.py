"""The compiled twin of a model: one regular expression for the JSON text of a record, a decode, and proofs.

The text of records that look alike is a regular language: keys in an order, values of known kinds. So a single search
proves of a record what a parser would have to find out piece by piece: that it is JSON, that every key is there once
and no other, and that each value is written so that Pydantic takes it. What text cannot prove (ranges, lengths, days
of a month) is proved of the decoded columns.

The core schema is read by a whitelist of nodes and of their keys: whatever is not known here is judged by the
reference, and `explain` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl
from pydantic import BaseModel

from assay.records.claims import (
    ESCAPED,
    TEXT,
    Claim,
    Node,
    NotCompiled,
    Site,
    bool_claim,
    choice_claim,
    date_claim,
    datetime_claim,
    decimal_claim,
    escaped,
    float_claim,
    int_claim,
    str_claim,
    time_claim,
    uuid_claim,
)
from assay.records.columns import Columns, Unrepresentable
from assay.records.observe import Observed

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
_LEAVES: Final[Mapping[str, Callable[[Node, Site], Claim]]] = {
    "int": int_claim,
    "float": float_claim,
    "decimal": decimal_claim,
    "bool": bool_claim,
    "str": str_claim,
    "date": date_claim,
    "datetime": datetime_claim,
    "time": time_claim,
    "uuid": uuid_claim,
    "literal": lambda node, site: choice_claim(node["expected"], site),
    "enum": lambda node, site: choice_claim([m.value for m in node["members"]], site),
}
#: The column that tells of which records a shape is certain.
CERTAIN: Final = "certain "
_NUMBER: Final = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][+-]?[0-9]{1,2})?"
_COMMA: Final = ", ?"
_COLON: Final = ": ?"
#: Members that may all be absent make a pattern that grows with the square of their number.
_ALL_OPTIONAL: Final = 8
#: Characters of a pattern of a value that nobody asks for.
_LONGEST: Final = 20_000


@dataclass(frozen=True)
class Cut:
    """How flat records are cut at their quotation marks: at the speed of a CSV reader, without parsing.

    Where a text matches the pattern, every quotation mark in it begins or ends a key or a string, and they are always
    as many; so the pieces between them can be told by their number.

    Attributes:
        pattern: Regular expression of a record all of whose keys are there, in order, and none of whose values is null.
        pieces: The pieces and as what they are read.
        columns: The model's columns, from the pieces.
        proof: What must hold of the pieces.
    """

    pattern: str
    pieces: pl.Schema
    columns: Mapping[str, pl.Expr]
    proof: pl.Expr

    def scan(self, data: bytes) -> pl.LazyFrame:
        """Lines that match, as columns and `CERTAIN`."""
        cut = pl.scan_csv(
            data,
            separator='"',
            quote_char=None,
            has_header=False,
            schema=self.pieces,
            infer_schema=False,
            empty_string_is_null=False,
            ignore_errors=True,
        )
        return cut.select(*self.columns.values(), self.proof.alias(CERTAIN))


@dataclass(frozen=True)
class Shape:
    """How records of one look are judged.

    Attributes:
        pattern: Regular expression of a whole record.
        decode: How Polars decodes it.
        columns: The model's columns, from what is decoded.
        proof: What must hold of what is decoded.
        cut: How records are cut that are flat and whole; None where none is.
    """

    pattern: str
    decode: pl.Schema
    columns: Mapping[str, pl.Expr]
    proof: pl.Expr
    cut: Cut | None

    def scan(self, data: bytes) -> pl.LazyFrame:
        """Lines that match, as columns and `CERTAIN`."""
        decoded = pl.scan_ndjson(data, schema=self.decode)
        return decoded.select(*self.columns.values(), self.proof.alias(CERTAIN))


@dataclass(frozen=True)
class _Part:
    """A value that may be null, inside a record."""

    claim: Claim
    nullable: bool

    @property
    def pattern(self) -> str:
        return f"(?:null|{self.claim.pattern})" if self.nullable else self.claim.pattern

    def proof(self, decoded: pl.Expr, value: pl.Expr) -> pl.Expr:
        """That there is a value and the check is true of it, or that it is null where it may be."""
        check = self.claim.check
        holds = value.is_not_null()
        if check is not None:
            holds = holds & check(decoded, value).fill_null(value=False)
        return decoded.is_null() | holds if self.nullable else holds


@dataclass(frozen=True)
class _Member:
    """A key of an object, and what is known of its value.

    Attributes:
        key: The key.
        pattern: Of its value.
        optional: Whether it may be absent.
        plain: The pattern of its value where it is flat, not null and has no escapes; None where it is not flat.
    """

    key: str
    pattern: str
    optional: bool
    plain: str | None


class ShapeCompiler:
    """Compiles a model for what its records look like.

    Args:
        model: The model.
        columns: Its columns.
    """

    def __init__(self, model: type[BaseModel], columns: Columns) -> None:
        self._columns = columns
        self._definitions: dict[str, Node] = {}
        self._open: list[str] = []
        self._root = model.__pydantic_core_schema__

    def shape(self, seen: Observed) -> Shape:
        """The shape of records that look as observed.

        Raises:
            NotCompiled: the model, or records that look so, are judged by the reference.
        """
        node = self._resolved(self._root)
        members, parts = self._members(node, seen, self._columns.schema, top=True)
        there = {key: part for key, part in parts.values() if part is not None}
        if not there:
            raise NotCompiled("no field was seen")
        pattern = f"^{_object(list(members.values()))}$"
        try:
            pl.select(pl.lit("").str.contains(pattern))
        except pl.exceptions.PolarsError:
            raise NotCompiled("a pattern too large to search for") from None
        columns: dict[str, pl.Expr] = {}
        proofs = []
        for name, (key, part) in parts.items():
            dtype = self._columns.by_name[name].dtype
            if part is None:
                columns[name] = self._default(node, name).alias(name)
                continue
            decoded = pl.col(key)
            value = part.claim.value(decoded).cast(dtype)
            optional = members[key].optional
            proofs.append(replace(part, nullable=part.nullable or optional).proof(decoded, value))
            if optional and not part.nullable:
                value = value.fill_null(self._default(node, name))
            columns[name] = value.alias(name)
        decode = pl.Schema({key: part.claim.decode for key, part in there.items()})
        cut = self._cut(node, list(members.values()), parts)
        return Shape(pattern, decode, columns, pl.all_horizontal(proofs), cut)

    def _cut(self, node: Node, members: list[_Member], parts: Mapping[str, tuple[str, _Part | None]]) -> Cut | None:
        """How records of these members are cut, all of them being there, or None."""
        texts = []
        places: dict[str, tuple[int, bool]] = {}
        piece = 0
        for member in members:
            if member.plain is None:
                return None
            texts.append(f'"{escaped(member.key)}"{_COLON}{member.plain}')
            # Before the key is piece `piece`; then come the key, and what is between it and the next mark.
            quoted = member.plain.startswith('"')
            places[member.key] = (piece + 3, True) if quoted else (piece + 2, False)
            piece += 4 if quoted else 2
        schema: dict[str, Any] = dict.fromkeys(map(_piece, range(piece + 1)), pl.String)
        columns, proofs = {}, []
        for name, (key, part) in parts.items():
            if part is None:
                columns[name] = self._default(node, name).alias(name)
                continue
            place, quoted = places[key]
            decoded = value = pl.col(_piece(place))
            if quoted and part.claim.typed is not None:
                schema[_piece(place)] = part.claim.typed
            else:
                decoded = _from_text(decoded, part.claim.decode, quoted=quoted)
                value = part.claim.value(decoded)
            value = value.cast(self._columns.by_name[name].dtype)
            proofs.append(replace(part, nullable=False).proof(decoded, value))
            columns[name] = value.alias(name)
        pattern = rf"^\{{{_COMMA.join(texts)}\}}$"
        return Cut(pattern, pl.Schema(schema), columns, pl.all_horizontal(proofs))

    @property
    def schema(self) -> pl.Schema:
        """The model's columns."""
        return self._columns.schema

    def explain(self) -> dict[str, str]:
        """Field -> why it is judged by the reference; for the whole model under the empty name."""
        try:
            node = self._resolved(self._root)
            fields = self._see_model(node)
        except NotCompiled as error:
            return {"": str(error)}
        reasons = {}
        for name, field in fields.items():
            try:
                self._see_keys(field)
                self._key_of(name, field, node.get("config", {}), None)
                seen = self._ideal(field["schema"], ())
                site = Site(node.get("config", {}), seen, self._columns.schema[name])
                self._part(field["schema"], site)
            except NotCompiled as error:
                reasons[name] = str(error)
        return reasons

    def _members(
        self, node: Node, seen: Observed, schema: Mapping[str, pl.DataType], *, top: bool
    ) -> tuple[dict[str, _Member], dict[str, tuple[str, _Part | None]]]:
        """The members of an object of this model, in the order seen, and its fields: key and part."""
        fields = self._see_model(node)
        config = node.get("config", {})
        behavior = node.get("extra_behavior") or config.get("extra_fields_behavior") or "ignore"
        if behavior == "allow":
            raise NotCompiled("extra='allow'")
        parts: dict[str, tuple[str, _Part | None]] = {}
        made: dict[str, _Member] = {}
        names: set[str] = set()
        for name, field in fields.items():
            self._see_keys(field)
            key = self._key_of(name, field, config, seen)
            names |= {name, field.get("validation_alias", name)}
            default = self._default_of(field)
            if key not in seen.keys:
                if default is None or (default[0] is not None and not top):
                    raise NotCompiled(f"the required field {name} was not seen")
                parts[name] = (key, None)
                continue
            if _is_escaped(key):
                raise NotCompiled(f"the key of {name} is not plain text")
            site = Site(config, seen.keys[key], schema[name])
            part = self._part(field["schema"], site)
            if default is not None and default[0] is not None:
                # A null that was written is not a default.
                part = replace(part, nullable=False)
            optional = default is not None and (top or default[0] is None)
            parts[name] = (key, part)
            made[key] = _Member(key, part.pattern, optional, _plain(part.claim))
        members = {}
        known = {key for key, _ in parts.values()}
        for key, one in seen.keys.items():
            if key in made:
                members[key] = made[key]
            elif key in known or key in names:
                raise NotCompiled(f"a field under two names: {key}")
            elif behavior == "ignore" and not _is_escaped(key):
                members[key] = _Member(key, _anything(one), optional=True, plain=_plain_of(one))
        return members, parts

    def _part(self, node: Node, site: Site) -> _Part:
        self._see_keys(node)
        kind = node["type"]
        if kind == "default":
            return self._part(node["schema"], site)
        if kind == "nullable":
            if node.get("strict") is not None:
                raise NotCompiled("strict on an optional")
            if not site.seen.kinds - {"null"}:
                # Only nulls were seen: nothing is claimed of other values.
                return _Part(Claim("null", pl.String(), lambda e: e.cast(site.dtype, strict=False)), nullable=True)
            return replace(self._part(node["schema"], site), nullable=True)
        if kind in ("definitions", "definition-ref", "json-or-python"):
            with_ref = node.get("schema_ref")
            if with_ref in self._open:
                raise NotCompiled("a model that holds itself")
            if with_ref:
                self._open.append(with_ref)
            try:
                return self._part(self._resolved(node), site)
            finally:
                if with_ref:
                    self._open.pop()
        if kind in _LEAVES:
            return _Part(_LEAVES[kind](node, site), nullable=False)
        if kind == "model":
            return _Part(self._struct(node, site), nullable=False)
        if kind in ("list", "tuple"):
            return _Part(self._list(node, site), nullable=False)
        raise NotCompiled(f"{kind} is judged by the reference")

    def _struct(self, node: Node, site: Site) -> Claim:
        if not isinstance(site.dtype, pl.Struct):
            raise NotCompiled("a model without fields")
        schema = {field.name: _instance(field.dtype) for field in site.dtype.fields}
        members, parts = self._members(node, site.seen, schema, top=False)
        decode = pl.Struct({key: part.claim.decode for key, part in parts.values() if part is not None})
        if not decode.fields:
            raise NotCompiled("no field was seen")

        def convert(decoded: pl.Expr) -> pl.Expr:
            made = [
                pl.lit(None, dtype=schema[name]).alias(name)
                if part is None
                else part.claim.value(decoded.struct.field(key)).cast(schema[name]).alias(name)
                for name, (key, part) in parts.items()
            ]
            return pl.when(decoded.is_not_null()).then(pl.struct(made))

        def check(decoded: pl.Expr, value: pl.Expr) -> pl.Expr:
            checks = []
            for name, (key, part) in parts.items():
                if part is not None:
                    loose = replace(part, nullable=part.nullable or members[key].optional)
                    checks.append(loose.proof(decoded.struct.field(key), value.struct.field(name)))
            return pl.all_horizontal(checks)

        return Claim(_object(list(members.values())), decode, convert, check)

    def _list(self, node: Node, site: Site) -> Claim:
        items = node.get("items_schema")
        if node["type"] == "tuple":
            if node.get("variadic_item_index") != 0 or not isinstance(items, list) or len(items) != 1:
                raise NotCompiled("a tuple of fixed length")
            items = items[0]
        if items is None or not isinstance(site.dtype, pl.List):
            raise NotCompiled("a list of anything")
        shortest, longest = node.get("min_length"), node.get("max_length")
        dtype = site.dtype
        if site.seen.items is None:
            empty = pl.lit(pl.Series([[]], dtype=dtype)).first()
            if shortest:
                raise NotCompiled("no item was seen")
            return Claim(r"\[\]", pl.List(pl.String()), lambda decoded: pl.when(decoded.is_not_null()).then(empty))
        part = self._part(items, replace(site, seen=site.seen.items, dtype=_instance(dtype.inner)))

        def convert(decoded: pl.Expr) -> pl.Expr:
            if part.claim.convert is None:
                return decoded
            return decoded.list.eval(part.claim.value(pl.element()))

        def check(decoded: pl.Expr, _: pl.Expr) -> pl.Expr:
            checks = [decoded.list.eval(part.proof(pl.element(), part.claim.value(pl.element()))).list.all()]
            if shortest:
                checks.append(decoded.list.len() >= shortest)
            if longest is not None:
                checks.append(decoded.list.len() <= longest)
            return pl.all_horizontal(checks)

        one = part.pattern
        pattern = rf"\[(?:{one}(?:{_COMMA}{one})*)?\]"
        return Claim(pattern, pl.List(part.claim.decode), convert if part.claim.convert else None, check)

    def _ideal(self, node: Node, within: tuple[str, ...]) -> Observed:
        """What a value of this node would look like, everything being there."""
        while node["type"] in ("default", "nullable", "definitions", "definition-ref", "json-or-python"):
            ref = node.get("schema_ref")
            if ref is not None:
                if ref in within:
                    raise NotCompiled("a model that holds itself")
                within = (*within, ref)
            node = node["schema"] if node["type"] in ("default", "nullable") else self._resolved(node)
        made = Observed({"number", "text"})
        if node["type"] == "model":
            fields = self._see_model(node)
            config = node.get("config", {})
            made.keys = {self._key_of(n, f, config, None): self._ideal(f["schema"], within) for n, f in fields.items()}
        elif node["type"] in ("list", "tuple"):
            items = node.get("items_schema")
            inner = items[0] if isinstance(items, list) and items else items
            made.items = self._ideal(inner, within) if isinstance(inner, dict) else None
        return made

    def _resolved(self, node: Node) -> Node:
        """The node behind definitions and references, and the JSON side of a node that has two."""
        while True:
            kind = node["type"]
            if kind == "definitions":
                self._see_keys(node)
                self._definitions.update({d["ref"]: d for d in node["definitions"]})
                node = node["schema"]
            elif kind == "definition-ref":
                self._see_keys(node)
                found = self._definitions.get(node["schema_ref"])
                if found is None:
                    raise NotCompiled("a reference that leads nowhere")
                node = found
            elif kind == "json-or-python":
                self._see_keys(node)
                node = node["json_schema"]
            else:
                return node

    def _see_model(self, node: Node) -> Mapping[str, Node]:
        """The fields of a model that may be compiled at all."""
        if node["type"] != "model":
            raise NotCompiled(f"the model is inside {node['type']}: a validator of the whole model")
        self._see_keys(node)
        cls = node["cls"]
        if node.get("custom_init") or node.get("root_model"):
            raise NotCompiled("a model with an __init__ of its own, or a RootModel")
        if cls.__new__ is not object.__new__:
            raise NotCompiled("a model with a __new__ of its own")
        post_init = node.get("post_init")
        if post_init is not None and cls.model_post_init.__qualname__ != "init_private_attributes":
            raise NotCompiled("a model with a model_post_init")
        unknown = set(node.get("config", {})) - _CONFIG
        if unknown:
            raise NotCompiled(f"the setting {', '.join(sorted(unknown))} of the model")
        if node.get("strict") and not node.get("config", {}).get("strict"):
            raise NotCompiled("a model that is strict by itself")
        fields = node["schema"]
        if fields["type"] != "model-fields":
            raise NotCompiled("a validator of the whole model")
        self._see_keys(fields)
        found: Mapping[str, Node] = fields["fields"]
        return found

    @staticmethod
    def _see_keys(node: Node) -> None:
        allowed = _KEYS.get(node["type"])
        if allowed is None:
            raise NotCompiled(f"{node['type']} is judged by the reference")
        unknown = {key for key, value in node.items() if value is not None} - allowed - _HARMLESS
        if unknown:
            raise NotCompiled(f"{', '.join(sorted(unknown))} of {node['type']}")

    @staticmethod
    def _key_of(name: str, field: Node, config: Mapping[str, Any], seen: Observed | None) -> str:
        """Under which key a field comes."""
        alias = field.get("validation_alias", name)
        if not isinstance(alias, str):
            raise NotCompiled("several aliases, or a path")
        by_name, by_alias = config.get("validate_by_name", False), config.get("validate_by_alias", True)
        if alias == name or (by_alias and not by_name):
            return alias
        if not by_alias:
            return name
        if seen is not None and name in seen.keys:
            if alias in seen.keys:
                raise NotCompiled(f"{name} comes under its name and under its alias")
            return name
        return alias

    @staticmethod
    def _default_of(field: Node) -> tuple[Any] | None:
        """The default of a field that is a constant, in a tuple; None where the field must come."""
        node = field["schema"]
        if node["type"] != "default" or "default" not in node:
            return None
        return (node["default"],)

    def _field(self, node: Node, name: str) -> Node:
        found: Node = node["schema"]["fields"][name]
        return found

    def _default(self, node: Node, name: str) -> pl.Expr:
        """The default as the column has it.

        Raises:
            NotCompiled: the column cannot hold it (defaults are not validated).
        """
        default = self._default_of(self._field(node, name))
        column = self._columns.by_name[name]
        if default is None:
            raise NotCompiled(f"{name} has no constant default")
        if default[0] is None:
            return pl.lit(None, dtype=column.dtype)
        try:
            return pl.lit(column.series(name, [column.put(default[0])])).first()
        except (Unrepresentable, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError):
            raise NotCompiled(f"the default of {name} does not fit its column") from None


def _object(members: list[_Member]) -> str:
    """The pattern of an object: its members in order, the optional ones there or not."""
    texts = [f'"{escaped(m.key)}"{_COLON}{m.pattern}' for m in members]
    first = next((i for i, m in enumerate(members) if not m.optional), None)
    if first is None:
        if len(members) > _ALL_OPTIONAL:
            raise NotCompiled("no field of it must come")
        ways = [text + "".join(f"(?:{_COMMA}{rest})?" for rest in texts[i + 1 :]) for i, text in enumerate(texts)]
        return rf"\{{(?:{'|'.join(ways)})?\}}"
    before = "".join(f"(?:{text}{_COMMA})?" for text in texts[:first])
    after = "".join(
        f"(?:{_COMMA}{text})?" if member.optional else f"{_COMMA}{text}"
        for member, text in zip(members[first + 1 :], texts[first + 1 :], strict=True)
    )
    return rf"\{{{before}{texts[first]}{after}\}}"


def _from_text(text: pl.Expr, decode: pl.DataType, *, quoted: bool) -> pl.Expr:
    if not quoted:
        text = text.str.strip_chars(" :,}")
    match decode:
        case pl.Boolean():
            return text == "true"
        case pl.String():
            return text
    return text.cast(decode, strict=False)


def _plain(claim: Claim) -> str | None:
    """The pattern of a flat value that is either always a string or never one."""
    if isinstance(claim.decode, pl.List | pl.Struct) or claim.pattern == "null":
        return None
    pattern = TEXT if claim.pattern == ESCAPED else claim.pattern
    inner = pattern.count('"')
    quoted = inner == 2 and pattern.startswith('"') and pattern.endswith('"')
    return pattern if quoted or inner == 0 or pattern == TEXT else None


def _plain_of(seen: Observed) -> str | None:
    if seen.kinds == {"text"}:
        return TEXT
    if seen.kinds == {"number"}:
        return _NUMBER
    return "(?:true|false)" if seen.kinds == {"bool"} else None


def _piece(number: int) -> str:
    return f"piece_{number}"


def _anything(seen: Observed) -> str:
    """The pattern of a value that nobody asks for: it must be JSON all the same.

    Patterns grow with each level by a factor; one that grows too long is left at scalars.
    """
    scalars = [ESCAPED, _NUMBER, "true", "false", "null"]
    ways = [*scalars]
    if "object" in seen.kinds:
        inner = [_Member(key, _anything(one), optional=True, plain=None) for key, one in seen.keys.items()]
        ways.append(_object(inner) if inner and len(inner) <= _ALL_OPTIONAL else r"\{\}")
    if "array" in seen.kinds:
        if seen.items is None:
            ways.append(r"\[\]")
        else:
            one = _anything(seen.items)
            ways.append(rf"\[(?:{one}(?:{_COMMA}{one})*)?\]")
    pattern = f"(?:{'|'.join(ways)})"
    return pattern if len(pattern) <= _LONGEST else f"(?:{'|'.join(scalars)})"


def _is_escaped(key: str) -> bool:
    """Whether a key is written with escapes, or could be."""
    return any(c in '"\\' or ord(c) < 0x20 for c in key)


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
