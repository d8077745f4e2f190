import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import SourceError
from assay.reading import Limits, ProcessorFactory, RawRecord


def split(data: bytes, limit: int = 1 << 20) -> list[RawRecord]:
    return list(ProcessorFactory.create("jsonl", limits=Limits(max_record_bytes=limit)).split(io.BytesIO(data)))


def test_place_of_each_record_blank_lines_left_out() -> None:
    records = split(b'{"a":1}\r\n\n  \t\n{"a":2}\n{"a":3}')
    assert [(r.data, r.record, r.line, r.offset) for r in records] == [
        (b'{"a":1}', 0, 1, 0),
        (b'{"a":2}', 1, 4, 14),
        (b'{"a":3}', 2, 5, 22),
    ]


def test_no_bytes_no_records() -> None:
    assert split(b"") == []
    assert split(b"\n\n \n") == []


def test_a_line_over_the_limit_is_a_problem_with_its_length_and_the_next_is_read() -> None:
    long = b'{"a":"' + b"x" * 3_000_000 + b'"}'
    records = split(b"1\n" + long + b"\n2\n", limit=1000)
    assert [r.data for r in records if r.problem is None] == [b"1", b"2"]
    problem = records[1].problem
    assert problem is not None
    assert problem.type == "record_too_long"
    assert f"{len(long):,}" in problem.msg
    assert "max_record_bytes" in problem.msg
    assert (records[1].line, records[1].offset, len(records[1].data)) == (2, 2, 4096)
    assert (records[2].line, records[2].offset) == (3, 2 + len(long) + 1)


@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b), max_size=30), st.booleans())
def test_every_line_comes_back_at_its_offset(lines: list[bytes], last_newline: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if last_newline else b"")
    try:
        records = split(data)
    except SourceError as error:
        assert "looks like" in str(error)  # noqa: PT017 - the other way out of this property
        return
    expected = [line for line in data.split(b"\n") if line.strip(b" \t\r")]
    assert [r.record for r in records] == list(range(len(expected)))
    for record, line in zip(records, expected, strict=True):
        assert record.data in (line, line.removesuffix(b"\r"))
        assert data[record.offset :].startswith(record.data)
        assert data[: record.offset].count(b"\n") + 1 == record.line


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        ('{"a": 1}\n'.encode("utf-16"), "UTF-16"),
        ('{"a": 1}\n'.encode("utf-16-le"), "UTF-16"),
        (b"<orders><order/></orders>", "XML"),
        (b'[\n  {"a": 1},\n  {"a": 2}\n]\n', "one JSON document"),
        (b'{\n  "a": 1\n}\n', "one JSON document"),
    ],
)
def test_a_file_that_is_something_else_is_named(data: bytes, looks: str) -> None:
    with pytest.raises(SourceError, match=looks):
        split(data)


def test_process_is_strict_json() -> None:
    processor = ProcessorFactory.create("jsonl")
    assert processor.process(b'{"a": [1, "x"]}') == {"a": [1, "x"]}
    for wrong in (b"NaN", b"{'a': 1}", b"[1,]", b"", b"\xff"):
        with pytest.raises(ValueError, match="not JSON"):
            processor.process(wrong)
    assert processor.process(json.dumps("x").encode()) == "x"
