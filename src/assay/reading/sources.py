"""Sources: a path, a list of paths, a glob, bytes, an open binary file, or `-` for standard input."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from assay.errors import ConfigurationError, SourceError
from assay.reading.compression import OPENERS, Decompressed, looks_compressed

SourceLike = str | os.PathLike[str] | bytes | BinaryIO | Sequence[str | os.PathLike[str]]

STDIN: Final = "-"
#: Suffix of a file name -> format.
FORMATS: Final[dict[str, str]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".xml": "xml",
    ".csv": "csv",
}


@dataclass(frozen=True)
class SourceFile:
    """One file (or stream) of a source, not yet open.

    Attributes:
        name: What messages and the `_source` column call it: the path as it was given, or `<bytes>`, `<stdin>`.
        format: The format its suffix tells, or None.
        path: Where it is on disk; None for bytes and streams.
    """

    name: str
    format: str | None
    path: Path | None
    _open: Callable[[], BinaryIO]
    compression: str | None = None

    def open(self, *, max_ratio: int = 250) -> BinaryIO:
        """Open for reading, decompressed.

        Raises:
            SourceError: it cannot be opened, or its first bytes are not what its suffix says.
        """
        try:
            raw = self._open()
        except OSError as error:
            raise SourceError(_os_words(error), file=self.name) from None
        if self.compression:
            return cast(BinaryIO, Decompressed(raw, self.compression, name=self.name, max_ratio=max_ratio))
        return cast(BinaryIO, _Plain(raw, self.name))


class _Plain(io.RawIOBase):
    """An uncompressed stream that knows its name and looks at its first bytes."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        self._raw = raw
        self._at_start = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def read(self, size: int = -1) -> bytes:
        try:
            chunk = self._raw.read(size)
        except OSError as error:
            raise SourceError(_os_words(error), file=self.name) from None
        if self._at_start and chunk:
            self._at_start = False
            suffix = looks_compressed(chunk)
            if suffix:
                message = f"looks like {suffix} data; give the file the suffix {suffix}"
                raise SourceError(message, file=self.name, offset=0)
        return chunk

    def close(self) -> None:
        self._raw.close()
        super().close()


def resolve(source: SourceLike) -> list[SourceFile]:
    """List the files of a source, in a stable order.

    Args:
        source: A path; a glob (`**` goes down folders), sorted by name; a list of paths or globs; bytes; an open
            binary file; or `-` for standard input.

    Raises:
        SourceError: there is no such file, it is a folder, or a glob finds nothing.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        return [SourceFile("<bytes>", None, None, lambda: io.BytesIO(content))]
    if isinstance(source, str | os.PathLike):
        return _resolve_path(os.fspath(source))
    if isinstance(source, io.TextIOBase):
        raise ConfigurationError("the source is a text file; open it in binary mode ('rb')")
    if hasattr(source, "read"):
        return [_stream(cast(BinaryIO, source))]
    if isinstance(source, Iterable):
        files = [file for one in source for file in _resolve_path(os.fspath(one))]
        if not files:
            raise SourceError("the list of paths is empty", file="source")
        return files
    raise ConfigurationError(
        f"a source is a path, a list of paths, a glob, bytes, a binary file or '-', not {type(source).__name__}"
    )


def _resolve_path(path: str) -> list[SourceFile]:
    if path == STDIN:
        return [SourceFile("<stdin>", None, None, lambda: sys.stdin.buffer)]
    if Path(path).is_file():
        return [_file(path)]
    if Path(path).is_dir():
        raise SourceError("is a folder; name the files, for example " + str(Path(path) / "*.jsonl"), file=path)
    if glob.has_magic(path):
        found = sorted(p for p in glob.glob(path, recursive=True) if Path(p).is_file())
        if not found:
            raise SourceError("no file matches", file=path)
        return [_file(p) for p in found]
    raise SourceError("no such file", file=path)


def _file(path: str) -> SourceFile:
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in OPENERS else None
    fmt = FORMATS.get(suffixes[-1]) if suffixes else None
    return SourceFile(path, fmt, Path(path), lambda: Path(path).open("rb"), compression)


def _stream(stream: BinaryIO) -> SourceFile:
    name = getattr(stream, "name", None)
    return SourceFile(name if isinstance(name, str) else "<stream>", None, None, lambda: stream)


def _os_words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
