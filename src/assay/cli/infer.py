"""`assay infer`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from assay.cli.console import errors, safe

_ALL = "all"


def _sample(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    if value == _ALL:
        return None
    if not value.isascii() or not value.isdigit() or int(value) == 0:
        raise click.BadParameter(f'{value!r} is neither a number of records nor "{_ALL}".')
    return int(value)


def _namespaces(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    made = {}
    for value in values:
        prefix, equals, uri = value.partition("=")
        if not (prefix and equals and uri):
            raise click.BadParameter(f"{value!r} is not PREFIX=URI.")
        made[prefix] = uri
    return made


@click.command(
    "infer",
    epilog="\b\nExamples:\n  assay infer orders.jsonl > order.py\n  assay infer feed.xml --record item\n"
    "  assay infer prices.csv --delimiter ';' --name Price",
)
@click.argument("file")
@click.option("--name", metavar="NAME", help="Name of the class; by default from the file's.")
@click.option("--record", metavar="PATH", help="Where the records are: a path of keys (JSON), a row tag or path (XML).")
@click.option("--format", "fmt", metavar="FORMAT", help="Format of the file where its suffix does not tell.")
@click.option(
    "--namespace", "namespaces", metavar="PREFIX=URI", multiple=True, callback=_namespaces, help="For XML; repeat it."
)
@click.option("--delimiter", metavar="CHAR", help="Between cells of CSV; by default a comma, or what the names have.")
@click.option("--quote", metavar="CHAR", help="Around cells of CSV; '' for none.")
@click.option("--columns", metavar="NAMES", help="Names of the columns of CSV without a row of them: a,b,c.")
@click.option(
    "--sample",
    metavar="N|all",
    default="5000",
    show_default=True,
    callback=_sample,
    help="Records to look at first; the model is held against all of them.",
)
def infer_command(
    file: str,
    name: str | None,
    record: str | None,
    fmt: str | None,
    namespaces: dict[str, str],
    delimiter: str | None,
    quote: str | None,
    columns: str | None,
    sample: int | None,
) -> None:
    """Print a Pydantic model of the records of FILE (a path, a glob, or -), and doubts on standard error.

    The model accepts all of the file but what is malformed as such. Money is never a float.
    """
    from assay.inference import infer_model  # noqa: PLC0415 - --help shall not wait for it
    from assay.settings import Settings  # noqa: PLC0415

    found = infer_model(
        file,
        fmt,
        record,
        namespaces or None,
        name=name,
        sample=sample,
        delimiter=delimiter,
        quote=quote,
        columns=columns.split(",") if columns is not None else None,
        settings=Settings.load(),
    )
    click.echo(found.source, nl=False)
    console = errors()
    for doubt in found.doubts:
        console.print(f"doubt: {safe(doubt)}", markup=False)
    console.print(f"accepts {found.accepted:,} of {found.read:,} records", markup=False)
