"""The price book: strategies in order, and the two ways to run them."""

from __future__ import annotations

import datetime as dt
import hashlib
import html
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError, nearest
from assay.money import EXACT, MAX_DIGITS, MAX_MINOR_UNITS, minor_units
from assay.pricing.binding import (
    Inputs,
    advice,
    bound,
    check_columns,
    column_of,
    currency_columns,
    foreign,
    says_currency,
    slip_of,
    unknown_input,
)
from assay.pricing.boundary import boundary_tests
from assay.pricing.comparing import Given, Question, difference
from assay.pricing.difference import Difference, Measure
from assay.pricing.documents import as_lazy, by_document
from assay.pricing.edges import Edge
from assay.pricing.linting import Finding, lint
from assay.pricing.loading import in_our_words, read_book, worded
from assay.pricing.moments import zone_info
from assay.pricing.price_list import PriceList
from assay.pricing.probing import standing_in
from assay.pricing.rates import RATE_PLACES, Rates
from assay.pricing.receipt import DocumentReceipt, Receipt
from assay.pricing.registry import parsed_step
from assay.pricing.step import Columns, Step, joined
from assay.pricing.strategies.tax import InclusiveTaxes
from assay.pricing.tables import Tables
from assay.pricing.terms import BookRounding, Negative, Terms
from assay.pricing.totals import totals_of, totals_schema
from assay.pricing.twin import ERROR, Runner, Twin, receipt_type, taxes_type
from assay.pricing.values import at_least_one
from assay.pricing.verification import Verifier

AMOUNTS = ("base", "discount", "net", "tax", "gross")
DUE = ("retained", "prepaid", "rounding", "payable")
Instant = dt.datetime | str | None
_COMMON = frozenset({"currency", "document_id", "line_id", "line_kind", "quantity"})


