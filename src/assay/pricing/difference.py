"""What a change of prices will do: the difference between two books on the same rows."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Self

from assay.errors import ConfigurationError
from assay.money import EXACT, exact_decimal, has_minor_units
from assay.pricing.changes import How

Measure = Literal["net", "tax", "gross", "payable"]
"""The amount by which rows are dearer or cheaper."""

MEASURES = ("net", "tax", "gross", "payable")


@dataclass(frozen=True, slots=True)
class Shift:
    """An amount under the first book and under the second."""

    before: Decimal
    after: Decimal

    @property
    def change(self) -> Decimal:
        """What it has become more."""
        return EXACT.subtract(self.after, self.before)


@dataclass(frozen=True, slots=True)
class Moves:
    """How rows of one currency move; of those that both books price.

    Attributes:
        dearer, cheaper, same: Rows, by the measure.
        changed: Rows of which any amount is another one.
        dearer_by, cheaper_by: What the measure of these rows changes by, together; the latter is not above 0.
    """

    dearer: int
    cheaper: int
    same: int
    changed: int
    dearer_by: Decimal
    cheaper_by: Decimal


@dataclass(frozen=True, slots=True)
class Effect:
    """What one change of the book does to the totals.

    Attributes:
        rule: Id of the step, as in `Change`; None of what no change alone causes.
        how: What was done to it; "unpriced": rows that only one of the books prices; "inseparable": rows that a book
            between the two cannot price, so that their change belongs to all changes together.
        what: In words.
        rows: Of which the change moves any amount, wherever it is made; by itself or after others.
        amounts: By currency and measure.
    """

    rule: str | None
    how: How | Literal["unpriced", "inseparable"]
    what: str
    rows: int
    amounts: Mapping[str, Mapping[str, Decimal]]


@dataclass(frozen=True, slots=True)
class PriceEffect:
    """What other tables do to the rows that one row of a price list was for, and another one is for now.

    Attributes:
        before, after: Ids of these rows (`price_id`), which may be the same; None where no list was asked.
        rows: Rows whose amounts change by it.
        amounts: By currency and measure.
    """

    before: str | None
    after: str | None
    rows: int
    amounts: Mapping[str, Mapping[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Band:
    """Rows whose measure changes by about as much.

    Attributes:
        currency: ISO 4217 code.
        low, high: The change is between the two; the one that is further from 0 is included, None is without end.
        rows: How many.
        change: Of all of them together.
    """

    currency: str
    low: Decimal | None
    high: Decimal | None
    rows: int
    change: Decimal


@dataclass(frozen=True, slots=True)
class Party:
    """Who pays more or less: rows that have the same values of some columns (or one row), in one currency.

    Attributes:
        key: The values, by column.
        currency: ISO 4217 code.
        rows: How many.
        before, after: The measure under the first book and under the second.
    """

    key: Mapping[str, Any]
    currency: str
    rows: int
    before: Decimal
    after: Decimal

    @property
    def change(self) -> Decimal:
        """What is paid more."""
        return EXACT.subtract(self.after, self.before)


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Rows that cannot be priced.

    Attributes:
        both, only_before, only_after: Rows that neither of the books prices, that the first does not, and that the
            second does not.
        before, after: Rows by the reason that each book gives; of very many reasons the rest is one.
        lost: What rows come to under the first book that the second does not price, by currency and measure.
        won: What rows come to under the second book that the first does not price.
    """

    both: int
    only_before: int
    only_after: int
    before: Mapping[str, int]
    after: Mapping[str, int]
    lost: Mapping[str, Mapping[str, Decimal]]
    won: Mapping[str, Mapping[str, Decimal]]


