"""`assay rejects`: list, show, edit, replay, discard, purge."""

from __future__ import annotations

import base64
import json
import sys
from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from assay.cli.console import parse_params, print_json, print_json_list, print_table, safe, say, telling
from assay.cli.run import exit_status, print_outcome, seconds_to_wait, wait_options
from assay.cli.runs import find_run, open_store, run_or_pipeline
from assay.errors import AssayError, ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from assay.runs import DeadLetter, Kind, Run, RunStore, Which
    from assay.settings import Settings


@click.group("rejects", epilog="\b\nExamples:\n  assay rejects list latest\n  assay rejects show latest 1")
def rejects_command() -> None:
    """What runs have rejected: every record with its bytes, its place and every error."""


@rejects_command.command(
    "list",
    short_help="Count rejects by stage, field and error.",
    epilog="\b\nExamples:\n  assay rejects list latest\n  assay rejects list orders --state open --type missing\n"
    "  assay rejects list latest --field 'lines.*.price' --json",
)
@click.argument("run", metavar="[RUN|PIPELINE]", default="latest")
@click.option(
    "--stage", metavar="STAGE", help="Only those rejected here: read, validate, represent, lookup, pricing ..."
)
@click.option("--type", "kind", metavar="ERROR", help="Only with an error of this type, such as missing.")
@click.option("--field", metavar="FIELD", help="Only with an error at this place; * is any text, - is no place.")
@click.option("--file", metavar="FILE", help="Only from this file, by its name or path; * is any text.")
@click.option(
    "--state",
    type=click.Choice(["open", "replayed", "discarded", "superseded", "purged"]),
    help="Only those of which this became.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows; with --json so many records.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with the records.")
