"""What a ledger books: histories drawn at random, held against a plain bookkeeper that goes row by row."""

import datetime as dt
import functools
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assay import Booked, Parquet
from assay.money import EXACT
from assay.pipeline import booked as booked_module
from assay.pipeline.booked import OpenBooked
from assay.pipeline.context import Context
from assay.pipeline.entries import Booking
from assay.pipeline.spool import Spool
from assay.settings import Settings

TAXES = pl.List(pl.Struct({"code": pl.String(), "rate": pl.Decimal(5, 2), "amount": pl.Decimal(38, 2)}))
ROWS = pl.Schema(
    {
        "order": pl.String(),
        "line": pl.Int64(),
        "month": pl.String(),
        "day": pl.Date(),
        "currency": pl.String(),
        "label": pl.String(),
        "units": pl.Int32(),
        "price": pl.Decimal(20, 6),
        "net": pl.Decimal(38, 2),
        "taxes": TAXES,
    }
)
AMOUNTS = ["units", "net", "taxes.amount"]
RATES = ["price", "taxes.rate"]
MONTHS = ["2026-02", "2026-03", None]

Row = dict[str, Any]
Key = tuple[str, int]


@dataclass
class Bookkeeper:
    """The reference: a plain ledger, entry by entry."""

    output: Booked
    entries: list[Row] = field(default_factory=list)

    def book(self, rows: Sequence[Row], run: str, today: dt.date, *, whole: bool) -> list[Row]:
        """Book the rows of a run; gives what was booked."""
        made: list[Row] = []
        for row in rows:
            made += self._of(row, run, today)
        if whole and self.output.gone == "reverse":
            keys = {_key(row) for row in rows}
            months = {row["month"] for row in rows}
            for key, line in sorted(self.open().items()):
                if key not in keys and line["month"] in months:
                    made.append(self._reversal(line, run, today))
        self.entries += made
        return made

    def open(self) -> dict[Key, Row]:
        """The line that is booked now, by key."""
        found: dict[Key, Row] = {}
        for entry in self.entries:
            if entry["entry"] == "reversal":
                del found[_key(entry)]
            else:
                found[_key(entry)] = entry
        return found

    def _of(self, row: Row, run: str, today: dt.date) -> list[Row]:
        number = sum(_key(entry) == _key(row) for entry in self.entries) + 1
        old = self.open().get(_key(row))
        if old is None:
            on = row["day"] if self.output.dated else today
            return [_entry(row, "line", number, None, on, run)]
        compared = ROWS.names() if self.output.compare is None else ["units", "net", "taxes", *self.output.compare]
        if all(row[name] == old[name] for name in compared):
            return []
        horizon = self.output.horizon
        if isinstance(horizon, dt.date) and old["day" if self.output.dated else "booked_on"] < horizon:
            return []
        on = old["booked_on"] if self.output.correction == "original" else today
        return [self._reversal(old, run, today), _entry(row, "correction", number + 1, old["entry_id"], on, run)]

    def _reversal(self, old: Row, run: str, today: dt.date) -> Row:
        on = old["booked_on"] if self.output.correction == "original" else today
        taxes = old["taxes"]
        row = {name: old[name] for name in ROWS} | {
            "units": None if old["units"] is None else -old["units"],
            "net": None if old["net"] is None else -old["net"],
            "taxes": taxes and [one | {"amount": -one["amount"]} for one in taxes],
        }
        return _entry(row, "reversal", old["entry_number"] + 1, old["entry_id"], on, run)


def _key(row: Row) -> Key:
    return row["order"], row["line"]


def _entry(row: Row, entry: str, number: int, corrects: str | None, on: dt.date, run: str) -> Row:
    order = row["order"].replace("%", "%25").replace("/", "%2F")
    return row | {
        "entry": entry,
        "entry_id": f"{order}/{row['line']}#{number}",
        "entry_number": number,
        "corrects": corrects,
        "booked_on": on,
        "booked_run": run,
    }


def cents(most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(-most, most).map(lambda number: Decimal(number).scaleb(-2))


# Few values of each: what comes again is to be equal now and then.
AMOUNT = st.sampled_from([Decimal("0.00"), Decimal("0.01"), Decimal("-1.00"), Decimal(10**36 - 1).scaleb(-2)]) | cents(
    300
)
TAX = st.fixed_dictionaries(
    {
        "code": st.sampled_from("ab"),
        "rate": st.just(Decimal("19.00")),
        "amount": st.sampled_from([Decimal("0.19"), Decimal("-2.00")]),
    }
)
VALUES = st.fixed_dictionaries(
    {
        "month": st.sampled_from(MONTHS),
        "day": st.sampled_from([dt.date(2026, 2, 28), dt.date(2026, 3, 1)]),
        "currency": st.sampled_from(["EUR", "USD"]),
        "label": st.sampled_from(["x", "", None]),
        "units": st.sampled_from([None, 0, 15, 16, 2**31 - 1]),
        "price": st.sampled_from([Decimal("10.000000"), Decimal("5.000000")]),
        "net": AMOUNT | st.none(),
        "taxes": st.none() | st.lists(TAX, max_size=2),
    }
)
KEYS = st.tuples(st.sampled_from(["a", "a/1", "a%2F1", "%"]), st.integers(1, 2))
VERSION = st.dictionaries(KEYS, VALUES, max_size=6)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[Key, Row]]:
    """What runs read, one after the other: mostly the same lines, some priced anew, some gone, some new."""
    found = [draw(VERSION)]
    for _ in range(draw(st.integers(1, 4))):
        now = {key: dict(values) for key, values in found[-1].items() if draw(st.integers(0, 3)) > 0}
        for values in now.values():
            if draw(st.booleans()):
                values["net"] = draw(AMOUNT)
        now |= draw(st.dictionaries(KEYS, VALUES, max_size=2))
        # Going back to what there was is a change as any other.
        found.append(found[0] if draw(st.integers(0, 4)) == 0 else now)
    return found


