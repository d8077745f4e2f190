import io
import json
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.cli.using import assay


@pytest.fixture
def orders(project: Path) -> Path:
    rows = [{"id": n, "price": 1.25 if n else 1.005, "status": ("open", "paid")[n % 2]} for n in range(100)]
    path = project / "orders.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"id": \n')
    return path


def test_the_model_is_on_standard_output_and_the_doubts_are_on_the_other(orders: Path) -> None:
    done = assay("infer", "orders.jsonl")
    assert done.exit_code == 0
    assert done.stdout.startswith('"""Order: inferred from the 101 records of orders.jsonl."""\n')
    assert 'status: Literal["open", "paid"]' in done.stdout
    price, malformed, accepted = done.stderr.splitlines()
    assert price == "doubt: price: 1 of 100 have 3 decimals, such as 1.005"
    assert malformed.startswith("doubt: 1 of 101 records is rejected as json_invalid, first orders.jsonl:101: Invalid")
    assert accepted == "accepts 100 of 101 records"


def test_the_model_runs_in_a_pipeline_without_an_edit(orders: Path, project: Path) -> None:
    model = assay("infer", "orders.jsonl", "--name", "Sale", "--sample", "all").stdout
    (project / "pipelines" / "sales.py").write_text(
        model
        + "\n\nfrom assay import Parquet, Pipeline, Rows, Source\n\npipeline = Pipeline(\n"
        + '    "sales", Source("orders.jsonl", Sale), outputs={"rows": Rows(to=Parquet("out/sales"))}\n)\n'
    )
    assert assay("check", "sales").exit_code == 0
    assert assay("run", "sales").exit_code == 0
    assert pl.read_parquet("out/sales/*.parquet").schema["price"] == pl.Decimal(13, 3)


def test_options_reach_the_model_and_the_call(project: Path) -> None:
    (project / "a.txt").write_text("1;x\n2;'y;'\n")
    done = assay("infer", "a.txt", "--format", "csv", "--delimiter", ";", "--quote", "'", "--columns", "n,t")
    assert 'scan("a.txt", A, format="csv", delimiter=";", quote="\'", columns=["n", "t"])' in done.stdout
    assert done.stderr == "accepts 2 of 2 records\n"
    (project / "b.xml").write_text('<r xmlns:x="urn:x"><x:a><n>1</n></x:a><y/></r>')
    done = assay("infer", "b.xml", "--record", "p:a", "--namespace", "p=urn:x")
    assert 'scan("b.xml", A, record="p:a", namespaces={"p": "urn:x"})' in done.stdout


def test_standard_input(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Piped:
        buffer = io.BytesIO(b'{"a": 1}\n{"a": 2.5}\n')

    monkeypatch.setattr(sys, "stdin", Piped)
    done = assay("infer", "-", "--format", "jsonl", "--sample", "1")
    assert "    a: Decimal2\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["none.jsonl"], 1, "none.jsonl: no such file"),
        (["orders.jsonl", "--sample", "0"], 2, "neither a number of records"),
        (["orders.jsonl", "--namespace", "x"], 2, "not PREFIX=URI"),
        (["orders.jsonl", "--name", "1x"], 2, "no name of a class"),
        (["orders.jsonl", "--format", "jsn"], 2, 'Did you mean "json"'),
        (["orders.jsonl", "--delimiter", ";"], 2, 'takes no option "delimiter"'),
        (["orders.jsonl", "--record", "x"], 2, 'takes no option "record"'),
        ([], 2, "FILE"),
    ],
)
def test_wrong_use(orders: Path, arguments: list[str], status: int, words: str) -> None:
    done = assay("infer", *arguments)
    assert done.exit_code == status
    assert words in done.stderr
    assert done.stdout == ""
