"""The compiled twin: all rows are priced at once, by native expressions on exact integers.

The twin says what it is certain of. A row that it is not certain of (a null, a digit too many, a condition that does
not hold, a case that a strategy leaves to the reference) is in *doubt*: whatever was computed for it is thrown away,
and the reference prices it or says why it cannot be priced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from assay.errors import ConfigurationError
from assay.money import (
    EXACT,
    MAX_DIGITS,
    MAX_UNITS,
    MINOR_UNITS,
    Grid,
    Rounded,
    Rounding,
    Scaled,
    aligned,
    below,
    ceil_quotient,
    chosen,
    exact_product,
    floor_quotient,
    greater,
    integer,
    lesser,
    minor_units,
    minus,
    negated,
    plus,
    rescaled,
    rounded,
    rounded_product,
    rounded_quotient,
    size,
)
from assay.pricing.moments import instant_expr, local_day_expr
from assay.pricing.rates import RATE_PLACES, places
from assay.pricing.rating import NAMES, TURNED
from assay.pricing.receipt import RESIDUE_PLACES
from assay.pricing.terms import UNROUNDED_PLACES, Terms
from assay.pricing.values import Column

if TYPE_CHECKING:
    from assay.pricing.step import Step

# Columns of the computation; no frame may bring such.
OWN = "__assay_price_"
DOUBT = f"{OWN}doubt"
POSITION = f"{OWN}position"
PART = f"{OWN}part_"
"""Lists of structs come as columns, one an element, numbered: "part_taxes_0", ..."""
GIVEN_CURRENCY = f"{OWN}given_currency"

_ZERO = Scaled(pl.lit(0, dtype=pl.Int128), 0, 0)
ONE = Scaled(pl.lit(1, dtype=pl.Int128), 0, 1)
# What is summed over a document is estimated in floating point first, which is off by far less than this leaves.
_SURELY = 5e37
_LARGEST_SUM = 10**36


@dataclass(frozen=True, slots=True)
class Amount:
    """A rounded column, and what it was rounded from.

    Attributes:
        value: The amount.
        residue: Makes amount - exact, at RESIDUE_PLACES places; None where the two are the same.
    """

    value: Scaled
    residue: Callable[[], Scaled] | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What a step has to say about its amounts: the columns of a `Wording`.

    Attributes:
        what: As there; where it differs between rows, a String column.
        rule, counts: As there; the same in all rows.
        quantity, rate, tier: As there.
        when: Rows in which there is such a line; all of them where None.
    """

    what: str | pl.Expr
    quantity: Scaled | None = None
    rate: Scaled | None = None
    tier: pl.Expr | int | None = None
    rule: tuple[str, str] | None = None
    counts: bool = True
    when: pl.Expr | None = None


@dataclass(frozen=True, slots=True)
class TaxNote:
    """One tax in all rows: the columns of a `TaxLine`; rows in which `when` is false have none."""

    code: str
    category: pl.Expr | None
    rate: Scaled
    base: Scaled
    amount: Scaled
    retained: bool = False
    when: pl.Expr | None = None


@dataclass(slots=True)
class _ReceiptLine:
    id: str
    step: str
    note: Note
    amount: Scaled
    residue: Scaled | None
    currency: pl.Expr | str
    counts: bool


@dataclass(slots=True)
class Sums:
    """The amounts of each row, named as in `Rating`."""

    base: Scaled
    discount: Scaled
    net: Scaled
    tax: Scaled
    retained: Scaled
    prepaid: Scaled
    rounding: Scaled
    allowance: Scaled
    surcharge: Scaled

    @classmethod
    def zero(cls, scale: int) -> Sums:
        """Nothing yet."""
        nothing = Scaled(_ZERO.units, scale, 0)
        return cls(*([nothing] * 9))


