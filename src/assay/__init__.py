"""Assay: data-processing pipelines in which money must be right."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.aggregation import Count, CountDistinct, Max, Mean, Min, Quantile, Sum
    from assay.errors import (
        AssayError,
        AuthorizationError,
        CheckFailed,
        ConfigurationError,
        DuplicateError,
        LedgerError,
        LookupFailed,
        NotFoundError,
        PricingError,
        RunFailed,
        RunStoreError,
        SinkError,
        SourceError,
        TooManyRejectsError,
        UnknownFormatError,
        ValidationError,
    )
    from assay.lookups import Choice, Dated, EcbRates, Http, HttpLimits, SqlTable, Table, TTLCache, process_batch
    from assay.money import round_money
    from assay.pipeline import (
        ControlTotal,
        Deduplicate,
        Explode,
        Filter,
        Freshness,
        GroupBy,
        Holds,
        Lookup,
        MoneyColumns,
        Pipeline,
        Price,
        Reconcile,
        Result,
        RowCount,
        Rows,
        Source,
        Unique,
        latest,
        load,
        replay,
        rowwise,
    )
    from assay.pricing import DiscountPricing, Item, Order, PriceBook, RegularPricing
    from assay.reading import ProcessorFactory, RawRecord, XPath
    from assay.records import read, scan, validate
    from assay.result import Err, Ok
    from assay.settings import Settings
    from assay.sinks import MemoryRepository, Parquet, Repository, Sql, SqlRepository, UnitOfWork

# Where each public name is defined: loaded when it is first used, so that `assay --help` need not load Polars.
_HOME = {
    "assay.aggregation": ("Count", "CountDistinct", "Max", "Mean", "Min", "Quantile", "Sum"),
    "assay.errors": (
        "AssayError",
        "AuthorizationError",
        "CheckFailed",
        "ConfigurationError",
        "DuplicateError",
        "LedgerError",
        "LookupFailed",
        "NotFoundError",
        "PricingError",
        "RunStoreError",
        "RunFailed",
        "SinkError",
        "SourceError",
        "TooManyRejectsError",
        "UnknownFormatError",
        "ValidationError",
    ),
    "assay.lookups": (
        "Choice",
        "Dated",
        "EcbRates",
        "Http",
        "HttpLimits",
        "SqlTable",
        "TTLCache",
        "Table",
        "process_batch",
    ),
    "assay.money": ("round_money",),
    "assay.pipeline": (
        "ControlTotal",
        "Deduplicate",
        "Explode",
        "Filter",
        "Freshness",
        "GroupBy",
        "Holds",
        "Lookup",
        "MoneyColumns",
        "Pipeline",
        "Price",
        "Reconcile",
        "Result",
        "RowCount",
        "Rows",
        "Source",
        "Unique",
        "latest",
        "load",
        "replay",
        "rowwise",
    ),
    "assay.pricing": ("DiscountPricing", "Item", "Order", "PriceBook", "RegularPricing"),
    "assay.reading": ("ProcessorFactory", "RawRecord", "XPath"),
    "assay.records": ("read", "scan", "validate"),
    "assay.result": ("Err", "Ok"),
    "assay.settings": ("Settings",),
    "assay.sinks": ("MemoryRepository", "Parquet", "Repository", "Sql", "SqlRepository", "UnitOfWork"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AssayError",
    "AuthorizationError",
    "CheckFailed",
    "Choice",
    "ConfigurationError",
    "ControlTotal",
    "Count",
    "CountDistinct",
    "Dated",
    "Deduplicate",
    "DiscountPricing",
    "DuplicateError",
    "EcbRates",
    "Err",
    "Explode",
    "Filter",
    "Freshness",
    "GroupBy",
    "Holds",
    "Http",
    "HttpLimits",
    "Item",
    "LedgerError",
    "Lookup",
    "LookupFailed",
    "Max",
    "Mean",
    "MemoryRepository",
    "Min",
    "MoneyColumns",
    "NotFoundError",
    "Ok",
    "Order",
    "Parquet",
    "Pipeline",
    "Price",
    "PriceBook",
    "PricingError",
    "ProcessorFactory",
    "Quantile",
    "RawRecord",
    "Reconcile",
    "RegularPricing",
    "Repository",
    "Result",
    "RowCount",
    "Rows",
    "RunFailed",
    "RunStoreError",
    "Settings",
    "SinkError",
    "Source",
    "SourceError",
    "Sql",
    "SqlRepository",
    "SqlTable",
    "Sum",
    "TTLCache",
    "Table",
    "TooManyRejectsError",
    "Unique",
    "UnitOfWork",
    "UnknownFormatError",
    "ValidationError",
    "XPath",
    "latest",
    "load",
    "process_batch",
    "read",
    "replay",
    "round_money",
    "rowwise",
    "scan",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'assay' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
