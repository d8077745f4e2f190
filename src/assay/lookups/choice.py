"""A lookup that a parameter of the run chooses."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from assay.errors import ConfigurationError
from assay.lookups.protocol import LookupContext, LookupSource, OpenLookup
from assay.lookups.registry import LookupFactory


@LookupFactory.register("choice")
@dataclass(frozen=True)
class Choice:
    """One lookup where a parameter is given, another where it is empty or None; both have the same columns.

    Args:
        parameter: Name of the parameter.
        given: The lookup for a parameter that is not empty, such as `Http("{customers}/customers/{customer_id}", ...)`.
        otherwise: The other, such as a `Table`.
    """

    parameter: str
    given: LookupSource
    otherwise: LookupSource

    def __post_init__(self) -> None:
        if self.given.columns() != self.otherwise.columns() or self.given.dated != self.otherwise.dated:
            raise ConfigurationError("the two lookups of a choice have different columns", where=f"lookup {self.name}")

    @property
    def name(self) -> str:
        """That of the second."""
        return self.otherwise.name

    @property
    def dated(self) -> bool:
        """Whether both are."""
        return self.otherwise.dated

    def columns(self) -> pl.Schema:
        """Those of both."""
        return self.otherwise.columns()

    def open(self, context: LookupContext, on: tuple[str, ...]) -> OpenLookup:
        """Open the one that was chosen."""
        # Of a parameter that has no value, the text would be "None".
        context.fill(f"{{{self.parameter}}}")
        chosen = context.params[self.parameter] not in (None, "")
        return (self.given if chosen else self.otherwise).open(context, on)
