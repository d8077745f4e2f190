"""Rows as objects of mapped classes: the shipped battery, and what is particular to classes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal
from pydantic import BaseModel
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, registry, validates

from assay import ConfigurationError, Entities, Pipeline, Rows, SinkError, Source
from assay.sinks import Mode, OnSchemaChange, Sink, SinkFactory, SqlDecimal, Staged, discard, publish
from assay.sinks.entities import OpenEntities
from assay.sinks.protocol import declared
from assay.sinks.sql import OpenSql
from assay.sinks.sql_database import Database
from assay.sinks.sql_values import from_sql, sql_type, to_sqlite
from assay.testing import FILE_STEPS, SinkConformance
from assay.testing.sinks import Bench

# The battery, whose frames have any columns: the mapped class is made from them.

_TABLE = 'the "objects"; --'


class _Float(sa.types.UserDefinedType[Any]):
    """A FLOAT whose values SQLAlchemy does not touch: it would make a number of the text NaN, and SQLite a NULL."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "FLOAT"


class _Values(sa.types.TypeDecorator[Any]):
    """Values of a column as the Sql sink stores them, exactly."""

    impl = sa.Text
    cache_ok = False

    def __init__(self, dtype: pl.DataType) -> None:
        super().__init__()
        self._dtype = dtype

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        stored = sql_type("v", self._dtype, "lines")
        if self._dtype.is_float():
            return dialect.type_descriptor(_Float())
        return dialect.type_descriptor(sa.Text() if isinstance(stored, SqlDecimal) else stored.dialect_impl(dialect))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return to_sqlite(pl.Series([value], dtype=self._dtype))[0]

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return from_sql("v", [value], self._dtype)[0] if not self._dtype.is_nested() else _plain(value, self._dtype)

    @property
    def python_type(self) -> type[Any]:
        raise NotImplementedError


def _type(name: str, dtype: pl.DataType) -> sa.types.TypeEngine[Any]:
    stored = sql_type(name, dtype, "lines")
    return stored if isinstance(dtype, pl.Decimal) else _Values(dtype)


def _plain(value: Any, dtype: pl.DataType) -> Any:
    return from_sql("v", [value], dtype).to_list()[0]


@cache
def _mapped(columns: tuple[tuple[str, pl.DataType], ...]) -> type[Any]:
    """A class with an identity of its own and these columns, whatever their names."""
    for name, dtype in columns:
        sql_type(name, dtype, "lines")
    made = type(f"Made{len(_MADE)}", (), {"__module__": __name__})
    table = sa.Table(
        sa.quoted_name(_TABLE, quote=True),
        sa.MetaData(),
        sa.Column("assay identity", sa.Integer, primary_key=True),
        *(sa.Column(sa.quoted_name(name, quote=True), _type(name, dtype)) for name, dtype in columns),
    )
    registry().map_imperatively(made, table)
    setattr(sys.modules[__name__], made.__name__, made)
    _MADE.append(made)
    return made


_MADE: list[type[Any]] = []
Empty = _mapped(())


@SinkFactory.register
class AnyEntities(Entities):
    """Makes its class when it is told the columns."""

    kind: ClassVar[str] = "any-entities"

    def _opened(self, database: Database, staging: Path) -> OpenSql:
        return OpenAny(self, database, staging, self.entity)


class OpenAny(OpenEntities):
    def check(self, schema: pl.Schema) -> None:
        self._mapper = sa.inspect(_mapped(tuple(schema.items())))
        super().check(schema)

    def read(self) -> pl.LazyFrame | None:
        if self._database.exists():
            with self._database.reading() as connection:
                stored = self._database.latest(connection)[1]
            if stored is not None:
                self._mapper = sa.inspect(_mapped(tuple(stored.items())))
        return super().read()


class TestEntities(SinkConformance):
    steps = (
        *FILE_STEPS,
        (sa.Connection, "execute"),
        (sa.Connection, "exec_driver_sql"),
        (Session, "flush"),
        (DefaultDialect, "do_commit"),
        (DefaultDialect, "do_close"),
    )

    #: Objects are saved one by one, which takes a third of a millisecond each.
    replaced = 200

    def make(self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error") -> Sink:
        # The class of the battery has no key among its columns.
        declared("AnyEntities", mode, key, on_schema_change)
        return AnyEntities(Empty, mode=mode, key=key, on_schema_change=on_schema_change)

    @pytest.mark.parametrize("mode", ["append"])
    def test_a_new_column_is_added_where_that_is_declared(self, bench: Bench, mode: Mode) -> None:
        with pytest.raises(ConfigurationError, match="says what columns there are"):
            bench.make(mode, None, "add")

    @pytest.mark.parametrize("mode", ["append"])
    def test_only_new_columns_are_added(self, bench: Bench, mode: Mode) -> None:
        pytest.skip("no column is ever added: the class says what columns there are")


# Classes of one's own.


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(10))
    balance: Mapped[Decimal] = mapped_column(SqlDecimal(8, 2))
    visits: Mapped[int | None]
    remark: Mapped[str] = mapped_column(default="none yet")
    mail: Mapped[str | None] = mapped_column("e-mail", unique=True)

    @validates("name")
    def plausible(self, _key: str, value: str) -> str:
        if value == "nobody":
            raise ValueError("nobody is no customer")
        return value


