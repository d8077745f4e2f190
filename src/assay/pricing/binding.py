"""Which columns give a book's inputs: what is missing, what is in the way, and what was probably meant for one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

import polars as pl

from assay.errors import ConfigurationError, nearest
from assay.money import has_minor_units

Inputs = Mapping[str, str | None]
"""Input names to names of columns, where they differ; None where no column gives the input, and that is meant."""

# Nearer than this, a name is another one misspelt, and not just like it.
_SLIP = 0.85

_WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[^\W\d_][^\W\d_A-Z]*")
_CURRENCY_WORDS = frozenset(
    {"ccy", "cur", "curr", "currencies", "currency", "devise", "divisa", "moneda", "valuta", "waehrung", "währung"}
)


# No frame may bring such a name.
_ABSENT = "__assay_price_absent"


def bound(inputs: Inputs | None) -> dict[str, str]:
    """The same, with the name of a column that is never there for None."""
    return {name: _ABSENT if column is None else column for name, column in (inputs or {}).items()}


def column_of(name: str, inputs: Inputs, columns: Collection[str]) -> str | None:
    """The column that gives an input; None where there is none."""
    column = inputs.get(name, name)
    return column if column in columns else None


def unsaid(inputs: Inputs) -> dict[str, None]:
    """The inputs of which it was said that no row has them; the currency is the book's then."""
    return {name: None for name, column in inputs.items() if column is None and name != "currency"}


def slip_of(name: str, given: Iterable[str]) -> str | None:
    """A given name that is `name` misspelt; None where there is none."""
    others = [one for one in given if one != name and not one.startswith("_")]
    found = difflib.get_close_matches(name, others, n=1, cutoff=_SLIP)
    return found[0] if found else None


def currency_columns(schema: pl.Schema) -> list[str]:
    """Columns that look as if they said a currency, by their names or by all that they may hold."""
    return [name for name, dtype in schema.items() if _is_text(dtype) and (says_currency(name) or _is_codes(dtype))]


def says_currency(name: str) -> bool:
    """Whether a name speaks of a currency: "list_currency", "invoiceCurrency", "ccy"."""
    return not name.startswith("_") and any(
        word in _CURRENCY_WORDS or (word.endswith("currency") and not word.endswith("concurrency"))
        for word in map(str.lower, _WORD.findall(name))
    )


def foreign(values: Iterable[object], home: str) -> list[str]:
    """Codes of currencies among the values, other than the home currency."""
    return sorted({one for one in values if isinstance(one, str) and one != home and has_minor_units(one)})


def unasked_currency(column: str, codes: Iterable[str], home: str) -> ConfigurationError:
    """The error that rows say their currency, and nobody asks them."""
    return ConfigurationError(
        f'rows say {", ".join(codes)} in "{column}", and no column gives the input currency, so that they would be '
        f"priced in {home}: {advice(column, home)}"
    )


def advice(column: str, home: str) -> str:
    """What to do about a currency that nobody asks for."""
    return (
        f'give inputs={{"currency": "{column}"}}; or inputs={{"currency": None}}, if all amounts are in {home} '
        "whatever it says"
    )


def check_columns(
    needed: frozenset[str],
    usable: frozenset[str],
    inputs: Inputs,
    outputs: frozenset[str],
    schema: pl.Schema,
) -> None:
    """Check that the frame has what a book needs, and room for what it adds.

    Raises:
        ConfigurationError: Listing every column that is missing or in the way.
    """
    wrong = [unknown_input(name, needed, usable) for name in inputs if name not in usable]
    required = {*needed, *(name for name, column in inputs.items() if name in usable and column is not None)}
    for name in sorted(required):
        column = inputs.get(name, name)
        if column is None:
            wrong.append(f"the book needs the input {name}: a column must give it")
        elif column not in schema:
            near = nearest(column, schema.names())
            hint = f'; the nearest is "{near}"' if near else f"; there are {', '.join(schema.names()) or 'none'}"
            of = f" for the input {name}" if column != name else ""
            wrong.append(f'no column "{column}"{of}{hint}')
    if "currency" not in inputs and "currency" not in schema:
        slip = slip_of("currency", (name for name in schema.names() if not says_currency(name)))
        if slip is not None:
            wrong.append(f'no column "currency"; did you mean "{slip}"? If so, inputs={{"currency": "{slip}"}}')
    overwritten = {"currency"} if inputs.get("currency", "currency") == "currency" else set()
    clashing = sorted((outputs - overwritten) & set(schema.names()))
    if clashing:
        wrong.append(f"the book adds {', '.join(clashing)}, which the frame has already: rename or drop before pricing")
    if wrong:
        raise ConfigurationError("\n".join(wrong))


def unknown_input(name: str, needed: Collection[str], usable: Collection[str]) -> str:
    """Word an input that the book does not know: the nearest, and what there is."""
    near = nearest(name, usable)
    hint = f'; did you mean "{near}"?' if near else ""
    also = ", ".join(sorted(set(usable) - set(needed)))
    return (
        f'the book has no input "{name}"{hint}\n'
        f"It needs {', '.join(sorted(needed)) or 'none'}{f', and takes {also}' if also else ''}"
    )


def _is_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.String | pl.Enum | pl.Categorical)


def _is_codes(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Enum) and len(dtype.categories) > 0 and all(map(has_minor_units, dtype.categories))
