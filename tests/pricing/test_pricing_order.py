from __future__ import annotations

from decimal import Decimal

import pytest

from assay.errors import ConfigurationError
from assay.pricing import DiscountPricing, Item, Order, RegularPricing


@pytest.mark.parametrize(
    ("base", "percent", "price"),
    [
        ("10", 10, "9.0"),
        ("9.99", 10, "8.991"),  # exact: nothing is rounded here
        ("100", 0, "100"),
        ("100", 100, "0"),
        ("-20", 25, "-15"),
        ("0.01", "33.3333", "0.00666667"),
        ("1" * 38, "12.5", str(int("1" * 38) * 875 // 1000) + ".125"),
    ],
)
def test_a_discount_is_exact(base: str, percent: int | str, price: str) -> None:
    result = DiscountPricing(percent).calculate_price(Decimal(base))
    expected = Decimal(price)
    assert result == expected


def test_a_regular_price_is_the_base() -> None:
    assert RegularPricing().calculate_price(Decimal("19.999")) == Decimal("19.999")


def test_a_float_is_refused_with_the_reason() -> None:
    for pricing in (RegularPricing(), DiscountPricing(10)):
        with pytest.raises(TypeError, match=r'0.1 is a float.*write the string "0.1"'):
            pricing.calculate_price(0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="float"):
        DiscountPricing(12.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="float"):
        Item(price=9.99)  # type: ignore[arg-type]


@pytest.mark.parametrize("percent", ["-0.01", "100.01", -5, 101])
def test_a_discount_is_between_0_and_100_percent(percent: str | int) -> None:
    with pytest.raises(ConfigurationError, match="outside 0 to 100"):
        DiscountPricing(percent)


def test_orders() -> None:
    assert Order(items=[Item(price=Decimal(10))], pricing=DiscountPricing(10)).total() == Decimal("9.0")
    assert Order([Item(Decimal("2.50"), quantity=3), Item("0.005")]).total() == Decimal("7.505")
    assert Order([]).total() == 0


def test_an_own_strategy_prices_an_order() -> None:
    class ThreeForTwo:
        def calculate_price(self, base: Decimal) -> Decimal:
            return base / 3 * 2

    assert Order([Item(Decimal(3), quantity=3)], ThreeForTwo()).total() == Decimal(6)
