"""JSON Lines: one record a line."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, Final

import orjson
from pydantic import BaseModel

from assay.errors import SourceError, ValidationError
from assay.reading.factory import ProcessorFactory
from assay.reading.raw import EXCERPT, Limits, RawRecord

CHUNK: Final = 1024 * 1024
_BLANK: Final = b" \t\r"
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"\x00{", b"[\x00", b"\x00[")


def decode_json(data: bytes) -> Any:
    """Parse one JSON text by RFC 8259, strictly.

    Raises:
        ValidationError: it is not JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValidationError(f"not JSON: {error}") from None


def refuse_other(head: bytes, name: str) -> None:
    """Raise a SourceError if data that begins with `head` is plainly no JSON: nothing of it could be a record."""
    if head.startswith(_WIDE):
        raise SourceError("looks like UTF-16; JSON is UTF-8: convert the file", file=name, offset=0)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<?xml", b"<!", b"<")):
        raise SourceError("looks like XML, not JSON; say format='xml' or mend the suffix", file=name, offset=0)


def _refuse_document(head: bytes, name: str) -> None:
    first, newline, _ = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if newline and first.strip() in (b"[", b"{"):
        message = "looks like one JSON document over several lines; say format='json' or mend the suffix"
        raise SourceError(message, file=name, offset=0)


@ProcessorFactory.register("jsonl")
class JsonlProcessor:
    """Records are the lines; a blank line is no record.

    A line ends with LF or CRLF; a JSON string holds no raw newline, so that cutting at newlines is exact.
    """

    def __init__(self, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def process(self, data: bytes) -> Any:
        """Parse one record (strict RFC 8259)."""
        return decode_json(data)

    def json_for(self, model: type[BaseModel]) -> Callable[[bytes], bytes]:
        """The verdict is given on the record's own bytes."""
        return bytes

    def split(self, stream: BinaryIO) -> Iterator[RawRecord]:
        """Cut a stream into records, holding one chunk and one record at a time."""
        limit = self._limits.max_record_bytes
        name = str(getattr(stream, "name", "<stream>"))
        record, line, offset = 0, 0, 0
        rest = b""
        more = True
        while more:
            chunk = stream.read(CHUNK)
            more = bool(chunk)
            if offset == 0 and not rest:
                refuse_other(chunk, name)
                _refuse_document(chunk, name)
            pending: bytes | None = rest + chunk
            while pending is not None:
                lines = pending.split(b"\n")
                rest, pending = lines.pop(), None
                for data in lines:
                    line += 1
                    size = len(data) + 1
                    if data.strip(_BLANK):
                        text = data[:-1] if data[-1] == 13 else data
                        yield self._record(text, record, line, offset)
                        record += 1
                    offset += size
                if len(rest) > limit:
                    length, pending = yield from self._skip(stream, rest, record, line + 1, offset)
                    record, line, offset = record + 1, line + 1, offset + length
        if rest.strip(_BLANK):
            yield self._record(rest, record, line + 1, offset)

    def _record(self, data: bytes, record: int, line: int, offset: int) -> RawRecord:
        if len(data) > self._limits.max_record_bytes:
            return RawRecord(data[:EXCERPT], record, line, offset, self._limits.too_long(len(data)))
        return RawRecord(data, record, line, offset)

    def _skip(
        self, stream: BinaryIO, head: bytes, record: int, line: int, offset: int
    ) -> Generator[RawRecord, None, tuple[int, bytes]]:
        """Run to the end of an overlong line; gives its length with the newline and what follows it in the chunk."""
        length = len(head)
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            end = chunk.find(b"\n")
            if end >= 0:
                length += end
                yield RawRecord(head[:EXCERPT], record, line, offset, self._limits.too_long(length))
                return length + 1, chunk[end + 1 :]
            length += len(chunk)
        yield RawRecord(head[:EXCERPT], record, line, offset, self._limits.too_long(length))
        return length, b""
