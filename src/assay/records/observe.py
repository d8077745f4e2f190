"""What records look like: the order of their keys, the kinds of their values, their white space, from a sample.

An observation decides how records are read, never whether they are right: a record that looks otherwise is judged by
the reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson

Kind = Literal["null", "bool", "number", "text", "object", "array"]

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[ \t\r\n]+|[^ \t\r\n{}\[\]:,"]+', re.DOTALL)
_SCALARS: Final[dict[bytes, Kind]] = {b'"': "text", b"t": "bool", b"f": "bool", b"n": "null"}
_SPACE: Final = b" \t\r\n"
#: Deeper nesting is left to the reference.
_DEEPEST: Final = 50
#: So many keys may an object have, in all records together.
_WIDEST: Final = 1_000
#: Longer names are left to the reference: they are compared in all records at once.
_LONGEST: Final = 200


class _NoJsonError(Exception):
    """What is looked at is not JSON, or is nested too deeply."""


@dataclass
class Gaps:
    """White space in an object or array.

    Attributes:
        opening: Behind the opening bracket.
        colon: Around the colons; the first is before, the second behind.
        comma: Around the commas.
        closing: Before the closing bracket.
    """

    opening: bytes = b""
    colon: tuple[bytes, bytes] = (b"", b"")
    comma: tuple[bytes, bytes] = (b"", b"")
    closing: bytes = b""


@dataclass
class Observed:
    """A value as it was seen.

    Attributes:
        kinds: Of what kinds it was.
        keys: Of an object: its members by their keys as they are written, in the order in which they come.
        items: Of an array: all of its items together.
        gaps: Of an object, and of an array: its white space, as it was seen first.
        count: How often it was seen.
    """

    kinds: set[Kind] = field(default_factory=set)
    keys: dict[str, Observed] = field(default_factory=dict)
    items: Observed | None = None
    gaps: dict[Kind, Gaps] = field(default_factory=dict)
    count: int = 0

    def note_json(self, data: bytes) -> None:
        """See one more JSON text; what is none is passed over."""
        try:
            orjson.loads(data)
            _Reader(data).value(self, 0)
        except (orjson.JSONDecodeError, _NoJsonError):
            return

    def order(self, keys: list[str]) -> None:
        """Put keys that are new behind those that they follow."""
        order = list(self.keys)
        place = 0
        for key in keys:
            if key in self.keys:
                place = order.index(key) + 1
            else:
                order.insert(place, key)
                place += 1
                self.keys[key] = Observed()
        self.keys = {key: self.keys[key] for key in order}


class _Reader:
    """Reads a valid JSON text once more, for what a parser throws away."""

    def __init__(self, data: bytes) -> None:
        self._tokens: Iterator[re.Match[bytes]] = _TOKEN.finditer(data)
        self._token = b""
        self._space = b""
        self._step()

    def _step(self) -> bytes:
        """The white space before the next token, which becomes the current one."""
        self._space = b""
        self._token = b""
        for found in self._tokens:
            token = found.group()
            if token[0] in _SPACE:
                self._space = token
                continue
            self._token = token
            break
        return self._space

    def value(self, seen: Observed, depth: int) -> None:
        if depth > _DEEPEST or not self._token:
            raise _NoJsonError
        seen.count += 1
        match self._token:
            case b"{":
                seen.kinds.add("object")
                self._object(seen, depth)
            case b"[":
                seen.kinds.add("array")
                self._array(seen, depth)
            case _:
                seen.kinds.add(_SCALARS.get(self._token[:1], "number"))
                self._step()

    def _object(self, seen: Observed, depth: int) -> None:
        gaps = Gaps()
        gaps.opening = self._step()
        keys: list[tuple[str, Observed]] = []
        while self._token != b"}":
            key = self._token[1:-1].decode()
            if len(key) > _LONGEST:
                raise _NoJsonError
            before = self._step()
            gaps.colon = (before, self._step())
            one = Observed()
            self.value(one, depth + 1)
            keys.append((key, one))
            if len(seen.keys) + len(keys) > 2 * _WIDEST:
                raise _NoJsonError
            gaps.closing = self._space
            if self._token == b",":
                gaps.comma = (self._space, self._step())
        self._step_over(seen, "object", gaps, empty=not keys)
        seen.order([key for key, _ in keys])
        for key, one in keys:
            _merge(seen.keys[key], one)

    def _array(self, seen: Observed, depth: int) -> None:
        gaps = Gaps()
        gaps.opening = self._step()
        empty = self._token == b"]"
        while self._token != b"]":
            seen.items = seen.items or Observed()
            self.value(seen.items, depth + 1)
            gaps.closing = self._space
            if self._token == b",":
                gaps.comma = (self._space, self._step())
        self._step_over(seen, "array", gaps, empty=empty)

    def _step_over(self, seen: Observed, kind: Kind, gaps: Gaps, *, empty: bool) -> None:
        if not empty:
            known = seen.gaps.setdefault(kind, gaps)
            if known.comma == (b"", b"") != gaps.comma:
                # One member alone shows no comma.
                known.comma = gaps.comma
        self._step()


def _merge(seen: Observed, other: Observed) -> None:
    seen.count += other.count
    seen.kinds |= other.kinds
    for kind, gaps in other.gaps.items():
        known = seen.gaps.setdefault(kind, gaps)
        if known.comma == (b"", b"") != gaps.comma:
            known.comma = gaps.comma
    if other.items is not None:
        seen.items = seen.items or Observed()
        _merge(seen.items, other.items)
    seen.order(list(other.keys))
    for key, one in other.keys.items():
        _merge(seen.keys[key], one)
