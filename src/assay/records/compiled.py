"""The compiled verdict: many records at once, as far as a shape is certain of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import polars as pl

from assay.reading import Chunk
from assay.records.chunks import Lines
from assay.records.claims import NotCompiled
from assay.records.observe import Observed
from assay.records.shape import CERTAIN, Shape, ShapeCompiler

#: Records that are looked at to learn what they look like.
_SAMPLE = 100
#: How often a file may be looked at again, since its records have come to look otherwise.
_LOOKS = 8
#: A share of records that no shape fits, in percent, from which it is worth to look again.
_STRANGE_PERCENT = 5
#: A share of records that can be cut, in percent, below which it is quicker to parse all of them.
_CUT_PERCENT = 50


@dataclass(frozen=True)
class Judged:
    """A chunk, as far as a shape is certain of it.

    Attributes:
        lines: The chunk's lines.
        frame: The columns of the records that are accepted for certain.
        rows: Which lines they are, in order.
        cut: How many lines could be cut; None where it was not tried.
    """

    lines: Lines
    frame: pl.DataFrame
    rows: pl.Series
    cut: int | None

    @property
    def rest(self) -> pl.Series:
        """The lines of which nothing is certain."""
        every = pl.int_range(self.lines.count, dtype=pl.UInt32, eager=True)
        if self.rows.len() == self.lines.count:
            return every.clear()
        return every.filter(~every.is_in(self.rows.implode()))

    def head(self, lines: int) -> Judged:
        """The same of the first lines only."""
        kept = self.rows < lines
        return Judged(self.lines.head(lines), self.frame.filter(kept), self.rows.filter(kept), None)


@dataclass(frozen=True)
class Verdict:
    """How a chunk is judged; any thread may call it.

    Attributes:
        schema: The model's columns.
        shape: What records look like; None where nothing is known of it.
        cuts: Whether records are cut where they can be.
        longest: Bytes that a record may have.
    """

    schema: pl.Schema
    shape: Shape | None
    cuts: bool
    longest: int

    def judge(self, chunk: Chunk) -> Judged | None:
        """Judge a chunk; None where its lines cannot be cut but by the exact splitter."""
        shape = self.shape
        cut = shape.cut if shape is not None and self.cuts else None
        pattern = cut.pattern if cut is not None else None if shape is None else shape.pattern
        lines = Lines.cut(chunk, pattern, self.longest)
        if lines is None:
            return None
        if shape is None:
            return Judged(lines, pl.DataFrame(schema=self.schema), pl.Series([], dtype=pl.UInt32), None)
        rows = lines.fits.arg_true()
        data = lines.of(rows)
        if cut is None:
            return Judged(lines, *_certain(shape.scan(data), rows), None)
        frame, certain = _certain(cut.scan(data), rows)
        if rows.len() < lines.count:
            others = lines.search((~lines.fits).arg_true(), shape.pattern)
            parsed, more = _certain(shape.scan(lines.of(others)), others)
            certain = pl.concat([certain, more])
            order = certain.arg_sort()
            frame, certain = pl.concat([frame, parsed])[order], certain.gather(order)
        return Judged(lines, frame, certain, rows.len())


class CompiledJudge:
    """Learns shapes from the records of a source.

    Args:
        compiler: Makes shapes for the model.
        longest: Bytes that a record may have.
    """

    def __init__(self, compiler: ShapeCompiler, longest: int) -> None:
        self._compiler = compiler
        self._seen = Observed()
        self._looks = 0
        self._verdict = Verdict(compiler.schema, None, cuts=True, longest=longest)

    def verdict_for(self, chunk: Chunk) -> Verdict:
        """How to judge a chunk, by what was learnt of the chunks before; of a first one, by its beginning."""
        if not self._looks:
            head = chunk.data[: 1 << 20].split(b"\n", _SAMPLE)[:_SAMPLE]
            self._learn(line.decode(errors="replace") for line in head)
        return self._verdict

    def note(self, judged: Judged) -> None:
        """See how far a shape went with a chunk."""
        count = judged.lines.count
        if judged.cut is not None and judged.cut * 100 < _CUT_PERCENT * count:
            self._verdict = replace(self._verdict, cuts=False)
        strange = count - judged.rows.len()
        if strange * 100 > _STRANGE_PERCENT * count and self._looks < _LOOKS:
            self._learn(judged.lines.texts.gather(judged.rest.head(_SAMPLE)))

    def _learn(self, sample: Iterable[str]) -> None:
        self._looks += 1
        records = pl.Series(list(sample), dtype=pl.String)
        self._seen = _observed(records, self._seen)
        shape = self._shape()
        if shape is None or int(records.str.contains(shape.pattern).sum()) * 2 < records.len():
            # Records of two looks that do not go together, such as another order of keys: the newer one counts.
            self._seen = _observed(records, Observed())
            shape = self._shape() or shape
        if shape is not None:
            self._verdict = replace(self._verdict, shape=shape, cuts=True)

    def _shape(self) -> Shape | None:
        try:
            return self._compiler.shape(self._seen)
        except NotCompiled:
            return None


def _observed(records: pl.Series, seen: Observed) -> Observed:
    for record in records:
        seen.note_json(record)
    return seen


def _certain(scanned: pl.LazyFrame, rows: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    """The records that are accepted for certain, of those that match."""
    made = scanned.collect(engine="streaming")
    if made.height != rows.len():
        raise AssertionError(f"{rows.len()} records were decoded as {made.height}")
    certain = made.drop_in_place(CERTAIN).fill_null(value=False)
    return (made, rows) if certain.all() else (made.filter(certain), rows.filter(certain))
