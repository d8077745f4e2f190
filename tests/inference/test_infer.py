import csv
import datetime as dt
import io
import json
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inference.reading_back import accepted, model_of

from assay.errors import ConfigurationError, SourceError
from assay.inference import infer_model
from assay.inference.names import module_name

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"


def jsonl(*rows: Any) -> bytes:
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def annotations(source: str) -> dict[str, str]:
    """Field -> what stands behind its colon, of all classes."""
    lines = [line.strip() for line in source.splitlines() if line.startswith("    ") and ": " in line]
    return dict(line.split(": ", 1) for line in lines)


def types_of(*rows: Any, **options: Any) -> dict[str, str]:
    return annotations(accepted(jsonl(*rows), format="jsonl", **options)[0].source)


def test_the_model_of_orders_is_what_one_would_write() -> None:
    rows = [
        {
            "id": n,
            "no": f"{n:05}",
            "price": 9.5 if n % 2 else 10,
            "total": "7.25",
            "status": ("open", "paid")[n % 2],
            "on": "2026-01-02",
            "at": "2026-01-02T03:04:05+01:00",
            "made": "2026-01-02 03:04:05.5",
            "open": "09:30:00",
            "uid": "8d8ac610-566d-4ef0-9c22-186b2a5ed793",
            "gift": n % 3 == 0,
            "ship to": {"city": "X", "zip": None if n % 2 else "1"},
            "lines": [{"sku": "a", "qty": 1}] * (n % 3),
            "tags": ["x"],
            **({"note": "hello"} if n % 5 else {}),
        }
        for n in range(60)
    ]
    found, read = accepted(jsonl(*rows), format="jsonl", name="Order")
    assert found.source == (
        '''"""Order: inferred from the 60 records of <bytes>."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, NaiveDatetime

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]


class ShipTo(BaseModel):
    city: str
    zip: str | None = None


class Line(BaseModel):
    sku: str
    qty: int


class Order(BaseModel):
    id: int
    no: str
    price: Money
    total: Money
    status: Literal["open", "paid"]
    on: dt.date
    at: AwareDatetime
    made: NaiveDatetime
    open: dt.time
    uid: UUID
    gift: bool
    ship_to: ShipTo = Field(alias="ship to")
    lines: list[Line]
    tags: list[str]
    note: str | None = None


# How to use it, saved as order.py:
#
#     import assay
#     from order import Order
#
#     frame = assay.scan("<bytes>", Order, format="jsonl").collect()
'''
    )
    assert read.frame.schema["price"] == pl.Decimal(12, 2)
    assert read.frame.schema["at"] == pl.Datetime("us", "UTC")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.decimals(-1000, 1000, places=3).map(float)
    | st.text(max_size=6)
    | st.sampled_from(["", "1", "1.50", "007", "+49 1", "2026-01-02", "2026-02-30", "2026-01-02T03:04:05Z"])
    | st.sampled_from(
        ["2026-01-02 03:04", "09:30:00", "true", "1e5", "8d8ac610-566d-4ef0-9c22-186b2a5ed793", "x", " 1"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abC_1é") | st.text(max_size=3), inner),
    max_leaves=6,
)
keys = st.sampled_from(
    ["a", "b", "Price", "class", "model_x", "_id", "json", "2nd", "dt", "str", "A B", "a-b", "", "😀"]
)


@given(st.lists(st.dictionaries(keys, json_values, max_size=5), min_size=1, max_size=8), st.sampled_from([1, 3, None]))
def test_any_json_is_accepted_by_the_model_of_it(rows: list[dict[str, Any]], sample: int | None) -> None:
    data = jsonl(*rows)
    if not any(rows):
        with pytest.raises(SourceError, match="nothing to infer from"):
            infer_model(data, format="jsonl", sample=sample)
        return
    found, _ = accepted(data, format="jsonl", sample=sample)
    assert found.accepted == found.read == len(rows)


texts = st.sampled_from(
    [
        "",
        " ",
        "1",
        " 1 ",
        "2.5",
        "-0",
        "007",
        "true",
        "TRUE",
        "2026-01-02",
        "2026-01-02 03:04:05Z",
        "x",
        '"',
        "\n",
        "1,5",
    ]
)


@given(
    st.lists(st.lists(texts, min_size=3, max_size=3), min_size=1, max_size=8),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from([1, None]),
)
def test_any_csv_is_accepted_by_the_model_of_it(rows: list[list[str]], quoting: Any, sample: int | None) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=quoting).writerows([["a", "Unit Price", "c"], *rows])
    found, _ = accepted(out.getvalue().encode(), format="csv", sample=sample)
    assert found.accepted == found.read == len(rows)


