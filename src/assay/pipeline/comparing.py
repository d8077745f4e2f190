"""What another price book makes of a pipeline's records: they are read once, priced by both, and not published."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import ConfigurationError, unknown_name
from assay.lookups import Table
from assay.pipeline.context import DOCUMENT, IDENTITY, Context, instant_text, visible
from assay.pipeline.definition import Pipeline
from assay.pipeline.documents import DocumentFinder, blame
from assay.pipeline.feed import FileFeed, record_processor
from assay.pipeline.plan import Plan, make_plan
from assay.pipeline.processing import Processing
from assay.pipeline.progress import Progress, Report
from assay.pipeline.steps import BoundDocumentPrice, BoundPrice, Price
from assay.pipeline.steps.price import book_file, read_list
from assay.pricing import Difference, Inputs, PriceBook, PriceList
from assay.pricing.difference import Measure
from assay.pricing.moments import local_day_expr
from assay.reading import SourceLike
from assay.runs import Ledger
from assay.settings import Settings

_Bound = BoundPrice | BoundDocumentPrice


@dataclass(frozen=True)
class Compared:
    """What two books make of the records that reach a pricing step.

    Attributes:
        pipeline: Its name.
        step: The pricing step's name.
        before, after: What each book is called: its file, or its name.
        fingerprints: Of the two books.
        counts: Records "read", "filtered" and "rejected" before the pricing; rows "with_document" (of documents with a
            rejected record), "earlier" (before `since`) and "compared" (all that went to the books).
        difference: The difference.
        files: Names of the files that were read.
        prices: Price lists by their names, and the files that stood in for them under the second book.
        known_at: As far as prices and rates were known then, under the first book and under the second; None: today.
        notes: What should be known beside the figures.
    """

    pipeline: str
    step: str
    before: str
    after: str
    fingerprints: tuple[str, str]
    counts: Mapping[str, int]
    difference: Difference
    files: Sequence[str] = ()
    prices: Mapping[str, str] = field(default_factory=dict)
    known_at: tuple[str, str] | None = None
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; amounts are decimal strings."""
        return {
            "pipeline": self.pipeline,
            "step": self.step,
            "books": [
                {"book": book, "fingerprint": fingerprint}
                for book, fingerprint in zip((self.before, self.after), self.fingerprints, strict=True)
            ],
            "files": list(self.files),
            "prices": dict(self.prices),
            "known_at": None if self.known_at is None else list(self.known_at),
            "counts": dict(self.counts),
            "difference": self.difference.as_json(),
            "notes": list(self.notes),
        }


