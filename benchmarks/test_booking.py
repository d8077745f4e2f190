"""Booking to a ledger beside a plain append of the same rows: comparing is what it costs.

In processor time: what either waits for is the disk, which others use too.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import pytest
from benchmarks.booking import ONE_OF, append, book, lines
from benchmarks.child import measured
from benchmarks.conftest import Keep
from benchmarks.figures import Figure, Reached
from benchmarks.turns import in_turns

ROWS: Final = 1_000_000
TIMES: Final = 4
MOST_GROWTH: Final = 1.3


@pytest.mark.parametrize("work", ["new", "unchanged", "1 % corrected"])
def test_a_ledger_beside_an_append(benchmark: Any, keep: Keep, tmp_path: Path, work: str) -> None:
    benchmark.group = "booking"
    new = iter(range(1_000_000))
    if work != "new":
        book(tmp_path / "ledger", lines(ROWS))
    prices = iter(range(1, 1_000_000))

    def ours() -> None:
        match work:
            case "new":
                assert book(tmp_path / f"ledger {next(new)}", lines(ROWS)).new == ROWS
            case "unchanged":
                assert book(tmp_path / "ledger", lines(ROWS)).unchanged == ROWS
            case _:
                assert book(tmp_path / "ledger", lines(ROWS, dearer=next(prices))).corrected == ROWS // ONE_OF

    taken = in_turns(ours, lambda: append(tmp_path / f"plain {next(new)}", lines(ROWS)), time.process_time)
    benchmark.pedantic(lambda: None, rounds=1)
    figure = Figure(f"{ROWS:,} lines of a ledger, {work}", "a plain append of them", "time")
    keep(benchmark, Reached(figure, *taken, records=ROWS))


def test_memory_does_not_grow_with_the_ledger(benchmark: Any, keep: Keep, tmp_path: Path) -> None:
    benchmark.group = "booking"
    sizes = (2 * ROWS, 2 * TIMES * ROWS)
    peaks = []
    for size in sizes:
        measured("book", tmp_path / str(size), str(size), "0")
        peaks.append(measured("book", tmp_path / str(size), str(size), "1")["peak"])
    benchmark.pedantic(lambda: None, rounds=1)
    reached = Reached(
        Figure(f"{sizes[1]:,} lines of a ledger, 1 % corrected", f"{sizes[0]:,} lines", "memory", MOST_GROWTH),
        [peaks[1]],
        [peaks[0]],
    )
    keep(benchmark, reached)
    assert reached.mark == "pass", f"peak memory grows with the ledger: {reached.row()}"
