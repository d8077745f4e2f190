"""The definition of a pipeline: a frozen value that can be read from top to bottom."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import BaseModel

from assay.errors import ConfigurationError, unknown_name
from assay.pipeline.booked import Booked
from assay.pipeline.checks import Check, Checks
from assay.pipeline.context import instant_text
from assay.pipeline.fingerprint import fingerprint
from assay.pipeline.limits import is_limited
from assay.pipeline.notes import Note
from assay.pipeline.outputs import Output
from assay.pipeline.progress import Progress
from assay.pipeline.steps import Function, FunctionStep, Remarks, Step
from assay.pipeline.steps.protocol import Linted
from assay.pricing import Finding
from assay.reading import without_secrets
from assay.records import FieldVerdict, Format
from assay.records.budget import Budget
from assay.records.columns import Datetimes
from assay.settings import Settings

if TYPE_CHECKING:
    from assay.pipeline.preview import Preview
    from assay.pipeline.result import Result


@dataclass(frozen=True)
class Source:
    """Where records come from.

    Args:
        path: A path, a glob, a URL, a list of them, or "-"; `{name}` stands for a parameter.
        model: The Pydantic model of one record.
        format: "jsonl", "json", "xml", "csv" or a registered one; by suffix where it is not given.
        record: Where the records are: a path of keys (JSON), a row tag or path (XML).
        namespaces: Prefix to namespace (XML).
        empty_as_null: An empty element (XML) or cell (CSV) is null.
        decimals: Precision and scale of Decimal fields that the model does not bound.
        datetimes: Whether plain datetime fields are columns without zone ("naive") or in UTC ("utc").
        key: Columns that name a record among all.
        reject_with: The column that names a record's document: one rejected record rejects its whole document.
        delimiter: The character between cells (CSV).
        quote: The character around cells (CSV); "" for none.
        columns: Names of the columns of a file that has no row of them (CSV).
        incremental: A run reads only files whose bytes no earlier run has published, and adds to the outputs.
    """

    path: str | Sequence[str]
    model: type[BaseModel]
    format: str | None = None
    record: str | None = None
    namespaces: Mapping[str, str] | None = None
    empty_as_null: bool | None = None
    decimals: tuple[int, int] | None = None
    datetimes: Datetimes = "naive"
    key: Sequence[str] = ()
    reject_with: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    columns: Sequence[str] | None = None
    incremental: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.model, type) and issubclass(self.model, BaseModel)):
            raise ConfigurationError(f"a source needs a Pydantic model, not {self.model!r}")
        if not isinstance(self.path, str | Sequence):
            raise ConfigurationError(f"a source's path is a text or a list of texts, not {self.path!r}")

    def how(self) -> Format:
        """How its records are read."""
        return Format(
            self.format,
            self.record,
            self.namespaces,
            self.empty_as_null,
            self.decimals,
            self.datetimes,
            self.delimiter,
            self.quote,
            self.columns,
        )


@dataclass(frozen=True)
class MoneyColumns:
    """Which columns hold the money that the ledger adds up.

    Pricing gives these very names; a pipeline that prices otherwise names its own. `list` may be None where there are
    no discounts: it is then taken as `net`.
    """

    net: str = "net"
    tax: str = "tax"
    gross: str = "gross"
    list: str | None = "base"
    currency: str = "currency"


@dataclass(frozen=True)
class Pipeline:
    """A named pipeline.

    Args:
        name: Its name.
        source: Where records come from.
        steps: What is done to them, in this order: steps, or functions `LazyFrame -> LazyFrame`.
        outputs: What is written, by name.
        params: A Pydantic model of its parameters.
        money: The columns that the ledger adds up; found by itself where a step prices.
        description: One line for `assay list`; by default the first of the file's docstring.
        checks: What must hold before anything is published: `RowCount`, `Unique`, `ControlTotal`, `Freshness`, `Holds`,
            or functions that give words of what is wrong, or None.
        notes: What the summary of a run tells besides: functions that give lines, made of what is to be published.
        max_rejects: More rejects than this number, or share such as "5%", and nothing is published, unless a run says
            otherwise.
        folder: The folder of its file: books are looked for here, too.
    """

    name: str
    source: Source
    steps: Sequence[Step | Function] = ()
    outputs: Mapping[str, Output] = field(default_factory=dict)
    params: type[BaseModel] | None = None
    money: MoneyColumns | None = None
    description: str = ""
    max_rejects: int | str | None = None
    checks: Checks = ()
    notes: Sequence[Note] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise ConfigurationError(f"a pipeline's name is letters, digits, - and _, not {self.name!r}")
        if not self.outputs:
            raise ConfigurationError(f"pipeline {self.name} has no outputs")
        if not isinstance(self.source, Source):
            raise ConfigurationError(f"pipeline {self.name}: the source is Source(path, Model), not {self.source!r}")
        for name, output in self.outputs.items():
            where = f"pipeline {self.name}, output {name}"
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ConfigurationError("an output's name is letters, digits, - and _", where=where)
            if not hasattr(output, "bind"):
                raise ConfigurationError(
                    f"it is Rows(to=...), GroupBy(..., to=...) or Booked(..., to=...), not {output!r}", where=where
                )
            if not hasattr(output.to, "open"):
                raise ConfigurationError(f"to={output.to!r} is no sink", where=where)
        for step in self.steps:
            if isinstance(step, type):
                raise ConfigurationError(f"pipeline {self.name}: the step {step.__name__} is a class; call it")
        self._see_checks()
        Budget.parse(self.max_rejects)

    def _see_checks(self) -> None:
        for check in self.checks:
            if isinstance(check, type) or not (isinstance(check, Check) or callable(check)):
                raise ConfigurationError(f"pipeline {self.name}: {check!r} is no check, and no function")
        for note in self.notes:
            if not callable(note):
                raise ConfigurationError(f"pipeline {self.name}: {note!r} is no note: it is a function of a Pending")

    @property
    def bound_steps(self) -> list[Step]:
        """The steps, functions wrapped."""
        return [step if isinstance(step, Step) else FunctionStep(step) for step in self.steps]

    @property
    def replaces(self) -> bool:
        """Whether a run replaces what the last one has published, in one output at least."""
        return any(output.to.mode in ("replace", "delete_missing") for output in self.outputs.values())

    @property
    def last_run_counts(self) -> bool:
        """Whether going back to what an earlier run has published is a change: it was replaced, or corrected."""
        if any(isinstance(output, Booked) for output in self.outputs.values()):
            return True
        return all(output.to.mode in ("replace", "delete_missing") for output in self.outputs.values())

    def at(self, folder: Path) -> Pipeline:
        """The same pipeline, its file being in `folder`."""
        return replace(self, folder=folder)

    def run(
        self,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the command line
        *,
        input: Any = None,  # noqa: A002 - the word of the command line
        output: str | Path | None = None,
        limit: int | None = None,
        max_rejects: int | str | None = None,
        dry_run: bool = False,
        force: bool = False,
        full: bool = False,
        wait: float = 0.0,
        known_at: dt.datetime | str | None = None,
        engine: Literal["local"] = "local",
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Run it: read, judge, steps, ledger, then publish all outputs or none.

        Args:
            set: Parameters.
            input: Another source: anything that `scan` takes.
            output: A folder that takes every file output.
            limit: Read so many records only.
            max_rejects: More rejects than this number, or share such as "1%", and nothing is published; by default as
                the pipeline says, "100%" allows all.
            dry_run: All but publish.
            force: Publish again what an earlier run has published from the same input in the same way.
            full: Of an incremental pipeline, read all files and publish everything anew.
            wait: Seconds to wait for another run of this pipeline to end.
            known_at: As far as prices and rates were known at this instant, which has a zone, whatever the steps say.
            engine: Where it runs; "local" is this process.
            settings: Settings; by default those of the project at the current folder.
            progress: Called with a `Report` after each batch.

        Returns:
            The result, whatever became of the run: `result.status` says it. A run that failed has `result.error`. Where
            an earlier run has published the same, it is that run's, and `result.repeats` is true.

        Raises:
            ConfigurationError: the pipeline, a parameter or a file it names is wrong; nothing was read.
        """
        from assay.pipeline.execution import Options, run  # noqa: PLC0415 - the execution knows the definition

        if engine != "local":
            raise ConfigurationError(unknown_name("engine", engine, ["local"]))
        folder = Path(output) if output is not None else None
        budget = Budget.parse(self.max_rejects if max_rejects is None else max_rejects)
        options = Options(folder, budget, dry_run, progress, force=force, full=full, wait=wait)
        return run(
            self,
            params=set or {},
            source=input,
            limit=limit,
            settings=settings,
            options=options,
            known_at=instant_text(known_at),
        )

    def check(
        self,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the command line
        *,
        settings: Settings | None = None,
    ) -> pl.Schema:
        """Check everything that can be checked before data is read; the source itself need not be there yet.

        Returns:
            The columns after the last step.

        Raises:
            AssayError: what is wrong, with the step, file and key.
        """
        from assay.pipeline.plan import make_plan  # noqa: PLC0415 - the plan knows the definition
        from assay.pipeline.publishing import check_outputs  # noqa: PLC0415

        plan = make_plan(self, params=set or {}, settings=settings)
        with closing(plan):
            # A source that is there is seen to be one that can be read.
            _ = plan.missing
            plan.open_steps()
            check_outputs(plan)
        return plan.schema

    def field_verdicts(
        self,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the command line
        *,
        settings: Settings | None = None,
    ) -> dict[str, FieldVerdict]:
        """How each field of the source's model is judged, and why; see `RecordReader.field_verdicts`.

        Nothing is known before there are files, which say the format.
        """
        from assay.pipeline.plan import make_plan  # noqa: PLC0415 - the plan knows the definition

        plan = make_plan(self, params=set or {}, settings=settings)
        return {} if plan.missing is not None else plan.reader.field_verdicts(plan.files())

    def missing_source(
        self,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the command line
        *,
        settings: Settings | None = None,
    ) -> str | None:
        """That the source is not there yet, in words; None where it is."""
        from assay.pipeline.plan import make_plan  # noqa: PLC0415 - the plan knows the definition

        return make_plan(self, params=set or {}, settings=settings).missing

    def remarks(
        self,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the command line
        *,
        settings: Settings | None = None,
    ) -> dict[str, Remarks]:
        """What is worth knowing of its steps before they run, by their names."""
        from assay.pipeline.plan import make_plan  # noqa: PLC0415 - the plan knows the definition

        return make_plan(self, params=set or {}, settings=settings).remarks

    def lint(
        self,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the command line
        *,
        settings: Settings | None = None,
    ) -> dict[str, list[Finding]]:
        """What may well not be meant in its price books, by the names of the steps; see `PriceBook.lint`.

        Rates that the model of the source limits are limited.

        Raises:
            ConfigurationError: As `check` does.
        """
        from assay.pipeline.plan import make_plan  # noqa: PLC0415 - the plan knows the definition

        plan = make_plan(self, params=set or {}, settings=settings)
        with closing(plan):
            plan.open_steps()
            found = {step.name: (step.inputs, step.lint()) for step in plan.steps if isinstance(step, Linted)}
        model = self.source.model
        return {
            name: [one for one in findings if not is_limited(one, inputs, model)]
            for name, (inputs, findings) in found.items()
        }

    def preview(
        self,
        n: int = 10,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the command line
        *,
        input: Any = None,  # noqa: A002 - the word of the command line
        settings: Settings | None = None,
        known_at: dt.datetime | str | None = None,
    ) -> Preview:
        """The first `n` accepted records after each step; nothing is written."""
        from assay.pipeline.preview import preview  # noqa: PLC0415 - the preview knows the definition

        known = instant_text(known_at)
        return preview(self, n, params=set or {}, source=input, settings=settings, known_at=known)

    def fingerprint(self) -> str:
        """A hash of the definition: models, steps, outputs, the source of its functions."""
        return fingerprint(replace(self, description="", max_rejects=None, checks=(), notes=()))

    def _repr_html_(self) -> str:
        import html  # noqa: PLC0415 - only notebooks ask

        paths = [self.source.path] if isinstance(self.source.path, str) else self.source.path
        rows = [("source", ", ".join(map(without_secrets, paths))), *(("step", step.name) for step in self.bound_steps)]
        rows += [("output", f"{name} → {output.to!r}") for name, output in self.outputs.items()]
        cells = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td></tr>" for a, b in rows)
        return f"<b>Pipeline {html.escape(self.name)}</b><table>{cells}</table>"
