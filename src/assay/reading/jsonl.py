"""JSON Lines: one record a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import orjson
from pydantic import BaseModel, RootModel

from assay.errors import SourceError, ValidationError
from assay.reading.factory import ProcessorFactory
from assay.reading.raw import EXCERPT, Limits, RawRecord
from assay.reading.sniffing import SNIFFED, is_array_of_records, refuse_document, refuse_other

CHUNK: Final = 1024 * 1024
_BLANK: Final = b" \t\r"


def decode_json(data: bytes) -> Any:
    """Parse one JSON text by RFC 8259, strictly.

    Raises:
        ValidationError: it is not JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValidationError(f"not JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole lines of a file.

    Attributes:
        data: Their bytes, newlines included.
        offset: How many bytes come before.
        too_long: Length of the one line that this is, of which `data` has only the beginning; else None.
    """

    data: bytes
    offset: int
    too_long: int | None = None

    @property
    def newlines(self) -> int:
        """How many lines end in it."""
        return self.data.count(b"\n") if self.too_long is None else 1


@ProcessorFactory.register("jsonl")
class JsonlProcessor:
    """Records are the lines; a blank line is no record.

    A line ends with LF or CRLF; a JSON string holds no raw newline, so that cutting at newlines is exact.
    """

    def __init__(self, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._of_objects = False

    def process(self, data: bytes) -> Any:
        """Parse one record (strict RFC 8259)."""
        return decode_json(data)

    def json_for(self, model: type[BaseModel]) -> Callable[[bytes], bytes]:
        """The verdict is given on the record's own bytes."""
        self._of_objects = not issubclass(model, RootModel)
        return bytes

    def split(self, stream: BinaryIO) -> Iterator[RawRecord]:
        """Cut a stream into records, holding one chunk and one record at a time."""
        record, line = 0, 0
        for chunk in self.chunks(stream, CHUNK):
            for raw in self.records(chunk, record, line):
                yield raw
                record = raw.record + 1
            line += chunk.newlines

    def chunks(self, stream: BinaryIO, size: int) -> Iterator[Chunk]:
        """Cut a stream into chunks of whole lines, of about `size` bytes each.

        A line that is longer than a record may be is a chunk of its own, of which only the beginning is kept.
        """
        name = str(getattr(stream, "name", "<stream>"))
        limit = self._limits.max_record_bytes
        offset = 0
        rest = b""
        read = stream.read(size)
        refuse_other(read, name, "jsonl")
        refuse_document(read, name)
        if self._of_objects and is_array_of_records(read):
            more = stream.read(size)
            if not more or len(read) >= SNIFFED:
                message = "looks like one JSON array of records, not JSON Lines; say format='json' or mend the suffix"
                raise SourceError(message, file=name, offset=0)
            read += more
        while read:
            end = read.rfind(b"\n") + 1
            if end:
                data = b"".join((rest, memoryview(read)[:end]))
                yield Chunk(data, offset)
                offset += len(data)
                rest = read[end:]
            else:
                rest += read
            read = b""
            if len(rest) > limit:
                length, excerpt, read = self._skip(stream, rest)
                yield Chunk(excerpt, offset, too_long=length)
                offset, rest = offset + length + 1, b""
            read = read or stream.read(size)
        if rest:
            yield Chunk(rest, offset)

    def records(self, chunk: Chunk, record: int, line: int) -> Iterator[RawRecord]:
        """The records of a chunk, before which there are so many records and lines."""
        if chunk.too_long is not None:
            yield RawRecord(chunk.data, record, line + 1, chunk.offset, self._limits.too_long(chunk.too_long))
            return
        offset = chunk.offset
        for data in chunk.data.split(b"\n"):
            line += 1
            if data.strip(_BLANK):
                yield self._record(data[:-1] if data[-1] == 13 else data, record, line, offset)
                record += 1
            offset += len(data) + 1

    def _record(self, data: bytes, record: int, line: int, offset: int) -> RawRecord:
        if len(data) > self._limits.max_record_bytes:
            return RawRecord(data[:EXCERPT], record, line, offset, self._limits.too_long(len(data)))
        return RawRecord(data, record, line, offset)

    @staticmethod
    def _skip(stream: BinaryIO, head: bytes) -> tuple[int, bytes, bytes]:
        """Run to the end of an overlong line; gives its length, its beginning, and what follows it."""
        length, excerpt = len(head), head[:EXCERPT]
        for read in iter(lambda: stream.read(CHUNK), b""):
            end = read.find(b"\n")
            excerpt += read[: EXCERPT - len(excerpt) if end < 0 else min(end, EXCERPT - len(excerpt))]
            if end >= 0:
                return length + end, excerpt, read[end + 1 :]
            length += len(read)
        return length, excerpt, b""
