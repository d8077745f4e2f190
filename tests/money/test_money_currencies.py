from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.errors import ConfigurationError
from assay.money import has_minor_units, minor_units, withdrawn
from assay.money._iso4217 import MINOR_UNITS, WITHDRAWN, WITHOUT_MINOR_UNITS

ROOT = Path(__file__).parents[2]
LIST_ONE = Path(os.environ.get("ASSAY_SUITES", ROOT / "../shared/suites")) / "iso4217/list-one.xml"


@pytest.mark.parametrize(
    ("code", "digits"),
    [("EUR", 2), ("JPY", 0), ("CLP", 0), ("KWD", 3), ("CLF", 4), ("BGN", 2), ("HRK", 2), ("TRL", 0), ("ROL", 2)],
)
def test_digits_come_from_the_table(code: str, digits: int) -> None:
    assert minor_units(code) == digits
    assert has_minor_units(code)


@pytest.mark.parametrize(("code", "day"), [("HRK", dt.date(2023, 1, 1)), ("BGN", dt.date(2026, 1, 1)), ("EUR", None)])
def test_a_withdrawn_code_has_its_day(code: str, day: dt.date | None) -> None:
    assert withdrawn(code) == day
    with pytest.raises(ConfigurationError, match="no currency"):
        withdrawn("HRX")


def test_an_unknown_code_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r'no currency "EUX".*did you mean "EUR"'):
        minor_units("EUX")
    with pytest.raises(ConfigurationError, match='did you mean "USD"'):
        minor_units("USX")
    with pytest.raises(ConfigurationError, match='did you mean "JPY"'):
        minor_units("jpy")
    with pytest.raises(ConfigurationError, match="three capital letters"):
        minor_units("1234")


def test_gold_has_no_minor_unit() -> None:
    assert not has_minor_units("XAU")
    with pytest.raises(ConfigurationError, match="no minor unit"):
        minor_units("XAU")


def test_the_table_is_what_its_script_makes_of_the_list(tmp_path: Path) -> None:
    if not LIST_ONE.exists():
        pytest.skip("ISO 4217's list one is not at hand")
    copy = tmp_path / "tools" / "make_iso4217.py"
    target = tmp_path / "src/assay/money/_iso4217.py"
    copy.parent.mkdir()
    target.parent.mkdir(parents=True)
    copy.write_bytes((ROOT / "tools/make_iso4217.py").read_bytes())
    subprocess.run([sys.executable, str(copy), str(LIST_ONE)], check=True)
    assert target.read_bytes() == (ROOT / "src/assay/money/_iso4217.py").read_bytes()


def test_counts_of_the_list_of_2026() -> None:
    current = {code: digits for code, digits in MINOR_UNITS.items() if code not in WITHDRAWN}
    assert sum(digits == 0 for digits in current.values()) == 17
    assert sum(digits == 3 for digits in current.values()) == 7
    assert sum(digits == 4 for digits in current.values()) == 2
    assert len(WITHOUT_MINOR_UNITS) == 13
