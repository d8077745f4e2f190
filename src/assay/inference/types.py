"""Types of single values: what was seen of texts and numbers, as a type that takes all of it and becomes a column."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, NaiveDatetime

from assay.inference.names import quoted, words
from assay.inference.seen import Numbers, Seen, Texts

#: A text is one of few if there are so many of each, and so many at all.
_FEW: Final = 12
_OF_EACH: Final = 10
_AT_LEAST: Final = 50
_WORDS: Final = re.compile(r"[\w.&/+-]+(?: [\w.&/+-]+){0,3}\Z")
#: Digits of a decimal column, and what is given as headroom.
_MOST_PERCENT: Final = 80
_PRECISION: Final = 38
_WHOLE: Final = 10
_PLACES: Final = 2
#: A share of values, in percent, below which it is doubted that they are meant.
_RARE_PERCENT: Final = 5

#: Words that name money, wherever they stand in a name, or as its last.
_MONEY: Final = frozenset(
    {"price", "prices", "amount", "amounts", "cost", "costs", "fee", "fees", "freight", "revenue"}
)
_MONEY_LAST: Final = frozenset(
    {
        *("total", "subtotal", "tax", "taxes", "vat", "discount", "discounts", "balance", "net", "gross", "sales"),
        *(
            "profit",
            "charge",
            "charges",
            "credit",
            "debit",
            "payment",
            "refund",
            "margin",
            "tip",
            "shipping",
            "money",
            "spent",
        ),
    }
)
#: Words that name what may have decimals, though it is often written without.
_MEASURED: Final = frozenset({"rate", "percent", "percentage"})
#: Words for things of which there will be others: those that were seen are not all there are.
_OPEN: Final = frozenset(
    {"account", "buyer", "city", "client", "company", "customer", "date", "day", "employee", "id", "merchant", "month"}
    | {"name", "owner", "partner", "payee", "payer", "period", "person", "project", "provider", "quarter", "seller"}
    | {"sender", "shop", "site", "store", "supplier", "team", "tenant", "user", "vendor", "week", "year"}
)
_COUNTED: Final = frozenset({"qty", "quantity", "weight"})
_MINOR: Final = frozenset({"cent", "cents", "minor"})
_CODE: Final = re.compile(
    r"phone|fax|mobile|(?:^|_)tel(?:_|$)|zip|postal|post_?code|(?:^|_)plz|ean|gtin|upc|isbn|barcode|iban|(?:^|_)bic|"
    r"swift|account|routing|vat_?id|tax_?id|ssn|serial|sku|code$"
)


@dataclass(frozen=True)
class Type:
    """A type.

    Attributes:
        text: As it is written.
        annotation: The same at run time.
        uses: What the text needs imported or defined.
        keeps_empty: Whether an empty text is one of its values.
        choices: The texts among which it is a choice, if there is one in it.
    """

    text: str
    annotation: Any
    uses: frozenset[str] = frozenset()
    keeps_empty: bool = False
    choices: tuple[str, ...] = ()

    @property
    def choice(self) -> str:
        """The choice as it is written; empty where there is none."""
        return f"Literal[{', '.join(map(quoted, self.choices))}]" if self.choices else ""

    def or_none(self) -> Type:
        """The same, or null."""
        if self.annotation is Any:
            return self
        return replace(self, text=f"{self.text} | None", annotation=self.annotation | None)

    def in_list(self) -> Type:
        """A list of them."""
        return replace(self, text=f"list[{self.text}]", annotation=list[self.annotation], keeps_empty=False)  # type: ignore[name-defined]

    def in_mapping(self) -> Type:
        """A mapping to them."""
        return replace(self, text=f"dict[str, {self.text}]", annotation=dict[str, self.annotation], keeps_empty=False)  # type: ignore[name-defined]


def union(types: Iterable[Type]) -> Type:
    """Any of several types."""
    types = list(types)
    if len(types) == 1:
        return types[0]
    members: Any = reduce(or_, (one.annotation for one in types))
    return Type(
        " | ".join(one.text for one in types),
        members,
        frozenset().union(*(one.uses for one in types)),
        any(one.keeps_empty for one in types),
        next((one.choices for one in types if one.choices), ()),
    )


ANY: Final = Type("Any", Any, frozenset({"Any"}), keeps_empty=True)
TEXT: Final = Type("str", str, keeps_empty=True)
BOOL: Final = Type("bool", bool)
INT: Final = Type("int", int)
FLOAT: Final = Type("float", float)
NUMBER_OR_TEXT: Final = Type(
    "NumberOrText",
    Annotated[str, Field(coerce_numbers_to_str=True)],
    frozenset({"Annotated", "Field", "NumberOrText"}),
    keeps_empty=True,
)
_UUID: Final = Type("UUID", UUID, frozenset({"UUID"}))
_DATE: Final = Type("dt.date", dt.date, frozenset({"dt"}))
_TIME: Final = Type("dt.time", dt.time, frozenset({"dt"}))
_NAIVE: Final = Type("NaiveDatetime", NaiveDatetime, frozenset({"NaiveDatetime"}))
_AWARE: Final = Type("AwareDatetime", AwareDatetime, frozenset({"AwareDatetime"}))


@dataclass
class Scalars:
    """Decides on types of single values.

    Attributes:
        only_texts: Whether the format has nothing but texts (XML, CSV).
        doubts: What a reader of the model should look at.
        decimals: Names given to decimals, by whether they are money, their digits and places.
    """

    only_texts: bool
    doubts: list[str] = field(default_factory=list)
    decimals: dict[str, tuple[int, int]] = field(default_factory=dict)

    def of(self, seen: Seen, name: str, path: str) -> list[Type]:
        """The types of all single values seen at a place: more than one where they do not go together."""
        texts, numbers = seen.texts, seen.numbers
        made = [BOOL] if seen.bools else []
        if numbers.count and texts.count:
            made.append(self._mixed(seen, name, path))
        elif numbers.count:
            made.append(self._number(numbers, name, path))
        elif texts.count:
            made.append(self._text(texts, name, path))
        return made

    def _mixed(self, seen: Seen, name: str, path: str) -> Type:
        texts, numbers = seen.texts, seen.numbers
        found = f"{path}: a number in {numbers.count:,} and a text in {texts.count:,}"
        if texts.numbers.count == texts.count and not numbers.unbounded:
            both = Numbers(
                numbers.count + texts.count,
                numbers.integers + texts.numbers.integers,
                whole=max(numbers.whole, texts.numbers.whole),
                is_over_64_bits=numbers.is_over_64_bits or texts.numbers.is_over_64_bits,
                places=numbers.places + texts.numbers.places,
                example=texts.numbers.example | numbers.example,
            )
            self.doubts.append(f"{found}; both are read as numbers")
            return self._number(both, name, path)
        self.doubts.append(f"{found}; numbers are read as texts")
        self._doubt_strays(texts, path)
        return NUMBER_OR_TEXT

    def _number(self, numbers: Numbers, name: str, path: str) -> Type:
        if numbers.unbounded:
            self.doubts.append(
                f"{path}: {numbers.unbounded:,} of {numbers.count:,} are NaN or infinite, which only a float takes"
            )
            return FLOAT
        is_whole = numbers.integers == numbers.count
        if is_whole and not numbers.is_over_64_bits and not _has_decimals(name):
            return INT
        decimal = self._decimal(numbers, name, path, whole_numbers=is_whole and numbers.is_over_64_bits)
        if decimal is not None:
            return decimal
        if is_whole:
            self.doubts.append(f"{path}: integers of {numbers.whole:,} digits, which only a text column holds")
            return ANY
        self.doubts.append(f"{path}: numbers of more than {_PRECISION} digits, which no decimal column holds: a float")
        return FLOAT

    def _decimal(self, numbers: Numbers, name: str, path: str, *, whole_numbers: bool = False) -> Type | None:
        most = max(numbers.places, default=0)
        places = most if whole_numbers else max(most, _PLACES)
        if numbers.whole + places > _PRECISION:
            places = most
        if numbers.whole + places > _PRECISION:
            return None
        whole = numbers.whole if numbers.whole < _WHOLE - 1 else numbers.whole + _PLACES
        digits = min(_PRECISION, max(whole, _WHOLE) + places)
        more = sum(count for p, count in numbers.places.items() if p > _PLACES)
        if 0 < more * 100 < _RARE_PERCENT * numbers.count:
            counts = [p for p in numbers.places if p > _PLACES]
            have = f"{most}" if len(counts) == 1 else f"{min(counts)} to {most}"
            example = numbers.example.get(most, "")
            self.doubts.append(f"{path}: {more:,} of {numbers.count:,} have {have} decimals, such as {example}")
        alias = f"Decimal{places}" if not _is_money(name) else "Money" if places == _PLACES else f"Money{places}"
        if self.decimals.setdefault(alias, (digits, places)) != (digits, places):
            alias = f"{alias}_{digits}"
            self.decimals[alias] = (digits, places)
        annotation = Annotated[Decimal, Field(max_digits=digits, decimal_places=places)]
        return Type(alias, annotation, frozenset({"Annotated", "Decimal", "Field", alias}))

    def _text(self, texts: Texts, name: str, path: str) -> Type:
        if not texts.filled:
            return TEXT
        typed = self._typed(texts, name, path)
        if typed is None:
            self._doubt_strays(texts, path)
            for looks, example in texts.lookalikes.items():
                self.doubts.append(f"{path}: some look like {looks} ({quoted(example)}); the field is a text")
            typed = TEXT if texts.empty and not self.only_texts else _choice(texts, name) or TEXT
        if texts.empty and not typed.keeps_empty and not self.only_texts:
            self.doubts.append(
                f"{path}: {texts.empty:,} of {texts.count:,} are empty texts, the others would be {typed.text}"
            )
            return TEXT
        return typed

    def _doubt_strays(self, texts: Texts, path: str) -> None:
        """Say where a few others among texts of one kind make a text of the field."""
        for kind, count in (
            ("numbers", texts.numbers.count),
            ("dates", texts.kinds["date"] + texts.kinds["naive"] + texts.kinds["aware"]),
            ("UUIDs", texts.kinds["uuid"]),
        ):
            if texts.other is not None and texts.filled * _MOST_PERCENT <= count * 100 and count < texts.filled:
                few = f"others not, such as {quoted(texts.other)}: a text"
                self.doubts.append(f"{path}: {count:,} of {texts.filled:,} are {kind}, {few}")

    def _typed(self, texts: Texts, name: str, path: str) -> Type | None:
        """The type that all texts have in common, if it is none of text."""
        kinds, filled = texts.kinds, texts.filled
        for kind, made in (("uuid", _UUID), ("date", _DATE), ("aware", _AWARE), ("time", _TIME)):
            if kinds[kind] == filled:
                return made
        if kinds["naive"] and kinds["naive"] + kinds["date"] == filled:
            if kinds["midnight"] + kinds["date"] == filled:
                self.doubts.append(f"{path}: every one is at midnight; perhaps a dt.date is meant")
            return _NAIVE
        if kinds["naive"] + kinds["aware"] + kinds["date"] == filled and filled:
            self.doubts.append(f"{path}: datetimes with a zone and without one; one column cannot hold both: a text")
            return TEXT
        if self.only_texts and kinds["bool"] == filled:
            return BOOL
        return self._numeric(texts, name, path)

    def _numeric(self, texts: Texts, name: str, path: str) -> Type | None:
        numbers, filled = texts.numbers, texts.filled
        if numbers.count + texts.padded == filled and texts.padded and numbers.count > texts.padded:
            self.doubts.append(f"{path}: {texts.padded:,} of {filled:,} begin with a zero or a plus; kept as texts")
        if numbers.count != filled or (_is_code(name) and texts.kinds["integer"] == filled):
            return None
        is_whole = numbers.integers == filled
        if is_whole and not _has_decimals(name):
            if self.only_texts:
                return None if numbers.is_over_64_bits else INT
            if not _said(name) & _COUNTED:
                # JSON has numbers: who quotes integers there means them as names.
                return None
        return self._decimal(numbers, name, path)


def _said(name: str) -> set[str]:
    return {word.lower() for word in words(name)}


def _has_decimals(name: str) -> bool:
    return _is_money(name) or bool(_said(name) & _MEASURED)


def _is_money(name: str) -> bool:
    said = [word.lower() for word in words(name)]
    return bool(said) and (said[-1] in _MONEY_LAST or not _MONEY.isdisjoint(said)) and _MINOR.isdisjoint(said)


def _is_code(name: str) -> bool:
    return bool(_CODE.search("_".join(words(name)).lower()))


def _choice(texts: Texts, name: str) -> Type | None:
    """One of few texts, where there are many of each, and no others are to be expected.

    Customers and months come anew, and so does what is numbered.
    """
    distinct = texts.distinct
    if distinct is None or not 2 <= len(distinct) <= _FEW or texts.filled < max(_AT_LEAST, _OF_EACH * len(distinct)):
        return None
    if texts.numbers.count == texts.filled or not all(map(_WORDS.match, distinct)):
        return None
    if _said(name) & _OPEN or 2 * sum(any(map(str.isdigit, value)) for value in distinct) > len(distinct):
        return None
    values = sorted(distinct)
    literal: Any = Literal
    made = Type("", literal[tuple(values)], frozenset({"Literal"}), choices=tuple(values))
    return replace(made, text=made.choice)
