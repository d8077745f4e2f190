"""The shipped battery, on our own units of work, and on units with one seeded mistake each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from assay import AnyUnitOfWork, MemoryStore, MemoryUnitOfWork, Repository, UnitOfWork
from assay.errors import DuplicateError
from assay.testing import UNITS_METADATA, UnitOfWorkConformance


class TestSql(UnitOfWorkConformance):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Iterator[Callable[..., AnyUnitOfWork]]:
        engine = create_engine(f"sqlite:///{tmp_path}/units.db")
        UNITS_METADATA.create_all(engine)
        yield partial(UnitOfWork, sessionmaker(engine))
        engine.dispose()


class TestMemory(UnitOfWorkConformance):
    @pytest.fixture
    def make(self) -> Callable[..., AnyUnitOfWork]:
        return partial(MemoryUnitOfWork, MemoryStore())


class _Leaky(MemoryUnitOfWork):
    """Commits whatever happens."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.commit()
        super().__exit__(kind, error, trace)


class _Open(MemoryUnitOfWork):
    """Shows its changes at once."""

    def __getattr__(self, name: str) -> Any:
        repository = super().__getattr__(name)
        self.commit()
        return repository


class _Careless(MemoryStore):
    """Says nothing of duplicates."""

    def commit(self, changes: Any) -> None:
        with contextlib.suppress(DuplicateError):
            super().commit(changes)


@pytest.mark.parametrize(
    ("make", "test", "arguments"),
    [
        (partial(_Leaky, MemoryStore()), "test_any_error_undoes_everything", (ValueError("no"),)),
        (partial(_Open, MemoryStore()), "test_others_see_nothing_before_it_is_committed", ()),
        (
            partial(MemoryUnitOfWork, _Careless()),
            "test_what_another_unit_has_added_in_between_is_a_duplicate_and_undoes_the_rest",
            (),
        ),
    ],
)
def test_a_broken_unit_does_not_pass(make: Any, test: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(UnitOfWorkConformance(), test)(make, *arguments)


@dataclass
class Plain:
    id: str
    net: int


def book(unit: AnyUnitOfWork) -> None:
    plains: Repository[Plain] = unit.plains
    plains.save(Plain("a", 1))


def test_any_class_with_an_id_will_do_in_memory() -> None:
    store = MemoryStore()
    with MemoryUnitOfWork(store, plains=Plain) as unit:
        book(unit)
    with MemoryUnitOfWork(store, plains=Plain) as unit:
        found = unit.plains.get("a")
        assert found == Plain("a", 1)
        # A change counts when it is saved.
        found.net = 2
    with MemoryUnitOfWork(store, plains=Plain) as unit:
        assert unit.plains.get("a") == Plain("a", 1)


def test_units_see_what_was_committed_when_they_began() -> None:
    store = MemoryStore()
    with MemoryUnitOfWork(store, plains=Plain) as unit:
        with MemoryUnitOfWork(store, plains=Plain) as other:
            book(other)
        assert unit.plains.list() == []
        unit.commit()
        assert unit.plains.list() == [Plain("a", 1)]
