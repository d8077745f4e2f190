"""Sinks: where the rows of a run go, staged first and then published at once; repositories for single objects."""

from __future__ import annotations

from assay.sinks.parquet import Parquet
from assay.sinks.protocol import MODES, Mode, OpenSink, Sink, Staged
from assay.sinks.registry import SinkFactory, discard, publish

__all__ = ["MODES", "Mode", "OpenSink", "Parquet", "Sink", "SinkFactory", "Staged", "discard", "publish"]
