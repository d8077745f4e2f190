"""How one published record came about: read again from its source, taken through the steps, priced by the reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import ConfigurationError, NotFoundError, SourceError
from assay.pipeline.booked import OpenBooked
from assay.pipeline.context import instant_text, visible
from assay.pipeline.definition import Pipeline
from assay.pipeline.entries import held, standing
from assay.pipeline.execution import open_store
from assay.pipeline.plan import Plan, make_plan
from assay.pipeline.publishing import Publication
from assay.pipeline.retracing import Traced, find, through
from assay.pipeline.steps import BoundDocumentPrice, BoundPrice
from assay.pricing import Receipt
from assay.runs import DeadLetter, Run, RunStore
from assay.settings import Settings

_AMOUNTS = ("base", "discount", "net", "tax", "gross", "payable", "price_id")


@dataclass(frozen=True)
class Priced:
    """What a pricing step says of one row.

    Attributes:
        step: The step's name in the pipeline.
        receipt: By the reference.
        computed: The amounts as the compiled book computes them today.
        document: Number of lines that were priced together with it, where the book concerns documents; else None.
    """

    step: str
    receipt: Receipt
    computed: dict[str, Any]
    document: int | None


@dataclass(frozen=True)
class Explanation:
    """How one record came to what was published of it.

    Attributes:
        run: The run's id.
        key: The record's key, column by column.
        place: File, record, line and byte offset.
        record: The record as validated.
        steps: What each step has made of it: the step's name and the columns it added or changed, row by row.
        prices: What the pricing steps say, a row each.
        published: By output: the rows with this key that are published now; of a ledger, those not reversed.
        booked: By output that is a ledger: all entries of this key, in the order in which they were booked.
        notes: What is not as it was in the run.
        differences: Amounts that do not agree: the reference, the compiled book, what is published.
        agreed: What the prices were held against, in words, and is the same.
    """

    run: str
    key: dict[str, Any]
    place: dict[str, Any]
    record: dict[str, Any]
    steps: list[tuple[str, list[dict[str, Any]]]]
    prices: list[Priced]
    published: dict[str, list[dict[str, Any]]]
    booked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    agreed: list[str] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether all that was computed again agrees with itself and with what is published."""
        return not self.differences


@dataclass(frozen=True)
class _LookedFor:
    """A record by its key: as it was given, the key's columns, whether a row has it; and what is known."""

    key: str
    names: list[str]
    wanted: pl.Expr
    known_at: str | None


def explain(
    pipeline: Pipeline, run: Run | None, key: str, settings: Settings, *, known_at: str | None = None
) -> Explanation:
    """Explain one record of a run.

    Args:
        pipeline: The run's pipeline, as it is today.
        run: The run; None looks for the record in all that have published, the last first.
        key: The values of the source's key, in its order, with "/" between.
        settings: The project's.
        known_at: As far as prices and rates were known then; by default as the run was told.

    Raises:
        NotFoundError: No accepted record of the run's sources, or of any run's, has this key.
        SourceError: A source is not there any more.
        ConfigurationError: The source has no key, or the key has another number of parts.
    """
    names = list(pipeline.source.key)
    if not names:
        raise ConfigurationError("the source has no key, so that no record can be named: give Source(key=...)")
    values = key.split("/", len(names) - 1) if len(names) > 1 else [key]
    if len(values) != len(names):
        raise ConfigurationError(f'the key is {"/".join(names)}, of {len(names)} parts, and "{key}" has {len(values)}')
    wanted = pl.all_horizontal(pl.col(name).cast(pl.String) == value for name, value in zip(names, values, strict=True))
    looked_for = _LookedFor(key, names, wanted, instant_text(known_at))
    with open_store(settings) as store:
        if run is None:
            return _looked_back(pipeline, store, settings, looked_for)
        found = _explained_of(pipeline, run, store, settings, looked_for)
    if found is not None:
        return found[0]
    missing = NotFoundError(f"accepted record with {'/'.join(names)}", key)
    missing.add_note(f"looked at: run {run.id} and what it has read")
    missing.add_note(f"it may have been rejected, and not be mended yet: assay rejects list {run.parent or run.id}")
    raise missing


def _explained_of(
    pipeline: Pipeline, run: Run, store: RunStore, settings: Settings, looked_for: _LookedFor
) -> tuple[Explanation, bool] | None:
    """The record in one run, and whether that run, or a replay of its rejects, has taken it on."""
    base = run if run.parent is None else store.get(run.parent)
    params = run.definition.get("params", {})
    known_at = looked_for.known_at or run.definition.get("known_at")
    plan = make_plan(pipeline, params=params, settings=settings, source=_files(base) or None, known_at=known_at)
    with closing(plan):
        plan.open()
        traced = find(plan, store, run, looked_for.wanted)
        if traced is None:
            return None
        explained = _explained(plan, store, run, traced, looked_for)
        return explained, traced.letter is None or traced.letter.state == "replayed"