class Event(Base):
    __tablename__ = "events"
    number: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str]


class Lossy(Base):
    __tablename__ = "lossy"
    id: Mapped[int] = mapped_column(primary_key=True)
    net: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))


class Moment(Base):
    __tablename__ = "moments"
    id: Mapped[int] = mapped_column(primary_key=True)
    naive: Mapped[datetime | None]
    aware: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    clock: Mapped[time | None]
    weight: Mapped[float | None]
    extra: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)


class Special(Event):
    __tablename__ = "special"
    number: Mapped[int] = mapped_column(sa.ForeignKey("events.number"), primary_key=True)


CUSTOMERS = pl.Schema({"id": pl.String(), "name": pl.String(), "balance": pl.Decimal(38, 2), "mail": pl.String()})


def customers(*rows: tuple[str, str | None, str | None, str | None]) -> pl.DataFrame:
    made = [(i, n, None if b is None else Decimal(b), m) for i, n, b, m in rows]
    return pl.DataFrame(made, schema=CUSTOMERS, orient="row")


def staged(folder: Path, sink: Entities, frame: pl.DataFrame, run: str = "r") -> Staged:
    target = sink.open(folder, folder / "staging" / run, "lines", default="shop.db")
    target.check(frame.schema)
    target.stage(frame)
    return target.prepare()


def published(folder: Path, sink: Entities, frame: pl.DataFrame, run: str) -> None:
    made = staged(folder, sink, frame, run)
    assert publish(made, run)
    discard(made)


def stored(folder: Path, query: str = "select id, name, balance, remark from customers order by id") -> list[Any]:
    engine = sa.create_engine(f"sqlite:///{folder}/shop.db")
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(sa.text(query))]
    engine.dispose()
    return rows


def test_what_rows_do_not_say_keeps_its_value_or_gets_its_default(tmp_path: Path) -> None:
    published(tmp_path, Entities(Customer), customers(("a", "Ann", "1.00", None), ("b", "Bob", "2.50", None)), "r1")
    assert stored(tmp_path)[0] == ("a", "Ann", "1.00", "none yet")
    engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db")
    with Session(engine) as session, session.begin():
        session.get_one(Customer, "a").remark = "pays late"
    engine.dispose()
    published(tmp_path, Entities(Customer), customers(("a", "Anna", "7.00", None), ("c", "Cleo", "0.10", None)), "r2")
    assert stored(tmp_path) == [
        ("a", "Anna", "7.00", "pays late"),
        ("b", "Bob", "2.50", "none yet"),
        ("c", "Cleo", "0.10", "none yet"),
    ]
    published(tmp_path, Entities(Customer, mode="delete_missing"), customers(("a", "Anna", "8.00", None)), "r3")
    assert stored(tmp_path) == [("a", "Anna", "8.00", "pays late")]
    published(tmp_path, Entities(Customer, mode="replace"), customers(("a", "Anna", "8.00", None)), "r4")
    assert stored(tmp_path) == [("a", "Anna", "8.00", "none yet")]


def test_the_key_is_the_identity_unless_another_is_named(tmp_path: Path) -> None:
    assert Entities(Customer).key == ("id",)
    assert Entities(Customer, mode="delete_missing").key == ("id",)
    assert Entities(Customer, mode="append").key is None
    by_mail = Entities(Customer, key=("mail",))
    published(tmp_path, by_mail, customers(("a", "Ann", "1.00", "x@y")), "r1")
    published(tmp_path, by_mail, customers(("z", "Zoe", "2.00", "x@y")), "r2")
    # Whose mail it is keeps its identity.
    assert stored(tmp_path) == [("a", "Zoe", "2.00", "none yet")]


