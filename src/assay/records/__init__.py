"""Records: from raw bytes to typed rows by a Pydantic model's verdict, with what is rejected kept."""

from assay.records.batches import TRACE, Batch, EmptySourceWarning, FileCount, Format, RecordReader
from assay.records.columns import Columns
from assay.records.redaction import MASK, Redaction
from assay.records.reject_writer import RejectsTo
from assay.records.rejects import ERRORS, REJECTS, Reject, Stage, rejects_frame, worded
from assay.records.scan import Read, read, scan
from assay.records.shape import FieldVerdict
from assay.records.verdict import validate

__all__ = [
    "ERRORS",
    "MASK",
    "REJECTS",
    "TRACE",
    "Batch",
    "Columns",
    "EmptySourceWarning",
    "FieldVerdict",
    "FileCount",
    "Format",
    "Read",
    "RecordReader",
    "Redaction",
    "Reject",
    "RejectsTo",
    "Stage",
    "read",
    "rejects_frame",
    "scan",
    "validate",
    "worded",
]
