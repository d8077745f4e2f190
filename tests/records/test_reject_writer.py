"""Where the rejects of a scan go: in bounded memory, at once under their name, within a budget."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from pydantic import BaseModel

import assay
from assay.errors import ConfigurationError, SinkError, SourceError, TooManyRejectsError
from assay.records import REJECTS, reject_writer
from assay.settings import Settings


class A(BaseModel):
    a: int


#: Every tenth is wrong.
LINES = b"".join(b'{"a":%s}\n' % (b'"x"' if i % 10 == 9 else b"%d" % i) for i in range(5_000))
SMALL = Settings(batch_records=64, batch_bytes=4_000)
every_kind = pytest.mark.parametrize("name", ["r.parquet", "r.jsonl", "r.ndjson"])


@pytest.fixture(autouse=True)
def nothing_else_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.glob(".r.*"))


def kept(path: Path) -> list[int]:
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path)
        assert frame.schema == REJECTS
        return frame["record"].to_list()
    return [json.loads(line)["record"] for line in path.read_text().splitlines()]


@every_kind
@pytest.mark.parametrize("held", [1, 30_000, 10**9])
def test_what_is_put_aside_comes_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, held: int
) -> None:
    monkeypatch.setattr(reject_writer, "_HELD", held)
    assay.scan(LINES, A, format="jsonl", rejects=tmp_path / name, settings=SMALL).collect()
    assert kept(tmp_path / name) == list(range(9, 5_000, 10))


def test_parquet_is_put_aside_while_the_source_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reject_writer, "_HELD", 1)
    aside: list[int] = []

    def seen(frame: pl.DataFrame) -> pl.DataFrame:
        aside.append(len(list(tmp_path.glob(".r.parquet-*/*.arrow"))))
        return frame

    with reject_writer.RejectWriter(tmp_path / "r.parquet") as writer:
        assay.scan(
            LINES, A, format="jsonl", rejects=lambda found: writer.write(seen(found), 0), settings=SMALL
        ).collect()
    # What came before is on disk each time.
    assert aside == list(range(len(aside)))
    assert len(aside) > 5


@every_kind
def test_no_rejects_make_an_empty_file(tmp_path: Path, name: str) -> None:
    assay.scan(b'{"a":1}\n', A, format="jsonl", rejects=tmp_path / name).collect()
    assert kept(tmp_path / name) == []


@every_kind
def test_a_scan_that_fails_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    source = tmp_path / "a.jsonl.gz"
    source.write_bytes(gzip.compress(LINES)[:-20])
    scan = assay.scan(source, A, rejects=tmp_path / name)
    for before in (None, b"of the last scan"):
        if before:
            (tmp_path / name).write_bytes(before)
        with pytest.raises(SourceError):
            scan.collect()
        assert (tmp_path / name).exists() == bool(before)
    assert (tmp_path / name).read_bytes() == b"of the last scan"
    source.write_bytes(gzip.compress(LINES))
    scan.collect()
    assert len(kept(tmp_path / name)) == 500


@every_kind
def test_rejects_of_the_rows_that_were_wanted(tmp_path: Path, name: str) -> None:
    scan = assay.scan(LINES, A, format="jsonl", rejects=tmp_path / name, settings=SMALL)
    scan.head(30).collect()
    assert kept(tmp_path / name) == [9, 19, 29]


@pytest.mark.parametrize("end", [GeneratorExit, KeyboardInterrupt, ZeroDivisionError])
def test_a_query_that_stops_before_the_end_leaves_what_was_there(tmp_path: Path, end: type[BaseException]) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"of the last scan")
    found = assay.read(LINES, A, format="jsonl").rejects
    with pytest.raises(end), reject_writer.RejectWriter(path) as writer:
        writer.write(found, found.height)
        raise end
    assert path.read_bytes() == b"of the last scan"


@every_kind
def test_the_file_is_readable_as_others_are(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").touch()
    assay.scan(LINES, A, format="jsonl", rejects=tmp_path / name).collect()
    assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode


@every_kind
def test_where_no_file_can_be(tmp_path: Path, name: str) -> None:
    scan = assay.scan(LINES, A, format="jsonl", rejects=tmp_path / "no" / name)
    with pytest.raises(SinkError, match=f"output rejects: .*{name} cannot be written: no such file or directory"):
        scan.collect()
    (tmp_path / name).mkdir()
    with pytest.raises(SinkError, match=f"output rejects: .*{name} cannot be written: is a directory"):
        assay.scan(LINES, A, format="jsonl", rejects=tmp_path / name).collect()


def test_a_full_disk(tmp_path: Path) -> None:
    program = f"""
