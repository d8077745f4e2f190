"""Names: from the keys of records to identifiers of Python, and texts as source."""

from __future__ import annotations

import keyword
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

from pydantic import BaseModel

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W_A-Za-z0-9]+")
#: Names that the source itself uses: a field of that name would hide them.
_USED: Final = frozenset({"assay", "bool", "dict", "dt", "float", "int", "list", "str"})

#: Packages that a module beside the user's code must not hide.
_PACKAGES: Final = frozenset({"assay", "click", "lxml", "numpy", "orjson", "polars", "pydantic", "rich", "sqlalchemy"})
#: Names that the source may import.
_IMPORTED: Final = frozenset({"Annotated", "Any", "BaseModel", "ConfigDict", "Decimal", "Field", "Literal", "UUID"})


def field_name(key: str, taken: Collection[str]) -> str:
    """The name of the field of a key: the key itself where it can be one, else one that needs it as alias."""
    name = key
    if not key.isidentifier() or not key.isascii() or key[:1].isupper() or key.startswith("_"):
        name = "_".join(words(key)).lower()
        name = unicodedata.normalize("NFKC", name)
        if not name or not name.isidentifier():
            name = f"field_{name}" if f"field_{name}".isidentifier() else "field"
    if keyword.iskeyword(name) or name in _USED or hasattr(BaseModel, name) or name.startswith("model_"):
        name += "_"
    return _free(name, taken)


def class_name(key: str, *, of_many: bool, taken: Collection[str], within: str | None = None) -> str:
    """The name of the class of a key's objects; of one of them, where the key names many."""
    parts = [word for word in words(key) if word.isascii()]
    if of_many and parts:
        parts[-1] = singular(parts[-1])
    name = "".join(part.capitalize() for part in parts)
    if not name.isidentifier():
        name = f"{within or ''}Item" if within else "Record"
    if name in _IMPORTED:
        name = f"{name}Record"
    if keyword.iskeyword(name) or name in taken:
        name = f"{within or ''}{name}"
    return _free(name, taken)


def module_name(name: str) -> str:
    """The module of a class; one that Python or a package of ours has already gets another name."""
    made = "_".join(words(name)).lower()
    taken = keyword.iskeyword(made) or made in sys.stdlib_module_names or made in _PACKAGES
    return f"{made}_model" if taken else made


def singular(word: str) -> str:
    """One of what an English plural names, as far as a rule can tell."""
    lower = word.lower()
    if lower.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if lower.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if lower.endswith("s") and not lower.endswith(("ss", "us", "is", "ews")) and len(word) > 2:
        return word[:-1]
    return word


def quoted(text: str) -> str:
    """A text as Python source, in double quotes where that needs no more escapes."""
    made = repr(text)
    if made[0] == '"' or '"' in text:
        return made
    return f'"{made[1:-1]}"'


def words(key: str) -> list[str]:
    """The words that a key is made of."""
    return _WORD.findall(key)


def _free(name: str, taken: Iterable[str]) -> str:
    taken = set(taken)
    made, number = name, 2
    while made in taken:
        made, number = f"{name}_{number}" if name[-1:] != "_" else f"{name}{number}", number + 1
    return made
