"""Reading a price book's file, and wording what is wrong with a book."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

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


def in_our_words(error: ValidationError, model: type[BaseModel]) -> ValidationError:
    """The same errors of a model, each saying what is wrong and what may be written instead."""
    found = error.errors(include_url=False)
    meant = {
        (*one["loc"][:-1], near)
        for one in found
        if _theirs(one, "extra_forbidden") and (near := nearest(str(one["loc"][-1]), _fields(model, one["loc"])))
    }
    lines: list[InitErrorDetails] = []
    for one in found:
        if _theirs(one, "missing") and one["loc"] in meant:
            continue  # it is there, misspelt
        reason = PydanticCustomError(one["type"], "{reason}", {"reason": _reason(one, model)})
        lines.append({"type": reason, "loc": one["loc"], "input": one["input"]})
    return ValidationError.from_exception_data(error.title, lines)


def worded(error: ValidationError, content: object, where: str | None = None) -> ConfigurationError:
    """One error that lists all that is wrong, each with its key; steps are counted from 1.

    Args:
        error: What is wrong, in our words.
        content: What was validated.
        where: The file, or None.
    """
    messages = [(_place(one["loc"], content), one["msg"]) for one in error.errors(include_url=False)]
    if len(messages) == 1:
        key, message = messages[0]
        place = f"{where}: {key}" if where and key else where or key or None
        return ConfigurationError(message, where=place)
    listed = "\n".join(f"  {key}: {message}" if key else f"  {message}" for key, message in messages)
    return ConfigurationError(f"{len(messages)} errors\n{listed}", where=where)


def _place(loc: Sequence[int | str], content: object) -> str:
    """In words: "step 2 (graduated), tier 1, up_to"."""
    parts: list[str] = []
    at = content
    for part in loc:
        try:
            at = at[part]  # type: ignore[index]  # what cannot be indexed is told apart by the error
        except (KeyError, IndexError, TypeError):
            at = None
        if isinstance(part, int):
            kind = at.get("kind") if isinstance(at, Mapping) else None
            parts[-1] = f"{parts[-1].removesuffix('s')} {part + 1}" + (f" ({kind})" if isinstance(kind, str) else "")
        else:
            parts.append(part)
    return ", ".join(parts)


def _theirs(error: ErrorDetails, kind: str) -> bool:
    """Whether it is an error of this kind as Pydantic words it; those of a model inside are in our words already."""
    return error["type"] == kind and "reason" not in error.get("ctx", {})


# Kinds of Pydantic's errors, by their beginnings, and what is said of them.
_WORDS = {
    "missing": "is missing",
    "int_": "{given} is no whole number",
    "bool_": "{given} is neither true nor false",
    "date_": "{given} is no day; write it as 2026-02-03",
    "string_type": "{given} is no text",
    "string_too_short": "is empty",
    "tuple_type": "{given} is no list",
    "greater_than_equal": "{given} is not at least {ge}",
    "greater_than": "{given} is not above {gt}",
    "less_than_equal": "{given} is not at most {le}",
    "less_than": "{given} is not below {lt}",
}


def _reason(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if "reason" in context:
        return error["msg"]
    shown = json.dumps(given, default=str, ensure_ascii=False)
    if kind == "extra_forbidden":
        near = nearest(str(error["loc"][-1]), _fields(model, error["loc"]))
        return "no such key" + (f"; did you mean {near}?" if near else "")
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        near = nearest(given, known) if isinstance(given, str) else None
        return f"{shown} is none of {', '.join(known)}" + (f'; did you mean "{near}"?' if near else "")
    words = next((words for start, words in _WORDS.items() if kind.startswith(start)), None)
    return error["msg"] if words is None else words.format(given=shown, **context)


def _fields(model: type[BaseModel], loc: Sequence[int | str]) -> set[str]:
    """Keys that may stand at a place: those of the model, and of the models inside where the place is inside."""
    fields = set(model.model_fields)
    return fields if len(loc) == 1 else _inner_fields(model)


def _inner_fields(model: type[BaseModel]) -> set[str]:
    found: set[str] = set()
    waiting: list[object] = [field.annotation for field in model.model_fields.values()]
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            found |= set(one.model_fields)
        waiting += get_args(one)
    return found


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
