"""Staged parts: their sizes, their order, and how duplicates are found among many."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import SinkError
from assay.sinks import staging
from assay.sinks.staging import Staging, check_unique, scan

FRAME = pl.DataFrame({"id": range(25)})


@pytest.mark.parametrize("file_format", ["arrow", "parquet"])
@pytest.mark.parametrize("batch", [1, 4, 10, 11, 25])
def test_parts_have_their_size_whatever_the_batches(tmp_path: Path, file_format: staging.Format, batch: int) -> None:
    parts = Staging(tmp_path / "s", "lines", file_format, part_rows=10)
    parts.expect(FRAME.schema)
    for frame in FRAME.iter_slices(batch):
        parts.add(frame)
    assert parts.rows == 25
    files = parts.seal()
    assert [file.rows for file in files] == [10, 10, 5]
    assert parts.seal() == files
    assert scan(files, file_format).collect().equals(FRAME)


def test_rows_go_to_the_disk_as_soon_as_a_part_is_full(tmp_path: Path) -> None:
    parts = Staging(tmp_path / "s", "lines", "parquet", part_rows=10)
    parts.expect(FRAME.schema)
    for number, frame in enumerate(FRAME.iter_slices(5)):
        parts.add(frame)
        assert len(list((tmp_path / "s").glob("*"))) == (number + 1) // 2


@given(
    rows=st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 3)), max_size=12),
    bucket=st.sampled_from([1, 3, 1_000]),
)
def test_the_first_row_with_a_key_that_is_no_key_is_found_however_many_there_are(
    rows: list[tuple[str | None, int]], bucket: int
) -> None:
    frame = pl.LazyFrame(rows, schema={"*": pl.String, "n": pl.Int64}, orient="row")
    bad = [i for i, row in enumerate(rows) if rows.count(row) > 1 or row[0] is None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "_KEY_ROWS", bucket)
        if not bad:
            check_unique(frame, len(rows), ("*", "n"), "lines")
            return
        with pytest.raises(SinkError) as raised:
            check_unique(frame, len(rows), ("*", "n"), "lines")
    first = rows[bad[0]]
    times = rows.count(first)
    expected = f"*={first[0]!r}, n={first[1]!r} " + (f"is there {times} times" if times > 1 else "has a null")
    assert str(raised.value) == (
        f"output lines: key (*, n) does not tell the rows apart: {expected}, first in row {bad[0] + 1}"
    )
