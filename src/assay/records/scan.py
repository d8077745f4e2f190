"""`scan` and `read`: a source as a typed frame of the records that Pydantic accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

import polars as pl
from polars.io.plugins import register_io_source
from pydantic import BaseModel

from assay.errors import UnknownOptionError
from assay.reading import SourceLike
from assay.records.batches import TRACE, Format, RecordReader
from assay.records.budget import Budget
from assay.records.columns import Datetimes
from assay.records.reject_writer import RejectsTo, RejectWriter
from assay.records.rejects import REJECTS
from assay.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


def _knows_its_options(function: Callable[P, R]) -> Callable[P, R]:
    """Name the option that a misspelt one was meant to be."""
    known = list(signature(function).parameters)

    @wraps(function)
    def called(*args: P.args, **options: P.kwargs) -> R:
        for name in options:
            if name not in known:
                raise UnknownOptionError(function.__name__, name, known)
        return function(*args, **options)

    return called


@_knows_its_options
def scan(
    source: SourceLike,
    model: type[BaseModel],
    format: str | None = None,  # noqa: A002 - the word people use
    record: str | None = None,
    namespaces: Mapping[str, str] | None = None,
    trace: bool = False,
    rejects: RejectsTo = "raise",
    *,
    max_rejects: int | str | None = None,
    empty_as_null: bool | None = None,
    decimals: tuple[int, int] | None = None,
    datetimes: Datetimes = "naive",
    delimiter: str | None = None,
    quote: str | None = None,
    columns: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> pl.LazyFrame:
    """Read a source lazily: only records that the model accepts, typed, the model's fields in order.

    Nothing is read before the frame is collected, and no more than a batch is in memory at a time. Each collect reads
    the source again. The verdict is always on the whole record, also where few columns are selected.

    Args:
        source: A path, a glob, a URL (s3, gs, az, https), a list of these, bytes, an open binary file, or "-" for
            standard input; compressed where its suffix is .gz, .bz2 or .zst.
        model: Any Pydantic v2 model.
        format: "jsonl", "json", "xml", "csv" or a registered one; by suffix where it is not given.
        record: Where the records are. JSON: a path of keys such as "data.orders"; XML: a row tag or a path.
        namespaces: Prefix to namespace for names in `record`, in aliases and in `XPath` (XML).
        trace: Add `_source`, `_record` (0-based, rejected ones counted), `_line` (1-based), `_offset` (bytes).
        rejects: "raise" (on the first), a path (.parquet, .jsonl), a function that takes a frame, or "drop". A file
            takes its name when the source has been read, to its end or to the last row of a slice; a query that fails
            or stops before leaves what was there. A few MiB of it are in memory.
        max_rejects: More rejects than this number, or share such as "1%", are an error: a number is seen at once, a
            share at the end.
        empty_as_null: An empty XML element is null, and an empty CSV cell that is not quoted.
        decimals: Precision and scale for Decimal fields that the model does not bound, such as (38, 6).
        datetimes: Whether a plain `datetime` field is a column without zone ("naive") or in UTC ("utc").
        delimiter: The character between cells (CSV; "," where it is not given).
        quote: The character around cells (CSV; '"' where it is not given, "" for none).
        columns: Names of the columns of a file whose first row does not have them (CSV).
        settings: Limits; by default those of `Settings()`.

    Raises:
        ConfigurationError: the model cannot become columns, or the format cannot be told.
        SourceError: no such file; on collect, a file that cannot be read to its end.
        ValidationError: on collect, a record was rejected and `rejects` is "raise".
        TooManyRejectsError: on collect, more records were rejected than `max_rejects` allows.
        SinkError: on collect, the file of rejects cannot be written.
    """
    how = Format(format, record, namespaces, empty_as_null, decimals, datetimes, delimiter, quote, columns)
    reader = RecordReader(model, how, settings or Settings(), traced=trace)
    reader.check(source)
    budget = Budget.parse(max_rejects)
    RejectWriter(rejects, budget)
    schema = pl.Schema(reader.schema | TRACE) if trace else reader.schema
    all_columns = schema.names()

    def batches(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        # Where rows are counted, it must be known which rejects lie before the last one.
        counted = reader if n_rows is None else replace(reader, traced=True)
        with RejectWriter(rejects, budget) as writer:
            for batch in counted.batches(counted.check(source)):
                frame, rejected = batch.frame, batch.rejects
                if left is not None and frame.height >= left:
                    # Nobody has asked for what lies behind the last row.
                    frame = frame.head(left)
                    rejected = rejected.filter(pl.col("record") < frame["_record"][-1])
                writer.write(rejected, frame.height + rejected.height)
                frame = frame.select(all_columns)
                if left is not None:
                    left -= frame.height
                if predicate is not None:
                    frame = frame.filter(predicate)
                if with_columns is not None:
                    frame = frame.select(with_columns)
                yield frame
                if left == 0:
                    break
            writer.see_budget()

    return register_io_source(batches, schema=schema, validate_schema=True, explain_name="assay")


@dataclass(frozen=True)
class Read:
    """What `read` gives.

    Attributes:
        frame: Accepted records, the model's fields in order.
        rejects: Rejected ones, with place, errors and raw bytes.
        counts: `read`, `accepted`, `rejected`.
    """

    frame: pl.DataFrame
    rejects: pl.DataFrame
    counts: dict[str, int]

    def __repr__(self) -> str:
        read, accepted, rejected = (self.counts[name] for name in ("read", "accepted", "rejected"))
        columns = ", ".join(self.frame.columns)
        return f"Read({read:,} read = {accepted:,} accepted + {rejected:,} rejected: {columns})"


@_knows_its_options
def read(
    source: SourceLike,
    model: type[BaseModel],
    format: str | None = None,  # noqa: A002 - the word people use
    record: str | None = None,
    namespaces: Mapping[str, str] | None = None,
    trace: bool = False,
    rejects: RejectsTo = "drop",
    *,
    max_rejects: int | str | None = None,
    empty_as_null: bool | None = None,
    decimals: tuple[int, int] | None = None,
    datetimes: Datetimes = "naive",
    delimiter: str | None = None,
    quote: str | None = None,
    columns: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> Read:
    """Read a source into memory: accepted records, rejects and counts.

    For the arguments see `scan`; rejects are in the result, and go to `rejects` besides. All of them are in memory,
    with their bytes: where there may be many, give `max_rejects`, or use `scan`.
    """
    collected = [pl.DataFrame(schema=REJECTS)]
    with RejectWriter(rejects) as writer:

        def keep(found: pl.DataFrame) -> None:
            collected.append(found)
            writer.write(found, found.height)

        frame = scan(
            source,
            model,
            format,
            record,
            namespaces,
            trace,
            keep,
            max_rejects=max_rejects,
            empty_as_null=empty_as_null,
            decimals=decimals,
            datetimes=datetimes,
            delimiter=delimiter,
            quote=quote,
            columns=columns,
            settings=settings,
        ).collect()
    rejected = pl.concat(collected)
    counts = {"read": frame.height + rejected.height, "accepted": frame.height, "rejected": rejected.height}
    return Read(frame, rejected, counts)
