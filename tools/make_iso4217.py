"""Write src/assay/money/_iso4217.py from ISO 4217's list one (XML, as SIX publishes it).

    python tools/make_iso4217.py list-one.xml

Only facts are taken: codes and digits. Codes that are withdrawn but stand in published rate histories are added
by hand below, since the list has only what is current.
"""
# ruff: noqa: INP001

from __future__ import annotations

import sys
from pathlib import Path

from lxml import etree

# Digits as the list gave them when the code was withdrawn, and the day from which another took its place.
WITHDRAWN = {
    "BGN": (2, "2026-01-01"),
    "CYP": (2, "2008-01-01"),
    "EEK": (2, "2011-01-01"),
    "HRK": (2, "2023-01-01"),
    "LTL": (2, "2015-01-01"),
    "LVL": (2, "2014-01-01"),
    "MTL": (2, "2008-01-01"),
    "ROL": (2, "2005-07-01"),
    "SIT": (2, "2007-01-01"),
    "SKK": (2, "2009-01-01"),
    "TRL": (0, "2005-01-01"),
}
TARGET = Path(__file__).parents[1] / "src/assay/money/_iso4217.py"


def main(source: str) -> None:
    """Read the list and write the module."""
    root = etree.parse(source, etree.XMLParser(resolve_entities=False, no_network=True)).getroot()
    current: dict[str, int | None] = {}
    for entry in root.iter("CcyNtry"):
        code, digits = entry.findtext("Ccy"), entry.findtext("CcyMnrUnts")
        if code is not None and digits is not None:
            current[code] = None if digits == "N.A." else int(digits)
    withdrawn = {code: entry for code, entry in WITHDRAWN.items() if code not in current}
    with_units = {code: digits for code, digits in current.items() if digits is not None}
    with_units |= {code: digits for code, (digits, _) in withdrawn.items()}
    lines = [
        f'"""Minor units by currency, ISO 4217 as of {root.get("Pblshd")}; made by tools/make_iso4217.py."""',
        "",
        "from __future__ import annotations",
        "",
        "MINOR_UNITS: dict[str, int] = {",
        *(f'    "{code}": {digits},' for code, digits in sorted(with_units.items())),
        "}",
        "",
        "WITHOUT_MINOR_UNITS = frozenset(",
        "    {",
        *(f'        "{code}",' for code in sorted(code for code, digits in current.items() if digits is None)),
        "    }",
        ")",
        "",
        "# From this day another currency took its place.",
        "WITHDRAWN: dict[str, str] = {",
        *(f'    "{code}": "{day}",' for code, (_, day) in sorted(withdrawn.items())),
        "}",
        "",
    ]
    TARGET.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
