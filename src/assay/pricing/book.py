"""The price book: strategies in order, and the two ways to run them."""

from __future__ import annotations

import hashlib
import html
import json
from collections import Counter
from collections.abc import Mapping
from decimal import localcontext
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError, PricingError, UnknownNameError, nearest
from assay.money import EXACT, MAX_DIGITS, minor_units
from assay.pricing.batch import ERROR, BatchRating, check_columns, currency_mismatch
from assay.pricing.loading import read_book, worded
from assay.pricing.rates import RATE_PLACES, Rates
from assay.pricing.rating import Rating
from assay.pricing.receipt import Receipt
from assay.pricing.registry import strategy, strategy_kinds
from assay.pricing.step import Step
from assay.pricing.terms import BookRounding, Terms

AMOUNTS = ("base", "discount", "net", "tax", "gross")


def _step(value: object) -> object:
    if isinstance(value, Step) or not isinstance(value, Mapping):
        return value
    kind = value.get("kind")
    if not isinstance(kind, str):
        raise PydanticCustomError("step_kind", "say the kind of step: {kinds}", {"kinds": ", ".join(strategy_kinds())})
    try:
        found = strategy(kind)
    except UnknownNameError as error:
        raise PydanticCustomError("step_kind", "{reason}", {"reason": error.message}) from error
    return found.model_validate(dict(value))


