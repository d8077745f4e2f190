"""Runs: their history, ledger and manifest, and the records they rejected."""

from assay.runs.dead_letters import Kind, State, Which
from assay.runs.known_files import KnownFiles, stat_of
from assay.runs.lease import Lease
from assay.runs.ledger import Ledger, Money
from assay.runs.manifest import environment, write_manifest
from assay.runs.published_files import PublishedFiles, note_published
from assay.runs.store import DeadLetter, Run, RunStore, Status

__all__ = [
    "DeadLetter",
    "Kind",
    "KnownFiles",
    "Lease",
    "Ledger",
    "Money",
    "PublishedFiles",
    "Run",
    "RunStore",
    "State",
    "Status",
    "Which",
    "environment",
    "note_published",
    "stat_of",
    "write_manifest",
]
