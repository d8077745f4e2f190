"""What was seen of values: kinds, digits, distinct texts, members; bounded, however many records there are."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from assay.reading.texts import BLANKS

#: Distinct texts that are kept of one field, and how long they may be.
DISTINCT: Final = 24
LONGEST: Final = 40
#: Members of one object that are told apart.
_MEMBERS: Final = 2_000
#: More members than this, each in few objects, are the keys of a mapping.
_MAPPING: Final = 100
#: Deeper values are not looked at.
_DEPTH: Final = 16
#: Digits that no column holds: what is longer need not be counted.
_MANY: Final = 1_000

#: What has no kind at all is most of all texts: this tells it quickly.
_WORTH: Final = re.compile(r"\A[-+.0-9$€£¥a-fA-F].*[0-9a-fA-FZ$€£¥]\Z|\A[0-9]\Z", re.DOTALL)
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]*)?(?:\.([0-9]+))?\Z")
_PADDED: Final = re.compile(r"\+[0-9 ()./-]+\Z|0[0-9]+\Z")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?\Z")
_DATETIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r"(Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])?\Z"
)
_MIDNIGHT: Final = re.compile(r".{10}[T ]00:00(?::00(?:\.0+)?)?\Z")
#: What people write and Pydantic does not read: said as a doubt.
_LOOKALIKES: Final = {
    "decimals with a comma": re.compile(r"-?[0-9]{1,3}(?:[.' ]?[0-9]{3})*,[0-9]{1,2}\Z"),
    "numbers with separators of thousands": re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?\Z"),
    "dates that are not written YYYY-MM-DD": re.compile(r"[0-9]{1,2}[./-][0-9]{1,2}[./-](?:[0-9]{2}){1,2}\Z"),
    "amounts with a sign of currency": re.compile(r"-?(?:[$€£¥] ?[0-9][0-9.,]*|[0-9][0-9.,]* ?[$€£¥])\Z"),
}


@dataclass
class Numbers:
    """Numbers, or texts that are some.

    Attributes:
        count: How many.
        integers: How many of them are written as integers.
        unbounded: How many are no number or infinite.
        whole: Most digits before the point.
        places: How often there were so many digits behind it, zeros at the end not counted.
        example: Of each number of places, one.
    """

    count: int = 0
    integers: int = 0
    unbounded: int = 0
    whole: int = 1
    is_over_64_bits: bool = False
    places: Counter[int] = field(default_factory=Counter)
    example: dict[int, str] = field(default_factory=dict)

    def note_int(self, value: int) -> None:
        """See a JSON integer."""
        self.count += 1
        self.integers += 1
        self.places[0] += 1
        self.is_over_64_bits |= value.bit_length() > 63
        self.whole = max(self.whole, _MANY if value.bit_length() > 3 * _MANY else len(str(abs(value))))

    def note_float(self, value: float) -> None:
        """See another JSON number: its shortest text is what Pydantic makes a Decimal of."""
        self.count += 1
        if not math.isfinite(value):
            self.unbounded += 1
            return
        text = f"{Decimal(repr(value)):f}"
        whole, _, fraction = text.lstrip("-").partition(".")
        self._note_digits(whole, fraction, text)

    def note_text(self, text: str, whole: str, fraction: str) -> None:
        """See a text that is a number."""
        self.count += 1
        if not fraction:
            self.integers += 1
            self.is_over_64_bits |= len(whole) > 18 and not -(2**63) <= Decimal(text) < 2**63
        self._note_digits(whole, fraction, text)

    def _note_digits(self, whole: str, fraction: str, text: str) -> None:
        self.whole = max(self.whole, len(whole))
        places = len(fraction.rstrip("0"))
        self.places[places] += 1
        self.example.setdefault(places, text[:LONGEST])


@dataclass
class Texts:
    """Texts.

    Attributes:
        count: How many.
        empty: How many of them were empty (of formats that have only texts: or blank).
        padded: How many begin with a plus, or with a zero that no number has.
        kinds: How many of the others were of a kind: integer, decimal, bool, date, naive, aware, time, uuid, midnight.
        numbers: Those that are.
        distinct: Each with how often it occurred; None where they are too many or too long.
        other: The first one of no kind.
        lookalikes: What some look like that Pydantic does not read, with an example.
    """

    count: int = 0
    empty: int = 0
    padded: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    numbers: Numbers = field(default_factory=Numbers)
    distinct: Counter[str] | None = field(default_factory=Counter)
    other: str | None = None
    lookalikes: dict[str, str] = field(default_factory=dict)

    @property
    def filled(self) -> int:
        """How many were not empty."""
        return self.count - self.empty

    def note(self, text: str, *, trimmed: bool) -> None:
        """See one, of which blanks at its ends do not count where it is `trimmed`."""
        self.count += 1
        if trimmed:
            text = text.strip(BLANKS)
        if not text:
            self.empty += 1
            return
        if self.distinct is not None:
            self.distinct[text] += 1
            if len(self.distinct) > DISTINCT or len(text) > LONGEST:
                self.distinct = None
        if not self._note_kind(text) and self.other is None:
            self.other = text[:LONGEST]

    def _note_kind(self, text: str) -> bool:
        """Count its kind; whether it has one."""
        if text.lower() in ("true", "false"):
            self.kinds["bool"] += 1
            return True
        if not _WORTH.search(text):
            return False
        found = _DECIMAL.match(text)
        if found and (found[1] or found[2]):
            self.kinds["integer" if _INTEGER.match(text) else "decimal"] += 1
            self.numbers.note_text(text, found[1] or "", found[2] or "")
        elif _PADDED.match(text):
            self.padded += 1
        elif _UUID.match(text):
            self.kinds["uuid"] += 1
        elif kind := _moment(text):
            self.kinds[kind] += 1
            if _MIDNIGHT.match(text):
                self.kinds["midnight"] += 1
        else:
            for words, pattern in _LOOKALIKES.items():
                if pattern.match(text):
                    self.lookalikes.setdefault(words, text)
                    break
            return False
        return True


def _moment(text: str) -> str | None:
    """Whether it is a date, a datetime (naive or aware) or a time, as ISO 8601 writes them."""
    found = _DATETIME.match(text)
    try:
        if _DATE.match(text):
            dt.date.fromisoformat(text)
            return "date"
        if found:
            dt.datetime.fromisoformat(found[1])
            return "aware" if found[2] else "naive"
        if _TIME.match(text):
            dt.time.fromisoformat(text)
            return "time"
    except ValueError:
        return None
    return None


@dataclass
class Member:
    """A member of objects: in how many it was, whether several times in one (XML), and what."""

    seen: Seen
    present: int = 0
    is_repeated: bool = False


@dataclass
class Seen:
    """All values that were seen at one place.

    Attributes:
        count: How many, nulls among them.
        objects: How many were objects; of XML: elements with children or attributes.
        hollow: XML: elements with nothing at all.
        blank: XML: elements with nothing but white space.
        mixed: XML: elements with children and text.
        parents: XML: elements with children.
        values: The values of all members together, where the object is a mapping.
        is_opaque: Nothing can be said of it but that it is there.
        is_attribute: XML: these are values of an attribute.
    """

    count: int = 0
    nulls: int = 0
    bools: int = 0
    numbers: Numbers = field(default_factory=Numbers)
    texts: Texts = field(default_factory=Texts)
    objects: int = 0
    arrays: int = 0
    hollow: int = 0
    blank: int = 0
    mixed: int = 0
    parents: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    values: Seen | None = None
    items: Seen | None = None
    is_opaque: bool = False
    is_attribute: bool = False

    def note(self, value: Any, depth: int = 0, *, trimmed: bool = False) -> None:
        """See one more value, as JSON has them."""
        self.count += 1
        match value:
            case None:
                self.nulls += 1
            case bool():
                self.bools += 1
            case int():
                self.numbers.note_int(value)
            case float():
                self.numbers.note_float(value)
            case str():
                self.texts.note(value, trimmed=trimmed)
            case _ if depth > _DEPTH:
                self.is_opaque = True
            case dict():
                self.note_object(value, depth, trimmed=trimmed)
            case list():
                self.arrays += 1
                self.items = self.items or Seen()
                for item in value:
                    self.items.note(item, depth + 1, trimmed=trimmed)

    def note_object(self, value: Mapping[str, Any], depth: int, *, trimmed: bool) -> None:
        """See the members of an object."""
        self.objects += 1
        if self.values is None and depth and self._is_mapping(value):
            self.values, self.members = Seen(), {}
        for key, one in value.items():
            if self.values is not None:
                self.values.note(one, depth + 1, trimmed=trimmed)
            elif (member := self.member(key)) is not None:
                member.present += 1
                member.seen.note(one, depth + 1, trimmed=trimmed)

    def member(self, key: str) -> Member | None:
        """The member of that name, made where it is new; None where there are too many."""
        member = self.members.get(key)
        if member is None and len(self.members) < _MEMBERS:
            member = self.members[key] = Member(Seen())
        return member

    def opaque_paths(self, path: str) -> Iterator[str]:
        """Where values were that were not looked at."""
        if self.is_opaque:
            yield path
        for key, member in self.members.items():
            yield from member.seen.opaque_paths(f"{path}.{key}")

    def _is_mapping(self, value: Mapping[str, Any]) -> bool:
        keys = len(self.members.keys() | value.keys())
        present = sum(member.present for member in self.members.values()) + len(value)
        return keys > _MAPPING and (self.objects == 1 or present < keys * self.objects / 2)
