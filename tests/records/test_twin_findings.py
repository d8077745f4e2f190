"""Where the compiled verdict once differed from the reference's, or cost far more."""

from __future__ import annotations

import datetime as dt
import enum
import gc
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model
from tests.records.twins import compare, outcome

import assay
from assay import XPath
from assay.records.batches import Format
from assay.settings import Settings

JSONL, JSON, XML = Format("jsonl"), Format("json"), Format("xml")


class Folder(enum.Enum):
    ROOT = "C:\\temp"
    OTHER = "q"


class Plain(enum.Enum):
    R = "r"


class Node(BaseModel):
    v: int
    kids: list[Node] = []


def one(annotation: Any, **more: Any) -> type[BaseModel]:
    return create_model("One", x=(annotation, ...), **more)


@pytest.mark.parametrize("choice", [Literal["a\\nb", "q"], Folder, list[Literal["a\\nb", "q"]]])
def test_an_escape_is_not_the_choice_that_looks_like_it(choice: Any) -> None:
    many = "list" in str(choice)
    first, second = ('["q"]', '["a\\nb","C:\\temp"]') if many else ('"q"', '"a\\nb"')
    data = f'{{"x":{first}}}\n' * 30 + f'{{"x":{second}}}\n{{"x":"C:\\temp"}}\n{{"x":"C:\\\\temp"}}\n'
    compare(one(choice), data.encode(), JSONL)


def test_a_raw_tab_is_not_the_choice_that_has_one() -> None:
    rows = [b'{\n\t"x":"q"\n\t}'] * 30 + [b'{\n\t"x":"a\tb"\n\t}']
    compare(one(Literal["a\tb", "q"]), b"[" + b",\n\t".join(rows) + b"]", JSON)


def test_a_reference_is_not_the_choice_that_is_written_so() -> None:
    rows = b"".join(b"<i>\r\n<x>%s</x>\r\n</i>\r\n" % text for text in [b"x"] * 30 + [b"&amp;", b"&amp;amp;"])
    compare(one(Literal["&amp;", "x"]), b"<r>\r\n" + rows + b"</r>", XML)


@pytest.mark.parametrize("first", ["code", "parts"])
def test_a_field_in_an_element_that_is_an_item_elsewhere_is_not_absent(first: str) -> None:
    amount = create_model("Amount", amount=(int, 0))
    fields: dict[str, Any] = {
        "code": (Annotated[str, XPath("part/code")], "none"),
        "parts": (Annotated[list[amount], XPath("part")], []),
    }
    model = create_model("One", **{name: fields[name] for name in sorted(fields, key=lambda name: name != first)})
    row = "<i><part><code>q</code><amount>1</amount></part></i>"
    compare(model, f"<r>{row * 30}</r>".encode(), XML)


def test_a_list_is_gathered_from_several_elements() -> None:
    fields: dict[str, Any] = {
        "codes": (Annotated[list[str], XPath("part/code")], []),
        "amounts": (Annotated[list[int], XPath("part/more/amount"), Field(min_length=1)], ...),
    }
    part = "<part><code>q{}</code><more>{}</more></part>"
    parts = [part.format(number, f"<amount>{number}</amount>" * (number % 3 + 1)) for number in range(120)]
    parts += ["<part><code>x</code></part>"] * 3 + [part.format("y", "<amount>one</amount>")]
    rows = [f"<i>{''.join(parts[begin : begin + 3])}</i>" for begin in range(0, len(parts), 3)]
    assert compare(create_model("One", **fields), f"<r>{''.join(rows)}<i></i></r>".encode(), XML) <= 10


@pytest.mark.parametrize("space", ["urn:" + "x" * 300, "urn:a&amp;b"])
def test_a_namespace_is_no_other_one_however_long(space: str) -> None:
    row = '<i><p:x xmlns:p="{}">q</p:x></i>'
    rows = [row.format(space)] * 30 + [row.format(space + "y")]
    how = Format("xml", record="i", namespaces={"p": space.replace("&amp;", "&")})
    model = create_model("One", x=(str, Field(alias="p:x")))
    compare(model, f"<r>{''.join(rows)}</r>".encode(), how)


@pytest.mark.parametrize("annotation", [dt.date, dt.date | None])
def test_a_date_without_quotation_marks_is_no_json(annotation: Any) -> None:
    compare(one(annotation), b'{"x":"2024-01-01"}\n' * 5 + b'{"x":null}\n{"x":2024-01-01}\n', JSONL)


