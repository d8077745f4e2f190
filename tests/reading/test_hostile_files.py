"""Files that are not what their names say: a SourceError says what they look like, and nothing is read of them."""

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from pydantic import RootModel
from tests.cli.using import assay as run
from tests.reading.hostile import Line, both

import assay
from assay.reading import ProcessorFactory
from assay.records import EmptySourceWarning

ROWS = [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]
LINE = json.dumps(ROWS[0]).encode()
JSONL = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
XML = b'<?xml version="1.0"?>\n<r>\n<a><id>1</id></a>\n<a><id>2</id></a>\n</r>\n'
CSV = b"id,text,amount\n1,a,1.10\n2,b,2.20\n"


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("orders.jsonl", JSONL)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("orders.jsonl")
        member.size = len(JSONL)
        archive.addfile(member, io.BytesIO(JSONL))
    return file.getvalue()


def written(write: Callable[[pl.DataFrame, io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(pl.DataFrame(ROWS), file)
    return file.getvalue()


def database() -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table x (id integer)")
        made = bytes(connection.serialize())
    connection.close()
    return made


#: What a file holds -> its bytes, and the words by which it is told.
CONTENTS: dict[str, tuple[bytes, str]] = {
    "json over lines": (json.dumps(ROWS, indent=2).encode(), "JSON"),
    "json in one line": (json.dumps(ROWS).encode() + b"\n", "JSON"),
    "json with a line a record": (b"[" + LINE + b",\n" + LINE + b"\n]\n", "JSON"),
    "json of an object over lines": (json.dumps({"orders": ROWS}, indent=1).encode(), "JSON"),
    "jsonl": (JSONL, "JSON"),
    "xml": (XML, "XML"),
    "xml without declaration": (XML.partition(b"\n")[2], "XML"),
    "xml behind blanks and a mark": (b"\xef\xbb\xbf\n" + XML.partition(b"\n")[2], "XML"),
    "csv": (CSV, "CSV"),
    "csv with semicolons": (CSV.replace(b".", b"_").replace(b",", b";").replace(b"_", b","), "CSV"),
    "csv with tabs": (CSV.replace(b",", b"\t"), "CSV"),
    "csv in quotes": (b'"id","text"\r\n"1","a, b"\r\n', "CSV"),
    "gz": (gzip.compress(JSONL), ".gz data"),
    "bz2": (bz2.compress(JSONL), ".bz2 data"),
    "xz": (lzma.compress(JSONL), ".xz data"),
    "zip": (zipped(), "a ZIP archive"),
    "tar": (tarred(), "a tar archive"),
    "parquet": (written(lambda frame, file: frame.write_parquet(file)), "Parquet"),
    "arrow": (written(lambda frame, file: frame.write_ipc(file)), "Arrow IPC"),
    "avro": (written(lambda frame, file: frame.write_avro(file)), "Avro"),
    "sqlite": (database(), "an SQLite database"),
    "html": (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "an HTML page"),
    "html behind blanks": (b"\n\n <!doctype HTML><html><body>Not found<br></html>", "an HTML page"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "a PDF document"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG picture"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a Git LFS pointer"),
    "utf-16": (JSONL.decode().encode("utf-16"), "UTF-16"),
    "utf-16 without a mark": (JSONL.decode().encode("utf-16-le"), "UTF-16"),
    "utf-16 csv": (CSV.decode().encode("utf-16-be"), "UTF-16"),
    "utf-32": (JSONL.decode().encode("utf-32"), "UTF-32"),
}
#: Where a content may stand under a suffix, or is told by other words.
RIGHT = {
    ("jsonl", "jsonl"),
    # A JSON document is an array of records, one record, or several in a row.
    *((name, "json") for name in CONTENTS if name.startswith("json")),
    *((name, "xml") for name in CONTENTS if name.startswith("xml")),
    *((name, "csv") for name in CONTENTS if name.startswith("csv")),
}
IN_UTF_16 = {"utf-16": "JSON", "utf-16 without a mark": "JSON", "utf-16 csv": "CSV"}
SUFFIXES = [name for name in ("jsonl", "json", "xml", "csv") if name in ProcessorFactory.names()]


@pytest.mark.parametrize(("name", "suffix"), [(n, s) for n in CONTENTS for s in SUFFIXES if (n, s) not in RIGHT])
@pytest.mark.parametrize("compress", [False, True])
def test_a_file_of_another_kind_is_told(tmp_path: Path, name: str, suffix: str, compress: bool) -> None:
    data, looks = CONTENTS[name]
    path = tmp_path / (f"feed.{suffix}.gz" if compress else f"feed.{suffix}")
    path.write_bytes(gzip.compress(data) if compress else data)
    found = both(path)
    assert (found.rows, found.rejects) == ([], [])
    expected = IN_UTF_16.get(name, looks) if suffix == "xml" else looks
    assert f"{path}: looks like " in str(found.error)
    assert expected in str(found.error)
    assert "byte 0" in str(found.error)


def test_what_is_what_it_is_called_is_read(tmp_path: Path) -> None:
    for name, suffix in sorted(RIGHT):
        if suffix == "csv" or name == "xml behind blanks and a mark":
            continue
        path = tmp_path / f"feed.{suffix}"
        path.write_bytes(CONTENTS[name][0])
        found = both(path, record="orders" if "object" in name else None)
        assert (found.error, found.rejects, len(found.rows)) == (None, [], 2), name


@pytest.mark.parametrize("data", [b"Dear Sir,\nhere are the orders.\n", b"id: 1\ntext: a\n", b"insert into x;\n"])
def test_plain_text_is_no_xml(data: bytes) -> None:
    found = both(data, format="xml")
    assert "looks like plain text, not XML; XML begins with <" in str(found.error)


def test_lines_that_only_look_odd_are_rejects_and_not_refused() -> None:
    """A bad record at the beginning says nothing of the file."""
    for first in (b'[{"id":1}]', b"[1,2]", b'{"id":1,', b'{"id":', b"id,text", b"17", b"null", b"{", b"a\0b\0c\0"):
        data = first + b"\n" + JSONL
        if first == b"{":
            assert "one JSON document" in str(both(data, format="jsonl").error)
            continue
        found = both(data, format="jsonl")
        assert found.error is None
        assert [reject["record"] for reject in found.rejects] == [0]
        assert len(found.rows) == 2
    found = both(b"no, json\nat, all\n" + LINE, format="jsonl")
    assert (found.accepted, [reject["record"] for reject in found.rejects]) == ([1], [0, 1])


def test_lines_that_are_arrays_are_read_where_the_model_is_one() -> None:
    class Pairs(RootModel[list[dict[str, int]]]):
        pass

    result = assay.read(b'[{"a":1},{"b":2}]\n', Pairs, format="jsonl")
    assert result.counts == {"read": 1, "accepted": 1, "rejected": 0}


def test_a_file_that_is_empty_is_none_of_another_kind(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"feed.{suffix}"
        path.write_bytes(b"")
        with pytest.warns(EmptySourceWarning):
            assert assay.read(path, Line).counts == {"read": 0, "accepted": 0, "rejected": 0}


def test_at_the_command_line(project: Path) -> None:
    (project / "pipelines/feed.py").write_text(
        "from assay import Parquet, Pipeline, Rows, Source\n"
        "from tests.reading.hostile import Line\n"
        'pipeline = Pipeline("feed", source=Source("feed.*", Line), outputs={"rows": Rows(to=Parquet("out/rows"))})\n'
    )
    for name, (data, looks) in CONTENTS.items():
        if (name, "jsonl") in RIGHT:
            continue
        (project / "feed.jsonl").write_bytes(data)
        done = run("run", "feed")
        assert done.exit_code == 1
        assert f"error: feed.jsonl: looks like {'one ' if looks == 'JSON' else ''}{looks}" in done.stderr
        assert "Nothing was published." in done.stderr
    assert not (project / "out").exists()
