"""kill -9 at every system call of a run that makes something durable, and at every step of its protocol.

After each: every output is as before or as after, the next run finishes what was decided or begins anew, the rows of
a run are there exactly once, its rejects too, nothing is left in staging, and a further run publishes nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from tests.faults.shop import ASSAY, REJECTS, Found, KeptDatabase, Shop
from tests.postgres import Cluster
from tests.processes import run

#: Starts a run in a folder and waits for its end.
Command = Callable[[Path], subprocess.CompletedProcess[str]]

CALLS = "fsync,fdatasync,?rename,?renameat,?renameat2,?unlink,unlinkat,?rmdir,?link,linkat,?symlink,symlinkat,ftruncate"

# Runs the command line and ends it at the n-th step of the protocol, before or after it is done.
AT_STEP = """
import os, signal, sys
import assay.pipeline.execution as execution, assay.pipeline.publishing as publishing
from assay.cli import main
from assay.runs import Ledger, RunStore

number, when = int(sys.argv[1]), sys.argv[2]
sys.argv = ["assay", "run", "shop", "--json"]
count = 0

def ends(original):
    def step(*args, **kwargs):
        global count
        count += 1
        mine = count == number
        if mine and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        made = original(*args, **kwargs)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return made
    return step

for owner, name in [
    (RunStore, "start"), (RunStore, "add_rejects"), (publishing.Publication, "prepare"), (Ledger, "check"),
    (RunStore, "decide"), (publishing, "publish"), (execution, "_clear"), (RunStore, "finish"),
    (execution, "write_manifest"),
]:
    setattr(owner, name, ends(getattr(owner, name)))
main()
"""


def more_outputs() -> tuple[dict[str, str], str]:
    """The sinks of files and tables beside Parquet and SQLite, and how they are imported."""
    made = {
        "jsonl": 'Rows(to=Jsonl("out/lines.jsonl", mode="append"))',
        "delta": 'Rows(to=Delta("out/delta", mode="append"))',
    }
    return made, "from assay import Delta, Jsonl"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name in list(os.environ):
        if name.startswith("ASSAY_") and name != "ASSAY_SUITES":
            monkeypatch.delenv(name)
    outputs, imports = more_outputs()
    return Shop(tmp_path / "shop", outputs, imports)


@pytest.fixture
def shop_on_postgresql(shop: Shop, tmp_path: Path, cluster: Cluster) -> Iterator[Shop]:
    """The same shop with a table of PostgreSQL in place of the further files."""
    with cluster.database() as name:
        database = KeptDatabase(cluster, name)
        outputs = {"postgresql": f'Rows(to=Sql("lines", mode="append", url="{database.url}"))'}
        yield Shop(tmp_path / "on_postgresql", outputs, database=database)
        database.forget()


def strace() -> str:
    """The program, where it is there and may trace."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run([program, "-f", "-o", os.devnull, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("strace may not trace here")
    return program


