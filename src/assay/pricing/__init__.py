"""Pricing: strategies, price books, receipts. Each strategy exists twice: a reference and a compiled twin."""

from __future__ import annotations

from assay.money import allocate, round_money
from assay.pricing.batch import Amount, BatchRating, Note, TaxNote
from assay.pricing.binding import Inputs, column_of, unsaid
from assay.pricing.book import PriceBook
from assay.pricing.difference import Band, ChangeLimit, Difference, Effect, Moves, Party, PriceEffect, Shift, Unpriced
from assay.pricing.linting import RULES, Finding
from assay.pricing.moments import known_instant, shown_instant
from assay.pricing.order import DiscountPricing, Item, Order, Pricing, RegularPricing
from assay.pricing.price_list import PriceList
from assay.pricing.rates import NO_RATE, Rates, RatesTable
from assay.pricing.rating import DocumentRating, Rating, Wording
from assay.pricing.receipt import DocumentReceipt, Line, Receipt, TaxLine
from assay.pricing.registry import register, strategy, strategy_kinds
from assay.pricing.step import Step
from assay.pricing.strategies import (
    AmountOff,
    Blocks,
    BlockTier,
    BuyXGetY,
    Capacity,
    CapacityTier,
    Charge,
    Convert,
    CostPlus,
    Coupon,
    Credit,
    Discount,
    DocumentDiscount,
    FixedPrice,
    Flat,
    FreeUnits,
    Graduated,
    GraduatedPercentage,
    Maximum,
    Minimum,
    Package,
    PercentageFee,
    PercentOff,
    PerUnit,
    Prorate,
    RateTier,
    Resolve,
    RoundTotal,
    Stack,
    Tax,
    TaxRate,
    TimeOfUse,
    TimeRate,
    Volume,
)
from assay.pricing.strategies.resolve import NO_PRICE, SEVERAL_PRICES
from assay.pricing.tiers import Tier
from assay.pricing.twin import SIBLING
from assay.pricing.usage import Part, PartColumns, UsageModel
from assay.pricing.values import Column
from assay.pricing.verification import Verifier

__all__ = [
    "NO_PRICE",
    "NO_RATE",
    "RULES",
    "SEVERAL_PRICES",
    "SIBLING",
    "Amount",
    "AmountOff",
    "Band",
    "BatchRating",
    "BlockTier",
    "Blocks",
    "BuyXGetY",
    "Capacity",
    "CapacityTier",
    "ChangeLimit",
    "Charge",
    "Column",
    "Convert",
    "CostPlus",
    "Coupon",
    "Credit",
    "Difference",
    "Discount",
    "DiscountPricing",
    "DocumentDiscount",
    "DocumentRating",
    "DocumentReceipt",
    "Effect",
    "Finding",
    "FixedPrice",
    "Flat",
    "FreeUnits",
    "Graduated",
    "GraduatedPercentage",
    "Inputs",
    "Item",
    "Line",
    "Maximum",
    "Minimum",
    "Moves",
    "Note",
    "Order",
    "Package",
    "Part",
    "PartColumns",
    "Party",
    "PerUnit",
    "PercentOff",
    "PercentageFee",
    "PriceBook",
    "PriceEffect",
    "PriceList",
    "Pricing",
    "Prorate",
    "RateTier",
    "Rates",
    "RatesTable",
    "Rating",
    "Receipt",
    "RegularPricing",
    "Resolve",
    "RoundTotal",
    "Shift",
    "Stack",
    "Step",
    "Tax",
    "TaxLine",
    "TaxNote",
    "TaxRate",
    "Tier",
    "TimeOfUse",
    "TimeRate",
    "Unpriced",
    "UsageModel",
    "Verifier",
    "Volume",
    "Wording",
    "allocate",
    "column_of",
    "known_instant",
    "register",
    "round_money",
    "shown_instant",
    "strategy",
    "strategy_kinds",
    "unsaid",
]