import resource, signal
from pydantic import BaseModel
import assay
class A(BaseModel):
    a: int
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for name in ("r.jsonl", "r.parquet"):
    try:
        assay.scan(b'{{"a":"xxxxxx"}}\\n' * 50_000, A, format="jsonl", rejects={str(tmp_path)!r} + "/" + name).collect()
    except assay.SinkError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.count("cannot be written") == 2
    assert not list(tmp_path.iterdir())


def test_one_thread_is_enough(tmp_path: Path) -> None:
    program = f"""
from pydantic import BaseModel
import assay
from assay.records import reject_writer
class A(BaseModel):
    a: int
reject_writer._HELD = 10_000
rejects = {str(tmp_path / "r.parquet")!r}
print(assay.scan(b'{{"a":"x"}}\\n' * 50_000, A, format="jsonl", rejects=rejects).collect(engine="streaming").height)
"""
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60, env=environment)
    assert done.stdout == b"0\n"
    assert kept(tmp_path / "r.parquet") == list(range(50_000))


# -- The budget --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [500, "500", "10%", "100%", None])
def test_within_the_budget(budget: int | str | None) -> None:
    frame = assay.scan(LINES, A, format="jsonl", rejects="drop", max_rejects=budget, settings=SMALL).collect()
    assert frame.height == 4_500
    assert assay.read(LINES, A, format="jsonl", max_rejects=budget).counts["rejected"] == 500


@every_kind
@pytest.mark.parametrize("budget", [0, 20, "9.99%"])
def test_over_the_budget(tmp_path: Path, name: str, budget: int | str) -> None:
    with pytest.raises(TooManyRejectsError, match=f"over max_rejects={budget}; the first: .*record 9 .*a: ") as caught:
        assay.scan(LINES, A, format="jsonl", rejects=tmp_path / name, max_rejects=budget, settings=SMALL).collect()
    assert (caught.value.record, caught.value.errors[0]["type"]) == (9, "int_parsing")
    # Who asked for them gets them: a number is seen at once, a share at the end.
    found = kept(tmp_path / name)
    assert found == list(range(9, 10 * len(found), 10))
    assert len(found) == 500 if isinstance(budget, str) else budget < len(found) < 500


def test_over_the_budget_in_memory() -> None:
    with pytest.raises(TooManyRejectsError, match="500 of 5,000 records read were rejected, over max_rejects=1%"):
        assay.read(LINES, A, format="jsonl", max_rejects="1%")


def test_only_what_is_wanted_is_held_against_the_budget() -> None:
    scan = assay.scan(LINES, A, format="jsonl", rejects="drop", max_rejects=3, settings=SMALL)
    assert scan.head(30).collect().height == 30
    with pytest.raises(TooManyRejectsError):
        scan.head(40).collect()


@pytest.mark.parametrize("budget", ["many", "-1", "101%", "1.5"])
def test_budgets_that_are_none(budget: str) -> None:
    with pytest.raises(ConfigurationError, match="max_rejects is a number"):
        assay.scan(LINES, A, format="jsonl", rejects="drop", max_rejects=budget)


def test_a_budget_and_none_allowed() -> None:
    with pytest.raises(ConfigurationError, match='max_rejects=10 allows rejects, and rejects="raise" none'):
        assay.scan(LINES, A, format="jsonl", max_rejects=10)
