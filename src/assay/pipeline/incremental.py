"""Incremental runs: only files whose records are not published yet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assay.errors import ConfigurationError, SourceError
from assay.pipeline.booked import Booked
from assay.pipeline.context import as_typed
from assay.pipeline.definition import Pipeline
from assay.pipeline.moving import seen_from
from assay.pipeline.outputs import GroupBy
from assay.reading import SourceFile
from assay.runs import RunStore
from assay.sinks import is_published


@dataclass(frozen=True)
class Selection:
    """The files of an incremental run.

    Attributes:
        files: Those to read.
        read: Paths of all files as they are remembered, and their hashes: those of the same bytes are read once.
        target: What the outputs are remembered by.
        known: How many are published already.
        changed: By path, the run that has published an earlier state of it.
        anew: Whether the outputs are made from nothing, from all files.
        first: Whether no file is known to be published to these outputs.
        gone: Of a full run, the files that were published before and are not among those that it reads.
    """

    files: list[SourceFile]
    read: dict[str, str]
    target: str
    known: int = 0
    changed: dict[str, str] = field(default_factory=dict)
    anew: bool = False
    first: bool = False
    gone: tuple[str, ...] = ()

    def warnings(self, rejected: Mapping[str, int]) -> Iterator[str]:
        """What is to be told of files that were published before; `rejected` counts the rejects of each file now."""
        for path, run in self.changed.items():
            count = rejected.get(path, 0)
            stale = f", and so are the earlier states of the {count:,} that are rejected now" if count else ""
            yield (
                f"{path} has changed since run {run} published its records: they were published again by their key; "
                f"records that are no longer in it are still published{stale} (--full publishes everything anew)"
            )
        if self.gone:
            yield (
                f"{len(self.gone):,} files that were published before are not among those of this run, such as "
                f"{self.gone[0]}: their records are in the outputs no more; the next run that finds them adds them"
            )

    def as_json(self) -> dict[str, object]:
        """For the ledger."""
        counts: dict[str, object] = {
            "new": len(self.files) - len(self.changed),
            "changed": len(self.changed),
            "known": self.known,
        }
        return counts | ({"full": True} if self.anew else {})


def check_incremental(pipeline: Pipeline) -> None:
    """See that what is published can grow run by run.

    Raises:
        ConfigurationError: an output cannot.
    """
    for name, output in pipeline.outputs.items():
        where = f"pipeline {pipeline.name}, output {name}"
        mode = output.to.mode
        if isinstance(output, GroupBy) and mode != "merge":
            raise ConfigurationError(
                f'the groups of an incremental run are those of its new files alone: mode="merge" adds them to what is '
                f"published, {mode} does not",
                where=where,
            )
        if mode in ("replace", "delete_missing"):
            raise ConfigurationError(
                f'an incremental run reads only what is new: mode="{mode}" would drop what earlier runs have '
                "published; append, or upsert by a key",
                where=where,
            )


def select(
    pipeline: Pipeline, files: Sequence[SourceFile], targets: Mapping[str, str], store: RunStore, *, full: bool
) -> Selection:
    """Choose the files whose bytes are not published yet.

    Args:
        pipeline: The pipeline.
        files: All files of the source.
        targets: Where each output goes, as seen from the project.
        store: The run store.
        full: All files, for outputs made from nothing.

    Raises:
        SourceError: a file cannot be read, or has changed and an output would have its records twice.
        ConfigurationError: the source is a stream, or a run was given up of which some outputs have the records.
    """
    target = hashlib.sha256(
        "\0".join(f"{name} {where}" for name, where in sorted(targets.items())).encode()
    ).hexdigest()
    published = store.published_files
    hashes = {_key(file): _hash(file, store) for file in files}
    if not full:
        _see_whole(pipeline, targets, store)
    before = published.of(pipeline.name, target)
    known = {} if full else before
    there = set(hashes.values())
    gone = sorted(path for path, (digest, _) in before.items() if full and digest not in there)
    chosen: list[SourceFile] = []
    changed: dict[str, str] = {}
    seen = {digest for digest, _ in known.values()}
    for file in files:
        key = _key(file)
        if hashes[key] in seen:
            continue
        seen.add(hashes[key])
        chosen.append(file)
        # Where its earlier bytes have only another name now, this is another file (rotated logs).
        if key in known and known[key][0] not in there:
            changed[file.name] = known[key][1]
    if changed:
        _see_keyed(pipeline, changed)
    first = not known and not full
    return Selection(chosen, hashes, target, len(files) - len(chosen), changed, full, first, tuple(map(as_typed, gone)))


def _see_whole(pipeline: Pipeline, targets: Mapping[str, str], store: RunStore) -> None:
    """See that all outputs have the same files: after a run that was given up half-way, only a full run knows."""
    for run in store.abandoned(pipeline.name):
        project = run.definition.get("project")
        decided = [one for one in run.decision or [] if seen_from(project, one["target"]) in targets.values()]
        anew = (run.ledger or {}).get("incremental", {}).get("full")
        if not decided or not (anew or any(is_published(one, run.id) for one in decided)):
            continue
        if any((later.ledger or {}).get("incremental", {}).get("full") for later in store.published_since(run)):
            return
        raise ConfigurationError(
            f"run {run.id} was given up when it had published a part of its outputs: which files each of them has is "
            "not known any more. Publish everything anew by --full"
        )


def _see_keyed(pipeline: Pipeline, changed: Mapping[str, str]) -> None:
    path, run = next(iter(changed.items()))
    for name, output in pipeline.outputs.items():
        if output.to.mode != "upsert" and not isinstance(output, Booked):
            more = f" and {len(changed) - 1:,} more" if len(changed) > 1 else ""
            raise SourceError(
                f"has changed since run {run} published its records{more}; output {name} ({output.to.mode}) would "
                'have them twice. Publish everything anew by --full, or give the outputs mode="upsert" and a key',
                file=path,
            )


def _key(file: SourceFile) -> str:
    if file.remote is not None:
        return file.name
    if file.path is None:
        raise ConfigurationError("an incremental pipeline reads files, whose records it remembers; this is a stream")
    return os.path.abspath(file.path)  # noqa: PTH100 - a link is a path of its own


def _hash(file: SourceFile, store: RunStore) -> str:
    if file.remote is not None:
        # Bytes of afar are not fetched to be compared: their store says when they have changed.
        return hashlib.sha256(file.remote.version.encode()).hexdigest()
    try:
        return store.known_files.read(Path(file.path or ""))
    except OSError as error:
        raise SourceError((error.strerror or str(error)).lower(), file=file.name) from None
