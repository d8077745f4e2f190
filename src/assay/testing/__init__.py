"""Conformance batteries: what every sink must do, for the author of a sink to run against it. They need pytest."""

from __future__ import annotations

from assay.testing.sinks import FILE_STEPS, SinkConformance

__all__ = ["FILE_STEPS", "SinkConformance"]
