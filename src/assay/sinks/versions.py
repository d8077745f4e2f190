"""A path that is replaced in one step: it is a link to one version of a folder, or of a file.

    out/lines -> .lines.versions/000002-run2                               a folder (Parquet)
    out/.lines.versions/000001-run1/part-00000-5e1d0f3a.parquet            kept: a reader may be in it
    out/.lines.versions/000001-run1.json
    out/.lines.versions/000002-run2/part-00000-5e1d0f3a.parquet            the same file (a hard link) after an append
    out/.lines.versions/000002-run2/part-00001-93c80b12.parquet
    out/.lines.versions/000002-run2.json                                   what was published before, and by which runs

    out/lines.csv -> .lines.csv.versions/000001-run1/lines.csv             a file (JSONL, CSV)
    out/.lines.csv.versions/000001-run1.json

A version is built beside the one that is published and becomes visible when the link is swapped. Its JSON carries the
list of all runs that have published here, so data and token become visible in the same instant.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from filelock import FileLock, Timeout

from assay.errors import SinkError
from assay.sinks.durable import make_folder, point, remove_folder, sync_folder, write_file, writing_to
from assay.sinks.staging import StagedFile, verified

_WAIT_SECONDS: Final = 60.0
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")

Content = dict[str, Any]
"""What a sink keeps in the JSON of a version: `parts`, and more as it needs."""


@dataclass(frozen=True)
class Version:
    """One version of the folder or file.

    Attributes:
        name: Number and run.
        parts: Its files, in the order of their rows.
        published: All (run, output) that have published here, this one last.
        content: All that its JSON says.
    """

    name: str
    parts: tuple[Path, ...]
    published: list[list[str]]
    content: Mapping[str, Any]

    @property
    def number(self) -> int:
        """Counts the versions, from 1."""
        return int(self.name.partition("-")[0])


class Versions:
    """The versions of one path.

    Args:
        path: Absolute.
        output: Name of the output, which errors give.
        file_format: What the files are; versions of another format are not read.
        of: What the path is to whoever follows the link.
    """

    def __init__(self, path: Path, output: str, file_format: str, *, of: Literal["folder", "file"]) -> None:
        self.path, self._output, self._format = path, output, file_format
        self.folder = path.parent / f".{path.name}.versions"
        self._inside = (path.name,) if of == "file" else ()

    def current(self) -> Version | None:
        """The version that is published, None if there is none.

        Raises:
            SinkError: what stands at the path is not ours, or is broken.
        """
        link: str | None = None
        while (found := self._link()) is not None:
            try:
                content = json.loads(self._manifest(found).read_bytes())
            except FileNotFoundError:
                # A version goes when the second one after it is published: look whether that has happened.
                if found != link:
                    link = found
                    continue
                raise SinkError(
                    f"{self.path} points to version {found}, which is gone: remove the link to begin anew",
                    sink=self._output,
                ) from None
            except (OSError, ValueError) as error:
                raise SinkError(f"cannot read {self._manifest(found)}: {error}", sink=self._output) from error
            if (held := content.get("format", "parquet")) != self._format:
                raise SinkError(
                    f"{self.path} holds {held}, not {self._format}: move it away, or write elsewhere",
                    sink=self._output,
                )
            parts = tuple(self.folder / found / part for part in content["parts"])
            return Version(found, parts, content["published"], content)
        return None

    def _link(self) -> str | None:
        try:
            link = self.path.readlink()
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise SinkError(f"cannot read {self.path}: {error.strerror}", sink=self._output) from error
        except OSError:
            kind = "folder" if self.path.is_dir() else "file"
            raise SinkError(
                f"{self.path} is a {kind} that Assay did not make: move it away, or write elsewhere",
                sink=self._output,
            ) from None
        folder, *rest = link.parts or ("",)
        # A file's link is one part longer: that another kind of sink made it is said by the JSON.
        if folder != self.folder.name or len(rest) not in (1, 2) or rest[1:] not in ([], [self.path.name]):
            raise SinkError(
                f"{self.path} is a link to {link} that Assay did not make: move it away, or write elsewhere",
                sink=self._output,
            )
        return rest[0]

    def has_published(self, run_id: str) -> bool:
        """Whether the published version, or one before it, is this run's."""
        current = self.current()
        return current is not None and [run_id, self._output] in current.published

    def publish(
        self,
        staged: Mapping[str, Any],
        run_id: str,
        build: Callable[[Version | None, Sequence[StagedFile], Path], Content],
    ) -> bool:
        """Build the next version and swap the link; begins anew where an earlier attempt was cut short.

        Args:
            staged: What `prepare` gave.
            run_id: The run.
            build: Takes the version that is published, the staged files and the next version's folder; fills the
                folder, durably, and gives what its JSON is to say.

        Returns:
            False if this run has published this output before.

        Raises:
            SinkError: something else stands at the path, a staged file is damaged, or another run has published since
                this one read what was there.
        """
        token = [run_id, self._output]
        with writing_to(self.path, self._output):
            make_folder(self.folder)
            with self._lock():
                current = self.current()
                if current is not None and token in current.published:
                    return False
                if staged["read"] and (current.name if current else None) != staged["base"]:
                    raise SinkError(
                        "another run has published since this one read what was there: run again", sink=self._output
                    )
                files = verified(staged)
                there = sum(part.stat().st_size for part in current.parts) if current else 0
                with writing_to(self.path, self._output, needed=there + sum(file.bytes for file in files)):
                    self._publish(current, token, lambda folder: build(current, files, folder))
        return True

    def _publish(self, current: Version | None, token: list[str], build: Callable[[Path], Content]) -> None:
        name = f"{current.number + 1 if current else 1:06d}-{_UNSAFE.sub('_', token[0])[:100]}"
        folder = self.folder / name
        remove_folder(folder)
        make_folder(folder)
        content = build(folder) | {
            "format": self._format,
            "previous": current.name if current else None,
            "published": [*(current.published if current else []), token],
        }
        sync_folder(folder)
        write_file(self._manifest(name), json.dumps(content).encode())
        sync_folder(self.folder)
        point(self.path, str(Path(self.folder.name, name, *self._inside)), through=self.folder / "next")
        self._forget(keep={name, current.name if current else name})

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One publisher at a time; the lock goes with its process.

        Raises:
            SinkError: another process publishes here, and takes longer than a minute.
        """
        lock = FileLock(self.folder / "lock", timeout=_WAIT_SECONDS)
        try:
            with lock:
                yield
        except Timeout:
            raise SinkError(
                f"another process has been publishing to {self.path} for {_WAIT_SECONDS:.0f} s", sink=self._output
            ) from None

    def _manifest(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _forget(self, keep: set[str]) -> None:
        """Remove versions that nobody can be reading, and what was left of attempts that were cut short."""
        for entry in sorted(self.folder.iterdir()):
            if entry.is_dir() and entry.name not in keep:
                remove_folder(entry)
                self._manifest(entry.name).unlink(missing_ok=True)


def absolute(path: Path) -> Path:
    """An absolute path; a link at its end stays one, for it is the link that is meant."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve() would follow it
