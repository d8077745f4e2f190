"""Cutting an XML stream into blocks of records: by expat, and where records follow each other plainly, by their tags.

Records of one name between which there is only white space can be found by looking for their tags, many at once, as
long as nothing comes that could hide a tag: a comment, CDATA, a processing instruction, a record within a record, a
namespace that is declared otherwise than before. Whatever is not so plain is given to expat, and from behind it the
look goes on. Whether what is inside such records is well formed is not known then: `Block.doubts` tells it of those
that nothing else proves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import BinaryIO, Final
from xml.parsers import expat

import numpy as np

from assay.errors import SourceError
from assay.reading.block import PAD, Block, Doubts, Ints
from assay.reading.octets import Octets, Words, rare
from assay.reading.raw import Limits, RawRecord
from assay.reading.xml_split import CHUNK, START_NAME, START_TAG, Look, Place, XmlSplitter, clark

_LF: Final = 10
_LESS: Final = 60
_SPACES: Final = (32, 9, 10, 13)
#: What may follow the name in a start tag.
_AFTER_NAME: Final = np.isin(np.arange(256), (*_SPACES, 62, 47))
_SECOND: Final = np.uint64(0xFF00)
#: What begins a comment, CDATA or a processing instruction behind `<`, where the second byte of a word is.
_HIDES: Final = (np.uint64(33 << 8), np.uint64(63 << 8))
#: And an end tag.
_CLOSES: Final = np.uint64(47 << 8)
#: Where fewer records than these are found at once, so many bytes are left to expat.
_FEW: Final = 4
_FAR: Final = 1024 * 1024


class XmlBlocks:
    """One pass over one stream.

    Args:
        stream: The stream.
        size: Bytes of a block.
        make: Makes a splitter that begins at a place; None: at the beginning.
        limits: Bounds on one record.
        roots: Tells of a document whether its root is a record.
    """

    def __init__(
        self,
        stream: BinaryIO,
        size: int,
        make: Callable[[Place | None], XmlSplitter],
        limits: Limits,
        roots: Roots,
    ) -> None:
        self._stream = stream
        self._name = str(getattr(stream, "name", "<stream>"))
        self._size = size
        self._make = make
        self._limits = limits
        self._roots = roots
        # What is read and not yet given; the place is that of its first byte.
        self._data = b""
        self._place: Place | None = None
        self._ended = False

    def __iter__(self) -> Iterator[Block]:
        """The blocks.

        Raises:
            SourceError: as the splitter says; what lies before was given.
        """
        alone = self._alone()
        if alone is not None:
            yield alone
            return
        stretch = CHUNK
        while True:
            yield from self._exactly(stretch)
            if self._place is None:
                return
            stretch = _FAR
            while (block := self._plainly(self._place)) is not None:
                if len(block) >= _FEW:
                    stretch = CHUNK
                yield block

    def _read(self, size: int, behind: bytes = b"") -> bytes:
        """What is read and not yet given, so many bytes if there are, and these behind it."""
        parts = [self._data]
        have = len(self._data)
        while have < size and not self._ended:
            part = self._stream.read(size - have)
            self._ended = not part
            parts.append(part)
            have += len(part)
        return b"".join((*parts, behind))

    def _alone(self) -> Block | None:
        """The one record that a short document is, if its root is one; None also of whatever is not plain.

        Only where the root begins is looked at; whether it is well formed, or nested too deeply, is doubted.
        """
        text = self._read(CHUNK + 1, PAD)
        self._data = text[: len(text) - len(PAD)]
        if not self._ended or len(self._data) > min(CHUNK, self._limits.max_record_bytes):
            return None
        root = self._roots.of(self._data)
        if root is None:
            return None
        start, line, name = root
        end = len(self._data.rstrip(bytes(_SPACES)))
        # Nothing but the end of the document may look like the end of the root.
        close = b"</" + name + b">"
        if self._data.find(close[:-1], start) + len(close) != end or not self._data.startswith(close, end - len(close)):
            return None
        # Behind the root there may be comments, and in one there may be anything. To look for one byte takes no time.
        if any(self._data.find(mark[1:], start) >= 0 and self._data.find(mark, start) >= 0 for mark in (b"<!", b"<?")):
            return None
        starts, ends, numbers, lines = np.array([[start], [end], [0], [line]], np.int64)
        doubt = partial(_doubts_alone, make=self._make, name=self._name)
        return Block(text, starts, ends, numbers, starts, lines, doubt=doubt)

    def _exactly(self, stretch: int) -> Iterator[Block]:
        """By expat, until so many bytes are read and the look can go on behind a record; else to the end."""
        splitter = self._make(self._place)
        offset = self._place.offset if self._place is not None else 0
        self._place = None
        begin, fed = offset, 0
        raws: list[RawRecord] = []
        size = 0
        while True:
            wanted = splitter.wanted
            if fed == len(self._data):
                self._data = self._read(fed + wanted)
            chunk = self._data[fed : fed + wanted]
            fed += len(chunk)
            found, failure = splitter.feed(chunk, self._name)
            raws += found
            size += sum(len(raw.data) for raw in found)
            behind = splitter.behind
            goes_on = behind is not None and behind.plain and offset + fed - begin >= stretch
            if raws and (size >= self._size or failure or not chunk or goes_on):
                yield Block.of(raws)
                raws, size = [], 0
            if failure is not None:
                raise failure
            if not chunk:
                return
            # Behind the last record is where a look could go on.
            keep = behind.offset - offset if behind is not None and behind.plain else fed
            self._data, offset, fed = self._data[keep:], offset + keep, fed - keep
            if goes_on:
                self._place = behind
                return

    def _plainly(self, place: Place) -> Block | None:
        """The records behind a place as far as they follow each other plainly; None where none does."""
        if not place.plain:
            return None
        # To pad it afterwards would be to copy it once more.
        text = Octets(self._read(self._size, PAD))
        found = _plain_elements(text, place.looks, self._limits)
        if found is None:
            self._data = text.data[: text.size]
            return None
        starts, ends, opening = found
        newlines = rare(text.content == _LF)
        lines = np.searchsorted(newlines, starts) + place.line
        head, tail = place.frame
        block = Block(
            text.data,
            starts,
            ends,
            np.arange(place.count, place.count + len(starts)),
            starts + place.offset,
            lines,
            head=head,
            tail=tail,
            marks=(_LESS, opening),
            doubt=partial(_doubts, name=self._name, around="".join(place.around).encode()),
        )
        end = int(ends[-1])
        line = place.line + int(np.searchsorted(newlines, end))
        self._place = replace(place, offset=place.offset + end, line=line, count=place.count + len(starts))
        self._data = text.data[end : text.size]
        return block


class Roots:
    """Tells where the root of a document begins, if it is a record.

    Args:
        is_record: Whether a root element of a name, in Clark notation, is a record.
    """

    def __init__(self, is_record: Callable[[str], bool]) -> None:
        self._is_record = is_record
        self._last: tuple[bytes, tuple[int, int, bytes]] | None = None

    def of(self, data: bytes) -> tuple[int, int, bytes] | None:
        """Where the root begins, in which line, and its name; None also of what is not plain, or no UTF-8."""
        # Documents of one producer mostly begin in the same words.
        if self._last is not None and data.startswith(self._last[0]):
            return self._last[1]
        found = _root_of(data, self._is_record)
        if found is None:
            return None
        start, line, name, end = found
        self._last = data[:end], (start, line, name)
        return self._last[1]


class _KnownError(Exception):
    """What was to be known of the root is known."""


def _root_of(data: bytes, is_record: Callable[[str], bool]) -> tuple[int, int, bytes, int] | None:
    """Where the root begins, in which line, its name, and where its start tag ends; it is a record, and not empty."""
    root: list[tuple[int, int]] = []
    parser = expat.ParserCreate(namespace_separator=" ")

    def on_start(name: str, _: dict[str, str]) -> None:
        if is_record(clark(name)):
            root.append((parser.CurrentByteIndex, parser.CurrentLineNumber))
        raise _KnownError

    def on_declaration(version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            raise _KnownError

    def on_doctype(name: str, system: str | None, public: str | None, subset: int) -> None:
        raise _KnownError

    parser.StartElementHandler, parser.StartDoctypeDeclHandler = on_start, on_doctype
    parser.XmlDeclHandler = on_declaration
    # What is wrong, the splitter says.
    with suppress(_KnownError, expat.ExpatError, ValueError):
        parser.Parse(data, False)
    if not root:
        return None
    start, line = root[0]
    # In UTF-16, which expat tells by itself, a tag begins otherwise.
    tag = START_TAG.match(data, start)
    name = START_NAME.match(data, start)
    if tag is None or name is None or tag.group().endswith(b"/>") or name[1].startswith(b"\0"):
        return None
    return start, line, name[1], tag.end()


def _doubts_alone(block: Block, rows: Ints, *, make: Callable[[Place | None], XmlSplitter], name: str) -> Doubts:
    """Whether the one record of a document is well formed, and what the splitter has against it."""
    splitter = make(None)
    found: list[RawRecord] = []
    for chunk in (block.data[: len(block.data) - len(PAD)], b""):
        raws, failure = splitter.feed(chunk, name)
        found += raws
        if failure is not None:
            return Doubts(damage=(0, failure))
    return Doubts({row: raw.problem for row, raw in enumerate(found) if raw.problem is not None})


def _plain_elements(text: Octets, looks: Sequence[Look], limits: Limits) -> tuple[Ints, Ints, Ints] | None:
    """Where the records are with which a text begins, as far as only white space is between them.

    Args:
        text: It.
        looks: How they begin: by a name, and whatever that declares of namespaces, in the same words.
        limits: Bounds on one record.

    Returns:
        Where they begin and end, and where any tag begins in the text.
    """
    opening = np.flatnonzero(text.content == _LESS)
    words = text.words(opening, 1)[:, 0]
    behind = words & _SECOND
    hidden = np.flatnonzero((behind == _HIDES[0]) | (behind == _HIDES[1]))
    limit = int(opening[hidden[0]]) if len(hidden) else text.size
    # Those that declare nothing are only known by that.
    looks = [look for look in looks if bool(look.start_tag) == bool(looks[-1].start_tag)]
    if not looks[-1].start_tag:
        # Without attributes nothing is declared, and to look for one byte takes no time.
        declares = text.data.find(b"xmlns", 0, limit) if b"=" in text.data else -1
        limit = limit if declares < 0 else declares
    found = [_places(text, opening, words, look) for look in looks]
    starts, ends = _in_order([one for one, _ in found]), _in_order([one for _, one in found])
    count = min(len(starts[0]), int(np.searchsorted(ends[0], limit, "right")))
    following, kinds, closed = starts[0][1 : count + 1], starts[1][:count], ends[1][:count]
    begin, end = starts[0][:count], ends[0][:count]
    if not count or (begin[0] and not np.isin(text.bytes[: begin[0]], _SPACES).all()):
        return None
    wrong = (begin >= end) | (kinds != closed)
    for kind, look in enumerate(looks):
        if look.start_tag:
            mine = np.flatnonzero(kinds == kind)
            wrong[mine] |= ~text.fits(begin[mine], look.start_tag)
    wrong[: len(following)] |= end[: len(following)] > following
    wrong[1:] |= _filled(text, end[:-1], begin[1:])
    wrong |= end - begin > limits.max_record_bytes
    wrong |= _depths(opening, behind, begin, end) > limits.max_record_depth
    if wrong.any():
        count = int(wrong.argmax())
    return (begin[:count], end[:count], opening) if count else None


def _places(text: Octets, opening: Ints, words: Words, look: Look) -> tuple[Ints, Ints]:
    """Where elements begin that look so, and where elements of their name end."""
    starts = _tags(text, opening, words, b"<" + look.name)
    starts = starts[_AFTER_NAME[text.bytes[starts + len(look.name) + 1]]]
    close = b"</" + look.name + b">"
    return starts, _tags(text, opening, words, close) + len(close)


def _in_order(several: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Places of several kinds in order, and of which kind each is."""
    if len(several) == 1:
        return several[0], np.zeros(len(several[0]), np.int64)
    places = np.concatenate(several)
    kinds = np.repeat(np.arange(len(several)), [len(one) for one in several])
    order = np.argsort(places)
    return places[order], kinds[order]


