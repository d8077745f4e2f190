"""Money: currencies, named rounding and exact decimal arithmetic; the only place that rounds."""

from __future__ import annotations

from assay.money.columns import (
    Grid,
    Rounded,
    Scaled,
    product_expr,
    product_fits,
    quotient_expr,
    round_expr,
    rounded,
    rounded_product,
    rounded_quotient,
)
from assay.money.currencies import MAX_MINOR_UNITS, has_minor_units, minor_units
from assay.money.exact import EXACT, MAX_DIGITS, ExactDecimal, InexactNumberError, exact_decimal, plain
from assay.money.rounding import ROUNDINGS, Rounding, round_money, round_to

__all__ = [
    "EXACT",
    "MAX_DIGITS",
    "MAX_MINOR_UNITS",
    "ROUNDINGS",
    "ExactDecimal",
    "Grid",
    "InexactNumberError",
    "Rounded",
    "Rounding",
    "Scaled",
    "exact_decimal",
    "has_minor_units",
    "minor_units",
    "plain",
    "product_expr",
    "product_fits",
    "quotient_expr",
    "round_expr",
    "round_money",
    "round_to",
    "rounded",
    "rounded_product",
    "rounded_quotient",
]
