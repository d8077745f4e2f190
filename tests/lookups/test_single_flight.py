from __future__ import annotations

import asyncio
import gc
import resource
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import assay
from assay import Err, Ok, TTLCache
from assay.errors import ConfigurationError
from assay.lookups import DiskTier


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_hundred_tasks_load_a_key_once() -> None:
    cache = TTLCache(60)
    calls: Counter[str] = Counter()

    async def main() -> list[int]:
        async def load() -> int:
            calls["k"] += 1
            await asyncio.sleep(0.02)
            return 7

        return await asyncio.gather(*(cache.aget_or_load("k", load) for _ in range(100)))

    assert asyncio.run(main()) == [7] * 100
    assert calls["k"] == 1


def test_eight_threads_and_tasks_of_two_loops_load_each_key_once_and_lose_nothing() -> None:
    cache = TTLCache(60, maxsize=1000)
    calls: Counter[int] = Counter()
    answers: list[tuple[int, int]] = []

    def load(key: int) -> int:
        calls[key] += 1
        time.sleep(0.001)
        return key * 2

    def by_thread() -> None:
        for key in range(50):
            answers.append((key, cache.get_or_load(key, lambda key=key: load(key))))  # type: ignore[misc]

    async def tasks() -> None:
        async def aload(key: int) -> int:
            calls[key] += 1
            await asyncio.sleep(0.001)
            return key * 2

        async def one(key: int) -> None:
            answers.append((key, await cache.aget_or_load(key, lambda: aload(key))))

        await asyncio.gather(*(one(key) for key in range(50)))

    threads = [threading.Thread(target=by_thread) for _ in range(6)]
    threads += [threading.Thread(target=lambda: asyncio.run(tasks())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 400
    assert all(value == key * 2 for key, value in answers)
    assert set(calls.values()) == {1}


def test_an_error_goes_to_all_who_wait_and_is_not_kept() -> None:
    cache = TTLCache(60)
    calls = 0

    async def main() -> list[object]:
        async def load() -> int:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0.01)
            raise OSError("away")

        return list(await asyncio.gather(*(cache.aget_or_load("k", load) for _ in range(5)), return_exceptions=True))

    assert [str(one) for one in asyncio.run(main())] == ["away"] * 5
    assert (calls, cache.stats.errors) == (1, 1)
    assert cache.get_or_load("k", lambda: 3) == 3


def test_a_leader_that_is_cancelled_leaves_the_load_to_one_who_waits() -> None:
    cache = TTLCache(60)
    calls = 0

    async def main() -> int:
        async def load() -> int:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0.02)
            return 5

        leader = asyncio.create_task(cache.aget_or_load("k", load))
        await asyncio.sleep(0)
        waiters = [asyncio.create_task(cache.aget_or_load("k", load)) for _ in range(3)]
        await asyncio.sleep(0)
        leader.cancel()
        waiters[0].cancel()
        return sum(await asyncio.gather(*waiters[1:]))

    assert asyncio.run(main()) == 10
    assert calls == 2


def test_a_loader_that_asks_for_its_own_key_is_told_so() -> None:
    cache = TTLCache(60)
    with pytest.raises(RuntimeError, match="load itself"):
        cache.get_or_load("k", lambda: cache.get_or_load("k", lambda: 1))

    async def main() -> None:
        async def load() -> int:
            return await cache.aget_or_load("k", load)

        with pytest.raises(RuntimeError, match="load itself"):
            await cache.aget_or_load("k", load)

    asyncio.run(main())


def test_nothing_there_is_kept_for_a_time_of_its_own() -> None:
    clock = Clock()
    cache = TTLCache(60, timer=clock, negative_ttl_seconds=5)
    asked: list[float] = []

    def load() -> None:
        asked.append(clock.now)

    for now in (0.0, 4.9, 5.1):
        clock.now = now
        assert cache.get_or_load("k", load) is None
    assert asked == [0.0, 5.1]


def test_a_stale_answer_is_given_while_it_is_fetched_anew() -> None:
    clock = Clock()
    cache = TTLCache(10, timer=clock, stale_seconds=5)
    cache.set("k", 1)
    clock.now = 12
    fetched, go = threading.Event(), threading.Event()

    def load() -> int:
        go.wait(5)
        fetched.set()
        return 2

    assert [cache.get_or_load("k", load) for _ in range(3)] == [1, 1, 1]
    assert cache.get("k") is None
    go.set()
    assert fetched.wait(5)
    deadline = time.monotonic() + 5
    while cache.get("k") != 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert cache.get("k") == 2
    assert cache.stats.stale == 3
    clock.now = 40
    assert cache.get_or_load("k", lambda: 3) == 3


def test_a_clock_that_jumps_back_gives_no_entry_a_longer_life() -> None:
    clock = Clock()
    clock.now = 1000
    cache = TTLCache(60, timer=clock)
    cache.set("k", 1)
    clock.now = 10
    assert cache.get("k") is None
    assert cache.get_or_load("k", lambda: 2) == 2
    assert cache.get("k") == 2


