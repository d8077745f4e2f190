"""The run store: history of runs, their decisions, and dead letters, in one SQL database."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Unpack

import polars as pl
import sqlalchemy as sa

from assay.errors import ConfigurationError, NotFoundError, RunStoreError
from assay.records import REJECTS as FRAME
from assay.runs.database import file_of, open_engine, take_turns
from assay.runs.dead_letters import Kind, Queries, State, Which
from assay.runs.known_files import KnownFiles
from assay.runs.lease import Lease, leased
from assay.runs.published_files import PublishedFiles, forget_published
from assay.runs.tables import REJECTS, RUNS, create_tables

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Status = Literal["running", "published", "failed", "rejected", "interrupted"]

#: Letters of run ids: none that are taken for another.
_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"


@dataclass(frozen=True)
class Run:
    """One run as it is remembered. `ledger`, `outputs`, `definition` and `error` are as JSON has them."""

    id: str
    pipeline: str
    parent: str | None
    status: Status
    started: str
    seconds: float | None
    definition: dict[str, Any]
    ledger: dict[str, Any] | None
    outputs: dict[str, Any] | None
    decision: list[dict[str, Any]] | None
    error: dict[str, Any] | None


@dataclass(frozen=True)
class DeadLetter:
    """One rejected record as it is kept; `raw` is empty once it is purged."""

    run: str
    number: int
    source: str
    record: int
    line: int
    offset: int
    format: str
    stage: str
    errors: list[dict[str, str]]
    raw: bytes
    edited: bytes | None
    state: State
    closed_by: str | None

    @property
    def current(self) -> bytes:
        """The record's bytes, as edited where it was."""
        return self.raw if self.edited is None else self.edited


