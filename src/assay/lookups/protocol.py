"""What a lookup is: something that gives facts for keys."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from assay.reading import is_url
from assay.settings import Settings


@dataclass(frozen=True)
class LookupContext:
    """What a lookup is told when it is opened.

    Attributes:
        resolve: Folders in which a relative path is looked for, in order.
        settings: Limits.
    """

    folders: tuple[Path, ...]
    settings: Settings

    def resolve(self, path: str) -> str:
        """The path or glob in the first folder that has it; in the first folder if none has. A URL is as it is."""
        if Path(path).is_absolute() or is_url(path):
            return path
        candidates = [self._below(folder, path) for folder in self.folders]
        found = next((c for c in candidates if Path(c).exists() or glob.glob(c, recursive=True)), None)
        return found or (candidates[0] if candidates else path)

    @staticmethod
    def _below(folder: Path, path: str) -> str:
        if glob.has_magic(path):
            return str(Path(glob.escape(str(folder)), path))
        return str(folder / path)


class OpenLookup(Protocol):
    """A lookup that is ready to answer."""

    @property
    def schema(self) -> pl.Schema:
        """Its columns."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of its contents."""
        ...

    def rows(self, keys: pl.DataFrame) -> pl.DataFrame:
        """The rows for distinct keys, at most one a key; keys it does not know are absent.

        Args:
            keys: One column a key column, distinct, without nulls.

        Raises:
            LookupFailed: it cannot answer.
        """
        ...


class LookupSource(Protocol):
    """Declares a lookup in a pipeline; opened when the pipeline runs or is checked, not before."""

    @property
    def name(self) -> str:
        """What rejects and reports call it."""
        ...

    def columns(self) -> pl.Schema:
        """Its columns, known without reading anything."""
        ...

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenLookup:
        """Make it ready to answer for the key columns `on`.

        Raises:
            ConfigurationError: it has no such column.
            SourceError: it cannot be read.
            LookupFailed: a key stands in it more than once.
        """
        ...
