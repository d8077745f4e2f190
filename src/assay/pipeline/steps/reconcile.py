"""Reconcile: what a record states must be what we compute."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from assay.errors import ConfigurationError
from assay.pipeline.context import IDENTITY, Context, is_hidden
from assay.pipeline.steps.protocol import Outcome, bind_expression, need_columns, reject_rows


@dataclass(frozen=True)
class Reconcile:
    """Reject rows in which a stated amount is not the computed one, naming both.

    Args:
        name: The rule, such as "BR-CO-10"; the error's type.
        stated: What the record says.
        computed: What it should say.
        each: A list column: the rule holds for each of its elements, whose fields the expressions name (other
            columns of the row have their names, too, where no field has the same).
    """

    name: str
    stated: pl.Expr
    computed: pl.Expr
    each: str | None = None

    def bind(self, schema: pl.Schema, context: Context) -> BoundReconcile:
        """Check both expressions; amounts are decimals."""
        inner = schema if self.each is None else _elements(pl.LazyFrame(schema=schema), schema, self).collect_schema()
        for side, expression in (("stated", self.stated), ("computed", self.computed)):
            dtype = bind_expression(expression, inner, f"step {self.name}, {side}")
            if dtype.is_float():
                raise ConfigurationError("is a float; money never is", where=f"step {self.name}, {side}")
        return BoundReconcile(self.name, schema, self)


@dataclass
class BoundReconcile:
    """A checked reconciliation."""

    name: str
    schema: pl.Schema
    definition: Reconcile
    fans_out: bool = False
    fingerprint: str = ""

    def open(self) -> None:
        """Nothing to read."""

    def apply(self, rows: pl.DataFrame) -> Outcome:
        """Compare; null agrees only with null."""
        rule = self.definition
        elements = rows.with_columns(_place=pl.lit("")) if rule.each is None else self._elements(rows)
        # Eager on purpose: a lazy filter would compute both sides once more.
        hidden = [column for column in elements.columns if is_hidden(column)]
        wrong = elements.select(*hidden, _stated=rule.stated, _computed=rule.computed).filter(
            ~pl.col("_stated").eq_missing(pl.col("_computed"))
        )
        if not wrong.height:
            return Outcome(rows)
        stated = pl.col("_stated").cast(pl.String).fill_null("nothing")
        computed = pl.col("_computed").cast(pl.String).fill_null("nothing")
        where = pl.when(pl.col("_place") == "").then(pl.lit("")).otherwise(pl.format(" at {}", pl.col("_place")))
        rejected = reject_rows(
            wrong,
            "check",
            pl.col("_place"),
            rule.name,
            pl.format("{}{}: stated {}, computed {}", pl.lit(rule.name), where, stated, computed),
            stated,
        )
        return Outcome(rows.join(rejected, on=IDENTITY, how="anti", maintain_order="left"), rejected)

    def _elements(self, rows: pl.DataFrame) -> pl.DataFrame:
        return _elements(rows.lazy(), self.schema, self.definition).collect()


def _elements(rows: pl.LazyFrame, schema: pl.Schema, rule: Reconcile) -> pl.LazyFrame:
    """A row for each element of the list, with its place such as `lines.3`."""
    each = rule.each or ""
    need_columns([each], schema, f"step {rule.name}")
    dtype = schema[each]
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        raise ConfigurationError(f"each={each!r} is {dtype}, not a list of models", where=f"step {rule.name}")
    fields = [f.name for f in dtype.inner.fields]
    return (
        rows.filter(pl.col(each).list.len() > 0)
        .with_columns(_place=pl.int_ranges(pl.col(each).list.len()))
        .explode(each, "_place")
        .drop(fields, strict=False)
        .with_columns(_place=pl.format("{}.{}", pl.lit(each), pl.col("_place")))
        .unnest(each)
    )
