"""TPC-H as feeds: the same records in every format and layout, made by `tpchgen-cli` when they are first asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import polars as pl
from benchmarks.lineitem import Order, ShortLineItem

Source = Callable[[Path, int | None], pl.LazyFrame]
Writer = Callable[[pl.LazyFrame, Path], object]


@dataclass(frozen=True)
class Feed:
    """A file: what is in it, at which scale (6,000,000 lines at 1), and how many lines of it if not all."""

    kind: str
    scale: str
    lines: int | None = None

    def make(self, folder: Path) -> Path:
        """Its path in a folder; made if it is not there yet."""
        source, write, suffix = _KINDS[self.kind]
        path = folder / f"{self.kind}-{self.scale}-{self.lines or 'all'}{suffix}"
        if not path.exists():
            write(source(_tables(folder, self.scale), self.lines), path)
        return path


def _tables(folder: Path, scale: str) -> Path:
    made = folder / f"tables-{scale}"
    if not made.exists():
        generator = str(Path(sys.executable).with_name("tpchgen-cli"))
        command = [generator, "parquet", "-s", scale, "--tables", "lineitem,orders", "--output-dir", str(made)]
        subprocess.run(command, check=True, capture_output=True)
    return made


def _texts(path: Path) -> pl.LazyFrame:
    """Decimals and dates as feeds carry them."""
    return pl.scan_parquet(path).with_columns(pl.col(pl.Decimal, pl.Date).cast(pl.String))


def _lineitem(tables: Path, lines: int | None) -> pl.LazyFrame:
    whole = _texts(tables / "lineitem.parquet")
    return whole if lines is None else whole.head(lines)


def _bad_lineitem(tables: Path, lines: int | None) -> pl.LazyFrame:
    bad = pl.int_range(pl.len()) % 100 == 0
    tax = pl.when(bad).then("?" + pl.col("l_tax")).otherwise("l_tax")
    return _lineitem(tables, lines).with_columns(l_tax=tax)


def _short_lineitem(tables: Path, lines: int | None) -> pl.LazyFrame:
    return _lineitem(tables, lines).select(*ShortLineItem.model_fields)


def _orders(tables: Path, lines: int | None) -> pl.LazyFrame:
    order = pl.col("l_orderkey").alias("o_orderkey")
    grouped = _lineitem(tables, lines).group_by(order, maintain_order=True).agg(lines=pl.struct(pl.all()))
    orders = _texts(tables / "orders.parquet")
    return grouped.join(orders, on="o_orderkey", maintain_order="left").select(*Order.model_fields)


def _write_json(records: pl.LazyFrame, path: Path) -> None:
    records.collect().write_json(path)


def _write_indented_json(records: pl.LazyFrame, path: Path) -> None:
    lines = records.collect().write_ndjson().splitlines()
    indented = (orjson.dumps(orjson.loads(line), option=orjson.OPT_INDENT_2) for line in lines)
    with path.open("wb") as out:
        for number, record in enumerate(indented):
            out.write((b",\n  " if number else b"[\n  ") + record.replace(b"\n", b"\n  "))
        out.write(b"\n]\n")


def _write_xml(indent: str, inside: str, after: str) -> Writer:
    """One element a field; `inside` ends what is within a record, `after` the record. The texts need no escape."""

    def write(records: pl.LazyFrame, path: Path) -> None:
        pieces: list[pl.Expr] = [pl.lit(f"{indent}<lineitem>{inside}")]
        for name in records.collect_schema().names():
            pieces += [pl.lit(f"{indent * 2}<{name}>"), pl.col(name), pl.lit(f"</{name}>{inside}")]
        record = pl.concat_str([*pieces, pl.lit(f"{indent}</lineitem>")])
        with path.open("wb") as out:
            out.write(f'<?xml version="1.0" encoding="UTF-8"?>{after}<lineitem_table>{after}'.encode())
            out.flush()
            texts = records.select(record)
            texts.sink_csv(out, include_header=False, quote_style="never", line_terminator=after)
            out.write(b"</lineitem_table>\n")

    return write


_KINDS: Final[dict[str, tuple[Source, Writer, str]]] = {
    "jsonl": (_lineitem, pl.LazyFrame.sink_ndjson, ".jsonl"),
    "jsonl, 1 % bad": (_bad_lineitem, pl.LazyFrame.sink_ndjson, ".jsonl"),
    "json": (_lineitem, _write_json, ".json"),
    "json, indented": (_lineitem, _write_indented_json, ".json"),
    "xml, one record a line": (_lineitem, _write_xml("", "", "\n"), ".xml"),
    "xml, pretty-printed": (_lineitem, _write_xml("  ", "\n", "\n"), ".xml"),
    "xml, all on one line": (_lineitem, _write_xml("", "", ""), ".xml"),
    "csv": (_lineitem, pl.LazyFrame.sink_csv, ".csv"),
    "csv, 5 fields": (_short_lineitem, pl.LazyFrame.sink_csv, ".csv"),
    "orders": (_orders, pl.LazyFrame.sink_ndjson, ".jsonl"),
}
