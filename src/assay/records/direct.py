"""Numbers, dates and choices read straight from bytes, eight at a time, many values together.

What is read so is a part of what is claimed of the same text (`claims`), and the same value; of the rest nothing is
said here. The tricks with eight bytes in a word are those of H. S. Warren, Hacker's Delight, chapter 6, and of D.
Lemire, "Quickly parsing eight digits" (2018).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from assay.reading import Bools, Ints
from assay.reading.octets import Octets, Words
from assay.records.found import QUOTED, Found

#: From bytes and what was found in them to raw values, and which of them are read.
Read = Callable[[Octets, Found], tuple[Ints, Bools]]


@dataclass(frozen=True)
class Direct:
    """A way to read values.

    Attributes:
        read: To raw values, 64-bit integers, which are in the order of the values.
        kind: Values of one kind are read alike, whatever is made of them: those of several fields at once.
        value: From them to a column of the values.
        bounds: How values must compare with some raw values: pairs of an operator and a raw value.
        multiple: Of what they must be a multiple, or None.
    """

    read: Read
    kind: tuple[object, ...]
    value: Callable[[Ints], pl.Series]
    bounds: Sequence[tuple[str, int]] = ()
    multiple: int | None = None

    def holds(self, raw: Ints) -> Bools | None:
        """Of which raw values all holds that must; None where nothing must."""
        held: Bools | None = None
        for op, bound in self.bounds:
            one: Bools = _COMPARE[op](raw, bound)
            held = one if held is None else held & one
        if self.multiple is not None:
            divides = raw % self.multiple == 0
            held = divides if held is None else held & divides
        return held


_COMPARE: Final[Mapping[str, Callable[[Ints, int], Bools]]] = {
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
}


_WORD: Final = 8
_MINUS: Final = 45
_POINT: Final = 46
_ZERO: Final = 48
_U = np.uint64
_HIGH_NIBBLES: Final = _U(0xF0F0F0F0F0F0F0F0)
_LOW_NIBBLES: Final = _U(0x0F0F0F0F0F0F0F0F)
_SIX: Final = _U(0x0606060606060606)
_THREES: Final = _U(0x3333333333333333)
_FOUR: Final = _U(4)
_PAIRS: Final = (_U(2561), _U(8), _U(0x00FF00FF00FF00FF))
_FOURS: Final = (_U(6553601), _U(16), _U(0x0000FFFF0000FFFF))
_EIGHTS: Final = (_U(42949672960001), _U(32))
#: By the number of digits in a word: how far to shift it, what to keep, and zeros before the digits.
_SHIFT: Final = np.array([8 * (_WORD - count) % 64 for count in range(_WORD + 1)], np.uint64)
_KEEP: Final = np.array([0] + [2**64 - 1] * _WORD, np.uint64)
_FILL: Final = np.array([int.from_bytes(b"0" * (_WORD - count), "little") for count in range(_WORD + 1)], np.uint64)
#: By the number of bytes of a text in a word: those that are its own.
_OWN: Final = np.array([2 ** (8 * count) - 1 for count in range(_WORD + 1)], np.uint64)
_POWERS: Final = np.array([10**power for power in range(19)], np.int64)
_EIGHT_DIGITS: Final = 10**8
#: Digits that 64 bits hold in any case.
_MOST: Final = 18

# A date is YYYY-MM-DD: its last eight bytes are YY-MM-DD, where the dashes can be made zeros.
_DATE: Final = 10
#: A backslash, an ampersand, a control character.
_UNSURE: Final = re.compile(r"[\\&\x00-\x1f]")
_EPOCH: Final = dt.date(1970, 1, 1)
_DASHES: Final = _U(int.from_bytes(b"\0\0-\0\0-\0\0", "little"))
_DASH_PLACES: Final = _U(int.from_bytes(b"\0\0\xff\0\0\xff\0\0", "little"))
_TO_ZEROS: Final = _U(int.from_bytes(b"\0\0\x1d\0\0\x1d\0\0", "little"))
_FIRST_YEAR: Final = 1000
_YEARS: Final = (np.arange(_FIRST_YEAR, 10_000) - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
_BEFORE_MONTH: Final = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 0, 0, 0])
_IN_MONTH: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0])


def whole_numbers(
    digits: int, *, quoted: bool, bounds: Sequence[tuple[str, int]] = (), multiple: int | None = None
) -> Direct:
    """Whole numbers of so many digits; as text of a string or not."""

    def read(text: Octets, found: Found) -> tuple[Ints, Bools]:
        negative, starts = _signs(text, found)
        lengths = found.ends - starts
        values, good = _numbers(text, starts, found.ends, lengths)
        good &= (lengths >= 1) & (lengths <= digits)
        good &= _allowed(text, found, starts, lengths, negative, quoted=quoted)
        return np.where(negative, -values, values), good

    return Direct(read, ("whole", digits, quoted), pl.Series, bounds, multiple)


def decimals(
    dtype: pl.Decimal,
    whole: int,
    places: int,
    bare_whole: int,
    *,
    quoted: bool,
    bounds: Sequence[tuple[str, Decimal]] = (),
) -> Direct | None:
    """Decimals of so many digits before and behind the point; None where 64 bits do not hold them.

    Args:
        dtype: The column's type.
        whole: Digits before the point, of a string.
        places: Digits behind it.
        bare_whole: Digits before the point, of a number.
        quoted: Whether strings are read at all.
        bounds: How the values must compare with some that the column holds.
    """
    scale = dtype.scale
    whole, bare_whole = min(whole, _MOST - scale, 2 * _WORD), min(bare_whole, _MOST - scale, 2 * _WORD)
    if scale > _WORD or whole < 1:
        return None

    def read(text: Octets, found: Found) -> tuple[Ints, Bools]:
        negative, starts = _signs(text, found)
        behind = np.zeros(len(starts), np.int64)
        for count in range(1, places + 1):
            point = found.ends - 1 - count
            behind[(text.bytes[point] == _POINT) & (point > starts)] = count
        has_point = behind > 0
        ends = found.ends - behind - has_point
        lengths = ends - starts
        values, good = _numbers(text, starts, ends, lengths)
        good &= (lengths >= 1) & (lengths <= np.where(found.states == QUOTED, whole, bare_whole))
        good &= _allowed(text, found, starts, lengths, np.zeros(len(starts), np.bool_), quoted=quoted)
        values *= _POWERS[scale]
        if has_point.any():
            fractions, digits = _eight(text, found.ends - behind, behind)
            good &= digits
            values += fractions * _POWERS[scale - behind]
        return np.where(negative, -values, values), good

    unit = pl.Series([Decimal(1).scaleb(-scale)], dtype=pl.Decimal(38, scale))

    def value(raw: Ints) -> pl.Series:
        return (pl.Series(raw).cast(pl.Decimal(38, 0)) * unit).cast(dtype)

    kind = ("decimal", scale, whole, places, bare_whole, quoted)
    return Direct(read, kind, value, [(op, int(bound.scaleb(scale))) for op, bound in bounds])


def dates(bounds: Sequence[tuple[str, dt.date]] = ()) -> Direct:
    """YYYY-MM-DD from the year 1000 on, as days since 1970."""

    def read(text: Octets, found: Found) -> tuple[Ints, Bools]:
        good = (found.ends - found.starts == _DATE) & (found.states == QUOTED)
        first = text.words(found.starts, 1)[:, 0]
        thousands = (first & _U(0xFF)).astype(np.int64) - _ZERO
        hundreds = ((first >> _U(8)) & _U(0xFF)).astype(np.int64) - _ZERO
        rest = text.words(np.minimum(found.starts + 2, text.size), 1)[:, 0]
        good &= (rest & _DASH_PLACES) == _DASHES
        rest = rest ^ _TO_ZEROS
        good &= _are_digits(rest) & (thousands >= 1) & (thousands <= 9) & (hundreds >= 0) & (hundreds <= 9)
        number = _value_of(rest)
        years = thousands * 1000 + hundreds * 100 + number // 1_000_000
        months = (number // 1000) % 1000
        days = number % 1000
        leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
        # What is no month has no days.
        months = np.clip(months, 0, 13)
        good &= (days >= 1) & (days <= _IN_MONTH[months] + (leap & (months == 2)))
        before = _YEARS[np.clip(years - _FIRST_YEAR, 0, len(_YEARS) - 1)]
        return before + _BEFORE_MONTH[months] + (leap & (months > 2)) + days - 1, good

    return Direct(
        read,
        ("date",),
        lambda raw: pl.Series(raw.astype(np.int32)).cast(pl.Date),
        [(op, (bound - _EPOCH).days) for op, bound in bounds],
    )


def choices(texts: Sequence[str], dtype: pl.Enum) -> Direct | None:
    """One of some texts; None where they are many or long."""
    # What may stand for another text where it is written so, or be null, is left to those who know.
    written = [b"" if _UNSURE.search(text) else text.encode() for text in texts]
    longest = max(map(len, written), default=0)
    if not written or len(written) > 32 or not 1 <= longest <= 3 * _WORD:
        return None
    count = -(-longest // _WORD)
    words = [np.frombuffer(text.ljust(count * _WORD, b"\0"), np.uint64) for text in written]

    def read(text: Octets, found: Found) -> tuple[Ints, Bools]:
        lengths = found.ends - found.starts
        gathered = text.words(found.starts, count)
        columns = [gathered[:, number] & _OWN[np.clip(lengths - _WORD * number, 0, _WORD)] for number in range(count)]
        chosen = np.full(len(lengths), -1, np.int64)
        for code, (choice, size) in enumerate(zip(words, map(len, written), strict=True)):
            if not size:
                continue
            same = lengths == size
            for number in range(-(-size // _WORD)):
                same &= columns[number] == choice[number]
            chosen[same] = code
        good = (chosen >= 0) & (found.states == QUOTED)
        return np.maximum(chosen, 0), good

    values = pl.Series(list(texts), dtype=dtype)
    return Direct(read, ("choice", *texts), values.gather)


def _signs(text: Octets, found: Found) -> tuple[Bools, Ints]:
    """Which values begin with a minus, and where the digits begin."""
    negative = text.bytes[found.starts] == _MINUS
    return negative, found.starts + negative


def _allowed(text: Octets, found: Found, starts: Ints, lengths: Ints, negative: Bools, *, quoted: bool) -> Bools:
    """Strings where they are read; numbers without a zero in front, and no negative zero of a whole number."""
    is_text = found.states == QUOTED
    plain = (text.bytes[starts] != _ZERO) | ((lengths == 1) & ~negative)
    return is_text if quoted and is_text.all() else np.where(is_text, quoted, plain)


def _numbers(text: Octets, starts: Ints, ends: Ints, lengths: Ints) -> tuple[Ints, Bools]:
    """Numbers of up to sixteen digits, and which are that."""
    if len(lengths) and lengths.max() <= _WORD:
        return _eight(text, starts, lengths)
    long = lengths > _WORD
    low, good = _eight(text, np.where(long, ends - _WORD, starts), np.minimum(lengths, _WORD))
    high, digits = _eight(text, starts, lengths - _WORD)
    return high * _EIGHT_DIGITS + low, good & digits & (lengths <= 2 * _WORD)


def _eight(text: Octets, starts: Ints, lengths: Ints) -> tuple[Ints, Bools]:
    """Numbers of up to eight digits (none: zero), and which are that."""
    size: npt.NDArray[np.int64] = np.clip(lengths, 0, _WORD)
    word = text.words(np.clip(starts, 0, text.size), 1)[:, 0]
    word = ((word << _SHIFT[size]) & _KEEP[size]) | _FILL[size]
    return _value_of(word), _are_digits(word)


def _are_digits(word: Words) -> Bools:
    digits: Bools = ((word & _HIGH_NIBBLES) | (((word + _SIX) & _HIGH_NIBBLES) >> _FOUR)) == _THREES
    return digits


def _value_of(word: Words) -> Ints:
    """The number that eight digits make."""
    pairs, shift, mask = _PAIRS
    word = ((word & _LOW_NIBBLES) * pairs >> shift) & mask
    fours, shift, mask = _FOURS
    word = (word * fours >> shift) & mask
    eights, shift = _EIGHTS
    return (word * eights >> shift).astype(np.int64)
