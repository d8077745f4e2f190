"""Partitions as Hive has them: a folder for each value, `country=DE/month=1`, which readers look at before the files.

A value is percent-encoded, so that it is one name and stays below its folder, whatever it is. The columns are kept in
the files too: a folder's name is text, and cannot tell null from the text `__HIVE_DEFAULT_PARTITION__`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import polars as pl
import polars.selectors as cs

from assay.errors import SinkError, unknown_name

_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
# Readers do not decode the names of columns.
_NAME: Final = re.compile(r"[\w .-]+")
_KINDS: Final = (pl.String, pl.Enum, pl.Categorical, pl.Boolean, pl.Date)
# Of a name in the usual file systems, in bytes.
_LONGEST: Final = 255


def check_partition_by(schema: pl.Schema, by: Sequence[str], output: str) -> None:
    """Check that columns can name folders.

    Raises:
        SinkError: there is no such column, or its name or its values are not for the name of a folder.
    """
    for name in by:
        if name not in schema:
            raise SinkError(f"partition_by: {unknown_name('column', name, schema)}", sink=output)
        if not (isinstance(schema[name], _KINDS) or schema[name].is_integer()):
            raise SinkError(
                f'column "{name}" is {schema[name]} and cannot name partitions: text, integers, booleans and dates can',
                sink=output,
            )
        if not _NAME.fullmatch(name):
            raise SinkError(
                f'column "{name}" cannot name partitions: its name has more than letters, digits, spaces and . - _',
                sink=output,
            )


def partitions(
    frame: pl.DataFrame, by: Sequence[str], first_row: int, output: str
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of each partition, in the order of their first rows, and its folder.

    Args:
        frame: Rows of a run; if there are none, they make one partition.
        by: The columns, outermost first.
        first_row: How many rows came before.
        output: Name of the output.

    Raises:
        SinkError: a value is too long for the name of a folder; names the column and the first such row.
    """
    if frame.is_empty():
        yield "/".join(f"{name}={_NULL}" for name in by), frame
        return
    for part in frame.partition_by(cs.by_name(*by), maintain_order=True):
        folders = []
        for name, value in zip(by, part.select(cs.by_name(one) for one in by).row(0), strict=True):
            folders.append(f"{name}={_encoded(value)}")
            if len(folders[-1].encode()) > _LONGEST:
                row = frame[name].index_of(value) or 0
                raise SinkError(
                    f'column "{name}" has a value that is too long for the name of a folder '
                    f"({len(folders[-1].encode()):,} bytes of {_LONGEST}), first in row {first_row + row + 1:,}",
                    sink=output,
                )
        yield "/".join(folders), part


def _encoded(value: Any) -> str:
    match value:
        case None:
            return _NULL
        case bool():
            return str(value).lower()
    return quote(str(value), safe="")
