"""`assay run`."""

from __future__ import annotations

import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from assay.cli.console import (
    FAILED,
    OVER_BUDGET,
    PUBLISHED,
    errors,
    guarded,
    is_live,
    output,
    parse_params,
    print_json,
    safe,
)
from assay.pipeline import Result, load
from assay.pipeline.execution import resume
from assay.settings import Settings


@click.command(
    "run", epilog="\b\nExamples:\n  assay run orders\n  assay run orders --input may.jsonl --json | jq .money"
)
@click.argument("name")
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter of the pipeline; repeat it.")
@click.option("--input", "source", metavar="PATH", help="Read this instead: a path, a glob (** goes down), or - .")
@click.option("--output", metavar="DIR", type=click.Path(path_type=Path), help="Put every file output under DIR.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Read only the first N records.")
@click.option("--engine", default="local", show_default=True, help="Where it runs.")
@click.option("--max-rejects", metavar="N|P%", help="More rejects than this, and nothing is published (status 3).")
@click.option("--dry-run", is_flag=True, help="Do everything but publish.")
@click.option("--resume", "resumed", metavar="RUN", help="Finish or undo what a run that died has left.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--quiet", is_flag=True, help="No progress; errors only.")
@guarded
def run_command(
    name: str,
    params: tuple[str, ...],
    source: str | None,
    output: Path | None,
    limit: int | None,
    engine: str,
    max_rejects: str | None,
    dry_run: bool,
    resumed: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run the pipeline NAME and publish all of it, or nothing.

    Exit status: 0 published; 1 failed, nothing published; 2 wrong use; 3 rejects over the budget, nothing published.
    """
    settings = Settings.load()
    pipeline = load(name, settings)
    if resumed is not None:
        result = resume(pipeline, resumed, settings)
    else:
        with _Meter(live=is_live() and not quiet, silent=quiet or as_json) as meter:
            result = pipeline.run(
                parse_params(params),
                input=source,
                output=output,
                limit=limit,
                max_rejects=max_rejects,
                dry_run=dry_run,
                engine=engine,  # type: ignore[arg-type]
                settings=settings,
                progress=meter.update,
            )
    if as_json:
        print_json(result.as_json())
    elif not quiet or result.status != "published":
        print_result(result)
    sys.exit(
        {"published": PUBLISHED, "rejected": OVER_BUDGET}.get(
            result.status, PUBLISHED if dry_run and not result.error else FAILED
        )
    )


def print_result(result: Result) -> None:
    """The summary of a run."""
    console = output()
    word = "DRY RUN" if result.dry_run else result.status.upper()
    style = "bold green" if result.status == "published" or result.dry_run else "bold red"
    counts = result.counts
    rate = f"  {counts['read'] / result.seconds:,.0f} records/s" if result.seconds > 0 and counts["read"] else ""
    head = Text.assemble(f"{result.pipeline}  ", (word, style), f"  run {result.id}  {result.seconds:.1f} s{rate}")
    console.print(head)
    if counts["read"] or not result.error:
        share = f" ({100 * counts['rejected'] / counts['read']:.2f} %)" if counts["read"] and counts["rejected"] else ""
        line = (
            f"records  read {counts['read']:,} = written {counts['written']:,} + filtered {counts['filtered']:,}"
            f" + rejected {counts['rejected']:,}{share}"
        )
        console.print(line)
        filtered = {k: v for k, v in result.ledger.get("filtered", {}).items() if v}
        if filtered:
            console.print("         filtered: " + ", ".join(f"{safe(k)} {v:,}" for k, v in filtered.items()))
        if result.ledger.get("unknown_documents"):
            unknown = result.ledger["unknown_documents"]
            console.print(f"         {unknown:,} rejected records do not say to which document they belong")
    for number, (currency, sums) in enumerate(sorted(result.money.items())):
        lead = "money   " if number == 0 else "        "
        amount = {name: f"{Decimal(value):,}" for name, value in sums.items()}
        console.print(
            f"{lead} {currency}  list {amount['list']} - discounts {amount['discounts']} = net {amount['net']}"
        )
        console.print(f"              + tax {amount['tax']} = gross {amount['gross']}")
        if Decimal(sums.get("set_aside", "0")):
            console.print(f"              set aside with rejected documents: {amount['set_aside']}")
    if result.error:
        errors().print(Text.assemble(("error: ", "bold red"), safe(result.error["message"])))
        if result.status == "failed":
            errors().print("  Nothing was published.")
    elif counts["read"] or result.outputs:
        console.print("ledger   balanced")
    _print_outputs(result)
    reasons: dict[str, int] = result.ledger.get("reasons", {})
    if reasons:
        some = ", ".join(f"{count:,} {safe(kind)}" for kind, count in list(reasons.items())[:6])
        console.print(f"rejects  {some} -> assay rejects list {result.id}")
    times = [
        f"{safe(name)} {seconds:.1f}" for name, seconds in result.ledger.get("seconds", {}).items() if seconds >= 0.05
    ]
    if times:
        console.print("time     " + ", ".join(times) + " s")


def _print_outputs(result: Result) -> None:
    console = output()
    for number, (name, one) in enumerate(result.outputs.items()):
        lead = "outputs " if number == 0 else "        "
        note = f"  ({one['note']})" if one.get("note") else ""
        console.print(f"{lead} {name}  {one['mode']}  {one['rows']:,} rows  {safe(one['target'])}{note}")


class _Meter:
    """A line on standard error: replaced as the run goes on where it is a terminal, else a line a stage."""

    def __init__(self, *, live: bool, silent: bool) -> None:
        self._silent = silent
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._started = time.monotonic()
        self._stage = ""
        if live and not silent:
            text = "{task.description}  {task.fields[records]:,} records  {task.fields[rate]}"
            rejects = "{task.fields[rejects]:,} rejected"
            self._bar = Progress(
                TextColumn(text), TextColumn(rejects), BarColumn(pulse_style="cyan"), console=errors(), transient=True
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("read", total=None, records=0, rate="", rejects=0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, stage: str, size: int, records: int, rejects: int) -> None:
        """Take a report of the run."""
        if self._bar is not None and self._task is not None:
            seconds = max(time.monotonic() - self._started, 0.001)
            fields: dict[str, Any] = {
                "records": records,
                "rejects": rejects,
                "rate": f"{size / seconds / 1e6:.0f} MB/s",
            }
            self._bar.update(self._task, description=stage, **fields)
        elif not self._silent and stage != self._stage:
            self._stage = stage
            errors().print(f"{stage} ...")
