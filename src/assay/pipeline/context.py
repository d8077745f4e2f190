"""What a pipeline is given when it runs: parameters, folders, settings."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ValidationError

from assay.errors import ConfigurationError, unknown_name
from assay.lookups import LookupContext
from assay.pricing import known_instant, shown_instant
from assay.settings import Settings

#: Identity of a row through all steps.
IDENTITY: Final = ("_source", "_record")
#: The document of a row, where the source says `reject_with`.
DOCUMENT: Final = "_document"

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def is_hidden(column: str) -> bool:
    """Whether a column carries identity: names that begin with `_` are ours."""
    return column.startswith("_")


def as_typed(path: str) -> str:
    """A path as a user would type it: relative to the current folder where it lies below it."""
    return path.removeprefix(f"{Path.cwd()}{os.sep}")


def visible(schema: pl.Schema) -> pl.Schema:
    """The columns a user sees."""
    return pl.Schema({name: dtype for name, dtype in schema.items() if not is_hidden(name)})


@dataclass(frozen=True)
class Context:
    """What steps and outputs are bound with.

    Attributes:
        params: The validated parameters, or None where the pipeline has none.
        folder: The folder of the pipeline's file.
        settings: Settings, the project folder among them.
        known_at: As far as prices and rates were known then, as the run was told; None: as its steps say.
    """

    params: BaseModel | None
    folder: Path
    settings: Settings
    known_at: str | None = None

    @property
    def lookup(self) -> LookupContext:
        """What lookups are opened with."""
        params = dict(self.params) if self.params is not None else {}
        return LookupContext((self.settings.project, self.folder), self.settings, params)

    def fill(self, text: str) -> str:
        """Put parameters into a text such as "{month}/orders.jsonl".

        Raises:
            ConfigurationError: no such parameter.
        """
        known = type(self.params).model_fields if self.params is not None else {}

        def value(found: re.Match[str]) -> str:
            if found[1] not in known:
                raise ConfigurationError(f'"{text}": {unknown_name("parameter", found[1], known)}')
            return str(getattr(self.params, found[1]))

        return _PARAMETER.sub(value, text)

    def find(self, path: str) -> str:
        """An input file: in the project's folder, else beside the pipeline."""
        return self.lookup.resolve(self.fill(path))


def instant_text(known_at: dt.datetime | str | None) -> str | None:
    """The instant up to which prices and rates are known, as it is remembered: in UTC, in ISO 8601.

    Raises:
        ConfigurationError: It is no instant, or has no zone.
    """
    if known_at is None:
        return None
    shown = shown_instant(known_instant(known_at, where="known_at"), None)
    return None if shown is None else shown.isoformat().replace("+00:00", "Z")


def validate_params(model: type[BaseModel] | None, given: Mapping[str, Any], pipeline: str) -> BaseModel | None:
    """Validate parameters.

    Raises:
        ConfigurationError: an unknown, missing or wrong parameter; all of them at once.
    """
    known = model.model_fields if model is not None else {}
    wrong = [unknown_name("parameter", name, known) for name in given if name not in known]
    made: BaseModel | None = None
    if model is not None:
        try:
            made = model.model_validate(dict(given))
        except ValidationError as error:
            for e in error.errors():
                name = ".".join(map(str, e["loc"]))
                if e["type"] == "missing":
                    wrong.append(f"parameter {name} is missing; give --set {name}=...")
                elif e["type"] != "extra_forbidden":
                    wrong.append(f"parameter {name}: {e['msg']}, got {e['input']!r}")
    if wrong:
        raise ConfigurationError("; ".join(wrong), where=f"pipeline {pipeline}")
    return made
