"""JSON documents: one array of records (also under a path), one document, or several in a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np
import orjson
from pydantic import BaseModel

from assay.errors import ConfigurationError
from assay.reading.block import Block, gathered
from assay.reading.factory import ProcessorFactory
from assay.reading.json_stream import JsonCursor
from assay.reading.json_text import QUOTE
from assay.reading.jsonl import decode_json
from assay.reading.octets import rare
from assay.reading.raw import EXCERPT, Limits, RawRecord
from assay.reading.sniffing import SNIFFED, refuse_other

_LF: Final = 10
_BRACKETS: Final = (b"{", b"[")
#: Where fewer elements than these are found at once, so many records are found singly.
_FEW: Final = 4
_FAR: Final = 1_000


@ProcessorFactory.register("json")
class JsonProcessor:
    """Records are the elements of an array, found in a stream without reading it whole.

    Args:
        record: Path of keys to the records, such as "orders" or "data.orders". Without it they are the elements of
            the top array; a document that is no array is one record, and documents may follow each other.
        limits: Bounds on one record.
    """

    def __init__(self, *, record: str | None = None, limits: Limits | None = None) -> None:
        self._path = [key.encode() for key in record.split(".")] if record else []
        if b"" in self._path:
            raise ConfigurationError(f'record="{record}" is not a path of keys such as "data.orders"')
        self._limits = limits or Limits()

    def process(self, data: bytes) -> Any:
        """Parse one record (strict RFC 8259)."""
        return decode_json(data)

    def json_for(self, model: type[BaseModel]) -> None:
        """The verdict is given on the record's own bytes."""

    def split(self, stream: BinaryIO) -> Iterator[RawRecord]:
        """Find the records of a stream, holding one chunk and one record at a time.

        Raises:
            SourceError: what encloses the records is not JSON, or ends early; records before it have been given.
        """
        for found in self._found(stream, 0):
            if isinstance(found, RawRecord):
                yield found

    def blocks(self, stream: BinaryIO, size: int) -> Iterator[Block]:
        """Find the records of a stream, many at a time where they are elements of an array.

        Raises:
            SourceError: as `split` does.
        """
        yield from gathered(self._found(stream, size), size)

    def _found(self, stream: BinaryIO, size: int) -> Iterator[RawRecord | Block]:
        cursor = JsonCursor(stream)
        walk = _Walk(cursor, self._limits, size)
        cursor.peek()
        refuse_other(cursor.head(SNIFFED), cursor.name, "json")
        if cursor.head(3) == b"\xef\xbb\xbf":
            raise cursor.fail("begins with a byte order mark, which JSON forbids; remove its first 3 bytes")
        while cursor.peek():
            if self._path:
                yield from walk.down(self._path)
            else:
                yield from walk.records()


class _Walk:
    """One pass over a stream; counts records through all its documents.

    Elements of an array come in blocks of about `size` bytes, or singly where it is 0.
    """

    def __init__(self, cursor: JsonCursor, limits: Limits, size: int) -> None:
        self.cursor = cursor
        self._size = size
        #: Up to this record the exact way is taken.
        self._singly = 0
        self._limits = limits
        self._count = 0

    def records(self) -> Iterator[RawRecord | Block]:
        """The elements of the array that begins here, or the one value."""
        cursor = self.cursor
        if not cursor.take(b"["):
            yield self._record()
            return
        if cursor.take(b"]"):
            return
        while True:
            if cursor.peek() in (b"]", b","):
                raise cursor.fail("an array of records has a comma too many", self._count)
            yield self._elements() or self._record()
            if cursor.take(b","):
                continue
            if cursor.take(b"]"):
                return
            found = cursor.peek()
            if not found:
                raise cursor.fail("the file ends inside its array of records; get the file again", self._count)
            raise cursor.fail(f"expected a comma or ] after a record, found {found.decode('latin-1')!r}", self._count)

    def down(self, path: list[bytes]) -> Iterator[RawRecord | Block]:
        """The records under a path of keys in the object that begins here."""
        cursor = self.cursor
        key, rest = path[0], path[1:]
        if not cursor.take(b"{"):
            raise cursor.fail(f"expected an object with the key {_shown(key)}", self._count)
        keys: list[bytes] = []
        more = not cursor.take(b"}")
        while more:
            name = self._key()
            if name == key and key in keys:
                raise cursor.fail(f"the key {_shown(key)} that holds the records occurs twice", self._count)
            if len(keys) < 20 or name == key:
                keys.append(name)
            if name != key:
                cursor.value(0)
            elif rest:
                yield from self.down(rest)
            else:
                yield from self.records()
            if cursor.take(b"}"):
                more = False
            elif not cursor.take(b","):
                ended = not cursor.peek()
                raise cursor.fail("the file ends early" if ended else "expected a comma or }", self._count)
        if key not in keys:
            found = ", ".join(_shown(k) for k in keys) or "none"
            raise cursor.fail(f"no key {_shown(key)} where the records should be; keys here: {found}", self._count)

    def _key(self) -> bytes:
        cursor = self.cursor
        if cursor.peek() != b'"':
            raise cursor.fail("expected a key in quotes", self._count)
        quoted = cursor.string(self._limits.max_record_bytes)
        if not cursor.take(b":"):
            raise cursor.fail("expected a colon after a key", self._count)
        try:
            return str(orjson.loads(quoted)).encode()
        except orjson.JSONDecodeError:
            raise cursor.fail("a key is not JSON text", self._count) from None

    def _elements(self) -> Block | None:
        """The elements that come next, as far as they are plain; None where only the exact way goes on."""
        cursor, limits = self.cursor, self._limits
        if not self._size or self._count < self._singly or cursor.peek() not in _BRACKETS:
            return None
        offset, line = cursor.offset, cursor.line
        text, found = cursor.elements(self._size)
        starts, ends = found.starts, found.ends
        if len(starts) < _FEW:
            # A look ahead is dear where it finds little.
            self._singly = self._count + _FAR
        if not len(starts):
            return None
        newlines = rare(np.frombuffer(text, np.uint8) == _LF)
        problems = {row: limits.too_deep() for row in np.flatnonzero(found.depths > limits.max_record_depth).tolist()}
        for row in np.flatnonzero(ends - starts > limits.max_record_bytes).tolist():
            problems[row] = limits.too_long(int(ends[row] - starts[row]))
            ends[row] = min(ends[row], starts[row] + min(EXCERPT, limits.max_record_bytes + 1))
        records = np.arange(self._count, self._count + len(starts))
        self._count += len(starts)
        lines = np.searchsorted(newlines, starts) + line
        marks = (QUOTE, found.quotes)
        return Block(text, starts, ends, records, starts + offset, lines, problems, marks=marks)

    def _record(self) -> RawRecord:
        cursor = self.cursor
        cursor.peek()
        offset, line, number = cursor.offset, cursor.line, self._count
        data, length, depth = cursor.value(self._limits.max_record_bytes)
        self._count += 1
        if length > self._limits.max_record_bytes:
            return RawRecord(data[:EXCERPT], number, line, offset, self._limits.too_long(length))
        if depth > self._limits.max_record_depth:
            return RawRecord(data, number, line, offset, self._limits.too_deep())
        return RawRecord(data, number, line, offset)


def _shown(key: bytes) -> str:
    return f'"{key.decode("utf-8", "replace")}"'
