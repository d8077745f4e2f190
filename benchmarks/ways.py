"""The ways from a file to a typed frame that are measured side by side: Assay, peers, and the loops people write."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl
from benchmarks.lineitem import CustomLineItem, LineItem, Order, ShortLineItem
from lxml import etree
from pydantic import BaseModel, ValidationError

import assay

if TYPE_CHECKING:
    from xml2arrow import XmlToArrowParser

Model = type[BaseModel]
Way = Callable[[Path], pl.DataFrame]


def scanned(path: Path, model: Model = LineItem) -> pl.DataFrame:
    """Assay: every record judged; rejects are collected with place, errors and bytes."""
    rejects: list[pl.DataFrame] = []
    return assay.scan(path, model, rejects=rejects.append).collect()


def usual_jsonl(path: Path, model: Model = LineItem) -> pl.DataFrame:
    """A line at a time: orjson, model_validate, model_dump, pl.DataFrame."""
    with path.open("rb") as lines:
        return _dumped(map(orjson.loads, lines), model)


def tuned_jsonl(path: Path, model: Model = LineItem) -> pl.DataFrame:
    """The loop after an afternoon with a profiler: validate_json, columns from the instances' own dictionaries."""
    with path.open("rb") as lines:
        return _columns(_accepted(model.__pydantic_validator__.validate_json, lines), schema_of(model))


def nested_jsonl(path: Path, model: Model = Order) -> pl.DataFrame:
    """orjson, model_validate, and the quickest way from instances to a nested frame that was found."""
    with path.open("rb") as lines:
        return _columns(_accepted(model.model_validate, map(orjson.loads, lines)), schema_of(model))


def usual_xml(path: Path, model: Model = LineItem) -> pl.DataFrame:
    """Element by element: lxml iterparse, a dictionary, model_validate, model_dump, pl.DataFrame."""
    return _dumped(_elements(path), model)


def polars_jsonl(path: Path) -> pl.DataFrame:
    """Polars alone: all columns, cast to the same types, nothing validated."""
    return pl.scan_ndjson(path, schema=_wire(LineItem)).with_columns(_casts(LineItem)).collect(engine="streaming")


def polars_jsonl_uncast(path: Path) -> pl.DataFrame:
    """Polars alone: integers and texts."""
    return pl.scan_ndjson(path, schema=_wire(LineItem)).collect(engine="streaming")


def polars_csv(path: Path, model: Model = LineItem) -> pl.DataFrame:
    """Polars alone: all columns, cast to the same types, nothing validated."""
    return pl.scan_csv(path, schema=_wire(model)).with_columns(_casts(model)).collect(engine="streaming")


def duckdb_jsonl(path: Path) -> pl.DataFrame:
    """DuckDB with every column's type given, nothing validated."""
    import duckdb  # noqa: PLC0415 - it would weigh on the memory of the other ways

    columns = {name: _duckdb_type(dtype) for name, dtype in schema_of(LineItem).items()}
    with duckdb.connect() as connection:
        frame: pl.DataFrame = connection.read_json(str(path), format="newline_delimited", columns=columns).pl()
    return frame.cast(schema_of(LineItem))


def xml2arrow(path: Path) -> pl.DataFrame:
    """xml2arrow of integers and texts, cast to the same types, nothing validated."""
    reader = _xml2arrow_parser().parse_single_table(path)
    return pl.DataFrame(reader).with_columns(_casts(LineItem))


#: What each way is called.
WAYS: Final[dict[str, Way]] = {
    "assay.scan": scanned,
    "assay.scan, 5 fields": partial(scanned, model=ShortLineItem),
    "assay.scan, orders with lines": partial(scanned, model=Order),
    "assay.scan, custom validator": partial(scanned, model=CustomLineItem),
    "usual loop": usual_jsonl,
    "tuned loop": tuned_jsonl,
    "tuned loop, custom validator": partial(tuned_jsonl, model=CustomLineItem),
    "orjson and Pydantic, orders with lines": nested_jsonl,
    "lxml iterparse and Pydantic": usual_xml,
    "scan_ndjson and casts": polars_jsonl,
    "scan_ndjson without casts": polars_jsonl_uncast,
    "scan_csv and casts": polars_csv,
    "scan_csv and casts, 5 fields": partial(polars_csv, model=ShortLineItem),
    "DuckDB read_json": duckdb_jsonl,
    "xml2arrow and casts": xml2arrow,
}


