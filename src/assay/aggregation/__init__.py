"""Measures and group-bys that can be merged: batch by batch, run by run, machine by machine."""

from __future__ import annotations

from assay.aggregation.aggregation import Aggregation
from assay.aggregation.count import Count
from assay.aggregation.count_distinct import CountDistinct
from assay.aggregation.extremes import Max, Min
from assay.aggregation.mean import Mean
from assay.aggregation.measure import AggregationError, Measure, MergeableMeasure
from assay.aggregation.quantile import Interpolation, Quantile
from assay.aggregation.sum import Sum

__all__ = [
    "Aggregation",
    "AggregationError",
    "Count",
    "CountDistinct",
    "Interpolation",
    "Max",
    "Mean",
    "Measure",
    "MergeableMeasure",
    "Min",
    "Quantile",
    "Sum",
]