class RunStore:
    """Runs and dead letters.

    Args:
        url: An SQLAlchemy URL, of SQLite or PostgreSQL. A missing SQLite file and its folder are made.

    Raises:
        ConfigurationError: the database cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._letters = Queries(self._engine.dialect.name)
        try:
            create_tables(self._engine)
        except RunStoreError as error:
            self._engine.dispose()
            raise ConfigurationError(f"the run store {error.message}") from None
        self._file = file_of(self._engine)

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def start(self, pipeline: str, definition: Mapping[str, Any], parent: str | None, *, staging: Path) -> str:
        """Note that a run begins, and that it stages in a folder of its name under `staging`.

        Returns:
            Its id.
        """
        with self._engine.begin() as connection:
            take_turns(connection)
            last = connection.scalar(sa.select(sa.func.max(RUNS.c.sequence))) or 0
            run = "".join(secrets.choice(_ALPHABET) for _ in range(6))
            connection.execute(
                RUNS.insert().values(
                    id=run,
                    sequence=last + 1,
                    pipeline=pipeline,
                    parent=parent,
                    status="running",
                    started=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                    definition=_dump({**definition, "staging": str(staging / run)}),
                )
            )
        return run

    def lease(
        self, pipeline: str, lock: Path, *, host: str, seconds: float, wait: float = 0.0
    ) -> AbstractContextManager[Lease]:
        """Hold the lease on a pipeline; see `leased`."""
        return leased(self._engine, pipeline, lock, host=host, seconds=seconds, wait=wait)

    @property
    def known_files(self) -> KnownFiles:
        """Hashes of the files that were read before."""
        return KnownFiles(self._engine)

    @property
    def published_files(self) -> PublishedFiles:
        """Which files' records were published."""
        return PublishedFiles(self._engine)

    def decide(
        self,
        run: str,
        ledger: Mapping[str, Any],
        decision: Sequence[Mapping[str, Any]],
        *,
        fingerprint: str | None,
        lease: Lease,
        files: Callable[[sa.Connection], None] | None = None,
    ) -> None:
        """Note durably what is to be published: from here on a run goes forward.

        Args:
            run: The run.
            ledger: Its ledger.
            decision: What the outputs have prepared.
            fingerprint: What the run is known by when it comes again.
            lease: The lease it runs under.
            files: Notes in the same transaction whose records these are.

        Raises:
            LedgerError: the lease is lost.
            RunStoreError: the store's file was deleted or replaced: what is written to it is lost.
        """
        if file_of(self._engine) != self._file:
            raise RunStoreError(
                f"{self._engine.url.database}: the file of the run store was deleted or replaced while the run was "
                "under way; nothing was published. Put it back if you can: it knows what was published before"
            )
        with self._engine.begin() as connection:
            values = {"ledger": _dump(ledger), "decision": _dump(decision), "fingerprint": fingerprint}
            # A write first: SQLite then lets nobody else write before this is committed.
            connection.execute(RUNS.update().where(RUNS.c.id == run).values(values))
            lease.check(connection)
            if files is not None:
                files(connection)

    def last_published(self, pipeline: str) -> Run | None:
        """The last run of a pipeline that published, replays aside."""
        return self._first(RUNS.c.pipeline == pipeline, RUNS.c.status == "published", RUNS.c.parent.is_(None))

    def published(self, pipeline: str) -> Iterator[Run]:
        """All runs of a pipeline that published, the last first, replays aside."""
        return self._runs(RUNS.c.pipeline == pipeline, RUNS.c.status == "published", RUNS.c.parent.is_(None))

    def published_since(self, run: Run, *, replays: bool = False) -> Iterator[Run]:
        """Runs of the same pipeline, and replays if wanted, that published after a run began, the last first."""
        began = sa.select(RUNS.c.sequence).where(RUNS.c.id == run.id).scalar_subquery()
        of = [RUNS.c.pipeline == run.pipeline, RUNS.c.status == "published", RUNS.c.sequence > began]
        return self._runs(*of, *([] if replays else [RUNS.c.parent.is_(None)]))

    def abandoned(self, pipeline: str) -> list[Run]:
        """Runs of a pipeline that had decided to publish and were given up, the last first."""
        query = (
            sa.select(RUNS)
            .where(RUNS.c.pipeline == pipeline, RUNS.c.decision.is_not(None), RUNS.c.status == "failed")
            .order_by(RUNS.c.sequence.desc())
        )
        with self._engine.connect() as connection:
            return [_run(row) for row in connection.execute(query).mappings()]

    def last_decided(self, pipeline: str, output: str | None) -> Run | None:
        """The last run of a pipeline that decided to publish to a folder, whether it has finished that or not."""
        decided = (RUNS.c.decision.is_not(None), RUNS.c.status.in_(("published", "running")))
        runs = self._runs(RUNS.c.pipeline == pipeline, *decided)
        return next((run for run in runs if run.definition.get("output") == output), None)

    def published_as(self, pipeline: str, fingerprint: str) -> Run | None:
        """The last run of a pipeline that published with this fingerprint."""
        return self._first(RUNS.c.pipeline == pipeline, RUNS.c.fingerprint == fingerprint, RUNS.c.status == "published")

    def give_up(self, run: str) -> None:
        """Take back that the records of a run's files are published."""
        with self._engine.begin() as connection:
            forget_published(connection, run)

    def forget(self, run: str) -> None:
        """Remove a run that had nothing to do, and what it rejected."""
        with self._engine.begin() as connection:
            connection.execute(REJECTS.delete().where(REJECTS.c.run == run))
            connection.execute(RUNS.delete().where(RUNS.c.id == run))

    def finish(
        self,
        run: str,
        status: Status,
        *,
        seconds: float | None = None,
        ledger: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """Note how a run ended."""
        values: dict[str, Any] = {"status": status}
        if status == "published":
            # A run that was resumed has an error from before, which says to resume it.
            values["error"] = None
        if seconds is not None:
            values["seconds"] = f"{seconds:.3f}"
        for name, value in (("ledger", ledger), ("outputs", outputs), ("error", error)):
            if value is not None:
                values[name] = _dump(value)
        self._update(run, **values)

    def get(self, name: str, pipeline: str | None = None) -> Run:
        """A run by its id, the beginning of its id, or `latest`.

        Raises:
            NotFoundError: none, or several begin so.
        """
        query = sa.select(RUNS).order_by(RUNS.c.sequence.desc()).limit(2)
        if pipeline is not None:
            query = query.where(RUNS.c.pipeline == pipeline)
        if name != "latest":
            query = query.where(RUNS.c.id.startswith(name, autoescape=True))
        with self._engine.connect() as connection:
            found = connection.execute(query).mappings().all()
        exact = [row for row in found if row["id"] == name]
        if not found or (len(found) > 1 and name != "latest" and not exact):
            raise NotFoundError("run" if not found else "single run that begins with", name)
        return _run((exact or found)[0])

    def runs(self, limit: int = 20, pipeline: str | None = None, status: Status | None = None) -> list[Run]:
        """Runs, the last first."""
        query = sa.select(RUNS).order_by(RUNS.c.sequence.desc()).limit(limit)
        if pipeline is not None:
            query = query.where(RUNS.c.pipeline == pipeline)
        if status is not None:
            query = query.where(RUNS.c.status == status)
        with self._engine.connect() as connection:
            return [_run(row) for row in connection.execute(query).mappings()]

    def pipelines(self) -> list[str]:
        """The names of all pipelines that have runs."""
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(RUNS.c.pipeline).distinct().order_by(RUNS.c.pipeline)))

    def add_rejects(self, run: str, rejects: pl.DataFrame, formats: Mapping[str, str], first: int) -> None:
        """Keep rejects, numbered from `first`; `formats` tells by source how they are read."""
        if not rejects.height:
            return
        rows = [
            {
                "run": run,
                "number": first + index,
                "source": row["source"],
                "record": row["record"],
                "line": row["line"],
                "offset": row["offset"],
                "format": formats[row["source"]],
                "stage": row["stage"],
                "errors": _dump(row["errors"]),
                "raw": zstd.compress(row["raw"]),
                "state": "open",
            }
            for index, row in enumerate(rejects.iter_rows(named=True))
        ]
        with self._engine.begin() as connection:
            connection.execute(REJECTS.insert(), rows)

    def dead_letters(
        self, run: str | None = None, *, limit: int | None = None, **which: Unpack[Which]
    ) -> Iterator[DeadLetter]:
        """Dead letters by run and number, one at a time from the database.

        Args:
            run: Id of the run; by default of all runs.
            limit: At most so many.
            which: What else is asked of them; see `Which`.
        """
        query = self._letters.letters(run, limit, which)
        with self._engine.connect().execution_options(yield_per=1000) as connection:
            for row in connection.execute(query).mappings():
                yield _letter(row)

    def mended(self, run: str) -> Iterator[DeadLetter]:
        """The dead letters of a run that were edited or replayed, one at a time from the database."""
        done = sa.or_(REJECTS.c.state == "replayed", REJECTS.c.edited.is_not(None))
        query = sa.select(REJECTS).where(REJECTS.c.run == run, done)
        with self._engine.connect().execution_options(yield_per=1000) as connection:
            for row in connection.execute(query).mappings():
                yield _letter(row)

    def dead_letter(self, run: str, number: int) -> DeadLetter:
        """One dead letter.

        Raises:
            NotFoundError: there is none of this number.
        """
        query = sa.select(REJECTS).where(REJECTS.c.run == run, REJECTS.c.number == number)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFoundError(f"reject of run {run}", number)
        return _letter(row)

    def count_rejects(self, run: str | None = None, **which: Unpack[Which]) -> dict[str, int]:
        """Dead letters by state."""
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(self._letters.states(run, which))}

    def reject_kinds(self, run: str | None = None, **which: Unpack[Which]) -> list[Kind]:
        """What kinds of errors dead letters have, the most frequent first; counted by the database.

        Raises:
            ConfigurationError: the store's database cannot be asked for errors.
        """
        with self._engine.connect() as connection:
            firsts: dict[tuple[str, ...], tuple[str, int]] = {}
            open_ones: dict[tuple[str, ...], tuple[str, int]] = {}
            for *kind, of, number, still_open in connection.execute(self._letters.firsts(run, which)):
                firsts.setdefault(tuple(kind), (of, number))
                if still_open is not None:
                    open_ones.setdefault(tuple(kind), (of, still_open))
            counted = connection.execute(self._letters.kinds(run, which)).all()
        kinds = []
        for stage, field, kind, count, still_open, values in counted:
            place = open_ones.get((stage, field, kind)) or firsts.get((stage, field, kind))
            # What was added in between has no first one yet.
            if place is not None:
                kinds.append(Kind(stage, field, kind, count, still_open, values, *place))
        return sorted(kinds, key=lambda kind: (-kind.count, kind.stage, kind.field, kind.type))

    def close_rejects(self, run: str, numbers: Sequence[int], state: Literal["replayed", "discarded"], by: str) -> None:
        """Mark dead letters as done with: by which replay, or for what reason."""
        with self._engine.begin() as connection:
            for number in numbers:
                connection.execute(
                    REJECTS.update()
                    .where(REJECTS.c.run == run, REJECTS.c.number == number)
                    .values(state=state, closed_by=by)
                )

    def open_before(self, run: Run) -> list[Run]:
        """Earlier runs of the same pipeline that have open dead letters, the last first."""
        began = sa.select(RUNS.c.sequence).where(RUNS.c.id == run.id).scalar_subquery()
        still_open = sa.select(REJECTS.c.run).where(REJECTS.c.state == "open")
        of = (RUNS.c.pipeline == run.pipeline, RUNS.c.sequence < began, RUNS.c.id.in_(still_open))
        return list(self._runs(*of))

    def supersede_rejects(self, run: str, by: str, sources: Collection[str] | None = None) -> None:
        """Mark the open dead letters of a run, or those of some sources, as made void; `by` says in words by what."""
        open_ones = (REJECTS.c.run == run, REJECTS.c.state == "open")
        values = {"state": "superseded", "closed_by": by}
        with self._engine.begin() as connection:
            if sources is None:
                connection.execute(REJECTS.update().where(*open_ones).values(values))
                return
            found = connection.scalars(sa.select(REJECTS.c.source).where(*open_ones).distinct()).all()
            for source in set(found).intersection(sources):
                connection.execute(REJECTS.update().where(*open_ones, REJECTS.c.source == source).values(values))

    def edit_reject(self, run: str, number: int, data: bytes) -> None:
        """Keep a corrected version of a record beside the original."""
        self.dead_letter(run, number)
        with self._engine.begin() as connection:
            connection.execute(
                REJECTS.update()
                .where(REJECTS.c.run == run, REJECTS.c.number == number)
                .values(edited=zstd.compress(data))
            )

    def purge_rejects(self, pipeline: str, before: dt.datetime) -> dict[str, int]:
        """Delete the bytes of the dead letters of runs that began before a moment, and the values in their errors.

        Counts, places and kinds of errors stay; the state becomes "purged", and `closed_by` says what it was.

        Returns:
            How many there were by the state they had.
        """
        moment = before.astimezone(dt.UTC).isoformat(timespec="seconds")
        runs = sa.select(RUNS.c.id).where(RUNS.c.pipeline == pipeline, RUNS.c.started < moment)
        query = sa.select(REJECTS).where(REJECTS.c.run.in_(runs), REJECTS.c.state != "purged").limit(1000)
        counts: dict[str, int] = {}
        with self._engine.connect() as connection, _erasing(connection):
            while found := connection.execute(query).mappings().all():
                connection.execute(
                    REJECTS.update()
                    .where(REJECTS.c.run == sa.bindparam("of"), REJECTS.c.number == sa.bindparam("at"))
                    .values(
                        raw=b"",
                        edited=None,
                        state="purged",
                        errors=sa.bindparam("emptied"),
                        closed_by=sa.bindparam("was"),
                    ),
                    [_purged(row) for row in found],
                )
                connection.commit()
                for row in found:
                    counts[row["state"]] = counts.get(row["state"], 0) + 1
        return counts

    def copy_edits(self, old: str, run: str) -> int:
        """Edit the open dead letters of a run as those of another run were edited that have the same bytes.

        Returns:
            How many were edited.
        """
        edits = {hashlib.sha256(d.raw).digest(): d.edited for d in self.dead_letters(old) if d.edited is not None}
        found = {
            letter.number: edits[digest]
            for letter in self.dead_letters(run, state="open")
            if (digest := hashlib.sha256(letter.raw).digest()) in edits
        }
        for number, data in found.items():
            self.edit_reject(run, number, data)
        return len(found)

    def rejects_frame(self, run: str, *, state: str | None = None) -> pl.DataFrame:
        """The dead letters of a run as a frame of rejects, as they were when they were rejected."""
        rows = [
            (d.source, d.record, d.line, d.offset, d.stage, d.errors, d.raw)
            for d in self.dead_letters(run, state=state)
        ]
        return pl.DataFrame(rows, schema=FRAME, orient="row")

    def _runs(self, *where: sa.ColumnElement[bool]) -> Iterator[Run]:
        """Some runs, the last first, a few at a time from the database."""
        query = sa.select(RUNS).where(*where).order_by(RUNS.c.sequence.desc())
        with self._engine.connect().execution_options(yield_per=10) as connection:
            for row in connection.execute(query).mappings():
                yield _run(row)

    def _first(self, *where: sa.ColumnElement[bool]) -> Run | None:
        """The last begun of some runs."""
        query = sa.select(RUNS).where(*where).order_by(RUNS.c.sequence.desc()).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _run(row)

    def _update(self, run: str, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(RUNS.update().where(RUNS.c.id == run).values(**values))


@contextmanager
def _erasing(connection: sa.Connection) -> Iterator[None]:
    """SQLite would leave what is deleted in free pages and in its log: here it is overwritten."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA secure_delete=ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA secure_delete=OFF")
        connection.commit()
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _purged(row: Mapping[Any, Any]) -> dict[str, str]:
    # Messages may name the value, too.
    errors = [{"loc": e["loc"], "type": e["type"], "msg": "", "input": ""} for e in _load(row["errors"])]
    was = ": ".join(part for part in (row["state"], row["closed_by"]) if part)
    return {"of": row["run"], "at": row["number"], "emptied": _dump(errors), "was": f"it was {was}"}


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _load(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _run(row: Mapping[Any, Any]) -> Run:
    return Run(
        id=row["id"],
        pipeline=row["pipeline"],
        parent=row["parent"],
        status=row["status"],
        started=row["started"],
        seconds=None if row["seconds"] is None else float(row["seconds"]),
        definition=_load(row["definition"]),
        ledger=_load(row["ledger"]),
        outputs=_load(row["outputs"]),
        decision=_load(row["decision"]),
        error=_load(row["error"]),
    )


def _letter(row: Mapping[Any, Any]) -> DeadLetter:
    fields = dict(row)
    fields["errors"] = _load(fields["errors"])
    fields["raw"] = zstd.decompress(fields["raw"]) if fields["state"] != "purged" else b""
    fields["edited"] = None if fields["edited"] is None else zstd.decompress(fields["edited"])
    return DeadLetter(**fields)
