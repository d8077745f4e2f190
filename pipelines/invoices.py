"""E-invoices (EN 16931; UBL and CII, invoices and credit notes): their sums computed again, to the cent."""

from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from assay import Count, GroupBy, MoneyColumns, Parquet, Pipeline, Rows, Source, Sql, Sum, rowwise
from assay.einvoicing import NAMESPACES, RECORD, Document, check_documents, describe
from assay.pipeline import Pending


@rowwise
def sums(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Both verdicts on each document, and the file that it came in."""
    # A total that is not net and tax is a finding; the ledger counts the money of the others.
    tax = pl.col("tax_total").fill_null(Decimal(0))
    holds = (pl.col("tax_exclusive") + tax == pl.col("tax_inclusive")).fill_null(value=False)
    return check_documents(rows).with_columns(
        file=pl.col("_source"),
        net=pl.when(holds).then(pl.col("tax_exclusive")),
        tax=pl.when(holds).then(tax),
        gross=pl.when(holds).then(pl.col("tax_inclusive")),
    )


def what_does_not_add_up(pending: Pending) -> Iterator[str]:
    """Tell it at the end of a run."""
    return describe(pending.outputs["documents"], pending.outputs["findings"])


invoices = Pipeline(
    "invoices",
    # What a document is, its root element says, not the name of its file.
    source=Source(
        "sample_data/invoices/*.xml",
        Document,
        format="xml",
        record=RECORD,
        namespaces=NAMESPACES,
        key=["invoice_id"],
    ),
    steps=[sums],
    outputs={
        "documents": Rows(
            columns=[
                "file",
                "invoice_id",
                "syntax",
                "type_code",
                "issued",
                "seller",
                "currency",
                "lines_total",
                "allowances_total",
                "charges_total",
                "tax_exclusive",
                "tax_total",
                "accounting_currency",
                "tax_accounting",
                "tax_inclusive",
                "prepaid",
                "rounding",
                "third_party",
                "payable",
                "adds_up",
                "adds_up_officially",
            ],
            to=Parquet("out/documents"),
        ),
        "lines": Rows(
            explode="lines",
            prefix="line_",
            columns=[
                "file",
                "invoice_id",
                "line_id",
                "line_item",
                "line_quantity",
                "line_price",
                "line_base_quantity",
                "line_net",
                "line_category",
                "line_percent",
            ],
            to=Parquet("out/invoice_lines"),
        ),
        "tax_breakdown": Rows(
            explode="breakdown",
            columns=["file", "invoice_id", "category", "percent", "taxable", "tax_amount", "tax_currency"],
            to=Parquet("out/tax_breakdown"),
        ),
        "findings": Rows(
            explode="findings",
            columns=[
                "file",
                "invoice_id",
                "rule",
                "where",
                "stated",
                "computed",
                "difference",
                "official",
                "exact",
            ],
            to=Parquet("out/findings"),
        ),
        "by_currency": GroupBy(
            "currency",
            "adds_up",
            documents=Count(),
            net=Sum("tax_exclusive"),
            tax=Sum("tax_total"),
            payable=Sum("payable"),
            to=Sql("invoices_by_currency"),
        ),
    },
    money=MoneyColumns(list=None),
    notes=[what_does_not_add_up],
)
