"""Lookup: add what a table, a database or a service says of a key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from assay.errors import ConfigurationError, LookupFailed, unknown_name
from assay.lookups import LookupContext, LookupSource, LookupStats, OpenLookup
from assay.lookups.dated import Dated, OpenDated, see_moment
from assay.lookups.table import OpenTable, content_hash
from assay.pipeline.context import Context
from assay.pipeline.steps.distinct import DistinctKeys
from assay.pipeline.steps.protocol import Outcome, need_columns, reject_rows

OnMissing = Literal["reject", "null", "default", "fail"]
OnError = Literal["fail", "reject"]


@dataclass(frozen=True, init=False)
class Lookup:
    """Add the columns of a lookup to each row, by key.

    Args:
        source: Where the facts are, such as `Table("catalogue.xml", Product)`.
        on: The key: a column, or several, of the same name on both sides.
        at: The column with the moment that is asked for, of a dated lookup.
        on_missing: What becomes of a row whose key is not there: "reject" it, leave "null", take the "default", or
            "fail" the run.
        default: By column of the lookup, the value for `on_missing="default"`; those that are not named become null.
        on_error: What becomes of a row whose key got no answer: "fail" the run, or "reject" it.
        prefix: Put before the names of the added columns.
        name: What the ledger calls it; by default the name of the lookup.
    """

    source: LookupSource
    on: tuple[str, ...]
    at: str | None = None
    on_missing: OnMissing = "reject"
    default: Mapping[str, Any] = field(default_factory=dict)
    on_error: OnError = "fail"
    prefix: str = ""
    name: str = ""

    def __init__(
        self,
        source: LookupSource,
        on: str | Sequence[str],
        *,
        at: str | None = None,
        on_missing: OnMissing = "reject",
        default: Mapping[str, Any] | None = None,
        on_error: OnError = "fail",
        prefix: str = "",
        name: str | None = None,
    ) -> None:
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "on", (on,) if isinstance(on, str) else tuple(on))
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "on_missing", on_missing)
        object.__setattr__(self, "default", default or {})
        object.__setattr__(self, "on_error", on_error)
        object.__setattr__(self, "prefix", prefix)
        object.__setattr__(self, "name", name or source.name)
        where = f"lookup {self.name}"
        _need_word("on_missing", on_missing, ("reject", "null", "default", "fail"), where)
        _need_word("on_error", on_error, ("fail", "reject"), where)
        if not self.on or len(set(self.on)) != len(self.on):
            raise ConfigurationError(f"on names the key columns, each once, not {list(self.on)}", where=where)
        if prefix.startswith("_"):
            raise ConfigurationError(f'the prefix "{prefix}" begins with _, as columns of ours do', where=where)
        if (default is not None) != (on_missing == "default"):
            raise ConfigurationError('default=... goes with on_missing="default", and only with it', where=where)

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
        if self.source.dated != (self.at is not None):
            words = "is dated: say at=..., the moment" if self.source.dated else "is not dated: at= means nothing to it"
            raise ConfigurationError(words, where=where)
        if self.at is not None:
            need_columns([self.at], schema, where)
            if isinstance(self.source, Dated):
                self.source.see_moment(self.at, schema[self.at])
            see_moment(self.name, self.at, schema[self.at])
        made = pl.Schema(schema | {added[column]: columns[column] for column in added})
        return BoundLookup(self.name, made, self, added, self._defaults(columns, added, where), context.lookup)

    def _defaults(self, columns: pl.Schema, added: Mapping[str, str], where: str) -> list[pl.Series]:
        """A series of one value for each column that has a default, named as it is added."""
        made = []
        for column, value in self.default.items():
            if column not in added:
                raise ConfigurationError(unknown_name("column", column, added), where=where)
            try:
                made.append(pl.Series(added[column], [value], columns[column], strict=True))
            except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
                raise ConfigurationError(
                    f"the default {value!r} of {column} does not fit {columns[column]}", where=where
                ) from None
            if made[-1].item() != value or isinstance(value, float) != columns[column].is_float():
                raise ConfigurationError(f"the default {value!r} of {column} is no {columns[column]}", where=where)
        return made


def _need_word(argument: str, given: str, known: Sequence[str], where: str) -> None:
    if given not in known:
        raise ConfigurationError(unknown_name(argument, given, known), where=where)


@dataclass
class BoundLookup:
    """A checked lookup."""

    name: str
    schema: pl.Schema
    definition: Lookup
    added: dict[str, str]
    defaults: list[pl.Series]
    context: LookupContext
    fans_out: bool = False
    fingerprint: str = ""
    _open: OpenLookup | None = field(default=None, repr=False)
    _answers: Any = field(default_factory=hashlib.sha256, repr=False)
    _distinct: DistinctKeys = field(default_factory=DistinctKeys, repr=False)
    _missing: DistinctKeys = field(default_factory=DistinctKeys, repr=False)
    _failed: DistinctKeys = field(default_factory=DistinctKeys, repr=False)
    _asked_rows: np.ndarray[Any, np.dtype[np.bool_]] | None = field(default=None, repr=False)

    @property
    def on(self) -> list[str]:
        """The columns that are asked with: the key, and the moment of a dated lookup."""
        at = self.definition.at
        return [*self.definition.on, *([at] if at is not None else [])]

    @property
    def stats(self) -> LookupStats:
        """What the lookup did so far."""
        return self._open.stats if self._open is not None else LookupStats()

    @property
    def asks(self) -> bool:
        """Whether answers come from outside, key by key."""
        return not isinstance(self._open, OpenTable | OpenDated)

    @property
    def answers(self) -> str:
        """A hash of all keys and what was answered."""
        return str(self._answers.hexdigest())

    def open(self) -> None:
        """Read the table, or connect."""
        self._open = self.definition.source.open(self.context, tuple(self.on))
        self.fingerprint = self._open.fingerprint
        self._asked_rows = None
        self._distinct, self._missing, self._failed = DistinctKeys(), DistinctKeys(), DistinctKeys()

    def close(self) -> None:
        """Let go of connections."""
        if self._open is not None:
            self._open.close()

    def apply(self, rows: pl.DataFrame) -> Outcome:
        """Join by distinct keys."""
        if self._open is None:
            raise LookupFailed(f"lookup {self.name} is not open")
        if isinstance(self._open, OpenTable):
            rejected: list[pl.DataFrame] = []
            joined = self._joined(rows, self._open)
        else:
            joined, rejected = self._asked(rows, self._open)
        if joined["_found"].null_count():
            joined = self._without_missing(joined, rejected)
        return Outcome(joined.select(self.schema.names()), pl.concat(rejected) if rejected else None)

    def _without_missing(self, joined: pl.DataFrame, rejected: list[pl.DataFrame]) -> pl.DataFrame:
        """Do with rows whose key is not there as the definition says."""
        absent = pl.col("_found").is_null()
        match self.definition.on_missing:
            case "null":
                return joined
            case "default":
                return joined.with_columns(
                    pl.when(absent).then(pl.lit(one).first()).otherwise(pl.col(one.name)).alias(one.name)
                    for one in self.defaults
                )
            case "fail":
                some = self._some(joined.filter(absent))
                raise LookupFailed(f"lookup {self.name} has no row for {some} (on_missing is fail)")
            case "reject":
                rejected.append(self._rejected(joined.filter(absent), "lookup_missing", self._no_row()))
                return joined.filter(~absent)

    def _joined(self, rows: pl.DataFrame, table: OpenTable) -> pl.DataFrame:
        """Join a table that is in memory, and whose keys are known to be unique."""
        facts = table.frame.rename(self.added).with_row_index("_found")
        joined = rows.join(facts, on=self.on, how="left", maintain_order="left")
        # Places in the table are small numbers: to mark them is quicker than to hash them.
        if self._asked_rows is None:
            self._asked_rows = np.zeros(table.frame.height, bool)
        self._asked_rows[joined["_found"].drop_nulls().to_numpy()] = True
        if joined["_found"].null_count():
            self._missing.add(joined.filter(pl.col("_found").is_null()).select(self.on).drop_nulls().unique())
        table.stats.rows += rows.height
        table.stats.missing = len(self._missing)
        table.stats.distinct = int(self._asked_rows.sum()) + table.stats.missing
        return joined

    def _asked(self, rows: pl.DataFrame, lookup: OpenLookup) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
        """Ask for distinct keys; the second are rejects of rows whose key got no answer."""
        keys = rows.select(self.on).drop_nulls().unique(maintain_order=True)
        answer = lookup.answer(keys)
        failed = answer.failed if answer.failed is not None else keys.clear().with_columns(error=pl.lit("", pl.String))
        self._count(lookup.stats, rows.height, keys, answer.rows, failed)
        if failed.height and self.definition.on_error == "fail":
            raise self._unanswered(failed, keys.height)
        # A key without an answer is not one that is not there.
        for frame in (keys, answer.rows, failed.select(self.on)):
            self._answers.update(content_hash(frame, self.on).encode())
        found = answer.rows.rename(self.added).with_columns(_found=True)
        joined = rows.join(found, on=self.on, how="left", maintain_order="left", validate="m:1")
        if not failed.height:
            return joined, []
        named = failed.rename({"error": "_error"})
        joined = joined.join(named, on=self.on, how="left", maintain_order="left", validate="m:1")
        wrong = joined.filter(pl.col("_error").is_not_null())
        rejected = self._rejected(wrong, "lookup_failed", pl.format("No answer: {}", "_error"))
        return joined.filter(pl.col("_error").is_null()), [rejected]

    def _count(
        self, stats: LookupStats, rows: int, keys: pl.DataFrame, found: pl.DataFrame, failed: pl.DataFrame
    ) -> None:
        # By key alone: moments of a dated lookup may be as many as rows.
        on = list(self.definition.on)
        self._distinct.add(keys.select(on))
        self._failed.add(failed.select(on))
        if found.height + failed.height < keys.height:
            absent = keys.join(found, on=self.on, how="anti").join(failed, on=self.on, how="anti")
            self._missing.add(absent.select(on))
        stats.rows += rows
        stats.distinct, stats.missing, stats.errors = len(self._distinct), len(self._missing), len(self._failed)

    def _no_row(self) -> pl.Expr:
        return pl.format("No row in lookup {} for {}", pl.lit(self.name), self._keys())

    def _keys(self) -> pl.Expr:
        return pl.concat_str(pl.col(self.on).cast(pl.String).fill_null("null"), separator=" / ")

    def _some(self, rows: pl.DataFrame) -> str:
        keys = rows.select(self._keys()).to_series().unique(maintain_order=True)
        return ", ".join(keys.head(5))

    def _rejected(self, rows: pl.DataFrame, kind: str, words: pl.Expr) -> pl.DataFrame:
        return reject_rows(rows, "lookup", ".".join(self.on), kind, words, self._keys())

    def _unanswered(self, failed: pl.DataFrame, asked: int) -> LookupFailed:
        *key, error = failed.row(0)
        return LookupFailed(
            f"lookup {self.name}: {failed.height:,} of {asked:,} keys got no answer; the first, "
            f"{' / '.join(map(str, key))}: {error}"
        )
