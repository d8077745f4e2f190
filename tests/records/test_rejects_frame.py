"""The frame of rejects, which is made by columns, is what Polars makes of their rows."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assay.reading import RawRecord
from assay.records import REJECTS, Reject, rejects_frame

errors = st.fixed_dictionaries({name: st.text(max_size=3) for name in ("loc", "type", "msg", "input")})
raws = st.builds(RawRecord, st.binary(max_size=3), st.integers(0, 9), st.integers(1, 9), st.integers(0, 99))


@given(st.lists(st.tuples(raws, st.lists(errors, max_size=3)), max_size=5))
def test_columns_are_rows(several: list[tuple[RawRecord, list[dict[str, str]]]]) -> None:
    made = rejects_frame([Reject("a.jsonl", raw, "validate", errors) for raw, errors in several])
    rows = [("a.jsonl", raw.record, raw.line, raw.offset, "validate", errors, raw.data) for raw, errors in several]
    expected = pl.DataFrame(rows, schema=REJECTS, orient="row")
    assert made.schema == expected.schema
    assert made.equals(expected)
