"""The shape of XML records: layout and columns, from the model and from what records look like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Final, cast

import numpy as np
import polars as pl
from pydantic import BaseModel

from assay.reading import Block, Ints
from assay.reading.octets import rare
from assay.reading.xml_object import NIL, XSI, FieldShape, ModelShape, Place
from assay.records.assemble import Constant, Many, Presence, Struct, Value
from assay.records.claims import Node, NotCompiled, Site
from assay.records.cursor import Text
from assay.records.schema import NotCompiledModel, Schema, extra_behavior, instance
from assay.records.shape import FieldVerdict, Shape
from assay.records.text_shape import text_column
from assay.records.xml_layout import AttributeValue, ElementLayout, Tag
from assay.records.xml_observe import Attribute, Element, StartTag, observe

_LESS: Final = 60
#: References to the characters that XML predefines, and to others by number, but for those below U+0020 or from
#: U+D800 on, of which XML forbids some.
_DECIMAL: Final = "3[2-9]|[4-9][0-9]|[1-9][0-9]{2,3}|[1-4][0-9]{4}"
_NUMBER: Final = rf"#(?:{_DECIMAL}|x(?:[2-9a-fA-F][0-9a-fA-F]{{1,2}}|[1-9a-cA-C][0-9a-fA-F]{{3}}))"
_REFERENCE: Final = re.compile(rf"&(amp|lt|gt|quot|apos|{_NUMBER});")
_ESCAPED: Final = re.compile(rf"(?:[^&]|{_REFERENCE.pattern})*+")
_PREDEFINED: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
#: Longer values of attributes are not looked for as such.
_LONGEST: Final = 200
#: An element that nobody asks for and that came more rarely than in one of so many is not looked for.
_RARE: Final = 20
_FIRST_PRINTED: Final = 32
_TAB: Final = 9
_LF: Final = 10
#: Texts that stand in no XML document, and the byte that each begins with.
_FORBIDDEN: Final = ((b"]", b"]]>"), (b"\xef", b"\xef\xbf\xbe"), (b"\xef", b"\xef\xbf\xbf"))
_NO_PRESENCE: Final = Presence()


class XmlText(Text):
    """A block of XML records: what no text may have in it is told apart from what a parser would read otherwise."""

    escape = b"&"

    def _odd_places(self) -> Ints:
        """Characters that XML forbids, and carriage returns, which become newlines."""
        control = rare(self.content < _FIRST_PRINTED)
        which = self.content[control]
        odd = [control[(which != _TAB) & (which != _LF)]]
        for first, forbidden in _FORBIDDEN:
            # To look for one byte takes no time.
            if first not in self.data:
                continue
            place = self.data.find(forbidden)
            while place >= 0:
                odd.append(np.array([place]))
                place = self.data.find(forbidden, place + 1)
        return np.sort(np.concatenate(odd))

    def decoded(self, texts: list[str]) -> list[str | None]:
        """See `Text`."""
        return [None if _ESCAPED.fullmatch(text) is None else _REFERENCE.sub(_character, text) for text in texts]


def _character(reference: re.Match[str]) -> str:
    """The character that a reference means."""
    name = reference[1]
    if name in _PREDEFINED:
        return _PREDEFINED[name]
    return chr(int(name[1:]) if name[1].isdigit() else int(f"0{name[1:]}", 0))


class XmlShapes:
    """Compiles a model for what its XML records look like; see `Shapes`.

    Args:
        schema: The model's core schema.
        model: The model.
        shape: Where its fields stand in XML.
        empty_as_null: Whether an empty element is null.
    """

    def __init__(self, schema: Schema, model: type[BaseModel], shape: ModelShape, *, empty_as_null: bool) -> None:
        self._schema = schema
        self._model = model
        self._shape = shape
        self._empty_as_null = empty_as_null

    def text(self, block: Block) -> Text:
        """See `Shapes`."""
        return XmlText(block, _LESS)

    def shape(self, records: Sequence[bytes], block: Block) -> Shape:
        """See `Shapes`."""
        element = observe(records, block.head, block.tail)
        if element is None:
            raise NotCompiledModel("no plain record was seen")
        made = _XmlShape(self._schema, element, empty_as_null=self._empty_as_null)
        values = made.fields(self._schema.root(), self._shape, self._model, element, self._schema.columns.schema)
        made.see_levels()
        layout = made.layout(element)
        return Shape(layout, values, (), made.spaced, block.head)

    def explain(self) -> dict[str, FieldVerdict]:
        """See `Shapes`."""
        try:
            node = self._schema.root()
            fields = self._schema.see_model(node)
            if extra_behavior(node) == "allow":
                raise NotCompiledModel("extra='allow'")
        except NotCompiled as error:
            return {"": FieldVerdict("record", str(error))}
        verdicts = {}
        for (name, field), one in zip(fields.items(), self._shape.fields, strict=True):
            alone: list[str] = []
            site = Site(node.get("config", {}), self._schema.columns.schema[name])
            try:
                self._schema.see_keys(field)
                self._schema.keys_of(name, field, node.get("config", {}))
                self._see(field["schema"], one, site, alone)
            except NotCompiled as error:
                verdicts[name] = FieldVerdict("record", str(error))
            else:
                verdicts[name] = FieldVerdict.of_parts(alone)
        return verdicts

    def _see(self, node: Node, one: FieldShape, site: Site, alone: list[str]) -> None:
        """Raise where a field is not compiled."""
        for place in one.places:
            _see_place(place)
        node, _ = _unwrapped(self._schema, node, _NO_PRESENCE)
        if one.is_array:
            node, site = _item_of(self._schema, node, site)
            # A model that is used in several places is a reference to its definition.
            node, _ = _unwrapped(self._schema, node, _NO_PRESENCE) if one.model is not None else (node, _NO_PRESENCE)
        if one.model is None:
            text_column(self._schema, node, site, _NO_PRESENCE, 0, trimmed=not one.keeps_blanks, alone=alone)
            return
        fields = self._schema.see_model(node)
        if not isinstance(site.dtype, pl.Struct):
            raise NotCompiledModel("a model without fields")
        dtypes = {field.name: instance(field.dtype) for field in site.dtype.fields}
        for (name, field), inner in zip(fields.items(), one.model.fields, strict=True):
            self._schema.see_keys(field)
            self._schema.keys_of(name, field, node.get("config", {}))
            self._see(field["schema"], inner, Site(node.get("config", {}), dtypes[name]), alone)


class _XmlShape:
    """One compilation."""

    def __init__(self, schema: Schema, root: Element, *, empty_as_null: bool) -> None:
        self._schema = schema
        self._slots = count()
        self._texts: dict[int, int] = {}
        self._attributes: dict[tuple[int, str], int] = {}
        self._items: dict[int, int] = {}
        self._expected: list[tuple[Element, Element, Sequence[int]]] = []
        self._taken: set[int] = set()
        self._attributed: dict[int, int] = {}
        self._unnamed: set[int] = set()
        self._named_only: dict[int, set[str]] = {}
        self._parents = _parents_of(root)
        self._empty_as_null = empty_as_null
        self.spaced = False

    def fields(
        self,
        node: Node,
        shape: ModelShape,
        model: type[BaseModel],
        element: Element,
        dtypes: Any,
    ) -> dict[str, Value]:
        """The fields of a model that an element is."""
        schema = self._schema
        fields = schema.see_model(node)
        config = node.get("config", {})
        if extra_behavior(node) == "allow":
            raise NotCompiledModel("extra='allow'")
        if list(fields) != list(model.model_fields):
            raise NotCompiledModel("fields in another order than the model's")
        if shape.takes_extra:
            self._leave_out_unnamed(shape, element)
        made: dict[str, Value] = {}
        for (name, field), one in zip(fields.items(), shape.fields, strict=True):
            schema.see_keys(field)
            schema.keys_of(name, field, config)
            column = schema.columns.column_of(field["schema"], name)
            presence = schema.presence(field["schema"], column, name)
            site = Site(config, dtypes[name])
            targets = [target for place in one.places for target in _targets(element, place)]
            if len(targets) > 1:
                raise NotCompiledModel(f"{name} stands in several places")
            if not targets:
                if presence.default is None:
                    raise NotCompiledModel(f"the required field {name} was not seen")
                made[name] = Constant(site.dtype, presence)
                continue
            made[name] = self._value(field["schema"], one, targets[0], element, site, presence)
        return made

    def _value(
        self,
        node: Node,
        one: FieldShape,
        target: tuple[Element, Attribute | None],
        within: Element,
        site: Site,
        presence: Presence,
    ) -> Value:
        element, attribute = target
        if one.is_array:
            node, presence = _unwrapped(self._schema, node, presence)
            item, inner = _item_of(self._schema, node, site)
            if attribute is not None or element is within:
                raise NotCompiledModel("a list of attributes")
            through = self._through(element, within)
            slot = self._items.setdefault(id(element), next(self._slots))
            value = self._single(item, one, element, None, inner, _NO_PRESENCE)
            shortest, longest = node.get("min_length") or 0, node.get("max_length")
            return Many(slot, site.dtype, presence, value, shortest, longest, through)
        self._expected.append((element, within, ()))
        if element is not within and id(element) in self._items:
            raise NotCompiledModel("a list that is no list elsewhere")
        return self._single(node, one, element, attribute, site, presence)

    def _through(self, element: Element, within: Element) -> list[int]:
        """The items that a list is gathered from: the elements between that come several times."""
        through: list[int] = []
        for one in self._between(element, within):
            if one.most > 1:
                through.insert(0, self._items.setdefault(id(one), next(self._slots)))
        self._expected.append((element, within, through))
        return through

    def _between(self, element: Element, within: Element) -> Iterator[Element]:
        """The elements around an element, the innermost first, inside another."""
        while element is not within and (element := self._parents[id(element)]) is not within:
            yield element

    def see_levels(self) -> None:
        """Raise where a field lies in an element that is an item for another field."""
        for element, within, through in self._expected:
            between = [self._items[id(one)] for one in self._between(element, within) if id(one) in self._items]
            if between[::-1] != list(through):
                raise NotCompiledModel("a field inside one of several elements")

    def _single(
        self, node: Node, one: FieldShape, element: Element, attribute: Attribute | None, site: Site, presence: Presence
    ) -> Value:
        if one.model is not None:
            node, presence = _unwrapped(self._schema, node, presence)
            if attribute is not None or not isinstance(site.dtype, pl.Struct):
                raise NotCompiledModel("a model that is one text")
            dtypes = {field.name: instance(field.dtype) for field in site.dtype.fields}
            model = cast(type[BaseModel], node.get("cls"))
            slot = self._text_slot(element) if element.children else self._attributed_slot(element)
            return Struct(slot, site.dtype, presence, self.fields(node, one.model, model, element, dtypes))
        if attribute is not None:
            key = (id(element), attribute.tag)
            if key in self._attributes:
                raise NotCompiledModel("two fields of one attribute")
            slot = self._attributes[key] = next(self._slots)
        elif element.children:
            raise NotCompiledModel("a text that has elements in it")
        else:
            slot = self._text_slot(element)
        return text_column(self._schema, node, site, presence, slot, trimmed=not one.keeps_blanks, alone=[])

    def _text_slot(self, element: Element) -> int:
        if id(element) in self._taken:
            raise NotCompiledModel("two fields of one element")
        self._taken.add(id(element))
        slot = self._texts[id(element)] = self._slot_of(element)
        return slot

    def _slot_of(self, element: Element) -> int:
        known = self._attributed.pop(id(element), None)
        return next(self._slots) if known is None else known

    def _attributed_slot(self, element: Element) -> int:
        """Where it is known that a model of a text and attributes is there: its text may be a field of it yet."""
        if id(element) in self._taken or id(element) in self._attributed:
            raise NotCompiledModel("two fields of one element")
        if self._empty_as_null:
            raise NotCompiledModel("a model of attributes that may be null")
        slot = self._attributed[id(element)] = next(self._slots)
        return slot

    def _leave_out_unnamed(self, shape: ModelShape, element: Element) -> None:
        """What the model does not name makes a record one for the reference, where the model takes or forbids it."""
        paths = [place.path for field in shape.fields for place in field.places]
        steps = [path.steps[0] for path in paths if path.steps]
        names = [path.attribute for path in paths if path.attribute and not path.steps]
        names += [place.path.steps[0] for field in shape.fields for place in field.places if place.or_attribute]
        for child in element.children.values():
            if not any(step.matches(child.tag) for step in steps):
                self._unnamed.add(id(child))
        for start in element.starts.values():
            for attribute in start.attributes:
                counts = attribute.tag and not attribute.tag.startswith(f"{{{XSI}}}")
                if counts and not any(name.matches(attribute.tag) for name in names):
                    self._unnamed.add(id(start))

    def layout(self, element: Element, parent: Element | None = None) -> ElementLayout:
        """The layout of an element, all fields being compiled."""
        children: tuple[ElementLayout, ...] | None = None
        if element.children:
            if element.has_text:
                raise NotCompiledModel("an element that has elements in it at times")
            children = tuple(
                self.layout(child, element)
                for child in element.children.values()
                if self._is_looked_for(child, element)
            )
        items = self._items.get(id(element))
        slot = self._texts.get(id(element))
        there = self._attributed.get(id(element)) if slot is None else slot
        self._note_gap(element.gap + element.last_gap)
        tags = [self._tag(element, start) for start in element.starts.values() if id(start) not in self._unnamed]
        if not tags:
            raise NotCompiledModel("attributes that the model does not name")
        return ElementLayout(
            next(self._slots) if there is None else there,
            element.gap,
            tuple(tags),
            element.end,
            parent is not None and element.count < parent.count * (1 if items is None else 10**9),
            children,
            element.last_gap,
            self._empty_as_null and slot is not None,
            slot is not None,
            items,
        )

    def _is_looked_for(self, child: Element, parent: Element) -> bool:
        """Whether an element is part of the layout: not what the model forbids, nor what is rare and not asked for."""
        if id(child) in self._unnamed:
            return False
        is_usual = child.count * _RARE >= parent.count and (child.count > 1 or parent.count == 1)
        return is_usual or self._is_asked_for(child)

    def _is_asked_for(self, element: Element) -> bool:
        asked = id(element) in self._texts or id(element) in self._items or id(element) in self._attributed
        asked = asked or any(key == id(element) for key, _ in self._attributes)
        return asked or any(self._is_asked_for(child) for child in element.children.values())

    def _tag(self, element: Element, start: StartTag) -> Tag:
        parts: list[bytes | AttributeValue] = []
        literal = start.opening
        is_nil = False
        for attribute in start.attributes:
            self._note_gap(attribute.before)
            literal += attribute.before + attribute.mark
            slot = self._attributes.get((id(element), attribute.tag))
            if attribute.tag == NIL:
                if len(attribute.values) > 1:
                    raise NotCompiledModel("xsi:nil that is true at times")
                is_nil = attribute.values <= {b"true", b"1"}
            value = next(iter(attribute.values))
            plain = len(value) <= _LONGEST and b"&" not in value
            if slot is None and len(attribute.values) == 1 and plain:
                literal += value + attribute.mark
                continue
            claimed = slot is not None
            place = AttributeValue(next(self._slots) if slot is None else slot, attribute.mark[0], claimed)
            parts += [literal, place]
            literal = attribute.mark
        self._note_gap(start.closing)
        return Tag((*parts, literal + start.closing), start.is_empty, is_nil)

    def _note_gap(self, gap: bytes) -> None:
        self.spaced = self.spaced or b"\r" in gap


def _unwrapped(schema: Schema, node: Node, presence: Presence) -> tuple[Node, Presence]:
    """A node without its default, its null and references."""
    while True:
        schema.see_keys(node)
        kind = node["type"]
        if kind == "default":
            node = node["schema"]
        elif kind == "nullable" and node.get("strict") is None:
            node, presence = node["schema"], Presence(nullable=True, default=presence.default)
        elif kind in ("definitions", "definition-ref", "json-or-python"):
            with schema.inside(node) as inner:
                node = inner
        else:
            return node, presence


def _item_of(schema: Schema, node: Node, site: Site) -> tuple[Node, Site]:
    """The node of the items of a list, and where they are met."""
    items = node.get("items_schema")
    if node["type"] == "tuple" and node.get("variadic_item_index") == 0 and isinstance(items, list) and len(items) == 1:
        items = items[0]
    if node["type"] not in ("list", "tuple") or not isinstance(items, dict) or not isinstance(site.dtype, pl.List):
        raise NotCompiledModel(f"{node['type']} of several elements is judged by the reference")
    return items, Site(site.config, instance(site.dtype.inner))


def _see_place(place: Place) -> None:
    if place.path.up:
        raise NotCompiledModel("a value from above the record")


def _targets(element: Element, place: Place) -> list[tuple[Element, Attribute | None]]:
    """The elements and attributes that a place means, each once."""
    _see_place(place)
    found = [element]
    for step in place.path.steps:
        found = [child for one in found for child in one.children.values() if step.matches(child.tag)]
    if place.path.attribute is not None:
        name = place.path.attribute
        return [(one, attribute) for one in found for attribute in _attributes(one) if name.matches(attribute.tag)]
    made: list[tuple[Element, Attribute | None]] = [(one, None) for one in found]
    if place.or_attribute:
        name = place.path.steps[0]
        made += [(element, attribute) for attribute in _attributes(element) if name.matches(attribute.tag)]
    return made


def _attributes(element: Element) -> list[Attribute]:
    """The attributes of an element; declarations of namespaces are none."""
    by_tag = {attribute.tag: attribute for start in element.starts.values() for attribute in start.attributes}
    return [attribute for tag, attribute in by_tag.items() if tag]


def _parents_of(root: Element) -> dict[int, Element]:
    parents: dict[int, Element] = {}
    pending = [root]
    while pending:
        element = pending.pop()
        for child in element.children.values():
            parents[id(child)] = element
            pending.append(child)
    return parents
