"""Models that are judged on texts: what XML and CSV, which have nothing else, ask of a model."""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo

from assay.errors import ConfigurationError

#: What is layout around the text of a field that is no `str`.
BLANKS: Final = " \t\r\n"
_ARRAYS: Final = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.deque)


def refuse_strict(model: type[BaseModel], name: str) -> None:
    """Refuse a model in strict mode, for the format of that name.

    Raises:
        ConfigurationError: the model or one of its fields is strict.
    """
    if model.model_config.get("strict"):
        raise ConfigurationError(
            f"{model.__name__} is strict, and {name} has only texts, which strict mode refuses: use a lax model"
        )
    for field, info in model.model_fields.items():
        if any(getattr(m, "strict", None) for m in info.metadata):
            raise ConfigurationError(
                f"is strict, and {name} has only texts, which strict mode refuses", where=f"{model.__name__}.{field}"
            )


def keys_of(info: FieldInfo, name: str) -> list[str]:
    """The names under which the model takes a field, but for its own where `populate_by_name` allows that, too."""
    alias = info.validation_alias
    if alias is None:
        return [info.alias or name]
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [str(choice.path[0]) if isinstance(choice, AliasPath) else choice for choice in choices]


def element_type(annotation: Any) -> tuple[Any, bool]:
    """What one element stands for, and whether the field is a list of them."""
    annotation = _bare(annotation)
    if get_origin(annotation) in _ARRAYS or annotation in _ARRAYS:
        items = [a for a in get_args(annotation) if a is not Ellipsis]
        return (_bare(items[0]) if items else str), True
    return annotation, False


def keeps_blanks(annotation: Any) -> bool:
    """Whether blanks around the text are part of it."""
    bare, _ = element_type(annotation)
    if get_origin(bare) in (Union, types.UnionType):
        return any(keeps_blanks(a) for a in get_args(bare))
    return bare is Any or (isinstance(bare, type) and issubclass(bare, str) and not hasattr(bare, "__members__"))


def _bare(annotation: Any) -> Any:
    """Without Annotated, None and type aliases."""
    while True:
        if isinstance(annotation, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
            annotation = annotation.__value__
        elif get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            rest = [a for a in get_args(annotation) if a is not type(None)]
            if len(rest) != 1:
                return annotation
            annotation = rest[0]
        else:
            return annotation
