"""Runs: their history, ledger and manifest, and the records they rejected."""

from assay.runs.ledger import Ledger, Money
from assay.runs.manifest import environment, write_manifest
from assay.runs.store import DeadLetter, Run, RunStore, Status

__all__ = ["DeadLetter", "Ledger", "Money", "Run", "RunStore", "Status", "environment", "write_manifest"]
