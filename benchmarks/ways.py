"""The ways to a typed frame that are measured side by side: Assay, and the loops that people write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl
from lxml import etree
from pydantic import BaseModel, ValidationError

import assay

Model = type[BaseModel]
Way = Callable[[Path, Model], tuple[pl.DataFrame, int]]
"""From a file and a model to the frame of accepted records, and how many were rejected."""


def scanned(path: Path, model: Model) -> tuple[pl.DataFrame, int]:
    """`assay.scan`; rejects are collected with place, errors and bytes."""
    rejects: list[pl.DataFrame] = []
    frame = assay.scan(path, model, rejects=rejects.append).collect()
    return frame, sum(part.height for part in rejects)


def usual_jsonl(path: Path, model: Model) -> tuple[pl.DataFrame, int]:
    """A line at a time: orjson, model_validate, model_dump, pl.DataFrame."""
    with path.open("rb") as lines:
        return _dumped(_decoded(lines), model)


def tuned_jsonl(path: Path, model: Model) -> tuple[pl.DataFrame, int]:
    """The loop after an afternoon with a profiler: validate_json, columns from the instances' own dictionaries."""
    instances: list[Mapping[str, Any]] = []
    rejected = 0
    validate = model.__pydantic_validator__.validate_json
    with path.open("rb") as lines:
        for line in lines:
            try:
                instances.append(vars(validate(line)))
            except ValidationError:
                rejected += 1
    columns = {name: [row[name] for row in instances] for name in model.model_fields}
    return pl.DataFrame(columns, schema=schema_of(model)), rejected


def usual_json(path: Path, model: Model) -> tuple[pl.DataFrame, int]:
    """The whole array at once by orjson, then as with lines."""
    return _dumped(orjson.loads(path.read_bytes()), model)


def usual_xml(path: Path, model: Model) -> tuple[pl.DataFrame, int]:
    """Element by element: lxml iterparse, a dictionary, then as with lines."""
    return _dumped(_elements(path), model)


#: By format: what each way is called, and the way.
WAYS: Final[dict[str, dict[str, Way]]] = {
    "jsonl": {"assay.scan": scanned, "the usual loop": usual_jsonl, "the tuned loop": tuned_jsonl},
    "json": {"assay.scan": scanned, "the usual loop": usual_json},
    "xml": {"assay.scan": scanned, "the usual loop": usual_xml},
}


def schema_of(model: Model) -> pl.Schema:
    """The columns that all ways must come to."""
    return assay.scan(b"", model, format="jsonl").collect_schema()


def _decoded(lines: Iterable[bytes]) -> Iterator[Any]:
    for line in lines:
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            yield None


def _elements(path: Path) -> Iterator[Any]:
    for _, element in etree.iterparse(path, tag="order_line", resolve_entities=False, no_network=True):
        yield {child.tag: child.text or "" for child in element}
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]


def _dumped(rows: Iterable[Any], model: Model) -> tuple[pl.DataFrame, int]:
    dumped: list[dict[str, Any]] = []
    rejected = 0
    for row in rows:
        try:
            dumped.append(model.model_validate(row).model_dump())
        except ValidationError:
            rejected += 1
    return pl.DataFrame(dumped, schema=schema_of(model)), rejected
