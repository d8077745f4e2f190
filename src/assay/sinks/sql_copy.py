"""Rows into PostgreSQL by COPY in its binary format, which takes half the time of text or ADBC (docs/benchmarks.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import sqlalchemy as sa

from assay.sinks.sql_values import to_json

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

_COPY_ROWS: Final = 65_536


def copy(connection: sa.Connection, table: sa.Table, frames: Iterable[pl.DataFrame]) -> None:
    """Add rows to a table whose columns have exactly the types that `sql_type` gives them.

    Raises:
        psycopg.Error: the database refuses.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    columns = ", ".join(_undoubled(quote(column.name)) for column in table.columns)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        statement = f"COPY {_undoubled(quote(table.name))} ({columns}) FROM STDIN (FORMAT BINARY)"
        with cursor.copy(statement) as target:
            for content in _encoded(frames):
                target.write(content)


def _undoubled(identifier: str) -> str:
    # SQLAlchemy doubles percent signs for statements that have parameters.
    return identifier.replace("%%", "%")


def _encoded(frames: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    from pgpq import ArrowToPostgresBinaryEncoder  # noqa: PLC0415 - of an extra

    encoder: ArrowToPostgresBinaryEncoder | None = None
    for frame in frames:
        for part in frame.iter_slices(_COPY_ROWS):
            rows = _as_stored(part)
            if encoder is None:
                encoder = ArrowToPostgresBinaryEncoder(rows.schema)
                yield encoder.write_header()
            for batch in rows.to_batches():
                yield encoder.write_batch(batch)
    if encoder is not None:
        yield encoder.finish()


def _as_stored(frame: pl.DataFrame) -> pa.Table:
    """The values in the types that they are sent in; `check_values` has seen that none is changed by it."""
    import pyarrow as pa  # noqa: PLC0415 - of an extra

    # Columns by number: names in SQL are anything.
    columns = [_sent(column).alias(str(number)) for number, column in enumerate(frame)]
    # pgpq does not know the newer types of texts.
    table = pl.DataFrame(columns).to_arrow(compat_level=pl.CompatLevel.oldest())
    for number, column in enumerate(frame):
        if isinstance(column.dtype, pl.Time):
            table = table.set_column(number, str(number), table.column(number).cast(pa.time64("us")))
    return table


def _sent(column: pl.Series) -> pl.Series:
    dtype = column.dtype
    if dtype.is_nested():
        return pl.Series(to_json(column), dtype=pl.String)
    if isinstance(dtype, pl.UInt64):
        return column.cast(pl.Decimal(20, 0))
    if dtype.is_integer() or isinstance(dtype, pl.Duration):
        return column.cast(pl.Int64)
    if dtype.is_float():
        return column.cast(pl.Float64)
    if isinstance(dtype, pl.Datetime):
        return column.cast(pl.Datetime("us", dtype.time_zone))
    if isinstance(dtype, pl.Enum | pl.Categorical | pl.Null):
        return column.cast(pl.String)
    return column
