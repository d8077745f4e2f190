"""Source text of models, laid out as a formatter would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from assay.inference.classes import ClassSpec, FieldSpec
from assay.inference.names import class_name, quoted

_WIDTH: Final = 88
_INDENT: Final = "    "
_TYPING: Final = ("Annotated", "Any", "Literal")
_PYDANTIC: Final = ("AwareDatetime", "BaseModel", "Field", "NaiveDatetime")


def write_source(
    classes: Sequence[ClassSpec], decimals: dict[str, tuple[int, int]], *, about: str, usage: Sequence[str]
) -> str:
    """A module with these classes.

    Args:
        classes: Nested ones first.
        decimals: Names of decimal types, with their digits and places.
        about: Its docstring, one line.
        usage: Lines of the comment at its end.
    """
    aliases: dict[str, str] = {}
    taken = {spec.name for spec in classes}
    bodies = [_class(spec, aliases, taken) for spec in classes]
    uses = {name for spec in classes for one in spec.fields for name in one.type.uses}
    uses |= {"BaseModel"} | {"Field" for spec in classes for one in spec.fields if one.alias is not None}
    has_paths = any(one.path is not None for spec in classes for one in spec.fields)
    if has_paths:
        uses |= {"Annotated"}
    blocks = [f'"""{about}"""', *_imports(uses, has_paths=has_paths)]
    named = [
        f"{name} = Annotated[Decimal, Field(max_digits={digits}, decimal_places={places})]"
        for name, (digits, places) in decimals.items()
        if name in uses
    ]
    if "NumberOrText" in uses:
        named.append("NumberOrText = Annotated[str, Field(coerce_numbers_to_str=True)]")
    named += aliases.values()
    if named:
        blocks.append("\n".join(named))
    comment = "\n".join(f"# {line}".rstrip() for line in usage)
    return "\n\n".join(blocks) + "\n\n\n" + "\n\n\n".join([*bodies, comment]) + "\n"


def _imports(uses: set[str], *, has_paths: bool) -> Iterator[str]:
    standard = ["import datetime as dt"] if "dt" in uses else []
    standard += ["from decimal import Decimal"] if "Decimal" in uses else []
    typing = [name for name in _TYPING if name in uses]
    standard += [f"from typing import {', '.join(typing)}"] if typing else []
    standard += ["from uuid import UUID"] if "UUID" in uses else []
    if standard:
        yield "\n".join(standard)
    pydantic = f"from pydantic import {', '.join(name for name in _PYDANTIC if name in uses)}"
    yield f"import assay\n{pydantic}" if has_paths else pydantic


def _class(spec: ClassSpec, aliases: dict[str, str], taken: set[str]) -> str:
    lines = [f"class {spec.name}(BaseModel):"]
    lines += [_field(spec, one, aliases, taken) for one in spec.fields]
    return "\n".join(lines if spec.fields else [*lines, f"{_INDENT}pass"])


def _field(spec: ClassSpec, one: FieldSpec, aliases: dict[str, str], taken: set[str]) -> str:
    line = _written(one, one.type.text)
    if len(line) <= _WIDTH:
        return line
    text = one.type.text
    if one.type.choice:
        text = _with_alias(spec, one, aliases, taken)
        line = _written(one, text)
    return line if len(line) <= _WIDTH else _written(one, text, exploded=True)


def _written(one: FieldSpec, text: str, *, exploded: bool = False) -> str:
    arguments = [f"default={one.default}"] if one.default else []
    arguments += [f"alias={quoted(one.alias)}"] if one.alias is not None else []
    if one.path is not None:
        text = f"Annotated[{text}, assay.XPath({quoted(one.path)})]"
    start = f"{_INDENT}{one.name}: {text}"
    if one.alias is None:
        return f"{start} = {one.default}" if one.default else start
    if exploded:
        inner = "".join(f"{2 * _INDENT}{argument},\n" for argument in arguments)
        return f"{start} = Field(\n{inner}{_INDENT})"
    return f"{start} = Field({', '.join(arguments)})"


def _with_alias(spec: ClassSpec, one: FieldSpec, aliases: dict[str, str], taken: set[str]) -> str:
    """The text of a type whose choice of texts is named, since the line would be too long."""
    choice = one.type.choice
    alias = class_name(one.name, of_many=False, taken=taken | aliases.keys(), within=spec.name)
    aliases[alias] = f"{alias} = {choice}"
    if len(aliases[alias]) > _WIDTH:
        members = "".join(f"{_INDENT}{quoted(text)},\n" for text in one.type.choices)
        aliases[alias] = f"{alias} = Literal[\n{members}]"
    return one.type.text.replace(choice, alias)
