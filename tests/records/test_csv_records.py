import csv
import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

import assay
from assay import Lookup, Parquet, Pipeline, Rows, Source, Table
from assay.errors import ConfigurationError, LookupFailed, SourceError, ValidationError
from assay.pipeline import replay
from assay.settings import Settings

Money = Annotated[Decimal, Field(max_digits=8, decimal_places=2)]


class Item(BaseModel):
    sku: str = Field(alias="Item No")
    price: Money
    day: dt.date | None = None
    live: bool = True
    size: Literal["S", "M"] | None = None


HEADER = b"Item No,price,day,live,size,other\n"


def test_rows_become_typed_columns() -> None:
    data = HEADER + b'" a ",1.50, 2026-01-02 ,yes,S,x\n"b\nc"," 2 ",2026-01-03,0,M,\n'
    result = assay.read(data, Item, format="csv", trace=True)
    assert result.counts == {"read": 2, "accepted": 2, "rejected": 0}
    assert result.frame.drop("_source").rows() == [
        (" a ", Decimal("1.50"), dt.date(2026, 1, 2), True, "S", 0, 2, 34),
        ("b\nc", Decimal("2.00"), dt.date(2026, 1, 3), False, "M", 1, 3, 66),
    ]


def test_an_empty_cell_is_an_empty_text_unless_it_shall_be_null() -> None:
    data = HEADER + b'a,1,,1,,\n"",1,,1,,\n,1,,1,,\n'
    assert assay.read(data, Item, format="csv").counts["rejected"] == 3
    read = assay.read(data, Item, format="csv", empty_as_null=True)
    assert read.frame.select("sku", "day", "size").rows() == [("a", None, None), ("", None, None)]
    assert [[e["loc"] for e in errors] for errors in read.rejects["errors"]] == [["Item No"]]


def test_rejects_have_their_bytes_place_and_errors() -> None:
    data = HEADER + b'a,x,,1,,\nb,1\nc,1,"\n'
    rejects = assay.read(data, Item, format="csv", empty_as_null=True).rejects
    assert rejects.select("record", "line", "offset", "stage").rows() == [
        (0, 2, 34, "validate"),
        (1, 3, 43, "read"),
        (2, 4, 47, "read"),
    ]
    assert [e[0]["type"] for e in rejects["errors"]] == ["decimal_parsing", "csv_invalid", "csv_invalid"]
    assert rejects["raw"].to_list() == [HEADER + b"a,x,,1,,", HEADER + b"b,1", HEADER + b'c,1,"']
    with pytest.raises(ValidationError, match=r"record 1 \(line 3\): Row has 2 cells, and there are 6 columns"):
        assay.scan(HEADER + b"a,1,2026-01-01,1,S,\nb,1\n", Item, format="csv").collect()


def test_columns_that_the_model_does_not_name_are_judged_by_it() -> None:
    class Closed(BaseModel):
        model_config = ConfigDict(extra="forbid", populate_by_name=True)
        n: int = Field(alias="N")

    result = assay.read(b"n\n 1 \n", Closed, format="csv")
    assert result.frame["n"].to_list() == [1]
    (errors,) = assay.read(b"N,x\n1,2\n", Closed, format="csv").rejects["errors"]
    assert [(e["loc"], e["type"]) for e in errors] == [("x", "extra_forbidden")]


def test_options_of_scan() -> None:
    class Pair(BaseModel):
        a: str
        b: Money

    options = {"delimiter": ";", "quote": "'", "columns": ["a", "b"]}
    frame = assay.scan(b"'x;y';1.5\n", Pair, "csv", **options).collect()  # type: ignore[arg-type]
    assert frame.rows() == [("x;y", Decimal("1.50"))]
    with pytest.raises(ConfigurationError, match="delimiter"):
        assay.scan(b"", Pair, "csv", delimiter="ab")
    with pytest.raises(ConfigurationError, match='"jsonl" takes no option "delimiter"'):
        assay.scan(b"", Pair, "jsonl", delimiter=";")

    class Strict(BaseModel, strict=True):
        a: int

    with pytest.raises(ConfigurationError, match="Strict is strict, and CSV has only texts"):
        assay.scan(b"", Strict, "csv")


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes(b'[{"Item No": "a"}]')
    with pytest.raises(SourceError, match=r"items\.csv: looks like JSON, not CSV"):
        assay.scan(path, Item).collect()


texts = st.sampled_from(
    ["", " ", "1", " 1", "1.5 ", "1,5", "true", "2026-01-02", " 2026-01-02", "S", "é", "1e2", '"', "\n"]
)


