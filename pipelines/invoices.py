"""E-invoices (UBL invoices and credit notes): their totals computed again and compared with what they state."""

from decimal import Decimal
from typing import Annotated

import polars as pl
from pydantic import AliasChoices, BaseModel, Field

from assay import Count, GroupBy, MoneyColumns, Parquet, Pipeline, Reconcile, Rows, Source, Sql, Sum, XPath, rowwise
from assay.money import Grid, Scaled, minor_units, product_expr, rounded, rounded_product, rounded_quotient

NAMESPACES = {
    "inv": "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2",
    "cn": "urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2",
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}

# BR-DEC: amounts of a document have at most two decimals; prices and quantities may have more.
Amount = Annotated[Decimal, Field(max_digits=16, decimal_places=2)]
Price = Annotated[Decimal, Field(max_digits=20, decimal_places=10)]
Quantity = Annotated[Decimal, Field(max_digits=16, decimal_places=6)]
Percent = Annotated[Decimal, Field(max_digits=8, decimal_places=4)]
Total = pl.Decimal(38, 2)

#: Third-party payments count in the XRechnung extension alone.
EXTENSION = "urn:xeinkauf.de:kosit:extension:xrechnung_"


class AllowanceCharge(BaseModel):
    """An allowance (BG-20, BG-27) or a charge (BG-21, BG-28)."""

    is_charge: bool = Field(alias="cbc:ChargeIndicator")
    amount: Amount = Field(alias="cbc:Amount")


class Line(BaseModel):
    """A line (BG-25). Credit notes have positive amounts, so the same sums hold for both."""

    id: str = Field(alias="cbc:ID")
    item: Annotated[str | None, XPath("cac:Item/cbc:Name")] = None
    quantity: Quantity = Field(validation_alias=AliasChoices("cbc:InvoicedQuantity", "cbc:CreditedQuantity"))
    price: Annotated[Price, XPath("cac:Price/cbc:PriceAmount")]
    base_quantity: Annotated[Quantity, XPath("cac:Price/cbc:BaseQuantity")] = Decimal(1)
    net: Amount = Field(alias="cbc:LineExtensionAmount")
    allowances_charges: list[AllowanceCharge] = Field([], alias="cac:AllowanceCharge")
    category: Annotated[str | None, XPath("cac:Item/cac:ClassifiedTaxCategory/cbc:ID")] = None
    percent: Annotated[Percent, XPath("cac:Item/cac:ClassifiedTaxCategory/cbc:Percent")] = Decimal(0)


class Subtotal(BaseModel):
    """VAT of one category and rate (BG-23)."""

    taxable: Amount = Field(alias="cbc:TaxableAmount")
    amount: Amount = Field(alias="cbc:TaxAmount")
    category: Annotated[str, XPath("cac:TaxCategory/cbc:ID")]
    percent: Annotated[Percent, XPath("cac:TaxCategory/cbc:Percent")] = Decimal(0)


class TaxTotal(BaseModel):
    """VAT in one currency: that of the document, or of its accounts."""

    amount: Amount = Field(alias="cbc:TaxAmount")
    tax_currency: Annotated[str, XPath("cbc:TaxAmount/@currencyID")]
    subtotals: list[Subtotal] = Field([], alias="cac:TaxSubtotal")


class Invoice(BaseModel):
    """An invoice or credit note, as far as its sums go."""

    invoice_id: str = Field(alias="cbc:ID")
    specification: str | None = Field(None, alias="cbc:CustomizationID")
    type_code: str = Field(validation_alias=AliasChoices("cbc:InvoiceTypeCode", "cbc:CreditNoteTypeCode"))
    issued: str = Field(alias="cbc:IssueDate")
    currency: str = Field(alias="cbc:DocumentCurrencyCode")
    seller: Annotated[
        str | None, XPath("cac:AccountingSupplierParty/cac:Party/cac:PartyLegalEntity/cbc:RegistrationName")
    ] = None
    lines_total: Annotated[Amount, XPath("cac:LegalMonetaryTotal/cbc:LineExtensionAmount")]
    allowances_total: Annotated[Amount, XPath("cac:LegalMonetaryTotal/cbc:AllowanceTotalAmount")] = Decimal(0)
    charges_total: Annotated[Amount, XPath("cac:LegalMonetaryTotal/cbc:ChargeTotalAmount")] = Decimal(0)
    tax_exclusive: Annotated[Amount, XPath("cac:LegalMonetaryTotal/cbc:TaxExclusiveAmount")]
    tax_inclusive: Annotated[Amount, XPath("cac:LegalMonetaryTotal/cbc:TaxInclusiveAmount")]
    prepaid: Annotated[Amount, XPath("cac:LegalMonetaryTotal/cbc:PrepaidAmount")] = Decimal(0)
    rounding: Annotated[Amount, XPath("cac:LegalMonetaryTotal/cbc:PayableRoundingAmount")] = Decimal(0)
    payable: Annotated[Amount, XPath("cac:LegalMonetaryTotal/cbc:PayableAmount")]
    third_party_payments: Annotated[list[Amount], XPath("cac:PrepaidPayment/cbc:PaidAmount")] = []
    allowances_charges: list[AllowanceCharge] = Field([], alias="cac:AllowanceCharge")
    tax_totals: list[TaxTotal] = Field([], alias="cac:TaxTotal")
    lines: list[Line] = Field(validation_alias=AliasChoices("cac:InvoiceLine", "cac:CreditNoteLine"))


