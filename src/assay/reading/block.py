"""Blocks: many raw records at once, as bytes and where each of them lies."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import BinaryIO, Final, Protocol

import numpy as np
import numpy.typing as npt

from assay.errors import SourceError
from assay.reading.factory import Processor
from assay.reading.raw import Problem, RawRecord

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Zero bytes behind the records of a block: whoever looks at bytes there some words at a time stays inside.
PAD: Final = bytes(64)
#: Records of a block that is made of single raw records.
_RECORDS: Final = 16_384
_NONE: Final[Mapping[int, Problem]] = MappingProxyType({})


@dataclass(frozen=True)
class Doubts:
    """What is found out of records only where nothing else proves them.

    Attributes:
        problems: Why some, by number in the block, cannot be read as records at all.
        damage: The first row that shows the file to be damaged, and what is said of it; None where none does.
    """

    problems: Mapping[int, Problem] = field(default_factory=lambda: _NONE)
    damage: tuple[int, SourceError] | None = None


_NO_DOUBTS: Final = Doubts()


@dataclass(frozen=True)
class Block:
    """Some raw records of a source, in order.

    Attributes:
        data: Bytes in which they lie, and then `PAD`.
        starts: Where each begins in `data`.
        ends: Where each ends, exclusive.
        records: 0-based number of each in the source.
        offsets: 0-based byte offset of each in the (decompressed) source.
        lines: 1-based line of each.
        problems: Why some of them, by number in the block, cannot be read as records at all.
        head: Bytes that stand before each record in what is kept of it (the frame of an XML record).
        tail: Bytes that stand behind each.
        marks: A byte (its number), and all its places in `data`, in JSON those that are escaped left out; None where
            nobody has looked for any yet.
        doubt: Tells what is wrong with some rows of this block, as far as how they were found has not shown it; None
            where it has shown all. See `doubts`.
    """

    data: bytes
    starts: Ints
    ends: Ints
    records: Ints
    offsets: Ints
    lines: Ints
    problems: Mapping[int, Problem] = field(default_factory=lambda: _NONE)
    head: bytes = b""
    tail: bytes = b""
    marks: tuple[int, Ints] | None = None
    doubt: Callable[[Block, Ints], Doubts] | None = None

    @classmethod
    def of(cls, raws: Sequence[RawRecord]) -> Block:
        """Single raw records as a block."""
        head, tail = _common_frame(raws)
        return replace(
            cls.together([raw.data[len(head) : len(raw.data) - len(tail)] for raw in raws]),
            head=head,
            tail=tail,
            records=np.array([raw.record for raw in raws], np.int64),
            offsets=np.array([raw.offset for raw in raws], np.int64),
            lines=np.array([raw.line for raw in raws], np.int64),
            problems={row: raw.problem for row, raw in enumerate(raws) if raw.problem is not None},
        )

    @classmethod
    def together(cls, records: Sequence[bytes]) -> Block:
        """The bytes of single records as a block; as for places, they are lines."""
        lengths = np.array([len(data) + 1 for data in records], np.int64)
        ends = lengths.cumsum() - 1
        starts = ends + 1 - lengths
        numbers = np.arange(len(records))
        return cls(b"\n".join([*records, PAD]), starts, ends, numbers, starts, np.ones(len(records), np.int64))

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Blocks of one frame, one behind the other; each record keeps the number and place that it had."""
        first = blocks[0]
        if len(blocks) == 1:
            return first
        contents = [block.data[: len(block.data) - len(PAD)] for block in blocks]
        shifts = np.cumsum([0, *(len(content) for content in contents[:-1])])
        rows = np.cumsum([0, *(len(block) for block in blocks[:-1])]).tolist()
        return cls(
            b"".join([*contents, PAD]),
            np.concatenate([block.starts + shift for block, shift in zip(blocks, shifts, strict=True)]),
            np.concatenate([block.ends + shift for block, shift in zip(blocks, shifts, strict=True)]),
            np.concatenate([block.records for block in blocks]),
            np.concatenate([block.offsets for block in blocks]),
            np.concatenate([block.lines for block in blocks]),
            {
                row + begin: problem
                for block, begin in zip(blocks, rows, strict=True)
                for row, problem in block.problems.items()
            },
            first.head,
            first.tail,
            doubt=partial(_doubts_of, blocks) if any(block.doubt is not None for block in blocks) else None,
        )

    def doubts(self, rows: Ints) -> Doubts:
        """What is wrong with some rows, in order, that nothing has proven; beside `problems`."""
        return _NO_DOUBTS if self.doubt is None or not len(rows) else self.doubt(self, rows)

    def __len__(self) -> int:
        return len(self.starts)

    def raw(self, row: int) -> RawRecord:
        """One of them."""
        data = self.data[self.starts[row] : self.ends[row]]
        if self.head or self.tail:
            data = self.head + data + self.tail
        record, line, offset = int(self.records[row]), int(self.lines[row]), int(self.offsets[row])
        problem, head, tail = self.problems.get(row), len(self.head), len(self.tail)
        return RawRecord(data, record, line, offset, problem, head, tail)

    def first(self, records: int) -> Block:
        """The first of them only."""
        return replace(
            self,
            starts=self.starts[:records],
            ends=self.ends[:records],
            records=self.records[:records],
            offsets=self.offsets[:records],
            lines=self.lines[:records],
        )


