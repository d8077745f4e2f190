"""`Ok` and `Err`: the outcome of one item where a failure must not stop the others.

Tell them apart with `match outcome: case Ok(value): ...; case Err(error): ...`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """It worked; `value` is what came out."""

    value: T


@dataclass(frozen=True, slots=True)
class Err(Generic[E]):
    """It failed; `error` says how."""

    error: E


Result = Ok[T] | Err[E]
