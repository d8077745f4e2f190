"""A unit of work commits all or nothing, and is over when it is over."""

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


def test_what_was_saved_and_found_can_be_read_afterwards(factory: Factory) -> None:
    with UnitOfWork(factory, orders=Order) as uow:
        saved = uow.orders.add(Order(net=Decimal("1.50")))
    assert (saved.id, saved.net) == (1, Decimal("1.50"))
    with UnitOfWork(factory, orders=Order) as uow:
        found = uow.orders.get(1)
    assert found is not None
    assert found.net == Decimal("1.50")


def test_it_cannot_be_used_before_or_after_its_block(factory: Factory) -> None:
    unit = UnitOfWork(factory, orders=Order)
    with pytest.raises(UnitOfWorkError, match="has not begun"):
        _ = unit.orders
    with unit as uow:
        kept = uow.orders
    for use in (
        lambda: unit.orders,
        lambda: kept.get(1),
        kept.list,
        lambda: kept.save(order(1)),
        lambda: kept.add(order(1)),
        lambda: kept.delete(1),
        unit.commit,
        unit.rollback,
        unit.__enter__,
    ):
        with pytest.raises(UnitOfWorkError, match="has ended"):
            use()
    assert issubclass(UnitOfWorkError, AssayError)


def test_it_cannot_be_nested_in_itself_but_another_can(engine: Engine, factory: Factory) -> None:
    unit = UnitOfWork(factory, orders=Order)
    with unit, pytest.raises(UnitOfWorkError, match="is in use: make another one"), unit:
        pass
    with UnitOfWork(factory, orders=Order) as outer, UnitOfWork(factory, orders=Order) as inner:
        assert outer.orders.list() == inner.orders.list() == []


def test_a_refused_nesting_does_not_end_the_outer_block(engine: Engine, factory: Factory) -> None:
    unit = UnitOfWork(factory, orders=Order)
    with unit:
        unit.orders.add(order(1))
        with pytest.raises(UnitOfWorkError), unit:
            pass
        unit.orders.add(order(2))
    assert stored(engine) == [1, 2]


def test_an_unknown_repository_is_an_error_that_lists_the_known_ones(factory: Factory) -> None:
    with (
        UnitOfWork(factory, orders=Order) as uow,
        pytest.raises(AttributeError, match=r'no repository "order"\. Did you mean "orders"'),
    ):
        _ = uow.order


@pytest.mark.parametrize("name", ["commit", "rollback", "_factory", "__init__"])
def test_a_repository_cannot_take_the_name_of_what_a_unit_needs(factory: Factory, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f'cannot be called "{name}"'):
        UnitOfWork(factory, **{name: Order})


def test_a_class_that_is_not_mapped_is_refused_at_once(factory: Factory) -> None:
    with pytest.raises(ConfigurationError, match="int is no class that SQLAlchemy maps"):
        UnitOfWork(factory, numbers=int)


def test_a_duplicate_that_is_caught_leaves_the_unit_usable(engine: Engine, factory: Factory) -> None:
    with UnitOfWork(factory, orders=Order) as uow:
        uow.orders.add(order(1))
        with pytest.raises(DuplicateError):
            uow.orders.add(order(1))
        uow.orders.add(order(2))
    assert stored(engine) == [1, 2]


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


def test_parts_of_a_unit_can_be_committed_and_undone(engine: Engine, factory: Factory) -> None:
    def work() -> None:
        with UnitOfWork(factory, orders=Order) as uow:
            uow.orders.add(order(1))
            uow.commit()
            uow.orders.add(order(2))
            uow.rollback()
            uow.orders.add(order(3))
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        work()
    assert stored(engine) == [1]


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
