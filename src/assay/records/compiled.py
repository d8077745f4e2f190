"""The compiled verdict: many records at once, as far as a shape is certain of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from assay.errors import SourceError
from assay.reading import Block, Bools, Ints
from assay.reading.block import undecodable
from assay.records.assemble import Assembly
from assay.records.claims import NotCompiled
from assay.records.cursor import Cursor, Text
from assay.records.found import Level
from assay.records.shape import Shape, Shapes

#: Records that are looked at to learn what they look like.
_SAMPLE = 100
#: So many bytes are enough to look at.
_SAMPLE_BYTES = 256 * 1024
#: Of fewer records together nothing is learnt.
_WORTH_RECORDS = 20
#: How often a file may be looked at again, since its records have come to look otherwise.
_LOOKS = 8
#: Looks that are kept: producers of one feed may differ in the order of their keys.
_KEPT = 4
_FIRST_NO_ASCII = 128
#: A share of records that no shape fits, in percent, from which it is worth to look again.
_STRANGE_PERCENT = 5


@dataclass(frozen=True)
class Judged:
    """A block, as far as the shapes are certain of it.

    Attributes:
        block: The block.
        frame: The columns of the records that are accepted for certain.
        rows: Which of its records they are, in order.
    """

    block: Block
    frame: pl.DataFrame
    rows: Ints

    @classmethod
    def nothing(cls, block: Block, schema: pl.Schema) -> Judged:
        """A block of which nothing is certain."""
        return cls(block, pl.DataFrame(schema=schema), np.zeros(0, np.int64))

    @property
    def rest(self) -> Ints:
        """The records of which nothing is certain."""
        certain = np.zeros(len(self.block), np.bool_)
        certain[self.rows] = True
        return np.flatnonzero(~certain)

    def first(self, records: int) -> Judged:
        """The same of the first records only."""
        kept = int(np.searchsorted(self.rows, records))
        return Judged(self.block.first(records), self.frame.head(kept), self.rows[:kept])

    def without_doubts(self) -> tuple[Judged, SourceError | None]:
        """The same, what is wrong with the rest being found out; and where the file is damaged, what comes before."""
        doubts = self.block.doubts(self.rest)
        known = self
        if doubts.problems:
            known = replace(self, block=replace(self.block, problems={**self.block.problems, **doubts.problems}))
        if doubts.damage is None:
            return known, None
        row, error = doubts.damage
        return known.first(row), error


@dataclass(frozen=True)
class Verdict:
    """How a block is judged; any thread may call it.

    Attributes:
        schema: The model's columns.
        language: Of what its records are made.
        shapes: What they look like, the usual look first.
    """

    schema: pl.Schema
    language: Shapes
    shapes: tuple[Shape, ...]

    def judge(self, block: Block) -> Judged:
        """Judge a block."""
        return self.judge_on(Judged.nothing(block, self.schema))

    def judge_on(self, judged: Judged) -> Judged:
        """Judge what nothing was certain of so far."""
        block = judged.block
        frames, certain = ([judged.frame], [judged.rows]) if len(judged.rows) else ([], [])
        if self.shapes and len(block):
            text = self.language.text(block)
            sound = _is_sound(block)
            sound[judged.rows] = False
            rows = np.flatnonzero(sound)
            for shape in self.shapes:
                if shape.head != block.head:
                    continue
                frame, accepted = _accepted(shape, text, rows)
                if len(accepted):
                    frames.append(frame)
                    certain.append(accepted)
                    rows = np.setdiff1d(rows, accepted, assume_unique=True)
                if not len(rows):
                    break
        if not frames:
            return Judged.nothing(block, self.schema)
        if len(frames) == 1:
            return Judged(block, frames[0], certain[0])
        every = np.concatenate(certain)
        order = np.argsort(every, kind="stable")
        return Judged(block, pl.concat(frames)[order], every[order])


class CompiledJudge:
    """Learns shapes from records, and keeps them from one file of a source to the next.

    Args:
        language: Makes shapes for the model.
        schema: The model's columns.
    """

    def __init__(self, language: Shapes, schema: pl.Schema) -> None:
        self._language = language
        self._looks = 0
        self._verdict = Verdict(schema, language, ())
        self._learning = threading.Lock()

    def begin(self) -> None:
        """A file begins."""
        self._looks = 0

    def verdict_for(self, block: Block) -> Verdict:
        """How to judge a block, by what was learnt of the blocks before; of a first one, by its beginning."""
        if not self._verdict.shapes and not self._looks and _is_worth(block):
            self._learn(block, np.arange(min(len(block), _SAMPLE)))
        return self._verdict

    def note(self, judged: Judged) -> Judged:
        """See how far the shapes went with a block; what is learnt of the rest of it is used on it at once."""
        strange = len(judged.block) - len(judged.rows)
        is_strange = strange * 100 > _STRANGE_PERCENT * len(judged.block)
        if not (is_strange and self._looks < _LOOKS and _is_worth(judged.block)):
            return judged
        learnt = self._learn(judged.block, judged.rest[:_SAMPLE])
        return self._verdict.judge_on(judged) if learnt else judged

    def _learn(self, block: Block, rows: Ints) -> bool:
        """Look at some records: for each look that is common among them, a shape of its own; whether there is any."""
        self._looks += 1
        sample = _sample(block, rows)
        with self._learning:
            learnt: list[Shape] = []
            while sample and len(learnt) < _KEPT:
                made, sample = self._shape_of(sample, block)
                if made is None:
                    break
                learnt.append(made)
            known = [one for one in self._verdict.shapes if not any(one.looks_like(made) for made in learnt)]
            self._verdict = replace(self._verdict, shapes=(*learnt, *known)[:_KEPT])
        return bool(learnt)

    def _shape_of(self, sample: list[bytes], block: Block) -> tuple[Shape | None, list[bytes]]:
        """A shape for records, and those that it does not fit."""
        part = sample
        while part:
            shape = self._compiled(part, block)
            if shape is not None and len(self._strangers(shape, part)) * 2 <= len(part):
                rest = self._strangers(shape, sample)
                if (len(sample) - len(rest)) * 100 < _STRANGE_PERCENT * len(sample):
                    return None, []
                return shape, rest if len(rest) * 100 > _STRANGE_PERCENT * len(sample) else []
            # Records of several looks that do not go together, such as another order of keys.
            part = part[: len(part) // 2]
        return None, []

    def _compiled(self, sample: list[bytes], block: Block) -> Shape | None:
        try:
            return self._language.shape(sample, block)
        except NotCompiled:
            return None

    def _strangers(self, shape: Shape, sample: list[bytes]) -> list[bytes]:
        """Those of some records that do not fit a shape."""
        text = self._language.text(Block.together(sample))
        _, fits = _walk(shape, text, np.arange(len(sample)))
        return [data for data, fit in zip(sample, fits.tolist(), strict=True) if not fit]


def _sample(block: Block, rows: Ints) -> list[bytes]:
    """Some of these records, none of which is known to be wrong."""
    sizes = (block.ends[rows] - block.starts[rows]).cumsum()
    rows = rows[: int(np.searchsorted(sizes, _SAMPLE_BYTES)) + 1]
    wrong = {**block.problems, **block.doubts(rows).problems}
    return [block.data[block.starts[row] : block.ends[row]] for row in rows.tolist() if row not in wrong]


def _is_worth(block: Block) -> bool:
    """Whether so many records are quicker to judge than what they look like is to learn."""
    return len(block) >= _WORTH_RECORDS


def _walk(shape: Shape, text: Text, rows: Ints) -> tuple[Level, Bools]:
    """Walk through some records of a block: what was found, and in which of them all was as it should be."""
    cursor = Cursor.at_starts(text, text.block.starts[rows])
    level = Level(len(rows))
    shape.layout.walk(cursor, None, level)
    return level, cursor.ok & (cursor.at == text.block.ends[rows])


def _accepted(shape: Shape, text: Text, rows: Ints) -> tuple[pl.DataFrame, Ints]:
    """The columns of those of some records that a shape is certain of, and which these are."""
    if not shape.spaced:
        block = text.block
        clean = text.clean(block.starts[rows], block.ends[rows])
        if not clean.all():
            rows = rows[clean]
    level, fits = _walk(shape, text, rows)
    if not fits.all():
        level, rows = level.keep(fits), rows[fits]
    columns, certain = Assembly(text, spaced=shape.spaced).columns(shape.values, level, shape.ignored)
    frame = pl.DataFrame(list(columns.values()))
    if not certain.all():
        frame, rows = frame.filter(certain), rows[certain]
    return frame, rows


def _is_sound(block: Block) -> Bools:
    """Which records can be read at all and are UTF-8."""
    sound = np.ones(len(block), np.bool_)
    if block.problems:
        sound[[row for row in block.problems if row < len(block)]] = False
    # Numpy lets other threads go on meanwhile.
    if np.frombuffer(block.data, np.uint8).max() >= _FIRST_NO_ASCII:
        sound[undecodable(block.data, block.starts, block.ends)] = False
    return sound
