"""Sinks by name: those given here, those of other packages, those registered in code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeVar, runtime_checkable

import polars as pl

from assay.errors import ConfigurationError, UnknownNameError
from assay.plugins import load_plugin, plugin_names
from assay.sinks.durable import remove_folder
from assay.sinks.protocol import Sink
from assay.sinks.staging import scan

ENTRY_POINTS: Final = "assay.sinks"

SinkClass = TypeVar("SinkClass", bound=type[Sink])


@runtime_checkable
class StagesItself(Protocol):
    """A sink whose staged files are neither Parquet nor Arrow."""

    def staged_rows(self, staged: Mapping[str, Any], /) -> pl.LazyFrame:
        """The rows that were staged; a class method of the sink."""
        ...


class SinkFactory:
    """Sinks by name.

    A package of its own registers its sinks by an entry point of the group `assay.sinks`; in code:

        @SinkFactory.register
        @dataclass(frozen=True)
        class Kafka: kind = "kafka"; ...
    """

    _registered: ClassVar[dict[str, type[Sink]]] = {}

    @classmethod
    def register(cls, sink: SinkClass) -> SinkClass:
        """Register a sink under its `kind`; a class decorator.

        Raises:
            ConfigurationError: another sink has this name.
        """
        known = cls._registered.setdefault(sink.kind, sink)
        if (known.__module__, known.__qualname__) != (sink.__module__, sink.__qualname__):
            raise ConfigurationError(f'there is a sink "{sink.kind}" already: {known.__module__}.{known.__qualname__}')
        cls._registered[sink.kind] = sink
        return sink

    @classmethod
    def get(cls, kind: str) -> type[Sink]:
        """The sink of a name.

        Raises:
            UnknownNameError: none has it; lists those that are known.
        """
        if kind not in cls._registered:
            found = load_plugin(ENTRY_POINTS, kind)
            if found is not None:
                cls.register(found)
        if kind not in cls._registered:
            raise UnknownNameError("sink", kind, cls.known())
        return cls._registered[kind]

    @classmethod
    def known(cls) -> list[str]:
        """All names, sorted."""
        return sorted({*cls._registered, *plugin_names(ENTRY_POINTS)})


def publish(staged: Mapping[str, Any], run_id: str) -> bool:
    """Make visible what a sink has prepared; see `Sink.publish`.

    Needs nothing but the JSON that `prepare` gave, so it can be called after a crash, by another process, again.

    Returns:
        True if it became visible now, False if this run had published it before.

    Raises:
        UnknownNameError: the sink is not installed.
        SinkError: see `Sink.publish`.
    """
    return SinkFactory.get(staged["sink"]).publish(staged, run_id)


def is_published(staged: Mapping[str, Any], run_id: str) -> bool:
    """Whether what a run has published to a sink is still known there; see `Sink.has_published`."""
    return SinkFactory.get(staged["sink"]).has_published(staged, run_id)


def staged_rows(staged: Mapping[str, Any]) -> pl.LazyFrame:
    """The rows that a sink has staged, before they are published."""
    sink: object = SinkFactory.get(staged["sink"])
    if isinstance(sink, StagesItself):
        return sink.staged_rows(staged)
    paths = [Path(file["path"]) for file in staged["files"]]
    return scan(paths, "parquet" if paths[0].suffix == ".parquet" else "arrow")


def discard(staged: Mapping[str, Any] | Path) -> None:
    """Remove what was staged; what is published stays.

    Args:
        staged: What `prepare` gave, or the staging folder where a run died before that.
    """
    remove_folder(staged if isinstance(staged, Path) else Path(staged["folder"]))
