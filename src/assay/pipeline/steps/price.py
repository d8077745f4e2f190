"""Price: the columns of a price book for each row."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import ConfigurationError, nearest
from assay.lookups import EcbRates, LookupContext, Readable, Table, whole_hash
from assay.pipeline.context import IDENTITY, Context, visible
from assay.pipeline.documents import DOCUMENT_REJECTED, blame, with_its_document
from assay.pipeline.steps.protocol import REJECTED, Outcome, Remarks, WholeOutcome, reject_rows
from assay.pricing import (
    NO_PRICE,
    NO_RATE,
    SEVERAL_PRICES,
    SIBLING,
    Finding,
    Inputs,
    PriceBook,
    PriceList,
    RatesTable,
    Verifier,
    column_of,
    known_instant,
    unsaid,
)

VERIFIED = 100

# Who says that it cannot be priced: a step of the book, or an input.
_SPEAKER = pl.col("pricing_error").str.extract(r"^([^\s:]+): ")
# The currency that has no rate, if that is the reason.
_UNRATED = pl.col("pricing_error").str.extract(f'^[^:]*: {NO_RATE} "(.*)" to ')


@dataclass(frozen=True)
class Price:
    """Price each row by a book: adds base, discount, net, tax, gross, currency, and what else the book makes.

    Args:
        book: A PriceBook, or the file that holds one.
        inputs: The book's input names to the columns here, such as {"quantity": "qty"}; others have the same name.
            {"currency": None} says that all amounts are in the book's currency.
        rates: Named rate tables that the book's conversions ask for; a table has the columns currency and rate and,
            if it is dated, valid_from; known_from, where rates were corrected.
        prices: Named tables that the book's `resolve` steps ask for, with the columns of a `PriceList`.
        known_at: As far as prices and rates were known at this instant, which has a zone; None: all that the tables
            say. What a run is told (`assay run --known-at`) comes first.
        document: The column that names the document a row belongs to, for steps that concern a whole document. A
            document with a row that cannot be priced is rejected as a whole.
        receipts: Add the column `receipt`, a list of lines that say how the price came about.
        verify: So many rows of each run, and those with the smallest and largest values, are priced once more by the
            reference; a difference fails the run.
        name: What the ledger calls it.
    """

    book: str | PriceBook
    inputs: Inputs = field(default_factory=dict)
    rates: Mapping[str, Table | EcbRates] = field(default_factory=dict)
    prices: Mapping[str, Readable] = field(default_factory=dict)
    known_at: dt.datetime | str | None = None
    document: str | None = None
    receipts: bool = False
    verify: int = VERIFIED
    name: str = "price"

    def bind(self, schema: pl.Schema, context: Context) -> BoundPrice | BoundDocumentPrice:
        """Load the book and check its inputs against the columns."""
        where = f"step {self.name}" + (f" ({self.book})" if isinstance(self.book, str) else "")
        book = self.book if isinstance(self.book, PriceBook) else PriceBook.load(book_file(self.book, context, where))
        rates_are = "a table with the columns currency and rate, or EcbRates(...)"
        _see_given("rates", book.rate_tables(), self.rates, rates_are, where)
        _see_given("prices", book.price_lists(), self.prices, "a table with the columns of a price list", where)
        for name, table in self.rates.items():
            lacking = [column for column in ("currency", "rate") if column not in table.columns()]
            if lacking:
                raise ConfigurationError(f"the rates {name} have no column {', '.join(lacking)}", where=where)
        for name, listed in self.prices.items():
            if not callable(getattr(listed, "read", None)):
                raise ConfigurationError(
                    f"the prices {name} are a {type(listed).__name__}: give a table that can be read whole, Table(...) "
                    "or SqlTable(...)",
                    where=where,
                )
        known_at = self.known_at if context.known_at is None else context.known_at
        inputs = dict(self.inputs)
        if self.document is not None and not isinstance(self.document, str):
            raise ConfigurationError("document is the name of one column: make one of several before", where=where)
        if self.document is not None:
            inputs.setdefault("document_id", self.document)
        try:
            priced = book.price(
                pl.LazyFrame(schema=visible(schema)),
                inputs=inputs,
                rates={name: _none_of(table) for name, table in self.rates.items()},
                prices={name: _list_of(name, table.columns().to_frame()) for name, table in self.prices.items()},
                known_at=known_at,
                receipts=self.receipts,
                errors="column",
            )
            made = priced.collect_schema()
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where=where) from None
        idle = book.idle_conversion(visible(schema), inputs)
        if idle is not None:
            unasked = next(iter(book.doubts(visible(schema), inputs)))
            raise ConfigurationError(f"the book's step {idle} can never convert: {unasked}", where=where)
        columns = pl.Schema(schema | {name: dtype for name, dtype in made.items() if name != "pricing_error"})
        document = inputs.get("document_id")
        told = (self.name, columns, self, book, inputs, context.lookup, self._remarks(book, schema, inputs), known_at)
        if book.concerns_documents() and document is not None:
            return BoundDocumentPrice(*told, document=document)
        return BoundPrice(*told)

    def _remarks(self, book: PriceBook, schema: pl.Schema, inputs: Inputs) -> Remarks:
        columns = visible(schema)
        tables = {name: table.columns() for given in (self.rates, self.prices) for name, table in given.items()}
        unbound = book.unbound_inputs(columns, inputs, tables)
        return Remarks(tuple(book.doubts(columns, inputs, tables)), tuple(sorted(unbound)))


def _says(reason: str) -> pl.Expr:
    """Whether a step of the book has said this."""
    return pl.col("pricing_error").str.contains(f"^[^:]*: {reason} ")


def _see_given(kind: str, asked: frozenset[str], given: Mapping[str, object], what: str, where: str) -> None:
    """See that all tables are given that a book asks for by name."""
    for name in sorted(asked - given.keys()):
        near = nearest(name, given)
        meant = f'; given is "{near}"' if near else ""
        raise ConfigurationError(
            f'the book asks for the {kind} "{name}": give {kind}={{"{name}": Table(...)}}, {what}{meant}', where=where
        )


@contextmanager
def _named(step: str) -> Iterator[None]:
    """Name the step in what only the rows have shown to be wrong with its definition."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(str(error), where=f"step {step}") from None


