"""Conformance batteries: what sinks, lookups, strategies and units of work must do, for authors. They need pytest."""

from __future__ import annotations

from assay.testing.lookups import Fact, LookupConformance
from assay.testing.sinks import FILE_STEPS, SinkConformance
from assay.testing.strategies import StrategyConformance
from assay.testing.units import UNITS_METADATA, UnitOfWorkConformance

__all__ = [
    "FILE_STEPS",
    "UNITS_METADATA",
    "Fact",
    "LookupConformance",
    "SinkConformance",
    "StrategyConformance",
    "UnitOfWorkConformance",
]
