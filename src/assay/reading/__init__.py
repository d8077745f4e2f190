"""Reading: sources, compression, and processors that cut a stream into raw records."""

from assay.reading import csv, json, jsonl, xml  # noqa: F401 - they register themselves
from assay.reading.block import PAD, Block, Blocks, Bools, Ints, blocks_of, gathered
from assay.reading.csv import CsvProcessor
from assay.reading.factory import ModelAware, Processor, ProcessorFactory
from assay.reading.json import JsonProcessor
from assay.reading.jsonl import JsonlProcessor
from assay.reading.raw import Limits, Problem, RawRecord
from assay.reading.remote import is_url, without_secrets
from assay.reading.sources import OpenSource, SourceFile, SourceLike, resolve
from assay.reading.xml import XmlProcessor
from assay.reading.xml_path import XPath

__all__ = [
    "PAD",
    "Block",
    "Blocks",
    "Bools",
    "CsvProcessor",
    "Ints",
    "JsonProcessor",
    "JsonlProcessor",
    "Limits",
    "ModelAware",
    "OpenSource",
    "Problem",
    "Processor",
    "ProcessorFactory",
    "RawRecord",
    "SourceFile",
    "SourceLike",
    "XPath",
    "XmlProcessor",
    "blocks_of",
    "gathered",
    "is_url",
    "resolve",
    "without_secrets",
]
