"""The compiled verdict on XML against the reference's, record by record: verdict, value, errors, raw bytes, place."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal
from unittest import mock
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model
from tests.records.twins import compare, outcome

from assay import XPath
from assay.reading import xml_blocks
from assay.reading.xml_split import XmlSplitter
from assay.records.batches import Format
from assay.settings import Settings


class Part(BaseModel):
    """A nested model."""

    code: Annotated[str, Field(max_length=3)]
    amount: Annotated[Decimal, Field(max_digits=8, decimal_places=2)] | None = None


class Amount(BaseModel):
    """A part of it."""

    amount: str | None = None


#: Types of fields, and texts that they mostly take.
KINDS: dict[str, tuple[Any, st.SearchStrategy[str]]] = {
    "int": (Annotated[int, Field(ge=-5)], st.integers(-9, 999).map(str)),
    "decimal": (Annotated[Decimal, Field(max_digits=6, decimal_places=2)], st.sampled_from(["1.25", "-7", "99.9"])),
    "float": (float, st.sampled_from(["1.5", "-0.25", "17.0"])),
    "str": (str, st.sampled_from(["", "x", "é ü", " a ", "漢"])),
    "measured": (Annotated[str, Field(min_length=1, max_length=3)], st.sampled_from(["", "ab", "abcd"])),
    "literal": (Literal["a", "b c"], st.sampled_from(["a", "b c", " a "])),
    "bool": (bool, st.sampled_from(["true", "0", "Yes", "maybe"])),
    "date": (dt.date, st.sampled_from(["2024-02-29", "2023-02-29", " 2024-01-01 "])),
    "stamp": (AwareDatetime, st.sampled_from(["2024-02-29T12:00:00Z", "2024-02-29T12:00:00+02:00"])),
    "uuid": (UUID, st.uuids().map(str)),
    "timedelta": (dt.timedelta, st.sampled_from(["P1D", "1 day", "x"])),
    "literal int": (Literal[1, 2], st.sampled_from(["1", "2"])),
    "list": (list[int], st.integers(0, 9).map(str)),
    "dates": (Annotated[list[dt.date], Field(min_length=1, max_length=2)], st.sampled_from(["2024-02-29", "x"])),
}
MARKUP = ["&amp;", "&lt;", "&#65;", "<!-- c -->", "<![CDATA[1]]>", "<?p?>", "<b/>", "<b>1</b>", "]]>"]
REFERENCES = ["&quot;x&#xe9;&apos;", "&no;", "&#0;", "&#31;", "&#xD800;", "&#x1F600;", "&"]
SPACED = ["", " ", "\t1\n", "\r\n", "1 ", "\u00a01"]
ODD = st.sampled_from([*MARKUP, *REFERENCES, *SPACED, "1", "\ufffe", "007", "1e3", "\u0663"])
PARTS = st.tuples(st.sampled_from(["ab", "abcd", ""]), st.sampled_from([None, "1.5", "", "1.234"]))
ATTRIBUTES = st.sampled_from(
    ["", "", ' u="kg"', ' u="k&lt;g"', ' u="&no;"', ' u="lb"', " u='kg' v=\"a>b\"", ' xsi:nil="true"', ' xmlns="urn:z"']
)


NESTED: dict[str, dict[str, Any]] = {
    "none": {},
    "one": {"part": (Part | None, None)},
    "many": {"part": (list[Part], [])},
    "unit": {"u": (str, "none")},
    "path": {"code": (Annotated[str, XPath("part/code")], "none")},
    "gathered": {"codes": (Annotated[list[str], XPath("part/code")], [])},
    "gathered twice": {
        "codes": (Annotated[list[str], XPath("part/code"), Field(max_length=2)], []),
        "amounts": (Annotated[list[int], XPath("part/amount"), Field(min_length=1)], ...),
    },
    "path and many": {
        "code": (Annotated[str, XPath("part/code")], "none"),
        "parts": (Annotated[list[Amount], XPath("part")], []),
    },
    "many and path": {
        "parts": (Annotated[list[Amount], XPath("part")], []),
        "code": (Annotated[str, XPath("part/code")], "none"),
    },
}
#: Those of which a record may have several parts.
SEVERAL = ("many", "gathered", "gathered twice", "path and many", "many and path")
CONFIGS = st.sampled_from([ConfigDict(), ConfigDict(extra="forbid"), ConfigDict(str_strip_whitespace=True)])


@st.composite
def models(draw: st.DrawFn) -> tuple[type[BaseModel], list[tuple[str, str]], str]:
    """A model, the kinds of its fields by the names of their elements, and what it has besides."""
    fields: dict[str, Any] = {}
    kinds = []
    for number, kind in enumerate(draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))):
        name, annotation = f"f{number}", KINDS[kind][0]
        ways = {0: (annotation | None, None), 1: (annotation, Field(alias=f"{name}A")), 2: (annotation, None)}
        fields[name] = ways.get(how := draw(st.integers(0, 5)), (annotation, ...))
        kinds.append((f"{name}A" if how == 1 else name, kind))
    nested = draw(st.sampled_from(sorted(NESTED)))
    return create_model("Drawn", __config__=draw(CONFIGS), **fields, **NESTED[nested]), kinds, nested


def members_of(draw: st.DrawFn, kinds: list[tuple[str, str]], nested: str, oddness: int) -> list[str]:
    members = []
    for name, kind in kinds:
        several = kind in ("list", "dates") or oddness > 7
        for _ in range(draw(st.sampled_from([1, 1, 1, 0, 2])) if several else 1):
            text = draw(ODD) if oddness > 6 and draw(st.booleans()) else draw(KINDS[kind][1])
            attributes = draw(ATTRIBUTES) if oddness > 5 else ""
            members.append(f"<{name}{attributes}>{text}</{name}>" if text or oddness < 8 else f"<{name}/>")
    for _ in range(draw(st.integers(0, 3)) if nested in SEVERAL else draw(st.integers(0, 1))):
        code, amount = draw(PARTS)
        members.append(
            f"<part><code>{code}</code>" + ("" if amount is None else f"<amount>{amount}</amount>") + "</part>"
        )
    return draw(st.permutations(members)) if oddness == 9 else members


@st.composite
def feeds(draw: st.DrawFn) -> tuple[type[BaseModel], bytes]:
    model, kinds, nested = draw(models())
    indent = draw(st.sampled_from(["", "", "\n  ", "\r\n  "]))
    attributes = draw(st.sampled_from(["", "", ' u="1"']))
    between = draw(st.sampled_from(["", "\n"]))
    rows = []
    for _ in range(draw(st.integers(1, 10))):
        oddness = draw(st.integers(0, 9))
        members = members_of(draw, kinds, nested, oddness)
        row = f"<row{attributes}>{indent}{indent.join(members)}{indent}</row>"
        if oddness == 9 and draw(st.booleans()):
            place = draw(st.integers(0, len(row)))
            row = row[:place] + draw(st.sampled_from(["", "<", ">", "&", '"', "\x01", " "])) + row[place + 1 :]
        rows.append(row)
    start = draw(st.sampled_from(["<rows>", "<rows xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'>"]))
    return model, f"{start}{between}{between.join(rows)}{between}</rows>".encode()


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(feed=feeds(), size=st.sampled_from([60, 400, 10**6]), chunk=st.sampled_from([30, 10**6]), null=st.booleans())
def test_the_twins_agree(feed: tuple[type[BaseModel], bytes], size: int, chunk: int, null: bool) -> None:
    model, data = feed
    small = mock.patch.multiple(xml_blocks, CHUNK=chunk, _FAR=2 * chunk)
    with small, mock.patch.object(XmlSplitter, "wanted", chunk):
        compare(model, data, Format("xml", empty_as_null=null or None), size)


@pytest.mark.campaign
@settings(max_examples=15_000, suppress_health_check=list(HealthCheck))
@given(feed=feeds(), size=st.sampled_from([60, 400, 10**6]), chunk=st.sampled_from([30, 10**6]), null=st.booleans())
def test_the_twins_agree_at_length(feed: tuple[type[BaseModel], bytes], size: int, chunk: int, null: bool) -> None:
    model, data = feed
    small = mock.patch.multiple(xml_blocks, CHUNK=chunk, _FAR=2 * chunk)
    with small, mock.patch.object(XmlSplitter, "wanted", chunk):
        compare(model, data, Format("xml", empty_as_null=null or None), size)


class Weight(BaseModel):
    """A text with an attribute."""

    value: Annotated[Decimal, XPath("."), Field(max_digits=6, decimal_places=2)]
    unit: Annotated[str | None, XPath("@unit")] = None


class Box(BaseModel):
    """Lists in a list, whose elements have the names of others."""

    id: Annotated[int, XPath("id | box/id")]
    weights: Annotated[list[Weight], XPath("weight | total/weight")] = []
    notes: Annotated[list[str], Field(alias="note")] = []


class Shipment(BaseModel):
    """Boxes, and what stands in one place in some shipments and in another in others."""

    id: Annotated[str, XPath("id | head/id")]
    boxes: Annotated[list[Box], XPath("box | load/box")] = []
    weights: Annotated[list[Weight], Field(alias="weight")] = []
    total: Annotated[Weight | None, XPath("total | head/total")] = None


WEIGHTS = st.sampled_from(
    [
        '<weight unit="kg">1.50</weight>',
        '<weight unit="lb">2</weight>',
        '<weight unit="k&amp;g"> 3 </weight>',
        "<weight>4</weight>",
        '<weight unit="kg">x</weight>',
        '<weight unit="kg"/>',
        '<weight unit="kg"><b/></weight>',
        '<weight unit="kg">1<!-- c --></weight>',
    ]
)
USUAL = st.just('<weight unit="kg">1.50</weight>')


@st.composite
def shipments(draw: st.DrawFn) -> bytes:
    """Shipments that mostly look alike, some with longer lists, some with boxes in boxes."""
    gap = draw(st.sampled_from(["", "\n "]))
    rows = []
    for number in range(draw(st.integers(1, 12))):
        odd = draw(st.integers(0, 5)) == 0
        weight = WEIGHTS if odd else USUAL
        boxes = []
        for box in range(draw(st.integers(0, 25 if odd else 3))):
            inner = [f"<id>{box}</id>", *draw(st.lists(weight, max_size=3)), *["<note>n</note>"] * (box % 3)]
            inside = f"<box>{gap}{gap.join(inner)}{gap}</box>"
            boxes.append(f"<box>{gap}{inside}{gap}</box>" if odd and draw(st.booleans()) else inside)
        head = f"<head>{gap}<id>s</id>{gap}</head>" if odd and draw(st.booleans()) else f"<id>{number}</id>"
        several = [head, *boxes, *draw(st.lists(weight, max_size=2))]
        if draw(st.booleans()):
            several.append('<total unit="kg">9.00</total>')
        rows.append(f"<row>{gap}{gap.join(several)}{gap}</row>")
    return f"<rows>{gap}{gap.join(rows)}{gap}</rows>".encode()


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(data=shipments(), size=st.sampled_from([400, 10**6]), null=st.booleans())
def test_the_twins_agree_on_lists_in_lists(data: bytes, size: int, null: bool) -> None:
    compare(Shipment, data, Format("xml", empty_as_null=null or None), size)


@pytest.mark.campaign
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(data=shipments(), size=st.sampled_from([400, 10**6]), null=st.booleans())
def test_the_twins_agree_on_lists_in_lists_at_length(data: bytes, size: int, null: bool) -> None:
    compare(Shipment, data, Format("xml", empty_as_null=null or None), size)


def test_long_lists_and_texts_with_attributes_do_not_go_to_the_reference() -> None:
    row = "<row><id>1</id>{}<weight unit='kg'>1.5</weight></row>"
    boxes = "".join(
        f"<box><id>{n}</id><weight unit='kg'>1</weight><weight unit='lb'>2</weight></box>" for n in range(90)
    )
    data = "<rows>" + "".join(row.format(boxes[: boxes.find("<box><id>" + str(n))]) for n in range(60)) + "</rows>"
    assert compare(Shipment, data.encode(), Format("xml")) == 0


class Line(BaseModel):
    """A line of an invoice, as such are written."""

    id: Annotated[int, Field(alias="ID")]
    quantity: Annotated[Decimal, Field(alias="Quantity", max_digits=10, decimal_places=3)]
    unit: Annotated[str, XPath("Quantity/@unitCode")]
    amount: Annotated[Decimal, Field(alias="Amount", max_digits=12, decimal_places=2)]
    note: Annotated[str | None, Field(alias="Note")] = None
    price: Annotated[Decimal, XPath("Price/Amount"), Field(max_digits=12, decimal_places=2)]
    taxes: Annotated[list[Part], Field(alias="Tax")] = []


def invoice_lines(count: int, indent: str, namespace: str) -> bytes:
    prefix = "c:" if namespace else ""
    rows = []
    for number in range(count):
        inner = [
            f"<{prefix}ID>{number}</{prefix}ID>",
            f'<{prefix}Quantity unitCode="{"C62" if number % 3 else "KGM"}">{number}.5</{prefix}Quantity>',
            f'<{prefix}Amount currencyID="EUR">{number}.25</{prefix}Amount>',
            *([f"<{prefix}Note>größer</{prefix}Note>"] if number % 4 else []),
            f'<{prefix}Price><{prefix}Amount currencyID="EUR">1.50</{prefix}Amount></{prefix}Price>',
            *[f"<{prefix}Tax><{prefix}code>S{n}</{prefix}code></{prefix}Tax>" for n in range(number % 3)],
        ]
        rows.append(f"<{prefix}Line>{indent}{indent.join(inner)}{indent}</{prefix}Line>")
    start = f"<{prefix}Lines xmlns:c='urn:c'>" if namespace else "<Lines>"
    return f"{start}\n{chr(10).join(rows)}\n</{prefix}Lines>".encode()


@pytest.mark.parametrize("indent", ["", "\n    ", "\r\n\t"])
@pytest.mark.parametrize("namespace", ["", "urn:c"])
def test_no_clean_record_goes_to_the_reference(indent: str, namespace: str) -> None:
    data = invoice_lines(3_000, indent, namespace)
    assert compare(Line, data, Format("xml")) == 0
    assert compare(Line, data.replace(b"C62", b"C&#54;&#x32;&amp;"), Format("xml")) == 0
    assert compare(Line, data.replace(b"1.25<", b"<![CDATA[1.25]]><", 1), Format("xml")) == 1


def test_a_record_that_is_not_well_formed_ends_the_file_where_it_stands() -> None:
    data = invoice_lines(3_000, "", "")
    broken = data.replace(b"<ID>2000</ID>", b"<ID>2000</Id>")
    frame, _, end, _ = outcome(Line, broken, Format("xml"), Settings())
    assert frame.height == 2_000
    assert "not well-formed XML at line 2002: mismatched tag" in end
    assert compare(Line, broken, Format("xml")) <= 2_001
