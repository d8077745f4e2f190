"""What is particular to the SQL sink: the database file, the tables that are there, how values are stored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.sinks.using import Published

from assay.errors import ConfigurationError, SinkError
from assay.sinks import Mode, Sql, publish
from assay.sinks.sql_database import Database

FRAME = pl.DataFrame(
    {"id": [1, 2], "net": pl.Series([Decimal("0.10"), Decimal("-12345678901234567890.00")], dtype=pl.Decimal(38, 2))}
)


TABLE = Published(Sql, {"table": "lines"}, FRAME)
opened, run = TABLE.opened, TABLE.run


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def execute(file: Path, sql: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(sql)


def test_the_default_is_the_file_of_the_pipeline(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    assert query(tmp_path / "orders.db", "select id from lines") == [(1,), (2,)]
    assert opened(tmp_path).location == f"{tmp_path}/orders.db#lines"


def test_a_relative_file_begins_at_the_root_and_goes_under_another_folder(tmp_path: Path) -> None:
    url = "sqlite:///data/a b.db"
    run(tmp_path, "r1", url=url)
    assert (tmp_path / "data/a b.db").exists()
    moved = Sql("lines", url=url).under(tmp_path / "else")
    assert moved.open(tmp_path, tmp_path, "lines", default="").location == f"{tmp_path}/else/a b.db#lines"


def test_decimals_are_exact_texts(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    found = query(tmp_path / "orders.db", "select net, typeof(net) from lines")
    assert found == [("0.10", "text"), ("-12345678901234567890.00", "text")]


def test_values_are_stored_as_a_reader_expects(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "day": [date(2024, 2, 29)],
            "naive": [datetime(2024, 2, 29, 12, 30)],
            "local": pl.Series([datetime(2024, 7, 1, 12)]).dt.replace_time_zone("Europe/Berlin"),
            "flag": [True],
            "kind": pl.Series(["a"], dtype=pl.Enum(["a"])),
            "parts": pl.Series([[{"n": Decimal("1.50"), "t": 'ä"'}, None]]),
            "nothing": pl.Series([None], dtype=pl.String),
        }
    )
    run(tmp_path, "r1", frame)
    assert query(tmp_path / "orders.db", "select * from lines") == [
        (
            "2024-02-29",
            "2024-02-29T12:30:00.000000",
            "2024-07-01T10:00:00.000000Z",
            1,
            "a",
            '[{"n":"1.50","t":"ä\\""},null]',
            None,
        )
    ]


def test_the_file_is_safe_against_power_cuts_and_readers_do_not_wait(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    assert query(tmp_path / "orders.db", "pragma journal_mode") == [("wal",)]
    database = Database(f"sqlite:///{tmp_path}/orders.db", "lines", "lines")
    with database.writing() as writer:
        assert writer.exec_driver_sql("pragma synchronous").scalar() == 2
        writer.exec_driver_sql("delete from lines")
        found = opened(tmp_path).read()
        assert found is not None
        assert found.collect().height == 2


def test_the_token_stands_beside_the_rows(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    assert query(tmp_path / "orders.db", "select run, output, table_name, rows from assay_publications") == [
        ("r1", "lines", "lines", 2)
    ]


def test_several_outputs_share_a_file(tmp_path: Path) -> None:
    for name in ("lines", "totals"):
        target = Sql(name).open(tmp_path, tmp_path / name, name, default="orders.db")
        target.check(FRAME.schema)
        target.stage(FRAME)
        assert publish(target.prepare(), "r1")
    assert query(tmp_path / "orders.db", "select count(*) from lines, totals") == [(4,)]


def test_a_table_of_somebody_else_with_the_same_columns_is_used(tmp_path: Path) -> None:
    execute(tmp_path / "orders.db", "create table lines (net varchar(40), id integer primary key); ")
    execute(tmp_path / "orders.db", "insert into lines values ('5.00', 9)")
    run(tmp_path, "r1")
    found = opened(tmp_path).read()
    assert found is not None
    assert found.collect().sort("id").rows() == [(1, FRAME["net"][0]), (2, FRAME["net"][1]), (9, Decimal("5.00"))]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("id bigint, net numeric(38, 2)", 'column "net" of table "lines" is NUMERIC.*, and TEXT is needed'),
        ("id text, net text", 'column "id" of table "lines" is TEXT, and BIGINT is needed'),
        ("id bigint", 'table "lines" has no column "net"'),
        ("id bigint, net text, tax text", 'table "lines" has another column, "tax"'),
    ],
)
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_table_of_somebody_else_with_other_columns_is_refused_before_any_data(
    tmp_path: Path, columns: str, words: str, mode: Mode
) -> None:
    execute(tmp_path / "orders.db", f"create table lines ({columns})")
    with pytest.raises(SinkError, match=f"output lines: {words}"):
        opened(tmp_path, mode).check(FRAME.schema)


def test_a_table_of_somebody_else_cannot_be_read_without_a_schema(tmp_path: Path) -> None:
    execute(tmp_path / "orders.db", "create table lines (id bigint, net text)")
    with pytest.raises(SinkError, match="was not made by Assay"):
        opened(tmp_path).read()
    target = opened(tmp_path)
    target.check(FRAME.schema)
    found = target.read()
    assert found is not None
    assert found.collect_schema() == FRAME.schema


@pytest.mark.parametrize("value", ["0.105", "1e40", "NaN", "ten", ""])
def test_a_stored_value_that_is_not_of_its_column_is_never_rounded(tmp_path: Path, value: str) -> None:
    run(tmp_path, "r1")
    execute(tmp_path / "orders.db", f"update lines set net = '{value}'")
    with pytest.raises(SinkError, match=r'orders\.db#lines, column "net"'):
        opened(tmp_path).read()


def test_a_replace_may_change_decimals_but_an_append_may_not(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    other = FRAME.with_columns(pl.col("net").cast(pl.Decimal(38, 4)))
    with pytest.raises(SinkError, match="scale=2"):
        opened(tmp_path).check(other.schema)
    run(tmp_path, "r2", other, "replace")
    found = opened(tmp_path).read()
    assert found is not None
    assert found.collect_schema() == other.schema


def test_an_upsert_finds_its_rows_by_an_index(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    run(tmp_path, "r2", mode="upsert", key=("id", "net"))
    run(tmp_path, "r3", mode="upsert", key="id")
    run(tmp_path, "r4", mode="upsert", key="id")
    plan = query(tmp_path / "orders.db", "explain query plan delete from lines where id = 1")
    assert "USING INDEX" in plan[0][3]
    assert query(tmp_path / "orders.db", "select count(*) from lines") == [(2,)]
    assert len(query(tmp_path / "orders.db", "select 1 from sqlite_master where name like 'assay_key_%'")) == 1


@pytest.mark.parametrize("day", [-800_000, 5_000_000])
@pytest.mark.parametrize("nested", [False, True])
def test_a_date_that_cannot_be_stored_is_an_error_when_it_is_staged(tmp_path: Path, day: int, nested: bool) -> None:
    days = pl.DataFrame({"day": pl.Series([0, day], dtype=pl.Int32).cast(pl.Date)})
    frame = days.select(pl.struct("day").implode()) if nested else days
    target = opened(tmp_path)
    target.check(frame.schema)
    with pytest.raises(SinkError, match=r'column "day" has a date outside the years 1 to 9999.*\(row [12]\)'):
        target.stage(frame)


def test_an_array_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for dtype in (pl.Array(pl.Int8(), 2), pl.Struct({"x": pl.List(pl.Array(pl.Int8(), 0))})):
        with pytest.raises(SinkError, match=r'column "odd" has an Array.*: make it a list'):
            opened(tmp_path).check(pl.Schema({"odd": dtype}))


@pytest.mark.parametrize("name", ["", "a\x00b"])
def test_a_column_name_that_sql_does_not_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match="cannot be the name of a column"):
        opened(tmp_path).check(pl.Schema({name: pl.Int64()}))


def test_two_columns_that_have_one_name_in_sql_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match='columns "Id" and "id" have one name'):
        opened(tmp_path).check(pl.Schema({"Id": pl.Int64(), "id": pl.Int64()}))


@pytest.mark.parametrize("table", ["", "a\x00", "assay_publications", "Assay_staged_rows", "sqlite_master"])
def test_a_table_that_cannot_be_ours_is_refused(table: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a table"):
        Sql(table)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_database_in_memory_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SinkError, match="in memory is gone"):
        opened(tmp_path, url=url)


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not one that SQLAlchemy understands"):
        Sql("lines", url="orders.db")


def test_a_password_is_named_and_never_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"write \$\{NAME\}") as raised:
        Sql("lines", url="postgresql://me:canary@host/db")
    assert "canary" not in str(raised.value)
    named = Sql("lines", url="sqlite+pysqlite:///x.db", mode="append")
    assert "canary" not in repr(named)
    for url in ("postgresql://me:${ASSAY_TEST_PASSWORD}@host/db", "${ASSAY_TEST_URL}"):
        with pytest.raises(SinkError, match=r"ASSAY_TEST_.*, which the URL names, is not set"):
            opened(tmp_path, url=url)
    monkeypatch.setenv("ASSAY_TEST_URL", "postgresql://me:canary@host/db")
    monkeypatch.setenv("ASSAY_TEST_PASSWORD", "can@ry/:")
    whole = Database("${ASSAY_TEST_URL}", "lines", "lines")
    part = Database("postgresql://me:${ASSAY_TEST_PASSWORD}@host/db", "lines", "lines")
    assert whole.location == part.location == "postgresql://me:***@host/db#lines"
    assert part._resolved.password == "can@ry/:"
    assert "can" not in part.url
    sink = Sql("lines", url="${ASSAY_TEST_URL}")
    assert sink.under(tmp_path) is sink


def test_a_url_by_name_is_kept_by_name_where_it_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_TEST_URL", "sqlite:///named.db")
    run(tmp_path, "r1", url="${ASSAY_TEST_URL}")
    assert (tmp_path / "named.db").exists()


def test_a_database_that_is_none_is_an_error_that_names_the_output(tmp_path: Path) -> None:
    (tmp_path / "orders.db").write_bytes(b"this is no database, and long enough to be looked at" * 20)
    with pytest.raises(SinkError, match=r"output lines: .*orders\.db#lines: file is not a database"):
        opened(tmp_path).check(FRAME.schema)


def test_a_table_that_was_changed_after_preparing_is_not_written_to(tmp_path: Path) -> None:
    target = opened(tmp_path)
    target.check(FRAME.schema)
    target.stage(FRAME)
    staged = target.prepare()
    execute(tmp_path / "orders.db", "create table lines (id bigint, net float)")
    with pytest.raises(SinkError, match=r'"net" .* is FLOAT'):
        publish(staged, "r1")
    execute(tmp_path / "orders.db", "drop table lines")
    assert publish(staged, "r1")


def test_a_table_that_was_dropped_is_made_anew(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    execute(tmp_path / "orders.db", "drop table lines")
    assert opened(tmp_path).read() is None
    run(tmp_path, "r2")
    assert query(tmp_path / "orders.db", "select count(*) from lines") == [(2,)]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql+pymysql://me@host/db", "mysql is no database that rows are published to: sqlite or postgresql"),
        ("postgresql+pg8000://me@host/db", r"write postgresql:// or postgresql\+psycopg://"),
    ],
)
def test_another_database_or_driver_is_refused(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(SinkError, match=f"output lines: .*{words}"):
        opened(tmp_path, url=url)
