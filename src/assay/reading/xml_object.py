"""From an XML record to the object of texts on which the verdict is given, by the shape of the model.

An element or attribute becomes a string; a nested model an object; a list an array (also of one element); `xsi:nil`
null; what is absent has no key. Blanks around the text of fields that are not `str` are layout and go. An element that
stands several times where the model wants one becomes an array, and one with children where the model wants a text
becomes an object, so that Pydantic rejects them: nothing is picked or joined silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from lxml import etree
from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from assay.errors import ConfigurationError
from assay.reading.texts import BLANKS, element_type, keeps_blanks, keys_of, refuse_strict
from assay.reading.xml_path import FieldPath, Name, XPath, parse_field_path, parse_name

XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
NIL: Final = f"{{{XSI}}}nil"
#: So many attributes cost nothing in any case.
_FEW: Final = 50

Json = dict[str, "Json"] | list["Json"] | str | None


@dataclass(frozen=True)
class Place:
    """One way to find a field: where it stands, and the key under which the model takes it."""

    path: FieldPath
    key: str
    #: Whether an attribute of that name will do where there is no such element.
    or_attribute: bool

    @cached_property
    def child(self) -> str | None:
        """The name, where all children of that name are meant, in any namespace: nearly always."""
        path = self.path
        if path.up or path.attribute is not None or len(path.steps) != 1:
            return None
        (step,) = path.steps
        return step.local if step.uri is None and step.local != "*" else None


@dataclass
class FieldShape:
    """How one field is made from XML."""

    places: list[Place]
    #: Whether the places are ways to one key, of which a record has one (`XPath("a | b")`).
    are_alternatives: bool
    is_array: bool
    keeps_blanks: bool
    model: ModelShape | None


@dataclass
class ModelShape:
    """How one model is made from XML."""

    fields: list[FieldShape] = field(default_factory=list)
    takes_extra: bool = False

    def context(self, depth: int = 0, _seen: frozenset[int] = frozenset()) -> list[Name]:
        """Names of the children of ancestors (above the record) that the model wants.

        Where it wants an attribute of an ancestor, a name that no child has: the ancestor itself is to be kept.
        """
        wanted = []
        for shape in self.fields:
            wanted += [p.path.steps[0] if p.path.steps else Name("") for p in shape.places if p.path.up > depth]
            if shape.model is not None and id(shape.model) not in _seen:
                below = depth + max((len(p.path.steps) for p in shape.places), default=1)
                wanted += shape.model.context(below, _seen | {id(self)})
        return wanted


class ShapeCompiler:
    """Compiles models into shapes; a model that refers to itself is compiled once."""

    def __init__(self, namespaces: Mapping[str, str]) -> None:
        self._namespaces = namespaces
        self._done: dict[type[BaseModel], ModelShape] = {}

    def compile(self, model: type[BaseModel]) -> ModelShape:
        """The shape of a model.

        Raises:
            ConfigurationError: a path that cannot be read, or a model in strict mode (XML has only texts).
        """
        if model in self._done:
            return self._done[model]
        if issubclass(model, RootModel):
            raise ConfigurationError(
                f"{model.__name__} is a RootModel, which no element of XML is: use a model of fields"
            )
        refuse_strict(model, "XML")
        shape = self._done[model] = ModelShape(takes_extra=model.model_config.get("extra") in ("allow", "forbid"))
        by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
        for name, info in model.model_fields.items():
            shape.fields.append(self._field(model, name, info, bool(by_name)))
        return shape

    def _field(self, model: type[BaseModel], name: str, info: FieldInfo, by_name: bool) -> FieldShape:
        where = f"{model.__name__}.{name}"
        keys = keys_of(info, name)
        given = next((m for m in info.metadata if isinstance(m, XPath)), None)
        if given:
            paths = [parse_field_path(path.strip(), self._namespaces, where) for path in given.path.split("|")]
            places = [Place(path, keys[0], or_attribute=False) for path in paths]
        else:
            if by_name and name not in keys:
                keys.append(name)
            places = [self._place(key, where) for key in keys]
        inner, is_array = element_type(info.annotation)
        nested = self.compile(inner) if isinstance(inner, type) and issubclass(inner, BaseModel) else None
        are_alternatives = given is not None and len(places) > 1
        return FieldShape(places, are_alternatives, is_array, keeps_blanks=keeps_blanks(info.annotation), model=nested)

    def _place(self, key: str, where: str) -> Place:
        if key.startswith("@"):
            return Place(FieldPath(0, (), parse_name(key[1:], self._namespaces, where)), key, or_attribute=False)
        return Place(FieldPath(0, (parse_name(key, self._namespaces, where),)), key, or_attribute=True)


def to_object(element: etree._Element, shape: ModelShape, *, empty_as_null: bool = False) -> dict[str, Any]:
    """Make the object of texts of a record."""
    index = _index(element)
    has_attributes = bool(element.keys())
    made: dict[str, Any] = {}
    for one in shape.fields:
        found: Sequence[etree._Element | str]
        if one.are_alternatives:
            found = [value for place in one.places for value in _find(element, index, place)]
            _put(made, one.places[0].key, found, one, empty_as_null)
            continue
        for place in one.places:
            child = place.child
            if child is None or (has_attributes and place.or_attribute):
                found = _find(element, index, place)
            else:
                found = index.get(child, ())
            _put(made, place.key, found, one, empty_as_null)
    if shape.takes_extra:
        _add_extra(element, shape, made)
    return made


def _put(
    made: dict[str, Any], key: str, found: Sequence[etree._Element | str], shape: FieldShape, empty_as_null: bool
) -> None:
    if len(found) == 1 and not shape.is_array:
        made[key] = _value(found[0], shape, empty_as_null)
    elif found:
        made[key] = [_value(item, shape, empty_as_null) for item in found]


def plain(element: etree._Element) -> Any:
    """An element without a model: its text, or a dict of its attributes, children and text (`#text`).

    An attribute that has the name of a child is called `@name`.
    """
    if element.get(NIL) in ("true", "1"):
        return None
    children = [child for child in element if isinstance(child.tag, str)]
    attributes = {_local(key): value for key, value in _plain_attributes(element)}
    if not children and not attributes:
        return _text(element)
    made: dict[str, Any] = {}
    for child in children:
        key, value = _local(str(child.tag)), plain(child)
        if key not in made:
            made[key] = value
        elif isinstance(made[key], _Repeated):
            made[key].append(value)
        else:
            made[key] = _Repeated([made[key], value])
    made = {key: list(value) if isinstance(value, _Repeated) else value for key, value in made.items()}
    text = _text(element, own=True).strip(BLANKS)
    named = {f"@{key}" if key in made else key: value for key, value in attributes.items()}
    return named | made | ({"#text": text} if text else {})


def _plain_attributes(element: etree._Element) -> list[tuple[str, str]]:
    return [(key, value) for key, value in _all_attributes(element) if not key.startswith(f"{{{XSI}}}")]


class _Repeated(list[Any]):
    """Values of an element that stands several times (as against one value that is a list)."""


def _index(element: etree._Element) -> dict[str, list[etree._Element]]:
    index: dict[str, list[etree._Element]] = {}
    for child in element:
        tag = child.tag
        if isinstance(tag, str):
            local = _local(tag) if tag[0] == "{" else tag
            if local in index:
                index[local].append(child)
            else:
                index[local] = [child]
    return index


def _find(element: etree._Element, index: dict[str, list[etree._Element]], place: Place) -> list[etree._Element | str]:
    path = place.path
    start: etree._Element | None = element
    for _ in range(path.up):
        start = start.getparent() if start is not None else None
    if start is None:
        return []
    found = [start]
    for number, step in enumerate(path.steps):
        if number == 0 and not path.up and step.local != "*":
            found = [c for c in index.get(step.local, ()) if step.uri is None or step.matches(str(c.tag))]
        else:
            found = [c for one in found for c in one if isinstance(c.tag, str) and step.matches(c.tag)]
    if path.attribute is not None:
        return [value for one in found for value in _attributes(one, path.attribute)]
    if place.or_attribute:
        # An element and an attribute of one name are two values: the verdict sees both.
        return [*found, *_attributes(element, path.steps[0])]
    return list(found)


def _attributes(element: etree._Element, name: Name) -> list[str]:
    if name.uri is None and name.local != "*" and (value := element.get(name.local)) is not None:
        return [str(value)]
    return [value for key, value in _all_attributes(element) if name.matches(key)]


def _all_attributes(element: etree._Element) -> list[tuple[str, str]]:
    """The attributes; lxml's own list of them looks each up by its name, the square of their number."""
    if len(element.attrib) <= _FEW:
        return [(str(key), str(value)) for key, value in element.attrib.items()]
    found: Any = element.xpath("@*")
    return [(str(value.attrname), str(value)) for value in found]


