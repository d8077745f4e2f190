"""The command line in processes that begin where everything is imported: to start one costs a tenth.

A server imports the package and does nothing else; the processes are forked from it, as `multiprocessing` does it. What
is about how a process starts or ends starts the script itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["pytest", "rich.console", "assay.cli.run", "assay.pipeline", "assay.pipeline.execution"]
)


class Process:
    """`assay` with these arguments in a folder.

    Args:
        arguments: What stands behind `assay`.
        cwd: The folder.
        environment: More of the environment.
        program: A program that is run in place of the command line's own `main`; it finds the arguments in `sys.argv`.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        program: str | None = None,
    ) -> None:
        self.arguments = arguments
        self._printed = [tempfile.NamedTemporaryFile() for _ in range(2)]  # noqa: SIM115 - until it has ended
        variables = os.environ | (environment or {})
        told = (arguments, cwd or Path.cwd(), dict(variables), *(file.name for file in self._printed), program)
        self._process = _CONTEXT.Process(target=_main, args=told)
        self._process.start()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it has not ended."""
        if self._process.exitcode is None and self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self._process.pid, number)

    def wait(self, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Wait for its end; a signal that has ended it is a negative status."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(self.arguments, timeout)
        self._process.close()
        out, err = (file.read().decode() for file in self._printed)
        for file in self._printed:
            file.close()
        return subprocess.CompletedProcess(self.arguments, status, out, err)


def run(
    *arguments: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    program: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Start a process and wait for its end."""
    return Process(*arguments, cwd=cwd, environment=environment, program=program).wait()


def _main(
    arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], out: str, err: str, program: str | None
) -> None:
    for stream, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY)
        os.dup2(file, stream)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["assay", *arguments]
    if program is not None:
        exec(program, {"__name__": "__main__"})
        return
    from assay.cli import main

    main()
