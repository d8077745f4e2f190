"""What the terminal shows: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from assay.errors import AssayError, ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from rich.console import Console

#: Exit status, part of the contract.
PUBLISHED, FAILED, MISUSED, OVER_BUDGET = 0, 1, 2, 3
OVER_LIMIT: Final = 3
INTERRUPTED: Final = 130
TERMINATED: Final = 143

#: Width of the labels of a summary, and the narrowest that a column is wrapped to.
_LABEL: Final = 9
_NARROW: Final = 16
_GAP: Final = "  "


def is_live() -> bool:
    """Whether standard error is a terminal on which lines can be replaced."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and "CI" not in os.environ


def output() -> Console:
    """Standard output; lines are wrapped by nobody but us."""
    from rich.console import Console  # noqa: PLC0415 - --help shall not wait for it

    # Data such as ":100:" is no emoji.
    return Console(highlight=False, emoji=False, soft_wrap=True, force_interactive=False)


def errors(*, live: bool = False) -> Console:
    """Standard error."""
    from rich.console import Console  # noqa: PLC0415 - --help shall not wait for it

    # Rich would take FORCE_COLOR in a pipe for a terminal whose lines can be replaced.
    return Console(stderr=True, highlight=False, emoji=False, soft_wrap=not live, force_interactive=live)


def width() -> int | None:
    """Columns of the terminal on standard output; None where it is none, so that nothing is cut."""
    return output().width if sys.stdout.isatty() else None


@contextmanager
def telling(outcome: str) -> Iterator[None]:
    """Print what has become of something that is done: a standard output that is full or gone does not undo it."""
    try:
        yield
    except (OSError, SystemExit) as error:
        # Rich ends the program where the reader of its pipe is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            print_error(f"standard output: {error.strerror}; {outcome}")


def safe(text: object) -> str:
    """Text from data, with control characters shown and not obeyed."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in str(text))


def say(text: str) -> None:
    """A line on standard output, as it is."""
    output().print(text, markup=False)


def print_labelled(label: str, text: str, *, style: str = "") -> None:
    """A line of a summary; on a terminal it is wrapped below itself. `style` is the label's."""
    from rich.text import Text  # noqa: PLC0415 - --help shall not wait for it

    columns = width()
    lead, below = label.ljust(_LABEL), " " * _LABEL
    if columns is not None and columns > 2 * _LABEL:
        text = textwrap.fill(
            text, columns, initial_indent=lead, subsequent_indent=below, break_long_words=False, break_on_hyphens=False
        )[len(lead) :]
    output().print(Text.assemble((lead, style), text))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> None:
    """A plain table: whole in a pipe; on a terminal, what is too wide is left out or wrapped, and said.

    Args:
        columns: Heads.
        rows: Cells, as many as there are heads.
        right: Columns of numbers.
        optional: Columns that may be left out, the first to go first.
    """
    from rich.cells import cell_len  # noqa: PLC0415 - --help shall not wait for it
    from rich.text import Text  # noqa: PLC0415

    cells = [[safe(cell) for cell in row] for row in rows]
    widths = {name: max(map(cell_len, (name, *(row[i] for row in cells))), default=0) for i, name in enumerate(columns)}
    shown, gone = list(columns), []
    limit = width()
    if limit is not None:
        for name in optional:
            if _least(shown, widths, right) <= limit:
                break
            shown.remove(name)
            gone.append(name)
        over = _total(shown, widths) - limit
        if over > 0:
            widest = max((n for n in shown if n not in right), key=lambda n: widths[n], default=shown[0])
            widths[widest] = max(widths[widest] - over, _NARROW)
    places = [columns.index(name) for name in shown]
    console = output()
    console.print(Text(_line(shown, shown, widths, right), "dim"))
    for row in cells:
        wrapped = [
            textwrap.wrap(row[i], widths[name], break_on_hyphens=False) or [""]
            if len(row[i]) > widths[name]
            else [row[i]]
            for i, name in zip(places, shown, strict=True)
        ]
        for number in range(max(map(len, wrapped))):
            part = [lines[number] if number < len(lines) else "" for lines in wrapped]
            console.print(_line(part, shown, widths, right), markup=False)
    if gone:
        console.print(Text(f"+{len(gone)} columns: {', '.join(gone)} (in a pipe all are shown)", "dim"))


def _total(names: Sequence[str], widths: Mapping[str, int]) -> int:
    return sum(widths[name] for name in names) + len(_GAP) * (len(names) - 1)


def _least(names: Sequence[str], widths: Mapping[str, int], right: Sequence[str]) -> int:
    """How narrow it can be made by wrapping its widest column of text."""
    spare = max((widths[name] - _NARROW for name in names if name not in right), default=0)
    return _total(names, widths) - max(spare, 0)


def _line(cells: Sequence[str], names: Sequence[str], widths: Mapping[str, int], right: Sequence[str]) -> str:
    from rich.cells import cell_len  # noqa: PLC0415 - --help shall not wait for it

    padded = (
        " " * (widths[name] - cell_len(cell)) + cell if name in right else cell + " " * (widths[name] - cell_len(cell))
        for cell, name in zip(cells, names, strict=True)
    )
    return _GAP.join(padded).rstrip()


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def print_json_list(head: Mapping[str, object], name: str, items: Iterable[object]) -> None:
    """One JSON document whose last member is a list that need not fit into memory."""
    opening = json.dumps({**head, name: []}, ensure_ascii=False, indent=2, default=str)
    click.echo(opening.removesuffix("]\n}"), nl=False)
    between = "\n"
    for item in items:
        text = textwrap.indent(json.dumps(item, ensure_ascii=False, indent=2, default=str), "    ")
        click.echo(between + text, nl=False)
        between = ",\n"
    click.echo("]\n}" if between == "\n" else "\n  ]\n}")


def print_error(message: str, hints: Sequence[str] = ()) -> None:
    """What is wrong, and what to do."""
    from rich.text import Text  # noqa: PLC0415 - --help shall not wait for it

    console = errors()
    first, *more = message.splitlines() or [""]
    console.print(Text.assemble(("error: ", "bold red"), safe(first)))
    for hint in (*more, *hints):
        console.print(f"  {safe(hint)}", markup=False)


def status_of(error: AssayError) -> int:
    """The exit status for an error."""
    return MISUSED if isinstance(error, ConfigurationError | NotFoundError) else FAILED


def tell(error: Exception, message: str, *, as_json: bool) -> None:
    """Print an error. Notes on it are hints what to do."""
    hints: list[str] = getattr(error, "__notes__", [])
    if not as_json:
        print_error(message, hints)
        return
    places = ("file", "record", "offset", "where", "sink")
    where = {name: getattr(error, name) for name in places if getattr(error, name, None) is not None}
    content: dict[str, Any] = {"type": type(error).__name__, "message": message}
    content |= {"where": where} if where else {}
    content |= {"hint": " ".join(hints)} if hints else {}
    print_json({"schema": 1, "status": "failed", "error": content})


def parse_params(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """From `key=value` pairs.

    Raises:
        ConfigurationError: a pair without `=`, or a key twice.
    """
    made: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"{option} takes key=value, not {pair!r}")
        if key in made:
            raise ConfigurationError(f"{option} {key} is given twice")
        made[key] = value
    return made
