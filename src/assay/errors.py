"""The exception hierarchy. Classes carry fields; the command line and the service word them.

Every error that Assay raises on purpose is an `AssayError`, so that a caller can tell "your input or your
definition is at fault" from a defect of Assay itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class AssayError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do."""


class ConfigurationError(AssayError):
    """A pipeline, model, price book or setting is wrong; raised before any data is read.

    Attributes:
        where: File and key (`pipelines/orders.toml: steps.2.percent`), or None.
    """

    def __init__(self, message: str, *, where: str | None = None) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.where = where

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.message,), {"where": self.where})


class UnknownNameError(ConfigurationError):
    """A name that is not registered: the message lists the known ones and the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(unknown_name(kind, name, self.known))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.kind, self.name, self.known), {})


class UnknownFormatError(UnknownNameError, ValueError):
    """No processor is registered for this format."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__("format", name, known)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.name, self.known), {})


class UnknownOptionError(UnknownNameError, TypeError):
    """A function has no such option."""

    def __init__(self, function: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"option of {function}", name, known)
        self.function = function

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.function, self.name, self.known), {})


class SourceError(AssayError):
    """A file (not one record of it) cannot be read: missing, cut short, wrong encoding or format.

    Attributes:
        file: Name of the source.
        offset: Byte offset in the decompressed data where reading ended, or None.
        record: Number of records that could be read before, or None.
        missing: Whether there is no such file, or none that a glob finds: it may come yet.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str,
        offset: int | None = None,
        record: int | None = None,
        missing: bool = False,
    ) -> None:
        self.message, self.file, self.offset, self.record, self.missing = message, file, offset, record, missing
        place = []
        if record is not None:
            place.append(f"after record {record:,}" if record else "before the first record")
        if offset is not None:
            place.append(f"byte {offset:,}")
        super().__init__(f"{file}: {message}" + (f" ({', '.join(place)})" if place else ""))

    def __reduce__(self) -> tuple[object, ...]:
        fields = {"file": self.file, "offset": self.offset, "record": self.record, "missing": self.missing}
        return _rebuild, (type(self), (self.message,), fields)


class ValidationError(AssayError, ValueError):
    """A record is wrong, and nobody asked to collect rejects.

    Attributes:
        source: Name of the source; record: 0-based number; line: 1-based; errors: as Pydantic lists them.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str = "<bytes>",
        record: int = 0,
        line: int = 1,
        errors: list[dict[str, object]] | None = None,
    ) -> None:
        self.message, self.source, self.record, self.line = message, source, record, line
        self.errors = errors or []
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        fields = {"source": self.source, "record": self.record, "line": self.line, "errors": self.errors}
        return _rebuild, (type(self), (self.message,), fields)


class TooManyRejectsError(ValidationError):
    """More records of a scan were rejected than `max_rejects` allows; the fields are those of the first."""


class NotFoundError(AssayError):
    """No such thing."""

    def __init__(self, resource: str, identifier: object) -> None:
        self.resource, self.identifier = resource, identifier
        super().__init__(f"no {resource} {identifier!r}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.resource, self.identifier), {})


class DuplicateError(AssayError):
    """There is one already."""

    def __init__(self, resource: str, identifier: object) -> None:
        self.resource, self.identifier = resource, identifier
        super().__init__(f"{resource} {identifier!r} exists already")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.resource, self.identifier), {})


class AuthorizationError(AssayError):
    """The caller may not do this."""


class LookupFailed(AssayError):  # noqa: N818 - the name is part of the public contract
    """A lookup could not answer (as against: answered that there is no such key)."""


class PricingError(AssayError):
    """A price cannot be computed: missing input, missing rate, amount out of range.

    Attributes:
        lines: Why lines of a document cannot be priced, by their places from 0; empty where the document itself is at
            fault.
    """

    def __init__(self, message: str, *, lines: Mapping[int, str] | None = None) -> None:
        super().__init__(message)
        self.message, self.lines = message, dict(lines or {})

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.message,), {"lines": self.lines})


class SinkError(AssayError):
    """An output cannot be written.

    Attributes:
        sink: Name of the output.
    """

    def __init__(self, message: str, *, sink: str) -> None:
        self.message, self.sink = message, sink
        super().__init__(f"output {sink}: {message}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.message,), {"sink": self.sink})


class LedgerError(AssayError):
    """The ledger of a run does not balance; nothing was published."""


class CheckFailed(LedgerError):  # noqa: N818 - as its neighbours
    """A check that a pipeline makes before it publishes; nothing was published."""


class RunStoreError(AssayError):
    """The database of the run store is away, full or locked; what it has noted is there when it is back."""

    def __init__(self, message: str) -> None:
        super().__init__(f"run store {message}")
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.message,), {})


class RunFailed(AssayError):  # noqa: N818 - the name is part of the public contract
    """A run ended without publishing.

    Attributes:
        run: Id of the run.
    """

    def __init__(self, message: str, *, run: str) -> None:
        self.message, self.run = message, run
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), (self.message,), {"run": self.run})


def nearest(name: str, known: Iterable[str], *, at_least: float = 0.6) -> str | None:
    """The known name that `name` was probably meant to be, or None if none is near (1 is equal)."""
    lowered = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=at_least)
    return lowered[found[0]] if found else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Word an unknown name: what was asked for, the nearest known one, and all known ones."""
    names = sorted(known)
    near = nearest(name, names)
    hint = f' Did you mean "{near}"?' if near else ""
    return f'no {kind} "{name}".{hint} Known: {", ".join(names) or "none"}'


def _rebuild(cls: type[AssayError], args: tuple[object, ...], fields: dict[str, object]) -> AssayError:
    """Unpickle an error whose constructor takes fields (errors cross processes on a cluster)."""
    return cls(*args, **fields)
