"""CSV (RFC 4180): one record a row; the names of the columns from the first row, or given.

A row ends with LF outside of quotes, and CRs before it go, too. A malformed row is rejected alone, up to the end of the
line on which its wrong cell begins: what a quote that is never closed runs over are rows of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
import orjson
from pydantic import BaseModel, RootModel

from assay.errors import ConfigurationError, SourceError, ValidationError
from assay.reading.block import PAD, Block, gathered, undecodable
from assay.reading.csv_rows import clean, quoting, rows
from assay.reading.factory import ProcessorFactory
from assay.reading.octets import rare
from assay.reading.raw import EXCERPT, Limits, Problem, RawRecord
from assay.reading.sniffing import SNIFFED, refuse_other
from assay.reading.texts import BLANKS, keeps_blanks, keys_of, refuse_strict

CHUNK: Final = 1024 * 1024
#: More bytes than are wanted behind a row to be sure that it ends there.
_BEHIND: Final = 8
#: Where fewer rows than these are found at once, so many are found singly.
_FEW: Final = 4
_FAR: Final = 1_000
_RETURN: Final = "Row has a carriage return outside of quotes"
#: CRs before a line's end go with it: text mode on Windows writes CR CR LF.
_END: Final = re.compile(rb"\r*+\n?")
_BOM: Final = b"\xef\xbb\xbf"


class _Row:
    """Where a row ends in a buffer.

    Attributes:
        end: Behind its last byte, without the end of the line.
        after: Where the next row begins.
        wrong_at: Where the quoting proved to be wrong, so that it was ended by force; None where it is right.
    """

    __slots__ = ("after", "end", "wrong_at")

    def __init__(self, buffer: bytes, start: int, newline: int, *, wrong_at: int | None = None) -> None:
        end = len(buffer) if newline < 0 else newline
        self.after = len(buffer) if newline < 0 else newline + 1
        if end > start and buffer[end - 1] == 13:
            end = start + len(buffer[start:end].rstrip(b"\r"))
        self.end = end
        self.wrong_at = wrong_at


class Dialect:
    """How cells are separated and quoted.

    Args:
        delimiter: One character.
        quote: One ASCII character; or empty: no cell is quoted.

    Raises:
        ConfigurationError: they cannot be told apart.
    """

    def __init__(self, delimiter: str, quote: str) -> None:
        if not (isinstance(delimiter, str) and len(delimiter) == 1 and delimiter not in "\r\n\0"):
            raise ConfigurationError(f"delimiter={delimiter!r} is not one character (and no line end)")
        if not (isinstance(quote, str) and len(quote) <= 1 and quote.isascii() and quote not in ("\r", "\n", "\0")):
            raise ConfigurationError(f'quote={quote!r} is not one ASCII character, nor "" for none')
        if delimiter == quote:
            raise ConfigurationError(f"delimiter and quote are both {quote!r}")
        self.delimiter, self.quote = delimiter, quote
        self._delimiter, self._quote = delimiter.encode(), quote.encode()
        self._outside = re.compile(b"\n")
        if quote:
            q, d = re.escape(quote), re.escape(delimiter)
            inside = f"(?:[^{q}]++|{q}{q})*+"
            quoted, plain = f"{q}{inside}{q}", f"[^{q}{d}\r]*+"
            self._cell = re.compile(f"(?:\\A|{d})(?:({quoted})|({plain}))(?={d}|\\Z)")
            self._cells = re.compile(f"(?:{quoted}|{plain})(?:{d}(?:{quoted}|{plain}))*+")
            self._quoted = re.compile(quoted.encode())
            self._inside = re.compile(inside.encode())
            self._outside = re.compile(f"\n|{d}(?={q})".encode())

    def cells(self, row: bytes) -> list[str | None]:
        """The texts of a row's cells; an empty one that is not quoted is None.

        Raises:
            ValidationError: it is not a row by RFC 4180, in UTF-8.
        """
        try:
            text = row.decode()
        except UnicodeDecodeError as error:
            raise ValidationError(f"Row is not UTF-8 at its byte {error.start:,}") from None
        if "\0" in text:
            raise ValidationError("Row has a NUL")
        if not (self.quote and self.quote in text):
            if "\r" in text:
                raise ValidationError(_RETURN)
            return [cell or None for cell in text.split(self.delimiter)]
        if not self._cells.fullmatch(text):
            raise ValidationError(self._wrong(text))
        quotes, quote = self.quote * 2, self.quote
        return [
            quoted[1:-1].replace(quotes, quote) if quoted else plain or None
            for quoted, plain in self._cell.findall(text)
        ]

    def _wrong(self, text: str) -> str:
        """What is wrong with a row that is none."""
        number, at = 1, 0
        for found in self._cell.finditer(text):
            if found.start() != at:
                break
            number, at = number + 1, found.end()
        cell = text[at:].removeprefix(self.delimiter)
        if not cell.startswith(self.quote):
            plain = cell.partition(self.delimiter)[0]
            if self.quote not in plain:
                return _RETURN
            return f"Cell {number} has a quote and is not quoted; quote the whole cell and double the quote"
        if self._quoted.match(cell.encode()):
            return f"Cell {number} goes on behind its closing quote; inside quotes, a quote is doubled"
        return f"The quote that opens cell {number} is never closed"

    def is_blank(self, row: bytes) -> bool:
        """Whether a row has nothing, not even an empty cell beside another."""
        return not row or (not row.strip(b" \t") and self._delimiter not in row)

    def row(self, buffer: bytes, start: int, *, is_last: bool) -> _Row | None:
        """The row that begins at `start`; None where more bytes are needed to tell its end."""
        newline = buffer.find(b"\n", start)
        if newline < 0 and not is_last:
            # An end without a line's end may as well lie inside of quotes.
            return None
        if not self.quote or buffer.find(self._quote, start, len(buffer) if newline < 0 else newline) < 0:
            return _Row(buffer, start, newline)
        at = start
        while True:
            if not buffer.startswith(self._quote, at):
                found = self._outside.search(buffer, at)
                if found is None:
                    return _Row(buffer, start, -1) if is_last else None
                if found[0] == b"\n":
                    return _Row(buffer, start, found.start())
                at = found.end()
                continue
            found = self._quoted.match(buffer, at)
            # What follows may make another quote, delimiter or line's end of this.
            if not is_last and (found is None or len(buffer) - found.end() < len(self._delimiter)):
                return None
            if found is not None and buffer.startswith(self._delimiter, found.end()):
                at = found.end() + len(self._delimiter)
                continue
            end = _END.match(buffer, found.end()) if found is not None else None
            if end is not None and (end[0].endswith(b"\n") or end.end() == len(buffer)):
                newline = end.end() - 1 if end[0].endswith(b"\n") else -1
                return None if newline < 0 and not is_last else _Row(buffer, start, newline)
            newline = buffer.find(b"\n", at)
            wrong_at = len(buffer) if found is None else found.end()
            return None if newline < 0 and not is_last else _Row(buffer, start, newline, wrong_at=wrong_at)

    def run_over(self, row: bytes, read: Callable[[], bytes]) -> tuple[int, int, bytes] | None:
        """Run to the end of a row that begins with the bytes `row`, keeping none of it.

        Returns:
            Its length, how many lines end inside of it, and what follows, its own line's end first; None where the
            data ends inside of quotes.
        """
        is_quoted = bool(self.quote) and row.startswith(self._quote)
        at, length, lines, is_last = int(is_quoted), 0, 0, False
        while True:
            if is_quoted:
                inside = self._inside.match(row, at)
                at = inside.end() if inside else at
                if at + 1 < len(row) or (is_last and at < len(row)):
                    is_quoted, at = False, at + 1
                    continue
            else:
                found = self._outside.search(row, at)
                if found is not None and found[0] == b"\n":
                    end = found.start()
                    return length + end, lines + row.count(b"\n", 0, end), row[end:]
                if found is not None:
                    is_quoted, at = True, found.end() + 1
                    continue
                at = max(at, len(row) - len(self._delimiter)) if not is_last else len(row)
            if is_last:
                return None if is_quoted else (length + len(row), lines + row.count(b"\n"), b"")
            length, lines = length + at, lines + row.count(b"\n", 0, at)
            chunk = read()
            row, at, is_last = row[at:] + chunk, 0, not chunk


@ProcessorFactory.register("csv")
class CsvProcessor:
    """Records are the rows; a blank line is no record.

    Args:
        delimiter: The character between cells.
        quote: The character around cells that hold a delimiter, a quote or a line's end; "" for none.
        columns: Names of the columns, for data without a row of names. Else the first row has them.
        empty_as_null: An empty cell is null; in a `str` field, one that is quoted stays an empty text.
        limits: Bounds on one record.
    """

    def __init__(
        self,
        *,
        delimiter: str = ",",
        quote: str = '"',
        columns: Sequence[str] | None = None,
        empty_as_null: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self._dialect = Dialect(delimiter, quote)
        self._columns = None if columns is None else _given_names(columns)
        self._empty = None if empty_as_null else ""
        self._limits = limits or Limits()
        self._header: tuple[bytes, list[str]] = (b"", [])

    def process(self, data: bytes) -> dict[str, str | None]:
        """Parse one record: column to text. Without given names, the row of names stands before it.

        Raises:
            ValidationError: it is not one row of as many cells as there are columns.
        """
        names, row = self._framed(data)
        cells = self._cells(row, names)
        return dict(zip(names, (self._empty if cell is None else cell for cell in cells), strict=True))

    def json_for(self, model: type[BaseModel]) -> Callable[[bytes], bytes]:
        """The verdict is given on the object of texts, blanks around those of fields that are not `str` gone.

        Raises:
            ConfigurationError: a model in strict mode, or one without fields of its own.
        """
        if issubclass(model, RootModel):
            raise ConfigurationError(f"{model.__name__} is a RootModel, which no row of CSV is: use a model of fields")
        refuse_strict(model, "CSV")
        by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
        texts: set[str] = set()
        others: set[str] = set()
        for name, info in model.model_fields.items():
            keys = [*keys_of(info, name), *([name] if by_name else [])]
            (texts if keeps_blanks(info.annotation) else others).update(keys)
        trimmed = others - texts

        def to_json(data: bytes) -> bytes:
            made = self.process(data)
            for name in trimmed & made.keys():
                text = made[name]
                made[name] = text if text is None else text.strip(BLANKS) or self._empty
            return orjson.dumps(made)

        return to_json

    def split(self, stream: BinaryIO) -> Iterator[RawRecord]:
        """Cut a stream into records, holding one chunk and one record at a time.

        The bytes of a record are its row, below the row of names where the data has one.

        Raises:
            SourceError: the row of names is wrong, the data is no CSV, or it ends inside of quotes past the limit.
        """
        return (one for one in self._found(stream, 0) if isinstance(one, RawRecord))

    def blocks(self, stream: BinaryIO, size: int) -> Iterator[Block]:
        """Cut a stream into records, many at a time as far as every quote stands where one may.

        Raises:
            SourceError: as `split` does.
        """
        return gathered(self._found(stream, size), size)

    def _found(self, stream: BinaryIO, size: int) -> Iterator[RawRecord | Block]:
        return _Splitter(self._dialect, self._columns, self._limits, stream, size).records()

    @property
    def dialect(self) -> Dialect:
        """How cells are separated and quoted."""
        return self._dialect

    @property
    def empty_as_null(self) -> bool:
        """Whether an empty cell is null."""
        return self._empty is None

    def names_of(self, head: bytes) -> list[str] | None:
        """The names of the columns, where this stands before a record in what is kept of it; None where they do not."""
        if self._columns is not None:
            return self._columns
        return _names(self._dialect, head.removesuffix(b"\n")) if head else None

    def _framed(self, data: bytes) -> tuple[list[str], bytes]:
        """The names of the columns and the row, from a record's raw bytes."""
        if self._columns is not None:
            return self._columns, data
        known, names = self._header
        if not (known and data.startswith(known)):
            row = self._dialect.row(data, 0, is_last=True)
            if row is None or row.after == len(data):
                raise ValidationError("A record of CSV is the row of names and, below it, one row")
            names = _names(self._dialect, data[: row.end])
            known = data[: row.after]
            self._header = known, names
        return names, data[len(known) :]

    def _cells(self, row: bytes, names: list[str]) -> list[str | None]:
        found = self._dialect.row(row, 0, is_last=True)
        if found is None or self._dialect.is_blank(row[: found.end]):
            raise ValidationError("A record of CSV is one row, and here is none")
        if found.after < len(row) and found.wrong_at is None:
            raise ValidationError("A record of CSV is one row, and here are more")
        return _checked(self._dialect, row if found.wrong_at is not None else row[: found.end], names)


