"""`assay runs`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from assay.cli.console import print_json, print_table, say
from assay.errors import NotFoundError, nearest

if TYPE_CHECKING:
    from assay.runs import Run, RunStore
    from assay.settings import Settings


@contextmanager
def open_store(settings: Settings) -> Iterator[RunStore]:
    """The run store of the project."""
    from assay.runs import RunStore  # noqa: PLC0415 - --help shall not wait for it

    store = RunStore(settings.run_store_url)
    try:
        yield store
    finally:
        store.close()


def find_run(store: RunStore, name: str, pipeline: str | None = None) -> Run:
    """A run by its id, the beginning of its id, `latest`, or the name of a pipeline, whose latest it is.

    Raises:
        NotFoundError: none, or several; its notes say what to do.
    """
    if pipeline is None and store.runs(1, name):
        name, pipeline = "latest", name
    try:
        return store.get(name, pipeline)
    except NotFoundError as error:
        runs = store.runs(1000, pipeline)
        known = [run.id for run in runs]
        near = nearest(name, [*known, *{run.pipeline for run in runs}])
        if not known:
            error.add_note("There are no runs yet; assay run NAME makes one.")
        elif near:
            error.add_note(f'Did you mean "{near}"? assay runs lists them.')
        else:
            error.add_note("assay runs lists them; the beginning of an id is enough, and so is latest.")
        raise


def run_or_pipeline(store: RunStore, name: str, settings: Settings) -> Run | str:
    """The name, where it is that of a pipeline; else the run that `find_run` finds.

    Raises:
        NotFoundError: it is neither.
    """
    if store.runs(1, name):
        return name
    try:
        return find_run(store, name)
    except NotFoundError:
        from assay.pipeline import find  # noqa: PLC0415 - --help shall not wait for it

        if not settings.pipelines_folder.is_dir() or name not in find(settings)[0]:
            raise
        return name


@click.command(
    "runs",
    epilog="\b\nExamples:\n  assay runs\n  assay runs orders\n  assay runs show latest\n  assay runs show orders",
)
@click.argument("words", metavar="[show] [RUN|PIPELINE]", nargs=-1)
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def runs_command(words: tuple[str, ...], pipeline: str | None, limit: int, as_json: bool) -> None:
    """List past runs, the last first, all or those of PIPELINE; or show RUN (its id, the beginning, or latest).

    With the word show, PIPELINE stands for its latest run.
    """
    from assay.cli.run import print_result  # noqa: PLC0415 - --help shall not wait for these
    from assay.pipeline import load, result_of  # noqa: PLC0415
    from assay.settings import Settings  # noqa: PLC0415

    run, wants_one = _asked(words)
    settings = Settings.load()
    with open_store(settings) as store:
        one: Run | str | None = None
        if run is not None and (wants_one or pipeline):
            one = find_run(store, run, pipeline)
        elif run is not None:
            one = run_or_pipeline(store, run, settings)
        if isinstance(one, str):
            pipeline = one
        elif one is not None:
            result = result_of(one, settings.run_store_url)
            if as_json:
                print_json(result.as_json())
            else:
                print_result(result, rejects_of=one.parent)
            return
        found = store.runs(limit, pipeline)
    if not found and pipeline is not None:
        load(pipeline, settings)
    results = [result_of(one, settings.run_store_url) for one in found]
    if as_json:
        print_json({"schema": 1, "runs": [one.as_json() for one in results]})
        return
    if not found:
        say(f"no runs{f' of {pipeline}' if pipeline else ''} yet; assay run {pipeline or 'NAME'} makes one")
        return
    rows: list[tuple[str, ...]] = [
        (
            one.id,
            one.pipeline,
            ("dry run" if one.dry_run else one.status) + (f" of {kept.parent}" if kept.parent else ""),
            kept.started.replace("+00:00", "Z"),
            one.known_at or "",
            f"{one.counts['read']:,}",
            f"{one.counts['written']:,}",
            f"{one.counts['rejected']:,}",
            (one.error or {}).get("message", ""),
        )
        for one, kept in zip(results, found, strict=True)
    ]
    columns = ["run", "pipeline", "status", "started", "known at", "read", "written", "rejected", "why"]
    if not any(one.known_at for one in results):
        place = columns.index("known at")
        columns.pop(place)
        rows = [row[:place] + row[place + 1 :] for row in rows]
    counts = ("read", "written", "rejected")
    print_table(columns, rows, right=counts, optional=("started", "read", "why"))


def _asked(words: tuple[str, ...]) -> tuple[str | None, bool]:
    """The run or pipeline that is meant, and whether it must be one run."""
    match words:
        case ():
            return None, False
        case ("show",):
            raise click.UsageError("show which run? assay runs lists them; latest is one")
        case ("show", name):
            return name, True
        case (name,):
            return name, False
    raise click.UsageError(f"one RUN or PIPELINE, not {len(words)}: {' '.join(words)}")