@pytest.mark.parametrize("keys", [200_000, pytest.param(10_000_000, marks=pytest.mark.campaign)])
def test_it_is_bounded_whatever_comes(keys: int) -> None:
    cache = TTLCache(3600, maxsize=1000)
    for key in range(keys // 2):
        cache.set(key, key)
    half = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for key in range(keys // 2, keys):
        cache.get_or_load(key, lambda: 1)
    assert len(cache) == 1000
    assert cache.stats.evictions == keys - 1000
    # In KiB: what half of the keys took, the other half takes again.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - half < 8 * 1024


def test_a_second_process_is_warm(tmp_path: Path) -> None:
    clock = Clock()
    for turn in range(2):
        tier = DiskTier(tmp_path / "cache.db", clock=clock)
        cache = TTLCache(60, tier=tier, negative_ttl_seconds=5)
        if turn == 0:
            cache.set("a", b"1")
            cache.set("b", None)
        else:
            assert cache.get_or_load("a", lambda: b"not from disk") == b"1"
            assert cache.get("b", "absent") is None
        tier.close()
        clock.now += 1
    clock.now = 6
    tier = DiskTier(tmp_path / "cache.db", clock=clock)
    assert tier.get("b") is None
    clock.now = -5
    assert tier.get("a") is None, "made in the future"
    tier.close()


def test_the_disk_is_bounded_and_takes_bytes_alone(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path / "cache.db", maxsize=100)
    for key in range(1000):
        tier.set(str(key), b"x", 60)
    assert sum(tier.get(str(key)) is not None for key in range(1000)) <= 100
    with pytest.raises(TypeError, match="bytes alone"):
        tier.set("k", "text", 60)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="strings as keys"):
        TTLCache(60, tier=tier).set(1, b"x")
    tier.close()


def test_a_file_that_is_no_cache_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"not a database, by far" * 100)
    with pytest.raises(ConfigurationError, match="delete it or name another"):
        DiskTier(tmp_path / "cache.db")


def test_a_batch_keeps_its_order_its_limit_and_what_worked() -> None:
    under_way = 0
    seen: list[int] = []

    async def worker(n: int) -> int:
        nonlocal under_way
        under_way += 1
        seen.append(under_way)
        await asyncio.sleep(0.001 * (n % 3))
        under_way -= 1
        if n % 5 == 0:
            raise ValueError(n)
        return n * n

    results = asyncio.run(assay.process_batch(range(40), worker, limit=4))
    assert max(seen) == 4
    assert [one.value if isinstance(one, Ok) else one.error.args for one in results] == [
        n * n if n % 5 else (n,) for n in range(40)
    ]
    assert all(isinstance(one, Err) == (n % 5 == 0) for n, one in enumerate(results))
    with pytest.raises(ValueError, match="at least 1"):
        asyncio.run(assay.process_batch([1], worker, limit=0))


def test_cancelling_a_batch_cancels_its_workers() -> None:
    cancelled = 0

    async def worker(n: int) -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled += 1
            raise

    async def main() -> None:
        task = asyncio.create_task(assay.process_batch(range(9), worker, limit=3))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert cancelled == 3


def test_each_ask_is_one_hit_or_one_miss() -> None:
    cache = TTLCache(60, maxsize=10_000)

    def work() -> None:
        for key in range(2000):
            cache.get_or_load(key, lambda: key)  # noqa: B023 - called at once

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.stats.hits + cache.stats.misses == 16_000

    async def main() -> None:
        async def load() -> int:
            await asyncio.sleep(0.01)
            return 1

        tasks = [asyncio.create_task(cache.aget_or_load("k", load)) for _ in range(10)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert cache.stats.hits + cache.stats.misses == 16_010


def test_a_loader_that_asks_for_its_own_key_in_a_task_or_thread_of_its_own_is_told_so() -> None:
    cache = TTLCache(60)

    async def beside() -> int:
        return (await asyncio.gather(cache.aget_or_load("k", beside)))[0]

    async def below() -> int:
        return await asyncio.to_thread(cache.get_or_load, "k", lambda: 1)

    for load in (beside, below):
        with pytest.raises(RuntimeError, match="load itself"):
            asyncio.run(asyncio.wait_for(cache.aget_or_load("k", load), 5))

    async def another() -> int:
        return await cache.aget_or_load("j", beside_j)

    async def beside_j() -> int:
        return 4

    assert asyncio.run(cache.aget_or_load("k", another)) == 4


def test_a_load_that_raises_stop_iteration_ends_the_wait_of_tasks() -> None:
    cache = TTLCache(60)
    go = threading.Event()

    def load() -> int:
        go.wait(5)
        raise StopIteration

    def lead() -> None:
        with pytest.raises(StopIteration):
            cache.get_or_load("k", load)

    async def main() -> None:
        waiter = asyncio.create_task(cache.aget_or_load("k", never))
        await asyncio.sleep(0.01)
        go.set()
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await asyncio.wait_for(waiter, 5)

    async def never() -> int:
        raise AssertionError("the thread leads")

    thread = threading.Thread(target=lead)
    thread.start()
    while cache.stats.misses == 0:
        time.sleep(0.001)
    asyncio.run(main())
    thread.join()


def test_who_gives_up_waiting_for_a_load_that_fails_leaves_no_error_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = TTLCache(60)

    async def main() -> None:
        async def load() -> int:
            await asyncio.sleep(0.01)
            raise OSError("away")

        tasks = [asyncio.create_task(cache.aget_or_load("k", load)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    gc.collect()
    assert not caplog.records


def test_what_is_gone_and_not_to_be_kept_is_gone_from_the_disk_as_well(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path / "cache.db")
    cache = TTLCache(60, tier=tier, negative_ttl_seconds=0)
    cache.set("k", b"1")
    cache.set("k", None)
    assert cache.get("k", "absent") == "absent"
    tier.close()


def test_a_database_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as shop:
        shop.execute("CREATE TABLE products (sku)")
    shop.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="a database of something else; name another"):
        DiskTier(path)
    assert path.read_bytes() == before
