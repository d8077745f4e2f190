"""PostgreSQL fails, for real, at every point of a publication: nothing is lost, doubled or half there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from pydantic import BaseModel
from tests.shop import FRAME, Shop

from assay import Pipeline, Rows, Settings, Source, Sql
from assay.errors import SinkError
from assay.pipeline import execution
from assay.pipeline.publishing import publish_all
from assay.sinks import Mode, Staged, publish

MODES: tuple[Mode, ...] = ("append", "replace", "upsert", "delete_missing")
#: Of the session that publishes.
OURS = "application_name = 'assay' AND datname = current_database()"


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def publishing(background: ThreadPoolExecutor, staged: Staged) -> Future[bool]:
    return background.submit(publish, staged, "r2")


def wait_until(shop: Shop, condition: str) -> None:
    deadline = time.monotonic() + 30
    while not shop.execute(f"SELECT 1 FROM pg_stat_activity WHERE {OURS} AND {condition}"):
        assert time.monotonic() < deadline, f"never: {condition}"
        time.sleep(0.01)


def end_backend(shop: Shop) -> None:
    assert shop.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}") == [(True,)]


def crash(shop: Shop) -> None:
    shop.execute("CREATE TABLE marker ()")  # with it the sequence is in the log: it shall not happen again
    shop.cluster.stop("immediate")


def assert_published(shop: Shop, mode: Mode, staged: Staged) -> None:
    """The second run is there, once."""
    kept = 1 if mode in ("append", "upsert") else 0
    assert shop.execute("SELECT count(*) FROM lines") == [(kept + 2,)]
    assert shop.execute("SELECT run, rows FROM assay_publications ORDER BY id") == [("r1", 1), ("r2", 2)]
    assert publish(staged, "r2") is False


def assert_untouched(shop: Shop) -> None:
    assert shop.execute("SELECT id FROM lines") == [(9,)]
    assert shop.execute("SELECT run FROM assay_publications") == [("r1",)]


def prepared(shop: Shop, mode: Mode = "append", trigger: str = "", **arguments: Any) -> Staged:
    """A second run after a first one, and what happens when its commit begins, or a row of it comes."""
    shop.publish("r1", FRAME[:1].with_columns(id=pl.lit(9, dtype=pl.Int64)), key="id")
    if trigger:
        shop.execute(
            f"""
            CREATE SEQUENCE times;
            CREATE TABLE other (id int);
            CREATE FUNCTION happen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('times') = 1 THEN {trigger}; END IF;
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER happens AFTER INSERT ON assay_publications
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION happen();
            """
        )
    return shop.prepare("r2", mode=mode, key="id", **arguments)


@pytest.mark.parametrize("mode", MODES)
def test_a_backend_that_ends_after_the_commit_and_before_the_answer(
    shop: Shop, background: ThreadPoolExecutor, mode: Mode
) -> None:
    staged = prepared(shop, mode)
    # What is committed here waits for a standby that does not exist.
    shop.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    shop.execute("SELECT pg_reload_conf()")
    try:
        done = publishing(background, staged)
        wait_until(shop, "wait_event = 'SyncRep'")
        end_backend(shop)
        assert done.result(30) is True
    finally:
        shop.execute("ALTER SYSTEM RESET synchronous_standby_names")
        shop.execute("SELECT pg_reload_conf()")
    assert_published(shop, mode, staged)


@pytest.mark.parametrize("mode", MODES)
def test_a_backend_that_ends_in_the_commit_which_is_then_undone(
    shop: Shop, background: ThreadPoolExecutor, mode: Mode
) -> None:
    staged = prepared(shop, mode, "PERFORM pg_sleep(60)")
    done = publishing(background, staged)
    wait_until(shop, "wait_event = 'PgSleep'")
    assert_untouched(shop)
    end_backend(shop)
    assert done.result(30) is True
    assert_published(shop, mode, staged)


def test_a_server_that_crashes_in_the_commit_and_comes_back(shop: Shop, background: ThreadPoolExecutor) -> None:
    staged = prepared(shop, "upsert", "PERFORM pg_sleep(60)")
    done = publishing(background, staged)
    wait_until(shop, "wait_event = 'PgSleep'")
    crash(shop)
    shop.cluster.start()
    assert done.result(30) is True
    assert_published(shop, "upsert", staged)


def test_a_server_that_crashes_in_the_commit_and_stays_away(
    shop: Shop, background: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.sinks.sql._PAUSES", (0.1,))
    staged = prepared(shop, "append", "PERFORM pg_sleep(60)")
    done = publishing(background, staged)
    wait_until(shop, "wait_event = 'PgSleep'")
    crash(shop)
    with pytest.raises(SinkError, match=r"output lines: postgresql://.*#lines: .*not known, and resuming finds out"):
        done.result(30)
    shop.cluster.start()
    assert_untouched(shop)
    assert publish(staged, "r2") is True
    assert_published(shop, "append", staged)


class Line(BaseModel):
    id: int


def test_a_server_that_is_stopped_between_the_decision_and_publishing(
    shop: Shop, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "m.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    outputs = {name: Rows(to=Sql(name, url=shop.url, mode="append")) for name in ("lines", "more")}
    pipeline = Pipeline("m", source=Source("m.jsonl", Line), outputs=outputs)

    def publish_without_a_server(run: str, decision: list[Staged]) -> None:
        publish_all(run, decision[:1])
        shop.cluster.stop()
        publish_all(run, decision)

    with monkeypatch.context() as broken:
        broken.setattr(execution, "publish_all", publish_without_a_server)
        stopped = pipeline.run()
    assert stopped.status == "running"
    assert stopped.error is not None
    assert stopped.error["type"] == "SinkError"
    assert "connection" in stopped.error["message"]
    shop.cluster.start()
    assert execution.resume(pipeline, stopped.id, Settings.load()).status == "published"
    for table in ("lines", "more"):
        assert shop.execute(f"SELECT id FROM {table} ORDER BY id") == [(1,), (2,)]


def test_a_deadlock_is_tried_again(shop: Shop, background: ThreadPoolExecutor) -> None:
    # We look for it after 2 s, the other session only after 30: so we are the one that is undone.
    url = shop.cluster.url(shop.name, options="-c deadlock_timeout=2s")
    staged = prepared(shop, "append", "LOCK TABLE other", url=url)
    with psycopg.connect(
        host=str(shop.cluster.folder), dbname=shop.name, user="postgres", options="-c deadlock_timeout=30s"
    ) as other:
        other.execute("LOCK TABLE other")
        done = publishing(background, staged)
        wait_until(shop, "wait_event_type = 'Lock'")
        other.execute("LOCK TABLE lines")
        other.commit()
    assert done.result(30) is True
    assert_published(shop, "append", staged)
    assert shop.execute("SELECT last_value FROM times") == [(2,)]


def test_a_serialization_failure_is_tried_again(shop: Shop) -> None:
    staged = prepared(shop, "append", "RAISE EXCEPTION 'try again' USING ERRCODE = 'serialization_failure'")
    assert publish(staged, "r2") is True
    assert_published(shop, "append", staged)
    assert shop.execute("SELECT last_value FROM times") == [(2,)]


def test_failures_without_end_are_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.sinks.sql._PAUSES", (0.01, 0.01))
    staged = prepared(shop, "append", "RAISE EXCEPTION 'once more' USING ERRCODE = 'serialization_failure'")
    shop.execute("ALTER SEQUENCE times MINVALUE 1 MAXVALUE 2 INCREMENT 2 CYCLE")
    with pytest.raises(SinkError, match=r"output lines: postgresql://.*#lines: once more$"):
        publish(staged, "r2")
    assert_untouched(shop)


@pytest.mark.parametrize("mode", MODES)
def test_a_lock_that_is_not_given_up_is_told(shop: Shop, mode: Mode) -> None:
    staged = prepared(shop, mode, url=shop.cluster.url(shop.name, options="-c lock_timeout=100ms"))
    with psycopg.connect(host=str(shop.cluster.folder), dbname=shop.name, user="postgres") as other:
        other.execute("LOCK TABLE lines IN ROW EXCLUSIVE MODE" if mode != "append" else "LOCK TABLE lines")
        with pytest.raises(SinkError, match="output lines: .*lock timeout: another session holds a lock"):
            publish(staged, "r2")
    assert_untouched(shop)
    assert publish(staged, "r2") is True
    assert_published(shop, mode, staged)


def test_a_right_that_is_taken_after_the_decision_is_told(shop: Shop) -> None:
    shop.execute("CREATE ROLE writer LOGIN")
    try:
        shop.publish("r1", FRAME[:1].with_columns(id=pl.lit(9, dtype=pl.Int64)))
        shop.execute("GRANT SELECT, INSERT ON lines, assay_publications TO writer")
        staged = shop.prepare("r2", url=shop.cluster.url(shop.name, "writer"))
        shop.execute("REVOKE INSERT ON lines FROM writer")
        with pytest.raises(SinkError, match=r"output lines: postgresql://writer@.*: permission denied for table lines"):
            publish(staged, "r2")
        assert_untouched(shop)
        shop.execute("GRANT INSERT ON lines TO writer")
        assert publish(staged, "r2") is True
        assert_published(shop, "append", staged)
    finally:
        shop.execute("DROP OWNED BY writer; DROP ROLE writer")


def test_a_table_that_was_changed_after_the_decision_is_told(shop: Shop) -> None:
    staged = prepared(shop)
    shop.execute("ALTER TABLE lines ALTER net TYPE numeric(9, 1)")
    with pytest.raises(SinkError, match=r'output lines: column "net" of table "lines" is NUMERIC\(9, 1\)'):
        publish(staged, "r2")
    shop.execute("ALTER TABLE lines ALTER net TYPE numeric(12, 2)")
    assert publish(staged, "r2") is True
    assert_published(shop, "append", staged)


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_is_full_is_told(shop: Shop, mode: Mode) -> None:
    shop.publish("r1", FRAME[:1].with_columns(id=pl.lit(9, dtype=pl.Int64)))
    rows = pl.DataFrame({"id": range(60_000)}).with_columns(net=pl.lit(1, dtype=pl.Decimal(12, 2)))
    staged = shop.prepare("r2", rows, mode, key="id")
    with (
        shop.cluster.no_larger_files(1 << 20),
        pytest.raises(SinkError, match=r"output lines: postgresql://.*#lines: could not (extend|write)"),
    ):
        publish(staged, "r2")
    assert_untouched(shop)
    assert publish(staged, "r2") is True
    assert publish(staged, "r2") is False
    assert shop.execute("SELECT count(*), count(DISTINCT id) FROM lines WHERE id <> 9 OR net = 1") == [(60_000,) * 2]