def _doubts_of(blocks: Sequence[Block], block: Block, rows: Ints) -> Doubts:
    """The same of blocks that have become one: each is asked of its own rows, up to the first damage."""
    problems: dict[int, Problem] = {}
    begin = 0
    for part in blocks:
        first, last = np.searchsorted(rows, (begin, begin + len(part)))
        found = part.doubts(rows[first:last] - begin)
        problems.update({row + begin: problem for row, problem in found.problems.items()})
        if found.damage is not None:
            return Doubts(problems, (found.damage[0] + begin, found.damage[1]))
        begin += len(part)
    return Doubts(problems)


def _common_frame(raws: Sequence[RawRecord]) -> tuple[bytes, bytes]:
    """What stands before and behind each of some records, where it is the same."""
    if not raws or not raws[0].head:
        return b"", b""
    first = raws[0]
    head, tail = first.data[: first.head], first.data[len(first.data) - first.tail :]
    same = all(
        raw.head == first.head and raw.tail == first.tail and raw.data.startswith(head) and raw.data.endswith(tail)
        for raw in raws
    )
    return (head, tail) if same else (b"", b"")


class Blocks(Protocol):
    """A processor that gives many records at a time: its fast way."""

    def blocks(self, stream: BinaryIO, size: int) -> Iterator[Block]:
        """Cut a stream into blocks of about `size` bytes; the records are those that `split` gives."""
        ...


def blocks_of(processor: Processor, stream: BinaryIO, size: int) -> Iterator[Block]:
    """The records of a stream in blocks of about `size` bytes, by the processor's fast way where it has one.

    Raises:
        SourceError: the stream cannot be read on; what lies before the damage was given.
    """
    # To ask whether it is of the protocol takes longer than to read a small file.
    blocks: Callable[[BinaryIO, int], Iterator[Block]] | None = getattr(processor, "blocks", None)
    yield from gathered(processor.split(stream), size) if blocks is None else blocks(stream, size)


def gathered(raws: Iterable[RawRecord | Block], size: int) -> Iterator[Block]:
    """Single raw records put together into blocks; blocks among them stay what they are.

    Raises:
        SourceError: they cannot be read on; those before were given.
    """
    kept: list[RawRecord] = []
    length = 0
    try:
        for raw in raws:
            if isinstance(raw, Block):
                if kept:
                    yield Block.of(kept)
                    kept, length = [], 0
                yield raw
                continue
            kept.append(raw)
            length += len(raw.data)
            if length >= size or len(kept) >= _RECORDS:
                yield Block.of(kept)
                kept, length = [], 0
    except SourceError:
        if kept:
            yield Block.of(kept)
        raise
    if kept:
        yield Block.of(kept)


def undecodable(data: bytes, starts: Ints, ends: Ints) -> list[int]:
    """Which records are no UTF-8, by number."""
    found: list[int] = []
    view = memoryview(data)
    place = 0
    while place < len(data):
        try:
            codecs.utf_8_decode(view[place:], "strict", True)
        except UnicodeDecodeError as error:
            wrong = place + error.start
            row = int(np.searchsorted(starts, wrong, "right")) - 1
            inside = row >= 0 and wrong < ends[row]
            if inside:
                found.append(row)
            # What follows the record begins anew.
            place = int(ends[row]) if inside else wrong + 1
        else:
            break
    return found
