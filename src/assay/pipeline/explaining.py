"""How one published record came about: read again from its source, taken through the steps, priced by the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import ConfigurationError, NotFoundError
from assay.pipeline.context import visible
from assay.pipeline.definition import Pipeline
from assay.pipeline.documents import document_column
from assay.pipeline.plan import Plan, make_plan
from assay.pipeline.publishing import Publication
from assay.pipeline.steps import BoundDocumentPrice, BoundPrice, RowStep, WholeStep
from assay.pipeline.steps.blame import blamed
from assay.pricing import Receipt
from assay.runs import Run
from assay.settings import Settings

_AMOUNTS = ("base", "discount", "net", "tax", "gross", "payable")


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
        published: By output: the rows with this key that are published now.
        notes: What is not as it was in the run.
        differences: Amounts that do not agree: the reference, the compiled book, what is published.
    """

    run: str
    key: dict[str, Any]
    place: dict[str, Any]
    record: dict[str, Any]
    steps: list[tuple[str, list[dict[str, Any]]]]
    prices: list[Priced]
    published: dict[str, list[dict[str, Any]]]
    notes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether all that was computed again agrees with itself and with what is published."""
        return not self.differences


def explain(pipeline: Pipeline, run: Run, key: str, settings: Settings) -> Explanation:
    """Explain one record of a run.

    Args:
        pipeline: The run's pipeline, as it is today.
        run: The run.
        key: The values of the source's key, in its order, with "/" between.
        settings: The project's.

    Raises:
        NotFoundError: No accepted record of the run's sources has this key.
        SourceError: A source is not there any more.
        ConfigurationError: The source has no key, or the key has another number of parts.
    """
    names = list(pipeline.source.key)
    if not names:
        raise ConfigurationError("the source has no key, so that no record can be named: give Source(key=...)")
    values = key.split("/", len(names) - 1) if len(names) > 1 else [key]
    if len(values) != len(names):
        raise ConfigurationError(f'the key is {"/".join(names)}, of {len(names)} parts, and "{key}" has {len(values)}')
    ledger = run.ledger or {}
    files = [file["name"] for file in ledger.get("files", [])]
    plan = make_plan(pipeline, params=run.definition.get("params", {}), settings=settings, source=files or None)
    plan.open()
    wanted = pl.all_horizontal(pl.col(name).cast(pl.String) == value for name, value in zip(names, values, strict=True))
    found = _rows(plan, wanted)
    if not found.height:
        missing = NotFoundError("accepted record", key)
        missing.add_note(f"it may have been rejected (and mended and replayed since): assay rejects list {run.id}")
        raise missing
    first = found.row(0, named=True)
    rows, steps, prices = _through(plan, found, wanted)
    published = _published(plan, run, names, wanted)
    explanation = Explanation(
        run.id,
        {name: first[name] for name in names},
        {name.removeprefix("_"): first[name] for name in ("_source", "_record", "_line", "_offset")},
        {name: first[name] for name in visible(plan.reader.schema).names()},
        steps,
        prices,
        published,
        list(_notes(plan, run, rows)),
    )
    explanation.differences.extend(_differences(explanation))
    return explanation


def _rows(plan: Plan, wanted: pl.Expr) -> pl.DataFrame:
    reader = replace(plan.reader, traced=True)
    document = plan.pipeline.source.reject_with
    found = []
    for batch in reader.batches(plan.files()):
        frame = batch.frame.filter(wanted)
        if frame.height:
            found.append(frame if document is None else frame.with_columns(document_column(document)))
    return pl.concat(found) if found else pl.DataFrame()


def _through(
    plan: Plan, found: pl.DataFrame, wanted: pl.Expr
) -> tuple[pl.DataFrame, list[tuple[str, list[dict[str, Any]]]], list[Priced]]:
    """Take the rows (and those of their documents, where a book wants them) through the steps."""
    rows = _with_documents(plan, found)
    key = found.row(0, named=True)
    mine = pl.all_horizontal(pl.col(name) == key[name] for name in ("_source", "_record"))
    rows = rows.select(plan.input_schema.names())
    steps: list[tuple[str, list[dict[str, Any]]]] = []
    prices: list[Priced] = []
    for step in plan.steps:
        before = rows
        if isinstance(step, WholeStep):
            with blamed(step):
                rows = step.apply_whole(rows.lazy()).rows.collect()
        elif isinstance(step, RowStep):
            with blamed(step):
                rows = step.apply(rows).rows
        if isinstance(step, BoundPrice | BoundDocumentPrice):
            prices += _priced(step, before, rows, mine)
        steps.append((step.name, _made(before.filter(mine), rows.filter(mine))))
        if not rows.filter(mine).height:
            break
    return rows.filter(mine), steps, prices


def _with_documents(plan: Plan, found: pl.DataFrame) -> pl.DataFrame:
    wanting = [step for step in plan.steps if isinstance(step, BoundDocumentPrice)]
    if not wanting:
        return found
    column = wanting[0].document
    if column not in plan.input_schema:
        raise ConfigurationError(
            f"{column}, which names the document, is made by a step: a record cannot be explained without all others"
        )
    return _rows(plan, pl.col(column).is_in(found[column].implode()))


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


def _published(plan: Plan, run: Run, names: list[str], wanted: pl.Expr) -> dict[str, list[dict[str, Any]]]:
    if run.status != "published":
        return {}
    output = run.definition.get("output")
    folder = Path(output) if output else plan.settings.output
    root = (folder or plan.settings.project).resolve()
    targets = Publication(plan, output=folder, root=root, staging=root / "explain", amends=False)
    found = {}
    for name, stored in targets.published():
        if set(names) <= set(stored.collect_schema()):
            found[name] = stored.filter(wanted).collect().to_dicts()
    return found


def _notes(plan: Plan, run: Run, rows: pl.DataFrame) -> Iterator[str]:
    if run.definition.get("fingerprint") != plan.fingerprint:
        yield "the pipeline, a price book or a lookup has changed since this run: what follows is by today's"
    now = {file.name: file for file in plan.files()}
    for file in (run.ledger or {}).get("files", []):
        name, size = file["name"], file.get("size")
        path = now[name].path if name in now else None
        if size and path is not None and path.stat().st_size != size:
            yield f"{name} has changed since the run: its size was {size:,} bytes and is {path.stat().st_size:,}"
    if run.status != "published":
        yield f"the run is {run.status}: it has published nothing"
    if not rows.height:
        yield (
            "the record was filtered or rejected by the last step shown; if it has been mended and replayed, what "
            f"is published of it came of its mended bytes, which are not read here: assay rejects list {run.id}"
        )


def _differences(explanation: Explanation) -> Iterator[str]:
    for priced in explanation.prices:
        for name, amount in priced.computed.items():
            if getattr(priced.receipt, name) != amount:
                yield f"{name}: {amount} by the compiled book, {getattr(priced.receipt, name)} by the reference"
    if not explanation.prices:
        return
    last = explanation.prices[-len([p for p in explanation.prices if p.step == explanation.prices[-1].step]) :]
    for output, rows in explanation.published.items():
        if len(rows) != len(last):
            continue
        for row, priced in zip(rows, last, strict=True):
            for name in _AMOUNTS:
                if name in row and row[name] != getattr(priced.receipt, name):
                    yield f"{name}: {row[name]} is published in {output}, {getattr(priced.receipt, name)} computed"