@dataclass(frozen=True, repr=False)
class Difference:
    """What one price book makes of some rows, compared with what another one makes of them.

    All figures are exact. Comparing the other way round gives the same with the signs turned.

    Attributes:
        measure: By which amount rows are dearer or cheaper.
        rows: How many there are.
        totals: By currency and measure, under either book; all rows that the book prices.
        moves: By currency.
        effects: What causes the change: one a change of the book, in running order, then what no change alone causes.
            By currency and measure they add up to the change of the totals.
        prices: What the effect of other tables (the first one, then) is made of, row by row of the price lists, the
            greatest first.
        bands: From the largest fall to the largest rise.
        dearer, cheaper: Who pays most more, and most less; the greatest change first.
        parties: Of how many parties these are the first: that pay more, and less.
        unpriced: Rows that a book cannot price.
    """

    measure: Measure
    rows: int
    totals: Mapping[str, Mapping[str, Shift]]
    moves: Mapping[str, Moves]
    effects: Sequence[Effect]
    prices: Sequence[PriceEffect]
    bands: Sequence[Band]
    dearer: Sequence[Party]
    cheaper: Sequence[Party]
    parties: tuple[int, int]
    unpriced: Unpriced

    @property
    def compared(self) -> int:
        """Rows that both books price."""
        return sum(one.dearer + one.cheaper + one.same for one in self.moves.values())

    @property
    def changed(self) -> int:
        """Rows of which any amount is another one, or that only one of the books prices."""
        return sum(one.changed for one in self.moves.values()) + self.unpriced.only_before + self.unpriced.only_after

    def as_json(self) -> dict[str, Any]:
        """Plain values; amounts are decimal strings."""
        return {
            "measure": self.measure,
            "rows": self.rows,
            "compared": self.compared,
            "changed": self.changed,
            "totals": {
                currency: {
                    name: {"before": _text(one.before), "after": _text(one.after), "change": _text(one.change)}
                    for name, one in amounts.items()
                }
                for currency, amounts in self.totals.items()
            },
            "moves": {
                currency: {
                    "dearer": one.dearer,
                    "cheaper": one.cheaper,
                    "same": one.same,
                    "changed": one.changed,
                    "dearer_by": _text(one.dearer_by),
                    "cheaper_by": _text(one.cheaper_by),
                }
                for currency, one in self.moves.items()
            },
            "effects": [
                {"rule": one.rule, "how": one.how, "what": one.what, "rows": one.rows, "amounts": _plain(one.amounts)}
                for one in self.effects
            ],
            "prices": [
                {"before": one.before, "after": one.after, "rows": one.rows, "amounts": _plain(one.amounts)}
                for one in self.prices
            ],
            "bands": [
                {
                    "currency": one.currency,
                    "low": None if one.low is None else _text(one.low),
                    "high": None if one.high is None else _text(one.high),
                    "rows": one.rows,
                    "change": _text(one.change),
                }
                for one in self.bands
            ],
            "dearer": [_party(one) for one in self.dearer],
            "cheaper": [_party(one) for one in self.cheaper],
            "parties": {"dearer": self.parties[0], "cheaper": self.parties[1]},
            "unpriced": {
                "both": self.unpriced.both,
                "only_before": self.unpriced.only_before,
                "only_after": self.unpriced.only_after,
                "before": dict(self.unpriced.before),
                "after": dict(self.unpriced.after),
                "lost": _plain(self.unpriced.lost),
                "won": _plain(self.unpriced.won),
            },
        }

    def __repr__(self) -> str:
        changes = ", ".join(
            f"{self.measure} {amounts[self.measure].change:+f} {currency}" for currency, amounts in self.totals.items()
        )
        return f"Difference({changes or 'nothing to compare'}; {self.changed:,} of {self.rows:,} rows)"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(one.rule or '')}</td><td>{html.escape(one.what)}</td>"
            f'<td style="text-align:right">{one.rows:,}</td><td style="text-align:right">{amounts[self.measure]:+,f}'
            f"</td><td>{html.escape(currency)}</td></tr>"
            for one in self.effects
            for currency, amounts in one.amounts.items()
        )
        return f"<table><caption>{html.escape(repr(self))}</caption><tbody>{rows}</tbody></table>"


_LIMIT = re.compile(r"\s*(?P<number>[0-9.]+)\s*(?P<unit>%|[A-Z]{3})?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ChangeLimit:
    """How much a total may change, up or down.

    Attributes:
        number: Not below 0.
        unit: "%" of the total under the first book, or the currency that it is an amount in.
    """

    number: Decimal
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "1%" or "100 EUR".

        Raises:
            ConfigurationError: It is neither.
        """
        found = _LIMIT.fullmatch(text)
        unit = found["unit"] if found else None
        if found is None or unit is None or not (unit == "%" or has_minor_units(unit)):
            raise ConfigurationError(f'a limit is a share such as "1%" or an amount such as "100EUR", not "{text}"')
        return cls(exact_decimal(found["number"]), unit)

    def __str__(self) -> str:
        return f"{self.number:f} %" if self.unit == "%" else f"{self.number:f} {self.unit}"

    def exceeded(self, difference: Difference) -> list[str]:
        """Currencies of which the total of the measure changes by more.

        Raises:
            ConfigurationError: There are amounts, and none in the currency of the limit.
        """
        totals = difference.totals
        if self.unit != "%" and totals and self.unit not in totals:
            raise ConfigurationError(
                f"the limit is in {self.unit}, and the amounts are in {', '.join(totals)}: give it in one of these"
            )
        return [currency for currency, amounts in totals.items() if self._over(currency, amounts[difference.measure])]

    def _over(self, currency: str, shift: Shift) -> bool:
        change = abs(shift.change)
        if self.unit == "%":
            return EXACT.multiply(change, Decimal(100)) > EXACT.multiply(abs(shift.before), self.number)
        return currency == self.unit and change > self.number


def _party(one: Party) -> dict[str, Any]:
    simple = (bool, int, type(None))
    key = {name: value if isinstance(value, simple) else str(value) for name, value in one.key.items()}
    amounts = {"before": _text(one.before), "after": _text(one.after), "change": _text(one.change)}
    return {"key": key, "currency": one.currency, "rows": one.rows, **amounts}


def _plain(amounts: Mapping[str, Mapping[str, Decimal]]) -> dict[str, dict[str, str]]:
    return {currency: {name: _text(one) for name, one in named.items()} for currency, named in amounts.items()}


def _text(amount: Decimal) -> str:
    return format(amount, "f")
