"""What is seen of elements of XML: their attributes, children and texts, before any model says what they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from lxml import etree

from assay.inference.classes import ATTRIBUTE
from assay.inference.seen import Member, Seen
from assay.reading.texts import BLANKS
from assay.reading.xml_object import XSI

_NIL = f"{{{XSI}}}nil"
#: Deeper elements are not looked at.
_DEPTH = 16


def note_element(
    seen: Seen, element: etree._Element, on_name: Callable[[str, str | None], None], depth: int = 0
) -> None:
    """See one more element.

    Args:
        seen: What was seen of such elements.
        element: The element.
        on_name: Called with each namespace and the prefix that the document has for it.
        depth: How deep it lies.
    """
    seen.count += 1
    if element.get(_NIL) in ("true", "1"):
        seen.nulls += 1
        return
    if depth > _DEPTH:
        seen.is_opaque = True
        return
    attributes = {
        str(key): str(value) for key, value in element.attrib.items() if not str(key).startswith(f"{{{XSI}}}")
    }
    children = [child for child in element if isinstance(child.tag, str)]
    _note_text(seen, element, has_children=bool(children), has_attributes=bool(attributes))
    for key, value in attributes.items():
        if (member := _present(seen, ATTRIBUTE + key)) is not None:
            member.seen.is_attribute = True
            member.seen.note(value, trimmed=True)
    counts = Counter(str(child.tag) for child in children)
    members = {tag: _present(seen, tag) for tag in counts}
    for child in children:
        tag = str(child.tag)
        on_name(tag, child.prefix)
        if (member := members[tag]) is not None:
            member.is_repeated |= counts[tag] > 1
            note_element(member.seen, child, on_name, depth + 1)


def _present(seen: Seen, key: str) -> Member | None:
    member = seen.member(key)
    if member is not None:
        member.present += 1
    return member


def _note_text(seen: Seen, element: etree._Element, *, has_children: bool, has_attributes: bool) -> None:
    own = [element.text or "", *(child.tail or "" for child in element)]
    text = "".join(own)
    if has_children:
        seen.parents += 1
        seen.mixed += bool(text.strip(BLANKS))
        return
    seen.texts.note(text, trimmed=True)
    seen.blank += bool(text) and not text.strip(BLANKS)
    seen.hollow += not (text or has_attributes)
