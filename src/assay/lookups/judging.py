"""What comes from a database, a frame or a service is judged like a record: by the model, on JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl
from pydantic import BaseModel

from assay.errors import LookupFailed
from assay.records import TRACE, Format, RecordReader
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
            alias
            for field, dtype in self._reader.schema.items()
            if isinstance(dtype, pl.Decimal)
            for alias in (field, input_name(model, field))
        }

    @property
    def schema(self) -> pl.Schema:
        """The model's columns."""
        return self._reader.schema

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> Judged:
        """Judge rows of Python values.

        Raises:
            LookupFailed: a float stands where the model says Decimal.
        """
        return self.lines(self._line(row) for row in rows)

    def lines(self, lines: Iterable[bytes]) -> Judged:
        """Judge JSON objects, each without line feeds."""
        source = b"\n".join(lines)
        names = [*self._reader.schema.names(), "_record"]
        if not source:
            return Judged(pl.DataFrame(schema=self._reader.schema | {"_record": TRACE["_record"]}), {})
        frames, wrong = [], {}
        for batch in self._reader.batches(self._reader.check(source)):
            for index in range(batch.rejects.height):
                reject = first_reject(batch.rejects.slice(index, 1))
                error = reject.errors[0]
                wrong[reject.record] = f"{error['loc'] or 'answer'}: {error['msg']}, got {error['input']!r}"
            frames.append(batch.frame.select(names))
        return Judged(pl.concat(frames), wrong)

    def _line(self, row: Mapping[str, Any]) -> bytes:
        for column in self._money & row.keys():
            if isinstance(row[column], float):
                raise LookupFailed(
                    f"lookup {self._name}: {column} comes as a float ({row[column]!r}), and money is never one: keep "
                    "it as text, a decimal or an integer"
                )
        return orjson.dumps(row, default=str)


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
