"""Steps on files that survive a crash: a file counts when it and its folder are on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from assay.errors import SinkError

#: Bytes of a name, with room for what is put around it.
_LONGEST: Final = 240
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def writing_to(target: Path, output: str, *, needed: int | None = None) -> Iterator[None]:
    """Turn what the operating system has against writing into an error that names the output.

    Args:
        target: What is written.
        output: Name of the output.
        needed: Bytes at most, which the error says where there is no room for them.

    Raises:
        SinkError: the disk is full, the folder may not be written to, and the like.
    """
    try:
        yield
    except OSError as error:
        room = ""
        if error.errno in _FULL and needed is not None:
            there = next(folder for folder in (target, *target.parents) if folder.exists())
            free = shutil.disk_usage(there).free
            room = f" ({needed:,} bytes are needed, {free:,} are free): make room, or raise the limit, and run again"
        raise SinkError(f"cannot write to {target}: {error.strerror or error}{room}", sink=output) from error


def see_writable(path: Path, output: str) -> None:
    """See, before any data is read, that a file or folder can be made at a path; nothing is made.

    Raises:
        SinkError: its name is too long, what is above it is no folder, or it may not be written to.
    """
    if len(os.fsencode(path.name)) > _LONGEST:
        raise SinkError(f"the name {path.name[:30]}... is too long: {_LONGEST} bytes at most", sink=output)
    above = next(folder for folder in path.parents if folder.exists())
    if not above.is_dir():
        raise SinkError(f"cannot write to {path}: {above} is no folder", sink=output)
    if not os.access(above, os.W_OK | os.X_OK):
        raise SinkError(f"cannot write to {path}: {above} may not be written to", sink=output)


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably; one that is there stays as it is."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write a new file and its content through to the disk; its folder is synced by the caller, once for many."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def link_file(source: Path, target: Path) -> None:
    """Give a file a second name; where the file system has no hard links, a copy."""
    try:
        os.link(source, target)
    except OSError:
        if target.exists():
            raise
        with source.open("rb") as stream, target.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())


def point(link: Path, target: str, *, through: Path) -> None:
    """Let a symbolic link point elsewhere, in one step.

    Args:
        link: The link; whoever follows it finds the old target or the new one.
        target: What it says, as seen from the link's folder.
        through: Where the new link is made; same file system.
    """
    through.unlink(missing_ok=True)
    through.symlink_to(target)
    through.replace(link)
    sync_folder(link.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, durably; none is fine."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
        sync_folder(folder.parent)
