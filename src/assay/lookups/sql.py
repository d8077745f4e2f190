"""A lookup in a database: the whole table where it is small, else by batches of keys."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import polars as pl
import sqlalchemy as sa
from pydantic import BaseModel

from assay.errors import ConfigurationError, LookupFailed, nearest
from assay.lookups.judging import RowJudge, chunks, input_name
from assay.lookups.protocol import Answer, LookupContext, LookupStats, need_keys
from assay.lookups.registry import LookupFactory
from assay.lookups.table import OpenTable, see_unique
from assay.records import Format, RecordReader

_MOST_VALUES: Final = 30_000
_MOST_TERMS: Final = 900
_SECRET: Final = re.compile("pass|pwd|secret|token|odbc_connect", re.IGNORECASE)


@LookupFactory.register("sql")
@dataclass(frozen=True)
class SqlTable:
    """A table or view of a database. Keys are bound parameters, never text of the statement.

    Where it has at most `whole_up_to` rows when the run begins, it is read whole, once, and joined; else it is asked by
    batches of distinct keys. Every row is validated by the model; the first wrong one fails the run.

    Args:
        table: Its name; `schema.table` where it has a schema.
        model: The model of one row; its fields (or their aliases) are the columns that are read.
        database: A SQLAlchemy URL without password, or the name of a secret that holds one with it.
        whole_up_to: Rows up to which it is read whole; 0: never.
        batch: Keys asked for at a time, or as many as fit into one statement.
        decimals: Precision and scale of Decimal fields that the model does not bound.
        name: What rejects and reports call it; by default the table's name.
    """

    table: str
    model: type[BaseModel]
    database: str
    whole_up_to: int = 10_000
    batch: int = 500
    decimals: tuple[int, int] | None = None
    name: str = ""
    dated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.table.rpartition(".")[2])
        if self.batch < 1:
            raise ConfigurationError(f"lookup {self.name}: batch must be at least 1, not {self.batch}")
        if self.whole_up_to < 0:
            raise ConfigurationError(f"lookup {self.name}: whole_up_to must not be under 0, not {self.whole_up_to}")

    def columns(self) -> pl.Schema:
        """The model's columns."""
        return RecordReader(self.model, Format("jsonl", decimals=self.decimals)).schema

    def read(self, context: LookupContext) -> pl.DataFrame:
        """Read all of it.

        Raises:
            LookupFailed: it cannot be reached, or a row is wrong.
        """
        found = _Database(self, context)
        try:
            return found.select(found.query)
        finally:
            found.close()

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenTable | OpenSql:
        """Connect, count, and read it whole where it is small."""
        need_keys(self.name, on, self.columns())
        found = _Database(self, context)
        try:
            # One more than fits tells as much as the count of a large table, and is quicker.
            some = sa.select(sa.literal(1)).select_from(found.table).limit(self.whole_up_to + 1).subquery()
            if self.whole_up_to and found.fetch(sa.select(sa.func.count()).select_from(some))[0][0] <= self.whole_up_to:
                whole = OpenTable(self.name, found.select(found.query), on)
                whole.stats = found.stats
                found.close()
                return whole
            return OpenSql(found, on)
        except BaseException:
            found.close()
            raise


