"""A cache whose entries live for a time, on a clock that never jumps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import cachetools


@dataclass(frozen=True)
class CacheStats:
    """Counts since the cache was made. An expired entry is a miss; only entries pushed out for room are evictions."""

    hits: int
    misses: int
    evictions: int


class TTLCache:
    """At most `maxsize` entries, each for `ttl_seconds`; safe to use from several threads.

    Args:
        ttl_seconds: How long an entry is given.
        maxsize: How many entries are kept; the least recently used goes first.
        timer: The clock, in seconds; monotonic by default, so that a change of the wall clock changes nothing.
    """

    def __init__(self, ttl_seconds: float, maxsize: int = 1024, timer: Callable[[], float] = time.monotonic) -> None:
        if ttl_seconds <= 0 or maxsize <= 0:
            raise ValueError(f"ttl_seconds and maxsize must be over 0, not {ttl_seconds} and {maxsize}")
        self._store = _CountingStore(maxsize, ttl_seconds, timer)
        self._lock = threading.Lock()
        self._hits = 0
        self._misses = 0

    def get(self, key: Hashable) -> Any:
        """The value, or None if there is none or its time is over."""
        with self._lock:
            value = self._store.get(key, _ABSENT)
            if value is _ABSENT:
                self._misses += 1
                return None
            self._hits += 1
            return value

    def set(self, key: Hashable, value: Any) -> None:
        """Keep a value; its time begins now."""
        with self._lock:
            self._store[key] = value

    @property
    def stats(self) -> CacheStats:
        """Hits, misses and evictions so far."""
        with self._lock:
            return CacheStats(self._hits, self._misses, self._store.evictions)

    def __len__(self) -> int:
        with self._lock:
            self._store.expire()
            return len(self._store)


_ABSENT: Any = object()


class _CountingStore(cachetools.TTLCache[Hashable, Any]):
    def __init__(self, maxsize: int, ttl: float, timer: Callable[[], float]) -> None:
        super().__init__(maxsize, ttl, timer=timer)
        self.evictions = 0

    def popitem(self) -> tuple[Hashable, Any]:
        self.evictions += 1
        return super().popitem()
