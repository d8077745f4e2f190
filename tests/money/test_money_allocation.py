"""Splitting an amount: nothing is lost, limits hold, and what cannot be split is refused."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import ConfigurationError, UnknownNameError
from assay.money import allocate

weights = st.lists(
    st.one_of(st.integers(0, 50), st.decimals(0, 100, places=3), st.fractions(0, 9, max_denominator=12)),
    min_size=1,
    max_size=9,
)
modes = st.sampled_from(["first", "largest_ratio", "largest_remainder"])


@given(st.integers(-(10**9), 10**9), weights, modes, st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_parts_add_up_and_are_near_their_shares(
    units: int, given_weights: list[Fraction], mode: str, code: str
) -> None:
    scale = {"EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}[code]
    amount = Decimal(units).scaleb(-scale)
    parts = allocate(amount, given_weights, code, mode=mode)  # type: ignore[arg-type]
    assert sum(parts) == amount
    sizes = [Fraction(weight) for weight in given_weights]
    total = sum(sizes) or len(sizes)
    for part, size in zip(parts, sizes, strict=True):
        exact = Fraction(amount) * (size if any(sizes) else 1) / total
        assert abs(Fraction(part) - exact) < Fraction(len(sizes), 10**scale)
        assert size or not any(sizes) or not part, "a weight of 0 gets nothing"
    assert allocate(-amount, given_weights, code, mode=mode) == [-part for part in parts]  # type: ignore[arg-type]


@given(st.integers(0, 10**5), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10**5)), min_size=1, max_size=7))
def test_no_part_goes_over_its_limit(units: int, given_parts: list[tuple[int, int]]) -> None:
    amount = Decimal(units).scaleb(-2)
    sizes = [weight for weight, _ in given_parts]
    limits = [Decimal(limit).scaleb(-2) for _, limit in given_parts]
    room = sum((limit for limit, size in zip(limits, sizes, strict=True) if size or not any(sizes)), Decimal(0))
    if amount > room:
        with pytest.raises(ConfigurationError, match="too tight"):
            allocate(amount, sizes, limits=limits)
        return
    parts = allocate(amount, sizes, limits=limits)
    assert sum(parts) == amount
    assert all(part <= limit for part, limit in zip(parts, limits, strict=True))


def test_what_a_limit_cuts_off_goes_to_the_others_by_their_weights() -> None:
    assert allocate("10", [1, 1, 2], limits=["1", "9", "9"]) == [Decimal("1.00"), Decimal("3.00"), Decimal("6.00")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"amount": "0.005", "weights": [1]}, "0.005 is no multiple of 0.01"),
        ({"amount": "1.02", "weights": [1], "increment": "0.05"}, "1.02 is no multiple of 0.05"),
        ({"amount": "1", "weights": []}, "no parts"),
        ({"amount": "1", "weights": [1], "increment": "0"}, "not above 0"),
        ({"amount": "1", "weights": [1, 2], "limits": ["1"]}, "1 limits for 2 parts"),
    ],
)
def test_what_cannot_be_split_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        allocate(**arguments)  # type: ignore[arg-type]


def test_floats_are_refused_and_modes_are_named() -> None:
    with pytest.raises(TypeError, match=r"0.1 is a float"):
        allocate(0.1, [1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"weight 0.5"):
        allocate("1", [0.5])  # type: ignore[list-item]
    with pytest.raises(UnknownNameError, match="largest_remainder"):
        allocate("1", [1], mode="largest_remaindr")  # type: ignore[arg-type]
