"""What stands where in JSON text, for all of a stretch at once: quotation marks that count, and nested elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from assay.reading.block import Ints

Octets = npt.NDArray[np.uint8]

QUOTE: Final = 34
_BACKSLASH: Final = 92
_COMMA: Final = 44
_SPACES: Final = (32, 9, 10, 13)


def unescaped(places: Ints, backslashes: Ints, data: Octets) -> Ints:
    """The places behind an even number of backslashes."""
    behind = np.flatnonzero(data[np.maximum(places - 1, 0)] == _BACKSLASH)
    behind = behind[places[behind] > 0]
    if not len(behind):
        return places
    begins = np.ones(len(backslashes), np.bool_)
    begins[1:] = backslashes[1:] != backslashes[:-1] + 1
    first = np.maximum.accumulate(np.where(begins, np.arange(len(backslashes)), 0))
    run = np.arange(len(backslashes)) - first + 1
    odd = run[np.searchsorted(backslashes, places[behind] - 1)] % 2 == 1
    keep = np.ones(len(places), np.bool_)
    keep[behind[odd]] = False
    return places[keep]


def brackets(data: Octets) -> Ints:
    """Where brackets of any kind stand, in strings as well."""
    # { and } are [ and ] with one bit more; they differ from each other in two.
    found: Ints = np.flatnonzero((data | 0x26) == 0x7F)
    kind = data[found] | 0x20
    marks: Ints = found[(kind == 0x7B) | (kind == 0x7D)]
    return marks


@dataclass(frozen=True)
class Elements:
    """Objects and arrays that stand in a row, with commas between them.

    Attributes:
        starts: Where each begins.
        ends: Where each ends, exclusive.
        depths: How deeply each is nested.
        quotes: Where quotation marks stand in all of them that are not escaped.
    """

    starts: Ints
    ends: Ints
    depths: Ints
    quotes: Ints


def elements(data: Octets) -> Elements:
    """The whole elements with which some text begins, as far as nothing but commas and white space is between them.

    Args:
        data: Text that begins at an element.
    """
    quotes = np.flatnonzero(data == QUOTE)
    backslashes = np.flatnonzero(data == _BACKSLASH)
    end = len(data)
    if len(backslashes):
        quotes = unescaped(quotes, backslashes, data)
        outside = np.searchsorted(quotes, backslashes) % 2 == 0
        if outside.any():
            # Where a backslash stands outside a string, it escapes nothing.
            end = int(backslashes[outside.argmax()])
    marks = brackets(data)
    marks = marks[(np.searchsorted(quotes, marks) % 2 == 0) & (marks < end)]
    opening = (data[marks] == 0x5B) | (data[marks] == 0x7B)
    depth = np.cumsum(np.where(opening, 1, -1))
    below = np.flatnonzero(depth < 0)
    if len(below):
        marks, opening, depth = marks[: below[0]], opening[: below[0]], depth[: below[0]]
    closes = np.flatnonzero(depth == 0)
    if not len(closes):
        none = np.zeros(0, np.int64)
        return Elements(none, none, none, none)
    opens = np.concatenate(([0], closes[:-1] + 1))
    starts, ends = marks[opens], marks[closes] + 1
    fit = _fitting(data, starts, ends)
    depths = np.maximum.reduceat(depth[: closes[-1] + 1], opens)
    behind = int(np.searchsorted(quotes, ends[fit - 1])) if fit else 0
    return Elements(starts[:fit], ends[:fit], depths[:fit], quotes[:behind])


def _fitting(data: Octets, starts: Ints, ends: Ints) -> int:
    """How many elements there are, as far as only white space and one comma stand between two."""
    if starts[0] and not np.isin(data[: starts[0]], _SPACES).all():
        return 0
    gaps = starts[1:] - ends[:-1]
    if not len(gaps):
        return 1
    total = int(gaps.sum())
    before = gaps.cumsum() - gaps
    between = data[np.arange(total) + np.repeat(ends[:-1] - before, gaps)]
    comma = between == _COMMA
    space = (between == _SPACES[0]) | (between == _SPACES[1]) | (between == _SPACES[2]) | (between == _SPACES[3])
    owner = np.repeat(np.arange(len(gaps)), gaps)
    wrong = np.bincount(owner[comma], minlength=len(gaps)) != 1
    wrong[owner[~comma & ~space]] = True
    return int(wrong.argmax()) + 1 if wrong.any() else len(starts)
