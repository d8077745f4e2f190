"""One table of one DuckDB file in a run, and its publication."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import polars as pl
import polars.selectors as cs
from duckdb import DuckDBPyConnection

from assay.errors import SinkError
from assay.sinks.columns import (
    check_moments,
    check_names,
    check_shape,
    leaf_types,
    mapped,
    recast,
    schema_of_text,
    schema_text,
)
from assay.sinks.duckdb_types import quoted, read_as, sql_type, stored
from assay.sinks.durable import link_file, make_folder, sync_folder
from assay.sinks.protocol import KEEPING, Mode, OnSchemaChange, Staged, check_key, check_same_columns, declared
from assay.sinks.staging import StagedFile, Staging, check_unique, scan, verified

if TYPE_CHECKING:
    from assay.sinks.duckdb import DuckDb

PUBLICATIONS: Final = "assay_publications"
_WAIT_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.05
# DuckDB loads a million rows at once in two thirds of the time that it takes for a quarter four times.
_LOAD_FILES: Final = 4
# The run's rows as DuckDB sees them: no table of a user begins like this.
_PART: Final = "assay_staged_part"
_STAGED: Final = "assay_staged_rows"
# One file of DuckDB is one database in a process: two threads would be two transactions in it, and could collide.
_publishing: Final = threading.Lock()


def publish(staged: Mapping[str, Any], run_id: str) -> bool:
    """See `DuckDb.publish`."""
    database = Database(Path(staged["file"]), staged["table"], staged["output"])
    if not database.exists():
        verified(staged)
        database.create(Path(staged["folder"]))
    with _publishing, database.writing() as connection:
        return _publish(connection, database, staged, run_id)


def has_published(staged: Mapping[str, Any], run_id: str) -> bool:
    """See `DuckDb.has_published`."""
    database = Database(Path(staged["file"]), staged["table"], staged["output"])
    if not database.exists():
        return False
    with database.reading() as connection:
        return database.columns(connection) is not None and database.knows(connection, run_id)


class OpenDuckDb:
    """A table of a DuckDB file in a run."""

    def __init__(self, sink: DuckDb, database: Database, staging: Path) -> None:
        self._sink, self._database, self._output = sink, database, database.output
        self._staging = Staging(staging, database.output, "parquet")
        self._schema: pl.Schema | None = None
        self._read = False
        self._base: int | None = None

    @property
    def mode(self) -> Mode:
        """As declared."""
        return self._sink.mode

    @property
    def location(self) -> str:
        """The file and the table."""
        return self._database.location

    def check(self, schema: pl.Schema) -> None:
        """Take the schema; see `OpenSink.check`."""
        if not schema:
            raise SinkError("there is no column to write", sink=self._output)
        check_names(schema, "DuckDB", self._output)
        for name, dtype in schema.items():
            check_shape(name, dtype, "DuckDB", self._output)
            sql_type(name, dtype, self._output)
        check_key(schema, self._sink.key, self._output)
        self._check_fits(schema, self.mode)
        self._schema = schema
        self._staging.expect(schema)

    def stage(self, frame: pl.DataFrame) -> None:
        """Write some rows; see `OpenSink.stage`."""
        check_moments(frame, stored, self._staging.rows, self._output)
        self._staging.add(frame)

    def prepare(self, mode: Mode | None = None) -> Staged:
        """Make it durable; see `OpenSink.prepare`."""
        mode = mode or self.mode
        declared("DuckDb", mode, self._sink.key)
        self._check_fits(self._staging.schema, mode)
        files = self._staging.seal()
        check_unique(scan(files, "parquet"), self._staging.rows, self._sink.key, self._output)
        return self._staging.prepared(self._sink, self.location, mode) | {
            "file": str(self._database.file),
            "table": self._sink.table,
            "read": self._read,
            "base": self._base,
        }

    def read(self) -> pl.LazyFrame | None:
        """The rows of the table now, all read at once, so that the file is free again; see `OpenSink.read`.

        Raises:
            SinkError: Assay did not make the table and was not told its schema, or it was changed since.
        """
        self._read, self._base = True, None
        if not self._database.exists():
            return None
        with self._database.reading() as connection:
            self._base, given = self._database.latest(connection)
            if self._database.columns(connection) is None:
                return None
            schema = given or self._schema
            if schema is None:
                raise SinkError(
                    f"{self.location} was not made by Assay: check(schema) says what its columns are", sink=self._output
                )
            self._database.check_columns(connection, schema)
            names = ", ".join(f"{read_as(quoted(name), dtype)} AS {quoted(name)}" for name, dtype in schema.items())
            found = pl.DataFrame(connection.sql(f"SELECT {names} FROM {quoted(self._sink.table)}"))  # noqa: S608
        # In two steps: an interval comes as the number of its microseconds.
        between = [recast(column, mapped(schema[column.name], stored)) for column in found]
        return pl.DataFrame([recast(column, schema[column.name]) for column in between]).lazy()

    def _check_fits(self, schema: pl.Schema, mode: Mode) -> None:
        if self._database.exists():
            with self._database.reading() as connection:
                self._database.fit(connection, schema, mode, self._sink.on_schema_change)


@dataclass(frozen=True)
class Fit:
    """How rows fit the table.

    Attributes:
        makes: The table is made, in place of one that Assay made earlier if there is one.
        adds: Columns that the table gets.
    """

    makes: bool
    adds: tuple[str, ...] = ()


class Database:
    """One table of one DuckDB file, and the transactions on it."""

    def __init__(self, file: Path, table: str, output: str) -> None:
        self.file, self.table, self.output = file, table, output
        self.location = f"{file}#{table}"

    def exists(self) -> bool:
        """Whether there is anything to look into."""
        return self.file.exists()

    def create(self, staging: Path) -> None:
        """Make the file, if it is not there: aside, so that who is killed meanwhile leaves no half of one.

        Raises:
            SinkError: it cannot be made.
        """
        with self._speaking():
            make_folder(self.file.parent)
            # A file is given a second name on its own file system only.
            same = staging.stat().st_dev == self.file.parent.stat().st_dev
            aside = staging if same else self.file.parent
            with tempfile.TemporaryDirectory(dir=aside, prefix=".new-database-") as folder:
                made = Path(folder) / "new"
                duckdb.connect(made).close()
                with suppress(FileExistsError):
                    link_file(made, self.file)
            sync_folder(self.file.parent)

    @contextmanager
    def reading(self) -> Iterator[DuckDBPyConnection]:
        """A connection in whose transaction everything is of one moment.

        Raises:
            SinkError: the file cannot be read, or another process does not let go of it.
        """
        with self._transaction(read_only=True) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[DuckDBPyConnection]:
        """A connection whose transaction is committed at the end, and undone by any error.

        Raises:
            SinkError: the file cannot be written to, or another process does not let go of it.
        """
        with self._transaction(read_only=False) as connection:
            yield connection
        with self._speaking():
            # Where others of this process have the file open, DuckDB's log stays beside it.
            sync_folder(self.file.parent)

    def columns(self, connection: DuckDBPyConnection) -> dict[str, str] | None:
        """Names and types of the table's columns, None if there is no table."""
        query = (
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() "
            "AND schema_name = current_schema() AND lower(table_name) = lower(?) ORDER BY column_index"
        )
        return dict(_fetch(connection, query, [self.table])) or None

    def latest(self, connection: DuckDBPyConnection) -> tuple[int | None, pl.Schema | None]:
        """Number and schema of the last publication to this table, None where there is none."""
        if not self._has_publications(connection):
            return None, None
        query = (
            f"SELECT id, columns FROM {PUBLICATIONS} WHERE lower(table_name) = lower(?) "  # noqa: S608 - a constant
            "ORDER BY id DESC LIMIT 1"
        )
        found = _fetch(connection, query, [self.table])
        return (found[0][0], schema_of_text(found[0][1])) if found else (None, None)

    def knows(self, connection: DuckDBPyConnection, run_id: str) -> bool:
        """Whether this run has published this output."""
        if not self._has_publications(connection):
            return False
        token = f"SELECT 1 FROM {PUBLICATIONS} WHERE run = ? AND output = ?"  # noqa: S608 - a constant
        return bool(_fetch(connection, token, [run_id, self.output]))

    def fit(self, connection: DuckDBPyConnection, schema: pl.Schema, mode: Mode, how: OnSchemaChange) -> Fit:
        """See how rows of a schema fit the table.

        Raises:
            SinkError: they do not: names the first column that differs, and how.
        """
        given = self.latest(connection)[1]
        if self.columns(connection) is None:
            return Fit(makes=True)
        if given is not None and mode in KEEPING:
            check_same_columns(given, schema, self.output, ordered=False, on_schema_change=how)
        elif given is not None and dict(given) != dict(schema):
            return Fit(makes=True)
        return Fit(makes=False, adds=self.check_columns(connection, schema, how))

    def check_columns(
        self, connection: DuckDBPyConnection, schema: pl.Schema, how: OnSchemaChange = "error"
    ) -> tuple[str, ...]:
        """Check that the table has the columns of a schema; returns those that are to be added.

        Raises:
            SinkError: names the first column that differs, and how.
        """
        there = self.columns(connection) or {}
        # As DuckDB itself writes these types.
        types = ", ".join(f"typeof(CAST(NULL AS {sql_type(n, dtype, self.output)}))" for n, dtype in schema.items())
        wanted = dict(zip(schema, _fetch(connection, f"SELECT {types}")[0], strict=True))
        added = []
        for name, kind in wanted.items():
            if name not in there:
                if how == "add":
                    added.append(name)
                    continue
                raise SinkError(f'table "{self.table}" has no column "{name}"', sink=self.output)
            if there[name] != kind:
                raise SinkError(
                    f'column "{name}" of table "{self.table}" is {there[name]}, and {kind} is needed', sink=self.output
                )
        for name in there:
            if name not in wanted:
                raise SinkError(f'table "{self.table}" has another column, "{name}"', sink=self.output)
        return tuple(added)

    def _has_publications(self, connection: DuckDBPyConnection) -> bool:
        there = "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() AND table_name = ?"
        return bool(_fetch(connection, there, [PUBLICATIONS]))

    @contextmanager
    def _transaction(self, *, read_only: bool) -> Iterator[DuckDBPyConnection]:
        with self._speaking(), closing(self._connect(read_only=read_only)) as connection:
            _run(connection, "SET TimeZone = 'UTC'")
            _run(connection, "BEGIN")
            yield connection
            # Without it, closing undoes all. The last one to close writes DuckDB's own log into the file.
            _run(connection, "COMMIT")

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise SinkError(f"{self.location}: {error}", sink=self.output) from error
        except OSError as error:
            raise SinkError(f"cannot write to {self.location}: {error.strerror or error}", sink=self.output) from error

    def _connect(self, *, read_only: bool) -> DuckDBPyConnection:
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                return duckdb.connect(self.file, read_only=read_only)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                # Locked by another process, or opened the other way (to read, to write) in this one.
                in_use = isinstance(error, duckdb.ConnectionException) or "lock on file" in str(error)
                if not in_use:
                    raise
                if read_only:
                    with suppress(duckdb.ConnectionException, duckdb.IOException):
                        return duckdb.connect(self.file)
                if time.monotonic() >= deadline:
                    raise SinkError(
                        f"{self.file} has been in use for {_WAIT_SECONDS:.0f} s, and DuckDB lets one process write to "
                        f"a file, alone: close it there, then resume the run ({error})",
                        sink=self.output,
                    ) from error
            time.sleep(_PAUSE_SECONDS)


