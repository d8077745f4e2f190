"""Batches: a source read, judged and put into columns, some tens of thousands of records at a time."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, Generic, TypeVar, cast

import numpy as np
import polars as pl
from pydantic import BaseModel

from assay.errors import ConfigurationError, SourceError
from assay.reading import (
    Block,
    CsvProcessor,
    Ints,
    JsonlProcessor,
    JsonProcessor,
    Limits,
    OpenSource,
    Processor,
    ProcessorFactory,
    RawRecord,
    SourceFile,
    SourceLike,
    XmlProcessor,
    blocks_of,
    gathered,
    resolve,
)
from assay.reading.read_ahead import Ahead
from assay.records.columns import Columns, Datetimes
from assay.records.compiled import CompiledJudge, Judged
from assay.records.csv_shape import CsvShapes
from assay.records.json_shape import JsonShapes
from assay.records.rejects import Reject, rejects_frame, worded
from assay.records.schema import Schema
from assay.records.shape import FieldVerdict, Shapes
from assay.records.verdict import Judge, json_text_for
from assay.records.xml_shape import XmlShapes
from assay.settings import Settings

M = TypeVar("M", bound=BaseModel)

#: Place of each row, on request: name of the source, 0-based record, 1-based line, 0-based byte offset.
TRACE: Final = pl.Schema({"_source": pl.String(), "_record": pl.Int64(), "_line": pl.Int64(), "_offset": pl.Int64()})

#: Bytes of a block: enough that what is done once a block costs nothing.
_BLOCK: Final = 4 * 1024 * 1024
#: A file of so many bytes is small: it is read whole, and judged together with others.
_SMALL: Final = 256 * 1024
#: From the best to the worst.
_WAYS: Final = ("compiled", "field", "record")
#: Threads that judge, and blocks that are theirs while one is handled: one more, so that none waits for a block.
_AHEAD: Final = 2
_DEPTH: Final = _AHEAD + 1


class EmptySourceWarning(UserWarning):
    """A source has no bytes at all, or nothing in it is what was named as its records."""


@dataclass(frozen=True)
class Format:
    """How the records of a source are read: what `scan` was told.

    Attributes:
        format: Name of a processor, or None: by suffix.
        record: Where the records are: a path of keys (JSON), a row tag or path (XML).
        namespaces: Prefix to namespace (XML).
        empty_as_null: An empty element (XML) or cell (CSV) is null.
        decimals: Precision and scale of Decimal fields that the model does not bound.
        datetimes: Whether plain datetime fields are columns without zone or in UTC.
        delimiter: The character between cells (CSV).
        quote: The character around cells (CSV); "" for none.
        columns: Names of the columns of a file that has no row of them (CSV).
    """

    format: str | None = None
    record: str | None = None
    namespaces: Mapping[str, str] | None = None
    empty_as_null: bool | None = None
    decimals: tuple[int, int] | None = None
    datetimes: Datetimes = "naive"
    delimiter: str | None = None
    quote: str | None = None
    columns: Sequence[str] | None = None

    def options(self) -> dict[str, Any]:
        """What a processor is told."""
        names = ("record", "namespaces", "empty_as_null", "delimiter", "quote", "columns")
        return {name: getattr(self, name) for name in names}


@dataclass
class FileCount:
    """What was read of one file.

    Attributes:
        name: As it was given.
        read: Records.
        accepted: Those that the model takes.
        rejected: The others.
        referred: How many of both went to the reference.
        size: Bytes of the file as it lies there, once it was read to its end.
        sha256: Of the same.
    """

    name: str
    read: int = 0
    accepted: int = 0
    rejected: int = 0
    referred: int = 0
    size: int = 0
    sha256: str | None = None

    def add(self, read: int, accepted: int, rejected: int, referred: int) -> None:
        """Count a batch."""
        self.read += read
        self.accepted += accepted
        self.rejected += rejected
        self.referred += referred


@dataclass(frozen=True)
class Batch:
    """Some records of one file, or of several small ones, in order.

    Attributes:
        frame: The accepted ones, the model's fields and then `TRACE`.
        rejects: The rejected ones.
        read: How many records these are together.
        files: Counts of the files so far, this batch included.
    """

    frame: pl.DataFrame
    rejects: pl.DataFrame
    read: int
    files: tuple[FileCount, ...]

    @property
    def file(self) -> FileCount:
        """The last of the files."""
        return self.files[-1]


@dataclass(frozen=True)
class _Origin:
    """Which files the records of a block are from.

    Attributes:
        files: Their counts.
        rows: For each record of the block the number of its file; None where there is one file.
    """

    files: tuple[FileCount, ...]
    rows: Ints | None = None

    def name(self, row: int) -> str:
        """The file of a record."""
        return self.files[0 if self.rows is None else self.rows[row]].name

    def names(self, rows: Ints) -> pl.Series:
        """The files of some records."""
        if self.rows is None:
            return pl.Series([self.files[0].name], dtype=pl.String).new_from_index(0, len(rows))
        return pl.Series([file.name for file in self.files], dtype=pl.String)[self.rows[rows]]

    def add(self, size: int, accepted: Ints, rejected: Sequence[int], referred: Ints) -> None:
        """Count the records of a block."""
        if self.rows is None:
            self.files[0].add(size, len(accepted), len(rejected), len(referred))
            return
        rows = self.rows[:size]
        several = (rows, rows[accepted], rows[np.array(rejected, np.int64)], rows[referred])
        counts = [np.bincount(one, minlength=len(self.files)).tolist() for one in several]
        for file, *count in zip(self.files, *counts, strict=True):
            file.add(*count)


@dataclass
class _Bundle:
    """Small files that are judged together.

    Attributes:
        files: Their counts; of those without a record, too.
        parts: Their blocks, each with the number of its file.
        size: Bytes of the files.
        failure: What ends the reading behind them.
    """

    files: list[FileCount] = field(default_factory=list)
    parts: list[tuple[int, Block]] = field(default_factory=list)
    size: int = 0
    failure: SourceError | None = None

    def joined(self, schema: pl.Schema) -> Judged:
        """All records as one block, of which nothing is certain yet."""
        block = Block.joined([part for _, part in self.parts]) if self.parts else Block.of([])
        return Judged.nothing(block, schema)

    def origin(self) -> _Origin:
        """Which files the records are from."""
        rows = [np.full(len(part), number, np.int64) for number, part in self.parts]
        return _Origin(tuple(self.files), np.concatenate([np.zeros(0, np.int64), *rows]))


@dataclass
class RecordReader(Generic[M]):
    """Reads sources into batches by one model and format.

    Where it is not `traced`, batches may come without `TRACE`, and files are not hashed: both cost time.

    Raises:
        ConfigurationError: the model cannot become columns, or the format takes no such option.
    """

    model: type[M]
    format: Format = field(default_factory=Format)
    settings: Settings = field(default_factory=Settings)
    traced: bool = True

    def __post_init__(self) -> None:
        if not (isinstance(self.model, type) and issubclass(self.model, BaseModel)):
            raise ConfigurationError(f"the model is a Pydantic model, not {self.model!r}")
        self.columns = Columns(self.model, decimals=self.format.decimals, datetimes=self.format.datetimes)
        self._core = Schema(self.model, self.columns)
        self._judges: dict[type[Shapes], CompiledJudge] = {}

    @property
    def schema(self) -> pl.Schema:
        """The model's columns."""
        return self.columns.schema

    def field_verdicts(self, files: Iterable[SourceFile]) -> dict[str, FieldVerdict]:
        """How each field is judged; where all records go to the reference for another reason, that under ""."""
        verdicts: dict[str, FieldVerdict] = {}
        for file in {self.format.format or file.format: file for file in files}.values():
            language = self._language(self.processor(file))
            if language is None:
                return {"": FieldVerdict("record", f"{self.format.format or file.format} has no compiled verdict")}
            for name, one in language.explain().items():
                if name not in verdicts or _WAYS.index(one.way) > _WAYS.index(verdicts[name].way):
                    verdicts[name] = one
        return verdicts

    def _language(self, processor: Processor) -> Shapes | None:
        """What compiles the model for records of a format; None where nothing does."""
        if isinstance(processor, JsonlProcessor | JsonProcessor):
            return JsonShapes(self._core)
        if isinstance(processor, XmlProcessor):
            return XmlShapes(self._core, self.model, processor.shape(self.model), empty_as_null=processor.empty_as_null)
        if isinstance(processor, CsvProcessor):
            return CsvShapes(self._core, self.model, processor)
        return None

    def processor(self, file: SourceFile | None = None) -> Processor:
        """The processor for a file.

        Raises:
            ConfigurationError: neither `format` nor the suffix tells which.
        """
        name = self.format.format or (file.format if file else None)
        if name is None:
            known = ", ".join(ProcessorFactory.names())
            raise ConfigurationError(
                f"cannot tell the format of {file.name if file else 'the source'}: say format=..., one of {known}"
            )
        limits = Limits(self.settings.max_record_bytes, self.settings.max_record_depth)
        return ProcessorFactory.create(name, limits=limits, **self.format.options())

    def check(self, source: SourceLike) -> list[SourceFile]:
        """The files of a source, each with a format that is known and takes the options, before any is read."""
        files = resolve(source)
        seen: set[str | None] = set()
        for file in files:
            if file.format not in seen:
                json_text_for(self.processor(file), self.model)
            seen.add(file.format)
        return files

    def batches(
        self,
        files: Iterable[SourceFile],
        *,
        limit: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Batch]:
        """Read files.

        Args:
            files: What `check` gave.
            limit: How many records to read at most.
            progress: Called with the bytes of the files read since the last call.

        Raises:
            SourceError: a file cannot be read (to its end); batches before the damage were given.
        """
        left = limit
        for several in [[file] for file in files] if limit is not None else _bundled(files, self.format.format):
            if len(several) > 1:
                yield from self._bundle_batches(several, progress)
                continue
            for batch in self._file_batches(several[0], left, progress):
                yield batch
                if left is not None:
                    left -= batch.read
            if left == 0:
                return

    def raw_batches(self, count: FileCount, raws: Iterator[RawRecord], processor: Processor) -> Iterator[Batch]:
        """Judge raw records of one source that are at hand (kept rejects, for a replay)."""
        for block in gathered(raws, self._block_bytes):
            judged = Judged.nothing(block, self.schema)
            yield self._completed(_Origin((count,)), judged, self._judge(processor))

    @property
    def _block_bytes(self) -> int:
        return min(self.settings.batch_bytes, _BLOCK)

    def raw_records(self, file: SourceFile) -> Iterator[RawRecord]:
        """Cut a file into raw records again, to find some of them by number."""
        processor = self.processor(file)
        with self._open(file) as stream:
            yield from _split(processor, stream, self.model)

    def _open(self, file: SourceFile, *, hashed: bool = True) -> OpenSource:
        ratio, size = self.settings.max_decompressed_ratio, self.settings.max_decompressed_bytes
        return file.open(max_ratio=ratio, max_bytes=size, hashed=hashed)

    def _file_batches(
        self, file: SourceFile, limit: int | None, progress: Callable[[int], None] | None
    ) -> Iterator[Batch]:
        processor = self.processor(file)
        count = FileCount(file.name)
        with self._open(file, hashed=self.traced) as stream:
            done = 0
            for batch in self._judged_stream(count, stream, processor, limit):
                yield batch
                if progress:
                    progress(stream.raw_size - done)
                    done = stream.raw_size
            if limit is not None and count.read >= limit:
                return
            count.sha256 = stream.finish()
            count.size = stream.raw_size
            if progress:
                progress(stream.raw_size - done)
            self._see_empty(count, processor)

    def _see_empty(self, count: FileCount, processor: Processor) -> None:
        """Warn of a file without any record."""
        if count.read:
            return
        if count.size == 0:
            warnings.warn(f"{count.name}: the file is empty", EmptySourceWarning, stacklevel=5)
        elif self.format.record is not None and isinstance(processor, XmlProcessor):
            message = f'{count.name}: no element is a record by record="{self.format.record}"'
            warnings.warn(message, EmptySourceWarning, stacklevel=5)

    def _judged_stream(self, count: FileCount, stream: Any, processor: Processor, limit: int | None) -> Iterator[Batch]:
        """Block by block: what no shape is certain of goes to the reference and back to its place."""
        judge = self._judge(processor)
        blocks = blocks_of(processor, stream, self._block_bytes)
        language = self._language(processor) if self.settings.compiled else None
        try:
            for judged in self._unjudged(blocks) if language is None else self._compiled(blocks, language):
                left = None if limit is None else limit - count.read
                wanted = judged if left is None else judged.first(left)
                sound, damage = wanted.without_doubts()
                yield self._completed(_Origin((count,)), sound, judge)
                if damage is not None:
                    raise damage
                if limit is not None and count.read >= limit:
                    return
        except SourceError as error:
            if error.record is None:
                raise SourceError(error.message, file=count.name, offset=error.offset, record=count.read) from None
            raise
        if not count.read:
            # A source without records gives one empty batch, so that it is counted.
            yield self._completed(_Origin((count,)), Judged.nothing(Block.of([]), self.schema), judge)

    def _bundle_batches(self, files: Sequence[SourceFile], progress: Callable[[int], None] | None) -> Iterator[Batch]:
        """Small files, many of them judged at a time: one by one they would be too few to learn from."""
        processor = self.processor(files[0])
        judge = self._judge(processor)
        bundles: deque[_Bundle] = deque()

        def blocks() -> Generator[Block, None, None]:
            for bundle in self._bundles(files, processor):
                bundles.append(bundle)
                yield bundle.joined(self.schema).block

        language = self._language(processor) if self.settings.compiled else None
        # To open and read many files takes as long as to judge them.
        ahead = Ahead(blocks(), _DEPTH)
        for judged in self._unjudged(ahead) if language is None else self._compiled(ahead, language):
            bundle = bundles.popleft()
            sound, damage = judged.without_doubts()
            yield self._completed(bundle.origin(), sound, judge)
            if damage is not None:
                raise damage
            if progress:
                progress(bundle.size)
            for count in bundle.files:
                if count.sha256 is not None or not self.traced:
                    self._see_empty(count, processor)
            if bundle.failure is not None:
                raise bundle.failure

    def _bundles(self, files: Sequence[SourceFile], processor: Processor) -> Iterator[_Bundle]:
        bundle = _Bundle()
        frame: tuple[bytes, bytes] | None = None
        for file in files:
            count = FileCount(file.name)
            blocks, failure = self._read_whole(file, processor, count)
            for block in blocks:
                if frame not in (None, (block.head, block.tail)) or bundle.size >= self._block_bytes:
                    yield bundle
                    bundle = _Bundle()
                frame = block.head, block.tail
                if not bundle.files or bundle.files[-1] is not count:
                    bundle.files.append(count)
                bundle.parts.append((len(bundle.files) - 1, block))
                bundle.size += len(block.data)
            if not blocks:
                bundle.files.append(count)
            if failure is not None:
                bundle.failure = failure
                break
        yield bundle

    def _read_whole(
        self, file: SourceFile, processor: Processor, count: FileCount
    ) -> tuple[list[Block], SourceError | None]:
        """All blocks of a small file, and what has ended its reading before its end."""
        blocks: list[Block] = []
        try:
            with self._open(file, hashed=self.traced) as stream:
                for block in blocks_of(processor, cast(BinaryIO, stream), self._block_bytes):
                    blocks.append(block)  # noqa: PERF402 - those before a failure count
                count.sha256 = stream.finish()
                count.size = stream.raw_size
        except SourceError as error:
            if error.record is not None:
                return blocks, error
            record = sum(map(len, blocks))
            return blocks, SourceError(error.message, file=count.name, offset=error.offset, record=record)
        return blocks, None

    def _compiled(self, blocks: Iterator[Block], language: Shapes) -> Iterator[Judged]:
        if any(one.way == "record" for one in language.explain().values()):
            return self._unjudged(blocks)
        judge = self._judges.setdefault(type(language), CompiledJudge(language, self.schema))
        judge.begin()
        return _ahead(blocks, judge)

    def _unjudged(self, blocks: Iterable[Block]) -> Iterator[Judged]:
        return (Judged.nothing(block, self.schema) for block in blocks)

    def _judge(self, processor: Processor) -> Judge:
        return Judge(
            self.model,
            json_text_for(processor, self.model),
            max_errors=self.settings.max_record_errors,
            max_input=self.settings.max_error_input,
        )

    def _completed(self, origin: _Origin, judged: Judged, judge: Judge) -> Batch:
        """A block with the reference's verdict on what was left of it."""
        block, frame, rows = judged.block, judged.frame, judged.rows
        rest = judged.rest
        rejects: list[tuple[int, Reject]] = []
        if len(rest):
            frames = [frame]
            order = [rows]
            for begin in range(0, len(rest), self.settings.batch_records):
                part = rest[begin : begin + self.settings.batch_records]
                accepted, made = self._referred(origin, block, part, judge, rejects)
                frames.append(made)
                order.append(accepted)
            rows = np.concatenate(order)
            frame = pl.concat(frames)
            if len(rows) > len(judged.rows) > 0:
                places = np.argsort(rows)
                frame, rows = frame[places], rows[places]
        if self.traced:
            frame = frame.hstack(self._trace(origin, block, rows))
        origin.add(len(block), rows, [row for row, _ in rejects], rest)
        return Batch(frame, rejects_frame([reject for _, reject in rejects]), len(block), origin.files)

    def _referred(
        self, origin: _Origin, block: Block, rows: Ints, judge: Judge, rejects: list[tuple[int, Reject]]
    ) -> tuple[Ints, pl.DataFrame]:
        """Those of some records that the reference accepts, and their columns; the others go to the rejects."""
        accepted, instances, rejections = judge.judge(block, rows)
        found = [
            (row, Reject(origin.name(row), block.raw(row), one.stage, one.errors)) for row, one in rejections.items()
        ]
        frame, misfits = self.columns.frame(instances)
        for index, fields in misfits.items():
            errors = [
                worded(m.loc, "unrepresentable", m.msg, m.value, max_input=self.settings.max_error_input)
                for m in fields
            ]
            row = accepted[index]
            found.append((row, Reject(origin.name(row), block.raw(row), "represent", errors)))
        if misfits:
            accepted = [row for index, row in enumerate(accepted) if index not in misfits]
            found.sort(key=lambda reject: reject[0])
        rejects.extend(found)
        return np.array(accepted, np.int64), frame

    @staticmethod
    def _trace(origin: _Origin, block: Block, rows: Ints) -> pl.DataFrame:
        every = len(rows) == len(block)
        return pl.DataFrame(
            {
                "_source": origin.names(rows),
                "_record": block.records if every else block.records[rows],
                "_line": block.lines if every else block.lines[rows],
                "_offset": block.offsets if every else block.offsets[rows],
            },
            schema=TRACE,
        )


