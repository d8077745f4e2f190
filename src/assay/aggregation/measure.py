"""What a measure is: one figure a group, computed from states that can be merged in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import polars as pl
import polars.selectors as cs

from assay.errors import AssayError, ConfigurationError, unknown_name

Parts = Mapping[str, pl.Expr]
"""The parts of a state: what each is called, and the expression that has it."""

Dtypes = Mapping[str, pl.DataType]
"""The types of the parts of a state."""


class AggregationError(AssayError):
    """A figure cannot be held by its column; nothing was rounded or wrapped.

    Attributes:
        measure: Name of the measure.
        group: The group's keys and their values; empty for a grand total.
    """

    def __init__(self, message: str, *, measure: str, group: Mapping[str, object]) -> None:
        self.message, self.measure, self.group = message, measure, dict(group)
        keys = ", ".join(f"{name}={value!r}" for name, value in self.group.items())
        super().__init__(f"measure {measure}" + (f" of the group {keys}" if keys else "") + f": {message}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.message, self.measure, self.group)


class Measure(ABC):
    """One figure a group.

    A measure computes a *state*, one or more columns a group, from a batch; states of one group merge into one, in
    any order and any tree; the last state gives the figure. So a measure can be computed batch by batch and on many
    machines. It knows nothing of groups or names: it gives expressions, and `Aggregation` puts them together.

    A subclass is a frozen dataclass, so that it can be shown, compared and sent to another process.
    """

    merges_from_result: ClassVar[bool]
    """Whether a figure that is stored can be merged with a new one (load mode `merge`)."""

    @abstractmethod
    def result_dtype(self, schema: pl.Schema) -> pl.DataType:
        """The figure's type, given the columns that come in.

        Raises:
            ConfigurationError: no such column, or one of a type that this measure does not take.
        """

    @abstractmethod
    def partial(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """The state of the rows of one group, part by part: aggregating expressions over input columns."""

    @abstractmethod
    def merge(self, parts: Parts, dtypes: Dtypes) -> dict[str, pl.Expr]:
        """One state of several of one group: aggregating expressions over the parts."""

    @abstractmethod
    def final(self, parts: Parts, dtypes: Dtypes) -> pl.Expr:
        """The figure of a merged state, row by row (one row is one group)."""

    def has_value(self, parts: Parts) -> pl.Expr | None:
        """Where there is a figure; a null that `final` gives there means that its column has no room for it.

        None if the figure always fits.
        """
        return None


class MergeableMeasure(Measure):
    """A measure whose stored figure can be merged with a new one."""

    merges_from_result: ClassVar[bool] = True

    @abstractmethod
    def from_result(self, result: pl.Expr, dtype: pl.DataType) -> dict[str, pl.Expr]:
        """The state whose figure is `result`, row by row."""


def named(column: str) -> pl.Expr:
    """The column of exactly this name (`pl.col` takes "*" and "^...$" for patterns)."""
    return cs.by_name(column).as_expr()


def column_dtype(schema: pl.Schema, column: str, measure: str) -> pl.DataType:
    """The type of a measure's column.

    Raises:
        ConfigurationError: no such column.
    """
    if column not in schema:
        raise ConfigurationError(f"{measure}: {unknown_name('column', column, schema)}")
    return schema[column]


def is_scalar(dtype: pl.DataType) -> bool:
    """Whether rows can be told apart, and grouped, by a column of this type."""
    return not dtype.is_nested() and not isinstance(dtype, pl.Object | pl.Unknown)


def is_ordered(dtype: pl.DataType) -> bool:
    """Whether "less than" means what a reader expects."""
    return is_scalar(dtype) and not isinstance(dtype, pl.Categorical | pl.Null | pl.Binary)


def refusal(measure: str, column: str, dtype: pl.DataType, wanted: str) -> ConfigurationError:
    """Word that a measure does not take a column of this type."""
    return ConfigurationError(f'{measure}: column "{column}" is {dtype}, and {wanted}')


def _rebuild(message: str, measure: str, group: dict[str, object]) -> AggregationError:
    return AggregationError(message, measure=measure, group=group)
