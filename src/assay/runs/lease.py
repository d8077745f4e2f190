"""A lease on a pipeline: one run of it at a time, on however many machines share the run store.

The owner keeps raising a counter. Who else wants to run watches it on a clock of its own: when it has stood still for
the length of a lease, the owner has died and the lease is taken over. No two clocks are compared, so none must be
right. An owner that was only asleep finds out before it decides to publish.

On one machine nobody has to wait for that: a file lock goes with its process, so who holds it knows that an owner of
the same place is gone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Final

import filelock
import sqlalchemy as sa

from assay.errors import ConfigurationError, LedgerError, RunStoreError
from assay.runs.tables import LEASES

_POLL: Final = 0.2


@dataclass(frozen=True)
class Lease:
    """The right to run a pipeline.

    Attributes:
        pipeline: Name of the pipeline.
        owner: A word that no other lease has.
    """

    pipeline: str
    owner: str

    def check(self, connection: sa.Connection) -> None:
        """See, in the transaction that decides to publish, that nobody has taken over.

        Raises:
            LedgerError: somebody has.
        """
        query = sa.select(LEASES.c.owner).where(LEASES.c.pipeline == self.pipeline).with_for_update()
        if connection.scalar(query) != self.owner:
            raise LedgerError(
                f"this run of {self.pipeline} stood still for so long that another one has taken over; nothing was "
                "published by this one"
            )


@contextmanager
def leased(
    engine: sa.Engine,
    pipeline: str,
    lock: Path,
    *,
    host: str,
    seconds: float,
    wait: float = 0.0,
    timer: Callable[[], float] = time.monotonic,
) -> Iterator[Lease]:
    """Hold the lease on a pipeline.

    Args:
        engine: The run store.
        pipeline: Name of the pipeline.
        lock: A file on this machine that is locked as well.
        host: Name of this machine.
        seconds: After how long without a sign of life an owner elsewhere is taken for dead.
        wait: How long to wait for the lease, in seconds.
        timer: A monotonic clock, in seconds.

    Raises:
        ConfigurationError: another run holds it.
    """
    deadline = timer() + wait
    lock.parent.mkdir(parents=True, exist_ok=True)
    local = filelock.FileLock(lock, timeout=wait if wait < float("inf") else -1)
    try:
        local.acquire()
    except filelock.Timeout:
        raise _taken(pipeline, "on this machine", wait) from None
    try:
        lease = Lease(pipeline, secrets.token_hex(16))
        _acquire(engine, lease, f"{host}:{lock.resolve()}", seconds=seconds, deadline=deadline, timer=timer)
        ended = Event()
        beat = Thread(target=_beat, args=(engine, lease, seconds / 3, ended), daemon=True, name=f"lease {pipeline}")
        beat.start()
        try:
            yield lease
        finally:
            ended.set()
            beat.join()
            with engine.begin() as connection:
                connection.execute(LEASES.delete().where(LEASES.c.owner == lease.owner))
    finally:
        local.release()


def _acquire(
    engine: sa.Engine, lease: Lease, place: str, *, seconds: float, deadline: float, timer: Callable[[], float]
) -> None:
    seen: tuple[str, int] | None = None
    since = timer()
    while True:
        with engine.begin() as connection:
            found = connection.execute(
                sa.select(LEASES.c.owner, LEASES.c.place, LEASES.c.counter).where(LEASES.c.pipeline == lease.pipeline)
            ).first()
        if found is None:
            if _insert(engine, lease, place):
                return
            continue
        owner, holder, counter = found
        if (owner, counter) != seen:
            seen, since = (owner, counter), timer()
        # Whoever is of this place has held the file lock that is held now.
        if (holder == place or timer() - since >= seconds) and _take_over(engine, lease, place, owner, counter):
            return
        if timer() >= deadline:
            raise _taken(lease.pipeline, f"on {holder.partition(':')[0]}", seconds)
        time.sleep(_POLL)


def _insert(engine: sa.Engine, lease: Lease, place: str) -> bool:
    values = {"pipeline": lease.pipeline, "owner": lease.owner, "place": place, "counter": 0}
    try:
        with engine.begin() as connection:
            connection.execute(LEASES.insert().values(values))
    except sa.exc.IntegrityError:
        return False
    return True


def _take_over(engine: sa.Engine, lease: Lease, place: str, owner: str, counter: int) -> bool:
    with engine.begin() as connection:
        taken = connection.execute(
            LEASES.update()
            .where(LEASES.c.pipeline == lease.pipeline, LEASES.c.owner == owner, LEASES.c.counter == counter)
            .values(owner=lease.owner, place=place, counter=0)
        )
    return taken.rowcount == 1


def _beat(engine: sa.Engine, lease: Lease, every: float, ended: Event) -> None:
    while not ended.wait(every):
        try:
            with engine.begin() as connection:
                raised = connection.execute(
                    LEASES.update().where(LEASES.c.owner == lease.owner).values(counter=LEASES.c.counter + 1)
                )
        except (RunStoreError, sa.exc.SQLAlchemyError):
            # The store may be back before the next beat; if it is not, the decision to publish finds out.
            continue
        if raised.rowcount == 0:
            return


def _taken(pipeline: str, where: str, seconds: float) -> ConfigurationError:
    error = ConfigurationError(
        f"another run of {pipeline} is under way {where}; wait for it to end (assay runs shows it), or give --wait"
    )
    if where != "on this machine":
        error.add_note(f"If that one has died, --wait finds out within {seconds:.0f} s.")
    return error