class _Splitter:
    """One pass over one stream; rows come in blocks of about `size` bytes, or singly where it is 0."""

    def __init__(
        self, dialect: Dialect, columns: list[str] | None, limits: Limits, stream: BinaryIO, size: int
    ) -> None:
        self._dialect = dialect
        self._size = size
        #: Up to this record the exact way is taken.
        self._singly = 0
        self._names = columns
        self._limits = limits
        self._stream = stream
        self._name = str(getattr(stream, "name", "<stream>"))
        self._frame = b""
        self._record, self._line = 0, 1
        self._base = 0

    def records(self) -> Iterator[RawRecord | Block]:
        """The rows in order."""
        limit = self._limits.max_record_bytes + _BEHIND
        buffer = b""
        is_last = False
        while len(buffer) < SNIFFED and not is_last:
            chunk = self._stream.read(CHUNK)
            buffer += chunk
            is_last = not chunk
        refuse_other(buffer, self._name, "csv")
        start = len(_BOM) if buffer.startswith(_BOM) else 0
        while True:
            if self._looks_ahead:
                buffer, is_last = self._filled(buffer[start:], is_last=is_last)
                self._base, start = self._base + start, 0
                block, start = self._many(buffer)
                if block is not None:
                    yield block
            row = self._dialect.row(buffer, start, is_last=is_last) if start < len(buffer) else None
            # A cell that runs over the limit is no proof of anything: what is in it must not be taken for rows.
            is_told = row is not None and (row.wrong_at is None or row.wrong_at - start <= limit)
            if row is not None and is_told:
                raw = self._take(buffer, start, row)
                if raw is not None:
                    yield raw
                self._line += buffer.count(b"\n", start, row.after)
                start = row.after
            elif len(buffer) - start > limit:
                raw, buffer, self._base = self._overlong(buffer[start:], self._base + start)
                yield raw
                start = 0
            elif is_last:
                return
            else:
                chunk = self._stream.read(CHUNK)
                is_last = not chunk
                buffer, self._base, start = buffer[start:] + chunk, self._base + start, 0

    @property
    def _looks_ahead(self) -> bool:
        plain = len(self._dialect.delimiter.encode()) == 1
        return bool(self._size) and plain and self._names is not None and self._record >= self._singly

    def _filled(self, buffer: bytes, *, is_last: bool) -> tuple[bytes, bool]:
        parts, have = [buffer], len(buffer)
        while have < self._size and not is_last:
            chunk = self._stream.read(self._size - have)
            parts.append(chunk)
            have += len(chunk)
            is_last = not chunk
        return b"".join(parts), is_last

    def _many(self, buffer: bytes) -> tuple[Block | None, int]:
        """The rows with which a buffer begins, as far as they are plain, and where they end."""
        names, dialect, limits = self._names or [], self._dialect, self._limits
        delimiter, quote = ord(dialect.delimiter), ord(dialect.quote) if dialect.quote else None
        view = np.frombuffer(buffer, np.uint8)
        found = quoting(view, delimiter, quote)
        these = rows(view, delimiter, found)
        starts, ends, after = these.starts, these.ends, these.after
        long = ends - starts > limits.max_record_bytes
        if long.any():
            count = int(long.argmax())
            starts, ends, after = starts[:count], ends[:count], int(starts[count])
        if len(starts) < _FEW:
            # A look ahead is dear where it finds little.
            self._singly = self._record + _FAR
            return None, 0
        places = found.outside(np.flatnonzero(view[: int(ends[-1])] == delimiter))
        between = np.searchsorted(places, ends) - np.searchsorted(places, starts)
        text = b"".join((memoryview(buffer)[:after], PAD))
        plain = (between == len(names) - 1) & clean(buffer, starts, ends)
        if not buffer.isascii():
            plain[undecodable(text, starts, ends)] = False
        problems = {}
        for row in np.flatnonzero(~plain).tolist():
            try:
                _checked(dialect, buffer[starts[row] : ends[row]], names)
            except ValidationError as error:
                problems[row] = Problem("csv_invalid", error.message)
        newlines = rare(view[:after] == 10)
        lines = np.searchsorted(newlines, starts) + self._line
        numbers = np.arange(self._record, self._record + len(starts))
        self._record += len(starts)
        self._line += len(newlines)
        marks = (delimiter, places)
        block = Block(text, starts, ends, numbers, starts + self._base, lines, problems, self._frame, marks=marks)
        return block, after

    def _take(self, buffer: bytes, start: int, row: _Row) -> RawRecord | None:
        data = buffer[start : row.end]
        if self._dialect.is_blank(data):
            return None
        if self._names is None:
            self._take_names(data, self._base + start)
            return None
        problem: Problem | None = None
        if len(data) > self._limits.max_record_bytes:
            return self._numbered(data[:EXCERPT], self._base + start, self._limits.too_long(len(data)))
        try:
            _checked(self._dialect, data, self._names)
        except ValidationError as error:
            problem = Problem("csv_invalid", error.message)
        return self._numbered(self._frame + data, self._base + start, problem, len(self._frame))

    def _take_names(self, data: bytes, offset: int) -> None:
        if len(data) > self._limits.max_record_bytes:
            raise SourceError(f"row of names: {self._limits.too_long(len(data)).msg}", file=self._name, offset=offset)
        try:
            self._names = _names(self._dialect, data)
        except ValidationError as error:
            raise SourceError(error.message, file=self._name, offset=offset) from None
        self._frame = data + b"\n"

    def _numbered(self, data: bytes, offset: int, problem: Problem | None, head: int = 0) -> RawRecord:
        self._record += 1
        return RawRecord(data, self._record - 1, self._line, offset, problem, head)

    def _overlong(self, row: bytes, offset: int) -> tuple[RawRecord, bytes, int]:
        """A row that is longer than the limit, what follows it, and where that begins."""
        if self._names is None:
            raise SourceError(f"row of names: {self._limits.too_long(None).msg}", file=self._name, offset=offset)
        over = self._dialect.run_over(row, lambda: self._stream.read(CHUNK))
        if over is None:
            raise SourceError(
                f"a quote opened in the row of line {self._line:,} is never closed, so that nothing behind it can be "
                "told; close it, or say another quote",
                file=self._name,
                offset=offset,
                record=self._record,
            )
        length, lines, rest = over
        problem = self._limits.too_long(length)
        if lines:
            problem = Problem(problem.type, f"{problem.msg}; it runs over {lines + 1:,} lines: is a quote not closed?")
        raw = self._numbered(row[:EXCERPT], offset, problem)
        self._line += lines
        return raw, rest, offset + length


