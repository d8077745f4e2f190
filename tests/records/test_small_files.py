"""Small files are judged together: with the same outcome as one by one, file by file."""

from __future__ import annotations

import warnings
from dataclasses import astuple
from pathlib import Path
from typing import Annotated
from unittest import mock

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import BaseModel, Field

from assay import XPath
from assay.errors import SourceError
from assay.records import REJECTS, TRACE, RecordReader, batches
from assay.records.batches import Format
from assay.settings import Settings


class Order(BaseModel):
    id: int
    code: Annotated[str, Field(max_length=3)]
    skus: Annotated[list[str], XPath("line/sku | item/sku")] = []


XML = Format("xml", record="/order | batch/order", namespaces={})
GOOD = "<order><id>{}</id><code>ab</code><line><sku>x</sku></line></order>"
FILES = st.sampled_from(
    [
        *[GOOD] * 4,
        "<?xml version='1.0'?>\n" + GOOD + "\n",
        "<batch>" + GOOD * 3 + "</batch>",
        "<order><id>x</id><code>long</code></order>",
        "<order><id>{}</id><code>ab</code></order><!-- behind -->",
        "<other/>",
        "",
        "<order><id>{}</id>",
        "<batch>" + GOOD + "<order></batch>",
        GOOD + GOOD,
        "<!DOCTYPE order>" + GOOD,
        "a,b\n1,2\n",
        '<?xml version="1.0" encoding="iso-8859-1"?>' + GOOD.replace("ab", "é"),
    ]
)


def outcome(paths: list[str], how: Format, *, together: bool) -> tuple[pl.DataFrame, pl.DataFrame, str, list[object]]:
    """Accepted, rejected, how it ended, and the counts of the files."""
    reader = RecordReader(Order, how, Settings(batch_bytes=400))
    frames, rejects, end = [pl.DataFrame(schema=reader.schema | TRACE)], [pl.DataFrame(schema=REJECTS)], ""
    files = {}
    with mock.patch.object(batches, "_SMALL", 10**6 if together else -1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for batch in reader.batches(reader.check(paths)):
                frames.append(batch.frame)
                rejects.append(batch.rejects)
                files.update({file.name: file for file in batch.files})
        except SourceError as error:
            end = str(error)
    counts = [(*astuple(file)[:4], file.sha256 if not end else None) for file in files.values()]
    return pl.concat(frames), pl.concat(rejects), end, [count for count in counts if not end or count[1]]


@given(contents=st.lists(FILES, min_size=2, max_size=12))
def test_together_or_one_by_one(tmp_path_factory: pytest.TempPathFactory, contents: list[str]) -> None:
    folder = tmp_path_factory.mktemp("small")
    paths = [str(folder / f"{number:02}.xml") for number in range(len(contents))]
    for number, (path, content) in enumerate(zip(paths, contents, strict=True)):
        text = content.replace("{}", str(number))
        Path(path).write_bytes(text.encode("iso-8859-1" if "8859" in text else "utf-8"))
    one, several = (outcome(paths, XML, together=together) for together in (False, True))
    assert_frame_equal(several[0], one[0])
    assert_frame_equal(several[1], one[1])
    assert several[2:] == one[2:]


def test_files_of_lines_too(tmp_path: Path) -> None:
    for number in range(40):
        row = f'{{"id": {number}, "code": "ab"}}\n'
        (tmp_path / f"{number:02}.jsonl").write_text(row * (number % 4) + ("{" if number == 17 else ""))
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    one, several = (outcome(paths, Format(), together=together) for together in (False, True))
    assert_frame_equal(several[0], one[0])
    assert_frame_equal(several[1], one[1])
    assert several[2:] == one[2:]
    assert several[1].height == 1


def test_empty_files_are_warned_of_by_name(tmp_path: Path) -> None:
    for name, content in (("a", "<order/>"), ("b", ""), ("c", "<other/>"), ("d", "<order/>")):
        (tmp_path / f"{name}.xml").write_text(content)
    reader = RecordReader(Order, XML)
    with pytest.warns(batches.EmptySourceWarning) as seen:
        assert sum(batch.read for batch in reader.batches(reader.check(str(tmp_path / "*.xml")))) == 2
    words = [str(one.message) for one in seen]
    assert [word.partition("/")[2][-30:] for word in words] != []
    assert "b.xml: the file is empty" in words[0]
    assert "c.xml: no element is a record" in words[1]
