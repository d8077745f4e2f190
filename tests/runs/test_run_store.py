import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from pydantic import BaseModel
from tests.shop import Shop

from assay import Parquet, Pipeline, Rows, Settings, Source
from assay.errors import ConfigurationError, LedgerError, NotFoundError, RunStoreError
from assay.records import REJECTS, FileCount
from assay.runs import Ledger, Money, RunStore
from assay.runs.tables import RUNS


@pytest.fixture
def store(store_url: str) -> Iterator[RunStore]:
    made = RunStore(store_url)
    yield made
    made.close()


def rejects(*raws: bytes) -> pl.DataFrame:
    errors = [{"loc": "a.0", "type": "t", "msg": "m é \u0007", "input": "i"}]
    rows = [("f.jsonl", i, i + 1, i * 10, "validate", errors, raw) for i, raw in enumerate(raws)]
    return pl.DataFrame(rows, schema=REJECTS, orient="row")


def test_dead_letters_come_back_byte_for_byte(store: RunStore, tmp_path: Path) -> None:
    run = store.start("p", {}, None, staging=tmp_path)
    frame = rejects(b"", bytes(range(256)), b"x" * 100_000)
    store.add_rejects(run, frame, {"f.jsonl": "jsonl"}, 1)
    assert store.rejects_frame(run).equals(frame)
    letter = store.dead_letter(run, 2)
    assert (letter.raw, letter.format, letter.state, letter.current) == (bytes(range(256)), "jsonl", "open", letter.raw)
    store.edit_reject(run, 2, b"mended")
    assert store.dead_letter(run, 2).current == b"mended"
    assert store.dead_letter(run, 2).raw == bytes(range(256))
    store.close_rejects(run, [1], "discarded", "a test")
    assert store.count_rejects(run) == {"open": 2, "discarded": 1}
    assert [d.number for d in store.dead_letters(run, state="open")] == [2, 3]
    with pytest.raises(NotFoundError, match="no reject of run"):
        store.dead_letter(run, 4)


def test_runs_by_id_beginning_or_latest(store: RunStore, tmp_path: Path) -> None:
    ids = [store.start(name, {"n": 1}, None, staging=tmp_path) for name in ("a", "b", "a")]
    assert [run.id for run in store.runs()] == ids[::-1]
    assert store.get("latest").id == ids[2]
    assert store.get("latest", "b").id == ids[1]
    assert store.get(ids[0]).definition == {"n": 1, "staging": f"{tmp_path}/{ids[0]}"}
    shortest = next(n for n in range(1, 7) if sum(i.startswith(ids[1][:n]) for i in ids) == 1)
    assert store.get(ids[1][:shortest]).id == ids[1]
    with pytest.raises(NotFoundError):
        store.get("0000")
    with pytest.raises(NotFoundError, match="single run"):
        store.get("")


def test_runs_that_start_at_once_are_numbered_one_after_the_other(store: RunStore, tmp_path: Path) -> None:
    def start(number: int) -> list[str]:
        return [store.start(f"p{number}", {}, None, staging=tmp_path) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(start, range(8)))
    with store._engine.connect() as connection:
        numbers = connection.execute(sa.select(RUNS.c.sequence).order_by(RUNS.c.sequence)).scalars().all()
    assert numbers == list(range(1, 41))
    order = [run.id for run in store.runs(40)][::-1]
    assert all([run for run in order if run in mine] == mine for mine in begun)


def test_stores_that_are_made_at_once_are_made_once(store_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for store in pool.map(lambda _: RunStore(store_url), range(8)):
            assert store.runs() == []
            store.close()


def test_a_store_of_postgresql_that_is_lost_says_so_and_comes_back(shop: Shop, tmp_path: Path) -> None:
    store = RunStore(shop.url)
    run = store.start("p", {"n": 1}, None, staging=tmp_path)
    shop.cluster.stop()
    with pytest.raises(RunStoreError, match=r"^run store postgresql://postgres@/shop.*: connection"):
        store.finish(run, "failed")
    with pytest.raises(ConfigurationError, match="^the run store postgresql://.*: connection"):
        RunStore(shop.url)
    shop.cluster.start()
    store.finish(run, "failed")
    assert store.get(run).status == "failed"
    # A connection that was ended while nobody used it is made anew.
    shop.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND pid <> pg_backend_pid()"
    )
    assert [one.id for one in store.runs()] == [run]
    store.close()