def _checked(dialect: Dialect, row: bytes, names: list[str]) -> list[str | None]:
    cells = dialect.cells(row)
    if len(cells) != len(names):
        raise ValidationError(f"Row has {_counted(len(cells), 'cell')}, and there are {_counted(len(names), 'column')}")
    return cells


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _names(dialect: Dialect, row: bytes) -> list[str]:
    """The names of the columns, from the row that has them; blanks around them are layout."""
    try:
        names = [(cell or "").strip(BLANKS) for cell in dialect.cells(row)]
    except ValidationError as error:
        returns = " (do its lines end with CR alone? Convert them)" if b"\r" in row else ""
        raise ValidationError(f"the row of names, which comes first, is wrong: {error.message}{returns}") from None
    wrong = _wrong_names(names)
    if wrong:
        raise ValidationError(f"the row of names, which comes first, is wrong: {wrong}; mend it")
    return names


def _given_names(columns: Any) -> list[str]:
    is_list = isinstance(columns, Sequence) and not isinstance(columns, str)
    if not is_list or not columns or not all(isinstance(name, str) for name in columns):
        raise ConfigurationError(f"columns={columns!r} is not a list of names")
    wrong = _wrong_names(list(columns))
    if wrong:
        raise ConfigurationError(f"columns={list(columns)!r}: {wrong}")
    return list(columns)


def _wrong_names(names: list[str]) -> str | None:
    unnamed = [str(number) for number, name in enumerate(names, 1) if not name]
    if unnamed:
        return f"column {', '.join(unnamed[:10])} of {len(names)} has no name"
    double = [name for name, count in Counter(names).items() if count > 1]
    if double:
        return f"{', '.join(map(repr, double[:10]))} stands there more than once"
    return None
