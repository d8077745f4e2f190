"""Compression of one file by its suffix: a single member, which every reader reads to its end."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from assay.errors import ConfigurationError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_OTHERS: Final = (".bz2", ".xz", ".zip", ".lz4", ".br", ".7z")


class Compressor(Protocol):
    """Takes bytes as they come."""

    def compress(self, data: bytes | memoryview, /) -> bytes | memoryview:
        """Some compressed bytes, or none yet."""
        ...

    def flush(self) -> bytes:
        """The rest."""
        ...


class _Plain:
    def compress(self, data: bytes | memoryview, /) -> bytes | memoryview:
        return data

    def flush(self) -> bytes:
        return b""


def check_suffix(path: Path, where: str) -> None:
    """Check that the suffix is not of a compression that is not written.

    Raises:
        ConfigurationError: it is.
    """
    if path.suffix.lower() in _OTHERS:
        raise ConfigurationError(f"{path.name}: compressed as .gz or .zst, not {path.suffix}", where=where)


def compressor(path: Path) -> Compressor:
    """What compresses a file of this name."""
    match path.suffix.lower():
        case ".gz":
            # No time and no name in the header: the same rows are the same bytes.
            return zlib.compressobj(4, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        case ".zst":
            return zstd.ZstdCompressor(level=3)
    return _Plain()


def decompressed(path: Path) -> BinaryIO:
    """The content of a file, opened for reading."""
    match path.suffix.lower():
        case ".gz":
            return cast(BinaryIO, gzip.open(path))
        case ".zst":
            return cast(BinaryIO, zstd.open(path))
    return path.open("rb")
