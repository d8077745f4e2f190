"""Edges: where a step begins to price otherwise; what the linter, boundary tests and the verifier look at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum

UNITS = "units of the step"
"""An edge of the units that the step prices: the quantity, less what is free before it."""

NET = "net before the step"
"""An edge of the net that the steps before have made."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A value beyond which, or from which on, a step prices otherwise.

    Attributes:
        input: The input whose value it is, or `UNITS` or `NET`, which inputs make.
        value: A number, a day, a local time, or a text that must be just so.
        entry: Number (from 1) of the tier, rate or rule that ends or begins there, or None: the step as a whole.
        given: Inputs that must be so for the edge to be there.
    """

    input: str
    value: Decimal | dt.date | str
    entry: int | None = None
    given: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Extreme:
    """Inputs that no sound feed has, and that a step prices nevertheless.

    Attributes:
        inputs: Far out.
        beyond: Further out: where the total is the same, something limits it. None: to be priced is enough.
        what: In words.
    """

    inputs: Mapping[str, object]
    beyond: Mapping[str, object] | None
    what: str


class Place(IntEnum):
    """Where a step stands in the canonical order, and what the linter calls it."""

    FREE_UNITS = 1
    RESOLUTION = 2
    CHARGES = 3
    PRORATION = 4
    LINE_DISCOUNTS = 5
    LINE_MAXIMUM = 6
    LINE_MINIMUM = 7
    DOCUMENT_DISCOUNTS = 8
    MAXIMUM = 9
    MINIMUM = 10
    COUPONS = 11
    TAXES = 12
    CREDIT = 13
    ROUNDING = 14

    @property
    def words(self) -> str:
        """As people say it."""
        return self.name.lower().replace("_", " ")


def at_amounts(*amounts: object) -> Iterator[Edge]:
    """Edges of the net at amounts that stand in the book; those that come with a row are not known."""
    for amount in amounts:
        if isinstance(amount, Decimal) and amount > 0:
            yield Edge(NET, amount)
