"""Running a pipeline: read, judge, steps, ledger, decision, publish."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from assay.errors import AssayError, ConfigurationError, NotFoundError, SinkError
from assay.money import EXACT
from assay.pipeline.booked import Booked
from assay.pipeline.checks import Pending, run_checks
from assay.pipeline.context import DOCUMENT, IDENTITY
from assay.pipeline.definition import MoneyColumns, Pipeline
from assay.pipeline.entries import Booking
from assay.pipeline.feed import Feed, FileFeed, ReplayFeed
from assay.pipeline.findings import lines_left, many_rejects, purged_open, replays_replaced
from assay.pipeline.fingerprint import run_fingerprint
from assay.pipeline.incremental import Selection, select
from assay.pipeline.moving import moved, seen_from
from assay.pipeline.notes import take_notes
from assay.pipeline.outputs import GroupBy
from assay.pipeline.plan import Plan, make_plan
from assay.pipeline.processing import Processing
from assay.pipeline.progress import Progress, Report
from assay.pipeline.publishing import Publication, outputs_of, publish_all
from assay.pipeline.rejecting import RejectLog, Replayed, numbered, purge_expired, replayable
from assay.pipeline.result import Result, result_of
from assay.pipeline.spool import Spool
from assay.pipeline.superseding import published_since, supersede, supersedes
from assay.reading import SourceLike
from assay.records.budget import Budget
from assay.runs import Lease, Ledger, Money, Run, RunStore, Status, environment, note_published, write_manifest
from assay.settings import Settings
from assay.sinks import is_published, staged_rows

STAGING: Final = ".assay-staging"
_INTERRUPTED: Final = {
    "type": "Interrupted",
    "message": "the run ended before it had decided to publish: nothing was published; run it again",
}


@dataclass(frozen=True)
class Options:
    """How a run is to be done.

    Attributes:
        output: A folder that takes every file output.
        budget: How many rejects are allowed.
        dry_run: All but publish.
        progress: Who is told how far it is.
        replayed: The run whose dead letters are read again.
        later: The last run that has published after that one.
        letters: Numbers of those dead letters; what is edited or discarded meanwhile changes them no more.
        force: Publish also what an earlier run has published from the same input.
        full: Of an incremental pipeline, read all files and publish everything anew.
        wait: Seconds to wait for another run of the pipeline to end.
    """

    output: Path | None = None
    budget: Budget = field(default_factory=Budget)
    dry_run: bool = False
    progress: Progress | None = None
    replayed: Run | None = None
    later: Run | None = None
    letters: frozenset[int] = frozenset()
    force: bool = False
    full: bool = False
    wait: float = 0.0


def run(
    pipeline: Pipeline,
    *,
    params: Mapping[str, Any],
    source: SourceLike | None,
    limit: int | None,
    settings: Settings | None,
    options: Options,
    known_at: str | None = None,
) -> Result:
    """Run a pipeline; see `Pipeline.run`."""
    settings = settings or Settings.load()
    plan = make_plan(pipeline, params=params, settings=settings, source=source, known_at=known_at)
    incremental = pipeline.source.incremental
    if options.full and not incremental:
        raise ConfigurationError(f"pipeline {pipeline.name} always reads all files: full is for incremental ones")
    if incremental and limit is not None and not options.dry_run:
        raise ConfigurationError("an incremental run takes files as a whole: a limit goes with a dry run only")
    with open_store(settings) as store, _only_run(store, pipeline.name, settings, options.wait) as lease:
        finished = tuple(one.id for one in recover(store, pipeline.name) if one.decision is not None)
        files = plan.files()
        with closing(plan):
            plan.open_steps()
            execution = Execution(plan, store, lease, options)

            def feed(staging: Path, targets: Mapping[str, str]) -> Feed:
                if not incremental:
                    return FileFeed(plan.reader, files, staging, limit)
                selection = select(pipeline, files, targets, store, full=options.full)
                return FileFeed(plan.reader, selection.files, staging, limit, selection)

            return replace(execution.run(feed), finished=finished)


def replay(
    pipeline: Pipeline,
    run_name: str,
    *,
    params: Mapping[str, Any] | None = None,
    wait: float = 0.0,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Result:
    """Read the open dead letters of a run again, as edited, by today's pipeline; publish those that now pass.

    Rows are added to what that run published and aggregates merged into it; what passes is marked as replayed.

    Args:
        pipeline: The run's pipeline, as it is today.
        run_name: The run, or the beginning of its id.
        params: Parameters; by default those of the run.
        wait: Seconds to wait for another run of this pipeline to end.
        settings: Settings; by default those of the project at the current folder.
        progress: Called with a `Report` after each batch.

    Raises:
        NotFoundError: no such run.
        ConfigurationError: the run published nothing, or a later run has replaced what it published.
    """
    settings = settings or Settings.load()
    with open_store(settings) as store, _only_run(store, pipeline.name, settings, wait) as lease:
        recover(store, pipeline.name)
        original = store.get(run_name, pipeline.name)
        _see_replayable(store, original, pipeline)
        given = params if params is not None else original.definition.get("params", {})
        known_at = original.definition.get("known_at")
        plan = make_plan(pipeline, params=given, settings=settings, source=b"", known_at=known_at)
        output = original.definition["output"]
        later = next(published_since(store, original), None)
        letters = frozenset(letter.number for letter in replayable(store, original.id))
        folder = Path(output) if output else None
        options = Options(output=folder, progress=progress, replayed=original, letters=letters, later=later)
        with closing(plan):
            plan.open_steps()
            execution = Execution(plan, store, lease, options)
            return execution.run(
                lambda _staging, _targets: ReplayFeed(plan.reader, lambda: numbered(store, original.id, letters))
            )


def resume(pipeline: Pipeline, run_name: str, settings: Settings) -> Result:
    """Finish a run that died after its decision to publish, or undo one that died before.

    Raises:
        NotFoundError: no such run of this pipeline.
    """
    with open_store(settings) as store, _only_run(store, pipeline.name, settings):
        found = store.get(run_name, pipeline.name)
        recover(store, pipeline.name)
        return result_of(store.get(found.id), settings.run_store_url)


def abandon(pipeline: Pipeline, run_name: str, settings: Settings) -> Result:
    """Give up a run that had decided to publish and cannot: what it has published stays, the rest is let go.

    Raises:
        NotFoundError: no such run of this pipeline.
        ConfigurationError: it has ended.
    """
    with open_store(settings) as store, _only_run(store, pipeline.name, settings):
        found = store.get(run_name, pipeline.name)
        if found.status != "running":
            raise ConfigurationError(f"run {found.id} has ended: it is {found.status}")
        store.give_up(found.id)
        _clear(Path(found.definition["staging"]))
        message = "given up before all it had decided to publish was published; some outputs may have its rows"
        store.finish(found.id, "failed", error={"type": "Abandoned", "message": message})
        return result_of(store.get(found.id), settings.run_store_url)


def purge(pipeline: str, days: int, settings: Settings) -> dict[str, int]:
    """Delete the bytes of the dead letters of a pipeline's runs that began more than some days ago.

    Returns:
        How many there were by the state they had.

    Raises:
        ConfigurationError: a run of the pipeline is under way.
    """
    with open_store(settings) as store, _only_run(store, pipeline, settings):
        return purge_expired(store, pipeline, days)


def recover(store: RunStore, pipeline: str) -> list[Run]:
    """Finish or undo what runs that died have left. Call it under the pipeline's lock.

    A run that had decided to publish goes forward; any other is undone.
    """
    found = store.runs(limit=1000, pipeline=pipeline, status="running")
    for one in found:
        if one.decision is not None:
            try:
                publish_all(one.id, one.decision)
            except SinkError as error:
                message = f"run {one.id} had decided to publish, and cannot: {error.message}"
                stuck = SinkError(message, sink=error.sink)
                stuck.add_note(f"Mend the output, or give that run up: assay run {pipeline} --abandon {one.id}")
                raise stuck from None
            _close_rejects(store, one)
            _clear(Path(one.definition["staging"]))
            store.finish(one.id, "published", outputs=outputs_of(one.decision))
        else:
            _clear(Path(one.definition["staging"]))
            store.finish(one.id, "interrupted", error=_INTERRUPTED)
    return found


@contextmanager
def open_store(settings: Settings) -> Iterator[RunStore]:
    """The run store of the project."""
    store = RunStore(settings.run_store_url)
    try:
        yield store
    finally:
        store.close()


def _only_run(store: RunStore, pipeline: str, settings: Settings, wait: float = 0.0) -> AbstractContextManager[Lease]:
    """Only one run of a pipeline at a time."""
    lock = settings.work / "locks" / f"{pipeline}.lock"
    return store.lease(pipeline, lock, host=platform.node(), seconds=settings.lease_seconds, wait=wait)


class Execution:
    """One run of a plan."""

    def __init__(self, plan: Plan, store: RunStore, lease: Lease, options: Options) -> None:
        self._plan = plan
        self._store = store
        self._lease = lease
        self._options = options
        self._output = options.output or plan.settings.output
        self._root = (self._output or plan.settings.project).resolve()
        self._ledger = Ledger()
        self._seconds: dict[str, float] = {}
        self._total: int | None = None
        self._warnings: list[str] = []
        self._notes: list[str] = []
        self._selection: Selection | None = None
        self._places: frozenset[str] = frozenset()
        self._checked: list[str] = []
        self._bookings: Mapping[str, Booking] = {}
        self._started = time.monotonic()

    def run(self, feed_for: Callable[[Path, Mapping[str, str]], Feed]) -> Result:
        """Run to the end, whatever it is."""
        replayed = self._options.replayed
        parent = replayed.id if replayed else None
        self._id = self._store.start(self._plan.pipeline.name, self._definition, parent, staging=self._root / STAGING)
        self._staging = staging = self._root / STAGING / self._id
        again = None if replayed is None else Replayed(replayed, self._options.letters)
        self._rejects = RejectLog(self._plan, self._store, self._id, self._ledger, again)
        try:
            staging.mkdir(parents=True)
            return self._run(feed_for, staging)
        except (AssayError, OSError) as error:
            return self._failed("failed", _told(error))
        except (KeyboardInterrupt, SystemExit) as stop:
            # Who asked for the end is told what it has left.
            stop.add_note((self._failed("interrupted", _INTERRUPTED).error or _INTERRUPTED)["message"])
            raise
        except BaseException as error:
            self._failed("failed", _told(error))
            raise

    def _run(self, feed_for: Callable[[Path, Mapping[str, str]], Feed], staging: Path) -> Result:
        publication = Publication(
            self._plan,
            output=self._output,
            root=self._root,
            staging=staging,
            amends=self._options.replayed is not None,
            anew=self._options.full,
            later=self._options.later.id if self._options.later else None,
        )
        feed = feed_for(staging, self._targets(publication))
        self._selection = feed.selection
        self._places = feed.places
        if self._selection is not None and self._selection.first and not self._options.force:
            _see_empty(publication, self._plan.pipeline)
        if self._selection is not None and not self._selection.files:
            last = self._store.last_published(self._plan.pipeline.name)
            if last is not None:
                return self._repeats(last)
        if not self._plan.asks:
            earlier = self._published_as(self._fingerprint(publication, feed, answers=[]))
            if earlier is not None:
                return self._repeats(earlier)
        self._total = feed.size
        self._processing = Processing(self._plan, feed, self._ledger, self._rejects, staging, self._report)
        rows = self._processing.run()
        begun = time.perf_counter()
        self._rejects.settle(self._stage(rows, publication, self._rejects.rejected_late()), feed)
        staged = publication.prepare(self._id, whole=self._is_whole(feed))
        self._bookings = publication.bookings
        self._seconds = dict(self._processing.seconds) | {"write": time.perf_counter() - begun}
        self._report("write")
        counts = self._ledger.counts
        if self._options.budget.exceeded(counts["rejected"], counts["read"]):
            message = (
                f"{counts['rejected']:,} of {counts['read']:,} records were rejected, over the budget of "
                f"{self._options.budget}; nothing was published"
            )
            return self._ended("rejected", error={"type": "OverBudget", "message": message})
        self._ledger.rows = publication.rows
        self._warnings = list(self._find(counts))
        self._ledger.check({one["output"]: int(one["rows"]) for one in staged})
        notes = self._plan.pipeline.notes
        if self._plan.checks or notes:
            outputs = {one["output"]: staged_rows(one) for one in staged}
            money = self._ledger.as_json()["money"]
            pending = Pending(outputs, counts, money, self._plan.context, self._options.replayed is not None)
            self._notes, failed = take_notes(notes, pending)
            self._warnings += failed
            self._checked = list(run_checks(self._plan.checks, pending))
        if self._options.dry_run:
            return self._ended("interrupted", error={"type": "DryRun", "message": "dry run: nothing was published"})
        fingerprint = self._fingerprint(publication, feed, self._plan.answers)
        earlier = self._published_as(fingerprint)
        if earlier is not None:
            return self._repeats(earlier)
        self._store.decide(
            self._id, self._ledger_json(), staged, fingerprint=fingerprint, lease=self._lease, files=self._note_files
        )
        publish_all(self._id, staged)
        _close_rejects(self._store, self._store.get(self._id))
        self._store.known_files.remember(feed.read_files(self._ledger.files))
        return self._ended("published", outputs=outputs_of(staged))

    def _is_whole(self, feed: Feed) -> bool:
        """Whether what is not among the records is not in the sources."""
        parts = self._options.replayed is not None or feed.limit is not None
        chosen = self._selection
        return not parts and (chosen is None or (chosen.anew and not chosen.gone))

    def _note_files(self, connection: sa.Connection) -> None:
        if self._selection is not None:
            chosen, name = self._selection, self._plan.pipeline.name
            note_published(connection, self._id, name, chosen.target, chosen.read, anew=chosen.anew)

    def _fingerprint(self, publication: Publication, feed: Feed, answers: Sequence[str]) -> str | None:
        read = {name: count.sha256 for name, count in self._ledger.files.items()}
        inputs = feed.hashes(read, self._store.known_files)
        definition = self._definition
        return run_fingerprint(
            definition["fingerprint"], definition["params"], self._targets(publication), inputs, feed.limit, answers
        )

    def _targets(self, publication: Publication) -> dict[str, str]:
        """Where outputs go, as seen from the project, which may be moved."""
        return {name: seen_from(self._definition["project"], where) for name, where in publication.targets.items()}

    def _published_as(self, fingerprint: str | None) -> Run | None:
        """The run that has published the same already, where its outputs still have it."""
        # An incremental run knows by its files what is published: bytes may come back that were taken out since.
        by_files = self._selection is not None
        if fingerprint is None or self._options.force or self._options.dry_run or by_files:
            return None
        name = self._plan.pipeline.name
        found = self._store.published_as(name, fingerprint)
        if found is None or found.decision is None:
            return None
        counts = (found.ledger or {})["counts"]
        if self._options.budget.exceeded(counts["rejected"], counts["read"]):
            return None
        last = self._store.last_published(name)
        if self._plan.pipeline.last_run_counts and last is not None and last.id != found.id:
            return None
        decision = moved(found.decision, found.definition.get("project"), self._definition["project"])
        return found if all(is_published(staged, found.id) for staged in decision) else None

    def _repeats(self, earlier: Run) -> Result:
        """End without a trace: what this run would publish is published."""
        _clear(self._staging)
        self._store.forget(self._id)
        result = result_of(earlier, self._plan.settings.run_store_url)
        return replace(result, repeats=True, ledger=self._with_purged(result.ledger))

    def _with_purged(self, ledger: dict[str, Any]) -> dict[str, Any]:
        """Purge the dead letters whose time is over; returns the ledger with how many there were."""
        days = None if self._options.dry_run else self._plan.settings.rejects_days
        purged = purge_expired(self._store, self._plan.pipeline.name, days)
        if not purged:
            return ledger
        warnings = [*ledger.get("warnings", []), *purged_open(purged, days)]
        return ledger | {"purged": purged} | ({"warnings": warnings} if warnings else {})

    @property
    def _definition(self) -> dict[str, Any]:
        params = self._plan.context.params
        return {
            "params": params.model_dump(mode="json") if params is not None else {},
            "fingerprint": self._plan.fingerprint,
            "output": str(self._output.resolve()) if self._output else None,
            "project": str(self._plan.settings.project.resolve()),
            "known_at": self._plan.context.known_at,
        }

    def _stage(self, rows: Spool, publication: Publication, late: pl.DataFrame) -> pl.DataFrame:
        """Give the rows to the outputs, all but those of rejected records and documents; these are returned."""
        gone = late.select(IDENTITY).unique()
        documents = list(self._rejects.documents)
        rejected = [late]
        for frame in rows:
            alive = frame.join(gone, on=IDENTITY, how="anti", maintain_order="left") if gone.height else frame
            if documents:
                with_rejected = pl.col(DOCUMENT).is_in(documents).fill_null(value=False)
                siblings = alive.filter(with_rejected)
                alive = alive.filter(~with_rejected)
                rejected.append(self._rejects.with_document(siblings))
                self._add_money(siblings, aside=True)
            if not self._processing.scattered:
                self._ledger.written += self._processing.records(alive)
            self._add_money(alive, aside=False)
            publication.take(alive)
        if self._processing.scattered:
            stayed = rows.scan().join(gone.lazy(), on=IDENTITY, how="anti")
            if documents:
                stayed = stayed.filter(~pl.col(DOCUMENT).is_in(documents).fill_null(value=False))
            self._ledger.written = stayed.select(IDENTITY).unique().select(pl.len()).collect(engine="streaming").item()
        return pl.concat(rejected)

    def _add_money(self, rows: pl.DataFrame, *, aside: bool) -> None:
        if self._plan.money is None or not rows.height:
            return
        for currency, sums in _sums(rows, self._plan.money):
            money = self._ledger.money.setdefault(currency, Money())
            if aside:
                money.set_aside = EXACT.add(money.set_aside, sums.gross)
            else:
                money.add(sums)

    def _ledger_json(self) -> dict[str, Any]:
        seconds = {name: round(value, 3) for name, value in self._seconds.items()}
        made = self._ledger.as_json() | self._rejects.as_json() | {"seconds": seconds}
        if self._options.replayed is None:
            read = self._places.intersection(self._ledger.files)
            made["supersedes"] = supersedes(self._plan.pipeline, read, full=self._options.full)
        made["lookups"] = {name: stats.as_json() for name, stats in self._plan.lookups.items()}
        if self._bookings:
            made["booked"] = {name: booking.as_json() for name, booking in self._bookings.items()}
        if self._checked:
            made["checks"] = self._checked
        if self._notes:
            made["notes"] = self._notes
        if self._selection is not None:
            made["incremental"] = self._selection.as_json()
            if self._selection.changed:
                made["changed_files"] = sorted(self._selection.changed)
        return made | ({"warnings": self._warnings} if self._warnings else {})

    def _find(self, counts: Mapping[str, int]) -> Iterator[str]:
        for name, remarks in self._plan.remarks.items():
            yield from (f"step {name}: {warning}" for warning in remarks.warnings)
        yield from lines_left(self._bookings)
        if self._options.replayed is not None:
            return
        if self._options.budget.limit is None:
            yield from many_rejects(counts["rejected"], counts["read"], self._rejects.reasons)
        if self._selection is not None:
            yield from self._selection.warnings(self._rejects.by_file)
        pipeline = self._plan.pipeline
        if pipeline.replaces:
            yield from replays_replaced(self._store, self._id, self._store.last_published(pipeline.name))
        elif self._options.full:
            for earlier in self._store.published(pipeline.name):
                yield from replays_replaced(self._store, self._id, earlier)

    def _failed(self, status: Status, error: dict[str, Any]) -> Result:
        if self._store.get(self._id).decision is None:
            return self._ended(status, error=error)
        # The decision stands, and needs what is staged: --resume finishes it, or the next run of this pipeline.
        resume_by = f"assay run {self._plan.pipeline.name} --resume {self._id}"
        why = "stopped while publishing" if status == "interrupted" else error["message"]
        message = f"{why}; it had been decided to publish: finish it by {resume_by}"
        self._store.finish(self._id, "running", error=error | {"message": message})
        return result_of(self._store.get(self._id), self._plan.settings.run_store_url)

    def _ended(
        self, status: Status, *, outputs: Mapping[str, Any] | None = None, error: Mapping[str, Any] | None = None
    ) -> Result:
        kept = self._store.get(self._id)
        # Before the run is noted as ended: who is killed between the two is cleaned up after by recovery.
        _clear(self._staging)
        self._store.finish(
            self._id,
            status,
            seconds=time.monotonic() - self._started,
            ledger=self._with_purged(kept.ledger or self._ledger_json()),
            outputs=outputs,
            error=error,
        )
        ended = self._store.get(self._id)
        result = result_of(ended, self._plan.settings.run_store_url)
        write_manifest(
            self._plan.settings.work / "runs" / self._id,
            result.as_json()
            | {
                "definition": ended.definition,
                "ledger": ended.ledger,
                "published": ended.decision,
                "environment": environment(),
            },
        )
        return result

    def _report(self, stage: str) -> None:
        if self._options.progress:
            rejected = self._ledger.rejected.total()
            self._options.progress(Report(stage, self._processing.bytes, self._total, self._processing.read, rejected))


def _see_empty(publication: Publication, pipeline: Pipeline) -> None:
    """Before a first incremental run: what is there already may be the very records that it would add."""
    for name, rows in publication.published():
        if not isinstance(pipeline.outputs[name], Booked) and rows.head(1).collect().height:
            raise SinkError(
                "has rows already, and the run store does not know of which files (the store is another one, the "
                "project was moved, or something else has written them): --full makes the outputs anew, --force adds "
                "all files to what is there",
                sink=name,
            )


def _told(error: BaseException) -> dict[str, Any]:
    fields = ("file", "record", "offset", "where", "sink")
    place = {name: getattr(error, name) for name in fields if getattr(error, name, None) is not None}
    words = str(error) if isinstance(error, AssayError) else f"{type(error).__name__}: {error}"
    return {"type": type(error).__name__, "message": words} | ({"where": place} if place else {})


def _sums(rows: pl.DataFrame, names: MoneyColumns) -> Iterator[tuple[str, Money]]:
    """Sums by currency; a sum keeps the scale of its column."""
    columns = {"list": names.list or names.net, "net": names.net, "tax": names.tax, "gross": names.gross}
    currency = pl.col(names.currency).cast(pl.String).alias("currency")
    sums = rows.group_by(currency, maintain_order=True).agg(
        pl.col(column).cast(pl.Decimal(38, _scale(rows, column))).sum().alias(name) for name, column in columns.items()
    )
    for row in sums.iter_rows(named=True):
        discounts = EXACT.subtract(row["list"], row["net"])
        yield row["currency"] or "", Money(row["list"], discounts, row["net"], row["tax"], row["gross"])


def _scale(rows: pl.DataFrame, column: str) -> int:
    dtype = rows.schema[column]
    return dtype.scale if isinstance(dtype, pl.Decimal) else 0


def _close_rejects(store: RunStore, run: Run) -> None:
    """Mark the dead letters that a replay has published, or those that a run has made void."""
    if run.parent is not None and run.ledger is not None:
        store.close_rejects(run.parent, run.ledger.get("replayed", []), "replayed", run.id)
    else:
        supersede(store, run)


def _see_replayable(store: RunStore, run: Run, pipeline: Pipeline) -> None:
    if run.status != "published":
        raise ConfigurationError(
            f"run {run.id} is {run.status} and published nothing: its rejects come again when the pipeline is run again"
        )
    for given_up in store.abandoned(pipeline.name):
        visible = [one["output"] for one in given_up.decision or [] if is_published(one, given_up.id)]
        if given_up.parent == run.id and visible:
            raise ConfigurationError(
                f"replay {given_up.id} of these rejects was given up when output {visible[0]} had its rows already, "
                "which would then be there twice; discard the rejects, or publish everything anew"
            )
    sources = {letter.source for letter in store.dead_letters(run.id, state="open")}
    for later in published_since(store, run):
        for changed in sources.intersection((later.ledger or {}).get("changed_files", ())):
            raise ConfigurationError(
                f"run {later.id} has published {changed} as it was changed since; rejects of its earlier state would "
                f"replace what is there: discard them, and replay those of {later.id}"
            )
        incremental = (later.ledger or {}).get("incremental", {})
        if pipeline.replaces or incremental.get("full"):
            raise ConfigurationError(
                f"run {later.id} has replaced what run {run.id} published; replay the rejects of {later.id}"
            )
        for name, output in pipeline.outputs.items():
            if isinstance(output, GroupBy) and output.to.mode == "upsert":
                raise ConfigurationError(
                    f"run {later.id} may have replaced groups of run {run.id} in output {name}, to which its rejects "
                    f"would be added; replay the rejects of {later.id}, or run {run.id}'s input again by --force"
                )
    if not sources:
        missing = NotFoundError("open reject in run", run.id)
        for letter in store.dead_letters(run.id, state="superseded", limit=1):
            missing.add_note(f"They are superseded: {letter.closed_by}.")
        raise missing


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    parent = folder.parent
    if parent.name == STAGING and parent.is_dir() and not any(parent.iterdir()):
        parent.rmdir()
