"""`assay preview`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from assay.cli.console import errors, output, parse_params, print_json, print_table, say, width

if TYPE_CHECKING:
    import polars as pl

#: Characters of a value on a terminal; a pipe gets all.
_CELL = 40
#: A column of more decimal places than this is filled with zeros, mostly.
_FILLED = 10


@click.command("preview", epilog="\b\nExamples:\n  assay preview orders --rows 5\n  assay preview orders | less -S")
@click.argument("name")
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter of the pipeline; repeat it.")
@click.option(
    "--input", "source", metavar="PATH", help="Read this instead: a path, a glob (** goes down), a URL, or - ."
)
@click.option("--format", "fmt", metavar="FORMAT", help="Format of the input where its suffix does not tell.")
@click.option("--known-at", metavar="INSTANT", help="Price by what was known then, such as 2026-03-31T23:59:59Z.")
@click.option("--rows", default=10, show_default=True, type=click.IntRange(min=1), help="How many records.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def preview_command(
    name: str,
    params: tuple[str, ...],
    source: str | None,
    fmt: str | None,
    known_at: str | None,
    rows: int,
    as_json: bool,
) -> None:
    """Show the first records of NAME after each step. Nothing is written."""
    from rich.text import Text  # noqa: PLC0415 - --help shall not wait for these

    from assay.pipeline import load  # noqa: PLC0415

    pipeline = load(name)
    if fmt is not None:
        pipeline = replace(pipeline, source=replace(pipeline.source, format=fmt))
    shown = pipeline.preview(rows, parse_params(params), input=source, known_at=known_at)
    if as_json:
        print_json({"schema": 1, "stages": {stage: _rows(frame) for stage, frame in shown.frames.items()}})
        return
    before: pl.DataFrame | None = None
    for stage, frame in shown.frames.items():
        as_before = before is not None and before.equals(frame)
        note = "  as before" if as_before else ""
        output().print(Text.assemble((stage, "bold"), f"  {frame.height} rows{note}"))
        if not as_before:
            _print_frame(frame, pipeline.source.key, before)
            say("")
        before = frame
    if shown.rejects.height:
        errors().print(f"rejected among the records looked at: {shown.rejects.height}; assay run {name} keeps them")


def _print_frame(frame: pl.DataFrame, key: Sequence[str], before: pl.DataFrame | None) -> None:
    old = () if before is None else before.columns
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    money = [name for name, dtype in frame.schema.items() if dtype.is_decimal()]
    # On a narrow terminal the key, what the step has made, and money are kept longest.
    stay = [*key, *(name for name in frame.columns if before is not None and name not in old), *money]
    optional = [name for name in reversed(frame.columns) if name not in stay]
    optional += [name for name in money if name in old] + [name for name in reversed(frame.columns) if name in stay]
    optional = list(dict.fromkeys(name for name in optional if name not in key))
    cells = [[_cell(value) for value in row] for row in frame.iter_rows()]
    print_table(frame.columns, cells, right=numbers, optional=optional)


def _cell(value: object) -> str:
    text = _text(value)
    return text if width() is None or len(text) <= _CELL else f"{text[: _CELL - 3]}..."


def _text(value: object) -> str:
    """As people read it; of structs only what says something."""
    match value:
        case None:
            return "null"
        case Decimal():
            return _number(value, _FILLED)
        case dict():
            said = {name: one for name, one in value.items() if one is not None and one is not False}
            return " ".join(
                f"{name} {_number(one) if isinstance(one, Decimal) else _text(one)}" for name, one in said.items()
            )
        case list():
            return "; ".join(map(_text, value)) or "-"
    return str(value)


def _number(value: Decimal, most: int = 4) -> str:
    """Without the zeros that only fill a column of many places (more than `most`)."""
    text = f"{value:f}"
    head, point, places = text.partition(".")
    return text if len(places) <= most else f"{head}{point}{places.rstrip('0')}".rstrip(".")


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [{key: str(value) if value is not None else None for key, value in row.items()} for row in frame.to_dicts()]
