"""Many items, some at a time: what fails is told beside what worked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future, wait
from typing import TypeVar

from assay.result import Err, Ok

T = TypeVar("T")
R = TypeVar("R")


async def process_batch(
    items: Iterable[T], worker: Callable[[T], Awaitable[R]], limit: int = 10
) -> list[Ok[R] | Err[Exception]]:
    """Call `worker` for each item, at most `limit` at a time.

    Args:
        items: Taken one by one, as there is room.
        worker: Awaited; an exception of it is that item's `Err` and touches no other.
        limit: How many are under way at once.

    Returns:
        `Ok(result)` or `Err(exception)`, in the order of the items.

    Raises:
        asyncio.CancelledError: The caller was cancelled; so are the workers that are under way.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    waiting = iter(enumerate(items))
    results: dict[int, Ok[R] | Err[Exception]] = {}

    async def work() -> None:
        for index, item in waiting:
            try:
                results[index] = Ok(await worker(item))
            except Exception as error:  # noqa: BLE001 - handed over as that item's result
                results[index] = Err(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(work())
    return [results[index] for index in range(len(results))]


def result_of(future: Future[R]) -> R:
    """Wait for a future, so that Ctrl-C ends the wait.

    The handler that Polars installs for Ctrl-C restarts a wait without end instead of ending it.
    """
    while not wait([future], timeout=0.1).done:
        pass
    return future.result()
