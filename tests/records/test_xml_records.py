import json
from decimal import Decimal
from typing import Annotated

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

import assay
from assay.errors import ConfigurationError
from assay.records import EmptySourceWarning

Amount = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]


class Price(BaseModel):
    amount: Annotated[Amount, assay.XPath("text()")]
    currency: str


class Book(BaseModel):
    id: str
    title: str
    price: Price
    author: list[str]
    year: int | None = None


BOOKS = b"""<?xml version="1.0"?>
<books>
  <book id="1"><title> A &amp; <![CDATA[B]]> </title><price currency="EUR"> 1.50 </price><author>x</author></book>
  <book id="2"><title>C<!-- no -->D</title><price currency="EUR">2</price><author>x</author><author>y</author>
    <year xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"/></book>
  <book id="3"><title>E</title><title>F</title><price currency="EUR">2</price></book>
  <book id="4"><title>G</title><price currency="EUR"><b>1</b>2</price><author/></book>
</books>"""


def test_texts_attributes_nested_and_repeated() -> None:
    result = assay.read(BOOKS, Book, format="xml", trace=True)
    assert result.frame.select("id", "title", "author", "year", "_line").to_dicts() == [
        {"id": "1", "title": " A & B ", "author": ["x"], "year": None, "_line": 3},
        {"id": "2", "title": "CD", "author": ["x", "y"], "year": None, "_line": 4},
    ]
    assert result.frame["price"].to_list() == [
        {"amount": Decimal("1.50"), "currency": "EUR"},
        {"amount": Decimal("2.00"), "currency": "EUR"},
    ]


def test_what_stands_twice_or_has_children_is_rejected_not_joined() -> None:
    rejects = assay.read(BOOKS, Book, format="xml").rejects.to_dicts()
    assert [[(e["loc"], e["type"]) for e in r["errors"]] for r in rejects] == [
        [("title", "string_type"), ("author", "missing")],
        [("price.amount", "decimal_type")],
    ]
    assert rejects[0]["raw"].startswith(b'<book id="3">')


def test_values_of_ancestors_and_namespaces() -> None:
    class Line(BaseModel):
        sku: Annotated[str, Field(alias="c:sku")]
        order: Annotated[str, assay.XPath("../../c:id")]
        kind: Annotated[str, assay.XPath("../../@kind")]
        note: Annotated[str | None, assay.XPath("../../head/c:note/@x")] = None

    data = b"""<o:orders xmlns:o="u:o"><o:order xmlns:p="u:c" kind="k"><p:id>7</p:id><head><p:note x="n"/></head>
      <lines><line><p:sku>a</p:sku></line><line><sku xmlns="u:other">b</sku></line></lines></o:order></o:orders>"""
    result = assay.read(data, Line, format="xml", record="line", namespaces={"c": "u:c"})
    assert result.frame.to_dicts() == [{"sku": "a", "order": "7", "kind": "k", "note": "n"}]
    # The raw bytes of a reject are enough to read it again.
    (reject,) = result.rejects.to_dicts()
    assert [e["type"] for e in reject["errors"]] == ["missing"]
    again = assay.reading.xml.XmlProcessor(namespaces={"c": "u:c"}).json_for(Line)(reject["raw"])
    assert json.loads(again) == {"order": "7", "kind": "k", "note": "n"}


def test_attributes_of_ancestors_alone() -> None:
    class Line(BaseModel):
        order: Annotated[int, assay.XPath("../../@id")]
        sku: str

    first = b'<o id="7"><l><x><sku>a</sku></x><x sku="b"/></l></o>'
    data = b"<r>" + first + b'<o id="8"><l><x><sku>c</sku></x></l></o><o><l><x/></l></o></r>'
    result = assay.read(data, Line, format="xml", record="x")
    assert result.frame.rows() == [(7, "a"), (7, "b"), (8, "c")]
    assert [e["loc"] for e in result.rejects["errors"][0]] == ["order", "sku"]


def test_aliases_choices_and_names() -> None:
    class Doc(BaseModel):
        model_config = ConfigDict(populate_by_name=True)
        code: str = Field(validation_alias=AliasChoices("InvoiceTypeCode", "CreditNoteTypeCode"))
        due: str | None = Field(None, alias="DueDate")

    data = b"<r><d><CreditNoteTypeCode>381</CreditNoteTypeCode><due>x</due></d></r>"
    assert assay.read(data, Doc, format="xml").frame.to_dicts() == [{"code": "381", "due": "x"}]


def test_extra_forbid_sees_what_is_not_named() -> None:
    class Strange(BaseModel):
        model_config = ConfigDict(extra="forbid")
        a: str

    data = b'<r><x><a>1</a></x><x q="1"><a>1</a><b>2</b></x></r>'
    result = assay.read(data, Strange, format="xml")
    assert result.counts["accepted"] == 1
    assert {e["loc"] for e in result.rejects["errors"][0]} == {"q", "b"}


def test_blanks_are_layout_but_for_text_and_empty_may_be_null() -> None:
    class Blank(BaseModel):
        n: int | None = None
        s: str

    data = b"<r><x><n> 1\n</n><s> 1\n</s></x><x><n/><s/></x></r>"
    assert assay.read(data, Blank, format="xml").frame.to_dicts() == [{"n": 1, "s": " 1\n"}]
    assert assay.read(data, Blank, format="xml", empty_as_null=True).rejects["errors"][0][0]["loc"] == "s"


def test_what_has_attributes_is_not_empty_where_the_model_takes_them() -> None:
    class Money(BaseModel):
        value: Annotated[Amount | None, assay.XPath("text()")]
        currency: str

    class Sale(BaseModel):
        amount: Money | None = None
        n: int | None = None

    data = b'<r><x><amount currency="EUR"/><n/></x><x><amount/><n/></x></r>'
    rows = assay.read(data, Sale, format="xml", empty_as_null=True).frame.rows()
    assert rows == [({"value": None, "currency": "EUR"}, None), (None, None)]


def test_a_strict_model_is_refused() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        a: int

    class StrictField(BaseModel):
        a: Annotated[int, Field(strict=True)]

    for model in (Strict, StrictField):
        with pytest.raises(ConfigurationError, match="strict"):
            assay.scan(b"<r/>", model, format="xml")


def test_an_attribute_and_an_element_of_one_name_are_two_values() -> None:
    class Line(BaseModel):
        x: int

    result = assay.read(b'<r><a x="5"><x>1</x></a><a x="5"/><a><x>1</x></a></r>', Line, format="xml", record="a")
    assert result.frame["x"].to_list() == [5, 1]
    assert result.rejects["record"].to_list() == [0]


def test_a_record_that_no_element_is_is_told() -> None:
    class Order(BaseModel):
        a: int

    with pytest.warns(EmptySourceWarning, match='no element is a record by record="ordr"'):
        assert assay.read(b"<r><order><a>1</a></order></r>", Order, format="xml", record="ordr").counts["read"] == 0
