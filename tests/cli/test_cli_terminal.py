"""The command line on terminals, in pipes, on closed and full streams, and under signals."""

import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest
from tests.cli.using import ASSAY, assay

from assay.cli import COMMANDS

PLAIN = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS")}
SUBCOMMANDS = [("rejects", name) for name in ("list", "show", "edit", "replay", "discard")]


def on_terminal(*arguments: str, columns: int, **variables: str) -> tuple[int, str]:
    """Exit status and everything shown, on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [ASSAY, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=PLAIN | {"TERM": "xterm-256color"} | variables,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            # Linux says so that the last writer has gone.
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return process.wait(), shown.decode()


def in_pipe(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([ASSAY, *arguments], capture_output=True, env=PLAIN | variables, check=False)


@pytest.mark.parametrize("command", [*((name,) for name in COMMANDS), *SUBCOMMANDS], ids=" ".join)
def test_help_has_an_example_and_needs_no_project(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = assay(*command, "--help")
    assert result.exit_code == 0
    assert f"assay {' '.join(command)}" in result.stdout.partition("Example")[2]
    assert not list(tmp_path.iterdir())


def test_no_help_loads_polars_or_pydantic() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from assay.cli import run_cli, COMMANDS\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    run_cli(['--help'])\n"
        "    for name in COMMANDS: run_cli([name, '--help'])\n"
        "sys.exit(', '.join({'polars', 'pydantic', 'sqlalchemy', 'rich', 'lxml'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_live_progress_on_a_terminal_and_a_line_a_stage_elsewhere(shop: Path) -> None:
    hide_cursor = "\x1b[?25l"
    status, shown = on_terminal("run", "orders", columns=100)
    assert status == 0
    assert hide_cursor in shown
    assert "records" in shown.partition("PUBLISHED")[0]
    for variables in ({"CI": "true"}, {"TERM": "dumb"}):
        status, shown = on_terminal("run", "orders", "--dry-run", columns=100, **variables)
        assert status == 0
        assert hide_cursor not in shown
        assert shown.startswith("validate ...")
    piped = in_pipe("run", "orders", "--force", FORCE_COLOR="1")
    assert hide_cursor.encode() not in piped.stdout + piped.stderr
    assert piped.stderr == b"validate ...\nwrite ...\n"
    quiet = assay("run", "orders", "--quiet")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")


def test_colour_only_where_it_is_wanted(shop: Path) -> None:
    _, shown = on_terminal("run", "orders", "--quiet", "--max-rejects", "1", columns=80)
    assert "\x1b[1;31merror: \x1b[0m" in shown
    _, plain = on_terminal("run", "orders", "--quiet", "--max-rejects", "1", columns=80, NO_COLOR="1")
    assert "\x1b[1;31m" not in plain
    assert "error: " in plain
    assert "\x1b" not in assay("runs").stdout


def test_sixty_columns_keep_keys_and_money_and_say_what_is_gone(shop: Path) -> None:
    assay("run", "orders")
    _, shown = on_terminal("preview", "orders", "--rows", "1", columns=60)
    after_price = shown.partition("price")[2]
    assert "order_id" in after_price
    assert "gross" in after_price
    assert "columns: " in shown
    _, shown = on_terminal("rejects", "list", columns=60, NO_COLOR="1")
    table = shown.partition("58 open")[0].partition("+")[0].splitlines()
    assert any("decimal_parsing" in row for row in table)
    assert all(len(row.replace("\x1b[2m", "").replace("\x1b[0m", "")) <= 60 for row in table)
    assert "…" not in shown


def test_a_pipe_gets_tables_whole(shop: Path) -> None:
    long = "x" * 300
    line = json.loads((shop / "sample_data/orders/2026-01.jsonl").read_bytes().splitlines()[0]) | {"note": long}
    (shop / "one.jsonl").write_text(json.dumps(line))
    shown = assay("preview", "orders", "--input", "one.jsonl").stdout
    assert long in shown
    assert "columns: " not in shown
    assert not [row for row in shown.splitlines() if row != row.rstrip()]


def test_control_characters_from_data_are_shown_not_obeyed(shop: Path) -> None:
    evil = b'{"order_id": "\\u001b]0;owned\\u0007[bold]", "x": "\x1b[2J"}\n'
    (shop / "evil\x1b[2J.jsonl").write_bytes(evil)
    for arguments in (
        ["run", "orders", "--input", "evil\x1b[2J.jsonl"],
        ["rejects", "list"],
        ["rejects", "show", "latest", "1"],
        ["runs", "latest"],
        ["run", "\x1b[2J"],
        ["run", "orders", "--input", "\x1b[2J.jsonl"],
    ):
        result = assay(*arguments)
        assert "\x1b" not in result.stdout + result.stderr, arguments
        assert "\x07" not in result.stdout + result.stderr


def test_output_in_utf_8_whatever_the_locale(shop: Path) -> None:
    line = (shop / "sample_data/orders/2026-01.jsonl").read_text("utf-8").splitlines()[0]
    (shop / "é.jsonl").write_text(json.dumps(json.loads(line) | {"note": "🚚"}), "utf-8")
    piped = in_pipe("preview", "orders", "--input", "é.jsonl", PYTHONIOENCODING="cp1252", LC_ALL="C")
    assert piped.returncode == 0
    assert "🚚" in piped.stdout.decode()


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--json"]], ids=" ".join)
def test_a_reader_that_leaves_a_full_disk_and_a_closed_stream(shop: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    left = subprocess.run([ASSAY, *arguments], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (left.returncode, left.stderr) == (1, b"")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([ASSAY, *arguments], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert b"error: standard output: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
    closed = subprocess.run(["sh", "-c", f'"{ASSAY}" "$@" >&-', "sh", *arguments], capture_output=True, check=False)
    assert (closed.returncode, closed.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "json"])
def test_a_run_that_has_published_says_so_whoever_reads(shop: Path, arguments: list[str]) -> None:
    command = [ASSAY, "run", "orders", "--force", *arguments]
    reading, writing = os.pipe()
    os.close(reading)
    left = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert left.returncode == 0
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0
    assert b"standard output: No space left on device; run " in done.stderr
    assert b"is published" in done.stderr
    assert b"Traceback" not in left.stderr + done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_falls_into_a_finaliser_is_not_lost(shop: Path, number: int, status: int) -> None:
    # Python swallows what is raised in __del__: the run would go on and publish.
    (shop / "pipelines/slow.py").write_text(
        "import os, time\n"
        "class Ended:\n"
        f"    def __del__(self): os.kill(os.getpid(), {int(number)}); time.sleep(0.01)\n"
        "Ended()\n"
        "time.sleep(20)\n"
    )
    done = subprocess.run([ASSAY, "list"], capture_output=True, timeout=15, check=False)
    assert done.returncode == status
    assert b"Traceback" not in done.stderr
    assert b"nothing was published" in done.stderr


def test_data_is_no_emoji(project: Path) -> None:
    (project / "feed.jsonl").write_text('{"v": 1}\n' * 99 + '{"v": ":100: a"\n' + '{"v": 2}\n' * 3)
    done = assay("infer", "feed.jsonl")
    assert "feed.jsonl:100:" in done.stderr
    assert "\U0001f4af" not in done.stdout + done.stderr


CLOSES_UNDER_A_SIGNAL = """
import os, signal, sqlite3, sys, time
import sqlalchemy as sa
from assay import cli

