"""A rejected line rejects its document, however its number is written and wherever it stands."""

import json
import os
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import BaseModel, Field, RootModel, StringConstraints

import assay
from assay import Deduplicate, Explode, Filter, GroupBy, MoneyColumns, Parquet, Pipeline, Rows, Source, Sum, XPath
from assay.pipeline import replay
from assay.runs import RunStore
from assay.settings import Settings

Upper = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True)]
Number = Annotated[Decimal, Field(max_digits=10, decimal_places=2)]


def model(document: Any) -> type[BaseModel]:
    return type("Line", (BaseModel,), {"__annotations__": {"doc": document, "x": int}})


@pytest.mark.parametrize(
    ("document", "bad", "good"),
    [
        (Number, '"1.5"', "1.50"),
        (int, '" 8 "', "8"),
        (int, "9.0", '"9"'),
        (Upper, '"a1"', '"A1 "'),
        (str, '"a"', '"a"'),
    ],
)
def test_two_ways_to_write_a_number_are_one_document(project: Path, document: Any, bad: str, good: str) -> None:
    (project / "x.jsonl").write_text(f'{{"doc":{bad},"x":"bad"}}\n{{"doc":{good},"x":2}}\n{{"doc":"77","x":3}}\n')
    pipeline = Pipeline(
        "p", Source("x.jsonl", model(document), reject_with="doc"), outputs={"r": Rows(to=Parquet("o"))}
    )
    result = pipeline.run().raise_for_status()
    assert result.counts == {"read": 3, "written": 1, "filtered": 0, "rejected": 2}
    assert result.rejects["stage"].to_list() == ["validate", "document"]


def test_a_number_above_the_record(project: Path) -> None:
    class Line(BaseModel):
        doc: Annotated[str, XPath("../id")]
        amt: int

    orders = "".join(f"<o><id>{n}</id><l><amt>{a}</amt></l><l><amt>1</amt></l></o>" for n, a in ((1, "x"), (2, 5)))
    (project / "x.xml").write_text(f"<r>{orders}</r>")
    source = Source("x.xml", Line, record="l", reject_with="doc")
    result = Pipeline("p", source, outputs={"r": Rows(to=Parquet("o"))}).run().raise_for_status()
    assert result.counts == {"read": 4, "written": 2, "filtered": 0, "rejected": 2}


def test_outputs_that_are_one_are_refused(project: Path) -> None:
    (project / "x.jsonl").write_text('{"doc":1,"x":2}\n')
    outputs = {"a": Rows(to=Parquet("x/lines")), "b": Rows(to=Parquet("y/lines"))}
    pipeline = Pipeline("p", Source("x.jsonl", model(int)), outputs=outputs)
    assert pipeline.run().status == "published"
    result = pipeline.run(output="o")
    assert result.status == "failed"
    assert "outputs a and b are the same" in (result.error or {})["message"]
    twice = Pipeline("q", Source("x.jsonl", model(int)), outputs=dict.fromkeys("ab", Rows(to=Parquet("z"))))
    with pytest.raises(assay.ConfigurationError, match="outputs a and b are the same"):
        twice.check()


def test_rows_cannot_be_merged(project: Path) -> None:
    pipeline = Pipeline("p", Source("x.jsonl", model(int)), outputs={"a": Rows(to=Parquet("o", mode="merge"))})
    (project / "x.jsonl").write_text("")
    with pytest.raises(assay.ConfigurationError, match="rows cannot be merged"):
        pipeline.check()


class Item(BaseModel):
    sku: str
    n: int


class Basket(BaseModel):
    id: str
    lines: list[Item]


