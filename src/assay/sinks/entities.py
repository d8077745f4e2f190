"""Rows that become objects of a mapped class, saved through its repository in one unit of work.

For small tables that an application owns: its class says what a row is, with its validators, defaults and constraints,
and the table may have columns that the rows do not. The transaction that saves them also carries the run's token.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import polars as pl
import polars.selectors as cs
import sqlalchemy as sa

from assay.errors import ConfigurationError, DuplicateError, SinkError, unknown_name
from assay.sinks.protocol import KEEPING, Mode, OnSchemaChange, Staged, check_key, check_same_columns
from assay.sinks.registry import SinkFactory
from assay.sinks.repository import Repository, SqlRepository
from assay.sinks.sql import OpenSql, Sql
from assay.sinks.sql_database import Database
from assay.sinks.sql_values import SqlDecimal
from assay.sinks.staging import StagedFile, scan
from assay.sinks.unit_of_work import UnitOfWork

if TYPE_CHECKING:
    from sqlalchemy.orm import Mapper, Session

#: So many objects are in the session at a time.
_AT_ONCE: Final = 1_000
#: By Python type of a column's values, those that a mapped column may have.
_TAKES: Final[Mapping[type[Any], tuple[type[Any], ...]]] = {
    bool: (bool,),
    int: (int,),
    float: (float,),
    str: (str,),
    bytes: (bytes,),
    date: (date,),
    datetime: (datetime,),
    time: (time,),
    timedelta: (timedelta,),
    list: (list,),
    dict: (dict,),
}


@SinkFactory.register
@dataclass(frozen=True, init=False)
class Entities(Sql):
    """Objects of a class that SQLAlchemy maps, one for each row.

        Entities(Customer, url="postgresql+psycopg://...", mode="upsert")

    The columns of the rows are attributes of the class. Attributes that they do not have keep their values where an
    object is there, and get their defaults where it is not.

    Attributes:
        entity: The class: mapped to one table, at the top of a module, since whoever resumes a run imports it.
        url: As in `Sql`.
        mode: upsert, append, replace, delete_missing or merge; an object that is there already is an error with append.
        key: Attributes that tell objects apart; by default the primary key.
        folder: As in `Sql`.
        on_schema_change: error; the class says what columns there are.

    Raises:
        ConfigurationError: the class is not mapped, or to several tables, or cannot be imported, or columns are to be
            added to it.
    """

    entity: type[Any] = field(default=object)
    kind: ClassVar[str] = "entities"

    def __init__(
        self,
        entity: type[Any],
        url: str | None = None,
        mode: Mode = "upsert",
        key: tuple[str, ...] | None = None,
        folder: Path | None = None,
        on_schema_change: OnSchemaChange = "error",
    ) -> None:
        mapper = _mapper(entity)
        primary = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)
        values = {
            "entity": entity,
            "table": _table(mapper).name,
            "url": url,
            "mode": mode,
            # Rows that are added or replace all need not have the identity, which the database may make.
            "key": primary if key is None and mode in ("upsert", "delete_missing") else key,
            "folder": folder,
            "on_schema_change": on_schema_change,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self.__post_init__()
        if on_schema_change == "add":
            raise ConfigurationError(
                f'on_schema_change="add" cannot be: {entity.__name__} says what columns there are; add them to it, and '
                "to its table by a migration",
                where="Entities",
            )

    def under(self, folder: Path) -> Entities:
        """The same table in an SQLite file of the same name in `folder`; another database stays."""
        moved = Sql(self.table, self.url, folder=self.folder).under(folder)
        return type(self)(self.entity, moved.url, self.mode, self.key, moved.folder)

    def _opened(self, database: Database, staging: Path) -> OpenSql:
        return OpenEntities(self, database, staging, self.entity)

    @staticmethod
    def _load(
        connection: sa.Connection, database: Database, staged: Mapping[str, Any], files: Sequence[StagedFile]
    ) -> None:
        from sqlalchemy.orm import Session  # noqa: PLC0415 - who maps no class need not wait for it

        mapper = _mapper(_imported(staged["entity"], staged["output"]))
        _check_table(connection, mapper, staged["output"])
        _table(mapper).create(connection, checkfirst=True)
        # The connection's transaction is the run's: what the unit commits is committed with the token, or not.
        with Session(connection) as session, UnitOfWork(lambda: session, rows=mapper.class_) as unit:
            try:
                _Saving(session, unit.rows, mapper, staged).save(files)
            except DuplicateError as error:
                raise SinkError(f"{database.location}: {error}", sink=staged["output"]) from error


class OpenEntities(OpenSql):
    """Objects in a run."""

    def __init__(self, sink: Sql, database: Database, staging: Path, entity: type[Any]) -> None:
        super().__init__(sink, database, staging)
        self._mapper = _mapper(entity)

    def stage(self, frame: pl.DataFrame) -> None:
        """Write some rows; a value that the class's column does not take is an error now, not when it is too late."""
        known = self._columns()
        for values in frame:
            if values.name in known:
                self._check_values(values, known[values.name])
        before = self._staging.rows
        super().stage(frame)
        for number, row in enumerate(frame.iter_rows(named=True), before + 1):
            _made(self._mapper, row, f"row {number:,}", self._output)

    def prepare(self, mode: Mode | None = None) -> Staged:
        """Make it durable; see `OpenSink.prepare`.

        Raises:
            SinkError: an object is to be added that is there already.
        """
        staged = super().prepare(mode)
        entity = self._mapper.class_
        if staged["mode"] == "append":
            self._check_new(staged)
        return staged | {"entity": f"{entity.__module__}:{entity.__qualname__}"}

    def read(self) -> pl.LazyFrame | None:
        """The rows now, with the columns that were published; see `OpenSink.read`."""
        self._read, self._base = True, None
        if not self._database.exists():
            return None
        table = _table(self._mapper)
        with self._database.reading() as connection:
            self._base, stored = self._database.latest(connection)
            if not sa.inspect(connection).has_table(table.name):
                return None
            schema = stored or self._schema
            if schema is None:
                raise SinkError(
                    f"{self.location} was not made by Assay: check(schema) says what its columns are", sink=self._output
                )
            known = self._columns()
            gone = next((name for name in schema if name not in known), None)
            if gone is not None:
                raise SinkError(f'"{gone}" is published, and no attribute of {self._name} any more', sink=self._output)
            rows = connection.execute(sa.select(*(known[name] for name in schema))).fetchall()
        values = list(zip(*rows, strict=True)) or [()] * len(schema)
        try:
            series = [
                _series(name, column, dtype) for (name, dtype), column in zip(schema.items(), values, strict=True)
            ]
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise SinkError(f"{self.location} has a value of another kind: {error}", sink=self._output) from error
        return pl.DataFrame(series).lazy()

    def _check_fits(self, schema: pl.Schema, mode: Mode) -> None:
        known = self._columns()
        for name, dtype in schema.items():
            if name not in known:
                raise SinkError(f"{self._name}: {unknown_name('attribute', name, known)}", sink=self._output)
            self._check_type(name, dtype, known[name])
        for name, column in known.items():
            made = column.default is not None or column.server_default is not None or column.identity is not None
            generated = column.primary_key and column is _table(self._mapper).autoincrement_column
            if name not in schema and not (column.nullable or made or generated):
                raise SinkError(f'{self._name}.{name} is required, and there is no column "{name}"', sink=self._output)
        check_key(schema, self._sink.key, self._output)
        if not self._database.exists():
            return
        with self._database.reading() as connection:
            stored = self._database.latest(connection)[1]
            if stored is not None and mode in KEEPING:
                check_same_columns(stored, schema, self._output, ordered=False)
            _check_table(connection, self._mapper, self._output)

    def _check_type(self, name: str, dtype: pl.DataType, column: sa.Column[Any]) -> None:
        if isinstance(dtype, pl.Decimal):
            fits = isinstance(column.type, SqlDecimal)
            advice = f"; SqlDecimal({dtype.precision}, {dtype.scale}) is exact everywhere"
        else:
            fits, advice = _takes(column.type, dtype), ""
            if isinstance(dtype, pl.Datetime) and isinstance(column.type, sa.DateTime):
                advice = f"; DateTime(timezone={dtype.time_zone is not None}) fits"
        if not fits:
            raise SinkError(
                f'column "{name}" is {dtype}, and {self._name}.{name} is {column.type!r}{advice}', sink=self._output
            )

    def _check_values(self, values: pl.Series, column: sa.Column[Any]) -> None:
        wrong = _misfit(values, column)
        if wrong is not None:
            row, why = wrong
            raise SinkError(
                f'column "{values.name}": {values[row]!r} {why} of {self._name} (row {self._staging.rows + row + 1:,})',
                sink=self._output,
            )

    def _check_new(self, staged: Staged) -> None:
        key = [self._mapper.get_property_by_column(column).key for column in self._mapper.primary_key]
        if not self._database.exists() or not set(key) <= set(self._staging.schema):
            return
        known = self._columns()
        with self._database.reading() as connection:
            if not sa.inspect(connection).has_table(_table(self._mapper).name):
                return
            for values in _rows([StagedFile(**file) for file in staged["files"]]):
                query = sa.select(sa.literal(1)).where(*(known[name] == values[name] for name in key))
                if connection.execute(query).first() is not None:
                    shown = ", ".join(f"{name}={values[name]!r}" for name in key)
                    raise SinkError(
                        f'{self._name} with {shown} is there already; mode "upsert" replaces it', sink=self._output
                    )

    def _columns(self) -> dict[str, sa.Column[Any]]:
        """The columns of the table by the attributes of the class."""
        return _columns(self._mapper)

    @property
    def _name(self) -> str:
        return self._mapper.class_.__name__


