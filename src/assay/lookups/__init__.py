"""Lookups: facts from elsewhere, by key."""

from assay.lookups.cache import CacheStats, TTLCache
from assay.lookups.protocol import LookupContext, LookupSource, OpenLookup
from assay.lookups.table import Table

__all__ = ["CacheStats", "LookupContext", "LookupSource", "OpenLookup", "TTLCache", "Table"]