def by_n(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.sort("n", "sku")


def test_records_are_counted_where_their_rows_are_scattered(project: Path) -> None:
    numbers = {str(i): [(7 * i + 3 * n) % 50 for n in range(10)] for i in range(1000)}
    baskets = [{"id": one, "lines": [{"sku": f"s{one}", "n": n} for n in lines]} for one, lines in numbers.items()]
    (project / "x.jsonl").write_text("\n".join(json.dumps(one) for one in baskets))
    source = Source("x.jsonl", Basket, reject_with="id")
    plain = Pipeline("p", source, [Explode("lines"), by_n], {"r": Rows(to=Parquet("o"))})
    assert plain.run().raise_for_status().counts == {"read": 1000, "written": 1000, "filtered": 0, "rejected": 0}
    few, none = Filter("few", pl.col("n") < 2), Filter("none", pl.col("n") < 1)
    filtering = Pipeline("p", source, [Explode("lines"), by_n, few, none], {"r": Rows(to=Parquet("o"))})
    result = filtering.run().raise_for_status()
    with_few = sum(min(lines) < 2 for lines in numbers.values())
    with_none = sum(min(lines) < 1 for lines in numbers.values())
    assert result.counts["written"] == with_none > 0
    assert result.ledger["filtered"]["few"] == 1000 - with_few
    assert result.ledger["filtered"]["none"] == with_few - with_none


class Paid(BaseModel):
    doc: int
    amt: int


def test_a_conflict_is_not_published_by_a_replay(project: Path) -> None:
    (project / "x.jsonl").write_text('{"doc":1,"amt":1}\n{"doc":1,"amt":7}\n{"doc":2,"amt":"x"}\n')
    source = Source("x.jsonl", Paid, key=["doc"])
    outputs: dict[str, Any] = {"r": Rows(to=Parquet("o")), "g": GroupBy(total=Sum("amt"), to=Parquet("g"))}
    pipeline = Pipeline("p", source, [Deduplicate()], outputs)
    run = pipeline.run().raise_for_status()
    again = replay(pipeline, run.id)
    assert (again.status, again.counts["written"]) == ("published", 0)
    assert run.rejects.height == again.rejects.height == 2
    with closing(RunStore(Settings.load().run_store_url)) as store:
        store.edit_reject(run.id, 1, b'{"doc":1,"amt":9}')
        taken = replay(pipeline, run.id)
        assert "1 of these records have a key that is published already, such as 1" in (taken.error or {})["message"]
        numbers = {letter.errors[0]["type"]: letter.number for letter in store.dead_letters(run.id)}
        store.edit_reject(run.id, numbers["duplicate_conflict"], b'{"doc":3,"amt":9}')
        store.edit_reject(run.id, numbers["int_parsing"], b'{"doc":2,"amt":5}')
        assert replay(pipeline, run.id).raise_for_status().counts["written"] == 2
    assert pl.read_parquet("o/*.parquet").sort("doc").rows() == [(1, 1), (2, 5), (3, 9)]
    assert pl.read_parquet("g/*.parquet").rows() == [(15,)]


def test_a_root_model_is_no_element(project: Path) -> None:
    class Whole(RootModel[dict[str, str]]):
        pass

    with pytest.raises(assay.ConfigurationError, match="Whole is a RootModel, which no element of XML is"):
        assay.read(b"<r><a/></r>", Whole, format="xml")


def test_money_is_added_to_the_last_digit() -> None:
    from assay.errors import LedgerError
    from assay.runs.ledger import Ledger, Money

    large = Decimal("9" * 29 + ".98")
    ledger = Ledger(money={"EUR": Money(list=large, net=large, tax=Decimal("0.01"), gross=large)})
    with pytest.raises(LedgerError):
        ledger.check({})
    sums = Money()
    sums.add(Money(net=large))
    sums.add(Money(net=Decimal("0.01")))
    assert sums.as_json()["net"] == "9" * 29 + ".99"


class Stated(BaseModel):
    net: Number
    tax: Number
    gross: Number
    currency: str = "EUR"


def test_stated_money_that_does_not_add_up_is_a_reject_and_stops_no_run(project: Path) -> None:
    rows = [("1.00", "0.19", "1.19"), ("1.00", "0.19", "1.20"), ("1.00", "0.19", "1.18")]
    (project / "x.jsonl").write_text(
        "\n".join(json.dumps(dict(zip(("net", "tax", "gross"), row, strict=True))) for row in rows)
    )
    money = MoneyColumns(list=None)
    pipeline = Pipeline("p", Source("x.jsonl", Stated), outputs={"r": Rows(to=Parquet("o"))}, money=money)
    result = pipeline.run().raise_for_status()
    assert result.counts == {"read": 3, "written": 1, "filtered": 0, "rejected": 2}
    assert [errors[0]["type"] for errors in result.rejects["errors"]] == ["money_does_not_add_up"] * 2


def test_a_file_name_that_is_no_text(project: Path) -> None:
    (project / os.fsdecode(b"x\xff.jsonl")).write_text('{"doc":1,"amt":1}\n')
    found = assay.read(str(project / "*.jsonl"), Paid, trace=True).frame
    assert found["_source"].to_list() == [str(project / r"x\xff.jsonl")]


def test_senseless_options_are_refused(project: Path) -> None:
    class Empty(BaseModel):
        pass

    (project / "x.jsonl").write_text('{"doc":1,"amt":1}\n')
    pipeline = Pipeline("p", Source("x.jsonl", Paid), outputs={"r": Rows(to=Parquet("o"))})
    for budget in ("101%", "1.5", "-1", "1%%"):
        with pytest.raises(assay.ConfigurationError, match="max_rejects is a number"):
            pipeline.run(max_rejects=budget)
    with pytest.raises(assay.ConfigurationError, match="an output's name"):
        Pipeline("p", Source("x.jsonl", Paid), outputs={"../evil": Rows(to=Parquet("o"))})
    for wrong in ({"decimals": "38,6"}, {"decimals": (0, 0)}, {"decimals": (38, -2)}, {"datetimes": "UTC"}):
        with pytest.raises(assay.ConfigurationError):
            assay.scan(b"", Paid, format="jsonl", **wrong)
    with pytest.raises(assay.ConfigurationError, match="Empty: has no fields"):
        assay.scan(b"", Empty, format="jsonl")


def test_documents_of_csv_are_known_whatever_parts_its_cells(project: Path) -> None:
    class Item(BaseModel):
        order_id: str
        quantity: int

    (project / "a.csv").write_text("order_id;quantity\na;1\na;x\nb;2\n")
    pipeline = Pipeline(
        "semicolons",
        source=Source("a.csv", Item, reject_with="order_id", delimiter=";"),
        outputs={"lines": Rows(to=Parquet("out/lines"))},
    )
    assert pipeline.run().counts == {"read": 3, "written": 1, "filtered": 0, "rejected": 2}
