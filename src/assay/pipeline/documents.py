"""To which document a rejected record belongs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import polars as pl
from pydantic import AliasChoices, AliasPath, BaseModel

from assay.errors import AssayError
from assay.reading import Processor


class DocumentFinder:
    """Finds the value of the document's column in the raw bytes of a record that did not pass.

    First by parsing it as the format does; where that fails (a line cut short), by the text of its key. It may be
    unknown: then the record is rejected alone, and the run says how many such there were.
    """

    def __init__(self, model: type[BaseModel], column: str) -> None:
        self._keys = list(_keys(model, column))
        names = "|".join(re.escape(key.rpartition(":")[2]) for key in self._keys)
        # The value of the first such key: a quoted text or a number in JSON, a text in XML.
        self._json = re.compile(rf'"(?:{names})"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|(-?\d+)\s*[,}}])'.encode())
        self._xml = re.compile(rf"<(?:[\w.-]+:)?(?:{names})(?:\s[^>]*)?>([^<]*)<".encode())

    def find(self, raws: Iterable[bytes], processor: Processor) -> list[str | None]:
        """The document of each raw record, or None."""
        return [self._parsed(raw, processor) or self._searched(raw) for raw in raws]

    def _parsed(self, raw: bytes, processor: Processor) -> str | None:
        try:
            record = processor.process(raw)
        except (AssayError, ValueError, RecursionError):
            return None
        if not isinstance(record, dict):
            return None
        found = next((record[key] for key in self._keys if key in record), None)
        return _text(found)

    def _searched(self, raw: bytes) -> str | None:
        for pattern in (self._json, self._xml):
            found = pattern.search(raw)
            if found:
                text = next((group for group in found.groups() if group is not None), b"")
                return text.decode("utf-8", "replace").strip() or None
        return None


def document_column(column: str) -> pl.Expr:
    """The document of accepted rows, as text."""
    return pl.col(column).cast(pl.String).alias("_document")


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _keys(model: type[BaseModel], column: str) -> Iterable[str]:
    info = model.model_fields[column]
    alias = info.validation_alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias or info.alias or column]:
        if not isinstance(choice, AliasPath):
            yield str(choice)
    yield column
