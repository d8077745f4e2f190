"""What a run reads: files, or the dead letters of an earlier run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from assay.pipeline.incremental import Selection
from assay.reading import Problem, Processor, ProcessorFactory, RawRecord, SourceFile
from assay.reading.raw import TOO_LONG
from assay.records import Batch, FileCount, Format, RecordReader
from assay.runs import DeadLetter, KnownFiles, stat_of

OnBytes = Callable[[int], None]


class Feed(Protocol):
    """Gives batches of judged records, and raw records again by their number."""

    @property
    def size(self) -> int | None:
        """Bytes that will be read; None where that is not known."""
        ...

    def batches(self, progress: OnBytes) -> Iterator[Batch]:
        """Read."""
        ...

    def raw_records(self, source: str) -> Iterator[RawRecord]:
        """The raw records of one source once more, in order."""
        ...

    def formats(self) -> Mapping[str, str]:
        """By source, the name of the processor that reads it."""
        ...

    @property
    def limit(self) -> int | None:
        """How many records are read at most."""
        ...

    @property
    def selection(self) -> Selection | None:
        """Of an incremental run, the files that are new."""
        ...

    @property
    def places(self) -> frozenset[str]:
        """Names of its files that mean the same file in another run; a stream has none."""
        ...

    def hashes(self, read: Mapping[str, str | None], known: KnownFiles) -> list[str | None]:
        """SHA-256 of each file, as it was read or as it is known; None where neither is."""
        ...

    def read_files(self, read: Mapping[str, FileCount]) -> dict[Path, tuple[str, str]]:
        """What is to be remembered of the files that were read; see `KnownFiles.remember`."""
        ...


class FileFeed:
    """Reads files; a stream is first copied to `staging`, since some of its records may be wanted again."""

    def __init__(
        self,
        reader: RecordReader[BaseModel],
        files: list[SourceFile],
        staging: Path,
        limit: int | None,
        selection: Selection | None = None,
    ) -> None:
        self._reader = reader
        self.selection = selection
        self.limit = limit
        self.places = frozenset(file.name for file in files if file.is_kept)
        self._stats = {file.name: stat_of(file.path) for file in files if file.path is not None}
        self._files = {file.name: self._kept(file, staging / f"input-{i}") for i, file in enumerate(files)}

    @property
    def size(self) -> int | None:
        """Bytes of all files, unless it ends before."""
        sizes = [file.size for file in self._files.values()]
        return sum(size for size in sizes if size is not None) if self.limit is None else None

    def batches(self, progress: OnBytes) -> Iterator[Batch]:
        """Read the files in order."""
        return self._reader.batches(self._files.values(), limit=self.limit, progress=progress)

    def raw_records(self, source: str) -> Iterator[RawRecord]:
        """Cut the file again."""
        return self._reader.raw_records(self._files[source])

    def formats(self) -> dict[str, str]:
        """As told, or by suffix."""
        return {name: self._reader.format.format or file.format or "" for name, file in self._files.items()}

    def hashes(self, read: Mapping[str, str | None], known: KnownFiles) -> list[str | None]:
        """As they were read, or as they are known from an earlier run."""
        unread = [file.path for name, file in self._files.items() if file.path is not None and not read.get(name)]
        hashes = known.hashes(unread)
        return [
            read.get(name) or (hashes.get(file.path) if file.path is not None else None)
            for name, file in self._files.items()
        ]

    def read_files(self, read: Mapping[str, FileCount]) -> dict[Path, tuple[str, str]]:
        """Hashes of the files, and what was said of them before they were read."""
        made = {}
        for name, file in self._files.items():
            stat, digest = self._stats.get(name), read[name].sha256 if name in read else None
            if file.path is not None and stat is not None and digest is not None:
                made[file.path] = (stat, digest)
        return made

    def _kept(self, file: SourceFile, path: Path) -> SourceFile:
        if file.is_kept:
            return file
        with file.open() as stream, path.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1024 * 1024)
        return replace(file, path=path, _open=lambda: path.open("rb"))


class ReplayFeed:
    """Reads dead letters; each keeps the source and number it had."""

    def __init__(self, reader: RecordReader[BaseModel], letters: Callable[[], Iterator[DeadLetter]]) -> None:
        self._reader = reader
        self._letters = letters

    @property
    def size(self) -> None:
        """Not known."""
        return

    def batches(self, progress: OnBytes) -> Iterator[Batch]:
        """Judge the kept bytes, as edited, by today's model."""
        counts: dict[str, FileCount] = {}
        for (source, fmt), letters in groupby(self._letters(), key=lambda d: (d.source, d.format)):
            processor = record_processor(fmt, self._reader.format)
            yield from self._reader.raw_batches(
                counts.setdefault(source, FileCount(source)), map(_raw, letters), processor
            )

    def raw_records(self, source: str) -> Iterator[RawRecord]:
        """The letters of a source."""
        return (_raw(letter) for letter in self._letters() if letter.source == source)

    @property
    def limit(self) -> None:
        """All are read."""
        return

    @property
    def selection(self) -> None:
        """No file is read."""
        return

    @property
    def places(self) -> frozenset[str]:
        """No file is read."""
        return frozenset()

    def hashes(self, read: Mapping[str, str | None], known: KnownFiles) -> list[str | None]:
        """A replay is never the same as another run: what it publishes is marked as replayed."""
        return [None]

    def read_files(self, read: Mapping[str, FileCount]) -> dict[Path, tuple[str, str]]:
        """No file was read."""
        return {}

    def formats(self) -> dict[str, str]:
        """As they were read first."""
        return {letter.source: letter.format for letter in self._letters()}


def record_processor(name: str, told: Format) -> Processor:
    """What reads the kept bytes of one record.

    Nothing has to be found in them, and what is told of other formats is not for this one.
    """
    takes = {"xml": ("namespaces", "empty_as_null"), "csv": ("empty_as_null", "delimiter", "quote", "columns")}
    options = told.options()
    return ProcessorFactory.create(name, **{option: options[option] for option in takes.get(name, ("empty_as_null",))})


def _raw(letter: DeadLetter) -> RawRecord:
    # Of a record over the limit only the beginning is kept, which is none, whatever it looks like.
    cut = (e for e in letter.errors if e["type"] == TOO_LONG and letter.edited is None)
    problem = next((Problem(e["type"], e["msg"]) for e in cut), None)
    return RawRecord(letter.current, letter.record, letter.line, letter.offset, problem)
