"""Paths in XML: the small part of XPath that names one field or one kind of record.

Steps are joined by `/`: a name (`ID`, `cbc:ID`), `*`, `.`, `..`, and at the end `@name` or `text()`. A prefixed name
is exact, by the namespaces given; an unprefixed one matches the local name in any namespace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from assay.errors import ConfigurationError

#: A name in a path, with or without a prefix.
NAME: Final = re.compile(r"(?:(?P<prefix>[^\W\d][\w.\-]*):)?(?P<local>[^\W\d][\w.\-]*)\Z")


@dataclass(frozen=True)
class XPath:
    """Where a field stands in XML, given as `Annotated[str, assay.XPath("../cbc:ID")]`.

    Several places are joined by `|`, for records of several kinds: what is found in all of them is the value.
    What lies above the record must be closed before the record begins: attributes of its ancestors, or their
    children that stand before it.
    """

    path: str


@dataclass(frozen=True)
class Name:
    """A name to match: `uri` None means any namespace, `local` "*" any name."""

    local: str
    uri: str | None = None

    def matches(self, tag: str) -> bool:
        """Whether an element's tag in Clark notation, `{uri}local` or `local`, has this name."""
        uri, _, local = tag[1:].partition("}") if tag[:1] == "{" else ("", "", tag)
        return self.local in ("*", local) and (self.uri is None or self.uri == uri)


@dataclass(frozen=True)
class FieldPath:
    """A compiled path of a field, relative to the element of its model.

    Attributes:
        up: How many ancestors it climbs first.
        steps: Child elements to walk down.
        attribute: The attribute at its end, or None.
    """

    up: int
    steps: tuple[Name, ...]
    attribute: Name | None = None


@dataclass(frozen=True)
class RecordPath:
    """A compiled path of records: matches an element by the tail of its ancestry.

    Attributes:
        alternatives: Each a tuple of names, the record's own last.
        anchored: For each alternative, whether it begins at the root.
    """

    alternatives: tuple[tuple[Name, ...], ...]
    anchored: tuple[bool, ...]

    def matches(self, ancestry: list[str]) -> bool:
        """Whether the element whose tags from the root are `ancestry` is a record."""
        for names, anchored in zip(self.alternatives, self.anchored, strict=True):
            if len(ancestry) < len(names) or (anchored and len(ancestry) != len(names)):
                continue
            if all(name.matches(tag) for name, tag in zip(names, ancestry[-len(names) :], strict=True)):
                return True
        return False


#: Without a path, the records are the children of the root.
CHILDREN_OF_ROOT: Final = RecordPath(((Name("*"), Name("*")),), (True,))


def parse_name(text: str, namespaces: Mapping[str, str], where: str) -> Name:
    """Compile one name.

    Raises:
        ConfigurationError: not a name, or a prefix that `namespaces` does not have.
    """
    if text == "*":
        return Name("*")
    found = NAME.match(text)
    if not found:
        raise ConfigurationError(
            f'"{text}" is not a name; a path has names, *, ".", "..", and at its end @name or text()',
            where=where,
        )
    prefix = found["prefix"]
    if prefix is None:
        return Name(found["local"])
    if prefix not in namespaces:
        known = ", ".join(namespaces) or "none"
        raise ConfigurationError(f'prefix "{prefix}" is not in namespaces (known: {known})', where=where)
    return Name(found["local"], namespaces[prefix])


def parse_record_path(path: str | None, namespaces: Mapping[str, str]) -> RecordPath:
    """Compile the path of records: a row tag (`book`), a path (`orders/order`, `/Invoice`), several joined by `|`."""
    if path is None:
        return CHILDREN_OF_ROOT
    where = f'record="{path}"'
    alternatives, anchored = [], []
    for one in path.split("|"):
        text = one.strip()
        names = text.removeprefix("/").split("/")
        alternatives.append(tuple(parse_name(name, namespaces, where) for name in names))
        anchored.append(text.startswith("/"))
    return RecordPath(tuple(alternatives), tuple(anchored))


def parse_field_path(path: str, namespaces: Mapping[str, str], where: str) -> FieldPath:
    """Compile the path of a field."""
    up, steps, attribute = 0, list[Name](), None
    parts = path.split("/")
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "..":
            if steps:
                raise ConfigurationError(f'".." must stand at the beginning of "{path}"', where=where)
            up += 1
        elif part == "." or (part == "text()" and last):
            continue
        elif part.startswith("@") and last:
            attribute = parse_name(part[1:], namespaces, where)
        else:
            steps.append(parse_name(part, namespaces, where))
    return FieldPath(up, tuple(steps), attribute)
