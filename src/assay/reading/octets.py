"""Bytes of a block, looked at in many places together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from assay.reading.block import PAD, Bools, Ints

Words = npt.NDArray[np.uint64]

_WORD: Final = 8
#: Bytes that are looked at together: what a block is padded with.
_WINDOW: Final = len(PAD)


class Octets:
    """Some bytes, and `PAD`.

    Attributes:
        bytes: All of them, one number each.
        size: How many they are without the padding.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self.size = len(data) - len(PAD)
        self._windows: dict[int, npt.NDArray[np.void]] = {}

    @property
    def content(self) -> npt.NDArray[np.uint8]:
        """The bytes without the padding."""
        return self.bytes[: self.size]

    def words(self, at: Ints, count: int) -> Words:
        """So many words of 8 bytes from each place, little-endian; shape (places, count)."""
        if count == 2:
            # Numpy copies items of 16 bytes by a way of its own that is slower than that of 24.
            return self.words(at, 3)[:, :2]
        window = self._windows.get(count)
        if window is None:
            width = _WORD * count
            window = np.ndarray((len(self.bytes) - width + 1,), f"V{width}", self.data, 0, (1,))
            self._windows[count] = window
        return window[at].view(np.uint64).reshape(len(at), count)

    def fits(self, at: Ints, literal: bytes) -> Bools:
        """At which places the literal stands."""
        fits = np.ones(len(at), np.bool_)
        for begin in range(0, len(literal), _WINDOW):
            words, masks = _literal(literal[begin : begin + _WINDOW])
            found = self.words(at if not begin else np.minimum(at + begin, self.size), len(words))
            for column, (word, mask) in enumerate(zip(words, masks, strict=True)):
                fits &= (found[:, column] if mask is None else found[:, column] & mask) == word
        return fits


@lru_cache(maxsize=4096)
def _literal(literal: bytes) -> tuple[Sequence[np.uint64], Sequence[np.uint64 | None]]:
    """A literal as words, and for the last one which of its bytes count."""
    count = -(-len(literal) // _WORD)
    words = np.frombuffer(literal.ljust(count * _WORD, b"\0"), np.uint64)
    rest = len(literal) % _WORD
    masks: list[np.uint64 | None] = [None] * count
    if rest:
        masks[-1] = np.uint64((1 << (8 * rest)) - 1)
    return list(words), masks
