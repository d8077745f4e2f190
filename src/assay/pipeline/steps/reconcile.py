"""Reconcile: what a record states must be what we compute."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from assay.errors import ConfigurationError
from assay.pipeline.context import Context
from assay.pipeline.steps.protocol import Outcome, bind_expression, reject_rows


@dataclass(frozen=True)
class Reconcile:
    """Reject rows in which a stated amount is not the computed one, naming both.

    Args:
        name: The rule, such as "BR-CO-10"; the error's type.
        stated: What the record says.
        computed: What it should say.
    """

    name: str
    stated: pl.Expr
    computed: pl.Expr

    def bind(self, schema: pl.Schema, context: Context) -> BoundReconcile:
        """Check both expressions; amounts are decimals."""
        for side, expression in (("stated", self.stated), ("computed", self.computed)):
            dtype = bind_expression(expression, schema, f"step {self.name}, {side}")
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
        compared = rows.with_columns(_stated=self.definition.stated, _computed=self.definition.computed)
        agrees = pl.col("_stated").eq_missing(pl.col("_computed"))
        wrong = compared.filter(~agrees)
        if not wrong.height:
            return Outcome(rows)
        stated = pl.col("_stated").cast(pl.String).fill_null("nothing")
        computed = pl.col("_computed").cast(pl.String).fill_null("nothing")
        rejected = reject_rows(
            wrong,
            "check",
            "",
            self.name,
            pl.format("{}: stated {}, computed {}", pl.lit(self.name), stated, computed),
            stated,
        )
        return Outcome(compared.filter(agrees).select(self.schema.names()), rejected)
