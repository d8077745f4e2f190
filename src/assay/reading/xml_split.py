"""Cutting an XML stream into records with exact byte offsets, in bounded memory.

The cutter is expat, which is the streaming parser that tells byte offsets. It checks that the whole document is well
formed and refuses a DOCTYPE, so that no entity but the predefined ones and character references can occur.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple
from xml.parsers import expat

from assay.errors import SourceError
from assay.reading.raw import EXCERPT, Limits, RawRecord
from assay.reading.sniffing import refuse_other
from assay.reading.xml_path import Name, RecordPath

CHUNK: Final = 64 * 1024
#: A chunk grows with what must be kept of the ones before, up to so much: else one long token is gone over each time.
_GROWN: Final = 4 * 1024 * 1024
#: Looks of records that are told at most.
_LOOKS: Final = 4
#: So deep may elements be nested before it costs too much memory to find the end of the record.
_STACK: Final = 1_000_000
#: Marks a raw record that stands in its document's frame: this many elements around it.
FRAME: Final = "assay-frame"
START_TAG: Final = re.compile(rb"""<[^>"']*+(?:"[^"]*+"[^>"']*+|'[^']*+'[^>"']*+)*+>""")
START_NAME: Final = re.compile(rb"<([^\s/>]+)")
_BOMS: Final = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SPACE: Final = " "
#: Bytes of a tag in which its name ends, but for names that nobody gives, and the tag, where it declares namespaces.
_BEGIN: Final = 4096
_DECLARED: Final = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml\s[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")
#: Encodings in which a byte means one thing here and another there: expat would take them for ASCII.
_STATEFUL: Final = ("iso2022", "hz", "utf-7")


class DoctypeError(Exception):
    """The document has a DOCTYPE."""


class _TooMuchError(Exception):
    """What stands around the records is over a limit."""


class Look(NamedTuple):
    """How records begin.

    Attributes:
        name: Their qualified name.
        start_tag: The whole start tag, if it declares namespaces; else nothing.
    """

    name: bytes
    start_tag: bytes


@dataclass(frozen=True)
class Place:
    """A place between records, from which on a document can be read.

    Attributes:
        offset: Bytes before it; line: 1-based number of its line; count: records before it.
        around: Start tags of the elements that are open there, as they stand in the document.
        looks: How records before it begin that stand in the same elements; some of them, the last one for certain.
        plain: Whether records behind it that begin so are the same however they are found: the document is UTF-8, and
            none needs anything of what is around it but namespaces.
        declares_namespaces: Whether what is around it does.
        declared: The encoding that the document declares.
    """

    offset: int
    line: int
    count: int
    around: tuple[str, ...]
    looks: tuple[Look, ...]
    plain: bool
    declares_namespaces: bool
    declared: str | None

    @property
    def frame(self) -> tuple[bytes, bytes]:
        """What stands before and behind a record in what is kept of it."""
        if not (self.declares_namespaces and self.around):
            return b"", b""
        declaration = f'<?xml version="1.0" encoding="{self.declared}"?>' if self.declared else ""
        head = "".join((declaration, f"<?{FRAME} {len(self.around)}?>", *self.around))
        return head.encode(), "".join(f"</{_qualified(tag)}>" for tag in reversed(self.around)).encode()


@dataclass
class _Open:
    """An element around the records that is still open."""

    tag: str
    start_tag: str
    qualified: str
    kept: list[str] = field(default_factory=list)


def clark(name: str) -> str:
    """Expat's `uri local` as `{uri}local`."""
    uri, space, local = name.rpartition(_SPACE)
    return f"{{{uri}}}{local}" if space else name


def _encoding_to_say(head: bytes, name: str) -> str | None:
    """The encoding that expat must be told, since it knows what is declared by no such name; mostly None."""
    found = _DECLARED.match(head)
    if not found:
        return None
    declared = found.group(1).decode("ascii", "replace")
    try:
        codec = codecs.lookup(declared).name
    except LookupError:
        return None
    if codec.startswith(_STATEFUL):
        raise SourceError(f"is in {declared}, which is not read; convert the file to UTF-8", file=name, offset=0)
    return codec if codec == "utf-8" else None


class XmlSplitter:
    """One pass over one stream.

    Args:
        path: Which elements are records.
        context: Names of children of ancestors that records need, to be kept when they close before them.
        limits: Bounds on one record.
        place: Where it begins; None: at the beginning of the document.

    Attributes:
        behind: The place behind the last record that was found.
    """

    def __init__(self, path: RecordPath, context: Sequence[Name], limits: Limits, place: Place | None = None) -> None:
        self._path = path
        self._wanted = context
        self._limits = limits
        self._encoding = "utf-8"
        self._declared: str | None = None
        self._buffer = b""
        self._blank = True
        self._base = 0
        self._ancestry: list[str] = []
        self._around: list[_Open] = []
        self._declares_namespaces = self._declared_now = False
        self._ready: list[RawRecord] = []
        self._count = 0
        self._kept_bytes = 0
        # The record, or the child of an ancestor kept for one, that is open now: its depth and place.
        self._depth = 0
        self._inside = 0
        self._is_record = False
        self._declares = False
        self._start = 0
        self._line = 1
        self._deepest = 0
        self._overlong: bytes | None = None
        self._behind: tuple[int, int, int, tuple[_Open, ...]] | None = None
        self._looks: dict[str, tuple[bytes, bool]] = {}
        self._first = True
        # What has been fed to the parser that stands elsewhere in the document, or not so.
        self._shift, self._line_shift = 0, 0
        self._parser = self._make_parser(None)
        if place is not None:
            self._resume(place)

    def _resume(self, place: Place) -> None:
        """Open what is open at a place."""
        primer = "".join(place.around).encode()
        self._declared, self._count, self._first = place.declared, place.count, False
        self._declares_namespaces = place.declares_namespaces
        self._buffer, self._blank = primer, False
        self._parser.Parse(primer, False)
        self._buffer, self._base = b"", len(primer)
        self._shift = place.offset - len(primer)
        self._line_shift = place.line - self._parser.CurrentLineNumber

    def split(self, stream: BinaryIO) -> Iterator[RawRecord]:
        """Give the records of the stream in order.

        Raises:
            SourceError: not well formed, a DOCTYPE, an encoding that cannot be read; records before it were given.
        """
        name = str(getattr(stream, "name", "<stream>"))
        while True:
            chunk = stream.read(self.wanted)
            found, failure = self.feed(chunk, name)
            yield from found
            if failure:
                raise failure
            if not chunk:
                return

    @property
    def wanted(self) -> int:
        """How many bytes are best fed next."""
        return max(CHUNK, min(len(self._buffer), _GROWN))

    def feed(self, chunk: bytes, name: str) -> tuple[list[RawRecord], SourceError | None]:
        """Read on, nothing being the end; gives the records that end there, and how reading breaks off."""
        if self._first and not chunk:
            return [], None
        if self._first:
            try:
                refuse_other(chunk, name, "xml")
                self._parser = self._make_parser(_encoding_to_say(chunk, name))
            except SourceError as error:
                return [], error
            self._encoding = next((codec for bom, codec in _BOMS if chunk.startswith(bom)), "utf-8")
            self._first = False
        self._buffer += chunk
        self._blank = self._blank and not chunk.strip()
        failure = self._feed(chunk, name)
        found, self._ready = self._ready, []
        if failure is None and chunk:
            failure = self._forget(name)
        return found, failure

    def _make_parser(self, encoding: str | None) -> expat.XMLParserType:
        parser = expat.ParserCreate(encoding, namespace_separator=_SPACE)
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.XmlDeclHandler = self._on_declaration
        parser.StartDoctypeDeclHandler = self._on_doctype
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.StartNamespaceDeclHandler = self._on_namespace
        return parser

    def _feed(self, chunk: bytes, name: str) -> SourceError | None:
        try:
            self._parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            if self._blank:
                return None
            words = expat.errors.messages[error.code]
            if self._depth and error.code == expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]:
                words += ", the file ends before its elements do; get it again"
            if error.code == expat.errors.codes[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]:
                words += "; several documents in one file stand in one element, or in files of their own"
            return SourceError(
                f"not well-formed XML at line {error.lineno + self._line_shift}: {words}",
                file=name,
                offset=self._parser.ErrorByteIndex + self._shift,
                record=self._count,
            )
        except DoctypeError:
            return SourceError(
                "has a DOCTYPE, which is refused (it can define entities and reach other files); remove it",
                file=name,
                offset=self._parser.CurrentByteIndex + self._shift,
                record=self._count,
            )
        except _TooMuchError as error:
            return SourceError(
                str(error), file=name, offset=self._parser.CurrentByteIndex + self._shift, record=self._count
            )
        except (LookupError, ValueError) as error:
            return SourceError(f"cannot be read: {error}; convert the file to UTF-8", file=name, offset=0)
        return None

    def _on_declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        self._declared = encoding
        if encoding and not self._encoding.startswith("utf-16"):
            self._encoding = codecs.lookup(encoding).name
            if self._encoding == "utf-16":
                # Declared as UTF-16 without a byte order mark: expat told it from the first bytes.
                self._encoding = "utf-16-le" if self._buffer[1:2] == b"\0" else "utf-16-be"

    def _on_doctype(self, name: str, system: str | None, public: str | None, subset: int) -> None:
        raise DoctypeError

    def _on_namespace(self, prefix: str | None, uri: str) -> None:
        # Whose declaration it is shows with the start tag that follows.
        self._declared_now = True

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        declares, self._declared_now = self._declared_now, False
        if self._inside:
            if self._depth > self._deepest:
                self._deepest = self._depth
                if self._depth > _STACK:
                    raise _TooMuchError(f"elements are nested more than {_STACK:,} deep")
            return
        tag = clark(name)
        self._ancestry.append(tag)
        index = self._parser.CurrentByteIndex
        is_record = self._path.matches(self._ancestry)
        if is_record or any(wanted.matches(tag) for wanted in self._wanted):
            self._inside, self._is_record, self._declares = self._depth, is_record, declares
            self._start, self._line = index, self._parser.CurrentLineNumber
            self._deepest = self._depth
            return
        self._declares_namespaces |= declares
        if self._depth > self._limits.max_record_depth:
            raise _TooMuchError(self._limits.too_deep().msg)
        start_tag = self._start_tag(index)
        self._around.append(_Open(tag, start_tag, _qualified(start_tag)))

    def _on_end(self, name: str) -> None:
        self._depth -= 1
        if not self._inside:
            closed = self._around.pop()
            self._kept_bytes -= sum(len(kept) for kept in closed.kept)
            self._ancestry.pop()
            return
        if self._depth >= self._inside:
            return
        self._ancestry.pop()
        self._inside = 0
        end = self._end_of_tag(self._parser.CurrentByteIndex)
        if self._is_record:
            self._ready.append(self._record(end))
            at = self._start - self._base
            begin = self._buffer[at : at + _BEGIN]
            around = tuple(self._around)
            if self._behind is None or self._behind[3] != around:
                self._looks.clear()
            # The last one comes last.
            self._looks.pop(name, None)
            self._looks[name] = begin, self._declares
            self._behind = (end, self._parser.CurrentLineNumber, self._count, around)
        elif self._around and self._overlong is None:
            text = self._decode(self._start, end)
            self._kept_bytes += len(text)
            if self._kept_bytes > self._limits.max_record_bytes:
                raise _TooMuchError(
                    "what the model wants from above its records is over the limit (setting max_record_bytes)"
                )
            self._around[-1].kept.append(text)
        self._overlong = None

    def _start_tag(self, index: int) -> str:
        at = index - self._base
        if self._encoding.startswith("utf-16"):
            text = self._buffer[at:].decode(self._encoding, "ignore").encode()
            found = START_TAG.match(text)
            return found.group().decode() if found else ""
        found = START_TAG.match(self._buffer, at)
        return found.group().decode(self._encoding) if found else ""

    def _end_of_tag(self, index: int) -> int:
        """The byte after the element: expat points at `</name>`, or after `/>` of an empty element."""
        close = ">".encode(self._encoding)
        at = index - self._base
        opening = "</".encode(self._encoding)
        if self._overlong is None and self._is_empty_element():
            return index
        if self._buffer[at : at + len(opening)] != opening:
            return index
        return self._base + self._buffer.index(close, at) + len(close)

    def _is_empty_element(self) -> bool:
        if self._deepest > self._depth + 1:
            return False
        return self._start_tag(self._start).endswith("/>")

    def _record(self, end: int) -> RawRecord:
        number, line, offset = self._count, self._line + self._line_shift, self._start + self._shift
        self._count += 1
        length = end - self._start
        if self._overlong is not None or length > self._limits.max_record_bytes:
            excerpt = self._overlong or self._buffer[self._start - self._base : end - self._base][:EXCERPT]
            return RawRecord(excerpt, number, line, offset, self._limits.too_long(length))
        data = self._buffer[self._start - self._base : end - self._base]
        problem = self._limits.too_deep() if self._deepest - self._depth > self._limits.max_record_depth else None
        if not self._leans(data):
            return RawRecord(data, number, line, offset, problem)
        framed, head = self._framed(data)
        if self._encoding not in ("utf-8", "ascii"):
            # The record alone could not be read.
            return RawRecord(framed, number, line, offset, problem)
        return RawRecord(framed, number, line, offset, problem, head, len(framed) - head - len(data))

    @property
    def behind(self) -> Place | None:
        """The place behind the last record that was found."""
        if self._behind is None:
            return None
        end, line, count, around = self._behind
        looks = [_look(begin, declares) for begin, declares in list(self._looks.values())[-_LOOKS:]]
        is_known = bool(looks) and looks[-1] is not None
        return Place(
            end + self._shift,
            line + self._line_shift,
            count,
            tuple(element.start_tag for element in around),
            tuple(look for look in looks if look is not None),
            # Behind the root there are no records.
            bool(around) and is_known and self._encoding in ("utf-8", "ascii") and not self._wanted,
            self._declares_namespaces,
            self._declared,
        )

    def _leans(self, data: bytes) -> bool:
        """Whether the record cannot be read without what is around it."""
        return (
            self._encoding not in ("utf-8", "ascii")
            or bool(self._wanted and self._around)
            or (self._declares_namespaces and bool(self._around))
        )

    def _framed(self, data: bytes) -> tuple[bytes, int]:
        """The smallest document that holds the record: declaration, start tags around it, kept children, itself.

        And how many bytes stand before it.
        """
        declaration = f'<?xml version="1.0" encoding="{self._declared}"?>' if self._declared else ""
        head = [declaration, f"<?{FRAME} {len(self._around)}?>"]
        for element in self._around:
            head += [element.start_tag, *element.kept]
        tail = "".join(f"</{element.qualified}>" for element in reversed(self._around))
        bom = "\ufeff".encode(self._encoding) if self._encoding.startswith("utf-16") else b""
        before = bom + "".join(head).encode(self._encoding)
        return before + data + tail.encode(self._encoding), len(before)

    def _decode(self, start: int, end: int) -> str:
        return self._buffer[start - self._base : end - self._base].decode(self._encoding)

    def _forget(self, name: str) -> SourceError | None:
        """Drop what is behind: everything, or everything before the record that is open."""
        fed = self._base + len(self._buffer)
        if self._inside and fed - self._start > self._limits.max_record_bytes + CHUNK:
            if self._overlong is None:
                self._overlong = self._buffer[self._start - self._base :][:EXCERPT]
            keep_from = self._parser.CurrentByteIndex
        elif self._inside and self._overlong is None:
            keep_from = self._start
        else:
            keep_from = self._parser.CurrentByteIndex
        if fed - keep_from > self._limits.max_record_bytes + 2 * CHUNK:
            message = "one tag or comment is over the limit of a record (setting max_record_bytes)"
            return SourceError(message, file=name, offset=keep_from + self._shift, record=self._count)
        if keep_from > self._base:
            self._buffer = self._buffer[keep_from - self._base :]
            self._base = keep_from
        return None


def _look(begin: bytes, declares: bool) -> Look | None:
    """How a record begins, by its first bytes; None where its start tag is longer than these and must be known."""
    tag, name = START_TAG.match(begin) if declares else None, START_NAME.match(begin)
    if name is None or (declares and tag is None):
        return None
    return Look(name[1], tag.group() if tag is not None else b"")


def _qualified(start_tag: str) -> str:
    """The name in a start tag as it is written."""
    return re.split(r"[\s/>]", start_tag[1:], maxsplit=1)[0]
