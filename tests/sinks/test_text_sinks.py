"""What is particular to the sinks of text files: one file, one stream, and what stands in their way."""

from __future__ import annotations

import gzip
import json
import os
import resource
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.errors import ConfigurationError, SinkError
from assay.sinks import Csv, Jsonl, Parquet, Staged, discard, publish

Text = Csv | Jsonl
FRAME = pl.DataFrame({"id": [1, 2, 3], "text": ["a", None, ""]})


def prepare(root: Path, run: str, sink: Text | Parquet, frame: pl.DataFrame = FRAME) -> Staged:
    target = sink.open(root, root / ".assay" / run / "lines", "lines", default="")
    target.check(frame.schema)
    target.stage(frame)
    return target.prepare()


def put(root: Path, run: str, sink: Text | Parquet, frame: pl.DataFrame = FRAME) -> None:
    staged = prepare(root, run, sink, frame)
    assert publish(staged, run)
    discard(staged)


def read(root: Path, sink: Text) -> pl.DataFrame:
    found = sink.open(root, root / "s", "lines", default="").read()
    assert found is not None
    return found.collect()


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_any_tool_reads_the_file(tmp_path: Path, suffix: str) -> None:
    put(tmp_path, "r1", Jsonl(f"out/lines.jsonl{suffix}"))
    put(tmp_path, "r1", Csv(f"out/lines.csv{suffix}"))
    out = tmp_path / "out"
    for path in (out / f"lines.jsonl{suffix}", out / f"lines.csv{suffix}"):
        assert path.is_symlink()
        assert not path.readlink().is_absolute()
        assert path.resolve().name == path.name
    assert pl.read_ndjson(out / f"lines.jsonl{suffix}").equals(FRAME)
    assert pl.read_csv(out / f"lines.csv{suffix}").equals(FRAME)
    if suffix == ".gz":
        assert gzip.decompress((out / "lines.csv.gz").read_bytes()) == b'id,text\n1,a\n2,\n3,""\n'
    if suffix == "":
        assert (out / "lines.jsonl").read_bytes() == (
            b'{"id":1,"text":"a"}\n{"id":2,"text":null}\n{"id":3,"text":""}\n'
        )


@pytest.mark.parametrize("sink", [Jsonl("lines.jsonl.gz", mode="append"), Csv("lines.csv.gz", mode="append")])
def test_a_compressed_file_has_one_member_after_an_append_too(tmp_path: Path, sink: Text) -> None:
    for number in range(3):
        put(tmp_path, f"r{number}", sink)
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    content = stream.decompress((tmp_path / sink.path).read_bytes())
    assert stream.eof
    assert stream.unused_data == b""
    assert content.count(b"\n") == 9 + (sink.kind == "csv")
    assert read(tmp_path, sink)["id"].to_list() == [1, 2, 3] * 3


@pytest.mark.parametrize("sink", [Jsonl("lines.jsonl", mode="append"), Csv("lines.csv", mode="append")])
def test_the_file_depends_on_the_rows_and_not_on_the_batches_they_came_in(tmp_path: Path, sink: Text) -> None:
    frame = pl.DataFrame({"id": range(1_000)})
    found = set()
    for batch in (1_000, 7):
        root = tmp_path / str(batch)
        target = sink.open(root, root / "s", "lines", default="")
        target.check(frame.schema)
        for part in frame.iter_slices(batch):
            target.stage(part)
        publish(target.prepare(), "r1")
        found.add((root / sink.path).read_bytes())
    assert len(found) == 1


@pytest.mark.parametrize(
    "sink", [Jsonl("lines.jsonl", mode="upsert", key=("id",)), Csv("lines.csv", mode="upsert", key=("id",))]
)
def test_an_upsert_keeps_the_order_and_puts_new_rows_behind(tmp_path: Path, sink: Text) -> None:
    put(tmp_path, "r1", sink)
    put(tmp_path, "r2", sink, FRAME[1:2].with_columns(text=pl.lit("new")))
    assert read(tmp_path, sink).rows() == [(1, "a"), (3, ""), (2, "new")]