class Campaign:
    """Breaks off runs, one after the other from the same state, and adds up what is found."""

    def __init__(self, shop: Shop, old: list[int], new: int) -> None:
        self.shop, self.old, self.new = shop, old, new
        for day in old:
            shop.feed(day)
        if old:
            done = shop.run()
            assert done.returncode == 0, done.stderr
        shop.feed(new)
        self.kept = shop.keep()
        self.faults = 0
        self.found = Found()
        self.undone = Counter[str]()

    def broken_off(self, command: Command) -> bool:
        """Run, and see to all that must hold after; False if the run came to its end."""
        shop = self.shop
        shop.reset(self.kept)
        done = command(shop.folder)
        if done.returncode == 0:
            return False
        # strace ends as the program that it has traced.
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
        self.faults += 1
        self.found.add(shop.check(self.old, [self.new], settled=False))
        resumed = shop.run()
        assert resumed.returncode == 0, resumed.stderr
        told = json.loads(resumed.stdout)
        # What had been decided is finished first, and then there is nothing more to do.
        assert told.get("repeats") or not told.get("finished")
        self.undone["finished" if told.get("repeats") else "begun anew"] += 1
        self.found.add(shop.check(self.old, [self.new], settled=True))
        assert shop.left() == []
        assert shop.rejects() == REJECTS * (len(self.old) + 1)
        before = shop.published()
        again = json.loads(shop.run().stdout)
        assert (again["status"], again["repeats"]) == ("published", True)
        assert shop.published() == before
        return True

    def told(self) -> str:
        """One line of figures."""
        found, undone = self.found, self.undone
        return (
            f"crash: {self.faults:,} faults injected ({undone['begun anew']:,} runs begun anew, "
            f"{undone['finished']:,} finished), {found.records:,} records checked, lost {found.lost}, duplicated "
            f"{found.duplicated}, half-written {found.half_written}"
        )

    def see(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Print the figures, and see that nothing is wrong."""
        with capsys.disabled():
            print(f"\n{self.told()}")  # noqa: T201 - figures of a campaign
        assert (self.found.lost, self.found.duplicated, self.found.half_written) == (0, 0, 0)
        assert self.faults > 0


def at_call(call: str, number: int) -> Command:
    """A run that is killed when a thread of it makes this call for the n-th time."""
    inject = f"inject={call}:signal=KILL:when={number}"
    traced = [strace(), "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]
    command = [*traced, ASSAY, "run", "shop", "--json"]
    return lambda folder: subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def at_step(number: int, when: str) -> Command:
    return lambda folder: run(str(number), when, cwd=folder, program=AT_STEP)


def calls_of(shop: Shop, kept: Path) -> list[tuple[str, int]]:
    """All such system calls of a whole run: the name, and the number among those of its name in one thread."""
    shop.reset(kept)
    log = shop.folder.parent / "calls.txt"
    subprocess.run(
        [strace(), "-f", "-qq", "-o", log, "-e", f"trace={CALLS}", ASSAY, "run", "shop", "--json"],
        cwd=shop.folder,
        capture_output=True,
        check=True,
    )
    lines = log.read_text().splitlines()
    # An old strace shows calls that it has no name for, whatever is to be traced.
    made = Counter(found.groups() for line in lines if (found := re.match(r"(\d+) +(?!syscall_)(\w+)\(", line)))
    most: dict[str, int] = {}
    for (_thread, call), count in made.items():
        most[call] = max(most.get(call, 0), count)
    return [(call, number) for call, count in sorted(most.items()) for number in range(1, count + 1)]


def spread(points: list[tuple[str, int]], few: int) -> list[tuple[str, int]]:
    """Some of the points, far from each other."""
    return [points[round((i + 0.5) * len(points) / few)] for i in range(few)]


def test_a_few_system_calls(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    campaign = Campaign(shop, [0], 1)
    for call, number in spread(calls_of(shop, campaign.kept), 3):
        campaign.broken_off(at_call(call, number))
    campaign.see(capsys)


def test_a_few_steps_of_the_protocol(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    campaign = Campaign(shop, [0], 1)
    for number, when in [(5, "before"), (5, "after"), (8, "before")]:
        assert campaign.broken_off(at_step(number, when))
    campaign.see(capsys)


def test_a_few_steps_on_postgresql(shop_on_postgresql: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    campaign = Campaign(shop_on_postgresql, [0], 1)
    for number, when in [(6, "before"), (8, "after")]:
        assert campaign.broken_off(at_step(number, when))
    campaign.see(capsys)


def to_the_end(campaign: Campaign, command: Callable[[int], Command], numbers: Iterable[int]) -> None:
    for number in numbers:
        if not campaign.broken_off(command(number)):
            return
    raise AssertionError("the run has more steps than were tried")


@pytest.mark.campaign
@pytest.mark.parametrize("old", [[], [0]], ids=["first run", "later run"])
@pytest.mark.parametrize("where", ["shop", "shop_on_postgresql"])
def test_every_system_call(
    where: str, request: pytest.FixtureRequest, old: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    shop: Shop = request.getfixturevalue(where)
    campaign = Campaign(shop, old, 1)
    points = calls_of(shop, campaign.kept)
    # Which thread makes a call, and how often a database looks again, is not the same in every run.
    missed = sum(not campaign.broken_off(at_call(call, number)) for call, number in points)
    campaign.see(capsys)
    assert missed <= len(points) // 10


@pytest.mark.campaign
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("old", [[], [0]], ids=["first run", "later run"])
@pytest.mark.parametrize("where", ["shop", "shop_on_postgresql"])
def test_every_step_of_the_protocol(
    where: str, request: pytest.FixtureRequest, old: list[int], when: str, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(request.getfixturevalue(where), old, 1)
    to_the_end(campaign, lambda number: at_step(number, when), range(1, 1000))
    campaign.see(capsys)