def _value(item: etree._Element | str, shape: FieldShape, empty_as_null: bool) -> Any:
    if isinstance(item, str):
        return item if shape.keeps_blanks else item.strip(BLANKS)
    if shape.model is None and not empty_as_null and not len(item) and not item.keys():
        text = item.text or ""
        return text if shape.keeps_blanks else text.strip(BLANKS)
    if item.get(NIL) in ("true", "1"):
        return None
    has_children = len(item) > 0 and any(isinstance(child.tag, str) for child in item)
    if empty_as_null and not has_children and not _text(item) and not (shape.model and _plain_attributes(item)):
        return None
    if shape.model is not None:
        return to_object(item, shape.model, empty_as_null=empty_as_null)
    if has_children:
        return plain(item)
    text = _text(item)
    return text if shape.keeps_blanks else text.strip(BLANKS)


def _add_extra(element: etree._Element, shape: ModelShape, made: dict[str, Any]) -> None:
    """Add what the model does not name, so that `extra` is judged by Pydantic."""
    named = [p.path for f in shape.fields for p in f.places if not p.path.up]
    steps = [path.steps[0] for path in named if path.steps]
    attributes = [path.attribute for path in named if path.attribute and not path.steps]
    attributes += [p.path.steps[0] for f in shape.fields for p in f.places if p.or_attribute]
    for child in element:
        if isinstance(child.tag, str) and not any(step.matches(child.tag) for step in steps):
            made.setdefault(_local(child.tag), plain(child))
    for key, value in _plain_attributes(element):
        if not any(name.matches(key) for name in attributes):
            made.setdefault(_local(key), value)


def _text(element: etree._Element, *, own: bool = False) -> str:
    """The text, whole: lxml's own `.text` ends at a comment."""
    if len(element) == 0:
        return element.text or ""
    parts = [element.text or ""]
    for child in element:
        if isinstance(child.tag, str) and not own:
            parts.append(_text(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
