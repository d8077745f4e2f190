"""A tier of the cache on disk, so that a second run is warm: SQLite, bytes in and bytes out, nothing unpickled."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assay.errors import ConfigurationError

_TABLE = "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB, made REAL, until REAL) WITHOUT ROWID"


class DiskTier:
    """Entries in a SQLite file; several processes may use it at once.

    Args:
        path: The file, made where it is not there.
        maxsize: How many entries are kept; the oldest go first.
        clock: Seconds since 1970: entries outlive the process, so that no monotonic clock will do. An entry that was
            made in the future (the clock was set back) is none.

    Raises:
        ConfigurationError: the file is no such cache, or cannot be written.
    """

    def __init__(self, path: Path, maxsize: int = 1_000_000, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._maxsize = maxsize
        self._clock = clock
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from None
        try:
            self._see_own()
            self._db.execute("PRAGMA journal_mode=WAL")
            # What a crash of the machine loses is fetched again.
            self._db.execute("PRAGMA synchronous=OFF")
            self._db.execute(_TABLE)
            self._db.execute("CREATE INDEX IF NOT EXISTS entries_made ON entries (made)")
            self._db.execute("DELETE FROM entries WHERE until <= ?", (clock(),))
            self._count = int(self._db.execute("SELECT count(*) FROM entries").fetchone()[0])
        except sqlite3.Error as error:
            self._db.close()
            raise self._unusable(error) from None
        except BaseException:
            self._db.close()
            raise

    def get(self, key: str) -> tuple[bytes | None, float] | None:
        """The value and the seconds it has still to live; None if there is none."""
        now = self._clock()
        found = self._execute("SELECT value, made, until FROM entries WHERE key = ?", (key,))
        if not found or not found[0][1] <= now < found[0][2]:
            return None
        value, _, until = found[0]
        return (bytes(value) if value is not None else None), until - now

    def set(self, key: str, value: bytes | None, seconds: float) -> None:
        """Keep a value for some seconds."""
        if not (value is None or isinstance(value, bytes)):
            raise TypeError(f"on disk there are bytes alone, not {type(value).__name__}")
        now = self._clock()
        self._execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", (key, value, now, now + seconds))
        self._count += 1
        if self._count > self._maxsize:
            # Some more than needed, so that not every entry from now on has to make room.
            self._execute(
                "DELETE FROM entries WHERE key IN (SELECT key FROM entries ORDER BY made DESC LIMIT -1 OFFSET ?)",
                (self._maxsize * 9 // 10,),
            )
            self._count = int(self._execute("SELECT count(*) FROM entries", ())[0][0])

    def discard(self, key: str) -> None:
        """Forget a value."""
        self._execute("DELETE FROM entries WHERE key = ?", (key,))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _see_own(self) -> None:
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables - {"entries"}:
            raise ConfigurationError("is a database of something else; name another file", where=str(self._path))

    def _execute(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"cannot be used as a cache ({error}); delete it or name another", where=str(self._path)
        )
