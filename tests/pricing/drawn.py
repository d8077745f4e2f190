"""Random books of all strategies, rows for them, and the comparison of batch and quote."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any

import polars as pl
from hypothesis import strategies as st

from assay.errors import PricingError
from assay.money import EXACT, ROUNDINGS
from assay.pricing import Line, PriceBook, RatesTable, Receipt

CURRENCIES = ["EUR", "JPY", "KWD", "CLF", "USD"]  # 2, 0, 3, 4 and 2 digits
ZONE = "Europe/Berlin"

_LINE = ("id", "step", "what", "quantity", "rate", "amount", "residue", "adds_to_total", "tier", "currency")
_TAX = ("code", "category", "rate", "base", "amount", "retained")
_SUMS = ("base", "discount", "net", "tax", "gross", "retained", "prepaid", "rounding", "payable")


@dataclass(frozen=True)
class Case:
    """A book, rows, and the rates it needs."""

    book: PriceBook
    frame: pl.DataFrame
    rates: dict[str, RatesTable] = field(default_factory=dict)

    def __repr__(self) -> str:
        content = json.loads(self.book.dump())
        columns = "\n".join(f"  {c.name} {c.dtype} {c.to_list()}" for c in self.frame)
        rates = {name: table.frame().rows() for name, table in self.rates.items()}
        steps = "\n".join(f"  {step}" for step in content.pop("steps"))
        return f"{content}\n{steps}\n{columns}\n  {rates}"


def differences(case: Case, *, receipts: bool = True) -> list[tuple[object, object, object]]:
    """Rows in which the batch says something else than the reference: the row, what it got, what it should be."""
    priced = case.book.price(case.frame, rates=case.rates, receipts=receipts, errors="column").collect()
    assert priced.height == case.frame.height
    other = case.book.price(case.frame, rates=case.rates, receipts=receipts, errors="column")
    assert other.collect(engine="in-memory").equals(priced)
    assert (
        priced.select(case.frame.columns)
        .drop("currency", strict=False)
        .equals(case.frame.drop("currency", strict=False))
    )
    rows = case.frame.to_dicts() or [{} for _ in range(case.frame.height)]
    found: list[tuple[object, object, object]] = []
    for members in _documents(case, rows):
        expected: list[object]
        try:
            document = case.book.quote_document([rows[index] for index in members], rates=case.rates)
            expected = [told(receipt, priced) for receipt in document.receipts]
        except PricingError as error:
            expected = reasons(error, len(members))
        for index, want in zip(members, expected, strict=True):
            got = shown(priced.row(index, named=True))
            if got != want:
                found.append((rows[index], got, want))
    return found


def reasons(error: PricingError, lines: int) -> list[object]:
    """What the batch must say of each line: its own reason, or that the first wrong line has cost it its document."""
    if not error.lines:
        return [str(error)] * lines
    first = min(error.lines)
    told = str(error) if lines > 1 else f"line 1 of the document: {error}"
    assert told.startswith(f"line {first + 1} of the document: {error.lines[first]}")
    sibling = f"document_rejected: line {first + 1} of its document: {error.lines[first]}"
    return [error.lines.get(place, sibling) for place in range(lines)]


def _documents(case: Case, rows: list[dict[str, Any]]) -> list[list[int]]:
    if not case.book.concerns_documents() or "document_id" not in case.frame.columns:
        return [[index] for index in range(len(rows))]
    groups: dict[object, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row["document_id"], []).append(index)
    return list(groups.values())


def told(receipt: Receipt, priced: pl.DataFrame) -> dict[str, object]:
    """A receipt as the columns have it; what must hold of each receipt is checked besides."""
    with localcontext(EXACT):  # the default context would round the sums to 28 digits
        assert receipt.net == receipt.base - receipt.discount
        assert receipt.total == receipt.net + receipt.tax
        assert receipt.payable == receipt.total - receipt.retained - receipt.prepaid + receipt.rounding
        assert sum(line.amount for line in receipt.lines if line.adds_to_total) == receipt.total
        assert sum(tax.amount for tax in receipt.taxes if not tax.retained) == receipt.tax
        said: dict[str, object] = {name: getattr(receipt, name) for name in _SUMS if name in priced.columns}
        said |= {"currency": receipt.currency, "rule_id": receipt.rule_id}
        if "receipt" in priced.columns:
            said["receipt"] = [_line(line) for line in receipt.lines]
        for name in ("fx_rate", "fx_date"):
            if name in priced.columns:
                said[name] = getattr(receipt, name)
        if "taxes" in priced.columns:
            said["taxes"] = [
                tuple(_held(getattr(tax, name)) if name == "rate" else getattr(tax, name) for name in _TAX)
                for tax in receipt.taxes
            ]
    return said


def _held(value: Decimal | None) -> Decimal | None:
    """The value, where a column of 20 digits before and 18 behind the point has it."""
    if value is None or not value:
        return value
    exponent = value.normalize().as_tuple().exponent
    return value if isinstance(exponent, int) and exponent >= -18 and value.adjusted() < 20 else None


def _line(line: Line) -> tuple[object, ...]:
    return tuple(_held(getattr(line, name)) if name in ("quantity", "rate") else getattr(line, name) for name in _LINE)


def shown(row: dict[str, Any]) -> object:
    """A priced row as `told` has it, or its reason."""
    if row["pricing_error"] is not None:
        assert all(row[name] is None for name in _SUMS if name in row), "a row with a reason has no amounts"
        return row["pricing_error"]
    said: dict[str, object] = {
        name: row[name] for name in (*_SUMS, "currency", "rule_id", "fx_rate", "fx_date") if name in row
    }
    if "receipt" in row:
        said["receipt"] = [tuple(line[name] for name in _LINE) for line in row["receipt"]]
    if "taxes" in row:
        said["taxes"] = [tuple(tax[name] for name in _TAX) for tax in row["taxes"]]
    return said


# What is drawn

decimals = st.builds(
    lambda units, places: Decimal(units).scaleb(-places), st.integers(-(10**7), 10**7), st.integers(0, 6)
)
positive = decimals.map(abs).filter(bool)
tie_makers = st.sampled_from(["0.5", "0.05", "0.005", "0.0005", "0.25", "0.125", "2.5", "0.00005", "1.5", "10", "3"])
prices = st.one_of(tie_makers, tie_makers, decimals.map(abs).map(str), st.just("0"))
percents = st.one_of(
    st.sampled_from(["0", "100", "50", "12.5", "7.5", "0.5", "33.3333", "10", "19"]),
    st.builds(lambda units: str(Decimal(units).scaleb(-4)), st.integers(0, 10**6)),
)
edges = st.lists(
    st.one_of(st.integers(1, 40).map(Decimal), st.sampled_from([Decimal("0.5"), Decimal("10.5"), Decimal(100)])),
    min_size=0,
    max_size=3,
    unique=True,
).map(sorted)


def maybe_column(literal: st.SearchStrategy[str], *columns: str) -> st.SearchStrategy[object]:
    """A literal, mostly, or one of the inputs."""
    return st.one_of(literal, literal, *(st.just({"column": column}) for column in columns))


@st.composite
def tiers(draw: st.DrawFn, /, **fields: st.SearchStrategy[Any]) -> list[dict[str, Any]]:
    """Tiers with rising edges; the last is open, mostly."""
    tops: list[str | None] = [str(edge) for edge in draw(edges)]
    if not tops or draw(st.integers(0, 4)):
        tops.append(None)
    return [
        {name: draw(value) for name, value in fields.items()} | ({} if top is None else {"up_to": top}) for top in tops
    ]


money = maybe_column(prices, "list_price")
usage_tiers = tiers(unit_price=money, flat_fee=st.one_of(st.just("0"), prices))

CHARGES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "flat": st.fixed_dictionaries({"amount": money}),
    "per_unit": st.fixed_dictionaries({"unit_price": maybe_column(prices, "unit_price", "list_price")}),
    "volume": st.fixed_dictionaries({"tiers": usage_tiers}),
    "graduated": st.fixed_dictionaries({"tiers": usage_tiers, "round": st.sampled_from(["tier", "total"])}),
    "package": st.fixed_dictionaries(
        {"size": positive.map(str), "price": money, "free": st.sampled_from(["0", "1", "2.5"])}
    ),
    "blocks": st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["all", "top"]),
            "tiers": st.lists(
                st.fixed_dictionaries(
                    {"size": st.sampled_from(["1", "2", "10", "0.5"]), "max_blocks": st.integers(1, 9), "price": money}
                ),
                min_size=1,
                max_size=3,
            ).flatmap(
                lambda made: st.sampled_from(
                    [made, [*made[:-1], {k: v for k, v in made[-1].items() if k != "max_blocks"}]]
                )
            ),
        }
    ),
    "capacity": st.fixed_dictionaries({"tiers": tiers(flat_fee=money)}),
    "percentage_fee": st.one_of(
        st.fixed_dictionaries(
            {
                "rate": maybe_column(percents, "percent"),
                "fixed": prices,
                "free_amount": st.sampled_from(["0", "10", "12.345"]),
                "free_count": st.integers(0, 3),
            },
            optional={"per_event_min": st.just("0.5"), "per_event_max": st.sampled_from(["2", "0.755"])},
        ),
        st.fixed_dictionaries({"rate": percents}),
    ),
    "graduated_percentage": st.fixed_dictionaries({"tiers": tiers(rate=percents, flat_fee=prices)}),
    "cost_plus": st.fixed_dictionaries({"multiplier": prices}),
    "time_of_use": st.fixed_dictionaries(
        {
            "zone": st.sampled_from([ZONE, "UTC", "America/New_York"]),
            "rates": st.just(
                [
                    {"unit_price": "0.25"},
                    {"unit_price": "0.335", "start": "07:00", "end": "20:30", "weekdays": [1, 2, 3, 4, 5], "weight": 1},
                    {"unit_price": "1", "start": "18:00", "end": "19:00", "months": [3, 12], "weight": 2},
                ]
            ),
        },
        optional={"increment": st.sampled_from(["1", "0.25"]), "connect_fee": prices},
    ),
}

discounts = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("percent_off"), "percent": maybe_column(percents, "percent")},
        optional={"at_least": st.sampled_from(["1", "10"])},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("amount_off"), "amount": money}, optional={"at_least": st.sampled_from(["1", "10"])}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("fixed_price"), "amount": money, "when": st.sampled_from(["always", "lower"])}
    ),
)
summable = st.one_of(
    st.fixed_dictionaries({"kind": st.just("percent_off"), "percent": maybe_column(percents, "percent")}),
    st.fixed_dictionaries({"kind": st.just("amount_off"), "amount": money}),
)
per = st.sampled_from(["line", "document", "period"])
either = st.one_of(st.fixed_dictionaries({"percent": percents}), st.fixed_dictionaries({"amount": prices}))

STEPS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "discount": discounts,
    "stack": st.one_of(
        st.fixed_dictionaries(
            {
                "kind": st.just("stack"),
                "mode": st.sampled_from(["sequential", "best", "exclusive"]),
                "rules": st.lists(discounts, min_size=1, max_size=3),
            }
        ),
        st.fixed_dictionaries(
            {"kind": st.just("stack"), "mode": st.just("sum"), "rules": st.lists(summable, min_size=1, max_size=3)}
        ),
    ),
    "buy_x_get_y": st.fixed_dictionaries(
        {
            "kind": st.just("buy_x_get_y"),
            "buy": st.sampled_from(["1", "2", "0.5"]),
            "get": st.sampled_from(["1", "2"]),
            "percent": maybe_column(percents, "percent"),
            "select": st.sampled_from(["cheapest", "dearest"]),
        },
        optional={"max_times": st.integers(1, 2)},
    ),
    "document_discount": either.flatmap(
        lambda given: st.fixed_dictionaries(
            {
                "kind": st.just("document_discount"),
                "allocate": st.sampled_from(["proportional", "even"]),
                **{name: st.just(value) for name, value in given.items()},
            }
        )
    ),
    "coupon": either.map(lambda given: {"kind": "coupon", "uses": 2, "used": {"column": "used"}, **given}),
    "charge": st.builds(
        lambda given, per: {"kind": "charge", "per": per, **given}, either, st.sampled_from(["line", "document"])
    ),
    "minimum": st.fixed_dictionaries({"kind": st.just("minimum"), "amount": prices, "per": per}),
    "maximum": st.fixed_dictionaries({"kind": st.just("maximum"), "amount": prices, "per": per}),
    "prorate": st.one_of(
        st.fixed_dictionaries({"kind": st.just("prorate"), "unit": st.sampled_from(["day", "second"])}),
        st.just({"kind": "prorate", "basis": 30}),
    ),
}
step_roundings = st.sampled_from([None] * 6 + [*ROUNDINGS, "none"])


@st.composite
def taxes(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some taxes: on top (parallel, compound, retained, per unit, per document), or included."""
    rate = maybe_column(percents, "tax_rate")
    if draw(st.integers(0, 2)) == 0:
        many = draw(st.integers(1, 3))
        if many == 1:
            level = draw(st.sampled_from(["line", "document"]))
            return [{"kind": "tax", "inclusive": True, "rate": draw(rate), "level": level}]
        return [
            {"kind": "tax", "inclusive": True, "rate": draw(rate), "compound": draw(st.booleans())} for _ in range(many)
        ]
    made = []
    for _ in range(draw(st.integers(0, 2))):
        tax = {"kind": "tax", "rate": draw(rate), "level": draw(st.sampled_from(["line", "line", "document", "unit"]))}
        if draw(st.integers(0, 3)) == 0:
            tax["retained"] = True
        if draw(st.integers(0, 3)) == 0:
            tax["compound"] = True
        if draw(st.integers(0, 3)) == 0:
            del tax["rate"]
            tax["table"] = [
                {"rate": "19", "category": "S", "valid_to": "2024-03-31"},
                {"rate": "16.5", "category": "S", "valid_from": "2024-03-31"},
                {"rate": "0", "category": "Z"},
            ]
        made.append(tax)
    return made


