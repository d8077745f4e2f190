"""What comes from a database, a frame or a service is judged like a record: by the model, on JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from polars._typing import PolarsDataType
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from assay.errors import LookupFailed
from assay.reading import ProcessorFactory, RawRecord
from assay.records import TRACE, Batch, FileCount, Format, RecordReader
from assay.records.rejects import first_reject
from assay.settings import Settings


@dataclass(frozen=True)
class Judged:
    """The accepted rows with `_record`, their number, and by number what is wrong with the others."""

    numbered: pl.DataFrame
    wrong: dict[int, str]

    @property
    def frame(self) -> pl.DataFrame:
        """The accepted rows, the model's columns alone."""
        return self.numbered.drop("_record")


class RowJudge:
    """Judges rows by one model."""

    def __init__(
        self,
        name: str,
        model: type[BaseModel],
        decimals: tuple[int, int] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._name = name
        self._reader = RecordReader(model, Format("jsonl", decimals=decimals), settings or Settings())
        self._money = {
            alias: dtype
            for field, dtype in self._reader.schema.items()
            if _has_money(dtype)
            for alias in (field, input_name(model, field))
        }

    @property
    def schema(self) -> pl.Schema:
        """The model's columns."""
        return self._reader.schema

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> Judged:
        """Judge rows of Python values.

        Raises:
            LookupFailed: a float stands where the model says Decimal, or a value has no exact text.
        """
        return self.lines(self._line(row) for row in rows)

    def lines(self, lines: Iterable[bytes]) -> Judged:
        """Judge JSON objects, each without line feeds."""
        texts = list(lines)
        names = [*self._reader.schema.names(), "_record"]
        if not texts:
            return Judged(pl.DataFrame(schema=self._reader.schema | {"_record": TRACE["_record"]}), {})
        frames, wrong = [], {}
        for batch in self._batches(texts):
            for index in range(batch.rejects.height):
                reject = first_reject(batch.rejects.slice(index, 1))
                error = reject.errors[0]
                wrong[reject.record] = f"{error['loc'] or 'answer'}: {error['msg']}, got {error['input']!r}"
            frames.append(batch.frame.select(names))
        return Judged(pl.concat(frames), wrong)

    def _batches(self, texts: list[bytes]) -> Iterator[Batch]:
        if all(text.startswith(b"{") for text in texts):
            return self._reader.batches(self._reader.check(b"\n".join(texts)))
        # What a service answers may look like a file of something else, or like an empty line: each is one record.
        raws = (RawRecord(text, number, number + 1, 0) for number, text in enumerate(texts))
        return self._reader.raw_batches(FileCount("<answers>"), raws, ProcessorFactory.create("jsonl"))

    def _line(self, row: Mapping[str, Any]) -> bytes:
        for column in self._money.keys() & row.keys():
            found = _float_money(row[column], self._money[column])
            if found is not None:
                raise LookupFailed(
                    f"lookup {self._name}: {column} comes as a float ({found!r}), and money is never one: keep "
                    "it as text, a decimal or an integer"
                )
        try:
            return to_json(row, inf_nan_mode="constants", fallback=_bytes_of)
        except PydanticSerializationError as error:
            kinds = ", ".join(f"{column}: {type(value).__name__}" for column, value in row.items())
            raise LookupFailed(f"lookup {self._name}: a row is no text: {error} ({kinds})") from None


def _bytes_of(value: object) -> bytes:
    if isinstance(value, memoryview):
        return bytes(value)
    raise TypeError(f"a {type(value).__name__} has no text of its own; make it text in the table or a view")


def _has_money(dtype: pl.DataType) -> bool:
    match dtype:
        case pl.Decimal():
            return True
        case pl.List() | pl.Array():
            return _has_money(_type(dtype.inner))
        case pl.Struct():
            return any(_has_money(_type(field.dtype)) for field in dtype.fields)
    return False


def _float_money(value: Any, dtype: pl.DataType) -> float | None:
    """The first float where the model says Decimal, however deep."""
    parts: Iterator[float | None]
    match dtype:
        case pl.Decimal():
            return value if isinstance(value, float) else None
        case pl.List() | pl.Array() if isinstance(value, Iterable):
            parts = (_float_money(one, _type(dtype.inner)) for one in value)
        case pl.Struct() if isinstance(value, Mapping):
            types = {field.name: _type(field.dtype) for field in dtype.fields}
            # What has another name than its field (an alias) may be the money that is not there by name.
            unnamed = next((t for name, t in types.items() if name not in value and _has_money(t)), pl.Null())
            parts = (_float_money(one, types.get(name, unnamed)) for name, one in value.items())
        case _:
            return None
    return next((found for found in parts if found is not None), None)


def _type(dtype: PolarsDataType) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def input_name(model: type[BaseModel], field: str) -> str:
    """The name under which a model expects a field."""
    info = model.model_fields[field]
    alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias
    return alias or field


def one_line(data: bytes) -> bytes:
    """A JSON text without line feeds: inside its strings there can be none."""
    return data.replace(b"\r", b" ").replace(b"\n", b" ")


def chunks(frame: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
    """Consecutive slices."""
    return (frame.slice(start, size) for start in range(0, frame.height, size))
