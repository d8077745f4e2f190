"""Readers that poll, runs at the same time, full disks, files that change, signals: outputs are whole, rows are there
once."""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.shop import ASSAY, REJECTS, ROWS, Row, Shop, rows_of
from tests.faults.test_crash_points import more_outputs


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name in list(os.environ):
        if name.startswith("ASSAY_") and name != "ASSAY_SUITES":
            monkeypatch.delenv(name)
    outputs, imports = more_outputs()
    return Shop(tmp_path / "shop", outputs, imports)


RUN_DAY_BY_DAY = """
import os, sys, time
import assay
pipeline = assay.load("shop")
for day in range(1, int(sys.argv[1]) + 1):
    os.rename(f"later/{day}.jsonl", f"in/{day}.jsonl")
    result = pipeline.run()
    assert result.status == "published", result.error
"""


def polled(shop: Shop, runs: int) -> Counter[str]:
    """Run day by day in another process, and look at all outputs all the while; what was seen, by output."""
    shop.feed(0)
    assert shop.run().returncode == 0
    for day in range(1, runs + 1):
        shop.feed(day)
        (shop.folder / "later").mkdir(exist_ok=True)
        (shop.folder / f"in/{day}.jsonl").rename(shop.folder / f"later/{day}.jsonl")
    writer = subprocess.Popen([sys.executable, "-c", RUN_DAY_BY_DAY, str(runs)], cwd=shop.folder)
    days = [Counter(rows_of(day)) for day in range(runs + 1)]
    seen: Counter[str] = Counter()
    while writer.poll() is None:
        for name, rows in shop.published().items():
            count, rest = divmod(rows.total(), ROWS)
            assert rest == 0, f"{name}: half of a day"
            expected: Counter[Row] = sum(days[:count], Counter())
            assert rows == expected, name
            seen[name] += 1
        totals = shop.totals()
        assert sum(lines for _, lines in totals.values()) % ROWS == 0
        seen["by_customer"] += 1
    assert writer.returncode == 0
    assert all(rows.total() == ROWS * (runs + 1) for rows in shop.published().values())
    return seen


def test_a_reader_that_polls_never_sees_half_a_run(shop: Shop) -> None:
    assert all(count > 5 for count in polled(shop, 8).values())


@pytest.mark.campaign
def test_a_reader_that_polls_fifty_runs_never_sees_half_of_one(shop: Shop) -> None:
    assert all(count > 50 for count in polled(shop, 50).values())


@pytest.mark.parametrize("wait", [pytest.param(False, marks=pytest.mark.campaign), True])
def test_ten_processes_start_the_same_run_and_one_publishes(shop: Shop, *, wait: bool) -> None:
    shop.feed(0)
    processes = [shop.start(*(["--wait"] if wait else [])) for _ in range(10)]
    ended = [process.wait(timeout=300) for process in processes]
    told = [json.loads(one.stdout) for one in ended]
    published = [one for one in told if one["status"] == "published" and not one.get("repeats")]
    assert len(published) == 1
    for done, one in zip(ended, told, strict=True):
        if one.get("repeats"):
            assert (one["id"], done.returncode) == (published[0]["id"], 0)
        elif one is not published[0]:
            assert not wait
            assert done.returncode == 2
            assert "another run of shop is under way" in one["error"]["message"]
        assert "Traceback" not in done.stderr
    found = shop.check([], [0], settled=True)
    assert (found.lost, found.duplicated, found.half_written) == (0, 0, 0)
    assert shop.rejects() == REJECTS


def test_a_run_on_another_machine_is_not_run_over(shop: Shop, tmp_path: Path) -> None:
    """Two clones of a project that share a run store: each has a lock file of its own, and one lease."""
    shop.feed(0)
    code = (
        "import sys, time\nfrom pathlib import Path\nimport sqlalchemy as sa\nfrom assay.runs.lease import leased\n"
        "with leased(sa.create_engine(sys.argv[1]), 'shop', Path(sys.argv[2]), host='elsewhere', seconds=3):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    assert shop.run("--dry-run").returncode == 0
    url = f"sqlite:///{shop.folder / '.assay/runs.db'}"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, url, tmp_path / "lock"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        refused = shop.run(ASSAY_LEASE_SECONDS="3")
        assert refused.returncode == 2
        assert "under way on elsewhere" in json.loads(refused.stdout)["error"]["message"]
        holder.kill()
    assert shop.run("--wait-seconds", "60", ASSAY_LEASE_SECONDS="3").returncode == 0
    assert shop.check([], [0], settled=True).lost == 0


def test_a_disk_that_is_full_stops_the_run_and_nothing_else(shop: Shop) -> None:
    shop.feed(0)
    assert shop.run().returncode == 0
    shop.feed(1)
    kept = shop.keep()
    stopped = 0
    for size in (20_000, 65_000):
        shop.reset(kept)
        done = subprocess.run(
            [ASSAY, "run", "shop"],
            cwd=shop.folder,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size)),
        )
        assert "Traceback" not in done.stderr, done.stderr
        if done.returncode:
            stopped += 1
            assert "error: " in done.stderr
        found = shop.check([0], [1], settled=False)
        assert (found.lost, found.duplicated, found.half_written) == (0, 0, 0)
        assert shop.run().returncode == 0
        found = shop.check([0], [1], settled=True)
        assert (found.lost, found.duplicated, found.half_written) == (0, 0, 0)
        assert shop.left() == []
    assert stopped


def test_a_file_that_changes_while_it_is_read_fails_the_run(shop: Shop) -> None:
    shop.feed(0)
    path = shop.folder / "in/0.jsonl"
    ended = threading.Event()

    def grows() -> Iterator[None]:
        while not ended.is_set():
            with path.open("a") as file:
                file.write('{"id": 1, "customer": "x", "net": "1"}\n')
            time.sleep(0.005)
            yield

    changes = threading.Thread(target=lambda: list(grows()))
    changes.start()
    try:
        done = shop.run()
    finally:
        ended.set()
        changes.join()
    assert done.returncode == 1
    assert "changed while it was read" in json.loads(done.stdout)["error"]["message"]
    assert not (shop.folder / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.campaign)])
def test_a_signal_at_any_moment_leaves_what_the_next_run_finishes(shop: Shop, number: signal.Signals) -> None:
    shop.feed(0)
    assert shop.run().returncode == 0
    shop.feed(1)
    kept = shop.keep()
    begun = time.monotonic()
    assert shop.run().returncode == 0
    usual = time.monotonic() - begun
    for part in (0.7, 0.9):
        shop.reset(kept)
        process = shop.start()
        time.sleep(part * usual)
        process.send_signal(number)
        done = process.wait(timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        # Before the program has begun a signal ends it as it ends any.
        assert done.returncode in (0, 128 + number, -number), done.stdout + done.stderr
        if done.returncode == 128 + number:
            assert json.loads(done.stdout)["status"] == "interrupted"
        assert shop.run().returncode == 0
        found = shop.check([0], [1], settled=True)
        assert (found.lost, found.duplicated, found.half_written) == (0, 0, 0)
        assert shop.rejects() == 2 * REJECTS
        assert shop.left() == []
