"""What a pipeline has published last, as one run made it, for readers that want all of its outputs of one moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from assay.errors import NotFoundError, RunFailed
from assay.pipeline.execution import open_store
from assay.pipeline.plan import make_plan
from assay.pipeline.publishing import Publication
from assay.runs import Run
from assay.settings import Settings

_POLL: Final = 0.05


@dataclass(frozen=True)
class Latest(Mapping[str, pl.LazyFrame]):
    """The outputs of one run, by name.

    Attributes:
        run: The id of the run that published last.
        outputs: The rows of each output. Tables of databases were read into memory; a folder of Parquet files is read
            when it is collected, and keeps this state until two further runs have published.
    """

    run: str
    outputs: Mapping[str, pl.LazyFrame]

    def __getitem__(self, name: str) -> pl.LazyFrame:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


def latest(
    name: str,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the command line
    *,
    output: str | Path | None = None,
    settings: Settings | None = None,
    wait: float = 60.0,
    timer: Callable[[], float] = time.monotonic,
) -> Latest:
    """What a pipeline has published, all outputs of one and the same run.

    Outputs are published one after the other, so who reads two of them while a run publishes may find one of before
    and one of after. This waits until a decision to publish is carried out, reads, and reads again if another run has
    decided in between.

    Args:
        name: Name of the pipeline.
        set: Parameters, where they decide where outputs go.
        output: The folder that took every file output.
        settings: Settings; by default those of the project at the current folder.
        wait: Seconds to wait while a run publishes.
        timer: A monotonic clock, in seconds.

    Raises:
        NotFoundError: the pipeline has published nothing there.
        RunFailed: a run has decided to publish, and has not finished it in this time: it may have died.
    """
    from assay.pipeline.loading import load  # noqa: PLC0415 - loading knows pipelines, which know runs

    settings = settings or Settings.load()
    # Who reads need not know what a run is held against, such as a control total.
    pipeline = replace(load(name, settings), checks=())
    plan = make_plan(pipeline, params=set or {}, settings=settings, source=b"")
    folder = Path(output) if output is not None else settings.output
    root = (folder or settings.project).resolve()
    where = str(folder.resolve()) if folder is not None else None
    deadline = timer() + wait
    with open_store(settings) as store, closing(plan):
        while True:
            before = store.last_decided(name, where)
            if before is None:
                raise NotFoundError("published run of pipeline", name)
            if before.status == "published":
                targets = Publication(plan, output=folder, root=root, staging=root / "latest", reads=True)
                outputs = dict(targets.published())
                if _same(before, store.last_decided(name, where)):
                    if not outputs:
                        raise NotFoundError(f"output of pipeline {name} in", str(root))
                    return Latest(before.id, outputs)
            elif timer() >= deadline:
                raise RunFailed(
                    f"run {before.id} of {name} has decided to publish and has not finished it: finish it by "
                    f"assay run {name} --resume {before.id}",
                    run=before.id,
                )
            time.sleep(_POLL)


def _same(before: Run, now: Run | None) -> bool:
    return now is not None and (now.id, now.status) == (before.id, before.status)