def list_command(
    run: str,
    stage: str | None,
    kind: str | None,
    field: str | None,
    file: str | None,
    state: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Count the rejects of RUN, or of all runs of PIPELINE, by stage, field, error and value."""
    settings = _settings()
    with open_store(settings) as store:
        found = run_or_pipeline(store, run, settings)
        pipeline = found if isinstance(found, str) else None
        of = None if isinstance(found, str) else _keeper(store, found).id
        name = found if isinstance(found, str) else found.pipeline
        which: Which = {"pipeline": pipeline, "stage": stage, "type": kind, "file": file, "state": state}
        which["field"] = "" if field == "-" else field
        view = _View(settings, name)
        states = store.count_rejects(of, **which)
        if as_json:
            head = {"schema": 1} | ({"pipeline": name} if of is None else {"run": of}) | {"count": sum(states.values())}
            letters = store.dead_letters(of, limit=limit, **which)
            print_json_list(head, "rejects", (view.as_json(letter) for letter in letters))
        elif not states:
            asked = any(value is not None for name, value in which.items() if name != "pipeline")
            of_this_kind = " of this kind" if asked and store.count_rejects(of, pipeline=pipeline) else ""
            where = f"run {of} of {name}" if of is not None else name
            say(f"{where} rejected nothing{of_this_kind}")
        else:
            kinds = store.reject_kinds(of, **which)
            # Records that only go with their document come last: mending the one to blame brings them back.
            kinds.sort(key=lambda kind: (kind.stage == "document", not kind.open, -kind.count))
            _print_kinds(store, view, kinds[:limit], several=of is None)
            if limit is not None and len(kinds) > limit:
                say(f"and {len(kinds) - limit:,} more kinds")
            say(", ".join(f"{count:,} {state}" for state, count in sorted(states.items())))
            say(f"one record: assay rejects show {kinds[0].run} {kinds[0].number}")


def _print_kinds(store: RunStore, view: _View, kinds: list[Kind], *, several: bool) -> None:
    rows = []
    for kind in kinds:
        letter = store.dead_letter(kind.run, kind.number)
        cells = [f"{kind.count:,}", f"{kind.open:,}", kind.stage, kind.field or "-", kind.type]
        cells += [view.value(letter, kind), f"{letter.source}:{letter.line}"]
        rows.append((*cells, *([kind.run] if several else []), kind.number))
    columns = ("count", "open", "stage", "field", "error", "value", "first at", *(["run"] if several else []), "number")
    print_table(columns, rows, right=("count", "open", "number"), optional=("stage", "value", "first at"))


@rejects_command.command(
    "show", short_help="Show one: place, errors, bytes.", epilog="\b\nExample:\n  assay rejects show latest 1"
)
@click.argument("run")
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show_command(run: str, number: int, as_json: bool) -> None:
    """Show the rejected record NUMBER of RUN: its place, every error, and its bytes."""
    settings = _settings()
    with open_store(settings) as store:
        found = _kept_by(store, run)
        letter = store.dead_letter(found.id, number)
    view = _View(settings, found.pipeline)
    if as_json:
        print_json({"schema": 1} | view.as_json(letter))
        return
    say(
        f"{safe(letter.source)}  record {letter.record:,}  line {letter.line:,}  byte {letter.offset:,}  {letter.stage}"
    )
    _say_errors(view, letter)
    if letter.state != "purged":
        say(f"  {view.text(letter, letter.raw)}")
    if letter.edited is not None:
        say("edited:")
        say(f"  {view.text(letter, letter.edited)}")
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
    """Mend the record NUMBER of RUN, in your editor or from a file. The original is kept beside it.

    It is said whether the record would be read and is valid now; what the steps say of it comes with the replay.
    """
    if (number is None) == (like is None) or (like and file):
        raise click.UsageError("give either the NUMBER of a record, or --like RUN")
    settings = _settings()
    with open_store(settings) as store:
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
        edited = store.dead_letter(found.id, number)
    _tell_verdict(edited, found, settings)


@rejects_command.command(
    "replay",
    short_help="Read open rejects again; publish what passes.",
    epilog="\b\nExample:\n  assay rejects replay latest",
)
@click.argument("run", default="latest")
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter; by default those of the run.")
@wait_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--quiet", is_flag=True, help="Errors only.")
def replay_command(
    run: str, params: tuple[str, ...], wait: bool, wait_seconds: float | None, as_json: bool, quiet: bool
) -> None:
    """Read the open rejects of RUN again by today's pipeline, and publish exactly those that now pass."""
    from assay.pipeline import load, replay  # noqa: PLC0415 - --help shall not wait for it

    settings = _settings()
    with open_store(settings) as store:
        found = _kept_by(store, run)
    result = replay(
        load(found.pipeline, settings),
        found.id,
        params=parse_params(params) or None,
        wait=seconds_to_wait(wait=wait, seconds=wait_seconds),
        settings=settings,
    )
    with telling(f"run {result.id} is {result.status}"):
        print_outcome(result, as_json=as_json, quiet=quiet, rejects_of=found.id)
    sys.exit(exit_status(result))


@rejects_command.command(
    "purge",
    short_help="Delete the bytes of old rejects.",
    epilog="\b\nExamples:\n  assay rejects purge\n  assay rejects purge orders --days 90 --yes",
)
@click.argument("pipeline", required=False)
@click.option(
    "--days",
    type=click.IntRange(min=1),
    help="Of runs that began longer ago than this; by default as rejects_days says.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge_command(pipeline: str | None, days: int | None, yes: bool) -> None:
    """Delete the bytes of the rejects of old runs, of PIPELINE or of all, and the values in their errors.

    Open ones are deleted, too, and cannot be replayed any more. Counts, places and kinds of errors stay.
    """
    from assay.pipeline import purge  # noqa: PLC0415 - --help shall not wait for it

    settings = _settings()
    days = days or settings.rejects_days
    if days is None:
        raise ConfigurationError("say how many days rejects are kept: --days N, or the setting rejects_days")
    with open_store(settings) as store:
        if pipeline is not None and not store.runs(1, pipeline):
            raise NotFoundError("pipeline with runs", pipeline)
        names = [pipeline] if pipeline is not None else store.pipelines()
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("there is no terminal to ask at; add --yes")
        click.confirm(
            f"Delete the bytes of all rejects, open ones too, of runs older than {days} days ({', '.join(names)})?",
            abort=True,
        )
    purged: Counter[str] = Counter()
    for name in names:
        purged.update(purge(name, days, settings))
    was = ", ".join(f"{count:,} were {state}" for state, count in sorted(purged.items()))
    say(f"{purged.total():,} purged{f': {was}' if was else ''}")


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


def _say_errors(view: _View, letter: DeadLetter) -> None:
    for error in view.errors(letter):
        field = f"{error['loc']}  " if error["loc"] else ""
        got = _got(letter, error)
        value = f", got {json.dumps(got[:200], ensure_ascii=False)}" if got else ""
        message = f": {error['msg']}{value}" if error["msg"] else ""
        say(safe(f"  {field}{error['type']}{message}"))


def _tell_verdict(edited: DeadLetter, run: Run, settings: Settings) -> None:
    """Say whether a record that was just edited would be accepted; it is kept either way."""
    from assay.pipeline import errors_of, load  # noqa: PLC0415 - --help shall not wait for it

    try:
        errors = errors_of(load(run.pipeline, settings), edited, settings)
    except AssayError as error:
        say(f"kept, and not tried, since the pipeline cannot be used: {error}")
        return
    if not errors:
        say(f"kept, and it is valid{_next(run)}")
        return
    say("kept, but it would be rejected again:")
    _say_errors(_View(settings, run.pipeline), replace(edited, raw=edited.current, errors=errors, edited=None))
    say(f"mend it: assay rejects edit {run.id} {edited.number}")


def _settings() -> Settings:
    from assay.settings import Settings  # noqa: PLC0415 - --help shall not wait for it

    return Settings.load()


def _kept_by(store: RunStore, name: str) -> Run:
    """The run of this name, or the one that keeps its rejects."""
    return _keeper(store, find_run(store, name))


def _keeper(store: RunStore, run: Run) -> Run:
    """The run that keeps the rejects: a replay leaves them with the run whose rejects it reads."""
    return store.get(run.parent) if run.parent is not None else run


def _see_open(letter: DeadLetter) -> None:
    if letter.state != "open":
        error = NotFoundError(f"open reject of run {letter.run}", letter.number)
        error.add_note(f"It is {letter.state}: {letter.closed_by}")
        raise error


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


class _View:
    """Dead letters of one pipeline as they may be shown: without the values of the fields in the setting `redact`."""

    def __init__(self, settings: Settings, pipeline: str) -> None:
        from assay.records import Redaction  # noqa: PLC0415 - --help shall not wait for it

        self._settings, self._pipeline = settings, pipeline
        self._redaction = Redaction(settings.redact)

    def errors(self, letter: DeadLetter) -> list[dict[str, str]]:
        """Its errors."""
        if not self._redaction:
            return letter.errors
        return self._redaction.errors(letter.errors, letter.raw, letter.format, self._told(letter))

    def value(self, letter: DeadLetter, kind: Kind) -> str:
        """What is wrong with the first of a kind: its value and how many others there are, or the message."""
        error = next(e for e in self.errors(letter) if (e["loc"], e["type"]) == (kind.field, kind.type))
        if not kind.field or not error["input"]:
            return _cut(error["msg"], 60) or "-"
        if not _tells_more(letter, error["input"]):
            return "-"
        more = f" + {kind.values - 1:,} more" if kind.values > 1 else ""
        return json.dumps(_cut(error["input"], 30), ensure_ascii=False) + more

    def text(self, letter: DeadLetter, data: bytes) -> str:
        """Raw bytes as text: what is no UTF-8, and control characters, as escapes."""
        shown = self._shown(letter, data)
        if shown is None:
            return f"({len(data):,} bytes, not shown: their fields cannot be told apart, and the setting redact is on)"
        return "\n  ".join(safe(line) for line in shown.splitlines())

    def as_json(self, letter: DeadLetter) -> dict[str, object]:
        """All there is of it; bytes that may not be shown are null."""
        made: dict[str, object] = {
            "run": letter.run,
            "number": letter.number,
            "source": letter.source,
            "record": letter.record,
            "line": letter.line,
            "offset": letter.offset,
            "stage": letter.stage,
            "state": letter.state,
            "errors": self.errors(letter),
        }
        if letter.closed_by is not None:
            made["closed_by"] = letter.closed_by
        if self._redaction:
            made["redacted"] = sorted(self._settings.redact)
        for name, data in (("raw", None if letter.state == "purged" else letter.raw), ("edited", letter.edited)):
            if data is None:
                made |= {name: None} if name == "raw" else {}
            elif self._redaction:
                made[name] = self._shown(letter, data)
            else:
                made |= _as_text(name, data)
        return made

    def _shown(self, letter: DeadLetter, data: bytes) -> str | None:
        if not self._redaction:
            return data.decode("utf-8", "backslashreplace")
        return self._redaction.record(data, letter.format, self._told(letter))

    def _told(self, letter: DeadLetter) -> dict[str, Any] | None:
        """How the source is read, without which nobody can tell the cells of CSV apart."""
        return self._options if letter.format == "csv" else {}

    @cached_property
    def _options(self) -> dict[str, Any] | None:
        from assay.pipeline import load  # noqa: PLC0415 - --help shall not wait for it

        try:
            return load(self._pipeline, self._settings).source.how().options()
        except AssayError:
            # The record is not shown then, which is said in its place.
            return None


def _as_text(name: str, data: bytes) -> dict[str, object]:
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
