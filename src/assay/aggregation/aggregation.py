"""Groups and their measures, computed batch by batch and merged in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from assay.aggregation.measure import (
    AggregationError,
    Dtypes,
    Measure,
    MergeableMeasure,
    Parts,
    is_scalar,
    named,
)
from assay.errors import ConfigurationError, unknown_name

# State columns are prefixed, so that no name of a user can clash with them.
_KEY: Final = "by/"
_PART: Final = "of/"


@dataclass(frozen=True)
class Aggregation:
    """Measures by groups.

    `partial` of each batch gives a state, `merge` makes one state of several, `finish` the result:

        states = [aggregation.partial(batch) for batch in batches]
        result = aggregation.finish(aggregation.merge(states))

    States can be merged in any order and any tree, and sent between processes as Arrow. A null key is a group like
    any other. Without keys there is one group, the grand total, also of no rows.

    Attributes:
        by: Key columns.
        measures: What is computed, by the name of its column in the result.
    """

    by: tuple[str, ...]
    measures: Mapping[str, Measure]

    def __post_init__(self) -> None:
        by: object = self.by
        if isinstance(by, str):
            raise ConfigurationError(f'keys are given as a tuple: by=("{by}",)')
        object.__setattr__(self, "by", tuple(self.by))
        object.__setattr__(self, "measures", dict(self.measures))
        if not self.measures:
            raise ConfigurationError("an aggregation needs at least one measure, such as rows=Count()")
        repeated = sorted({name for name in self.by if self.by.count(name) > 1})
        if repeated:
            raise ConfigurationError(f'"{repeated[0]}" is named twice as a key')
        clash = sorted(set(self.by) & set(self.measures))
        if clash:
            raise ConfigurationError(f'"{clash[0]}" names a key and a measure: give the measure another name')

    def check(self, schema: pl.Schema) -> pl.Schema:
        """The columns of the result, keys first, given those that come in.

        Raises:
            ConfigurationError: no such column, or one of a type that cannot be a key or that the measure does not
                take.
        """
        result: dict[str, pl.DataType] = {}
        for name in self.by:
            if name not in schema:
                raise ConfigurationError(f"key of an aggregation: {unknown_name('column', name, schema)}")
            if not is_scalar(schema[name]):
                raise ConfigurationError(f'"{name}" is {schema[name]} and cannot be a key: take a field of it')
            result[name] = schema[name]
        for name, measure in self.measures.items():
            try:
                result[name] = measure.result_dtype(schema)
            except ConfigurationError as error:
                raise ConfigurationError(error.message, where=f"measure {name}") from error
        return pl.Schema(result)

    def partial(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The state of one batch: one row a group.

        Raises:
            ConfigurationError: as `check`.
        """
        self.check(frame.schema)
        parts = [
            expr.alias(_part(name, part))
            for name, measure in self.measures.items()
            for part, expr in measure.partial(frame.schema).items()
        ]
        keys = [named(name).alias(_KEY + name) for name in self.by]
        return frame.group_by(keys).agg(parts) if keys else frame.select(parts)

    def merge(self, partials: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """One state of several, whatever their order; at least one (see `empty`).

        Raises:
            ConfigurationError: none was given, or they are not states of this aggregation over the same columns.
        """
        if not partials:
            raise ConfigurationError("there is no state to merge: begin with empty(schema)")
        state = _concatenated(partials)
        parts = [
            expr.alias(_part(name, part))
            for name, measure in self.measures.items()
            for part, expr in measure.merge(*_parts(state.schema, name)).items()
        ]
        keys = [named(_KEY + name) for name in self.by]
        return state.group_by(keys).agg(parts) if keys else state.select(parts)

    def finish(self, state: pl.DataFrame) -> pl.DataFrame:
        """The result of a merged state: keys, then measures; in the order of the keys, null last.

        Raises:
            AggregationError: a figure does not fit its column.
        """
        keys = [named(_KEY + name).alias(name) for name in self.by]
        figures = [
            measure.final(*_parts(state.schema, name)).alias(_PART + name) for name, measure in self.measures.items()
        ]
        present = {name: measure.has_value(_parts(state.schema, name)[0]) for name, measure in self.measures.items()}
        checks = [expr.alias(f"has/{name}") for name, expr in present.items() if expr is not None]
        computed = state.with_columns(*figures, *checks)
        for name, expr in present.items():
            if expr is not None:
                self._check_room(computed, name)
        result = computed.select(*keys, *(named(_PART + name).alias(name) for name in self.measures))
        return result.sort([named(name) for name in self.by], nulls_last=True) if self.by else result

    def empty(self, schema: pl.Schema) -> pl.DataFrame:
        """The state of no rows, which changes nothing when it is merged."""
        return self.partial(pl.DataFrame(schema=schema))

    def merge_results(self, stored: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
        """One result of a stored and a new one, as if their rows had been aggregated together.

        Raises:
            ConfigurationError: a measure's figure cannot be merged, or the results have different columns.
            AggregationError: a figure does not fit its column.
        """
        mergeable = self.mergeable()
        for name in (*self.by, *self.measures):
            for which, frame in (("stored", stored), ("new", new)):
                if name not in frame.schema:
                    raise ConfigurationError(f'the {which} result has no column "{name}"')
            if stored.schema[name] != new.schema[name]:
                raise ConfigurationError(
                    f'column "{name}" of the stored result is {stored.schema[name]}, of the new one {new.schema[name]}'
                )
        states = []
        for frame in (stored, new):
            keys = [named(name).alias(_KEY + name) for name in self.by]
            parts = [
                expr.alias(_part(name, part))
                for name, measure in mergeable.items()
                for part, expr in measure.from_result(named(name), frame.schema[name]).items()
            ]
            states.append(frame.select(*keys, *parts))
        return self.finish(self.merge(states))

    def mergeable(self) -> dict[str, MergeableMeasure]:
        """The measures, all of which can be merged.

        Raises:
            ConfigurationError: a measure's figure cannot be merged.
        """
        mergeable = {name: m for name, m in self.measures.items() if isinstance(m, MergeableMeasure)}
        fixed = [f"{name} ({type(m).__name__})" for name, m in self.measures.items() if name not in mergeable]
        if fixed:
            raise ConfigurationError(
                f"a stored result of {', '.join(fixed)} cannot be merged with a new one: the figure does not say what "
                'it was computed from. Use mode="replace", or store what can be merged, such as a sum and a count'
            )
        return mergeable

    def _check_room(self, computed: pl.DataFrame, name: str) -> None:
        lost = computed.filter(named(f"has/{name}") & named(_PART + name).is_null())
        if lost.is_empty():
            return
        first = lost.select(named(_KEY + key).alias(key) for key in self.by)
        if self.by:
            first = first.sort([named(key) for key in self.by], nulls_last=True).head(1)
        dtype = computed.schema[_PART + name]
        raise AggregationError(
            f"the figure does not fit its column, {dtype}",
            measure=name,
            group=first.row(0, named=True) if self.by else {},
        )


def _part(measure: str, part: str) -> str:
    return f"{_PART}{measure}/{part}"


def _parts(state: pl.Schema, measure: str) -> tuple[Parts, Dtypes]:
    """The parts of one measure: those state columns whose name is the measure's and one word more."""
    dtypes = {
        column.removeprefix(f"{_PART}{measure}/"): dtype
        for column, dtype in state.items()
        if column.startswith(_PART) and column.rpartition("/")[0] == f"{_PART}{measure}"
    }
    return {part: named(_part(measure, part)) for part in dtypes}, dtypes


def _concatenated(partials: Sequence[pl.DataFrame]) -> pl.DataFrame:
    # Polars would give decimals of different scales a common one, silently.
    for other in partials[1:]:
        if other.schema != partials[0].schema:
            raise ConfigurationError(
                f"these states are not of the same columns: {dict(partials[0].schema)} and {dict(other.schema)}"
            )
    return pl.concat(partials)
