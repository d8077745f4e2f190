"""Files of price lists, read as they are, without a model: CSV, JSON, JSON Lines, Parquet.

Pipelines read their lists by a model (`Table("prices.csv", Listed)`). This is for a file by itself: to be checked, or
to be kept beside a book with tests of both.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import polars as pl

from assay.errors import ConfigurationError, nearest
from assay.money import exact_decimal
from assay.pricing.price_rows import OWN_COLUMNS

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
_ROW = re.compile(r'(?<!["\w])row (\d+)\b')


@dataclass(frozen=True)
class ListFile:
    """A file of a price list.

    Attributes:
        path: Where it is.
        rows: What a `PriceList` is made of.
        left_out: Columns that are no part of a list: not its own, and without a decimal in any row.
        lines: Where each row begins, from 1; None where the format has no lines.
    """

    path: Path
    rows: pl.DataFrame | list[Mapping[str, object]]
    left_out: tuple[str, ...]
    lines: Sequence[int] | None

    @classmethod
    def read(cls, path: Path) -> ListFile:
        """Read a file; its suffix says the format.

        Raises:
            ConfigurationError: It cannot be read; with the file and the line.
        """
        try:
            if path.suffix.lower() == ".parquet":
                frame = pl.read_parquet(path)
                left_out = _no_part_of_a_list({name: frame[name].to_list() for name in frame.columns}, texts=False)
                return cls(path, frame.drop(left_out), left_out, None)
            rows, lines = _read_rows(path)
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where=str(path)) from None
        except OSError as error:
            raise ConfigurationError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
        except (pl.exceptions.PolarsError, ValueError, RecursionError, csv.Error) as error:
            raise ConfigurationError(f"cannot be read as {path.suffix[1:]}: {error}", where=str(path)) from error
        columns = dict.fromkeys(name for row in rows for name in row)
        left_out = _no_part_of_a_list({name: [row.get(name) for row in rows] for name in columns}, texts=True)
        kept: list[Mapping[str, object]] = [
            {name: value for name, value in row.items() if name not in left_out} for row in rows
        ]
        return cls(path, kept, left_out, lines)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors inside name the file, and lines instead of rows."""
        try:
            yield
        except ConfigurationError as error:
            raise type(error)(self.by_line(str(error)), where=str(self.path)) from None

    def by_line(self, message: str) -> str:
        """A message in which rows are told by their lines, where the file has such."""
        lines = self.lines
        if lines is None:
            return message

        def told(found: re.Match[str]) -> str:
            number = int(found[1])
            return f"line {lines[number - 1]}" if 0 < number <= len(lines) else found[0]

        return _ROW.sub(told, message)


def _read_rows(path: Path) -> tuple[list[Mapping[str, object]], Sequence[int] | None]:
    """Rows by column, and the lines on which they begin."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        found = list(_csv(path, "\t" if suffix == ".tsv" else ","))
    elif suffix in (".jsonl", ".ndjson"):
        found = list(_json_lines(path))
    elif suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
        if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
            raise ConfigurationError("a price list is one array of objects, one a row")
        return content, None
    else:
        raise ConfigurationError(f"a price list is read from {', '.join(_SUFFIXES)}")
    return [row for _, row in found], [line for line, _ in found]


def _csv(path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        names = next(reader, None)
        if not names:
            raise ConfigurationError("is empty: its first line names the columns")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigurationError(f'line 1 names "{twice}" twice')
        begin = reader.line_num + 1
        for values in reader:
            if values:
                if len(values) != len(names):
                    raise ConfigurationError(f"line {begin} has {len(values)} fields, and line 1 {len(names)}")
                yield begin, {name: _cell(name, value) for name, value in zip(names, values, strict=True)}
            begin = reader.line_num + 1


def _cell(name: str, text: str) -> object:
    """What a field says: nothing, where it is empty; a priority as a number."""
    if not text.strip():
        return None
    if name == "priority" and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text, re.ASCII):
        return int(text)
    return text


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, 1):
            if text.strip():
                try:
                    row = json.loads(text, parse_float=Decimal)
                except json.JSONDecodeError as error:
                    raise ConfigurationError(f"line {line} is no JSON: {error.msg}") from error
                if not isinstance(row, dict):
                    raise ConfigurationError(f"line {line} is no object")
                yield line, row


def _no_part_of_a_list(columns: Mapping[str, Sequence[object]], *, texts: bool) -> tuple[str, ...]:
    """Columns that are not a list's own, and in which no row has a decimal; misspelt ones are left to be told."""
    strange = [name for name in columns if name not in OWN_COLUMNS and nearest(name, OWN_COLUMNS) is None]
    return tuple(name for name in strange if not any(_is_number(value, texts=texts) for value in columns[name]))


def _is_number(value: object, *, texts: bool) -> bool:
    if not isinstance(value, str):
        return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if not texts:
        return False
    try:
        exact_decimal(value)
    except ConfigurationError:
        return False
    return True
