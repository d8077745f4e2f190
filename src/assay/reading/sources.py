"""Sources: a path, a list of paths, a glob, a URL, bytes, an open binary file, or `-` for standard input."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final, Self, cast

from assay.errors import ConfigurationError, SourceError
from assay.reading.compression import KINDS, Decompression, looks_compressed
from assay.reading.read_ahead import ReadAhead
from assay.reading.remote import find, is_url

if TYPE_CHECKING:
    from assay.reading.remote_objects import RemoteObject

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


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file (or stream) of a source, not yet open.

    Attributes:
        name: What messages and the `_source` column call it: the path as it was given, a URL without what may be
            secret in it, or `<bytes>`, `<stdin>`.
        format: The format its suffix tells, or None.
        path: Where it is on disk; None for what is not.
        compression: The suffix of its compression, or None.
        remote: The object that a URL names, or None.
    """

    name: str
    format: str | None
    path: Path | None
    _open: Callable[[], BinaryIO]
    compression: str | None = None
    remote: RemoteObject | None = None

    @property
    def size(self) -> int | None:
        """Bytes as it lies there, where they can be known before it is read."""
        if self.remote is not None:
            return self.remote.size
        return self.path.stat().st_size if self.path is not None else None

    @property
    def identity(self) -> object:
        """The same for two files that are one."""
        return self.remote.url if self.remote is not None else self.path or self.name

    @property
    def is_kept(self) -> bool:
        """Whether it can be read once more: a stream cannot."""
        return self.path is not None or self.remote is not None

    def open(
        self, *, max_ratio: int = 250, max_bytes: int = 256 * 1024 * 1024 * 1024, hashed: bool = True
    ) -> OpenSource:
        """Open for reading, decompressed (in a thread of its own); hashed, where the hash is wanted.

        Args:
            max_ratio: Times that compressed data may grow.
            max_bytes: Bytes that compressed data may become.
            hashed: Whether the hash is wanted.

        Raises:
            SourceError: it cannot be opened, or its first bytes are not what its suffix says.
        """
        try:
            raw = HashedStream(self._open(), self.name, hashed=hashed)
        except OSError as error:
            raise SourceError(_os_words(error), file=self.name) from None
        if not self.compression:
            return OpenSource(self, raw, raw)
        decoding = Decompression(raw.read, self.compression, name=self.name, max_ratio=max_ratio, max_bytes=max_bytes)
        return OpenSource(self, ReadAhead(decoding.blocks(), interrupt=raw.interrupt), raw)


class HashedStream(io.RawIOBase):
    """The bytes of a source as they lie there, hashed while they are read.

    Attributes:
        size: Bytes read so far.
    """

    def __init__(self, raw: BinaryIO, name: str, *, hashed: bool = True) -> None:
        self.name = name
        self.size = 0
        self._raw = raw
        self._hash = hashlib.sha256() if hashed else None

    @property
    def sha256(self) -> str | None:
        """Hash of what has been read so far, in hexadecimal."""
        return self._hash.hexdigest() if self._hash else None

    def readable(self) -> bool:
        """True: this is a stream to read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes.

        Raises:
            SourceError: the file cannot be read on.
        """
        try:
            chunk = self._raw.read(size)
        except OSError as error:
            raise SourceError(_os_words(error), file=self.name, offset=self.size) from None
        self.size += len(chunk)
        if self._hash:
            self._hash.update(chunk)
        return chunk

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to `len(buffer)` bytes; 0 at the end."""
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def interrupt(self) -> None:
        """End a wait for bytes from afar that another thread is in; a file does not keep one waiting."""
        if isinstance(self._raw, ReadAhead):
            self._raw.interrupt()

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._raw is not sys.stdin.buffer:
            self._raw.close()
        super().close()


class OpenSource:
    """A source being read: the decompressed bytes, and what is known of the file itself."""

    def __init__(self, file: SourceFile, stream: HashedStream | ReadAhead, raw: HashedStream) -> None:
        self.name = file.name
        self.position = 0
        self._file = file
        self._stream = stream
        self._raw = raw
        self._before = _stat(file.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._raw.close()

    @property
    def raw_size(self) -> int:
        """Bytes of the file read so far, before decompression: what a progress line counts."""
        return self._raw.size

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` decompressed bytes."""
        chunk = self._stream.read(size)
        if self.position == 0 and chunk and not self._file.compression:
            suffix = looks_compressed(chunk)
            if suffix:
                message = f"looks like {suffix} data; give the file the suffix {suffix}"
                raise SourceError(message, file=self.name, offset=0)
        self.position += len(chunk)
        return chunk

    def finish(self) -> str | None:
        """The hash of the whole file, where it is wanted, once it has been read to its end.

        Raises:
            SourceError: the file changed while it was read.
        """
        if isinstance(self._stream, ReadAhead):
            # Two threads must not read the file.
            self._stream.stop()
        while self._raw.read(1024 * 1024):
            pass
        if _stat(self._file.path) != self._before:
            raise SourceError("changed while it was read; run again when it is complete", file=self.name)
        return self._raw.sha256


