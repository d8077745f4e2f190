"""kill -9 of `assay run` at random moments: outputs are as before or as of a clean run, and the next run works."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.conftest import ROOT

ASSAY = str(Path(sys.executable).with_name("assay"))


@pytest.fixture
def shop(project: Path) -> Path:
    shutil.copytree(ROOT / "pipelines", project / "pipelines", dirs_exist_ok=True)
    shutil.copytree(ROOT / "sample_data", project / "sample_data")
    return project


def run(shop: Path) -> dict[str, Any]:
    done = subprocess.run([ASSAY, "run", "orders", "--json", "--force"], cwd=shop, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def outputs(shop: Path) -> tuple[Any, ...]:
    lines = pl.read_parquet(shop / "out/lines/*.parquet").sort("order_id", "line")
    with sqlite3.connect(shop / "out/orders.db") as connection:
        tables = [
            connection.execute(f'select * from "{name}" order by 1').fetchall()
            for name in ("by_customer", "by_category")
        ]
    return lines.rows(), tables


def kill_at_random(shop: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    before = run(shop)
    old = outputs(shop)
    begun = time.monotonic()
    orders = shop / "sample_data/orders/2026-01.jsonl"
    whole = orders.read_bytes()
    orders.write_bytes(b"".join(whole.splitlines(keepends=True)[:-50]))
    clean = run(shop)
    usual = time.monotonic() - begun
    new = outputs(shop)
    orders.write_bytes(whole)
    run(shop)
    orders.write_bytes(b"".join(whole.splitlines(keepends=True)[:-50]))
    for _ in range(kills):
        process = subprocess.Popen(
            [ASSAY, "run", "orders", "--force"], cwd=shop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.3, 1.1) * usual)
        process.kill()
        process.wait()
        # A reader finds each output whole, of before or of the new run.
        lines, tables = outputs(shop)
        assert lines in (old[0], new[0])
        for found, first, second in zip(tables, old[1], new[1], strict=True):
            assert found in (first, second)
    after = run(shop)
    assert (after["counts"], after["money"]) == (clean["counts"], clean["money"])
    assert after["counts"] != before["counts"]
    assert outputs(shop) == new
    assert not list(shop.rglob(".assay-staging"))
    history = json.loads(subprocess.run([ASSAY, "runs", "--json"], cwd=shop, capture_output=True, check=True).stdout)
    assert not [r for r in history["runs"] if r["status"] == "running"]


def test_a_few_kills(shop: Path) -> None:
    kill_at_random(shop, 10, seed=1)


@pytest.mark.campaign
def test_many_kills(shop: Path) -> None:
    kill_at_random(shop, 100, seed=2)