class OpenSql:
    """A table that is asked by batches of keys.

    Raises:
        ConfigurationError: the database would compare a key as something else.
    """

    def __init__(self, database: _Database, on: Sequence[str]) -> None:
        self._database = database
        self._on = on
        self.stats = database.stats
        for key in on:
            database.see_comparable(key)
        # Of several columns, each key is a term of its own, and SQLite takes a thousand.
        self._at_once = min(database.definition.batch, _MOST_VALUES if len(on) == 1 else _MOST_TERMS // len(on))

    @property
    def fingerprint(self) -> str:
        """Hash of where it is: what it holds is only known by key."""
        return hashlib.sha256(f"{self._database.place} {self._database.definition.table}".encode()).hexdigest()

    def answer(self, keys: pl.DataFrame) -> Answer:
        """Ask for the keys, some at a time."""
        definition = self._database.definition
        columns = [self._database.table.c[input_name(definition.model, key)] for key in self._on]
        frames = [pl.DataFrame(schema=self._database.schema)]
        for some in chunks(keys.select(self._on), self._at_once):
            if len(columns) == 1:
                wanted: sa.ColumnElement[bool] = columns[0].in_(some.to_series().to_list())
            else:
                wanted = sa.or_(*(sa.and_(*(c == v for c, v in zip(columns, row, strict=True))) for row in some.rows()))
            frames.append(self._database.select(self._database.query.where(wanted)))
        found = pl.concat(frames)
        see_unique(definition.name, found, self._on)
        # A database may compare otherwise than we do (case, blanks at the end): such a row is not the key asked for.
        return Answer(found.join(keys, on=list(self._on), how="semi"))

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


class _Database:
    def __init__(self, definition: SqlTable, context: LookupContext) -> None:
        self.definition = definition
        self.stats = LookupStats()
        self._judge = RowJudge(definition.name, definition.model, definition.decimals, context.settings)
        self.schema = self._judge.schema
        where = f"lookup {definition.name}"
        named = "://" not in definition.database
        text = context.secret(definition.database, where) if named else context.fill(definition.database)
        try:
            url = sa.engine.make_url(text)
            if not named and (url.password is not None or any(_SECRET.search(key) for key in url.query)):
                raise ConfigurationError("a password in a URL is seen by all: name a secret instead", where=where)
            _see_there(url, definition.name)
            self._engine = sa.create_engine(url)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
            raise ConfigurationError(f"the database cannot be used: {type(error).__name__}", where=where) from None
        # Drivers take passwords by the query as well.
        self.place = url.set(query={}).render_as_string(hide_password=True)
        schema, _, name = definition.table.rpartition(".")
        columns: list[sa.ColumnClause[Any]] = [
            sa.column(input_name(definition.model, field)) for field in definition.model.model_fields
        ]
        self.table = sa.table(name, *columns, schema=schema or None)
        self.query = sa.select(*columns).select_from(self.table)

    def see_comparable(self, key: str) -> None:
        """See that the database compares a key by its value.

        Raises:
            ConfigurationError: it does not.
        """
        dtype = self.schema[key]
        if self._engine.dialect.name == "sqlite" and not (
            dtype.is_integer() or dtype in (pl.String, pl.Date, pl.Boolean)
        ):
            raise ConfigurationError(
                f"SQLite has no type for the key {key} ({dtype}), and would look for its text: read the table whole, "
                "by a greater whole_up_to",
                where=f"lookup {self.definition.name}",
            )

    def fetch(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        begun = time.perf_counter()
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).fetchall()
        except sa.exc.SQLAlchemyError as error:
            # Its own text would hold the keys and, of some drivers, the URL.
            why = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
            self.stats.errors += 1
            raise LookupFailed(f"lookup {self.definition.name}: {self.place}: {why}") from None
        finally:
            self.stats.called(time.perf_counter() - begun)

    def select(self, query: sa.Select[Any]) -> pl.DataFrame:
        judged = self._judge.rows(row._asdict() for row in self.fetch(query))
        for number, error in judged.wrong.items():
            raise LookupFailed(
                f"lookup {self.definition.name}: row {number} of {self.definition.table}: {error}; mend the table "
                "or the model"
            )
        return judged.frame

    def close(self) -> None:
        self._engine.dispose()


def _see_there(url: sa.engine.URL, lookup: str) -> None:
    """See that a file of SQLite is there: it would make an empty one of a name that is mistyped."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return
    path = Path(name)
    if path.is_file():
        return
    near = nearest(path.name, (one.name for one in path.parent.iterdir())) if path.parent.is_dir() else None
    hint = f'; did you mean "{path.with_name(near)}"?' if near else ""
    at = "" if path.is_absolute() else f", seen from {Path.cwd()}"
    raise LookupFailed(f"lookup {lookup}: there is no such SQLite file: {path}{at}{hint}")
