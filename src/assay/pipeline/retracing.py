"""Rows of a run once more: read again from its sources or its mended rejects, and taken through the steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from assay.pipeline.context import IDENTITY
from assay.pipeline.documents import document_column
from assay.pipeline.feed import ReplayFeed
from assay.pipeline.plan import Plan
from assay.pipeline.spool import Spool
from assay.pipeline.steps import BoundDocumentPrice, BoundStep, RowStep, Spooling, WholeStep
from assay.pipeline.steps.blame import blamed
from assay.pipeline.steps.function import BoundWholeFunction
from assay.runs import DeadLetter, Run, RunStore

Batches = Callable[[], Iterator[pl.DataFrame]]


@dataclass(frozen=True)
class Traced:
    """One record of a run, and what went through the steps with it.

    Attributes:
        found: The rows that have its key, as they were read, with their places.
        batches: Gives all rows that went through the steps together with it.
        by: The run that took it through: the run itself, or the replay of its rejects.
        letter: What is kept of it, where the run rejected it.
    """

    found: pl.DataFrame
    batches: Batches
    by: Run
    letter: DeadLetter | None

    @property
    def mine(self) -> pl.Expr:
        """Whether a row is of the record."""
        first = self.found.row(0, named=True)
        return pl.all_horizontal(pl.col(name) == first[name] for name in IDENTITY)


@dataclass(frozen=True)
class Stage:
    """What a step got and what it made of it: the record's rows, and those of its documents where it wants them."""

    step: BoundStep
    before: pl.DataFrame
    after: pl.DataFrame


def find(plan: Plan, store: RunStore, run: Run, wanted: pl.Expr) -> Traced | None:
    """The record of a run for which an expression on the model's columns is true.

    One that was mended and replayed is read as it was mended; else it is read from the sources.
    """
    base = run if run.parent is None else store.get(run.parent)
    letters: dict[tuple[str, int], tuple[int, str]] = {}
    for letter in store.dead_letters(base.id):
        letters[letter.source, letter.record] = letter.number, letter.state
    replayed = _replayed(plan, store, base)
    mended = _matching(replayed(None), wanted) if any(state == "replayed" for _, state in letters.values()) else None
    if mended is not None:
        source, record = mended.row(0, named=True)["_source"], mended.row(0, named=True)["_record"]
        letter = store.dead_letter(base.id, letters[source, record][0])
        return Traced(mended, lambda: replayed(letter.closed_by), store.get(letter.closed_by or base.id), letter)
    found = _matching(_from_files(plan), wanted)
    if found is None:
        return None
    gone = pl.DataFrame(list(letters), schema={name: found.schema[name] for name in IDENTITY}, orient="row")
    stayed = found.join(gone, on=IDENTITY, how="anti", maintain_order="left")
    if stayed.height:

        def others() -> Iterator[pl.DataFrame]:
            for frame in _from_files(plan):
                yield frame.join(gone, on=IDENTITY, how="anti", maintain_order="left")

        return Traced(stayed, others, base, None)
    source, record = found.row(0, named=True)["_source"], found.row(0, named=True)["_record"]
    return Traced(found, lambda: _from_files(plan), base, store.dead_letter(base.id, letters[source, record][0]))


def through(plan: Plan, traced: Traced) -> Iterator[Stage]:
    """Take the record through the steps, with all rows without which its own would come out otherwise.

    It ends behind the step that leaves none of its rows.
    """
    with tempfile.TemporaryDirectory(prefix="assay-explain-") as folder:
        rows = Spool(Path(folder, "source"), plan.input_schema)
        rows.write(_needed(plan, traced))
        for number, step in enumerate(plan.steps):
            made = Spool(Path(folder, f"made-{number}"), step.schema)
            if isinstance(step, Spooling):
                step.spool_in(Path(folder, f"spool-{number}"))
            if isinstance(step, WholeStep):
                with blamed(step):
                    made.write(step.apply_whole(rows.scan()).rows.collect_batches(maintain_order=True))
            elif isinstance(step, RowStep):
                with blamed(step):
                    made.write(step.apply(frame).rows for frame in rows)
            wanted = traced.mine
            if isinstance(step, BoundDocumentPrice):
                documents = rows.scan().filter(wanted).select(step.document).collect().to_series()
                wanted = pl.col(step.document).is_in(documents.implode())
            after = made.scan().filter(wanted).collect()
            yield Stage(step, rows.scan().filter(wanted).collect(), after)
            if not after.filter(traced.mine).height:
                return
            rows = made


def _needed(plan: Plan, traced: Traced) -> Iterator[pl.DataFrame]:
    """The rows with which the record must go through the steps: all, unless it is known that fewer do."""
    pricing = {step.document for step in plan.steps if isinstance(step, BoundDocumentPrice)}
    wanted = pl.lit(value=True)
    if not any(isinstance(step, BoundWholeFunction) for step in plan.steps):
        if not pricing:
            yield traced.found
            return
        if len(pricing) == 1 and (document := next(iter(pricing))) in plan.input_schema:
            wanted = pl.col(document).is_in(traced.found[document].implode())
    for frame in traced.batches():
        yield frame.filter(wanted)


def _from_files(plan: Plan) -> Iterator[pl.DataFrame]:
    """The accepted rows of the sources."""
    reader = replace(plan.reader, traced=True)
    return (_with_document(plan, batch.frame) for batch in reader.batches(plan.files()))


def _replayed(plan: Plan, store: RunStore, base: Run) -> Callable[[str | None], Iterator[pl.DataFrame]]:
    """Gives the rows of the rejects that a replay (any, if None) has published, as they were mended."""

    def frames(by: str | None) -> Iterator[pl.DataFrame]:
        feed = ReplayFeed(
            replace(plan.reader, traced=True),
            lambda: (
                letter for letter in store.dead_letters(base.id, state="replayed") if by in (None, letter.closed_by)
            ),
        )
        return (_with_document(plan, batch.frame) for batch in feed.batches(lambda _: None))

    return frames


def _with_document(plan: Plan, frame: pl.DataFrame) -> pl.DataFrame:
    document = plan.pipeline.source.reject_with
    return frame if document is None else frame.with_columns(document_column(document))


def _matching(frames: Iterator[pl.DataFrame], wanted: pl.Expr) -> pl.DataFrame | None:
    found = [rows for frame in frames if (rows := frame.filter(wanted)).height]
    return pl.concat(found) if found else None
