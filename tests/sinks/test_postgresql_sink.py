"""What is particular to the SQL sink on PostgreSQL: types, tables of others, who may write, who writes at a time."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from pydantic import BaseModel
from tests.postgres import PASSWORDED
from tests.shop import FRAME, Shop

from assay import GroupBy, Pipeline, Source, Sum
from assay.errors import SinkError
from assay.sinks import Mode, Sql, publish
from assay.sinks.sql_database import Database


def test_values_are_stored_as_a_reader_expects(shop: Shop) -> None:
    frame = pl.DataFrame(
        {
            "net": pl.Series([Decimal("1.50")], dtype=pl.Decimal(38, 2)),
            "day": [date(2024, 2, 29)],
            "naive": [datetime(2024, 2, 29, 12, 30)],
            "local": pl.Series([datetime(2024, 7, 1, 12)]).dt.replace_time_zone("Europe/Berlin"),
            "clock": [time(23, 59, 59, 1)],
            "flag": [True],
            "many": pl.Series([2**64 - 1], dtype=pl.UInt64),
            "share": [0.5],
            "kind": pl.Series(["a"], dtype=pl.Enum(["a"])),
            "raw": [b"\x00"],
            "parts": pl.Series([[{"n": Decimal("1.50"), "t": 'ä"'}, None]]),
            "nothing": pl.Series([None], dtype=pl.Null),
        }
    )
    shop.publish("r1", frame)
    kinds = shop.execute(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'lines'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert [kind for (kind,) in kinds] == [
        "numeric(38,2)",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "time without time zone",
        "boolean",
        "numeric(20,0)",
        "double precision",
        "text",
        "bytea",
        "text",
        "text",
    ]
    row = shop.execute("SELECT *, local = '2024-07-01 10:00Z' FROM lines")[0]
    assert row[:3] == (Decimal("1.50"), date(2024, 2, 29), datetime(2024, 2, 29, 12, 30))
    assert row[4:] == (
        time(23, 59, 59, 1),
        True,
        Decimal(2**64 - 1),
        0.5,
        "a",
        b"\x00",
        '[{"n":"1.50","t":"ä\\""},null]',
        None,
        True,
    )
    token = shop.execute("SELECT run, output, table_name, rows FROM assay_publications")
    assert token == [("r1", "lines", "lines", 1)]


def test_a_table_of_ours_takes_rows_without_a_detour(shop: Shop) -> None:
    kinds = (pl.Int8, pl.UInt64, pl.Float32, pl.Boolean, pl.Binary, pl.String, pl.Date, pl.Time, pl.List(pl.Int8))
    more = (pl.Decimal(38, 2), pl.Datetime("ms"), pl.Datetime("us", "UTC"))
    schema = pl.Schema({str(kind): kind for kind in (*kinds, *more)})
    shop.publish("r1", pl.DataFrame(schema=schema))
    database = Database(shop.url, "lines", "lines")
    with database.reading() as connection:
        found = database.check_columns(connection, database.table_of(schema), "error")
        assert found is not None
        assert found.same


def test_a_reader_in_another_time_zone_reads_the_same(shop: Shop) -> None:
    frame = pl.DataFrame({"at": pl.Series([datetime(2024, 7, 1, 12)]).dt.replace_time_zone("Europe/Berlin")})
    shop.publish("r1", frame)
    for setting in ("timezone=Pacific/Chatham", "datestyle=SQL,DMY"):
        found = shop.open(url=shop.cluster.url(shop.name, options=f"-c {setting}")).read()
        assert found is not None
        assert found.collect().equals(frame)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pl.Series(["a", "b\0c"]), "has a NUL character"),
        (pl.Series(["a", "b\0c"], dtype=pl.Categorical), "has a NUL character"),
        (pl.Series([0, 1], dtype=pl.Time), "has a time with nanoseconds"),
        (pl.Series([0, 1], dtype=pl.Datetime("ns")), "has a datetime with nanoseconds"),
    ],
    ids=["text", "categorical", "time", "datetime"],
)
def test_what_postgresql_cannot_hold_is_named_with_its_row_before_anything_is_published(
    shop: Shop, column: pl.Series, words: str
) -> None:
    frame = pl.DataFrame({"id": [7, 8], "odd": column})
    target = shop.open("upsert", key="id")
    target.check(frame.schema)
    target.stage(frame[:1])
    with pytest.raises(SinkError, match=rf'output lines: column "odd" {words}.* \(row 3, id=8\)'):
        target.stage(frame)
    assert shop.execute("SELECT count(*) FROM pg_class WHERE relname = 'lines'") == [(0,)]


def test_nanoseconds_that_are_none_are_kept(shop: Shop) -> None:
    frame = pl.DataFrame({"at": pl.Series([5_000, None], dtype=pl.Datetime("ns"))})
    shop.publish("r1", frame)
    found = shop.open().read()
    assert found is not None
    assert found.collect().equals(frame)


def test_a_name_that_postgresql_would_cut_is_refused(shop: Shop) -> None:
    with pytest.raises(SinkError, match="63 bytes of a name"):
        shop.open(table="ä" * 32)
    shop.publish("r1", pl.DataFrame({"ä" * 31: [1]}))
    with pytest.raises(SinkError, match="63 bytes of a name"):
        shop.open().check(pl.Schema({"ä" * 32: pl.Int64()}))


@pytest.mark.parametrize("mode", ["append", "replace", "upsert", "delete_missing"])
def test_a_table_of_somebody_else_that_holds_the_same_is_used(shop: Shop, mode: Mode) -> None:
    shop.execute("CREATE TABLE lines (net numeric NOT NULL, id int PRIMARY KEY, name varchar)")
    shop.execute("INSERT INTO lines VALUES (5, 9, 'old')")
    rows = FRAME.with_columns(name=pl.lit("new"))
    shop.publish("r1", rows, mode, key="id")
    found = shop.execute("SELECT id, net, name FROM lines ORDER BY id")
    old = [(9, Decimal(5), "old")] if mode in ("append", "upsert") else []
    assert found == [(1, Decimal("0.10"), "new"), (2, Decimal("-3.00"), "new"), *old]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            "id bigint, net numeric(12, 1)",
            r'"net" of table "lines" is NUMERIC\(12, 1\), and NUMERIC\(12, 2\) is needed',
        ),
        ("id bigint, net numeric(11, 2)", r"is NUMERIC\(11, 2\)"),
        ("id bigint, net float8", "is DOUBLE.PRECISION"),
        ("id bigint, net text", "is TEXT"),
        ("id text, net numeric", 'column "id" of table "lines" is TEXT, and BIGINT is needed'),
        ("id bigint", 'table "lines" has no column "net"'),
        ("id bigint, net numeric, tax text", 'table "lines" has another column, "tax"'),
    ],
)
def test_a_table_of_somebody_else_that_would_change_values_is_refused_before_any_data(
    shop: Shop, columns: str, words: str
) -> None:
    shop.execute(f"CREATE TABLE lines ({columns})")
    with pytest.raises(SinkError, match=f"output lines: .*{words}"):
        shop.open().check(FRAME.schema)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("real", pl.Float64()),
        ("char(5)", pl.String()),
        ("varchar(5)", pl.String()),
        ("timestamp(0)", pl.Datetime("us")),
        ("timestamptz", pl.Datetime("us")),
        ("timestamp", pl.Datetime("us", "UTC")),
        ("time(3)", pl.Time()),
        ("json", pl.List(pl.Int64())),
    ],
)
def test_a_type_that_would_change_values_silently_is_refused(shop: Shop, kind: str, dtype: pl.DataType) -> None:
    shop.execute(f"CREATE TABLE lines (it {kind})")
    with pytest.raises(SinkError, match='column "it" of table "lines" is .* is needed'):
        shop.open().check(pl.Schema({"it": dtype}))


def test_a_value_that_a_table_of_somebody_else_refuses_publishes_nothing(shop: Shop) -> None:
    shop.execute("CREATE TABLE lines (id smallint, net numeric)")
    shop.publish("r1")
    with pytest.raises(SinkError, match=r"output lines: postgresql://.*#lines: smallint out of range"):
        shop.publish("r2", FRAME.with_columns(id=pl.Series([1, 2**20])))
    assert shop.execute("SELECT count(*) FROM lines") == [(2,)]
    assert shop.execute("SELECT run FROM assay_publications") == [("r1",)]


def test_rows_that_are_equal_stay_untouched(shop: Shop) -> None:
    rows = pl.DataFrame(
        {"id": [1, 2, 3], "f": [float("nan"), None, 0.5], "t": ["", None, "x"], "n": [[1], None, []]},
        schema={"id": pl.Int64, "f": pl.Float64, "t": pl.String, "n": pl.List(pl.Int64)},
    )
    shop.publish("r1", rows, "delete_missing", key="id")
    before = shop.execute("SELECT id, xmin::text, ctid::text FROM lines ORDER BY id")
    shop.publish("r2", rows.with_columns(t=pl.Series(["", None, "y"])), "delete_missing", key="id")
    after = shop.execute("SELECT id, xmin::text, ctid::text FROM lines ORDER BY id")
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def test_a_user_without_rights_is_told_before_any_data(shop: Shop) -> None:
    shop.execute("CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA public TO reader")
    url = shop.cluster.url(shop.name, "reader")
    try:
        with pytest.raises(SinkError, match='table "lines" is not there, and there is no permission to create it'):
            shop.open(url=url).check(FRAME.schema)
        shop.publish("r1")
        shop.execute("GRANT SELECT ON lines, assay_publications TO reader")
        with pytest.raises(SinkError, match=r'reader@.*: no permission to INSERT and DELETE in table "lines"'):
            shop.open("replace", url=url).check(FRAME.schema)
        shop.execute("GRANT INSERT, DELETE ON lines TO reader")
        with pytest.raises(SinkError, match='no permission to INSERT in table "assay_publications"'):
            shop.open("replace", url=url).check(FRAME.schema)
        shop.execute("GRANT INSERT ON assay_publications TO reader")
        shop.publish("r2", mode="replace", url=url)
        assert shop.execute("SELECT count(*) FROM lines") == [(2,)]
    finally:
        shop.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_the_password_is_a_variable_and_is_never_shown(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.execute(f"CREATE ROLE {PASSWORDED} SUPERUSER LOGIN PASSWORD 'can@ry/:'")
    try:
        url = shop.url.replace("postgres@", f"{PASSWORDED}:${{ASSAY_TEST_PASSWORD}}@")
        monkeypatch.setenv("ASSAY_TEST_PASSWORD", "can@ry/:")
        staged = shop.prepare("r1", url=url)
        assert publish(staged, "r1")
        assert "can" not in str(staged)
        monkeypatch.setenv("ASSAY_TEST_PASSWORD", "wrong-canary")
        with pytest.raises(SinkError, match=r"passworded:\*\*\*@.*password authentication failed") as raised:
            shop.open(url=url).check(FRAME.schema)
        assert "canary" not in str(raised.value)
    finally:
        shop.execute(f"DROP OWNED BY {PASSWORDED}; DROP ROLE {PASSWORDED}")


def test_a_schema_is_named_by_the_search_path(shop: Shop) -> None:
    shop.execute("CREATE SCHEMA billing; CREATE TABLE public.lines (something text)")
    shop.publish("r1", url=shop.cluster.url(shop.name, options="-c search_path=billing"))
    assert shop.execute("SELECT count(*) FROM billing.lines, billing.assay_publications") == [(2,)]


def test_what_is_committed_is_durable_whatever_the_user_has_set(shop: Shop) -> None:
    url = shop.cluster.url(shop.name, options="-c synchronous_commit=off -c lock_timeout=7s")
    with Database(url, "lines", "lines").writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "7s"
    with Database(shop.url, "lines", "lines").writing() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "1min"


def test_a_reader_that_takes_its_time_keeps_nobody_waiting(shop: Shop) -> None:
    shop.publish("r1")
    with Database(shop.url, "lines", "lines").reading() as reader:
        count = "SELECT count(*) FROM lines"
        assert reader.exec_driver_sql(count).scalar() == 2
        shop.publish("r2", FRAME[:1], "replace")
        assert reader.exec_driver_sql(count).scalar() == 2
    assert shop.execute(count) == [(1,)]


def test_one_run_that_is_published_many_times_at_once_is_published_once(shop: Shop) -> None:
    staged = shop.prepare("r1")
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: publish(staged, "r1"), range(8)))
    assert sorted(done) == [False] * 7 + [True]
    assert shop.execute("SELECT count(*) FROM lines") == [(2,)]


def test_runs_that_upsert_the_same_keys_at_once_leave_one_row_a_key(shop: Shop) -> None:
    runs = [f"r{n}" for n in range(6)]
    all_staged = [shop.prepare(run, mode="upsert", key="id") for run in runs]
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(publish, all_staged, runs))
    assert shop.execute("SELECT id FROM lines ORDER BY id") == [(1,), (2,)]
    assert shop.execute("SELECT count(*) FROM assay_publications") == [(6,)]


def test_tables_that_are_published_first_at_the_same_time_do_not_hinder_each_other(shop: Shop) -> None:
    runs = [f"r{n}" for n in range(6)]
    all_staged = [shop.prepare(run, table=f"lines {run}") for run in runs]
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(publish, all_staged, runs))
    assert shop.execute("SELECT count(DISTINCT table_name) FROM assay_publications") == [(6,)]


def test_a_missing_extra_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pgpq" else found(name))
    with pytest.raises(SinkError, match=r"pip install 'assay\[postgres\]'"):
        shop.open()


def test_a_server_that_is_not_there_is_told_at_once(shop: Shop) -> None:
    with pytest.raises(SinkError, match=r"output lines: postgresql://.*#lines: connection .*failed") as told:
        shop.open(url=f"postgresql://me@/db?host={shop.folder}").check(FRAME.schema)
    assert type(told.value) is SinkError


class Line(BaseModel):
    k: str
    v: int


def test_a_pipeline_merges_into_it(shop: Shop, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", shop.url)
    totals = GroupBy("k", v=Sum("v"), to=Sql("totals", url="${SHOP_URL}", mode="merge"))
    pipeline = Pipeline("m", source=Source("*.jsonl", Line), outputs={"totals": totals})
    (project / "m.jsonl").write_text('{"k": "a", "v": 1}\n{"k": "b", "v": 2}\n')
    assert pipeline.run().status == "published"
    (project / "m.jsonl").write_text('{"k": "a", "v": 5}\n')
    result = pipeline.run()
    assert (result.status, result.outputs["totals"]["mode"]) == ("published", "merge")
    assert shop.execute("SELECT k, v FROM totals ORDER BY k") == [("a", 6), ("b", 2)]
