"""`assay diff`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import click

from assay.cli.console import (
    OVER_LIMIT,
    errors,
    is_live,
    output,
    parse_params,
    print_json,
    print_labelled,
    print_table,
    safe,
    say,
)
from assay.cli.run import Meter
from assay.errors import ConfigurationError

if TYPE_CHECKING:
    from assay.pipeline import Compared
    from assay.pricing import Band, ChangeLimit, Difference, Party, Shift

_DAY = click.DateTime(["%Y-%m-%d"])
#: Reasons why rows cannot be priced that are shown; --json has all.
_REASONS = 5
#: What differs in reasons of one kind: texts in quotation marks, numbers, dates.
_VALUE = re.compile(r"""(?<![A-Za-z_])(?:"[^"]*"|'[^']*'|[+-]?\d[\d.,:TZ+-]*)""")
#: Rows of price lists that are shown.
_PRICES = 10


@click.command(
    "diff",
    epilog="\b\nExamples:\n  assay diff orders --book draft.toml\n"
    "  assay diff orders --book draft.toml --by customer_id --since 2026-03-01\n"
    "  assay diff orders --book orders.toml --book draft.toml --fail-over 1% --json",
)
@click.argument("name")
@click.option(
    "--book",
    "books",
    metavar="FILE",
    multiple=True,
    help="A price book: one is compared with the pipeline's own, or two.",
)
@click.option("--step", metavar="NAME", help="The pricing step, where there are several.")
@click.option("--since", type=_DAY, metavar="DATE", help="Only rows of this day or later, such as 2026-03-01.")
@click.option("--date", metavar="COLUMN", help="The column of that day; else the one that gives the book a date.")
@click.option("--swap-date", "swapped", metavar="A..B", help="Prices and rates as known at A, and at B.")
@click.option("--known-at", "known", metavar="INSTANT", help="Prices and rates as known then, on both sides.")
@click.option("--prices", metavar="NAME=FILE", multiple=True, help="Another price list for the second book; repeat it.")
@click.option("--by", metavar="COLUMN", multiple=True, help="Who pays: rows with the same value here; repeat it.")
@click.option(
    "--measure",
    type=click.Choice(["net", "tax", "gross", "payable"]),
    default="gross",
    show_default=True,
    help="The amount that is dearer or cheaper.",
)
@click.option("--top", default=5, show_default=True, type=click.IntRange(min=0), help="How many are named each way.")
@click.option(
    "--fail-over", "limit", metavar="P%|AMOUNT", help="Exit status 3 if the total changes by more: 1%, 100EUR."
)
@click.option("--set", "params", metavar="KEY=VALUE", multiple=True, help="A parameter of the pipeline; repeat it.")
@click.option(
    "--input", "source", metavar="PATH", help="Read this instead: a path, a glob (** goes down), a URL, or - ."
)
@click.option("--format", "fmt", metavar="FORMAT", help="Format of the input where its suffix does not tell.")
@click.option("--limit", "records", metavar="N", type=click.IntRange(min=1), help="Read only the first N records.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def diff_command(
    context: click.Context,
    name: str,
    books: tuple[str, ...],
    step: str | None,
    since: dt.datetime | None,
    date: str | None,
    swapped: str | None,
    known: str | None,
    prices: tuple[str, ...],
    by: tuple[str, ...],
    measure: str,
    top: int,
    limit: str | None,
    params: tuple[str, ...],
    source: str | None,
    fmt: str | None,
    records: int | None,
    as_json: bool,
) -> None:
    """Show what another price book would make of the records of NAME: in all, for whom, and by which rule.

    The source and the steps before the pricing run once; both books price the same rows. Nothing is published, and no
    run is kept. Exit status: 0; 1 the input cannot be read; 2 wrong use; 3 the total changes by more than --fail-over.
    """
    from assay.pipeline import compare, load  # noqa: PLC0415 - --help shall not wait for these

    most = None if limit is None else _limit(limit)
    if swapped is not None and known is not None:
        raise click.UsageError("--swap-date names two instants, --known-at one for both sides: give one of them")
    swap = None if swapped is None else _instants(swapped)
    known_at = swap if known is None else (_instant(known, "--known-at"),) * 2
    if not (books or swap or prices):
        raise ConfigurationError(
            "give what to compare with: --book FILE (or two), --prices NAME=FILE or --swap-date A..B"
        )
    pipeline = load(name)
    if fmt is not None:
        pipeline = replace(pipeline, source=replace(pipeline.source, format=fmt))
    with Meter(live=is_live(), silent=as_json or not is_live()) as meter:
        compared = compare(
            pipeline,
            books,
            params=parse_params(params),
            source=source,
            limit=records,
            step=step,
            since=None if since is None else since.date(),
            date=date,
            known_at=known_at,
            prices=parse_params(prices, "--prices"),
            by=by,
            measure=measure,  # type: ignore[arg-type]  # the choice allows no other
            top=top,
            progress=meter.update,
        )
    exceeded = [] if most is None else most.exceeded(compared.difference)
    if as_json:
        status = "over_limit" if exceeded else "compared"
        told = None if most is None else {"limit": str(most), "exceeded": exceeded}
        print_json({"schema": 1, "status": status, **compared.as_json(), "fail_over": told})
    else:
        _print(compared, most)
    if exceeded:
        if not as_json:
            _tell_exceeded(compared.difference, exceeded, str(most))
        context.exit(OVER_LIMIT)


