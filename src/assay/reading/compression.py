"""Decompression by suffix: .gz, .bz2, .zst, streamed, with errors that say where the data ends."""

from __future__ import annotations

import bz2
import gzip
import io
import sys
import zlib
from collections.abc import Callable
from typing import BinaryIO, Final, Protocol, cast

from assay.errors import SourceError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Below this size a high ratio is only a very regular file.
RATIO_COUNTS_FROM: Final = 64 * 1024 * 1024


class _Stream(Protocol):
    """A decompressor: gives what it has got, of at most this size; b"" at the end."""

    def read1(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def _open_gzip(raw: BinaryIO) -> _Stream:
    return gzip.GzipFile(fileobj=raw, mode="rb")


def _open_bz2(raw: BinaryIO) -> _Stream:
    return bz2.BZ2File(raw, mode="rb")


def _open_zstd(raw: BinaryIO) -> _Stream:
    return cast(_Stream, zstd.ZstdFile(raw, mode="rb"))


OPENERS: Final[dict[str, Callable[[BinaryIO], _Stream]]] = {
    ".gz": _open_gzip,
    ".bz2": _open_bz2,
    ".zst": _open_zstd,
}
_MAGIC: Final = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\x28\xb5\x2f\xfd": ".zst"}
_DAMAGE: Final = (EOFError, OSError, zlib.error, zstd.ZstdError)


def looks_compressed(head: bytes) -> str | None:
    """The suffix that data beginning with `head` ought to have, or None if it is not compressed."""
    return next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), None)


class _Counted(io.RawIOBase):
    """Counts the compressed bytes read so far, to tell a bomb."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self._raw.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self.count += len(chunk)
        return len(chunk)


class Decompressed(io.RawIOBase):
    """The decompressed bytes of one source.

    Raises:
        SourceError: the data is cut short, corrupt, not of this kind, or grows past `max_ratio`.
    """

    def __init__(self, raw: BinaryIO, suffix: str, *, name: str, max_ratio: int) -> None:
        self.name = name
        self._source = raw
        self._suffix = suffix
        self._counted = _Counted(raw)
        self._stream = OPENERS[suffix](cast(BinaryIO, io.BufferedReader(self._counted, 256 * 1024)))
        self._max_ratio = max_ratio
        self._position = 0
        self._damage: Exception | None = None

    def readable(self) -> bool:
        """True: this is a stream to read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to `len(buffer)` bytes; 0 at the end."""
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes (all if negative); what lies before damage is given before the error."""
        chunk, damage = (b"", self._damage) if self._damage is not None else self._until_damage(size)
        self._position += len(chunk)
        if damage is not None:
            if not chunk:
                raise SourceError(self._words(damage), file=self.name, offset=self._position) from None
            self._damage = damage
        if self._position > RATIO_COUNTS_FROM and self._position > self._max_ratio * self._counted.count:
            message = (
                f"compressed data grows more than {self._max_ratio} times; if it is meant to, raise the setting "
                "max_decompressed_ratio"
            )
            raise SourceError(message, file=self.name, offset=self._position)
        return chunk

    def _until_damage(self, size: int) -> tuple[bytes, Exception | None]:
        pieces: list[bytes] = []
        missing = size
        while missing:
            try:
                piece = self._stream.read1(missing)
            except _DAMAGE as error:
                return b"".join(pieces), error
            if not piece:
                break
            pieces.append(piece)
            if size >= 0:
                missing -= len(piece)
        return b"".join(pieces), None

    def close(self) -> None:
        """Close the source as well."""
        self._stream.close()
        self._source.close()
        super().close()

    def _words(self, error: Exception) -> str:
        if isinstance(error, EOFError):
            return "compressed data ends early; get the file again"
        return f"not readable as {self._suffix} data ({error}); get the file again or mend its suffix"
