"""Repositories: single objects by their identity, whatever keeps them."""

from __future__ import annotations

import builtins
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from assay.errors import ConfigurationError, DuplicateError, NotFoundError

if TYPE_CHECKING:
    from sqlalchemy.orm import Mapper, Session

T = TypeVar("T")


class Repository(Protocol[T]):
    """Objects of one class, by identity.

    An identity is the value of the primary key, or a tuple where that has several columns.
    """

    def get(self, identifier: Any) -> T | None:
        """The object, or None."""
        ...

    def list(self, limit: int = 100) -> builtins.list[T]:
        """The first `limit` objects, in the order of their identities.

        Raises:
            ValueError: the limit is negative.
        """
        ...

    def save(self, entity: T) -> T:
        """Insert or update; returns the object that is kept from now on, which may be another one.

        Raises:
            DuplicateError: another object has a value that may be there only once.
        """
        ...

    def add(self, entity: T) -> T:
        """Insert.

        Raises:
            DuplicateError: there is one already; the repository can still be used.
        """
        ...

    def delete(self, identifier: Any) -> None:
        """Remove.

        Raises:
            NotFoundError: there is none.
        """
        ...


class SqlRepository(Generic[T]):
    """Objects of a class that SQLAlchemy maps.

    Every change is sent to the database at once (but not committed), so an error comes where it was made. What can
    be known beforehand, that an identity or another unique value is there already, is found by asking, so the
    transaction goes on. Where another transaction is quicker than the answer, the error is the same, and the
    transaction has failed: nothing of it can be committed.

    Args:
        session: An open session, or a function that gives it.
        entity: The mapped class.

    Raises:
        ConfigurationError: the class is not mapped.
    """

    def __init__(self, session: Session | Callable[[], Session], entity: type[T]) -> None:
        self._session = session
        self._entity = entity
        try:
            self._mapper: Mapper[T] = sa.inspect(entity)
        except sa.exc.NoInspectionAvailable:
            raise ConfigurationError(f"{entity.__name__} is no class that SQLAlchemy maps") from None

    def get(self, identifier: Any) -> T | None:
        """The object, or None."""
        return self._open().get(self._entity, identifier)

    def list(self, limit: int = 100) -> builtins.list[T]:
        """The first `limit` objects, in the order of their primary keys."""
        _check_limit(limit)
        return builtins.list(
            self._open().scalars(sa.select(self._entity).order_by(*self._mapper.primary_key).limit(limit))
        )

    def save(self, entity: T) -> T:
        """Insert or update; returns the object of the session."""
        session, identity = self._open(), self._identity(entity)
        if identity is None:
            return self.add(entity)
        self._check_unique(session, entity, identity, but_for=identity)
        kept = session.merge(entity)
        self._flush(session, identity)
        return kept

    def add(self, entity: T) -> T:
        """Insert; an identity that the database makes is set afterwards."""
        session, identity = self._open(), self._identity(entity)
        if entity in session:
            raise DuplicateError(self._entity.__name__, identity)
        if identity is not None and session.get(self._entity, identity) is not None:
            raise DuplicateError(self._entity.__name__, identity)
        self._check_unique(session, entity, identity, but_for=None)
        session.add(entity)
        self._flush(session, identity)
        return entity

    def delete(self, identifier: Any) -> None:
        """Remove."""
        session = self._open()
        found = session.get(self._entity, identifier)
        if found is None:
            raise NotFoundError(self._entity.__name__, identifier)
        session.delete(found)
        session.flush()

    def _open(self) -> Session:
        from sqlalchemy.orm import Session  # noqa: PLC0415 - who maps no class need not wait for it

        return self._session if isinstance(self._session, Session) else self._session()

    def _identity(self, entity: T) -> Any:
        if not isinstance(entity, self._entity):
            raise TypeError(f"{type(entity).__name__} in a repository of {self._entity.__name__}")
        values = self._mapper.primary_key_from_instance(entity)
        if any(value is None for value in values):
            return None
        return values[0] if len(values) == 1 else tuple(values)

    def _check_unique(self, session: Session, entity: T, identity: Any, *, but_for: Any) -> None:
        """Look for another object that has a value which may be there only once."""
        for columns in self._unique():
            names = [self._mapper.get_property_by_column(column).key for column in columns]
            values = [getattr(entity, name) for name in names]
            if any(value is None for value in values):
                continue
            query = sa.select(*self._mapper.primary_key).where(
                *(column == value for column, value in zip(columns, values, strict=True))
            )
            with session.no_autoflush:
                others = [row[0] if len(row) == 1 else tuple(row) for row in session.execute(query)]
            if any(other != but_for for other in others):
                raise DuplicateError(self._entity.__name__, dict(zip(names, values, strict=True)))

    def _unique(self) -> builtins.list[builtins.list[sa.Column[Any]]]:
        table = self._mapper.local_table
        if not isinstance(table, sa.Table):
            return []
        constraints = [c for c in table.constraints if isinstance(c, sa.UniqueConstraint)]
        indexes = [i for i in table.indexes if i.unique]
        found = [[*c.columns] for c in constraints] + [[*i.columns] for i in indexes]
        mapped = set(self._mapper.columns)
        return sorted((c for c in found if set(c) <= mapped), key=lambda columns: [column.name for column in columns])

    def _flush(self, session: Session, identity: Any) -> None:
        try:
            session.flush()
        except IntegrityError as error:
            if _is_duplicate(error):
                raise DuplicateError(self._entity.__name__, identity) from error
            raise


