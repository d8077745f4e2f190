"""The compiled twin: all rows are priced at once, by native expressions on exact integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from assay.errors import ConfigurationError, PricingError, nearest
from assay.money import EXACT, Grid, Rounded, Rounding, Scaled, minor_units, rounded_product, rounded_quotient
from assay.pricing.rates import RATE_PLACES, places
from assay.pricing.rating import literal_elsewhere
from assay.pricing.terms import TOO_FINE, TOO_LARGE, UNROUNDED_PLACES, Terms
from assay.pricing.values import Column

if TYPE_CHECKING:
    from assay.pricing.step import Step

# Columns of the computation; no frame may bring such.
_OWN = "__assay_price_"
_ROW = f"{_OWN}row"

ERROR = "pricing_error"

_ZERO = Scaled(pl.lit(0, dtype=pl.Int128), 0, 0)


class BatchRating:
    """A frame while it is being priced. Steps read columns from it and add to it.

    Its methods have the names of `Rating`, which does the same for one item; steps call both in the same order, so
    that a row that cannot be priced gets the same reason: the first that applies. A value is a `Scaled` column: exact,
    and null in rows that have a reason. Amounts handed over by steps are rounded: they come from `product` or
    `quotient`, which round once to the digits of the currency that each row is in at that point.
    """

    def __init__(self, terms: Terms, frame: pl.LazyFrame, inputs: Mapping[str, str], *, number_rows: bool) -> None:
        self.terms = terms
        self._schema = frame.collect_schema()
        own = [name for name in self._schema.names() if name.startswith(_OWN)]
        if own:
            raise ConfigurationError(f"column names beginning with {_OWN} are taken: rename {', '.join(own)}")
        self._frame = frame.with_row_index(_ROW) if number_rows else frame
        self._inputs = inputs
        self._kept = 0
        self._problems: list[tuple[pl.Expr, pl.Expr]] = []
        self._step: Step
        self._grid = Grid(terms.places(terms.currency), self._step_of(terms.currency))
        self.base = self.discount = self.net = self.tax = Scaled(_ZERO.units, self._grid.scale, 0)
        self.currency: pl.Expr | str = terms.currency
        self._rate: Scaled | None = None
        self.fx_rate: Scaled | None = None
        self._open_currency()

    def begin(self, step: Step) -> None:
        """Name the step under way: its rounding counts, and errors name it."""
        self._step = step

    # What steps read

    def input(self, name: str) -> Scaled:
        """The input of that name."""
        column = self._inputs.get(name, name)
        try:
            value = Scaled.column(pl.col(column), self._schema[column])
        except ConfigurationError as error:
            where = f'input {name} (column "{column}")' if column != name else f"input {name}"
            raise type(error)(f"{error.message}; cast it to a Decimal where it is read", where=where) from None
        self._problem(pl.col(column).is_null(), f"{name} is null")
        if self._schema[column] in (pl.Int128(), pl.UInt128()):
            self._problem(value.units.is_null(), f"{name} has more than 38 digits")
        return value

    def value(self, field: str) -> Scaled:
        """A field of the step: what the book says, or the column of the input that it names."""
        value: Decimal | Column = getattr(self._step, field)
        return self.input(value.column) if isinstance(value, Column) else Scaled.literal(value)

    def money(self, field: str) -> Scaled:
        """A field that is an amount of money; one that the book says is in the book's currency."""
        if not isinstance(getattr(self._step, field), Column):
            home = self.terms.currency
            if isinstance(self.currency, str):
                self._problem(pl.lit(self.currency != home), literal_elsewhere(field, self.terms, self.currency))
            else:
                prefix = literal_elsewhere(field, self.terms, "")
                self._problem(self.currency != home, pl.concat_str(pl.lit(prefix), self.currency))
        return self.value(field)

    def require(self, holds: pl.Expr, reason: str) -> None:
        """Give rows in which the condition is false this reason, unless they have one."""
        self._problem(~holds, reason)

    # What steps compute with

    def product(self, a: Scaled, b: Scaled) -> Scaled:
        """R(a * b)."""
        return self._settled(
            rounded_product(a, b, self._target_grid(), self._rounding(), self._max_digits(), keep=self._keep)
        )

    def quotient(self, a: Scaled, b: Scaled) -> Scaled:
        """R(a / b)."""
        return self._settled(
            rounded_quotient(a, b, self._target_grid(), self._rounding(), self._max_digits(), keep=self._keep)
        )

    # What steps do

    def charge(self, amount: Scaled) -> None:
        """Add a charge."""
        self.base = self._stored(self.base + amount)
        self.net = self._stored(self.net + amount)

    def reduce(self, amount: Scaled) -> None:
        """Take a discount off; what remains is the net."""
        self.discount = self._stored(self.discount + amount)
        self.net = self._stored(self.net - amount)

    def add_tax(self, amount: Scaled) -> None:
        """Add a tax."""
        self.tax = self._stored(self.tax + amount)

    def admit(self, rates: Mapping[str, Decimal], to: str, missing: str) -> None:
        """Let rows in that have a rate; `missing` says, before the currency's name, why others stay out."""
        scale = max(places(rate) for rate in rates.values())
        units = {currency: int(rate.scaleb(scale, context=EXACT)) for currency, rate in rates.items()}
        bound = max(units.values())
        reason_to = f'" to {to}'
        if isinstance(self.currency, str):
            found = self.currency in units
            self._problem(pl.lit(not found), f'{missing} "{self.currency}{reason_to}')
            rate = pl.lit(units[self.currency] if found else None, dtype=pl.Int128)
        else:
            rate = self._by_currency(units)
            quoted = pl.concat_str(pl.lit(f'{missing} "'), self.currency, pl.lit(reason_to))
            self._problem(rate.is_null(), quoted)
            self._grid_of(rates)
        self._rate = Scaled(rate, scale, bound)

    def convert(self, to: str, converted: Callable[[Scaled, Scaled], Scaled]) -> None:
        """Go over to another currency; the discount takes the difference of base and net."""
        if self._rate is None:
            raise ConfigurationError(f"step {self._step.id}: a conversion must admit its rates in open_expr")
        self.fx_rate = self._rate
        self.currency = to
        self._grid = Grid(self.terms.places(to), self._step_of(to))
        self.net = converted(self.net, self._rate)
        self.base = converted(self.base, self._rate)
        self.discount = self._stored(self.base - self.net)
        self.tax = converted(self.tax, self._rate)

    def close(self, outputs: Mapping[str, pl.DataType], *, raising: bool) -> pl.LazyFrame:
        """The frame with its new columns."""
        reason = self._keep(self._reason())
        fine = reason.is_null()
        amounts = {
            "base": self.base,
            "discount": self.discount,
            "net": self.net,
            "tax": self.tax,
            "gross": self.net + self.tax,
        }
        columns = {name: self._shown(amount, fine) for name, amount in amounts.items()}
        columns["currency"] = self._shown_currency(fine)
        if self.fx_rate is not None:
            columns["fx_rate"] = self._shown(self.fx_rate, fine, RATE_PLACES)
        columns[ERROR] = reason
        wanted = [*self._schema.names(), *(name for name in outputs if name not in self._schema)]
        frame = self._frame.with_columns(**columns)
        if raising:
            frame = frame.select(*wanted, ERROR, _ROW).map_batches(_raise_first, streamable=True)
        return frame.select(wanted)

    # How

    def _open_currency(self) -> None:
        """Rows say their currency, if they do; without a conversion it can only be the book's."""
        column = self._inputs.get("currency", "currency")
        if column not in self._schema:
            return
        dtype = self._schema[column]
        if not isinstance(dtype, pl.String | pl.Enum | pl.Categorical):
            raise ConfigurationError(f"the column is {dtype}, not a String or an Enum", where=f'column "{column}"')
        currency = pl.col(column) if isinstance(dtype, pl.String) else self._keep(pl.col(column).cast(pl.String))
        self.currency = currency
        self._note(currency.is_null(), pl.lit("currency is null"))
        if not self.terms.converts:
            mismatch = currency_mismatch(self.terms.currency).partition("{}")
            text = pl.concat_str(pl.lit(mismatch[0]), currency, pl.lit(mismatch[2]))
            self._note(currency != self.terms.currency, text)

    def _grid_of(self, currencies: Mapping[str, Decimal]) -> None:
        """Each row is rounded to the digits of its own currency."""
        scale = max(self.terms.places(currency) for currency in currencies)
        steps = {currency: 10 ** (scale - minor_units(currency)) for currency in currencies}
        same = len(set(steps.values())) == 1
        step = next(iter(steps.values())) if same else self._by_currency(steps)
        self._grid = Grid(scale, step, max(steps.values()))
        self.base = self.discount = self.net = self.tax = Scaled(_ZERO.units, scale, 0)

    def _by_currency(self, units: Mapping[str, int]) -> pl.Expr:
        if isinstance(self.currency, str):
            return pl.lit(units[self.currency], dtype=pl.Int128)
        values = pl.Series(list(units.values()), dtype=pl.Int128)
        return self._keep(self.currency.replace_strict(list(units), values, default=None, return_dtype=pl.Int128()))

    def _step_of(self, currency: str) -> int:
        return int(10 ** (UNROUNDED_PLACES - minor_units(currency))) if self.terms.unrounded else 1

    def _target_grid(self) -> Grid:
        return Grid(UNROUNDED_PLACES) if self._mode() == "none" else self._grid

    def _mode(self) -> str:
        return self._step.rounding or self.terms.rounding

    def _rounding(self) -> Rounding:
        mode = self._step.rounding or self.terms.rounding
        return "half_even" if mode == "none" else mode

    def _max_digits(self) -> int:
        return self.terms.whole_digits + self._grid.scale

    def _settled(self, result: Rounded) -> Scaled:
        amount = self._stored(result.amount)
        if not result.complete:
            self._problem(amount.units.is_null(), TOO_LARGE)
        if self._mode() == "none":
            self._problem(~result.exact, TOO_FINE)
        return amount

    def _stored(self, amount: Scaled) -> Scaled:
        return Scaled(self._keep(amount.units), amount.scale, amount.bound)

    def _keep(self, expr: pl.Expr) -> pl.Expr:
        """Compute a column once; what mentions no column, or is one, stays as it is."""
        if not expr.meta.root_names() or expr.meta.is_column():
            return expr
        name = f"{_OWN}{self._kept}"
        self._kept += 1
        self._frame = self._frame.with_columns(expr.alias(name))
        return pl.col(name)

    def _problem(self, wrong: pl.Expr, reason: str | pl.Expr) -> None:
        """Where `wrong` is true, the step under way gives this reason."""
        text = pl.lit(f"{self._step.id}: {reason}") if isinstance(reason, str) else None
        self._note(wrong, pl.concat_str(pl.lit(f"{self._step.id}: "), reason) if text is None else text)

    def _note(self, wrong: pl.Expr, text: pl.Expr) -> None:
        if wrong.meta.root_names() or pl.select(wrong).item():
            self._problems.append((wrong, text))

    def _reason(self) -> pl.Expr:
        reason = pl.lit(None, dtype=pl.String)
        for wrong, text in reversed(self._problems):
            reason = pl.when(wrong).then(text).otherwise(reason)
        return reason

    def _shown(self, amount: Scaled, fine: pl.Expr, places: int | None = None) -> pl.Expr:
        if not self._problems:
            return amount.decimal(places)
        return Scaled(pl.when(fine).then(amount.units), amount.scale, amount.bound).decimal(places)

    def _shown_currency(self, fine: pl.Expr) -> pl.Expr:
        """A row that could not be priced keeps its own."""
        column = self._inputs.get("currency", "currency")
        own = pl.col(column).cast(pl.String) if column in self._schema else pl.lit(self.terms.currency)
        result = pl.lit(self.currency) if isinstance(self.currency, str) else pl.lit(self.terms.currency)
        return pl.when(fine).then(result).otherwise(own)


