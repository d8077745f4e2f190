"""The figures of an electronic invoice after EN 16931, read from either of its syntaxes.

Field by field, the model names the place in UBL 2.1 (invoice or credit note) and in UN/CEFACT CII (D16B); a document
has one of them. What the norm requires and the model does not, is left to the checks, so that a document which lacks a
total is still read. Amounts have at most two decimals (BR-DEC-01 to 28): one with three is a reject.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from assay.reading import XPath

NAMESPACES: Final = {
    "inv": "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2",
    "cn": "urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2",
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
#: A document, wherever in a file it stands: alone, in an envelope, or as one of several.
RECORD: Final = "inv:Invoice | cn:CreditNote | rsm:CrossIndustryInvoice"

# Annotations are strings here, and Pydantic looks their names up in the module.
Amount = Annotated[Decimal, Field(max_digits=16, decimal_places=2)]
Price = Annotated[Decimal, Field(max_digits=20, decimal_places=10)]
Quantity = Annotated[Decimal, Field(max_digits=16, decimal_places=6)]
Percent = Annotated[Decimal, Field(max_digits=8, decimal_places=4)]

_TRANSACTION: Final = "rsm:SupplyChainTradeTransaction"
_SETTLEMENT: Final = f"{_TRANSACTION}/ram:ApplicableHeaderTradeSettlement"
_SUMMATION: Final = f"{_SETTLEMENT}/ram:SpecifiedTradeSettlementHeaderMonetarySummation"
_LINE_SETTLEMENT: Final = "ram:SpecifiedLineTradeSettlement"
_LINE_PRICE: Final = "ram:SpecifiedLineTradeAgreement/ram:NetPriceProductTradePrice"


def _total(ubl: str, cii: str) -> XPath:
    return XPath(f"cac:LegalMonetaryTotal/cbc:{ubl} | {_SUMMATION}/ram:{cii}")


class _Part(BaseModel):
    """Blanks around a code are layout, as they are to the official tests."""

    model_config = ConfigDict(str_strip_whitespace=True)


class AllowanceCharge(_Part):
    """An allowance (BG-20, BG-27) or a charge (BG-21, BG-28); only those of the document have a category."""

    is_charge: Annotated[bool, XPath("cbc:ChargeIndicator | ram:ChargeIndicator/udt:Indicator")]
    amount: Annotated[Amount, XPath("cbc:Amount | ram:ActualAmount")]
    category: Annotated[str | None, XPath("cac:TaxCategory/cbc:ID | ram:CategoryTradeTax/ram:CategoryCode")] = None
    percent: Annotated[
        Percent | None, XPath("cac:TaxCategory/cbc:Percent | ram:CategoryTradeTax/ram:RateApplicablePercent")
    ] = None


class Line(_Part):
    """A line (BG-25). Credit notes have positive amounts, so the same sums hold for both."""

    id: Annotated[str, XPath("cbc:ID | ram:AssociatedDocumentLineDocument/ram:LineID")]
    item: Annotated[str | None, XPath("cac:Item/cbc:Name | ram:SpecifiedTradeProduct/ram:Name")] = None
    quantity: Annotated[
        Quantity | None,
        XPath("cbc:InvoicedQuantity | cbc:CreditedQuantity | ram:SpecifiedLineTradeDelivery/ram:BilledQuantity"),
    ] = None
    price: Annotated[Price | None, XPath(f"cac:Price/cbc:PriceAmount | {_LINE_PRICE}/ram:ChargeAmount")] = None
    base_quantity: Annotated[Quantity, XPath(f"cac:Price/cbc:BaseQuantity | {_LINE_PRICE}/ram:BasisQuantity")] = (
        Decimal(1)
    )
    net: Annotated[
        Amount,
        XPath(
            "cbc:LineExtensionAmount | "
            f"{_LINE_SETTLEMENT}/ram:SpecifiedTradeSettlementLineMonetarySummation/ram:LineTotalAmount"
        ),
    ]
    allowances_charges: Annotated[
        list[AllowanceCharge], XPath(f"cac:AllowanceCharge | {_LINE_SETTLEMENT}/ram:SpecifiedTradeAllowanceCharge")
    ] = []
    category: Annotated[
        str | None,
        XPath(
            f"cac:Item/cac:ClassifiedTaxCategory/cbc:ID | {_LINE_SETTLEMENT}/ram:ApplicableTradeTax/ram:CategoryCode"
        ),
    ] = None
    percent: Annotated[
        Percent | None,
        XPath(
            "cac:Item/cac:ClassifiedTaxCategory/cbc:Percent | "
            f"{_LINE_SETTLEMENT}/ram:ApplicableTradeTax/ram:RateApplicablePercent"
        ),
    ] = None


class Subtotal(_Part):
    """VAT of one category and rate (BG-23)."""

    taxable: Annotated[Amount | None, XPath("cbc:TaxableAmount | ram:BasisAmount")] = None
    tax_amount: Annotated[Amount | None, XPath("cbc:TaxAmount | ram:CalculatedAmount")] = None
    tax_currency: Annotated[str | None, XPath("cbc:TaxAmount/@currencyID | ram:CalculatedAmount/@currencyID")] = None
    category: Annotated[str | None, XPath("cac:TaxCategory/cbc:ID | ram:CategoryCode")] = None
    percent: Annotated[Percent | None, XPath("cac:TaxCategory/cbc:Percent | ram:RateApplicablePercent")] = None


class TaxAmount(_Part):
    """The VAT of the whole document in one currency: its own (BT-110), or that of the accounts (BT-111)."""

    tax: Annotated[Amount, XPath(".")]
    tax_currency: Annotated[str | None, XPath("@currencyID")] = None


class Document(_Part):
    """An invoice or credit note, as far as its sums go."""

    invoice_id: Annotated[str, XPath("cbc:ID | rsm:ExchangedDocument/ram:ID")]
    specification: Annotated[
        str | None,
        XPath(
            "cbc:CustomizationID | rsm:ExchangedDocumentContext/ram:GuidelineSpecifiedDocumentContextParameter/ram:ID"
        ),
    ] = None
    invoice_type: str | None = Field(None, alias="cbc:InvoiceTypeCode")
    credit_note_type: str | None = Field(None, alias="cbc:CreditNoteTypeCode")
    cii_type: Annotated[str | None, XPath("rsm:ExchangedDocument/ram:TypeCode")] = None
    issued: Annotated[
        str | None, XPath("cbc:IssueDate | rsm:ExchangedDocument/ram:IssueDateTime/udt:DateTimeString")
    ] = None
    seller: Annotated[
        str | None,
        XPath(
            "cac:AccountingSupplierParty/cac:Party/cac:PartyLegalEntity/cbc:RegistrationName | "
            f"{_TRANSACTION}/ram:ApplicableHeaderTradeAgreement/ram:SellerTradeParty/ram:Name"
        ),
    ] = None
    currency: Annotated[str, XPath(f"cbc:DocumentCurrencyCode | {_SETTLEMENT}/ram:InvoiceCurrencyCode")]
    accounting_currency: Annotated[str | None, XPath(f"cbc:TaxCurrencyCode | {_SETTLEMENT}/ram:TaxCurrencyCode")] = None
    lines_total: Annotated[Amount | None, _total("LineExtensionAmount", "LineTotalAmount")] = None
    allowances_total: Annotated[Amount | None, _total("AllowanceTotalAmount", "AllowanceTotalAmount")] = None
    charges_total: Annotated[Amount | None, _total("ChargeTotalAmount", "ChargeTotalAmount")] = None
    tax_exclusive: Annotated[Amount | None, _total("TaxExclusiveAmount", "TaxBasisTotalAmount")] = None
    tax_inclusive: Annotated[Amount | None, _total("TaxInclusiveAmount", "GrandTotalAmount")] = None
    prepaid: Annotated[Amount | None, _total("PrepaidAmount", "TotalPrepaidAmount")] = None
    rounding: Annotated[Amount | None, _total("PayableRoundingAmount", "RoundingAmount")] = None
    payable: Annotated[Amount | None, _total("PayableAmount", "DuePayableAmount")] = None
    third_party_payments: Annotated[list[Amount], XPath("cac:PrepaidPayment/cbc:PaidAmount")] = []
    allowances_charges: Annotated[
        list[AllowanceCharge], XPath(f"cac:AllowanceCharge | {_SETTLEMENT}/ram:SpecifiedTradeAllowanceCharge")
    ] = []
    tax_amounts: Annotated[list[TaxAmount], XPath(f"cac:TaxTotal/cbc:TaxAmount | {_SUMMATION}/ram:TaxTotalAmount")] = []
    breakdown: Annotated[
        list[Subtotal], XPath(f"cac:TaxTotal/cac:TaxSubtotal | {_SETTLEMENT}/ram:ApplicableTradeTax")
    ] = []
    lines: Annotated[
        list[Line],
        XPath(f"cac:InvoiceLine | cac:CreditNoteLine | {_TRANSACTION}/ram:IncludedSupplyChainTradeLineItem"),
    ] = []