def _looked_back(pipeline: Pipeline, store: RunStore, settings: Settings, looked_for: _LookedFor) -> Explanation:
    """The record in the last published run that took it on, else in the last that rejected it.

    Runs that published elsewhere (`--output`) are looked at after all others.
    """
    later: dict[str | None, str] = {}
    count = 0
    unread: list[str] = []
    rejected: Explanation | None = None
    looked: set[tuple[str, ...]] = set()
    at_home = (run for run in store.published(pipeline.name) if run.definition["output"] is None)
    elsewhere = (run for run in store.published(pipeline.name) if run.definition["output"] is not None)
    for run in chain(at_home, elsewhere):
        count += 1
        output = run.definition["output"]
        files = tuple(_files(run))
        # Read again, the same files say the same; only what was mended is a run's own.
        if files not in looked or store.count_rejects(run.id).get("replayed"):
            try:
                found = _explained_of(pipeline, run, store, settings, looked_for)
            except SourceError as error:
                unread.append(f"run {run.id} could not be looked at: {error}")
                found = None
            if found is not None and found[1]:
                explanation = found[0]
                explanation.notes.extend(unread)
                if output is not None:
                    explanation.notes.append(f"run {run.id} published to {output}")
                if output in later and pipeline.replaces:
                    explanation.notes.append(f"run {later[output]} has replaced what run {run.id} published")
                return explanation
            rejected = rejected or (found[0] if found is not None else None)
        looked.add(files)
        later.setdefault(output, run.id)
    if rejected is not None:
        rejected.notes.extend(unread)
        return rejected
    missing = NotFoundError(f"accepted record with {'/'.join(looked_for.names)}", looked_for.key)
    missing.add_note(f"looked at: the {count:,} published runs of {pipeline.name}, and what they have read")
    for note in unread:
        missing.add_note(note)
    missing.add_note(f"it may have been rejected, and not be mended yet: assay rejects list {pipeline.name}")
    raise missing


def _files(run: Run) -> list[str]:
    return [file["name"] for file in (run.ledger or {}).get("files", [])]


def _explained(plan: Plan, store: RunStore, run: Run, traced: Traced, looked_for: _LookedFor) -> Explanation:
    first = traced.found.row(0, named=True)
    steps: list[tuple[str, list[dict[str, Any]]]] = []
    prices: list[Priced] = []
    for stage in through(plan, traced):
        if isinstance(stage.step, BoundPrice | BoundDocumentPrice):
            prices += _priced(stage.step, stage.before, stage.after, traced.mine)
        steps.append((stage.step.name, _made(stage.before.filter(traced.mine), stage.after.filter(traced.mine))))
    published, booked = _published(plan, traced.by, looked_for)
    explanation = Explanation(
        run.id,
        {name: first[name] for name in looked_for.names},
        {name.removeprefix("_"): first[name] for name in ("_source", "_record", "_line", "_offset")},
        {name: first[name] for name in visible(plan.reader.schema).names()},
        steps,
        prices,
        published,
        booked,
        list(_notes(plan, traced, ended=bool(steps) and not steps[-1][1])),
    )
    _compare(explanation, plan, store, traced.by)
    return explanation


def _priced(
    step: BoundPrice | BoundDocumentPrice, before: pl.DataFrame, after: pl.DataFrame, mine: pl.Expr
) -> Iterator[Priced]:
    kept = before.join(after, on=["_source", "_record"], how="semi", maintain_order="left")
    if isinstance(step, BoundDocumentPrice):
        document = step.document
        for value in kept.filter(mine)[document].unique(maintain_order=True):
            lines = kept.filter(pl.col(document) == value)
            receipts = step.quote(lines).receipts
            for index in lines.select(mine.arg_true()).to_series():
                shown = after.filter(pl.col(document) == value).row(index, named=True)
                yield Priced(step.name, receipts[index], _amounts(shown), lines.height)
        return
    for line, shown in zip(kept.filter(mine).iter_slices(1), after.filter(mine).iter_rows(named=True), strict=True):
        yield Priced(step.name, step.quote(line).receipts[0], _amounts(shown), None)


def _amounts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _AMOUNTS if name in row}


