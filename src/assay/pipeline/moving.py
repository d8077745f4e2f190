"""A project that was moved, with its history and outputs, is the same project."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any


def seen_from(project: str | None, place: str) -> str:
    """A place as seen from the project's folder, where that is known and it lies below it."""
    return place if project is None else place.removeprefix(f"{project}{os.sep}")


def moved(decision: Sequence[dict[str, Any]], old: str | None, new: str) -> list[dict[str, Any]]:
    """What a run has decided, as it reads in the project where it is now.

    Args:
        decision: What the outputs had prepared.
        old: The project's folder when the run was decided; None where it is not known.
        new: The folder now.
    """
    if old is None or old == new:
        return list(decision)
    made: list[dict[str, Any]] = _moved(decision, f"{old}{os.sep}", f"{new}{os.sep}")
    return made


def _moved(value: Any, old: str, new: str) -> Any:
    match value:
        case str():
            # A database's URL has its path in it.
            return value.replace(old, new) if value.startswith((old, f"sqlite:///{old}", f"duckdb:///{old}")) else value
        case dict():
            return {key: _moved(one, old, new) for key, one in value.items()}
        case list() | tuple():
            return [_moved(one, old, new) for one in value]
    return value
