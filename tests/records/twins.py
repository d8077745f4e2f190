"""How the two ways to a verdict are compared, with each other and with Pydantic itself."""

from __future__ import annotations

import enum
import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl
from polars.testing import assert_frame_equal
from pydantic import BaseModel, TypeAdapter, ValidationError

from assay.errors import SourceError
from assay.records import REJECTS, TRACE, RecordReader, worded
from assay.records.batches import Format
from assay.settings import Settings

#: What campaigns say that they have done: feeds, and records in them.
COMPARED = {"feeds": 0, "records": 0}


def outcome(
    model: type[BaseModel], data: bytes, how: Format, given: Settings
) -> tuple[pl.DataFrame, pl.DataFrame, str, int]:
    """Accepted, rejected, how reading broke off, and how many records went to the reference."""
    reader = RecordReader(model, how, given)
    batches = []
    end = ""
    try:
        for batch in reader.batches(reader.check(data)):
            batches.append(batch)
    except SourceError as error:
        end = str(error)
    return (
        pl.concat([pl.DataFrame(schema=reader.schema | TRACE), *(batch.frame for batch in batches)]),
        pl.concat([pl.DataFrame(schema=REJECTS), *(batch.rejects for batch in batches)]),
        end,
        batches[-1].file.referred if batches else 0,
    )


def compare(model: type[BaseModel], data: bytes, how: Format, batch_bytes: int = 10**6) -> int:
    """Compare the two ways; gives how many records went to the reference."""
    frame, rejects, end, referred = outcome(model, data, how, Settings(batch_bytes=batch_bytes))
    expected, refused, expected_end, _ = outcome(model, data, how, Settings(batch_bytes=batch_bytes, compiled=False))
    assert_frame_equal(frame, expected)
    assert_frame_equal(rejects, refused)
    assert end == expected_end
    if how.format == "jsonl" and not end:
        as_pydantic_says(model, data, frame, rejects)
    COMPARED["feeds"] += 1
    COMPARED["records"] += frame.height + rejects.height
    return referred


def as_pydantic_says(model: type[BaseModel], data: bytes, frame: pl.DataFrame, rejects: pl.DataFrame) -> None:
    """Hold lines against Pydantic, one at a time, by nothing that Assay has made."""
    validate = TypeAdapter(model).validate_json
    accepted = {row["_record"]: row for row in frame.iter_rows(named=True)}
    rejected = {row["record"]: row for row in rejects.iter_rows(named=True)}
    number = offset = 0
    for place, written in enumerate(data.split(b"\n"), 1):
        line = written.removesuffix(b"\r")
        if not line.strip(b" \t\r"):
            offset += len(written) + 1
            continue
        row = accepted.get(number)
        where = (place, offset)
        try:
            instance = validate(line)
        except ValidationError as error:
            found = rejected[number]
            words = [worded(e["loc"], e["type"], e["msg"], e["input"]) for e in error.errors()]
            assert found["errors"] == words
            assert (found["line"], found["offset"], found["raw"]) == (*where, line)
        else:
            if row is None:
                assert rejected[number]["stage"] == "represent"
            else:
                assert (row["_line"], row["_offset"]) == where
                for name in model.model_fields:
                    assert_same(row[name], getattr(instance, name))
        number += 1
        offset += len(written) + 1
    assert number == len(accepted) + len(rejected)


def assert_same(cell: Any, value: Any) -> None:
    """A cell of a column is what Pydantic made of it."""
    match value:
        case enum.Enum():
            assert cell == value.value
        case UUID():
            assert cell == str(value)
        case BaseModel() if isinstance(cell, str):
            # The column of a model that holds itself is JSON text, further down.
            assert cell == value.model_dump_json()
        case BaseModel():
            for name in type(value).model_fields:
                assert_same(cell[name], getattr(value, name))
        case list() | tuple():
            assert len(cell) == len(value)
            for one, other in zip(cell, value, strict=True):
                assert_same(one, other)
        case Decimal():
            assert isinstance(cell, Decimal)
            assert cell == value
        case float() if math.isnan(value):
            assert math.isnan(cell)
        case str() if cell != value:
            # The column of a union is JSON text.
            assert cell == TypeAdapter(str).dump_json(value).decode()
        case int() if isinstance(cell, str):
            assert cell == str(value)
        case _:
            assert cell == value
            assert type(cell) is type(value)