@st.composite
def books(
    draw: st.DrawFn, charge: str | None = None, step: str | None = None
) -> tuple[PriceBook, dict[str, RatesTable]]:
    """A book of some charges and steps; with a given one, if that is asked for."""

    def rounded(made: dict[str, Any]) -> dict[str, Any]:
        rounding = draw(step_roundings)
        return made | ({"rounding": rounding} if rounding else {})

    kinds = [charge or draw(st.sampled_from(sorted(CHARGES)))]
    if draw(st.integers(0, 3)) == 0:
        kinds.append(draw(st.sampled_from(sorted(CHARGES))))
    steps = [rounded({"kind": kind, **draw(CHARGES[kind])}) for kind in kinds]
    if draw(st.integers(0, 3)) == 0:
        steps.insert(0, {"kind": "free_units", "quantity": draw(st.sampled_from(["0", "1", "2.5", "500"]))})
    names = [step] if step in STEPS else []
    names += draw(st.lists(st.sampled_from(sorted(STEPS)), max_size=2))
    steps += [rounded(draw(STEPS[name])) for name in names]
    currency = draw(st.sampled_from(CURRENCIES))
    rates: dict[str, RatesTable] = {}
    if step == "convert" or draw(st.integers(0, 3)) == 0:
        steps.append(rounded(draw(conversions(rates))))
    steps += [rounded(tax) for tax in draw(taxes())]
    rounding = draw(st.sampled_from([*ROUNDINGS, "none"]))
    if step == "credit" or draw(st.integers(0, 3)) == 0:
        steps.append({"kind": "credit", "balance": draw(prices)})
    mixed = not any(made["kind"] == "convert" for made in steps) and draw(st.integers(0, 5)) == 0
    if not mixed and rounding != "none" and (step == "round_total" or draw(st.integers(0, 3)) == 0):
        steps.append({"kind": "round_total", "increment": draw(st.sampled_from(["5", "1", "10"]))})
    content: dict[str, Any] = {"currency": currency, "rounding": rounding, "steps": steps, "zone": ZONE}
    if draw(st.integers(0, 5)) == 0:
        content["negative"] = "reject"
    if mixed:
        content["mixed"] = True
    return PriceBook.model_validate(content), rates


