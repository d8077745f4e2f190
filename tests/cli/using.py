"""The command line as tests use it: in this process, which is quick."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.cli import run_cli

#: The command, for what needs a process of its own.
ASSAY = str(Path(sys.executable).with_name("assay"))


@dataclass(frozen=True)
class Done:
    exit_code: int
    stdout: str
    stderr: str


def assay(*arguments: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run_cli(arguments)
    assert "Traceback" not in err.getvalue()
    return Done(status, out.getvalue(), err.getvalue())


def document(result: Done) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(result.stdout)
    return made


def tree(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
