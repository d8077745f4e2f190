"""The tables of the run store."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from assay.runs.database import take_turns

METADATA: Final = sa.MetaData()
RUNS: Final = sa.Table(
    "runs",
    METADATA,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("sequence", sa.Integer, nullable=False, index=True),
    sa.Column("pipeline", sa.String, nullable=False, index=True),
    sa.Column("parent", sa.String(16)),
    # Of what goes in and what is done with it; null where that cannot be known.
    sa.Column("fingerprint", sa.String(64), index=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("started", sa.String(32), nullable=False),
    sa.Column("seconds", sa.String(32)),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("ledger", sa.Text),
    sa.Column("outputs", sa.Text),
    sa.Column("decision", sa.Text),
    sa.Column("error", sa.Text),
)
REJECTS: Final = sa.Table(
    "rejects",
    METADATA,
    sa.Column("run", sa.String(16), sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("record", sa.BigInteger, nullable=False),
    sa.Column("line", sa.BigInteger, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("format", sa.String(64), nullable=False),
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("errors", sa.Text, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("edited", sa.LargeBinary),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("closed_by", sa.Text),
)
#: Who runs a pipeline now.
LEASES: Final = sa.Table(
    "leases",
    METADATA,
    sa.Column("pipeline", sa.String(200), primary_key=True),
    sa.Column("owner", sa.String(40), nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("counter", sa.BigInteger, nullable=False),
)
#: What was in a file when it was read, so that it need not be read again to know.
FILES: Final = sa.Table(
    "files",
    METADATA,
    sa.Column("path", sa.String(4096), primary_key=True),
    sa.Column("stat", sa.String(100), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)
#: The files whose records a pipeline has published, by the hash of their bytes.
PUBLISHED_FILES: Final = sa.Table(
    "published_files",
    METADATA,
    sa.Column("pipeline", sa.String(200), primary_key=True),
    sa.Column("target", sa.String(64), primary_key=True),
    sa.Column("path", sa.String(4096), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("run", sa.String(16), nullable=False),
)


def create_tables(engine: sa.Engine) -> None:
    """Make what is missing, also columns that an older Assay did not have."""
    with engine.connect() as connection:
        if not any(_missing(connection, table) for table in METADATA.sorted_tables):
            return
    with engine.begin() as connection:
        take_turns(connection)
        METADATA.create_all(connection)
        for table in METADATA.sorted_tables:
            for column in _missing(connection, table):
                ddl = sa.schema.CreateColumn(column).compile(dialect=engine.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD {ddl}")


def _missing(connection: sa.Connection, table: sa.Table) -> list[sa.Column[Any]]:
    inspector = sa.inspect(connection)
    if not inspector.has_table(table.name):
        return list(table.columns)
    there = {column["name"] for column in inspector.get_columns(table.name)}
    return [column for column in table.columns if column.name not in there]
