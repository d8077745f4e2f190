"""The command line. Each command is thin: it calls one function of the pipeline or of the run store."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import TextIO

import click

from assay.cli.console import FAILED, INTERRUPTED, MISUSED, TERMINATED, print_error, print_json, status_of, tell
from assay.errors import AssayError, unknown_name

#: Command -> (module, section, one line of help): read without importing the module.
COMMANDS = {
    "run": ("assay.cli.run", "Run", "Run a pipeline: read, validate, price, publish all or nothing."),
    "list": ("assay.cli.show", "Look", "List the pipelines of this project."),
    "show": ("assay.cli.show", "Look", "Show what a pipeline does, from top to bottom."),
    "check": ("assay.cli.check", "Build", "Check pipelines, books and tables before any data is read."),
    "infer": ("assay.cli.infer", "Build", "Print a Pydantic model of the records of a file."),
    "preview": ("assay.cli.preview", "Build", "Show the first records after each step; writes nothing."),
    "diff": ("assay.cli.diff", "Build", "Show what a change of prices will do, and which rule does it."),
    "runs": ("assay.cli.runs", "Look", "List past runs, or show one."),
    "explain": ("assay.cli.explain", "Look", "Show how one record came to its price, and prove it."),
    "rejects": ("assay.cli.rejects", "Run", "List, show, edit, replay, discard or purge rejected records."),
}
SECTIONS = ("Build", "Run", "Look")

EPILOG = """\b
Examples:
  assay list
  assay run orders
  assay run orders --input 'feeds/*.jsonl.gz' --max-rejects 1%
  assay rejects list latest
"""


class Terminated(KeyboardInterrupt):
    """SIGTERM. Not a SystemExit, which a pipeline's file may raise, too."""


#: What signals have raised in this command.
_raised: list[KeyboardInterrupt] = []

_NOTHING = "nothing was published. Run it again when you like."


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

    Reads orders, invoices and usage (JSON, JSONL, XML, CSV), validates every record, prices it to the cent, and
    publishes all of a run or nothing. A bad record is kept and can be replayed.
    """


def run_cli(args: Sequence[str]) -> int:
    """Run one command; whatever is the user's to mend ends in a message and an exit status, never in a traceback.

    Args:
        args: The command line without the program's name.

    Returns:
        The exit status.
    """
    as_json = "--json" in args
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            return _run_command(args)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else FAILED
        except (click.Abort, KeyboardInterrupt) as abort:
            # Click makes an Abort of an interrupt.
            stop = abort.__cause__ or abort if isinstance(abort, click.Abort) else abort
            terminated = isinstance(stop, Terminated)
            _tell_stopped("terminated" if terminated else "interrupted", stop, as_json=as_json)
            return TERMINATED if terminated else INTERRUPTED
        except click.ClickException as error:
            _tell_usage(error, as_json=as_json)
            return error.exit_code
        except AssayError as error:
            tell(error, str(error), as_json=as_json)
            return status_of(error)
        except BrokenPipeError:
            raise
        except OSError as error:
            tell(error, f"{error.filename or 'standard output'}: {error.strerror}", as_json=False)
            return FAILED
        except Exception as error:
            # A defect of ours: the traceback is for a report, the document for who reads standard output.
            if as_json:
                tell(error, f"{type(error).__name__}: {error}", as_json=True)
            raise


def _run_command(args: Sequence[str]) -> int:
    _raised.clear()
    try:
        return int(cli.main(args=list(args), prog_name="assay", standalone_mode=False) or 0)
    except (click.Abort, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if not _raised:
            raise
        # What a library made of the signal on its way up: an import fails, a query panics.
        if isinstance(error, AssayError):
            _raised[-1].add_note(str(error))
        raise _raised[-1] from error


def main() -> None:
    """Entry point of `assay`."""
    sys.stdout, sys.stderr = _stream(sys.stdout), _stream(sys.stderr)
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # Who starts it in the background of a script may have said that Ctrl-C is not for it.
        signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _stop_after_finaliser
    try:
        status = run_cli(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read our output has gone: nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    except OSError as error:
        print_error(f"standard output: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    sys.exit(status)


def _stream(stream: TextIO | None) -> TextIO:
    """In UTF-8 whatever the locale; a closed one swallows."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - until the process ends
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream


def _stop(number: int, frame: FrameType | None) -> None:
    if _in_critical_section(frame):
        _send_again(number)
        return
    if number == signal.SIGTERM:
        # A second signal ends the process at once.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _raised.append(Terminated())
    else:
        _raised.append(KeyboardInterrupt())
    raise _raised[-1]


def _in_critical_section(frame: FrameType | None) -> bool:
    """Whether something is being done that nobody could put right, were it left here.

    SQLAlchemy, taking or returning a connection, would log what is raised there as its own defect. Polars panics when
    its data types cannot be made. A thread pool that has started a thread and not noted it yet would wait for it for
    ever when the process ends.
    """
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(("sqlalchemy.pool", "polars.datatypes")):
            return True
        if module == "concurrent.futures.thread" and frame.f_code.co_name == "_adjust_thread_count":
            return True
        frame = frame.f_back
    return False


def _stop_after_finaliser(swallowed: sys.UnraisableHookArgs) -> None:
    """Python swallows what is raised in a finaliser: a signal that falls into one is sent once more."""
    error = swallowed.exc_value
    if isinstance(error, Terminated):
        signal.signal(signal.SIGTERM, _stop)
        _send_again(signal.SIGTERM)
    elif isinstance(error, KeyboardInterrupt):
        _send_again(signal.SIGINT)
    else:
        sys.__unraisablehook__(swallowed)


def _send_again(number: int) -> None:
    timer = threading.Timer(0.02, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def _tell_stopped(word: str, stop: BaseException, *, as_json: bool) -> None:
    """Say what a signal has left; the run itself notes it on the exception when there is one."""
    message = "; ".join(getattr(stop, "__notes__", [])) or _NOTHING
    if as_json:
        content = {"type": "Interrupted", "message": message}
        print_json({"schema": 1, "status": "interrupted", "error": content})
    else:
        click.echo(f"{word}: {message}", err=True)


def _tell_usage(error: click.ClickException, *, as_json: bool) -> None:
    message = error.format_message()
    if as_json:
        content = {"type": type(error).__name__, "message": message}
        print_json({"schema": 1, "status": "failed", "error": content})
        return
    print_error(message)
    context = getattr(error, "ctx", None)
    if error.exit_code == MISUSED and context is not None:
        click.echo(f"{context.get_usage()}\nMore: {context.command_path} --help", err=True)


def _show_warning(message: Warning | str, *_args: object, **_kwargs: object) -> None:
    click.echo(f"warning: {message}", err=True)
