"""kill -9 of `assay run` at random moments: outputs are as before or as of a clean run, and the next run works."""

import json
import random
import signal
import time
from pathlib import Path

import pytest
from tests.faults.shop import REJECTS, Found, Shop
from tests.faults.test_crash_points import more_outputs


def kill_at_random(shop: Shop, kills: int, seed: int) -> tuple[int, Found]:
    """Each run has a new file, and is killed; how many were, and what was found."""
    draw = random.Random(seed)
    shop.feed(0)
    assert shop.run().returncode == 0
    shop.feed(1)
    begun = time.monotonic()
    assert shop.run().returncode == 0
    usual = time.monotonic() - begun
    killed, found = 0, Found()
    for day in range(2, kills + 2):
        shop.feed(day)
        process = shop.start()
        time.sleep(draw.uniform(0.05, 1.1) * usual)
        process.send_signal(signal.SIGKILL)
        killed += process.wait().returncode != 0
        found.add(shop.check(list(range(day)), [day], settled=False))
        resumed = json.loads(shop.run().stdout)
        assert resumed["status"] == "published"
        found.add(shop.check(list(range(day)), [day], settled=True))
        assert shop.left() == []
    assert shop.rejects() == REJECTS * (kills + 2)
    assert json.loads(shop.run().stdout)["repeats"] is True
    return killed, found


def see(shop: Shop, kills: int, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    killed, found = kill_at_random(shop, kills, seed)
    with capsys.disabled():
        print(  # noqa: T201 - figures of a campaign
            f"\nkills: {killed:,} runs killed, {found.records:,} records checked, lost {found.lost}, duplicated "
            f"{found.duplicated}, half-written {found.half_written}"
        )
    assert (found.lost, found.duplicated, found.half_written) == (0, 0, 0)
    assert killed


def test_a_few_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    see(Shop(tmp_path / "shop", *more_outputs()), 10, 1, capsys)


@pytest.mark.campaign
def test_many_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    see(Shop(tmp_path / "shop", *more_outputs()), 100, 2, capsys)
