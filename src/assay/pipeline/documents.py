"""To which document a rejected record belongs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
import polars as pl
import pydantic_core
from pydantic import AliasChoices, AliasPath, BaseModel

from assay.errors import AssayError
from assay.reading import Processor
from assay.records.columns import Columns
from assay.records.verdict import json_text_for

DOCUMENT_REJECTED = "document_rejected"
"""The kind of error of a record that passes itself, and goes with its document."""


class DocumentFinder:
    """Finds the value of the document's column in the raw bytes of a record that did not pass.

    First by reading it as the model does, and by validating this one field: two ways to write a value are one document.
    Where that fails (a line cut short), by the text of its key. It may be unknown: then the record is rejected alone,
    and the run says how many such there were.
    """

    def __init__(self, columns: Columns, column: str) -> None:
        self._model = columns.model
        self._column = columns.by_name[column]
        self._keys = list(_keys(self._model, column))
        self._validate = _field_validator(self._model, column)
        names = "|".join(re.escape(key.rpartition(":")[2]) for key in self._keys)
        # The value of the first such key: a quoted text or a number in JSON, a text in XML.
        self._json = re.compile(rf'"(?:{names})"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|(-?\d+)\s*[,}}])'.encode())
        self._xml = re.compile(rf"<(?:[\w.-]+:)?(?:{names})(?:\s[^>]*)?>([^<]*)<".encode())

    def find(self, raws: Iterable[bytes], processor: Processor) -> list[str | None]:
        """The document of each raw record, or None."""
        json_text = json_text_for(processor, self._model)
        return [self._parsed(raw, json_text) or self._searched(raw) for raw in raws]

    def _parsed(self, raw: bytes, json_text: Callable[[bytes], bytes] | None) -> str | None:
        try:
            record = orjson.loads(raw if json_text is None else json_text(raw))
        except (AssayError, ValueError, RecursionError):
            return None
        if not isinstance(record, dict):
            return None
        found = next((record[key] for key in self._keys if key in record), None)
        return self._as_column(found)

    def _as_column(self, value: Any) -> str | None:
        """A value as the accepted rows have it."""
        if value is None:
            return None
        try:
            valid = self._validate(orjson.dumps(value))
            made: str | None = self._column.series("", [self._column.put(valid)]).cast(pl.String).item()
        except Exception:  # noqa: BLE001 - a validator may raise anything; a value that is wrong is no other row's
            return _text(value)
        return made

    def _searched(self, raw: bytes) -> str | None:
        for pattern in (self._json, self._xml):
            found = pattern.search(raw)
            if found:
                text = next((group for group in found.groups() if group is not None), b"")
                return text.decode("utf-8", "replace").strip() or None
        return None


def blame(source: str, record: int, errors: Sequence[Mapping[str, str]]) -> str:
    """Which record has cost its document, and by what."""
    first = errors[0]
    field = f"{first['loc']}: " if first["loc"] else ""
    return f"{source} record {record}: {field}{first['type']}"


def with_its_document(blamed: str) -> str:
    """Why a record is rejected that passes itself."""
    return f"Its document is rejected: {blamed}"


def document_column(column: str) -> pl.Expr:
    """The document of accepted rows, as text."""
    return pl.col(column).cast(pl.String).alias("_document")


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _field_validator(model: type[BaseModel], column: str) -> Callable[[bytes], Any]:
    """The verdict on one field by itself."""
    node: Any = model.__pydantic_core_schema__
    definitions: list[Any] = []
    config = None
    while node["type"] != "model-fields":
        definitions += node.get("definitions", [])
        config = node.get("config", config)
        if node["type"] == "definition-ref":
            node = next(one for one in definitions if one["ref"] == node["schema_ref"])
        else:
            node = node["schema"]
    schema = node["fields"][column]["schema"]
    whole = {"type": "definitions", "schema": schema, "definitions": definitions} if definitions else schema
    return pydantic_core.SchemaValidator(whole, config).validate_json


def _keys(model: type[BaseModel], column: str) -> Iterable[str]:
    info = model.model_fields[column]
    alias = info.validation_alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias or info.alias or column]:
        if not isinstance(choice, AliasPath):
            yield str(choice)
    yield column