def compare(
    pipeline: Pipeline,
    books: Sequence[str | PriceBook],
    *,
    params: Mapping[str, Any] | None = None,
    source: SourceLike | None = None,
    limit: int | None = None,
    step: str | None = None,
    since: dt.date | None = None,
    date: str | None = None,
    known_at: tuple[dt.datetime, dt.datetime] | None = None,
    prices: Mapping[str, str] | None = None,
    by: Sequence[str] = (),
    measure: Measure = "gross",
    top: int = 10,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Compared:
    """Price what reaches a pricing step under two books. Nothing is published, and the run store knows nothing of it.

    The source and the steps before the pricing run once, the steps after it not at all. A document of which a record
    is rejected, or cannot be priced, is left out as a run would leave it out.

    Args:
        pipeline: The pipeline.
        books: The two books, or one: it is compared with the pipeline's own. Files are looked for in the current
            folder, in the project's, and beside the pipeline.
        params: Its parameters.
        source: Another source: anything that `scan` takes.
        limit: Read so many records only.
        step: Name of the pricing step, where there are several.
        since: Only rows of this day or later, in the book's time zone; documents that have such a row.
        date: The column of that day; by default the one that gives the book a date.
        known_at: Two instants: prices and rates as they were known at either, for the first book and for the second.
        prices: Names of the step's price lists to files that are read in their place for the second book.
        by: Columns whose values say who pays; by default the source's key: each row by itself.
        measure: The amount by which rows are dearer or cheaper.
        top: How many are named on either side.
        settings: Settings; by default those of the project at the current folder.
        progress: Called with a `Report` after each batch.

    Raises:
        ConfigurationError: A book, a column or an option is wrong, or there is no pricing step.
        SourceError: A source cannot be read.
        PricingError: A sample of what was priced is not what the reference says: a defect.
    """
    swaps = known_at is not None and known_at[0] != known_at[1]
    if len(books) > 2 or not (books or swaps or prices):
        raise ConfigurationError(f"two books are compared, or one with the pipeline's own; {len(books)} are given")
    known = None if known_at is None else known_at[0].isoformat()
    plan = make_plan(pipeline, params=params or {}, settings=settings, source=source, known_at=known)
    place, pricing = _pricing(plan, step)
    schema = plan.steps[place - 1].schema if place else plan.input_schema
    own = pricing.definition.book
    both = (*([own] * (2 - len(books))), *books)
    before, after = bound = [_bound(book, pricing, schema, plan.context) for book in both]
    names = [_shown(book) for book in both]
    where = f"step {pricing.name}"
    for column in by:
        if column not in visible(schema):
            raise ConfigurationError(unknown_name("column", column, visible(schema)), where=where)
    key = pipeline.source.key if pipeline.source.key and set(pipeline.source.key) <= set(schema) else IDENTITY
    recent = _since(since, date, (before, after), schema, where)
    early = replace(plan, steps=plan.steps[:place])
    with tempfile.TemporaryDirectory(prefix="assay-diff-") as folder, closing(early):
        files = [file.name for file in early.files()]
        early.open_steps()
        before.open()
        others = _lists(pricing, prices or {}, plan.context)
        rows, counts = _prepared(early, Path(folder), limit, progress)
        document = _document(before, after)
        if recent is not None:
            kept = rows.filter(recent)
            if document is not None:
                kept = rows.join(kept.select(document).unique(), on=document, how="semi", maintain_order="left")
            counts["earlier"] = _height(rows) - _height(kept)
            rows = kept
        rejecting = pipeline.source.reject_with
        together = DOCUMENT if rejecting is not None and document is None else None
        if rejecting is not None and document == rejecting:
            together = document
        try:
            found = before.book.diff(
                after.book,
                rows,
                inputs={**before.inputs, **after.inputs},
                **before.tables | ({} if known_at is None else {"known_at": known_at}),
                other_prices=others,
                by=by,
                key=() if by else key,
                measure=measure,
                top=top,
                together=together,
                verify=pricing.definition.verify,
                spool=Path(folder),
            )
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where=where) from None
    counts["compared"] = found.rows
    notes = [f"{name}: {note}" for name, one in zip(names, bound, strict=True) for note in one.remarks.warnings]
    for name, one in zip(names, bound, strict=True):
        needless = sorted(pricing.definition.inputs.keys() - one.inputs.keys())
        if needless:
            notes.append(f"{name} does not know the input {', '.join(needless)}: take it out of {where} before a run")
    later = [one.name for one in plan.steps[place + 1 :]]
    if later:
        notes.append(f"steps after the pricing are not run: {', '.join(later)}")
    prints = before.book.fingerprint, after.book.fingerprint
    return Compared(
        pipeline.name,
        pricing.name,
        names[0],
        names[1],
        prints,
        counts,
        found,
        files,
        dict(prices or {}),
        None if known_at is None else (instant_text(known_at[0]) or "", instant_text(known_at[1]) or ""),
        notes,
    )


def _pricing(plan: Plan, name: str | None) -> tuple[int, _Bound]:
    """The pricing step, and where it is among the steps."""
    found = {one.name: (number, one) for number, one in enumerate(plan.steps) if isinstance(one, _Bound)}
    where = f"pipeline {plan.pipeline.name}"
    if not found:
        raise ConfigurationError("no step prices: there is no Price(...) among its steps", where=where)
    if name is None and len(found) > 1:
        raise ConfigurationError(f"several steps price: say which (--step): {', '.join(found)}", where=where)
    name = next(iter(found)) if name is None else name
    if name not in found:
        raise ConfigurationError(unknown_name("pricing step", name, found), where=where)
    return found[name]


def _bound(book: str | PriceBook, pricing: _Bound, schema: pl.Schema, context: Context) -> _Bound:
    """The step with another book; what only the other one asks for is not given to it."""
    definition: Price = pricing.definition
    if isinstance(book, PriceBook):
        loaded, where = book, f"step {pricing.name}"
    else:
        here = Path(book)
        path = here if here.is_file() else book_file(book, context, f"step {pricing.name}")
        loaded, where = PriceBook.load(path), str(book)
    known = loaded.required_inputs() | loaded.optional_inputs()
    inputs: Inputs = {name: column for name, column in definition.inputs.items() if name in known}
    try:
        return replace(definition, book=loaded, inputs=inputs).bind(schema, context)
    except ConfigurationError as error:
        raise ConfigurationError(str(error), where=where) from None