class Connection(sqlite3.Connection):
    def close(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        super().close()

class Group:
    def main(self, **_):
        engine = sa.create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(":memory:", factory=Connection), poolclass=sa.NullPool
        )
        with engine.connect():
            pass
        time.sleep(10)

cli.cli = Group()
cli.main()
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_a_connection_is_closed_waits_for_it(number: int, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSES_UNDER_A_SIGNAL, str(int(number))], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


IGNORES = """
import os, signal, sys
from assay import cli

class Group:
    def main(self, **_):
        os.kill(os.getpid(), signal.SIGINT)
        print("goes on")

cli.cli = Group()
cli.main()
"""


def test_an_interrupt_that_whoever_started_it_ignores_is_ignored() -> None:
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, IGNORES], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"goes on\n")


WRAPPED = """
import os, signal, sys, time
from assay import cli

class Group:
    def main(self, **_):
        try:
            os.kill(os.getpid(), int(sys.argv[1]))
            time.sleep(10)
        except BaseException as error:
            raise RuntimeError("calling __set_name__") from error

cli.cli = Group()
cli.main()
"""

STARTS_A_THREAD_UNDER_A_SIGNAL = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from assay import cli

class Thread(threading.Thread):
    def start(self):
        super().start()
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(0.01)

class Group:
    def main(self, **_):
        threading.Thread = Thread
        pool = ThreadPoolExecutor(1)
        pool.submit(print, "done")
        time.sleep(10)

cli.cli = Group()
cli.main()
"""


@pytest.mark.parametrize("program", [WRAPPED, STARTS_A_THREAD_UNDER_A_SIGNAL], ids=["wrapped", "pool"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_process_whatever_it_falls_into(program: str, number: int, status: int) -> None:
    # An import that fails of it has its own error; a pool that has not noted its thread waits for it for ever.
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(number))], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "nothing was published" in done.stderr