def _stat(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return (-1, -1)
    return (found.st_size, found.st_mtime_ns)


def resolve(source: SourceLike) -> list[SourceFile]:
    """List the files of a source, in a stable order.

    Args:
        source: A path; a glob (`**` goes down folders), sorted by name; a URL (see `find`); a list of these;
            bytes; an open binary file; or `-` for standard input.

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
        paths = list(source)
        if not all(isinstance(one, str | os.PathLike) for one in paths):
            raise ConfigurationError("a list of sources is a list of paths")
        # Globs may overlap: a file that is named twice is read once.
        found = {file.identity: file for one in paths for file in _resolve_path(os.fspath(one))}
        files = _named_apart(list(found.values()))
        if not files:
            raise SourceError("the list of paths is empty", file="source")
        return files
    raise ConfigurationError(
        f"a source is a path, a list of paths, a glob, bytes, a binary file or '-', not {type(source).__name__}"
    )


def _resolve_path(path: str) -> list[SourceFile]:
    if path == STDIN:
        return [SourceFile("<stdin>", None, None, lambda: sys.stdin.buffer)]
    if is_url(path):
        return [_remote(one) for one in find(path)]
    try:
        Path(path).exists()
    except (OSError, ValueError) as error:
        raise SourceError(_os_words(error) if isinstance(error, OSError) else str(error), file=path[:100]) from None
    if Path(path).is_file():
        return [_file(path)]
    if Path(path).is_dir():
        raise SourceError("is a folder; name the files, for example " + str(Path(path) / "*.jsonl"), file=path)
    if glob.has_magic(path):
        found = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))  # noqa: PTH113 - many
        if not found:
            raise SourceError("no file matches", file=path, missing=True)
        return [_file(p) for p in found]
    raise SourceError("no such file", file=path, missing=True)


def _file(path: str) -> SourceFile:
    place = Path(path)
    fmt, compression = _suffixes(place)
    # A name that is no UTF-8 is shown with escapes: it goes into columns and messages.
    name = os.fsencode(path).decode("utf-8", "backslashreplace")
    return SourceFile(name, fmt, place, lambda: place.open("rb"), compression)


def _remote(found: RemoteObject) -> SourceFile:
    fmt, compression = _suffixes(PurePosixPath(found.path))
    return SourceFile(found.name, fmt, None, lambda: cast(BinaryIO, found.open()), compression, found)


def _suffixes(path: PurePath) -> tuple[str | None, str | None]:
    """Format and compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in KINDS else None
    return FORMATS.get(suffixes[-1]) if suffixes else None, compression


def _named_apart(files: list[SourceFile]) -> list[SourceFile]:
    """Addresses that differ only in what is not shown get a number: a name stands for one file."""
    count: Counter[str] = Counter()
    named = []
    for file in files:
        count[file.name] += 1
        again = count[file.name] > 1
        named.append(replace(file, name=f"{file.name}#{count[file.name]}") if again else file)
    return named


def _stream(stream: BinaryIO) -> SourceFile:
    name = getattr(stream, "name", None)
    return SourceFile(name if isinstance(name, str) else "<stream>", None, None, lambda: stream)


def _os_words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