def test_identities_that_the_database_makes(tmp_path: Path) -> None:
    events = Entities(Event, mode="append")
    published(tmp_path, events, pl.DataFrame({"what": ["in", "out"]}), "r1")
    published(tmp_path, events, pl.DataFrame({"what": ["in"]}), "r2")
    assert stored(tmp_path, "select number, what from events") == [(1, "in"), (2, "out"), (3, "in")]
    with pytest.raises(SinkError, match=r'key: no column "number"'):
        staged(tmp_path, Entities(Event), pl.DataFrame({"what": ["in"]}))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (
            customers(("a", "Ann", "1.00", None)).rename({"name": "nam"}),
            'Customer: no attribute "nam". Did you mean "name"',
        ),
        (customers(("a", "Ann", "1.00", None)).drop("name"), "Customer.name is required, and there is no column"),
        (customers(("a", "Ann", "1.00", None)).with_columns(name=1), 'column "name" is Int'),
        (
            customers(("a", "x", "1.00", None), ("b", None, "1.00", None)),
            "None is not allowed in this column of Customer (row 2)",
        ),
        (customers(("a", "x" * 11, "1.00", None)), "is over 10 characters of Customer"),
        (
            customers(("a", "x", "1.00", None), ("b", "x", "1234567.00", None)),
            "does not fit into Decimal(8, 2) of Customer (row 2)",
        ),
        (
            customers(("a", "x", "1.00", None), ("b", "nobody", "1.00", None)),
            "Customer.name does not take 'nobody' (row 2): nobody is no customer",
        ),
        (customers(("a", "x", "1.00", None)).with_columns(visits=2**31), "does not fit into the 32 bits of Customer"),
    ],
)
def test_what_a_class_does_not_take_is_told_before_anything_is_decided(
    tmp_path: Path, frame: pl.DataFrame, words: str
) -> None:
    with pytest.raises(SinkError) as raised:
        staged(tmp_path, Entities(Customer), frame)
    assert words in str(raised.value)
    assert not (tmp_path / "shop.db").exists()


def test_an_object_that_is_there_cannot_be_added(tmp_path: Path) -> None:
    append = Entities(Customer, mode="append")
    published(tmp_path, append, customers(("a", "Ann", "1.00", None)), "r1")
    with pytest.raises(SinkError, match="Customer with id='a' is there already; mode \"upsert\" replaces it"):
        staged(tmp_path, append, customers(("b", "Bob", "1.00", None), ("a", "Ann", "2.00", None)), "r2")
    # Another has added it since: the whole run waits, and nothing of it is there.
    late = staged(tmp_path, append, customers(("b", "Bob", "1.00", None), ("c", "Cleo", "2.00", None)), "r3")
    published(tmp_path, append, customers(("c", "Carl", "1.00", None)), "r4")
    with pytest.raises(SinkError, match="Customer 'c' exists already"):
        publish(late, "r3")
    assert [row[1] for row in stored(tmp_path)] == ["Ann", "Carl"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((("a", "Ann", "1.00", "m"), ("b", "Bob", "1.00", "m")), "Customer {'mail': 'm'} exists already"),
        ((("a", "Ann", "1.00", "m"), ("b", "Bob", "1.00", "m"), ("b2", "Bea", "1.00", None)), "exists already"),
    ],
)
def test_an_object_that_is_refused_costs_the_whole_run(tmp_path: Path, rows: Any, words: str) -> None:
    made = staged(tmp_path, Entities(Customer), customers(*rows))
    with pytest.raises(SinkError) as raised:
        publish(made, "r")
    assert words in str(raised.value)
    assert stored(tmp_path, "select count(*) from sqlite_master where name = 'customers'") == [(0,)]


