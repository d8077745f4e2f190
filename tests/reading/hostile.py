"""What the tests of hostile input share: one read in both settings, and the memory that one takes."""

from __future__ import annotations

import io
import itertools
import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field
from tests.conftest import ROOT

import assay
from assay.settings import Settings

#: Bytes of address space that a measured process may have.
MEMORY: Final = 8 * 1024**3


class Line(BaseModel):
    """A line of money, every field of which is compiled."""

    id: int
    text: str = ""
    amount: Annotated[Decimal, Field(max_digits=12, decimal_places=2)] = Decimal(0)
    ratio: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How reading ended.

    Attributes:
        rows: Accepted records with their places.
        rejects: Rejected ones.
        error: The words of the SourceError that broke it off, or None.
    """

    rows: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    error: str | None

    @property
    def accepted(self) -> list[int]:
        """The ids of the accepted records."""
        return [row["id"] for row in self.rows]

    @property
    def refused(self) -> list[tuple[int, list[str]]]:
        """Number of each rejected record, and the types of its errors."""
        return [(one["record"], [error["type"] for error in one["errors"]]) for one in self.rejects]


def outcome(source: Any, settings: Settings, model: type[BaseModel] = Line, **options: Any) -> Outcome:
    """Read, record by record, until the end or an error."""
    kept: list[Any] = []
    rows: list[dict[str, Any]] = []
    error = None
    try:
        scan = assay.scan(source, model, trace=True, rejects=kept.append, settings=settings, **options)
        for frame in scan.collect_batches(maintain_order=True):
            rows += frame.to_dicts()
    except assay.SourceError as found:
        error = str(found)
    return Outcome(rows, [reject for frame in kept for reject in frame.to_dicts()], error)


def both(source: Any, **options: Any) -> Outcome:
    """What reading comes to, which must be the same compiled and by the reference."""
    compiled, reference = (outcome(source, Settings(compiled=one), **options) for one in (True, False))
    # As text: a NaN equals itself.
    assert repr(compiled) == repr(reference)
    return compiled


class Lazy(io.RawIOBase):
    """A stream that is made while it is read: the first bytes, a filling repeated up to a size, the last bytes."""

    name = "<lazy>"

    def __init__(self, first: bytes, filling: bytes, size: int, last: bytes) -> None:
        whole = filling * ((1 << 20) // len(filling))
        chunks = itertools.repeat(whole, size // len(whole))
        self._chunks = itertools.chain([first], chunks, [whole[: size % len(whole)], last])
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        given, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return given


@dataclass(frozen=True)
class Measured:
    """What reading in a process of its own came to.

    Attributes:
        accepted: Ids.
        rejects: Record, offset, bytes kept, and message of the first error, of each.
        error: The words of the SourceError, or None.
        megabytes: By how much the process's peak grew over that of reading one record.
    """

    accepted: list[int]
    rejects: list[tuple[int, int, int, str]]
    error: str | None
    megabytes: int


def measured(first: bytes, filling: bytes, size: int, last: bytes, **options: Any) -> Measured:
    """Read a lazy stream in a process of its own, with an end to its memory and its time."""
    given = [first.decode(), filling.decode(), size, last.decode(), options]
    command = [sys.executable, "-m", "tests.reading.hostile", json.dumps(given)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    accepted, rejects, error, megabytes = json.loads(done.stdout)
    return Measured(accepted, [tuple(one) for one in rejects], error, megabytes)


def _peak() -> int:
    """The most memory that this process has had, in megabytes (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def _measure(first: str, filling: str, size: int, last: str, options: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    settings = Settings(compiled=options.pop("compiled"))
    outcome(b'{"id":1}', settings, format="jsonl")
    before = _peak()
    found = outcome(Lazy(first.encode(), filling.encode(), size, last.encode()), settings, **options)
    grown = _peak() - before
    rejects = [(r["record"], r["offset"], len(r["raw"]), r["errors"][0]["msg"]) for r in found.rejects]
    sys.stdout.write(json.dumps([found.accepted, rejects, found.error, grown]))


if __name__ == "__main__":
    _measure(*json.loads(sys.argv[1]))
