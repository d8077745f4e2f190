"""`assay run`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from assay.cli.console import (
    FAILED,
    OVER_BUDGET,
    PUBLISHED,
    errors,
    is_live,
    output,
    parse_params,
    print_error,
    print_json,
    print_labelled,
    safe,
    telling,
)
from assay.cli.runs import find_run, open_store
from assay.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.progress import Progress, TaskID

    from assay.pipeline import Report, Result


def wait_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options --wait and --wait-seconds."""
    wait = click.option("--wait", is_flag=True, help="Wait for another run of this pipeline to end.")
    seconds = click.option(
        "--wait-seconds", metavar="SECONDS", type=click.FloatRange(min=0), help="Wait for it, but not longer than this."
    )
    return wait(seconds(command))


def seconds_to_wait(*, wait: bool, seconds: float | None) -> float:
    """How long to wait at most, by these options."""
    if seconds is not None:
        return seconds
    return float("inf") if wait else 0.0


@click.command(
    "run", epilog="\b\nExamples:\n  assay run orders\n  assay run orders --input may.jsonl --json | jq .money"
)
@click.argument("name")
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter of the pipeline; repeat it.")
@click.option(
    "--input", "source", metavar="PATH", help="Read this instead: a path, a glob (** goes down), a URL, or - ."
)
@click.option("--format", "fmt", metavar="FORMAT", help="Format of the input where its suffix does not tell.")
@click.option("--output", "folder", metavar="DIR", help="Put every file output under DIR.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Read only the first N records.")
@click.option("--known-at", metavar="INSTANT", help="Price by what was known then, such as 2026-03-31T23:59:59Z.")
@click.option("--engine", default="local", show_default=True, help="Where it runs.")
@click.option("--max-rejects", metavar="N|P%", help="More rejects than this, and nothing is published (status 3).")
@click.option("--dry-run", is_flag=True, help="Do everything but publish.")
@click.option("--force", is_flag=True, help="Publish again what an earlier run has published from the same input.")
@click.option("--full", is_flag=True, help="Of an incremental pipeline: read all files, publish everything anew.")
@wait_options
@click.option("--resume", "resumed", metavar="RUN", help="Finish or undo what a run that died has left.")
@click.option("--abandon", "abandoned", metavar="RUN", help="Give up a run that has decided to publish and cannot.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--quiet", is_flag=True, help="No progress; errors only.")
def run_command(
    name: str,
    params: tuple[str, ...],
    source: str | None,
    fmt: str | None,
    folder: str | None,
    limit: int | None,
    known_at: str | None,
    engine: str,
    max_rejects: str | None,
    dry_run: bool,
    force: bool,
    full: bool,
    wait: bool,
    wait_seconds: float | None,
    resumed: str | None,
    abandoned: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run the pipeline NAME and publish all of it, or nothing.

    Exit status: 0 published; 1 failed, nothing published; 2 wrong use; 3 rejects over the budget, nothing published.
    """
    from assay.pipeline import load  # noqa: PLC0415 - --help shall not wait for these
    from assay.pipeline.execution import abandon, resume  # noqa: PLC0415
    from assay.settings import Settings  # noqa: PLC0415

    settings = Settings.load()
    pipeline = load(name, settings)
    if source == "":
        raise ConfigurationError("--input is empty; name a path, a glob, or - for standard input")
    if folder == "":
        raise ConfigurationError("--output is empty; name a folder")
    if fmt is not None:
        pipeline = replace(pipeline, source=replace(pipeline.source, format=fmt))
    ended = resumed or abandoned
    others = (params, source, fmt, folder, limit, known_at, max_rejects, dry_run, force, full)
    if ended and (any(others) or (resumed and abandoned)):
        raise ConfigurationError("--resume and --abandon end a run as it was begun: give one, without other options")
    if ended:
        with open_store(settings) as store:
            run = find_run(store, ended, name)
        result = (resume if resumed else abandon)(pipeline, run.id, settings)
    else:
        with Meter(live=is_live() and not quiet, silent=quiet or as_json) as meter:
            result = pipeline.run(
                parse_params(params),
                input=source,
                output=folder,
                limit=limit,
                max_rejects=max_rejects,
                dry_run=dry_run,
                force=force,
                full=full,
                wait=seconds_to_wait(wait=wait, seconds=wait_seconds),
                known_at=known_at,
                engine=engine,  # type: ignore[arg-type]
                settings=settings,
                progress=meter.update,
            )
    # Whoever reads may be gone: what became of the run is told by the status all the same.
    with telling(f"run {result.id} is {result.status}"):
        print_outcome(result, as_json=as_json, quiet=quiet)
    sys.exit(exit_status(result))


def print_outcome(result: Result, *, as_json: bool, quiet: bool, rejects_of: str | None = None) -> None:
    """What has become of a run, as it is asked for; `rejects_of` is the run that keeps the rejects, if another one."""
    if as_json:
        print_json(result.as_json())
    elif result.repeats and not quiet:
        _print_repeats(result)
    elif not quiet:
        print_result(result, rejects_of=rejects_of)
    elif result.error and not result.dry_run:
        _print_failure(result)
    sys.stdout.flush()


def exit_status(result: Result) -> int:
    """As the contract has it; a dry run that got as far as publishing has done what it was asked."""
    if result.status == "published" or result.dry_run:
        return PUBLISHED
    return OVER_BUDGET if result.status == "rejected" else FAILED


def print_result(result: Result, *, rejects_of: str | None = None) -> None:
    """The summary of a run; `rejects_of` is the run that keeps the rejects, where it is another one."""
    from rich.text import Text  # noqa: PLC0415 - --help shall not wait for it

    word = "DRY RUN" if result.dry_run else result.status.upper()
    style = "bold green" if result.status == "published" or result.dry_run else "bold red"
    counts = result.counts
    rate = f"  {counts['read'] / result.seconds:,.0f} records/s" if result.seconds > 0 and counts["read"] else ""
    output().print(
        Text.assemble(f"{result.pipeline}  ", (word, style), f"  run {result.id}  {result.seconds:.1f} s{rate}")
    )
    _print_project(result)
    _print_known(result)
    _print_finished(result)
    if counts["read"] or not result.error:
        _print_records(result)
    for number, (currency, sums) in enumerate(sorted(result.money.items())):
        _print_money("" if number else "money", currency, sums)
    if result.error and not result.dry_run:
        _print_failure(result)
    elif counts["read"] or result.outputs:
        checks = result.ledger.get("checks", [])
        print_labelled("ledger", "balanced" + (f", {len(checks):,} checks passed" if checks else ""))
    for number, (name, one) in enumerate(result.outputs.items()):
        print_labelled(
            "" if number else "outputs", f"{name}  {one['mode']}  {one['rows']:,} rows  {safe(one['target'])}"
        )
    _print_booked(result)
    if result.dry_run:
        print_labelled("outputs", "none: this was a dry run")
    elif result.status in ("failed", "rejected", "interrupted") and (result.error or {}).get("type") != "Abandoned":
        print_labelled("outputs", "none: nothing was published, all outputs are as they were")
    elif rejects_of and not counts["written"]:
        print_labelled("", "nothing passes yet: no row was added")
    reasons: dict[str, int] = result.ledger.get("reasons", {})
    if reasons:
        some = ", ".join(f"{count:,} {safe(kind)}" for kind, count in list(reasons.items())[:6])
        rest = f" and {len(reasons) - 6} more kinds" if len(reasons) > 6 else ""
        print_labelled("rejects", f"{some}{rest} -> assay rejects list {rejects_of or result.id}")
    _print_lookups(result)
    _print_told(result)
    times = [(name, seconds) for name, seconds in result.ledger.get("seconds", {}).items() if seconds >= 0.05]
    if times:
        print_labelled("time", ", ".join(f"{safe(name)} {seconds:.1f}" for name, seconds in times) + " s")


def _print_project(result: Result) -> None:
    """Where its history is kept, unless that is the current folder."""
    if result.project and Path(result.project) != Path.cwd().resolve():
        print_labelled("project", safe(result.project))


def _print_finished(result: Result) -> None:
    for run in result.finished:
        print_labelled("finished", f"run {run}, which had died while it published; all of it is published now")


def _print_known(result: Result) -> None:
    if result.known_at is not None:
        print_labelled("prices", f"as known at {result.known_at}")


def _print_repeats(result: Result) -> None:
    from rich.text import Text  # noqa: PLC0415 - --help shall not wait for it

    output().print(Text.assemble(f"{result.pipeline}  ", ("NOTHING TO DO", "bold green")))
    _print_finished(result)
    if "incremental" in result.ledger:
        print_labelled("", f"no file is new; run {result.id} was the last to publish (--full publishes all anew)")
    else:
        print_labelled("", f"run {result.id} has published the same input in the same way; --force publishes it again")


def _print_booked(result: Result) -> None:
    for number, (name, one) in enumerate(result.booked.items()):
        words = [f"{one[word]:,} {word}" for word in ("new", "corrected", "unchanged")]
        words += [f"{one['reversed']:,} reversed, since they are gone"] if one["reversed"] else []
        print_labelled("" if number else "booked", f"{name}  {', '.join(words)}")
        for currency, sums in one["difference"].items():
            changed = [f"{safe(column)} {Decimal(amount):+,}" for column, amount in sums.items() if Decimal(amount)]
            to = f"{safe(currency)}  " if currency else ""
            print_labelled("", f"     {to}corrections add up to {', '.join(changed) or '0'}")


def _print_told(result: Result) -> None:
    for number, note in enumerate(result.notes):
        print_labelled("" if number else "notes", safe(note))
    for warning in result.warnings:
        print_labelled("warning", safe(warning), style="bold yellow")


def _print_lookups(result: Result) -> None:
    """Those that had to call; what lies in memory is not worth a line."""
    asked = {name: one for name, one in result.lookups.items() if one["calls"] or one["hits"]}
    for number, (name, one) in enumerate(asked.items()):
        print_labelled("" if number else "lookups", f"{safe(name)}  {_calls(one)}")


def _calls(figures: Mapping[str, int | float]) -> str:
    some = [f"{figures['rows']:,} rows", f"{figures['calls']:,} calls", f"{figures['hits']:,} from the cache"]
    some += [f"{figures[name]:,} {name}" for name in ("retries", "missing", "errors") if figures[name]]
    return ", ".join([*some, f"slowest {figures['slowest_seconds']:.3f} s"])


def _print_records(result: Result) -> None:
    counts = result.counts
    share = f" ({100 * counts['rejected'] / counts['read']:.2f} %)" if counts["read"] and counts["rejected"] else ""
    # A run that broke off has not followed every record to its end.
    equals = "=" if sum(counts.values()) == 2 * counts["read"] else ":"
    print_labelled(
        "records",
        f"read {counts['read']:,} {equals} written {counts['written']:,} + filtered {counts['filtered']:,}"
        f" + rejected {counts['rejected']:,}{share}",
    )
    files = result.ledger.get("incremental")
    if files:
        print_labelled("files", ", ".join(f"{count:,} {word}" for word, count in files.items()))
    filtered = {k: v for k, v in result.ledger.get("filtered", {}).items() if v}
    if filtered:
        print_labelled("", "filtered: " + ", ".join(f"{safe(k)} {v:,}" for k, v in filtered.items()))
    unknown = result.ledger.get("unknown_documents")
    if unknown:
        print_labelled("", f"{unknown:,} rejected records do not say to which document they belong")


def _print_money(label: str, currency: str, sums: dict[str, str]) -> None:
    amount = {name: f"{Decimal(value):,}" for name, value in sums.items()}
    currency = safe(currency) or "(no currency)"
    print_labelled(label, f"{currency}  list {amount['list']} - discounts {amount['discounts']} = net {amount['net']}")
    print_labelled("", f"     + tax {amount['tax']} = gross {amount['gross']}")
    if Decimal(sums.get("set_aside", "0")):
        print_labelled("", f"     set aside with rejected documents: {amount['set_aside']}")


def _print_failure(result: Result) -> None:
    error = result.error or {}
    gone = error.get("type") == "Abandoned"
    failed = result.status == "failed" and not gone and "nothing was published" not in error["message"]
    print_error(error["message"], ["Nothing was published."] if failed else [])


class Meter:
    """A line on standard error: replaced as the run goes on where it is a terminal, else a line a stage."""

    def __init__(self, *, live: bool, silent: bool) -> None:
        self._silent = silent
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._started = time.monotonic()
        self._stage = ""
        if live and not silent:
            from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - --help shall not wait for it

            text = "{task.description}  {task.fields[records]:,} records, {task.fields[rejects]:,} rejected"
            self._bar = Progress(
                TextColumn(text),
                BarColumn(bar_width=20, pulse_style="cyan"),
                TextColumn("{task.fields[rate]}{task.fields[left]}"),
                console=errors(live=True),
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("read", total=None, records=0, rejects=0, rate="", left="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, report: Report) -> None:
        """Take a report of the run."""
        if self._bar is not None and self._task is not None:
            seconds = max(time.monotonic() - self._started, 0.001)
            fields: dict[str, Any] = {
                "records": report.records,
                "rejects": report.rejects,
                "rate": f"{report.bytes / seconds / 1e6:.0f} MB/s",
                "left": _left(report, seconds),
            }
            self._bar.update(self._task, description=report.stage, total=report.total, completed=report.bytes, **fields)
        elif not self._silent and report.stage != self._stage:
            self._stage = report.stage
            errors().print(f"{report.stage} ...")


def _left(report: Report, seconds: float) -> str:
    """How long it will take yet, by bytes, rounded."""
    if not report.total or not report.bytes or seconds < 1:
        return ""
    left = seconds * (report.total - report.bytes) / report.bytes
    if left >= 90:
        return f"  {left / 60:.0f} min left"
    return f"  {max(5 * round(left / 5), 1)} s left" if left > 0 else ""
