"""From a file to a typed frame of the accepted records: Assay's reference path beside the loops people write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from benchmarks.child import start
from benchmarks.ways import WAYS
from polars.testing import assert_frame_equal

import assay

#: The frame of each format that was made first: every other way must make the same.
AGREED: dict[str, tuple[pl.DataFrame, int]] = {}


@pytest.mark.parametrize(("fmt", "name"), [(fmt, name) for fmt, ways in WAYS.items() for name in ways])
def test_read(benchmark: Any, note: Callable[..., object], lines: dict[str, Path], fmt: str, name: str) -> None:
    benchmark.group = f"read {fmt}"
    model = assay.load("orders").source.model
    frame, rejected = benchmark.pedantic(WAYS[fmt][name], (lines[fmt], model), rounds=3, warmup_rounds=1)
    agreed, agreed_rejected = AGREED.setdefault(fmt, (frame, rejected))
    assert_frame_equal(frame, agreed)
    assert rejected == agreed_rejected
    alone = json.loads(start("way", fmt, name, lines[fmt]).stdout)
    assert (alone["accepted"], alone["rejected"]) == (frame.height, rejected)
    note(benchmark, name, frame.height + rejected, alone["peak"])