def _bundled(files: Iterable[SourceFile], fmt: str | None) -> Iterator[list[SourceFile]]:
    """Files one by one, but small ones of one format that follow each other together."""
    several: list[SourceFile] = []
    for file in files:
        small = file.path is not None and file.compression is None and (file.size or 0) <= _SMALL
        if several and not (small and (fmt or file.format) == (fmt or several[0].format)):
            yield several
            several = []
        if small:
            several.append(file)
        else:
            yield [file]
    if several:
        yield several


def _split(processor: Processor, stream: Any, model: type[BaseModel]) -> Iterator[RawRecord]:
    # A processor that is told the model keeps what its records need from around them (XML).
    json_text_for(processor, model)
    return iter(processor.split(stream))


def _ahead(blocks: Iterator[Block], judge: CompiledJudge) -> Iterator[Judged]:
    """Blocks and what is certain of them, in order; while one is handled, the next ones are read and judged."""
    pending: deque[Future[Judged]] = deque()
    pool = ThreadPoolExecutor(_AHEAD, "assay-judge")

    def next_one() -> Judged:
        return judge.note(pending.popleft().result())

    try:
        for block in blocks:
            pending.append(pool.submit(judge.verdict_for(block).judge, block))
            if len(pending) > _DEPTH:
                yield next_one()
        while pending:
            yield next_one()
    except SourceError:
        # What was read before the damage is judged and counted before the error goes up.
        while pending:
            yield next_one()
        raise
    finally:
        # It may be one of these threads that lets go of an abandoned scan: it cannot wait for itself.
        pool.shutdown(wait=False, cancel_futures=True)
