"""Whatever a column holds comes back from SQL texts as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import event, given
from hypothesis import strategies as st
from polars.testing import assert_series_equal
from polars.testing.parametric import series
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tests.postgres import Cluster

from assay.sinks import Sql, SqlDecimal, publish
from assay.sinks.sql_copy import copy
from assay.sinks.sql_values import check_values, from_sql, sql_type, to_json, to_sqlite

SQLITE: Dialect = sqlite.dialect()
POSTGRES: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

KINDS: list[Any] = [
    pl.Decimal,
    pl.Date,
    pl.Datetime("ms"),
    pl.Datetime("us"),
    pl.Datetime("ns"),
    pl.Datetime("us", "Europe/Berlin"),
    pl.Time,
    pl.Duration,
    pl.Boolean,
    pl.Int8,
    pl.UInt64,
    pl.Float32,
    pl.Float64,
    pl.String,
    pl.Binary,
    pl.Enum,
    pl.Null,
]


COLUMNS = series(name="it", allowed_dtypes=[*KINDS, pl.List, pl.Struct], allow_null=True, max_size=8, allow_nan=True)


@given(column=COLUMNS)
def test_any_column_comes_back_from_sqlite(column: pl.Series) -> None:
    values = to_sqlite(column)
    assert {type(value) for value in values} <= {int, float, str, bytes, bool, type(None)}
    if isinstance(column.dtype, pl.Date | pl.Datetime | pl.Time):
        # As they stand in nested values, where each is written alone.
        nested = [json.loads(text)["it"] for text in to_json(column.to_frame().to_struct()) if text is not None]
        assert nested == values
    assert_series_equal(from_sql("it", values, column.dtype), column, check_exact=True)


@given(column=COLUMNS)
def test_any_column_comes_back_from_postgresql(cluster: Cluster, column: pl.Series) -> None:
    refused = check_values(column, "postgresql")
    table = sa.Table("it", sa.MetaData(), sa.Column("it", sql_type("it", column.dtype, "o")), prefixes=["TEMPORARY"])
    engine = create_engine(cluster.url(), poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("SET timezone TO 'UTC'")
        table.create(connection)
        if refused is not None:
            event(refused.why)
            kept = column[: refused.row]
            assert check_values(kept, "postgresql") is None
            column = kept
        # In parts, as a large frame goes.
        copy(connection, table, [part for frame in (column.to_frame(),) for part in frame.iter_slices(3)])
        rows = connection.execute(select(sa.type_coerce(table.c.it, sa.types.NULLTYPE))).fetchall()
    assert_series_equal(from_sql("it", [row[0] for row in rows], column.dtype), column, check_exact=True)


@given(
    digits=st.tuples(st.integers(1, 38), st.integers(0, 38)).filter(lambda d: d[1] <= d[0]),
    draw=st.data(),
)
def test_decimals_of_all_digits_come_back_from_postgresql(
    cluster: Cluster, digits: tuple[int, int], draw: st.DataObject
) -> None:
    precision, scale = digits
    units = draw.draw(st.lists(st.integers(-(10**precision) + 1, 10**precision - 1), min_size=1, max_size=50))
    values = [Decimal(f"{n}e-{scale}") for n in units]
    column = pl.Series("it", values, dtype=pl.Decimal(precision, scale))
    table = sa.Table("it", sa.MetaData(), sa.Column("it", sql_type("it", column.dtype, "o")), prefixes=["TEMPORARY"])
    with create_engine(cluster.url(), poolclass=sa.NullPool).connect() as connection:
        table.create(connection)
        copy(connection, table, [column.to_frame()])
        texts = connection.exec_driver_sql("SELECT it::text FROM it").scalars().all()
    assert [Decimal(text) for text in texts] == values
    assert all(len(text.partition(".")[2]) == scale for text in texts)


def test_nested_values_are_json_that_anybody_can_read() -> None:
    dtype = pl.List(pl.Struct({"d": pl.Decimal(5, 2), "f": pl.Float64(), "b": pl.Binary(), "n": pl.UInt64()}))
    column = pl.Series([[{"d": Decimal("1.50"), "f": float("nan"), "b": b"\xff", "n": 2**64 - 1}, None]], dtype=dtype)
    text = to_json(column)[0]
    assert text is not None

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found = json.loads(text, parse_constant=refuse)
    assert found == [{"d": "1.50", "f": "nan", "b": "/w==", "n": 2**64 - 1}, None]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (pl.Decimal(5, 2), "1.505"),
        (pl.Decimal(5, 2), "1000.00"),
        (pl.Decimal(5, 2), "Infinity"),
        (pl.Decimal(5, 2), 1.25j),
        (pl.Boolean(), 2),
        (pl.Boolean(), "yes"),
        (pl.Int8(), 128),
        (pl.Int64(), "x"),
        (pl.UInt64(), "-1"),
        (pl.Float64(), "one"),
        (pl.String(), 5),
        (pl.Enum(["a"]), "b"),
        (pl.Date(), "2024-02-30"),
        (pl.Datetime("us"), "2024-02-29T00:00:00Z"),
        (pl.Datetime("us", "UTC"), "2024-02-29T00:00:00"),
        (pl.Datetime("ms"), "2024-02-29T00:00:00.0001"),
        (pl.Datetime("us"), "yesterday"),
        (pl.Time(), "24:00:00"),
        (pl.Time(), "noon"),
        (pl.Time(), time(1, tzinfo=UTC)),
        (pl.Time(), 5),
        (pl.Date(), datetime(2024, 2, 29)),
        (pl.Datetime("us", "UTC"), datetime(2024, 2, 29)),
        (pl.Datetime("us"), datetime(2024, 2, 29, tzinfo=UTC)),
        (pl.Datetime("ms"), datetime(2024, 2, 29, 0, 0, 0, 1)),
        (pl.List(pl.Int64()), "[1"),
        (pl.List(pl.Int64()), "5"),
        (pl.Struct({"a": pl.Int64()}), "{}"),
        (pl.Struct({"a": pl.Binary()}), '{"a": "?"}'),
    ],
    ids=str,
)
def test_a_stored_value_of_another_kind_is_an_error_and_never_a_changed_value(dtype: pl.DataType, value: Any) -> None:
    with pytest.raises(ValueError, match="a stored value is no"):
        from_sql("it", [None, value], dtype)


def test_every_naughty_string_comes_back_from_a_table(suites: Path, tmp_path: Path) -> None:
    texts = json.loads((suites / "blns/blns.json").read_text("utf-8"))
    frame = pl.DataFrame({"id": range(len(texts)), "text": texts})
    target = Sql("strings").open(tmp_path, tmp_path / "s", "strings", default="x.db")
    target.check(frame.schema)
    target.stage(frame)
    assert publish(target.prepare(), "r")
    found = target.read()
    assert found is not None
    assert found.collect().equals(frame)
    assert len(texts) > 500


class Base(DeclarativeBase):
    pass


class Price(Base):
    __tablename__ = "price"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[Decimal | None] = mapped_column(SqlDecimal(20, 4))


@pytest.fixture
def engine() -> Any:
    engine: Engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@given(units=st.integers(-(10**20) + 1, 10**20 - 1))
def test_a_mapped_class_keeps_exact_decimals_on_sqlite(units: int) -> None:
    amount = Decimal(units).scaleb(-4)
    kind = SqlDecimal(20, 4)
    text = kind.process_bind_param(amount, SQLITE)
    assert isinstance(text, str)
    assert kind.process_result_value(text, SQLITE) == amount
    assert kind.process_bind_param(amount, POSTGRES) == amount


def test_a_mapped_class_is_saved_and_found_by_its_decimal(engine: Engine) -> None:
    amount = Decimal("1234567890123456.7890")
    with Session(engine) as session:
        session.add_all([Price(id=1, amount=amount), Price(id=2, amount=None)])
        session.commit()
    with Session(engine) as session:
        assert session.scalars(select(Price.id).where(Price.amount == Decimal("1234567890123456.789"))).all() == [1]
        found = session.get(Price, 1)
        assert found is not None
        assert found.amount == amount
        nothing = session.get(Price, 2)
        assert nothing is not None
        assert nothing.amount is None


@pytest.mark.parametrize("wrong", [0.1, True, "1.00", Decimal("1.00001"), Decimal("1e20"), Decimal("NaN")])
def test_a_mapped_class_takes_nothing_that_would_be_changed(engine: Engine, wrong: Any) -> None:
    with Session(engine) as session:
        session.add(Price(id=1, amount=wrong))
        with pytest.raises(StatementError, match=r"exact decimals|does not fit|not a finite"):
            session.flush()
