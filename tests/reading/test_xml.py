import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from tests.reading.test_json import Dribble

from assay.errors import ConfigurationError, SourceError, ValidationError
from assay.reading import Limits, ProcessorFactory, RawRecord


def split(data: bytes, size: int = 1 << 16, limit: int = 1 << 20, **options: Any) -> list[RawRecord]:
    processor = ProcessorFactory.create("xml", limits=Limits(max_record_bytes=limit), **options)
    return list(processor.split(Dribble(data, size)))


def test_children_of_the_root_are_the_records() -> None:
    data = b'<?xml version="1.0"?>\n<r>\n <a x="/>"/><a>/></a>\n<!-- <a/> --><b><a/></b></r>'
    records = split(data)
    assert [r.data for r in records] == [b'<a x="/>"/>', b"<a>/></a>", b"<b><a/></b>"]
    assert [r.line for r in records] == [3, 3, 4]
    assert all(data[r.offset :].startswith(r.data) for r in records)


@pytest.mark.parametrize(
    ("path", "count"),
    [("a", 3), ("g/a", 2), ("/r/g/a", 2), ("/a", 0), ("/r", 1), ("/*", 1), ("g", 1), ("g|a", 2), ("x:a", 1), ("*", 1)],
)
def test_paths_of_records(path: str, count: int) -> None:
    data = b'<r xmlns:y="u"><g><a/><a><a/></a></g><y:a/></r>'
    assert len(split(data, record=path, namespaces={"x": "u"})) == count


@given(st.integers(1, 40))
def test_where_chunks_are_cut_does_not_matter(size: int) -> None:
    data = "<r a=\"1\"><x>é&amp;<![CDATA[<x>]]></x><x/><!-- x --><x b='>'><x>1</x></x></r>".encode()
    assert split(data, size=size, record="x") == split(data, record="x")


def test_a_record_that_leans_on_its_document_carries_a_frame() -> None:
    data = b'<i:r xmlns:i="u" k="v"><h><i:l i:q="1">x</i:l></h></i:r>'
    (record,) = split(data, record="i:l", namespaces={"i": "u"})
    assert b'<i:l i:q="1">x</i:l>' in record.data
    root = etree.fromstring(record.data)
    assert root[0][0].tag == "{u}l"
    assert data[record.offset :].startswith(b"<i:l ")


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "utf-16", "windows-1252", "us-ascii"])
def test_encodings(encoding: str) -> None:
    text = "é" if encoding != "us-ascii" else "e"
    data = f'<?xml version="1.0" encoding="{encoding}"?><r><a n="1">{text}</a><a/></r>'.encode(encoding)
    processor = ProcessorFactory.create("xml")
    records = list(processor.split(io.BytesIO(data)))
    assert [processor.process(r.data) for r in records] == [{"n": "1", "#text": text}, {}]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<r><a>1</a><a>", "not well-formed.*no element found"),
        (b"<r><a></b></r>", "mismatched tag"),
        (b"<r>&x;</r>", "undefined entity"),
        (b'<!DOCTYPE r [<!ENTITY x "y">]><r><a>&x;</a></r>', "DOCTYPE"),
        (b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><r/>', "DOCTYPE"),
        (b'{"a": 1}', "looks like JSON"),
        (b"<r>\xff</r>", "not well-formed"),
        (b'<?xml version="1.0" encoding="no-such"?><r/>', "unknown encoding.*UTF-8"),
        (b'<?xml version="1.0" encoding="EUC-JP"?><r/>', "multi-byte.*UTF-8"),
    ],
)
def test_a_document_that_cannot_be_read(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=f"(?s){words}"):
        split(data)
    with pytest.raises(ValidationError):
        ProcessorFactory.create("xml").process(data)


def test_records_before_the_damage_are_given() -> None:
    records = []
    with pytest.raises(SourceError) as error:
        for record in ProcessorFactory.create("xml").split(io.BytesIO(b"<r><a>1</a><a>2</a><a>")):
            records.append(record.data)
    assert records == [b"<a>1</a>", b"<a>2</a>"]
    assert error.value.record == 2


def test_a_record_over_the_limit_is_passed_over() -> None:
    long = b"<a>" + b"x" * 2_000_000 + b"</a>"
    records = split(b"<r><a>1</a>" + long + b"<a>2</a></r>", limit=100_000)
    assert [r.data for r in records if r.problem is None] == [b"<a>1</a>", b"<a>2</a>"]
    assert records[1].problem is not None
    assert f"{len(long):,}" in records[1].problem.msg


def test_too_deep() -> None:
    (record,) = split(b"<r>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</r>")
    assert record.problem is not None
    assert record.problem.type == "record_too_deep"
    with pytest.raises(SourceError, match="nested"):
        split(b"<a>" * 5000 + b"</a>" * 5000, record="nothing")


def test_one_huge_tag_is_an_error_and_not_a_memory_hog() -> None:
    with pytest.raises(SourceError, match="max_record_bytes"):
        split(b'<r><a b="' + b"x" * 3_000_000 + b'"/></r>', limit=100_000)


def test_an_unknown_prefix_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match='prefix "cac".*known: cbc'):
        ProcessorFactory.create("xml", record="cac:Line", namespaces={"cbc": "u"})
