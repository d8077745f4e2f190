"""`assay rejects`: list, show, edit, replay, discard."""

from __future__ import annotations

import base64
import json
import sys
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import click

from assay.cli.console import FAILED, PUBLISHED, guarded, output, parse_params, print_json, safe, table
from assay.cli.run import print_result
from assay.cli.runs import open_store
from assay.errors import NotFoundError
from assay.pipeline import load, replay
from assay.runs import DeadLetter
from assay.settings import Settings


@click.group("rejects", epilog="\b\nExamples:\n  assay rejects list latest\n  assay rejects show latest 1")
def rejects_command() -> None:
    """What runs have rejected: every record with its bytes, its place and every error."""


@rejects_command.command("list", epilog="\b\nExample:\n  assay rejects list latest")
@click.argument("run", default="latest")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def list_command(run: str, as_json: bool) -> None:
    """Count the rejects of RUN by stage, field, error and value."""
    with open_store(Settings.load()) as store:
        found = store.get(run)
        groups: Counter[tuple[str, str, str]] = Counter()
        first: dict[tuple[str, str, str], tuple[DeadLetter, str]] = {}
        documents: list[dict[str, object]] = []
        states: Counter[str] = Counter()
        for letter in store.dead_letters(found.id):
            states[letter.state] += 1
            if as_json:
                documents.append(_as_json(letter))
            for error in letter.errors:
                key = (letter.stage, error["loc"], error["type"])
                groups[key] += 1
                first.setdefault(key, (letter, error["input"]))
    if as_json:
        print_json({"schema": 1, "run": found.id, "rejects": documents})
        return
    rows = []
    for (stage, field, kind), count in groups.most_common():
        letter, value = first[stage, field, kind]
        rows.append(
            (
                f"{count:,}",
                stage,
                field or "-",
                kind,
                json.dumps(value[:30], ensure_ascii=False),
                _place(letter),
                letter.number,
            )
        )
    console = output()
    if not rows:
        console.print(f"run {found.id} of {found.pipeline} rejected nothing")
        return
    columns = ("count", "stage", "field", "error", "value", "first at", "number")
    console.print(table(columns, rows, right=("count", "number")))
    console.print(", ".join(f"{count:,} {state}" for state, count in sorted(states.items())))
    console.print(f"one record: assay rejects show {found.id} {rows[0][-1]}")


@rejects_command.command("show", epilog="\b\nExample:\n  assay rejects show latest 1")
@click.argument("run")
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def show_command(run: str, number: int, as_json: bool) -> None:
    """Show the rejected record NUMBER of RUN: its place, every error, and its bytes."""
    with open_store(Settings.load()) as store:
        found = store.get(run)
        letter = store.dead_letter(found.id, number)
    if as_json:
        print_json({"schema": 1, "run": found.id} | _as_json(letter))
        return
    console = output()
    console.print(
        f"{safe(letter.source)}  record {letter.record:,}  line {letter.line:,}  byte {letter.offset:,}  {letter.stage}"
    )
    for error in letter.errors:
        field = f"{error['loc']}  " if error["loc"] else ""
        value = f", got {json.dumps(error['input'][:200], ensure_ascii=False)}" if error["input"] else ""
        console.print(safe(f"  {field}{error['type']}: {error['msg']}{value}"), soft_wrap=True)
    console.print(f"  {_shown(letter.raw)}", soft_wrap=True, markup=False)
    if letter.edited is not None:
        console.print("edited:")
        console.print(f"  {_shown(letter.edited)}", soft_wrap=True, markup=False)
    if letter.state == "open":
        console.print(f"mend it: assay rejects edit {found.id} {number}; after a fix: assay rejects replay {found.id}")
    else:
        console.print(f"{letter.state}: {safe(letter.closed_by)}")


@rejects_command.command("edit", epilog="\b\nExample:\n  assay rejects edit latest 1 --from mended.json")
@click.argument("run")
@click.argument("number", type=int)
@click.option("--from", "file", type=click.File("rb"), help="Take the mended record from a file (- is standard input).")
@guarded
def edit_command(run: str, number: int, file: BinaryIO | None) -> None:
    """Mend the record NUMBER of RUN, in your editor or from a file. The original is kept beside it."""
    with open_store(Settings.load()) as store:
        found = store.get(run)
        letter = store.dead_letter(found.id, number)
        if letter.state != "open":
            raise NotFoundError(f"open reject of run {found.id}", number)
        if file is not None:
            data = file.read().rstrip(b"\r\n")
        else:
            suffix = Path(letter.source).suffix or ".txt"
            text = click.edit(letter.current.decode("utf-8", "surrogateescape"), extension=suffix)
            if text is None:
                output().print("not changed")
                return
            data = text.encode("utf-8", "surrogateescape").rstrip(b"\r\n")
        store.edit_reject(found.id, number, data)
    output().print(f"kept; now: assay rejects replay {found.id}")


@rejects_command.command("replay", epilog="\b\nExample:\n  assay rejects replay latest")
@click.argument("run", default="latest")
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter; by default those of the run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def replay_command(run: str, params: tuple[str, ...], as_json: bool) -> None:
    """Read the open rejects of RUN again by today's pipeline, and publish exactly those that now pass."""
    settings = Settings.load()
    with open_store(settings) as store:
        found = store.get(run)
    result = replay(load(found.pipeline, settings), found.id, params=parse_params(params) or None, settings=settings)
    if as_json:
        print_json(result.as_json())
    else:
        print_result(result)
    sys.exit(PUBLISHED if result.status == "published" else FAILED)


@rejects_command.command("discard", epilog="\b\nExample:\n  assay rejects discard latest 1 --reason 'test order'")
@click.argument("run")
@click.argument("numbers", type=int, nargs=-1, required=True)
@click.option("--reason", required=True, help="Why these records are given up; it is kept.")
@guarded
def discard_command(run: str, numbers: tuple[int, ...], reason: str) -> None:
    """Give up the records NUMBERS of RUN, with a reason. Their bytes are kept."""
    with open_store(Settings.load()) as store:
        found = store.get(run)
        for number in numbers:
            if store.dead_letter(found.id, number).state != "open":
                raise NotFoundError(f"open reject of run {found.id}", number)
        store.close_rejects(found.id, numbers, "discarded", reason)
    output().print(f"{len(numbers):,} discarded")


def _place(letter: DeadLetter) -> str:
    return f"{letter.source}:{letter.line}"


def _shown(data: bytes) -> str:
    """Raw bytes as text: what is no UTF-8, and control characters, as escapes."""
    text = data.decode("utf-8", "backslashreplace")
    return "\n  ".join(safe(line) for line in text.splitlines())


def _as_json(letter: DeadLetter) -> dict[str, object]:
    made: dict[str, object] = {
        "number": letter.number,
        "source": letter.source,
        "record": letter.record,
        "line": letter.line,
        "offset": letter.offset,
        "stage": letter.stage,
        "state": letter.state,
        "errors": letter.errors,
    }
    try:
        made["raw"] = letter.raw.decode()
    except UnicodeDecodeError:
        made["raw_base64"] = base64.b64encode(letter.raw).decode()
    return made