@st.composite
def conversions(draw: st.DrawFn, tables: dict[str, RatesTable]) -> dict[str, Any]:
    """A conversion by rates in the book, in a table, or in a dated table."""
    to = draw(st.sampled_from(CURRENCIES))
    others = draw(st.lists(st.sampled_from([c for c in CURRENCIES if c != to]), unique=True))
    rate = st.builds(lambda units, places: Decimal(units).scaleb(-places), st.integers(1, 10**9), st.integers(0, 8))
    made: dict[str, Any] = {"kind": "convert", "to": to, "direction": draw(st.sampled_from(["multiply", "divide"]))}
    how = draw(st.integers(0, 2))
    if how == 0:
        return made | {"rates": {other: str(draw(rate)) for other in others}}
    if how == 1:
        tables["ecb"] = RatesTable({other: draw(rate) for other in others})
        return made | {"rates": "ecb"}
    days = [dt.date(2024, 3, 27) + dt.timedelta(days=day) for day in (0, 1, 2, 6, 7)]
    rows = [
        (other, day, draw(rate))
        for other in others
        for day in draw(st.lists(st.sampled_from(days), unique=True, max_size=3))
    ]
    schema = pl.Schema({"currency": pl.String(), "valid_from": pl.Date(), "rate": pl.Decimal(38, 18)})
    tables["ecb"] = RatesTable(pl.DataFrame(rows, schema=schema, orient="row"))
    made |= {"rates": "ecb", "date": "date", "on_missing": draw(st.sampled_from(["previous", "next", "error"]))}
    return made | ({"max_age": draw(st.integers(0, 4))} if draw(st.booleans()) else {})


