"""Lookups by name: those given here, those of other packages, those registered in code."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

from assay.errors import ConfigurationError, UnknownNameError
from assay.lookups.protocol import LookupSource
from assay.plugins import load_plugin, plugin_names

ENTRY_POINTS: Final = "assay.lookups"

LookupClass = TypeVar("LookupClass", bound=type)


class LookupFactory:
    """Makes lookups by name.

    A package of its own registers its lookups by an entry point of the group `assay.lookups`; in code:

        @LookupFactory.register("ldap")
        class Ldap: ...
    """

    _registered: ClassVar[dict[str, type]] = {}

    @classmethod
    def register(cls, name: str) -> Callable[[LookupClass], LookupClass]:
        """Register a class under a name; a class decorator. Defining the same class again replaces it.

        Raises:
            ConfigurationError: another lookup has this name, or the class is none.
        """

        def add(lookup: LookupClass) -> LookupClass:
            for method in ("columns", "open"):
                if not (isinstance(lookup, type) and callable(getattr(lookup, method, None))):
                    raise ConfigurationError(f"{lookup!r} has no method {method}(); a lookup needs it")
            known: type = cls._registered.get(name, lookup)
            if (known.__module__, known.__qualname__) != (lookup.__module__, lookup.__qualname__):
                raise ConfigurationError(f'there is a lookup "{name}" already: {known.__module__}.{known.__qualname__}')
            cls._registered[name] = lookup
            return lookup

        return add

    @classmethod
    def get(cls, name: str) -> type:
        """The class of a name.

        Raises:
            UnknownNameError: none has it; lists those that are known.
            ConfigurationError: it is of another package and cannot be imported.
        """
        if name not in cls._registered:
            found = load_plugin(ENTRY_POINTS, name)
            if found is None:
                raise UnknownNameError("lookup", name, cls.names())
            cls.register(name)(found)
        return cls._registered[name]

    @classmethod
    def names(cls) -> list[str]:
        """All names, sorted; nothing is imported for it."""
        return sorted({*cls._registered, *plugin_names(ENTRY_POINTS)})

    @classmethod
    def create(cls, name: str, *given: Any, **options: Any) -> LookupSource:
        """Make the lookup of a name, as by its class: `create("table", "products.csv", Product)`.

        Raises:
            UnknownNameError: none has this name.
            ConfigurationError: it cannot be imported, or takes no such options.
        """
        lookup = cls.get(name)
        try:
            inspect.signature(lookup).bind(*given, **options)
        except TypeError as error:
            takes = ", ".join(inspect.signature(lookup).parameters)
            raise ConfigurationError(f"{error}; it takes {takes}", where=f"lookup {name}") from None
        made: LookupSource = lookup(*given, **options)
        return made
