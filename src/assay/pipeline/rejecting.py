"""The rejects of a run: kept with their bytes, and the documents that go with them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from assay.pipeline.context import DOCUMENT, IDENTITY
from assay.pipeline.definition import Pipeline
from assay.pipeline.documents import DOCUMENT_REJECTED, DocumentFinder, blame, with_its_document
from assay.pipeline.feed import Feed, ReplayFeed, record_processor
from assay.pipeline.plan import Plan
from assay.pipeline.steps import REJECTED
from assay.pipeline.steps.deduplicate import CONFLICT
from assay.records import REJECTS, RecordReader, Redaction, worded
from assay.runs import DeadLetter, Ledger, Run, RunStore
from assay.settings import Settings


@dataclass(frozen=True)
class Replayed:
    """The dead letters that a replay reads again.

    Attributes:
        run: The run that has rejected them.
        letters: Their numbers.
    """

    run: Run
    letters: frozenset[int]


class RejectLog:
    """Takes the rejects of a run as they come, and puts them into the run store.

    Rejects of reading come with their bytes. A step knows only the identity of the rows that it rejects: their bytes
    are read again from the source at the end, so that the good rows need not carry theirs along.

    Attributes:
        reasons: Records by the type of their first error.
        by_file: Records by their source.
        documents: Rejected documents, and which record is to blame.
        unknown_documents: Rejected records that do not say to which document they belong.
    """

    def __init__(self, plan: Plan, store: RunStore, run: str, ledger: Ledger, replayed: Replayed | None) -> None:
        self.reasons: Counter[str] = Counter()
        self.by_file: Counter[str] = Counter()
        self.documents: dict[str, str] = {}
        self.unknown_documents = 0
        self._store = store
        self._run = run
        self._settings = plan.settings
        self._ledger = ledger
        self._replayed = replayed
        self._redaction = Redaction(plan.settings.redact)
        self._format = plan.reader.format
        self._number = 1
        self._late: list[pl.DataFrame] = []
        self._again: set[tuple[str, int]] = set()
        source = plan.pipeline.source
        self._column = source.reject_with
        self._finder = DocumentFinder(plan.reader.columns, source.reject_with) if source.reject_with else None
        if replayed is not None and self._finder is not None:
            self._note_withheld(replayed, self._finder)

    def early(self, rejects: pl.DataFrame, formats: Mapping[str, str]) -> None:
        """Keep what reading and validation have rejected, of one source."""
        if not rejects.height:
            return
        if self._finder is not None:
            found = self._finder.find(rejects["raw"], record_processor(formats[rejects["source"][0]], self._format))
            for document, row in zip(found, rejects.iter_rows(named=True), strict=True):
                self._note_document(document, row["source"], row["record"], row["errors"])
        self._keep(rejects, formats)

    def late(self, rejected: pl.DataFrame) -> None:
        """Note what a step has rejected (`REJECTED`)."""
        self._late.append(rejected)

    def rejected_late(self) -> pl.DataFrame:
        """What the steps have rejected; from here on their documents are known, too."""
        late = pl.concat([pl.DataFrame(schema=REJECTED), *self._late])
        if self._column:
            for source, record, document, _, errors in late.iter_rows():
                self._note_document(document, source, record, errors)
        return late

    def with_document(self, siblings: pl.DataFrame) -> pl.DataFrame:
        """The rejects of records that pass themselves and go with their document."""
        rows = [
            (
                source,
                record,
                document,
                "document",
                [
                    worded(
                        (self._column or "",),
                        DOCUMENT_REJECTED,
                        with_its_document(self.documents[document]),
                        document,
                    )
                ],
            )
            for source, record, document in siblings.select(*IDENTITY, DOCUMENT)
            .unique(IDENTITY, maintain_order=True)
            .iter_rows()
        ]
        return pl.DataFrame(rows, schema=REJECTED, orient="row")

    def settle(self, late: pl.DataFrame, feed: Feed) -> None:
        """Find the bytes of what was rejected after reading, and keep them."""
        late = late.unique(IDENTITY, keep="first", maintain_order=True)
        for (source,), group in late.group_by("_source", maintain_order=True):
            wanted = {record: (stage, errors) for _, record, _, stage, errors in group.iter_rows()}
            rows = []
            size = 0
            for raw in feed.raw_records(str(source)):
                if raw.record in wanted:
                    stage, errors = wanted.pop(raw.record)
                    rows.append((source, raw.record, raw.line, raw.offset, stage, errors, raw.data))
                    size += len(raw.data)
                    if not wanted:
                        break
                    if len(rows) >= self._settings.batch_records or size >= self._settings.batch_bytes:
                        self._keep(pl.DataFrame(rows, schema=REJECTS, orient="row"), feed.formats())
                        rows, size = [], 0
            self._keep(pl.DataFrame(rows, schema=REJECTS, orient="row"), feed.formats())

    def passed(self) -> list[int]:
        """Numbers of the dead letters that a replay did not reject again."""
        if self._replayed is None:
            return []
        letters = numbered(self._store, self._replayed.run.id, self._replayed.letters)
        return [letter.number for letter in letters if (letter.source, letter.record) not in self._again]

    def as_json(self) -> dict[str, Any]:
        """For the ledger of the run."""
        made: dict[str, Any] = {"reasons": dict(self.reasons.most_common())}
        if self._replayed is not None:
            made["replayed"] = self.passed()
        if self.unknown_documents:
            made["unknown_documents"] = self.unknown_documents
        return made

    def _keep(self, rejects: pl.DataFrame, formats: Mapping[str, str]) -> None:
        self._ledger.rejected.update(rejects["stage"].to_list())
        self.by_file.update(rejects["source"].to_list())
        self.reasons.update(errors[0]["type"] for errors in rejects["errors"].to_list())
        if self._replayed is None:
            self._store.add_rejects(self._run, self._redacted(rejects, formats), formats, self._number)
        else:
            # The dead letters of a replay are in the store already.
            self._again.update(rejects.select("source", "record").iter_rows())
        self._number += rejects.height

    def _note_withheld(self, replayed: Replayed, finder: DocumentFinder) -> None:
        """What a replay does not read is not published, and so its document is not."""
        for letter in self._store.dead_letters(replayed.run.id, state="open"):
            if letter.number not in replayed.letters:
                (document,) = finder.find([letter.raw], record_processor(letter.format, self._format))
                self._note_document(document, letter.source, letter.record, letter.errors)

    def _redacted(self, rejects: pl.DataFrame, formats: Mapping[str, str]) -> pl.DataFrame:
        """The rejects without the values of fields that are not to be kept in errors."""
        if not self._redaction or not rejects.height:
            return rejects
        rows = rejects.select("errors", "raw", "source").iter_rows()
        errors = [
            self._redaction.errors(one, raw, formats[source], self._format.options()) for one, raw, source in rows
        ]
        return rejects.with_columns(pl.Series("errors", errors, dtype=REJECTS["errors"]))

    def _note_document(self, document: str | None, source: str, record: int, errors: list[dict[str, str]]) -> None:
        if document is None:
            self.unknown_documents += 1
        else:
            self.documents.setdefault(document, blame(source, record, errors))


def errors_of(pipeline: Pipeline, letter: DeadLetter, settings: Settings) -> list[dict[str, str]]:
    """What reading and today's model find in the bytes of a dead letter as edited; steps are asked by a replay."""
    reader = RecordReader(pipeline.source.model, pipeline.source.how(), settings)
    batches = ReplayFeed(reader, lambda: iter([letter])).batches(lambda _: None)
    return [error for batch in batches for errors in batch.rejects["errors"].to_list() for error in errors]


def replayable(store: RunStore, run: str) -> Iterator[DeadLetter]:
    """Open dead letters that a replay reads: those that only conflict with what was published must be mended first."""
    for letter in store.dead_letters(run, state="open"):
        if _is_read_again(letter):
            yield letter


def numbered(store: RunStore, run: str, numbers: frozenset[int]) -> Iterator[DeadLetter]:
    """Some dead letters of a run, whatever became of them since they were chosen."""
    return (letter for letter in store.dead_letters(run) if letter.number in numbers)


def _is_read_again(letter: DeadLetter) -> bool:
    return letter.edited is not None or all(error["type"] != CONFLICT for error in letter.errors)


def purge_expired(store: RunStore, pipeline: str, days: int | None) -> dict[str, int]:
    """Delete the bytes of dead letters of runs that began more than some days ago; None keeps all.

    Call it under the pipeline's lock: a replay reads dead letters more than once.

    Returns:
        How many there were by the state they had.
    """
    if days is None:
        return {}
    return store.purge_rejects(pipeline, dt.datetime.now(dt.UTC) - dt.timedelta(days=days))
