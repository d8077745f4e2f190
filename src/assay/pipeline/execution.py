"""Running a pipeline: read, judge, steps, ledger, decision, publish."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import filelock
import polars as pl

from assay.errors import AssayError, ConfigurationError, NotFoundError
from assay.pipeline.budget import Budget
from assay.pipeline.context import DOCUMENT, IDENTITY
from assay.pipeline.definition import Pipeline
from assay.pipeline.documents import DocumentFinder, document_column
from assay.pipeline.feed import Feed, FileFeed, ReplayFeed
from assay.pipeline.plan import Plan, make_plan
from assay.pipeline.result import Result, result_of
from assay.pipeline.spool import Spool
from assay.pipeline.steps import REJECTED, Outcome, RowStep, WholeStep
from assay.reading import ProcessorFactory, SourceLike
from assay.records import REJECTS, FileCount, worded
from assay.runs import Ledger, Money, Run, RunStore, environment, write_manifest
from assay.settings import Settings
from assay.sinks import OpenSink, Staged, publish

#: Called with the stage, and bytes, records and rejects so far.
Progress = Callable[[str, int, int, int], None]
STAGING: Final = ".assay-staging"


def run(
    pipeline: Pipeline,
    *,
    params: Mapping[str, Any],
    source: SourceLike | None,
    output: Path | None,
    limit: int | None,
    max_rejects: int | str | None,
    dry_run: bool,
    settings: Settings | None,
    progress: Progress | None,
) -> Result:
    """Run a pipeline; see `Pipeline.run`."""
    settings = settings or Settings.load()
    budget = Budget.parse(max_rejects)
    plan = make_plan(pipeline, params=params, settings=settings, source=source)
    with _store(settings) as store, _only_run(pipeline.name, settings):
        recover(store, pipeline.name)
        files = plan.files()
        plan.open()
        execution = Execution(plan, store, output=output, budget=budget, dry_run=dry_run, progress=progress)
        return execution.run(lambda staging: FileFeed(plan.reader, files, staging, limit))


def replay(
    pipeline: Pipeline,
    run_name: str,
    *,
    params: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Result:
    """Read the open dead letters of a run again, as edited, by today's pipeline; publish those that now pass.

    Rows are added to what that run published and aggregates merged into it; what passes is marked as replayed.

    Raises:
        NotFoundError: no such run.
        ConfigurationError: the run published nothing, or a later run has replaced what it published.
    """
    settings = settings or Settings.load()
    with _store(settings) as store, _only_run(pipeline.name, settings):
        recover(store, pipeline.name)
        original = store.get(run_name, pipeline.name)
        _see_replayable(store, original, pipeline)
        given = params if params is not None else original.definition.get("params", {})
        plan = make_plan(pipeline, params=given, settings=settings, source=b"")
        for step in plan.steps:
            step.open()
        root = original.definition["output"]
        execution = Execution(
            plan,
            store,
            output=Path(root) if root else None,
            budget=Budget(),
            dry_run=False,
            progress=progress,
            replayed=original,
        )
        return execution.run(
            lambda _staging: ReplayFeed(plan.reader, lambda: store.dead_letters(original.id, state="open"))
        )


def recover(store: RunStore, pipeline: str) -> list[Run]:
    """Finish or undo what runs that died have left. Call it under the pipeline's lock.

    A run that had decided to publish goes forward; any other is undone.
    """
    found = store.runs(limit=1000, pipeline=pipeline, status="running")
    for run in found:
        if run.decision is not None:
            _publish(run.id, run.decision)
            _close_replayed(store, run)
            store.finish(run.id, "published", outputs=_outputs(run.decision))
        else:
            store.finish(
                run.id,
                "interrupted",
                error={"type": "Interrupted", "message": "the process ended; nothing was published"},
            )
        _clear(Path(run.definition["staging"]))
    return found


@contextmanager
def _store(settings: Settings) -> Iterator[RunStore]:
    store = RunStore(settings.run_store_url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _only_run(pipeline: str, settings: Settings) -> Iterator[None]:
    """Only one run of a pipeline at a time; the lock goes with the process, however it ends."""
    folder = settings.work / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{pipeline}.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ConfigurationError(
            f"another run of {pipeline} is under way; wait for it to end (assay runs shows it)"
        ) from None
    try:
        yield
    finally:
        lock.release()


class Execution:
    """One run of a plan."""

    def __init__(
        self,
        plan: Plan,
        store: RunStore,
        *,
        output: Path | None,
        budget: Budget,
        dry_run: bool,
        progress: Progress | None,
        replayed: Run | None = None,
    ) -> None:
        self._plan = plan
        self._store = store
        self._budget = budget
        self._dry_run = dry_run
        self._progress = progress
        self._replayed = replayed
        self._output = output or plan.settings.output
        self._ledger = Ledger()
        self._reasons: Counter[str] = Counter()
        self._times: Counter[str] = Counter()
        self._fans_out = False
        self._number = 1
        self._bytes = 0
        self._again: set[tuple[str, int]] = set()
        self._rejected: list[pl.DataFrame] = []
        self._documents: dict[str, str] = {}
        self._unknown_documents = 0
        self._started = time.monotonic()
        source = plan.pipeline.source
        self._finder = DocumentFinder(source.model, source.reject_with) if source.reject_with else None

    def run(self, feed_for: Callable[[Path], Feed]) -> Result:
        """Run to the end, whatever it is."""
        root = (self._output or self._plan.settings.project).resolve()
        self._id = self._store.start(
            self._plan.pipeline.name,
            self._definition(root),
            self._replayed.id if self._replayed else None,
        )
        self._staging = root / STAGING / self._id
        self._update_staging()
        try:
            self._staging.mkdir(parents=True)
            self._feed = feed_for(self._staging)
            self._targets = self._open_targets(root)
            rows = self._process()
            outputs = self._finish(rows)
        except AssayError as error:
            return self._failed("failed", {"type": type(error).__name__, "message": str(error)})
        except (KeyboardInterrupt, SystemExit):
            self._failed("interrupted", {"type": "Interrupted", "message": "interrupted; nothing was published"})
            raise
        except Exception as error:
            self._failed("failed", {"type": type(error).__name__, "message": str(error)})
            raise
        finally:
            _clear(self._staging)
        return outputs

    def _definition(self, root: Path) -> dict[str, Any]:
        plan = self._plan
        params = plan.context.params
        fingerprints = [plan.pipeline.fingerprint(), *(step.fingerprint for step in plan.steps)]
        return {
            "params": params.model_dump(mode="json") if params is not None else {},
            "fingerprint": hashlib.sha256(" ".join(fingerprints).encode()).hexdigest(),
            "output": str(self._output.resolve()) if self._output else None,
            "staging": "",
        }

    def _update_staging(self) -> None:
        definition = self._store.get(self._id).definition | {"staging": str(self._staging)}
        self._store.redefine(self._id, definition)

    def _open_targets(self, root: Path) -> dict[str, OpenSink]:
        targets = {}
        for name, output in self._plan.pipeline.outputs.items():
            sink = output.to.under(self._output.resolve()) if self._output else output.to
            target = sink.open(root, self._staging / name, name, default=f"{self._plan.pipeline.name}.db")
            target.check(self._plan.outputs[name].schema)
            targets[name] = target
        return targets

    # Reading and steps ------------------------------------------------------------------------------------------

    def _process(self) -> Spool:
        """Run all steps; the rows that reach the end are in the spool."""
        frames = self._read()
        steps = list(self._plan.steps)
        schema = pl.Schema({})
        for index, step in enumerate(steps):
            if isinstance(step, WholeStep):
                frames = self._whole(step, frames, self._staging / f"step-{index}")
            elif isinstance(step, RowStep):
                frames = self._each(step, frames)
            schema = step.schema
        rows = Spool(self._staging / "rows", schema or self._read_schema)
        rows.write(frames)
        return rows

    @property
    def _read_schema(self) -> pl.Schema:
        names = dict(self._plan.reader.schema) | {name: REJECTED[name] for name in IDENTITY}
        return pl.Schema(names | ({DOCUMENT: pl.String()} if self._finder else {}))

    def _read(self) -> Iterator[pl.DataFrame]:
        columns = self._read_schema.names()
        formats = self._feed.formats()
        begun = time.perf_counter()
        for batch in self._feed.batches(self._on_bytes):
            known = self._ledger.files.get(batch.file.name)
            if known is not None and known is not batch.file:
                _add_counts(known, batch.file)
            else:
                self._ledger.files[batch.file.name] = batch.file
            self._keep_early(batch.rejects, formats)
            frame = batch.frame
            if self._finder and self._plan.pipeline.source.reject_with:
                frame = frame.with_columns(document_column(self._plan.pipeline.source.reject_with))
            self._times["read and validate"] += time.perf_counter() - begun
            self._report("validate")
            yield frame.select(columns)
            begun = time.perf_counter()

    def _keep_early(self, rejects: pl.DataFrame, formats: Mapping[str, str]) -> None:
        if not rejects.height:
            return
        if self._finder:
            source = rejects["source"][0]
            processor = ProcessorFactory.create(formats[source])
            for row, document in zip(
                rejects.iter_rows(named=True), self._finder.find(rejects["raw"], processor), strict=True
            ):
                if document is None:
                    self._unknown_documents += 1
                else:
                    self._documents.setdefault(document, _blame(row["source"], row["record"], row["errors"]))
        self._count_rejects(rejects)
        self._keep(rejects, formats)

    def _keep(self, rejects: pl.DataFrame, formats: Mapping[str, str]) -> None:
        """Dead letters go to the run store; a replay's are there already."""
        if self._replayed is None:
            self._store.add_rejects(self._id, rejects, formats, self._number)
        else:
            self._again.update(rejects.select("source", "record").iter_rows())
        self._number += rejects.height

    def _count_rejects(self, rejects: pl.DataFrame) -> None:
        self._ledger.rejected.update(rejects["stage"].to_list())
        self._reasons.update(errors[0]["type"] for errors in rejects["errors"].to_list())

    def _each(self, step: RowStep, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for frame in frames:
            if not frame.height:
                continue
            begun = time.perf_counter()
            before = self._records(frame)
            outcome = step.apply(frame)
            rows, rejected = self._take_rejected(outcome)
            self._fans_out = self._fans_out or (step.fans_out and self._has_doubles(rows))
            self._ledger.filtered[step.name] += before - self._records(rows) - rejected
            self._times[step.name] += time.perf_counter() - begun
            yield rows

    def _take_rejected(self, outcome: Outcome) -> tuple[pl.DataFrame, int]:
        """Note what a step rejected; all rows of such a record go."""
        rows, rejected = outcome.rows, outcome.rejected
        if rejected is None or not rejected.height:
            return rows, 0
        self._rejected.append(rejected)
        if self._fans_out:
            rows = rows.join(rejected, on=IDENTITY, how="anti", maintain_order="left")
        return rows, rejected.height

    def _records(self, frame: pl.DataFrame) -> int:
        """How many records the rows belong to."""
        return frame.select(pl.struct(IDENTITY).n_unique()).item() if self._fans_out and frame.height else frame.height

    @staticmethod
    def _has_doubles(frame: pl.DataFrame) -> bool:
        return bool(frame.height and frame.select(pl.struct(IDENTITY).n_unique()).item() != frame.height)

    def _whole(self, step: WholeStep, frames: Iterator[pl.DataFrame], folder: Path) -> Iterator[pl.DataFrame]:
        spool = Spool(folder, self._schema_before(step))
        spool.write(frames)
        begun = time.perf_counter()
        before = spool.scan().select(IDENTITY)
        outcome = step.apply_whole(spool.scan())
        made = Spool(folder / "made", step.schema)
        made.write(outcome.rows.collect_batches(maintain_order=True))
        after = made.scan().select(IDENTITY)
        strangers = _count(after.unique().join(before.unique(), on=IDENTITY, how="anti", nulls_equal=False))
        if strangers:
            raise ConfigurationError(
                f"makes rows of {strangers} records that did not come in; a row keeps _source and _record",
                where=f"step {step.name}",
            )
        records_before = _count(before.unique())
        records_after = _count(after.unique())
        rejected = 0
        if outcome.rejected is not None and outcome.rejected.height:
            self._rejected.append(outcome.rejected)
            rejected = outcome.rejected.height
        self._fans_out = self._fans_out or _count(after) != records_after
        self._ledger.filtered[step.name] += records_before - records_after - rejected
        self._times[step.name] += time.perf_counter() - begun
        yield from made

    def _schema_before(self, step: WholeStep) -> pl.Schema:
        index = self._plan.steps.index(step)
        return self._plan.steps[index - 1].schema if index else self._read_schema

    # The end ----------------------------------------------------------------------------------------------------

    def _finish(self, rows: Spool) -> Result:
        begun = time.perf_counter()
        late = self._stage(rows)
        self._keep_late(late)
        self._times["write"] += time.perf_counter() - begun
        self._report("write")
        counts = self._ledger.counts
        if self._budget.exceeded(counts["rejected"], counts["read"]):
            message = (
                f"{counts['rejected']:,} of {counts['read']:,} records were rejected, over the budget of "
                f"{self._budget}; nothing was published"
            )
            return self._failed("rejected", {"type": "OverBudget", "message": message})
        staged = {name: target.prepare(self._mode(name)) for name, target in self._targets.items()}
        self._ledger.check({name: int(one["rows"]) for name, one in staged.items()} if not self._replayed else {})
        if self._dry_run:
            return self._ended("published", staged, "not published (dry run)")
        self._store.decide(self._id, self._ledger_json(), list(staged.values()))
        _publish(self._id, list(staged.values()))
        if self._replayed is not None:
            _close_replayed(self._store, self._store.get(self._id))
        return self._ended("published", staged, None)

    def _stage(self, rows: Spool) -> pl.DataFrame:
        """Give the rows to the outputs, all but those of rejected records and documents; these are returned."""
        late = pl.concat([pl.DataFrame(schema=REJECTED), *self._rejected])
        gone = late.select(IDENTITY).unique()
        if self._finder:
            self._documents |= self._late_documents(rows, late)
        set_aside = [late]
        for frame in rows:
            alive = frame.join(gone, on=IDENTITY, how="anti", maintain_order="left") if gone.height else frame
            if self._documents:
                bad = pl.col(DOCUMENT).is_in(list(self._documents))
                siblings = alive.filter(bad)
                if siblings.height:
                    alive = alive.filter(~bad | bad.is_null())
                    set_aside.append(self._with_document(siblings))
                    self._add_money(siblings, aside=True)
            self._ledger.written += self._records(alive)
            self._add_money(alive)
            for name, output in self._plan.outputs.items():
                self._give(name, output.take(alive))
        for name, output in self._plan.outputs.items():
            self._give(name, output.rest())
        return pl.concat(set_aside)

    def _give(self, name: str, frame: pl.DataFrame | None) -> None:
        if frame is None:
            return
        self._ledger.rows[name] += frame.height
        target = self._targets[name]
        if self._replayed is not None and target.mode in ("replace", "merge"):
            stored = target.read()
            amends = target.mode == "merge" or _is_grouped(self._plan, name)
            if amends and stored is not None:
                frame = self._plan.outputs[name].amend(stored.collect(), frame)
        elif target.mode == "merge":
            stored = target.read()
            if stored is not None:
                frame = self._plan.outputs[name].amend(stored.collect(), frame)
        target.stage(frame)

    def _mode(self, name: str) -> str:
        """How an output is published: a replay adds rows to what its run has replaced."""
        mode: str = self._targets[name].mode
        if mode == "merge":
            return "replace"
        if self._replayed is not None and mode == "replace" and not _is_grouped(self._plan, name):
            return "append"
        return mode

    def _late_documents(self, rows: Spool, late: pl.DataFrame) -> dict[str, str]:
        """The documents of records that steps have rejected."""
        if not late.height:
            return {}
        wanted = {(row[0], row[1]): row[3] for row in late.iter_rows()}
        column = self._plan.pipeline.source.reject_with or ""
        found: dict[str, str] = {}
        for source in late["_source"].unique():
            numbers = set(late.filter(pl.col("_source") == source)["_record"])
            processor = ProcessorFactory.create(self._feed.formats()[source])
            raws = [raw for raw in self._feed.raw_records(source) if raw.record in numbers]
            finder = DocumentFinder(self._plan.pipeline.source.model, column)
            for raw, document in zip(raws, finder.find((r.data for r in raws), processor), strict=True):
                if document is None:
                    self._unknown_documents += 1
                else:
                    found[document] = _blame(source, raw.record, wanted[source, raw.record])
        return found

    def _with_document(self, siblings: pl.DataFrame) -> pl.DataFrame:
        column = self._plan.pipeline.source.reject_with or ""
        rows = [
            (
                row["_source"],
                row["_record"],
                "document",
                [
                    worded(
                        (column,),
                        "document_rejected",
                        f"Its document is rejected: {self._documents[row[DOCUMENT]]}",
                        row[DOCUMENT],
                    )
                ],
            )
            for row in siblings.select(*IDENTITY, DOCUMENT).unique(IDENTITY, maintain_order=True).iter_rows(named=True)
        ]
        return pl.DataFrame(rows, schema=REJECTED, orient="row")

    def _keep_late(self, late: pl.DataFrame) -> None:
        """Find the raw bytes of what was rejected after reading, and keep them."""
        late = late.unique(IDENTITY, keep="first", maintain_order=True)
        formats = self._feed.formats()
        for (source,), group in late.group_by("_source", maintain_order=True):
            wanted = {row[1]: (row[2], row[3]) for row in group.iter_rows()}
            rows = []
            for raw in self._feed.raw_records(str(source)):
                if raw.record in wanted:
                    stage, errors = wanted.pop(raw.record)
                    rows.append((source, raw.record, raw.line, raw.offset, stage, errors, raw.data))
                    if not wanted:
                        break
            rejects = pl.DataFrame(rows, schema=REJECTS, orient="row")
            self._count_rejects(rejects)
            self._keep(rejects, formats)

    def _add_money(self, rows: pl.DataFrame, *, aside: bool = False) -> None:
        names = self._plan.money
        if names is None or not rows.height:
            return
        sums = rows.group_by(pl.col(names.currency).cast(pl.String).alias("currency")).agg(
            list=_total(names.list or names.net),
            net=_total(names.net),
            tax=_total(names.tax),
            gross=_total(names.gross),
        )
        for row in sums.iter_rows(named=True):
            money = self._ledger.money.setdefault(row["currency"] or "", Money())
            if aside:
                money.set_aside += row["gross"]
                continue
            money.list += row["list"]
            money.discounts += row["list"] - row["net"]
            money.net += row["net"]
            money.tax += row["tax"]
            money.gross += row["gross"]

    def _ledger_json(self) -> dict[str, Any]:
        made = self._ledger.as_json()
        made["reasons"] = dict(self._reasons.most_common())
        made["seconds"] = {name: round(seconds, 3) for name, seconds in self._times.items()}
        if self._replayed is not None:
            letters = self._store.dead_letters(self._replayed.id, state="open")
            made["replayed"] = [d.number for d in letters if (d.source, d.record) not in self._again]
        if self._unknown_documents:
            made["unknown_documents"] = self._unknown_documents
        return made

    def _ended(self, status: Any, staged: Mapping[str, Staged], note: str | None) -> Result:
        outputs = _outputs(list(staged.values()))
        if note:
            outputs = {name: output | {"note": note} for name, output in outputs.items()}
        seconds = time.monotonic() - self._started
        ledger = self._store.get(self._id).ledger or self._ledger_json()
        self._store.finish(self._id, status, seconds=seconds, ledger=ledger, outputs=outputs)
        if self._dry_run:
            self._store.finish(
                self._id, "interrupted", error={"type": "DryRun", "message": "dry run; nothing was published"}
            )
        result = result_of(self._store.get(self._id), self._plan.settings.run_store_url, dry_run=self._dry_run)
        self._write_manifest(result, list(staged.values()))
        return result

    def _failed(self, status: Any, error: dict[str, Any]) -> Result:
        seconds = time.monotonic() - self._started
        self._store.finish(self._id, status, seconds=seconds, ledger=self._ledger_json(), error=error)
        result = result_of(self._store.get(self._id), self._plan.settings.run_store_url)
        self._write_manifest(result, [])
        return result

    def _write_manifest(self, result: Result, staged: list[Staged]) -> None:
        content = result.as_json() | {
            "definition": self._store.get(self._id).definition,
            "ledger": result.ledger,
            "published": staged,
            "environment": environment(),
        }
        write_manifest(self._plan.settings.work / "runs" / self._id, content)

    def _on_bytes(self, count: int) -> None:
        self._bytes += count

    def _report(self, stage: str) -> None:
        if self._progress:
            self._progress(stage, self._bytes, self._ledger.read, self._ledger.rejected.total())


def _is_grouped(plan: Plan, name: str) -> bool:
    return type(plan.pipeline.outputs[name]).__name__ == "GroupBy"


def _total(column: str) -> pl.Expr:
    # A sum keeps the scale of its column and cannot overflow before 38 digits.
    return pl.col(column).sum()


def _publish(run: str, decision: Iterable[Staged]) -> None:
    for staged in decision:
        publish(staged, run)


def _outputs(decision: Iterable[Staged]) -> dict[str, Any]:
    return {one["output"]: {"rows": one["rows"], "mode": one["mode"], "target": one["target"]} for one in decision}


def _close_replayed(store: RunStore, run: Run) -> None:
    """Mark the dead letters that a replay has published."""
    if run.parent is None or run.ledger is None:
        return
    passed = run.ledger.get("replayed", [])
    store.close_rejects(run.parent, passed, "replayed", run.id)


def _see_replayable(store: RunStore, run: Run, pipeline: Pipeline) -> None:
    if run.status != "published":
        raise ConfigurationError(
            f"run {run.id} is {run.status} and published nothing: its rejects come again when the pipeline is run again"
        )
    if not store.count_rejects(run.id).get("open"):
        raise NotFoundError("open reject in run", run.id)
    later = [r for r in store.runs(limit=1000, pipeline=pipeline.name, status="published") if r.parent is None]
    replaces = any(output.to.mode == "replace" for output in pipeline.outputs.values())
    if replaces and later and later[0].id != run.id:
        raise ConfigurationError(
            f"run {later[0].id} has replaced what run {run.id} published; replay the rejects of {later[0].id}"
        )


def _blame(source: str, record: int, errors: list[dict[str, str]]) -> str:
    first = errors[0]
    field = f"{first['loc']}: " if first["loc"] else ""
    return f"{source} record {record}: {field}{first['type']}"


def _add_counts(known: FileCount, more: FileCount) -> None:
    known.read, known.accepted, known.rejected = more.read, more.accepted, more.rejected


def _count(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    parent = folder.parent
    if parent.name == STAGING and parent.is_dir() and not any(parent.iterdir()):
        parent.rmdir()
