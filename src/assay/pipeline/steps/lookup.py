"""Lookup: add what a table says of a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from assay.errors import ConfigurationError, LookupFailed
from assay.lookups import LookupContext, LookupSource, OpenLookup
from assay.pipeline.context import Context
from assay.pipeline.steps.protocol import Outcome, need_columns, reject_rows

OnMissing = Literal["reject", "null", "fail"]


@dataclass(frozen=True, init=False)
class Lookup:
    """Add the columns of a lookup to each row, by key.

    Args:
        source: Where the facts are, such as `Table("catalogue.xml", Product)`.
        on: The key: a column, or several, of the same name on both sides.
        on_missing: What becomes of a row whose key is not there: "reject" it, leave "null", or "fail" the run.
        prefix: Put before the names of the added columns.
        name: What the ledger calls it; by default the name of the lookup.
    """

    source: LookupSource
    on: tuple[str, ...]
    on_missing: OnMissing = "reject"
    prefix: str = ""
    name: str = ""

    def __init__(
        self,
        source: LookupSource,
        on: str | Sequence[str],
        *,
        on_missing: OnMissing = "reject",
        prefix: str = "",
        name: str | None = None,
    ) -> None:
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "on", (on,) if isinstance(on, str) else tuple(on))
        object.__setattr__(self, "on_missing", on_missing)
        object.__setattr__(self, "prefix", prefix)
        object.__setattr__(self, "name", name or source.name)

    def bind(self, schema: pl.Schema, context: Context) -> BoundLookup:
        """Check keys and names."""
        where = f"lookup {self.name}"
        columns = self.source.columns()
        need_columns(list(self.on), schema, where)
        need_columns(list(self.on), columns, where)
        for key in self.on:
            if schema[key] != columns[key]:
                raise ConfigurationError(
                    f"the key {key} is {schema[key]} in the records and {columns[key]} in the table", where=where
                )
        added = {column: f"{self.prefix}{column}" for column in columns if column not in self.on}
        for name in added.values():
            if name in schema:
                raise ConfigurationError(f'the column "{name}" is there already; give a prefix', where=where)
        made = pl.Schema(schema | {added[column]: columns[column] for column in added})
        return BoundLookup(self.name, made, self, added, context.lookup)


@dataclass
class BoundLookup:
    """A checked lookup."""

    name: str
    schema: pl.Schema
    definition: Lookup
    added: dict[str, str]
    context: LookupContext
    fans_out: bool = False
    fingerprint: str = ""
    _open: OpenLookup | None = field(default=None, repr=False)

    def open(self) -> None:
        """Read the table, or connect."""
        self._open = self.definition.source.open(self.context, self.definition.on)
        self.fingerprint = self._open.fingerprint

    def apply(self, rows: pl.DataFrame) -> Outcome:
        """Join by distinct keys."""
        if self._open is None:
            raise LookupFailed(f"lookup {self.name} is not open")
        on = list(self.definition.on)
        found = self._open.rows(rows.select(on).drop_nulls().unique())
        found = found.rename(self.added).with_columns(_found=True)
        joined = rows.join(found, on=on, how="left", maintain_order="left", validate="m:1")
        kept = joined.select(self.schema.names())
        if self.definition.on_missing == "null":
            return Outcome(kept)
        missing = joined.filter(pl.col("_found").is_null())
        if not missing.height:
            return Outcome(kept)
        keys = pl.concat_str(pl.col(on).cast(pl.String).fill_null("null"), separator=" / ")
        if self.definition.on_missing == "fail":
            some = missing.select(keys).to_series().unique(maintain_order=True).head(5).to_list()
            raise LookupFailed(f"lookup {self.name} has no row for {', '.join(some)} (on_missing is fail)")
        rejected = reject_rows(
            missing,
            "lookup",
            ".".join(on),
            "lookup_missing",
            pl.format("No row in lookup {} for {}", pl.lit(self.name), keys),
            keys,
        )
        return Outcome(joined.filter(pl.col("_found")).select(self.schema.names()), rejected)
