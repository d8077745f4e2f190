"""Fingerprints: of a definition, and of a run, so that the same run is known when it comes again."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any, Final

import polars as pl
from pydantic import BaseModel

from assay.lookups import TTLCache

_PLAIN: Final = (NoneType, str, bytes, int, float, decimal.Decimal, dt.date, Path)


def fingerprint(value: Any) -> str:
    """The SHA-256 of a definition: models, steps, outputs, and the source of its functions and of what they call."""
    return hashlib.sha256(describe(value).encode()).hexdigest()


def run_fingerprint(
    definition: str,
    params: Mapping[str, Any],
    targets: Mapping[str, str],
    inputs: Iterable[str | None],
    limit: int | None,
    answers: Iterable[str],
) -> str | None:
    """What a run is made of, however its files are called and wherever they lie.

    Args:
        definition: Fingerprint of the definition, the price books and the tables.
        params: The parameters.
        targets: Where each output goes.
        inputs: SHA-256 of the bytes of each file, in order; None where that is not known.
        limit: How many records are read.
        answers: What lookups have answered that no table holds.

    Returns:
        A SHA-256 in hexadecimal; None where an input is not known.
    """
    files = list(inputs)
    if None in files:
        return None
    parts = [definition, describe(params), describe(targets), str(limit), *map(str, files), "answers", *answers]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def describe(value: Any) -> str:
    """A text that is equal for equal definitions, in any process."""
    return _described(value, set())


def _described(value: Any, seen: set[str]) -> str:
    if is_dataclass(value) and not isinstance(value, type):
        parts = (f"{f.name}={_described(getattr(value, f.name), seen)}" for f in fields(value) if f.name != "folder")
        return f"{type(value).__name__}({', '.join(parts)})"
    if isinstance(value, type) and issubclass(value, BaseModel):
        return f"{value.__name__}{value.model_json_schema()}{_code(value, seen)}"
    if isinstance(value, pl.Expr):
        return value.meta.serialize(format="json")
    if isinstance(value, BaseModel):
        return f"{type(value).__name__}{value.model_dump_json()}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_described(k, seen)}: {_described(v, seen)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_described(one, seen) for one in value) + "]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(_described(one, seen) for one in value)) + "}"
    if isinstance(value, functools.partial):
        return f"partial{_described([value.func, value.args, value.keywords], seen)}"
    if isinstance(value, type) or callable(value):
        return _code(value, seen)
    if isinstance(value, _PLAIN):
        return repr(value)
    return _object(value, seen)


def _object(value: Any, seen: set[str]) -> str:
    if isinstance(value, TTLCache):
        # Where answers are kept changes none.
        return "TTLCache"
    if vars(object)["__repr__"] is type(value).__repr__:
        # Its own text would be where it lies in memory.
        plain = {name: one for name, one in getattr(value, "__dict__", {}).items() if isinstance(one, _PLAIN)}
        return f"{_code(type(value), seen)}{_described(plain, seen)}"
    return f"{type(value).__name__}:{value!r}"


def _code(value: Any, seen: set[str]) -> str:
    """The source of a function or class, and of what it refers to in the user's own files."""
    name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    if name in seen:
        return name
    seen.add(name)
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError):
        return name
    parts = [source]
    for function in _functions(value):
        cells = (cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell))
        held = [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        parts += (_described(one, seen) for one in [*held, *_referred(function)])
    return " ".join(parts)


def _functions(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, type):
        for one in vars(value).values():
            yield from _functions(inspect.unwrap(getattr(one, "wrapped", getattr(one, "__func__", one))))
    elif isinstance(value, MethodType):
        yield from _functions(value.__func__)
    elif isinstance(value, FunctionType):
        yield value


def _referred(function: FunctionType) -> Iterator[Any]:
    """Globals of the user's own that a function names: what they are decides what it does."""
    home = Path(function.__code__.co_filename).parent
    names = sorted(set(_names(function.__code__)))
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            if _is_below(getattr(value, "__file__", None), home):
                yield from (vars(value)[one] for one in names if one in vars(value))
        elif isinstance(value, type | FunctionType):
            if _is_below(inspect.getsourcefile(value) if not _is_builtin(value) else None, home):
                yield value
        elif isinstance(value, str | bytes | int | float | decimal.Decimal | dt.date | list | tuple | dict | frozenset):
            yield value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_builtin(value: type | FunctionType) -> bool:
    try:
        inspect.getfile(value)
    except (OSError, TypeError):
        return True
    return False


def _is_below(file: str | None, folder: Path) -> bool:
    return file is not None and Path(file).is_relative_to(folder)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell says so by raising
    except ValueError:
        return False
    return True
