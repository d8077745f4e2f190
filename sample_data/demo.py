"""`make demo`: run both pipelines on the sample data, show one reject, and say what to try next."""

import os
import sys
from pathlib import Path

from assay.cli import run_cli


def assay(*arguments: str) -> None:
    """Run one command as a user would, showing it."""
    print(f"\n$ assay {' '.join(arguments)}", flush=True)
    status = run_cli(arguments)
    if status:
        sys.exit(status)


def main() -> None:
    """Run the demo."""
    os.chdir(Path(__file__).parent.parent)
    assay("list")
    assay("run", "orders")
    assay("rejects", "list", "latest")
    assay("rejects", "show", "latest", "1")
    assay("run", "invoices")
    print(
        """
Everything above is on disk now: out/lines (Parquet), out/orders.db (SQLite), out/documents, out/findings.
Try next:
  .venv/bin/assay preview orders              what each step does to the first records
  .venv/bin/assay explain latest CN-2026-0001 one invoice, and what each step made of it
  .venv/bin/assay run orders --max-rejects 1% exit status 3, nothing published
  .venv/bin/assay show invoices               the pipeline, from top to bottom"""
    )


if __name__ == "__main__":
    main()
