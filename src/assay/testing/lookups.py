"""What every lookup must do.

Subclass in a test module, say how a lookup with given rows is made, and pytest runs the whole battery:

    class TestMyLookup(LookupConformance):
        def make(self, rows):
            return MyLookup(store_of(rows), Fact)
"""
# ruff: noqa: D102, S101 - these are tests: their names say what they are about, and they assert

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import BaseModel, Field

from assay.errors import ConfigurationError
from assay.lookups import LookupContext, LookupSource, OpenLookup
from assay.settings import Settings


class Fact(BaseModel):
    """The model of the rows of the battery."""

    key: str
    number: int
    amount: Annotated[Decimal, Field(max_digits=20, decimal_places=4)]
    note: str | None = None


_ODD = ["a", "A", " a", "ä", "日本", "'; DROP TABLE facts; --", '"', "a/b", "%41", "a?b=c&d#e", "{key}", "🚚"]


class LookupConformance:
    """The battery. Keys are text; a lookup that cannot ask for some of `odd_keys` names those it can."""

    odd_keys: tuple[str, ...] = tuple(_ODD)

    def make(self, rows: list[dict[str, Any]]) -> LookupSource:
        """A lookup with the model `Fact` over these rows, as it stands in a pipeline."""
        raise NotImplementedError

    def context(self) -> LookupContext:
        """What it is opened with."""
        return LookupContext((Path.cwd(),), Settings())

    def test_its_columns_are_the_models(self) -> None:
        made = self.make(_rows("a"))
        assert made.name
        assert made.columns() == _schema()
        assert not made.dated

    def test_it_answers_with_the_rows_of_the_keys_asked_for(self) -> None:
        with self._open("a", "b", "c") as lookup:
            answer = lookup.answer(_keys("c", "a", "x"))
            assert answer.failed is None or not answer.failed.height
            assert_frame_equal(answer.rows, _frame("a", "c"), check_row_order=False)

    def test_it_answers_the_same_again(self) -> None:
        with self._open("a", "b") as lookup:
            for _ in range(3):
                assert_frame_equal(lookup.answer(_keys("b", "x")).rows, _frame("b"))

    def test_no_keys_have_no_rows(self) -> None:
        with self._open("a") as lookup:
            assert_frame_equal(lookup.answer(_keys()).rows, _frame())

    def test_keys_that_are_not_there_have_no_rows(self) -> None:
        with self._open("a") as lookup:
            assert_frame_equal(lookup.answer(_keys("x", "", "y")).rows, _frame())

    def test_odd_keys_are_exact(self) -> None:
        with self._open(*self.odd_keys) as lookup:
            for key in self.odd_keys:
                assert_frame_equal(lookup.answer(_keys(key)).rows, _frame(key))

    def test_many_keys(self) -> None:
        keys = [f"k{n}" for n in range(1200)]
        with self._open(*keys) as lookup:
            answer = lookup.answer(_keys(*keys))
            assert_frame_equal(answer.rows, _frame(*keys), check_row_order=False)

    def test_an_unknown_key_column_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="kee"):
            self.make(_rows("a")).open(self.context(), ("kee",))

    def test_the_fingerprint_is_the_same_for_the_same(self) -> None:
        made = self.make(_rows("a", "b"))
        prints = []
        for _ in range(2):
            opened = made.open(self.context(), ("key",))
            prints.append(opened.fingerprint)
            opened.close()
        assert prints[0] == prints[1] != ""

    @contextmanager
    def _open(self, *keys: str) -> Iterator[OpenLookup]:
        opened = self.make(_rows(*keys)).open(self.context(), ("key",))
        try:
            yield opened
        finally:
            opened.close()


def _schema() -> pl.Schema:
    return pl.Schema(
        {"key": pl.String(), "number": pl.Int64(), "amount": pl.Decimal(20, 4), "note": pl.String()},
    )


def _rows(*keys: str) -> list[dict[str, Any]]:
    return [
        {"key": key, "number": 2**53 + n, "amount": Decimal("1234567890123456.7891"), "note": None if n % 2 else key}
        for n, key in sorted((sum(map(ord, key)), key) for key in keys)
    ]


def _frame(*keys: str) -> pl.DataFrame:
    return pl.DataFrame(_rows(*keys), schema=_schema())


def _keys(*keys: str) -> pl.DataFrame:
    return pl.DataFrame({"key": list(keys)}, schema={"key": pl.String})
