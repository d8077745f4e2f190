"""Asking for dead letters: in SQL, so that a million of them do not come into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict

import sqlalchemy as sa

from assay.errors import ConfigurationError
from assay.runs.tables import REJECTS, RUNS

State: TypeAlias = Literal["open", "replayed", "discarded", "superseded", "purged"]
"""What became of a dead letter: `superseded` is one that a later run has made void, since it has read the record again
or replaced what the record would be added to; `purged` is one whose bytes were deleted after their time."""


class Which(TypedDict, total=False):
    """Which dead letters are meant; what is not given may be anything.

    Attributes:
        pipeline: Of the runs of this pipeline.
        stage: Rejected at this stage.
        type: With an error of this type, such as "missing".
        field: With an error at this place, such as "lines.0.price"; `*` stands for any part, "" for no place. Where
            `type` is given too, it is one error that has both.
        file: From this source: as it was named, or the end of its path; `*` stands for any part.
        state: In this state.
    """

    pipeline: str | None
    stage: str | None
    type: str | None
    field: str | None
    file: str | None
    state: str | None


@dataclass(frozen=True)
class Kind:
    """Errors of one kind among dead letters: of one stage, place and type.

    Attributes:
        stage: Where the records were rejected.
        field: The place in the record, its parts joined by dots; "" where the error has none.
        type: The type of the error.
        count: How many there are.
        open: How many of them are of records that are still open.
        values: How many different wrong values there are among them.
        run: The run of the first one; of the first open one, where there is any.
        number: Its number in that run.
    """

    stage: str
    field: str
    type: str
    count: int
    open: int
    values: int
    run: str
    number: int


class Queries:
    """What is asked of the tables of dead letters and runs.

    Args:
        dialect: Name of the database's dialect; only SQLite and PostgreSQL look into errors.
    """

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    def letters(self, run: str | None, limit: int | None, which: Which) -> sa.Select[Any]:
        """The letters, by run and number."""
        query = self._of(sa.select(REJECTS), run, which)
        return query.order_by(RUNS.c.sequence, REJECTS.c.number).limit(limit)

    def states(self, run: str | None, which: Which) -> sa.Select[Any]:
        """State and how many."""
        state = REJECTS.c.state
        return self._of(sa.select(state, sa.func.count()), run, which).group_by(state)

    def kinds(self, run: str | None, which: Which) -> sa.Select[Any]:
        """Stage, place, type, and how many errors, open ones and different values there are."""
        errors = self._errors()
        still_open = sa.case((REJECTS.c.state == "open", 1), else_=0)
        group = (REJECTS.c.stage, errors.field, errors.type)
        figures = (sa.func.count(), sa.func.sum(still_open), sa.func.count(sa.distinct(errors.input)))
        return self._with_errors(sa.select(*group, *figures), errors, run, which).group_by(*group)

    def firsts(self, run: str | None, which: Which) -> sa.Select[Any]:
        """By kind and run, in the order of runs: the first number, and the first open one or None."""
        errors = self._errors()
        number = REJECTS.c.number
        first_open = sa.func.min(sa.case((REJECTS.c.state == "open", number)))
        group = (REJECTS.c.stage, errors.field, errors.type, REJECTS.c.run)
        query = sa.select(*group, sa.func.min(number), first_open)
        return self._with_errors(query, errors, run, which).group_by(*group, RUNS.c.sequence).order_by(RUNS.c.sequence)

    def _of(self, query: sa.Select[Any], run: str | None, which: Which) -> sa.Select[Any]:
        joined = REJECTS.join(RUNS, REJECTS.c.run == RUNS.c.id)
        query = query.select_from(joined).where(*self._conditions(run, which))
        if which.get("type") is None and which.get("field") is None:
            return query
        errors = self._errors()
        one = sa.select(sa.literal(1)).select_from(errors.source).where(*errors.conditions(which))
        return query.where(one.correlate(REJECTS).exists())

    def _with_errors(self, query: sa.Select[Any], errors: _Errors, run: str | None, which: Which) -> sa.Select[Any]:
        joined = REJECTS.join(RUNS, REJECTS.c.run == RUNS.c.id)
        query = query.select_from(joined.join(errors.source, sa.true()))
        return query.where(*self._conditions(run, which), *errors.conditions(which))

    def _conditions(self, run: str | None, which: Which) -> list[sa.ColumnElement[bool]]:
        rejects, made = REJECTS.c, []
        if run is not None:
            made.append(rejects.run == run)
        wanted = ((RUNS.c.pipeline, "pipeline"), (rejects.stage, "stage"), (rejects.state, "state"))
        made += [column == value for column, name in wanted if (value := which.get(name)) is not None]
        file = which.get("file")
        if file is not None:
            made.append(sa.or_(_like(rejects.source, file), _like(rejects.source, f"*/{file}")))
        return made

    def _errors(self) -> _Errors:
        text = REJECTS.c.errors
        # Names as literals: PostgreSQL does not know that two parameters, of which one is in GROUP BY, are equal.
        if self._dialect == "sqlite":
            each = sa.func.json_each(text).table_valued("value", name="error")
            return _Errors(each, *(sa.func.json_extract(each.c.value, _literal(f"$.{name}")) for name in _PARTS))
        if self._dialect == "postgresql":
            # PostgreSQL's texts have no NUL.
            sound = sa.func.replace(text, "\\u0000", "\\ufffd")
            each = sa.func.json_array_elements(sa.cast(sound, sa.JSON)).table_valued("value", name="error")
            return _Errors(each, *(each.c.value.op("->>")(_literal(name)) for name in _PARTS))
        raise ConfigurationError(
            f"a run store in {self._dialect} cannot be asked for kinds of errors: use SQLite or PostgreSQL"
        )


_PARTS = ("loc", "type", "input")


@dataclass(frozen=True)
class _Errors:
    """The errors of a letter as rows."""

    source: Any
    field: sa.ColumnElement[Any]
    type: sa.ColumnElement[Any]
    input: sa.ColumnElement[Any]

    def conditions(self, which: Which) -> list[sa.ColumnElement[bool]]:
        made = []
        if (kind := which.get("type")) is not None:
            made.append(self.type == kind)
        if (field := which.get("field")) is not None:
            made.append(_like(self.field, field))
        return made


def _literal(text: str) -> sa.ColumnElement[str]:
    return sa.literal_column(f"'{text}'")


def _like(column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
    """Equal, `*` being any text."""
    if "*" not in pattern:
        return column == pattern
    escaped = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_").replace("*", "%")
    return column.like(escaped, escape="!")
