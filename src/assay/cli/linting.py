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
LISTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


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


def is_list(name: str) -> bool:
    """Whether a name is that of a price list's file: JSON is, where it begins as an array."""
    path = Path(name)
    if path.suffix.lower() != ".json":
        return path.suffix.lower() in LISTS
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(1024).lstrip()[:1] == "["
    except (OSError, UnicodeDecodeError):
        return False


def is_book(name: str) -> bool:
    """Whether a name is that of a book's file, and not of a pipeline or a list."""
    return Path(name).suffix.lower() in BOOKS and not is_list(name)


def lint_book(file: str, lists: Sequence[str] = ()) -> list[Found]:
    """The findings of a book's file.

    Args:
        file: The book's.
        lists: Files of its price lists, each as NAME=FILE.

    Raises:
        ConfigurationError: One cannot be read, or is wrong.
    """
    from assay.pricing import Finding, PriceBook, PriceList  # noqa: PLC0415 - --help shall not wait for it

    book = PriceBook.load(file)
    prices = {name: PriceList.load(path) for name, path in _given(book, lists, file).items()}
    if missing := _listed(book, prices):
        what = (
            f"its prices are in {missing}, which a pipeline gives: assay check PIPELINE looks at both, and so does "
            "assay check BOOK --prices NAME=FILE"
        )
        return [Found(file, None, Finding("unchecked", what, {}))]
    return [Found(file, None, one) for one in book.lint(prices=prices)]


def lint_list(file: str) -> tuple[list[Found], tuple[str, ...]]:
    """The findings of a price list's file by itself, and the columns that are no part of a list.

    Raises:
        ConfigurationError: It cannot be read, or is wrong.
    """
    from assay.pricing import Finding, PriceList  # noqa: PLC0415 - --help shall not wait for it
    from assay.pricing.list_files import ListFile  # noqa: PLC0415
    from assay.pricing.list_linting import currency_findings, list_findings  # noqa: PLC0415

    listed = ListFile.read(Path(file))
    with listed.named():
        prices = PriceList(listed.rows)
    found = []
    for one in (*list_findings(prices, None), *currency_findings(prices)):
        example: dict[str, object] = dict(one.names)
        example |= {} if one.quantity is None else {"quantity": one.quantity}
        example |= {} if one.at is None else {"date": one.at}
        found.append(Found(file, None, Finding(one.rule, listed.by_line(one.message), example)))
    return found, listed.left_out


def _given(book: PriceBook, lists: Sequence[str], file: str) -> dict[str, Path]:
    """The files of price lists by name."""
    given: dict[str, Path] = {}
    for one in lists:
        name, said, path = one.partition("=")
        if not said or not path:
            raise ConfigurationError(f'"{one}" is no NAME=FILE', where="--prices")
        if name not in book.price_lists():
            known = _listed(book) or "no price list"
            raise ConfigurationError(f'{file} asks for {known}, and not for "{name}"', where="--prices")
        given[name] = Path(path)
    return given


def _listed(book: PriceBook, given: Collection[str] = ()) -> str:
    """The price lists that a book asks for, besides those that are given."""
    return ", ".join(f'the list "{name}"' for name in sorted(book.price_lists()) if name not in given)


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


def write_tests(book: Path, to: Path, lists: Sequence[str] = (), *, force: bool) -> int:
    """Write a book's boundary tests; the number of items in them.

    Args:
        book: The book's file.
        to: The file to write.
        lists: Files of its price lists, each as NAME=FILE.
        force: Whether to replace it.

    Raises:
        ConfigurationError: The file is there already (unless `force`), or cannot be written.
    """
    from assay.pricing import PriceBook, PriceList  # noqa: PLC0415 - --help shall not wait for it

    folder = to.resolve().parent
    loaded = PriceBook.load(book)
    given = _given(loaded, lists, str(book))
    if missing := _listed(loaded, given):
        raise ConfigurationError(f"its prices are in {missing}: say where, --prices NAME=FILE", where=str(book))
    seen = {name: Path(os.path.relpath(path.resolve(), folder)).as_posix() for name, path in given.items()}
    prices = {name: (seen[name], PriceList.load(path)) for name, path in given.items()}
    try:
        text = loaded.boundary_tests(Path(os.path.relpath(book.resolve(), folder)).as_posix(), prices)
        with to.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigurationError(
            "is there already: give another name, or --force to replace it", where=str(to)
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot be written: {error.strerror or error}", where=str(to)) from error
    return sum(line.startswith(("    ({", "    {")) for line in text.splitlines())
