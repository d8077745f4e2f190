"""What every unit of work must do.

Subclass in a test module, say how units are made, and pytest runs the whole battery:

    class TestMyUnits(UnitOfWorkConformance):
        @pytest.fixture
        def make(self, tmp_path):
            engine = create_engine(f"sqlite:///{tmp_path}/units.db")
            UNITS_METADATA.create_all(engine)
            yield lambda **repositories: MyUnitOfWork(engine, **repositories)
            engine.dispose()
"""
# ruff: noqa: D102, S101 - these are tests: their names say what they are about, and they assert

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from assay.errors import ConfigurationError, DuplicateError, NotFoundError
from assay.sinks import AnyUnitOfWork, SqlDecimal, UnitOfWorkError

MakeUnit = Callable[..., AnyUnitOfWork]


class _Base(DeclarativeBase):
    pass


class Booking(_Base):
    """An object with money, for the battery."""

    __tablename__ = "assay_bookings"
    id: Mapped[int] = mapped_column(primary_key=True)
    net: Mapped[Decimal] = mapped_column(SqlDecimal(38, 10))


class Note(_Base):
    """Another object, for the battery, whose identity has two parts."""

    __tablename__ = "assay_notes"
    booking: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


UNITS_METADATA: MetaData = _Base.metadata
"""The tables of the battery's classes."""


def _booking(identifier: int, net: str = "0.10") -> Booking:
    return Booking(id=identifier, net=Decimal(net))