def test_a_table_that_its_class_has_outgrown_is_named(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db")
    with engine.begin() as connection:
        connection.execute(sa.text("create table customers (id text primary key, name text)"))
    engine.dispose()
    with pytest.raises(SinkError, match='table "customers" has no column "balance", which Customer has: migrate it'):
        staged(tmp_path, Entities(Customer), customers(("a", "Ann", "1.00", None)))


class Unmapped:
    pass


def test_classes_that_will_not_do_are_refused_when_the_sink_is_written_down(tmp_path: Path) -> None:
    class Local(Base):
        __tablename__ = "local"
        id: Mapped[int] = mapped_column(primary_key=True)

    for entity, words in (
        (Unmapped, "Unmapped is no class that SQLAlchemy maps"),
        (Local, "Local is defined in a function"),
        (Special, "Special is mapped to several tables"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            Entities(entity)
    with pytest.raises(SinkError, match=r"SqlDecimal\(38, 2\) is exact everywhere"):
        staged(
            tmp_path,
            Entities(Lossy),
            pl.DataFrame({"id": [1], "net": [Decimal("0.10")]}, schema_overrides={"net": pl.Decimal(38, 2)}),
        )


def test_a_class_that_is_gone_is_told(tmp_path: Path) -> None:
    made = staged(tmp_path, Entities(Customer), customers(("a", "Ann", "1.00", None)))
    for path in ("no_such_module:Customer", f"{__name__}:NoSuchClass"):
        with pytest.raises(SinkError, match="cannot be imported"):
            publish(made | {"entity": path}, "r")


def test_moments_keep_their_zone_and_their_digits(tmp_path: Path) -> None:
    # The hour that comes twice, both times.
    moments = [datetime(2024, 10, 27, 0, 30, 0, 1, tzinfo=UTC), datetime(2024, 10, 27, 1, 30, tzinfo=UTC), None]
    frame = pl.DataFrame(
        {
            "id": [1, 2, 3],
            "naive": [datetime(2024, 2, 29, 23, 59, 59, 999_999), None, None],
            "aware": pl.Series(moments, dtype=pl.Datetime("us", "Europe/Berlin")),
            "clock": [time(23, 59, 59, 999_999), None, None],
            "weight": [0.1, -1e300, None],
            "extra": [{"a": 1}, {"a": None}, None],
        }
    )
    for run in ("r1", "r2"):
        published(tmp_path, Entities(Moment), frame, run)
        target = Entities(Moment).open(tmp_path, tmp_path / "staging", "lines", default="shop.db")
        found = target.read()
        assert found is not None
        assert_frame_equal(found.collect().sort("id"), frame)
    for wrong, words in (
        (frame.with_columns(aware="naive"), "DateTime(timezone=False) fits"),
        (frame.with_columns(naive="aware"), "DateTime(timezone=True) fits"),
        (frame.with_columns(weight=pl.lit(float("nan"))), "nan would be NULL in some databases"),
        (frame.with_columns(clock=pl.lit(1, pl.Int64).cast(pl.Time)), "is finer than the microseconds"),
        (frame.with_columns(naive=pl.lit(1, pl.Int64).cast(pl.Datetime("ns"))), "is finer than the microseconds"),
        (frame.with_columns(extra=pl.lit("{}")), 'column "extra" is String'),
        (frame.with_columns(extra=pl.struct(at="naive")), 'column "extra" is Struct'),
    ):
        with pytest.raises(SinkError) as raised:
            staged(tmp_path, Entities(Moment, mode="replace"), wrong)
        assert words in str(raised.value)


def test_every_mode_on_postgresql(tmp_path: Path, postgres: str) -> None:
    at = datetime(2024, 10, 27, 0, 30, 0, 1, tzinfo=UTC)
    schema = pl.Schema({"id": pl.Int64(), "aware": pl.Datetime("us", "Europe/Berlin"), "weight": pl.Float64()})

    def rows(*ids: int, weight: float | None = None) -> pl.DataFrame:
        return pl.DataFrame([(i, at, weight) for i in ids], schema=schema, orient="row")

    def found() -> pl.DataFrame:
        target = Entities(Moment, postgres).open(tmp_path, tmp_path / "staging", "lines", default="unused.db")
        stored = target.read()
        assert stored is not None
        return stored.collect().sort("id")

    steps: list[tuple[Mode, pl.DataFrame, pl.DataFrame]] = [
        ("upsert", rows(1, 2), rows(1, 2)),
        ("upsert", rows(2, 3, weight=0.1), pl.concat([rows(1), rows(2, 3, weight=0.1)])),
        ("append", rows(4), pl.concat([rows(1), rows(2, 3, weight=0.1), rows(4)])),
        ("delete_missing", rows(1, 4, weight=1e300), rows(1, 4, weight=1e300)),
        ("replace", rows(7), rows(7)),
    ]
    for number, (mode, frame, expected) in enumerate(steps):
        made = staged(tmp_path, Entities(Moment, postgres, mode=mode), frame, f"r{number}")
        assert [publish(made, f"r{number}"), publish(made, f"r{number}")] == [True, False]
        assert_frame_equal(found(), expected)
    with pytest.raises(SinkError, match="Moment with id=7 is there already"):
        staged(tmp_path, Entities(Moment, postgres, mode="append"), rows(7), "r")
    late = staged(tmp_path, Entities(Moment, postgres, mode="append"), rows(8, 9), "late")
    published(tmp_path, Entities(Moment, postgres, mode="append"), rows(9), "quicker")
    with pytest.raises(SinkError, match="Moment 9 exists already"):
        publish(late, "late")
    assert_frame_equal(found(), rows(7, 9))


class Visit(BaseModel):
    id: str
    name: str
    balance: Decimal


def test_a_pipeline_may_write_to_a_class(project: Path) -> None:
    (project / "in.jsonl").write_text('{"id": "a", "name": "Ann", "balance": "1.50"}\n{"id": "b"}\n')
    pipeline = Pipeline(
        "shop",
        source=Source("in.jsonl", Visit, decimals=(8, 2)),
        outputs={"customers": Rows(to=Entities(Customer, "sqlite:///shop.db"))},
    )
    result = pipeline.run()
    assert (result.status, result.counts["written"]) == ("published", 1)
    assert stored(project) == [("a", "Ann", "1.50", "none yet")]
