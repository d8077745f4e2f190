"""Sinks by name, also those of other packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import assay.aggregation
import assay.sinks
import assay.testing
from assay.errors import ConfigurationError, UnknownNameError
from assay.sinks import Csv, Delta, DuckDb, Entities, Jsonl, Parquet, SinkFactory, Sql, publish


@pytest.mark.parametrize("sink", [Csv, Delta, DuckDb, Entities, Jsonl, Parquet, Sql])
def test_our_own_sinks_are_known(sink: Any) -> None:
    assert SinkFactory.get(sink.kind) is sink
    assert sink.kind in SinkFactory.known()


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r'no sink "parket"\. Did you mean "parquet"\? Known: .*parquet, sql'):
        publish({"sink": "parket"}, "r1")


def test_two_sinks_cannot_have_one_name_but_one_may_register_again() -> None:
    class Other:
        kind = "parquet"

    with pytest.raises(ConfigurationError, match=r'a sink "parquet" already: assay\.sinks\.parquet\.Parquet'):
        SinkFactory.register(Other)  # type: ignore[type-var]
    assert SinkFactory.register(Parquet) is Parquet
    assert SinkFactory.get("parquet") is Parquet


@pytest.mark.parametrize("package", [assay.sinks, assay.aggregation, assay.testing])
def test_public_names_are_there_and_sorted(package: Any) -> None:
    # Constants first, as the linter has it.
    assert package.__all__ == sorted(package.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(package, name) for name in package.__all__)