NO_CENTS = [code for code in ("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF") if not minor_units(code)]
#: Amounts are whole cents, or whole units where the document's currency has no cents.
CENTS = Grid(
    2, pl.when(pl.col("currency").is_in(NO_CENTS)).then(pl.lit(100, pl.Int128)).otherwise(pl.lit(1, pl.Int128))
)


def round_half_up(amount: pl.Expr) -> pl.Expr:
    """A total in the digits of the document's currency."""
    return rounded(Scaled.column(amount, Total), CENTS, "half_up").amount.decimal()


def sum_of(amounts: pl.Expr) -> pl.Expr:
    """The sum of a list of amounts; of an empty list, nothing."""
    return amounts.list.eval(pl.element().cast(Total)).list.sum().fill_null(Decimal(0)).cast(Total)


def allowances(*, charges: bool) -> pl.Expr:
    """The allowances, or the charges, added up."""
    indicator = pl.element().struct.field("is_charge")
    chosen = pl.col("allowances_charges").list.filter(indicator if charges else ~indicator)
    return sum_of(chosen.list.eval(pl.element().struct.field("amount")))


@rowwise
def tax_in_document_currency(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Choose the tax total by its currency, never by its place: the other one is for the books."""
    totals = (
        rows.select("_source", "_record", "currency", "tax_totals")
        .explode("tax_totals")
        .unnest("tax_totals")
        .filter(pl.col("tax_currency") == pl.col("currency"))
        .unique(["_source", "_record"], keep="none")
        .select("_source", "_record", tax=pl.col("amount").cast(Total), subtotals=pl.col("subtotals"))
    )
    return rows.join(totals, on=["_source", "_record"], how="left", maintain_order="left")


base_quantity = pl.when(pl.col("base_quantity") == 0).then(Decimal(1)).otherwise(pl.col("base_quantity"))
# Multiply first, divide, and round once: a price divided by its base quantity need not be a decimal at all.
line_net = (
    rounded_quotient(
        Scaled.column(
            product_expr(pl.col("quantity"), pl.Decimal(16, 6), pl.col("price"), pl.Decimal(20, 10)), pl.Decimal(38, 16)
        ),
        Scaled.column(base_quantity, pl.Decimal(16, 6)),
        CENTS,
        "half_up",
    ).amount.decimal()
    - allowances(charges=False)
    + allowances(charges=True)
)

subtotal_tax = rounded_product(
    Scaled.column(pl.col("taxable"), pl.Decimal(16, 2)),
    Scaled.column(pl.col("percent"), pl.Decimal(8, 4)).behind(2),
    CENTS,
    "half_up",
).amount.decimal()

third_party = (
    pl.when(pl.col("specification").str.contains(EXTENSION, literal=True).fill_null(value=False))
    .then(sum_of(pl.col("third_party_payments")))
    .otherwise(pl.lit(Decimal(0), Total))
)

invoices = Pipeline(
    "invoices",
    source=Source(
        "sample_data/invoices/*.xml",
        Invoice,
        record="/inv:Invoice | /cn:CreditNote",
        namespaces=NAMESPACES,
        key=["invoice_id"],
    ),
    steps=[
        tax_in_document_currency,
        Reconcile("LINE", each="lines", stated=pl.col("net"), computed=line_net),
        Reconcile(
            "BR-CO-10",
            stated=pl.col("lines_total"),
            computed=round_half_up(sum_of(pl.col("lines").list.eval(pl.element().struct.field("net")))),
        ),
        Reconcile("BR-CO-11", stated=pl.col("allowances_total"), computed=round_half_up(allowances(charges=False))),
        Reconcile("BR-CO-12", stated=pl.col("charges_total"), computed=round_half_up(allowances(charges=True))),
        Reconcile(
            "BR-CO-13",
            stated=pl.col("tax_exclusive"),
            computed=round_half_up(
                pl.col("lines_total").cast(Total) - pl.col("allowances_total") + pl.col("charges_total")
            ),
        ),
        Reconcile("BR-CO-17", each="subtotals", stated=pl.col("amount"), computed=subtotal_tax),
        Reconcile(
            "BR-CO-14",
            stated=pl.col("tax"),
            computed=round_half_up(sum_of(pl.col("subtotals").list.eval(pl.element().struct.field("amount")))),
        ),
        Reconcile(
            "BR-CO-15",
            stated=pl.col("tax_inclusive"),
            computed=round_half_up(pl.col("tax_exclusive").cast(Total) + pl.col("tax")),
        ),
        Reconcile(
            "BR-CO-16",
            stated=pl.col("payable"),
            computed=round_half_up(
                pl.col("tax_inclusive").cast(Total) - pl.col("prepaid") + pl.col("rounding") + third_party
            ),
        ),
    ],
    outputs={
        "documents": Rows(
            columns=[
                "invoice_id",
                "type_code",
                "issued",
                "seller",
                "currency",
                "lines_total",
                "allowances_total",
                "charges_total",
                "tax_exclusive",
                "tax",
                "tax_inclusive",
                "prepaid",
                "rounding",
                "payable",
            ],
            to=Parquet("out/documents"),
        ),
        "lines": Rows(
            explode="lines",
            prefix="line_",
            columns=[
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
        "by_currency": GroupBy(
            "currency",
            documents=Count(),
            net=Sum("tax_exclusive"),
            tax=Sum("tax"),
            payable=Sum("payable"),
            to=Sql("invoices_by_currency"),
        ),
    },
    money=MoneyColumns(net="tax_exclusive", tax="tax", gross="tax_inclusive", list=None),
)
