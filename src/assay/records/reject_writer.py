"""Rejects of a scan on their way to where its caller wants them: a few MiB are in memory, the rest is on disk."""

from __future__ import annotations

import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import polars as pl

from assay.errors import ConfigurationError, SinkError, TooManyRejectsError
from assay.records.budget import Budget
from assay.records.rejects import REJECTS, first_reject, jsonl_line, reject_error

#: "raise", "drop", a path, or a function of a frame of rejects.
RejectsTo = str | Path | Callable[[pl.DataFrame], object]

#: Bytes of rejects that are held in memory.
_HELD: Final = 8 * 1024 * 1024


class RejectWriter:
    """Sends frames of rejects where the caller of `scan` wants them, and holds their number against a budget.

    A path ending in .parquet gets a Parquet file; .jsonl or .ndjson a line a reject (raw bytes as text, or in Base64
    under `raw_base64` where they are no UTF-8). The file takes its name, in one step, at the end of the source, at the
    last row of a slice, or over the budget. A scan that ends otherwise, by an error or because the query wants no more
    of it, leaves what was there before.

    Raises:
        ConfigurationError: this is no way to collect rejects.
    """

    def __init__(self, to: RejectsTo, budget: Budget | None = None) -> None:
        self._to = to
        self._budget = budget or Budget()
        self._file: _File | None = None
        self._first: pl.DataFrame | None = None
        self._read = self._rejected = 0
        if isinstance(to, str | Path) and to not in ("raise", "drop"):
            if Path(to).suffix not in _FILES:
                raise ConfigurationError(
                    f'rejects="{to}" is no way to collect rejects: give "raise", "drop", a path ending in .parquet or '
                    ".jsonl, or a function that takes a DataFrame"
                )
        elif to not in ("raise", "drop") and not callable(to):
            raise ConfigurationError(f"rejects={to!r}: give 'raise', 'drop', a path or a function of a DataFrame")
        if to == "raise" and self._budget.limit:
            raise ConfigurationError(
                f'max_rejects={self._budget} allows rejects, and rejects="raise" none: give rejects="rejects.parquet", '
                'a function, or "drop"'
            )

    def __enter__(self) -> Self:
        if isinstance(self._to, str | Path) and self._to not in ("raise", "drop"):
            path = Path(self._to)
            self._file = _FILES[path.suffix](path)
        return self

    def write(self, rejects: pl.DataFrame, read: int) -> None:
        """Take the rejects of one batch.

        Args:
            rejects: What was rejected.
            read: Records of the batch, these included.

        Raises:
            ValidationError: there are some, and nobody asked to collect them; or there are more than allowed.
            SinkError: they cannot be written.
        """
        self._read += read
        self._rejected += rejects.height
        if not rejects.height:
            return
        if self._to == "raise":
            raise first_reject(rejects)
        if self._first is None:
            self._first = rejects.head(1)
        if self._file is not None:
            self._file.write(rejects)
        elif callable(self._to):
            self._to(rejects)
        if not self._budget.is_share:
            self.see_budget()

    def see_budget(self) -> None:
        """A share is known at the end only.

        Raises:
            TooManyRejectsError: there are more rejects than allowed.
        """
        if self._first is not None and self._budget.exceeded(self._rejected, self._read):
            counts = f"{self._rejected:,} of {self._read:,} records read were rejected"
            raise reject_error(
                self._first, f"{counts}, over max_rejects={self._budget}; the first: {{}}", TooManyRejectsError
            )

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._file is not None:
            # Polars lets go of a source that it does not want to the end, at some later time: too late to give a name.
            self._file.end(keep=kind is None or issubclass(kind, TooManyRejectsError))


class _File(ABC):
    """A file that is made in a hidden folder beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.folder = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        with self._worded():
            self.folder.mkdir()

    def write(self, rejects: pl.DataFrame) -> None:
        """Add rejects."""
        try:
            with self._worded():
                self._add(rejects)
        except SinkError:
            self.end(keep=False)
            raise

    def end(self, *, keep: bool) -> None:
        """Give it its name, or leave what has the name."""
        try:
            if keep:
                with self._worded():
                    whole = self._whole()
                    with whole.open("rb+") as written:
                        os.fsync(written.fileno())
                    whole.replace(self._path)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _add(self, rejects: pl.DataFrame) -> None: ...

    @abstractmethod
    def _whole(self) -> Path:
        """The complete file."""

    @contextmanager
    def _worded(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            why = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
            raise SinkError(f"{self._path} cannot be written: {why.lower()}", sink="rejects") from None


class _Jsonl(_File):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lines = self.folder / "whole"
        self._lines.touch()

    def _add(self, rejects: pl.DataFrame) -> None:
        with self._lines.open("a", encoding="utf-8") as lines:
            lines.writelines(jsonl_line(row) for row in rejects.iter_rows(named=True))

    def _whole(self) -> Path:
        return self._lines


class _Parquet(_File):
    """Frames are held until they are some MiB, then put aside as Arrow files; at the end these stream into one."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._held = [pl.DataFrame(schema=REJECTS)]
        self._held_bytes = self._bytes = self._rows = 0
        self._parts: list[Path] = []

    def _add(self, rejects: pl.DataFrame) -> None:
        size = int(rejects.estimated_size())
        self._held.append(rejects)
        self._held_bytes += size
        self._bytes += size
        self._rows += rejects.height
        if self._held_bytes >= _HELD:
            self._put_aside()

    def _put_aside(self) -> None:
        part = self.folder / f"{len(self._parts):06}.arrow"
        pl.concat(self._held).write_ipc(part)
        self._parts.append(part)
        self._held, self._held_bytes = [pl.DataFrame(schema=REJECTS)], 0

    def _whole(self) -> Path:
        whole = self.folder / "whole"
        if self._parts:
            self._put_aside()
            # A row group is put together in memory.
            pl.scan_ipc(self._parts).sink_parquet(whole, row_group_size=max(1, self._rows * _HELD // self._bytes))
        else:
            pl.concat(self._held).write_parquet(whole)
        return whole


_FILES: Final[dict[str, Callable[[Path], _File]]] = {".parquet": _Parquet, ".jsonl": _Jsonl, ".ndjson": _Jsonl}
