"""E-invoices of many lines, each a file of its own or all in one, by the writers of the sample data."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Final

from sample_data.make import SYNTAXES, Invoice, InvoiceLine

LINES: Final = 20


def document(number: int, syntax: str) -> bytes:
    """An invoice that adds up; no two have the same figures."""
    lines = tuple(
        InvoiceLine(
            f"Item {line}",
            str(Decimal((number * 37 + line * 101) % 5_000 + 1).scaleb(-2)),
            str(Decimal((number * 7_919 + line * 104_729) % 9_999_999 + 1).scaleb(-4)),
            rate="19" if (number + line) % 3 else "7",
        )
        for line in range(LINES)
    )
    return SYNTAXES[syntax](Invoice(f"INV-{number:06}", f"Buyer {number % 50}", lines, syntax=syntax)).document()


def files(folder: Path, count: int, syntax: str) -> str:
    """One file a document; gives their glob."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{syntax}-{number:06}.xml").write_bytes(document(number, syntax))
    return str(folder / "*.xml")


def one_file(path: Path, count: int, syntax: str) -> str:
    """All documents in one element."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        out.write(b"<documents>\n")
        for number in range(count):
            out.write(document(number, syntax).partition(b"?>\n")[2])
        out.write(b"</documents>\n")
    return str(path)
