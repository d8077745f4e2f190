"""Pipelines: defined as frozen values, loaded by name, checked, previewed, run and replayed."""

from assay.pipeline.booked import Booked
from assay.pipeline.checks import Check, ControlTotal, Freshness, Holds, Pending, RowCount, Unique
from assay.pipeline.comparing import Compared, compare
from assay.pipeline.definition import MoneyColumns, Pipeline, Source
from assay.pipeline.execution import purge, recover, replay
from assay.pipeline.explaining import Explanation, explain
from assay.pipeline.latest import Latest, latest
from assay.pipeline.loading import Broken, find, load
from assay.pipeline.outputs import GroupBy, Rows
from assay.pipeline.preview import Preview
from assay.pipeline.progress import Report
from assay.pipeline.rejecting import errors_of
from assay.pipeline.result import Result, result_of
from assay.pipeline.steps import Deduplicate, Explode, Filter, Lookup, Price, Reconcile, rowwise

__all__ = [
    "Booked",
    "Broken",
    "Check",
    "Compared",
    "ControlTotal",
    "Deduplicate",
    "Explanation",
    "Explode",
    "Filter",
    "Freshness",
    "GroupBy",
    "Holds",
    "Latest",
    "Lookup",
    "MoneyColumns",
    "Pending",
    "Pipeline",
    "Preview",
    "Price",
    "Reconcile",
    "Report",
    "Result",
    "RowCount",
    "Rows",
    "Source",
    "Unique",
    "compare",
    "errors_of",
    "explain",
    "find",
    "latest",
    "load",
    "purge",
    "recover",
    "replay",
    "result_of",
    "rowwise",
]