def test_a_decision_is_durable_whatever_the_user_has_set(shop: Shop) -> None:
    url = shop.cluster.url(shop.name, options="-c synchronous_commit=off -c lock_timeout=7s")
    store = RunStore(url)
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "7s"
    store.close()


class Line(BaseModel):
    id: int


def test_a_run_whose_store_is_lost_fails_with_a_clear_error_and_the_next_one_works(shop: Shop, project: Path) -> None:
    (project / "m.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    settings = Settings.load(run_store=shop.url)
    stops = iter([shop.cluster.stop])

    def stop(frame: pl.LazyFrame) -> pl.LazyFrame:
        if frame.collect().height:  # and not when the pipeline is checked
            next(stops, lambda: None)()
        return frame

    pipeline = Pipeline(
        "m", source=Source("m.jsonl", Line), steps=[stop], outputs={"lines": Rows(to=Parquet("out/lines"))}
    )
    with pytest.raises(RunStoreError, match="run store postgresql://"):
        pipeline.run(settings=settings)
    assert not (project / "out/lines").exists()
    shop.cluster.start()
    assert pipeline.run(settings=settings).status == "published"
    store = RunStore(shop.url)
    assert [run.status for run in store.runs()] == ["published", "interrupted"]
    store.close()


def test_an_impossible_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.db").mkdir()
    with pytest.raises(ConfigurationError, match="run store"):
        RunStore(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(ConfigurationError, match="not an SQLAlchemy URL"):
        RunStore("nonsense")


def test_a_ledger_that_does_not_balance_says_all_that_is_wrong() -> None:
    ledger = Ledger(files={"f": FileCount("f", read=3)}, written=1, money={"EUR": Money()})
    ledger.rejected["validate"] = 1
    ledger.rows["lines"] = 2
    ledger.money["EUR"].net += 1
    with pytest.raises(LedgerError) as error:
        ledger.check({"lines": 1})
    words = str(error.value)
    assert "read 3 is not written 1 + filtered 0 + rejected 1" in words
    assert "output lines: 2 rows were given to it, 1 are staged" in words
    assert "list 0 - discounts 0 is not net 1" in words
    ledger.filtered["f"] += 1
    ledger.rows["lines"] = 1
    ledger.money["EUR"] = Money()
    ledger.check({"lines": 1})


def kinds_of(store: RunStore, **which: Any) -> list[tuple[Any, ...]]:
    return [(k.stage, k.field, k.type, k.count, k.open, k.values, k.number) for k in store.reject_kinds(**which)]


def test_dead_letters_are_found_by_what_is_asked(store: RunStore, tmp_path: Path) -> None:
    def frame(*rows: tuple[str, str, list[tuple[str, str, str]]]) -> pl.DataFrame:
        made = [
            (
                file,
                i,
                i,
                i,
                stage,
                [{"loc": loc, "type": kind, "msg": "m", "input": v} for loc, kind, v in errors],
                b"x",
            )
            for i, (file, stage, errors) in enumerate(rows)
        ]
        return pl.DataFrame(made, schema=REJECTS, orient="row")

    formats = {"in/may.jsonl": "jsonl", "june_1.jsonl": "jsonl"}
    runs = [store.start(name, {}, None, staging=tmp_path) for name in ("a", "b", "a")]
    rows = frame(
        ("in/may.jsonl", "validate", [("lines.0.price", "decimal", "x\x00"), ("id", "missing", "{}")]),
        ("in/may.jsonl", "validate", [("lines.12.price", "decimal", "y")]),
        ("june_1.jsonl", "pricing", [("", "pricing_error", "")]),
        ("june_1.jsonl", "validate", [("id", "decimal", 'z"')]),
    )
    for run in runs:
        store.add_rejects(run, rows, formats, 1)
    store.close_rejects(runs[0], [1], "discarded", "why")

    def numbers(**which: Any) -> list[tuple[int, int]]:
        return [(runs.index(d.run), d.number) for d in store.dead_letters(**which)]

    everything = [(run, number) for run in range(3) for number in (1, 2, 3, 4)]
    assert numbers() == everything
    assert numbers(limit=5) == everything[:5]
    assert numbers(pipeline="b") == numbers(run=runs[1]) == everything[4:8]
    assert numbers(pipeline="b", stage="pricing") == [(1, 3)]
    assert numbers(pipeline="b", type="decimal") == [(1, 1), (1, 2), (1, 4)]
    assert numbers(pipeline="b", field="id") == [(1, 1), (1, 4)]
    # One error that is both, not one that is the one and another that is the other.
    assert numbers(pipeline="b", field="id", type="decimal") == [(1, 4)]
    assert numbers(pipeline="b", field="lines.*.price") == [(1, 1), (1, 2)]
    assert numbers(pipeline="b", field="line") == []
    assert numbers(pipeline="b", field="") == [(1, 3)]
    assert numbers(pipeline="b", file="may.jsonl") == numbers(pipeline="b", file="in/may.jsonl") == [(1, 1), (1, 2)]
    assert numbers(pipeline="b", file="june?1.jsonl") == numbers(pipeline="b", file="ay.jsonl") == []
    assert numbers(pipeline="b", file="june_*") == [(1, 3), (1, 4)]
    assert numbers(pipeline="a", state="open", file="*may*") == [(0, 2), (2, 1), (2, 2)]
    assert store.count_rejects(pipeline="a", field="id") == {"open": 3, "discarded": 1}
    assert kinds_of(store, run=runs[1]) == [
        ("pricing", "", "pricing_error", 1, 1, 1, 3),
        ("validate", "id", "decimal", 1, 1, 1, 4),
        ("validate", "id", "missing", 1, 1, 1, 1),
        ("validate", "lines.0.price", "decimal", 1, 1, 1, 1),
        ("validate", "lines.12.price", "decimal", 1, 1, 1, 2),
    ]
    assert kinds_of(store, pipeline="a", field="id") == [
        ("validate", "id", "decimal", 2, 2, 1, 4),
        # The first that can still be mended.
        ("validate", "id", "missing", 2, 1, 1, 1),
    ]
    assert store.reject_kinds(pipeline="a", type="missing")[0].run == runs[2]
    assert store.pipelines() == ["a", "b"]


def test_purged_letters_keep_their_place_and_nothing_else(store: RunStore, tmp_path: Path) -> None:
    secret = "canary-4711-of-anna@example.org"
    error = {"loc": "mail", "type": "value_error", "msg": f"Value error, {secret}", "input": secret}
    rows = [("f.jsonl", i, i + 1, i * 10, "validate", [error], f"{i} {secret}".encode()) for i in range(2500)]
    run = store.start("p", {}, None, staging=tmp_path)
    other = store.start("q", {}, None, staging=tmp_path)
    for one in (run, other):
        store.add_rejects(one, pl.DataFrame(rows, schema=REJECTS, orient="row"), {"f.jsonl": "jsonl"}, 1)
    store.edit_reject(run, 1, secret.encode())
    store.close_rejects(run, [2], "discarded", "a test")
    now = dt.datetime.now(dt.UTC)
    assert store.purge_rejects("p", now - dt.timedelta(hours=1)) == {}
    assert store.purge_rejects("p", now + dt.timedelta(hours=1)) == {"open": 2499, "discarded": 1}
    assert store.purge_rejects("p", now + dt.timedelta(hours=1)) == {}
    assert store.count_rejects(run) == {"purged": 2500}
    assert store.count_rejects(other) == {"open": 2500}
    first, second = store.dead_letter(run, 1), store.dead_letter(run, 2)
    assert (first.raw, first.edited, first.state, first.closed_by) == (b"", None, "purged", "it was open")
    assert (second.record, second.line, second.offset, second.closed_by) == (1, 2, 10, "it was discarded: a test")
    assert first.errors == [{"loc": "mail", "type": "value_error", "msg": "", "input": ""}]
    assert [(k.field, k.type, k.count, k.open) for k in store.reject_kinds(run)] == [("mail", "value_error", 2500, 0)]
    # Not in free pages, nor in the log of the database.
    store.purge_rejects("q", now + dt.timedelta(hours=1))
    for file in (tmp_path / "deep/er").glob("*"):
        assert secret.encode() not in file.read_bytes()
