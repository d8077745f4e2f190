"""Re-pricing a sample of a run by the reference: what was computed is compared with what should have been."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from assay.errors import PricingError
from assay.pricing.binding import Inputs, bound, unsaid
from assay.pricing.price_list import PriceList
from assay.pricing.rates import Rates

if TYPE_CHECKING:
    from assay.pricing.book import PriceBook

_ROW = "__assay_verify_row"
_AMOUNTS = ("base", "discount", "net", "tax", "gross", "retained", "prepaid", "rounding", "payable")
_FACTS = ("price_id", "price_from", "price_to")


class Verifier:
    """Compares priced rows with the reference: a sample of all that it sees, and each row that is an extreme so far.

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
        self._rates, self._prices, self._known_at = rates, prices, known_at
        self._extremes: dict[str, tuple[Any, Any]] = {}
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
        for index in sorted(self._chosen(given, priced)):
            self._compare(given, priced, index)

    def _chosen(self, given: pl.DataFrame, priced: pl.DataFrame) -> set[int]:
        chosen: set[int] = set()
        columns = {name: column for name in self._names() if (column := self._inputs.get(name, name)) in given.columns}
        numbers = {f"input {name}": given[column] for name, column in columns.items()}
        numbers |= {name: priced[name] for name in _AMOUNTS if name in priced.columns}
        for name, values in numbers.items():
            if values.dtype.is_numeric() and values.null_count() < len(values):
                chosen |= self._extreme(name, values)
        if columns:
            hashes = given.select(pl.struct(*columns.values()).hash(seed=11)).to_series()
            places = pl.DataFrame({"hash": hashes, "row": pl.int_range(given.height, eager=True)}).unique("hash")
            for value, row in places.bottom_k(self._sample, by="hash").sort("hash").iter_rows():
                if len(self._hashes) < self._sample or value < self._hashes[-1]:
                    self._hashes = sorted({*self._hashes, value})[: self._sample]
                    chosen.add(row)
        return chosen

    def _extreme(self, name: str, column: pl.Series) -> set[int]:
        """Rows that have the smallest and the largest value so far."""
        low, high = column.arg_min(), column.arg_max()
        if low is None or high is None:
            return set()
        known = self._extremes.get(name)
        chosen = set()
        if known is None or column[low] < known[0]:
            chosen.add(low)
        if known is None or column[high] > known[1]:
            chosen.add(high)
        smallest = column[low] if known is None else min(known[0], column[low])
        largest = column[high] if known is None else max(known[1], column[high])
        self._extremes[name] = smallest, largest
        return chosen

    def _names(self) -> frozenset[str]:
        return self._book.required_inputs() | self._book.optional_inputs()

    def _compare(self, given: pl.DataFrame, priced: pl.DataFrame, index: int) -> None:
        document = self._inputs.get("document_id", "document_id")
        rows = pl.int_range(pl.len())
        if self._book.concerns_documents() and document in given.columns:
            members = given.select((pl.col(document) == given[document][index]).arg_true()).to_series().to_list()
        else:
            members = given.select(rows.filter(rows == index)).to_series().to_list()
        columns = {name: column for name in self._names() if (column := self._inputs.get(name, name)) in given.columns}
        lines = [self._unsaid | {name: given[column][member] for name, column in columns.items()} for member in members]
        receipts = self._book.quote_document(
            lines, rates=self._rates, prices=self._prices, known_at=self._known_at
        ).receipts
        for member, line, receipt in zip(members, lines, receipts, strict=True):
            self.verified += 1
            for name in (*_AMOUNTS, *_FACTS):
                if name in priced.columns and priced[name][member] != getattr(receipt, name):
                    raise PricingError(
                        f"verification: {name} was computed as {priced[name][member]}, and the reference says "
                        f"{getattr(receipt, name)}, of {line}: nothing is published; please report this as a defect "
                        f"(book {self._book.fingerprint[:12]})"
                    )
