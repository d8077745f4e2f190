"""Units of work in a database: what the battery (test_unit_conformance.py) does not say of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from assay.errors import AssayError, ConfigurationError, DuplicateError
from assay.sinks import SqlDecimal, SqlRepository, UnitOfWork, UnitOfWorkError


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    net: Mapped[Decimal] = mapped_column(SqlDecimal(20, 2))


class Audit(Base):
    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class CountingSession(Session):
    """Knows how many sessions are open."""

    open = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        type(self).open += 1

    def close(self) -> None:
        type(self).open -= 1
        super().close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/orders.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def factory(engine: Engine) -> Iterator[sessionmaker[CountingSession]]:
    CountingSession.open = 0
    yield sessionmaker(engine, class_=CountingSession)
    assert CountingSession.open == 0, "a session was left open"


Factory = sessionmaker[CountingSession]


def stored(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(text("select id from orders order by id")).scalars())


def order(identifier: int) -> Order:
    return Order(id=identifier, net=Decimal("0.10"))


def test_all_repositories_commit_together(engine: Engine, factory: Factory) -> None:
    with UnitOfWork(factory, orders=Order, audit=Audit) as uow:
        uow.orders.save(order(1))
        uow.audit.add(Audit(text="saved 1"))
        assert stored(engine) == []
    with UnitOfWork(factory, orders=Order, audit=Audit) as uow:
        assert [o.id for o in uow.orders.list()] == [1]
        assert [a.text for a in uow.audit.list()] == ["saved 1"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_any_error_undoes_everything(engine: Engine, factory: Factory, error: BaseException) -> None:
    def work() -> None:
        with UnitOfWork(factory, orders=Order, audit=Audit) as uow:
            uow.orders.save(order(1))
            uow.audit.add(Audit(text="saved 1"))
            raise error

    with pytest.raises(type(error)):
        work()
    assert stored(engine) == []


def test_a_class_that_is_not_mapped_is_refused_at_once(factory: Factory) -> None:
    with pytest.raises(ConfigurationError, match="int is no class that SQLAlchemy maps"):
        UnitOfWork(factory, numbers=int)


def test_a_unit_that_has_failed_says_so_even_if_the_error_was_caught(
    engine: Engine, factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(repository: SqlRepository[Any], session: Session, *_: object, **__: object) -> None:
        session.execute(text("insert into orders (id, net) values (1, '5.00')"))

    def work() -> None:
        with UnitOfWork(factory, orders=Order) as uow:
            uow.orders.add(order(7))
            monkeypatch.setattr(SqlRepository, "_check_unique", overtaken)
            with pytest.raises(DuplicateError):
                uow.orders.add(order(1))

    with pytest.raises(UnitOfWorkError, match="nothing was committed"):
        work()
    assert stored(engine) == []


def test_a_commit_that_fails_is_told_and_undone(
    engine: Engine, factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Session) -> None:
        raise OperationalError("COMMIT", None, Exception("disk full"))

    def work() -> None:
        with UnitOfWork(factory, orders=Order) as uow:
            uow.orders.add(order(1))
            monkeypatch.setattr(CountingSession, "commit", refuse)

    with pytest.raises(OperationalError, match="disk full"):
        work()
    assert stored(engine) == []


def test_the_first_error_is_seen_where_the_rollback_fails_too(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Session) -> None:
        raise OperationalError("ROLLBACK", None, Exception("connection lost"))

    def work() -> None:
        with UnitOfWork(factory, orders=Order):
            monkeypatch.setattr(CountingSession, "rollback", refuse)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as raised:
        work()
    assert "connection lost" in raised.value.__notes__[0]


def test_a_factory_that_fails_leaves_nothing_open() -> None:
    def refuse() -> Session:
        raise OSError("no database")

    unit = UnitOfWork(refuse, orders=Order)
    with pytest.raises(OSError, match="no database"), unit:
        pass


def test_its_own_error_is_one_of_ours_and_another_unit_can_be_nested(factory: Factory) -> None:
    assert issubclass(UnitOfWorkError, AssayError)
    with UnitOfWork(factory, orders=Order) as outer, UnitOfWork(factory, orders=Order) as inner:
        assert outer.orders.list() == inner.orders.list() == []


def test_an_identity_that_the_database_makes_can_be_read_afterwards(factory: Factory) -> None:
    with UnitOfWork(factory, orders=Order) as uow:
        saved = uow.orders.add(Order(net=Decimal("1.50")))
    assert (saved.id, saved.net) == (1, Decimal("1.50"))
