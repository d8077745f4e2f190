"""Boundary tests that are written for users: they run, they are clean, and they fail when the book changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay.errors import PricingError
from assay.pricing import PriceBook

BOOK = """
currency = "EUR"
rounding = "half_up"

[[steps]]
kind = "free_units"
quantity = "5"

[[steps]]
kind = "graduated"
tiers = [{ up_to = "10", unit_price = "2" }, { up_to = "20.5", unit_price = "1.5" }]

[[steps]]
kind = "amount_off"
amount = "1"
at_least = "15"

[[steps]]
kind = "convert"
to = "USD"
rates = "ecb"
date = "day"

[[steps]]
kind = "tax"
table = [{ rate = "19", valid_to = 2020-07-01 }, { rate = "16", valid_from = 2020-07-01 }]
"""


def written(folder: Path, content: str = BOOK) -> Path:
    (folder / "prices.toml").write_text(content)
    tests = folder / "test_prices.py"
    tests.write_text(PriceBook.load(folder / "prices.toml").boundary_tests("prices.toml"))
    return tests


def run(tests: Path) -> tuple[int, str]:
    plain = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--rootdir", str(tests.parent), "-c", "/dev/null"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, str(tests)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_they_run_are_clean_and_are_always_the_same(tmp_path: Path) -> None:
    tests = written(tmp_path)
    status, told = run(tests)
    assert status == 0, told
    # Two tiers and what is free, the threshold, the days: each, before and after; those beyond the last tier refused.
    text = tests.read_text()
    assert '"quantity": "25.5"' in text
    assert '"quantity": "25.6"' in text.partition("REFUSED")[2]
    assert '"date": "2020-06-30"' in text
    for command in ("check", "format --check --line-length 200"):
        ruff = [sys.executable, "-m", "ruff", *command.split(), "--isolated", str(tests)]
        assert subprocess.run(ruff, capture_output=True, check=False).returncode == 0, command
    code = f"from assay.pricing import PriceBook; print(PriceBook.load({str(tmp_path / 'prices.toml')!r})"
    code += ".boundary_tests('prices.toml'), end='')"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert again.stdout == text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('quantity = "5"', 'quantity = "6"'),
        ('up_to = "10"', 'up_to = "11"'),
        ('up_to = "20.5"', 'up_to = "20.6"'),
        ('at_least = "15"', 'at_least = "15.01"'),
        ("valid_to = 2020-07-01", "valid_to = 2020-06-30"),
        ('rate = "16"', 'rate = "17"'),
    ],
)
def test_they_fail_when_the_book_changes_at_an_edge(tmp_path: Path, old: str, new: str) -> None:
    tests = written(tmp_path)
    assert BOOK.count(old) == 1
    (tmp_path / "prices.toml").write_text(BOOK.replace(old, new))
    # Only the tests: a process each would take long.
    space: dict[str, Any] = {"__file__": str(tests)}
    exec(compile(tests.read_text(), str(tests), "exec"), space)
    priced, refused = space["test_total_at_an_edge"], space["test_refused_at_an_edge"]
    assert any(fails(priced, *case) for case in space["PRICED"]) or any(fails(refused, one) for one in space["REFUSED"])


def fails(test: Any, *case: Any) -> bool:
    try:
        test(*case)
    except (AssertionError, PricingError, pytest.fail.Exception):
        return True
    return False


def test_a_book_without_edges_has_one_test(tmp_path: Path) -> None:
    content = 'currency = "EUR"\nrounding = "half_up"\n[[steps]]\nkind = "flat"\namount = "9.5"\n'
    text = written(tmp_path, content).read_text()
    assert '({}, "9.50"),' in text
    assert "REFUSED" not in text


BY_TIME = """
currency = "EUR"
rounding = "half_up"

[[steps]]
kind = "time_of_use"
zone = "Europe/Berlin"
rates = [{ unit_price = "0.20" }, { unit_price = "0.30", start = "08:00", end = "20:00", weight = 1 }]

[[steps]]
kind = "minimum"
amount = "5"
"""

BY_COLUMNS = """
currency = "EUR"
rounding = "half_up"

[[steps]]
kind = "volume"
tiers = [{ up_to = "10", unit_price = { column = "few" } }, { unit_price = { column = "many" } }]
"""

SMALL = """
currency = "EUR"
rounding = "half_up"

[[steps]]
kind = "per_unit"
unit_price = "0.10"

[[steps]]
kind = "tax"
table = [{ rate = "19", valid_to = 2026-03-10 }, { rate = "20", valid_from = 2026-03-10 }]
"""


@pytest.mark.parametrize(
    ("content", "old", "new"),
    [
        (BY_TIME, '"08:00"', '"09:30"'),
        (BY_TIME, '"20:00"', '"21:00"'),
        (BY_COLUMNS, 'up_to = "10"', 'up_to = "12"'),
        (SMALL, "2026-03-10", "2026-03-11"),
    ],
    ids=["begins later", "ends later", "other tier", "other day"],
)
def test_items_are_so_large_that_an_edge_shows(tmp_path: Path, content: str, old: str, new: str) -> None:
    tests = written(tmp_path, content)
    status, told = run(tests)
    assert status == 0, told
    (tmp_path / "prices.toml").write_text(content.replace(old, new))
    assert run(tests)[0] == 1
