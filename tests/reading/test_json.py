import io
import json
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import SourceError
from assay.reading import JsonProcessor, Limits, ProcessorFactory, RawRecord, json_stream


class Dribble(io.BytesIO):
    """Gives few bytes at a time, so that every construct is cut somewhere."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self.size = size

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self.size)


def split(data: bytes, record: str | None = None, size: int = 1 << 20, limit: int = 1 << 20) -> list[RawRecord]:
    processor = ProcessorFactory.create("json", record=record, limits=Limits(max_record_bytes=limit))
    return list(processor.split(Dribble(data, size)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.lists(json_values, max_size=6),
    st.integers(1, 30),
    st.sampled_from([None, "\t", 2]),
    st.booleans(),
)
def test_elements_of_an_array_come_back_in_their_places(
    values: list[Any], size: int, indent: Any, ascii_only: bool
) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
    records = split(data, size=size)
    assert [json.loads(r.data) for r in records] == values
    for record in records:
        assert data[record.offset : record.offset + len(record.data)] == record.data
        assert data[: record.offset].count(b"\n") + 1 == record.line


@given(st.lists(json_values, max_size=4), json_values, st.integers(1, 20))
def test_records_under_a_path_among_other_keys(values: list[Any], other: Any, size: int) -> None:
    document = {"before": other, "data": {"x": other, "orders": values, "y": other}, "after": other}
    records = split(json.dumps(document).encode(), record="data.orders", size=size)
    assert [json.loads(r.data) for r in records] == values


@given(st.lists(json_values.filter(lambda v: not isinstance(v, list)), max_size=5), st.integers(1, 20))
def test_documents_in_a_row(values: list[Any], size: int) -> None:
    data = "\n".join(json.dumps(value) for value in values).encode()
    assert [json.loads(r.data) for r in split(data, size=size)] == values


@pytest.mark.parametrize(
    ("data", "record", "words", "before"),
    [
        (b'[{"a":1},]', None, "comma too many", 1),
        (b'[{"a":1} {"a":2}]', None, "expected a comma", 1),
        (b'[{"a":1},{"a":', None, "ends inside a record", 1),
        (b'[{"a":1},{"a":"x', None, "ends inside a string", 1),
        (b'[{"a":1}', None, "ends inside its array", 1),
        (b'{"a":[1]}', "orders", 'no key "orders".*keys here: "a"', 0),
        (b'{"orders":[1],"orders":[2]}', "orders", "occurs twice", 1),
        (b"[1]", "orders", "expected an object", 0),
        (b'{"orders" [1]}', "orders", "expected a colon", 0),
        (b'\xef\xbb\xbf[{"a":1}]', None, "byte order mark", 0),
        ('[{"a":1}]'.encode("utf-16"), None, "UTF-16", 0),
        (b"<a/>", None, "XML", 0),
    ],
)
def test_a_document_that_is_broken_around_its_records(data: bytes, record: str | None, words: str, before: int) -> None:
    found = []
    with pytest.raises(SourceError, match=words) as error:
        for raw in ProcessorFactory.create("json", record=record).split(io.BytesIO(data)):
            found.append(raw)
    assert len(found) == before
    assert error.value.offset is not None


def test_a_record_that_is_broken_inside_is_given_as_it_is() -> None:
    records = split(b'[{"a":tru}, {"a":1e}, nul, {"a":"\\q"}, {"ok":1}]')
    assert [r.data for r in records] == [b'{"a":tru}', b'{"a":1e}', b"nul", b'{"a":"\\q"}', b'{"ok":1}']


@pytest.mark.parametrize("inner", [b'"' + b"x" * 100_000 + b'"', b"[" + b"1," * 50_000 + b"1]", b"1" * 100_000])
def test_a_record_over_the_limit_is_passed_over_and_counted(inner: bytes) -> None:
    data = b'[{"a":1},{"a":' + inner + b'},{"a":2}]'
    records = split(data, size=1000, limit=5000)
    assert [r.data for r in records if r.problem is None] == [b'{"a":1}', b'{"a":2}']
    problem = records[1].problem
    assert problem is not None
    assert f"{len(inner) + 6:,}" in problem.msg
    assert len(records[1].data) <= 4096


def test_too_deep_is_a_problem_of_the_record() -> None:
    records = split(b"[" + b"[" * 5000 + b"]" * 5000 + b",1]")
    assert [r.problem.type if r.problem else None for r in records] == ["record_too_deep", None]


def test_nesting_without_end_ends_somewhere() -> None:
    few = mock.patch.object(json_stream, "_STACK", 1_000)
    with few, pytest.raises(SourceError, match="nested more than 1,000 deep"):
        list(JsonProcessor().split(io.BytesIO(b"[" * 5_000)))
