"""Repositories: one battery for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, Index, StaticPool, UniqueConstraint, create_engine, event, text
from sqlalchemy.exc import IntegrityError, PendingRollbackError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from assay.errors import ConfigurationError, DuplicateError, NotFoundError
from assay.sinks import MemoryRepository, Repository, SqlDecimal, SqlRepository


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    __table_args__ = (UniqueConstraint("country", "no"), Index("by_mail", "mail", unique=True))
    id: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str | None] = mapped_column(default=None)
    number: Mapped[int | None] = mapped_column("no", default=None)
    mail: Mapped[str | None] = mapped_column(default=None)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)
    net: Mapped[Decimal] = mapped_column(SqlDecimal(20, 2))
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customer.id"), default=None)


class Line(Base):
    __tablename__ = "line"
    order: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(default="")


@dataclass
class Plain:
    id: str
    net: Decimal


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def enforce(connection: Any, _record: Any) -> None:
        connection.execute("pragma foreign_keys=on")

    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.fixture(params=["sql", "memory"])
def make(request: pytest.FixtureRequest, session: Session) -> Callable[[type[Any]], Repository[Any]]:
    return (lambda entity: SqlRepository(session, entity)) if request.param == "sql" else MemoryRepository


Make = Callable[[type[Any]], Repository[Any]]


def order(identifier: str, net: str = "1.00") -> Order:
    return Order(id=identifier, net=Decimal(net))


def get(repository: Repository[Any], identifier: Any) -> Any:
    found = repository.get(identifier)
    assert found is not None
    return found


class TestEveryRepository:
    def test_what_is_added_is_found(self, make: Make) -> None:
        orders = make(Order)
        assert orders.get("a") is None
        orders.add(order("a", "0.10"))
        assert get(orders, "a").net == Decimal("0.10")
        assert orders.get("b") is None

    def test_save_inserts_and_updates(self, make: Make) -> None:
        orders = make(Order)
        orders.save(order("a", "1.00"))
        orders.save(order("a", "2.00"))
        assert [(o.id, o.net) for o in orders.list()] == [("a", Decimal("2.00"))]

    def test_a_change_of_what_was_found_is_saved(self, make: Make) -> None:
        orders = make(Order)
        orders.add(order("a"))
        found = get(orders, "a")
        found.net = Decimal("7.00")
        orders.save(found)
        assert get(orders, "a").net == Decimal("7.00")

    def test_the_list_is_in_the_order_of_identities_and_limited(self, make: Make) -> None:
        orders = make(Order)
        for identifier in ("c", "a", "b"):
            orders.add(order(identifier))
        assert [o.id for o in orders.list()] == ["a", "b", "c"]
        assert [o.id for o in orders.list(limit=2)] == ["a", "b"]
        assert orders.list(limit=0) == []
        with pytest.raises(ValueError, match="negative"):
            orders.list(limit=-1)

    def test_the_list_stops_at_a_hundred_unless_told(self, make: Make) -> None:
        orders = make(Order)
        for number in range(101):
            orders.add(order(f"{number:03d}"))
        assert len(orders.list()) == 100
        assert len(orders.list(limit=1000)) == 101

    def test_adding_what_is_there_is_an_error_when_it_is_added_and_all_goes_on(self, make: Make) -> None:
        orders = make(Order)
        orders.add(order("a", "1.00"))
        with pytest.raises(DuplicateError) as raised:
            orders.add(order("a", "2.00"))
        assert (raised.value.resource, raised.value.identifier) == ("Order", "a")
        orders.add(order("b"))
        assert [(o.id, o.net) for o in orders.list()] == [("a", Decimal("1.00")), ("b", Decimal("1.00"))]

    def test_deleting_what_is_not_there_is_an_error(self, make: Make) -> None:
        orders = make(Order)
        orders.add(order("a"))
        orders.delete("a")
        assert orders.get("a") is None
        with pytest.raises(NotFoundError) as raised:
            orders.delete("a")
        assert (raised.value.resource, raised.value.identifier) == ("Order", "a")
        orders.add(order("a"))
        assert len(orders.list()) == 1

    def test_an_identity_may_have_several_parts(self, make: Make) -> None:
        lines = make(Line)
        lines.add(Line(order="a", number=2, text="x"))
        lines.add(Line(order="a", number=1, text="y"))
        assert get(lines, ("a", 2)).text == "x"
        assert [line.number for line in lines.list()] == [1, 2]
        with pytest.raises(DuplicateError) as raised:
            lines.add(Line(order="a", number=1))
        assert raised.value.identifier == ("a", 1)
        lines.save(Line(order="a", number=1, text="z"))
        lines.delete(("a", 2))
        assert [line.text for line in lines.list()] == ["z"]

    def test_an_object_of_another_class_is_refused(self, make: Make) -> None:
        with pytest.raises(TypeError, match="Line in a repository of Order"):
            make(Order).add(Line(order="a", number=1))


class TestSql:
    def test_what_it_saves_is_there_for_others_when_it_is_committed(self, engine: Engine, session: Session) -> None:
        SqlRepository(session, Order).save(order("a"))
        session.commit()
        with Session(engine) as other:
            assert SqlRepository(other, Order).get("a") is not None

    def test_an_identity_that_the_database_makes_is_set(self, session: Session) -> None:
        customers = SqlRepository(session, Customer)
        assert customers.add(Customer()).id == 1
        assert customers.save(Customer()).id == 2

    def test_another_value_that_may_be_there_only_once(self, session: Session) -> None:
        customers = SqlRepository(session, Customer)
        customers.add(Customer(id=1, country="DE", number=7, mail="a@b"))
        customers.add(Customer(id=2, country="FR", number=7))
        customers.add(Customer(id=3))
        customers.add(Customer(id=4))
        for wrong, identifier in [
            (Customer(id=5, country="DE", number=7), {"country": "DE", "number": 7}),
            (Customer(id=5, mail="a@b"), {"mail": "a@b"}),
        ]:
            with pytest.raises(DuplicateError) as raised:
                customers.add(wrong)
            assert raised.value.identifier == identifier
            with pytest.raises(DuplicateError):
                customers.save(wrong)
        customers.save(Customer(id=1, country="DE", number=7, mail="c@d"))
        session.commit()
        assert [c.id for c in customers.list()] == [1, 2, 3, 4]

    def test_the_same_object_twice_is_a_duplicate(self, session: Session) -> None:
        orders = SqlRepository(session, Order)
        one = orders.add(order("a"))
        with pytest.raises(DuplicateError):
            orders.add(one)

    def test_where_another_was_quicker_the_error_is_the_same_and_nothing_can_be_committed(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        orders = SqlRepository(session, Order)
        orders.save(order("first"))
        session.commit()
        orders.save(order("lost"))

        def overtaken(*_: object, **__: object) -> None:
            session.execute(text("insert into orders (id, net) values ('a', '5.00')"))

        monkeypatch.setattr(SqlRepository, "_check_unique", overtaken)
        with pytest.raises(DuplicateError) as raised:
            orders.add(order("a"))
        assert raised.value.identifier == "a"
        with pytest.raises(PendingRollbackError):
            session.commit()
        session.rollback()
        assert [o.id for o in orders.list()] == ["first"]

    def test_what_is_no_duplicate_is_not_called_one(self, session: Session) -> None:
        orders = SqlRepository(session, Order)
        with pytest.raises(IntegrityError, match="NOT NULL"):
            orders.add(Order(id="a"))
        session.rollback()
        with pytest.raises(IntegrityError, match="FOREIGN KEY"):
            orders.add(Order(id="a", net=Decimal(1), customer_id=99))

    def test_a_class_that_is_not_mapped_is_refused(self, session: Session) -> None:
        with pytest.raises(ConfigurationError, match="Plain is no class that SQLAlchemy maps"):
            SqlRepository(session, Plain)


class TestMemory:
    def test_any_class_will_do(self) -> None:
        repository = MemoryRepository(Plain)
        repository.add(Plain("a", Decimal("0.10")))
        assert repository.get("a") == Plain("a", Decimal("0.10"))
        by_net = MemoryRepository(Plain, key=("net", "id"))
        by_net.add(Plain("a", Decimal("0.10")))
        assert by_net.get((Decimal("0.1"), "a")) is not None

    def test_what_is_kept_changes_only_when_it_is_saved(self) -> None:
        repository = MemoryRepository(Plain)
        mine = Plain("a", Decimal(1))
        repository.add(mine)
        mine.net = Decimal(2)
        found = repository.get("a")
        assert found == Plain("a", Decimal(1))
        found.net = Decimal(3)
        repository.list()[0].net = Decimal(4)
        assert repository.get("a") == Plain("a", Decimal(1))

    def test_it_makes_no_identities(self) -> None:
        with pytest.raises(ConfigurationError, match="memory does not make identities"):
            MemoryRepository(Customer).add(Customer())
