"""Outputs of a pipeline: rows as they are, or grouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from assay.aggregation import Aggregation, Measure
from assay.errors import ConfigurationError
from assay.pipeline.context import Context, visible
from assay.pipeline.steps.explode import Explode
from assay.pipeline.steps.protocol import RowStep, need_columns
from assay.sinks import Sink


class OpenOutput(Protocol):
    """An output that takes rows of a run. `grouped`: it gives groups at the end, which can be merged with others."""

    grouped: bool

    @property
    def schema(self) -> pl.Schema:
        """The columns it writes."""
        ...

    def take(self, rows: pl.DataFrame) -> pl.DataFrame | None:
        """Turn some rows into what is to be staged now; None where everything comes at the end."""
        ...

    def rest(self) -> pl.DataFrame | None:
        """What is to be staged at the end."""
        ...

    def amend(self, stored: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
        """Put what is published together with what a replay adds."""
        ...


class Output(Protocol):
    """An output as it stands in a pipeline's definition."""

    @property
    def to(self) -> Sink:
        """Where it goes."""
        ...

    def bind(self, name: str, schema: pl.Schema, context: Context) -> OpenOutput:
        """Check it against the columns of the last step."""
        ...


def published(schema: pl.Schema) -> pl.Schema:
    """The columns as they are published: text for an Enum, whose type would change with each value a model gains."""
    return pl.Schema({name: _published(dtype) for name, dtype in schema.items()})


def _published(dtype: Any) -> Any:
    match dtype:
        case pl.Enum():
            return pl.String()
        case pl.List():
            return pl.List(_published(dtype.inner))
        case pl.Struct():
            return pl.Struct({field.name: _published(field.dtype) for field in dtype.fields})
    return dtype


@dataclass(frozen=True)
class Rows:
    """The rows that reach the end, as they are.

    Args:
        to: The sink.
        columns: Which columns, in this order; all by default.
        explode: A list column: one row for each of its elements (its fields become columns) goes to this output.
        prefix: Put before the names of the exploded fields.
    """

    to: Sink
    columns: Sequence[str] | None = None
    explode: str | None = None
    prefix: str = ""

    def bind(self, name: str, schema: pl.Schema, context: Context) -> OpenRows:
        """Check the columns."""
        where = f"output {name}"
        if self.to.mode == "merge":
            raise ConfigurationError("rows cannot be merged, only groups: append them, or upsert by a key", where=where)
        explode: RowStep | None = None
        if self.explode is not None:
            explode = Explode(self.explode, self.prefix).bind(schema, context)
            schema = explode.schema
        schema = published(visible(schema))
        if self.columns is not None:
            need_columns(list(self.columns), schema, where)
            schema = pl.Schema({column: schema[column] for column in self.columns})
        return OpenRows(schema, explode)


@dataclass
class OpenRows:
    """Rows pass through."""

    schema: pl.Schema
    explode: RowStep | None
    grouped: bool = False

    def take(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The chosen columns."""
        if self.explode is not None:
            rows = self.explode.apply(rows).rows
        return rows.select(self.schema.names()).cast(self.schema)

    def rest(self) -> None:
        """Nothing is left."""
        return

    def amend(self, stored: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
        """Rows are appended."""
        return pl.concat([stored, new])


@dataclass(frozen=True, init=False)
class GroupBy:
    """Measures by group, such as `GroupBy("customer_id", revenue=Sum("net"), to=Sql("by_customer"))`.

    Args:
        by: Columns of the groups; none for a grand total.
        to: The sink.
        measures: Name of the result column = what it measures.
    """

    by: tuple[str, ...]
    to: Sink
    measures: tuple[tuple[str, Measure], ...]

    def __init__(self, *by: str, to: Sink, **measures: Measure) -> None:
        object.__setattr__(self, "by", by)
        object.__setattr__(self, "to", to)
        object.__setattr__(self, "measures", tuple(measures.items()))

    def bind(self, name: str, schema: pl.Schema, context: Context) -> OpenGroups:
        """Check the columns."""
        if not self.measures:
            raise ConfigurationError("measures nothing; add for example revenue=Sum('net')", where=f"output {name}")
        aggregation = Aggregation(self.by, dict(self.measures))
        rows = published(visible(schema))
        try:
            made = aggregation.check(rows)
            if self.to.mode == "merge":
                aggregation.mergeable()
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where=f"output {name}") from None
        return OpenGroups(made, aggregation, rows)


class OpenGroups:
    """Groups are kept as partial aggregates until the end."""

    grouped = True

    def __init__(self, schema: pl.Schema, aggregation: Aggregation, rows: pl.Schema) -> None:
        self.schema = schema
        self._aggregation = aggregation
        self._rows = rows
        self._partials: list[pl.DataFrame] = []

    def take(self, rows: pl.DataFrame) -> None:
        """Add a partial aggregate; many partials are merged into one."""
        self._partials.append(self._aggregation.partial(rows.select(self._rows.names()).cast(self._rows)))
        if len(self._partials) >= 16:
            self._partials = [self._aggregation.merge(self._partials)]

    def rest(self) -> pl.DataFrame:
        """The groups."""
        if not self._partials:
            self._partials = [self._aggregation.partial(pl.DataFrame(schema=self._rows))]
        return self._aggregation.finish(self._aggregation.merge(self._partials))

    def amend(self, stored: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
        """Groups are merged."""
        return self._aggregation.merge_results(stored, new)
