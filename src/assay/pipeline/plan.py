"""The plan of a run: everything bound and checked, nothing read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
from pydantic import BaseModel

from assay.errors import AssayError, ConfigurationError, SourceError
from assay.lookups import LookupStats
from assay.pipeline.booked import check_booked
from assay.pipeline.checks import Check, as_check
from assay.pipeline.context import DOCUMENT, IDENTITY, Context, as_typed, validate_params, visible
from assay.pipeline.definition import MoneyColumns, Pipeline
from assay.pipeline.incremental import check_incremental
from assay.pipeline.outputs import OpenOutput
from assay.pipeline.steps import BoundStep, Deduplicate, Price, Reconcile
from assay.pipeline.steps.protocol import Asking, Holding, Remarked, Remarks, need_columns
from assay.reading import SourceFile, SourceLike
from assay.records import TRACE, RecordReader
from assay.settings import Settings


@dataclass
class Plan:
    """A pipeline bound to parameters, files and settings.

    Attributes:
        input_schema: The columns that the first step gets: the model's and the identity.
        schema: The columns after the last step, as a user sees them.
    """

    pipeline: Pipeline
    context: Context
    reader: RecordReader[BaseModel]
    source: SourceLike
    input_schema: pl.Schema
    steps: list[BoundStep]
    outputs: dict[str, OpenOutput]
    money: MoneyColumns | None
    schema: pl.Schema
    checks: list[Check]

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return self.context.settings

    @property
    def missing(self) -> str | None:
        """That the source is not there yet, in words; None where it is.

        Raises:
            AssayError: a file is there, and cannot be read as the source says.
        """
        try:
            self.files()
        except SourceError as error:
            if error.missing:
                return str(error)
            raise
        return None

    def open(self) -> None:
        """Read tables and rates, and see that the source is there.

        Raises:
            AssayError: what cannot be read.
        """
        self.files()
        self.open_steps()

    def open_steps(self) -> None:
        """Read tables and rates, and connect; `close` lets go of it."""
        try:
            for step in self.steps:
                step.open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of what steps hold open."""
        with ExitStack() as stack:
            for step in self.steps:
                if isinstance(step, Holding):
                    stack.callback(step.close)

    @property
    def lookups(self) -> dict[str, LookupStats]:
        """What each lookup did so far, by the name of its step."""
        return {step.name: step.stats for step in self.steps if isinstance(step, Asking)}

    @property
    def remarks(self) -> dict[str, Remarks]:
        """What is worth knowing of the steps before they run, by their names."""
        return {step.name: step.remarks for step in self.steps if isinstance(step, Remarked)}

    @property
    def fingerprint(self) -> str:
        """Of the definition, the books, the tables, and the limits of records; wants `open`."""
        limits = f"{self.settings.max_record_bytes} {self.settings.max_record_depth}"
        parts = [self._written, limits, *(step.fingerprint for step in self.steps)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    @cached_property
    def _written(self) -> str:
        # Once: a file that is edited while a run reads it changes nothing of what runs.
        return self.pipeline.fingerprint()

    @property
    def asks(self) -> bool:
        """Whether a lookup is asked whose contents are not known before."""
        return any(isinstance(step, Asking) and step.asks for step in self.steps)

    @property
    def answers(self) -> list[str]:
        """Hashes of what such lookups have answered so far."""
        return [step.answers for step in self.steps if isinstance(step, Asking) and step.asks]

    def files(self) -> list[SourceFile]:
        """The files of the source, each with a known format."""
        return self.reader.check(self.source)


def make_plan(
    pipeline: Pipeline,
    *,
    params: Mapping[str, Any],
    settings: Settings | None,
    source: SourceLike | None = None,
    known_at: str | None = None,
) -> Plan:
    """Bind a pipeline.

    Args:
        pipeline: What to bind.
        params: Its parameters.
        settings: By default those of the project.
        source: Another source than its own.
        known_at: As far as prices and rates were known at this instant (ISO 8601, with a zone), whatever steps say.

    Raises:
        ConfigurationError: what is wrong, with the step and the column.
    """
    settings = settings or Settings.load()
    made = validate_params(pipeline.params, params, pipeline.name)
    _see_known(pipeline, known_at)
    context = Context(made, pipeline.folder or settings.project, settings, known_at)
    reader = RecordReader(pipeline.source.model, pipeline.source.how(), settings)
    hidden = {name: TRACE[name] for name in IDENTITY}
    where = f"pipeline {pipeline.name}, source"
    need_columns(list(pipeline.source.key), reader.schema, where)
    if pipeline.source.reject_with is not None:
        need_columns([pipeline.source.reject_with], reader.schema, where)
        hidden[DOCUMENT] = pl.String()
    schema = input_schema = pl.Schema(reader.schema | hidden)
    steps: list[BoundStep] = []
    names: set[str] = set()
    for step in pipeline.bound_steps:
        definition = step
        if isinstance(step, Deduplicate) and not step.key:
            definition = Deduplicate(*pipeline.source.key, name=step.name)
        with worded_mistakes(f"step {definition.name}"):
            bound = definition.bind(schema, context)
        if bound.name in names:
            raise ConfigurationError(f"two steps are called {bound.name}; name them apart", where=where)
        names.add(bound.name)
        steps.append(bound)
        schema = bound.schema
    if pipeline.source.incremental:
        check_incremental(pipeline)
    check_booked(pipeline.name, pipeline.outputs, incremental=pipeline.source.incremental)
    outputs = {}
    for name, output in pipeline.outputs.items():
        with worded_mistakes(f"output {name}"):
            outputs[name] = output.bind(name, schema, context)
    checks = [as_check(check) for check in pipeline.checks]
    for check in checks:
        with worded_mistakes(f"check {check.name}"):
            check.bind({name: output.schema for name, output in outputs.items()}, context)
    money = pipeline.money or (MoneyColumns() if any(isinstance(s, Price) for s in pipeline.steps) else None)
    if money is not None:
        wanted = [money.net, money.tax, money.gross, money.currency, *([money.list] if money.list else [])]
        need_columns(wanted, schema, f"pipeline {pipeline.name}, money")
        for column in wanted:
            if column != money.currency and not isinstance(schema[column], pl.Decimal):
                raise ConfigurationError(
                    f"{column} is {schema[column]}; money is a decimal", where=f"pipeline {pipeline.name}, money"
                )
    if pipeline.money is not None:
        # Pricing adds up by itself; where the records state their money, one that does not add up is a reject.
        steps.append(_adds_up(pipeline.money).bind(schema, context))
    return Plan(
        pipeline,
        context,
        reader,
        source if source is not None else _located(pipeline, context),
        input_schema,
        steps,
        outputs,
        money,
        visible(schema),
        checks,
    )


def _see_known(pipeline: Pipeline, known_at: str | None) -> None:
    """See that there are prices or rates of which not all may be known."""
    tables = [
        table
        for step in pipeline.steps
        if isinstance(step, Price)
        for table in (*step.prices.values(), *step.rates.values())
    ]
    if known_at is not None and not any("known_from" in table.columns() for table in tables):
        raise ConfigurationError(
            "known_at is for prices and rates of which it is told when they were known: no table of its steps has a "
            "column known_from",
            where=f"pipeline {pipeline.name}",
        )


def _located(pipeline: Pipeline, context: Context) -> SourceLike:
    path = pipeline.source.path
    paths = [path] if isinstance(path, str) else list(path)
    located = [one if one == "-" else as_typed(context.find(one)) for one in paths]
    return located[0] if len(located) == 1 else located


def _adds_up(money: MoneyColumns) -> Reconcile:
    computed = pl.col(money.net) + pl.col(money.tax)
    return Reconcile("money_does_not_add_up", stated=pl.col(money.gross), computed=computed)


@contextmanager
def worded_mistakes(where: str) -> Iterator[None]:
    """A mistake in a definition that nobody has foreseen: said with its place, not by a traceback."""
    try:
        yield
    except (AssayError, OSError, MemoryError):
        raise
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise ConfigurationError(f"{type(error).__name__}: {first}", where=where) from error