@pytest.mark.parametrize("feed", [b'{"a":1}\n' * 30, b'{"a":1,"x":2}\n' * 30 + b'{"a":1}\n'])
@pytest.mark.parametrize(
    "field",
    [
        (int, Field(default=-1, ge=0, validate_default=True)),
        (Node, Field(None, validate_default=True)),
        (Annotated[list[int], Field(min_length=1)], Field(default_factory=list, validate_default=True)),
    ],
)
def test_a_default_that_is_validated_is(feed: bytes, field: Any) -> None:
    model = create_model("Defaults", a=(int, ...), x=field)
    compare(model, feed, JSONL)
    compare(
        create_model("Around", inner=(model, ...)), b"".join(b'{"inner":%s}\n' % line for line in feed.split()), JSONL
    )
    compare(model, b"a\n" + b"1\n" * 30, Format("csv"))
    compare(model, b"<r>" + b"<i><a>1</a></i>" * 30 + b"</r>", XML)


@pytest.mark.parametrize("annotation", [Literal[Plain.R], Literal[Plain.R, "g"]])
def test_a_member_of_an_enum_in_a_literal_is_not_its_value(annotation: Any) -> None:
    compare(one(annotation), b'{"x":"r"}\n' * 30 + b'{"x":"g"}\n', JSONL)


@pytest.mark.parametrize("damage", [b"&bogus;", b"a\x01b", b"a]]>b", b"\xef\xbf\xbf", b"a\rb", b"&amp;"])
def test_what_nobody_asks_for_must_be_xml_all_the_same(damage: bytes) -> None:
    row = b'<i y="1">\r\n<x>1</x>\r\n<n>hi</n>\r\n</i>\r\n'
    for odd in (row.replace(b"hi", damage), row.replace(b'y="1"', b'y="%s"' % damage)):
        data = b"<r>\r\n" + row * 3_000 + odd + row * 20 + b"</r>"
        compare(one(int), data, XML)


def test_a_model_that_holds_itself_inside_another() -> None:
    compare(one(Node), b'{"x":{"v":1,"kids":[{"v":2,"kids":[{"v":3}]}]}}\n' * 12, JSONL)
    compare(one(list[Node]), b'{"x":[{"v":1,"kids":[{"v":2}]}]}\n' * 12, JSONL)


def test_an_empty_choice_in_csv_may_be_null() -> None:
    data = b"x,b\n" + b"x,1\n" * 30 + b'"",1\n  ,1\n,1\n'
    for annotation in (Literal["", "x"] | None, dt.timedelta | None, int | None):
        compare(one(annotation), data, Format("csv", empty_as_null=True))


def test_a_default_of_another_type_is_a_reject() -> None:
    for field in ((int, 1.5), (list[str], [1]), (int, "x")):
        model = create_model("Stray", a=(int, ...), h=field)
        _, rejects, _, _ = outcome(model, b'{"a":1}\n' * 3, JSONL, Settings())
        assert rejects["stage"].to_list() == ["represent"] * 3
        compare(model, b'{"a":1}\n' * 3, JSONL)


def test_carriage_returns_behind_a_quote_end_no_cell() -> None:
    compare(create_model("Two", k=(str, ...), l=(str, ...)), b"k,l\n" + b'1,"l\nm"\rq\n1,"x"\r\r\n' * 30, Format("csv"))


def long_key() -> bytes:
    return b'{"x":1,"' + b"k" * 60_000 + b'":1}\n' + b'{"x":1}\n' * 100_000


def many_keys() -> bytes:
    rows = (
        b'{"x":1,' + b",".join(b'"k%d":%d' % (15 * row + key, key) for key in range(15)) + b"}\n" for row in range(100)
    )
    return b"".join(rows) + b'{"x":1}\n' * 100_000


def long_lists() -> bytes:
    return (b'{"x":1,"a":[' + b",".join([b"1"] * 20_000) + b"]}\n") * 80


@pytest.mark.parametrize("feed", [long_key, many_keys, long_lists])
def test_odd_records_cost_no_more_than_by_the_reference(feed: Any) -> None:
    data = feed()
    model = create_model("Listed", x=(int, ...), a=(list[int], [])) if feed is long_lists else one(int)
    seconds = []
    for compiled in (True, False):
        begin = time.process_time()
        frame, *_ = outcome(model, data, JSONL, Settings(compiled=compiled))
        seconds.append(time.process_time() - begin)
        assert frame.height == data.count(b"\n")
    assert seconds[0] < 3 * seconds[1] + 0.5


def test_a_scan_may_be_left_early(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "many.jsonl"
    path.write_bytes(b'{"x":1,"y":"some more text to fill the line with, so that there are blocks"}\n' * 300_000)
    batches = assay.scan(path, one(int), rejects="drop").collect_batches()
    next(iter(batches))
    del batches
    gc.collect()
    assert assay.scan(path, one(int), rejects="drop").head(3).collect().height == 3
    gc.collect()
    assert "cannot join" not in capfd.readouterr().err
