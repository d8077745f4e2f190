"""Leases: one run of a pipeline at a time, on one machine and on several."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from assay.errors import ConfigurationError, LedgerError
from assay.runs import RunStore
from assay.runs.lease import Lease, leased
from assay.runs.tables import LEASES


@pytest.fixture
def url(store_url: str) -> str:
    RunStore(store_url).close()
    return store_url


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(url)
    yield made
    made.dispose()


def test_a_second_run_of_the_machine_is_told_or_waits(engine: sa.Engine, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with leased(engine, "orders", lock, host="a", seconds=30):
        with (
            pytest.raises(ConfigurationError, match="another run of orders is under way on this machine"),
            leased(engine, "orders", lock, host="a", seconds=30),
        ):
            pass
        with leased(engine, "invoices", tmp_path / "other", host="a", seconds=30):
            pass
    order = []

    def second() -> None:
        with leased(engine, "orders", lock, host="a", seconds=30, wait=20):
            order.append("second")

    with leased(engine, "orders", lock, host="a", seconds=30):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_run_on_another_machine_holds_it_while_it_lives(engine: sa.Engine, tmp_path: Path) -> None:
    with leased(engine, "orders", tmp_path / "a", host="a", seconds=0.3) as lease:
        begun = time.monotonic()
        with (
            pytest.raises(ConfigurationError, match="another run of orders is under way on a") as raised,
            leased(engine, "orders", tmp_path / "b", host="b", seconds=0.5, wait=1.5),
        ):
            pass
        assert time.monotonic() - begun >= 1.5
        assert "--wait finds out" in raised.value.__notes__[0]
        with engine.begin() as connection:
            lease.check(connection)
    with engine.begin() as connection:
        assert connection.execute(sa.select(LEASES)).all() == []


def test_one_that_gives_no_sign_of_life_is_taken_over_and_finds_out(engine: sa.Engine, tmp_path: Path) -> None:
    asleep = Lease("orders", "asleep")
    with engine.begin() as connection:
        connection.execute(
            LEASES.insert().values(pipeline="orders", owner=asleep.owner, place="a:/somewhere", counter=7)
        )
        asleep.check(connection)
    begun = time.monotonic()
    with leased(engine, "orders", tmp_path / "b", host="b", seconds=0.5, wait=10) as lease:
        assert 0.5 <= time.monotonic() - begun < 5
        with engine.begin() as connection:
            lease.check(connection)
            with pytest.raises(LedgerError, match="another one has taken over"):
                asleep.check(connection)


def _hold(url: str, lock: Path) -> None:
    with leased(sa.create_engine(url), "orders", lock, host="a", seconds=30):
        time.sleep(60)


def test_one_that_was_killed_on_this_machine_is_known_to_be_dead_at_once(url: str, tmp_path: Path) -> None:
    engine = sa.create_engine(url)
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(url, tmp_path / "lock"))
    process.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with engine.begin() as connection:
            if connection.execute(sa.select(LEASES)).all():
                break
        time.sleep(0.02)
    assert process.pid is not None
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    begun = time.monotonic()
    with leased(engine, "orders", tmp_path / "lock", host="a", seconds=30):
        assert time.monotonic() - begun < 2
    engine.dispose()


def test_the_owner_keeps_raising_its_counter(engine: sa.Engine, tmp_path: Path) -> None:
    with leased(engine, "orders", tmp_path / "lock", host="a", seconds=0.15):
        time.sleep(0.5)
        with engine.begin() as connection:
            assert (connection.scalar(sa.select(LEASES.c.counter)) or 0) >= 2
