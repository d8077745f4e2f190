"""Any column comes back equal from JSON and from CSV, and the two ways of writing JSON say the same."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing.parametric import dataframes

from assay.errors import SinkError
from assay.sinks import text_values
from assay.sinks.csv import CsvText
from assay.sinks.jsonl import JsonLines
from assay.sinks.text_file import TextFormat
from assay.sinks.text_values import check_storable, check_values, json_lines

SUITES = Path(os.environ.get("ASSAY_SUITES", "../shared/suites"))
FORMATS: list[TextFormat] = [JsonLines(), CsvText(",", guard_formulas=False), CsvText("\t", guard_formulas=True)]

DTYPES: list[Any] = [
    *(pl.Int8, pl.Int64, pl.UInt8, pl.UInt64, pl.Float32, pl.Float64, pl.Boolean),
    *(pl.String, pl.Binary, pl.Time, pl.Duration("us"), pl.Duration("ns"), pl.Decimal, pl.Enum, pl.Categorical),
    *(pl.Date, pl.Datetime("us"), pl.Datetime("ns", "Europe/Berlin"), pl.Datetime("ms", "Africa/Monrovia"), pl.Null),
    *(pl.List, pl.Struct, pl.Array),
]


def again(text: TextFormat, frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    path = folder / "rows"
    path.write_bytes(text.head(frame.schema) + bytes(text.rows(frame)))
    return text.scan(path, frame.schema).collect()


def storable(frame: pl.DataFrame) -> bool:
    try:
        for name, dtype in frame.schema.items():
            check_storable(name, dtype, "lines")
        check_values(frame, 0, "lines")
    except SinkError:
        return False
    return True


@pytest.mark.parametrize("text", FORMATS, ids=lambda text: f"{text.name}{len(text.options) and text.delimiter}")
@given(frame=dataframes(min_cols=1, max_cols=4, min_size=1, max_size=6, allowed_dtypes=DTYPES, allow_null=True))
def test_any_frame_comes_back_equal(
    text: TextFormat, frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if storable(frame):
        found = again(text, frame, tmp_path_factory.mktemp("text"))
        assert found.schema == frame.schema
        assert found.equals(frame), (found.rows(), frame.rows())


@given(
    cells=st.lists(
        st.one_of(st.none(), st.text(max_size=12), st.text("'=+-@\t\r\n\",; \\\x00", max_size=6)),
        min_size=1,
        max_size=30,
    )
)
@pytest.mark.parametrize("text", FORMATS, ids=lambda text: f"{text.name}{len(text.options) and text.delimiter}")
def test_any_text_comes_back_equal(
    text: TextFormat, cells: list[str | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("text")
    flat = pl.DataFrame({"a": cells}, schema={"a": pl.String})
    for frame in (flat, flat.with_columns(b=pl.concat_list("a"))):
        assert again(text, frame, folder).equals(frame)


@pytest.mark.parametrize("text", FORMATS, ids=lambda text: f"{text.name}{len(text.options) and text.delimiter}")
def test_texts_come_back_equal_from_files_that_are_read_in_many_pieces(text: TextFormat, tmp_path: Path) -> None:
    texts = ["a\n\"b\",'c'\r\n", "", None, "=1+1", "\\", "x" * 300, '"', "\n\n\n", ",", "'=1"]
    frame = pl.DataFrame({"id": range(120_000)}).with_columns(
        text=pl.Series(texts * 12_000), amount=pl.col("id").cast(pl.Decimal(38, 2))
    )
    assert again(text, frame, tmp_path).equals(frame)


@pytest.mark.parametrize("text", FORMATS, ids=lambda text: f"{text.name}{len(text.options) and text.delimiter}")
def test_naughty_strings_of_others_come_back_byte_for_byte(text: TextFormat, tmp_path: Path) -> None:
    path = next(SUITES.rglob("blns.json"), None) if SUITES.is_dir() else None
    if path is None:
        pytest.skip("the suite of naughty strings is absent (set ASSAY_SUITES)")
    frame = pl.DataFrame({"text": json.loads(path.read_bytes())}).with_row_index()
    assert frame.height > 500
    assert again(text, frame, tmp_path)["text"].to_list() == frame["text"].to_list()


@given(
    frame=dataframes(
        min_cols=1,
        max_cols=3,
        min_size=1,
        max_size=5,
        allow_null=True,
        allowed_dtypes=[*DTYPES[:19], pl.List, pl.Struct],
    )
)
def test_the_plain_reference_says_what_polars_says(frame: pl.DataFrame) -> None:
    """Every row by the reference: where Polars can write it, both are the same JSON."""
    if not storable(frame):
        return
    odd = set(text_values._unspeakable(frame))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_values, "_unspeakable", lambda _: list(range(frame.height)))
        reference = bytes(json_lines(frame)).decode().split("\n")
    for row, line in enumerate(bytes(json_lines(frame)).decode().split("\n")):
        assert row in odd or json.loads(line or "null") == json.loads(reference[row] or "null")


def test_what_is_written_is_json_of_rfc_8259_and_decimals_are_strings() -> None:
    def refuse(token: str) -> None:
        raise AssertionError(token)

    frame = pl.DataFrame(
        {
            "net": pl.Series([Decimal("0.10"), None, Decimal(12)], dtype=pl.Decimal(38, 2)),
            "share": [0.1, math.nan, -math.inf],
            "tags": [["ä", None], [], None],
        }
    )
    lines = [json.loads(line, parse_constant=refuse) for line in bytes(json_lines(frame)).splitlines()]
    assert lines == [
        {"net": "0.10", "share": 0.1, "tags": ["ä", None]},
        {"net": None, "share": "NaN", "tags": []},
        {"net": "12.00", "share": "-Infinity", "tags": None},
    ]


def test_one_float_that_is_no_number_costs_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    reference = text_values._reference

    def count(value: Any, dtype: pl.DataType) -> str:
        nonlocal seen
        seen += isinstance(value, dict)
        return reference(value, dtype)

    monkeypatch.setattr(text_values, "_reference", count)
    json_lines(pl.DataFrame({"x": [0.5] * 100 + [math.inf] + [0.5] * 100}))
    assert seen == 1


def test_csv_is_that_of_rfc_4180_and_tells_null_from_the_empty_string() -> None:
    text = CsvText(",", guard_formulas=False)
    frame = pl.DataFrame({"a": ["", None, 'x"y', "1,2"], "b\n": ["\r\n", "\n", " ", "ä"]})
    written = (text.head(frame.schema) + bytes(text.rows(frame))).decode()
    assert written.startswith('a,"b\n"\n"","\r\n"\n,"\n"\n')
    rows = list(csv.reader(io.StringIO(written, newline=""), strict=True))
    assert rows == [["a", "b\n"], ["", "\r\n"], ["", "\n"], ['x"y', " "], ["1,2", "ä"]]


def test_formulas_are_guarded_on_request_and_numbers_are_not() -> None:
    cells = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=1", "''=1", "'x", "x=1", " =1", "", None]
    frame = pl.DataFrame({"=a": cells, "net": pl.Series([Decimal("-1.5")] * 13, dtype=pl.Decimal(9, 2)), "n": -1})
    plain, guarded = (
        list(csv.reader(io.StringIO((text.head(frame.schema) + bytes(text.rows(frame))).decode(), newline="")))
        for text in (CsvText(",", guard_formulas=False), CsvText(",", guard_formulas=True))
    )
    assert [row[0] for row in plain[1:]] == [cell or "" for cell in cells]
    shown = [row[0] for row in guarded]
    assert shown == ["'=a", "'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "''=1", "'''=1", "'x", "x=1", " =1", "", ""]
    assert {tuple(row[1:]) for row in guarded[1:]} == {("-1.50", "-1")}


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (pl.Struct([]), "struct without fields"),
        (pl.List(pl.Int128()), "Int128, which is not written as text: cast it"),
        (pl.Struct({"x": pl.Object()}), "Object"),
    ],
)
def test_a_type_that_is_not_written_is_named(dtype: pl.DataType, words: str) -> None:
    with pytest.raises(SinkError, match=f'output lines: column "odd" .*{words}'):
        check_storable("odd", dtype, "lines")


@pytest.mark.parametrize("dtype", [pl.Date(), pl.Datetime("us"), pl.Datetime("ms", "UTC"), pl.List(pl.Date())])
def test_a_date_that_others_cannot_read_is_named_with_its_row(dtype: pl.DataType) -> None:
    leaf = dtype.inner if isinstance(dtype, pl.List) else dtype
    ticks = {"ms": 86_400_000, "us": 86_400_000_000}[leaf.time_unit] if isinstance(leaf, pl.Datetime) else 1
    days = [-719_162, 2_932_896, 2_932_897]
    column = pl.Series([day * ticks for day in days]).cast(pl.Int32 if ticks == 1 else pl.Int64).cast(leaf)
    if isinstance(dtype, pl.List):
        column = pl.Series([[value] for value in column.to_physical()], dtype=pl.List(pl.Int32)).cast(dtype)
    with pytest.raises(SinkError, match=r'column "day" has a date outside of the years 1 to 9999, first in row 13'):
        check_values(pl.DataFrame({"day": column}), 10, "lines")
    check_values(pl.DataFrame({"day": column})[:2], 10, "lines")