def test_whoever_has_the_file_open_reads_it_to_its_end(tmp_path: Path) -> None:
    sink = Jsonl("lines.jsonl")
    put(tmp_path, "r0", sink)
    with (tmp_path / "lines.jsonl").open() as stream:
        for number in range(1, 5):
            put(tmp_path, f"r{number}", sink, FRAME[:1])
        assert len(stream.readlines()) == 3
    versions = tmp_path / ".lines.jsonl.versions"
    assert sorted(path.name for path in versions.iterdir() if path.is_dir()) == ["000004-r3", "000005-r4"]


def test_another_kind_of_sink_does_not_read_what_is_there(tmp_path: Path) -> None:
    put(tmp_path, "r1", Jsonl("lines"))
    for other, words in ((Csv("lines"), "holds jsonl, not csv"), (Parquet("lines"), "holds jsonl, not parquet")):
        with pytest.raises(SinkError, match=f"output lines: .*lines {words}: move it away"):
            prepare(tmp_path, "r2", other)
    put(tmp_path, "r1", Parquet("folder"))
    with pytest.raises(SinkError, match="holds parquet, not csv"):
        prepare(tmp_path, "r2", Csv("folder"))


def test_rows_that_are_written_otherwise_do_not_stand_beside_others(tmp_path: Path) -> None:
    put(tmp_path, "r1", Csv("lines.csv"))
    for other, words in (
        (Csv("lines.csv", mode="append", delimiter=";"), "delimiter=',', and now it is ';'"),
        (Csv("lines.csv", mode="append", guard_formulas=True), "guard_formulas=False, and now it is True"),
    ):
        with pytest.raises(SinkError, match=f"output lines: .* written with {words}"):
            prepare(tmp_path, "r2", other)
    put(tmp_path, "r3", Csv("lines.csv", delimiter=";"))
    assert (tmp_path / "lines.csv").read_text() == 'id;text\n1;a\n2;\n3;""\n'


# What stands in the way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "file", "link", "dangling link"])
@pytest.mark.parametrize("sink", [Jsonl("out/lines"), Csv("out/lines")])
def test_what_assay_did_not_make_is_never_touched(tmp_path: Path, kind: str, sink: Text) -> None:
    out = tmp_path / "out/lines"
    out.parent.mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    match kind:
        case "folder":
            out.mkdir()
        case "file":
            out.write_bytes(b"mine")
        case "link":
            out.symlink_to("../mine")
        case "dangling link":
            out.symlink_to("nowhere")
    before = tree(tmp_path)
    with pytest.raises(SinkError, match=r"output lines: .*out/lines is a .* that Assay did not make: move it away"):
        prepare(tmp_path, "r1", sink)
    assert tree(tmp_path) == before


def test_what_comes_there_between_preparing_and_publishing_is_not_touched_either(tmp_path: Path) -> None:
    staged = prepare(tmp_path, "r1", Csv("lines.csv"))
    (tmp_path / "lines.csv").write_bytes(b"mine")
    with pytest.raises(SinkError, match="a file that Assay did not make"):
        publish(staged, "r1")
    assert (tmp_path / "lines.csv").read_bytes() == b"mine"
    (tmp_path / "lines.csv").unlink()
    assert publish(staged, "r1")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xff"])
def test_a_damaged_version_is_named(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "r1", Csv("lines.csv"))
    (tmp_path / ".lines.csv.versions/000001-r1.json").write_bytes(content)
    with pytest.raises(SinkError, match=r"output lines: cannot read .*000001-r1\.json"):
        prepare(tmp_path, "r2", Csv("lines.csv"))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


NO_ROOM = r"output lines: cannot write to .* \([\d,]+ bytes are needed, [\d,]+ are free\)"
SINKS = [Jsonl("lines.jsonl", mode="append"), Csv("lines.csv.gz", mode="append"), Parquet("lines", mode="append")]


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.kind)
def test_no_room_when_rows_are_staged(tmp_path: Path, sink: Text | Parquet) -> None:
    texts = pl.DataFrame({"text": [os.urandom(50).hex() for _ in range(3_000)]})
    put(tmp_path, "r1", sink, texts)
    before = tree(tmp_path)
    with (
        files_of_at_most(60_000),
        pytest.raises(
            SinkError, match=r"output lines: cannot write to .* \([\d,]+ bytes are needed, [\d,]+ are free\)"
        ),
    ):
        prepare(tmp_path, "r2", sink, texts)
    discard(tmp_path / ".assay/r2/lines")
    assert tree(tmp_path) == before
    put(tmp_path, "r3", sink, texts)