class PriceBook(BaseModel):
    """How things are priced: a currency, a rounding, and steps that run in the order listed.

    Every charge, discount and tax is rounded to the digits of the currency that the item is in at that point, by the
    step's rounding or the book's. With `rounding="none"` amounts are exact, to ten places.

    Args:
        currency: ISO 4217 code; literal amounts in the book are in it.
        rounding: By name, such as "half_up".
        steps: Strategies, or tables with a `kind`.
        name: Shown on receipts.

    Raises:
        pydantic.ValidationError: The book is wrong (`load` raises ConfigurationError, with file and key).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(default=None, min_length=1)
    currency: str
    rounding: BookRounding
    steps: Annotated[tuple[Annotated[SerializeAsAny[Step], BeforeValidator(_step)], ...], Field(min_length=1)]

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
            kinds = [strategy(kind) for kind in strategy_kinds()]
            raise worded(error, [cls, *kinds], str(path)) from None

    def dump(self) -> str:
        """The book as canonical JSON text; loading it gives an equal book."""
        return json.dumps(self._content(), ensure_ascii=False, indent=2, sort_keys=True) + "\n"

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the canonical content: equal for books that are written differently but say the same."""
        compact = json.dumps(self._content(), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(compact.encode()).hexdigest()

    def required_inputs(self) -> frozenset[str]:
        """Names of the inputs that every row must bring; `currency` may come besides."""
        return frozenset().union(*(step.inputs() for step in self.steps))

    def rate_tables(self) -> frozenset[str]:
        """Names of the rates tables that must be given when pricing."""
        return frozenset(name for step in self.steps if (name := step.rate_table()) is not None)

    def result_currency(self) -> str:
        """The currency that amounts come out in."""
        converted = [getattr(step, "to", self.currency) for step in self.steps if step.converts]
        return converted[-1] if converted else self.currency

    def output_schema(self, errors: Literal["raise", "column"] = "raise") -> dict[str, pl.DataType]:
        """The columns that `price` adds, in order, and their types."""
        terms = self._terms({})
        amount = pl.Decimal(MAX_DIGITS, terms.places(self.result_currency()))
        columns: dict[str, pl.DataType] = dict.fromkeys(AMOUNTS, amount)
        columns["currency"] = pl.String()
        if terms.converts:
            columns["fx_rate"] = pl.Decimal(MAX_DIGITS, RATE_PLACES)
        if errors == "column":
            columns[ERROR] = pl.String()
        return columns

    def quote(self, *, rates: Mapping[str, Rates] | None = None, **inputs: object) -> Receipt:
        """Price one item by the reference.

        Args:
            rates: The tables that `rate_tables` names.
            inputs: Values by name, such as `quantity=10`: Decimal, int or decimal string; `currency` is the item's,
                by default the book's. What the book does not ask for is left alone, so that a row can be passed.

        Raises:
            PricingError: The item cannot be priced; names the step and the reason, as `price` does for a row.
            ConfigurationError: An input or a rates table is missing, or an input is a float (also a TypeError).
        """
        missing = sorted(self.required_inputs() - inputs.keys())
        if missing:
            given = ", ".join(inputs) or "none"
            near = [f'"{found}" is near {name}' for name in missing if (found := nearest(name, inputs))]
            hint = f" ({'; '.join(near)})" if near else ""
            raise ConfigurationError(f"the book needs the inputs {', '.join(missing)}; given: {given}{hint}")
        terms = self._terms(rates)
        with localcontext(EXACT):
            rating = Rating(terms, inputs, self._currency_of(inputs, terms))
            for step in self.steps:
                rating.begin(step)
                step.open(rating)
            for step in self.steps:
                rating.begin(step)
                step.price(rating)
            return rating.receipt(self.name)

    def price(
        self,
        frame: pl.LazyFrame | pl.DataFrame,
        *,
        inputs: Mapping[str, str] | None = None,
        rates: Mapping[str, Rates] | None = None,
        errors: Literal["raise", "column"] = "raise",
    ) -> pl.LazyFrame:
        """Price every row by the compiled twin: one row out for one in, in order.

        Adds base, discount, net, tax and gross (Decimal(38, digits of the result currency), ten where a rounding is
        "none"), currency (String) and, where the book converts, fx_rate (Decimal(38, 18)). Amounts have at most 32
        digits before the point (26 where a rounding is "none").

        Args:
            frame: Decimal or integer columns for the inputs; a String or Enum column `currency`, if rows differ.
            inputs: The book's input names to the frame's columns, where they differ.
            rates: The tables that `rate_tables` names.
            errors: What becomes of rows that cannot be priced (null input, no rate, too many digits): "raise" raises
                PricingError on collect, naming a row, the step and the reason; "column" gives the reason in a column
                `pricing_error` (null: priced), with the amounts null.

        Raises:
            ConfigurationError: A column is missing, a float (also a TypeError), or in the way of an output.
        """
        lazy = frame.lazy()
        names = dict(inputs or {})
        outputs = self.output_schema(errors)
        check_columns(self.required_inputs(), names, frozenset(outputs), lazy.collect_schema())
        batch = BatchRating(self._terms(rates), lazy, names, number_rows=errors == "raise")
        for step in self.steps:
            batch.begin(step)
            step.open_expr(batch)
        for step in self.steps:
            batch.begin(step)
            step.price_expr(batch)
        return batch.close(outputs, raising=errors == "raise")

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

    @field_validator("currency")
    @classmethod
    def _with_minor_units(cls, currency: str) -> str:
        try:
            minor_units(currency)
        except ConfigurationError as error:
            raise PydanticCustomError("currency", "{reason}", {"reason": error.message}) from error
        return currency

    @field_validator("steps")
    @classmethod
    def _with_ids(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
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

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)

    def _terms(self, rates: Mapping[str, Rates] | None) -> Terms:
        return Terms(
            currency=self.currency,
            rounding=self.rounding,
            unrounded=any((step.rounding or self.rounding) == "none" for step in self.steps),
            converts=any(step.converts for step in self.steps),
            tables=rates or {},
        )

    def _currency_of(self, inputs: Mapping[str, object], terms: Terms) -> str:
        currency = inputs.get("currency", self.currency)
        if currency is None:
            raise PricingError("currency is null")
        if not isinstance(currency, str):
            raise ConfigurationError(f"the currency is a {type(currency).__name__}, not a string such as EUR")
        if not terms.converts and currency != self.currency:
            raise PricingError(currency_mismatch(self.currency).format(currency))
        return currency
