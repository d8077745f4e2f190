"""The built-in strategies: one module each, registered by its kind."""

from __future__ import annotations

from assay.pricing.strategies.convert import Convert
from assay.pricing.strategies.per_unit import PerUnit
from assay.pricing.strategies.percent_off import PercentOff
from assay.pricing.strategies.tax import Tax

__all__ = ["Convert", "PerUnit", "PercentOff", "Tax"]