class BatchRating:
    """A frame while it is being priced. Steps read columns from it and add to it.

    Its methods have the names of `Rating`, which does the same for one item. A value is a `Scaled` column: exact in
    every row that is not in doubt. Amounts handed over by steps are rounded: they come from `product`, `quotient` or
    `ratio`, which round once to the digits of the currency that each row is in at that point.

    Args:
        terms: What all steps share.
        frame: The rows; of a document all of them, where steps concern documents.
        inputs: Names of inputs to names of columns, where they differ.
        receipts: Whether receipts are wanted.
    """

    def __init__(
        self, terms: Terms, frame: pl.LazyFrame, inputs: Mapping[str, str], *, receipts: bool, documents: bool
    ) -> None:
        self.terms = terms
        self._schema = frame.collect_schema()
        taken = [name for name in self._schema.names() if name.startswith(OWN)]
        if taken:
            raise ConfigurationError(f"column names beginning with {OWN} are taken: rename {', '.join(taken)}")
        self._frame = frame.with_row_index(POSITION)
        self._inputs = inputs
        self._kept = 0
        self._doubts: list[pl.Expr] = []
        self._step: Step
        self.receipts = receipts
        self._grid = Grid(terms.places(terms.currency), self._step_of(terms.currency))
        self.sums = Sums.zero(self._grid.scale)
        self.taxes: list[TaxNote] = []
        self.currency: pl.Expr | str = terms.currency
        self._rate: Scaled | None = None
        self.fx_rate: Scaled | None = None
        self.fx_date: pl.Expr | None = None
        self._lines: list[_ReceiptLine] = []
        self._units: tuple[Scaled | None, Scaled] | None = None
        self.continues: pl.Expr = pl.lit(value=False)
        self._given: dict[str, tuple[Scaled, pl.Expr]] = {}
        self._price_ids: list[pl.Expr] = []
        self._windows: list[tuple[pl.Expr, pl.Expr]] = []
        self._open_currency()
        self.kind = self._line_kind()
        self.turned = self._turned()
        self.sign = self._sign()
        self.document = self._open_document() if documents else None

    def begin(self, step: Step) -> None:
        """Name the step under way: its rounding counts."""
        self._step = step

    # What steps read

    def has(self, name: str) -> bool:
        """Whether the frame brings this input, or a step before has given it."""
        return name in self._given or self._inputs.get(name, name) in self._schema

    def input(self, name: str) -> Scaled:
        """The input of that name."""
        value = self._number(name)
        self.doubt(value.units.is_null())
        return value

    def optional(self, name: str, default: Decimal) -> Scaled:
        """The input of that name, or the default where a row does not bring it."""
        if name in self._given or not self.has(name):
            return self._given[name][0] if name in self._given else Scaled.literal(default)
        value = self._number(name)
        column = pl.col(self._inputs.get(name, name))
        if value.bound >= 10**MAX_DIGITS - 1:
            self.doubt(value.units.is_null() & column.is_not_null())
        by_default = int(default.scaleb(value.scale, context=EXACT))
        units = self._keep(value.units.fill_null(pl.lit(by_default, dtype=pl.Int128)))
        return Scaled(units, value.scale, max(value.bound, abs(by_default)))

    def text(self, name: str) -> pl.Expr | None:
        """The input of that name, String; None where the frame does not bring it."""
        column = self._inputs.get(name, name)
        if column not in self._schema:
            return None
        dtype = self._schema[column]
        named = name in NAMES and dtype.is_integer()
        if not (isinstance(dtype, pl.String | pl.Enum | pl.Categorical) or named):
            wanted = "a String, an Enum or whole numbers" if name in NAMES else "a String or an Enum"
            raise ConfigurationError(f"the column is {dtype}, not {wanted}", where=f'column "{column}"')
        return pl.col(column) if isinstance(dtype, pl.String) else self._keep(pl.col(column).cast(pl.String))

    def moment(self, name: str) -> tuple[pl.Expr, pl.DataType]:
        """The input of that name, a Date or Datetime column, and its type."""
        column = self._inputs.get(name, name)
        dtype = self._schema[column]
        if not isinstance(dtype, pl.Date | pl.Datetime):
            raise ConfigurationError(f"the column is {dtype}, not a Date or a Datetime", where=f'column "{column}"')
        self.doubt(pl.col(column).is_null())
        return pl.col(column), dtype

    def raw(self, name: str) -> pl.Expr:
        """The column of an input, as it is."""
        return pl.col(self._inputs.get(name, name))

    def instant(self, name: str, zone: str | None = None) -> pl.Expr:
        """The input of that name as microseconds since the epoch (Int64), as `moments.instant`.

        Args:
            name: Of the input.
            zone: The zone of days and times without one, where the book has none.
        """
        column, dtype = self.moment(name)
        instant = self._keep(instant_expr(column, dtype, self.terms.zone or zone))
        self.doubt(instant.is_null() & column.is_not_null())
        return instant

    def day(self, name: str) -> pl.Expr:
        """The input of that name as a day of the book's zone (Date)."""
        column, dtype = self.moment(name)
        return self._keep(local_day_expr(column, dtype, self.terms.zone, name))

    def known(self) -> pl.Expr | None:
        """As far as prices and rates were known then, in microseconds since the epoch (Int64); null: all of them.

        None where no column says it, so that it is the same for all rows: `terms.known_at`.
        """
        column = self._inputs.get("known_at", "known_at")
        if column not in self._schema:
            return None
        dtype = self._schema[column]
        if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
            raise ConfigurationError(
                f"the column is {dtype}, and what was known when is told by Datetimes with a zone",
                where=f'input known_at (column "{column}")' if column != "known_at" else "input known_at",
            )
        return self._keep(pl.col(column).dt.timestamp("us").fill_null(pl.lit(self.terms.known_at, dtype=pl.Int64)))

    def value(self, field: str, of: object = None) -> Scaled:
        """A field of the step (or of a rule inside it): what the book says, or the input that it names."""
        value: Decimal | Column = getattr(self._step if of is None else of, field)
        return self.input(value.column) if isinstance(value, Column) else Scaled.literal(value)

    def money(self, field: str, of: object = None) -> Scaled:
        """A field that is an amount of money; one that the book says is in the book's currency."""
        literal = getattr(self._step if of is None else of, field)
        if not isinstance(literal, Column) and literal:
            self.require(self.in_currency(self.terms.currency))
        elif isinstance(literal, Column) and literal.column in self._given:
            self.require(self.in_currency(self.terms.currency) | self._given[literal.column][1])
        return self.value(field, of)

    def in_currency(self, code: str) -> pl.Expr:
        """Boolean: the row's amounts are in this currency at this point."""
        return pl.lit(self.currency == code) if isinstance(self.currency, str) else self.currency == code

    def require(self, holds: pl.Expr) -> None:
        """Leave rows in which the condition is not true to the reference, which says what is wrong."""
        self.doubt(holds.not_().fill_null(value=True))

    def doubt(self, uncertain: pl.Expr) -> None:
        """Leave rows in which this is true to the reference."""
        if uncertain.meta.root_names():
            self._doubts.append(uncertain)
        elif pl.select(uncertain).item():
            self._doubts.append(pl.lit(value=True))

    # The quantity, which steps may change before it is priced

    def units(self) -> tuple[Scaled | None, Scaled]:
        """Units before (None where the frame does not bring any) and after, as in `Rating.units`."""
        if self._units is None:
            quantity = self.input("quantity")
            if not self.has("quantity_before"):
                self._units = None, quantity
            else:
                before = self.optional("quantity_before", Decimal(0))
                after = self.stored(self.plus(before, quantity))
                self.require((before.units >= 0) & ((before.units == 0) | (after.units >= 0)))
                self._units = before, after
                self.continues = self._keep(before.units != 0)
        return self._units

    def use(self, before: Scaled | None, after: Scaled) -> None:
        """Go on with other units."""
        self._units = before, after

    # What steps give to others

    def give(self, name: str, value: Scaled, *, named: pl.Expr) -> None:
        """Make values of a price list an input of the steps after.

        Args:
            name: Of the input.
            value: Its values; rows without one are in doubt.
            named: Boolean: the row of the list names a currency; else an amount of money is in the book's.
        """
        self.doubt(value.units.is_null())
        self._given[name] = value, named

    def resolve(self, price: pl.Expr, start: pl.Expr, end: pl.Expr) -> None:
        """Say which row of a price list applied (String), and when that is valid; see `hold`."""
        self._price_ids.append(price)
        self.hold(start, end)

    def hold(self, start: pl.Expr, end: pl.Expr) -> None:
        """Say when something that contributed is valid: microseconds since the epoch (Int64); null is open."""
        self._windows.append((start, end))

    # What steps compute with

    def product(self, a: Scaled, b: Scaled) -> Amount:
        """R(a * b)."""
        amount = self._settled(
            rounded_product(a, b, self._target_grid(), self._rounding(), self._max_digits(), keep=self._keep),
            a.units.is_not_null() & b.units.is_not_null(),
        )
        return Amount(amount, lambda: self._product_residue(amount, a, b))

    def quotient(self, a: Scaled, b: Scaled) -> Amount:
        """R(a / b)."""
        a = self._dividend(a, b, self._target_grid().scale)
        amount = self._settled(
            rounded_quotient(a, b, self._target_grid(), self._rounding(), self._max_digits(), keep=self._keep),
            a.units.is_not_null() & b.units.is_not_null(),
        )
        return Amount(amount, lambda: self._quotient_residue(amount, a, b))

    def ratio(self, a: Scaled, numerator: Scaled, denominator: Scaled) -> Amount:
        """R(a * numerator / denominator), multiplied first."""
        return self.quotient(self.exact(a, numerator), denominator)

    def rounded(self, exact: Scaled) -> Amount:
        """R(exact)."""
        return self.product(exact, ONE)

    def exact(self, a: Scaled, b: Scaled) -> Scaled:
        """A * b, nothing rounded."""
        return self._certain(exact_product(a, b), a, b)

    def plus(self, a: Scaled, b: Scaled) -> Scaled:
        """A + b, whatever their scales."""
        return self._certain(plus(a, b), a, b)

    def minus(self, a: Scaled, b: Scaled) -> Scaled:
        """A - b, whatever their scales."""
        return self._certain(minus(a, b), a, b)

    def aligned(self, a: Scaled, b: Scaled) -> tuple[Scaled, Scaled]:
        """Both at the larger of their scales, so that their units can be compared."""
        left, right = aligned(a, b)
        return self._certain(left, a), self._certain(right, b)

    def less(self, a: Scaled, b: Scaled) -> pl.Expr:
        """Boolean: a < b."""
        return below(*self.aligned(a, b))

    def at_most(self, a: Scaled, b: Scaled) -> pl.Expr:
        """Boolean: a <= b."""
        left, right = self.aligned(a, b)
        return ~below(right, left)

    def size(self, a: Scaled) -> Scaled:
        """|a|."""
        return self.stored(size(a))

    def lesser(self, a: Scaled, b: Scaled) -> Scaled:
        """The smaller of the two."""
        return self.stored(lesser(*self.aligned(a, b)))

    def greater(self, a: Scaled, b: Scaled) -> Scaled:
        """The larger of the two."""
        return self.stored(greater(*self.aligned(a, b)))

    def chosen(self, condition: pl.Expr, a: Scaled, b: Scaled) -> Scaled:
        """A where the condition is true, else b."""
        return self.stored(chosen(condition, *self.aligned(a, b)))

    def ceil_quotient(self, a: Scaled, b: Scaled) -> Scaled:
        """The whole number from a / b upwards, for a >= 0 and b > 0."""
        return self.stored(ceil_quotient(*self.aligned(a, b)))

    def floor_quotient(self, a: Scaled, b: Scaled) -> Scaled:
        """The whole number from a / b downwards, for a >= 0 and b > 0."""
        return self.stored(floor_quotient(*self.aligned(a, b)))

    def direction(self, a: Scaled) -> Scaled:
        """-1 where a < 0, else 1."""
        return self._signs(a.units < 0)

    def signed(self, a: Scaled, sign: Scaled) -> Scaled:
        """A * sign, for a sign of 1 or -1."""
        if sign.units.meta.root_names():
            return Scaled(a.units * sign.units, a.scale, a.bound)
        return a if pl.select(sign.units).item() == 1 else negated(a)

    def when(self, condition: pl.Expr, amount: Amount) -> Amount:
        """The amount where the condition is true, else 0."""
        value = amount.value
        kept = self._keep(condition)

        def only(a: Scaled) -> Scaled:
            return Scaled(pl.when(kept).then(a.units).otherwise(integer(0)), a.scale, a.bound)

        residue = amount.residue
        return Amount(self.stored(only(value)), None if residue is None else lambda: only(residue()))

    def opposite(self, amount: Amount) -> Amount:
        """-amount."""
        residue = amount.residue
        return Amount(negated(amount.value), None if residue is None else lambda: negated(residue()))

    def rounded_to(self, exact: Scaled, increment: Decimal) -> Scaled:
        """Round to a multiple of an increment that is a multiple of the currency's unit."""
        step = int(increment.scaleb(exact.scale, context=EXACT))
        return self._settled(
            rounded(exact, Grid(exact.scale, step), self._rounding(), self._max_digits(), keep=self._keep),
            exact.units.is_not_null(),
        )

    def unit_price(self, amount: Scaled, units: Scaled) -> tuple[pl.Expr, pl.Expr]:
        """Amount / units as an integer that sorts as they do, and whether it is exact; 0 where there are no units."""
        one = self.chosen(units.units == 0, ONE, units)
        amount = self._dividend(amount, one, RESIDUE_PLACES)
        price = rounded_quotient(amount, one, Grid(RESIDUE_PLACES), "half_even", keep=self._keep)
        kept = self._keep(price.amount.units)
        self.doubt(kept.is_null() & amount.units.is_not_null() & units.units.is_not_null())
        return kept, self._keep(price.exact)

    def choose(self, cases: Sequence[tuple[pl.Expr, Amount]], otherwise: Amount) -> Amount:
        """The amount of the first condition that is true."""
        chosen = otherwise
        for condition, amount in reversed(cases):
            kept = self._keep(condition)
            yes, no = amount, chosen
            value = self.stored(
                Scaled(
                    pl.when(kept).then(yes.value.units).otherwise(no.value.units),
                    yes.value.scale,
                    max(yes.value.bound, no.value.bound),
                )
            )

            def residue(kept: pl.Expr = kept, yes: Amount = yes, no: Amount = no) -> Scaled:
                units = [integer(0) if a.residue is None else a.residue().units for a in (yes, no)]
                return Scaled(pl.when(kept).then(units[0]).otherwise(units[1]), RESIDUE_PLACES)

            chosen = Amount(value, residue)
        return chosen

    def payable(self) -> Scaled:
        """What is to pay so far."""
        sums = self.sums
        return self.stored(sums.net + sums.tax - sums.retained - sums.prepaid + sums.rounding)

    # What concerns a whole document

    def total(self, of: Scaled) -> Scaled:
        """The sum over the lines of the row's document, all in one currency."""
        if self.document is None:
            return of
        of = self.in_rows(of)
        key = self.document.key
        if not isinstance(self.currency, str):
            self.doubt((self.currency.n_unique() > 1).over(key))
        estimate = of.units.abs().cast(pl.Float64).sum().over(key)
        self.doubt(estimate >= 0.9 * _LARGEST_SUM)
        return self.stored(Scaled(of.units.sum().over(key), of.scale, _LARGEST_SUM))

    def in_rows(self, value: Scaled) -> Scaled:
        """The value in every row: what is the same everywhere is one number, which no window would count twice."""
        if value.units.meta.root_names():
            return value
        units = self._keep(pl.when(pl.col(POSITION).is_not_null()).then(value.units))
        return Scaled(units, value.scale, value.bound)

    def same(self, value: Scaled) -> Scaled:
        """A value that must be the same on all lines of a document."""
        if self.document is not None and value.units.meta.root_names():
            self.doubt((value.units.n_unique() > 1).over(self.document.key))
        return value

    def shares(self, amount: Scaled, of: Scaled, *, within: bool = False, evenly: bool = False) -> Scaled:
        """Split an amount (the same on all lines of a document) among the lines, as `DocumentRating.shares` does."""
        if self.document is None:
            return amount
        amount, of = self.in_rows(amount), self.in_rows(of)
        return self.document.shares(self, amount, of, within=within, evenly=evenly)

    # What steps do

    def charge(self, amount: Amount, note: Note) -> None:
        """Add a charge."""
        self.sums.base = self.stored(self.sums.base + amount.value)
        self.sums.net = self.stored(self.sums.net + amount.value)
        self.record(amount, note)

    def become(self, amount: Amount, note: Note) -> None:
        """Make the net this amount; the charges take the difference."""
        difference = self.stored(amount.value - self.sums.net)
        self.sums.base = self.stored(self.sums.base + difference)
        self.sums.net = amount.value
        self.record(Amount(difference, amount.residue), note)

    def reduce(self, amount: Amount, note: Note) -> None:
        """Take a discount off; what remains is the net."""
        self.sums.discount = self.stored(self.sums.discount + amount.value)
        self.sums.net = self.stored(self.sums.net - amount.value)
        self.record(amount, note, turned=True)

    def add_tax(self, amount: Amount, tax: TaxNote, note: Note) -> None:
        """Add a tax; a retained one does not count in the total."""
        self.taxes.append(tax)
        if tax.retained:
            self.sums.retained = self.stored(self.sums.retained + amount.value)
        else:
            self.sums.tax = self.stored(self.sums.tax + amount.value)
        self.record(amount, note, turned=tax.retained, counts=not tax.retained)

    def include_taxes(
        self,
        net: Scaled,
        factor: Scaled,
        taxes: Sequence[tuple[str, pl.Expr | None, Scaled, Scaled, Note]],
    ) -> None:
        """Take the taxes out of the net, which includes them so far; see `Rating.include_taxes`.

        Args:
            net: What remains, rounded.
            factor: What an amount that includes taxes is divided by.
            taxes: Code, category, rate, the part of the net that the tax is, and what it says.
        """
        sums = self.sums
        # A factor of more places has no room for a 1: such rows are in doubt.
        room = factor.scale <= MAX_DIGITS
        nothing = self._keep(factor.units == integer(10**factor.scale)) if room else pl.lit(value=False)

        def without(amount: Scaled, found: Scaled) -> Scaled:
            """Where nothing is included all stays as it is, even what this step would round otherwise."""
            return self.chosen(nothing, amount, found)

        net = without(sums.net, net)
        included = self.stored(sums.net - net)
        sums.net = net
        sums.base = without(sums.base, self.quotient(sums.base, factor).value)
        sums.discount = self.stored(sums.base - sums.net)
        sums.allowance = without(sums.allowance, self.quotient(sums.allowance, factor).value)
        sums.surcharge = without(sums.surcharge, self.quotient(sums.surcharge, factor).value)
        amounts = self._shared_by(included, [share for _, _, _, share, _ in taxes])
        for (code, category, rate, _, note), amount in zip(taxes, amounts, strict=True):
            sums.tax = self.stored(sums.tax + amount)
            self.taxes.append(TaxNote(code, category, rate, net, amount))
            self.record(Amount(amount), note)

    def _shared_by(self, amount: Scaled, weights: Sequence[Scaled]) -> list[Scaled]:
        """Each row's amount split among the weights (0 or more) by largest remainder."""
        if len(weights) == 1:
            return [amount]
        scale = max(weight.scale for weight in weights)
        parts = [self.stored(rescaled(weight, scale)).units for weight in weights]
        total = self._keep(pl.sum_horizontal(parts))
        divisor = pl.when(total == 0).then(integer(1)).otherwise(total)
        unit = self.unit_grid().times(1)
        sign = pl.when(amount.units < 0).then(integer(-1)).otherwise(integer(1))
        units = self._keep(amount.units.abs().floordiv(unit))
        self.doubt((units.cast(pl.Float64) * total.cast(pl.Float64)) >= _SURELY)
        floors = [self._keep((units * part).floordiv(divisor)) for part in parts]
        rests = [self._keep(units * part - floor * divisor) for part, floor in zip(parts, floors, strict=True)]
        left = self._keep(units - pl.sum_horizontal(floors))
        shares = []
        for index, (floor, rest) in enumerate(zip(floors, rests, strict=True)):
            before = [
                other > rest if place > index else other >= rest for place, other in enumerate(rests) if place != index
            ]
            ahead = pl.sum_horizontal([first.cast(pl.Int128) for first in before])
            share = (floor + (ahead < left).cast(pl.Int128)) * unit * sign
            shares.append(self.stored(Scaled(share, amount.scale, amount.bound)))
        return shares

    def join(self, table: pl.DataFrame, on: Mapping[str, pl.Expr]) -> dict[str, pl.Expr]:
        """Look rows up in a table that has each key once; rows without a match have nulls.

        Args:
            table: Keys and values.
            on: The table's key columns, and what to look for.

        Returns:
            The table's other columns.
        """
        keys = {name: self._named(expr) for name, expr in on.items()}
        values = [name for name in table.columns if name not in on]
        names = {name: self._new_name() for name in values}
        self._frame = self._frame.join(
            table.rename(names).lazy(),
            left_on=list(keys.values()),
            right_on=list(keys),
            how="left",
            maintain_order="left",
        )
        return {name: pl.col(new) for name, new in names.items()}

    def admit(self, rates: Mapping[str, Decimal]) -> None:
        """Let rows in that have a rate."""
        scale = max(places(rate) for rate in rates.values())
        units = {currency: int(rate.scaleb(scale, context=EXACT)) for currency, rate in rates.items()}
        bound = max(units.values())
        if isinstance(self.currency, str):
            self.require(pl.lit(self.currency in units))
            rate = pl.lit(units.get(self.currency), dtype=pl.Int128)
        else:
            rate = self._by_currency(units)
            self.doubt(rate.is_null())
            self.open_grid(rates)
        self._rate = Scaled(rate, scale, bound)

    def open_grid(self, currencies: Mapping[str, object]) -> None:
        """Each row is rounded to the digits of its own currency; rows in others than these are in doubt."""
        if isinstance(self.currency, str):
            return
        scale = max(self.terms.places(currency) for currency in currencies)
        steps = {currency: 10 ** (scale - minor_units(currency)) for currency in currencies}
        same = len(set(steps.values())) == 1
        step = next(iter(steps.values())) if same else self._by_currency(steps)
        self._grid = Grid(scale, step, max(steps.values()))
        self.sums = Sums.zero(scale)

    @property
    def rate(self) -> Scaled:
        """The rate that `admit` found for each row."""
        if self._rate is None:
            raise ConfigurationError(f"step {self._step.id}: a conversion must admit its rates in open_expr")
        return self._rate

    def convert(
        self,
        to: str,
        rate: Scaled,
        converted: Callable[[Scaled], Amount],
        note: Note,
        day: pl.Expr | None = None,
    ) -> None:
        """Go over to another currency; the discount takes the difference of base and net."""
        self.fx_rate, self.fx_date = rate, day
        self.currency = to
        self._grid = Grid(self.terms.places(to), self._step_of(to))
        sums = self.sums
        net = converted(sums.net)
        sums.net = net.value
        sums.base = converted(sums.base).value
        sums.discount = self.stored(sums.base - sums.net)
        sums.allowance = converted(sums.allowance).value
        sums.surcharge = converted(sums.surcharge).value
        sums.tax = sums.retained = sums.prepaid = sums.rounding = self.zero()
        residues = [net.residue]
        total = sums.net
        taxes = []
        for tax in self.taxes:
            amount = converted(tax.amount)
            value = amount.value
            taxes.append(
                TaxNote(tax.code, tax.category, tax.rate, converted(tax.base).value, value, tax.retained, tax.when)
            )
            if tax.retained:
                sums.retained = self.stored(sums.retained + value)
            else:
                sums.tax = self.stored(sums.tax + value)
                total = total + value
                residues.append(amount.residue)
        self.taxes = taxes
        for line in self._lines:
            line.counts = False
        self.record(Amount(self.stored(total), lambda: _summed(residues)), note)

    def record(self, amount: Amount, note: Note, *, turned: bool = False, counts: bool = True) -> None:
        """Add a line to the receipts, where these are wanted."""
        if not self.receipts:
            return
        step = self._step
        name, kind = step.id or step.kind, step.kind
        if note.rule is not None:
            name, kind = f"{name}.{note.rule[0]}", note.rule[1]
        shown = self.opposite(amount) if turned else amount
        residue = None if shown.residue is None else shown.residue()
        self._lines.append(_ReceiptLine(name, kind, note, shown.value, residue, self.currency, note.counts and counts))

    def stored(self, amount: Scaled) -> Scaled:
        """Compute a column once."""
        return Scaled(self._keep(amount.units), amount.scale, amount.bound)

    def zero(self) -> Scaled:
        """No money."""
        return Scaled(integer(0), self._grid.scale, 0)

    def keep(self, expr: pl.Expr) -> pl.Expr:
        """Compute a column once."""
        return self._keep(expr)

    def finish(self, outputs: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        """The frame with its new columns, and with POSITION and DOUBT, by which the doubtful rows are found."""
        sums = self.sums
        gross = self.plus(sums.net, sums.tax)
        payable = self.plus(self.minus(self.minus(gross, sums.retained), sums.prepaid), sums.rounding)
        doubt = pl.any_horizontal(self._doubts) if self._doubts else pl.lit(value=False)
        if self._doubts and self.document is not None:
            doubt = self._keep(doubt.fill_null(value=True)).any().over(self.document.key)
        columns: dict[str, pl.Expr] = {
            "base": sums.base.decimal(),
            "discount": sums.discount.decimal(),
            "net": sums.net.decimal(),
            "tax": sums.tax.decimal(),
            "gross": gross.decimal(),
            "currency": pl.lit(self.currency) if isinstance(self.currency, str) else self.currency,
            "rule_id": pl.lit(self.terms.rule_id, dtype=pl.String),
            "retained": sums.retained.decimal(),
            "prepaid": sums.prepaid.decimal(),
            "rounding": sums.rounding.decimal(),
            "payable": payable.decimal(),
            "allowance": sums.allowance.decimal(),
            "surcharge": sums.surcharge.decimal(),
        }
        if self.fx_rate is not None:
            columns["fx_rate"] = self.fx_rate.decimal(RATE_PLACES)
        if self.fx_date is not None:
            columns["fx_date"] = self.fx_date
        if self._price_ids:
            columns["price_id"] = pl.concat_str(self._price_ids, separator=", ")
            columns["price_from"] = pl.max_horizontal(start for start, _ in self._windows)
            columns["price_to"] = pl.min_horizontal(end for _, end in self._windows)
        parts: dict[str, pl.Expr] = {}
        if "taxes" in outputs:
            taxes = self._tax_structs(outputs["taxes"])
            parts |= {f"{PART}taxes_{number}": struct for number, struct in enumerate(taxes)}
        if "receipt" in outputs:
            lines = self._line_structs(outputs["receipt"])
            parts |= {f"{PART}receipt_{number}": struct for number, struct in enumerate(lines)}
        made = {name: columns[name].cast(dtype) for name, dtype in outputs.items() if name in columns}
        if "currency" in self._schema:
            made[GIVEN_CURRENCY] = pl.col("currency")
        frame = self._frame.with_columns(**made, **parts, **{DOUBT: doubt})
        # What was only computed with ends here.
        new = [name for name in made if name not in self._schema]
        return frame.select(*self._schema.names(), *new, *parts, DOUBT, POSITION)

    # How

    def _number(self, name: str) -> Scaled:
        if name in self._given:
            return self._given[name][0]
        column = self._inputs.get(name, name)
        try:
            return Scaled.column(pl.col(column), self._schema[column])
        except ConfigurationError as error:
            where = f'input {name} (column "{column}")' if column != name else f"input {name}"
            raise type(error)(f"{error.message}; cast it to a Decimal where it is read", where=where) from None

    def _dividend(self, a: Scaled, b: Scaled, scale: int) -> Scaled:
        """With as many places as a division by `b` to so many wants."""
        excess = scale + 1 + b.scale - a.scale - MAX_DIGITS
        return a if excess <= 0 else self._certain(rescaled(a, a.scale + excess), a)

    def _certain(self, result: Scaled, *operands: Scaled) -> Scaled:
        """Rows in which the result is null, though no operand is, are in doubt."""
        kept = self.stored(result)
        known = pl.all_horizontal([operand.units.is_not_null() for operand in operands])
        proven = result.bound < MAX_UNITS // 2 and all(operand.bound < MAX_UNITS for operand in operands)
        if not proven:
            self.doubt(kept.units.is_null() & known)
        return kept

    def _open_currency(self) -> None:
        """Rows say their currency, if they do; without a conversion it can only be the book's."""
        currency = self.text("currency")
        if currency is None:
            return
        self.doubt(currency.is_null())
        self.currency = currency
        if self.terms.mixed:
            self.open_grid(MINOR_UNITS)
            self.require(currency.is_in(list(MINOR_UNITS)))
        elif not self.terms.converts:
            self.require(currency == self.terms.currency)

    def _line_kind(self) -> pl.Expr | None:
        kind = self.text("line_kind")
        if kind is None:
            return None
        known = self._keep(kind.fill_null("line"))
        self.require(known.is_in(list(TURNED)))
        return known

    def _turned(self) -> Scaled:
        """1 or -1, as `Rating.turned`."""
        if self.kind is None:
            return ONE
        return self._signs(self.kind.is_in([name for name, sign in TURNED.items() if sign < 0]))

    def _sign(self) -> Scaled:
        """1 or -1, as `Rating.sign`."""
        if not self.has("quantity"):
            return self.turned
        quantity = self._number("quantity")
        negative = (quantity.units < 0).fill_null(value=False)
        if self.terms.negative == "reject":
            self.doubt(negative)
            return self.turned
        return self.signed(self._signs(negative), self.turned)

    def _signs(self, negative: pl.Expr) -> Scaled:
        return Scaled(self._keep(pl.when(negative).then(integer(-1)).otherwise(integer(1))), 0, 1)

    def _open_document(self) -> DocumentColumns | None:
        document = self.text("document_id")
        if document is None:
            return None
        self.doubt(document.is_null())
        order = pl.col(POSITION)
        line = self.text("line_id")
        if line is not None:
            some, lines = line.is_null().any(), pl.len()
            self.doubt((some | (line.n_unique() < lines)).over(document))
            order = self._keep(
                pl.struct(line.str.len_chars().alias("length"), line.alias("line")).rank("ordinal").over(document)
            )
        return DocumentColumns(document, order)

    def _by_currency(self, units: Mapping[str, int]) -> pl.Expr:
        if isinstance(self.currency, str):
            return pl.lit(units[self.currency], dtype=pl.Int128)
        values = pl.Series(list(units.values()), dtype=pl.Int128)
        return self._keep(self.currency.replace_strict(list(units), values, default=None, return_dtype=pl.Int128()))

    def _step_of(self, currency: str) -> int:
        return int(10 ** (UNROUNDED_PLACES - minor_units(currency))) if self.terms.unrounded else 1

    def _target_grid(self) -> Grid:
        return Grid(UNROUNDED_PLACES) if self._mode() == "none" else self._grid

    def unit_grid(self) -> Grid:
        """The smallest units of amounts at this point, which is what is allocated."""
        return Grid(UNROUNDED_PLACES) if self.terms.unrounded else self._grid

    def _mode(self) -> str:
        return self._step.rounding or self.terms.rounding

    def _rounding(self) -> Rounding:
        mode = self._step.rounding or self.terms.rounding
        return "half_even" if mode == "none" else mode

    def _max_digits(self) -> int:
        return self.terms.whole_digits + self._grid.scale

    def _settled(self, result: Rounded, known: pl.Expr) -> Scaled:
        amount = self.stored(result.amount)
        if not result.complete:
            self.doubt(amount.units.is_null() & known)
        if self._mode() == "none":
            self.doubt(~result.exact)
        return amount

    def _product_residue(self, amount: Scaled, a: Scaled, b: Scaled) -> Scaled:
        """Amount - a * b. Int128 wraps round, and the difference is small: it is right whatever the product's size."""
        places = max(a.scale + b.scale, amount.scale)
        if 10 ** (places - amount.scale) * self._grid.step_bound >= _SURELY:
            return self._unknown_residue(amount)
        left = amount.units * integer(10 ** (places - amount.scale))
        exact = a.units * b.units * integer(10 ** (places - a.scale - b.scale))
        return self._residue(Scaled(left - exact, places))

    def _quotient_residue(self, amount: Scaled, a: Scaled, b: Scaled) -> Scaled:
        """Amount - a / b."""
        places = max(amount.scale + b.scale, a.scale)
        if 10 ** (places - min(amount.scale + b.scale, a.scale)) >= _SURELY:
            return self._unknown_residue(amount)
        left = amount.units * b.units * integer(10 ** (places - amount.scale - b.scale))
        rest = self.stored(Scaled(left - a.units * integer(10 ** (places - a.scale)), places))
        # The rest is less than one unit times the divisor; that has to fit for it to be right.
        room = b.units.abs().cast(pl.Float64) * 10.0 ** (places - b.scale - amount.scale) * self._grid.step_bound
        self.doubt(room >= _SURELY)
        rest = self._dividend(rest, b, RESIDUE_PLACES)
        residue = rounded_quotient(rest, b, Grid(RESIDUE_PLACES), "half_even", keep=self._keep).amount
        self.doubt(residue.units.is_null() & rest.units.is_not_null())
        return residue

    def _unknown_residue(self, amount: Scaled) -> Scaled:
        """Of operands with so many places that the difference may not fit: the reference tells it."""
        self.doubt(amount.units.is_not_null())
        return Scaled(pl.lit(None, dtype=pl.Int128), RESIDUE_PLACES)

    def _residue(self, difference: Scaled) -> Scaled:
        by = RESIDUE_PLACES - difference.scale
        if by >= 0:
            return Scaled(difference.units * integer(10**by), RESIDUE_PLACES)
        kept = self.stored(difference)
        return rounded(kept, Grid(RESIDUE_PLACES), "half_even", keep=self._keep).amount

    def _tax_structs(self, dtype: pl.DataType) -> list[pl.Expr]:
        item = _item(dtype)
        return [
            _present(
                tax.when,
                pl.struct(
                    pl.lit(tax.code).alias("code"),
                    (pl.lit(None, dtype=pl.String) if tax.category is None else tax.category).alias("category"),
                    _decimal(tax.rate, item["rate"]).alias("rate"),
                    _decimal(tax.base, item["base"]).alias("base"),
                    _decimal(tax.amount, item["amount"]).alias("amount"),
                    pl.lit(tax.retained).alias("retained"),
                ),
            )
            for tax in self.taxes
        ]

    def _line_structs(self, dtype: pl.DataType) -> list[pl.Expr]:
        item = _item(dtype)
        lines = []
        for line in self._lines:
            note = line.note
            currency = pl.lit(line.currency) if isinstance(line.currency, str) else line.currency
            tier = note.tier.cast(pl.Int64) if isinstance(note.tier, pl.Expr) else pl.lit(note.tier, dtype=pl.Int64)
            fields: dict[str, pl.Expr] = {
                "id": pl.lit(line.id),
                "step": pl.lit(line.step),
                "what": pl.lit(note.what) if isinstance(note.what, str) else note.what,
                "quantity": _decimal(note.quantity, item["quantity"]),
                "rate": _decimal(note.rate, item["rate"]),
                "amount": _decimal(line.amount, item["amount"]),
                "residue": _decimal(line.residue, item["residue"], absent=0),
                "adds_to_total": pl.lit(line.counts),
                "tier": tier,
                "currency": currency,
            }
            lines.append(_present(note.when, pl.struct([value.alias(name) for name, value in fields.items()])))
        return lines

    def _keep(self, expr: pl.Expr) -> pl.Expr:
        """Compute a column once, and what mentions none at once: an expression that only grew would never end."""
        if expr.meta.is_column() or expr.meta.is_literal():
            return expr
        if not expr.meta.root_names():
            value = pl.select(expr).to_series()
            return pl.lit(value[0], dtype=value.dtype)
        return pl.col(self._named(expr))

    def _named(self, expr: pl.Expr) -> str:
        name = self._new_name()
        self._frame = self._frame.with_columns(expr.alias(name))
        return name

    def _new_name(self) -> str:
        self._kept += 1
        return f"{OWN}{self._kept}"


@dataclass(frozen=True, slots=True)
class DocumentColumns:
    """Which document a row belongs to, and its place among the lines of that.

    Attributes:
        key: String.
        order: Integers that are larger for later lines.
    """

    key: pl.Expr
    order: pl.Expr

    def spread(
        self, at: BatchRating, numerator: pl.Expr, denominator: pl.Expr, total: pl.Expr, *by: pl.Expr
    ) -> pl.Expr:
        """Whole numbers near numerator / denominator that add up to `total` within each document (and `by`).

        The twin of `DocumentRating.spread`. All are Int128; the denominator is above 0 and the same in each group.
        """
        keys = (self.key, *by)
        turned = at.keep(pl.when(total < 0).then(integer(-1)).otherwise(integer(1)))
        value = at.keep(numerator * turned)
        floor = at.keep(value.floordiv(denominator))
        rest = at.keep(value - floor * denominator)
        left = at.keep(total * turned - floor.sum().over(*keys))
        place = at.keep(rest.rank("ordinal", descending=True).over(*keys, order_by=self.order))
        return at.keep((floor + (place.cast(pl.Int128) <= left).cast(pl.Int128)) * turned)

    def shares(self, at: BatchRating, amount: Scaled, of: Scaled, *, within: bool, evenly: bool) -> Scaled:
        """The twin of `DocumentRating.shares`: largest remainder, by windows over the document.

        Documents whose parts are cut off by their limits, or whose weights need too many digits, are in doubt.
        """
        unit = at.unit_grid().times(1)
        value = of.units
        if within:
            other = (value < 0) != (amount.units < 0)
            value = at.keep(pl.when(other).then(integer(0)).otherwise(value))
        weight = at.keep(value.abs())
        if evenly:
            weight = at.keep((weight != 0).cast(pl.Int128)) if within else at.keep(weight * integer(0) + integer(1))
        total = at.keep(weight.sum().over(self.key))
        nothing = total == 0
        weight = at.keep(pl.when(nothing).then(integer(1)).otherwise(weight))
        total = at.keep(pl.when(nothing).then(pl.len().cast(pl.Int128).over(self.key)).otherwise(total))
        units = at.keep(amount.units.floordiv(unit))
        at.doubt(weight.cast(pl.Float64).sum().over(self.key) >= _SURELY)
        at.doubt((units.abs().cast(pl.Float64) * weight.cast(pl.Float64)) >= _SURELY)
        share = self.spread(at, at.keep(units * weight), total, units) * unit
        if within:
            at.doubt((share.abs() > value.abs()) & ~nothing)
        return at.stored(Scaled(share, amount.scale, amount.bound))


def _summed(residues: Sequence[Callable[[], Scaled] | None]) -> Scaled:
    total = Scaled(integer(0), RESIDUE_PLACES, 0)
    for residue in residues:
        if residue is not None:
            total = Scaled(total.units + residue().units, RESIDUE_PLACES)
    return total


def _item(dtype: pl.DataType) -> dict[str, pl.DataType]:
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    if not isinstance(inner, pl.Struct):
        raise ConfigurationError(f"{dtype} is no list of structs")
    return {field.name: field.dtype for field in inner.fields}  # type: ignore[misc]  # instances, not classes


def _decimal(value: Scaled | None, dtype: pl.DataType, absent: int | None = None) -> pl.Expr:
    """The value in a column of this type; null where it has more digits than that holds."""
    if value is None:
        return pl.lit(absent, dtype=dtype)
    scale = dtype.scale if isinstance(dtype, pl.Decimal) else 0
    if value.scale > scale:
        by = integer(10 ** (value.scale - scale))
        whole = value.units.floordiv(by)
        units = pl.when(whole * by == value.units).then(whole)
        return Scaled(units, scale, value.bound).decimal()
    return Scaled(value.units, value.scale, value.bound).decimal(scale)


def _present(when: pl.Expr | None, struct: pl.Expr) -> pl.Expr:
    return struct if when is None else pl.when(when).then(struct)
