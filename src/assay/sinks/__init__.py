"""Sinks: where the rows of a run go, staged first and then published at once; repositories for single objects."""

from __future__ import annotations

from assay.sinks.csv import Csv
from assay.sinks.delta import Delta
from assay.sinks.duckdb import DuckDb
from assay.sinks.entities import Entities
from assay.sinks.jsonl import Jsonl
from assay.sinks.memory import MemoryStore, MemoryUnitOfWork
from assay.sinks.parquet import Parquet
from assay.sinks.protocol import MODES, Mode, OnSchemaChange, OpenSink, Sink, Staged
from assay.sinks.registry import SinkFactory, discard, is_published, publish, staged_rows
from assay.sinks.repository import MemoryRepository, Repository, SqlRepository
from assay.sinks.sql import Sql
from assay.sinks.sql_values import SqlDecimal
from assay.sinks.unit_of_work import AnyUnitOfWork, UnitOfWork, UnitOfWorkError

__all__ = [
    "MODES",
    "AnyUnitOfWork",
    "Csv",
    "Delta",
    "DuckDb",
    "Entities",
    "Jsonl",
    "MemoryRepository",
    "MemoryStore",
    "MemoryUnitOfWork",
    "Mode",
    "OnSchemaChange",
    "OpenSink",
    "Parquet",
    "Repository",
    "Sink",
    "SinkFactory",
    "Sql",
    "SqlDecimal",
    "SqlRepository",
    "Staged",
    "UnitOfWork",
    "UnitOfWorkError",
    "discard",
    "is_published",
    "publish",
    "staged_rows",
]