class UnitOfWorkConformance:
    """What every unit of work must do: subclass, and give the fixture `make`."""

    @pytest.fixture
    def make(self) -> MakeUnit:
        """A function that makes units of the given repositories, all on the same objects, of which there are none."""
        raise NotImplementedError

    def stored(self, make: MakeUnit) -> list[tuple[int, Decimal]]:
        """What is committed."""
        with make(bookings=Booking) as unit:
            return [(one.id, one.net) for one in unit.bookings.list()]

    def test_all_repositories_commit_together(self, make: MakeUnit) -> None:
        with make(bookings=Booking, notes=Note) as unit:
            unit.bookings.save(_booking(1))
            unit.notes.add(Note(booking=1, number=1, text="saved"))
        with make(bookings=Booking, notes=Note) as unit:
            assert [one.net for one in unit.bookings.list()] == [Decimal("0.1")]
            found = unit.notes.get((1, 1))
            assert found is not None
            assert found.text == "saved"

    def test_others_see_nothing_before_it_is_committed(self, make: MakeUnit) -> None:
        with make(bookings=Booking) as unit:
            unit.bookings.add(_booking(1))
            assert [one.id for one in unit.bookings.list()] == [1]
            assert self.stored(make) == []
        assert self.stored(make) == [(1, Decimal("0.1"))]

    @pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
    def test_any_error_undoes_everything(self, make: MakeUnit, error: BaseException) -> None:
        with make(bookings=Booking) as unit:
            unit.bookings.add(_booking(7))

        def work() -> None:
            with make(bookings=Booking, notes=Note) as unit:
                unit.bookings.save(_booking(1))
                unit.bookings.save(_booking(7, "9"))
                unit.notes.add(Note(booking=1, number=1, text="saved"))
                raise error

        with pytest.raises(type(error)) as raised:
            work()
        assert raised.value is error
        assert self.stored(make) == [(7, Decimal("0.1"))]
        with make(notes=Note) as unit:
            assert unit.notes.list() == []

    def test_saving_inserts_and_updates_and_deleting_removes(self, make: MakeUnit) -> None:
        with make(bookings=Booking) as unit:
            for number in (3, 1, 2):
                unit.bookings.save(_booking(number))
            unit.bookings.save(_booking(2, "5"))
            assert unit.bookings.get(4) is None
        with make(bookings=Booking) as unit:
            found = unit.bookings.get(3)
            assert found is not None
            found.net = Decimal("7.5")
            unit.bookings.save(found)
            unit.bookings.delete(1)
            with pytest.raises(NotFoundError):
                unit.bookings.delete(1)
        assert self.stored(make) == [(2, Decimal(5)), (3, Decimal("7.5"))]

    def test_what_was_saved_and_found_can_be_read_afterwards(self, make: MakeUnit) -> None:
        with make(bookings=Booking) as unit:
            saved = unit.bookings.add(_booking(1, "1.50"))
        assert (saved.id, saved.net) == (1, Decimal("1.5"))
        with make(bookings=Booking) as unit:
            found = unit.bookings.get(1)
        assert found is not None
        assert found.net == Decimal("1.5")

    def test_it_cannot_be_used_before_or_after_its_block(self, make: MakeUnit) -> None:
        unit = make(bookings=Booking)
        with pytest.raises(UnitOfWorkError, match="has not begun"):
            _ = unit.bookings
        with unit:
            kept = unit.bookings
        for use in (
            lambda: unit.bookings,
            lambda: kept.get(1),
            kept.list,
            lambda: kept.save(_booking(1)),
            lambda: kept.add(_booking(1)),
            lambda: kept.delete(1),
            unit.commit,
            unit.rollback,
            unit.__enter__,
        ):
            with pytest.raises(UnitOfWorkError, match="has ended"):
                use()

    def test_it_cannot_be_nested_in_itself_and_goes_on(self, make: MakeUnit) -> None:
        unit = make(bookings=Booking)
        with unit:
            unit.bookings.add(_booking(1))
            with pytest.raises(UnitOfWorkError, match="is in use: make another one"), unit:
                pass
            unit.bookings.add(_booking(2))
        assert [identifier for identifier, _ in self.stored(make)] == [1, 2]

    def test_an_unknown_repository_is_an_error_that_lists_the_known_ones(self, make: MakeUnit) -> None:
        with (
            make(bookings=Booking) as unit,
            pytest.raises(AttributeError, match=r'no repository "booking"\. Did you mean "bookings"'),
        ):
            _ = unit.booking

    @pytest.mark.parametrize("name", ["commit", "rollback", "_begin", "__init__"])
    def test_a_repository_cannot_take_the_name_of_what_a_unit_needs(self, make: MakeUnit, name: str) -> None:
        with pytest.raises(ConfigurationError, match=f'cannot be called "{name}"'):
            make(**{name: Booking})

    def test_a_duplicate_that_is_caught_leaves_the_unit_usable(self, make: MakeUnit) -> None:
        with make(bookings=Booking) as unit:
            unit.bookings.add(_booking(1))
            with pytest.raises(DuplicateError) as raised:
                unit.bookings.add(_booking(1, "9"))
            assert (raised.value.resource, raised.value.identifier) == ("Booking", 1)
            unit.bookings.add(_booking(2))
        assert self.stored(make) == [(1, Decimal("0.1")), (2, Decimal("0.1"))]

    def test_what_another_unit_has_added_in_between_is_a_duplicate_and_undoes_the_rest(self, make: MakeUnit) -> None:
        def work() -> None:
            with make(bookings=Booking, notes=Note) as unit:
                assert unit.bookings.list() == []
                with make(bookings=Booking) as other:
                    other.bookings.add(_booking(1, "5"))
                unit.notes.add(Note(booking=1, number=1, text="mine"))
                unit.bookings.add(_booking(1, "6"))

        with pytest.raises(DuplicateError):
            work()
        assert self.stored(make) == [(1, Decimal(5))]
        with make(notes=Note) as unit:
            assert unit.notes.list() == []

    def test_parts_of_a_unit_can_be_committed_and_undone(self, make: MakeUnit) -> None:
        def work() -> None:
            with make(bookings=Booking) as unit:
                unit.bookings.add(_booking(1))
                unit.commit()
                unit.bookings.add(_booking(2))
                unit.rollback()
                assert [one.id for one in unit.bookings.list()] == [1]
                unit.bookings.add(_booking(3))
                raise ValueError("later")

        with pytest.raises(ValueError, match="later"):
            work()
        assert self.stored(make) == [(1, Decimal("0.1"))]

    def test_a_unit_that_was_left_early_does_not_disturb_the_next(self, make: MakeUnit) -> None:
        def work(number: int) -> None:
            with make(bookings=Booking) as unit:
                unit.bookings.add(_booking(number))
                raise ValueError("early")

        for number in range(20):
            with pytest.raises(ValueError, match="early"):
                work(number)
        assert self.stored(make) == []