OUTPUTS = st.fixed_dictionaries(
    {
        "compare": st.sampled_from([None, ["currency"], []]),
        "correction": st.sampled_from(["current", "original"]),
        "dated": st.sampled_from([None, "day"]),
        "horizon": st.sampled_from([None, dt.date(2026, 3, 1)]),
        "gone": st.sampled_from(["keep", "reverse"]),
    }
)


@dataclass
class Ledger:
    """A ledger in memory, and the runs that book to it."""

    folder: Path
    booked: pl.DataFrame | None = None
    runs: int = 0

    @property
    def entries(self) -> pl.DataFrame:
        """All that was booked."""
        assert self.booked is not None
        return self.booked

    def run(self, output: Booked, rows: Sequence[Row], *, frames: int = 2, whole: bool = True) -> Booking:
        self.runs += 1
        bound = output.bind("ledger", ROWS, Context(None, self.folder, Settings()))
        waiting = Spool(self.folder / f"{self.runs}.rows", bound.rows)
        frame = pl.DataFrame(list(rows), schema=ROWS)
        waiting.write(bound.take(frame[start::frames]) for start in range(frames))
        booking = Booking()
        stored = None if self.booked is None else self.booked.lazy()
        made = list(
            bound.entries(waiting, stored, self.folder / f"{self.runs}.parts", f"run{self.runs}", booking, whole=whole)
        )
        self.booked = pl.concat([frame for frame in (self.booked, *made, empty(bound)) if frame is not None])
        return booking

    def of_run(self) -> pl.DataFrame:
        """What the last run has booked."""
        return self.entries.filter(booked_run=f"run{self.runs}")


def empty(bound: OpenBooked) -> pl.DataFrame:
    return pl.DataFrame(schema=bound.schema)


@contextmanager
def ledger() -> Iterator[Ledger]:
    with tempfile.TemporaryDirectory() as folder:
        yield Ledger(Path(folder))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booked_module, "_PART_ROWS", 3)


def rows_of(version: dict[Key, Row]) -> list[Row]:
    return [{"order": order, "line": line} | values for (order, line), values in version.items()]


def booked(**options: Any) -> Booked:
    scope = ["month"] if options.get("gone") == "reverse" else []
    to = Parquet("ledger", mode="append")
    return Booked(key=["order", "line"], to=to, amounts=AMOUNTS, rates=RATES, scope=scope, **options)


def same(found: pl.DataFrame, expected: Sequence[Row], schema: pl.Schema) -> None:
    made = pl.DataFrame(list(expected), schema=schema)
    assert_frame_equal(found, made, check_row_order=False, check_exact=True)


@given(histories(), OUTPUTS, st.randoms(use_true_random=False))
def test_a_ledger_books_what_the_reference_books(
    history: list[dict[Key, Row]], options: dict[str, Any], chance: random.Random
) -> None:
    with ledger() as found:
        reference = Bookkeeper(booked(**options))
        for day, version in enumerate(history, 1):
            today = dt.date(2026, 4, day)
            rows = rows_of(version)
            expected = reference.book(rows, f"run{day}", today, whole=True)
            chance.shuffle(rows)
            booking = found.run(booked(**options, today=today), rows, frames=chance.randint(1, 4))
            same(found.of_run(), expected, found.entries.schema)
            kinds = [entry["entry"] for entry in expected]
            assert (booking.new, booking.corrected) == (kinds.count("line"), kinds.count("correction"))
            assert booking.reversed == kinds.count("reversal") - booking.corrected
            assert booking.new + booking.corrected + booking.unchanged + booking.beyond == len(version)
            gone = [key for key in reference.open() if key not in version]
            assert booking.absent == (len(gone) if options["gone"] == "keep" else 0)


@given(histories(), st.sampled_from(["current", "original"]), st.randoms(use_true_random=False))
def test_the_entries_of_a_key_add_up_to_the_newest_price(
    history: list[dict[Key, Row]], correction: Any, chance: random.Random
) -> None:
    newest: dict[Key, Row] = {}
    with ledger() as found:
        for version in history:
            newest |= version
            rows = rows_of(version)
            chance.shuffle(rows)
            before = found.booked
            output = booked(correction=correction, today=dt.date(2026, 4, 1))
            found.run(output, rows, whole=chance.random() < 0.5)
            if before is not None:
                assert found.entries.head(before.height).equals(before)
            chance.shuffle(rows)
            assert (found.run(output, rows).unchanged, found.of_run().height) == (len(rows), 0)
        sums: dict[Key, list[int | Decimal]] = defaultdict(lambda: [0, Decimal(0), Decimal(0)])
        for entry in found.entries.iter_rows(named=True):
            by = sums[_key(entry)]
            by[0] += entry["units"] or 0
            by[1] = exact(by[1], entry["net"] or Decimal(0))
            by[2] = exact(by[2], *(one["amount"] for one in entry["taxes"] or ()))
        assert sums == {
            key: [row["units"] or 0, row["net"] or Decimal(0), exact(*(one["amount"] for one in row["taxes"] or ()))]
            for key, row in newest.items()
        }
        reversed_ones = found.entries.filter(entry="reversal")["corrects"]
        assert reversed_ones.is_unique().all()
        assert found.entries["entry_id"].is_unique().all()


def exact(*amounts: Any) -> Decimal:
    """A sum of which no digit is lost: the default context has 28."""
    return functools.reduce(EXACT.add, amounts, Decimal(0))
