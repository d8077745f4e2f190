"""Batches: a source read, judged and put into columns, some tens of thousands of records at a time."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Final, Generic, TypeVar

import polars as pl
from pydantic import BaseModel

from assay.errors import ConfigurationError, SourceError
from assay.reading import (
    Chunk,
    JsonlProcessor,
    Limits,
    Processor,
    ProcessorFactory,
    RawRecord,
    SourceFile,
    SourceLike,
    resolve,
)
from assay.records.chunks import TRACE
from assay.records.columns import Columns, Datetimes
from assay.records.compiled import CompiledJudge, Judged
from assay.records.rejects import Reject, rejects_frame, worded
from assay.records.shape import ShapeCompiler
from assay.records.verdict import Judge, Rejection, json_text_for
from assay.settings import Settings

M = TypeVar("M", bound=BaseModel)

#: Bytes of a chunk for the compiled verdict: enough that what is done once a chunk costs nothing.
_CHUNK: Final = 8 * 1024 * 1024


#: Chunks that are judged while one is handled.
_AHEAD: Final = 2


class EmptySourceWarning(UserWarning):
    """A source has no bytes at all."""


@dataclass(frozen=True)
class Format:
    """How the records of a source are read: what `scan` was told.

    Attributes:
        format: Name of a processor, or None: by suffix.
        record: Where the records are: a path of keys (JSON), a row tag or path (XML).
        namespaces: Prefix to namespace (XML).
        empty_as_null: An empty element is null (XML).
        decimals: Precision and scale of Decimal fields that the model does not bound.
        datetimes: Whether plain datetime fields are columns without zone or in UTC.
    """

    format: str | None = None
    record: str | None = None
    namespaces: Mapping[str, str] | None = None
    empty_as_null: bool | None = None
    decimals: tuple[int, int] | None = None
    datetimes: Datetimes = "naive"


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
    """Some records of one file, in order.

    Attributes:
        frame: The accepted ones, the model's fields and then `TRACE`.
        rejects: The rejected ones.
        read: How many records these are together.
        file: Counts of the file so far, this batch included.
    """

    frame: pl.DataFrame
    rejects: pl.DataFrame
    read: int
    file: FileCount


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
        self.compiler = ShapeCompiler(self.model, self.columns)

    @property
    def schema(self) -> pl.Schema:
        """The model's columns."""
        return self.columns.schema

    @cached_property
    def _uncompiled(self) -> dict[str, str]:
        return self.compiler.explain()

    def referred_fields(self, files: Iterable[SourceFile]) -> dict[str, str]:
        """Field -> why every record goes to the reference for its sake; under the empty name for another reason.

        Empty where the verdict is compiled: then only records of which it is not certain go there.
        """
        others = {self.format.format or file.format or "" for file in files} - {"jsonl"}
        if others:
            return {"": f"{', '.join(sorted(others))} is judged by the reference"}
        return self._uncompiled

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
        options = {
            "record": self.format.record,
            "namespaces": self.format.namespaces,
            "empty_as_null": self.format.empty_as_null,
        }
        return ProcessorFactory.create(name, limits=limits, **options)

    def check(self, source: SourceLike) -> list[SourceFile]:
        """The files of a source, each with a format that is known and takes the options, before any is read."""
        files = resolve(source)
        for file in files:
            json_text_for(self.processor(file), self.model)
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
        for file in files:
            for batch in self._file_batches(file, left, progress):
                yield batch
                if left is not None:
                    left -= batch.read
            if left == 0:
                return

    def raw_batches(self, count: FileCount, raws: Iterator[RawRecord], processor: Processor) -> Iterator[Batch]:
        """Judge raw records of one source that are at hand (kept rejects, for a replay)."""
        yield from self._judged(count, raws, processor)

    def raw_records(self, file: SourceFile) -> Iterator[RawRecord]:
        """Cut a file into raw records again, to find some of them by number."""
        processor = self.processor(file)
        with file.open(max_ratio=self.settings.max_decompressed_ratio) as stream:
            yield from _split(processor, stream, self.model)

    def _file_batches(
        self, file: SourceFile, limit: int | None, progress: Callable[[int], None] | None
    ) -> Iterator[Batch]:
        processor = self.processor(file)
        count = FileCount(file.name)
        with file.open(max_ratio=self.settings.max_decompressed_ratio, hashed=self.traced) as stream:
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
            if stream.position == 0:
                warnings.warn(f"{file.name}: the file is empty", EmptySourceWarning, stacklevel=4)

    def _judged_stream(self, count: FileCount, stream: Any, processor: Processor, limit: int | None) -> Iterator[Batch]:
        if self.settings.compiled and isinstance(processor, JsonlProcessor) and not self._uncompiled:
            return self._compiled(count, stream, processor, limit)
        raws = _split(processor, stream, self.model)
        return self._judged(count, raws if limit is None else islice(raws, limit), processor)

    def _compiled(self, count: FileCount, stream: Any, processor: JsonlProcessor, limit: int | None) -> Iterator[Batch]:
        """Chunk by chunk: what the compiled verdict is not certain of goes to the reference and back to its place."""
        judge = CompiledJudge(self.compiler, self.settings.max_record_bytes)
        json_text_for(processor, self.model)
        line = 0
        try:
            for chunk, judged in _ahead(processor.chunks(stream, min(self.settings.batch_bytes, _CHUNK)), judge):
                left = None if limit is None else limit - count.read
                if judged is None:
                    raws = processor.records(chunk, count.read, line)
                    yield from self._judged(count, raws if left is None else islice(raws, left), processor)
                    line += chunk.newlines
                else:
                    wanted = judged if left is None else judged.head(judged.lines.lines_of(left))
                    yield self._completed(count, wanted, line, processor)
                    line += judged.lines.count
                if limit is not None and count.read >= limit:
                    return
        except SourceError as error:
            raise self._placed(error, count) from None
        if not count.read:
            yield self._batch(count, [], [], [])

    def _completed(self, count: FileCount, judged: Judged, line: int, processor: Processor) -> Batch:
        """A chunk with the reference's verdict on what was left of it."""
        lines, record = judged.lines, count.read
        if judged.rows.len() == lines.count and not self.traced:
            count.add(lines.count, lines.count, 0, 0)
            return Batch(judged.frame, rejects_frame([]), lines.count, count)
        frame = judged.frame.hstack(lines.trace(count.name, judged.rows, record=record, line=line))
        certain = frame.height
        raws = lines.raws(judged.rest.to_list(), record=record, line=line)
        referred = next(self._judged(count, raws, processor, everything=True), None)
        count.add(certain, certain, 0, 0)
        if referred is None:
            return Batch(frame, rejects_frame([]), certain, count)
        if referred.frame.height:
            frame = pl.concat([frame, referred.frame]).sort("_record")
        return Batch(frame, referred.rejects, certain + referred.read, count)

    @staticmethod
    def _placed(error: SourceError, count: FileCount) -> SourceError:
        """The error of a file that cannot be read on, with how far it was."""
        if error.record is None:
            return SourceError(error.message, file=count.name, offset=error.offset, record=count.read)
        return error

    def _judged(
        self, count: FileCount, raws: Iterator[RawRecord], processor: Processor, *, everything: bool = False
    ) -> Iterator[Batch]:
        """By the reference; `everything` in one batch."""
        settings = self.settings
        judge = Judge(
            self.model,
            json_text_for(processor, self.model),
            max_errors=settings.max_record_errors,
            max_input=settings.max_error_input,
        )
        accepted: list[RawRecord] = []
        instances: list[BaseModel] = []
        rejects: list[Reject] = []
        size = 0
        failure: SourceError | None = None
        while True:
            try:
                raw = next(raws, None)
            except SourceError as error:
                # What was read before the damage is judged and counted before the error goes up.
                failure, raw = error, None
            if raw is not None:
                verdict = judge.judge(raw)
                if isinstance(verdict, Rejection):
                    rejects.append(Reject(count.name, raw, verdict.stage, verdict.errors))
                else:
                    accepted.append(raw)
                    instances.append(verdict)
                size += len(raw.data)
            read = len(accepted) + len(rejects)
            full = not everything and (read >= settings.batch_records or size >= settings.batch_bytes)
            # A source without records gives one empty batch, so that it is counted.
            if full or (raw is None and (read or not (count.read or everything))):
                yield self._batch(count, accepted, instances, rejects)
                accepted, instances, rejects, size = [], [], [], 0
            if failure is not None:
                raise self._placed(failure, count)
            if raw is None:
                return

    def _batch(
        self, count: FileCount, accepted: list[RawRecord], instances: list[BaseModel], rejects: list[Reject]
    ) -> Batch:
        read = len(accepted) + len(rejects)
        frame, misfits = self.columns.frame(instances)
        for index, fields in misfits.items():
            errors = [
                worded(m.loc, "unrepresentable", m.msg, m.value, max_input=self.settings.max_error_input)
                for m in fields
            ]
            rejects.append(Reject(count.name, accepted[index], "represent", errors))
        if misfits:
            accepted = [raw for index, raw in enumerate(accepted) if index not in misfits]
            rejects.sort(key=lambda reject: reject.raw.record)
        trace = pl.DataFrame(
            {
                "_source": pl.Series([count.name], dtype=pl.String).new_from_index(0, len(accepted)),
                "_record": [raw.record for raw in accepted],
                "_line": [raw.line for raw in accepted],
                "_offset": [raw.offset for raw in accepted],
            },
            schema=TRACE,
        )
        count.add(read, len(accepted), len(rejects), read)
        return Batch(frame.hstack(trace), rejects_frame(rejects), read, count)


def _split(processor: Processor, stream: Any, model: type[BaseModel]) -> Iterator[RawRecord]:
    # A processor that is told the model keeps what its records need from around them (XML).
    json_text_for(processor, model)
    return iter(processor.split(stream))


def _ahead(chunks: Iterator[Chunk], judge: CompiledJudge) -> Iterator[tuple[Chunk, Judged | None]]:
    """Chunks and what is certain of them, in order; while one is handled, the next ones are read and judged."""
    pending: deque[tuple[Chunk, Future[Judged | None]]] = deque()
    pool = ThreadPoolExecutor(_AHEAD, "assay-judge")

    def next_one() -> tuple[Chunk, Judged | None]:
        chunk, future = pending.popleft()
        judged = future.result()
        if judged is not None:
            judge.note(judged)
        return chunk, judged

    try:
        for chunk in chunks:
            pending.append((chunk, pool.submit(judge.verdict_for(chunk).judge, chunk)))
            if len(pending) > _AHEAD:
                yield next_one()
        while pending:
            yield next_one()
    except SourceError:
        # What was read before the damage is judged and counted before the error goes up.
        while pending:
            yield next_one()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
