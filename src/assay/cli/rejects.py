"""`assay rejects`: list, show, edit, replay, discard."""

from __future__ import annotations

import base64
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from assay.cli.console import parse_params, print_json, print_table, safe, say
from assay.cli.run import exit_status, print_result
from assay.cli.runs import find_run, open_store
from assay.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from assay.runs import DeadLetter, Run, RunStore
    from assay.settings import Settings


#: So many values of a kind of error are told apart in a list.
_VALUES: Final = 1000


@click.group("rejects", epilog="\b\nExamples:\n  assay rejects list latest\n  assay rejects show latest 1")
def rejects_command() -> None:
    """What runs have rejected: every record with its bytes, its place and every error."""


@rejects_command.command(
    "list", short_help="Count rejects by stage, field and error.", epilog="\b\nExample:\n  assay rejects list latest"
)
@click.argument("run", default="latest")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_command(run: str, as_json: bool) -> None:
    """Count the rejects of RUN (or of the latest run of a pipeline) by stage, field, error and value."""
    with open_store(_settings()) as store:
        found = _kept_by(store, run)
        groups: Counter[tuple[str, str, str]] = Counter()
        first: dict[tuple[str, str, str], DeadLetter] = {}
        values: defaultdict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
        still_open: Counter[tuple[str, str, str]] = Counter()
        documents: list[dict[str, object]] = []
        states: Counter[str] = Counter()
        for letter in store.dead_letters(found.id):
            states[letter.state] += 1
            if as_json:
                documents.append(_as_json(letter))
            for error in letter.errors:
                key = (letter.stage, error["loc"], error["type"])
                groups[key] += 1
                still_open[key] += letter.state == "open"
                # What is shown is the first one that can still be mended.
                if key not in first or (letter.state == "open" and first[key].state != "open"):
                    first[key] = letter
                value = error["input"] or (error["msg"] if letter.stage == "pricing" else "")
                if error["loc"] and _tells_more(letter, value) and len(values[key]) < _VALUES:
                    values[key][value] = None
    if as_json:
        print_json({"schema": 1, "run": found.id, "rejects": documents})
        return
    if not groups:
        say(f"run {found.id} of {found.pipeline} rejected nothing")
        return
    # Records that only go with their document come last: mending the one to blame brings them back.
    ordered = sorted(groups.items(), key=lambda group: (group[0][0] == "document", not still_open[group[0]], -group[1]))
    rows = []
    for key, count in ordered:
        stage, field, kind = key
        letter = first[key]
        rows.append(
            (
                f"{count:,}",
                f"{still_open[key]:,}",
                stage,
                field or "-",
                kind,
                _some(values[key]),
                _place(letter),
                letter.number,
            )
        )
    columns = ("count", "open", "stage", "field", "error", "value", "first at", "number")
    print_table(columns, rows, right=("count", "open", "number"), optional=("stage", "value", "first at"))
    say(", ".join(f"{count:,} {state}" for state, count in sorted(states.items())))
    say(f"one record: assay rejects show {found.id} {rows[0][-1]}")


@rejects_command.command(
    "show", short_help="Show one: place, errors, bytes.", epilog="\b\nExample:\n  assay rejects show latest 1"
)
@click.argument("run")
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show_command(run: str, number: int, as_json: bool) -> None:
    """Show the rejected record NUMBER of RUN: its place, every error, and its bytes."""
    with open_store(_settings()) as store:
        found = _kept_by(store, run)
        letter = store.dead_letter(found.id, number)
    if as_json:
        print_json({"schema": 1, "run": found.id} | _as_json(letter))
        return
    say(
        f"{safe(letter.source)}  record {letter.record:,}  line {letter.line:,}  byte {letter.offset:,}  {letter.stage}"
    )
    for error in letter.errors:
        field = f"{error['loc']}  " if error["loc"] else ""
        got = _got(letter, error)
        value = f", got {json.dumps(got[:200], ensure_ascii=False)}" if got else ""
        say(safe(f"  {field}{error['type']}: {error['msg']}{value}"))
    say(f"  {_shown(letter.raw)}")
    if letter.edited is not None:
        say("edited:")
        say(f"  {_shown(letter.edited)}")
    if letter.state == "open":
        say(f"mend it: assay rejects edit {found.id} {number}; after a fix: assay rejects replay {found.id}")
    else:
        say(f"{letter.state}: {safe(letter.closed_by)}")


