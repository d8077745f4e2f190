"""Compressed sources: decoding goes on while the reader works, so both together take about the longer of the two."""

from __future__ import annotations

import bz2
import gzip
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.reading import resolve

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress}
CHUNK = 8 * 1024 * 1024


@pytest.mark.parametrize("suffix", COMPRESS)
def test_decode_beside_work(benchmark: Any, lines: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    benchmark.group = f"read {suffix}"
    plain = lines["jsonl"].read_bytes()
    plain *= max(1, 8 * CHUNK // len(plain))
    path = tmp_path / f"lines.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](plain))
    decode = min(_seconds(path, 0) for _ in range(3))
    # As long as decoding takes: where one waited for the other, both would take twice as long.
    pause = decode / (len(plain) / CHUNK)
    benchmark.pedantic(_seconds, (path, pause), rounds=3)
    benchmark.extra_info.update(decode=decode, work=decode, megabytes=len(plain) / 1e6)


def _seconds(path: Path, pause: float) -> float:
    begun = time.perf_counter()
    (file,) = resolve(path)
    with file.open() as stream:
        while stream.read(CHUNK):
            # Work that needs no core of this machine, so that the figure holds on a busy one.
            time.sleep(pause)
        stream.finish()
    return time.perf_counter() - begun
