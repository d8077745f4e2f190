"""A step of a price book: the model that every strategy extends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from assay.pricing.edges import Edge, Extreme, Place
from assay.pricing.loading import in_our_words
from assay.pricing.terms import BookRounding
from assay.pricing.values import Column

if TYPE_CHECKING:
    from assay.pricing.batch import BatchRating
    from assay.pricing.rating import DocumentRating, Rating
    from assay.pricing.terms import Terms


Columns = Mapping[str, Collection[str]]
"""Names of tables, and of their columns."""


class Step(BaseModel):
    """One way to price, twice: `apply` to one item (or `apply_document` to a document), `apply_expr` to columns.

    A strategy is a module with a subclass: the model (fields, `kind`), the reference and the twin; `@register` makes
    its kind known to price books. The twin need not be able to do everything: rows of which it says `doubt` are priced
    by the reference.

    Attributes:
        id: Names the step in receipts and errors; by default its kind, with a number where the kind comes again.
        rounding: Instead of the book's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    amount_inputs: ClassVar[frozenset[str]] = frozenset()
    """Inputs that the strategy always needs, besides those that its fields name."""

    optional_inputs: ClassVar[frozenset[str]] = frozenset()
    """Inputs that the strategy uses where they are given."""

    money_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that are amounts of money: a literal one is in the book's currency."""

    converts: ClassVar[bool] = False
    """Whether the item may be in another currency afterwards."""

    settles: ClassVar[bool] = False
    """Whether it concerns only what is payable; such steps come last."""

    taxes: ClassVar[bool] = False
    """Whether it is a tax."""

    prices: ClassVar[bool] = False
    """Whether it is a charge model: one that sets what the item costs before anything is taken off or added."""

    resolves: ClassVar[bool] = False
    """Whether it looks up which of several prices applies."""

    entries: ClassVar[str | None] = None
    """The field that lists its tiers, rates or rules, if it has such."""

    alternatives: ClassVar[bool] = False
    """Whether of its entries one applies to an item, wherever in the list it stands."""

    kind: str
    id: str | None = Field(default=None, min_length=1)
    rounding: BookRounding | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise in_our_words(error, cls) from None

    def inputs(self) -> frozenset[str]:
        """Names of the inputs that every item must bring for this step."""
        return self.amount_inputs | {column.column for _, column in _columns(self)}

    def money_columns(self) -> frozenset[str]:
        """Names of those inputs that are amounts of money."""
        return frozenset(column.column for money, column in _columns(self) if money)

    def optional_inputs_with(self, tables: Columns) -> frozenset[str]:
        """Those of `optional_inputs` that count where tables have these columns, by the tables' names."""
        return self.optional_inputs

    def problem(self, terms: Terms) -> str | None:
        """What is wrong with the step in a book of these terms, or None."""
        return None

    def join(self, following: Step) -> Step | None:
        """One step that does what this one and the next do together, where they cannot be told apart; else None."""
        return None

    def rate_table(self) -> str | None:
        """Name of the rates table that must be given at pricing time, if any."""
        return None

    def price_list(self) -> str | None:
        """Name of the price list that must be given at pricing time, if any."""
        return None

    def given(self) -> frozenset[str]:
        """Names of inputs that it gives to the steps after it, so that rows do not bring them."""
        return frozenset()

    def dated(self) -> bool:
        """Whether it says of which day the exchange rate was."""
        return False

    def changes_due(self) -> bool:
        """Whether what is payable may be something else than the total afterwards."""
        return self.settles

    def whole_document(self) -> bool:
        """Whether the step looks at all lines of a document; rows without document_id are documents of their own."""
        return False

    def needs_document(self) -> bool:
        """Whether rows must say which document they belong to: the book speaks of documents in so many words."""
        return False

    def place(self) -> Place | None:
        """Where the canonical order has such a step; None: anywhere."""
        return Place.CHARGES if self.prices else Place.TAXES if self.taxes else None

    def edges(self, terms: Terms) -> Iterable[Edge]:
        """The values at which it begins to price otherwise, as far as the book says them."""
        return ()

    def extremes(self, terms: Terms) -> Iterable[Extreme]:
        """Inputs that it should limit, and perhaps does not: by default those that give it a rate."""
        for money, column in _columns(self):
            if not money:
                what = f"its rate comes from the input {column.column}, and the book sets no limit"
                yield Extreme({column.column: Decimal(10**6)}, {column.column: Decimal(10**9)}, what)

    def example(self) -> dict[str, object]:
        """Inputs that it can price: where a search begins. Prices differ, so that it shows which of them applies."""
        found: dict[str, object] = dict.fromkeys(sorted(self.inputs()), Decimal(1))
        prices = dict.fromkeys(column.column for money, column in _columns(self) if money)
        return found | {name: Decimal(10 + place) for place, name in enumerate(prices)}

    def apply(self, at: Rating) -> None:
        """Price one item: the reference."""
        raise NotImplementedError

    def apply_document(self, at: DocumentRating) -> None:
        """Price the lines of a document: the reference of a step that concerns all of them."""
        at.each(self.apply)

    def open_expr(self, at: BatchRating) -> None:
        """Prepare columns before any step runs."""

    def apply_expr(self, at: BatchRating) -> None:
        """Price columns: the twin."""
        raise NotImplementedError


def joined(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Steps as they run: those that cannot be told apart as one."""
    made: list[Step] = []
    for step in steps:
        both = made[-1].join(step) if made else None
        if both is None:
            made.append(step)
        else:
            made[-1] = both
    return tuple(made)


def _columns(model: BaseModel) -> Iterator[tuple[bool, Column]]:
    """All fields that name an input, also of the models inside, and whether they are amounts of money."""
    money: frozenset[str] = getattr(type(model), "money_fields", frozenset())
    for name in type(model).model_fields:
        value = getattr(model, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Column):
                yield name in money, item
            elif isinstance(item, BaseModel):
                yield from _columns(item)
