"""The battery that every pricing strategy passes, a plug-in's too: batch is quote, receipts add up, credits mirror."""

# ruff: noqa: S101, S311 - these are tests: they assert, and nothing secret is drawn

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any, ClassVar

import polars as pl
import pytest

from assay.errors import PricingError
from assay.money import EXACT, ROUNDINGS
from assay.pricing import PriceBook, PriceList

_SUMS = ("base", "discount", "net", "tax", "gross", "retained", "prepaid", "rounding", "payable")
_CURRENCIES = ("EUR", "JPY", "KWD", "CLF")  # 2, 0, 3 and 4 digits
_ROWS = 60


class StrategyConformance:
    """Inherit it in a test class and say which steps to try.

    ```python
    class TestDoubled(StrategyConformance):
        books = ([{"kind": "per_unit", "unit_price": "2"}, {"kind": "doubled"}],)
    ```

    Attributes:
        books: Lists of steps, as a book has them; each is tried with every rounding and with currencies of 0 to 4
            digits.
        rows: Inputs that are no plain numbers (texts, dates): each a sequence of values to draw from. The numbers are
            made here: small, halves of a unit, zero, negative, wide, null.
        prices: Price lists by name, where steps look prices up.
        mirrors: Whether a negative quantity gives the price of the quantity with the sign turned (with roundings that
            mirror).
    """

    books: ClassVar[Sequence[Sequence[Mapping[str, Any]]]] = ()
    rows: ClassVar[Mapping[str, Sequence[Any]]] = {}
    prices: ClassVar[Mapping[str, PriceList]] = {}
    mirrors: ClassVar[bool] = True

    @pytest.fixture(params=[*ROUNDINGS, "none"])
    def rounding(self, request: pytest.FixtureRequest) -> str:
        """Every rounding."""
        return str(request.param)

    def made(self, steps: Sequence[Mapping[str, Any]], rounding: str, currency: str = "EUR") -> PriceBook:
        """A book of some steps."""
        return PriceBook.model_validate({"currency": currency, "rounding": rounding, "steps": list(steps)})

    def drawn(self, book: PriceBook, seed: int) -> pl.DataFrame:
        """Rows that a book can price, and some that it cannot."""
        draw = random.Random(seed)
        columns: dict[str, Any] = {}
        for name in sorted(book.required_inputs() | (set(self.rows) & book.optional_inputs()) | {"quantity"}):
            if name in self.rows:
                columns[name] = [draw.choice(self.rows[name]) for _ in range(_ROWS)]
            elif name == "document_id":
                columns[name] = [f"d{draw.randrange(_ROWS // 3)}" for _ in range(_ROWS)]
            else:
                units = [draw.choice(_units(draw)) for _ in range(_ROWS)]
                numbers = [None if unit is None else Decimal(unit).scaleb(-3, context=EXACT) for unit in units]
                columns[name] = pl.Series(numbers, dtype=pl.Decimal(30, 3))
        return pl.DataFrame(columns)

    def test_there_is_something_to_try(self) -> None:
        """A battery without a book proves nothing."""
        assert self.books, "say in `books` which steps are to be tried"

    def test_a_dump_loads_to_the_same(self) -> None:
        """The canonical JSON of a book gives an equal book."""
        for steps in self.books:
            book = self.made(steps, "half_up")
            again = PriceBook.model_validate_json(book.dump())
            assert again == book
            assert again.fingerprint == book.fingerprint

    def test_batch_is_quote(self, rounding: str) -> None:
        """The twin gives the reference's amounts, taxes and receipts to the last digit, or its very reason."""
        for number, steps in enumerate(self.books):
            # Each book meets each currency with some of the roundings.
            turn = number + [*ROUNDINGS, "none"].index(rounding)
            book = self.made(steps, rounding, _CURRENCIES[turn % len(_CURRENCIES)])
            self._compare(book, self.drawn(book, turn))

    def test_a_receipt_adds_up(self, rounding: str) -> None:
        """The lines that count add up to the total of every row; net = base - discount; gross = net + tax."""
        for number, steps in enumerate(self.books):
            book = self.made(steps, rounding)
            priced = book.price(self.drawn(book, number), prices=self.prices, receipts=True, errors="column").collect()
            for row in priced.filter(pl.col("pricing_error").is_null()).iter_rows(named=True):
                with localcontext(EXACT):
                    assert sum(line["amount"] for line in row["receipt"] if line["adds_to_total"]) == row["gross"]
                    assert row["net"] == row["base"] - row["discount"]
                    assert row["gross"] == row["net"] + row["tax"]

    def test_a_credit_mirrors(self, rounding: str) -> None:
        """The price of a negative quantity is that of the quantity with the sign turned."""
        if not self.mirrors or rounding in ("ceiling", "floor"):
            pytest.skip("this does not mirror")
        for number, steps in enumerate(self.books):
            book = self.made(steps, rounding)
            if book.concerns_documents() or "quantity" not in book.required_inputs():
                continue
            frame = self.drawn(book, number).filter(pl.col("quantity") > 0)
            turned = frame.with_columns(quantity=pl.lit(0, dtype=pl.Decimal(30, 3)) - pl.col("quantity"))
            charged, credited = (
                book.price(rows, prices=self.prices, errors="column").collect()["gross"].to_list()
                for rows in (frame, turned)
            )
            with localcontext(EXACT):
                assert [None if amount is None else -amount for amount in charged] == credited

    def _compare(self, book: PriceBook, frame: pl.DataFrame) -> None:
        priced = book.price(frame, prices=self.prices, receipts=True, errors="column").collect()
        rows = frame.to_dicts()
        whole = book.concerns_documents() and "document_id" in frame.columns
        groups: dict[object, list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(row["document_id"] if whole else index, []).append(index)
        for members in groups.values():
            reasons = [priced["pricing_error"][index] for index in members]
            try:
                receipts = book.quote_document([rows[index] for index in members], prices=self.prices).receipts
            except PricingError as error:
                receipts = ()
                assert reasons == _reasons(error, len(members)), [rows[index] for index in members]  # noqa: PT017
            else:
                assert set(reasons) == {None}, [rows[index] for index in members]
            for index, receipt in zip(members, receipts, strict=False):
                got = priced.row(index, named=True)
                for name in _SUMS:
                    assert name not in got or got[name] == getattr(receipt, name), (name, rows[index])
                lines = [(line["id"], line["amount"], line["residue"], line["tier"]) for line in got["receipt"]]
                assert lines == [(line.id, line.amount, line.residue, line.tier) for line in receipt.lines], rows[index]


def _reasons(error: PricingError, lines: int) -> list[str]:
    """Of each line of a document: its own reason, or that the first line that is to blame has cost it its document."""
    if not error.lines:
        return [str(error)] * lines
    first = min(error.lines)
    sibling = f"document_rejected: line {first + 1} of its document: {error.lines[first]}"
    return [error.lines.get(place, sibling) for place in range(lines)]


def _units(draw: random.Random) -> list[int | None]:
    """Thousandths: small, ties, zero, negative, wide, null."""
    small = draw.randrange(0, 60_000)
    return [small, small, draw.randrange(0, 100) * 500, 5 * draw.randrange(0, 999), 0, -small, 10**25 + small, None]
