"""`assay explain`."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from assay.cli.console import output, print_json, say
from assay.cli.runs import find_run, open_store, run_or_pipeline

if TYPE_CHECKING:
    from assay.pipeline import Explanation

#: Characters of a value that are shown.
_LONGEST = 100


@click.command(
    "explain",
    epilog="\b\nExamples:\n  assay explain orders A-1/2\n  assay explain latest A-1/2\n"
    "  assay explain k7m2pd A-1/2 --json",
)
@click.argument("run", metavar="RUN|PIPELINE")
@click.argument("key")
@click.option("--pipeline", help="The pipeline, where RUN is latest and there are several.")
@click.option("--known-at", metavar="INSTANT", help="Price by what was known then, such as 2026-03-31T23:59:59Z.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def explain_command(
    context: click.Context, run: str, key: str, pipeline: str | None, known_at: str | None, as_json: bool
) -> None:
    """Show how the record KEY of RUN came to its price, and prove it by computing it again.

    With the name of a PIPELINE it is looked for in all runs that have published, the last first.

    KEY is the value of the source's key; several columns are parted by "/". RUN is an id, the beginning of one, or
    latest. Exit status 1: what was computed again is not what was published.
    """
    from assay.pipeline import explain, load  # noqa: PLC0415 - --help shall not wait for these
    from assay.settings import Settings  # noqa: PLC0415

    settings = Settings.load()
    with open_store(settings) as store:
        found = find_run(store, run, pipeline) if pipeline else run_or_pipeline(store, run, settings)
    name = found if isinstance(found, str) else found.pipeline
    looked_at = None if isinstance(found, str) else found
    explanation = explain(load(name, settings), looked_at, key, settings, known_at=known_at)
    if as_json:
        print_json({"schema": 1, **_as_json(explanation)})
    else:
        _print(explanation, name)
    if not explanation.proven:
        context.exit(1)


def _print(explanation: Explanation, pipeline: str) -> None:
    from rich.text import Text  # noqa: PLC0415

    place = explanation.place
    key = " / ".join(str(value) for value in explanation.key.values())
    output().print(Text.assemble((key, "bold"), f"  run {explanation.run} of {pipeline}"))
    line = "" if place["line"] is None else f", line {place['line']}"
    say(f"from {place['source']}, record {place['record']} (the first is 0){line}, byte {place['offset']}")
    _print_row(explanation.record)
    untouched: list[str] = []
    for step, rows in explanation.steps:
        if rows and not any(rows) and not any(one.step == step for one in explanation.prices):
            untouched.append(step)
            continue
        _print_untouched(untouched)
        say("")
        output().print(Text(f"step {step}", "bold"))
        priced = [one for one in explanation.prices if one.step == step]
        for one in priced:
            for text in one.receipt.explain().splitlines():
                say(f"  {text}")
            if one.document is not None and one.document > 1:
                say(f"  priced together with all {one.document} lines of its document")
            say(f"  price book {one.receipt.fingerprint[:12]}")
        for row in () if priced else rows:
            _print_row(row)
        if not rows:
            say("  the record ends here")
    _print_untouched(untouched)
    for name, entries in explanation.booked.items():
        if len(entries) > 1:
            _print_entries(name, entries)
    say("")
    _print_proof(explanation)


def _print_untouched(steps: list[str]) -> None:
    """Steps that let the record through as it was."""
    if steps:
        say("")
        say(f"passed {', '.join(steps)}")
        steps.clear()


def _print_row(row: dict[str, Any]) -> None:
    width = max(map(len, row), default=0)
    for name, value in row.items():
        say(f"  {name:<{width}}  {_short(value)}")


def _short(value: object) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _print_entries(output_name: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """All that was booked of the record: an entry, and under it the columns in which they differ."""
    from rich.text import Text  # noqa: PLC0415

    from assay.pipeline.entries import COLUMNS  # noqa: PLC0415 - --help shall not wait for it

    say("")
    output().print(Text(f"booked in {output_name}", "bold"))
    shown = [
        name for name in entries[0] if name not in COLUMNS and any(one[name] != entries[0][name] for one in entries)
    ]
    for entry in entries:
        of = "" if entry["corrects"] is None else f" of {entry['corrects']}"
        say(f"  {entry['entry_id']}  {entry['entry']}{of}, on {entry['booked_on']}, by run {entry['booked_run']}")
        say(f"      {', '.join(f'{name} {_short(entry[name])}' for name in shown)}")


def _print_proof(explanation: Explanation) -> None:
    for note in explanation.notes:
        say(f"note: {note}")
    for difference in explanation.differences:
        say(f"DIFFERS: {difference}")
    if not explanation.proven:
        return
    if any(not rows for _, rows in explanation.steps):
        return
    if not explanation.prices:
        say("no book prices this record: the steps above show what was computed")
        return
    *others, last = ("the reference", "the compiled book", *explanation.agreed)
    say(f"proven: {', '.join(others)}{',' * (len(others) > 1)} and {last} agree to the last digit")


def _as_json(explanation: Explanation) -> dict[str, Any]:
    return {
        "run": explanation.run,
        "key": _plain(explanation.key),
        "place": explanation.place,
        "record": _plain(explanation.record),
        "steps": [{"step": step, "rows": [_plain(row) for row in rows]} for step, rows in explanation.steps],
        "prices": [
            {
                "step": one.step,
                "book": one.receipt.book,
                "fingerprint": one.receipt.fingerprint,
                "currency": one.receipt.currency,
                "net": str(one.receipt.net),
                "tax": str(one.receipt.tax),
                "gross": str(one.receipt.gross),
                "payable": str(one.receipt.payable),
                "lines": [
                    {
                        "id": line.id,
                        "step": line.step,
                        "what": line.what,
                        "text": line.text,
                        "quantity": None if line.quantity is None else str(line.quantity),
                        "rate": None if line.rate is None else str(line.rate),
                        "amount": str(line.amount),
                        "exact": str(line.exact),
                        "residue": str(line.residue),
                        "currency": line.currency,
                        "adds_to_total": line.adds_to_total,
                        "tier": line.tier,
                    }
                    for line in one.receipt.lines
                ],
            }
            for one in explanation.prices
        ],
        "published": {name: [_plain(row) for row in rows] for name, rows in explanation.published.items()},
        "booked": {name: [_plain(row) for row in rows] for name, rows in explanation.booked.items()},
        "notes": explanation.notes,
        "differences": explanation.differences,
        "proven": explanation.proven,
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    """As JSON has it; amounts and moments as text."""
    match value:
        case None | bool() | int():
            return value
        case dict():
            return _plain(value)
        case list():
            return [_plain_value(one) for one in value]
        case bytes():
            return base64.b64encode(value).decode()
    return str(value)