@cache
def schema_of(model: Model) -> pl.Schema:
    """The columns that all ways must come to."""
    return assay.scan(b"", model, format="jsonl").collect_schema()


@cache
def _wire(model: Model) -> dict[str, pl.DataType]:
    """The columns as JSON has them: integers and texts."""
    return {n: t if isinstance(t, pl.Int64) else pl.String() for n, t in schema_of(model).items()}


@cache
def _casts(model: Model) -> list[pl.Expr]:
    made = []
    for name, dtype in schema_of(model).items():
        if isinstance(dtype, pl.Date):
            made.append(pl.col(name).str.to_date("%Y-%m-%d"))
        elif not isinstance(dtype, pl.Int64 | pl.String):
            made.append(pl.col(name).cast(dtype))
    return made


def _duckdb_type(dtype: pl.DataType) -> str:
    match dtype:
        case pl.Int64():
            return "BIGINT"
        case pl.Decimal():
            return f"DECIMAL({dtype.precision}, {dtype.scale})"
        case pl.Date():
            return "DATE"
        case _:
            return "VARCHAR"


@cache
def _xml2arrow_parser() -> XmlToArrowParser:
    from xml2arrow import XmlToArrowParser  # noqa: PLC0415 - as above

    row = "/lineitem_table/lineitem"
    fields = [
        {"name": name, "xml_path": f"{row}/{name}", "data_type": "Int64" if isinstance(dtype, pl.Int64) else "Utf8"}
        for name, dtype in schema_of(LineItem).items()
    ]
    table = {"name": "lineitem", "xml_path": "/lineitem_table", "levels": [], "fields": fields}
    # JSON is YAML.
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        json.dump({"tables": [table]}, config)
        config.flush()
        return XmlToArrowParser(config.name)


def _elements(path: Path) -> Iterator[Any]:
    for _, element in etree.iterparse(path, tag="lineitem", resolve_entities=False, no_network=True):
        yield {child.tag: child.text or "" for child in element}
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]


def _accepted(validate: Callable[[Any], BaseModel], records: Iterable[Any]) -> list[BaseModel]:
    made: list[BaseModel] = []
    rejects: list[ValidationError] = []
    for record in records:
        try:
            made.append(validate(record))
        except ValidationError as error:
            rejects.append(error)
    return made


def _dumped(records: Iterable[Any], model: Model) -> pl.DataFrame:
    dumped: list[dict[str, Any]] = []
    rejects: list[ValidationError] = []
    for record in records:
        try:
            dumped.append(model.model_validate(record).model_dump())
        except ValidationError as error:
            rejects.append(error)
    return pl.DataFrame(dumped, schema=schema_of(model))


def _columns(instances: Sequence[BaseModel], schema: pl.Schema) -> pl.DataFrame:
    """A list a column; decimals go over as text, lists of instances as the columns of all that are in them."""
    rows = [vars(instance) for instance in instances]
    made = []
    for name, dtype in schema.items():
        if isinstance(dtype, pl.Decimal):
            made.append(pl.Series(name, [str(row[name]) for row in rows], dtype=pl.String).cast(dtype))
        elif isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
            fields = pl.Schema({field.name: field.dtype for field in dtype.inner.fields})
            inner = _columns([item for row in rows for item in row[name]], fields)
            owner = pl.Series([number for number, row in enumerate(rows) for _ in row[name]], dtype=pl.UInt32)
            lists = inner.select(owner.alias("owner"), pl.struct(pl.all()).alias(name))
            made.append(lists.group_by("owner", maintain_order=True).agg(name).get_column(name))
        else:
            made.append(pl.Series(name, [row[name] for row in rows], dtype=dtype))
    return pl.DataFrame(made)
