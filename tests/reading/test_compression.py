"""Compressed sources: what is in them, what is wrong with them, and the thread that decodes them."""

import bz2
import gc
import gzip
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import assay
from assay.errors import SourceError
from assay.reading import resolve
from assay.reading.read_ahead import ReadAhead
from assay.settings import Settings

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT = b"".join(b'{"a":%d}\n' % i for i in range(20_000))
NOISE = random.Random(1).randbytes(2_000_000)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress}
#: As tools compress: the library leaves the checksum of zstd out unless asked.
CHECKED = COMPRESS | {".zst": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})}
every_kind = pytest.mark.parametrize("suffix", COMPRESS)


class A(BaseModel):
    a: int


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not threads()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "assay-read-ahead"]


def write(folder: Path, suffix: str, data: bytes) -> Path:
    path = folder / f"a.jsonl{suffix}"
    path.write_bytes(data)
    return path


def content(path: Path, size: int = 10_000) -> bytes:
    (file,) = resolve(path)
    with file.open() as stream:
        data = b"".join(iter(lambda: stream.read(size), b""))
        stream.finish()
        return data


def until_damage(path: Path, size: int = 1_000_000) -> tuple[bytes, SourceError]:
    """What is read before the error, and the error, which must come again when it is read on."""
    (file,) = resolve(path)
    found = b""
    with file.open() as stream, pytest.raises(SourceError) as caught:
        while chunk := stream.read(size):
            found += chunk
        pytest.fail("the end of a damaged file was taken for its end")
    assert caught.value.offset == len(found)
    return found, caught.value


# -- What is in them ---------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("size", [1, 4096, 10_000_000, -1])
def test_several_members(tmp_path: Path, suffix: str, size: int) -> None:
    parts = [CONTENT[:7], b"", CONTENT[7:5000], CONTENT[5000:50_000]]
    path = write(tmp_path, suffix, b"".join(map(COMPRESS[suffix], parts)))
    assert content(path, size) == CONTENT[:50_000]
    assert resolve(path)[0].format == "jsonl"


@every_kind
def test_many_small_members(tmp_path: Path, suffix: str) -> None:
    # More than one step of the decoder: members begin and end anywhere in it.
    lines = [b'{"a":%d}\n' % i for i in range(5_000)]
    assert content(write(tmp_path, suffix, b"".join(map(COMPRESS[suffix], lines)))) == b"".join(lines)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_more_than_waits_at_a_time(tmp_path: Path, suffix: str) -> None:
    text = CONTENT * 100
    assert content(write(tmp_path, suffix, COMPRESS[suffix](text)), 3_000_000) == text


def test_gzip_members_padded_with_zeros(tmp_path: Path) -> None:
    made = gzip.compress(CONTENT[:100]) + bytes(3) + gzip.compress(CONTENT[100:200]) + bytes(200_000)
    assert content(write(tmp_path, ".gz", made)) == CONTENT[:200]


def test_zstd_frames_to_skip(tmp_path: Path) -> None:
    skip = b"\x5f\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"extra"
    made = skip + zstd.compress(CONTENT[:100]) + skip + zstd.compress(CONTENT[100:200]) + skip
    assert content(write(tmp_path, ".zst", made)) == CONTENT[:200]


# -- What is wrong with them -------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("kept", [0, 1, 5, -20, -1])
def test_cut_short(tmp_path: Path, suffix: str, kept: int) -> None:
    path = write(tmp_path, suffix, COMPRESS[suffix](CONTENT)[:kept])
    _, error = until_damage(path)
    size = path.stat().st_size
    assert f"ends early, at byte {size:,} of the compressed file" in error.message or "not readable" in error.message


@every_kind
def test_cut_short_in_the_second_member(tmp_path: Path, suffix: str) -> None:
    first, second = COMPRESS[suffix](CONTENT[:5000]), COMPRESS[suffix](CONTENT)
    for kept in range(1, 12):
        found, error = until_damage(write(tmp_path, suffix, first + second[:kept]))
        assert found == CONTENT[:5000]
        assert "ends early" in error.message or "something else follows" in error.message


@every_kind
def test_what_lies_before_the_damage_is_read(tmp_path: Path, suffix: str) -> None:
    found, _ = until_damage(write(tmp_path, suffix, COMPRESS[suffix](NOISE)[:1_500_000]))
    assert NOISE.startswith(found)
    assert len(found) > 500_000


@every_kind
def test_corrupt(tmp_path: Path, suffix: str) -> None:
    made = bytearray(CHECKED[suffix](NOISE))
    made[1_500_000:1_500_100] = bytes(100)
    found, error = until_damage(write(tmp_path, suffix, bytes(made)))
    # A checksum tells at the end of a member (gzip, zstd) or block (bz2): what was given before may be wrong.
    assert len(found) <= len(NOISE)
    assert found[:500_000] == NOISE[:500_000]
    assert f"not readable as {suffix} data" in error.message
    assert "of the compressed file" in error.message


@every_kind
@pytest.mark.parametrize("garbage", [b"\n", b"{}", b"garbage, and more of it than a magic number"])
def test_trailing_garbage(tmp_path: Path, suffix: str, garbage: bytes) -> None:
    made = COMPRESS[suffix](CONTENT[:5000])
    found, error = until_damage(write(tmp_path, suffix, made + garbage))
    assert found == CONTENT[:5000]
    assert error.message.startswith(f"something else follows the {suffix} data, from byte {len(made):,} ")


@every_kind
def test_not_compressed_at_all(tmp_path: Path, suffix: str) -> None:
    _, error = until_damage(write(tmp_path, suffix, CONTENT))
    assert error.message == f"not readable as {suffix} data: get the file again or mend its suffix"


