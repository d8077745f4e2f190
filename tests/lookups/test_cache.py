import threading

import pytest

from assay import TTLCache


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_entry_lives_for_its_time_on_the_clock_given() -> None:
    clock = Clock()
    cache = TTLCache(ttl_seconds=60, maxsize=2, timer=clock)
    assert cache.get("a") is None
    cache.set("a", 1)
    clock.now = 59.9
    assert cache.get("a") == 1
    clock.now = 60.1
    assert cache.get("a") is None
    assert len(cache) == 0
    assert (cache.stats.hits, cache.stats.misses, cache.stats.evictions) == (1, 2, 0)


def test_it_is_bounded_and_the_least_recently_used_goes() -> None:
    cache = TTLCache(ttl_seconds=60, maxsize=2)
    cache.set("a", 1)
    cache.set("b", 2)
    cache.get("a")
    cache.set("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert cache.stats.evictions == 1


@pytest.mark.parametrize(("ttl", "size"), [(0, 1), (1, 0), (-1, 1), (float("nan"), 1)])
def test_nonsense_is_refused(ttl: float, size: int) -> None:
    with pytest.raises(ValueError, match="over 0"):
        TTLCache(ttl, size)


def test_threads_do_not_break_it() -> None:
    cache = TTLCache(ttl_seconds=60, maxsize=50)

    def work(seed: int) -> None:
        for i in range(2000):
            key = (seed * 31 + i) % 100
            cache.set(key, key)
            assert cache.get(key) in (None, key)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 50
    assert cache.stats.hits + cache.stats.misses == 8000
