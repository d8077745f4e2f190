"""A table of an SQL database, changed in one transaction that also carries the run's token.

Staged rows wait in files. Publishing loads them in one transaction, and the same transaction writes the run and the
output into the table `assay_publications`: rows and token are there together or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Final

import polars as pl
import sqlalchemy as sa

from assay.errors import ConfigurationError, SinkError
from assay.sinks.protocol import KEEPING, Mode, OnSchemaChange, Staged, check_key, check_same_columns, declared
from assay.sinks.registry import SinkFactory
from assay.sinks.sql_database import (
    PUBLICATIONS,
    STAGED_ROWS,
    Database,
    RetryableError,
    is_file,
    is_named,
    parsed,
    resolved,
    schema_text,
    sqlite_url,
)
from assay.sinks.sql_load import load
from assay.sinks.sql_values import check_values, from_sql
from assay.sinks.staging import StagedFile, Staging, check_unique, scan, verified

_PAUSES: Final = (0.1, 0.3, 1.0, 3.0)
_READ_ROWS: Final = 65_536
_RESERVED: Final = (PUBLICATIONS.name, STAGED_ROWS)


@SinkFactory.register
@dataclass(frozen=True)
class Sql:
    """A table, loaded in one transaction.

    Attributes:
        table: Its name; made when missing. A table that is there must have the same columns.
        url: An SQLAlchemy URL; by default the SQLite file of the pipeline in the project's root. The path of an SQLite
            file is relative to that root. A password is not written here but named: `${NAME}` in its place, or for the
            whole URL, is the environment variable NAME. SQLite or PostgreSQL (extra `postgres`); what stands behind
            the question mark is PostgreSQL's.
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
        reserved = self.table.lower() in _RESERVED or self.table.lower().startswith("sqlite_")
        if not self.table or "\x00" in self.table or reserved:
            raise ConfigurationError(f"{self.table!r} cannot be the name of a table", where="Sql")
        if self.url is not None and not is_named(self.url):
            password = parsed(self.url).password
            if password is not None and not is_named(str(password)):
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
            url = sqlite_url(root / (self.folder or ".") / default)
        elif is_file(resolved(self.url, name)):
            file = resolved(self.url, name).database
            if not file or file == ":memory:" or "mode=memory" in self.url:
                raise SinkError("a database in memory is gone when the run ends: name a file", sink=name)
            url = sqlite_url(root / file)
        else:
            url = self.url
        return self._opened(Database(url, self.table, name), staging)

    def _opened(self, database: Database, staging: Path) -> OpenSql:
        return OpenSql(self, database, staging)

    def under(self, folder: Path) -> Sql:
        """The same table in an SQLite file of the same name in `folder`; another database stays."""
        if self.url is None:
            return replace(self, folder=folder)
        if is_named(self.url) or not is_file(parsed(self.url)):
            return self
        return replace(self, url=sqlite_url(folder / Path(parsed(self.url).database or "").name))

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        """Load what was staged in one transaction; False if this run has published it before.

        Raises:
            SinkError: a staged file is damaged, the table is not what it was, or the database refuses.
        """
        database = Database(staged["url"], staged["table"], staged["output"])
        lost = False
        for pause in (*_PAUSES, None):
            try:
                # Whoever has lost the connection finds the token, if what was sent has been committed.
                published = cls._publish(database, staged, run_id) or lost
                break
            except RetryableError as error:
                lost = lost or error.by == "loss"
                if pause is None or (error.by == "absence" and not lost):
                    known = "; whether that was published is not known, and resuming finds out" if lost else ""
                    raise SinkError(f"{error.message}{known}", sink=error.sink) from error
            time.sleep(pause)
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
                "columns": schema_text(schema),
            }
            connection.execute(PUBLICATIONS.insert(), publication)
        return True

    @staticmethod
    def _load(
        connection: sa.Connection, database: Database, staged: Mapping[str, Any], files: Sequence[StagedFile]
    ) -> None:
        load(connection, database, staged, files)


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
            refused = check_values(column, self._database.kind)
            if refused is not None:
                raise SinkError(
                    f'column "{column.name}" {refused.why}{self._place(frame, refused.row)}', sink=self._output
                )
        self._staging.add(frame)

    def _place(self, frame: pl.DataFrame, row: int) -> str:
        key = [name for name in self._sink.key or () if name in frame.schema]
        shown = "".join(f", {name}={frame[name][row]!r}" for name in key)
        return f" (row {self._staging.rows + row + 1:,}{shown})"

    def prepare(self, mode: Mode | None = None) -> Staged:
        """Make it durable; see `OpenSink.prepare`."""
        mode = mode or self.mode
        declared("Sql", mode, self._sink.key)
        self._check_fits(self._staging.schema, mode)
        files = self._staging.seal()
        check_unique(scan(files, "arrow"), self._staging.rows, self._sink.key, self._output)
        return self._staging.prepared(self._sink, self.location, mode) | {
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
            rows = connection.execute(sa.select(*columns).execution_options(yield_per=_READ_ROWS))
            # Part by part: values of Python are many times as large as those of a frame.
            parts = [self._frame(part, schema) for part in chain(rows.partitions(), [[]])]
        return pl.concat(parts).lazy()

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
            self._database.check_allowed(connection, mode)
