"""Classes: from what was seen of records to models and their fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, create_model

from assay.inference.names import class_name, field_name
from assay.inference.seen import Member, Seen
from assay.inference.types import ANY, TEXT, Scalars, Type, union
from assay.reading import XPath
from assay.reading.xml_path import NAME

#: Key of an attribute, as XML was observed: a mark before its name.
ATTRIBUTE: Final = "@"
#: Names that the source imports or defines.
_TAKEN: Final = (
    *("Annotated", "Any", "AwareDatetime", "BaseModel", "Decimal", "Field", "Literal", "NaiveDatetime", "UUID"),
    *("Money", "NumberOrText", "None", "True", "False"),
)


@dataclass(frozen=True)
class FieldSpec:
    """One field.

    Attributes:
        name: Its name.
        type: Its type, null included.
        default: "None" or "[]", or None where it is required.
        alias: The key, where the name is another.
        path: Where it stands in XML, where its name does not tell.
        key: Under which it was seen; None for the text of an element.
    """

    name: str
    type: Type
    default: str | None = None
    alias: str | None = None
    path: str | None = None
    key: str | None = None

    @property
    def written(self) -> tuple[str | None, ...]:
        """What the source has of it."""
        return (self.name, self.type.text, self.default, self.alias, self.path)

    @property
    def definition(self) -> tuple[Any, Any]:
        """As `create_model` takes it."""
        annotation = (
            Annotated[self.type.annotation, XPath(self.path)] if self.path is not None else self.type.annotation
        )
        if self.default is None:
            return annotation, Field(alias=self.alias)
        if self.default == "[]":
            return annotation, Field(default=[], alias=self.alias)
        return annotation, Field(default=None, alias=self.alias)


@dataclass(frozen=True)
class ClassSpec:
    """One model: its name, what it is one of, its fields, and the class itself."""

    name: str
    thing: str
    fields: tuple[FieldSpec, ...]
    model: type[BaseModel]


@dataclass
class Classes:
    """Makes the classes of one tree of observations, nested ones first.

    Attributes:
        kind: What the records are of: "json" (values of all kinds), "xml", or "texts" (CSV).
        empty_as_null: Whether empty elements and cells are read as null.
        namespaces: Prefixes by their namespaces (XML).
        prefixes: Those that names need, with their namespaces.
        always_null: Where there was never anything but null.
        needs_null: Whether empty texts stand where a type has none, so that `empty_as_null` is wanted.
    """

    kind: str
    empty_as_null: bool = False
    namespaces: Mapping[str, str] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)
    made: list[ClassSpec] = field(default_factory=list)
    needs_null: bool = False
    always_null: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scalars = Scalars(only_texts=self.kind != "json")
        self._names = set(_TAKEN)

    @property
    def doubts(self) -> list[str]:
        """What a reader of the model should look at."""
        guessed = f"always null, so that the type is a guess: {', '.join(self.always_null)}"
        return [*self.scalars.doubts, *([guessed] if self.always_null else [])]

    def build(self, seen: Seen, name: str) -> ClassSpec:
        """The class of the records themselves."""
        self._names.add(name)
        return self._class(name, name, self._fields(seen, name, ""))

    def _class(self, name: str, thing: str, fields: Sequence[FieldSpec]) -> ClassSpec:
        definitions: dict[str, Any] = {one.name: one.definition for one in fields}
        spec = ClassSpec(name, thing, tuple(fields), create_model(name, **definitions))
        self.made.append(spec)
        return spec

    def _fields(self, seen: Seen, owner: str, path: str) -> list[FieldSpec]:
        if self.kind == "xml":
            return self._xml_fields(seen, owner, path)
        made: list[FieldSpec] = []
        for key, member in seen.members.items():
            name = field_name(key, [one.name for one in made])
            made.append(self._field(member, seen.objects, name, key, owner, path))
        return made

    def _field(
        self,
        member: Member,
        objects: int,
        name: str,
        key: str,
        owner: str,
        path: str,
        xpath: str | None = None,
        seen_as: str | None = None,
    ) -> FieldSpec:
        here = f"{path}.{key}" if path else key
        alias = None if name == key or xpath is not None else key
        one, is_null = self._type(member.seen, key, here, owner, of_many=member.is_repeated)
        is_missing = member.present < objects
        if member.is_repeated:
            many = (one.or_none() if is_null else one).in_list()
            return FieldSpec(name, many, "[]" if is_missing else None, alias, xpath, seen_as or key)
        if is_missing or is_null:
            return FieldSpec(name, one.or_none(), "None", alias, xpath, seen_as or key)
        return FieldSpec(name, one, None, alias, xpath, seen_as or key)

    def _type(self, seen: Seen, key: str, path: str, owner: str, *, of_many: bool) -> tuple[Type, bool]:
        """The type of all values at a place, and whether there was null among them."""
        if seen.is_opaque:
            self.scalars.doubts.append(f"{path}: values of too many shapes; any is taken, and kept as JSON text")
            return ANY, False
        if self.kind == "xml":
            return self._element_type(seen, key, path, owner, of_many=of_many)
        types = self.scalars.of(seen, key, path)
        if seen.objects:
            types.append(self._object_type(seen, key, path, owner, of_many=of_many))
        if seen.arrays:
            items = seen.items or Seen()
            item, is_null = self._type(items, key, f"{path}[]", owner, of_many=True) if items.count else (ANY, False)
            types.append((item.or_none() if is_null else item).in_list())
        if not types:
            self.always_null.append(path)
            return TEXT, True
        if len(types) > 1:
            kinds = " or ".join(one.text for one in types)
            self.scalars.doubts.append(f"{path}: {kinds}; a column holds that as JSON text")
        made = union(types)
        return made, self._is_null(seen, made)

    def _is_null(self, seen: Seen, made: Type) -> bool:
        if self.kind != "texts":
            return seen.nulls > 0
        # Nulls are the empty cells that are not quoted.
        if made.keeps_empty:
            return self.empty_as_null and seen.nulls > 0
        self.needs_null |= seen.nulls + seen.texts.empty > 0
        return seen.nulls + seen.texts.empty > 0

    def _object_type(self, seen: Seen, key: str, path: str, owner: str, *, of_many: bool) -> Type:
        if seen.values is not None:
            value, is_null = self._type(seen.values, key, f"{path}.*", owner, of_many=True)
            return (value.or_none() if is_null else value).in_mapping()
        if not seen.members:
            return ANY.in_mapping()
        return self._nested(seen, key, path, owner, of_many=of_many)

    def _nested(self, seen: Seen, key: str, path: str, owner: str, *, of_many: bool) -> Type:
        thing = class_name(key, of_many=of_many, taken=(), within=owner)
        fields = self._fields(seen, thing, path)
        written = [one.written for one in fields]
        same = (spec for spec in self.made if spec.thing == thing and [f.written for f in spec.fields] == written)
        spec = next(same, None)
        if spec is None:
            name = class_name(key, of_many=of_many, taken=self._names, within=owner)
            self._names.add(name)
            spec = self._class(name, thing, fields)
        return Type(spec.name, spec.model)

    def _element_type(self, seen: Seen, key: str, path: str, owner: str, *, of_many: bool) -> tuple[Type, bool]:
        texts = seen.texts
        if seen.mixed or (seen.parents and texts.filled):
            self.scalars.doubts.append(f"{path}: texts and elements side by side; any is taken, and kept as JSON text")
            return ANY, False
        if seen.members:
            made = self._nested(seen, key, path, owner, of_many=of_many)
            return made, seen.nulls > 0 or (self.empty_as_null and seen.hollow > 0)
        made = next(iter(self.scalars.of(seen, key, path)), TEXT)
        # An attribute and white space are never read as null.
        if not made.keeps_empty and (seen.blank or (seen.is_attribute and texts.empty)):
            self.scalars.doubts.append(
                f"{path}: {texts.empty:,} of {texts.count:,} are empty or blank, the others {made.text}; a text"
            )
            made = TEXT
        if seen.is_attribute:
            return made, False
        if not made.keeps_empty:
            self.needs_null |= texts.empty > 0
        return made, seen.nulls > 0 or (self.empty_as_null and texts.empty > seen.blank)

    def _xml_fields(self, seen: Seen, owner: str, path: str) -> list[FieldSpec]:
        """Attributes, children, and the text beside attributes."""
        objects = seen.count - seen.nulls - (seen.hollow if self.empty_as_null and path else 0)
        elements = Counter(_local(key) for key in seen.members if not key.startswith(ATTRIBUTE))
        attributes = Counter(_local(key) for key in seen.members if key.startswith(ATTRIBUTE))
        made: list[FieldSpec] = []
        for key, member in seen.members.items():
            is_attribute = key.startswith(ATTRIBUTE)
            alone = (attributes if is_attribute else elements)[_local(key)] == 1
            shared = (elements if is_attribute else attributes)[_local(key)] > 0
            written = self._written(key, alone=alone)
            if written is None:
                self.scalars.doubts.append(f"{path or owner}: {key} cannot be told from its namesakes; left out")
                continue
            name = field_name(_local(key), [one.name for one in made])
            mark = ATTRIBUTE if is_attribute and shared else ""
            xpath = written if shared and not is_attribute else None
            made.append(self._field(member, objects, name, mark + written, owner, path, xpath, key))
        if seen.mixed or (seen.parents and seen.texts.filled):
            self.scalars.doubts.append(f"{path or owner}: has text beside its elements, which is left out")
        elif seen.texts.filled:
            here = f"{path}.text()" if path else "text()"
            key = path.rpartition(".")[2] or owner
            one, is_null = self._element_type(
                Seen(seen.count, texts=seen.texts, blank=seen.blank), key, here, owner, of_many=False
            )
            name = field_name("text", [one.name for one in made])
            made.append(FieldSpec(name, one.or_none() if is_null else one, "None" if is_null else None, None, "text()"))
        return made

    def _written(self, key: str, *, alone: bool) -> str | None:
        """An element or attribute as a path names it: with a prefix where there are others of its local name."""
        uri, _, name = key.removeprefix(ATTRIBUTE).rpartition("}")
        if not NAME.match(name):
            return None
        if alone:
            return name
        prefix = self.namespaces.get(uri[1:])
        if prefix is None:
            return None
        self.prefixes[prefix] = uri[1:]
        return f"{prefix}:{name}"


def _local(key: str) -> str:
    return key.removeprefix(ATTRIBUTE).rpartition("}")[2]
