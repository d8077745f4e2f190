"""Lookups: facts from elsewhere, by key."""

from assay.lookups.cache import CacheStats, TTLCache
from assay.lookups.concurrent import process_batch
from assay.lookups.disk import DiskTier
from assay.lookups.protocol import LookupContext, LookupSource, OpenLookup
from assay.lookups.table import Table

__all__ = [
    "CacheStats",
    "DiskTier",
    "LookupContext",
    "LookupSource",
    "OpenLookup",
    "TTLCache",
    "Table",
    "process_batch",
]
