"""`assay runs`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from assay.cli.console import guarded, output, print_json, table
from assay.cli.run import print_result
from assay.pipeline import result_of
from assay.runs import RunStore
from assay.settings import Settings


@contextmanager
def open_store(settings: Settings) -> Iterator[RunStore]:
    """The run store of the project."""
    store = RunStore(settings.run_store_url)
    try:
        yield store
    finally:
        store.close()


@click.command("runs", epilog="\b\nExamples:\n  assay runs\n  assay runs latest\n  assay runs --pipeline orders")
@click.argument("run", required=False)
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def runs_command(run: str | None, pipeline: str | None, limit: int, as_json: bool) -> None:
    """List past runs, the last first; or show RUN (an id, the beginning of one, or latest)."""
    settings = Settings.load()
    with open_store(settings) as store:
        if run is not None:
            result = result_of(store.get(run, pipeline), settings.run_store_url)
            if as_json:
                print_json(result.as_json())
            else:
                print_result(result)
            return
        found = store.runs(limit, pipeline)
    results = [result_of(one, settings.run_store_url) for one in found]
    if as_json:
        print_json({"schema": 1, "runs": [one.as_json() for one in results]})
        return
    rows = [
        (
            one.id,
            one.pipeline,
            one.status + (f" of {kept.parent}" if kept.parent else ""),
            kept.started.replace("+00:00", "Z"),
            f"{one.counts['read']:,}",
            f"{one.counts['written']:,}",
            f"{one.counts['rejected']:,}",
            (one.error or {}).get("message", "")[:80],
        )
        for one, kept in zip(results, found, strict=True)
    ]
    columns = ("run", "pipeline", "status", "started", "read", "written", "rejected", "why")
    output().print(table(columns, rows, right=("read", "written", "rejected")))