@every_kind
def test_compressed_otherwise(tmp_path: Path, suffix: str) -> None:
    for other in COMPRESS.keys() - {suffix}:
        _, error = until_damage(write(tmp_path, suffix, COMPRESS[other](CONTENT)))
        assert f"it looks like {other} data" in error.message


@every_kind
def test_compressed_and_not_called_so(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(SourceError, match=f"looks like {suffix} data; give the file the suffix {suffix}"):
        content(write(tmp_path, "", COMPRESS[suffix](CONTENT)))


@every_kind
def test_compressed_twice(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix, COMPRESS[suffix](COMPRESS[suffix](CONTENT)))
    with pytest.raises(SourceError, match=f"looks like {suffix} data"):
        assay.read(path, A)


@every_kind
def test_a_bomb_is_stopped_by_its_ratio(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix, COMPRESS[suffix](bytes(80 * 1024 * 1024)))
    with pytest.raises(SourceError, match="more than 250 times; .* max_decompressed_ratio"):
        content(path, 1_000_000)


@every_kind
def test_a_bomb_is_stopped_by_its_bytes(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix, COMPRESS[suffix](CONTENT))
    settings = Settings(max_decompressed_bytes=len(CONTENT) - 1)
    words = f"to more than {len(CONTENT) - 1:,} bytes; .* max_decompressed_bytes"
    with pytest.raises(SourceError, match=words):
        assay.read(path, A, settings=settings)
    assert assay.read(path, A, settings=Settings(max_decompressed_bytes=len(CONTENT))).frame.height == 20_000


@every_kind
def test_records_before_the_damage_are_counted(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix, COMPRESS[suffix](CONTENT[:5000]) + b"garbage")
    with pytest.raises(SourceError, match=r"something else follows .* \(after record \d+, byte 5,000\)"):
        assay.read(path, A)


# -- The thread --------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """More than waits to be read: its thread is alive until it is read or closed."""
    return write(tmp_path, ".zst", zstd.compress(CONTENT * 200))


def test_closed_after_one_read(large: Path) -> None:
    (file,) = resolve(large)
    with file.open() as stream:
        assert stream.read(9) == CONTENT[:9]
        assert threads()
    assert not threads()
    with file.open():
        pass


def test_an_error_of_who_reads(large: Path) -> None:
    (file,) = resolve(large)
    with pytest.raises(ZeroDivisionError), file.open() as stream:
        stream.read(9)
        raise ZeroDivisionError


def test_a_generator_that_is_let_go_of(large: Path) -> None:
    def chunks() -> Iterator[bytes]:
        (file,) = resolve(large)
        with file.open() as stream:
            while chunk := stream.read(1000):
                yield chunk

    running = chunks()
    next(running)
    assert threads()
    del running
    gc.collect()


def test_a_stream_that_is_let_go_of(large: Path) -> None:
    (file,) = resolve(large)
    stream = file.open()
    stream.read(9)
    del stream
    gc.collect()


def test_a_scan_of_which_few_rows_are_wanted(large: Path) -> None:
    assert assay.scan(large, A).head(3).collect().height == 3
    gc.collect()


def test_finished_before_its_end(large: Path) -> None:
    (file,) = resolve(large)
    with file.open() as stream:
        stream.read(9)
        stream.finish()
        assert stream.raw_size == large.stat().st_size


def test_the_interpreter_ends_while_a_source_is_open(large: Path) -> None:
    program = f"from assay.reading import resolve; s = resolve({str(large)!r})[0].open(); s.read(9)"
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=30, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_is_ahead_is_bounded() -> None:
    made = 0

    def blocks() -> Generator[bytes, None, None]:
        nonlocal made
        while True:
            made += 1
            yield bytes(10)

    with ReadAhead(blocks(), limit=100) as stream:
        for taken in range(1, 50):
            stream.read(10)
            time.sleep(0.001)
            # Ten wait, one waits for room.
            assert made <= taken + 11


def test_blocks_are_made_while_others_are_worked_on() -> None:
    made = threading.Event()

    def blocks() -> Generator[bytes, None, None]:
        yield b"a"
        made.set()
        yield b"b"

    with ReadAhead(blocks()) as stream:
        assert stream.read(1) == b"a"
        # Nobody asks for the next one.
        assert made.wait(30)
        assert stream.read() == b"b"


def test_the_maker_is_closed_in_its_thread() -> None:
    closed: list[str] = []

    def blocks() -> Generator[bytes, None, None]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(threading.current_thread().name)

    with ReadAhead(blocks(), limit=10) as stream:
        stream.read(1)
    assert closed == ["assay-read-ahead"]


def test_an_error_comes_where_it_happened_and_again() -> None:
    def blocks() -> Generator[bytes, None, None]:
        yield b"abc"
        raise SourceError("broken", file="x")

    with ReadAhead(blocks()) as stream:
        assert stream.read(2) == b"ab"
        assert stream.read(2) == b"c"
        for _ in range(2):
            with pytest.raises(SourceError, match="broken"):
                stream.read(2)
    with pytest.raises(ValueError, match="closed"):
        stream.read(2)


def test_a_wait_is_interrupted() -> None:
    wake = threading.Event()

    def blocks() -> Generator[bytes, None, None]:
        yield b"a"
        wake.wait(30)

    begun = time.perf_counter()
    with ReadAhead(blocks(), interrupt=wake.set) as stream:
        stream.read(1)
    assert time.perf_counter() - begun < 5
