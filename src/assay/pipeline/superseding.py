"""Rejects that a later run has made void: what they are of was replaced, or its file was read again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from assay.pipeline.booked import Booked
from assay.pipeline.definition import Pipeline
from assay.runs import Run, RunStore


def supersedes(pipeline: Pipeline, files: Iterable[str], *, full: bool) -> dict[str, Any]:
    """Which open rejects of earlier runs a run makes void when it publishes, for its ledger.

    Args:
        pipeline: Its pipeline.
        files: Files that it has read, by names that mean the same file in any run.
        full: Whether it makes all outputs anew.
    """
    if pipeline.replaces or full:
        return {"all": True}
    # Of a file that was published before, rows were replaced by their keys; where there are none, they stand beside.
    keyed = all(isinstance(output, Booked) or output.to.mode == "upsert" for output in pipeline.outputs.values())
    return {"files": sorted(files), "published": keyed}


def supersede(store: RunStore, run: Run) -> None:
    """Mark what a published run has made void, as its ledger says; doing it twice changes nothing."""
    told = (run.ledger or {}).get("supersedes")
    if not told:
        return
    for earlier in store.open_before(run):
        if not same_outputs(earlier, run):
            continue
        if told.get("all"):
            store.supersede_rejects(earlier.id, f"run {run.id} has replaced what run {earlier.id} published")
        elif told["published"] or earlier.status != "published":
            store.supersede_rejects(earlier.id, f"run {run.id} has read the file again", told["files"])


def same_outputs(one: Run, other: Run) -> bool:
    """Whether two runs of a pipeline publish to the same place."""
    return bool(one.definition.get("output") == other.definition.get("output"))


def published_since(store: RunStore, run: Run) -> Iterator[Run]:
    """Runs that have published to the outputs of a run after it, the last first."""
    return (later for later in store.published_since(run) if same_outputs(later, run))
