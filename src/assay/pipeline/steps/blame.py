"""Errors while a step runs: which step it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from assay.errors import AssayError, ConfigurationError
from assay.pipeline.steps.function import BoundRowFunction, BoundWholeFunction
from assay.pipeline.steps.protocol import RowStep, WholeStep


@contextmanager
def blamed(step: RowStep | WholeStep) -> Iterator[None]:
    """Name the step in an error of Polars, or of a function of the user's.

    Raises:
        ConfigurationError: in place of such an error. Others are not the definition's fault and stay what they are.
    """
    is_function = isinstance(step, BoundRowFunction | BoundWholeFunction)
    try:
        yield
    except (AssayError, OSError, MemoryError):
        raise
    except Exception as error:
        if not is_function and not isinstance(error, pl.exceptions.PolarsError):
            raise
        first = str(error).partition("\n")[0]
        raise ConfigurationError(f"{type(error).__name__}: {first}", where=f"step {step.name}") from error
