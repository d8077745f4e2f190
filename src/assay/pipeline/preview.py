"""A look at the first records after each step; nothing is written."""

from __future__ import annotations

import html
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

import polars as pl

from assay.pipeline.context import visible
from assay.pipeline.definition import Pipeline
from assay.pipeline.documents import document_column
from assay.pipeline.plan import Plan, make_plan
from assay.pipeline.steps import RowStep, WholeStep
from assay.pipeline.steps.blame import blamed
from assay.reading import SourceFile, SourceLike
from assay.records import REJECTS
from assay.settings import Settings


@dataclass(frozen=True)
class Preview:
    """Frames by stage: "source", then each step, then each output; and the rejects among the records looked at."""

    pipeline: str
    frames: dict[str, pl.DataFrame]
    rejects: pl.DataFrame

    def _repr_html_(self) -> str:
        parts = (f"<h4>{html.escape(name)}</h4>{frame._repr_html_()}" for name, frame in self.frames.items())
        return "".join(parts)


def preview(
    pipeline: Pipeline,
    n: int,
    *,
    params: Mapping[str, Any],
    source: SourceLike | None,
    settings: Settings | None,
    known_at: str | None = None,
) -> Preview:
    """Run the first `n` accepted records through the steps."""
    plan = make_plan(pipeline, params=params, settings=settings, source=source, known_at=known_at)
    files = plan.files()
    with closing(plan):
        plan.open_steps()
        return _look(plan, files, n)


def _look(plan: Plan, files: list[SourceFile], n: int) -> Preview:
    pipeline = plan.pipeline
    rejects = [pl.DataFrame(schema=REJECTS)]
    accepted: list[pl.DataFrame] = []
    small = plan.reader.settings.model_copy(update={"batch_records": max(n, 100)})
    plan.reader.settings = small
    for batch in plan.reader.batches(files):
        rejects.append(batch.rejects)
        accepted.append(batch.frame.head(n - sum(frame.height for frame in accepted)))
        if sum(frame.height for frame in accepted) >= n:
            break
    rows = pl.concat(accepted) if accepted else pl.DataFrame(schema=plan.reader.schema)
    if pipeline.source.reject_with and accepted:
        rows = rows.with_columns(document_column(pipeline.source.reject_with))
    frames = {"source": rows}
    for step in plan.steps if accepted else ():
        if isinstance(step, WholeStep):
            with blamed(step):
                rows = step.apply_whole(rows.lazy()).rows.collect()
        elif isinstance(step, RowStep):
            with blamed(step):
                rows = step.apply(rows).rows
        frames[step.name] = rows
    if accepted:
        for name, output in plan.outputs.items():
            made = [frame for frame in chain([output.take(rows)], [output.rest()]) if frame is not None]
            frames[f"output {name}"] = pl.concat(made)
    shown = {name: frame.select(visible(frame.schema).names()) for name, frame in frames.items()}
    return Preview(pipeline.name, shown, pl.concat(rejects))
