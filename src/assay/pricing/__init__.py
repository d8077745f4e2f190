"""Pricing: strategies, price books, receipts. Each strategy exists twice: a reference and a compiled twin."""

from __future__ import annotations

from assay.money import round_money
from assay.pricing.batch import BatchRating
from assay.pricing.book import PriceBook
from assay.pricing.order import DiscountPricing, Item, Order, Pricing, RegularPricing
from assay.pricing.rates import NO_RATE, Rates, RatesTable
from assay.pricing.rating import Rating, Wording
from assay.pricing.receipt import Line, Receipt
from assay.pricing.registry import register, strategy, strategy_kinds
from assay.pricing.step import Step
from assay.pricing.strategies import Convert, PercentOff, PerUnit, Tax
from assay.pricing.values import Column

__all__ = [
    "NO_RATE",
    "BatchRating",
    "Column",
    "Convert",
    "DiscountPricing",
    "Item",
    "Line",
    "Order",
    "PerUnit",
    "PercentOff",
    "PriceBook",
    "Pricing",
    "Rates",
    "RatesTable",
    "Rating",
    "Receipt",
    "RegularPricing",
    "Step",
    "Tax",
    "Wording",
    "register",
    "round_money",
    "strategy",
    "strategy_kinds",
]
