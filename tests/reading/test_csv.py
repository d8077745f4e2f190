import csv
import io
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel
from tests.reading.test_json import Dribble

from assay.errors import ConfigurationError, SourceError, ValidationError
from assay.reading import Limits, ProcessorFactory, RawRecord


def split(data: bytes, size: int = 1 << 16, limit: int = 1 << 20, **options: Any) -> list[RawRecord]:
    processor = ProcessorFactory.create("csv", limits=Limits(max_record_bytes=limit), **options)
    return list(processor.split(Dribble(data, size)))


def process(data: bytes, **options: Any) -> Any:
    return ProcessorFactory.create("csv", **options).process(data)


def problems(records: list[RawRecord]) -> list[str | None]:
    return [None if r.problem is None else r.problem.msg for r in records]


def test_rows_and_their_places() -> None:
    data = b'a,b\r\n1,"x\r\ny"\r\n\r\n  \n2,""\n3,"say ""hi"", she said"'
    records = split(data)
    assert [(r.record, r.line, r.offset) for r in records] == [(0, 2, 5), (1, 6, 20), (2, 7, 25)]
    assert [process(r.data) for r in records] == [
        {"a": "1", "b": "x\r\ny"},
        {"a": "2", "b": ""},
        {"a": "3", "b": 'say "hi", she said'},
    ]
    assert all(r.data.startswith(b"a,b\n") for r in records)
    assert all(data[r.offset :].startswith(r.data.removeprefix(b"a,b\n")) for r in records)
    assert problems(records) == [None] * 3


def test_given_names_other_delimiters_and_quotes() -> None:
    records = split("1§'a§''b'\n2§\"c\"\n".encode(), delimiter="§", quote="'", columns=["n", "t"])
    assert [r.data for r in records] == ["1§'a§''b'".encode(), '2§"c"'.encode()]
    assert process(records[0].data, delimiter="§", quote="'", columns=["n", "t"]) == {"n": "1", "t": "a§'b"}
    assert process(b'size\tn\n5" pipe\t"', delimiter="\t", quote="") == {"size": '5" pipe', "n": '"'}


def test_no_records() -> None:
    assert split(b"") == []
    assert split(b"\xef\xbb\xbf") == []
    assert split(b"\n\na,b\n\n") == []


def test_a_byte_order_mark_is_dropped() -> None:
    (record,) = split(b"\xef\xbb\xbfa,b\n1,2\n")
    assert (record.data, record.offset) == (b"a,b\n1,2", 7)


def test_an_empty_cell_is_an_empty_text_or_null() -> None:
    assert process(b'a,b,c\n,"", ') == {"a": "", "b": "", "c": " "}
    assert process(b'a,b,c\n,"", ', empty_as_null=True) == {"a": None, "b": "", "c": " "}


#: Cells, rows and files as a writer by RFC 4180 makes them.
names = st.lists(st.text("abc XYZé", min_size=1, max_size=4).filter(str.strip), min_size=1, max_size=4)
cells = st.text(st.sampled_from([*"ab1 é\U0001f600,;\t\"'\n\r"]), max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    header = list(dict.fromkeys(name.strip() for name in draw(names)))
    return header, draw(st.lists(st.lists(cells, min_size=len(header), max_size=len(header)), max_size=6))


@given(
    tables(),
    st.sampled_from([",", ";", "\t", "|", "§"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.integers(1, 30),
)
def test_what_python_writes_comes_back(
    table: tuple[list[str], list[list[str]]], delimiter: str, end: str, quoting: Any, size: int
) -> None:
    header, rows = table
    if quoting == csv.QUOTE_MINIMAL and end == "\n":
        # Python's writer leaves a carriage return unquoted then, which no reader could tell from a line's end.
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([header, *rows])
    text = out.getvalue()
    data = text.encode()
    records = split(data, size=size, delimiter=delimiter)
    # A line of blanks is no record, also of one column.
    blanks = " \t".replace(delimiter, "")
    expected = [r for r in rows if quoting == csv.QUOTE_ALL or len(r) > 1 or not r[0] or r[0].strip(blanks)]
    assert [list(process(r.data, delimiter=delimiter).values()) for r in records] == expected
    assert problems(records) == [None] * len(expected)
    read = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    assert [row for row in read[1:] if row in expected] == expected
    for record in records:
        assert data[record.offset :].startswith(record.data.partition(b"\n")[2])
        assert data[: record.offset].count(b"\n") + 1 == record.line


@given(st.lists(st.sampled_from([*'ab,"\n\r', '""', '",', ',"', "\n1,2\n", "é", "\0"]), max_size=30), st.integers(1, 9))
@example(['"', "a", "\n", "1,2\n"], 1)
def test_anything_is_split_alike_whatever_the_chunks_and_nothing_is_lost(pieces: list[str], size: int) -> None:
    data = "".join(["1,2\n", *pieces]).encode()
    records = split(data, columns=["a", "b"])
    assert split(data, size=size, columns=["a", "b"]) == records
    at, left = 0, b""
    for number, record in enumerate(records):
        assert record.record == number
        assert data[record.offset :].startswith(record.data)
        left += data[at : record.offset]
        at = record.offset + len(record.data)
        assert data[: record.offset].count(b"\n") + 1 == record.line
        if record.problem is None:
            assert process(record.data, columns=["a", "b"]).keys() == {"a", "b"}
        else:
            with pytest.raises(ValidationError) as error:
                process(record.data, columns=["a", "b"])
            assert error.value.message == record.problem.msg
    assert not (left + data[at:]).strip(b" \t\r\n")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"1", "1 cell, and there are 2 columns"),
        (b"1,2,3", "3 cells, and there are 2 columns"),
        (b"1,", None),
        (b'1,5" pipe', "Cell 2 has a quote and is not quoted"),
        (b'1, "2"', "Cell 2 has a quote and is not quoted"),
        (b'1,"2" ', "Cell 2 goes on behind its closing quote"),
        (b'"1"2,3', "Cell 1 goes on behind its closing quote"),
        (b'"1,2', "opens cell 1 is never closed"),
        (b'1,"5 pipe', "opens cell 2 is never closed"),
        (b"1,\0", "NUL"),
        (b"1,\xff", "not UTF-8 at its byte 2"),
        (b"1,a\rb", "carriage return"),
        (b'"x",a\rb', "carriage return"),
    ],
)
def test_a_malformed_row_costs_itself_only(row: bytes, words: str | None) -> None:
    data = b'a,b\n0,"x"\n' + row + b'\n3,"y\nz"\n4,\n'
    records = split(data)
    assert [r.line for r in records] == [2, 3, 4, 6]
    assert [r.data.removeprefix(b"a,b\n") for r in records] == [b'0,"x"', row, b'3,"y\nz"', b"4,"]
    found = problems(records)
    if words is None:
        assert found == [None] * 4
    else:
        assert found[1] is not None
        assert words in found[1]
        assert [found[0], *found[2:]] == [None] * 3
        assert records[1].problem is not None
        assert records[1].problem.type == "csv_invalid"


