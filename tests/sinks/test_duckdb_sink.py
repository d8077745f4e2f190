"""What is particular to the DuckDB sink: the file and its lock, tables of others, types."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.sinks.using import Published

from assay.errors import ConfigurationError, SinkError
from assay.sinks import DuckDb, Mode, duckdb_table, publish

FRAME = pl.DataFrame(
    {"id": [1, 2], "net": pl.Series([Decimal("0.10"), Decimal("-12345678901234567890.00")], dtype=pl.Decimal(38, 2))}
)


TABLE = Published(DuckDb, {"table": "lines"}, FRAME)
opened, prepare, run, found = TABLE.opened, TABLE.prepare, TABLE.run, TABLE.found


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(file) as connection:
        return connection.execute(sql).fetchall()


@contextmanager
def another_process(file: Path, *, read_only: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file open until its standard input ends."""
    code = (
        f"import duckdb, sys; c = duckdb.connect({str(file)!r}, read_only={read_only}); print(1, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, stderr=-3, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_the_default_is_a_file_of_the_pipeline(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    assert query(tmp_path / "orders.duckdb", "select id from lines") == [(1,), (2,)]
    assert opened(tmp_path).location == f"{tmp_path}/orders.duckdb#lines"


def test_a_relative_file_begins_at_the_root_and_goes_under_another_folder(tmp_path: Path) -> None:
    run(tmp_path, "r1", path="data/a b.db")
    assert (tmp_path / "data/a b.db").exists()
    moved = DuckDb("lines", "data/a b.db").under(tmp_path / "else")
    assert moved.open(tmp_path, tmp_path, "lines", default="").location == f"{tmp_path}/else/a b.db#lines"


def test_columns_have_the_types_of_duckdb(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "net": pl.Series([Decimal("1.50")], dtype=pl.Decimal(38, 2)),
            "day": [date(2024, 2, 29)],
            "naive": [datetime(2024, 2, 29, 12, 30)],
            "exact": pl.Series([1_001]).cast(pl.Datetime("ns")),
            "local": pl.Series([datetime(2024, 7, 1, 12)]).dt.replace_time_zone("Europe/Berlin"),
            "clock": [clock(1, 2, 3)],
            "span": [timedelta(days=1, microseconds=5)],
            "kind": pl.Series(["it's"], dtype=pl.Enum(["b", "it's"])),
            "big": pl.Series([2**64 - 1], dtype=pl.UInt64),
            "parts": pl.Series([[{"n": Decimal("1.50"), "t": 'ä"', "d": timedelta(1)}, None]]),
            "none": pl.Series([None], dtype=pl.Enum([])),
        }
    )
    run(tmp_path, "r1", frame)
    types = query(tmp_path / "orders.duckdb", "select data_type from duckdb_columns() where table_name = 'lines'")
    assert [kind for (kind,) in types] == [
        "DECIMAL(38,2)",
        "DATE",
        "TIMESTAMP",
        "TIMESTAMP_NS",
        "TIMESTAMP WITH TIME ZONE",
        "TIME_NS",
        "INTERVAL",
        "ENUM('b', 'it''s')",
        "UBIGINT",
        "STRUCT(n DECIMAL(38,2), t VARCHAR, d INTERVAL)[]",
        "VARCHAR",
    ]
    local, span = query(tmp_path / "orders.duckdb", "select local at time zone 'UTC', span from lines")[0]
    assert (local, span) == (datetime(2024, 7, 1, 10), timedelta(days=1, microseconds=5))
    assert_frame_equal(found(tmp_path), frame)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_durations_of_every_unit_come_back(tmp_path: Path, unit: Any) -> None:
    most = {"ms": (2**63 - 1) // 1000, "us": 2**63 - 1, "ns": (2**63 - 1) // 1000 * 1000}[unit]
    plain = pl.Series([most, -most, 0, None])
    frame = pl.DataFrame({"a": plain.cast(pl.Duration(unit)), "b": pl.Series([[1000], [], None, [None]])}).with_columns(
        pl.col("b").cast(pl.List(pl.Duration(unit))), c=pl.struct(x=pl.lit(1000).cast(pl.Duration(unit)))
    )
    run(tmp_path, "r1", frame)
    assert_frame_equal(found(tmp_path), frame)


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        (pl.Datetime("ns", "UTC"), 1_001, "parts of a microsecond"),
        (pl.Duration("ns"), 1_001, "parts of a microsecond"),
        (pl.Duration("ms"), 2**62, "a duration of over 292,000 years"),
        (pl.Datetime("us"), 2**62, "a date outside the years 1 to 9999"),
    ],
)
def test_a_value_that_would_not_come_back_is_told_with_its_row(
    tmp_path: Path, dtype: pl.DataType, value: int, words: str
) -> None:
    frame = pl.DataFrame({"odd": pl.Series([0, 1_000, value, value]).cast(dtype)})
    target = opened(tmp_path)
    target.check(frame.schema)
    with pytest.raises(SinkError, match=f'column "odd" has {words}, which cannot be stored, first in row 3'):
        target.stage(frame)


