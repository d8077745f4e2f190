"""The database of the run store: SQLite or PostgreSQL, durable, with errors that say what is the matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from assay.errors import ConfigurationError, RunStoreError

_CONNECT_SECONDS: Final = 10
_TURN: Final = 0x61737361790A

# A decision is durable when it is committed, and nobody waits for a lock for ever.
_SESSION: Final = """
SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false),
    set_config('lock_timeout', CASE current_setting('lock_timeout')
        WHEN '0' THEN '60s' ELSE current_setting('lock_timeout') END, false)
"""


def open_engine(url: str) -> sa.Engine:
    """The engine of a run store; a missing SQLite file and its folder are made.

    Its statements raise RunStoreError where the database is away, full, locked, or none.

    Raises:
        ConfigurationError: the URL is none, or what it needs is not installed.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigurationError("run_store is not an SQLAlchemy URL such as sqlite:///runs.db") from None
    shown = parsed.render_as_string(hide_password=True)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = {}
    if parsed.get_backend_name() == "postgresql" and "connect_timeout" not in parsed.query:
        arguments["connect_timeout"] = _CONNECT_SECONDS
    try:
        if is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        # A connection that was lost while a long run had no use for it is made anew.
        engine = sa.create_engine(parsed, connect_args=arguments, pool_pre_ping=not is_sqlite)
    except ModuleNotFoundError as error:
        extra = ": pip install 'assay[postgres]'" if error.name == "psycopg" else ""
        raise ConfigurationError(f"the run store {shown} cannot be used: {error}{extra}") from None
    except (OSError, ImportError, sa.exc.SQLAlchemyError) as error:
        raise ConfigurationError(f"the run store {shown} cannot be used: {error}") from None
    sa.event.listen(engine, "connect", _durable if is_sqlite else _settled)

    @sa.event.listens_for(engine, "handle_error")
    def tell(context: sa.ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if (
            not context.is_pre_ping
            and isinstance(error, sa.exc.DBAPIError)
            and not isinstance(error, sa.exc.IntegrityError)
        ):
            raise RunStoreError(f"{shown}: {_cause(error)}") from error

    return engine


def take_turns(connection: sa.Connection) -> None:
    """Wait until nobody else is here, and keep others out until this transaction ends; first in it."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))


def file_of(engine: sa.Engine) -> tuple[int, int] | None:
    """Which file an SQLite database is at this moment; None where there is none.

    A connection goes on with a file that was deleted, and says nothing.
    """
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    try:
        found = Path(engine.url.database).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _cause(error: sa.exc.SQLAlchemyError) -> str:
    """What the database itself says, in a line."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0]


def _durable(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def _settled(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SESSION)
    connection.commit()
