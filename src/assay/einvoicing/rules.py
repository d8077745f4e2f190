"""The rules of EN 16931 that concern sums: their names, by VAT category, and how much the official tests forgive.

The official tests are those of the Schematron files of CEN (release 1.3), for UBL and for CII: they are not equally
strict. What they forgive is the *official* verdict. The *exact* one forgives nothing: a stated amount is the computed
one, to the last digit of the currency.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import polars as pl

from assay.money import MINOR_UNITS, Rounding

Verdict = Literal["success", "error"]

#: Half away from zero, also of credit notes: so do the official cases of BR-CO-17.
ROUNDING: Final[Rounding] = "half_up"
#: Two digits at most, of whatever currency (BR-DEC-01 to 28).
DIGITS: Final = 2
#: Amounts in these are whole units.
WITHOUT_CENTS: Final = tuple(sorted(code for code, digits in MINOR_UNITS.items() if digits == 0))

#: A VAT category's code (UNTDID 5305), and the letters that its rules carry.
LETTERS: Final = {"S": "S", "L": "AF", "M": "AG", "Z": "Z", "E": "E", "AE": "AE", "K": "IC", "G": "G", "O": "O"}
#: Categories with a breakdown for each rate; the others have one in all, and no tax.
PER_RATE: Final = ("S", "L", "M")
#: A category that no rule knows (Italy's split payment, B): its taxable amount is compared by a rule of our own.
OWN_TAXABLE: Final = "TAXABLE"
#: Rules of our own, of which the official tests say nothing: a line's amount, and digits that a currency has not.
OWN_LINE: Final = "LINE"
OWN_DIGITS: Final = "DIGITS"

#: Official tests of a category's taxable amount and tax leave so much, exclusive.
FORGIVEN: Final = Decimal(1)
#: Only this extension adds payments to third parties to the amount due; elsewhere they are mere record.
EXTENSION: Final = "urn:xeinkauf.de:kosit:extension:xrechnung_"

AMOUNT: Final = pl.Decimal(38, DIGITS)
#: One comparison: where it was made, what is stated and computed, and the two verdicts (null: there is no such test).
CHECK: Final = pl.Struct(
    {
        "rule": pl.String(),
        "where": pl.String(),
        "stated": AMOUNT,
        "computed": AMOUNT,
        "difference": AMOUNT,
        "official": pl.String(),
        "exact": pl.String(),
    }
)


def taxable_rule(category: str) -> str:
    """The rule of a category's taxable amount."""
    return f"BR-{LETTERS[category]}-08" if category in LETTERS else OWN_TAXABLE


def digits_of(currency: str) -> int:
    """The digits to which amounts in a currency are rounded."""
    return 0 if currency in WITHOUT_CENTS else DIGITS