def test_a_quote_that_is_never_closed_does_not_swallow_the_file() -> None:
    data = b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(1000)) + b'7,"5 pipe\n' + b"8,y\n" * 1000
    records = split(data, size=1000)
    assert len(records) == 2001
    assert [r.record for r in records if r.problem is not None] == [1000]
    # Where it may as well be a cell over the limit, what is inside must not be taken for rows.
    for more in (0, 40_000):
        with pytest.raises(SourceError, match=r"quote opened in the row of line 1,002 is never closed.*record 1,000"):
            split(data + b"8,y\n" * more, limit=2000, size=1000)


def test_a_row_over_the_limit_is_passed_over() -> None:
    for text in (
        "x" * 3_000_000,
        '"' + "y,\n" * 1_000_000 + '"',
        '"' + '""' * 1_500_000 + '"',
        ",\n" + "y" * 3_000_000,
    ):
        quoted = '"' in text
        row = f"2,{text}" if quoted or "\n" not in text else f"2,3\n{'y' * 3_000_000}"
        data = f"a,b\n1,1\n{row}\n4,4\n".encode()
        records = split(data, limit=10_000)
        long = next(r for r in records if r.problem is not None)
        assert long.problem is not None
        assert long.problem.type == "record_too_long"
        assert f"{len(row.rpartition(chr(10))[2]) if not quoted else len(row):,} bytes" in long.problem.msg
        assert len(long.data) == 4096
        assert records[-1].data == b"a,b\n4,4"
        assert data[records[-1].offset :] == b"4,4\n"
        assert data[: records[-1].offset].count(b"\n") + 1 == records[-1].line
        assert ("is a quote not closed?" in long.problem.msg) == (quoted and "\n" in text)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_the_limit_is_the_rows(size: int) -> None:
    row = b'1,"' + b"x" * 100 + b'"'
    for limit, fits in ((len(row), True), (len(row) - 1, False)):
        records = split(b"a,b\r\n" + row + b"\r\n2,3\r\n", limit=limit, size=size)
        assert [r.problem is None for r in records] == [fits, True]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("a,b\n1,2\n".encode("utf-16"), "looks like UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "looks like UTF-16"),
        (b'[\n  {"a": 1}\n]', "looks like JSON"),
        (b'{"a": 1}\n{"a": 2}\n', "looks like JSON"),
        (b"<?xml version='1.0'?><r/>", "looks like XML"),
        (b"<orders><order/></orders>", "looks like XML"),
        (b"PK\x03\x04\x14\x00\x06\x00", "office document"),
        (b"a,b,a,c,b\n", "'a', 'b' stands there more than once"),
        (b"a,,c,\n", "column 2, 4 of 4 has no name"),
        (b"a,\xff\n", "row of names.*not UTF-8"),
        (b'a,"b\n1,2\n', "row of names.*never closed"),
        (b"a,b\r1,2\r3,4\r", "end with CR alone"),
        (b"a" * 2_000_000, "row of names.*max_record_bytes"),
    ],
)
def test_a_file_that_cannot_be_read(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        split(data)


@pytest.mark.parametrize("header", [b"<DATE>,<OPEN>", b"[id],[null]", b"{x},y"])
def test_odd_names_are_names(header: bytes) -> None:
    assert len(split(header + b"\n1,2\n", size=1)) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ""},
        {"delimiter": ",,"},
        {"delimiter": "\n"},
        {"quote": "''"},
        {"quote": "§"},
        {"delimiter": '"'},
        {"columns": []},
        {"columns": "ab"},
        {"columns": ["a", "a"]},
        {"columns": ["a", ""]},
        {"columns": ["a", 1]},
        {"record": "a"},
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ProcessorFactory.create("csv", **options)


@pytest.mark.parametrize("data", [b"", b"a,b", b"a,b\n", b"a,b\n\n", b"a,b\n1,2\n3,4\n", b"a,a\n1,2", b"a,b\n1"])
def test_process_takes_one_record(data: bytes) -> None:
    with pytest.raises(ValidationError):
        process(data)


def test_models_that_no_row_can_be() -> None:
    class Strict(BaseModel, strict=True):
        a: int

    for model in (Strict, RootModel[list[int]]):
        with pytest.raises(ConfigurationError, match="CSV"):
            ProcessorFactory.create("csv").json_for(model)  # type: ignore[attr-defined]
