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
from assay.reading import ProcessorFactory, xml_blocks
from assay.reading.raw import Limits, RawRecord
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


# ---- documents that are one record -------------------------------------------------------------------------------

ALONE = [
    b"<order><id>1</id></order>",
    b"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?>\r\n<!-- c --><order a='>'>\n<id>1</id></order>\r\n \t",
    b"<order/>",
    b"<o:order xmlns:o='urn:o'><o:id>1</o:id></o:order>",
    b"<order><id>1</id></order ><?p?>",
    b"<order><id>1</id></order><!-- </order> -->",
    b"<order><!-- <a><b> --><![CDATA[</x>]]></order>",
    b"<order>" + b"<a>" * 8 + b"</a>" * 8 + b"</order>",
    b"<order>" + b"<a>" * 9 + b"</a>" * 9 + b"</order>",
    b"<order>" + b"<a>" * 12 + b"<![CDATA[" + b"</a>" * 12 + b"]]>" + b"</a>" * 12 + b"</order>",
    b"<order>" + b"<a></a>" * 30 + b"</order>",
    b"<order>" + b"<a/>" * 30 + b"</order>",
    b"<order>" + b"x" * 5_000 + b"</order>",
    b"<order><id>1</id>",
    b"<order/><order/>",
    b"<other><order/></other>",
    b"<!DOCTYPE order><order/>",
    '<?xml version="1.0" encoding="utf-16"?><order>é</order>'.encode("utf-16"),
    '<?xml version="1.0" encoding="latin-1"?><order>é</order>'.encode("latin-1"),
    b"<order>\xff</order>",
    b"",
    b" \n",
]


def records(data: bytes) -> tuple[list[RawRecord], str]:
    import io

    processor = ProcessorFactory.create(
        "xml", record="/order | /o:order", namespaces={"o": "urn:o"}, limits=Limits(4_000, 9)
    )
    found: list[RawRecord] = []
    try:
        for block in processor.blocks(io.BytesIO(data), 10**6):  # type: ignore[attr-defined]
            found += [block.raw(row) for row in range(len(block))]
    except SourceError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("data", ALONE)
def test_a_document_that_is_one_record_is_what_the_splitter_finds(data: bytes) -> None:
    found = records(data)
    with mock.patch.object(xml_blocks.XmlBlocks, "_alone", return_value=None):
        assert found == records(data)


def test_most_documents_that_are_one_record_are_not_split() -> None:
    with mock.patch.object(xml_blocks.XmlBlocks, "_exactly", side_effect=AssertionError):
        assert all(len(records(data)[0]) == 1 for data in ALONE[:2])