def _lists(pricing: _Bound, files: Mapping[str, str], context: Context) -> dict[str, PriceList]:
    """Price lists of other files, read as the step's own are."""
    made = {}
    for name, file in files.items():
        where = f"step {pricing.name}"
        if name not in pricing.definition.prices:
            raise ConfigurationError(unknown_name("price list", name, pricing.definition.prices), where=where)
        table = pricing.definition.prices[name]
        if not isinstance(table, Table):
            raise ConfigurationError(f"the prices {name} are no file, and none can stand in for them", where=where)
        here = Path(file)
        path = str(here.resolve()) if here.exists() else file
        made[name], _ = read_list(name, replace(table, path=path), context.lookup)
    return made


def _shown(book: str | PriceBook) -> str:
    return book if isinstance(book, str) else book.name or f"book {book.fingerprint[:12]}"


def _document(before: _Bound, after: _Bound) -> str | None:
    return next((one.document for one in (before, after) if isinstance(one, BoundDocumentPrice)), None)


def _since(
    since: dt.date | None, date: str | None, steps: Sequence[_Bound], schema: pl.Schema, where: str
) -> pl.Expr | None:
    """Whether a row is of the day, or later."""
    if since is None:
        if date is not None:
            raise ConfigurationError(f'"{date}" is the column of a date, and none is asked for: give since (--since)')
        return None
    shown = visible(schema)
    times = {name for name, dtype in shown.items() if isinstance(dtype, pl.Date | pl.Datetime)}
    if date is None:
        given = {
            column
            for one in steps
            for name in one.book.required_inputs()
            if (column := one.inputs.get(name, name)) in times
        }
        if len(given) != 1:
            what = f"the books take several ({', '.join(sorted(given))})" if given else "the books take no date"
            others = ", ".join(sorted(times)) or "none"
            raise ConfigurationError(
                f"which day is meant by since? {what}: name a column by date (--date); there are {others}", where=where
            )
        (date,) = given
    if date not in shown:
        raise ConfigurationError(unknown_name("column", date, shown), where=where)
    if date not in times:
        raise ConfigurationError(f'"{date}" is {shown[date]}, and no date', where=where)
    try:
        day = local_day_expr(pl.col(date), shown[date], steps[0].book.zone or steps[1].book.zone, date)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, where=where) from None
    return day >= since


def _prepared(
    plan: Plan, folder: Path, limit: int | None, progress: Progress | None
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """The rows that reach the pricing, without the documents of which a record was rejected before."""
    ledger = Ledger()
    rejects = _Rejects(plan, ledger)
    feed = FileFeed(plan.reader, plan.files(), folder, limit)
    total = feed.size

    def report(stage: str) -> None:
        if progress:
            progress(Report(stage, processing.bytes, total, processing.read, ledger.rejected.total()))

    processing = Processing(plan, feed, ledger, rejects, folder, report)
    rows = processing.run().scan()
    if rejects.gone:
        gone = pl.concat(rejects.gone).select(IDENTITY).unique()
        rows = rows.join(gone.lazy(), on=IDENTITY, how="anti", maintain_order="left")
    counts = {"read": ledger.read, "filtered": ledger.filtered.total(), "rejected": ledger.rejected.total()}
    if rejects.documents:
        with_rejected = pl.col(DOCUMENT).is_in(list(rejects.documents)).fill_null(value=False)
        counts["with_document"] = _height(rows.filter(with_rejected))
        rows = rows.filter(~with_rejected)
    return rows, counts


def _height(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())


@dataclass
class _Rejects:
    """Counts what is rejected, and keeps nothing of it but which documents it belongs to."""

    plan: Plan
    ledger: Ledger
    documents: dict[str, str] = field(default_factory=dict)
    gone: list[pl.DataFrame] = field(default_factory=list)

    def early(self, rejects: pl.DataFrame, formats: Mapping[str, str]) -> None:
        """What reading and validation have rejected, of one source."""
        self.ledger.rejected.update(rejects["stage"].to_list())
        column = self.plan.pipeline.source.reject_with
        if column is None or not rejects.height:
            return
        finder = DocumentFinder(self.plan.reader.columns, column)
        processor = record_processor(formats[rejects["source"][0]], self.plan.reader.format)
        for document, row in zip(finder.find(rejects["raw"], processor), rejects.iter_rows(named=True), strict=True):
            if document is not None:
                self.documents.setdefault(document, blame(row["source"], row["record"], row["errors"]))

    def late(self, rejected: pl.DataFrame) -> None:
        """What a step has rejected."""
        self.ledger.rejected.update(rejected["stage"].to_list())
        self.gone.append(rejected.select(IDENTITY))
        if self.plan.pipeline.source.reject_with is not None:
            for source, record, document, _, errors in rejected.iter_rows():
                if document is not None:
                    self.documents.setdefault(document, blame(source, record, errors))