@pytest.mark.parametrize("sink", SINKS[:2], ids=lambda sink: sink.kind)
def test_no_room_when_a_version_is_built(tmp_path: Path, sink: Text | Parquet) -> None:
    texts = pl.DataFrame({"text": [os.urandom(50).hex() for _ in range(3_000)]})
    put(tmp_path, "r1", sink, texts)
    path = tmp_path / sink.path
    before = path.read_bytes()
    staged = prepare(tmp_path, "r2", sink, texts)
    with (
        files_of_at_most(len(before) + 1_000),
        pytest.raises(
            SinkError, match=r"output lines: cannot write to .* \([\d,]+ bytes are needed, [\d,]+ are free\)"
        ),
    ):
        publish(staged, "r2")
    assert path.read_bytes() == before
    assert publish(staged, "r2")
    assert read(tmp_path, sink).height == 6_000  # type: ignore[arg-type]


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.kind)
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path, sink: Text | Parquet) -> None:
    staged = prepare(tmp_path, "r1", sink)
    for folder in (tmp_path, *tmp_path.parents):
        # Those of pytest are its user's alone.
        if "pytest" in folder.name:
            folder.chmod(0o755)
    tmp_path.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65_534)
        with pytest.raises(SinkError, match="output lines: cannot write to .*Permission denied"):
            publish(staged, "r1")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o755)
    assert not (tmp_path / sink.path).exists()
    assert publish(staged, "r1")


@pytest.mark.parametrize(
    ("path", "words"),
    [("", "names no file"), ("a\x00b", "names no file"), ("a.csv.bz2", r"a\.csv\.bz2: compressed as \.gz or \.zst")],
)
def test_a_path_that_makes_no_sense_is_refused_when_the_sink_is_written_down(path: str, words: str) -> None:
    for kind in (Jsonl, Csv):
        with pytest.raises(ConfigurationError, match=f"{kind.__name__}: .*{words}"):
            kind(path)


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r", "é", "\x00", "1", ".", "-", "e"])
def test_a_delimiter_that_cannot_be_one_is_refused(delimiter: str) -> None:
    with pytest.raises(ConfigurationError, match=r"delimiter must be one of , ; \| tab, not "):
        Csv("lines.csv", delimiter=delimiter)


def test_no_columns_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no column"):
        Jsonl("lines.jsonl").open(tmp_path, tmp_path / "s", "lines", default="").check(pl.Schema())


def test_a_version_says_its_schema_its_rows_and_who_has_published(tmp_path: Path) -> None:
    put(tmp_path, "r1", Csv("lines.csv", mode="append"))
    put(tmp_path, "r2", Csv("lines.csv", mode="append"))
    content = json.loads((tmp_path / ".lines.csv.versions/000002-r2.json").read_text())
    assert content["published"] == [["r1", "lines"], ["r2", "lines"]]
    assert (content["format"], content["rows"], content["parts"]) == ("csv", 6, ["lines.csv"])
    assert content["options"] == {"delimiter": ",", "guard_formulas": False}


@pytest.mark.parametrize("make", [Jsonl, Csv, Parquet])
def test_a_place_that_cannot_be_written_to_is_told_before_any_data(tmp_path: Path, make: Any) -> None:
    (tmp_path / "file").write_text("not a folder")
    schema = pl.Schema({"id": pl.Int64()})

    def checked(path: Path) -> None:
        make(path).open(tmp_path, tmp_path / "staging", "lines", default="x.db").check(schema)

    checked(tmp_path / ("x" * 230 + ".csv" if make is Csv else "x" * 230))
    with pytest.raises(SinkError, match=r"output lines: the name x+\.\.\. is too long"):
        checked(tmp_path / ("x" * 250))
    with pytest.raises(SinkError, match=r"output lines: cannot write to .*file is no folder"):
        checked(tmp_path / "file/out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
