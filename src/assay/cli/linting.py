"""Findings of the linter of price books, and boundary tests, as `assay check` has them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.cli.console import safe, say
from assay.errors import ConfigurationError, unknown_name

if TYPE_CHECKING:
    from assay.pricing import Finding, PriceBook

BOOKS = (".toml", ".json")


@dataclass(frozen=True)
class Found:
    """A finding, and in whose book.

    Attributes:
        of: Name of the pipeline, or the book's file.
        step: Name of the pipeline's step, or None.
        finding: What the linter says.
    """

    of: str
    step: str | None
    finding: Finding

    def document(self) -> dict[str, object]:
        """As JSON has it; numbers and dates as texts."""
        one = self.finding
        return {
            "of": self.of,
            "step": self.step,
            "rule": one.rule,
            "book_step": one.step,
            "entry": one.entry,
            "message": one.message,
            "example": {name: str(value) for name, value in one.example.items()},
            "beside": None if one.beside is None else {name: str(value) for name, value in one.beside.items()},
        }

    def say(self) -> None:
        """Print it as a warning."""
        step = "" if self.step is None else f"step {self.step}: "
        own = "" if self.finding.step is None else f"{self.finding.step}: "
        say(f"  warning: {step}{safe(own + self.finding.message)} ({self.finding.rule})")


def is_book(name: str) -> bool:
    """Whether a name is that of a book's file, and not of a pipeline."""
    return Path(name).suffix.lower() in BOOKS


def lint_book(file: str) -> list[Found]:
    """The findings of a book's file.

    Raises:
        ConfigurationError: It cannot be read, or is wrong.
    """
    from assay.pricing import Finding, PriceBook  # noqa: PLC0415 - --help shall not wait for it

    book = PriceBook.load(file)
    if lists := _listed(book):
        what = f"its prices are in {lists}, which a pipeline gives: assay check PIPELINE looks at both"
        return [Found(file, None, Finding("unchecked", what, {}))]
    return [Found(file, None, one) for one in book.lint()]


def _listed(book: PriceBook) -> str:
    """The price lists that a book asks for."""
    return ", ".join(f'the list "{name}"' for name in sorted(book.price_lists()))


def wanted(found: Sequence[Found], allowed: Collection[str]) -> list[Found]:
    """Those that nobody has allowed: a rule, or the rule of one step of a book, `RULE:STEP`.

    Raises:
        ConfigurationError: There is no such rule.
    """
    from assay.pricing import RULES  # noqa: PLC0415 - --help shall not wait for it

    for one in allowed:
        rule = one.partition(":")[0]
        if rule not in RULES:
            raise ConfigurationError(unknown_name("rule", rule, RULES), where="--allow")
    return [one for one in found if not {one.finding.rule, f"{one.finding.rule}:{one.finding.step}"} & set(allowed)]


def write_tests(book: Path, to: Path, *, force: bool) -> int:
    """Write a book's boundary tests; the number of items in them.

    Raises:
        ConfigurationError: The file is there already (unless `force`), or cannot be written.
    """
    from assay.pricing import PriceBook  # noqa: PLC0415 - --help shall not wait for it

    folder = to.resolve().parent
    loaded = PriceBook.load(book)
    if lists := _listed(loaded):
        raise ConfigurationError(
            f"its prices are in {lists}: boundary tests are written of books that hold their prices", where=str(book)
        )
    try:
        text = loaded.boundary_tests(Path(os.path.relpath(book.resolve(), folder)).as_posix())
        with to.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigurationError(
            "is there already: give another name, or --force to replace it", where=str(to)
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot be written: {error.strerror or error}", where=str(to)) from error
    return sum(line.startswith(("    ({", "    {")) for line in text.splitlines())
