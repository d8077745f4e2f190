"""How far a run is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """How far a run is.

    Attributes:
        stage: What it does now: "validate" (with reading, steps and writing), "write".
        bytes: Bytes read of the files as they lie there, compressed where they are.
        total: Bytes of all files; None where that is not known.
        records: Records read.
        rejects: Records rejected.
    """

    stage: str
    bytes: int
    total: int | None
    records: int
    rejects: int


Progress = Callable[[Report], None]
