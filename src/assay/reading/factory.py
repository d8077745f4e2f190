"""The factory of processors: a format is a name, and a class that can split and parse."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, ClassVar, Protocol, TypeVar, overload, runtime_checkable

from pydantic import BaseModel

from assay.errors import ConfigurationError, UnknownFormatError
from assay.plugins import load_plugin, plugin_names
from assay.reading.raw import Limits, RawRecord

ENTRY_POINTS = "assay.processors"


@runtime_checkable
class Processor(Protocol):
    """Reads one format. Built-in or from another package, it gives these two methods."""

    def process(self, data: bytes) -> Any:
        """Parse the bytes of one record: a dict (a list or scalar where a JSON document is one)."""
        ...

    def split(self, stream: BinaryIO) -> Iterator[RawRecord]:
        """Cut a stream into raw records with their places, in bounded memory."""
        ...


@runtime_checkable
class ModelAware(Protocol):
    """A processor that says itself which JSON text a model's verdict is given on."""

    def json_for(self, model: type[BaseModel]) -> Callable[[bytes], bytes] | None:
        """A function from a record's raw bytes to the JSON text that the model judges; None where they are that."""
        ...


P = TypeVar("P", bound=type)


class ProcessorFactory:
    """Makes processors by name. Register one by decorator, by call, or by an entry point `assay.processors`."""

    _registered: ClassVar[dict[str, type]] = {}

    @classmethod
    @overload
    def register(cls, name: str) -> Callable[[P], P]: ...
    @classmethod
    @overload
    def register(cls, name: str, processor: P) -> P: ...
    @classmethod
    def register(cls, name: str, processor: type | None = None) -> Any:
        """Register a processor class under a name (a later one replaces an earlier)."""

        def add(processor: type) -> type:
            for method in ("process", "split"):
                if not callable(getattr(processor, method, None)):
                    raise ConfigurationError(f"{processor.__name__} has no method {method}(); a processor needs it")
            cls._registered[name] = processor
            return processor

        return add if processor is None else add(processor)

    @classmethod
    def names(cls) -> list[str]:
        """All known formats."""
        return sorted({*cls._registered, *plugin_names(ENTRY_POINTS)})

    @classmethod
    def create(cls, name: str, *, limits: Limits | None = None, **options: Any) -> Processor:
        """Make the processor of a format.

        Args:
            name: Such as "jsonl", "json", "xml".
            limits: Bounds on one record, for a processor that takes them.
            options: What this format can be told; None counts as not given.

        Raises:
            UnknownFormatError: no such format; the message lists the known ones and the nearest.
            ConfigurationError: the format does not take this option, or is of a package that cannot be imported.
        """
        processor = cls._registered.get(name) or cls._load(name)
        if processor is None:
            raise UnknownFormatError(name, cls.names())
        takes = inspect.signature(processor).parameters
        given = {key: value for key, value in options.items() if value is not None}
        open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
        for key in given:
            if key not in takes and not open_ended:
                known = [k for k in takes if k != "limits"]
                raise ConfigurationError(
                    f'format "{name}" takes no option "{key}"; it takes {", ".join(known) or "none"}'
                )
        if limits is not None and "limits" in takes:
            given["limits"] = limits
        made: Processor = processor(**given)
        return made

    @classmethod
    def _load(cls, name: str) -> type | None:
        found = load_plugin(ENTRY_POINTS, name)
        return cls.register(name, found) if found is not None else None
