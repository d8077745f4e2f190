"""JSON Lines: one record a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np
import orjson
from pydantic import BaseModel, RootModel

from assay.errors import SourceError, ValidationError
from assay.reading.block import PAD, Block
from assay.reading.factory import ProcessorFactory
from assay.reading.octets import rare
from assay.reading.raw import EXCERPT, Limits, RawRecord
from assay.reading.sniffing import SNIFFED, is_array_of_records, refuse_document, refuse_other

CHUNK: Final = 1024 * 1024
_BLANK: Final = b" \t\r"
_BLANKS: Final = np.frombuffer(_BLANK, np.uint8)
_LF: Final = 10
_CR: Final = 13


def decode_json(data: bytes) -> Any:
    """Parse one JSON text by RFC 8259, strictly.

    Raises:
        ValidationError: it is not JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValidationError(f"not JSON: {error}") from None


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

    def json_for(self, model: type[BaseModel]) -> None:
        """The verdict is given on the record's own bytes."""
        self._of_objects = not issubclass(model, RootModel)

    def split(self, stream: BinaryIO) -> Iterator[RawRecord]:
        """Cut a stream into records, holding one chunk and one record at a time."""
        for block in self.blocks(stream, CHUNK):
            yield from map(block.raw, range(len(block)))

    def blocks(self, stream: BinaryIO, size: int) -> Iterator[Block]:
        """Cut a stream into blocks of whole lines, of about `size` bytes each."""
        name = str(getattr(stream, "name", "<stream>"))
        limit = self._limits.max_record_bytes
        offset, line, record = 0, 1, 0
        rest: list[bytes] = []
        kept = 0
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
                data = b"".join((*rest, memoryview(read)[:end], PAD))
                block, lines = self._lines(data, offset, line, record)
                yield block
                record += len(block)
                offset += len(data) - len(PAD)
                line += lines
                rest = [read[end:]] if end < len(read) else []
                kept = len(read) - end
            else:
                rest.append(read)
                kept += len(read)
            read = b""
            # The last byte may be the carriage return of its end.
            if kept > limit + 1:
                length, excerpt, read = self._skip(stream, rest, kept)
                yield Block.of([RawRecord(excerpt, record, line, offset, self._limits.too_long(length))])
                offset, line, record, rest, kept = offset + length + 1, line + 1, record + 1, [], 0
            read = read or stream.read(size)
        if kept:
            yield self._lines(b"".join((*rest, PAD)), offset, line, record)[0]

    def _lines(self, data: bytes, offset: int, line: int, record: int) -> tuple[Block, int]:
        """The lines of some bytes, which begin with these numbers, and how many of them end there."""
        view = np.frombuffer(data, np.uint8, len(data) - len(PAD))
        ends = rare(view == _LF)
        newlines = len(ends)
        if not newlines or ends[-1] != len(view) - 1:
            ends = np.append(ends, len(view))
        starts = np.empty_like(ends)
        starts[0] = 0
        starts[1:] = ends[:-1] + 1
        lines = np.arange(line, line + len(ends))
        if b"\r" in data:
            ends = ends - ((ends > starts) & (view[ends - 1] == _CR))
        some = (ends > starts) & ~np.isin(view[np.minimum(starts, len(view) - 1)], _BLANKS)
        for row in np.flatnonzero(~some & (ends > starts)).tolist():
            some[row] = bool(data[starts[row] : ends[row]].strip(_BLANK))
        if not some.all():
            starts, ends, lines = starts[some], ends[some], lines[some]
        problems = {}
        for row in np.flatnonzero(ends - starts > self._limits.max_record_bytes).tolist():
            problems[row] = self._limits.too_long(int(ends[row] - starts[row]))
            ends[row] = min(ends[row], starts[row] + EXCERPT)
        return Block(
            data, starts, ends, np.arange(record, record + len(starts)), starts + offset, lines, problems
        ), newlines

    @staticmethod
    def _skip(stream: BinaryIO, head: list[bytes], length: int) -> tuple[int, bytes, bytes]:
        """Run to the end of an overlong line; gives its length, its beginning, and what follows it."""
        line = b"".join(head)
        excerpt, last = line[:EXCERPT], line[-1:]
        for read in iter(lambda: stream.read(CHUNK), b""):
            end = read.find(b"\n")
            part = read if end < 0 else read[:end]
            excerpt += part[: EXCERPT - len(excerpt)]
            last = part[-1:] or last
            length += len(part)
            if end >= 0:
                return length, excerpt[: length - (last == b"\r")], read[end + 1 :]
        return length, excerpt[: length - (last == b"\r")], b""