def test_the_token_stands_beside_the_rows(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    sql = "select run, output, table_name, rows, age(at) < interval 1 hour from assay_publications"
    assert query(tmp_path / "orders.duckdb", sql.replace("(at)", '("at")')) == [("r1", "lines", "lines", 2, True)]


def test_several_outputs_share_a_file(tmp_path: Path) -> None:
    for name in ("lines", "totals"):
        target = DuckDb(name).open(tmp_path, tmp_path / name, name, default="orders.db")
        target.check(FRAME.schema)
        target.stage(FRAME)
        assert publish(target.prepare(), "r1")
    assert query(tmp_path / "orders.duckdb", "select count(*) from lines, totals") == [(4,)]


def test_a_name_in_another_case_is_the_same_table(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    run(tmp_path, "r2", table="LINES")
    assert found(tmp_path).height == 4


def test_equal_rows_stay_untouched_and_every_bit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = FRAME.with_columns(x=0.0, y=pl.Series([[0.0], None], dtype=pl.List(pl.Float64)))
    run(tmp_path, "r1", frame.drop("y"))
    touched: list[int] = []
    fetch = duckdb_table._fetch

    def counting(connection: Any, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        rows = fetch(connection, statement, values)
        if '"lines"' in statement and statement.startswith(("DELETE", "INSERT")):
            touched.append(rows[0][0])
        return rows

    changed = frame.with_columns(x=pl.Series([0.0, -0.0]))
    with monkeypatch.context() as patch:
        patch.setattr(duckdb_table, "_fetch", counting)
        run(tmp_path, "r2", changed.drop("y"), "delete_missing", key="id")
    # Those whose key is there twice, those that differ, those that are new.
    assert touched == [0, 1, 1]
    assert repr(found(tmp_path).sort("id").rows()) == repr(changed.drop("y").rows())
    other = tmp_path / "nested"
    run(other, "r1", frame)
    nested = frame.with_columns(y=pl.Series([[-0.0], None], dtype=pl.List(pl.Float64)))
    run(other, "r2", nested, "delete_missing", key="id")
    assert repr(found(other).sort("id").rows()) == repr(nested.rows())


def test_a_replace_may_change_the_columns_of_our_own_table(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    other = FRAME.select(pl.col("id").cast(pl.String), kind=pl.lit("a", dtype=pl.Enum(["a"])))
    run(tmp_path, "r2", other, "replace")
    assert_frame_equal(found(tmp_path), other)


def test_a_table_of_somebody_else_with_the_same_columns_is_used(tmp_path: Path) -> None:
    file = tmp_path / "orders.duckdb"
    query(file, "create table lines (net decimal(38, 2), id bigint)")
    query(file, "insert into lines values (5, 9)")
    with pytest.raises(SinkError, match="was not made by Assay"):
        opened(tmp_path).read()
    run(tmp_path, "r1")
    assert found(tmp_path).sort("id").rows() == [(1, FRAME["net"][0]), (2, FRAME["net"][1]), (9, Decimal("5.00"))]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("id bigint, net double", r'column "net" of table "lines" is DOUBLE, and DECIMAL\(38,2\) is needed'),
        ("id varchar, net decimal(38, 2)", 'column "id" of table "lines" is VARCHAR, and BIGINT is needed'),
        ("id bigint", 'table "lines" has no column "net"'),
        ("id bigint, net decimal(38, 2), tax int", 'table "lines" has another column, "tax"'),
    ],
)
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_table_of_somebody_else_with_other_columns_is_refused_before_any_data(
    tmp_path: Path, columns: str, words: str, mode: Mode
) -> None:
    query(tmp_path / "orders.duckdb", f"create table lines ({columns})")
    with pytest.raises(SinkError, match=f"output lines: {words}"):
        opened(tmp_path, mode).check(FRAME.schema)


def test_a_table_that_was_changed_since_is_not_written_to(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    staged = prepare(tmp_path, "r2")
    query(tmp_path / "orders.duckdb", "alter table lines drop column net")
    with pytest.raises(SinkError, match='table "lines" has no column "net"'):
        publish(staged, "r2")
    query(tmp_path / "orders.duckdb", "drop table lines")
    assert DuckDb.has_published(staged, "r1") is False
    assert publish(staged, "r2")
    assert found(tmp_path).height == 2


def test_what_the_table_itself_refuses_is_told_and_undone(tmp_path: Path) -> None:
    query(tmp_path / "orders.duckdb", "create table lines (id bigint check (id < 2), net decimal(38, 2))")
    staged = prepare(tmp_path, "r1")
    with pytest.raises(SinkError, match=r"output lines: .*orders\.duckdb#lines: Constraint Error"):
        publish(staged, "r1")
    assert query(tmp_path / "orders.duckdb", "select count(*) from lines") == [(0,)]


# The file and its lock


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_in_use_elsewhere_is_waited_for_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    run(tmp_path, "r1")
    file = tmp_path / "orders.duckdb"
    staged = prepare(tmp_path, "r2")
    with another_process(file, read_only=read_only) as process:
        with monkeypatch.context() as patch:
            patch.setattr(duckdb_table, "_WAIT_SECONDS", 0.2)
            began = time.monotonic()
            with pytest.raises(SinkError, match=rf"orders\.duckdb has been in use for 0 s.*PID {process.pid}"):
                publish(staged, "r2")
            assert time.monotonic() - began >= 0.2
            if read_only:
                assert found(tmp_path).height == 2
            else:
                with pytest.raises(SinkError, match="has been in use"):
                    opened(tmp_path).read()
        threading.Timer(0.3, process.kill).start()
        assert publish(staged, "r2")
    assert found(tmp_path).height == 4


def test_a_connection_of_the_same_process_is_no_hindrance_to_a_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "r1")
    staged = prepare(tmp_path, "r2")
    file = tmp_path / "orders.duckdb"
    with duckdb.connect(file) as connection:
        assert found(tmp_path).height == 2
        assert publish(staged, "r2")
        assert connection.execute("select count(*) from lines").fetchall() == [(4,)]
    monkeypatch.setattr(duckdb_table, "_WAIT_SECONDS", 0.1)
    with duckdb.connect(file, read_only=True):
        assert found(tmp_path).height == 4
        with pytest.raises(SinkError, match="has been in use for 0 s"):
            publish(prepare(tmp_path, "r3"), "r3")


def test_who_makes_the_file_second_uses_the_first_ones(tmp_path: Path) -> None:
    staged = prepare(tmp_path, "r1")
    database = duckdb_table.Database(tmp_path / "orders.duckdb", "lines", "lines")
    for _ in range(2):
        database.create(Path(staged["folder"]))
    assert publish(staged, "r1")
    database.create(Path(staged["folder"]))
    assert found(tmp_path).height == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["orders.duckdb", "staging"]


def test_a_file_that_is_no_database_is_an_error_that_names_the_output(tmp_path: Path) -> None:
    (tmp_path / "orders.duckdb").write_bytes(b"this is no database, and long enough to be looked at" * 20)
    with pytest.raises(SinkError, match=r"output lines: .*orders\.duckdb#lines: .*not a valid DuckDB database"):
        opened(tmp_path).check(FRAME.schema)


def test_a_folder_that_cannot_be_written_to_is_an_error_that_names_the_output(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file where a folder is needed")
    with pytest.raises(SinkError, match=r"output lines: cannot write to .*out/x\.duckdb#lines"):
        publish(prepare(tmp_path, "r1", path="out/x.duckdb"), "r1")


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE as Linux has it")
def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path, "r1")
    rows = pl.DataFrame({"id": range(300_000)}).select("id", net=pl.lit(Decimal(1), dtype=pl.Decimal(38, 2)))
    staged = prepare(tmp_path, "r2", rows.with_columns(net=pl.int_range(300_000).shuffle().cast(pl.Decimal(38, 2))))
    code = (
        "import json, resource, signal, sys; from assay.sinks import publish; from assay.errors import SinkError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000, 1_200_000))\n"
        "try: publish(json.load(sys.stdin), 'r2')\n"
        "except SinkError as error: print(error); sys.exit(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(staged), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "output lines: " in done.stdout
    assert "orders.duckdb" in done.stdout
    assert found(tmp_path).height == 2
    assert publish(staged, "r2")
    assert found(tmp_path).height == 300_002


# As it is written down


@pytest.mark.parametrize("table", ["", "a\x00", "assay_publications", "Assay_staged_rows"])
def test_a_table_that_cannot_be_ours_is_refused(table: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a table"):
        DuckDb(table)


@pytest.mark.parametrize("path", ["", ":memory:", "a\x00b"])
def test_a_path_that_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="names no file"):
        DuckDb("lines", path)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (pl.Struct([]), "struct without fields"),
        (pl.List(pl.Int128()), "Int128, which DuckDB cannot store"),
        (pl.Array(pl.Int8(), 2), "make it a list"),
        (pl.Struct({"A": pl.Int8(), "a": pl.Int8()}), 'fields "A" and "a"'),
        (pl.Struct({"": pl.Int8()}), "a field ''"),
    ],
)
def test_a_type_that_duckdb_cannot_store_is_named(tmp_path: Path, dtype: pl.DataType, words: str) -> None:
    with pytest.raises(SinkError, match=f'column "odd" .*{words}'):
        opened(tmp_path).check(pl.Schema({"odd": dtype}))


@pytest.mark.parametrize(("names", "words"), [(["Id", "id"], "one name"), ([""], "cannot be the name")])
def test_names_that_duckdb_does_not_have_are_refused(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(SinkError, match=words):
        opened(tmp_path).check(pl.Schema({name: pl.Int64() for name in names}))


def test_no_columns_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no column"):
        opened(tmp_path).check(pl.Schema())


def test_moments_are_of_no_zone_but_the_one_they_had(tmp_path: Path) -> None:
    at = datetime(2024, 10, 27, 0, 30, tzinfo=UTC)
    frame = pl.DataFrame({"id": [1], "at": pl.Series([at]).dt.convert_time_zone("America/New_York")})
    for name in ("r1", "r2"):
        run(tmp_path, name, frame, "upsert", key=("id", "at"))
    assert_frame_equal(found(tmp_path), frame)
