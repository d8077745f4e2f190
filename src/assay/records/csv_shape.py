"""The shape of CSV records: cells by number, and columns by the names above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import BaseModel

from assay.reading import Block, Ints
from assay.reading.csv import CsvProcessor
from assay.reading.csv_rows import quoting
from assay.reading.texts import keeps_blanks
from assay.records.assemble import Constant, Presence, Value
from assay.records.claims import NotCompiled, Site
from assay.records.cursor import Cursor, Text
from assay.records.found import NULL, QUOTED, Level
from assay.records.schema import NotCompiledModel, Schema, extra_behavior
from assay.records.shape import FieldVerdict, Shape
from assay.records.text_shape import text_column

_NO_PRESENCE: Final = Presence()


class CsvText(Text):
    """A block of rows, and the delimiters between their cells."""

    def __init__(self, block: Block, delimiter: int, quote: int | None) -> None:
        super().__init__(block, delimiter)
        self.quote = quote
        self.limit = self.size
        if block.marks is None:
            # Single rows put together: behind a quote that stands where none may, nothing is told.
            found = quoting(self.content, delimiter, quote)
            self.places, self.limit = found.outside(self.places), found.limit

    def _odd_places(self) -> Ints:
        # What no cell may have is told when rows are found.
        return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Cells:
    """A row of cells.

    Attributes:
        count: How many.
        slots: Those that are wanted: the number of the cell, and the slot under which it is found.
        empty_as_null: Whether an empty cell is null.
    """

    count: int
    slots: tuple[tuple[int, int], ...]
    empty_as_null: bool

    def walk(self, cursor: Cursor, rows: Ints | None, level: Level) -> None:
        """See `Layout`."""
        text = cursor.text
        if not isinstance(text, CsvText):
            raise TypeError("cells are found in a CsvText")
        starts, first = cursor.at, cursor.next
        ends = text.block.ends[np.searchsorted(text.block.starts, starts)]
        cursor.ok = cursor.ok & (np.searchsorted(text.places, ends) - first == self.count - 1)
        cursor.ok &= ends <= text.limit
        has_quotes = text.quote is not None and text.quote in text.data
        for number, slot in self.slots:
            begin = starts if not number else text.places.take(first + number - 1, mode="clip") + 1
            end = ends if number == self.count - 1 else text.places.take(first + number, mode="clip")
            end = np.maximum(begin, end)
            empty = begin == end
            if has_quotes and text.quote is not None:
                rows_quoted = np.flatnonzero(~empty & (text.bytes[begin] == text.quote))
                if len(rows_quoted):
                    begin, end = begin.copy(), end.copy()
                    begin[rows_quoted] += 1
                    end[rows_quoted] = np.maximum(begin[rows_quoted], end[rows_quoted] - 1)
                    # A quote inside is a doubled one.
                    doubled = text.next_mark(begin[rows_quoted], text.quote) < end[rows_quoted]
                    cursor.ok[rows_quoted[doubled]] = False
            states = np.where(empty & self.empty_as_null, NULL, QUOTED).astype(np.uint8)
            level.put(slot, rows, begin, end, states)
        cursor.at = ends


class CsvShapes:
    """Compiles a model for rows of CSV; see `Shapes`."""

    def __init__(self, schema: Schema, model: type[BaseModel], processor: CsvProcessor) -> None:
        self._schema = schema
        self._model = model
        self._processor = processor

    def text(self, block: Block) -> Text:
        """See `Shapes`."""
        dialect = self._processor.dialect
        return CsvText(block, ord(dialect.delimiter), ord(dialect.quote) if dialect.quote else None)

    def shape(self, records: Sequence[bytes], block: Block) -> Shape:
        """See `Shapes`."""
        names = self._processor.names_of(block.head)
        if names is None:
            raise NotCompiledModel("rows of several kinds together")
        slots: dict[int, int] = {}
        values: dict[str, Value] = {}
        known: set[str] = set()
        node = self._schema.root()
        fields = self._schema.see_model(node)
        config = node.get("config", {})
        for name, field in fields.items():
            self._schema.see_keys(field)
            keys = self._schema.keys_of(name, field, config)
            known.update(keys)
            there = [key for key in keys if key in names]
            if len(there) > 1:
                raise NotCompiledModel(f"{name} comes under several names: {', '.join(there)}")
            column = self._schema.columns.column_of(field["schema"], name)
            presence = self._schema.presence(field["schema"], column, name)
            site = Site(config, self._schema.columns.schema[name])
            if not there:
                if presence.default is None:
                    raise NotCompiledModel(f"there is no column {name}")
                values[name] = Constant(site.dtype, presence)
                continue
            number = names.index(there[0])
            if number in slots:
                raise NotCompiledModel(f"two fields of the column {there[0]}")
            slots[number] = number
            trimmed = not keeps_blanks(self._model.model_fields[name].annotation)
            values[name] = text_column(
                self._schema,
                field["schema"],
                site,
                presence,
                number,
                trimmed=trimmed,
                alone=[],
                empty_as_null=self._processor.empty_as_null,
            )
        behavior = extra_behavior(node)
        if behavior == "allow" or (behavior == "forbid" and not known.issuperset(names)):
            raise NotCompiledModel(f"columns that the model does not name, with extra={behavior!r}")
        cells = Cells(len(names), tuple(slots.items()), self._processor.empty_as_null)
        return Shape(cells, values, (), spaced=False, head=block.head)

    def explain(self) -> dict[str, FieldVerdict]:
        """See `Shapes`."""
        try:
            node = self._schema.root()
            fields = self._schema.see_model(node)
        except NotCompiled as error:
            return {"": FieldVerdict("record", str(error))}
        config = node.get("config", {})
        if extra_behavior(node) == "allow":
            return {"": FieldVerdict("record", "extra='allow'")}
        verdicts = {}
        for name, field in fields.items():
            alone: list[str] = []
            site = Site(config, self._schema.columns.schema[name])
            try:
                self._schema.see_keys(field)
                self._schema.keys_of(name, field, config)
                text_column(self._schema, field["schema"], site, _NO_PRESENCE, 0, trimmed=True, alone=alone)
            except NotCompiled as error:
                verdicts[name] = FieldVerdict("record", str(error))
            else:
                verdicts[name] = FieldVerdict.of_parts(alone)
        return verdicts