def _depths(opening: Ints, behind: Words, starts: Ints, ends: Ints) -> Ints:
    """How deeply the tags between these places are nested at most: an element without an end tag counts to the end."""
    first, last = np.searchsorted(opening, starts), np.searchsorted(opening, ends)
    open_tags = np.where(behind == _CLOSES, -1, 1).cumsum()
    # Ends behind the last place would be one too many.
    deepest: Ints = np.maximum.reduceat(open_tags, np.stack((first, np.minimum(last, len(open_tags) - 1)), 1).ravel())[
        ::2
    ]
    depths: Ints = deepest - open_tags[first] + 1
    return depths


def _tags(text: Octets, opening: Ints, words: Words, tag: bytes) -> Ints:
    """Which of the places of `<` begin a tag; the words that begin there tell most others."""
    head = tag[:8]
    mask = np.uint64((1 << (8 * len(head))) - 1)
    found: Ints = opening[(words & mask) == np.uint64(int.from_bytes(head, "little"))]
    return found if len(tag) <= len(head) else found[text.fits(found, tag)]


def _filled(text: Octets, starts: Ints, ends: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of these gaps hold more than white space."""
    lengths = np.maximum(ends - starts, 0)
    before = lengths.cumsum() - lengths
    between = text.bytes[np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)]
    filled = np.zeros(len(starts), np.bool_)
    filled[np.repeat(np.arange(len(starts)), lengths)[~np.isin(between, _SPACES)]] = True
    return filled


def _doubts(block: Block, rows: Ints, *, name: str, around: bytes) -> Doubts:
    """The first of some records that is not well formed.

    They can be parsed one behind the other: each ends with the only end tag of its name, so that what it leaves open is
    a mistake there and then.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.Parse(around, False)
    fed = len(around)
    for row in rows.tolist():
        start, end = int(block.starts[row]), int(block.ends[row])
        try:
            parser.Parse(block.data[start:end], False)
        except expat.ExpatError as error:
            place = parser.ErrorByteIndex - fed
            line = int(block.lines[row]) + block.data.count(b"\n", start, start + place)
            message = f"not well-formed XML at line {line}: {expat.errors.messages[error.code]}"
            offset = int(block.offsets[row]) + place
            return Doubts(damage=(row, SourceError(message, file=name, offset=offset, record=int(block.records[row]))))
        fed += end - start
    return Doubts()
