"""Explode: one row for each element of a list."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from polars._typing import PolarsDataType

from assay.errors import ConfigurationError
from assay.pipeline.context import Context
from assay.pipeline.steps.protocol import Outcome, need_columns


@dataclass(frozen=True)
class Explode:
    """Make a row of each element of a list column; the fields of a nested model become columns.

    A record whose list is empty or null has no rows then, and counts as filtered by this step.

    Args:
        column: The list.
        prefix: Put before the names of the fields.
    """

    column: str
    prefix: str = ""

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        return f"explode {self.column}"

    def bind(self, schema: pl.Schema, context: Context) -> BoundExplode:
        """Check the column and the names of the fields."""
        need_columns([self.column], schema, f"step {self.name}")
        dtype = schema[self.column]
        if not isinstance(dtype, pl.List):
            raise ConfigurationError(f"{self.column} is {dtype}, not a list", where=f"step {self.name}")
        rest: dict[str, PolarsDataType] = {name: kind for name, kind in schema.items() if name != self.column}
        inner = dtype.inner
        fields: dict[str, PolarsDataType]
        if isinstance(inner, pl.Struct):
            fields = {f"{self.prefix}{f.name}": f.dtype for f in inner.fields}
        else:
            fields = {self.prefix + self.column: inner}
        for name in fields:
            if name in rest:
                raise ConfigurationError(
                    f'the column "{name}" is there already; give a prefix', where=f"step {self.name}"
                )
        return BoundExplode(self.name, pl.Schema(rest | fields), self)


@dataclass
class BoundExplode:
    """A checked explode."""

    name: str
    schema: pl.Schema
    definition: Explode
    fans_out: bool = True
    fingerprint: str = ""

    def open(self) -> None:
        """Nothing to read."""

    def apply(self, rows: pl.DataFrame) -> Outcome:
        """Make the rows."""
        column, prefix = self.definition.column, self.definition.prefix
        made = rows.filter(pl.col(column).list.len() > 0).explode(column)
        dtype = made.schema[column]
        if isinstance(dtype, pl.Struct):
            names = [f"{prefix}{f.name}" for f in dtype.fields]
            made = made.with_columns(pl.col(column).struct.rename_fields(names)).unnest(column)
        else:
            made = made.rename({column: prefix + column})
        return Outcome(made.select(self.schema.names()))
