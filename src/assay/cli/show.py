"""`assay list`, `show`, `check`, `preview`."""

from __future__ import annotations

import sys
from typing import Any

import click
import polars as pl
from rich.text import Text

from assay.cli.console import MISUSED, errors, guarded, output, parse_params, print_json, safe, table
from assay.errors import AssayError
from assay.pipeline import find, load
from assay.records import RecordReader
from assay.settings import Settings


@click.command("list", epilog="\b\nExample:\n  assay list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def list_command(as_json: bool) -> None:
    """List the pipelines of this project. A broken file does not hide the others."""
    found, broken = find(Settings.load())
    if as_json:
        print_json(
            {
                "schema": 1,
                "pipelines": [{"name": name, "description": one.description} for name, one in sorted(found.items())],
                "broken": [{"file": str(one.file), "reason": one.reason} for one in broken],
            }
        )
        return
    rows = [(name, one.description) for name, one in sorted(found.items())]
    if rows:
        output().print(table(("pipeline", "what it does"), rows))
    else:
        errors().print("no pipelines here yet: put one into the pipelines folder")
    for one in broken:
        errors().print(Text.assemble(("broken: ", "bold red"), safe(f"{one.file.name}: {one.reason}")))


@click.command("show", epilog="\b\nExample:\n  assay show orders")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def show_command(name: str, as_json: bool) -> None:
    """Show what the pipeline NAME does, from top to bottom."""
    pipeline = load(name)
    source = pipeline.source
    fields = RecordReader(source.model, source.how()).schema
    steps = [(step.name, type(step).__name__) for step in pipeline.bound_steps]
    if as_json:
        print_json(
            {
                "schema": 1,
                "name": pipeline.name,
                "description": pipeline.description,
                "params": pipeline.params.model_json_schema() if pipeline.params else None,
                "source": {"path": source.path, "model": source.model.__name__, "columns": _types(fields)},
                "steps": [{"name": n, "kind": kind} for n, kind in steps],
                "outputs": {n: {"kind": type(o).__name__, "to": repr(o.to)} for n, o in pipeline.outputs.items()},
            }
        )
        return
    console = output()
    console.print(Text.assemble((pipeline.name, "bold"), f"  {pipeline.description}"))
    console.print(f"source   {source.path}  {source.model.__name__}" + _source_notes(pipeline))
    console.print("         " + ", ".join(f"{n} {t}" for n, t in _types(fields).items()), soft_wrap=True)
    for number, (step, kind) in enumerate(steps, 1):
        console.print(f"step {number:>2}  {step}" + (f"  ({kind})" if kind != "FunctionStep" else "  (function)"))
    for output_name, one in pipeline.outputs.items():
        what = _groups(one) if hasattr(one, "measures") else "rows"
        console.print(f"output   {output_name}  {what}  -> {one.to!r}", soft_wrap=True)
    if pipeline.params is not None:
        for param, info in pipeline.params.model_fields.items():
            default = "required" if info.is_required() else f"default {info.default!r}"
            console.print(f"param    {param}  {default}")


def _source_notes(pipeline: Any) -> str:
    notes = []
    if pipeline.source.key:
        notes.append("key " + ", ".join(pipeline.source.key))
    if pipeline.source.reject_with:
        notes.append(f"a rejected line rejects its whole {pipeline.source.reject_with}")
    return f"  ({'; '.join(notes)})" if notes else ""


def _types(schema: pl.Schema) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in schema.items()}


def _groups(one: Any) -> str:
    measures = ", ".join(f"{name}={measure!r}" for name, measure in one.measures)
    return f"by {', '.join(one.by) or 'nothing'}: {measures}"


@click.command("check", epilog="\b\nExamples:\n  assay check\n  assay check orders --set month=2026-01")
@click.argument("name", required=False)
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter of the pipeline; repeat it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def check_command(name: str | None, params: tuple[str, ...], as_json: bool) -> None:
    """Check the pipeline NAME, or all: columns, parameters, books, tables, outputs. Reads no records."""
    settings = Settings.load()
    given = parse_params(params)
    findings: dict[str, str | None] = {}
    if name is not None:
        pipelines = {name: load(name, settings)}
    else:
        pipelines, broken = find(settings)
        findings = {one.file.name: one.reason for one in broken}
    for one_name, pipeline in sorted(pipelines.items()):
        try:
            pipeline.check(given, settings=settings)
            findings[one_name] = None
        except AssayError as error:
            findings[one_name] = str(error)
    wrong = {key: reason for key, reason in findings.items() if reason}
    if as_json:
        print_json({"schema": 1, "ok": not wrong, "checked": findings})
    for key, reason in findings.items():
        if as_json:
            break
        if reason is None:
            output().print(f"{key}  ok")
        else:
            errors().print(Text.assemble(("error: ", "bold red"), f"{key}: {safe(reason)}"))
    sys.exit(MISUSED if wrong else 0)


@click.command("preview", epilog="\b\nExample:\n  assay preview orders --rows 5")
@click.argument("name")
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter of the pipeline; repeat it.")
@click.option("--input", "source", metavar="PATH", help="Read this instead.")
@click.option("--rows", default=10, show_default=True, type=click.IntRange(min=1), help="How many records.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def preview_command(name: str, params: tuple[str, ...], source: str | None, rows: int, as_json: bool) -> None:
    """Show the first records of NAME after each step. Nothing is written."""
    shown = load(name).preview(rows, parse_params(params), input=source)
    if as_json:
        print_json({"schema": 1, "stages": {stage: _rows(frame) for stage, frame in shown.frames.items()}})
        return
    console = output()
    wide = console.width if sys.stdout.isatty() else 200
    with pl.Config(
        tbl_rows=rows, tbl_cols=-1 if wide > 150 else 8, tbl_width_chars=wide, tbl_hide_dataframe_shape=True
    ):
        for stage, frame in shown.frames.items():
            console.print(Text.assemble((stage, "bold"), f"  {frame.height} rows"))
            click.echo(str(frame))
    if shown.rejects.height:
        errors().print(f"{shown.rejects.height} of the records looked at were rejected; assay run {name} keeps them")


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [{key: str(value) if value is not None else None for key, value in row.items()} for row in frame.to_dicts()]
