"""Items made ahead, in a thread of its own."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from pydantic import BaseModel

import assay
from assay.errors import SourceError
from assay.reading.read_ahead import Ahead


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "assay-ahead"]


def test_items_come_in_order_and_so_many_ahead() -> None:
    made: list[int] = []

    def items() -> Generator[int, None, None]:
        for number in range(20):
            made.append(number)
            yield number

    ahead = Ahead(items(), 3)
    found = []
    for number in ahead:
        found.append(number)
        time.sleep(0.002)
        # Those that wait, the one that is handled, and the one that finds no room.
        assert len(made) <= len(found) + 4
    assert found == list(range(20))
    assert next(ahead, None) is None


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise SourceError("torn", file="a")

    ahead = Ahead(items(), 3)
    assert [next(ahead), next(ahead)] == [1, 2]
    for _ in range(2):
        with pytest.raises(SourceError, match="torn"):
            next(ahead)


def test_who_lets_go_ends_it() -> None:
    closed = threading.Event()

    def items() -> Generator[int, None, None]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    ahead = Ahead(items(), 2)
    assert next(ahead) == 0
    del ahead
    gc.collect()
    assert closed.wait(5)
    assert not threads()


class Order(BaseModel):
    id: int


def test_an_abandoned_scan_of_many_files_leaves_no_thread(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number:03}.xml").write_text(f"<order><id>{number}</id>{' ' * 60_000}</order>")
    batches = assay.scan(str(tmp_path / "*.xml"), Order, format="xml", record="/order").collect_batches()
    assert next(iter(batches)).height
    del batches
    gc.collect()
    deadline = time.monotonic() + 10
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads()
