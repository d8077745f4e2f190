"""Re-pricing a sample of a run by the reference: what was computed is compared with what should have been."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from assay.errors import PricingError
from assay.pricing.binding import Inputs, bound, unsaid
from assay.pricing.edges import NET, UNITS, Place
from assay.pricing.price_list import PriceList
from assay.pricing.rates import Rates

if TYPE_CHECKING:
    from assay.pricing.book import PriceBook

_EPOCH = dt.date(1970, 1, 1)
_AMOUNTS = ("base", "discount", "net", "tax", "gross", "retained", "prepaid", "rounding", "payable")
_MOST = 300
"""So many rows are looked at because they are extremes; each is one only until a more extreme one comes."""
_PRICES = 50
"""Of so many prices of a list the extremes are looked at."""
_MORE = 4
"""So many times the sample is looked at, as some of the rows may be alike."""
_FACTS = ("price_id", "price_from", "price_to")


class Verifier:
    """Compares priced rows with the reference: a sample of all that it sees, and rows that are extremes so far.

    Extremes are the smallest and largest value of each input and amount, and of what is between two edges of the book's
    steps, so that there are rows at and beside each edge that was met; and the smallest and largest quantity of some
    prices of lists.

    Args:
        book: The book that priced them.
        sample: How many rows (or documents, where the book concerns them) are in the sample; of what was seen, those
            whose hashes are smallest, so that the same run has the same sample.
        inputs: As they were given to `price`.
        rates, prices, known_at: As they were given to `price`.
    """

    def __init__(
        self,
        book: PriceBook,
        sample: int,
        *,
        inputs: Inputs,
        rates: Mapping[str, Rates] | None = None,
        prices: Mapping[str, PriceList] | None = None,
        known_at: dt.datetime | str | None = None,
    ) -> None:
        self._book, self._sample, self._inputs, self._unsaid = book, sample, bound(inputs), unsaid(inputs)
        self._quote = book.quoter(rates=rates, prices=prices, known_at=known_at)
        self._names = sorted(book.required_inputs() | book.optional_inputs())
        self._seen: dict[tuple[str, str], Any] = {}
        self._looked_at = 0
        self._edges = _edges(book)
        self._prices: set[str] = set()
        self._hashes: list[int] = []
        self.verified = 0

    def check(self, given: pl.DataFrame, priced: pl.DataFrame) -> None:
        """Compare some rows.

        Args:
            given: Rows as they were priced; whole documents, where the book concerns them.
            priced: The same rows, with the amounts.

        Raises:
            PricingError: The two differ: a defect. The message has the row and both amounts.
        """
        if not self._sample or not given.height:
            return
        chosen = sorted(self._chosen(given, priced))
        if chosen:
            self._compare(given, priced, chosen)

    def _chosen(self, given: pl.DataFrame, priced: pl.DataFrame) -> set[int]:
        columns = self._columns(given)
        numbers = {f"input {name}": given[column] for name, column in columns.items()}
        numbers |= {name: priced[name] for name in _AMOUNTS if name in priced.columns}
        chosen = self._smallest_hashes(given, list(columns.values())) if columns else set()
        if self._looked_at < _MOST:
            chosen |= self._extremes(numbers)
            for name, edges in self._edges.items():
                if name in numbers:
                    chosen |= self._beside_edges(name, numbers[name], edges)
            if "price_id" in priced.columns:
                chosen |= self._of_each_price(priced["price_id"], numbers.get("input quantity", priced["net"]))
        return chosen

    def _smallest_hashes(self, given: pl.DataFrame, columns: list[str]) -> set[int]:
        """Rows that are in the sample so far: rows that are alike count once."""
        hashes = given.select(pl.struct(columns).hash(seed=11).alias("hash")).to_series()
        if len(self._hashes) == self._sample:
            rows = (hashes < self._hashes[-1]).arg_true()
            hashes = hashes.gather(rows)
        else:
            rows = pl.int_range(len(hashes), dtype=pl.UInt32, eager=True)
        known = set(self._hashes)
        found = pl.DataFrame({"row": rows, "hash": hashes})
        # Of some more than are wanted those that differ will mostly do: only feeds of few different rows need all.
        few = found.bottom_k(_MORE * self._sample, by="hash").sort("row").unique("hash", keep="first")
        differ = few if few.height >= self._sample else found.unique("hash", keep="first")
        smallest = differ.bottom_k(self._sample, by="hash")
        new = {value: row for row, value in smallest.iter_rows() if value not in known}
        self._hashes = sorted(known | new.keys())[: self._sample]
        return {new[value] for value in self._hashes if value in new}

    def _extremes(self, numbers: Mapping[str, pl.Series]) -> set[int]:
        """Rows that have the smallest and the largest value of a column so far."""
        told = {name: column for name, column in numbers.items() if column.dtype.is_numeric()}
        chosen = set()
        for name, column in told.items():
            low, high = column.min(), column.max()
            if low is not None and self._is_new(name, "low", low):
                chosen.add(_place(column, low))
            if high is not None and self._is_new(name, "high", high):
                chosen.add(_place(column, high))
        return chosen

    def _beside_edges(self, name: str, column: pl.Series, edges: pl.Series) -> set[int]:
        """Rows that have the smallest and the largest value between two edges so far: at an edge, and beside it."""
        values = self._days(column) if column.dtype.is_temporal() else column
        if not values.dtype.is_numeric():
            return set()
        values = values.cast(pl.Float64)
        return self._within(name, values, edges.search_sorted(values, side="left"))

    def _of_each_price(self, prices: pl.Series, values: pl.Series) -> set[int]:
        """Rows that have the smallest and the largest value of a price of a list so far; of some prices."""
        if len(self._prices) < _PRICES:
            self._prices |= set(prices.drop_nulls().unique().sort().head(_PRICES - len(self._prices)))
        priced = values.cast(pl.Float64).to_frame("value").with_columns(band=prices).with_row_index("row")
        few = priced.filter(pl.col("band").is_in(list(self._prices)))
        return self._within("price", few["value"], few["band"], few["row"])

    def _within(self, name: str, values: pl.Series, bands: pl.Series, rows: pl.Series | None = None) -> set[int]:
        """Rows that have the smallest and the largest value of each band so far."""
        frame = pl.DataFrame({"value": values, "band": bands})
        frame = frame.with_row_index("row") if rows is None else frame.with_columns(row=rows)
        value, row = pl.col("value"), pl.col("row")
        low, high = row.get(value.arg_min()), row.get(value.arg_max())
        known = frame.filter(value.is_not_null()).group_by("band")
        found = known.agg(low=value.min(), high=value.max(), low_row=low, high_row=high).sort("band")
        chosen = set()
        for band, smallest, largest, low_row, high_row in found.iter_rows():
            if self._is_new(f"{name} {band}", "low", smallest):
                chosen.add(low_row)
            if self._is_new(f"{name} {band}", "high", largest):
                chosen.add(high_row)
        return chosen

    def _days(self, column: pl.Series) -> pl.Series:
        """Days since the epoch in the book's calendar."""
        if isinstance(column.dtype, pl.Datetime):
            if column.dtype.time_zone is not None and self._book.zone is not None:
                column = column.dt.convert_time_zone(self._book.zone)
            column = column.dt.date()
        return column.to_physical() if column.dtype == pl.Date else column

    def _is_new(self, of: str, side: str, value: Any) -> bool:
        """Whether a value is smaller (larger) than all so far of the same; so many are kept at most."""
        known = self._seen.get((of, side))
        if known is not None and (value >= known if side == "low" else value <= known):
            return False
        if self._looked_at >= _MOST:
            return False
        self._looked_at += 1
        self._seen[of, side] = value
        return True

    def _compare(self, given: pl.DataFrame, priced: pl.DataFrame, chosen: list[int]) -> None:
        """Price rows (or their documents) once more, and hold what was computed against it."""
        groups = self._documents(given, chosen)
        rows = pl.Series([index for members in groups for index in members], dtype=pl.UInt32)
        columns = self._columns(given)
        lines = given.select(pl.col(column).alias(name) for name, column in columns.items())[rows].iter_rows(named=True)
        outputs = [name for name in (*_AMOUNTS, *_FACTS) if name in priced.columns]
        computed = priced.select(outputs)[rows].iter_rows()
        for members in groups:
            document = [self._unsaid | next(lines) for _ in members]
            for line, receipt in zip(document, self._quote(document).receipts, strict=True):
                self.verified += 1
                for name, value in zip(outputs, next(computed), strict=True):
                    if value != getattr(receipt, name):
                        raise PricingError(
                            f"verification: {name} was computed as {value}, and the reference says "
                            f"{getattr(receipt, name)}, of {line}: nothing is published; please report this as a "
                            f"defect (book {self._book.fingerprint[:12]})"
                        )

    def _documents(self, given: pl.DataFrame, chosen: list[int]) -> list[list[int]]:
        """The rows to price together: one each, or all of its document."""
        document = self._inputs.get("document_id", "document_id")
        if not self._book.concerns_documents() or document not in given.columns:
            return [[index] for index in chosen]
        ids = given[document]
        wanted = ids.gather(chosen).drop_nulls().unique(maintain_order=True)
        members = (
            pl.DataFrame({"id": ids})
            .with_row_index("row")
            .filter(pl.col("id").is_in(wanted.implode()))
            .group_by("id", maintain_order=True)
            .agg("row")
        )
        return [*members["row"].to_list(), *([index] for index in chosen if ids[index] is None)]

    def _columns(self, given: pl.DataFrame) -> dict[str, str]:
        """Columns of the rows by input."""
        named = {name: self._inputs.get(name, name) for name in self._names}
        return {name: column for name, column in named.items() if column in given.columns}


def _place(column: pl.Series, value: Any) -> int:
    """The first row that has a value."""
    return (column == value).arg_max() or 0


def _edges(book: PriceBook) -> dict[str, pl.Series]:
    """The edges of a book's steps, in order, by the column in which rows are at one or beside it.

    Of a net before a step nothing is known in columns; rows whose base or net is beside it will do. They only choose
    rows, and never enter an amount: floats, which are compared several times as fast, do.
    """
    found: dict[str, set[float]] = {}
    free = Decimal(0)
    for step, edge in book.edges():
        value = edge.value
        if isinstance(value, Decimal):
            names = {UNITS: ["input quantity"], NET: ["base", "net"]}.get(edge.input, [f"input {edge.input}"])
            moved = value + free if edge.input == UNITS else value
            free = moved if step.place() is Place.FREE_UNITS else free
            for name in names:
                found.setdefault(name, set()).add(float(moved))
        elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            # Days are edges from which on something holds, and bands reach up to and with theirs.
            found.setdefault(f"input {edge.input}", set()).add(float((value - _EPOCH).days - 1))
    return {name: pl.Series(sorted(edges), dtype=pl.Float64) for name, edges in found.items()}
