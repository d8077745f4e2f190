"""Lookups: facts from elsewhere, by key."""

from assay.lookups.cache import CacheStats, TTLCache
from assay.lookups.choice import Choice
from assay.lookups.concurrent import process_batch
from assay.lookups.dated import Dated, Readable
from assay.lookups.disk import DiskTier
from assay.lookups.ecb import EcbRates, cross_rate
from assay.lookups.http import Http, HttpLimits
from assay.lookups.protocol import Answer, LookupContext, LookupSource, LookupStats, OpenLookup
from assay.lookups.registry import LookupFactory
from assay.lookups.sql import SqlTable
from assay.lookups.table import Table, whole_hash

__all__ = [
    "Answer",
    "CacheStats",
    "Choice",
    "Dated",
    "DiskTier",
    "EcbRates",
    "Http",
    "HttpLimits",
    "LookupContext",
    "LookupFactory",
    "LookupSource",
    "LookupStats",
    "OpenLookup",
    "Readable",
    "SqlTable",
    "TTLCache",
    "Table",
    "cross_rate",
    "process_batch",
    "whole_hash",
]
