"""Fingerprints: of a definition, and of a run, so that the same run is known when it comes again."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import functools
import hashlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any, Final, get_args, get_origin

import polars as pl
from pydantic import BaseModel, PydanticInvalidForJsonSchema

from assay.errors import ConfigurationError
from assay.lookups import TTLCache

_PLAIN: Final = (NoneType, str, bytes, int, float, decimal.Decimal, dt.date, dt.time, dt.timedelta, Path)
#: What is told of an object or a module: values, not what is open or running (loggers, locks, connections).
_TOLD: Final = (
    *_PLAIN,
    list,
    tuple,
    dict,
    set,
    frozenset,
    enum.Enum,
    re.Pattern,
    functools.partial,
    MethodType,
    BaseModel,
    pl.Expr,
    pl.DataFrame,
    pl.Series,
)
_NOT_OWN: Final = (Path(sysconfig.get_path("stdlib")), Path(__file__).parents[1])
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


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
        parts = (f"{f.name}={_field(getattr(value, f.name), seen)}" for f in fields(value) if f.name != "folder")
        return f"{type(value).__name__}({', '.join(parts)})"
    if isinstance(value, type) and issubclass(value, BaseModel):
        return _model(value, seen)
    if isinstance(value, pl.Expr):
        return _expression(value)
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


def _field(value: Any, seen: set[str]) -> str:
    """What a definition says by name, such as its outputs, means the same in any order."""
    ordered = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    return _described(dict(sorted(value.items())) if ordered else value, seen)


def _object(value: Any, seen: set[str]) -> str:
    if isinstance(value, TTLCache):
        # Where answers are kept changes none.
        return "TTLCache"
    # The text of both leaves out what is long.
    if isinstance(value, pl.DataFrame | pl.Series):
        return hashlib.sha256(pl.DataFrame(value).write_ipc(None).getvalue()).hexdigest()
    if isinstance(value, re.Pattern):
        return f"pattern{value.pattern!r}{value.flags}"
    if vars(object)["__repr__"] is type(value).__repr__:
        # Its own text would be where it lies in memory.
        mark = f"object {id(value)}"
        if mark in seen:
            return type(value).__name__
        seen.add(mark)
        told = {name: one for name, one in getattr(value, "__dict__", {}).items() if isinstance(one, _TOLD)}
        return f"{_code(type(value), seen)}{_described(told, seen)}"
    return f"{type(value).__name__}:{_ADDRESS.sub('', repr(value))}"


def _expression(value: pl.Expr) -> str:
    try:
        return value.meta.serialize(format="json")
    except pl.exceptions.ComputeError:
        shown = str(value).partition("\n")[0]
        raise ConfigurationError(
            f"the expression {shown} holds a Python function, by which it cannot be known again: write the step as a "
            "function LazyFrame -> LazyFrame"
        ) from None


def _model(value: type[BaseModel], seen: set[str]) -> str:
    """A model: its schema, its code, and the types and validators of its fields, wherever they are written."""
    if f"model {value.__module__}.{value.__qualname__}" in seen:
        return value.__qualname__
    seen.add(f"model {value.__module__}.{value.__qualname__}")
    try:
        schema: object = value.model_json_schema()
    except PydanticInvalidForJsonSchema:
        # Types of its own, whose code is told below.
        schema = ""
    parts = [f"{value.__name__}{schema}{_code(value, seen)}", _described(dict(value.model_config), seen)]
    for name, field in value.model_fields.items():
        told = [field.metadata, field.default, field.default_factory, field.validation_alias]
        parts += [name, _annotation(field.annotation, seen), _described(told, seen)]
    return " ".join(parts)


def _annotation(value: Any, seen: set[str]) -> str:
    """A type as it is written for a field, with what stands in `Annotated`."""
    if (arguments := get_args(value)) and not isinstance(value, type):
        return f"{get_origin(value)}[{', '.join(_annotation(one, seen) for one in arguments)}]"
    if arguments:
        return f"{value.__name__}[{', '.join(_annotation(one, seen) for one in arguments)}]"
    return _described(value, seen)


def _code(value: Any, seen: set[str]) -> str:
    """The source of a function or class, and of what it refers to in the user's own files."""
    name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    if name in seen:
        return name
    seen.add(name)
    if name.partition(".")[0] in sys.stdlib_module_names:
        # Of Python's own the name says it, and to find the source of a class costs its whole file.
        return name
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError):
        return name
    parts = [source]
    if isinstance(value, type):
        parts += (_described(base, seen) for base in value.__bases__ if _is_own(inspect.getmodule(base), None))
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
    names = sorted(set(_names(function.__code__)))
    yield from _named(function.__globals__, names, Path(function.__code__.co_filename).parent, set())


def _named(namespace: Mapping[str, Any], names: Sequence[str], home: Path, modules: set[str]) -> Iterator[Any]:
    for name in names:
        # A module that is imported within the function is no global.
        value = namespace[name] if name in namespace else sys.modules.get(name)
        if isinstance(value, ModuleType):
            if value.__name__ not in modules and _is_own(value, home):
                modules.add(value.__name__)
                yield from _named(vars(value), names, home, modules)
        elif isinstance(value, type | FunctionType):
            if _is_own(inspect.getmodule(value), home):
                yield value
        elif isinstance(value, _TOLD) or _is_own(inspect.getmodule(type(value)), home):
            yield value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_own(module: ModuleType | None, home: Path | None) -> bool:
    """Whether a module is the user's: beside the function that names it, or neither Python's nor installed."""
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    path = Path(file)
    if home is not None and path.is_relative_to(home):
        return True
    return "site-packages" not in path.parts and not any(path.is_relative_to(folder) for folder in _NOT_OWN)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell says so by raising
    except ValueError:
        return False
    return True
