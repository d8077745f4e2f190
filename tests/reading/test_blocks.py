"""Blocks of records are the records that are found one at a time."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import SourceError
from assay.reading import (
    Block,
    CsvProcessor,
    JsonlProcessor,
    JsonProcessor,
    Limits,
    Processor,
    RawRecord,
    blocks_of,
    csv,
    xml_blocks,
)
from assay.reading.block import Doubts
from assay.reading.xml import XmlProcessor
from assay.reading.xml_split import XmlSplitter

LIMITS = Limits(max_record_bytes=60, max_record_depth=4)


def told(raws: Iterable[RawRecord]) -> tuple[list[RawRecord], str]:
    """The records, and how it broke off."""
    found = []
    try:
        for raw in raws:
            found.append(raw)
    except SourceError as error:
        return found, str(error)
    return found, ""


def in_blocks(processor: Processor, data: bytes, size: int) -> Iterator[RawRecord]:
    for undoubted in blocks_of(processor, io.BytesIO(data), size):
        found = undoubted.doubts(np.arange(len(undoubted)))
        block = replace(undoubted, problems={**undoubted.problems, **found.problems})
        yield from map(block.raw, range(len(block) if found.damage is None else found.damage[0]))
        if found.damage is not None:
            raise found.damage[1]


VALUES = st.recursive(
    st.one_of(st.integers(0, 99), st.text('ab"\\[]{},:\n é', max_size=6), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("ab]}\\", max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
SPACES = st.sampled_from(["", " ", "\n", "\r\n", "\t "])


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    indent = draw(st.sampled_from([None, None, 1]))
    records = [json.dumps(value, indent=indent, ensure_ascii=draw(st.booleans())) for value in draw(st.lists(VALUES))]
    space = draw(SPACES)
    array = f"[{space}" + f"{draw(SPACES)},{draw(SPACES)}".join(records) + f"{space}]"
    if draw(st.booleans()):
        array = json.dumps({"x": [1], "data": "?"}).replace('"?"', array)
    data = array.encode()
    if draw(st.integers(0, 2)) == 0:
        place = draw(st.integers(0, len(data)))
        new = draw(st.sampled_from([b"", b'"', b"\\", b",", b"]", b"{", b"x", b"\xff", b" ,", b'\\"']))
        data = data[:place] + new + data[place + draw(st.integers(0, 1)) :]
    return data * draw(st.integers(1, 2))


@given(data=documents(), size=st.integers(1, 80), path=st.sampled_from([None, "data"]))
def test_json_blocks_are_the_records_found_singly(data: bytes, size: int, path: str | None) -> None:
    processor = JsonProcessor(record=path, limits=LIMITS)
    assert told(in_blocks(processor, data, size)) == told(processor.split(io.BytesIO(data)))


def test_many_elements_come_in_one_block() -> None:
    records = [f'{{"a":{number},"b":["x]",{{}}]}}'.encode() for number in range(1000)]
    (block,) = blocks_of(JsonProcessor(), io.BytesIO(b"[\n" + b",\n".join(records) + b"\n]"), 10**6)
    assert [block.raw(row).data for row in range(len(block))] == records
    assert block.lines.tolist() == list(range(2, 1002))


@pytest.mark.parametrize("filler", [b"1", b'"x"', b"[]"])
def test_elements_of_several_kinds_take_no_longer_than_by_the_exact_way(filler: bytes) -> None:
    records = [b"{}", filler] * 20_000
    blocks = list(blocks_of(JsonProcessor(), io.BytesIO(b"[" + b",".join(records) + b"]"), 10**6))
    assert sum(map(len, blocks)) == len(records)


LINES = st.lists(st.sampled_from([b"", b" ", b"\t\r", b'{"a":1}', b'"\xc3\xa9"', b"x" * 59, b"y" * 80, b"\r", b"a\rb"]))


@given(
    lines=LINES,
    end=st.sampled_from([b"\n", b"\r\n"]),
    last=st.sampled_from([b"", b"\n", b"z"]),
    size=st.integers(1, 90),
)
def test_lines_are_those_of_a_plain_split(lines: list[bytes], end: bytes, last: bytes, size: int) -> None:
    data = end.join(lines) + last
    expected: list[tuple[bytes, int, int, int]] = []
    offset = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.removesuffix(b"\r")
        if text.strip(b" \t\r"):
            expected.append((text, len(expected), number, offset))
        offset += len(line) + 1
    found, broken = told(in_blocks(JsonlProcessor(limits=LIMITS), data, size))
    assert not broken
    assert [(raw.record, raw.line, raw.offset) for raw in found] == [one[1:] for one in expected]
    for raw, (text, *_) in zip(found, expected, strict=True):
        assert raw.data == text
        assert (raw.problem is not None) == (len(text) > LIMITS.max_record_bytes)


def test_a_block_of_single_records_gives_them_back() -> None:
    raws = [RawRecord(b"a", 3, 4, 5), RawRecord(b"", 7, 8, 9), RawRecord(b"xyz", 8, 9, 10, LIMITS.too_deep())]
    assert [Block.of(raws).raw(row) for row in range(3)] == raws


PLAIN = ["", "1", "é", "&amp;", "a > b", "<a/>", "<a>1</a>", "<a><b/></a>", "<a x='>'>2</a>", "<a><a>3</a></a>"]
HIDING = ["]]>", "<!-- </row> -->", "<![CDATA[<row>]]>", "<?p <row> ?>", "<row/>", "<p:row/>", "<rowing>4</rowing>"]
CONTENTS = st.sampled_from([*PLAIN, *HIDING, "<a xmlns='u'/>"])
RECORDS = st.tuples(
    st.sampled_from(
        ["<row>"] * 3
        + ["<row xmlns='u'>"] * 3
        + [
            "<row >",
            "<row k='v'>",
            "<row xmlns='v'>",
            "<row xmlns='u' k='>'>",
            "<p:row xmlns:p='u'>",
            "<p:row>",
            "<other>",
        ]
    ),
    st.lists(CONTENTS, max_size=3).map("".join),
).map(lambda made: f"{made[0]}{made[1]}</{made[0][1:-1].split(' ')[0].rstrip()}>")
BETWEEN = st.sampled_from(["", "\n", "  ", "\r\n", "<!-- x -->", "text", "<?p?>", "</list><list>", "<row/>"])


@st.composite
def xml_documents(draw: st.DrawFn) -> bytes:
    start = draw(st.sampled_from(["<list>", "<list xmlns:p='urn:p'>", "<list xmlns='urn:l' xmlns:p='urn:p'>"]))
    gap = draw(st.sampled_from(["", "\n"]))
    rows = []
    for record in draw(st.lists(RECORDS, max_size=12)):
        rows += [record, draw(st.one_of(st.just(gap), st.just(gap), BETWEEN))]
    text = "<root>" + start + gap + "".join(rows) + "</list>" + "</root>" + draw(st.sampled_from(["", "\n", "x"]))
    declaration = draw(st.sampled_from(["", "", '<?xml version="1.0" encoding="UTF-8"?>\n']))
    data = (declaration + text).encode()
    if draw(st.integers(0, 2)) == 0:
        place = draw(st.integers(0, len(data)))
        new = draw(st.sampled_from([b"", b"<", b">", b"&", b"'", b"\x00", b"\xff", b"</row>", b"<row>", b"/", b"<!--"]))
        data = data[:place] + new + data[place + draw(st.integers(0, 1)) :]
    return data


@settings(max_examples=100)
@given(
    data=xml_documents(),
    size=st.integers(40, 600),
    chunk=st.integers(1, 60),
    record=st.sampled_from(["row", "list/row", "row|other", "list/*", "/root", "u:row"]),
)
def test_xml_blocks_are_the_records_found_singly(data: bytes, size: int, chunk: int, record: str) -> None:
    processor = XmlProcessor(
        record=record, namespaces={"u": "u"}, limits=Limits(max_record_bytes=90, max_record_depth=3)
    )
    expected = told(processor.split(io.BytesIO(data)))
    small = mock.patch.multiple(xml_blocks, CHUNK=chunk, _FAR=2 * chunk)
    with small, mock.patch.object(XmlSplitter, "wanted", chunk):
        found = told(in_blocks(processor, data, size))
    # What follows the root is damage; whether it is junk or has a wrong token as well depends on where a read ends.
    junk = re.compile("(junk after document element|not well-formed \\(invalid token\\)).*")
    assert (found[0], junk.sub("", found[1])) == (expected[0], junk.sub("", expected[1]))


@st.composite
def single_documents(draw: st.DrawFn) -> bytes:
    head = draw(
        st.sampled_from(["", "\ufeff", '<?xml version="1.0" encoding="UTF-8"?>\n', "<!-- <row> --><?p <row>?>\n"])
    )
    head += draw(st.sampled_from(["", "", "", "<!DOCTYPE row>", '<?xml version="1.0" encoding="iso-8859-1"?>', "x"]))
    record = draw(st.one_of(RECORDS, st.sampled_from(["<row/>", "<row></row >", "<row></row><row></row>"])))
    tail = draw(st.sampled_from(["", "", "\n", "<!-- x -->", "x", "</row>", "<row></row>", "<?p </row>?>"]))
    data = (head + record + tail).encode()
    if draw(st.booleans()):
        place = draw(st.integers(0, len(data)))
        new = draw(
            st.sampled_from([b"", b"<", b">", b"&", b"\x00", b"\xff", b"</row>", b"<row>", b"<a>", b"/", b"<!--"])
        )
        data = data[:place] + new + data[place + draw(st.integers(0, 1)) :]
    return data


@settings(max_examples=100)
@given(data=single_documents(), record=st.sampled_from(["/row", "/row|/other", "/u:row"]))
def test_a_document_that_is_one_record_is_the_one_that_is_found_singly(data: bytes, record: str) -> None:
    limits = Limits(max_record_bytes=120, max_record_depth=3)
    processor = XmlProcessor(record=record, namespaces={"u": "u"}, limits=limits)
    assert told(in_blocks(processor, data, 1_000)) == told(processor.split(io.BytesIO(data)))


ALONE = [
    b"<order><id>1</id></order>",
    b"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?>\r\n<!-- c --><order a='>'>\n<id>1</id></order>\r\n \t",
    b"<order/>",
    b"<o:order xmlns:o='urn:o'><o:id>1</o:id></o:order>",
    b"<order><id>1</id></order ><?p?>",
    b"<order><id>1</id></order><!-- </order> -->",
    b"<order><!-- <a><b> --><![CDATA[</x>]]></order>",
    b"<order>" + b"<a>" * 8 + b"</a>" * 8 + b"</order>",
    b"<order>" + b"<a>" * 9 + b"</a>" * 9 + b"</order>",
    b"<order>" + b"<a>" * 12 + b"<![CDATA[" + b"</a>" * 12 + b"]]>" + b"</a>" * 12 + b"</order>",
    b"<order>" + b"<a></a>" * 30 + b"</order>",
    b"<order>" + b"<a/>" * 30 + b"</order>",
    b"<order>" + b"x" * 5_000 + b"</order>",
    b"<order><id>1</id>",
    b"<order/><order/>",
    b"<other><order/></other>",
    b"<!DOCTYPE order><order/>",
    '<?xml version="1.0" encoding="utf-16"?><order>é</order>'.encode("utf-16"),
    '<?xml version="1.0" encoding="latin-1"?><order>é</order>'.encode("latin-1"),
    b"<order>\xff</order>",
    b"",
    b" \n",
]


@pytest.mark.parametrize("data", ALONE)
def test_such_a_document_is_what_the_splitter_finds(data: bytes) -> None:
    processor = XmlProcessor(record="/order | /o:order", namespaces={"o": "urn:o"}, limits=Limits(4_000, 9))
    assert told(in_blocks(processor, data, 10**6)) == told(processor.split(io.BytesIO(data)))


def test_most_such_documents_are_not_split() -> None:
    processor = XmlProcessor(record="/order")
    with mock.patch.object(xml_blocks.XmlBlocks, "_exactly", side_effect=AssertionError):
        assert all(len(list(processor.blocks(io.BytesIO(data), 10**6))) == 1 for data in ALONE[:2])


def test_a_document_that_is_one_record_is_parsed_only_where_it_is_doubted() -> None:
    data = b"<row xmlns='u'><a>" + b"1</a><a>" * 1_000 + b"</a></row>\n"
    (block,) = blocks_of(XmlProcessor(record="/row"), io.BytesIO(data), 10**6)
    assert block.doubt is not None
    assert block.doubts(np.arange(1)) == Doubts()
    damaged = data.replace(b"1</a>", b"1</b>", 1)
    (block,) = blocks_of(XmlProcessor(record="/row"), io.BytesIO(damaged), 10**6)
    assert "mismatched tag" in str(block.doubts(np.arange(1)).damage)


def test_records_that_declare_their_namespaces_alike_come_in_one_block() -> None:
    rows = [f"<p:row xmlns:p='urn:p'><p:a>{number}</p:a></p:row>".encode() for number in range(20_000)]
    data = b"<list>\n" + b"\n".join(rows) + b"\n</list>"
    processor = XmlProcessor(record="p:row", namespaces={"p": "urn:p"})
    blocks = list(blocks_of(processor, io.BytesIO(data), 10**6))
    assert len(blocks) == 2
    assert sum(map(len, blocks)) == len(rows)
    other = rows[10_000].replace(b"urn:p", b"urn:q")
    data = b"<list>\n" + b"\n".join([*rows[:10_000], other, *rows[10_000:]]) + b"\n</list>"
    assert list(in_blocks(processor, data, 10**6)) == list(processor.split(io.BytesIO(data)))


def test_records_of_several_kinds_come_in_one_block() -> None:
    kinds = ("<p:row xmlns:p='urn:p'><a>{}</a></p:row>", "<q:line xmlns:q='urn:q' k='1'>{}</q:line>")
    rows = [kinds[number % 7 == 0].format(number).encode() for number in range(20_000)]
    data = b"<list>\n" + b"\n".join(rows) + b"\n</list>"
    processor = XmlProcessor(record="p:row|q:line", namespaces={"p": "urn:p", "q": "urn:q"})
    assert len(list(blocks_of(processor, io.BytesIO(data), 10**6))) == 2
    assert list(in_blocks(processor, data, 10**6)) == list(processor.split(io.BytesIO(data)))


def test_plain_xml_records_come_in_one_block() -> None:
    rows = [f"<row><a>{number}</a></row>".encode() for number in range(20_000)]
    data = b"<list xmlns='urn:x'>\n" + b"\n".join(rows) + b"\n</list>"
    processor = XmlProcessor()
    blocks = list(blocks_of(processor, io.BytesIO(data), 10**6))
    assert len(blocks) == 2
    assert sum(map(len, blocks)) == len(rows)
    assert list(in_blocks(processor, data, 10**6)) == list(processor.split(io.BytesIO(data)))


CELLS = st.sampled_from(
    [
        "",
        "1",
        "é",
        " ",
        '""',
        '"a"',
        '"a,b"',
        '"a""b"',
        '"\n"',
        '"a\r\nb"',
        '"',
        'a"b',
        '"a"b',
        '"a""',
        "\0",
        "\r",
        "x\ry",
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r\r\n"]))
    plain = draw(st.booleans())
    cells = st.sampled_from(["", "1", "é", '"a"', '"a,b"', '"\n"']) if plain else CELLS
    rows = ["k,l"]
    for row in draw(st.lists(st.lists(cells, min_size=2 - (not plain), max_size=2 + (not plain)), max_size=12)):
        rows.append(",".join(row))
        rows += draw(st.sampled_from([[], [], [""], ["  "]]))
    data = (end.join(rows) + draw(st.sampled_from(["", end]))).encode()
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.sampled_from([b"", b'"', b",", b"\n", b"\xff", b"\r"])) + data[place + 1 :]
    return data


@settings(max_examples=100)
@given(data=tables(), size=st.integers(1, 90), quote=st.sampled_from(['"', '"', ""]), few=st.sampled_from([1, 4]))
def test_csv_blocks_are_the_records_found_singly(data: bytes, size: int, quote: str, few: int) -> None:
    processor = CsvProcessor(quote=quote, limits=Limits(max_record_bytes=30))
    expected = told(processor.split(io.BytesIO(data)))
    with mock.patch.multiple(csv, _FEW=few, _FAR=3):
        assert told(in_blocks(processor, data, size)) == expected


def test_plain_rows_come_in_one_block() -> None:
    data = b"k,l\r\n" + b'1,"a\nb"\r\n' * 10_000
    (block,) = blocks_of(CsvProcessor(), io.BytesIO(data), 10**6)
    assert len(block) == 10_000
    assert block.lines.tolist() == list(range(2, 20_002, 2))
