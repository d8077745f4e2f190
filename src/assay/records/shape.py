"""The compiled twin of a model: how its records look, as a layout to walk through, and how its columns are made.

A layout says which bytes must stand where, so that walking through a record proves what a parser finds out piece by
piece: that it is JSON, that every key is there once and no other, and of which kind each value is. The text of each
value is then claimed (`claims`): a pattern, a conversion and a check that leave Pydantic no choice. What is not claimed
but stands alone (a timedelta, a union) is judged by the reference field by field.

The core schema is read by a whitelist of nodes and of their keys: whatever is not known here is judged by the
reference, and `explain` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from assay.reading import Block, Ints
from assay.records.assemble import Value
from assay.records.cursor import Cursor, Text
from assay.records.found import Level


class Layout(Protocol):
    """How a record looks."""

    def walk(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """Move over it, and note what is there.

        Args:
            cursor: At the record.
            rows: Which rows of the level these are; None: all, in order.
            level: Where it is noted.
        """
        ...


@dataclass(frozen=True)
class FieldVerdict:
    """How a field is judged.

    Attributes:
        way: "compiled"; "field": by the reference, this field alone; "record": for its sake the whole record goes to
            the reference.
        why: Why it is not compiled; empty where it is.
    """

    way: Literal["compiled", "field", "record"]
    why: str = ""

    @classmethod
    def of_parts(cls, alone: Sequence[str]) -> FieldVerdict:
        """Of a field of which these parts, for these reasons, are judged by the reference alone."""
        why = "; ".join(dict.fromkeys(alone))
        return cls("field", why) if why else cls("compiled")


@dataclass(frozen=True)
class Shape:
    """How records of one look are judged.

    Attributes:
        layout: What they look like.
        values: The model's columns, of what is found.
        ignored: What else may be there, and must be right all the same.
        spaced: Whether characters stand between the values that no value may have in it.
        head: What must stand before each record in what is kept of it (the frame of an XML record).
    """

    layout: Layout
    values: Mapping[str, Value]
    ignored: Sequence[Value]
    spaced: bool
    head: bytes = b""

    def looks_like(self, other: Shape) -> bool:
        """Whether the records of another shape look the same."""
        return self.layout == other.layout and self.head == other.head


class Shapes(Protocol):
    """Compiles a model for what its records look like, in one format."""

    def text(self, block: Block) -> Text:
        """A block as its records are walked through."""
        ...

    def shape(self, records: Sequence[bytes], block: Block) -> Shape:
        """The shape of records that look like these, which are some of a block.

        Raises:
            NotCompiled: the model, or records that look so, are judged by the reference.
        """
        ...

    def explain(self) -> dict[str, FieldVerdict]:
        """How each field is judged; where all records go to the reference for another reason, that under ""."""
        ...
