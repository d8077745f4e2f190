"""What records look like is learnt where it is worth it, and kept."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from pydantic import BaseModel

from assay.records import RecordReader, compiled
from assay.records import batches as batches_module
from assay.records.batches import Format
from assay.records.json_shape import JsonShapes


class Row(BaseModel):
    a: int
    b: str


def lines(count: int, *, turned: bool = False) -> bytes:
    row = '{"b":"x","a":%d}\n' if turned else '{"a":%d,"b":"x"}\n'
    return "".join(row % number for number in range(count)).encode()


def read(*feeds: bytes, folder: Path, together: bool = False) -> tuple[int, int]:
    """How many records went to the reference, and how often a shape was made."""
    paths = [folder / f"{number}.jsonl" for number in range(len(feeds))]
    for path, feed in zip(paths, feeds, strict=True):
        path.write_bytes(feed)
    reader = RecordReader(Row, Format())
    made = mock.patch.object(JsonShapes, "shape", autospec=True, side_effect=JsonShapes.shape)
    small = mock.patch.object(batches_module, "_SMALL", 10**6 if together else -1)
    with mock.patch.object(compiled, "_WORTH_RECORDS", 20), small, made as shape:
        batches = list(reader.batches(reader.check([str(path) for path in paths])))
    referred = {file.name: file.referred for batch in batches for file in batch.files}
    return sum(referred.values()), shape.call_count


def test_small_files_are_judged_together(tmp_path: Path) -> None:
    assert read(*[lines(1)] * 30, folder=tmp_path, together=True) == (0, 1)
    # Two looks among them are learnt one after the other, and used at once.
    assert read(*[lines(1)] * 300, *[lines(1, turned=True)] * 300, folder=tmp_path, together=True) == (0, 2)


def test_of_few_records_nothing_is_learnt(tmp_path: Path) -> None:
    assert read(lines(19), lines(5), folder=tmp_path) == (24, 0)


def test_what_is_learnt_of_one_file_holds_for_the_next(tmp_path: Path) -> None:
    assert read(*[lines(30)] * 5, lines(3), folder=tmp_path) == (0, 1)


def test_another_look_is_learnt_and_the_first_is_kept(tmp_path: Path) -> None:
    referred, made = read(lines(50), lines(50, turned=True), lines(50), lines(50, turned=True), folder=tmp_path)
    assert referred == 0
    assert made == 2


def test_two_looks_in_one_file_are_both_learnt(tmp_path: Path) -> None:
    mixed = b"".join(lines(1, turned=number % 3 == 0) for number in range(300))
    assert read(mixed, folder=tmp_path)[0] == 0
