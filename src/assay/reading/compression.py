"""Decompression by suffix: .gz, .bz2, .zst, block by block, with errors that say where the data ends."""

from __future__ import annotations

import bz2
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from assay.errors import SourceError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Below this size a high ratio is only a very regular file.
RATIO_COUNTS_FROM: Final = 64 * 1024 * 1024
#: Compressed bytes decoded at a time. What is decoded in the step that meets damage is lost: hence not more.
_STEP: Final = 64 * 1024
#: Decompressed bytes given at a time.
_BLOCK: Final = 1024 * 1024
#: The longest magic number.
_MAGIC_SIZE: Final = 4
_DAMAGE: Final = (EOFError, OSError, ValueError, zlib.error, zstd.ZstdError)


class _Decompressor(Protocol):
    """Decodes one member, as `bz2.BZ2Decompressor` does."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gunzip:
    """zlib in the form of the others; it checks length and CRC of a member."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        made = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        # Where the output is full, some of it may still be inside.
        self.needs_input = not self._zlib.unconsumed_tail and len(made) < max_length
        return made


@dataclass(frozen=True)
class _Kind:
    """A kind of compression.

    Attributes:
        decompressor: Makes what decodes one member.
        begins: Whether data that begins so is a member of it.
        padded: Whether zeros may stand between and after members.
    """

    decompressor: Callable[[], _Decompressor]
    begins: Callable[[bytes], bool]
    padded: bool = False


def _begins_zstd(head: bytes) -> bool:
    # The second are frames to skip: metadata, and what lets decoders seek.
    return head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50)


KINDS: Final[dict[str, _Kind]] = {
    ".gz": _Kind(_Gunzip, lambda head: head[:2] == b"\x1f\x8b", padded=True),
    ".bz2": _Kind(bz2.BZ2Decompressor, lambda head: head[:3] == b"BZh"),
    ".zst": _Kind(zstd.ZstdDecompressor, _begins_zstd),
}


def looks_compressed(head: bytes) -> str | None:
    """The suffix that data beginning with `head` ought to have, or None if it is not compressed."""
    return next((suffix for suffix, kind in KINDS.items() if kind.begins(head)), None)


class Decompression:
    """The members of one source, decoded one after the other.

    Args:
        read: Gives up to so many compressed bytes; b"" at the end.
        suffix: One of `KINDS`.
        name: What errors call the source.
        max_ratio: Times that the data may grow, once it is more than `RATIO_COUNTS_FROM` bytes.
        max_bytes: Bytes that it may become.
    """

    def __init__(self, read: Callable[[int], bytes], suffix: str, *, name: str, max_ratio: int, max_bytes: int) -> None:
        self._read = read
        self._suffix = suffix
        self._name = name
        self._max_ratio = max_ratio
        self._max_bytes = max_bytes
        self._kind = KINDS[suffix]
        #: Read and not yet decoded.
        self._data = b""
        self._consumed = self._given = self._members = 0

    def blocks(self) -> Generator[bytes, None, None]:
        """The decompressed bytes of all members.

        Raises:
            SourceError: the data is cut short, corrupt, not of this kind, followed by something else, or grows past a
                limit; all that lies before was given.
        """
        while self._at_member():
            yield from self._member()

    def _at_member(self) -> bool:
        """Whether a member begins here; False at the end."""
        padded = self._kind.padded and self._members
        if padded:
            self._data = self._data.lstrip(b"\0")
        while len(self._data) < _MAGIC_SIZE and (more := self._more()):
            self._data += more
            if padded:
                self._data = self._data.lstrip(b"\0")
        if not self._data and self._members:
            return False
        if not self._kind.begins(self._data):
            raise self._failure(self._wrong_beginning())
        return True

    def _member(self) -> Iterator[bytes]:
        decompressor = self._kind.decompressor()
        while not decompressor.eof:
            if decompressor.needs_input and not self._data:
                self._data = self._more()
                if not self._data:
                    raise self._failure(self._ends_early())
            try:
                block = decompressor.decompress(self._data, _BLOCK)
            except _DAMAGE as error:
                place = f"before byte {self._consumed:,} of the compressed file"
                raise self._failure(f"not readable as {self._suffix} data ({error}), {place}; get it again") from None
            self._data = b""
            self._given += len(block)
            if block:
                yield block
            self._see_limits()
        self._data = decompressor.unused_data
        self._members += 1

    def _more(self) -> bytes:
        data = self._read(_STEP)
        self._consumed += len(data)
        return data

    def _see_limits(self) -> None:
        if self._given > self._max_bytes:
            how, setting = f"to more than {self._max_bytes:,} bytes", "max_decompressed_bytes"
        elif self._given > RATIO_COUNTS_FROM and self._given > self._max_ratio * self._consumed:
            how, setting = f"more than {self._max_ratio} times", "max_decompressed_ratio"
        else:
            return
        raise self._failure(f"compressed data grows {how}; if it is meant to, raise the setting {setting}")

    def _failure(self, message: str) -> SourceError:
        return SourceError(message, file=self._name, offset=self._given)

    def _ends_early(self) -> str:
        return f"compressed data ends early, at byte {self._consumed:,} of the compressed file; get the file again"

    def _wrong_beginning(self) -> str:
        if not self._data:
            return self._ends_early()
        if self._members:
            place = self._consumed - len(self._data)
            return (
                f"something else follows the {self._suffix} data, from byte {place:,} of the compressed file; "
                "get the file again, or cut that off"
            )
        seems = looks_compressed(self._data)
        like = f"; it looks like {seems} data" if seems else ""
        return f"not readable as {self._suffix} data{like}: get the file again or mend its suffix"
