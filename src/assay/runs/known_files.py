"""What was in a file when it was last read, so that it is known without reading it again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from assay.runs.tables import FILES

#: A file that changed so shortly before it was read may change once more without another time of change.
_RACY_NANOSECONDS: Final = 2_000_000_000
#: So many files are asked for in one statement.
_AT_ONCE: Final = 500


def stat_of(path: Path) -> str | None:
    """What the file system says of a file: another text for every change; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino} {found.st_dev}"


class KnownFiles:
    """Hashes of files by their path, trusted while the file system says that nothing has changed.

    A file that was written within two seconds before it was read is not remembered, as Git does it (racy-git).

    Args:
        engine: The run store.
        now: The wall clock, in nanoseconds.
    """

    def __init__(self, engine: sa.Engine, now: Callable[[], int] = time.time_ns) -> None:
        self._engine = engine
        self._now = now

    def sha256(self, path: Path) -> str | None:
        """The hash of the file's bytes, if it is known."""
        return self.hashes([path]).get(path)

    def hashes(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The hashes of those files of which it is known."""
        keys = {_key(path): path for path in paths}
        found: dict[Path, str] = {}
        with self._engine.connect() as connection:
            for begin in range(0, len(keys), _AT_ONCE):
                some = list(keys)[begin : begin + _AT_ONCE]
                query = sa.select(FILES.c.path, FILES.c.stat, FILES.c.sha256).where(FILES.c.path.in_(some))
                for key, stat, digest in connection.execute(query):
                    if stat == stat_of(keys[key]):
                        found[keys[key]] = digest
        # Two ways to write a path may be there.
        return {path: found[keys[_key(path)]] for path in paths if keys[_key(path)] in found}

    def read(self, path: Path) -> str:
        """The hash of the file's bytes, read where it is not known.

        Raises:
            OSError: the file cannot be read.
        """
        known = self.sha256(path)
        if known is not None:
            return known
        before = stat_of(path)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if before is not None and before == stat_of(path):
            self.remember({path: (before, digest)})
        return digest

    def remember(self, files: Mapping[Path, tuple[str, str]]) -> None:
        """Note what was read.

        Args:
            files: By path, what `stat_of` said before it was read, and its hash.
        """
        kept = [
            {"path": _key(path), "stat": stat, "sha256": digest}
            for path, (stat, digest) in files.items()
            if self._now() - int(stat.split()[1]) > _RACY_NANOSECONDS
        ]
        try:
            with self._engine.begin() as connection:
                if kept:
                    gone = FILES.delete().where(FILES.c.path == sa.bindparam("gone"))
                    connection.execute(gone, [{"gone": row["path"]} for row in kept])
                    connection.execute(FILES.insert(), kept)
        except sa.exc.IntegrityError:
            # Another run has noted the same file in this moment: it will be read once more, that is all.
            return


def _key(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - a link is a path of its own
