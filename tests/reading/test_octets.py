"""Bytes of a block that are looked at together."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from assay.reading.octets import rare


@given(st.integers(0, 200), st.sets(st.integers(0, 199)))
@example(0, set())
@example(200, {0, 7, 8, 199})
@example(200, set(range(200)))
def test_rare_places_are_all_places(size: int, places: set[int]) -> None:
    there = np.zeros(size, np.bool_)
    there[[place for place in places if place < size]] = True
    assert rare(there).tolist() == np.flatnonzero(there).tolist()
