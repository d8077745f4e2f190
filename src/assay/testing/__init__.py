"""Conformance batteries: what sinks, lookups and strategies must do, for their authors to run. They need pytest."""

from __future__ import annotations

from assay.testing.lookups import Fact, LookupConformance
from assay.testing.sinks import FILE_STEPS, SinkConformance
from assay.testing.strategies import StrategyConformance

__all__ = ["FILE_STEPS", "Fact", "LookupConformance", "SinkConformance", "StrategyConformance"]
