"""The steps of a pipeline, one module each."""

from assay.pipeline.steps.deduplicate import Deduplicate
from assay.pipeline.steps.explode import Explode
from assay.pipeline.steps.filter import Filter
from assay.pipeline.steps.function import Function, FunctionStep, rowwise
from assay.pipeline.steps.lookup import Lookup
from assay.pipeline.steps.price import BoundDocumentPrice, BoundPrice, Price
from assay.pipeline.steps.protocol import (
    REJECTED,
    BoundStep,
    Outcome,
    Remarks,
    RowStep,
    Spooling,
    Step,
    WholeOutcome,
    WholeStep,
)
from assay.pipeline.steps.reconcile import Reconcile

__all__ = [
    "REJECTED",
    "BoundDocumentPrice",
    "BoundPrice",
    "BoundStep",
    "Deduplicate",
    "Explode",
    "Filter",
    "Function",
    "FunctionStep",
    "Lookup",
    "Outcome",
    "Price",
    "Reconcile",
    "Remarks",
    "RowStep",
    "Spooling",
    "Step",
    "WholeOutcome",
    "WholeStep",
    "rowwise",
]
