"""Money: currencies, named rounding and exact decimal arithmetic; the only place that rounds."""

from __future__ import annotations

from assay.money.allocation import AllocationMode, allocate, split
from assay.money.columns import (
    MAX_UNITS,
    Grid,
    Rounded,
    Scaled,
    integer,
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
from assay.money.widening import (
    aligned,
    ceil_quotient,
    chosen,
    exact_product,
    floor_quotient,
    greater,
    lesser,
    minus,
    negated,
    plus,
    rescaled,
    size,
)

__all__ = [
    "EXACT",
    "MAX_DIGITS",
    "MAX_MINOR_UNITS",
    "MAX_UNITS",
    "ROUNDINGS",
    "AllocationMode",
    "ExactDecimal",
    "Grid",
    "InexactNumberError",
    "Rounded",
    "Rounding",
    "Scaled",
    "aligned",
    "allocate",
    "ceil_quotient",
    "chosen",
    "exact_decimal",
    "exact_product",
    "floor_quotient",
    "greater",
    "has_minor_units",
    "integer",
    "lesser",
    "minor_units",
    "minus",
    "negated",
    "plain",
    "plus",
    "product_expr",
    "product_fits",
    "quotient_expr",
    "rescaled",
    "round_expr",
    "round_money",
    "round_to",
    "rounded",
    "rounded_product",
    "rounded_quotient",
    "size",
    "split",
]
