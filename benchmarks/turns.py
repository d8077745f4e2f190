"""Two ways, timed in turns: what disturbs one disturbs the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

ROUNDS: Final = 7


def in_turns(
    ours: Callable[[], Any], other: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> tuple[list[float], list[float]]:
    """Seconds a round of either."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for way, kept in zip((ours, other), taken, strict=True):
            began = clock()
            way()
            kept.append(clock() - began)
    return taken
