"""Hostile and broken JSON: each costs its own record, or ends in a clear error; compiled or not, it is the same."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.cli.using import assay as run
from tests.reading.hostile import Line, both, measured

import assay
from assay.records import EmptySourceWarning
from assay.settings import Settings

GOOD = b'{"id":1,"text":"a","amount":"1.10","ratio":1.5}'
LAST = b'{"id":3,"text":"c","amount":"3.30","ratio":-1}'
DEEP = 100_000

#: A record, and why it is rejected: type and a part of the message of its first error.
BAD: dict[str, tuple[bytes, str, str]] = {
    "no JSON": (b"hello", "json_invalid", "expected value"),
    "truncated in a string": (b'{"id":2,"te', "json_invalid", "EOF while parsing"),
    "truncated in a number": (b'{"id":2', "json_invalid", "EOF while parsing"),
    "two documents": (GOOD + b" " + GOOD, "json_invalid", "trailing characters"),
    "a document and an array": (GOOD + b"[]", "json_invalid", "trailing characters"),
    "trailing comma": (b'{"id":2,}', "json_invalid", "trailing comma"),
    "single quotes": (b"{'id':2}", "json_invalid", "key must be a string"),
    "a comment": (b'{"id":2}//x', "json_invalid", "trailing characters"),
    "NaN as whole number": (b'{"id":NaN}', "finite_number", "finite"),
    "Infinity as amount": (b'{"id":2,"amount":Infinity}', "finite_number", "finite"),
    "lone surrogate": (rb'{"id":2,"text":"\ud800"}', "json_invalid", "hex escape"),
    "lone surrogate as key": (rb'{"id":2,"\udc00":1}', "json_invalid", "surrogate"),
    "bad UTF-8": (b'{"id":2,"text":"\xff\xfe"}', "json_invalid", "invalid unicode"),
    "UTF-8 cut": (b'{"id":2,"text":"\xe2\x82"}', "json_invalid", "invalid unicode"),
    "UTF-8 overlong": (b'{"id":2,"text":"\xc0\xaf"}', "json_invalid", "invalid unicode"),
    "UTF-8 of a surrogate": (b'{"id":2,"text":"\xed\xa0\x80"}', "json_invalid", "invalid unicode"),
    "Latin-1": ('{"id":2,"text":"é"}'.encode("latin-1"), "json_invalid", "invalid unicode"),
    "byte order mark within": (b"\xef\xbb\xbf" + GOOD, "json_invalid", "expected value"),
    "NUL in a string": (b'{"id":2,"text":"a\0b"}', "json_invalid", "control character"),
    "NUL outside": (b'{"id":2}\0', "json_invalid", "trailing characters"),
    "NULs only": (b"\0\0\0\0", "json_invalid", "expected value"),
    "control character": (b'{"id":2,"text":"a\x1bb"}', "json_invalid", "control character"),
    "10,000 digits": (b'{"id":' + b"9" * 10_000 + b"}", "json_invalid", "number out of range"),
    "amount of 10,000 digits": (b'{"id":2,"amount":"' + b"9" * 10_000 + b'"}', "decimal_max_digits", "12 digits"),
    "amount of 1E+999999999": (b'{"id":2,"amount":"1E+999999999"}', "decimal_max_digits", "12 digits"),
    "amount of 1E-999999999": (b'{"id":2,"amount":"1E-999999999"}', "decimal_max_digits", "12 digits"),
    "10,000 digits that nobody asks for": (b'{"id":2,"x":' + b"9" * 10_000 + b"}", "json_invalid", "out of range"),
    "an array": (b"[1,2]", "model_type", "object"),
    "an array of records": (b"[" + GOOD + b"]", "model_type", "object"),
    "a number": (b"17", "model_type", "object"),
    "a text": (b'"17"', "model_type", "object"),
    "null": (b"null", "model_type", "object"),
    "no blank of JSON": (b"\xc2\xa0", "json_invalid", "expected value"),
    "deep arrays": (b"[" * DEEP + b"]" * DEEP, "", ""),
    "deep arrays that nobody asks for": (b'{"id":2,"x":' + b"[" * DEEP + b"]" * DEEP + b"}", "", ""),
    "deep objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "", ""),
}
#: Records that Pydantic takes, odd as they are, and the values that it gives.
ODD: dict[str, tuple[bytes, dict[str, Any]]] = {
    "duplicate keys: the last one counts": (b'{"id":7,"id":2,"text":"x"}', {"text": "x"}),
    "a duplicate by escapes": (rb'{"id":7,"\u0069d":2}', {}),
    "NaN as float": (b'{"id":2,"ratio":NaN}', {"ratio": float("nan")}),
    "-Infinity as float": (b'{"id":2,"ratio":-Infinity}', {"ratio": float("-inf")}),
    "NaN that nobody asks for": (b'{"id":2,"x":[NaN]}', {}),
    "a float beyond all floats": (b'{"id":2,"ratio":1e999}', {"ratio": float("inf")}),
    "a float of 10,000 digits": (b'{"id":2,"ratio":0.' + b"1" * 10_000 + b"}", {"ratio": 0.1111111111111111}),
    "NUL by an escape": (rb'{"id":2,"text":"a\u0000b"}', {"text": "a\0b"}),
    "surrogates by escapes": (rb'{"id":2,"text":"\ud83d\ude9a"}', {"text": "🚚"}),
    "a line separator of Unicode": ('{"id":2,"text":"\u2028\u0085"}'.encode(), {"text": "\u2028\u0085"}),
    "a key of 1 MB": (b'{"id":2,"' + b"k" * 1_000_000 + b'":1}', {}),
    "a text of 1 MB": (b'{"id":2,"text":"' + b"t" * 1_000_000 + b'"}', {"text": "t" * 1_000_000}),
    "a carriage return between": (b'{"id":2,\r"text":"x"}', {"text": "x"}),
    "nested as deep as Pydantic goes": (b'{"id":2,"x":' + b"[" * 190 + b"]" * 190 + b"}", {}),
    "50,000 keys": (json.dumps({"id": 2} | {f"k{i}": i for i in range(50_000)}).encode(), {}),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_bad_line_costs_itself_only(name: str, end: bytes) -> None:
    bad, kind, words = BAD[name]
    found = both(end.join([GOOD, bad, LAST, b""]), format="jsonl")
    assert found.error is None
    assert found.accepted == [1, 3]
    assert sum(row["amount"] for row in found.rows) == Decimal("4.40")
    (reject,) = found.rejects
    assert (reject["record"], reject["line"], reject["offset"], reject["raw"]) == (1, 2, len(GOOD + end), bad)
    assert (kind or "json_invalid") == reject["errors"][0]["type"]
    assert (words or "recursion limit") in reject["errors"][0]["msg"]


#: What also breaks the array that it stands in, so that nothing behind it can be told.
BREAKS_ARRAYS = {
    "truncated in a string": "the file ends inside a string",
    "truncated in a number": "the file ends inside its array of records",
    "two documents": "expected a comma or ]",
    "a document and an array": "expected a comma or ]",
    "a comment": "expected a comma or ]",
    "NUL outside": "expected a comma or ]",
    "byte order mark within": "expected a comma or ]",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_element_of_an_array_costs_itself_only(name: str) -> None:
    bad, kind, words = BAD[name]
    found = both(b"[" + b",\n".join([GOOD, bad, LAST]) + b"]", format="json")
    assert found.accepted[0] == 1
    if name in BREAKS_ARRAYS:
        assert found.error is not None
        assert BREAKS_ARRAYS[name] in found.error
        assert "after record" in found.error
        return
    assert found.error is None
    assert found.accepted == [1, 3]
    (reject,) = found.rejects
    assert (reject["record"], reject["line"], reject["offset"], reject["raw"]) == (1, 2, len(GOOD) + 3, bad)
    assert (kind or "record_too_deep") == reject["errors"][0]["type"]
    assert (words or "max_record_depth") in reject["errors"][0]["msg"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("fmt", ["jsonl", "json"])
def test_an_odd_record_has_the_value_that_pydantic_gives(name: str, fmt: str) -> None:
    odd, values = ODD[name]
    data = b"\n".join([GOOD, odd, LAST]) if fmt == "jsonl" else b"[" + b",\n".join([GOOD, odd, LAST]) + b"]"
    found = both(data, format=fmt)
    assert (found.error, found.rejects, found.accepted) == (None, [], [1, 2, 3])
    row = found.rows[1]
    made = Line.model_validate_json(odd)
    assert repr({key: row[key] for key in values}) == repr(values)
    assert repr([row["text"], row["ratio"]]) == repr([made.text, made.ratio])
    assert row["amount"] == made.amount


@pytest.mark.parametrize("times", [20, 60, 200])
@pytest.mark.parametrize("name", ["[|]", '{"a":|}', '{"a":1,"b":|}', '[{"a":1,"b":[|],"c":1}]'])
def test_what_nobody_asks_for_may_be_nested_at_no_cost(name: str, times: int) -> None:
    """A pattern that doubled with each level took all memory from 16 levels on."""
    before, _, behind = name.encode().partition(b"|")
    nested = b'{"id":2,"x":' + before * times + b"1" + behind * times + b"}"
    found = both(b"\n".join([GOOD, nested, LAST] * 3), format="jsonl")
    try:
        Line.model_validate_json(nested)
    except ValueError:
        assert found.accepted == [1, 3] * 3
        assert found.refused == [(n, ["json_invalid"]) for n in (1, 4, 7)]
    else:
        assert found.accepted == [1, 2, 3] * 3


def test_ends_of_lines_blank_lines_and_no_last_newline() -> None:
    rows = [GOOD, LAST]
    for end in (b"\n", b"\r\n"):
        for last in (b"", end, end * 3, end + b" \t" + end):
            for between in (end, end * 2, end + b"  " + end):
                found = both(between.join(rows) + last, format="jsonl")
                assert (found.error, found.rejects, found.accepted) == (None, [], [1, 3])
                assert [row["_record"] for row in found.rows] == [0, 1]
                assert found.rows[1]["_line"] == 1 + between.count(b"\n")
                assert found.rows[1]["_offset"] == len(GOOD + between)


@pytest.mark.parametrize("data", [b"\n\n \r\n", b"   "])
def test_blank_lines_alone_are_no_records(data: bytes) -> None:
    found = both(data, format="jsonl")
    assert (found.rows, found.rejects, found.error) == ([], [], None)


@pytest.mark.parametrize("fmt", ["jsonl", "json"])
def test_an_empty_file_has_no_records_and_a_warning(fmt: str) -> None:
    for compiled in (True, False):
        with pytest.warns(EmptySourceWarning, match="empty"):
            assert assay.read(b"", Line, format=fmt, settings=Settings(compiled=compiled)).counts["read"] == 0


def test_a_byte_order_mark_at_the_beginning() -> None:
    """As Pydantic has it: of JSON Lines the first record is none, of a JSON document nothing is."""
    found = both(b"\xef\xbb\xbf" + GOOD + b"\n" + LAST, format="jsonl")
    assert (found.accepted, found.refused) == ([3], [(0, ["json_invalid"])])
    found = both(b"\xef\xbb\xbf[" + GOOD + b"]", format="json")
    assert found.error is not None
    assert "begins with a byte order mark" in found.error


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("fmt", ["jsonl", "json"])
def test_other_unicode_is_told_and_refused(codec: str, fmt: str) -> None:
    found = both(GOOD.decode().encode(codec), format=fmt)
    assert (found.rows, found.rejects) == ([], [])
    assert f"looks like {codec[:6].upper()}" in str(found.error)
    assert "convert the file to UTF-8" in str(found.error)


@pytest.mark.parametrize(
    ("data", "record", "accepted", "words"),
    [
        (b"[" + GOOD + b",]", None, [1], "a comma too many"),
        (b"[" + GOOD + b",," + LAST + b"]", None, [1], "a comma too many"),
        (b"[" + GOOD + b" " + LAST + b"]", None, [1], "expected a comma or ]"),
        (b"[" + GOOD, None, [1], "ends inside its array"),
        (b"[" + GOOD + b"," + LAST[:-1], None, [1], "ends inside a record"),
        (b'{"orders":' + GOOD + b"}", "orders", [1], None),
        (b'{"orders":[' + GOOD + b"]}", "lines", [], 'no key "lines" where the records should be; keys here: "orders"'),
        (b'{"orders":null}', "orders", [], None),
    ],
)
def test_what_encloses_the_records_is_broken(
    data: bytes, record: str | None, accepted: list[int], words: str | None
) -> None:
    found = both(data, format="json", record=record)
    assert found.accepted == accepted
    if words is None:
        assert found.error is None
    else:
        assert words in str(found.error)


def test_an_object_where_an_array_was_expected_is_one_record() -> None:
    found = both(b'{"orders":[' + GOOD + b"]}", format="json")
    assert found.refused == [(0, ["missing"])]
    assert found.rejects[0]["errors"][0]["loc"] == "id"


@pytest.mark.parametrize("compiled", [True, False])
def test_a_line_of_a_gigabyte_is_a_reject_and_takes_no_memory(compiled: bool) -> None:
    size = 1 << 30
    first, last = b'{"id":1}\n{"id":2,"text":"', b'"}\n{"id":3}\n'
    found = measured(first, b"x", size, last, format="jsonl", compiled=compiled)
    length = size + len(b'{"id":2,"text":""}')
    assert (found.accepted, found.error) == ([1, 3], None)
    ((record, offset, kept, message),) = found.rejects
    assert (record, offset, kept) == (1, 9, 4096)
    assert f"{length:,} bytes long, over the limit of 16,777,216 bytes (setting max_record_bytes)" in message
    assert found.megabytes < 100


@pytest.mark.parametrize(
    ("first", "filling", "last"),
    [
        (b'[{"id":1},{"id":2,"text":"', b"x", b'"},{"id":3}]'),
        (b'[{"id":1},{"id":2,"x":[', b"1,", b'1]},{"id":3}]'),
        (b'[{"id":1},', b"9", b',{"id":3}]'),
    ],
)
def test_a_long_element_of_an_array_is_a_reject_and_takes_no_memory(first: bytes, filling: bytes, last: bytes) -> None:
    found = measured(first, filling, 1 << 26, last, format="json", compiled=True)
    assert (found.accepted, found.error) == ([1, 3], None)
    assert [(record, kept) for record, _, kept, _ in found.rejects] == [(1, 4096)]
    assert found.megabytes < 100


def test_a_string_without_end_takes_no_memory_either() -> None:
    found = measured(b'[{"id":1},{"id":2,"text":"', b"x", 1 << 26, b"", format="json", compiled=True)
    assert found.accepted == [1]
    assert "the file ends inside a string" in str(found.error)
    assert found.megabytes < 100


def test_many_odd_lines_among_good_ones() -> None:
    """All of them together, often: each has its own verdict, in its own place."""
    strange = [odd for odd, *_ in BAD.values()] + [odd for odd, _ in ODD.values()]
    rows = [row for odd in strange for row in (GOOD, odd, LAST) if len(row) < 50_000]
    for batch_bytes in (500, 100_000, 1 << 26):
        found = [
            assay.read(
                b"\n".join(rows), Line, "jsonl", trace=True, settings=Settings(compiled=one, batch_bytes=batch_bytes)
            )
            for one in (True, False)
        ]
        assert repr(found[0].frame.to_dicts()) == repr(found[1].frame.to_dicts())
        assert found[0].rejects.equals(found[1].rejects)
        assert found[0].counts == found[1].counts
        verdicts = assay.validate(rows, Line)
        wrong = [index for index, verdict in enumerate(verdicts) if isinstance(verdict, assay.Err)]
        assert found[0].rejects["record"].to_list() == wrong
        assert [rows[index] for index in wrong] == found[0].rejects["raw"].to_list()


PIPELINE = """
from assay import Parquet, Pipeline, Rows, Source
from tests.reading.hostile import Line

pipeline = Pipeline("feed", source=Source("*.jsonl", Line), outputs={"rows": Rows(to=Parquet("out/rows"))})
"""


def test_the_command_line_keeps_bad_lines_and_has_no_traceback(project: Path) -> None:
    (project / "pipelines/feed.py").write_text(PIPELINE)
    lines = [b'{"id":%d}' % n for n in range(50)]
    odd = [bad for bad, *_ in BAD.values()]
    (project / "a.jsonl").write_bytes(b"\n".join(line for pair in zip(lines, odd, strict=False) for line in pair))
    done = run("run", "feed", "--json", "--max-rejects", "100%")
    made = json.loads(done.stdout)
    assert done.exit_code == 0
    assert made["counts"] == {"read": 2 * len(odd), "written": len(odd), "filtered": 0, "rejected": len(odd)}
    letters = json.loads(run("rejects", "list", "--json").stdout)
    assert letters
    (project / "a.jsonl").write_bytes(gzip.compress(b'{"id":1}'))
    done = run("run", "feed")
    assert done.exit_code == 1
    assert "a.jsonl: looks like .gz data; give the file the suffix .gz" in done.stderr