@st.composite
def elements(draw: st.DrawFn, tag: str = "r", depth: int = 0) -> str:
    names = draw(st.lists(st.sampled_from(["a", "b", "Id"]), max_size=2, unique=True))
    attributes = "".join(f' {name}="{draw(texts_of_xml)}"' for name in names)
    attributes += draw(st.sampled_from(["", "", "", ' xsi:nil="true"'])) if depth and not attributes else ""
    tags = st.lists(st.sampled_from(["a", "b", "Id", "x-y", "n:a"]), max_size=3)
    inner = "".join(draw(elements(child, depth + 1)) for child in draw(tags)) if depth < 3 else ""
    if "nil" in attributes:
        inner = ""
    elif not inner or draw(st.integers(0, 9)) == 0:
        inner += draw(texts_of_xml)
    return f"<{tag}{attributes}>{inner}</{tag}>"


texts_of_xml = st.sampled_from(
    ["", "", " ", "1", " 1 ", "2.5", "007", "true", "2026-01-02", "x", "2026-01-02T03:04:05Z"]
)
XSI = "http://www.w3.org/2001/XMLSchema-instance"


@given(st.lists(elements(), min_size=1, max_size=5), st.sampled_from([1, None]))
def test_any_xml_is_accepted_by_the_model_of_it(records: list[str], sample: int | None) -> None:
    data = f'<root xmlns:n="urn:n" xmlns:xsi="{XSI}">{"".join(records)}</root>'.encode()
    if all(record in ("<r></r>", "<r> </r>") for record in records):
        with pytest.raises(SourceError, match="nothing to infer from"):
            infer_model(data, format="xml", sample=sample)
        return
    found, _ = accepted(data, format="xml", sample=sample)
    assert found.accepted == found.read == len(records)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], "int"),
        ([2**63], "Decimal0"),
        ([10**60], "Any"),
        ([1.5, 2], "Decimal2"),
        ([1.12345], "Decimal5"),
        ([1.3e-10], "Decimal11"),
        ([1e300], "float"),
        ([float("nan")], "float"),
        (["+49 1"], "str"),
        (["007"], "str"),
        (["12"], "str"),
        (["1.5", "2"], "Decimal2"),
        (["1.5", "02"], "str"),
        (["1e3"], "str"),
        (["12,50"], "str"),
        (["2026-01-02", "2026-01-02T00:00:00"], "NaiveDatetime"),
        (["2026-01-02T00:00:00", "2026-01-02T00:00:00Z"], "str"),
        (["2026-02-30"], "str"),
        (["true"], "str"),
        ([1, "x"], "NumberOrText"),
        ([1, "2"], "int"),
        ([1, "2.5"], "Decimal2"),
        ([True, 1], "bool | int"),
        ([None], "str | None = None"),
        ([None, 1], "int | None = None"),
        ([[]], "list[Any]"),
        ([[1, None]], "list[int | None]"),
        ([{}], "dict[str, Any]"),
        ([{"a": 1}, [1]], "X | list[int]"),
    ],
)
def test_types_of_values(values: list[Any], expected: str) -> None:
    assert types_of(*({"x": value} for value in values))["x"] == expected


def test_a_mapping_is_told_from_an_object() -> None:
    rows = [{"prices": {f"sku{10 * n + i}": 1.5 for i in range(10)}} for n in range(40)]
    assert types_of(*rows)["prices"] == "dict[str, Money]"


def test_money_is_never_a_float_and_has_room_to_grow() -> None:
    rows = [{"price": 10, "total_cents": 10, "amount": 1234567890.5, "tax": "0", "tax_rate": 19} for _ in range(3)]
    found, read = accepted(jsonl(*rows), format="jsonl")
    assert annotations(found.source)["total_cents"] == "int"
    schema = read.frame.schema
    assert [schema[name] for name in ("price", "amount", "tax", "tax_rate")] == [
        pl.Decimal(12, 2),
        pl.Decimal(14, 2),
        pl.Decimal(12, 2),
        pl.Decimal(12, 2),
    ]


@pytest.mark.parametrize(
    ("rows", "doubt"),
    [
        ([{"price": 1.005}] + [{"price": 1.25}] * 999, "price: 1 of 1,000 have 3 decimals, such as 1.005"),
        ([{"a": "12,50"}] * 3, 'a: some look like decimals with a comma ("12,50")'),
        ([{"a": "31.12.2026"}] * 3, "a: some look like dates that are not written YYYY-MM-DD"),
        ([{"a": "1.5"}] * 9 + [{"a": "x"}], 'a: 9 of 10 are numbers, others not, such as "x": a text'),
        ([{"a": "1.5"}, {"a": ""}], "a: 1 of 2 are empty texts, the others would be Decimal2"),
        ([{"a": 1}, {"a": "x"}], "a: a number in 1 and a text in 1; numbers are read as texts"),
        ([{"a": None, "b": None}], "always null, so that the type is a guess: a, b"),
        ([{"a": "2026-01-02T00:00:00"}], "a: every one is at midnight; perhaps a dt.date is meant"),
        ([{"a": float("nan")}], "a: 1 of 1 are NaN or infinite, which only a float takes"),
        ([{"a": 1}, b'{"a": ', b"[1]"], "1 of 3 records is rejected as json_invalid, first <bytes>:2:"),
        ([{"orders": [{"a": 1}] * 3}], "one record with 3 of orders; perhaps say --record orders"),
    ],
)
def test_doubts_are_told(rows: list[Any], doubt: str) -> None:
    found, _ = accepted(jsonl(*rows), format="jsonl")
    assert [one for one in found.doubts if one.startswith(doubt)], found.doubts


