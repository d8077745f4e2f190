import bz2
import gzip
import io
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.errors import ConfigurationError, SourceError, UnknownFormatError
from assay.reading import ProcessorFactory, RawRecord, resolve

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT = b"".join(b'{"a":%d}\n' % i for i in range(20_000))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress}


def content(path: Path) -> bytes:
    (file,) = resolve(path)
    with file.open() as stream:
        data = b"".join(iter(lambda: stream.read(10_000), b""))
        stream.finish()
        return data


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_by_suffix_several_members(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](CONTENT[:5000]) + COMPRESS[suffix](CONTENT[5000:]))
    assert content(path) == CONTENT
    assert resolve(path)[0].format == "jsonl"


@pytest.mark.parametrize("suffix", COMPRESS)
def test_cut_short(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](CONTENT)[:-20])
    with pytest.raises(SourceError, match="ends early|not readable"):
        content(path)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_what_lies_before_the_damage_is_read(tmp_path: Path, suffix: str) -> None:
    noise = random.Random(1).randbytes(2_000_000)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](noise)[:1_500_000])
    (file,) = resolve(path)
    found = b""
    with file.open() as stream, pytest.raises(SourceError) as caught:
        while chunk := stream.read(1_000_000):
            found += chunk
        pytest.fail("the end of a damaged file was taken for its end")
    assert noise.startswith(found)
    assert caught.value.offset == len(found) > 500_000


@pytest.mark.parametrize("suffix", COMPRESS)
def test_not_compressed_at_all(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(CONTENT)
    with pytest.raises(SourceError, match="mend its suffix"):
        content(path)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_and_not_called_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(COMPRESS[suffix](CONTENT))
    with pytest.raises(SourceError, match=f"looks like {suffix} data"):
        content(path)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_bomb_is_stopped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](bytes(80 * 1024 * 1024)))
    with pytest.raises(SourceError, match="max_decompressed_ratio"):
        content(path)


def test_globs_lists_bytes_and_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1\n")
    assert [f.name for f in resolve("*.jsonl")] == ["a.jsonl", "b.jsonl"]
    assert [f.name for f in resolve("**/*.jsonl")] == ["a.jsonl", "b.jsonl", "sub/c.jsonl"]
    assert [f.name for f in resolve(["b.jsonl", Path("a.jsonl")])] == ["b.jsonl", "a.jsonl"]
    assert [f.name for f in resolve(b"1")] == ["<bytes>"]
    assert [f.name for f in resolve(io.BytesIO(b"1"))] == ["<stream>"]
    assert [f.name for f in resolve("-")] == ["<stdin>"]


@pytest.mark.parametrize(
    ("source", "words"), [("nothing.jsonl", "no such file"), ("*.nothing", "no file matches"), (".", "is a folder")]
)
def test_what_is_not_there(source: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        resolve(source)


def test_a_text_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="binary"):
        resolve(io.StringIO("x"))  # type: ignore[arg-type]


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(CONTENT)
    (file,) = resolve(path)
    with file.open() as stream:
        stream.read(10)
        path.write_bytes(CONTENT + b"1\n")
        with pytest.raises(SourceError, match="changed while it was read"):
            stream.finish()


def test_an_unknown_format_lists_the_known_ones() -> None:
    with pytest.raises(UnknownFormatError, match='no format "jsonll". Did you mean "jsonl"\\? Known: json, jsonl, xml'):
        ProcessorFactory.create("jsonll")
    with pytest.raises(ValueError, match="no format"):
        ProcessorFactory.create("parquetto")


def test_an_option_that_a_format_does_not_take() -> None:
    with pytest.raises(ConfigurationError, match='"jsonl" takes no option "record"'):
        ProcessorFactory.create("jsonl", record="a")


def test_a_format_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessorFactory, "_registered", dict(ProcessorFactory._registered))

    @ProcessorFactory.register("semicolons")
    class Semicolons:
        def process(self, data: bytes) -> dict[str, str]:
            return dict(pair.split("=") for pair in data.decode().split(","))

        def split(self, stream: io.BytesIO) -> list[RawRecord]:
            return [RawRecord(one, i, 1, 0) for i, one in enumerate(stream.read().split(b";"))]

    assert ProcessorFactory.create("semicolons").process(b"a=1,b=2") == {"a": "1", "b": "2"}
    assert "semicolons" in ProcessorFactory.names()
    with pytest.raises(ConfigurationError, match=r"has no method process"):
        ProcessorFactory.register("wrong", int)
