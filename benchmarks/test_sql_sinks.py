"""The SQL sinks beside the quickest plain way into the same database; rounds take turns.

Of PostgreSQL the processor time of client and server together is compared: it is what the machine has to give, whatever
else goes on there.
"""

from __future__ import annotations

import io
import itertools
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl
import polars.selectors as cs
import psycopg
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from benchmarks.conftest import Keep
from benchmarks.figures import Figure, Reached
from pgpq import ArrowToPostgresBinaryEncoder
from tests.postgres import Cluster

from assay.sinks import Mode, Sql, discard, publish

ROWS: Final = int(os.environ.get("ASSAY_BENCH_SQL_ROWS", "1000000"))
SOME: Final = ROWS // 10
ROUNDS: Final = 5
COLUMNS: Final = (
    '"id" bigint, "order_id" text, "name" text, "day" date, "at" timestamptz, "qty" numeric(12, 3), '
    '"net" numeric(38, 2), "tax" numeric(38, 2), "paid" boolean, "weight" double precision'
)


def lines(rows: int, first: int = 0) -> pl.DataFrame:
    """Order lines: numbers, texts, dates and amounts."""
    n = pl.int_range(first, first + rows, dtype=pl.Int64, eager=True).alias("id").to_frame()
    mixed = pl.col("id") * 7919 % 1_000_003
    return n.select(
        "id",
        pl.format("A-{}", pl.col("id") // 5).alias("order_id"),
        pl.format('Product {}, "large"', mixed % 1000).alias("name"),
        (mixed % 5000 + 15_000).cast(pl.Int32).cast(pl.Date).alias("day"),
        (mixed * 1_000_003 + 10**15).cast(pl.Datetime("us", "UTC")).alias("at"),
        (mixed % 1000).cast(pl.Decimal(12, 3)).alias("qty"),
        (mixed * 17).cast(pl.Decimal(38, 2)).alias("net"),
        (mixed * 3).cast(pl.Decimal(38, 2)).alias("tax"),
        (mixed % 2 == 0).alias("paid"),
        (mixed / 7).alias("weight"),
    )


@dataclass
class Runs:
    """Runs that publish to one table."""

    folder: Path
    url: str
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def publish(self, frame: pl.DataFrame, mode: Mode) -> None:
        """A whole run of one output, as a pipeline does it: in batches, staged, durable, published."""
        run = f"run-{next(self.numbers)}"
        target = Sql("lines", url=self.url, mode=mode, key=("id",)).open(
            self.folder, self.folder / run, "l", default=""
        )
        target.check(frame.schema)
        for batch in frame.iter_slices(50_000):
            target.stage(batch)
        staged = target.prepare()
        assert publish(staged, run)
        discard(staged)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    made = Cluster(fsync=True, settings={"shared_buffers": "512MB", "max_wal_size": "8GB", "autovacuum": "off"})
    yield made
    made.close()


def turns(
    ours: Callable[[], Any], other: Callable[[], Any], before: Callable[[], Any], clock: Callable[[], float]
) -> tuple[list[float], list[float]]:
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for way, kept in zip((ours, other), taken, strict=True):
            before()
            begun = clock()
            way()
            kept.append(clock() - begun)
    return taken


def copy_binary(connection: psycopg.Connection, frame: pl.DataFrame) -> None:
    table: pa.Table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    encoder = ArrowToPostgresBinaryEncoder(table.schema)
    with connection.cursor() as cursor, cursor.copy("COPY lines FROM STDIN (FORMAT BINARY)") as target:
        target.write(encoder.write_header())
        for batch in table.to_batches(max_chunksize=65_536):
            target.write(encoder.write_batch(batch))
        target.write(encoder.finish())


def copy_text(connection: psycopg.Connection, frame: pl.DataFrame) -> None:
    with connection.cursor() as cursor, cursor.copy("COPY lines FROM STDIN (FORMAT CSV)") as target:
        for part in frame.with_columns(cs.datetime().dt.replace_time_zone(None)).iter_slices(65_536):
            stream = io.BytesIO()
            part.write_csv(stream, include_header=False, quote_style="non_numeric", datetime_format="%F %T%.6f+00")
            target.write(stream.getbuffer())


@pytest.mark.parametrize("way", [copy_binary, copy_text])
def test_append_beside_copy(
    benchmark: Any,
    keep: Keep,
    server: Cluster,
    tmp_path: Path,
    way: Callable[[psycopg.Connection, pl.DataFrame], None],
) -> None:
    benchmark.group = "postgresql"
    frame = lines(ROWS)
    with server.database() as name, server.connected(name) as connection:
        runs = Runs(tmp_path, server.url(name))
        connection.execute(f"CREATE TABLE lines ({COLUMNS})")
        sums: set[Any] = set()

        def empty() -> None:
            sums.add(
                connection.execute("SELECT count(*), sum(net), sum(tax), max(at), max(weight) FROM lines").fetchone()
            )
            connection.execute("TRUNCATE lines")
            connection.execute("CHECKPOINT")

        def ours() -> None:
            runs.publish(frame, "append")

        def other() -> None:
            with connection.transaction():
                way(connection, frame)

        def clock() -> float:
            return time.process_time() + server.processor_seconds()

        taken = turns(ours, other, empty, clock)
        empty()
        assert len(sums) == 2, "both have written the same (and nothing, before the first)"
        benchmark.pedantic(ours, rounds=1)
    what = "raw COPY, binary (pgpq)" if way is copy_binary else "raw COPY, CSV by Polars"
    keep(
        benchmark, Reached(Figure(f"PostgreSQL sink, append of {ROWS:,} rows", what, "rate", 0.8), *taken, records=ROWS)
    )


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_upsert_beside_append(
    benchmark: Any, keep: Keep, request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    benchmark.group = database
    starts = itertools.count(ROWS, SOME)
    url, clock = f"sqlite:///{tmp_path}/lines.db", time.process_time
    if database == "postgresql":
        server: Cluster = request.getfixturevalue("server")
        url = server.url(request.getfixturevalue("server_database"))

        def clock() -> float:
            return time.process_time() + server.processor_seconds()

    runs = Runs(tmp_path, url)
    runs.publish(lines(ROWS), "append")
    runs.publish(lines(SOME, ROWS // 3), "upsert")  # it has its index from here on

    def upsert() -> None:
        runs.publish(lines(SOME, ROWS // 2), "upsert")

    def append() -> None:
        runs.publish(lines(SOME, next(starts)), "append")

    taken = turns(upsert, append, lambda: None, clock)
    benchmark.pedantic(upsert, rounds=1)
    figure = Figure(f"{database}: upsert of {SOME:,} rows into {ROWS:,}", "append of them", "time", 2)
    keep(benchmark, Reached(figure, *taken))


@pytest.fixture
def server_database(server: Cluster) -> Iterator[str]:
    with server.database() as name:
        yield name


def test_sqlite_beside_executemany(benchmark: Any, keep: Keep, tmp_path: Path) -> None:
    benchmark.group = "sqlite"
    frame = lines(ROWS // 2)
    numbers = itertools.count()

    def ours() -> None:
        Runs(tmp_path, f"sqlite:///{tmp_path}/ours-{next(numbers)}.db").publish(frame, "append")

    def other() -> None:
        rows = frame.with_columns((cs.decimal() | cs.temporal()).cast(pl.String)).rows()
        with closing(sqlite3.connect(tmp_path / f"other-{next(numbers)}.db")) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"CREATE TABLE lines ({COLUMNS.replace('numeric', 'text')})")
            connection.executemany(f"INSERT INTO lines VALUES ({', '.join('?' * frame.width)})", rows)

    taken = turns(ours, other, lambda: None, time.process_time)
    benchmark.pedantic(ours, rounds=1)
    figure = Figure(f"SQLite sink, append of {ROWS // 2:,} rows", "executemany in one transaction", "rate", 0.8)
    keep(benchmark, Reached(figure, *taken, records=ROWS // 2))
