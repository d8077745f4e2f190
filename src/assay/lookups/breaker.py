"""What keeps a lookup kind to the service: a circuit breaker, and a pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class CircuitBreaker:
    """Opens after `failures` in a row; after `reset_seconds` lets one probe through, and closes when that works.

    Attributes:
        opened: How often it has opened.
    """

    def __init__(self, failures: int, reset_seconds: float, timer: Callable[[], float]) -> None:
        self._failures = failures
        self._reset = reset_seconds
        self._timer = timer
        self._in_a_row = 0
        self._closed_from: float | None = None
        self._probing = False
        self.opened = 0

    def wait_seconds(self) -> float:
        """0 where a call may be made now, which is then the probe if it is open; else how long to wait."""
        if self._closed_from is None:
            return 0.0
        left = self._closed_from - self._timer()
        if left > 0:
            return left
        if self._probing:
            return self._reset
        self._probing = True
        return 0.0

    def worked(self) -> None:
        """The service has answered."""
        self._in_a_row = 0
        self._closed_from = None
        self._probing = False

    def failed(self) -> None:
        """The service has not answered."""
        self._in_a_row += 1
        if self._probing or (self._in_a_row >= self._failures and self._closed_from is None):
            self._closed_from = self._timer() + self._reset
            self._probing = False
            self.opened += 1

    def gave_up(self) -> None:
        """The call was ended from here: nothing is known of the service."""
        self._probing = False


class Pace:
    """At most `per_second` calls a second, evenly spaced; None: as many as there are."""

    def __init__(self, per_second: float | None, timer: Callable[[], float]) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._timer = timer
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next place in line."""
        if not self._gap:
            return
        now = self._timer()
        mine = max(self._next, now)
        self._next = mine + self._gap
        await asyncio.sleep(mine - now)
