"""Reading a price book's file, and wording what is wrong with it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from assay.errors import ConfigurationError, nearest


def read_book(path: Path) -> object:
    """Parse a .toml or .json file.

    Raises:
        ConfigurationError: It cannot be read or parsed; with the file, and the line of a syntax error.
    """
    parsers = {".toml": _toml, ".json": _json}
    parse = parsers.get(path.suffix.lower())
    if parse is None:
        raise ConfigurationError(f'a price book is a .toml or .json file, not "{path.suffix}"', where=str(path))
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"not UTF-8 (byte {error.start})", where=str(path)) from error
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    return parse(text, str(path))


def worded(error: ValidationError, models: Iterable[type[BaseModel]], where: str | None = None) -> ConfigurationError:
    """One error that lists all that is wrong, each with its key.

    Args:
        error: What Pydantic found.
        models: Whose fields a misspelt key may have meant.
        where: The file, or None.
    """
    fields = {name for model in models for name in model.model_fields}
    messages = list(_messages(error.errors(include_url=False), fields))
    if len(messages) == 1:
        key, message = messages[0]
        place = f"{where}: {key}" if where and key else where or key or None
        return ConfigurationError(message, where=place)
    listed = "\n".join(f"  {key}: {message}" if key else f"  {message}" for key, message in messages)
    return ConfigurationError(f"{len(messages)} errors\n{listed}", where=where)


def _messages(errors: Iterable[ErrorDetails], fields: Iterable[str]) -> Iterator[tuple[str, str]]:
    errors = list(errors)
    meant = {
        (*error["loc"][:-1], near): error["loc"]
        for error in errors
        if error["type"] == "extra_forbidden" and (near := nearest(str(error["loc"][-1]), fields))
    }
    for error in errors:
        if error["type"] == "missing" and error["loc"] in meant:
            continue  # it is there, misspelt
        inside = [other for other in errors if other["loc"][: len(error["loc"])] == error["loc"]]
        if error["type"] == "too_short" and len(inside) > 1:
            continue  # none is left, since all are wrong
        key = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            near = nearest(str(error["loc"][-1]), fields)
            yield key, f"no such key{f'; did you mean {near}?' if near else ''}"
        elif error["type"] == "missing":
            yield key, "is missing"
        else:
            yield key, error["msg"]


def _toml(text: str, where: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = re.search(r" \(at line (\d+), column \d+\)$", message)
        line = f":{found[1]}" if found else ""
        raise ConfigurationError(f"TOML: {message}", where=f"{where}{line}") from error


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"JSON: {error.msg} (column {error.colno})", where=f"{where}:{error.lineno}"
        ) from error
    except ConfigurationError as error:
        raise ConfigurationError(error.message, where=where) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"JSON: {error}", where=where) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ConfigurationError(f'the key "{key}" stands there twice')
        found[key] = value
    return found