def _limit(text: str) -> ChangeLimit:
    from assay.pricing import ChangeLimit  # noqa: PLC0415 - --help shall not wait for it

    try:
        return ChangeLimit.parse(text)
    except ConfigurationError as error:
        raise ConfigurationError(str(error), where="--fail-over") from None


def _instants(text: str) -> tuple[dt.datetime, dt.datetime]:
    """From "2026-03-01T00:00Z..2026-04-01T00:00Z": two instants, each with its zone."""
    parts = text.split("..")
    if len(parts) != 2:
        raise ConfigurationError(
            f'--swap-date takes two instants, such as 2026-03-01T00:00Z..2026-04-01T12:00Z, not "{text}"'
        )
    return _instant(parts[0], "--swap-date"), _instant(parts[1], "--swap-date")


def _instant(text: str, option: str) -> dt.datetime:
    from assay.pricing import known_instant, shown_instant  # noqa: PLC0415 - --help shall not wait for it

    made: dt.datetime = shown_instant(known_instant(text, option), None)  # type: ignore[assignment]  # never null
    return made


def _tell_exceeded(difference: Difference, exceeded: Sequence[str], most: str) -> None:
    for currency in exceeded:
        shift = difference.totals[currency][difference.measure]
        share = _share(shift)
        words = f"{difference.measure} changes by {shift.change:+,f} {currency}{f' ({share})' if share else ''}"
        errors().print(f"over the limit: {words}, more than {most}", markup=False)


def _print(compared: Compared, most: ChangeLimit | None) -> None:
    from rich.text import Text  # noqa: PLC0415 - --help shall not wait for it

    difference = compared.difference
    output().print(Text.assemble((compared.pipeline, "bold"), f"  step {compared.step}, priced twice"))
    print_labelled("before", safe(_side(compared, 0)))
    print_labelled("after", safe(_side(compared, 1)))
    print_labelled("input", safe(_input(compared.files)))
    print_labelled("records", _records(compared))
    for note in compared.notes:
        print_labelled("note", safe(note), style="bold yellow")
    say("")
    _print_totals(difference)
    _print_moves(difference)
    _print_effects(difference)
    _print_prices(difference)
    _print_bands(difference)
    _print_parties("pays more", difference, difference.dearer, difference.parties[0])
    _print_parties("pays less", difference, difference.cheaper, difference.parties[1])
    _print_reasons(compared)
    if most is not None and not most.exceeded(difference):
        say(f"within the limit of {most}")


def _side(compared: Compared, side: int) -> str:
    """What one of the two prices is made by."""
    said = [f"{(compared.before, compared.after)[side]}  {compared.fingerprints[side][:12]}"]
    if side:
        said += [f"prices {name} from {file}" for name, file in compared.prices.items()]
    if compared.known_at is not None:
        said.append(f"as known at {compared.known_at[side]}")
    return ", ".join(said)


