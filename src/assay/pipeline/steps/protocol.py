"""What a step is, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import polars as pl

from assay.errors import ConfigurationError, unknown_name
from assay.lookups import LookupStats
from assay.pipeline.context import DOCUMENT, IDENTITY, Context, visible
from assay.pricing import Finding, Inputs
from assay.records import ERRORS, Stage

#: Columns of rows that a step rejects: their identity, their document (or null), the stage and the errors.
REJECTED: Final = pl.Schema(
    {"_source": pl.String(), "_record": pl.Int64(), DOCUMENT: pl.String(), "stage": pl.String(), "errors": ERRORS}
)


@dataclass(frozen=True)
class Outcome:
    """What a step made of a frame: the rows that go on, and those it rejects (`REJECTED`)."""

    rows: pl.DataFrame
    rejected: pl.DataFrame | None = None


@dataclass(frozen=True)
class WholeOutcome:
    """What a step made of all rows at once."""

    rows: pl.LazyFrame
    rejected: pl.DataFrame | None = None


@runtime_checkable
class BoundStep(Protocol):
    """A step that knows its columns. `schema` is what it gives, hidden columns included."""

    name: str
    schema: pl.Schema
    #: Whether one record may become several rows.
    fans_out: bool
    #: What goes into the run's fingerprint, beyond the definition (a book's content, a table's).
    fingerprint: str

    def open(self) -> None:
        """Read what it needs (tables), before the first row comes."""
        ...


@runtime_checkable
class RowStep(BoundStep, Protocol):
    """Works on any part of the rows by itself."""

    def apply(self, rows: pl.DataFrame) -> Outcome:
        """Handle some rows."""
        ...


@runtime_checkable
class WholeStep(BoundStep, Protocol):
    """Must see all rows at once."""

    def apply_whole(self, rows: pl.LazyFrame) -> WholeOutcome:
        """Handle all rows, lazily."""
        ...


@runtime_checkable
class Spooling(WholeStep, Protocol):
    """A step that keeps rows on disk while it works: in a folder of the run, so that it goes with the run."""

    def spool_in(self, folder: Path) -> None:
        """Use this folder, which is made by the step; without it, a temporary one."""
        ...


@runtime_checkable
class Holding(Protocol):
    """A step that holds files or connections while it is open."""

    def close(self) -> None:
        """Let go of them."""
        ...


@runtime_checkable
class Asking(Protocol):
    """A step that asks a lookup."""

    name: str

    @property
    def stats(self) -> LookupStats:
        """What the lookup did so far."""
        ...

    @property
    def asks(self) -> bool:
        """Whether its contents are known only by asking, so that its fingerprint does not tell them."""
        ...

    @property
    def answers(self) -> str:
        """A hash of what was answered so far."""
        ...


@dataclass(frozen=True)
class Remarks:
    """What is worth knowing of a step before it runs.

    Attributes:
        warnings: What may well be not as it was meant.
        unbound: Inputs that it would use, and that no column gives.
    """

    warnings: tuple[str, ...] = ()
    unbound: tuple[str, ...] = ()


@runtime_checkable
class Remarked(Protocol):
    """A step of which something is worth knowing before it runs."""

    name: str
    remarks: Remarks


@runtime_checkable
class Linted(Protocol):
    """A step that has a book; wants `open`."""

    name: str
    inputs: Inputs

    def lint(self) -> list[Finding]:
        """What may well not be meant in its book."""
        ...


@runtime_checkable
class Step(Protocol):
    """A step as it stands in a pipeline's definition."""

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        ...

    def bind(self, schema: pl.Schema, context: Context) -> BoundStep:
        """Check it against the columns that come in, without reading data.

        Raises:
            ConfigurationError: an unknown column, a clash of names, a file that is wrong.
        """
        ...


def need_columns(wanted: list[str], schema: pl.Schema, where: str) -> None:
    """Raise a ConfigurationError for the first column that is not there."""
    for column in wanted:
        if column not in schema:
            raise ConfigurationError(unknown_name("column", column, visible(schema)), where=where)


def bind_expression(expression: pl.Expr, schema: pl.Schema, where: str) -> pl.DataType:
    """The type that an expression gives on these columns.

    Raises:
        ConfigurationError: a column it names is not there, or the types do not fit.
    """
    # The elements of a list, `pl.element()`, have the empty name.
    need_columns([name for name in expression.meta.root_names() if name], schema, where)
    try:
        made = pl.LazyFrame(schema=schema).select(expression.alias("made")).collect_schema()
    except pl.exceptions.PolarsError as error:
        raise ConfigurationError(str(error).splitlines()[0], where=where) from None
    return made["made"]


def reject_rows(
    rows: pl.DataFrame, stage: Stage, loc: str | pl.Expr, kind: str | pl.Expr, msg: pl.Expr, value: pl.Expr
) -> pl.DataFrame:
    """The rejects of some rows, one error each; a record of several rows is one reject with all of them."""
    error = pl.struct(
        (pl.lit(loc) if isinstance(loc, str) else loc).alias("loc"),
        (pl.lit(kind) if isinstance(kind, str) else kind).alias("type"),
        msg.alias("msg"),
        value.cast(pl.String).alias("input"),
    )
    document = pl.col(DOCUMENT) if DOCUMENT in rows.columns else pl.lit(None, pl.String)
    return (
        rows.select(*IDENTITY, document.alias(DOCUMENT), pl.lit(stage).alias("stage"), error.alias("errors"))
        .group_by(*IDENTITY, DOCUMENT, "stage", maintain_order=True)
        .agg(pl.col("errors"))
        .cast(dict(REJECTED))  # type: ignore[arg-type]
    )
