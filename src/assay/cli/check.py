"""`assay check`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.console import FAILED, MISUSED, PUBLISHED, parse_params, print_error, print_json, safe, say, status_of
from assay.cli.linting import Found, is_book, is_list, lint_book, lint_list, wanted, write_tests
from assay.errors import AssayError

if TYPE_CHECKING:
    from assay.pipeline import Pipeline
    from assay.pipeline.steps import Remarks
    from assay.records import FieldVerdict
    from assay.settings import Settings


@click.command(
    "check",
    epilog="""\b
Examples:
  assay check
  assay check orders --set month=2026-01
  assay check prices.toml --strict --allow cliff
  assay check prices.toml --write-tests tests/test_prices.py
  assay check prices.csv
  assay check tea.toml --prices list=prices.csv""",
)
@click.argument("name", required=False)
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter of the pipeline; repeat it.")
@click.option("--strict", is_flag=True, help="Exit with status 1 where a price book may well not be as it is meant.")
@click.option("--allow", "allowed", metavar="RULE[:STEP]", multiple=True, help="Leave such findings out; repeat it.")
@click.option("--prices", "lists", metavar="NAME=FILE", multiple=True, help="A price list of a book; repeat it.")
@click.option(
    "--write-tests", "tests", metavar="FILE", type=click.Path(path_type=Path), help="Write boundary tests of a book."
)
@click.option("--force", is_flag=True, help="Replace the file of --write-tests.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check_command(
    name: str | None,
    params: tuple[str, ...],
    strict: bool,
    allowed: tuple[str, ...],
    lists: tuple[str, ...],
    tests: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Check the pipeline NAME, or all: columns, parameters, books, tables, outputs. Reads no records.

    NAME may also be the file of a price book, or of a price list (CSV, JSON, JSON Lines, Parquet). What may well not
    be meant in it is told with an example: cliffs, gaps, overlaps, tiers that never make a difference. --write-tests
    writes a pytest file of what items cost at each edge of a book, and a smallest step beside it; --prices says where
    the lists are that a book asks for.
    """
    from assay.settings import Settings  # noqa: PLC0415 - --help shall not wait for it

    if tests is not None:
        _write(name, tests, lists, force=force, as_json=as_json)
        return
    checked = _Checked()
    if lists and (name is None or not is_book(name)):
        raise click.UsageError("--prices goes with a book's file, as in assay check tea.toml --prices list=prices.csv")
    if name is not None and is_book(name):
        checked.see_book(name, lists)
    elif name is not None and is_list(name):
        checked.see_list(name)
    else:
        checked.see_pipelines(name, parse_params(params), Settings.load())
    checked.found = wanted(checked.found, allowed)
    refused = strict and bool(checked.found)
    if as_json:
        print_json(checked.document(refused=refused))
    else:
        checked.say(wholly=name is not None)
        if refused:
            count = f"{len(checked.found)} finding{'s' if len(checked.found) > 1 else ''}"
            print_error(f"{count} in price books, and --strict wants none; --allow RULE leaves some out")
    sys.exit(max(checked.status, FAILED if refused else PUBLISHED))


def _write(name: str | None, tests: Path, lists: tuple[str, ...], *, force: bool, as_json: bool) -> None:
    if name is None or not is_book(name):
        raise click.UsageError("--write-tests wants a book's file, as in assay check prices.toml --write-tests FILE")
    count = write_tests(Path(name), tests, lists, force=force)
    if as_json:
        print_json({"schema": 1, "ok": True, "tests": str(tests), "items": count})
    else:
        say(f"{tests}  {count} items at the edges of {name}, with what they cost now")


