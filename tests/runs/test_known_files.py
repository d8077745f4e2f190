"""Hashes of files that are known without reading them, and stores of an older Assay."""

import hashlib
import os
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from assay.runs import KnownFiles, RunStore, stat_of

HOUR = 3_600_000_000_000


def known_in(tmp_path: Path, *, later: int = HOUR) -> KnownFiles:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    RunStore(url).close()
    return KnownFiles(sa.create_engine(url), now=lambda: time.time_ns() + later)


def test_a_file_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"one\n")
    known = known_in(tmp_path)
    assert known.sha256(file) is None
    assert known.read(file) == hashlib.sha256(b"one\n").hexdigest() == known.sha256(file)


@pytest.mark.parametrize("keep_times", [True, False])
def test_a_change_is_seen(tmp_path: Path, *, keep_times: bool) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"one\n")
    before = file.stat()
    known = known_in(tmp_path)
    known.read(file)
    file.write_bytes(b"two\n")
    if keep_times:
        # The time of change of the entry itself cannot be set.
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known.sha256(file) is None
    assert known.read(file) == hashlib.sha256(b"two\n").hexdigest()


def test_a_file_written_a_moment_ago_is_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"one\n")
    known = known_in(tmp_path, later=0)
    known.read(file)
    assert known.sha256(file) is None
    jumped_back = known_in(tmp_path, later=-24 * HOUR)
    jumped_back.read(file)
    assert jumped_back.sha256(file) is None


def test_a_file_that_goes_is_not_known(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"one\n")
    known = known_in(tmp_path)
    known.read(file)
    file.unlink()
    assert stat_of(file) is None
    assert known.sha256(file) is None


def test_a_store_of_an_older_assay_gains_what_it_lacks(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    store = RunStore(url)
    run = store.start("orders", {}, None, staging=tmp_path)
    store.close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_runs_fingerprint")
        connection.exec_driver_sql("ALTER TABLE runs DROP COLUMN fingerprint")
        connection.exec_driver_sql("DROP TABLE leases")
    engine.dispose()
    again = RunStore(url)
    assert again.get(run).status == "running"
    assert again.published_as("orders", "x") is None
    again.close()
