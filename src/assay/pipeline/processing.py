"""From the source to the rows that reach the end, through all steps, with every record accounted for."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Protocol

import polars as pl

from assay.errors import ConfigurationError
from assay.pipeline.context import IDENTITY
from assay.pipeline.documents import document_column
from assay.pipeline.feed import Feed
from assay.pipeline.plan import Plan
from assay.pipeline.spool import Spool
from assay.pipeline.steps import REJECTED, Outcome, RowStep, Spooling, WholeStep
from assay.pipeline.steps.blame import blamed
from assay.runs import Ledger


class RejectKeeper(Protocol):
    """Takes rejects as they come."""

    def early(self, rejects: pl.DataFrame, formats: Mapping[str, str]) -> None:
        """Take what reading and validation have rejected, of one source (`REJECTS`)."""
        ...

    def late(self, rejected: pl.DataFrame) -> None:
        """Take what a step has rejected (`REJECTED`)."""
        ...


class Processing:
    """Reads a feed and runs the steps.

    Steps that work on any part of the rows run batch by batch; before one that must see all, the rows are spooled.

    Attributes:
        seconds: Time by stage.
        bytes: Bytes read so far.
        read: Records read so far.
    """

    def __init__(
        self,
        plan: Plan,
        feed: Feed,
        ledger: Ledger,
        rejects: RejectKeeper,
        staging: Path,
        report: Callable[[str], None],
    ) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.bytes = 0
        self.read = 0
        self._plan = plan
        self._feed = feed
        self._ledger = ledger
        self._rejects = rejects
        self._staging = staging
        self._report = report
        self._fans_out = False
        #: Whether rows of one record may lie in several frames, and then how many records there are.
        self.scattered = False
        self._alive = 0

    def run(self) -> Spool:
        """Run all steps."""
        settings = self._plan.settings
        frames = _coalesced(self._read(), rows=4 * settings.batch_records, size=settings.batch_bytes // 8)
        schema = self._plan.input_schema
        for index, step in enumerate(self._plan.steps):
            if isinstance(step, WholeStep):
                frames = self._whole(step, schema, frames, self._staging / f"step-{index}")
            elif isinstance(step, RowStep):
                frames = self._each(step, frames, self._staging / f"each-{index}")
            schema = step.schema
        rows = Spool(self._staging / "rows", schema)
        rows.write(frames)
        return rows

    def records(self, rows: pl.DataFrame) -> int:
        """How many records the rows belong to."""
        if not self._fans_out or not rows.height:
            return rows.height
        return int(rows.select(pl.struct(IDENTITY).n_unique()).item())

    def _read(self) -> Iterator[pl.DataFrame]:
        columns = self._plan.input_schema.names()
        formats = self._feed.formats()
        document = self._plan.pipeline.source.reject_with
        begun = time.perf_counter()
        for batch in self._feed.batches(self._on_bytes):
            self._ledger.files.update((file.name, file) for file in batch.files)
            self.read += batch.read
            self._rejects.early(batch.rejects, formats)
            frame = batch.frame if document is None else batch.frame.with_columns(document_column(document))
            self._note_seconds("read and validate", begun)
            self._report("validate")
            yield frame.select(columns)
            begun = time.perf_counter()
        self._note_seconds("read and validate", begun)

    def _each(self, step: RowStep, frames: Iterator[pl.DataFrame], folder: Path) -> Iterator[pl.DataFrame]:
        first = next(frames, None)
        if first is None:
            return
        frames = chain([first], frames)
        if self.scattered:
            yield from self._each_scattered(step, frames, folder)
            return
        for frame in frames:
            if not frame.height:
                continue
            begun = time.perf_counter()
            before = self.records(frame)
            with blamed(step):
                outcome = step.apply(frame)
            if step.fans_out and not self._fans_out:
                self._fans_out = _count(outcome.rows.lazy().select(IDENTITY).unique()) != outcome.rows.height
            rows, rejected = self._without_rejected(outcome)
            self._ledger.filtered[step.name] += before - self.records(rows) - rejected
            self._note_seconds(step.name, begun)
            yield rows

    def _each_scattered(self, step: RowStep, frames: Iterator[pl.DataFrame], folder: Path) -> Iterator[pl.DataFrame]:
        """Records can only be counted when all rows have gone through the step."""
        begun = time.perf_counter()
        made = Spool(folder, step.schema)
        rejected = [pl.DataFrame(schema=REJECTED)]
        for frame in frames:
            with blamed(step):
                outcome = step.apply(frame)
            made.write([outcome.rows])
            if outcome.rejected is not None:
                rejected.append(outcome.rejected)
        late = pl.concat(rejected)
        self._rejects.late(late)
        gone = late.select(IDENTITY).unique()
        rows = made.scan().join(gone.lazy(), on=IDENTITY, how="anti")
        stayed = _count(rows.select(IDENTITY).unique())
        self._ledger.filtered[step.name] += self._alive - stayed - gone.height
        self._alive = stayed
        self._note_seconds(step.name, begun)
        for frame in made:
            yield frame.join(gone, on=IDENTITY, how="anti", maintain_order="left") if gone.height else frame

    def _without_rejected(self, outcome: Outcome) -> tuple[pl.DataFrame, int]:
        """Note what a step rejected; all rows of such a record go."""
        rows, rejected = outcome.rows, outcome.rejected
        if rejected is None or not rejected.height:
            return rows, 0
        self._rejects.late(rejected)
        if self._fans_out:
            rows = rows.join(rejected, on=IDENTITY, how="anti", maintain_order="left")
        return rows, rejected.height

    def _whole(
        self, step: WholeStep, schema: pl.Schema, frames: Iterator[pl.DataFrame], folder: Path
    ) -> Iterator[pl.DataFrame]:
        spool = Spool(folder, schema)
        came = self._write_counted(spool, frames)
        begun = time.perf_counter()
        made = Spool(folder / "made", step.schema)
        if isinstance(step, Spooling):
            step.spool_in(folder / "spool")
        with blamed(step):
            outcome = step.apply_whole(spool.scan())
            rows = made.write(outcome.rows.collect_batches(maintain_order=True))
        stayed = rows
        if step.fans_out or self._fans_out:
            self._see_identity(step, spool, made)
            stayed = _count(made.scan().select(IDENTITY).unique())
            self._fans_out = self.scattered = rows != stayed
        rejected = pl.DataFrame(schema=REJECTED) if outcome.rejected is None else outcome.rejected
        self._rejects.late(rejected)
        self._ledger.filtered[step.name] += came - stayed - rejected.height
        self._alive = stayed
        self._note_seconds(step.name, begun)
        yield from made

    def _write_counted(self, spool: Spool, frames: Iterator[pl.DataFrame]) -> int:
        """Spool all rows; gives the number of records."""
        rows = spool.write(frames)
        return _count(spool.scan().select(IDENTITY).unique()) if self._fans_out else rows

    @staticmethod
    def _see_identity(step: WholeStep, came: Spool, made: Spool) -> None:
        known = came.scan().select(IDENTITY).unique()
        strangers = _count(made.scan().select(IDENTITY).unique().join(known, on=IDENTITY, how="anti"))
        if strangers:
            raise ConfigurationError(
                f"makes rows of {strangers} records that did not come in; a row keeps _source and _record",
                where=f"step {step.name}",
            )

    def _on_bytes(self, count: int) -> None:
        self.bytes += count

    def _note_seconds(self, stage: str, begun: float) -> None:
        self.seconds[stage] += time.perf_counter() - begun


def _coalesced(frames: Iterator[pl.DataFrame], *, rows: int, size: int) -> Iterator[pl.DataFrame]:
    """Put small frames together: many small files must not cost a round of all steps each."""
    waiting: list[pl.DataFrame] = []
    height = held = 0
    for frame in frames:
        waiting.append(frame)
        height += frame.height
        held += int(frame.estimated_size())
        if height >= rows or held >= size:
            yield pl.concat(waiting)
            waiting, height, held = [], 0, 0
    if waiting:
        yield pl.concat(waiting)


def _count(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())