class _Saving:
    """Rows on their way into a repository."""

    def __init__(
        self, session: Session, repository: Repository[Any], mapper: Mapper[Any], staged: Mapping[str, Any]
    ) -> None:
        self._session, self._repository, self._mapper = session, repository, mapper
        self._mode: Mode = staged["mode"]
        self._output: str = staged["output"]
        self._identity = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
        self._key: list[str] = staged["key"] or []

    def save(self, files: Sequence[StagedFile]) -> None:
        """Save all rows, and delete what the mode does not keep."""
        if self._mode in ("replace", "merge"):
            self._session.execute(sa.delete(self._mapper.class_))
        seen = set()
        for number, values in enumerate(_rows(files), 1):
            entity = _made(self._mapper, values, f"row {number:,}", self._output)
            if self._mode in ("append", "replace", "merge"):
                self._repository.add(entity)
            else:
                seen.add(self._save(entity, values))
            if number % _AT_ONCE == 0:
                self._session.expunge_all()
        if self._mode == "delete_missing":
            for identity in self._identities():
                if identity not in seen:
                    self._repository.delete(_single(identity))

    def _save(self, entity: Any, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """Save one row over what has its key; returns its identity."""
        if self._key != self._identity:
            known = _columns(self._mapper)
            there = self._identities(*(known[name] == values[name] for name in self._key))
            if there:
                for name, value in zip(self._identity, there[0], strict=True):
                    setattr(entity, name, value)
            # Rows that were added once may have one key.
            for identity in there[1:]:
                self._repository.delete(_single(identity))
        kept = self._repository.save(entity)
        return tuple(self._mapper.primary_key_from_instance(kept))

    def _identities(self, *conditions: sa.ColumnElement[bool]) -> list[tuple[Any, ...]]:
        query = sa.select(*self._mapper.primary_key).where(*conditions)
        return [tuple(row) for row in self._session.execute(query)]


def _mapper(entity: type[Any]) -> Mapper[Any]:
    from sqlalchemy.orm import Session  # noqa: PLC0415 - who maps no class need not wait for it

    # The repository says what is wrong with a class.
    SqlRepository(Session, entity)
    mapper: Mapper[Any] = sa.inspect(entity)
    if len(mapper.tables) != 1:
        raise ConfigurationError(f"{entity.__name__} is mapped to several tables, and rows go to one", where="Entities")
    if "<locals>" in entity.__qualname__:
        raise ConfigurationError(
            f"{entity.__name__} is defined in a function: put it at the top of a module, from which whoever resumes a "
            "run can import it",
            where="Entities",
        )
    return mapper


def _made(mapper: Mapper[Any], values: Mapping[str, Any], place: str, output: str) -> Any:
    """The object of a row.

    Raises:
        SinkError: a validator of the class refuses it.
    """
    # Not by its constructor, which may want what the rows do not have.
    entity: Any = mapper.class_manager.new_instance()
    for name, value in values.items():
        try:
            setattr(entity, name, value)
        except Exception as error:
            raise SinkError(
                f"{mapper.class_.__name__}.{name} does not take {value!r} ({place}): {error}", sink=output
            ) from error
    return entity


def _table(mapper: Mapper[Any]) -> sa.Table:
    table = mapper.local_table
    if not isinstance(table, sa.Table):
        raise ConfigurationError(f"{mapper.class_.__name__} is mapped to no table", where="Entities")
    return table


def _check_table(connection: sa.Connection, mapper: Mapper[Any], output: str) -> None:
    """See that the table, if it is there, has the columns of its class; others and their types are its owner's."""
    table = _table(mapper)
    inspector = sa.inspect(connection)
    if not inspector.has_table(table.name):
        return
    there = {column["name"] for column in inspector.get_columns(table.name)}
    missing = next((column.name for column in table.columns if column.name not in there), None)
    if missing is not None:
        raise SinkError(
            f'table "{table.name}" has no column "{missing}", which {mapper.class_.__name__} has: migrate it',
            sink=output,
        )


def _columns(mapper: Mapper[Any]) -> dict[str, sa.Column[Any]]:
    columns = ((attribute.key, attribute.columns[0]) for attribute in mapper.column_attrs)
    return {name: column for name, column in columns if isinstance(column, sa.Column)}


def _imported(path: str, output: str) -> type[Any]:
    """The class of a path such as "shop.models:Customer"."""
    module, _, name = path.partition(":")
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise SinkError(f"the class {name} of {module} cannot be imported: {error}", sink=output) from None
    made: type[Any] = found
    return made


def _rows(files: Sequence[StagedFile]) -> Iterator[dict[str, Any]]:
    for file in files:
        # Some databases forget the zone of a moment: all are told in UTC.
        utc = cs.datetime(time_zone="*").dt.convert_time_zone("UTC")
        yield from scan([file], "arrow").with_columns(utc).collect().iter_rows(named=True)


def _series(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        return pl.Series(name, values, dtype=dtype)
    moments = [v.replace(tzinfo=UTC) if v is not None and v.tzinfo is None else v for v in values]
    return pl.Series(name, moments, dtype=pl.Datetime(dtype.time_unit, "UTC")).dt.convert_time_zone(dtype.time_zone)


def _single(identity: tuple[Any, ...]) -> Any:
    return identity[0] if len(identity) == 1 else identity


def _takes(kind: sa.types.TypeEngine[Any], dtype: pl.DataType) -> bool:
    try:
        taken = kind.python_type
    except NotImplementedError:
        # A type of one's own does not say what it takes.
        return True
    if isinstance(dtype, pl.Null):
        return True
    if isinstance(kind, sa.DateTime) and isinstance(dtype, pl.Datetime):
        return kind.timezone == (dtype.time_zone is not None)
    if dtype.is_nested() and isinstance(kind, sa.JSON):
        return _is_json(dtype)
    given = str if isinstance(dtype, pl.Enum | pl.Categorical) else dtype.to_python()
    return taken in _TAKES.get(given, ())


def _is_json(dtype: Any) -> bool:
    """Whether all values in a nested column are such as JSON has: no decimals, no dates."""
    if isinstance(dtype, pl.List | pl.Array):
        return _is_json(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return all(_is_json(inner.dtype) for inner in dtype.fields)
    return isinstance(dtype, pl.String | pl.Boolean | pl.Null) or dtype.is_integer() or dtype.is_float()


def _misfit(values: pl.Series, column: sa.Column[Any]) -> tuple[int, str] | None:
    """The first value that a column does not take, and why."""
    kind = column.type
    checks: list[tuple[pl.Series, str]] = []
    if not column.nullable:
        checks.append((values.is_null(), "is not allowed in this column"))
    if isinstance(kind, SqlDecimal) and isinstance(values.dtype, pl.Decimal):
        narrow = values.cast(pl.Decimal(kind.precision, kind.scale), strict=False)
        wide = narrow.cast(values.dtype, strict=False)
        checks.append((wide.ne_missing(values), f"does not fit into Decimal({kind.precision}, {kind.scale})"))
    elif isinstance(kind, sa.Integer) and values.dtype.is_integer():
        bits = 63 if isinstance(kind, sa.BigInteger) else 15 if isinstance(kind, sa.SmallInteger) else 31
        outside = ~values.is_between(-(2**bits), 2**bits - 1)
        checks.append((outside.fill_null(value=False), f"does not fit into the {bits + 1} bits"))
    elif isinstance(kind, sa.String) and kind.length is not None and isinstance(values.dtype, pl.String):
        checks.append(
            ((values.str.len_chars() > kind.length).fill_null(value=False), f"is over {kind.length} characters")
        )
    elif isinstance(kind, sa.Float) and values.dtype.is_float():
        checks.append((values.is_nan().fill_null(value=False), "would be NULL in some databases"))
    if values.dtype == pl.Time or getattr(values.dtype, "time_unit", "") == "ns":
        coarse = pl.Series(values.to_list(), dtype=values.dtype)
        checks.append((coarse.ne_missing(values), "is finer than the microseconds"))
    for wrong, why in checks:
        row = wrong.arg_max() if wrong.any() else None
        if row is not None:
            return row, why
    return None
