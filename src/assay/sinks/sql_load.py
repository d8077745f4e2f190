"""How staged rows come into a table of an SQL database, mode by mode, within one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from assay.sinks.protocol import KEEPING, check_same_columns
from assay.sinks.sql_copy import copy
from assay.sinks.sql_database import STAGED_ROWS, Database, Found
from assay.sinks.sql_values import to_sqlite
from assay.sinks.staging import StagedFile, scan

_INSERT_ROWS: Final = 10_000


def load(connection: sa.Connection, database: Database, staged: Mapping[str, Any], files: Sequence[StagedFile]) -> None:
    """Put the rows of a run into its table, as its mode says; see `protocol`.

    Raises:
        SinkError: the table is not what it was.
    """
    schema = scan(files, "arrow").collect_schema()
    table = database.table_of(schema)
    key = tuple(staged["key"] or ())
    mode, how = staged["mode"], staged["on_schema_change"]
    found = database.check_columns(connection, table, how)
    stored = database.latest(connection)[1]
    if stored is not None and mode in KEEPING:
        check_same_columns(stored, schema, database.output, ordered=False, on_schema_change=how)
    if found is None:
        table.create(connection)
        _fill(connection, table, files)
        return
    for name in found.added:
        _add_column(connection, table, name)
    if mode != "append":
        _keep_others_out(connection, table)
    if mode in ("replace", "merge"):
        connection.execute(table.delete())
    if mode in ("append", "replace", "merge") and _takes_all(connection, found):
        _fill(connection, table, files)
        return
    rows = _staged_rows(connection, table, files)
    if mode == "upsert":
        _delete_same_keys(connection, table, rows, key)
    if mode == "delete_missing":
        _delete_differing(connection, table, rows, key)
        _insert_new_keys(connection, table, rows, key)
    else:
        connection.execute(table.insert().from_select([c.name for c in rows.columns], sa.select(rows)))
    rows.drop(connection)


def _delete_same_keys(connection: sa.Connection, table: sa.Table, rows: sa.Table, key: Sequence[str]) -> None:
    _index(connection, table, key)
    if connection.dialect.name == "postgresql":
        # A join takes half as long: it need not see that no key comes twice.
        connection.execute(table.delete().where(_same_key(table, rows, key)))
    else:
        keys = sa.select(*(rows.c[name] for name in key))
        connection.execute(table.delete().where(sa.tuple_(*(table.c[name] for name in key)).in_(keys)))


def _delete_differing(connection: sa.Connection, table: sa.Table, rows: sa.Table, key: Sequence[str]) -> None:
    if connection.dialect.name == "sqlite":
        # PostgreSQL makes a hash of either side by itself.
        _index(connection, rows, key)
        _index(connection, table, key)
    keys = [table.c[name] for name in key]
    # Rows that were appended once may have one key.
    repeated = sa.select(*keys).group_by(*keys).having(sa.func.count() > 1)
    connection.execute(table.delete().where(sa.tuple_(*keys).in_(repeated)))
    same = [table.c[column.name].is_not_distinct_from(column) for column in rows.columns if column.name not in key]
    connection.execute(table.delete().where(~sa.exists().where(_same_key(table, rows, key), *same)))


def _insert_new_keys(connection: sa.Connection, table: sa.Table, rows: sa.Table, key: Sequence[str]) -> None:
    new = sa.select(rows).where(~sa.exists().where(_same_key(table, rows, key)))
    connection.execute(table.insert().from_select([column.name for column in rows.columns], new))


def _same_key(table: sa.Table, rows: sa.Table, key: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == rows.c[name] for name in key))


def _takes_all(connection: sa.Connection, found: Found) -> bool:
    """Whether rows can be put into the table as they are: COPY's binary format converts nothing."""
    return found.same or connection.dialect.name != "postgresql"


def _keep_others_out(connection: sa.Connection, table: sa.Table) -> None:
    """Nobody else changes the rows until the end; reading goes on. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        name = connection.dialect.identifier_preparer.format_table(table)
        connection.exec_driver_sql(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")


def _staged_rows(connection: sa.Connection, table: sa.Table, files: Sequence[StagedFile]) -> sa.Table:
    """The rows in a temporary table."""
    columns = [sa.Column(column.name, column.type) for column in table.columns]
    rows = sa.Table(STAGED_ROWS, sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    rows.create(connection)
    _fill(connection, rows, files)
    return rows


def _fill(connection: sa.Connection, table: sa.Table, files: Sequence[StagedFile]) -> None:
    if connection.dialect.name == "postgresql":
        copy(connection, table, _frames(files))
    else:
        _insert(connection, table, _frames(files))


def _frames(files: Sequence[StagedFile]) -> Iterator[pl.DataFrame]:
    for file in files:
        yield pl.read_ipc(file.path)


def _insert(connection: sa.Connection, table: sa.Table, frames: Iterator[pl.DataFrame]) -> None:
    statement = table.insert().values({column.name: sa.bindparam(f"p{i}") for i, column in enumerate(table.columns)})
    # The values are as the driver takes them already: SQLAlchemy would look at each of them again.
    text = str(statement.compile(dialect=connection.dialect))
    for frame in frames:
        for part in frame.iter_slices(_INSERT_ROWS):
            connection.exec_driver_sql(text, list(zip(*(to_sqlite(column) for column in part), strict=True)))


def _add_column(connection: sa.Connection, table: sa.Table, name: str) -> None:
    column = sa.schema.CreateColumn(table.c[name]).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {connection.dialect.identifier_preparer.format_table(table)} ADD {column}")


def _index(connection: sa.Connection, table: sa.Table, key: Sequence[str]) -> None:
    """Make sure that rows are found by their key without looking at all others."""
    inspector = sa.inspect(connection)
    known: list[Sequence[str | None]] = [index["column_names"] for index in inspector.get_indexes(table.name)]
    known.append(inspector.get_pk_constraint(table.name)["constrained_columns"])
    if not any(list(names[: len(key)]) == list(key) for names in known):
        digest = hashlib.sha256("\0".join((table.name, *key)).encode()).hexdigest()
        sa.Index(f"assay_key_{digest[:16]}", *(table.c[name] for name in key)).create(connection)