@dataclass
class _Checked:
    """What was checked: why each is wrong, or None; and what else there is to say."""

    reasons: dict[str, str | None] = field(default_factory=dict)
    verdicts: dict[str, dict[str, FieldVerdict]] = field(default_factory=dict)
    remarks: dict[str, dict[str, Remarks]] = field(default_factory=dict)
    missing: dict[str, str | None] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    status: int = PUBLISHED

    def see_book(self, file: str, lists: tuple[str, ...]) -> None:
        """Check a book's file."""
        try:
            self.found = lint_book(file, lists)
            self.reasons[file] = None
        except AssayError as error:
            self._fail(file, error)

    def see_list(self, file: str) -> None:
        """Check a price list's file."""
        try:
            self.found, self.left_out[file] = lint_list(file)
            self.reasons[file] = None
        except AssayError as error:
            self._fail(file, error)

    def see_pipelines(self, name: str | None, given: Mapping[str, Any], settings: Settings) -> None:
        """Check a pipeline, or all."""
        from assay.pipeline import find, load  # noqa: PLC0415 - --help shall not wait for these

        if name is not None:
            pipelines = {name: load(name, settings)}
        else:
            pipelines, broken = find(settings)
            self.reasons = {one.file.name: one.reason for one in broken}
            self.status = MISUSED if broken else PUBLISHED
        for one, pipeline in sorted(pipelines.items()):
            try:
                self._see(one, pipeline, given, settings)
            except AssayError as error:
                self._fail(one, error)

    def _see(self, name: str, pipeline: Pipeline, given: Mapping[str, Any], settings: Settings) -> None:
        pipeline.check(given, settings=settings)
        self.reasons[name] = None
        self.verdicts[name] = pipeline.field_verdicts(given, settings=settings)
        self.remarks[name] = pipeline.remarks(given, settings=settings)
        self.missing[name] = pipeline.missing_source(given, settings=settings)
        linted = pipeline.lint(given, settings=settings)
        self.found += [Found(name, step, one) for step, findings in linted.items() for one in findings]

    def _fail(self, name: str, error: AssayError) -> None:
        self.reasons[name] = str(error)
        self.status = max(self.status, status_of(error))

    @property
    def wrong(self) -> dict[str, str]:
        """What is wrong, and why."""
        return {key: reason for key, reason in self.reasons.items() if reason}

    def document(self, *, refused: bool) -> dict[str, object]:
        """As JSON has it."""
        return {
            "schema": 1,
            "ok": not self.wrong and not refused,
            "checked": self.reasons,
            "missing": {key: words for key, words in self.missing.items() if words},
            "fields": {key: {name: asdict(one) for name, one in said.items()} for key, said in self.verdicts.items()},
            "steps": {key: {step: asdict(one) for step, one in said.items()} for key, said in self.remarks.items()},
            "left_out": {key: list(names) for key, names in self.left_out.items() if names},
            "findings": [one.document() for one in self.found],
        }

    def say(self, *, wholly: bool) -> None:
        """Print what is fine, with what there is to say of it (`wholly`: all of that); then what is wrong."""
        wrong = self.wrong
        for key in self.reasons:
            if key in wrong:
                continue
            say(f"{key}  ok")
            if absent := self.missing.get(key):
                say(f"  its input is not there yet: {safe(absent)}")
            else:
                _say_verdicts(self.verdicts.get(key, {}))
            _say_remarks(self.remarks.get(key, {}), wholly=wholly)
            if names := self.left_out.get(key):
                say(f"  left out (no columns of a price list, and no decimals in them): {safe(', '.join(names))}")
            for one in self.found:
                if one.of == key:
                    one.say()
        for key, reason in wrong.items():
            print_error(reason if reason.startswith(key) else f"{key}: {reason}")


def _say_remarks(remarks: Mapping[str, Remarks], *, wholly: bool) -> None:
    for step, one in remarks.items():
        for warning in one.warnings:
            say(f"  warning: step {step}: {safe(warning)}")
        if one.unbound and wholly:
            say(f"  step {step}: its book would also use these inputs, which no column gives: {', '.join(one.unbound)}")


def _say_verdicts(verdicts: Mapping[str, FieldVerdict]) -> None:
    """Say how the fields of a model are judged; the plain case last and shortly."""
    whole = [field for field, one in verdicts.items() if one.way == "record"]
    for name in whole:
        why = safe(verdicts[name].why)
        say(f"  each record is judged by Pydantic itself: {f'{name}: ' if name else ''}{why}")
    if whole or not verdicts:
        return
    for name, one in verdicts.items():
        if one.way == "field":
            say(f"  {name}: this field is judged by Pydantic itself: {safe(one.why)}")
    compiled = sum(one.way == "compiled" for one in verdicts.values())
    say(f"  {compiled} of {len(verdicts)} fields are judged by compiled checks")
