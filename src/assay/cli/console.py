"""What the terminal shows: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, ParamSpec

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.errors import AssayError, ConfigurationError, NotFoundError

#: Exit status, part of the contract.
PUBLISHED, FAILED, MISUSED, OVER_BUDGET = 0, 1, 2, 3
INTERRUPTED: Final = 130

P = ParamSpec("P")


def is_live() -> bool:
    """Whether standard error is a terminal on which lines can be replaced."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and "CI" not in os.environ


def output() -> Console:
    """Standard output: uncut and unboxed in a pipe."""
    if sys.stdout.isatty():
        return Console(highlight=False, force_interactive=False)
    return Console(highlight=False, width=10_000, force_interactive=False)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True, force_interactive=False)


def safe(text: object) -> str:
    """Text from data, with control characters shown and not obeyed."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in str(text))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """A plain table; `right` names the columns of numbers."""
    made = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=not sys.stdout.isatty())
    for row in rows:
        made.add_row(*(Text(safe(cell)) for cell in row))
    return made


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def fail(error: AssayError, *, as_json: bool, status: int | None = None) -> NoReturn:
    """Print an error and end."""
    if status is None:
        status = MISUSED if isinstance(error, ConfigurationError | NotFoundError) else FAILED
    if as_json:
        where = {
            name: getattr(error, name)
            for name in ("file", "record", "offset", "where", "sink")
            if getattr(error, name, None) is not None
        }
        content = {"type": type(error).__name__, "message": str(error)} | ({"where": where} if where else {})
        print_json({"schema": 1, "status": "failed", "error": content})
    else:
        errors().print(Text.assemble(("error: ", "bold red"), safe(error)))
    sys.exit(status)


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn errors of ours into a message and an exit status; nothing of ours ends in a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("as_json", False))
        try:
            command(*args, **kwargs)
        except AssayError as error:
            fail(error, as_json=as_json)
        except KeyboardInterrupt:
            errors().print("interrupted: nothing was published. Run it again when you like.")
            sys.exit(INTERRUPTED)

    return run


def parse_params(pairs: Sequence[str]) -> dict[str, Any]:
    """From `key=value` pairs.

    Raises:
        ConfigurationError: a pair without `=`.
    """
    made: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"--set takes key=value, not {pair!r}")
        made[key] = value
    return made