def currency_mismatch(book: str) -> str:
    """Why a row in another currency cannot be priced; {} stands for the row's."""
    return f"currency: the row is in {{}}, the book in {book}, and no step converts"


def check_columns(
    needed: frozenset[str], inputs: Mapping[str, str], outputs: frozenset[str], schema: pl.Schema
) -> None:
    """Check that the frame has what a book needs, and room for what it adds.

    Raises:
        ConfigurationError: Listing every column that is missing or in the way.
    """
    wrong = []
    for name in inputs:
        if name not in needed and name != "currency":
            near = nearest(name, [*needed, "currency"])
            hint = f'; did you mean "{near}"?' if near else ""
            wrong.append(f'the book has no input "{name}"{hint} It needs {", ".join(sorted(needed))}')
    required = {*needed, *({"currency"} & set(inputs))}
    for name in sorted(required):
        column = inputs.get(name, name)
        if column not in schema:
            near = nearest(column, schema.names())
            hint = f'; the nearest is "{near}"' if near else f"; there are {', '.join(schema.names()) or 'none'}"
            of = f" for the input {name}" if column != name else ""
            wrong.append(f'no column "{column}"{of}{hint}')
    overwritten = {"currency"} if inputs.get("currency", "currency") == "currency" else set()
    clashing = sorted((outputs - overwritten) & set(schema.names()))
    if clashing:
        wrong.append(f"the book adds {', '.join(clashing)}, which the frame has already: rename or drop before pricing")
    if wrong:
        raise ConfigurationError("\n".join(wrong))


def _raise_first(frame: pl.DataFrame) -> pl.DataFrame:
    reasons = frame[ERROR]
    if reasons.null_count() < frame.height:
        row, reason = frame.filter(reasons.is_not_null()).select(_ROW, ERROR).row(0)
        raise PricingError(
            f'row {row} (the first is 0): {reason}; errors="column" prices the others and gives the reasons'
        )
    return frame