def test_what_lies_behind_the_sample_widens_the_model() -> None:
    rows = [{"a": 1, "s": ("x", "y")[n % 2]} for n in range(60)]
    odd = [{"a": 2.5, "s": "z"}, {"s": "x", "b": {"c": [1]}}, {"a": "n/a", "s": None}]
    narrow, wide = types_of(*rows), types_of(*rows, *odd, sample=50)
    assert narrow == {"a": "int", "s": 'Literal["x", "y"]'}
    assert wide["a"] == "NumberOrText | None = None"
    assert wide["s"] == 'Literal["x", "y", "z"] | None = None'
    assert wide["c"] == "list[int]"


def test_what_comes_anew_is_no_choice() -> None:
    rows = [
        {
            "status": ("open", "paid")[n % 2],
            "customer": ("acme", "globex")[n % 2],
            "billing_month": ("jan", "feb")[n % 2],
        }
        | {"bill": ("2026-01", "2026-02")[n % 2], "tariff": ("day", "night")[n % 2], "plan": ("S1", "S2", "max")[n % 3]}
        for n in range(60)
    ]
    assert types_of(*rows) == {
        "status": 'Literal["open", "paid"]',
        "customer": "str",
        "billing_month": "str",
        "bill": "str",
        "tariff": 'Literal["day", "night"]',
        "plan": "str",
    }


def test_names_that_python_or_pydantic_have_get_an_alias() -> None:
    row = {
        "class": 1,
        "copy": 1,
        "model_fields": 1,
        "_id": 1,
        "Order Date": 1,
        "2nd": 1,
        "str": 1,
        "order date": 1,
        "é": 1,
    }
    found, _ = accepted(jsonl(row), format="jsonl")
    assert {name: info.alias for name, info in model_of(found).model_fields.items()} == {
        "class_": "class",
        "copy_": "copy",
        "model_fields_": "model_fields",
        "id": "_id",
        "order_date": "Order Date",
        "field_2_nd": "2nd",
        "str_": "str",
        "order_date_2": "order date",
        "é": None,
    }


def test_nothing_of_the_data_is_executed() -> None:
    evil = '"""\nraise SystemExit("executed")\n"""\\'
    rows = [{evil: {evil: 1}, "x": evil, "y": ("a", "b'\"b")[n % 2]} for n in range(60)]
    found, read = accepted(jsonl(*rows), format="jsonl")
    assert found.accepted == 60
    assert read.frame["x"].unique().to_list() == [evil]


def test_csv_with_another_delimiter_and_empty_cells() -> None:
    data = b"\xef\xbb\xbfItem No;price;code;live\n1;1.5;01234;true\n2;;04567;\n"
    found, read = accepted(data, format="csv")
    assert found.format.delimiter == ";"
    assert found.format.empty_as_null is True
    assert 'delimiter=";"' in found.source
    assert "empty_as_null=True" in found.source
    assert read.frame.rows() == [(1, Decimal("1.50"), "01234", True), (2, None, "04567", None)]
    assert 'the row of names has no comma; read with delimiter=";"' in found.doubts
    bare = infer_model(b"1,2\n3,4\n", "csv")
    assert "the row of names looks like a record" in bare.doubts[0]
    named, _ = accepted(b"1,x\n3,y\n", format="csv", columns=["n", "t"])
    assert annotations(named.source) == {"n": "int", "t": "str"}


def test_xml_with_attributes_texts_namespaces_and_repeats() -> None:
    data = b"""<o:orders xmlns:o="urn:o" xmlns:c="urn:c"><o:order no="1"><c:id>a</c:id><o:id>7</o:id>
      <o:price currency="EUR"> 1.50 </o:price><o:line qty="1"/><o:line qty="2"/></o:order>
      <o:order no="2"><c:id>b</c:id><o:id>8</o:id><o:price currency="EUR">2</o:price><o:on>2026-01-02</o:on>
      </o:order></o:orders>"""
    found, read = accepted(data, format="xml")
    assert found.format.namespaces == {"c": "urn:c", "o": "urn:o"}
    assert 'namespaces={"c": "urn:c", "o": "urn:o"}' in found.source
    assert read.frame.rows() == [
        (1, "a", 7, {"currency": "EUR", "text": Decimal("1.50")}, [{"qty": 1}, {"qty": 2}], None),
        (2, "b", 8, {"currency": "EUR", "text": Decimal("2.00")}, [], dt.date(2026, 1, 2)),
    ]