def _each_named(step: str, parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    with _named(step):
        yield from parts


def book_file(book: str, context: Context, where: str) -> Path:
    """The book's file: in the project's folder, else beside the pipeline.

    Raises:
        ConfigurationError: It is in neither; names what is there.
    """
    found = Path(context.find(book))
    if found.exists():
        return found
    folders = list(dict.fromkeys((context.settings.project, context.folder)))
    there = sorted({path.name for folder in folders for kind in ("toml", "json") for path in folder.glob(f"*.{kind}")})
    near = nearest(found.name, there)
    meant = f'; did you mean "{near}"?' if near else ""
    looked = " and ".join(str(folder) for folder in folders)
    raise ConfigurationError(f'there is no price book "{context.fill(book)}": looked in {looked}{meant}', where=where)


def read_list(name: str, listed: Readable, context: LookupContext) -> tuple[PriceList, pl.DataFrame]:
    """The price list of a table, and its rows.

    Raises:
        ConfigurationError: It is no price list, or has no rows, so that nothing would be priced.
    """
    frame = listed.read(context)
    if not frame.height:
        raise ConfigurationError(f"the table {listed.name} has no rows: was its file cut off?", where=f"prices {name}")
    return _list_of(name, frame), frame


def _list_of(name: str, frame: pl.DataFrame) -> PriceList:
    try:
        return PriceList(frame)
    except ConfigurationError as error:
        raise ConfigurationError(str(error), where=f"prices {name}") from None


def _none_of(table: Table | EcbRates) -> RatesTable:
    """Rates of the table's columns, before it is read."""
    columns = table.columns()
    dated = [name for name in ("valid_from", "known_from") if name in columns]
    return RatesTable(pl.DataFrame(schema={name: columns[name] for name in ("currency", "rate", *dated)}))


@dataclass
class _Pricing:
    """A checked pricing step."""

    name: str
    schema: pl.Schema
    definition: Price
    book: PriceBook
    inputs: Inputs
    context: LookupContext
    remarks: Remarks
    known_at: dt.datetime | str | None
    fans_out: bool = False
    fingerprint: str = ""
    _rates: dict[str, RatesTable] = field(default_factory=dict, repr=False)
    _prices: dict[str, PriceList] = field(default_factory=dict, repr=False)
    _verifier: Verifier | None = field(default=None, repr=False)

    def open(self) -> None:
        """Read the rate tables and price lists."""
        fingerprints = [self.book.fingerprint]
        for name, table in self.definition.rates.items():
            keys = [key for key in ("currency", "valid_from", "known_from") if key in table.columns()]
            opened = table.open(self.context, tuple(keys))
            self._rates[name] = RatesTable(opened.frame)
            fingerprints.append(opened.fingerprint if "known_from" not in keys else whole_hash(opened.frame))
        for name, listed in self.definition.prices.items():
            with _named(self.name):
                self._prices[name], frame = read_list(name, listed, self.context)
            fingerprints.append(whole_hash(frame))
        if self.known_at is not None:
            fingerprints.append(f"known at {known_instant(self.known_at, where=f'step {self.name}, known_at')}")
        self.fingerprint = " ".join(fingerprints)
        self._verifier = Verifier(self.book, self.definition.verify, inputs=self.inputs, **self.tables)

    @property
    def tables(self) -> dict[str, Any]:
        """What the book is given beside the rows: arguments of `PriceBook.price`. Wants `open`."""
        return {"rates": self._rates, "prices": self._prices, "known_at": self.known_at}

    def lint(self) -> list[Finding]:
        """What may well not be meant in the book."""
        return self.book.lint(rates=self._rates, prices=self._prices)

    def quote(self, rows: pl.DataFrame) -> Any:
        """The rows of one document (or one row) by the reference: a DocumentReceipt."""
        known = self.book.required_inputs() | self.book.optional_inputs()
        columns = {name: column for name in known if (column := column_of(name, self.inputs, rows.columns))}
        lines = rows.select(**{name: pl.col(column) for name, column in columns.items()}).to_dicts()
        return self.book.quote_document([unsaid(self.inputs) | line for line in lines], **self.tables)

    def _priced(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return self.book.price(
            rows, inputs=self.inputs, receipts=self.definition.receipts, errors="column", **self.tables
        )

    def _rejected(self, wrong: pl.DataFrame) -> pl.DataFrame:
        """Rejects of rows that could not be priced, with the step of the book that said so."""
        loc, kind = self._cause()
        return reject_rows(wrong, "pricing", loc, kind, pl.col("pricing_error"), _UNRATED.fill_null(""))

    def _cause(self) -> tuple[pl.Expr, pl.Expr]:
        """The field that is to blame, and the kind of error, of rows that could not be priced."""
        currency = self.inputs.get("currency", "currency") or "currency"
        unrated = _UNRATED.is_not_null()
        kind = (
            pl.when(unrated)
            .then(pl.lit("rate_missing"))
            .when(_says(NO_PRICE))
            .then(pl.lit("price_missing"))
            .when(_says(SEVERAL_PRICES))
            .then(pl.lit("price_ambiguous"))
            .otherwise(pl.lit("pricing_error"))
        )
        return pl.when(unrated).then(pl.lit(currency)).otherwise(_SPEAKER.fill_null("")), kind


@dataclass
class BoundPrice(_Pricing):
    """Prices rows by themselves."""

    def apply(self, rows: pl.DataFrame) -> Outcome:
        """Price; what cannot be priced is rejected."""
        with _named(self.name):
            frame = self._priced(rows.lazy()).collect()
        wrong = frame["pricing_error"].is_not_null()
        fine = frame.filter(~wrong).select(self.schema.names())
        if self._verifier is not None:
            self._verifier.check(rows.filter(~wrong), fine)
        return Outcome(fine, self._rejected(frame.filter(wrong)) if wrong.any() else None)


@dataclass
class BoundDocumentPrice(_Pricing):
    """Prices whole documents, of which all rows must be seen.

    Attributes:
        document: The column that names them.
    """

    document: str = field(kw_only=True)
    _spool: Path | None = field(default=None, repr=False)

    def spool_in(self, folder: Path) -> None:
        """Keep rows there meanwhile."""
        self._spool = folder

    def apply_whole(self, rows: pl.LazyFrame) -> WholeOutcome:
        """Price; of a document with a row that cannot be priced all are rejected, and those to blame are named."""
        folder = self._folder()
        rejected = [pl.DataFrame(schema=REJECTED)]
        siblings = [pl.DataFrame(schema=REJECTED)]
        files = []
        for number, part in enumerate(self._parts(rows, folder)):
            wrong = part["pricing_error"].is_not_null()
            if wrong.any():
                to_blame = ~part["pricing_error"].str.starts_with(SIBLING)
                rejected.append(self._rejected(part.filter(wrong & to_blame)))
                siblings.append(self._with_document(part.filter(wrong), to_blame.filter(wrong)))
            files.append(folder / f"{number:06}.arrow")
            part.filter(~wrong).select(self.schema.names()).write_ipc(files[-1])
        priced = pl.scan_ipc(files) if files else pl.LazyFrame(schema=self.schema)
        # A record of several rows is to blame where one of them is.
        gone = pl.concat([*rejected, *siblings]).unique(IDENTITY, keep="first", maintain_order=True)
        if gone.height:
            priced = priced.join(gone.select(IDENTITY).lazy(), on=IDENTITY, how="anti", maintain_order="left")
        return WholeOutcome(priced, gone)

    def _folder(self) -> Path:
        """Where rows are kept: in the run's folder, where there is a run."""
        if self._spool is not None:
            self._spool.mkdir(parents=True)
            return self._spool
        folder = Path(tempfile.mkdtemp(prefix="assay-priced-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _with_document(self, wrong: pl.DataFrame, to_blame: pl.Series) -> pl.DataFrame:
        """Rejects of the rows that would have been priced, had others of their documents been."""
        loc, kind = self._cause()
        firsts = wrong.filter(to_blame).unique(self.document, keep="first", maintain_order=True)
        named = firsts.select(*IDENTITY, loc.alias("loc"), kind.alias("type"))
        blamed = [
            with_its_document(blame(source, record, [{"loc": field, "type": error}]))
            for source, record, field, error in named.iter_rows()
        ]
        document = pl.col(self.document)
        why = document.replace_strict(
            firsts[self.document], pl.Series(blamed, dtype=pl.String), default=None, return_dtype=pl.String
        )
        return reject_rows(wrong.filter(~to_blame), "document", self.document, DOCUMENT_REJECTED, why, document)

    def _parts(self, rows: pl.LazyFrame, folder: Path) -> Iterator[pl.DataFrame]:
        given = rows.collect_schema().names()
        overwritten = [name for name in given if name in self.book.output_schema()]
        kept = rows.with_columns(pl.col(name).alias(f"_given_{name}") for name in overwritten)
        parts = self.book.price_documents(
            kept,
            inputs=self.inputs,
            receipts=self.definition.receipts,
            errors="column",
            spool=folder,
            **self.tables,
        )
        for part in _each_named(self.name, parts):
            fine = part.filter(pl.col("pricing_error").is_null())
            if self._verifier is not None:
                before = fine.with_columns(pl.col(f"_given_{name}").alias(name) for name in overwritten)
                self._verifier.check(before.select(given), fine)
            yield part
