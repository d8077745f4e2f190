"""The TPC-H lineitem table as a feed of JSON, and the model that judges it (all 16 fields, with ranges)."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal

import polars as pl
from benchmarks.child import ROOT, peak_bytes
from benchmarks.ways import tuned_jsonl, usual_jsonl
from pydantic import BaseModel, Field

Key = Annotated[int, Field(ge=1)]
Money = Annotated[Decimal, Field(ge=0, max_digits=15, decimal_places=2)]
Share = Annotated[Decimal, Field(ge=0, le=1, max_digits=15, decimal_places=2)]


class LineItem(BaseModel):
    """One line of an order, as the TPC-H specification, section 1.4, has it."""

    l_orderkey: Key
    l_partkey: Key
    l_suppkey: Key
    l_linenumber: Annotated[int, Field(ge=1, le=7)]
    l_quantity: Annotated[Decimal, Field(gt=0, le=50, max_digits=15, decimal_places=2)]
    l_extendedprice: Money
    l_discount: Share
    l_tax: Share
    l_returnflag: Literal["A", "N", "R"]
    l_linestatus: Literal["O", "F"]
    l_shipdate: dt.date
    l_commitdate: dt.date
    l_receiptdate: dt.date
    l_shipinstruct: Literal["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]
    l_shipmode: Literal["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"]
    l_comment: Annotated[str, Field(max_length=44)]


def make(folder: Path, scale: str) -> Path:
    """The table as JSON Lines, decimals as text, by `tpchgen-cli`; 6,000,000 records at scale 1."""
    generator = str(Path(sys.executable).with_name("tpchgen-cli"))
    subprocess.run(
        [generator, "parquet", "-s", scale, "--tables", "lineitem", "--output-dir", str(folder)],
        check=True,
        capture_output=True,
    )
    table = pl.read_parquet(folder / "lineitem.parquet")
    path = folder / "lineitem.jsonl"
    table.with_columns(pl.col(pl.Decimal, pl.Date).cast(pl.String)).write_ndjson(path)
    return path


def with_bad_rows(path: Path, share: float) -> Path:
    """The same with some prices that are no number."""
    made = path.with_name("lineitem-bad.jsonl")
    step = round(1 / share)
    with path.open("rb") as lines, made.open("wb") as out:
        for number, line in enumerate(lines):
            out.write(line.replace(b'"l_tax":"', b'"l_tax":"?') if number % step == 0 else line)
    return made


def validated(path: Path) -> pl.DataFrame:
    """Assay: every record judged."""
    import assay  # noqa: PLC0415 - what is measured

    return assay.scan(path, LineItem, rejects="drop").collect()


def unvalidated(path: Path) -> pl.DataFrame:
    """Polars alone: all columns, cast to the same types, nothing validated."""
    frame = pl.scan_ndjson(path, schema=_wire()).with_columns(_casts())
    return frame.collect(engine="streaming")


def untyped(path: Path) -> pl.DataFrame:
    """Polars alone: integers and texts, without the casts."""
    return pl.scan_ndjson(path, schema=_wire()).collect(engine="streaming")


def _schema() -> pl.Schema:
    import assay  # noqa: PLC0415 - what is measured

    return assay.scan(b"", LineItem, format="jsonl").collect_schema()


def _wire() -> dict[str, pl.DataType]:
    return {n: t if isinstance(t, pl.Int64) else pl.String() for n, t in _schema().items()}


def _casts() -> list[pl.Expr]:
    made = []
    for name, dtype in _schema().items():
        if isinstance(dtype, pl.Date):
            made.append(pl.col(name).str.to_date("%Y-%m-%d"))
        elif not isinstance(dtype, pl.Int64 | pl.String):
            made.append(pl.col(name).cast(dtype))
    return made


WAYS: Final[dict[str, Callable[[Path], pl.DataFrame]]] = {
    "assay.scan": validated,
    "scan_ndjson and casts, nothing validated": unvalidated,
    "scan_ndjson of integers and texts": untyped,
    "the usual loop": lambda path: usual_jsonl(path, LineItem)[0],
    "the tuned loop": lambda path: tuned_jsonl(path, LineItem)[0],
}


def peak_of(name: str, path: Path) -> int:
    """The peak memory of one way, in a process of its own, in bytes."""
    command = [sys.executable, "-m", "benchmarks.lineitem", name, str(path)]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    WAYS[sys.argv[1]](Path(sys.argv[2]))
    sys.stdout.write(str(peak_bytes()))
