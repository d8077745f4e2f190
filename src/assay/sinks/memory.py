"""Units of work in memory, for tests of code that takes a unit of work."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from assay.errors import DuplicateError
from assay.sinks.repository import MemoryRepository
from assay.sinks.unit_of_work import Block

Objects = dict[Any, Any]


class MemoryStore:
    """What units of work in memory have committed: objects by class and identity. Several units share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[type[Any], Objects] = {}

    def objects(self, entities: Iterable[type[Any]]) -> dict[type[Any], Objects]:
        """What is committed of some classes at one moment, by identity, in dicts of their own."""
        with self._lock:
            return {entity: dict(self._objects.get(entity, {})) for entity in entities}

    def commit(self, changes: Mapping[type[Any], tuple[Objects, Objects]]) -> None:
        """Take what became of objects, all or nothing.

        Args:
            changes: By class, what there was and what there is to be.

        Raises:
            DuplicateError: an object was added that another unit has added since.
        """
        with self._lock:
            for entity, (before, after) in changes.items():
                there = self._objects.get(entity, {})
                for identity in after.keys() - before.keys():
                    if identity in there:
                        raise DuplicateError(entity.__name__, identity)
            for entity, (before, after) in changes.items():
                there = self._objects.setdefault(entity, {})
                for identity in before.keys() - after.keys():
                    there.pop(identity, None)
                there.update({key: value for key, value in after.items() if before.get(key) is not value})


class MemoryUnitOfWork(Block[dict[type[Any], tuple[Objects, Objects]]]):
    """The same in memory, for tests of code that takes a unit of work.

        store = MemoryStore()
        with MemoryUnitOfWork(store, orders=Order) as uow:
            uow.orders.save(order)

    It sees what was committed when it began, and its own changes; others see these when they are committed. What is
    kept are copies: a change counts when it is saved. Identities are given, not made, and other values that a database
    would keep unique are not looked at.

    Args:
        store: Where units commit to.
        repositories: Name of the attribute = class; mapped by SQLAlchemy, or with an attribute `id`.

    Raises:
        ConfigurationError: a name that the unit needs itself.
    """

    def __init__(self, store: MemoryStore, **repositories: type[Any]) -> None:
        self._store = store
        self._entities = frozenset(repositories.values())
        made = {
            name: MemoryRepository(entity, kept=partial(self._kept, entity)) for name, entity in repositories.items()
        }
        super().__init__(made)

    def __getattr__(self, name: str) -> MemoryRepository[Any]:
        repository: MemoryRepository[Any] = self._repository(name)
        return repository

    def commit(self) -> None:
        """Commit what was changed so far; the unit goes on.

        Raises:
            UnitOfWorkError: the unit is not open.
            DuplicateError: an object was added that another unit has added since; nothing was committed.
        """
        state = self._open()
        try:
            self._store.commit(state)
        finally:
            self.rollback()

    def rollback(self) -> None:
        """Undo what was changed since the beginning or the last commit; the unit goes on.

        Raises:
            UnitOfWorkError: the unit is not open.
        """
        state = self._open()
        state.update(self._begin())

    def _kept(self, entity: type[Any]) -> Objects:
        return self._open()[entity][1]

    def _begin(self) -> dict[type[Any], tuple[Objects, Objects]]:
        found = self._store.objects(self._entities)
        return {entity: (objects, dict(objects)) for entity, objects in found.items()}

    def _end(self, state: dict[type[Any], tuple[Objects, Objects]]) -> None:
        state.clear()
