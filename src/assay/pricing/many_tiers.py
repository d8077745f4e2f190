"""Graduated tiers by the hundred, for columns: the tier of each row is searched, and what is below it is added before.

A plan of one expression a tier grows faster than the number of tiers. Of the tiers below the one that a row's quantity
falls into all units are charged, so that their amounts are the same for every row: they are rounded and added once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

import polars as pl

from assay.money import EXACT, MAX_DIGITS, MAX_UNITS, Rounding, Scaled, integer, minor_units, round_to
from assay.pricing.batch import POSITION, BatchRating
from assay.pricing.rates import places
from assay.pricing.tiers import Tier, edges

MANY = 24
"""Tiers above so many are searched. Fewer are told apart by one expression each, which is as fast."""

_MIRRORED = frozenset({"half_up", "half_even", "half_down", "up", "down"})
_LARGEST = 2**62


@dataclass(frozen=True)
class Below:
    """What the tier of each row says.

    Attributes:
        low: The lower edge.
        price: For each unit above it.
        before: For all that is below it, and the flat fees of all tiers entered.
    """

    low: Scaled
    price: Scaled
    before: Scaled


def searched(at: BatchRating, tiers: Sequence[Tier], quantity: Scaled, rounding: Rounding | None) -> Below | None:
    """The tier of each row, and the sum of all below it; None where these cannot be known beforehand.

    Args:
        at: The rows.
        tiers: Of the step.
        quantity: 0 or more.
        rounding: How the units and the fee of each tier are rounded; None: not at all. Amounts are in the book's
            currency.
    """
    known = _known(tiers)
    in_own = isinstance(at.currency, str) and at.currency == at.terms.currency
    if len(tiers) <= MANY or at.receipts or known is None or not in_own:
        return None
    if rounding is not None and rounding not in _MIRRORED:
        return None
    with localcontext(EXACT):
        tops = [int((tier.up_to or Decimal(0)).scaleb(quantity.scale) // 1) for tier in tiers[:-1]]
        table = _table(known, rounding, at.terms.currency)
        if tops[-1] >= _LARGEST or any(bound > MAX_UNITS for _, _, bound in table.values()):
            return None
    facts = pl.DataFrame(
        {name: pl.Series(values, dtype=pl.Decimal(MAX_DIGITS, scale)) for name, (values, scale, _) in table.items()}
    )
    steps = pl.Series(tops, dtype=pl.Int64)

    def find(columns: Sequence[pl.Series]) -> pl.Series:
        rows, units = columns
        # What is the same for all rows may come as one value.
        asked = units if len(units) == len(rows) else units.new_from_index(0, len(rows))
        numbers = steps.search_sorted(asked.fill_null(0), side="left")
        return facts.select(pl.all().gather(numbers)).to_struct("tier")

    units = pl.min_horizontal(quantity.units, integer(tops[-1] + 1)).cast(pl.Int64)
    wanted = [pl.col(POSITION), units]
    found = at.keep(pl.map_batches(wanted, find, return_dtype=pl.Struct(facts.schema), is_elementwise=True))

    def column(name: str) -> Scaled:
        _, scale, bound = table[name]
        taken = found.struct.field(name).reinterpret(dtype=pl.Int128)
        return at.stored(Scaled(taken, scale, bound))

    return Below(column("low"), column("price"), column("before"))


_Known = tuple[Decimal, Decimal | None, Decimal, Decimal]
"""Lower edge, upper edge, price a unit, flat fee."""


def _known(tiers: Sequence[Tier]) -> list[_Known] | None:
    """What the tiers say, where rows do not bring any of it."""
    found = []
    for _, low, tier in edges(tiers):
        if not isinstance(tier.unit_price, Decimal) or not isinstance(tier.flat_fee, Decimal):
            return None
        found.append((low, tier.up_to, tier.unit_price, tier.flat_fee))
    return found


def _table(
    tiers: Sequence[_Known], rounding: Rounding | None, currency: str
) -> dict[str, tuple[list[Decimal], int, int]]:
    """Values a tier, their scale, and what their units do not exceed."""

    def amount(exact: Decimal) -> Decimal:
        return exact if rounding is None else round_to(exact, minor_units(currency), rounding)

    columns: dict[str, list[Decimal]] = {"low": [], "price": [], "before": []}
    below = Decimal(0)
    for low, top, price, fee in tiers:
        below += amount(fee)
        columns["low"].append(low)
        columns["price"].append(price)
        columns["before"].append(below)
        if top is not None:
            below += amount((top - low) * price)
    made = {}
    for name, values in columns.items():
        scale = max((places(value) for value in values if value), default=0)
        made[name] = values, scale, max(int(abs(value).scaleb(scale)) for value in values)
    return made
