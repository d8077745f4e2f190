"""What a pipeline tells of its own data when a run ends: lines made of what is about to be published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from assay.errors import AssayError
from assay.pipeline.checks import Pending

Note = Callable[[Pending], Iterable[str]]
"""Gives lines for the summary of a run; it changes nothing, and a run does not fail for it."""


def take_notes(notes: Sequence[Note], pending: Pending) -> tuple[list[str], list[str]]:
    """The lines of all notes, and what is to be said of those that could not be made."""
    lines: list[str] = []
    failed: list[str] = []
    for note in notes:
        try:
            lines += note(pending)
        except AssayError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's function: whatever it raises is told, and costs no data
            failed.append(f"note {getattr(note, '__name__', note)}: {type(error).__name__}: {error}")
    return lines, failed