class PriceBook(BaseModel):
    """How things are priced: a currency, a rounding, and steps that run in the order listed.

    Every charge, discount and tax is rounded to the digits of the currency that the item is in at that point, by the
    step's rounding or the book's. With `rounding="none"` amounts are exact, to ten places.

    Args:
        currency: ISO 4217 code; literal amounts in the book are in it.
        rounding: By name, such as "half_up".
        steps: Strategies, or tables with a `kind`.
        name: Shown on receipts.
        zone: IANA name of the time zone whose days and hours count, where inputs have a zone.
        mixed: Rows keep the currency that they say, each rounded to its own digits; what comes out has four decimal
            places. Amounts that stand in the book are for rows in its currency alone.
        negative: Whether a negative quantity mirrors (a credit: the price of the quantity with the sign turned) or is
            rejected.

    Raises:
        pydantic.ValidationError: The book is wrong (`load` raises ConfigurationError, with file and key).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str | None = Field(default=None, min_length=1)
    currency: str
    rounding: BookRounding
    zone: str | None = None
    negative: Negative = "mirror"
    mixed: bool = False
    steps: tuple[Annotated[SerializeAsAny[Step], BeforeValidator(parsed_step)], ...]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a book from a .toml or .json file.

        Raises:
            ConfigurationError: With the file, and each wrong key or the line of a syntax error.
        """
        content = read_book(Path(path))
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise worded(error, content, str(path)) from None

    def dump(self) -> str:
        """The book as canonical JSON text; loading it gives an equal book."""
        return json.dumps(self._content(), ensure_ascii=False, indent=2, sort_keys=True) + "\n"

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the canonical content: equal for books that are written differently but say the same."""
        compact = json.dumps(self._content(), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(compact.encode()).hexdigest()

    def required_inputs(self) -> frozenset[str]:
        """Names of the inputs that every row must bring to `price`.

        `quote` can do without document_id: the item is a document of its own then.
        """
        needed = frozenset().union(*(step.inputs() for step in self.steps)) - self._given()
        return needed | {"document_id"} if any(step.needs_document() for step in self.steps) else needed

    def optional_inputs(self, tables: Columns | None = None) -> frozenset[str]:
        """Names of the inputs that are used where they are given.

        Args:
            tables: Columns of rate tables and price lists, by the tables' names; of tables that are named here only
                inputs count by which these differ.
        """
        known = tables or {}
        own = frozenset().union(*(step.optional_inputs_with(known) for step in self.steps))
        return (own | _COMMON) - self.required_inputs() - self._given()

    def unbound_inputs(
        self, schema: pl.Schema, inputs: Inputs | None = None, tables: Columns | None = None
    ) -> frozenset[str]:
        """Names of the optional inputs that no column of such a frame gives, and that nobody has said None of."""
        given = inputs or {}
        return frozenset(
            name
            for name in self.optional_inputs(tables)
            if name not in given and column_of(name, given, schema) is None
        )

    def doubts(self, schema: pl.Schema, inputs: Inputs | None = None, tables: Columns | None = None) -> list[str]:
        """What may well not be meant in pricing such a frame: a sentence each.

        A column that looks as if it said a currency, a conversion that no currency reaches, a column whose name is
        near that of an optional input.
        """
        unbound = self.unbound_inputs(schema, inputs, tables)
        found = [
            f'no column gives the input currency, and "{column}" looks like one: {advice(column, self.currency)}'
            for column in self._unasked(schema, inputs)
        ]
        if "currency" in unbound and not found:
            found += [
                f"no column gives the input currency, so that {step.id} takes every row for one in {self.currency}: "
                'give inputs={"currency": ...}, or None for it, if that is meant'
                for step in self.steps
                if step.converts
            ]
        taken = {*(inputs or {}).values(), *self.required_inputs(), *self.optional_inputs()}
        free = [name for name in schema.names() if name not in taken]
        for name in sorted(unbound - {"currency"}):
            slip = slip_of(name, free)
            if slip is not None:
                found.append(f'no column gives the input {name}, and "{slip}" is near: inputs={{"{name}": "{slip}"}}?')
        return found

    def idle_conversion(self, schema: pl.Schema, inputs: Inputs | None = None) -> str | None:
        """Id of a conversion that can never convert: into the book's currency, where rows cannot say another one."""
        if "currency" not in self.unbound_inputs(schema, inputs):
            return None
        return next((step.id for step in self.steps if getattr(step, "to", None) == self.currency), None)

    def rate_tables(self) -> frozenset[str]:
        """Names of the rates tables that must be given when pricing."""
        return frozenset(name for step in self.steps if (name := step.rate_table()) is not None)

    def price_lists(self) -> frozenset[str]:
        """Names of the price lists that must be given when pricing."""
        return frozenset(name for step in self.steps if (name := step.price_list()) is not None)

    def result_currency(self) -> str:
        """The currency that amounts come out in."""
        converted = [getattr(step, "to", self.currency) for step in self.steps if step.converts]
        return converted[-1] if converted else self.currency

    def concerns_documents(self) -> bool:
        """Whether a step looks at all lines of a document."""
        return any(step.whole_document() for step in self.steps)

    def output_schema(
        self, errors: Literal["raise", "column"] = "raise", *, receipts: bool = False
    ) -> dict[str, pl.DataType]:
        """The columns that `price` adds, in order, and their types."""
        terms = self._terms(Tables())
        places = terms.result_places
        amount, exact = pl.Decimal(MAX_DIGITS, places), pl.Decimal(MAX_DIGITS, RATE_PLACES)
        columns: dict[str, pl.DataType] = dict.fromkeys(AMOUNTS, amount)
        if any(step.changes_due() for step in self.steps):
            columns |= dict.fromkeys(DUE, amount)
        columns |= {"currency": pl.String(), "rule_id": pl.String()}
        if any(step.taxes for step in self.steps):
            columns["taxes"] = taxes_type(amount)
        if terms.converts:
            columns["fx_rate"] = exact
        if any(step.dated() for step in self.steps):
            columns["fx_date"] = pl.Date()
        if any(step.resolves for step in self.steps):
            moment = pl.Datetime("us", self.zone or "UTC")
            columns |= {"price_id": pl.String(), "price_from": moment, "price_to": moment}
        if receipts:
            own = terms.unrounded or not terms.converts
            shown = amount if own else pl.Decimal(MAX_DIGITS, max(places, MAX_MINOR_UNITS))
            columns["receipt"] = receipt_type(shown)
        if errors == "column":
            columns[ERROR] = pl.String()
        return columns

    def quote(
        self,
        *,
        rates: Mapping[str, Rates] | None = None,
        prices: Mapping[str, PriceList] | None = None,
        known_at: dt.datetime | str | None = None,
        **inputs: object,
    ) -> Receipt:
        """Price one item by the reference.

        Args:
            rates: The tables that `rate_tables` names.
            prices: The lists that `price_lists` names.
            known_at: As far as prices and rates were known at this instant, which has a zone; None: all of them.
            inputs: Values by name, such as `quantity=10`: Decimal, int or decimal string; `currency` is the item's,
                by default the book's. A row that has more than the book asks for goes to `quote_document([row])`.

        Raises:
            PricingError: The item cannot be priced; names the step and the reason, as `price` does for a row.
            ConfigurationError: An input or a rates table is missing, the book knows no such input, or an input is a
                float (also a TypeError).
        """
        tables = Tables.of(rates, prices, known_at)
        self._check_given(inputs, tables, every=True)
        with localcontext(EXACT):
            return self._runner(tables).document([inputs]).receipt().receipts[0]

    def quote_document(
        self,
        lines: Iterable[Mapping[str, object]],
        *,
        rates: Mapping[str, Rates] | None = None,
        prices: Mapping[str, PriceList] | None = None,
        known_at: dt.datetime | str | None = None,
    ) -> DocumentReceipt:
        """Price the lines of one document by the reference.

        Args:
            lines: The inputs of each line, as in `quote`; `document_id` is not looked at. What the book does not ask
                for is left alone, so that rows can be passed, unless it is a currency under another name.
            rates: As in `quote`.
            prices: As in `quote`.
            known_at: As in `quote`; a line that has its own goes by that.

        Raises:
            PricingError, ConfigurationError: As in `quote`; also that there are no lines.
        """
        return self.quoter(rates=rates, prices=prices, known_at=known_at)(lines)

    def quoter(
        self,
        *,
        rates: Mapping[str, Rates] | None = None,
        prices: Mapping[str, PriceList] | None = None,
        known_at: dt.datetime | str | None = None,
    ) -> Callable[[Iterable[Mapping[str, object]]], DocumentReceipt]:
        """`quote_document` for many documents: what does not change from one to the next is prepared once."""
        tables = Tables.of(rates, prices, known_at)
        runner = self._runner(tables)
        # Lines of the same inputs are checked once, where what they say of a currency is not in question.
        alike: set[frozenset[str]] = set()

        def quote(lines: Iterable[Mapping[str, object]]) -> DocumentReceipt:
            given = list(lines)
            if not given:
                raise ConfigurationError("a document without lines cannot be priced")
            wrong = [type(line).__name__ for line in given if not isinstance(line, Mapping)]
            if wrong:
                raise ConfigurationError(f"a line is a mapping of inputs to values, not a {wrong[0]}")
            for line in given:
                names = frozenset(line)
                if names not in alike:
                    self._check_given(line, tables)
                    if "currency" in names or not any(map(says_currency, names)):
                        alike.add(names)
            with localcontext(EXACT):
                return runner.document(given).receipt()

        return quote

    def price(
        self,
        frame: pl.LazyFrame | pl.DataFrame,
        *,
        inputs: Inputs | None = None,
        rates: Mapping[str, Rates] | None = None,
        prices: Mapping[str, PriceList] | None = None,
        known_at: dt.datetime | str | None = None,
        receipts: bool = False,
        errors: Literal["raise", "column"] = "raise",
        verify: int = 0,
    ) -> pl.LazyFrame:
        """Price every row by the compiled twin: one row out for one in, in order.

        Adds base, discount, net, tax and gross (Decimal(38, digits of the result currency), four where currencies are
        mixed, ten where a rounding is "none"), currency and rule_id (String) and, where steps of the book make them:
        taxes (a list of structs), retained, prepaid, rounding and payable, fx_rate (Decimal(38, 18)) and fx_date,
        price_id (String), price_from and price_to (Datetime of the book's zone, or UTC).
        Amounts have at most 32 digits before the point (26 where a rounding is "none"). Rows of which the twin is not
        certain are priced by the reference.

        Args:
            frame: Decimal or integer columns for the inputs; a String or Enum column `currency`, if rows differ.
            inputs: The book's input names to the frame's columns, where they differ; None for an input that no column
                shall give, such as `{"currency": None}` where all rows are in the book's.
            rates: The tables that `rate_tables` names.
            prices: The lists that `price_lists` names.
            known_at: As far as prices and rates were known at this instant, which has a zone; None: all of them. Where
                a column gives the input known_at, that counts for its rows.
            receipts: Add the column `receipt`, a list of structs: a `Line` each. Quantities and rates of more than 18
                decimal places, or more than 20 digits before the point, are null there.
            errors: What becomes of rows that cannot be priced (null input, no rate, too many digits): "raise" raises
                PricingError on collect, naming a row, the step and the reason; "column" gives the reason in a column
                `pricing_error` (null: priced), with the amounts null. Where steps concern documents, none of the lines
                is priced of a document with a line that cannot be.
            verify: So many rows (or documents), and those with the smallest and largest values, are priced once more
                by the reference; a difference raises PricingError on collect.

        Raises:
            ConfigurationError: A column is missing, a float (also a TypeError), or in the way of an output; on collect
                also that rows say another currency in a column that is no input.
        """
        lazy = _lazy(frame)
        schema = lazy.collect_schema()
        tables = Tables.of(rates, prices, known_at)
        twin, wanted = self._twin(schema, inputs, tables, receipts=receipts, errors=errors)
        if verify:
            verifier = Verifier(self, verify, inputs=inputs or {}, rates=rates, prices=prices, known_at=known_at)
            twin = replace(twin, verify=verifier.check)
        document = bound(inputs).get("document_id", "document_id")
        if not self.concerns_documents() or document not in schema:
            return twin.lazily(lazy).select(wanted)
        twin.check(schema)
        made = pl.Schema({name: twin.outputs[name] if name in twin.outputs else schema[name] for name in wanted})
        return as_lazy(lambda: (part.select(wanted) for part in by_document(lazy, document, twin.eagerly)), made)

    def price_documents(
        self,
        frame: pl.LazyFrame | pl.DataFrame,
        *,
        inputs: Inputs | None = None,
        rates: Mapping[str, Rates] | None = None,
        prices: Mapping[str, PriceList] | None = None,
        known_at: dt.datetime | str | None = None,
        receipts: bool = False,
        errors: Literal["raise", "column"] = "raise",
        spool: Path | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Price like `price`, a part at a time: each has all rows of its documents.

        Documents whose rows do not stand together are put together, so that the order of rows is that of `price` only
        where they do. Rows must say their document. Many rows are kept on disk meanwhile, in a temporary folder below
        `spool`.
        """
        lazy = _lazy(frame)
        schema = lazy.collect_schema()
        tables = Tables.of(rates, prices, known_at)
        twin, wanted = self._twin(schema, inputs, tables, receipts=receipts, errors=errors)
        document = bound(inputs).get("document_id", "document_id")
        if document not in schema:
            raise ConfigurationError(f'no column "{document}" says which document a row belongs to')
        twin.check(schema)
        parts = by_document(lazy, document, twin.eagerly, one_row_each=False, spool=spool)
        return (part.select(wanted) for part in parts)

    def totals(
        self,
        frame: pl.LazyFrame | pl.DataFrame,
        *,
        inputs: Inputs | None = None,
        rates: Mapping[str, Rates] | None = None,
        prices: Mapping[str, PriceList] | None = None,
        known_at: dt.datetime | str | None = None,
    ) -> pl.LazyFrame:
        """Price every row and add up the documents: a row each, in the order of their first lines.

        Columns: document_id, currency, sum_of_lines (BT-106), allowances (107), charges (108), tax_exclusive (109),
        tax (110), tax_inclusive (112), retained, prepaid (113), rounding (114), payable (115): Decimal as in `price`;
        and taxes, a list of structs, one a code, category, rate. Where documents are many and their lines do not
        stand together, the order of rows is any.

        Arguments and errors are those of `price`; rows must say their document.
        """
        lazy = _lazy(frame)
        names = bound(inputs)
        schema = lazy.collect_schema()
        outputs = self.output_schema()
        amount = outputs["net"]
        all_outputs = outputs | dict.fromkeys((*DUE, "allowance", "surcharge"), amount) | {"taxes": self._taxes_type()}
        needed = self.required_inputs() | {"document_id"}
        check_columns(needed, needed | self.optional_inputs(), inputs or {}, frozenset(all_outputs), schema)
        tables = Tables.of(rates, prices, known_at)
        self._check_named(tables, {*schema, *(inputs or {})})
        document, kind = names.get("document_id", "document_id"), names.get("line_kind", "line_kind")
        twin = Twin(self._runner(tables), names, all_outputs, raising=True, unasked=self._unasked(schema, inputs))
        twin.check(schema)
        made = totals_schema(schema[document], amount, self._taxes_type())

        def added_up(part: pl.DataFrame, before: int) -> pl.DataFrame:
            return totals_of(twin.eagerly(part, before), document, kind if kind in schema else None, made)

        return as_lazy(lambda: by_document(lazy, document, added_up, one_row_each=False), made)

    def diff(
        self,
        other: PriceBook,
        frame: pl.LazyFrame | pl.DataFrame,
        *,
        inputs: Inputs | None = None,
        rates: Mapping[str, Rates] | None = None,
        prices: Mapping[str, PriceList] | None = None,
        known_at: Instant | tuple[Instant, Instant] = None,
        other_rates: Mapping[str, Rates] | None = None,
        other_prices: Mapping[str, PriceList] | None = None,
        by: str | Sequence[str] = (),
        key: str | Sequence[str] = (),
        measure: Measure = "gross",
        top: int = 10,
        together: str | None = None,
        verify: int = 0,
        spool: Path | None = None,
    ) -> Difference:
        """What changes where another book prices the same rows: totals, who pays more or less, and which rule does it.

        Both books, and those between them that attribution needs (two for each change of the book but the first), see
        each batch of rows once. Memory is that of a batch, or of the documents of one part, and of the groups of `by`.

        Args:
            other: The book to compare with: a change is what it makes of a row less what this one does.
            frame: As for `price`; an input that only one of the books knows is for that one.
            inputs: As for `price`.
            rates: As for `price`, for both books.
            prices: As for `price`, for both books.
            known_at: As for `price`, for both books; or two instants, one for each of them.
            other_rates: Rates of the other book in place of those of the same names.
            other_prices: Price lists of the other book in place of those of the same names.
            by: Columns whose values say who pays, such as "customer"; without them each row is a party of its own.
            key: Columns that name a row, where rows are the parties; else they have their numbers, from 0.
            measure: The amount by which rows are dearer or cheaper: "net", "tax", "gross" or "payable".
            top: How many are named that pay most more, and most less; in each currency.
            together: A column of which all rows with one value are priced, or none: documents, even where the books
                price row by row.
            verify: So many rows, and the extremes, are priced once more by the reference, under either book.
            spool: Where documents of many rows are kept on disk meanwhile; the system's temporary folder where None.

        Raises:
            ConfigurationError: The amounts come out in different currencies, or as in `price`.
            PricingError: Amounts are too large to be added up exactly, or `verify` has found a defect.
        """
        known = known_at if isinstance(known_at, tuple) else (known_at, known_at)
        given = Given.of(rates, prices, known[0])
        others = {**given.tables.rates, **(other_rates or {})}, {**given.tables.prices, **(other_prices or {})}
        asked = Question(
            inputs or {},
            (given, Given.of(*others, known[1])),
            by=[by] if isinstance(by, str) else list(dict.fromkeys(by)),
            key=[key] if isinstance(key, str) else list(dict.fromkeys(key)),
            measure=measure,
            top=top,
            together=together,
            verify=verify,
            spool=spool,
        )
        return difference(self, other, _lazy(frame), asked)

    def compiled(
        self,
        schema: pl.Schema,
        *,
        inputs: Inputs | None,
        tables: Tables,
        wanted: Collection[str],
    ) -> Twin:
        """The twin for frames of these columns that makes some of the columns of `price`, and what is due besides.

        Rows that cannot be priced get their reasons. Arguments and errors are those of `price`.
        """
        twin, _ = self._twin(schema, inputs, tables, receipts=False, errors="column")
        outputs = {**dict.fromkeys(DUE, twin.outputs["net"]), **twin.outputs}
        return replace(twin, outputs={name: outputs[name] for name in wanted})

    def edges(self) -> list[tuple[Step, Edge]]:
        """The values at which steps begin to price otherwise, as far as the book says them."""
        terms = self._terms(standing_in(self.steps, Tables()))
        return [(step, edge) for step in self.steps for edge in step.edges(terms)]

    def lint(
        self,
        *,
        prices: Mapping[str, PriceList] | None = None,
        rates: Mapping[str, Rates] | None = None,
        smallest: Mapping[str, Decimal | int | str] | None = None,
    ) -> list[Finding]:
        """What may well not be meant: cliffs, gaps, overlaps, entries that never make a difference, and the like.

        Each finding has inputs that show it. They are found by pricing items at every edge of every step, and the
        smallest step beside it, by the reference.

        Args:
            prices: The lists that `price_lists` names.
            rates: The tables that `rate_tables` names; where one is not given, every rate is 1.
            smallest: The smallest step of inputs that are numbers, such as `{"quantity": "0.001"}`; by default as many
                digits as their edges have (1 where those are whole; of amounts of money the currency's unit).
        """
        return lint(self.steps, self._terms(standing_in(self.steps, Tables.of(rates, prices, None))), smallest)

    def boundary_tests(self, path: str, prices: Mapping[str, tuple[str, PriceList]] | None = None) -> str:
        """A pytest module that holds the present total at each edge of the book, and a smallest step beside it.

        Of price lists the edges of at most 50 rows are tested, evenly apart; the module says so.

        Args:
            path: Of the book's file, seen from the folder in which the module will be.
            prices: The same of the files of its price lists, by name, with what is in them.
        """
        given = prices or {}
        tables = Tables(prices={name: listed for name, (_, listed) in given.items()})
        terms = self._terms(standing_in(self.steps, tables))
        return boundary_tests(self, terms, path, {name: file for name, (file, _) in given.items()})

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        steps = ", ".join(step.id or step.kind for step in self.steps)
        name = f"{self.name!r}, " if self.name else ""
        return f"PriceBook({name}{self.currency}, {self.rounding}: {steps})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(step.id or step.kind)}</td><td><code>"
            f"{html.escape(json.dumps(step.model_dump(mode='json', exclude_none=True, exclude={'id', 'kind'})))}"
            "</code></td></tr>"
            for step in self.steps
        )
        heading = html.escape(f"{self.name or 'price book'}, {self.currency}, {self.rounding}")
        return f"<table><caption>{heading}</caption><tbody>{rows}</tbody></table>"

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise in_our_words(error, cls) from None

    @field_validator("currency")
    @classmethod
    def _with_minor_units(cls, currency: str) -> str:
        try:
            minor_units(currency)
        except ConfigurationError as error:
            raise PydanticCustomError("currency", "{reason}", {"reason": error.message}) from error
        return currency

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        try:
            return zone if zone is None else zone_info(zone).key
        except ConfigurationError as error:
            raise PydanticCustomError("zone", "{reason}", {"reason": error.message}) from error

    @field_validator("steps")
    @classmethod
    def _with_ids(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        at_least_one(steps)
        taken = Counter(step.id for step in steps if step.id is not None)
        twice = [name for name, count in taken.items() if count > 1]
        if twice:
            raise PydanticCustomError("step_id", "two steps have the id {ids}", {"ids": ", ".join(map(repr, twice))})
        named = []
        for step in steps:
            if step.id is not None:
                named.append(step)
                continue
            name, number = step.kind, 1
            while name in taken:
                number += 1
                name = f"{step.kind}/{number}"
            taken[name] += 1
            named.append(step.model_copy(update={"id": name}))
        return tuple(named)

    @model_validator(mode="after")
    def _one_conversion_after_the_charges(self) -> Self:
        converting = [index for index, step in enumerate(self.steps) if step.converts]
        if len(converting) > 1:
            raise PydanticCustomError("one_conversion", "a book converts once; combine the rates before pricing")
        if converting and self.mixed:
            raise PydanticCustomError("mixed", "a book that converts does not leave currencies mixed")
        for index, step in enumerate(self.steps):
            columns = sorted(step.money_columns())
            if converting and index > converting[0] and columns:
                raise PydanticCustomError(
                    "charge_after_conversion",
                    'step "{id}" takes {columns} from each row after the conversion, when the currency of the row no '
                    "longer counts: list it before",
                    {"id": step.id, "columns": ", ".join(columns)},
                )
        return self

    @model_validator(mode="after")
    def _given_once_and_before(self) -> Self:
        read: dict[str, str | None] = {}
        given: dict[str, str | None] = {}
        for step in self.steps:
            for name in sorted(step.given()):
                other, what = (given[name], "gives") if name in given else (read.get(name), "reads")
                if name in given or name in read:
                    raise PydanticCustomError(
                        "given",
                        'step "{id}" gives {name}, and step "{other}" {what} it before',
                        {"id": step.id, "name": name, "other": other, "what": what},
                    )
                given[name] = step.id
            read |= dict.fromkeys(step.inputs() | step.optional_inputs, step.id)
        return self

    @model_validator(mode="after")
    def _steps_that_fit(self) -> Self:
        terms = self._terms(Tables())
        for step in self.steps:
            problem = step.problem(terms)
            if problem is not None:
                raise PydanticCustomError("step", 'step "{id}": {problem}', {"id": step.id, "problem": problem})
        if sum(isinstance(step, InclusiveTaxes) for step in joined(self.steps)) > 1:
            raise PydanticCustomError("inclusive", "taxes that are included in prices must stand together")
        due = [index for index, step in enumerate(self.steps) if step.settles]
        later = [step.id for step in self.steps[due[0] :] if not step.settles] if due else []
        if later:
            raise PydanticCustomError(
                "after_due",
                'step "{id}" changes the total after "{due}" has said what is payable: list it before',
                {"id": later[0], "due": self.steps[due[0]].id},
            )
        return self

    def _twin(
        self,
        schema: pl.Schema,
        inputs: Inputs | None,
        tables: Tables,
        *,
        receipts: bool,
        errors: Literal["raise", "column"],
    ) -> tuple[Twin, list[str]]:
        """The twin for frames of these columns, and the columns that come out."""
        if errors not in ("raise", "column"):
            raise ConfigurationError(f'errors is "raise" or "column", not {errors!r}')
        outputs = self.output_schema(errors, receipts=receipts)
        needed = self.required_inputs()
        check_columns(needed, needed | self.optional_inputs(), inputs or {}, frozenset(outputs), schema)
        self._check_named(tables, {*schema, *(inputs or {})})
        wanted = [*schema.names(), *(name for name in outputs if name not in schema)]
        unasked = self._unasked(schema, inputs)
        return Twin(self._runner(tables), bound(inputs), outputs, raising=errors == "raise", unasked=unasked), wanted

    def _unasked(self, schema: pl.Schema, inputs: Inputs | None) -> list[str]:
        """Columns that look as if they said a currency, where no column gives that input and nobody means it so."""
        given = inputs or {}
        asked = "currency" in given or "currency" in schema
        return [] if asked else [name for name in currency_columns(schema) if name not in given.values()]

    def _given(self) -> frozenset[str]:
        """Inputs that steps give, so that rows do not."""
        return frozenset().union(*(step.given() for step in self.steps))

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)

    def _taxes_type(self) -> pl.DataType:
        return taxes_type(pl.Decimal(MAX_DIGITS, self._terms(Tables()).result_places))

    def _terms(self, tables: Tables) -> Terms:
        models = [step.id for step in self.steps if step.prices]
        return Terms(
            currency=self.currency,
            rounding=self.rounding,
            unrounded=any((step.rounding or self.rounding) == "none" for step in self.steps),
            converts=any(step.converts for step in self.steps),
            tables=tables.rates,
            prices=tables.prices,
            known_at=tables.known_at,
            resolves=any(step.resolves for step in self.steps),
            zone=self.zone,
            negative=self.negative,
            name=self.name,
            fingerprint=self.fingerprint,
            rule_id=models[-1] if models else None,
            result=self.result_currency(),
            mixed=self.mixed,
        )

    def _check_named(self, tables: Tables, named: Collection[str]) -> None:
        """See that rows say all by which price lists tell them apart: None for an input says that nobody has it."""
        for step in self.steps:
            name = step.price_list()
            prices = None if name is None else tables.prices.get(name)
            lacking = [] if prices is None else [one for one in prices.matches if one not in {*named, "currency"}]
            if lacking:
                raise ConfigurationError(
                    f'the prices "{name}" are told apart by {", ".join(lacking)}, which no input says: give '
                    f'{{"{lacking[0]}": ...}}, or None for it, where no row has one',
                    where=f"step {step.id}",
                )

    def _check_given(self, inputs: Mapping[str, object], tables: Tables, *, every: bool = False) -> None:
        """See that what the book needs is given, that no currency is overlooked, and (`every`) that all is known."""
        # A row may have any columns besides; but one in another currency must not be billed in the book's by a slip.
        if "currency" not in inputs:
            slip = slip_of("currency", (name for name in inputs if not says_currency(name)))
            if slip is not None:
                raise ConfigurationError(f'no input "{slip}"; did you mean "currency"?')
            for name in filter(says_currency, inputs):
                codes = foreign([inputs[name]], self.currency)
                if codes:
                    raise ConfigurationError(
                        f"{name} says {codes[0]}, and the input currency is not given, so that the line would be "
                        f'priced in {self.currency}: give it as "currency", which may be {self.currency}'
                    )
        needed = self.required_inputs()
        missing = sorted(needed - inputs.keys() - {"document_id"})
        if missing:
            given = ", ".join(inputs) or "none"
            near = [f'"{found}" is near {name}' for name in missing if (found := nearest(name, inputs))]
            hint = f" ({'; '.join(near)})" if near else ""
            raise ConfigurationError(f"the book needs the inputs {', '.join(missing)}; given: {given}{hint}")
        unasked = inputs.keys() - needed if every else set()
        if unasked and (unknown := sorted(unasked - self.optional_inputs())):
            known = needed | self.optional_inputs()
            raise ConfigurationError("\n".join(unknown_input(name, needed, known) for name in unknown))
        self._check_named(tables, inputs)

    def _runner(self, tables: Tables) -> Runner:
        return Runner(
            joined(self.steps),
            self._terms(tables),
            self.required_inputs() | self.optional_inputs(),
            documents=self.concerns_documents(),
        )


def _lazy(frame: pl.LazyFrame | pl.DataFrame) -> pl.LazyFrame:
    if not isinstance(frame, pl.LazyFrame | pl.DataFrame):
        raise ConfigurationError(f"rows come as a Polars LazyFrame or DataFrame, not as a {type(frame).__name__}")
    return frame.lazy()
