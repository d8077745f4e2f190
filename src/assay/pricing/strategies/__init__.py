"""The built-in strategies: a module each, registered by its kind."""

from __future__ import annotations

from assay.pricing.strategies.amount_off import AmountOff
from assay.pricing.strategies.blocks import Blocks, BlockTier
from assay.pricing.strategies.buy_x_get_y import BuyXGetY
from assay.pricing.strategies.capacity import Capacity, CapacityTier
from assay.pricing.strategies.charge import Charge
from assay.pricing.strategies.convert import Convert
from assay.pricing.strategies.cost_plus import CostPlus
from assay.pricing.strategies.credit import Credit
from assay.pricing.strategies.discount import Discount
from assay.pricing.strategies.document_discount import Coupon, DocumentDiscount
from assay.pricing.strategies.fixed_price import FixedPrice
from assay.pricing.strategies.flat import Flat
from assay.pricing.strategies.free_units import FreeUnits
from assay.pricing.strategies.graduated import Graduated
from assay.pricing.strategies.graduated_percentage import GraduatedPercentage, RateTier
from assay.pricing.strategies.limits import Maximum, Minimum
from assay.pricing.strategies.package import Package
from assay.pricing.strategies.per_unit import PerUnit
from assay.pricing.strategies.percent_off import PercentOff
from assay.pricing.strategies.percentage_fee import PercentageFee
from assay.pricing.strategies.prorate import Prorate
from assay.pricing.strategies.resolve import Resolve
from assay.pricing.strategies.round_total import RoundTotal
from assay.pricing.strategies.stack import Stack
from assay.pricing.strategies.tax import Tax, TaxRate
from assay.pricing.strategies.time_of_use import TimeOfUse, TimeRate
from assay.pricing.strategies.volume import Volume

__all__ = [
    "AmountOff",
    "BlockTier",
    "Blocks",
    "BuyXGetY",
    "Capacity",
    "CapacityTier",
    "Charge",
    "Convert",
    "CostPlus",
    "Coupon",
    "Credit",
    "Discount",
    "DocumentDiscount",
    "FixedPrice",
    "Flat",
    "FreeUnits",
    "Graduated",
    "GraduatedPercentage",
    "Maximum",
    "Minimum",
    "Package",
    "PerUnit",
    "PercentOff",
    "PercentageFee",
    "Prorate",
    "RateTier",
    "Resolve",
    "RoundTotal",
    "Stack",
    "Tax",
    "TaxRate",
    "TimeOfUse",
    "TimeRate",
    "Volume",
]
