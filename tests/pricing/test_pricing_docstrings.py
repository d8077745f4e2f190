from __future__ import annotations

import doctest
import types

import pytest

from assay.money import exact, rounding
from assay.pricing import order


@pytest.mark.parametrize("module", [exact, rounding, order])
def test_examples_in_docstrings_hold(module: types.ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
