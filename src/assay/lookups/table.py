"""A lookup table: a file (JSON, JSONL, XML, CSV, Parquet) or a frame."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, NoReturn

import polars as pl
from pydantic import BaseModel
from pydantic_core import to_json

from assay.errors import ConfigurationError, LookupFailed, SourceError
from assay.lookups.judging import RowJudge
from assay.lookups.protocol import Answer, LookupContext, LookupStats, need_keys
from assay.lookups.registry import LookupFactory
from assay.reading import without_secrets
from assay.records import Format, RecordReader
from assay.records.rejects import first_reject

_WHOLE: Final = "a lookup table must be right as a whole"


@LookupFactory.register("table")
@dataclass(frozen=True)
class Table:
    """A file or a frame as a lookup table, each of its records validated by a model.

    A record that the model rejects fails the run: prices must not rest on a table that is partly read.

    Args:
        path: The file, a glob, or a list of them; relative to the project, else to the pipeline's folder; `{name}` is
            a parameter. A file that ends in .parquet is read whole. Or a frame.
        model: The model of one row.
        format: As in `scan`; also `record`, `namespaces`, `empty_as_null`, `decimals`, `delimiter`, `quote`.
        column_names: As `columns` in `scan`.
        name: What rejects and reports call it; by default the (first) file's name without its suffixes.

    Raises:
        ConfigurationError: the path is none of these.
    """

    path: str | Sequence[str] | pl.DataFrame = field(compare=False)
    model: type[BaseModel]
    format: str | None = None
    record: str | None = None
    namespaces: Mapping[str, str] | None = None
    empty_as_null: bool | None = None
    decimals: tuple[int, int] | None = None
    delimiter: str | None = None
    quote: str | None = None
    column_names: Sequence[str] | None = None
    name: str = ""
    dated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        paths = self._paths()
        if not self.name:
            path = Path(without_secrets(paths[0])).name.partition(".")[0] if paths else "table"
            object.__setattr__(self, "name", path)

    def columns(self) -> pl.Schema:
        """The model's columns."""
        return RecordReader(self.model, self._how()).schema

    def read(self, context: LookupContext) -> pl.DataFrame:
        """Read the table.

        Raises:
            SourceError: it cannot be read.
            LookupFailed: a record of it is wrong.
        """
        if isinstance(self.path, pl.DataFrame):
            return self._judged(self.path, self.name, context)
        return pl.concat([self._read(context.resolve(context.fill(path)), context) for path in self._paths()])

    def _read(self, path: str, context: LookupContext) -> pl.DataFrame:
        if self.format is None and path.lower().endswith(".parquet"):
            try:
                return self._judged(pl.read_parquet(path), path, context)
            except (OSError, pl.exceptions.PolarsError) as error:
                raise SourceError(str(error).partition("\n")[0], file=path) from None
        reader = RecordReader(self.model, self._how(), context.settings)
        frames = [pl.DataFrame(schema=reader.schema)]
        for batch in reader.batches(reader.check(path)):
            if batch.rejects.height:
                reject = first_reject(batch.rejects)
                self._refuse(f"{reject.source}: record {reject.record} (line {reject.line})", reject.errors[0])
            frames.append(batch.frame.select(reader.schema.names()))
        return pl.concat(frames)

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenTable:
        """Read the table and see that its keys are unique."""
        need_keys(self.name, on, self.columns())
        return OpenTable(self.name, self.read(context), on)

    def _paths(self) -> list[str]:
        if isinstance(self.path, pl.DataFrame):
            return []
        paths = [self.path] if isinstance(self.path, str) else list(self.path) if _is_list(self.path) else []
        if not paths or not all(isinstance(path, str) for path in paths):
            kind = type(self.path).__name__
            raise ConfigurationError(f"a lookup table is a path, a list of paths or a pl.DataFrame, not a {kind}")
        return paths

    def _judged(self, frame: pl.DataFrame, place: str, context: LookupContext) -> pl.DataFrame:
        judged = RowJudge(self.name, self.model, self.decimals, context.settings).rows(frame.iter_rows(named=True))
        for number, words in judged.wrong.items():
            raise LookupFailed(f"lookup {self.name}: {place}: row {number}: {words}; {_WHOLE}")
        return judged.frame

    def _refuse(self, place: str, error: Mapping[str, object]) -> NoReturn:
        what = f"{error['loc']}: {error['msg']}, got {error['input']!r}"
        raise LookupFailed(f"lookup {self.name}: {place}: {what}; {_WHOLE}")

    def _how(self) -> Format:
        return Format(
            self.format,
            self.record,
            self.namespaces,
            self.empty_as_null,
            self.decimals,
            delimiter=self.delimiter,
            quote=self.quote,
            columns=self.column_names,
        )


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


class OpenTable:
    """A table in memory: `frame`, each key once; rows with a null in the key are no answer to any.

    Raises:
        LookupFailed: a key stands in it more than once.
    """

    def __init__(self, name: str, frame: pl.DataFrame, on: Sequence[str]) -> None:
        see_unique(name, frame, on)
        self.frame = frame
        self.stats = LookupStats()
        self._on = list(on)

    @property
    def fingerprint(self) -> str:
        """Hash of its rows by key: a database gives them in any order."""
        return content_hash(self.frame, self._on)

    def answer(self, keys: pl.DataFrame) -> Answer:
        """The rows whose keys are asked for."""
        return Answer(self.frame.join(keys, on=keys.columns, how="semi"))

    def close(self) -> None:
        """A table in memory holds nothing."""


def content_hash(frame: pl.DataFrame, on: Sequence[str]) -> str:
    """Hash of the rows of a frame whose keys are `on`, in whatever order they stand; those without a key left out."""
    return _hash(frame.drop_nulls(on).sort(on))


def whole_hash(frame: pl.DataFrame) -> str:
    """Hash of all rows of a frame, in whatever order they stand."""
    return _hash(frame.sort(frame.columns))


def _hash(frame: pl.DataFrame) -> str:
    digest = hashlib.sha256(repr(frame.schema).encode())
    for part in frame.iter_slices(10_000):
        digest.update(to_json(part.rows(), inf_nan_mode="constants", bytes_mode="hex"))
    return digest.hexdigest()


def see_unique(name: str, frame: pl.DataFrame, on: Sequence[str]) -> None:
    """Raise LookupFailed with the keys that stand in a frame more than once."""
    # A null is equal to nothing, so that such a row doubles no other.
    doubles = frame.drop_nulls(on).group_by(on).len().filter(pl.col("len") > 1).drop("len").sort(on)
    if doubles.height:
        some = ", ".join(
            " / ".join(repr(one) if isinstance(one, str) else str(one) for one in row)
            for row in doubles.head(5).iter_rows()
        )
        raise LookupFailed(
            f"lookup {name}: {doubles.height} keys stand in it more than once: {some}; a row would be doubled"
        )
