"""Fields that are masked where records and their errors are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.records import MASK, Redaction

REDACTION = Redaction(["email", "IBAN", "cost"])


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ('{"id": 1.10, "email" : "a@b"}', '{"id": 1.10, "email" : "***"}'),
        ('{"id": "email", "EMAIL": null}', '{"id": "email", "EMAIL": "***"}'),
        ('[{"c": {"iban": ["x", {"y": "}"}], "n": 1}}]', '[{"c": {"iban": "***", "n": 1}}]'),
        ('{"e\\u006dail": "a\\"b", "x": "\\ud800"}', '{"e\\u006dail": "***", "x": "\\ud800"}'),
        ('{"email": 1, "email": 2}', '{"email": "***", "email": "***"}'),
        ('{"cost": NaN, "n": ' + "9" * 5000 + "}", '{"cost": "***", "n": ' + "9" * 5000 + "}"),
    ],
)
def test_json_is_shown_as_it_stands_but_for_the_fields(raw: str, shown: str) -> None:
    assert REDACTION.record(raw.encode(), "jsonl") == shown


@pytest.mark.parametrize("raw", [b"", b'{"email": "a@b"', b"a@b", b'"a@b"', b"\xff", b"[" * 100_000, b'{"a": 1} x'])
def test_what_is_no_json_is_not_shown(raw: bytes) -> None:
    assert REDACTION.record(raw, "json") is None


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("<r><email>a@b</email><n>1</n></r>", "<r><email>***</email><n>1</n></r>"),
        (
            '<r xmlns:q="u" IBAN="x"><q:Email k="1">a<b>c</b>d</q:Email>t</r>',
            '<r xmlns:q="u" IBAN="***"><q:Email k="***">***</q:Email>t</r>',
        ),
        ("<email><email>a</email>b</email>", "<email>***</email>"),
        ("<r><!-- a@b --><n><![CDATA[<email>]]></n></r>", "<r><!--***--><n>&lt;email&gt;</n></r>"),
    ],
)
def test_xml_without_elements_and_attributes_of_these_names(raw: str, shown: str) -> None:
    assert REDACTION.record(raw.encode(), "xml") == shown


def test_xml_in_its_frame_and_encoding() -> None:
    raw = '<?xml version="1.0" encoding="ISO-8859-1"?><?assay-frame 1?><a><b><n>ä</n><email>ö</email></b></a>'
    shown = "<?assay-frame 1?><a><b><n>ä</n><email>***</email></b></a>"
    assert REDACTION.record(raw.encode("latin-1"), "xml") == shown
    for wrong in (b"<r><email>a@b", b"<!DOCTYPE r><r><email>a@b</email></r>", b"a@b"):
        assert REDACTION.record(wrong, "xml") is None


@pytest.mark.parametrize(
    ("raw", "told", "shown"),
    [
        ("id,email\n1,a@b", {}, "id,email\n1,***"),
        ('id;email;n\n1;"a;""b";"x;y"', {"delimiter": ";"}, 'id;email;n\n1;***;"x;y"'),
        ("1,a@b", {"columns": ["id", "email"]}, "1,***"),
        ("id,other\n1,", {}, "id,other\n1,"),
        # Nothing tells which cell is which.
        ("id;email\n1;a@b", {}, None),
        ("id,email\n1,a@b,3", {}, None),
        ('id,email\n1,"a@b', {}, None),
        ("id,email\n1,a@b", None, None),
    ],
)
def test_csv(raw: str, told: dict[str, Any] | None, shown: str | None) -> None:
    assert REDACTION.record(raw.encode(), "csv", told) == shown


def test_another_format_is_not_shown() -> None:
    assert REDACTION.record(b'{"email": "a@b"}', "avro") is None


def error(loc: str, kind: str, msg: str, value: str) -> dict[str, str]:
    return {"loc": loc, "type": kind, "msg": msg, "input": value}


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        (error("email", "too_long", "At most 3", "a@b.de"), error("email", "too_long", "At most 3", MASK)),
        (error("c.0.iban.x", "t", "m", "v"), error("c.0.iban.x", "t", "m", MASK)),
        (error("email", "missing", "Field required", ""), error("email", "missing", "Field required", "")),
        (error("email", "value_error", "Value error, A@B", "a@b.de"), error("email", "value_error", MASK, MASK)),
        (error("", "own", "a@b.de costs 1,234.50, not 1.5", ""), error("", "own", "*** costs ***, not 1.5", "")),
        (error("x", "dup", "as in row", "a@b.de"), error("x", "dup", "as in row", MASK)),
        (error("x", "missing", "m", '{"email":"z","n":1}'), error("x", "missing", "m", '{"email":"***","n":1}')),
        (error("x", "missing", "m", '{"n":1,"email":"a@…'), error("x", "missing", "m", MASK)),
        (error("", "record_invalid", "m", "<r><email>a@b"), error("", "record_invalid", "m", MASK)),
    ],
)
def test_errors(given_: dict[str, str], kept: dict[str, str]) -> None:
    raw = b'{"email": "a@b.de", "cost": 1234.5}'
    assert REDACTION.errors([given_], raw, "jsonl") == [kept]
    assert REDACTION.errors([kept], raw, "jsonl") == [kept]


def test_no_names_no_redaction() -> None:
    assert not Redaction([])
    assert REDACTION


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.sampled_from(["email"]), inner)
    ),
    max_leaves=10,
)


def masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: MASK if k.casefold() == "email" else masked(v) for k, v in value.items()}
    return [masked(v) for v in value] if isinstance(value, list) else value


def strings(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)
    yield value


@given(st.dictionaries(st.text() | st.sampled_from(["email", "Email"]), VALUES), st.sampled_from([None, 2]))
def test_json_that_is_masked_is_the_same_json_without_the_values(record: dict[str, Any], indent: int | None) -> None:
    shown = Redaction(["email"]).record(json.dumps(record, indent=indent).encode(), "json")
    assert shown is not None
    assert json.loads(shown) == masked(record)
    assert MASK in list(strings(json.loads(shown))) or "email" not in map(str.casefold, record)
