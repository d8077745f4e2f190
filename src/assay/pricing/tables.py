"""The tables that a book is given when it prices: rates, price lists, and as far as what was known they count."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import polars as pl

from assay.pricing.moments import known_instant
from assay.pricing.price_list import PriceList, as_price_list
from assay.pricing.rates import Rates, RatesTable, as_table


@dataclass(frozen=True)
class Tables:
    """What is given.

    Attributes:
        rates: Rate tables by name.
        prices: Price lists by name.
        known_at: In microseconds since the epoch; None: all that the tables say.
    """

    rates: Mapping[str, RatesTable] = field(default_factory=dict)
    prices: Mapping[str, PriceList] = field(default_factory=dict)
    known_at: int | None = None

    @classmethod
    def of(
        cls,
        rates: Mapping[str, Rates] | None,
        prices: Mapping[str, PriceList | pl.DataFrame | Iterable[Mapping[str, object]]] | None,
        known_at: dt.datetime | str | None,
    ) -> Self:
        """As they are given to `PriceBook.price`.

        Raises:
            ConfigurationError: One of them is no such table, or `known_at` has no zone.
        """
        return cls(
            {name: as_table(table) for name, table in (rates or {}).items()},
            {name: as_price_list(table) for name, table in (prices or {}).items()},
            None if known_at is None else known_instant(known_at, where="known_at"),
        )
