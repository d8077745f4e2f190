"""What documents come to: EN 16931, BT-106 to BT-115."""

from __future__ import annotations

import polars as pl

_AMOUNTS = (
    "sum_of_lines",
    "allowances",
    "charges",
    "tax_exclusive",
    "tax",
    "tax_inclusive",
    "retained",
    "prepaid",
    "rounding",
    "payable",
)


def totals_schema(document: pl.DataType, amount: pl.DataType, taxes: pl.DataType) -> pl.Schema:
    """The columns of `PriceBook.totals`."""
    return pl.Schema(
        {"document_id": document, "currency": pl.String()} | dict.fromkeys(_AMOUNTS, amount) | {"taxes": taxes}
    )


def totals_of(priced: pl.DataFrame, document: str, kind: str | None, schema: pl.Schema) -> pl.DataFrame:
    """A row a document, in the order of their first lines.

    Args:
        priced: All lines of the documents, with the columns of `price`, those of what is due, and what concerns the
            whole document (`allowance`, `surcharge`).
        document: The column that names the document.
        kind: The column that says what a row is (`line_kind`), or None.
        schema: Of the result.
    """
    own = pl.col("net") + pl.col("allowance") - pl.col("surcharge")
    is_kind = pl.lit("line") if kind is None else pl.col(kind).cast(pl.String).fill_null("line")
    nothing = own - own
    sums = priced.group_by(document, maintain_order=True).agg(
        pl.col("currency").first(),
        allowances=(pl.col("allowance") - pl.when(is_kind == "allowance").then(own).otherwise(nothing)).sum(),
        charges=(pl.col("surcharge") + pl.when(is_kind == "charge").then(own).otherwise(nothing)).sum(),
        tax_exclusive=pl.col("net").sum(),
        tax=pl.col("tax").sum(),
        tax_inclusive=pl.col("gross").sum(),
        retained=pl.col("retained").sum(),
        prepaid=pl.col("prepaid").sum(),
        rounding=pl.col("rounding").sum(),
        payable=pl.col("payable").sum(),
    )
    sums = sums.with_columns(sum_of_lines=pl.col("tax_exclusive") + pl.col("allowances") - pl.col("charges"))
    sums = sums.join(_taxes(priced, document), on=document, how="left", nulls_equal=True, maintain_order="left")
    return (
        sums.rename({document: "document_id"})
        .with_columns(pl.col("taxes").fill_null([]))
        .select([pl.col(name).cast(dtype) for name, dtype in schema.items()])
    )


def _taxes(priced: pl.DataFrame, document: str) -> pl.DataFrame:
    """Each document's taxes, one a code, category, rate, in the order in which they came."""
    keys = ["code", "category", "rate", "retained"]
    single = (
        priced.select(pl.col(document).alias("__document"), "taxes")
        .explode("taxes")
        .filter(pl.col("taxes").is_not_null())
        .unnest("taxes")
    )
    groups = single.group_by(["__document", *keys], maintain_order=True).agg(
        pl.col("base").sum(), pl.col("amount").sum()
    )
    taxes = pl.struct("code", "category", "rate", "base", "amount", "retained")
    return groups.group_by("__document", maintain_order=True).agg(taxes.alias("taxes")).rename({"__document": document})
