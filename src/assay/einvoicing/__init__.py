"""Electronic invoices after EN 16931: UBL and CII as one model, and their sums computed again."""

from __future__ import annotations

from assay.einvoicing.columns import check_documents, every_check
from assay.einvoicing.model import NAMESPACES, RECORD, AllowanceCharge, Document, Line, Subtotal, TaxAmount
from assay.einvoicing.reference import Check, check
from assay.einvoicing.report import describe

__all__ = [
    "NAMESPACES",
    "RECORD",
    "AllowanceCharge",
    "Check",
    "Document",
    "Line",
    "Subtotal",
    "TaxAmount",
    "check",
    "check_documents",
    "describe",
    "every_check",
]
