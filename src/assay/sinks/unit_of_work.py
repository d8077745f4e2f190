"""A unit of work: repositories whose changes are committed together or not at all."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.orm import Session

from assay.errors import AssayError, ConfigurationError, unknown_name
from assay.sinks.repository import SqlRepository


class UnitOfWorkError(AssayError):
    """A unit of work was used where it cannot be: before `with`, after it, twice, or after it has failed."""


class UnitOfWork:
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
        reserved = sorted(name for name in repositories if hasattr(type(self), name) or name.startswith("_"))
        if reserved:
            raise ConfigurationError(f'a repository of a unit of work cannot be called "{reserved[0]}"')
        self._factory = session_factory
        self._session: Session | None = None
        self._entered = False
        self._repositories = {name: SqlRepository(self._open, entity) for name, entity in repositories.items()}

    def __getattr__(self, name: str) -> SqlRepository[Any]:
        # Python asks here while the instance is being made, too.
        repositories: dict[str, SqlRepository[Any]] = self.__dict__.get("_repositories", {})
        if name not in repositories:
            raise AttributeError(unknown_name("repository", name, repositories))
        self._open()
        return repositories[name]

    def __enter__(self) -> Self:
        if self._entered:
            state = "is in use" if self._session is not None else "has ended"
            raise UnitOfWorkError(f"this unit of work {state}: make another one")
        self._entered = True
        self._session = self._factory()
        # What was read or saved stays readable when the unit has ended.
        self._session.expire_on_commit = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._open()
        try:
            if error is None:
                self.commit()
            else:
                _undo(session, error)
        finally:
            self._session = None
            session.close()

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
            _undo(session, error)
            raise

    def rollback(self) -> None:
        """Undo what was changed since the beginning or the last commit; the unit goes on.

        Raises:
            UnitOfWorkError: the unit is not open.
        """
        self._open().rollback()

    def _open(self) -> Session:
        if self._session is None:
            state = "has ended" if self._entered else "has not begun"
            raise UnitOfWorkError(f"this unit of work {state}: use it inside of its own with block")
        return self._session


def _undo(session: Session, error: BaseException) -> None:
    """Roll back; where that fails too, the database undoes what it was not told to commit, and the error says so."""
    try:
        session.rollback()
    except Exception as failure:  # noqa: BLE001 - the first error is the one to be seen
        error.add_note(f"the rollback failed too: {failure}")
