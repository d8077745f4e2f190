"""Price: the columns of a price book for each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from assay.errors import ConfigurationError
from assay.lookups import LookupContext, Table
from assay.pipeline.context import Context, visible
from assay.pipeline.steps.protocol import Outcome, reject_rows
from assay.pricing import NO_RATE, PriceBook, RatesTable


@dataclass(frozen=True)
class Price:
    """Price each row by a book: adds base, discount, net, tax, gross and currency.

    Args:
        book: A PriceBook, or the file that holds one.
        inputs: The book's input names to the columns here, such as {"quantity": "qty"}; others have the same name.
        rates: Named rate tables that the book's conversions ask for; a table has the columns currency and rate.
        document: The column that names the document a row belongs to, for steps that concern a whole document.
        name: What the ledger calls it.
    """

    book: str | PriceBook
    inputs: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, Table] = field(default_factory=dict)
    document: str | None = None
    name: str = "price"

    def bind(self, schema: pl.Schema, context: Context) -> BoundPrice:
        """Load the book and check its inputs against the columns."""
        book = self.book if isinstance(self.book, PriceBook) else PriceBook.load(context.find(self.book))
        where = f"step {self.name}" + (f" ({self.book})" if isinstance(self.book, str) else "")
        missing = [name for name in book.rate_tables() if name not in self.rates]
        if missing:
            raise ConfigurationError(f"the book asks for the rates {', '.join(missing)}; give rates=...", where=where)
        for name, table in self.rates.items():
            lacking = [column for column in ("currency", "rate") if column not in table.columns()]
            if lacking:
                raise ConfigurationError(f"the rates {name} have no column {', '.join(lacking)}", where=where)
        try:
            priced = book.price(
                pl.LazyFrame(schema=visible(schema)), inputs=self.inputs, rates=_no_rates(self.rates), errors="column"
            )
            made = priced.collect_schema()
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where=where) from None
        columns = pl.Schema(schema | {name: dtype for name, dtype in made.items() if name != "pricing_error"})
        return BoundPrice(self.name, columns, self, book, context.lookup)


def _no_rates(tables: Mapping[str, Table]) -> dict[str, Any]:
    return {name: RatesTable({}) for name in tables}


@dataclass
class BoundPrice:
    """A checked pricing step."""

    name: str
    schema: pl.Schema
    definition: Price
    book: PriceBook
    context: LookupContext
    fans_out: bool = False
    fingerprint: str = ""
    _rates: dict[str, Any] = field(default_factory=dict, repr=False)

    def open(self) -> None:
        """Read the rate tables."""
        fingerprints = [self.book.fingerprint]
        for name, table in self.definition.rates.items():
            opened = table.open(self.context, ("currency",))
            self._rates[name] = RatesTable(opened.frame)
            fingerprints.append(opened.fingerprint)
        self.fingerprint = " ".join(fingerprints)

    def apply(self, rows: pl.DataFrame) -> Outcome:
        """Price; what cannot be priced is rejected with the step of the book that said so."""
        priced = self.book.price(rows.lazy(), inputs=self.definition.inputs, rates=self._rates, errors="column")
        frame = priced.collect()
        wrong = frame.filter(pl.col("pricing_error").is_not_null())
        kept = frame.select(self.schema.names())
        if not wrong.height:
            return Outcome(kept)
        reason = pl.col("pricing_error")
        unrated = reason.str.extract(f'^[^:]*: {NO_RATE} "(.*)" to ')
        currency = self.definition.inputs.get("currency", "currency")
        rejected = reject_rows(
            wrong,
            "pricing",
            pl.when(unrated.is_null()).then(pl.lit("")).otherwise(pl.lit(currency)),
            pl.when(unrated.is_null()).then(pl.lit("pricing_error")).otherwise(pl.lit("rate_missing")),
            reason,
            unrated.fill_null(""),
        )
        fine = frame.filter(pl.col("pricing_error").is_null()).select(self.schema.names())
        return Outcome(fine, rejected)
