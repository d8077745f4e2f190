"""A cache whose entries live for a time, on a clock that never jumps; a key is fetched once, however many wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import cachetools

from assay.lookups.concurrent import result_of

T = TypeVar("T")


@dataclass(frozen=True)
class CacheStats:
    """Counts since the cache was made; hits and misses together are how often it was asked.

    Attributes:
        hits: Asked for and there, in memory or in the tier below.
        misses: Asked for and not there; an expired entry is a miss.
        evictions: Pushed out for room before their time.
        stale: Of the misses, those answered with an entry that was being fetched anew.
        errors: Loaders that failed.
    """

    hits: int
    misses: int
    evictions: int
    stale: int = 0
    errors: int = 0


class Tier(Protocol):
    """Where entries outlive the process."""

    def get(self, key: str) -> tuple[Any, float] | None:
        """The value and the seconds it has still to live; None if there is none."""
        ...

    def set(self, key: str, value: Any, seconds: float) -> None:
        """Keep a value for some seconds."""
        ...

    def discard(self, key: str) -> None:
        """Forget a value."""
        ...


class TTLCache:
    """At most `maxsize` entries, each for `ttl_seconds`; safe to use from threads and from tasks.

    A value of None, as a loader gives it, says that there is no such thing; it is kept for a time of its own.

    Args:
        ttl_seconds: How long an entry is given.
        maxsize: How many entries are kept; the least recently used goes first.
        timer: The clock, in seconds; monotonic by default, so that a change of the wall clock changes nothing.
        negative_ttl_seconds: How long None is given; by default as long as a value. 0: not kept.
        stale_seconds: How long after its time `get_or_load` still answers with an entry while it is fetched anew.
        tier: Where entries are kept beyond the process, such as `DiskTier`; its keys are strings.
    """

    def __init__(
        self,
        ttl_seconds: float,
        maxsize: int = 1024,
        timer: Callable[[], float] = time.monotonic,
        *,
        negative_ttl_seconds: float | None = None,
        stale_seconds: float = 0,
        tier: Tier | None = None,
    ) -> None:
        if not ttl_seconds > 0 or maxsize <= 0:
            raise ValueError(f"ttl_seconds and maxsize must be over 0, not {ttl_seconds} and {maxsize}")
        if stale_seconds < 0 or (negative_ttl_seconds or 0) < 0:
            raise ValueError("stale_seconds and negative_ttl_seconds must not be under 0")
        self._ttl = ttl_seconds
        self._negative_ttl = ttl_seconds if negative_ttl_seconds is None else negative_ttl_seconds
        self._stale_seconds = stale_seconds
        self._timer = timer
        self._tier = tier
        self._store = _CountingStore(maxsize, lambda _key, entry, _now: entry.kept_until, timer)
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight] = {}
        self._refreshes: set[asyncio.Task[Any]] = set()
        self._hits = self._misses = self._stale = self._errors = 0

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The value, or `default` if there is none or its time is over."""
        return self._find(key, default, counts=True)

    def _find(self, key: Hashable, default: Any, *, counts: bool) -> Any:
        with self._lock:
            try:
                entry = self._store[key]
            except KeyError:
                entry = None
            # A clock that was set back must not give entries a longer life.
            if entry is not None and entry.made <= self._timer() < entry.fresh_until:
                self._hits += counts
                return entry.value
            if self._tier is None:
                self._misses += counts
                return default
        value = self._from_tier(key)
        with self._lock:
            if value is _ABSENT:
                self._misses += counts
                return default
            self._hits += counts
            return value

    def set(self, key: Hashable, value: Any) -> None:
        """Keep a value; its time begins now."""
        seconds = self._ttl if value is not None else self._negative_ttl
        self._keep(key, value, seconds)
        if self._tier is None:
            return
        if seconds:
            self._tier.set(_text(key), value, seconds)
        else:
            self._tier.discard(_text(key))

    def discard(self, key: Hashable) -> None:
        """Forget a value."""
        with self._lock:
            self._store.pop(key, None)
        if self._tier is not None:
            self._tier.discard(_text(key))

    def get_or_load(self, key: Hashable, loader: Callable[[], T]) -> T:
        """The value; where there is none, what `loader` gives, which is called once however many threads ask.

        An error of the loader goes to all who wait, and is not kept.

        Raises:
            RuntimeError: the loader asks for the key that it is to load, by itself or in a task or thread that has its
                context (as those of `asyncio.to_thread`), or this thread would wait for itself.
        """
        counts = True
        while True:
            value = self._find(key, _ABSENT, counts=counts)
            counts = False
            if value is not _ABSENT:
                return value  # type: ignore[no-any-return]
            flight, leads, stale = self._board(key)
            if stale is not _ABSENT:
                if leads:
                    self._refresh_beside(key, loader, flight)
                return stale  # type: ignore[no-any-return]
            if leads:
                return self._fly(key, loader, flight)
            if flight.thread == threading.get_ident() or flight in _LED.get():
                raise RuntimeError(f"this thread waits for {key!r}, which it is to load itself")
            landed = result_of(flight.future)
            if landed is not _ABANDONED:
                return landed  # type: ignore[no-any-return]

    async def aget_or_load(self, key: Hashable, loader: Callable[[], Awaitable[T]]) -> T:
        """As `get_or_load`, with a loader that is awaited; threads and tasks wait for each other's loads as well.

        A task that is cancelled while it loads leaves the load to the next that waits.
        """
        counts = True
        while True:
            value = self._find(key, _ABSENT, counts=counts)
            counts = False
            if value is not _ABSENT:
                return value  # type: ignore[no-any-return]
            flight, leads, stale = self._board(key)
            if stale is not _ABSENT:
                if leads:
                    task = asyncio.ensure_future(self._arefresh(key, loader, flight))
                    # The loop keeps no task alive by itself.
                    self._refreshes.add(task)
                    task.add_done_callback(self._refreshes.discard)
                return stale  # type: ignore[no-any-return]
            if leads:
                return await self._afly(key, loader, flight)
            if flight in _LED.get():
                raise RuntimeError(f"this task waits for {key!r}, which it is to load itself")
            waiter = asyncio.wrap_future(flight.future)
            # The error of a load for which nobody waits any more has been told to its leader.
            waiter.add_done_callback(lambda landed: landed.cancelled() or landed.exception())
            # Who gives up waiting must not end the load of the others.
            landed = await asyncio.shield(waiter)
            if landed is not _ABANDONED:
                return landed  # type: ignore[no-any-return]

    @property
    def stats(self) -> CacheStats:
        """Counts so far."""
        with self._lock:
            return CacheStats(self._hits, self._misses, self._store.evictions, self._stale, self._errors)

    def __len__(self) -> int:
        with self._lock:
            self._store.expire()
            return len(self._store)

    def _keep(self, key: Hashable, value: Any, seconds: float) -> None:
        with self._lock:
            now = self._timer()
            stale = self._stale_seconds if value is not None else 0
            self._store[key] = _Entry(value, now, now + seconds, now + seconds + stale)

    def _from_tier(self, key: Hashable) -> Any:
        if self._tier is None:
            return _ABSENT
        found = self._tier.get(_text(key))
        if found is None:
            return _ABSENT
        value, seconds = found
        self._keep(key, value, seconds)
        return value

    def _board(self, key: Hashable) -> tuple[_Flight, bool, Any]:
        """The flight for a key, whether the caller leads it, and a stale value to go on with (or _ABSENT)."""
        with self._lock:
            try:
                entry = self._store[key]
            except KeyError:
                entry = None
            now = self._timer()
            if entry is not None and entry.made <= now < entry.fresh_until:
                # It has landed between asking, which counted a miss, and boarding.
                self._hits += 1
                self._misses -= 1
                return _Flight(), False, entry.value
            stale = entry.value if entry is not None and entry.made <= now else _ABSENT
            if stale is not _ABSENT:
                self._stale += 1
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False, stale
            flight = self._flights[key] = _Flight(threading.get_ident())
            return flight, True, stale

    def _fly(self, key: Hashable, loader: Callable[[], T], flight: _Flight) -> T:
        try:
            with _leading(flight):
                value = loader()
            self.set(key, value)
        except BaseException as error:
            self._crash(key, flight, error)
            raise
        self._land(key, flight, value)
        return value

    async def _afly(self, key: Hashable, loader: Callable[[], Awaitable[T]], flight: _Flight) -> T:
        try:
            with _leading(flight):
                value = await loader()
            self.set(key, value)
        except BaseException as error:
            self._crash(key, flight, error)
            raise
        self._land(key, flight, value)
        return value

    def _refresh_beside(self, key: Hashable, loader: Callable[[], Any], flight: _Flight) -> None:
        try:
            threading.Thread(target=self._refresh, args=(key, loader, flight), daemon=True).start()
        except RuntimeError as error:
            # No more threads: the stale value does, and the next who asks tries again.
            self._crash(key, flight, error)

    def _refresh(self, key: Hashable, loader: Callable[[], Any], flight: _Flight) -> None:
        try:
            self._fly(key, loader, flight)
        except Exception:  # noqa: BLE001 - counted; the stale value stays till its end, and then the error is seen
            return

    async def _arefresh(self, key: Hashable, loader: Callable[[], Awaitable[Any]], flight: _Flight) -> None:
        # Nobody waits for this task, so that it may wait for whoever has started it.
        _LED.set(frozenset())
        try:
            await self._afly(key, loader, flight)
        except Exception:  # noqa: BLE001 - counted; the stale value stays till its end, and then the error is seen
            return

    def _land(self, key: Hashable, flight: _Flight, value: Any) -> None:
        with self._lock:
            self._flights.pop(key, None)
        flight.future.set_result(value)

    def _crash(self, key: Hashable, flight: _Flight, error: BaseException) -> None:
        with self._lock:
            self._flights.pop(key, None)
            self._errors += isinstance(error, Exception)
        if isinstance(error, StopIteration):
            # It cannot be raised in a task, which would wait for ever.
            told = RuntimeError("the loader raised StopIteration")
            told.__cause__ = error
            flight.future.set_exception(told)
        elif isinstance(error, Exception):
            flight.future.set_exception(error)
        else:
            # Cancelled or interrupted: that is the leader's own end, not theirs who wait.
            flight.future.set_result(_ABANDONED)


_ABSENT: Final[Any] = object()
_ABANDONED: Final[Any] = object()


class _Entry:
    __slots__ = ("fresh_until", "kept_until", "made", "value")

    def __init__(self, value: Any, made: float, fresh_until: float, kept_until: float) -> None:
        self.value = value
        self.made = made
        self.fresh_until = fresh_until
        self.kept_until = kept_until


class _Flight:
    """A load under way, and the thread that leads it."""

    __slots__ = ("future", "thread")

    def __init__(self, thread: int = 0) -> None:
        self.future: Future[Any] = Future()
        self.thread = thread


#: The loads that this context is in the midst of.
_LED: Final[ContextVar[frozenset[_Flight]]] = ContextVar("led", default=frozenset())


@contextmanager
def _leading(flight: _Flight) -> Iterator[None]:
    before = _LED.set(_LED.get() | {flight})
    try:
        yield
    finally:
        _LED.reset(before)


class _CountingStore(cachetools.TLRUCache[Hashable, _Entry]):
    evictions = 0

    def popitem(self) -> tuple[Hashable, _Entry]:
        self.evictions += 1
        return super().popitem()


def _text(key: Hashable) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a cache with a tier has strings as keys, not {key!r}")
    return key