@rejects_command.command(
    "edit",
    short_help="Mend one in your editor, or as in an earlier run.",
    epilog="\b\nExamples:\n  assay rejects edit latest 1 --from mended.json\n  assay rejects edit latest --like 7k2m9q",
)
@click.argument("run")
@click.argument("number", type=int, required=False)
@click.option("--from", "file", type=click.File("rb"), help="Take the mended record from a file (- is standard input).")
@click.option("--like", metavar="RUN", help="Mend every open record as the same bytes were mended in this run.")
def edit_command(run: str, number: int | None, file: BinaryIO | None, like: str | None) -> None:
    """Mend the record NUMBER of RUN, in your editor or from a file. The original is kept beside it."""
    if (number is None) == (like is None) or (like and file):
        raise click.UsageError("give either the NUMBER of a record, or --like RUN")
    with open_store(_settings()) as store:
        found = _kept_by(store, run)
        if number is None:
            count = store.copy_edits(_kept_by(store, like or "").id, found.id)
            say(f"{count:,} mended as in run {like}{_next(found) if count else ''}")
            return
        letter = store.dead_letter(found.id, number)
        _see_open(letter)
        if file is None and not sys.stdin.isatty():
            raise ConfigurationError("there is no terminal for an editor; give the mended record with --from FILE")
        if file is not None:
            data = file.read().rstrip(b"\r\n")
        else:
            suffix = Path(letter.source).suffix or ".txt"
            old = letter.current.decode("utf-8", "surrogateescape")
            text = click.edit(old, extension=suffix)
            if text is None or text.rstrip("\r\n") == old.rstrip("\r\n"):
                say("not changed")
                return
            data = text.encode("utf-8", "surrogateescape").rstrip(b"\r\n")
        if not data:
            raise ConfigurationError(f"that is empty; to give a record up: assay rejects discard {found.id} {number}")
        store.edit_reject(found.id, number, data)
    say(f"kept{_next(found)}")


@rejects_command.command(
    "replay",
    short_help="Read open rejects again; publish what passes.",
    epilog="\b\nExample:\n  assay rejects replay latest",
)
@click.argument("run", default="latest")
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter; by default those of the run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def replay_command(run: str, params: tuple[str, ...], as_json: bool) -> None:
    """Read the open rejects of RUN again by today's pipeline, and publish exactly those that now pass."""
    from assay.pipeline import load, replay  # noqa: PLC0415 - --help shall not wait for it

    settings = _settings()
    with open_store(settings) as store:
        found = _kept_by(store, run)
    result = replay(load(found.pipeline, settings), found.id, params=parse_params(params) or None, settings=settings)
    if as_json:
        print_json(result.as_json())
    else:
        print_result(result, rejects_of=found.id)
    sys.exit(exit_status(result))


@rejects_command.command(
    "discard",
    short_help="Give records up, with a reason.",
    epilog="\b\nExample:\n  assay rejects discard latest 1 --reason 'test order'",
)
@click.argument("run")
@click.argument("numbers", type=int, nargs=-1, required=True)
@click.option("--reason", required=True, help="Why these records are given up; it is kept.")
def discard_command(run: str, numbers: tuple[int, ...], reason: str) -> None:
    """Give up the records NUMBERS of RUN, with a reason. Their bytes are kept."""
    if not reason.strip():
        raise ConfigurationError("--reason is empty; say why, for those who ask later")
    given = sorted(set(numbers))
    with open_store(_settings()) as store:
        found = _kept_by(store, run)
        for number in given:
            _see_open(store.dead_letter(found.id, number))
        store.close_rejects(found.id, given, "discarded", reason)
    say(f"{len(given):,} discarded")


def _settings() -> Settings:
    from assay.settings import Settings  # noqa: PLC0415 - --help shall not wait for it

    return Settings.load()


def _kept_by(store: RunStore, name: str) -> Run:
    """The run that keeps the rejects: a replay leaves them with the run whose rejects it reads."""
    run = find_run(store, name)
    return store.get(run.parent) if run.parent is not None else run


def _see_open(letter: DeadLetter) -> None:
    if letter.state != "open":
        error = NotFoundError(f"open reject of run {letter.run}", letter.number)
        error.add_note(f"It is {letter.state}: {letter.closed_by}")
        raise error


def _some(values: Iterable[str]) -> str:
    """The first value of several, and how many others there are."""
    listed = list(values)
    if not listed:
        return "-"
    first, *others = listed
    more = f" + {len(others)}{'+' if len(others) == _VALUES - 1 else ''} more" if others else ""
    return json.dumps(first[:30], ensure_ascii=False) + more


def _next(run: Run) -> str:
    """What to do with mended records: a run that published nothing cannot be added to."""
    if run.status == "published":
        return f"; now: assay rejects replay {run.id}"
    return (
        f"; run {run.id} published nothing, so there is nothing to add them to: run {run.pipeline} again, "
        f"then assay rejects edit latest --like {run.id}"
    )


def _got(letter: DeadLetter, error: dict[str, str]) -> str:
    """The value that is wrong, where it says more than the message and the record beside it."""
    value = error["input"]
    if letter.stage == "document" or error["type"] == "missing" or value in error["msg"]:
        return ""
    return value if _tells_more(letter, value) else ""


def _tells_more(letter: DeadLetter, value: str) -> bool:
    """Whether a value says more than the record beside it, of which it may be the beginning."""
    return bool(value) and not letter.raw.decode("utf-8", "replace").lstrip().startswith(value[:200])


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
