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
#: From this part of all words on, one in so many, nothing is gained by passing over the others.
_DENSE: Final = 8


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
        self._windows: dict[int, npt.NDArray[np.bytes_]] = {}

    @property
    def content(self) -> npt.NDArray[np.uint8]:
        """The bytes without the padding."""
        return self.bytes[: self.size]

    def words(self, at: Ints, count: int) -> Words:
        """So many words of 8 bytes from each place, little-endian; shape (places, count)."""
        return self._window(_WORD * count)[at].view(np.uint64).reshape(len(at), count)

    def fits(self, at: Ints, literal: bytes) -> Bools:
        """At which places the literal, which is not empty, stands."""
        fits: Bools = self._fits(at, literal[:_WINDOW])
        for begin in range(_WINDOW, len(literal), _WINDOW):
            fits &= self._fits(np.minimum(at + begin, self.size), literal[begin : begin + _WINDOW])
        return fits

    def _fits(self, at: Ints, literal: bytes) -> Bools:
        words, last = _literal(literal)
        found = self.words(at, len(words))
        fits: Bools = (found[:, -1] & last if last else found[:, -1]) == words[-1]
        for column, word in enumerate(words[:-1]):
            fits &= found[:, column] == word
        return fits

    def _window(self, width: int) -> npt.NDArray[np.bytes_]:
        """So many bytes from each place on, for as many places as there are, the padding included."""
        window = self._windows.get(width)
        if window is None:
            window = np.ndarray((len(self.bytes) - width + 1,), f"S{width}", self.data, 0, (1,))
            self._windows[width] = window
        return window


def rare(there: Bools) -> Ints:
    """Where it is so, as `np.flatnonzero` tells; in half the time where that is at one place in a hundred or fewer.

    Eight are looked at together first, and singly only where one of them is.
    """
    size = len(there) - len(there) % _WORD
    words = there[:size].view(np.uint64)
    some = np.flatnonzero(words != 0)
    if len(some) * _DENSE > len(words):
        return np.flatnonzero(there)
    inside = np.flatnonzero(words[some].view(np.bool_))
    places: Ints = some[inside // _WORD] * _WORD + inside % _WORD
    return np.concatenate((places, np.flatnonzero(there[size:]) + size)) if size < len(there) else places


@lru_cache(maxsize=4096)
def _literal(literal: bytes) -> tuple[Sequence[np.uint64], np.uint64]:
    """A literal as words, and which bytes of the last one count; 0: all."""
    count = -(-len(literal) // _WORD)
    words = np.frombuffer(literal.ljust(count * _WORD, b"\0"), np.uint64)
    return list(words), np.uint64((1 << (8 * (len(literal) % _WORD))) - 1)
