"""A unit of work: repositories whose changes are committed together or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from sqlalchemy.exc import PendingRollbackError

from assay.errors import AssayError, ConfigurationError, unknown_name
from assay.sinks.repository import Repository, SqlRepository

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

S = TypeVar("S")


class UnitOfWorkError(AssayError):
    """A unit of work was used where it cannot be: before `with`, after it, twice, or after it has failed."""


class AnyUnitOfWork(Protocol):
    """A unit of work, whatever keeps its objects: what code asks for that shall run on a database and in tests."""

    def __getattr__(self, name: str, /) -> Repository[Any]:
        """The repository of this name."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def commit(self) -> None:
        """Commit what was changed so far; the unit goes on."""
        ...

    def rollback(self) -> None:
        """Undo what was changed since the beginning or the last commit; the unit goes on."""
        ...


class Block(ABC, Generic[S]):
    """A block in which repositories can be used, once; `S` is what is open while it lasts."""

    def __init__(self, repositories: Mapping[str, Repository[Any]]) -> None:
        reserved = sorted(name for name in repositories if hasattr(type(self), name) or name.startswith("_"))
        if reserved:
            raise ConfigurationError(f'a repository of a unit of work cannot be called "{reserved[0]}"')
        self._state: S | None = None
        self._entered = False
        self._repositories = dict(repositories)

    def __enter__(self) -> Self:
        if self._entered:
            state = "is in use" if self._state is not None else "has ended"
            raise UnitOfWorkError(f"this unit of work {state}: make another one")
        self._entered = True
        self._state = self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state = self._open()
        try:
            if error is None:
                self.commit()
            else:
                self._undo(error)
        finally:
            self._state = None
            self._end(state)

    @abstractmethod
    def commit(self) -> None:
        """Commit what was changed so far; the unit goes on.

        Raises:
            UnitOfWorkError: the unit is not open, or it has failed and nothing of it can be committed.
        """

    @abstractmethod
    def rollback(self) -> None:
        """Undo what was changed since the beginning or the last commit; the unit goes on.

        Raises:
            UnitOfWorkError: the unit is not open.
        """

    @abstractmethod
    def _begin(self) -> S:
        """Open what is needed."""

    @abstractmethod
    def _end(self, state: S) -> None:
        """Close it."""

    def _undo(self, error: BaseException) -> None:
        """Undo everything, for this error."""
        self.rollback()

    def _open(self) -> S:
        if self._state is None:
            state = "has ended" if self._entered else "has not begun"
            raise UnitOfWorkError(f"this unit of work {state}: use it inside of its own with block")
        return self._state

    def _repository(self, name: str) -> Any:
        # Python asks here while the instance is being made, too.
        repositories = self.__dict__.get("_repositories", {})
        if name not in repositories:
            raise AttributeError(unknown_name("repository", name, repositories))
        self._open()
        return repositories[name]


class UnitOfWork(Block["Session"]):
    """Repositories in one transaction.

        with UnitOfWork(session_factory, orders=Order, customers=Customer) as uow:
            uow.orders.save(order)

    Leaving the block commits; leaving it by any error, also by Ctrl-C, undoes everything. The session is closed in
    either case, and neither the unit nor its repositories can be used afterwards; the objects can. Another unit is
    another instance.

    Args:
        session_factory: Makes a session; a `sessionmaker`.
        repositories: Name of the attribute = class that SQLAlchemy maps.

    Raises:
        ConfigurationError: a name that the unit needs itself, or a class that is not mapped.
    """

    def __init__(self, session_factory: Callable[[], Session], **repositories: type[Any]) -> None:
        self._factory = session_factory
        super().__init__({name: SqlRepository(self._open, entity) for name, entity in repositories.items()})

    def __getattr__(self, name: str) -> SqlRepository[Any]:
        repository: SqlRepository[Any] = self._repository(name)
        return repository

    def commit(self) -> None:
        """Commit what was changed so far; the unit goes on.

        Raises:
            UnitOfWorkError: the unit is not open, or it has failed and nothing of it can be committed.
        """
        session = self._open()
        try:
            session.commit()
        except PendingRollbackError as error:
            session.rollback()
            raise UnitOfWorkError(
                "an earlier error in this unit of work has undone all of its changes; nothing was committed"
            ) from error
        except BaseException as error:
            self._undo(error)
            raise

    def rollback(self) -> None:
        """Undo what was changed since the beginning or the last commit; the unit goes on.

        Raises:
            UnitOfWorkError: the unit is not open.
        """
        self._open().rollback()

    def _begin(self) -> Session:
        session = self._factory()
        # What was read or saved stays readable when the unit has ended.
        session.expire_on_commit = False
        return session

    def _end(self, state: Session) -> None:
        state.close()

    def _undo(self, error: BaseException) -> None:
        """Roll back; where that fails too, the database undoes what it was not told to commit; the error says so."""
        try:
            self._open().rollback()
        except Exception as failure:  # noqa: BLE001 - the first error is the one to be seen
            error.add_note(f"the rollback failed too: {failure}")
