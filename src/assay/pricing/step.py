"""A step of a price book: the model that every strategy extends."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from assay.pricing.terms import BookRounding
from assay.pricing.values import Column

if TYPE_CHECKING:
    from assay.pricing.batch import BatchRating
    from assay.pricing.rating import Rating


class Step(BaseModel):
    """One way to price, twice: `price` for one item, `price_expr` for columns.

    A strategy is a module with a subclass: the model (fields, `kind`), the reference, the twin, the wording of the
    receipt line; `@register` makes its kind known to price books.

    Attributes:
        id: Names the step in receipts and errors; by default its kind, with a number where the kind comes again.
        rounding: Instead of the book's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount_inputs: ClassVar[frozenset[str]] = frozenset()
    """Inputs that the strategy always needs, besides those that its fields name."""

    money_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that are amounts of money: a literal one is in the book's currency."""

    converts: ClassVar[bool] = False
    """Whether the item may be in another currency afterwards."""

    kind: str
    id: str | None = Field(default=None, min_length=1)
    rounding: BookRounding | None = None

    def inputs(self) -> frozenset[str]:
        """Names of the inputs that the step reads."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return self.amount_inputs | {value.column for value in values if isinstance(value, Column)}

    def money_columns(self) -> frozenset[str]:
        """Names of those inputs that are amounts of money."""
        values = (getattr(self, name) for name in self.money_fields)
        return frozenset(value.column for value in values if isinstance(value, Column))

    def rate_table(self) -> str | None:
        """Name of the rates table that must be given at pricing time, if any."""
        return None

    def open(self, at: Rating) -> None:
        """Check what must hold before any step runs."""

    def open_expr(self, at: BatchRating) -> None:
        """The same, for columns."""

    def price(self, at: Rating) -> None:
        """Price one item: the reference."""
        raise NotImplementedError

    def price_expr(self, at: BatchRating) -> None:
        """Price columns: the twin."""
        raise NotImplementedError
