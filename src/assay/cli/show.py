"""`assay list` and `show`."""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import click

from assay.cli.console import (
    MISUSED,
    PUBLISHED,
    errors,
    output,
    print_error,
    print_json,
    print_labelled,
    print_table,
    safe,
)

if TYPE_CHECKING:
    import polars as pl

    from assay.pipeline import Pipeline


@click.command("list", epilog="\b\nExample:\n  assay list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_command(as_json: bool) -> None:
    """List the pipelines of this project. A broken file does not hide the others; the exit status is 2 then."""
    from assay.pipeline import find  # noqa: PLC0415 - --help shall not wait for these
    from assay.settings import Settings  # noqa: PLC0415

    found, broken = find(Settings.load())
    if as_json:
        print_json(
            {
                "schema": 1,
                "pipelines": [{"name": name, "description": one.description} for name, one in sorted(found.items())],
                "broken": [{"file": str(one.file), "reason": one.reason} for one in broken],
            }
        )
        sys.exit(MISUSED if broken else PUBLISHED)
    rows = [(name, one.description) for name, one in sorted(found.items())]
    if rows:
        print_table(("pipeline", "what it does"), rows)
    elif not broken:
        errors().print("no pipelines here yet: put one into the pipelines folder")
    for one in broken:
        print_error(f"{one.file.name} is broken: {one.reason}")
    if broken:
        sys.exit(MISUSED)


@click.command("show", epilog="\b\nExample:\n  assay show orders")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show_command(name: str, as_json: bool) -> None:
    """Show what the pipeline NAME does, from top to bottom."""
    from rich.text import Text  # noqa: PLC0415 - --help shall not wait for these

    from assay.pipeline import load  # noqa: PLC0415
    from assay.reading import without_secrets  # noqa: PLC0415
    from assay.records import RecordReader  # noqa: PLC0415

    pipeline = load(name)
    source = pipeline.source
    columns = RecordReader(source.model, source.how()).schema
    steps = [(step.name, type(step).__name__, _settings_of(step)) for step in pipeline.bound_steps]
    paths = [without_secrets(one) for one in ([source.path] if isinstance(source.path, str) else source.path)]
    if as_json:
        types = {column: str(dtype) for column, dtype in columns.items()}
        print_json(
            {
                "schema": 1,
                "name": pipeline.name,
                "description": pipeline.description,
                "params": pipeline.params.model_json_schema() if pipeline.params else None,
                "source": {
                    "path": paths[0] if isinstance(source.path, str) else paths,
                    "model": source.model.__name__,
                    "columns": types,
                },
                "steps": [{"name": n, "kind": kind, "with": settings} for n, kind, settings in steps],
                "outputs": {
                    n: {"kind": type(o).__name__, "what": _what(o), "to": repr(o.to)}
                    for n, o in pipeline.outputs.items()
                },
            }
        )
        return
    output().print(Text.assemble((pipeline.name, "bold"), f"  {pipeline.description}"))
    print_labelled("source", f"{', '.join(paths)}  {source.model.__name__}{_source_notes(pipeline)}")
    print_labelled("", ", ".join(f"{n} {_type_name(t)}" for n, t in columns.items()))
    for number, (step, kind, settings) in enumerate(steps, 1):
        what = "function" if kind == "FunctionStep" else f"{kind}({settings})" if settings else kind
        print_labelled(f"step {number:>2}", f"{step}  {what}")
    for output_name, one in pipeline.outputs.items():
        print_labelled("output", f"{output_name}  {_what(one)}  -> {_brief(one.to)}")
    if pipeline.params is not None:
        for param, field in pipeline.params.model_fields.items():
            default = "required" if field.is_required() else f"default {field.default!r}"
            print_labelled("param", f"{param}  {default}")


def _what(output: Any) -> str:
    if hasattr(output, "measures"):
        return _groups(output)
    if hasattr(output, "amounts"):
        return _ledger(output)
    return "rows"


def _ledger(output: Any) -> str:
    said = [
        f"ledger by {', '.join(output.key)}, corrected in the {output.correction} period",
        f"amounts {', '.join(output.amounts)}",
    ]
    for word, names in (("rates", output.rates), ("compared", output.compare), ("scope", output.scope)):
        said += [f"{word} {', '.join(names)}"] if names else []
    for word, value in (("dated", output.dated), ("booked on", output.today), ("horizon", output.horizon)):
        said += [f"{word} {value}"] if value is not None else []
    return "; ".join([*said, *(["what is gone is reversed"] if output.gone == "reverse" else [])])


def _source_notes(pipeline: Pipeline) -> str:
    notes = []
    if pipeline.source.key:
        notes.append("key " + ", ".join(pipeline.source.key))
    if pipeline.source.reject_with:
        notes.append(f"a rejected line rejects its whole {pipeline.source.reject_with}")
    return f"  ({'; '.join(notes)})" if notes else ""


def _type_name(dtype: pl.DataType) -> str:
    """A type as people read it."""
    import polars as pl  # noqa: PLC0415 - --help shall not wait for it

    match dtype:
        case pl.Decimal():
            return f"decimal({dtype.precision},{dtype.scale})"
        case pl.Datetime():
            return f"datetime {dtype.time_zone}" if dtype.time_zone else "datetime"
        case pl.Enum():
            return "one of " + "|".join(map(safe, dtype.categories))
        case pl.List():
            return f"list of {_type_name(_instance(dtype.inner))}"
        case pl.Struct():
            return "{" + ", ".join(f"{f.name} {_type_name(_instance(f.dtype))}" for f in dtype.fields) + "}"
    return str(dtype).lower()


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made


def _settings_of(step: Any) -> str:
    """What a step is told, beside its name."""
    return _given(step, without="name") if is_dataclass(step) and not isinstance(step, type) else ""


def _brief(value: Any) -> str:
    """A definition with what differs from the defaults."""
    import polars as pl  # noqa: PLC0415 - --help shall not wait for these

    from assay.reading import without_secrets  # noqa: PLC0415

    match value:
        case str():
            return repr(without_secrets(value))
        case pl.Expr():
            text = str(value)
            # Beyond a line nobody reads it. The elements of a list have the empty name.
            return text if len(text) <= 80 else "of " + ", ".join(dict.fromkeys(filter(None, value.meta.root_names())))
        case type():
            return value.__name__
        case dict():
            return "{" + ", ".join(f"{name}: {_brief(one)}" for name, one in value.items()) + "}"
        case tuple() | list():
            return ", ".join(map(_brief, value))
        case _ if is_dataclass(value):
            return f"{type(value).__name__}({_given(value)})"
    return repr(value)


def _given(value: Any, without: str = "") -> str:
    parts = []
    for f in fields(value):
        one = getattr(value, f.name)
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if f.name == without or not f.init or (default is not MISSING and _same(one, default)):
            continue
        plain = f.default is MISSING and f.default_factory is MISSING
        parts.append(_brief(one) if plain else f"{f.name}={_brief(one)}")
    return ", ".join(parts)


def _same(one: Any, default: Any) -> bool:
    # An expression that is compared makes another expression.
    return type(one) is type(default) and bool(one == default)


def _groups(one: Any) -> str:
    measures = ", ".join(f"{name}={_brief(measure)}" for name, measure in one.measures)
    return f"by {', '.join(one.by) or 'nothing'}: {measures}"