@given(st.lists(st.lists(texts, min_size=5, max_size=5), min_size=1, max_size=8))
def test_the_verdict_is_pydantics_on_the_object_of_texts(rows: list[list[str]]) -> None:
    names = ["Item No", "price", "day", "live", "size"]
    out = io.StringIO()
    csv.writer(out).writerows([names, *rows])
    result = assay.read(out.getvalue().encode(), Item, format="csv", trace=True)
    validate = TypeAdapter(Item).validator.validate_json
    expected, wrong = [], {}
    for number, row in enumerate(rows):
        made = {n: text if n == "Item No" else text.strip(" \t\r\n") for n, text in zip(names, row, strict=True)}
        try:
            item = validate(json.dumps(made))
            expected.append((item.sku, item.price, item.day, item.live, item.size))
        except ValueError as error:
            wrong[number] = [(e["loc"][0], e["type"], e["msg"]) for e in error.errors()]  # type: ignore[attr-defined]
    assert result.frame.select(list(Item.model_fields)).rows() == expected
    got = {
        r["record"]: [(e["loc"], e["type"], e["msg"]) for e in r["errors"]]
        for r in result.rejects.iter_rows(named=True)
    }
    assert got == wrong


def test_a_lookup_table_of_csv(project: Path) -> None:
    (project / "items.csv").write_bytes(b"sku;price\na;1.5\nb;2\n")
    (project / "prices.csv").write_bytes(b"a;1.5\nb;2\n")
    (project / "wrong.csv").write_bytes(b"sku,price\na\n")
    (project / "orders.csv").write_bytes(b"sku\na\nb\n")

    class Price(BaseModel):
        sku: str
        price: Money

    class Order(BaseModel):
        sku: str

    def run(table: Table) -> Any:
        steps = [Lookup(table, on="sku")]
        pipeline = Pipeline("orders", Source("orders.csv", Order), steps, {"rows": Rows(to=Parquet("out/rows"))})
        assert pipeline.run().error is None
        return pl.read_parquet("out/rows/*.parquet")["price"].to_list()

    for table in (
        Table("items.csv", Price, delimiter=";"),
        Table("prices.csv", Price, delimiter=";", column_names=["sku", "price"]),
    ):
        assert run(table) == [Decimal("1.50"), Decimal("2.00")]
    with pytest.raises(LookupFailed, match="Row has 1 cell, and there are 2 columns"):
        run(Table("wrong.csv", Price))


@pytest.mark.parametrize("columns", [None, ["Item No", "price"]])
def test_rejects_are_replayed_from_their_bytes(project: Path, columns: list[str] | None) -> None:
    header = b"" if columns else b"Item No|price\n"
    long = b"l" * 5000 + b"|1"
    (project / "items.csv").write_bytes(header + b"a|1\nb|x\n" + long + b"\n'c|d'|3\n'e\nf'|9,9\n")

    class Wide(BaseModel):
        sku: str = Field(alias="Item No")
        price: str | Money

    pipeline = Pipeline(
        "items",
        Source("items.csv", Item, delimiter="|", quote="'", columns=columns),
        outputs={"rows": Rows(to=Parquet("out/rows", mode="append"))},
    )
    settings = Settings(project=project, max_record_bytes=4200)
    first = pipeline.run(settings=settings)
    assert first.counts == {"read": 5, "written": 2, "filtered": 0, "rejected": 3}
    wide = Pipeline(
        "items",
        Source("items.csv", Wide, delimiter="|", quote="'", columns=columns),
        outputs={"rows": Rows(to=Parquet("out/wide", mode="append"))},
    )
    second = replay(wide, first.id, settings=settings)
    # Of the record over the limit only the beginning was kept: it stays rejected.
    assert (second.counts["written"], second.counts["rejected"]) == (2, 1)
    assert pl.read_parquet("out/wide/*.parquet")["sku"].to_list() == ["b", "e\nf"]


def test_superstore(suites: Path) -> None:
    class OrderLine(BaseModel):
        row: int = Field(alias="Row ID")
        ordered: dt.date = Field(alias="Order Date")
        product: str = Field(alias="Product Name")
        sales: Annotated[Decimal, Field(max_digits=12, decimal_places=4)] = Field(alias="Sales")

    path = suites / "superstore" / "superstore.csv"
    result = assay.read(path, OrderLine)
    assert result.counts == {"read": 9994, "accepted": 9994, "rejected": 0}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert result.frame["product"].to_list() == [row["Product Name"] for row in rows]
    assert result.frame["sales"].sum() == sum(Decimal(row["Sales"]) for row in rows)
