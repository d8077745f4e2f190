"""A forward cursor over JSON text in a stream: finds where values begin and end without parsing them.

It is exact about strings and escapes and holds one chunk plus, at most, one record. What lies between the brackets
of a record is left to the JSON parser; what encloses the records (arrays, keys on the path) is checked here.
"""

from __future__ import annotations

import re
from typing import BinaryIO, Final

import numpy as np

from assay.errors import SourceError
from assay.reading.block import PAD
from assay.reading.json_text import Elements, elements

CHUNK: Final = 1024 * 1024
#: So deep may brackets be nested before it takes too long to find the end of the record.
_STACK: Final = 1_000_000
_SPACE: Final = b" \t\r\n"
_NON_SPACE: Final = re.compile(rb"[^ \t\r\n]")
#: Runs over scalars, punctuation and whole strings to the next bracket (or to a string that the chunk cuts).
_TO_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_IN_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SCALAR_END: Final = re.compile(rb'[\s,\]}{\["]')


class JsonCursor:
    """Stands at a byte of the stream.

    Attributes:
        offset: Byte offset of the position; line: its 1-based line number.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.name = str(getattr(stream, "name", "<stream>"))
        self.line = 1
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self._base = 0
        self._ended = False

    @property
    def offset(self) -> int:
        """Byte offset of the position in the stream."""
        return self._base + self._at

    def fail(self, message: str, record: int | None = None) -> SourceError:
        """A SourceError at this place."""
        return SourceError(message, file=self.name, offset=self.offset, record=record)

    def peek(self) -> bytes:
        """Skip white space; the next byte, or b"" at the end."""
        while True:
            found = _NON_SPACE.search(self._buffer, self._at)
            if found:
                self._move(found.start())
                return self._buffer[self._at : self._at + 1]
            self._move(len(self._buffer))
            if not self._fill():
                return b""

    def head(self, size: int) -> bytes:
        """The next bytes that are in the buffer, at most `size`; for telling encodings."""
        return self._buffer[self._at : self._at + size]

    def elements(self, size: int) -> tuple[bytes, Elements]:
        """Whole elements of the array in which the position is, from here on, of so many bytes together.

        Returns:
            Text and `PAD`, and where in it the elements are; the position is behind the last one then.
        """
        while len(self._buffer) - self._at < size and self._fill(size):
            pass
        view = np.frombuffer(self._buffer, np.uint8, offset=self._at)
        found = elements(view)
        if not len(found.ends):
            return PAD, found
        end = self._at + int(found.ends[-1])
        text = b"".join((memoryview(self._buffer)[self._at : end], PAD))
        self._move(end)
        return text, found

    def take(self, byte: bytes) -> bool:
        """Step over `byte` if it is next (white space skipped)."""
        if self.peek() != byte:
            return False
        self._move(self._at + 1)
        return True

    def string(self, limit: int) -> bytes:
        """Step over the string that begins here; its bytes with the quotes, cut at `limit` + 1."""
        kept = _Kept(limit)
        self._string_into(kept)
        return kept.data()

    def value(self, limit: int) -> tuple[bytes, int, int]:
        """Step over the value that begins here.

        Args:
            limit: Bytes of the value that are kept; the rest is passed over.

        Returns:
            Its bytes (cut at `limit` + 1), its length and its greatest depth of nesting.
        """
        first = self.peek()
        if first in b"{[" and first:
            return self._bracketed(limit)
        kept = _Kept(limit)
        if first == b'"':
            self._string_into(kept)
            return kept.data(), kept.length, 0
        while True:
            found = _SCALAR_END.search(self._buffer, self._at)
            end = found.start() if found else len(self._buffer)
            kept.add(self._buffer[self._at : end])
            self._move(end)
            if found or not self._fill():
                break
        if not kept.length:
            raise self.fail(f"expected a value, found {first.decode('latin-1')!r}")
        return kept.data(), kept.length, 0

    def _bracketed(self, limit: int) -> tuple[bytes, int, int]:
        kept = _Kept(limit)
        open_brackets = deepest = 0
        while True:
            found = _TO_BRACKET.match(self._buffer, self._at)
            end = found.end() if found else self._at
            byte = self._buffer[end : end + 1]
            if byte == b'"':
                kept.add(self._buffer[self._at : end])
                self._move(end)
                self._string_into(kept)
                continue
            kept.add(self._buffer[self._at : end + 1])
            self._move(end + len(byte))
            if not byte:
                if not self._fill():
                    raise self.fail(f"the file ends inside a record ({open_brackets} brackets open)")
            elif byte in b"{[":
                open_brackets += 1
                if open_brackets > _STACK:
                    raise self.fail(f"brackets are nested more than {_STACK:,} deep")
                deepest = max(deepest, open_brackets)
            else:
                open_brackets -= 1
                if not open_brackets:
                    return kept.data(), kept.length, deepest

    def _string_into(self, kept: _Kept) -> None:
        at = self._at + 1
        while True:
            found = _IN_STRING.match(self._buffer, at)
            end = found.end() if found else at
            closed = self._buffer[end : end + 1] == b'"'
            kept.add(self._buffer[self._at : end + closed])
            self._move(end + closed)
            if closed:
                return
            if not self._fill():
                raise self.fail("the file ends inside a string; get the file again")
            at = self._at

    def _move(self, to: int) -> None:
        self.line += self._buffer.count(b"\n", self._at, to)
        self._at = to

    def _fill(self, size: int = CHUNK) -> bool:
        chunk = b"" if self._ended else self._stream.read(size)
        if not chunk:
            self._ended = True
            return False
        self._base += self._at
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return True


class _Kept:
    """Collects bytes up to a limit and counts them all."""

    def __init__(self, limit: int) -> None:
        self.length = 0
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        self.length += len(data)
        room = self._limit + 1 - self._size
        if room > 0:
            part = data[:room]
            self._parts.append(part)
            self._size += len(part)

    def data(self) -> bytes:
        return b"".join(self._parts)
