"""One table of an SQLite or PostgreSQL database: transactions on it, what it looks like, and who may write to it.

Of both: rows and token are committed together, one writer at a time changes a table, and a reader sees one moment and
waits for nobody.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from assay.errors import ConfigurationError, SinkError
from assay.sinks.durable import make_folder, sync_folder
from assay.sinks.protocol import Mode, OnSchemaChange
from assay.sinks.sql_values import SqlDecimal, sql_type

STAGED_ROWS: Final = "assay_staged_rows"
"""Name of the temporary table that rows are put into before statements put them where they belong."""

_BUSY_SECONDS: Final = 60
_CONNECT_SECONDS: Final = 10
_REFERENCE: Final = re.compile(r"\$\{(\w+)\}", re.ASCII)
_NEEDED: Final = ("psycopg", "pgpq", "pyarrow")
_NAME_BYTES: Final = 63

# Values come as they are read here, nobody waits for a lock for ever, and what is committed is durable.
_SESSION: Final = f"""
SELECT set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true),
    set_config('extra_float_digits', '1', true),
    set_config('lock_timeout', CASE current_setting('lock_timeout')
        WHEN '0' THEN '{_BUSY_SECONDS}s' ELSE current_setting('lock_timeout') END, true),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)
"""
_CONFLICTS: Final = ("40001", "40P01")
_LOST: Final = ("57P01", "57P02", "57P03", "57P05", "25P03")
_HINTS: Final = {
    "55P03": "another session holds a lock on it; publish again when that is done",
    "53100": "make room, then resume the run",
}

_METADATA: Final = sa.MetaData()
PUBLICATIONS: Final = sa.Table(
    "assay_publications",
    _METADATA,
    # On PostgreSQL: whoever may insert rows may number them.
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("run", sa.String(200), nullable=False),
    sa.Column("output", sa.String(200), nullable=False),
    sa.Column("table_name", sa.String(200), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    # The columns as Polars has them: an empty Arrow file, base64. SQL types alone do not say all.
    sa.Column("columns", sa.Text, nullable=False),
    sa.UniqueConstraint("run", "output"),
)


class RetryableError(SinkError):
    """A writing transaction was ended by the database, and may go through when it is tried again.

    Attributes:
        by: `conflict`: another transaction was preferred, and this one is undone. `loss`: the connection is gone, and
            whether it was committed is not known. `absence`: there was no connection.
    """

    def __init__(self, message: str, *, sink: str, by: Literal["conflict", "loss", "absence"] = "conflict") -> None:
        super().__init__(message, sink=sink)
        self.by = by


@dataclass(frozen=True)
class Found:
    """A table that is there.

    Attributes:
        added: Columns that are to be added to it.
        same: Whether its columns have exactly the types that Assay would give them, and not only such as hold the same.
    """

    added: list[str]
    same: bool


class Database:
    """One table of one database, and the transactions on it.

    Args:
        url: As in `Sql`, with an absolute path for an SQLite file.
        table: Name of the table.
        output: Name of the output, which errors give.

    Raises:
        SinkError: neither SQLite nor PostgreSQL, or what PostgreSQL needs is not installed.
    """

    def __init__(self, url: str, table: str, output: str) -> None:
        self.url, self.table, self.output = url, table, output
        self._resolved = resolved(url, output)
        self.kind = self._resolved.get_backend_name()
        self._file = Path(self._resolved.database or "") if is_file(self._resolved) else None
        self.location = f"{self._file or self._resolved.render_as_string(hide_password=True)}#{table}"
        if self.kind == "postgresql":
            self._see_postgresql()
        elif self.kind != "sqlite":
            raise SinkError(f"{self.kind} is no database that rows are published to: sqlite or postgresql", sink=output)

    def exists(self) -> bool:
        """Whether there is anything to look into: an SQLite file is made by the first who connects."""
        return self._file is None or self._file.exists()

    def sync(self) -> None:
        """Make the entry of an SQLite file in its folder durable (the rest the database does)."""
        if self._file is not None:
            sync_folder(self._file.parent)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection in whose transaction everything is of one moment.

        Raises:
            SinkError: the database cannot be read.
        """
        try:
            with self._transaction(self._reader) as connection:
                yield connection
        except RetryableError as error:
            # Nothing was written that could be doubled or lost: the reader decides what to do.
            raise SinkError(error.message, sink=error.sink) from error

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection whose transaction is committed at the end, and undone by any error; one at a time on a table.

        Raises:
            RetryableError: it may go through when tried again.
            SinkError: the database cannot be written to.
        """
        if self._file is not None:
            make_folder(self._file.parent)
        with self._transaction(self._writer) as connection:
            if self._file is None:
                _lock(connection, self.table)
                if not sa.inspect(connection).has_table(PUBLICATIONS.name):
                    _lock(connection, PUBLICATIONS.name)
            PUBLICATIONS.create(connection, checkfirst=True)
            yield connection

    def table_of(self, schema: pl.Schema) -> sa.Table:
        """The table that holds such rows.

        Raises:
            SinkError: a column cannot be stored, or two have one name.
        """
        seen: dict[str, str] = {}
        for name in schema:
            self._see_name(name, "column")
            other = seen.setdefault(name.lower(), name)
            if other != name:
                raise SinkError(f'columns "{other}" and "{name}" have one name in SQL: rename one', sink=self.output)
        # SQLAlchemy knows most reserved words, not all of them: every name is quoted.
        columns = [
            sa.Column(sa.quoted_name(name, quote=True), sql_type(name, dtype, self.output))
            for name, dtype in schema.items()
        ]
        return sa.Table(sa.quoted_name(self.table, quote=True), sa.MetaData(), *columns)

    def latest(self, connection: sa.Connection) -> tuple[int | None, pl.Schema | None]:
        """Number and schema of the last publication to this table, None where there is none."""
        if not sa.inspect(connection).has_table(PUBLICATIONS.name):
            return None, None
        query = (
            sa.select(PUBLICATIONS.c.id, PUBLICATIONS.c.columns)
            .where(PUBLICATIONS.c.table_name == self.table)
            .order_by(PUBLICATIONS.c.id.desc())
            .limit(1)
        )
        found = connection.execute(query).first()
        return (found[0], _schema(found[1])) if found else (None, None)

    def check_columns(
        self, connection: sa.Connection, table: sa.Table, on_schema_change: OnSchemaChange
    ) -> Found | None:
        """Check that the table, if it is there, has these columns.

        Returns:
            None if it is not there.

        Raises:
            SinkError: names the first column that differs, and how.
        """
        inspector = sa.inspect(connection)
        if not inspector.has_table(self.table):
            return None
        there = {column["name"]: column["type"] for column in inspector.get_columns(self.table)}
        added, same = [], True
        for column in table.columns:
            if column.name not in there:
                if on_schema_change == "add":
                    added.append(column.name)
                    continue
                raise SinkError(
                    f'table "{self.table}" has no column "{column.name}"; on_schema_change="add" adds it',
                    sink=self.output,
                )
            kind = there[column.name]
            wanted: Any = column.type.dialect_impl(connection.dialect)
            if isinstance(column.type, SqlDecimal):
                wanted = column.type.load_dialect_impl(connection.dialect)
            if _family(kind) != _family(wanted) or (self.kind == "postgresql" and not _holds(kind, wanted)):
                raise SinkError(
                    f'column "{column.name}" of table "{self.table}" is {kind}, and {wanted} is needed',
                    sink=self.output,
                )
            same = same and kind.compile(connection.dialect) == column.type.compile(connection.dialect)
        for name in there:
            if name not in table.columns:
                raise SinkError(f'table "{self.table}" has another column, "{name}"', sink=self.output)
        return Found(added, same)

    def check_allowed(self, connection: sa.Connection, mode: Mode) -> None:
        """Check that this user may publish: it is better known before an hour's work than after it.

        Raises:
            SinkError: names what is not allowed, and on what.
        """
        if self.kind != "postgresql":
            return
        inspector = sa.inspect(connection)
        for name, needed in (
            (self.table, ("INSERT",) if mode == "append" else ("INSERT", "SELECT", "DELETE")),
            (PUBLICATIONS.name, ("INSERT", "SELECT")),
        ):
            if inspector.has_table(name):
                on = connection.dialect.identifier_preparer.quote_identifier(name).replace("%%", "%")
                query = sa.text("SELECT p FROM unnest(CAST(:needed AS text[])) p WHERE NOT has_table_privilege(:on, p)")
                missing = connection.execute(query, {"needed": list(needed), "on": on}).scalars().all()
                if missing:
                    raise SinkError(
                        f'{self.location}: no permission to {" and ".join(missing)} in table "{name}"', sink=self.output
                    )
            elif not connection.scalar(sa.text("SELECT has_schema_privilege(current_schema(), 'CREATE')")):
                raise SinkError(
                    f'{self.location}: table "{name}" is not there, and there is no permission to create it',
                    sink=self.output,
                )

    @cached_property
    def _reader(self) -> sa.Engine:
        if self._file is not None:
            return self._sqlite("BEGIN")
        return self._postgresql(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @cached_property
    def _writer(self) -> sa.Engine:
        if self._file is not None:
            return self._sqlite("BEGIN IMMEDIATE")
        # Each statement sees what was committed before it: also the token of whom the lock was waited for.
        return self._postgresql(isolation_level="READ COMMITTED")

    @contextmanager
    def _transaction(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        connected, driver = False, engine.dialect.loaded_dbapi
        try:
            with engine.begin() as connection:
                connected = True
                yield connection
        except (SQLAlchemyError, driver.Error) as error:
            raise self._error(error, driver, connected=connected) from error
        except OSError as error:
            raise SinkError(f"cannot write to {self.location}: {error.strerror or error}", sink=self.output) from error

    def _error(self, error: Exception, driver: Any, *, connected: bool) -> SinkError:
        cause: Any = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if self.kind != "postgresql":
            return SinkError(f"{self.location}: {cause}", sink=self.output)
        # Not its details: they may hold values.
        state = getattr(cause, "sqlstate", None)
        words = getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause).partition("\n")[0]
        message = f"{self.location}: {words}" + (f": {_HINTS[state]}" if state in _HINTS else "")
        if state in _CONFLICTS:
            return RetryableError(message, sink=self.output, by="conflict")
        if (
            state in _LOST
            or str(state).startswith("08")
            or (state is None and isinstance(cause, driver.OperationalError))
        ):
            return RetryableError(message, sink=self.output, by="loss" if connected else "absence")
        return SinkError(message, sink=self.output)

    def _sqlite(self, begin: str) -> sa.Engine:
        engine = sa.create_engine(
            self._resolved, poolclass=sa.NullPool, connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None}
        )

        @sa.event.listens_for(engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            # A reader never waits for a writer, and what is committed survives a power cut.
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                connection.execute(f"PRAGMA {pragma}").close()

        @sa.event.listens_for(engine, "begin")
        def start(connection: sa.Connection) -> None:
            # The driver's own begin comes too late: tables would be made outside of the transaction.
            connection.exec_driver_sql(begin)

        return engine

    def _postgresql(self, **options: Any) -> sa.Engine:
        asked = self._resolved.query
        default = {"connect_timeout": _CONNECT_SECONDS, "application_name": "assay", "client_encoding": "utf8"}
        arguments = {name: value for name, value in default.items() if name not in asked or name == "client_encoding"}
        # Statements are run once each, and a pool between us and the server may not know prepared ones.
        engine = sa.create_engine(
            self._resolved,
            poolclass=sa.NullPool,
            connect_args=arguments | {"prepare_threshold": None},
            execution_options=options,
        )

        @sa.event.listens_for(engine, "begin")
        def start(connection: sa.Connection) -> None:
            connection.exec_driver_sql(_SESSION)

        return engine

    def _see_postgresql(self) -> None:
        if self._resolved.get_driver_name() != "psycopg":
            raise SinkError(
                f"{self._resolved.drivername}: write postgresql:// or postgresql+psycopg://", sink=self.output
            )
        if any(importlib.util.find_spec(name) is None for name in _NEEDED):
            raise SinkError("PostgreSQL needs an extra: pip install 'assay[postgres]'", sink=self.output)
        self._see_name(self.table, "table")

    def _see_name(self, name: str, what: str) -> None:
        if not name or "\x00" in name:
            raise SinkError(f"{name!r} cannot be the name of a {what}", sink=self.output)
        if self.kind == "postgresql" and len(name.encode()) > _NAME_BYTES:
            raise SinkError(
                f'"{name}" cannot be the name of a {what}: PostgreSQL knows {_NAME_BYTES} bytes of a name',
                sink=self.output,
            )


def _lock(connection: sa.Connection, name: str) -> None:
    """Wait until no other publication to this table is under way, also one whose connection was lost."""
    digest = hashlib.sha256(f"assay {name}".encode()).digest()
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(int.from_bytes(digest[:8], signed=True))))


# A type that stores the same values: what a VARCHAR holds a TEXT holds too.
_FAMILIES: Final[tuple[tuple[type[Any], str], ...]] = (
    (sa.Boolean, "boolean"),
    (sa.Integer, "integer"),
    (sa.Float, "float"),
    (sa.Numeric, "numeric"),
    (sa.LargeBinary, "binary"),
    (sa.Enum, "enum"),
    (sa.String, "text"),
    (sa.DateTime, "timestamp"),
    (sa.Date, "date"),
    (sa.Time, "time"),
)


def _family(kind: sa.types.TypeEngine[Any]) -> str:
    return next((name for base, name in _FAMILIES if isinstance(kind, base)), str(kind))


def _holds(there: Any, wanted: sa.types.TypeEngine[Any]) -> bool:
    """Whether a column of PostgreSQL changes no value silently that another of its family holds."""
    match wanted:
        case sa.Float():
            return isinstance(there, sa.Double)
        case sa.Numeric():
            if there.precision is None:
                return True
            precision, scale = wanted.precision or 0, wanted.scale or 0
            places = there.scale or 0
            return bool(places >= scale and there.precision - places >= precision - scale)
        case sa.String():
            # A CHAR is filled with blanks, and of a text that is too long for a VARCHAR(n) blanks are cut.
            return there.length is None and not isinstance(there, sa.CHAR)
        case sa.DateTime() | sa.Time():
            return bool(there.timezone == wanted.timezone and getattr(there, "precision", None) in (None, 6))
    return True


def is_file(url: sa.URL) -> bool:
    """Whether a URL is of SQLite."""
    return url.get_backend_name() == "sqlite"


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    # Not resolved: the path may go through a link on purpose.
    absolute = os.path.abspath(path)  # noqa: PTH100
    return sa.URL.create("sqlite", database=absolute).render_as_string(hide_password=False)


def parsed(url: str) -> sa.URL:
    """A URL in its parts.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigurationError(
            "the URL is not one that SQLAlchemy understands; write for example sqlite:///out/orders.db", where="Sql"
        ) from None


def is_named(text: str) -> bool:
    """Whether a text is the name of an environment variable, `${NAME}`, and nothing else."""
    return _REFERENCE.fullmatch(text) is not None


def resolved(url: str, output: str) -> sa.URL:
    """The URL with the values of the variables that it names.

    Raises:
        SinkError: one is not set.
    """
    whole = _REFERENCE.fullmatch(url)
    if whole:
        return parsed(_variable(whole[1], output))
    made = parsed(url)
    password = _REFERENCE.fullmatch(str(made.password)) if made.password is not None else None
    return made.set(password=_variable(password[1], output)) if password else made


def _variable(name: str, output: str) -> str:
    if name not in os.environ:
        raise SinkError(f"the environment variable {name}, which the URL names, is not set", sink=output)
    return os.environ[name]


def schema_text(schema: pl.Schema) -> str:
    """A schema as it stands in the table of publications."""
    stream = io.BytesIO()
    pl.DataFrame(schema=schema).write_ipc(stream)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _schema(text: str) -> pl.Schema:
    return pl.read_ipc(base64.b64decode(text)).schema
