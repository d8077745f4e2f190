"""Every page of docs/ is run as it stands, in a copy of the project.

```python          run, in order, in one namespace a page; a ```text block right behind it is what it prints
``` ... file=PATH  written to PATH
```console         each `$ assay ...` is run: exit status 0, or as `(exit status N)` says, and its first line as shown,
                   but for run ids, times and the width of tables
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))

FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"\bfile=(\S+)")
STATUS = re.compile(r"\(exit status (\d+)\)")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
#: What a shell does something with.
SHELL = re.compile(r"[|<>&;$`~()*?{}]|\[")
#: What differs from run to run. An id has six letters, and those of the pages have a digit among them.
VARYING = (
    (re.compile(r"\b(?=[a-z]*\d)[2-9a-hjkmnp-z]{6}\b"), "<run>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"\b\d+\.\d s\b"), "<seconds>"),
    (re.compile(r"\b[\d,]+ records/s"), "<rate>"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    info: str
    body: str
    line: int
    printed: str | None = None

    @property
    def language(self) -> str:
        return self.info.split()[0]

    @property
    def file(self) -> str | None:
        found = FILE.search(self.info)
        return found[1] if found else None


@dataclass(frozen=True)
class Command:
    """A command of a console block, and what the page shows of it."""

    text: str
    shown: list[str]
    status: int


def blocks_of(text: str) -> Iterator[Block]:
    found = list(FENCE.finditer(text))
    for index, one in enumerate(found):
        after = found[index + 1] if index + 1 < len(found) else None
        adjoins = after is not None and after["info"] == "text" and not text[one.end() : after.start()].strip()
        printed = after["body"] if after is not None and adjoins else None
        yield Block(one["info"], one["body"], text.count("\n", 0, one.start()) + 1, printed)


def commands_of(body: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        text, _, shown = part.replace("\\\n", "").partition("\n")
        status = STATUS.search(shown)
        lines = [line for line in shown.splitlines() if line.strip() and not STATUS.fullmatch(line.strip())]
        yield Command(text, lines, int(status[1]) if status else 0)


def settled(line: str, ids: set[str] | None = None) -> str:
    """A line without what differs from run to run."""
    for one in ids or ():
        line = line.replace(one, "<run>")
    for pattern, word in VARYING:
        line = pattern.sub(word, line)
    return line.strip()


def run_ids() -> set[str]:
    if not Path(".assay/runs.db").exists():
        return set()
    from assay.runs import RunStore

    store = RunStore("sqlite:///.assay/runs.db")
    try:
        return {run.id for run in store.runs(limit=1000)}
    finally:
        store.close()


def done_by(text: str) -> subprocess.CompletedProcess[str]:
    """What a command does; the shell is asked where there is something for it."""
    words = shlex.split(text)
    if words[0] == "assay" and not SHELL.search(text):
        return processes.run(*words[1:])
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", text],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        timeout=60,
    )


def run_command(command: Command) -> None:
    done = done_by(command.text)
    said = f"$ {command.text}\n{done.stdout}{done.stderr}"
    assert done.returncode == command.status, said
    if command.shown:
        lines = [line for line in (done.stdout or done.stderr).splitlines() if line.strip()]
        assert lines, said
        assert settled(lines[0], run_ids()) == settled(command.shown[0]), said


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    code = compile("\n" * block.line + block.body, str(page), "exec", dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    if block.printed is not None:
        assert printed.getvalue().strip() == block.printed.strip()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project as a clone has it, made the current folder."""
    for name in ("pipelines", "sample_data"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in [name for name in os.environ if name.startswith("ASSAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    # A page may add folders, as its reader would.
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_page_does_what_it_says(page: Path, copy: Path) -> None:
    namespace: dict[str, Any] = {"__name__": f"docs_{page.stem}"}
    for block in blocks_of(page.read_text(encoding="utf-8")):
        if block.file is not None:
            path = copy / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
        elif block.language == "python":
            run_python(block, page, namespace)
        elif block.language == "console":
            for command in commands_of(block.body):
                if command.text.startswith("assay "):
                    run_command(command)


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not missing


def test_every_page_is_in_the_index() -> None:
    linked = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in PAGES} - {"index.md"} <= linked


class TestTheseTests:
    """A wrong page must fail."""

    PAGE = "```python\nprint(1 + 1)\n```\n\n```text\n2\n```\n\n```console\n$ assay --version\nassay 9.9.9\n```\n"

    def test_blocks_are_found(self) -> None:
        blocks = list(blocks_of(self.PAGE))
        assert [(b.language, b.printed, b.line) for b in blocks] == [
            ("python", "2\n", 1),
            ("text", None, 5),
            ("console", None, 9),
        ]

    def test_a_wrong_print_fails(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError):
            run_python(Block("python", "print(3)", 1, "2"), tmp_path, {})

    def test_a_wrong_first_line_fails(self) -> None:
        command = next(commands_of("$ assay --version\nassay 9.9.9\n"))
        with pytest.raises(AssertionError, match=r"assay 9\.9\.9"):
            run_command(command)

    @pytest.mark.parametrize(("told", "text"), [("", "assay nonsense"), ("(exit status 2)\n", "assay --version")])
    def test_a_wrong_status_fails(self, told: str, text: str) -> None:
        command = next(commands_of(f"$ {text}\n{told}"))
        with pytest.raises(AssertionError):
            run_command(command)

    def test_ids_and_times_do_not_count_but_figures_do(self) -> None:
        made = settled("orders  PUBLISHED  run quvwxy  0.3 s  5,848 records/s", {"quvwxy"})
        assert made == settled("orders PUBLISHED  run 7f3k2p  12.1 s  1 records/s")
        assert settled("read 2,000 = written 1,909") != settled("read 2,000 = written 1,908")
