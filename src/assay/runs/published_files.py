"""Which files' records a pipeline has published, by the hash of their bytes."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from assay.runs.tables import PUBLISHED_FILES


class PublishedFiles:
    """The memory of incremental pipelines.

    Args:
        engine: The run store.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def of(self, pipeline: str, target: str) -> dict[str, tuple[str, str]]:
        """By path, hash and run of each file whose records have been published to these outputs."""
        table = PUBLISHED_FILES
        query = sa.select(table.c.path, table.c.sha256, table.c.run).where(
            table.c.pipeline == pipeline, table.c.target == target
        )
        with self._engine.connect() as connection:
            return {row.path: (row.sha256, row.run) for row in connection.execute(query)}


def note_published(
    connection: sa.Connection, run: str, pipeline: str, target: str, files: Mapping[str, str], *, anew: bool
) -> None:
    """Note, in the transaction that decides to publish, whose records these are.

    A file whose bytes an earlier run has published, under whatever name, stays that run's.

    Args:
        connection: A transaction.
        run: The run.
        pipeline: Its pipeline.
        target: What its outputs are remembered by.
        files: By path, the hash.
        anew: Whether nothing of before is published any more.
    """
    table = PUBLISHED_FILES
    of = (table.c.pipeline == pipeline, table.c.target == target)
    if anew:
        connection.execute(table.delete().where(*of))
    runs = {row.sha256: row.run for row in connection.execute(sa.select(table.c.sha256, table.c.run).where(*of))}
    for path, digest in files.items():
        connection.execute(table.delete().where(*of, table.c.path == path))
        by = runs.get(digest, run)
        values = {"pipeline": pipeline, "target": target, "path": path, "sha256": digest, "run": by}
        connection.execute(table.insert().values(values))


def forget_published(connection: sa.Connection, run: str) -> None:
    """Take back what `note_published` has noted of a run."""
    connection.execute(PUBLISHED_FILES.delete().where(PUBLISHED_FILES.c.run == run))
