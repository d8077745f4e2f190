"""A rejected line rejects its document, however its number is written and wherever it stands."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, StringConstraints

import assay
from assay import Parquet, Pipeline, Rows, Source, XPath

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