def test_an_attribute_and_an_element_of_one_name() -> None:
    _, read = accepted(b'<r><x id="a"><id>1</id></x></r>', format="xml")
    assert read.frame.rows() == [("a", 1)]


def test_streams_are_read_again() -> None:
    found = infer_model(io.BytesIO(jsonl({"a": 1}, {"a": "x"})), "jsonl", sample=1)
    assert (found.read, found.accepted) == (2, 2)


@pytest.mark.parametrize(
    ("data", "options", "error", "words"),
    [
        (b"", {"format": "jsonl"}, SourceError, "no records that have any field"),
        (b"[1, 2]", {"format": "json"}, SourceError, "no records that have any field"),
        (b'{"a": 1}', {"format": "json", "record": "b"}, SourceError, 'no key "b"'),
        (b"<r/>", {"format": "xml"}, SourceError, "no records"),
        (b"{}", {}, ConfigurationError, "cannot tell the format"),
        (b"{}", {"format": "jsonll"}, ConfigurationError, 'Did you mean "jsonl"'),
        (b"{}", {"format": "jsonl", "name": "a b"}, ConfigurationError, "no name of a class"),
        (b'[{"a": 1}, {"a"', {"format": "json", "sample": 1}, SourceError, "ends"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*the file is empty")
def test_what_nothing_can_be_inferred_from(data: bytes, options: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        infer_model(data, **options)


SUITES = [
    "northwind/orders.json",
    "northwind/employees.json",
    "shopify/fixtures/order.json",
    "shopify/fixtures/products.json",
    "woocommerce/orders.json",
    "ms-samples/books.xml",
    "ms-samples/PurchaseOrders.xml",
    "superstore/superstore.csv",
    "spark-xml/books-complicated.xml",
    "spark-xml/books-namespaces.xml",
    "spark-xml/cars-iso-8859-1.xml",
    "spark-xml/gps-empty-field.xml",
    "spark-xml/null-numbers.xml",
    "fx-ecb/eurofxref-hist-90d-b.xml",
]


@pytest.mark.parametrize("name", SUITES)
def test_other_peoples_files_are_accepted_whole(suites: Path, name: str) -> None:
    found, _ = accepted(str(suites / name))
    assert found.accepted == found.read > 0


def test_what_is_printed_is_formatted_typed_and_used_as_it_says(tmp_path: Path, suites: Path) -> None:
    odd = [
        {"a b": n, "status": f"a rather long status {n % 9}", "class": None, "x" * 90: 1, "q": '"'} for n in range(200)
    ]
    sources: list[Any] = [*(str(suites / name) for name in SUITES), SAMPLE_DATA / "catalogue.xml", jsonl(*odd)]
    for number, source in enumerate(sources):
        found = infer_model(source, "jsonl" if isinstance(source, bytes) else None)
        (tmp_path / f"m{number}.py").write_text(found.source, "utf-8")
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", "."]
    done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,I,E4,E7,E9,UP", "."]
    done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11", "."]
    done = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_comment_at_the_end_can_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLE_DATA / "catalogue.xml", tmp_path / "cata'logue é.xml")
    found = infer_model("cata'logue é.xml")
    _, _, comment = found.source.partition("\n# How to use it, saved as product.py:\n#\n")
    (tmp_path / "product.py").write_text(found.source, "utf-8")
    usage = "\n".join(line.removeprefix("#     ").removeprefix("#") for line in comment.splitlines())
    monkeypatch.syspath_prepend(str(tmp_path))
    namespace: dict[str, Any] = {}
    exec(usage, namespace)
    assert namespace["frame"].height == found.read == 120


def test_the_sample_data_is_accepted() -> None:
    found, _ = accepted(str(SAMPLE_DATA / "orders" / "*.jsonl"))
    assert found.read - found.accepted == 3
    assert [doubt for doubt in found.doubts if doubt.startswith("3 of 1,333 records are rejected as json_invalid")]
    ubl = [str(path) for path in sorted((SAMPLE_DATA / "invoices").iterdir()) if b"<rsm:" not in path.read_bytes()]
    invoices, _ = accepted(ubl, record="Invoice|CreditNote")
    assert invoices.accepted == invoices.read == 14


@pytest.mark.parametrize("name", ["json", "class", "decimal", "pydantic", "lines"])
def test_what_is_said_of_the_module_hides_no_other(name: str) -> None:
    made = module_name(name)
    assert made == ("lines" if name == "lines" else f"{name}_model")