@st.composite
def number_columns(draw: st.DrawFn, rows: int, name: str) -> pl.Series:
    """Integers or decimals of any width: small, tie-making, zero, null, and as large as the type holds."""
    dtype: pl.DataType = draw(
        st.one_of(
            st.sampled_from([pl.Int64(), pl.Decimal(12, 3), pl.Decimal(12, 2), pl.Decimal(38, 0), pl.Decimal(38, 10)]),
            st.integers(1, 38).flatmap(lambda p: st.builds(pl.Decimal, st.just(p), st.integers(0, min(p, 20)))),
        )
    )
    wide = draw(st.integers(0, 3)) == 0
    if isinstance(dtype, pl.Decimal):
        low, high = 1 - 10**dtype.precision, 10**dtype.precision - 1
        one = 10**dtype.scale
    else:
        low, high, one = 1 - 2**63, 2**63 - 1, 1
    sign = st.sampled_from([1, 1, 1, -1])
    tame = st.builds(lambda a, b, s: s * (a * one // 2 + b), st.integers(0, 60), st.integers(-2, 2), sign)
    options = [tame, tame, tame.map(abs), st.sampled_from([0, one])]
    if wide:
        options += [st.integers(low, high), st.sampled_from([low, high])]
    if draw(st.integers(0, 3)) == 0:
        options.append(st.none())
    value = st.one_of(options).filter(lambda units: units is None or low <= units <= high)
    units = draw(st.lists(value, min_size=rows, max_size=rows))
    if name in ("quantity_before", "billed_before", "used", "events_before", "amount_before"):
        units = [None if unit is None else abs(unit) for unit in units]
    if not isinstance(dtype, pl.Decimal):
        return pl.Series(units, dtype=dtype)
    whole = pl.Series(units, dtype=pl.Int128).to_frame("v")
    return whole.select(pl.col("v").reinterpret(dtype=pl.Decimal(38, dtype.scale)).cast(dtype)).to_series()


_MOMENTS = st.datetimes(dt.datetime(2024, 3, 25), dt.datetime(2024, 4, 5)).map(lambda at: at.replace(microsecond=0))
_TEXTS: dict[str, list[str | None]] = {
    "document_id": ["a", "b", "c"],
    "tax_category": ["S", "Z", "S", "E"],
    "place": ["DE", "FR"],
    "line_kind": ["line", "line", "allowance", "charge", "credit", None],
}


@st.composite
def moments(draw: st.DrawFn, rows: int, wanted: list[str]) -> dict[str, pl.Series]:
    """Dates or datetimes, in the order that a period and its use have; spans of use short or long."""
    drawn = [sorted(draw(st.lists(_MOMENTS, min_size=4, max_size=4))) for _ in range(rows)]
    order = {"period_start": 0, "used_from": 1, "date": 1, "used_to": 2, "period_end": 3}
    dtype: pl.DataType = draw(
        st.sampled_from([pl.Date(), pl.Datetime("us"), pl.Datetime("ms", "UTC"), pl.Datetime("us", ZONE)])
    )
    shape = draw(st.sampled_from(["any", "whole period", "short"]))
    if shape == "whole period":
        drawn = [[row[0], row[0], row[3], row[3]] for row in drawn]
    elif shape == "short":
        short = [[*row[:2], row[1] + (row[2] - row[1]) / 40, row[3]] for row in drawn]
        drawn = [[*row[:2], row[2].replace(microsecond=0), row[3]] for row in short]
    made = {}
    for name in wanted:
        series = pl.Series([row[order[name]] for row in drawn], dtype=pl.Datetime("us"))
        zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
        if zone is not None:
            series = series.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        made[name] = series.cast(dtype)
    return made


@st.composite
def frames(draw: st.DrawFn, book: PriceBook, rows: int) -> pl.DataFrame:
    """Rows for a book, with the inputs that it needs and some that it may use."""
    needed = book.required_inputs()
    if not needed:
        needed = frozenset({"quantity"})
    if any(step.kind == "time_of_use" for step in book.steps):
        needed |= draw(st.sampled_from([{"date"}, {"used_from", "used_to"}, {"used_from", "used_to"}]))
    some = [name for name in sorted(book.optional_inputs()) if draw(st.integers(0, 2)) == 0]
    columns: dict[str, pl.Series] = {}
    dates = ("date", "period_start", "period_end", "used_from", "used_to")
    for name in sorted({*needed, *some} - set(dates)):
        if name == "currency":
            codes = st.sampled_from([*CURRENCIES, book.currency, book.currency, "CHF", "XAU", None])
            columns[name] = pl.Series(draw(st.lists(codes, min_size=rows, max_size=rows)), dtype=pl.String)
        elif name == "line_id":
            ids = draw(st.permutations([str(number) for number in range(5, 5 + rows)]))
            columns[name] = pl.Series(ids, dtype=pl.String)
        elif name == "event_count":
            counts = st.sampled_from([1, 1, 1, 0, 2, 5, None])
            columns[name] = pl.Series(draw(st.lists(counts, min_size=rows, max_size=rows)), dtype=pl.Int32)
        elif name in _TEXTS:
            texts = st.sampled_from(_TEXTS[name])
            columns[name] = pl.Series(draw(st.lists(texts, min_size=rows, max_size=rows)), dtype=pl.String)
        else:
            columns[name] = draw(number_columns(rows, name))
    wanted = [name for name in dates if name in needed or name in some]
    if wanted:
        columns |= draw(moments(rows, wanted))
    return pl.DataFrame(columns)


@st.composite
def cases(draw: st.DrawFn, charge: str | None = None, step: str | None = None, rows: int = 6) -> Case:
    """A book and rows for it."""
    book, rates = draw(books(charge, step))
    return Case(book, draw(frames(book, rows)), rates)
