"""A table of an SQL database, changed in one transaction that also carries the run's token.

Staged rows wait in files. Publishing loads them in one transaction, and the same transaction writes the run and the
output into the table `assay_publications`: rows and token are there together or not at all.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import polars as pl
import polars.selectors as cs
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from assay.errors import ConfigurationError, SinkError
from assay.sinks.durable import make_folder, sync_folder
from assay.sinks.protocol import KEEPING, Mode, OnSchemaChange, Staged, check_key, check_same_columns, declared
from assay.sinks.registry import SinkFactory
from assay.sinks.sql_values import SqlDecimal, check_values, from_sql, sql_type, to_sql
from assay.sinks.staging import StagedFile, Staging, check_unique, scan, verified

_LOAD_ROWS: Final = 10_000
_BUSY_SECONDS: Final = 60
_REFERENCE: Final = re.compile(r"\$\{(\w+)\}", re.ASCII)

_METADATA: Final = sa.MetaData()
PUBLICATIONS: Final = sa.Table(
    "assay_publications",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String(200), nullable=False),
    sa.Column("output", sa.String(200), nullable=False),
    sa.Column("table_name", sa.String(200), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    # The columns as Polars has them: an empty Arrow file, base64. SQL types alone do not say all.
    sa.Column("columns", sa.Text, nullable=False),
    sa.UniqueConstraint("run", "output"),
)


@SinkFactory.register
@dataclass(frozen=True)
class Sql:
    """A table, loaded in one transaction.

    Attributes:
        table: Its name; made when missing. A table that is there must have the same columns.
        url: An SQLAlchemy URL; by default the SQLite file of the pipeline in the project's root. The path of an SQLite
            file is relative to that root. A password is not written here but named: `${NAME}` in its place, or for the
            whole URL, is the environment variable NAME.
        mode: append, replace, upsert, delete_missing or merge.
        key: Columns that tell rows apart; upsert and delete_missing need it. No floats, no nested columns, no nulls.
        folder: Where a default SQLite file goes; by default the root.
        on_schema_change: error, or add: the table gets new columns.
    """

    table: str
    url: str | None = None
    mode: Mode = "replace"
    key: tuple[str, ...] | None = None
    folder: Path | None = None
    on_schema_change: OnSchemaChange = "error"
    kind: ClassVar[str] = "sql"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", declared("Sql", self.mode, self.key, self.on_schema_change))
        reserved = self.table == PUBLICATIONS.name or self.table.lower().startswith("sqlite_")
        if not self.table or "\x00" in self.table or reserved:
            raise ConfigurationError(f"{self.table!r} cannot be the name of a table", where="Sql")
        if self.url is not None and not _REFERENCE.fullmatch(self.url):
            password = _parsed(self.url).password
            if password is not None and not _REFERENCE.fullmatch(str(password)):
                raise ConfigurationError(
                    "the URL has a password in it: write ${NAME} in its place, and put it into the environment "
                    "variable NAME",
                    where="Sql",
                )

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenSql:
        """Make it ready for one run.

        Raises:
            SinkError: the database is one in memory, or a variable that the URL names is not set.
        """
        if self.url is None:
            url = _sqlite(root / (self.folder or ".") / default)
        elif _is_file(_resolved(self.url, name)):
            file = _resolved(self.url, name).database
            if not file or file == ":memory:" or "mode=memory" in self.url:
                raise SinkError("a database in memory is gone when the run ends: name a file", sink=name)
            url = _sqlite(root / file)
        else:
            url = self.url
        return self._opened(Database(url, self.table, name), staging)

    def _opened(self, database: Database, staging: Path) -> OpenSql:
        return OpenSql(self, database, staging)

    def under(self, folder: Path) -> Sql:
        """The same table in an SQLite file of the same name in `folder`; another database stays."""
        if self.url is None:
            return replace(self, folder=folder)
        if _REFERENCE.fullmatch(self.url) or not _is_file(_parsed(self.url)):
            return self
        return replace(self, url=_sqlite(folder / Path(_parsed(self.url).database or "").name))

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Load what was staged in one transaction; False if this run has published it before.

        Raises:
            SinkError: a staged file is damaged, the table is not what it was, or the database refuses.
        """
        database = Database(staged["url"], staged["table"], staged["output"])
        published = cls._publish(database, staged, run_id)
        database.sync()
        return published

    @classmethod
    def has_published(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Whether the table is there, and the run's token."""
        database = Database(staged["url"], staged["table"], staged["output"])
        if not database.exists():
            return False
        with database.reading() as connection:
            inspector = sa.inspect(connection)
            if not (inspector.has_table(PUBLICATIONS.name) and inspector.has_table(staged["table"])):
                return False
            token = sa.select(PUBLICATIONS.c.id).filter_by(run=run_id, output=staged["output"])
            return connection.execute(token).first() is not None

    @classmethod
    def _publish(cls, database: Database, staged: Mapping[str, Any], run_id: str) -> bool:
        output = staged["output"]
        with database.writing() as connection:
            PUBLICATIONS.create(connection, checkfirst=True)
            token = sa.select(PUBLICATIONS.c.id).filter_by(run=run_id, output=output)
            if connection.execute(token).first() is not None:
                return False
            if staged["read"] and database.latest(connection)[0] != staged["base"]:
                raise SinkError("another run has published since this one read what was there: run again", sink=output)
            files = verified(staged)
            cls._load(connection, database, staged, files)
            schema = scan(files, "arrow").collect_schema()
            publication = {
                "run": run_id,
                "output": output,
                "table_name": staged["table"],
                "rows": staged["rows"],
                "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "columns": _schema_text(schema),
            }
            connection.execute(PUBLICATIONS.insert(), publication)
        return True

    @staticmethod
    def _load(
        connection: sa.Connection, database: Database, staged: Mapping[str, Any], files: Sequence[StagedFile]
    ) -> None:
        _load(connection, database, staged, files)


class OpenSql:
    """A table in a run."""

    def __init__(self, sink: Sql, database: Database, staging: Path) -> None:
        self._sink, self._database, self._output = sink, database, database.output
        self._staging = Staging(staging, database.output, "arrow")
        self._schema: pl.Schema | None = None
        self._read = False
        self._base: int | None = None

    @property
    def mode(self) -> Mode:
        """As declared."""
        return self._sink.mode

    @property
    def location(self) -> str:
        """The file (or the URL without its password) and the table."""
        return self._database.location

    def check(self, schema: pl.Schema) -> None:
        """Take the schema; see `OpenSink.check`."""
        if not schema:
            raise SinkError("there is no column to write", sink=self._output)
        check_key(schema, self._sink.key, self._output)
        self._check_fits(schema, self.mode)
        self._schema = schema
        self._staging.expect(schema)

    def stage(self, frame: pl.DataFrame) -> None:
        """Write some rows; see `OpenSink.stage`."""
        for column in frame:
            check_values(column, self._output)
        self._staging.add(frame)

    def prepare(self, mode: Mode | None = None) -> Staged:
        """Make it durable; see `OpenSink.prepare`."""
        mode = mode or self.mode
        declared("Sql", mode, self._sink.key)
        self._check_fits(self._staging.schema, mode)
        files = self._staging.seal()
        check_unique(scan(files, "arrow"), self._staging.rows, self._sink.key, self._output)
        return {
            "sink": self._sink.kind,
            "output": self._output,
            "target": self.location,
            "mode": mode,
            "key": list(self._sink.key) if self._sink.key else None,
            "on_schema_change": self._sink.on_schema_change,
            "rows": self._staging.rows,
            "folder": str(self._staging.folder),
            "files": [file.as_json() for file in files],
            "url": self._database.url,
            "table": self._sink.table,
            "read": self._read,
            "base": self._base,
        }

    def read(self) -> pl.LazyFrame | None:
        """The rows of the table now, all read at once; see `OpenSink.read`.

        Raises:
            SinkError: Assay did not make the table and was not told its schema, or a value in it is not of its column.
        """
        self._read, self._base = True, None
        if not self._database.exists():
            return None
        with self._database.reading() as connection:
            self._base, stored = self._database.latest(connection)
            if not sa.inspect(connection).has_table(self._sink.table):
                return None
            schema = stored or self._schema
            if schema is None:
                raise SinkError(
                    f"{self.location} was not made by Assay: check(schema) says what its columns are", sink=self._output
                )
            table = self._database.table_of(schema)
            # The values as they are: `from_sql` looks at them, and says which column is wrong.
            columns = (sa.type_coerce(column, sa.types.NULLTYPE) for column in table.columns)
            rows = connection.execute(sa.select(*columns)).fetchall()
        return self._frame(rows, schema).lazy()

    def _frame(self, rows: Sequence[Sequence[Any]], schema: pl.Schema) -> pl.DataFrame:
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
        series = []
        for (name, dtype), values in zip(schema.items(), columns, strict=True):
            try:
                series.append(from_sql(name, values, dtype))
            except ValueError as error:
                raise SinkError(f'{self.location}, column "{name}": {error}', sink=self._output) from error
        return pl.DataFrame(series)

    def _check_fits(self, schema: pl.Schema, mode: Mode) -> None:
        table = self._database.table_of(schema)
        if not self._database.exists():
            return
        with self._database.reading() as connection:
            stored = self._database.latest(connection)[1]
            how = self._sink.on_schema_change
            if stored is not None and mode in KEEPING:
                check_same_columns(stored, schema, self._output, ordered=False, on_schema_change=how)
            self._database.check_columns(connection, table, how)


class Database:
    """One table of one database, and the transactions on it.

    Args:
        url: As in `Sql`, with an absolute path for an SQLite file.
        table: Name of the table.
        output: Name of the output, which errors give.
    """

    def __init__(self, url: str, table: str, output: str) -> None:
        self.url, self.table, self.output = url, table, output
        self._resolved = _resolved(url, output)
        self._file = Path(self._resolved.database or "") if _is_file(self._resolved) else None
        self.location = f"{self._file or self._resolved.render_as_string(hide_password=True)}#{table}"

    def exists(self) -> bool:
        """Whether there is anything to look into: an SQLite file is made by the first who connects."""
        return self._file is None or self._file.exists()

    def sync(self) -> None:
        """Make the entry of an SQLite file in its folder durable (the rest SQLite does)."""
        if self._file is not None:
            sync_folder(self._file.parent)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection in whose transaction everything is of one moment.

        Raises:
            SinkError: the database cannot be read.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection whose transaction is committed at the end, and undone by any error.

        Raises:
            SinkError: the database cannot be written to.
        """
        if self._file is not None:
            make_folder(self._file.parent)
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def table_of(self, schema: pl.Schema) -> sa.Table:
        """The table that holds such rows.

        Raises:
            SinkError: a column cannot be stored, or two have one name.
        """
        seen: dict[str, str] = {}
        for name in schema:
            if not name or "\x00" in name:
                raise SinkError(f"{name!r} cannot be the name of a column", sink=self.output)
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
    ) -> list[str] | None:
        """Check that the table, if it is there, has these columns.

        Returns:
            The columns that are to be added to it; None if it is not there.

        Raises:
            SinkError: names the first column that differs, and how.
        """
        inspector = sa.inspect(connection)
        if not inspector.has_table(self.table):
            return None
        there = {column["name"]: column["type"] for column in inspector.get_columns(self.table)}
        added = []
        for column in table.columns:
            if column.name not in there:
                if on_schema_change == "add":
                    added.append(column.name)
                    continue
                raise SinkError(
                    f'table "{self.table}" has no column "{column.name}"; on_schema_change="add" adds it',
                    sink=self.output,
                )
            wanted = column.type.dialect_impl(connection.dialect)
            if isinstance(column.type, SqlDecimal):
                wanted = column.type.load_dialect_impl(connection.dialect)
            if _family(there[column.name]) != _family(wanted):
                raise SinkError(
                    f'column "{column.name}" of table "{self.table}" is {there[column.name]}, and {wanted} is needed',
                    sink=self.output,
                )
        for name in there:
            if name not in table.columns:
                raise SinkError(f'table "{self.table}" has another column, "{name}"', sink=self.output)
        return added

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sa.Connection]:
        engine = self._engine(begin)
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise SinkError(f"{self.location}: {cause}", sink=self.output) from error
        except OSError as error:
            raise SinkError(f"cannot write to {self.location}: {error.strerror or error}", sink=self.output) from error
        finally:
            engine.dispose()

    def _engine(self, begin: str) -> sa.Engine:
        if self._file is None:
            return sa.create_engine(self._resolved, poolclass=sa.NullPool)
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


def _load(
    connection: sa.Connection, database: Database, staged: Mapping[str, Any], files: Sequence[StagedFile]
) -> None:
    rows = scan(files, "arrow")
    table = database.table_of(rows.collect_schema())
    key = tuple(staged["key"] or ())
    mode, how = staged["mode"], staged["on_schema_change"]
    added = database.check_columns(connection, table, how)
    stored = database.latest(connection)[1]
    if stored is not None and mode in KEEPING:
        check_same_columns(stored, rows.collect_schema(), database.output, ordered=False, on_schema_change=how)
    if added is None:
        table.create(connection)
    elif mode in ("replace", "merge"):
        connection.execute(table.delete())
    for name in added or ():
        _add_column(connection, table, name)
    if mode == "delete_missing":
        _replace_differing(connection, table, key, files)
        return
    upserts = mode == "upsert"
    if upserts:
        _index(connection, table, key)
    for file in files:
        frame = pl.read_ipc(file.path)
        for batch in frame.iter_slices(_LOAD_ROWS):
            if upserts:
                _execute(connection, _delete_by(table, key), batch.select([cs.by_name(name) for name in key]))
            _execute(connection, _insert(table), batch)


def _add_column(connection: sa.Connection, table: sa.Table, name: str) -> None:
    column = sa.schema.CreateColumn(table.c[name]).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {connection.dialect.identifier_preparer.format_table(table)} ADD {column}")


def _replace_differing(
    connection: sa.Connection, table: sa.Table, key: Sequence[str], files: Sequence[StagedFile]
) -> None:
    """Make the table hold exactly the staged rows; a row that is there already is not touched."""
    columns = [sa.Column(column.name, column.type) for column in table.columns]
    staged = sa.Table("assay_staged_rows", sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    staged.create(connection)
    for file in files:
        for batch in pl.read_ipc(file.path).iter_slices(_LOAD_ROWS):
            _execute(connection, _insert(staged), batch)
    _index(connection, staged, key)
    _index(connection, table, key)
    names = [column.name for column in columns]
    same_key = sa.and_(*(table.c[name] == staged.c[name] for name in key))
    same_row = sa.and_(same_key, *(table.c[name].is_not_distinct_from(staged.c[name]) for name in names))
    columns_of_key = [table.c[name] for name in key]
    # Rows that were appended once may have one key.
    repeated = sa.select(*columns_of_key).group_by(*columns_of_key).having(sa.func.count() > 1)
    connection.execute(table.delete().where(sa.tuple_(*columns_of_key).in_(repeated)))
    connection.execute(table.delete().where(~sa.exists().where(same_row)))
    new = sa.select(staged).where(~sa.exists().where(same_key))
    connection.execute(table.insert().from_select(names, new))
    staged.drop(connection)


def _insert(table: sa.Table) -> sa.Insert:
    return table.insert().values({column.name: sa.bindparam(f"p{i}") for i, column in enumerate(table.columns)})


def _delete_by(table: sa.Table, key: Sequence[str]) -> sa.Delete:
    return table.delete().where(*(table.c[name] == sa.bindparam(f"p{i}") for i, name in enumerate(key)))


def _execute(connection: sa.Connection, statement: sa.Insert | sa.Delete, frame: pl.DataFrame) -> None:
    """Run a statement once for each row; p0, p1, ... are its columns."""
    if frame.is_empty():
        return
    rows = zip(*(to_sql(column, connection.dialect) for column in frame), strict=True)
    compiled = statement.compile(dialect=connection.dialect)
    # The values are as the driver takes them already: SQLAlchemy would look at each of them again.
    if compiled.positional:
        order = [int(name[1:]) for name in compiled.positiontup or ()]
        connection.exec_driver_sql(str(compiled), [tuple(row[i] for i in order) for row in rows])
    else:
        connection.exec_driver_sql(str(compiled), [{f"p{i}": v for i, v in enumerate(row)} for row in rows])


def _index(connection: sa.Connection, table: sa.Table, key: Sequence[str]) -> None:
    """Make sure that rows are found by their key without looking at all others."""
    inspector = sa.inspect(connection)
    known: list[Sequence[str | None]] = [index["column_names"] for index in inspector.get_indexes(table.name)]
    known.append(inspector.get_pk_constraint(table.name)["constrained_columns"])
    if not any(list(names[: len(key)]) == list(key) for names in known):
        digest = hashlib.sha256("\0".join((table.name, *key)).encode()).hexdigest()
        sa.Index(f"assay_key_{digest[:16]}", *(table.c[name] for name in key)).create(connection)


# A type that stores the same values: what a VARCHAR holds a TEXT holds too.
_FAMILIES: Final[tuple[tuple[type[Any], str], ...]] = (
    (sa.Boolean, "boolean"),
    (sa.Integer, "integer"),
    (sa.Float, "float"),
    (sa.Numeric, "numeric"),
    (sa.LargeBinary, "binary"),
    (sa.String, "text"),
)


def _family(kind: sa.types.TypeEngine[Any]) -> str:
    return next((name for base, name in _FAMILIES if isinstance(kind, base)), str(kind))


def _is_file(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _sqlite(path: Path) -> str:
    # Not resolved: the path may go through a link on purpose.
    absolute = os.path.abspath(path)  # noqa: PTH100
    return sa.URL.create("sqlite", database=absolute).render_as_string(hide_password=False)


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigurationError(
            "the URL is not one that SQLAlchemy understands; write for example sqlite:///out/orders.db", where="Sql"
        ) from None


def _resolved(url: str, output: str) -> sa.URL:
    """The URL with the values of the variables that it names."""
    whole = _REFERENCE.fullmatch(url)
    if whole:
        return _parsed(_variable(whole[1], output))
    parsed = _parsed(url)
    password = _REFERENCE.fullmatch(str(parsed.password)) if parsed.password is not None else None
    return parsed.set(password=_variable(password[1], output)) if password else parsed


def _variable(name: str, output: str) -> str:
    if name not in os.environ:
        raise SinkError(f"the environment variable {name}, which the URL names, is not set", sink=output)
    return os.environ[name]


def _schema_text(schema: pl.Schema) -> str:
    stream = io.BytesIO()
    pl.DataFrame(schema=schema).write_ipc(stream)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _schema(text: str) -> pl.Schema:
    return pl.read_ipc(base64.b64decode(text)).schema
