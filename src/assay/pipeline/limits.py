"""What the model of a source limits, so that a price book need not."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from assay.pricing import Finding, Inputs


def is_limited(finding: Finding, inputs: Inputs, model: type[BaseModel]) -> bool:
    """Whether the model refuses the value with which a finding shows that a book does not limit it.

    Args:
        finding: Of the linter.
        inputs: The book's input names to names of columns, where they differ.
        model: Of the records.
    """
    if finding.rule != "unbounded" or finding.beside is None:
        return False
    moved = [name for name, value in finding.example.items() if value != finding.beside.get(name)]
    fields = [(model.model_fields.get(inputs.get(name, name) or name), finding.example[name]) for name in moved]
    return bool(fields) and all(field is not None and _refuses(field, value) for field, value in fields)


def _refuses(field: Any, value: object) -> bool:
    adapter: TypeAdapter[object] = TypeAdapter(Annotated[field.annotation, *field.metadata])
    try:
        adapter.validate_python(value)
    except ValidationError:
        return True
    return False