def _input(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"{len(files):,} files, {files[0]} to {files[-1]}"


def _records(compared: Compared) -> str:
    counts = compared.counts
    parts = [f"read {counts['read']:,}", f"filtered {counts['filtered']:,}", f"rejected {counts['rejected']:,}"]
    if counts.get("with_document"):
        parts.append(f"with rejected documents {counts['with_document']:,}")
    if counts.get("earlier"):
        parts.append(f"earlier {counts['earlier']:,}")
    return f"{', '.join(parts)}; {counts['compared']:,} rows go to both books"


def _print_totals(difference: Difference) -> None:
    rows = [
        [f"{name} {currency}", _money(shift.before), _money(shift.after), _signed(shift.change), _share(shift)]
        for currency, amounts in difference.totals.items()
        for name, shift in amounts.items()
        if name != "payable" or shift != amounts["gross"]
    ]
    columns = ["total", "before", "after", "change", "%"]
    print_table(columns, rows, right=columns[1:], optional=["%"])
    say("")


def _print_moves(difference: Difference) -> None:
    rows: list[list[str]] = []
    measure, unpriced = difference.measure, difference.unpriced
    for currency, moves in difference.moves.items():
        rows += [
            ["dearer", f"{moves.dearer:,}", _signed(moves.dearer_by), currency],
            ["cheaper", f"{moves.cheaper:,}", _signed(moves.cheaper_by), currency],
            ["same", f"{moves.same:,}", "", currency],
        ]
    for word, count, amounts, sign in (
        ("priced before only", unpriced.only_after, unpriced.lost, -1),
        ("priced after only", unpriced.only_before, unpriced.won, 1),
    ):
        for number, (currency, named) in enumerate(amounts.items()):
            rows.append([word, f"{count:,}" if not number else "", _signed(sign * named[measure]), currency])
    if unpriced.both:
        rows.append(["never priced", f"{unpriced.both:,}", "", ""])
    _print_amounts(difference, [measure, "rows"], ["change"], rows)


def _print_effects(difference: Difference) -> None:
    if not difference.effects:
        say("no rule is changed")
        say("")
        return
    due = any(amounts["payable"] != amounts["gross"] for one in difference.effects for amounts in one.amounts.values())
    names = ["net", "tax", "gross", *(["payable"] if due else [])]
    rows = []
    for one in difference.effects:
        rule = one.rule or ("no price" if one.how == "unpriced" else "together")
        what = f"{one.how}: {one.what}" if one.how in ("added", "removed", "moved", "together") else one.what
        for number, (currency, amounts) in enumerate(one.amounts.items()):
            head = ["", "", ""] if number else [rule, what, f"{one.rows:,}"]
            rows.append([*head, *(_signed(amounts[name]) for name in names), currency])
    for currency, totals in difference.totals.items():
        rows.append(["total", "", "", *(_signed(totals[name].change) for name in names), currency])
    spare = [name for name in ("tax", "net", "payable", "gross") if name != difference.measure]
    _print_amounts(difference, ["rule", "what is changed", "rows"], names, rows, spare=spare)


def _print_prices(difference: Difference) -> None:
    if not difference.prices:
        return
    shown = difference.prices[:_PRICES]
    rows = [
        [one.before or "none", one.after or "none", f"{one.rows:,}", _signed(amounts[difference.measure]), currency]
        for one in shown
        for currency, amounts in one.amounts.items()
    ]
    output().print(f"prices: {len(shown):,} of {len(difference.prices):,}, the greatest change first", markup=False)
    _print_amounts(difference, ["price before", "price after", "rows"], [difference.measure], rows)


def _print_bands(difference: Difference) -> None:
    if difference.bands:
        rows = [[_band(one), f"{one.rows:,}", _signed(one.change), one.currency] for one in difference.bands]
        _print_amounts(difference, ["a row changes by", "rows"], ["change"], rows)


def _band(band: Band) -> str:
    if band.low is None:
        return f"less than {band.high:+,f}"
    if band.high is None:
        return f"more than {band.low:+,f}"
    return f"{_signed(band.low)} to {_signed(band.high)}"


def _print_parties(word: str, difference: Difference, parties: Sequence[Party], count: int) -> None:
    if not parties:
        return
    output().print(f"{word}: {len(parties):,} of {count:,}, the greatest change first", markup=False)
    rows = [
        [
            *("null" if value is None else str(value) for value in one.key.values()),
            f"{one.rows:,}",
            _money(one.before),
            _money(one.after),
            _signed(one.change),
            one.currency,
        ]
        for one in parties
    ]
    names = [*parties[0].key, "rows"]
    if all(one.rows == 1 for one in parties):
        names.pop()
        rows = [[*row[: len(names)], *row[len(names) + 1 :]] for row in rows]
    _print_amounts(difference, names, ["before", "after", "change"], rows, spare=["after", "before"])


def _print_amounts(
    difference: Difference,
    names: Sequence[str],
    amounts: Sequence[str],
    rows: list[list[str]],
    spare: Sequence[str] = (),
) -> None:
    """A table whose last column is a currency, which goes into the heads where there is one only."""
    if len(difference.totals) == 1:
        heads = {name: f"{name} {next(iter(difference.totals))}" for name in amounts}
        columns, rows = [*names, *heads.values()], [row[:-1] for row in rows]
    else:
        heads = {name: name for name in amounts}
        columns = [*names, *heads.values(), "currency"]
    numbers = ["rows", *heads.values()]
    optional = [heads[name] for name in spare if name in heads]
    print_table(columns, rows, right=numbers, optional=optional)
    say("")


def _print_reasons(compared: Compared) -> None:
    unpriced = compared.difference.unpriced
    for book, reasons in ((compared.before, unpriced.before), (compared.after, unpriced.after)):
        if not reasons:
            continue
        output().print(f"{safe(book)} cannot price {sum(reasons.values()):,} rows", markup=False)
        kinds = _kinds(reasons)
        for reason, rows, like in kinds[:_REASONS]:
            say(f"  {rows:,}  {safe(reason)}{f', and {like - 1:,} like it' if like > 1 else ''}")
        if len(kinds) > _REASONS:
            say(f"  and {len(kinds) - _REASONS:,} more kinds of reasons (--json has them)")
        say("")


def _kinds(reasons: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """Reasons that differ in a value only, together: the first of them, how many rows, and how many reasons."""
    kinds: dict[str, tuple[str, int, int]] = {}
    for reason, rows in reasons.items():
        kind = _VALUE.sub("", reason)
        first, before, like = kinds.get(kind, (reason, 0, 0))
        kinds[kind] = first, before + rows, like + 1
    return sorted(kinds.values(), key=lambda kind: -kind[1])


def _money(amount: Decimal) -> str:
    return f"{amount:,f}"


def _signed(amount: Decimal) -> str:
    return f"{amount:+,f}" if amount else f"{abs(amount):,f}"


def _share(shift: Shift) -> str:
    """The change in percent of what it was; empty where that was nothing."""
    return f"{100 * shift.change / abs(shift.before):+.2f} %" if shift.before else ""
