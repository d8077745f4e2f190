"""The reference verdict: Pydantic's own, on one record at a time.

One call a record: joining records to judge several at once is unsound, since a malformed record could be completed by
its neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pydantic_core
from pydantic import BaseModel, TypeAdapter
from pydantic import ValidationError as PydanticError

from assay.errors import ValidationError
from assay.reading import Block, Ints, ModelAware, Processor
from assay.records.rejects import Stage, worded
from assay.result import Err, Ok

M = TypeVar("M", bound=BaseModel)


def json_text_for(processor: Processor, model: type[BaseModel]) -> Callable[[bytes], bytes] | None:
    """How the raw bytes of a record become the JSON text that the model judges; None where they are that.

    A processor that does not say so itself is asked to parse the record, and what it gives is written as JSON.
    """
    if isinstance(processor, ModelAware):
        return processor.json_for(model)
    return lambda data: pydantic_core.to_json(processor.process(data), inf_nan_mode="constants")


class Judge:
    """Gives the verdict on raw records.

    Args:
        model: The model.
        json_text: From raw bytes to the JSON text to judge; None where they are that.
        max_errors: Errors kept per record.
        max_input: Characters of a wrong value kept.
    """

    def __init__(
        self,
        model: type[BaseModel],
        json_text: Callable[[bytes], bytes] | None,
        *,
        max_errors: int = 100,
        max_input: int = 1_000,
    ) -> None:
        self._validate = TypeAdapter(model).validator.validate_json
        self._json_text = json_text
        self._max_errors = max_errors
        self._max_input = max_input

    def judge(self, block: Block, rows: Ints) -> tuple[list[int], list[BaseModel], dict[int, Rejection]]:
        """Some records of a block: which are accepted, their model instances, and why the others are not."""
        accepted: list[int] = []
        instances: list[BaseModel] = []
        rejections: dict[int, Rejection] = {}
        validate, json_text, data = self._validate, self._json_text, block.data
        framed = bool(block.head or block.tail)
        starts, ends = block.starts[rows].tolist(), block.ends[rows].tolist()
        for row, start, end in zip(rows.tolist(), starts, ends, strict=True):
            if row in block.problems:
                problem = block.problems[row]
                rejections[row] = self._rejected("read", [{"loc": (), "type": problem.type, "msg": problem.msg}])
                continue
            raw = data[start:end] if not framed else block.raw(row).data
            try:
                instances.append(validate(raw if json_text is None else json_text(raw)))
            except Exception as error:  # noqa: BLE001 - a model's own validator may raise anything; the run goes on
                rejections[row] = self._rejection(error, raw)
            else:
                accepted.append(row)
        return accepted, instances, rejections

    def _rejection(self, error: Exception, raw: bytes) -> Rejection:
        if isinstance(error, PydanticError):
            return self._rejected("validate", error.errors(include_url=False, include_context=False))
        if isinstance(error, ValidationError):
            return self._rejected("read", [{"loc": (), "type": "record_invalid", "msg": str(error), "input": raw}])
        message = f"Validator failed with {type(error).__name__}: {error}"
        return self._rejected("validate", [{"loc": (), "type": "validator_failed", "msg": message}])

    def _rejected(self, stage: Stage, errors: Sequence[Any]) -> Rejection:
        kept = [
            worded(e["loc"], e["type"], e["msg"], e.get("input", ""), max_input=self._max_input)
            for e in errors[: self._max_errors]
        ]
        if len(errors) > self._max_errors:
            more = len(errors) - self._max_errors
            kept.append(worded((), "more_errors", f"{more:,} more errors (setting max_record_errors)", ""))
        return Rejection(stage, kept)


class Rejection:
    """Why a record did not pass."""

    __slots__ = ("errors", "stage")

    def __init__(self, stage: Stage, errors: list[dict[str, str]]) -> None:
        self.stage = stage
        self.errors = errors


def validate(rows: Sequence[Any], model: type[M]) -> list[Ok[M] | Err[list[Any]]]:
    """Judge rows that are in memory.

    Args:
        rows: Each a dict (or any object: Pydantic's Python mode), or bytes or str (Pydantic's JSON mode).
        model: Any Pydantic v2 model.

    Returns:
        In order, `Ok(instance)` or `Err(list of Pydantic's errors)`.
    """
    adapter = TypeAdapter(model)
    verdicts: list[Ok[M] | Err[list[Any]]] = []
    for row in rows:
        try:
            if isinstance(row, bytes | bytearray | str):
                verdicts.append(Ok(adapter.validate_json(row)))
            else:
                verdicts.append(Ok(adapter.validate_python(row)))
        except PydanticError as error:
            verdicts.append(Err(error.errors()))
    return verdicts
