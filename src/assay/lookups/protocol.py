"""What a lookup is: something that gives facts for keys."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from assay.errors import ConfigurationError, unknown_name
from assay.reading import is_url
from assay.settings import Settings

_PLACE = re.compile(r"\{(\w+)\}")


@dataclass
class LookupStats:
    """What a lookup did in a run.

    Attributes:
        rows: Rows that asked.
        distinct: Distinct keys; of a dated lookup without the moment.
        hits: Keys that the cache knew.
        calls: Requests or queries made, retries among them.
        retries: Requests made again.
        missing: Distinct keys that it answered are not there.
        errors: Distinct keys that got no answer.
        slowest_seconds: The slowest call.
    """

    rows: int = 0
    distinct: int = 0
    hits: int = 0
    calls: int = 0
    retries: int = 0
    missing: int = 0
    errors: int = 0
    slowest_seconds: float = 0.0

    def called(self, seconds: float) -> None:
        """Count a call."""
        self.calls += 1
        self.slowest_seconds = max(self.slowest_seconds, seconds)

    def as_json(self) -> dict[str, int | float]:
        """For the ledger."""
        return vars(self) | {"slowest_seconds": round(self.slowest_seconds, 4)}


@dataclass(frozen=True)
class Answer:
    """What a lookup says of some keys.

    Attributes:
        rows: The key columns and the facts, at most one row a key; a key that is not there has none.
        failed: The key columns and `error` (String) of the keys that got no answer; None where all got one.
    """

    rows: pl.DataFrame
    failed: pl.DataFrame | None = None


@dataclass(frozen=True)
class LookupContext:
    """What a lookup is told when it is opened.

    Attributes:
        folders: Folders in which a relative path is looked for, in order.
        settings: Limits, and secrets by name.
        params: Parameters of the run by name, for `{name}` in a path or URL.
    """

    folders: tuple[Path, ...]
    settings: Settings
    params: dict[str, Any] = field(default_factory=dict)

    def fill(self, text: str, keys: Collection[str] = (), key: Callable[[str], str] = "{{{}}}".format) -> str:
        """Put parameters for `{name}`; a name among `keys` stays as it is, or becomes what `key` makes of it.

        Raises:
            ConfigurationError: no such parameter.
        """

        def value(found: re.Match[str]) -> str:
            if found[1] in keys:
                return key(found[1])
            if found[1] not in self.params:
                known = [*self.params, *keys]
                raise ConfigurationError(f'"{text}": {unknown_name("parameter or key", found[1], known)}')
            return str(self.params[found[1]])

        return _PLACE.sub(value, text)

    def secret(self, name: str, where: str) -> str:
        """A secret of the settings.

        Raises:
            ConfigurationError: there is none of this name.
        """
        if name not in self.settings.secrets:
            raise ConfigurationError(
                f'there is no secret "{name}": set ASSAY_SECRETS=\'{{"{name}": "..."}}\', or secrets.{name} in '
                "assay.toml",
                where=where,
            )
        return self.settings.secrets[name].get_secret_value()

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
    def fingerprint(self) -> str:
        """A hash of its contents; of where they are, when they can only be asked for by key."""
        ...

    @property
    def stats(self) -> LookupStats:
        """What it did so far."""
        ...

    def answer(self, keys: pl.DataFrame) -> Answer:
        """What it knows of some keys.

        Args:
            keys: One column a key column, distinct, without nulls; for a dated lookup the moment asked for beside them.

        Raises:
            LookupFailed: it cannot answer at all.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class LookupSource(Protocol):
    """Declares a lookup in a pipeline; opened when the pipeline runs, not before."""

    @property
    def name(self) -> str:
        """What rejects and reports call it."""
        ...

    @property
    def dated(self) -> bool:
        """Whether a moment is asked for beside the key."""
        ...

    def columns(self) -> pl.Schema:
        """Its columns, known without reading anything."""
        ...

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenLookup:
        """Make it ready to answer for the key columns `on`; of a dated one the last is the moment.

        Raises:
            ConfigurationError: it has no such column, or is told what cannot be.
            SourceError: it cannot be read.
            LookupFailed: a key stands in it more than once, or it cannot be reached.
        """
        ...


def need_keys(name: str, on: Collection[str], columns: pl.Schema) -> None:
    """Raise a ConfigurationError for the first key that is no column of the lookup."""
    for column in on:
        if column not in columns:
            raise ConfigurationError(f"lookup {name}: {unknown_name('column', column, columns)}")
