"""Lookups beside what they cannot beat: Polars' join, cachetools' cache, and the time that a service takes."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cachetools
import polars as pl
from benchmarks.child import ROOT
from benchmarks.conftest import Keep
from benchmarks.figures import Figure, Reached
from benchmarks.turns import ROUNDS, in_turns
from pydantic import BaseModel

from assay import Http, HttpLimits, Lookup, Table, TTLCache
from assay.lookups import LookupContext
from assay.pipeline.context import IDENTITY, Context
from assay.settings import Settings

ROWS: Final = 1_000_000
KEYS: Final = 10_000
GETS: Final = 200_000

#: Answers after 20 ms, from a process of its own, so that it takes nothing from the client's.
SERVER: Final = """
import asyncio, json

async def serve(reader, writer):
    while line := await reader.readline():
        while (await reader.readline()).strip():
            pass
        key = line.split()[1].decode().rpartition("/")[2]
        body = json.dumps({"key": key, "number": 1}).encode()
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
        await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class Fact(BaseModel):
    """A row of the tables that are asked."""

    key: str
    number: int


def rows_over(keys: int, rows: int) -> pl.DataFrame:
    names = [f"K-{n}" for n in range(keys)]
    made = pl.DataFrame({"key": [names[n * 7919 % keys] for n in range(rows)]})
    return made.with_columns(_source=pl.lit("rows"), _record=pl.int_range(pl.len(), dtype=pl.Int64))


def test_table_lookup_beside_a_join(benchmark: Any, keep: Keep) -> None:
    benchmark.group = "table lookup"
    table = pl.DataFrame({"key": [f"K-{n}" for n in range(KEYS)], "number": range(KEYS)})
    rows = rows_over(KEYS, ROWS)
    context = Context(None, Path(), Settings())
    step = Lookup(Table(table, Fact, name="facts"), on="key").bind(rows.schema, context)
    step.open()

    def ours() -> pl.DataFrame:
        return step.apply(rows).rows

    def other() -> pl.DataFrame:
        return rows.join(table, on="key", how="left", maintain_order="left")

    assert ours().equals(other().select(ours().columns))
    assert set(IDENTITY) <= set(rows.columns)
    taken = in_turns(ours, other, time.perf_counter)
    benchmark.pedantic(ours, rounds=1)
    reached = Reached(
        Figure("table lookup, 1,000,000 rows of 10,000 keys", "Polars' join", "rate", 0.8), *taken, records=ROWS
    )
    keep(benchmark, reached)


def test_cache_gets_beside_cachetools(benchmark: Any, keep: Keep) -> None:
    benchmark.group = "cache"
    mine = TTLCache(3600, 2000)
    theirs: cachetools.TTLCache[int, int] = cachetools.TTLCache(2000, 3600)
    for key in range(1000):
        mine.set(key, key + 1)
        theirs[key] = key + 1

    def gets(get: Callable[[int], Any]) -> Callable[[], None]:
        def run() -> None:
            for number in range(GETS):
                get(number % 1000)

        return run

    ours, other = gets(mine.get), gets(theirs.get)
    taken = in_turns(ours, other, time.thread_time)
    benchmark.pedantic(ours, rounds=1)
    keep(benchmark, Reached(Figure("cache get", "cachetools.TTLCache", "rate", 0.5), *taken, records=GETS))
    assert GETS / min(taken[0]) >= 500_000, "half a million gets a second from one thread"


def test_eight_threads_lose_nothing() -> None:
    cache = TTLCache(3600, 2000)
    loads: list[int] = []

    def load(key: int) -> int:
        loads.append(key)
        return key + 1

    def work(offset: int) -> None:
        for number in range(20_000):
            key = (number + offset) % 1000
            assert cache.get_or_load(key, functools.partial(load, key)) == key + 1

    threads = [threading.Thread(target=work, args=(n * 37,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(loads) == list(range(1000))


def test_http_beside_the_ideal(benchmark: Any, keep: Keep) -> None:
    benchmark.group = "http lookup"
    rows = rows_over(200, 10_000)
    keys = rows.select("key").unique(maintain_order=True)
    ideal = 200 / 10 * 0.02
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdout is not None
    taken = []
    try:
        url = f"http://127.0.0.1:{json.loads(server.stdout.readline())}/facts/{{key}}"
        lookup = Http(url, Fact, hosts=["127.0.0.1"], limits=HttpLimits(concurrency=10))
        for _ in range(ROUNDS):
            opened = lookup.open(LookupContext((Path(),), Settings()), ("key",))
            began = time.perf_counter()
            for start in range(0, rows.height, 1000):
                some = rows.slice(start, 1000).select("key").unique(maintain_order=True)
                assert opened.answer(some).rows.height == some.height
            taken.append(time.perf_counter() - began)
            assert opened.stats.calls == keys.height == 200
            opened.close()
        benchmark.pedantic(lambda: None, rounds=1)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
    figure = Figure("HTTP, 10,000 rows of 200 keys at 20 ms", "200 / 10 x 20 ms", "time", 1.3)
    keep(benchmark, Reached(figure, taken, [ideal] * ROUNDS))
