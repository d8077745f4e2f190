"""A raw record: its bytes and its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: Bytes that are kept of a record over the size limit.
EXCERPT: Final = 4096
#: Type of the error of a record over the size limit.
TOO_LONG: Final = "record_too_long"


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record as it stands in its source.

    Attributes:
        data: The record's bytes, enough to replay it: in XML, where it leans on what is around it (namespaces, an
            encoding, values of its ancestors), the smallest document that holds it.
        record: 0-based number in the source, blank lines not counted, rejected records counted.
        line: 1-based number of the line on which it begins.
        offset: 0-based offset of its first byte in the (decompressed) source.
        problem: Why it cannot be read as a record at all (too long, too deep), or None.
        head: How many bytes of `data` stand before the record itself, as it stands in its source.
        tail: How many stand behind it.
    """

    data: bytes
    record: int
    line: int
    offset: int
    problem: Problem | None = None
    head: int = field(default=0, compare=False)
    tail: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a record is rejected before validation, in the form of a Pydantic error."""

    type: str
    msg: str


@dataclass(frozen=True)
class Limits:
    """Bounds on one record; each names the setting that raises it."""

    max_record_bytes: int = 16 * 1024 * 1024
    max_record_depth: int = 200

    def too_long(self, length: int | None) -> Problem:
        """The record has `length` bytes (None: more than could be counted)."""
        size = f"{length:,} bytes long" if length is not None else "longer"
        return Problem(
            TOO_LONG,
            f"Record is {size}, over the limit of {self.max_record_bytes:,} bytes (setting max_record_bytes)",
        )

    def too_deep(self) -> Problem:
        """The record is nested too deeply."""
        return Problem(
            "record_too_deep",
            f"Record is nested more than {self.max_record_depth} deep (setting max_record_depth)",
        )
