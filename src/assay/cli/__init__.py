"""The command line. Each command is thin: it calls one function of the pipeline or of the run store."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

import click

from assay.errors import unknown_name

#: Command -> (module, section, one line of help): read without importing the module.
COMMANDS = {
    "run": ("assay.cli.run", "Run", "Run a pipeline: read, validate, price, publish all or nothing."),
    "list": ("assay.cli.show", "Look", "List the pipelines of this project."),
    "show": ("assay.cli.show", "Look", "Show what a pipeline does, from top to bottom."),
    "check": ("assay.cli.show", "Build", "Check pipelines, books and tables before any data is read."),
    "preview": ("assay.cli.show", "Build", "Show the first records after each step; writes nothing."),
    "runs": ("assay.cli.runs", "Look", "List past runs, or show one."),
    "rejects": ("assay.cli.rejects", "Run", "List, show, edit, replay or discard rejected records."),
}
SECTIONS = ("Build", "Run", "Look")

EPILOG = """\b
Examples:
  assay list
  assay run orders
  assay run orders --input 'feeds/*.jsonl.gz' --max-rejects 1%
  assay rejects list latest
"""


class LazyGroup(click.Group):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Word an unknown command as all unknown names are worded."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(unknown_name("command", args[0], COMMANDS), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By section, without importing anything."""
        for section in SECTIONS:
            rows = [(name, text) for name, (_, where, text) in COMMANDS.items() if where == section]
            with formatter.section(section):
                formatter.write_dl(rows)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="assay", message="assay %(version)s")
def cli() -> None:
    """Pipelines in which money must be right.

    Reads orders, invoices and usage (JSON, JSONL, XML), validates every record, prices it to the cent, and publishes
    all of a run or nothing. A bad record is kept and can be replayed.
    """


def main() -> None:
    """Entry point of `assay`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(prog_name="assay", standalone_mode=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    # A second signal ends the process at once.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise SystemExit(143)