class _Stream:
    """A frame that DuckDB reads through Arrow's C interface, as often as it likes, without pyarrow."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


def _publish(connection: DuckDBPyConnection, database: Database, staged: Mapping[str, Any], run_id: str) -> bool:
    output = staged["output"]
    _run(
        connection,
        f"CREATE TABLE IF NOT EXISTS {PUBLICATIONS} (id BIGINT PRIMARY KEY, run VARCHAR NOT NULL, "
        'output VARCHAR NOT NULL, table_name VARCHAR NOT NULL, rows BIGINT NOT NULL, "at" TIMESTAMP WITH TIME ZONE '
        "NOT NULL, columns VARCHAR NOT NULL, UNIQUE (run, output))",
    )
    if database.knows(connection, run_id):
        return False
    if staged["read"] and database.latest(connection)[0] != staged["base"]:
        raise SinkError("another run has published since this one read what was there: run again", sink=output)
    files = verified(staged)
    schema = scan(files, "parquet").collect_schema()
    _load(connection, database, staged, files, schema)
    _run(
        connection,
        f"INSERT INTO {PUBLICATIONS} SELECT coalesce(max(id), 0) + 1, ?, ?, ?, ?, ?, ? "  # noqa: S608 - a constant
        f"FROM {PUBLICATIONS}",
        [run_id, output, staged["table"], staged["rows"], datetime.now(UTC), schema_text(schema)],
    )
    return True


def _load(
    connection: DuckDBPyConnection,
    database: Database,
    staged: Mapping[str, Any],
    files: Sequence[StagedFile],
    schema: pl.Schema,
) -> None:
    table, mode = quoted(database.table), staged["mode"]
    key = [quoted(name) for name in staged["key"] or ()]
    columns = [f"{quoted(name)} {sql_type(name, dtype, database.output)}" for name, dtype in schema.items()]
    fit = database.fit(connection, schema, mode, staged["on_schema_change"])
    if fit.makes:
        _run(connection, f"DROP TABLE IF EXISTS {table}")
        _run(connection, f"CREATE TABLE {table} ({', '.join(columns)})")
    for column in (column for name, column in zip(schema, columns, strict=True) if name in fit.adds):
        _run(connection, f"ALTER TABLE {table} ADD COLUMN {column}")
    if not fit.makes and mode in ("replace", "merge"):
        _run(connection, f"DELETE FROM {table}")  # noqa: S608 - quoted
    if not fit.makes and mode == "upsert":
        keys = [column for name, column in zip(schema, columns, strict=True) if name in staged["key"]]
        _run(connection, f"CREATE TEMP TABLE {_STAGED} ({', '.join(keys)})")
        _insert(connection, f"temp.{_STAGED}", files, staged["key"])
        same_key = " AND ".join(f"{table}.{name} = {_STAGED}.{name}" for name in key)
        _run(connection, f"DELETE FROM {table} USING temp.{_STAGED} WHERE {same_key}")  # noqa: S608 - quoted
        _run(connection, f"DROP TABLE temp.{_STAGED}")
    if not fit.makes and mode == "delete_missing":
        _run(connection, f"CREATE TEMP TABLE {_STAGED} ({', '.join(columns)})")
        _insert(connection, f"temp.{_STAGED}", files, list(schema))
        _replace_differing(connection, table, key, schema)
        _run(connection, f"DROP TABLE temp.{_STAGED}")
    else:
        _insert(connection, table, files, list(schema))


def _insert(connection: DuckDBPyConnection, table: str, files: Sequence[StagedFile], names: Sequence[str]) -> None:
    columns = ", ".join(quoted(name) for name in names)
    for start in range(0, len(files), _LOAD_FILES):
        rows = scan(files[start : start + _LOAD_FILES], "parquet").select(cs.by_name(name) for name in names).collect()
        part = pl.DataFrame([recast(column, mapped(column.dtype, stored)) for column in rows])
        connection.register(_PART, _Stream(part))
        _run(connection, f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {_PART}")  # noqa: S608 - quoted
        connection.unregister(_PART)


def _replace_differing(connection: DuckDBPyConnection, table: str, key: Sequence[str], schema: pl.Schema) -> None:
    """Make the table hold exactly the staged rows; a row that is there already is not touched."""
    staged = f"temp.{_STAGED}"
    same_key = " AND ".join(f"{table}.{name} = {_STAGED}.{name}" for name in key)
    same_row = " AND ".join([same_key, *(_same(table, name, dtype) for name, dtype in schema.items())])
    keys = ", ".join(key)
    # Rows that were appended once may have one key.
    repeated = f"SELECT {keys} FROM {table} GROUP BY {keys} HAVING count(*) > 1"  # noqa: S608 - quoted
    _run(connection, f"DELETE FROM {table} WHERE ({keys}) IN ({repeated})")  # noqa: S608 - quoted
    _run(connection, f"DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM {staged} WHERE {same_row})")  # noqa: S608
    names = ", ".join(quoted(name) for name in schema)
    new = f"SELECT {names} FROM {staged} WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {same_key})"  # noqa: S608
    _run(connection, f"INSERT INTO {table} ({names}) {new}")


def _same(table: str, name: str, dtype: pl.DataType) -> str:
    """An SQL condition that is true only of values that are the same to the last bit."""
    ours, theirs = f"{table}.{quoted(name)}", f"{_STAGED}.{quoted(name)}"
    same = f"{ours} IS NOT DISTINCT FROM {theirs}"
    if not any(leaf.is_float() for leaf in leaf_types(dtype)):
        return same
    # 0.0 and -0.0 are equal in SQL, and not the same; inside of others there is no way to ask, so those are replaced.
    return f"{same} AND signbit({ours}) IS NOT DISTINCT FROM signbit({theirs})" if dtype.is_float() else "false"


def _run(connection: DuckDBPyConnection, statement: str, values: Sequence[Any] | None = None) -> None:
    # DuckDB 2 streams: a statement is done when its result was fetched.
    _fetch(connection, statement, values)


def _fetch(connection: DuckDBPyConnection, query: str, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    return connection.execute(query, values).fetchall()