class MemoryRepository(Generic[T]):
    """Objects in memory: for tests, and where nothing needs to last.

    What is kept are copies, so that a change counts when it is saved.

    Args:
        entity: The class.
        key: Names of the attributes that are the identity; by default the primary key of a mapped class, else "id".
        kept: Gives the dict that keeps the objects by identity; by default it is one of its own.
    """

    def __init__(
        self,
        entity: type[T],
        key: str | tuple[str, ...] | None = None,
        *,
        kept: Callable[[], dict[Any, T]] | None = None,
    ) -> None:
        self._entity = entity
        self._key = _key(entity) if key is None else (key,) if isinstance(key, str) else key
        own: dict[Any, T] = {}
        self._kept = kept or (lambda: own)

    def get(self, identifier: Any) -> T | None:
        """A copy of the object, or None."""
        found = self._kept().get(identifier)
        return None if found is None else _copy(found)

    def list(self, limit: int = 100) -> builtins.list[T]:
        """Copies of the first `limit` objects, in the order of their identities."""
        _check_limit(limit)
        kept = self._kept()
        return [_copy(kept[identifier]) for identifier in sorted(kept)[:limit]]

    def save(self, entity: T) -> T:
        """Insert or update."""
        self._kept()[self._identity(entity)] = _copy(entity)
        return entity

    def add(self, entity: T) -> T:
        """Insert."""
        identity = self._identity(entity)
        kept = self._kept()
        if identity in kept:
            raise DuplicateError(self._entity.__name__, identity)
        kept[identity] = _copy(entity)
        return entity

    def delete(self, identifier: Any) -> None:
        """Remove."""
        kept = self._kept()
        if identifier not in kept:
            raise NotFoundError(self._entity.__name__, identifier)
        del kept[identifier]

    def _identity(self, entity: T) -> Any:
        if not isinstance(entity, self._entity):
            raise TypeError(f"{type(entity).__name__} in a repository of {self._entity.__name__}")
        values = tuple(getattr(entity, name) for name in self._key)
        if any(value is None for value in values):
            raise ConfigurationError(
                f"{self._entity.__name__} has no {' and '.join(self._key)}: memory does not make identities"
            )
        return values[0] if len(values) == 1 else values


def _mapper(entity: type[Any]) -> Mapper[Any] | None:
    """How a class is mapped; None where it is not."""
    from sqlalchemy.orm import Mapper  # noqa: PLC0415 - who maps no class need not wait for it

    mapper = sa.inspect(entity, raiseerr=False)
    return mapper if isinstance(mapper, Mapper) else None


def _key(entity: type[Any]) -> tuple[str, ...]:
    mapper = _mapper(entity)
    if mapper is None:
        return ("id",)
    return tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)


def _copy(entity: T) -> T:
    mapper = _mapper(type(entity))
    if mapper is None:
        return copy.deepcopy(entity)
    # A mapped object carries its session's bookkeeping along: a copy has the columns alone.
    return type(entity)(**{prop.key: getattr(entity, prop.key) for prop in mapper.column_attrs})


def _check_limit(limit: int) -> None:
    if limit < 0:
        raise ValueError(f"limit must not be negative, and is {limit}")


def _is_duplicate(error: IntegrityError) -> bool:
    """Whether a value is there twice; as against a missing value or a missing partner."""
    original = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    name = getattr(original, "sqlite_errorname", "")
    return state == "23505" or name in {"SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"}
