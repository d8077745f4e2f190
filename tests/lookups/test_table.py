"""Where a table may be, and when its contents are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

from assay import Table
from assay.errors import ConfigurationError, LookupFailed
from assay.lookups import LookupContext
from assay.settings import Settings


class Product(BaseModel):
    sku: str | None
    name: str
    weight: float = 0.0
    image: bytes = b""


def context(folder: Path) -> LookupContext:
    return LookupContext((folder,), Settings())


def test_several_files_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sku,name\npen,Pen\n")
    (tmp_path / "b.jsonl").write_text('{"sku":"cup","name":"Cup"}\n')
    pl.DataFrame({"sku": ["hat"], "name": ["Hat"]}).write_parquet(tmp_path / "C.PARQUET")
    table = Table(["a.csv", "b.jsonl", "C.PARQUET"], Product)
    assert table.name == "a"
    assert table.read(context(tmp_path))["sku"].to_list() == ["pen", "cup", "hat"]
    with pytest.raises(LookupFailed, match="'pen'"):
        Table(["a.csv", "a.csv"], Product).open(context(tmp_path), ("sku",))


@pytest.mark.parametrize("path", [Path("a.csv"), pl.LazyFrame(), 5, [], ["a.csv", 5]])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="is a path, a list of paths or a pl.DataFrame"):
        Table(path, Product)


def fingerprint(*rows: tuple[Any, ...]) -> str:
    frame = pl.DataFrame(rows, ["sku", "name", "weight", "image"], orient="row")
    return Table(frame, Product).open(context(Path()), ("sku",)).fingerprint


def test_the_fingerprint_is_of_the_contents() -> None:
    rows = [("pen", "Pen", 1.0, b"\x00"), ("cup", "Cup", float("nan"), b"")]
    assert fingerprint(*rows) == fingerprint(*reversed(rows))
    assert fingerprint(*rows) == fingerprint(*rows, (None, "no key", 1.0, b""), (None, "nor this", 1.0, b""))
    for other in (("cup", "Cup", float("inf"), b""), ("cup", "Cup", float("nan"), b"x"), ("cup", "cup", 0.0, b"")):
        assert fingerprint(rows[0], other) != fingerprint(*rows)
