"""What XML records look like: their elements in order, attributes, and the white space between, from a sample."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from assay.errors import ValidationError
from assay.reading.xml import parse_hardened, record_of

_TOKEN: Final = re.compile(
    rb"""(?P<start><[^\s<>/!?&"'=]+(?P<attributes>(?:\s+[^\s<>/"'=]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(?P<empty>/?)>)"""
    rb"|(?P<end></[^\s<>]+\s*>)|(?P<text>[^<]+)"
)
_ATTRIBUTE: Final = re.compile(rb"""(\s+[^\s<>/"'=]+\s*=\s*)(["'])(.*?)\2""", re.DOTALL)
_SPACE: Final = b" \t\r\n"
#: Records that have more elements are left to the reference.
_MOST: Final = 2_000
_MOST_ATTRIBUTES: Final = 100
#: Longer names are left to the reference: they are compared in all records at once.
_LONGEST: Final = 200
#: An element that comes with more different sets of attributes is left to it, too.
_MOST_STARTS: Final = 8


class _NotPlainError(Exception):
    """The record has more than elements, attributes and text."""


@dataclass
class Attribute:
    """An attribute in a start tag.

    Attributes:
        tag: Its name in Clark notation.
        before: What stands before its value, and the mark in which the value is.
        values: The values that were seen, as they are written; some of them.
    """

    tag: str
    before: bytes
    mark: bytes
    values: set[bytes] = field(default_factory=set)


@dataclass
class StartTag:
    """A start tag with certain attributes.

    Attributes:
        opening: `<` and the name.
        attributes: Its attributes, in order.
        closing: What stands behind them: `>` or `/>`, and white space before.
    """

    opening: bytes
    attributes: list[Attribute]
    closing: bytes

    @property
    def is_empty(self) -> bool:
        """Whether it is an end tag as well."""
        return self.closing.endswith(b"/>")


@dataclass
class Element:
    """An element as it was seen, in all records together.

    Attributes:
        tag: Its name in Clark notation.
        end: Its end tag; empty where none was seen.
        gap: White space before it.
        last_gap: White space before its end tag, where it has children.
        starts: Its start tags, by the names of their attributes and whether they are empty.
        children: Its children by name, in the order in which they come.
        count: How often it was seen.
        most: How often it stood one behind the other.
        has_text: Whether text without children was seen in it.
    """

    tag: str
    gap: bytes
    end: bytes = b""
    last_gap: bytes = b""
    starts: dict[tuple[bytes, ...], StartTag] = field(default_factory=dict)
    children: dict[bytes, Element] = field(default_factory=dict)
    count: int = 0
    most: int = 1
    has_text: bool = False


def observe(records: Sequence[bytes], head: bytes, tail: bytes) -> Element | None:
    """What some records look like, all together; those that are not plain are passed over.

    Args:
        records: Their bytes.
        head: What stands before each, so that it can be read.
        tail: What stands behind each.
    """
    seen: Element | None = None
    for data in records:
        try:
            element = record_of(parse_hardened(head + data + tail))
            reader = _Reader(data)
            seen = reader.element(element, seen, b"")
        except (_NotPlainError, ValidationError):
            continue
    return seen


class _Reader:
    """Reads a record once more, for what a parser throws away."""

    def __init__(self, data: bytes) -> None:
        self._tokens = list(_tokens(data))
        self._at = 0

    def _next(self) -> re.Match[bytes]:
        if self._at >= len(self._tokens):
            raise _NotPlainError
        self._at += 1
        return self._tokens[self._at - 1]

    def element(self, element: etree._Element, seen: Element | None, gap: bytes) -> Element:
        """See the element that begins here."""
        start = self._next()
        if start["start"] is None:
            raise _NotPlainError
        seen = seen if seen is not None else Element(str(element.tag), gap)
        if seen.tag != element.tag:
            raise _NotPlainError
        seen.count += 1
        _note_start(seen, start, element)
        if start["empty"]:
            return seen
        children = [child for child in element if isinstance(child.tag, str)]
        if children:
            self._children(children, seen)
        else:
            end = self._next()
            if end["text"] is not None:
                end = self._next()
            seen.has_text = True
            seen.end = end.group()
        if not seen.end.startswith(b"</"):
            raise _NotPlainError
        return seen

    def _children(self, children: list[etree._Element], seen: Element) -> None:
        order: list[bytes] = []
        previous, run = b"", 0
        for child in children:
            gap = self._gap()
            name = _name(self._tokens[self._at])
            run = run + 1 if name == previous else 1
            if run == 1 and name in order:
                raise _NotPlainError
            if run == 1:
                order.append(name)
            made = self.element(child, seen.children.get(name), gap)
            made.most = max(made.most, run)
            if name not in seen.children:
                _insert(seen, name, made, order)
            previous = name
        seen.last_gap = self._gap()
        seen.end = self._next().group()

    def _gap(self) -> bytes:
        if self._at < len(self._tokens) and self._tokens[self._at]["text"] is not None:
            text = self._next().group()
            if text.strip(_SPACE):
                raise _NotPlainError
            return text
        return b""


def _tokens(data: bytes) -> Iterator[re.Match[bytes]]:
    place = 0
    count = 0
    while place < len(data):
        found = _TOKEN.match(data, place)
        count += 1
        if not found or count > 3 * _MOST:
            raise _NotPlainError
        yield found
        place = found.end()


def _name(token: re.Match[bytes]) -> bytes:
    if token["start"] is None:
        raise _NotPlainError
    return re.split(rb"[\s/>]", token["start"][1:], maxsplit=1)[0]


def _note_start(seen: Element, start: re.Match[bytes], element: etree._Element) -> None:
    written = [(found[1], found[2], found[3]) for found in _ATTRIBUTE.finditer(start["attributes"])]
    names = [before.strip(_SPACE + b"=") for before, _, _ in written]
    declares = [name == b"xmlns" or name.startswith(b"xmlns:") for name in names]
    given = iter(element.attrib)
    # A declaration of a namespace is no attribute to lxml; what it declares is part of what the tag is.
    tags = ["" if is_declaration else str(next(given, "")) for is_declaration in declares]
    if len(element.attrib) != declares.count(False) or len(tags) > _MOST_ATTRIBUTES:
        raise _NotPlainError
    if len(_name(start)) > _LONGEST or any(len(name) > _LONGEST for name in names):
        raise _NotPlainError
    values = [value if is_declaration else b"" for is_declaration, (_, _, value) in zip(declares, written, strict=True)]
    # They must be compared as they are written.
    if any(len(value) > _LONGEST or b"&" in value for value in values):
        raise _NotPlainError
    key = (*names, *values, start["empty"])
    known = seen.starts.get(key)
    if known is None:
        if len(seen.starts) >= _MOST_STARTS:
            raise _NotPlainError
        opening = b"<" + _name(start)
        closing = start["start"][len(opening) + len(start["attributes"]) :]
        attributes = [Attribute(tag, before, mark) for tag, (before, mark, _) in zip(tags, written, strict=True)]
        known = seen.starts[key] = StartTag(opening, attributes, closing)
    for attribute, (_, _, value) in zip(known.attributes, written, strict=True):
        if len(attribute.values) < 3:
            attribute.values.add(value)


def _insert(seen: Element, name: bytes, made: Element, order: list[bytes]) -> None:
    """Put a child that is new behind the one that it follows."""
    names = list(seen.children)
    place = names.index(order[-2]) + 1 if len(order) > 1 else 0
    names.insert(place, name)
    seen.children[name] = made
    seen.children = {one: seen.children[one] for one in names}
