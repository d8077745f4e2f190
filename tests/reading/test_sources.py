import io
from pathlib import Path

import pytest

from assay.errors import ConfigurationError, SourceError, UnknownFormatError
from assay.reading import ProcessorFactory, RawRecord, resolve

CONTENT = b"".join(b'{"a":%d}\n' % i for i in range(20_000))


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
    with pytest.raises(
        UnknownFormatError, match='no format "jsonll". Did you mean "jsonl"\\? Known: csv, json, jsonl, xml'
    ):
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
