"""What is printed, made into a class as a user would: by running it."""

from typing import Any

from pydantic import BaseModel

import assay
from assay.inference import Inferred, infer_model
from assay.records import Read


def model_of(found: Inferred) -> type[BaseModel]:
    """The model that the source makes; the same as the one that was held against the file."""
    namespace: dict[str, Any] = {"__name__": "printed"}
    exec(compile(found.source, "printed", "exec"), namespace)
    model: type[BaseModel] = namespace[found.model.__name__]
    assert model.model_json_schema() == found.model.model_json_schema()
    return model


def accepted(source: Any, **options: Any) -> tuple[Inferred, Read]:
    """Infer a model, and read the source with what was printed: nothing is rejected but what was said."""
    found = infer_model(source, **options)
    given = {key: value for key, value in found.format.options().items() if value is not None}
    given["format"] = found.format.format
    read = assay.read(source, model_of(found), **given)
    assert read.counts == {
        "read": found.read,
        "accepted": found.accepted,
        "rejected": found.read - found.accepted,
    }
    return found, read
