"""The models that judge TPC-H `lineitem`: all 16 fields with ranges, and the variations that figures are taken of."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator

Key = Annotated[int, Field(ge=1)]
Money = Annotated[Decimal, Field(ge=0, max_digits=15, decimal_places=2)]
Share = Annotated[Decimal, Field(ge=0, le=1, max_digits=15, decimal_places=2)]
Quantity = Annotated[Decimal, Field(gt=0, le=50, max_digits=15, decimal_places=2)]
ReturnFlag = Literal["A", "N", "R"]


class LineItem(BaseModel):
    """One line of an order, as the TPC-H specification, section 1.4, has it."""

    l_orderkey: Key
    l_partkey: Key
    l_suppkey: Key
    l_linenumber: Annotated[int, Field(ge=1, le=7)]
    l_quantity: Quantity
    l_extendedprice: Money
    l_discount: Share
    l_tax: Share
    l_returnflag: ReturnFlag
    l_linestatus: Literal["O", "F"]
    l_shipdate: dt.date
    l_commitdate: dt.date
    l_receiptdate: dt.date
    l_shipinstruct: Literal["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]
    l_shipmode: Literal["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"]
    l_comment: Annotated[str, Field(max_length=44)]


class ShortLineItem(BaseModel):
    """Five fields of it, one of each kind."""

    l_orderkey: Key
    l_quantity: Quantity
    l_extendedprice: Money
    l_returnflag: ReturnFlag
    l_shipdate: dt.date


class CustomLineItem(LineItem):
    """The same with a rule of the user's own, which no compiler can read."""

    @field_validator("l_comment")
    @classmethod
    def no_control_character(cls, comment: str) -> str:
        if not comment.isprintable():
            raise ValueError("a comment has no control character")
        return comment


class Order(BaseModel):
    """An order with its lines."""

    o_orderkey: Key
    o_custkey: Key
    o_orderstatus: Literal["F", "O", "P"]
    o_totalprice: Money
    o_orderdate: dt.date
    o_orderpriority: Literal["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"]
    o_comment: Annotated[str, Field(max_length=79)]
    lines: Annotated[list[LineItem], Field(min_length=1, max_length=7)]
