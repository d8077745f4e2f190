"""A book at work on frames: the compiled twin, and the reference for the rows that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import partial
from typing import Any

import polars as pl

from assay.errors import PricingError
from assay.money import EXACT, MAX_DIGITS
from assay.pricing.batch import DOUBT, GIVEN_CURRENCY, PART, POSITION, BatchRating
from assay.pricing.binding import foreign, unasked_currency
from assay.pricing.interleaving import interleaved
from assay.pricing.rates import RATE_PLACES
from assay.pricing.rating import DocumentRating, Rating, each_line
from assay.pricing.receipt import RESIDUE_PLACES, Line
from assay.pricing.step import Step
from assay.pricing.terms import Terms

ERROR = "pricing_error"

SIBLING = "document_rejected: "
"""How the reason begins of a line that is not to blame: another one of its document cannot be priced."""

_EXACT = pl.Decimal(MAX_DIGITS, RATE_PLACES)


@dataclass(frozen=True)
class Runner:
    """The steps of a book, run on documents by the reference and on frames by the twin.

    Attributes:
        steps: In order.
        terms: What they share.
        inputs: Names of all inputs that are read.
        documents: Whether a step looks at all lines of a document.
    """

    steps: Sequence[Step]
    terms: Terms
    inputs: frozenset[str]
    documents: bool

    def document(self, lines: Sequence[Mapping[str, object]]) -> DocumentRating:
        """The reference: the lines of one document, priced. Wants the exact context.

        Raises:
            PricingError: Lines cannot be priced: `lines` says which; or the document cannot.
        """
        try:
            document = DocumentRating(each_line(enumerate(lines), partial(Rating, self.terms)))
            for step in self.steps:
                document.begin(step)
                step.apply_document(document)
            document.check()
        except PricingError as error:
            if not error.lines or len(lines) == 1:
                raise
            place, reason = next(iter(error.lines.items()))
            more = f" (and {len(error.lines) - 1} more lines)" if len(error.lines) > 1 else ""
            raise PricingError(f"line {place + 1} of the document: {reason}{more}", lines=error.lines) from None
        return document

    def frame(self, frame: pl.LazyFrame, inputs: Mapping[str, str], outputs: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        """The twin: all rows, with what was computed and which of them are in doubt."""
        batch = BatchRating(self.terms, frame, inputs, receipts="receipt" in outputs, documents=self.documents)
        for step in self.steps:
            batch.begin(step)
            step.open_expr(batch)
        for step in self.steps:
            batch.begin(step)
            step.apply_expr(batch)
        return batch.finish(outputs)


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A row that cannot be priced.

    Attributes:
        reason: Why.
        sibling: Whether another row of its document is to blame.
        whole: Whether the document itself is.
    """

    reason: str
    sibling: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Twin:
    """Prices frames; rows in doubt by the reference.

    Attributes:
        runner: The book.
        inputs: Names of inputs to names of columns, where they differ.
        outputs: The columns to make.
        raising: Whether a row that cannot be priced ends it all, or gets its reason in a column.
        unasked: Columns that look as if they said a currency, where no column gives that input.
        verify: Is given rows as they came, and as they were priced.
    """

    runner: Runner
    inputs: Mapping[str, str]
    outputs: Mapping[str, pl.DataType]
    raising: bool
    unasked: Sequence[str] = ()
    verify: Callable[[pl.DataFrame, pl.DataFrame], None] | None = None

    def check(self, schema: pl.Schema) -> None:
        """Check the types of columns, before there are any.

        Raises:
            ConfigurationError: A column is a float (also a TypeError), or not what the input must be.
        """
        self.runner.frame(pl.LazyFrame(schema=schema), self.inputs, self.outputs)

    def lazily(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """All rows, by native expressions in the streaming engine; each is a document of its own."""
        priced = self.priced(frame)
        schema = {name: dtype for name, dtype in priced.collect_schema().items() if not name.startswith(PART)}
        schema |= {name: dtype for name, dtype in self.outputs.items() if isinstance(dtype, pl.List)}
        return priced.map_batches(partial(self.settled, before=0), schema=schema, streamable=True)

    def eagerly(self, frame: pl.DataFrame, before: int) -> pl.DataFrame:
        """All rows of some documents; `before` (-1: unknown) rows came before them."""
        return self.settled(self.priced(frame.lazy()).collect(), before=before)

    def priced(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """What the twin computes, rows in doubt among them: `settled` mends it."""
        priced = self.runner.frame(frame, self.inputs, self.outputs)
        return priced.with_columns(pl.lit(None, dtype=pl.String).alias(ERROR)) if ERROR in self.outputs else priced

    def settled(self, frame: pl.DataFrame, *, before: int = -1) -> pl.DataFrame:
        """Put the lists together, and price the rows in doubt by the reference."""
        home = self.runner.terms.currency
        for column in self.unasked:
            codes = foreign(frame[column].cast(pl.String).unique(), home)
            if codes:
                raise unasked_currency(column, codes, home)
        frame = self._with_references(self._with_lists(frame), before=before)
        if self.verify is not None:
            fine = frame.filter(pl.col(ERROR).is_null()) if ERROR in frame.columns else frame
            given = (
                fine.with_columns(pl.col(GIVEN_CURRENCY).alias("currency")) if GIVEN_CURRENCY in frame.columns else fine
            )
            self.verify(given, fine)
        return frame

    def _with_references(self, frame: pl.DataFrame, *, before: int) -> pl.DataFrame:
        doubt = frame[DOUBT].fill_null(value=True)
        if not doubt.any():
            return frame
        rows = frame.filter(doubt)
        results: list[dict[str, object]] = []
        for position, result in zip(rows[POSITION], self._referred(rows), strict=True):
            if isinstance(result, Rating):
                results.append(self._shown(result))
                continue
            if self.raising and not result.sibling:
                raise self._raised(result, rows, position, before)
            results.append({ERROR: result.reason})
        fixed = {
            name: pl.Series([row.get(name) for row in results], dtype=dtype) for name, dtype in self.outputs.items()
        }
        settled = rows.with_columns(pl.DataFrame(fixed).get_columns())
        if "currency" in self.outputs:
            # A row that could not be priced keeps its own.
            settled = settled.with_columns(pl.col("currency").fill_null(self._own_currency(rows)))
        return pl.concat([frame.filter(~doubt), settled.select(frame.columns)]).sort(POSITION)

    def _raised(self, unpriced: Unpriced, rows: pl.DataFrame, position: int, before: int) -> PricingError:
        where = f"row {before + position} (the first is 0): " if before >= 0 and not unpriced.whole else ""
        document = self._column("document_id", rows) if self.runner.documents else None
        if document is not None:
            name = rows.filter(pl.col(POSITION) == position)[document].item()
            where += f'document "{name}": '
        return PricingError(f'{where}{unpriced.reason}; errors="column" prices the others and gives the reasons')

    def _with_lists(self, frame: pl.DataFrame) -> pl.DataFrame:
        made = []
        for name, dtype in self.outputs.items():
            if isinstance(dtype, pl.List):
                parts = [column for column in frame.columns if column.startswith(f"{PART}{name}_")]
                made.append(interleaved([frame[part] for part in parts], dtype, frame.height).alias(name))
        return frame.with_columns(made).drop(pl.selectors.starts_with(PART)) if made else frame

    def _own_currency(self, rows: pl.DataFrame) -> pl.Series | str:
        column = self._column("currency", rows)
        return self.runner.terms.currency if column is None else rows[column].cast(pl.String)

    def _column(self, name: str, rows: pl.DataFrame) -> str | None:
        """The column of an input, as it was before `currency` was written over."""
        column = self.inputs.get(name, name)
        if column == "currency" and GIVEN_CURRENCY in rows.columns:
            return GIVEN_CURRENCY
        own = column in self.outputs and column != self.inputs.get(name)
        return None if own or column not in rows.columns else column

    def _referred(self, rows: pl.DataFrame) -> Iterator[Rating | Unpriced]:
        """Each row by the reference, or why it cannot be priced."""
        columns = {name: column for name in self.runner.inputs if (column := self._column(name, rows)) is not None}
        lines = rows.select(**{name: pl.col(column) for name, column in columns.items()}).to_dicts()
        if not lines:
            lines = [{} for _ in range(rows.height)]
        key = columns.get("document_id") if self.runner.documents else None
        if key is None:
            groups = [[index] for index in range(rows.height)]
        else:
            groups = (
                rows.with_row_index("__index").group_by(key, maintain_order=True).agg("__index")["__index"].to_list()
            )
        results: dict[int, Rating | Unpriced] = {}
        for group in groups:
            results |= zip(group, self._document([lines[index] for index in group], key), strict=True)
        return (results[index] for index in range(rows.height))

    def _document(self, lines: list[dict[str, object]], key: str | None) -> Sequence[Rating | Unpriced]:
        if key is not None and lines[0]["document_id"] is None:
            return [Unpriced("document_id is null")] * len(lines)
        try:
            with localcontext(EXACT):
                return self.runner.document(lines).lines
        except PricingError as error:
            if not error.lines:
                return [Unpriced(error.message, whole=key is not None)] * len(lines)
            place, reason = next(iter(error.lines.items()))
            sibling = Unpriced(f"{SIBLING}line {place + 1} of its document: {reason}", sibling=True)
            own = {place: Unpriced(reason) for place, reason in error.lines.items()}
            return [own.get(place, sibling) for place in range(len(lines))]

    def _shown(self, rating: Rating) -> dict[str, object]:
        with localcontext(EXACT):
            receipt = rating.receipt()
            shown: dict[str, object] = {
                "allowance": rating.allowance,
                "surcharge": rating.surcharge,
                "taxes": [
                    {name: getattr(tax, name) for name in ("code", "category", "base", "amount", "retained")}
                    | {"rate": _held(tax.rate)}
                    for tax in receipt.taxes
                ],
                "receipt": [_line(line) for line in receipt.lines],
            }
        return {name: shown[name] if name in shown else getattr(receipt, name, None) for name in self.outputs}


def side_by_side(twins: Sequence[Twin], frame: pl.DataFrame) -> list[pl.DataFrame]:
    """The same rows (of documents all) as each of some twins prices them; all are computed at once."""
    frames = pl.collect_all([twin.priced(frame.lazy()) for twin in twins], engine="streaming")
    return [twin.settled(priced) for twin, priced in zip(twins, frames, strict=True)]


def taxes_type(amount: pl.DataType) -> pl.DataType:
    """The column `taxes`."""
    return pl.List(
        pl.Struct(
            {
                "code": pl.String(),
                "category": pl.String(),
                "rate": _EXACT,
                "base": amount,
                "amount": amount,
                "retained": pl.Boolean(),
            }
        )
    )


def receipt_type(amount: pl.DataType) -> pl.DataType:
    """The column `receipt`."""
    return pl.List(
        pl.Struct(
            {
                "id": pl.String(),
                "step": pl.String(),
                "what": pl.String(),
                "quantity": _EXACT,
                "rate": _EXACT,
                "amount": amount,
                "residue": pl.Decimal(MAX_DIGITS, RESIDUE_PLACES),
                "adds_to_total": pl.Boolean(),
                "tier": pl.Int64(),
                "currency": pl.String(),
            }
        )
    )


def _line(line: Line) -> dict[str, Any]:
    fields = ("id", "step", "what", "amount", "residue", "adds_to_total", "tier", "currency")
    shown = {name: getattr(line, name) for name in fields}
    return shown | {"quantity": _held(line.quantity), "rate": _held(line.rate)}


def _held(value: Decimal | None) -> Decimal | None:
    """The value where its column can hold it."""
    if value is None:
        return None
    shown = value.normalize()
    exponent = shown.as_tuple().exponent
    fits = isinstance(exponent, int) and -exponent <= RATE_PLACES and shown.adjusted() < MAX_DIGITS - RATE_PLACES
    return value if fits else None