def _made(before: pl.DataFrame, after: pl.DataFrame) -> list[dict[str, Any]]:
    """The columns that a step has added, or changed."""
    names = [
        name
        for name in visible(after.schema)
        if name not in before.columns or not (before.height == after.height and before[name].equals(after[name]))
    ]
    return after.select(names).to_dicts() if names else [{} for _ in range(after.height)]


_Rows = dict[str, list[dict[str, Any]]]


def _published(plan: Plan, run: Run, looked_for: _LookedFor) -> tuple[_Rows, _Rows]:
    """What is published of the record now, by output; and of those that are ledgers, all entries."""
    if run.status != "published":
        return {}, {}
    output = run.definition.get("output")
    folder = Path(output) if output else plan.settings.output
    root = (folder or plan.settings.project).resolve()
    targets = Publication(plan, output=folder, root=root, staging=root / "explain", reads=True)
    found: _Rows = {}
    booked: _Rows = {}
    for name, stored in targets.published():
        if not set(looked_for.names) <= set(stored.collect_schema()):
            continue
        rows = stored.filter(looked_for.wanted)
        output = plan.outputs[name]
        if isinstance(output, OpenBooked):
            booked[name] = rows.sort(*output.key, "entry_number").collect().to_dicts()
            found[name] = standing(booked[name])
        else:
            found[name] = rows.collect().to_dicts()
    return found, booked


def _notes(plan: Plan, traced: Traced, *, ended: bool) -> Iterator[str]:
    run, letter = traced.by, traced.letter
    if letter is not None:
        yield _fate(letter)
    if run.definition.get("fingerprint") != plan.fingerprint:
        yield "the pipeline, a price book or a lookup has changed since this run: what follows is by today's"
    if letter is None or letter.state != "replayed":
        now = {file.name: file for file in plan.files()}
        for file in (run.ledger or {}).get("files", []):
            name, size = file["name"], file.get("size")
            path = now[name].path if name in now else None
            if size and path is not None and path.stat().st_size != size:
                yield f"{name} has changed since the run: its size was {size:,} bytes and is {path.stat().st_size:,}"
    if run.status != "published":
        yield f"the run is {run.status}: it has published nothing"
    if ended:
        yield "the record was filtered or rejected by the last step shown: nothing is published of it"


def _fate(letter: DeadLetter) -> str:
    """What has become of a record that the run rejected."""
    seen = f"assay rejects show {letter.run} {letter.number}"
    if letter.state == "replayed":
        how = "as it was" if letter.edited is None else "as it was mended"
        return f"run {letter.run} rejected the record, and run {letter.closed_by} replayed it {how}: {seen}"
    first = letter.errors[0]
    done = f", and it was discarded: {letter.closed_by}" if letter.state == "discarded" else ""
    return f"run {letter.run} rejected the record ({first['type']}: {first['msg']}){done}: {seen}"


def _compare(explanation: Explanation, plan: Plan, store: RunStore, run: Run) -> None:
    """Note what differs, of what is published and of what the run has published."""
    for priced in explanation.prices:
        for name, amount in priced.computed.items():
            if getattr(priced.receipt, name) != amount:
                explanation.differences.append(
                    f"{name}: {amount} by the compiled book, {getattr(priced.receipt, name)} by the reference"
                )
    later = {one.id for one in store.published_since(run, replays=True)} if explanation.booked else set()
    prices = [one for one in explanation.prices if one.step == explanation.prices[-1].step]
    for name, rows in explanation.published.items():
        output = plan.outputs[name]
        before = held(explanation.booked[name], output.key, later) if isinstance(output, OpenBooked) else rows
        now = list(_differences(rows, prices, f"is published in {name}"))
        if before == rows:
            explanation.differences.extend(now)
            explanation.agreed.extend([f"what is published in {name}"] if rows and not now else [])
            continue
        explanation.notes.append(f"what run {run.id} published in {name} was corrected since: see its entries")
        then = list(_differences(before, prices, f"was published in {name} by run {run.id}"))
        if not then:
            explanation.agreed.extend([f"what run {run.id} published in {name}"] if before else [])
        elif not now and rows:
            explanation.agreed.append(f"what is booked now in {name}")
            explanation.notes.append("the price is by what is known now; --known-at INSTANT prices it as known before")
        else:
            explanation.differences.extend(then)


def _differences(rows: list[dict[str, Any]], prices: list[Priced], where: str) -> Iterator[str]:
    """Amounts in rows of an output that are not those of the prices, where there is a row for each."""
    if len(rows) != len(prices):
        return
    for row, priced in zip(rows, prices, strict=True):
        for name in _AMOUNTS:
            if name in row and row[name] != getattr(priced.receipt, name):
                yield f"{name}: {row[name]} {where}, {getattr(priced.receipt, name)} computed"
