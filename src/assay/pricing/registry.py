"""Strategies by name: from this package, by decorator, or by an entry point `assay.strategies`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic_core import PydanticCustomError

from assay.errors import ConfigurationError, DuplicateError, UnknownNameError, nearest
from assay.plugins import load_plugin, plugin_names
from assay.pricing.step import Step

ENTRY_POINTS = "assay.strategies"

S = TypeVar("S", bound=type[Step])

_strategies: dict[str, type[Step]] = {}


def register(strategy: S) -> S:
    """Make a strategy known to price books under its `kind` (a class decorator).

    Defining the same class again, as a notebook cell that runs twice does, replaces it.

    Raises:
        ConfigurationError: The class is no Step, or its `kind` has no default.
        DuplicateError: Another strategy has this kind.
    """
    if not (isinstance(strategy, type) and issubclass(strategy, Step)):
        raise ConfigurationError(f"{strategy!r} is not a Step")
    model: type[Step] = strategy
    kind = model.model_fields["kind"].default
    if not isinstance(kind, str) or not kind:
        raise ConfigurationError(f'{strategy.__name__} needs a kind: kind: Literal["name"] = "name"')
    known = _strategies.get(kind)
    if known is not None and (known.__module__, known.__qualname__) != (strategy.__module__, strategy.__qualname__):
        raise DuplicateError("pricing strategy", kind)
    _strategies[kind] = strategy
    return strategy


def parsed_step(value: object) -> object:
    """What Pydantic does with a table of a step: the strategy of its `kind` takes it."""
    if isinstance(value, Step) or not isinstance(value, Mapping):
        return value
    kind = value.get("kind")
    if not isinstance(kind, str):
        near = next((str(key) for key in value if key not in Step.model_fields and nearest(str(key), ["kind"])), None)
        meant = f"; did you mean kind by {near}?" if near else f": {', '.join(strategy_kinds())}"
        raise PydanticCustomError("step_kind", "say the kind of step{meant}", {"meant": meant})
    try:
        found = strategy(kind)
    except UnknownNameError as error:
        near = nearest(kind, strategy_kinds())
        reason = f'no pricing strategy "{kind}". Did you mean "{near}"?' if near else error.message
        raise PydanticCustomError("step_kind", "{reason}", {"reason": reason}) from error
    return found.model_validate(dict(value))


def strategy_kinds() -> list[str]:
    """All known kinds."""
    return sorted({*_strategies, *plugin_names(ENTRY_POINTS)})


def strategy(kind: str) -> type[Step]:
    """The strategy of that kind.

    Raises:
        UnknownNameError: There is none; the message lists the known ones and the nearest.
    """
    if kind not in _strategies:
        found = load_plugin(ENTRY_POINTS, kind)
        if found is not None:
            register(found)
    if kind not in _strategies:
        raise UnknownNameError("pricing strategy", kind, strategy_kinds())
    return _strategies[kind]
