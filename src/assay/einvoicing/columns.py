"""The sums of many documents, computed again in columns: the compiled twin of `reference`.

All comparisons become rows of one shape, whatever they compare; what holds by both verdicts is dropped, and the rest
goes back to its document as a list.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import polars as pl

from assay.einvoicing.reference import TOTALS
from assay.einvoicing.rules import (
    AMOUNT,
    CHECK,
    DIGITS,
    EXTENSION,
    FORGIVEN,
    LETTERS,
    OWN_DIGITS,
    OWN_LINE,
    OWN_TAXABLE,
    PER_RATE,
    ROUNDING,
    WITHOUT_CENTS,
)
from assay.money import Grid, Scaled, integer, product_expr, rounded, rounded_product, rounded_quotient

#: Number of a document among the rows at hand, and where a comparison stands in it.
DOC: Final = "_doc"
_STEP: Final = "_step"
_PLACE: Final = "_place"

#: Documents that are checked together.
_AT_ONCE: Final = 2_000

_ZERO: Final = pl.lit(Decimal(0), AMOUNT)
_NOTHING: Final = pl.lit(None, AMOUNT)
_TRUE: Final = pl.lit(value=True)
_UNJUDGED: Final = pl.lit(None, pl.Boolean)
_QUANTITY: Final = pl.Decimal(16, 6)
_PRICE: Final = pl.Decimal(20, 10)
_PERCENT: Final = pl.Decimal(8, 4)
_CENT: Final = Grid(DIGITS)
_HALF: Final = Decimal("0.5")


def check_documents(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Add to documents what their sums come to.

    Columns added: `syntax` ("UBL invoice", "UBL credit note", "CII"), `type_code`, `tax_total` and `tax_accounting`
    (BT-110, BT-111; null where they are not stated once), `third_party` (payments to third parties, which count in the
    XRechnung extension alone), `adds_up` and `adds_up_officially` (by the exact and by the official verdict), and
    `findings`: a list of `CHECK`, of all that fails by either. `issued` becomes `2026-01-31` in both syntaxes.
    """
    schema = _checked(rows).collect_schema()
    # What documents are taken apart into is many times as large as they are: some of them at a time.
    return rows.map_batches(
        _in_parts, schema=schema, predicate_pushdown=False, projection_pushdown=False, slice_pushdown=False
    )


def _in_parts(rows: pl.DataFrame) -> pl.DataFrame:
    parts = [rows.slice(begin, _AT_ONCE) for begin in range(0, max(rows.height, 1), _AT_ONCE)]
    return pl.concat([_checked(part.lazy()).collect() for part in parts])


def _checked(rows: pl.LazyFrame) -> pl.LazyFrame:
    docs = _documents(rows)
    failed = (
        _checks(docs)
        .filter(~pl.col("exact") | ~pl.col("official").fill_null(value=True))
        .sort(DOC, _STEP, _PLACE, "where", maintain_order=True)
    )
    found = (
        failed.with_columns(difference=pl.col("stated") - pl.col("computed"))
        .with_columns(_verdict("exact"), _verdict("official"))
        .group_by(DOC, maintain_order=True)
        .agg(findings=pl.struct(field.name for field in CHECK.fields).cast(CHECK))
    )
    holds = {
        name: ~pl.col("findings").list.eval(pl.element().struct.field(verdict) == "error").list.any()
        for name, verdict in (("adds_up", "exact"), ("adds_up_officially", "official"))
    }
    none = pl.lit([], pl.List(CHECK))
    return (
        docs.join(found, on=DOC, how="left", maintain_order="left")
        .with_columns(pl.col("findings").fill_null(none))
        .with_columns(**holds)
        .drop(DOC, "_own_taxes", "_booked", "_is_cii", "_factor", "_is_extension")
    )


def every_check(rows: pl.LazyFrame) -> pl.LazyFrame:
    """All comparisons, one a row, also those that hold; `_doc` is the document's number among the rows."""
    return _checks(_documents(rows))


def _verdict(name: str) -> pl.Expr:
    words = pl.when(pl.col(name)).then(pl.lit("success")).otherwise(pl.lit("error"))
    return pl.when(pl.col(name).is_not_null()).then(words).alias(name)


def _documents(rows: pl.LazyFrame) -> pl.LazyFrame:
    docs = rows.with_row_index(DOC).with_columns(
        _is_cii=pl.col("cii_type").is_not_null(),
        _factor=pl.when(pl.col("currency").is_in(WITHOUT_CENTS)).then(integer(10**DIGITS)).otherwise(integer(1)),
        _is_extension=pl.col("specification").str.contains(EXTENSION, literal=True).fill_null(value=False),
        type_code=pl.coalesce("invoice_type", "credit_note_type", "cii_type"),
        syntax=pl.when(pl.col("cii_type").is_not_null())
        .then(pl.lit("CII"))
        .when(pl.col("credit_note_type").is_not_null())
        .then(pl.lit("UBL credit note"))
        .otherwise(pl.lit("UBL invoice")),
        issued=pl.col("issued").str.replace(r"^(\d{4})(\d\d)(\d\d)$", "$1-$2-$3"),
        third_party=pl.col("third_party_payments").list.eval(pl.element().cast(AMOUNT)).list.sum(),
    )
    taxes = _exploded(docs, "tax_amounts", "currency", "accounting_currency")
    is_own = pl.col("tax_currency").is_null() | (pl.col("tax_currency") == pl.col("currency"))
    totals = (
        taxes.with_columns(pl.col("tax").cast(AMOUNT), _is_own=is_own)
        .group_by(DOC, maintain_order=True)
        .agg(
            _own_taxes=pl.col("tax").filter(pl.col("_is_own")),
            _booked=pl.col("tax").filter(pl.col("tax_currency") == pl.col("accounting_currency")).first(),
        )
    )
    own = pl.col("_own_taxes")
    joined = docs.join(totals, on=DOC, how="left", maintain_order="left").with_columns(
        own.fill_null(pl.lit([], pl.List(AMOUNT)))
    )
    return joined.with_columns(
        tax_total=pl.when(own.list.len() == 1).then(own.list.first()), tax_accounting=pl.col("_booked")
    )


def _exploded(docs: pl.LazyFrame, column: str, *kept: str) -> pl.LazyFrame:
    """A row for each element of a list of structs, with its number in the document."""
    return (
        docs.filter(pl.col(column).list.len() > 0)
        .select(DOC, *kept, column, pl.int_ranges(pl.col(column).list.len()).alias(_PLACE))
        .explode(column, _PLACE)
        .unnest(column)
    )


def _checks(docs: pl.LazyFrame) -> pl.LazyFrame:
    lines = _exploded(docs, "lines", "_factor", "_is_cii")
    others = _exploded(docs, "allowances_charges")
    own = _exploded(docs, "breakdown", "currency", "_factor", "_is_cii").filter(
        pl.col("tax_currency").is_null() | (pl.col("tax_currency") == pl.col("currency"))
    )
    parts = _parts(lines, others)
    return pl.concat(
        [
            *_of_lines(lines),
            *_of_others(others),
            *_of_totals(docs),
            *_of_breakdown(docs, own, parts),
            *_of_categories(docs, own, parts),
            *_of_payable(docs, own),
            *_of_digits(docs, lines),
        ]
    )


def _check(
    rows: pl.LazyFrame,
    step: int,
    rule: str | pl.Expr,
    where: pl.Expr,
    stated: pl.Expr,
    computed: pl.Expr,
    *,
    exact: pl.Expr | None = None,
    official: pl.Expr | None = None,
) -> pl.LazyFrame:
    """Comparisons of one rule; without more, both verdicts are that the two are there and equal."""
    equal = (stated == computed).fill_null(value=False)
    return rows.select(
        pl.col(DOC),
        pl.lit(step).alias(_STEP),
        pl.col(_PLACE).cast(pl.Int64) if _PLACE in rows.collect_schema() else pl.lit(0, pl.Int64).alias(_PLACE),
        (pl.lit(rule) if isinstance(rule, str) else rule).alias("rule"),
        where.alias("where"),
        stated.cast(AMOUNT).alias("stated"),
        computed.cast(AMOUNT).alias("computed"),
        (equal if exact is None else exact).alias("exact"),
        (equal if official is None else official).alias("official"),
    )


def _of_lines(lines: pl.LazyFrame) -> list[pl.LazyFrame]:
    where = pl.format("line {}", "id")
    there = pl.col("category").is_not_null()
    base = pl.when(pl.col("base_quantity") == 0).then(pl.lit(Decimal(1), _QUANTITY)).otherwise(pl.col("base_quantity"))
    product = product_expr(pl.col("quantity"), _QUANTITY, pl.col("price"), _PRICE)
    # Multiply first, divide, and round once: a price for so many need not be a decimal for one.
    amount = rounded_quotient(
        Scaled.column(product, pl.Decimal(38, 16)), Scaled.column(base, _QUANTITY), _grid(), ROUNDING
    ).amount.decimal()
    priced = lines.filter(pl.col("quantity").is_not_null() & pl.col("price").is_not_null())
    extra = pl.col("allowances_charges").list.eval(_signed(pl.element().struct.field)).list.sum().fill_null(_ZERO)
    computed = amount + extra
    return [
        _check(lines, 0, "BR-CO-04", where, _NOTHING, _NOTHING, exact=there, official=there),
        _check(priced, 0, OWN_LINE, where, pl.col("net"), computed, official=_UNJUDGED),
    ]


def _of_others(others: pl.LazyFrame) -> list[pl.LazyFrame]:
    there = pl.col("category").is_not_null()
    number = pl.col(_PLACE).rank("ordinal").over(DOC)
    made = []
    for step, (rule, kind, chosen) in enumerate(
        (("BR-32", "allowance", ~pl.col("is_charge")), ("BR-37", "charge", pl.col("is_charge"))), 1
    ):
        items = others.filter(chosen)
        where = pl.format(f"{kind} {{}}", number)
        made.append(_check(items, step, rule, where, _NOTHING, _NOTHING, exact=there, official=there))
    return made


def _of_totals(docs: pl.LazyFrame) -> list[pl.LazyFrame]:
    nets = pl.col("lines").list.eval(pl.element().struct.field("net").cast(AMOUNT)).list.sum().fill_null(_ZERO)
    made = [_check(docs, 3, "BR-CO-10", pl.lit(""), pl.col("lines_total"), nets)]
    is_charge = pl.element().struct.field("is_charge")
    for step, rule, total, chosen in (
        (4, "BR-CO-11", "allowances_total", ~is_charge),
        (5, "BR-CO-12", "charges_total", is_charge),
    ):
        items = pl.col("allowances_charges").list.eval(pl.element().struct.field("amount").filter(chosen).cast(AMOUNT))
        computed, stated = items.list.sum().fill_null(_ZERO), pl.col(total)
        # What is left out is nothing; officially only where there is nothing to leave out.
        exact = stated.cast(AMOUNT).fill_null(_ZERO) == computed
        official = (stated == computed).fill_null(items.list.len() == 0)
        made.append(_check(docs, step, rule, pl.lit(""), stated, computed, exact=exact, official=official))
    exclusive = _amount("lines_total") - _or_nothing("allowances_total") + _or_nothing("charges_total")
    made.append(_check(docs, 6, "BR-CO-13", pl.lit(""), pl.col("tax_exclusive"), exclusive))
    return made


def _parts(lines: pl.LazyFrame, others: pl.LazyFrame) -> pl.LazyFrame:
    """What the taxable amounts are made of, by document, category and rate."""
    several = pl.concat(
        [
            lines.select(DOC, "category", "percent", pl.col("net").cast(AMOUNT).alias("amount"), is_line=_TRUE),
            others.select(DOC, "category", "percent", _signed(pl.col).alias("amount"), is_line=~_TRUE),
        ]
    )
    return (
        several.filter(pl.col("category").is_not_null())
        .group_by(DOC, "category", pl.col("percent").fill_null(Decimal(0)), maintain_order=True)
        .agg(
            computed=pl.col("amount").sum(),
            of_lines=pl.col("is_line").sum().cast(pl.Int64),
            of_others=(~pl.col("is_line")).sum().cast(pl.Int64),
        )
    )


def _of_breakdown(docs: pl.LazyFrame, own: pl.LazyFrame, parts: pl.LazyFrame) -> list[pl.LazyFrame]:
    percent = pl.col("percent")
    is_known, per_rate = pl.col("category").is_in(list(LETTERS)), pl.col("category").is_in(PER_RATE)
    number = pl.col(_PLACE).rank("ordinal").over(DOC)
    by_rate = per_rate | ~is_known
    of_rate = parts.rename({"computed": "_by_rate", "of_lines": "_lines", "of_others": "_others"})
    of_category = parts.group_by(DOC, "category").agg(_by_category=pl.col("computed").sum())
    has_lines = docs.select(DOC, _has_lines=pl.col("lines").list.len() > 0)
    rows = (
        own.with_columns(
            pl.col("taxable").cast(AMOUNT),
            tax=pl.col("tax_amount").cast(AMOUNT),
            where=pl.when(pl.col("category").is_null())
            .then(pl.format("breakdown {}", number))
            .otherwise(_place(percent)),
            _rate=percent.fill_null(Decimal(0)),
        )
        .join(of_rate, left_on=[DOC, "category", "_rate"], right_on=[DOC, "category", "percent"], how="left")
        .join(of_category, on=[DOC, "category"], how="left")
        .join(has_lines, on=DOC, how="left")
        .with_columns(
            computed=pl.when(by_rate).then(pl.col("_by_rate")).otherwise(pl.col("_by_category")).fill_null(_ZERO),
            _parts=pl.col("_by_rate").is_not_null(),
            letters=pl.col("category").replace_strict(LETTERS, default=None, return_dtype=pl.String),
        )
        .with_columns(
            expected=_rounded_tax(pl.col("taxable"), pl.col("_rate"), _grid()),
            _official_tax=_rounded_tax(_absolute("taxable"), pl.col("_rate"), _CENT),
        )
    )
    where, taxable, tax, computed = pl.col("where"), pl.col("taxable"), pl.col("tax"), pl.col("computed")
    off = pl.when(tax < 0).then(_ZERO - tax).otherwise(tax) - pl.col("_official_tax")
    off = pl.when(off < 0).then(_ZERO - off).otherwise(off)
    near_tax = (off < FORGIVEN).fill_null(value=False)
    within_tax = (off <= FORGIVEN).fill_null(value=False)
    no_tax = tax.is_between(-_HALF, _HALF, closed="left").fill_null(value=False)
    no_rate = percent.is_null() | percent.is_between(-_HALF, _HALF, closed="left")
    is_cii = pl.col("_is_cii")
    equal = (taxable == computed).fill_null(value=False)
    near = ((taxable - computed) < FORGIVEN) & ((computed - taxable) < FORGIVEN)
    near = near.fill_null(value=False)
    official = (
        pl.when(~is_known)
        .then(_UNJUDGED)
        .when(per_rate & percent.is_null())
        .then(_TRUE)
        .when(is_cii)
        .then(pl.when(per_rate | (pl.col("category") == "O")).then(equal).otherwise(near))
        .when(pl.col("category") == "S")
        .then(near & pl.col("_parts"))
        .otherwise(pl.when(per_rate).then(near).otherwise(equal) & pl.col("_has_lines"))
    )
    named = rows.filter(pl.col("category").is_not_null())
    known = rows.filter(is_known)
    has_category = pl.col("category").is_not_null()
    has_rate = percent.is_not_null() | (pl.col("category") == "O").fill_null(value=False)
    rule = pl.when(is_known).then(pl.format("BR-{}-08", pl.col("letters").fill_null(""))).otherwise(pl.lit(OWN_TAXABLE))
    of_category_tax = pl.when(per_rate).then(pl.col("expected")).otherwise(_ZERO)
    official_category = (
        pl.when(~per_rate)
        .then((tax == _ZERO).fill_null(value=False))
        .when(is_cii & (pl.col("category") != "S"))
        .then(_TRUE)
        .otherwise(near_tax & percent.is_not_null())
    )
    return [
        _check(rows, 7, "BR-47", where, _NOTHING, _NOTHING, exact=has_category, official=has_category),
        _check(rows, 8, "BR-48", where, _NOTHING, _NOTHING, exact=has_rate, official=has_rate),
        _check(named, 9, rule, where, taxable, computed, official=official),
        _check(
            rows,
            10,
            "BR-CO-17",
            where,
            tax,
            pl.col("expected"),
            official=pl.when(no_rate).then(no_tax).when(is_cii).then(within_tax).otherwise(near_tax),
        ),
        _check(known, 11, pl.format("BR-{}-09", "letters"), where, tax, of_category_tax, official=official_category),
    ]


def _of_categories(docs: pl.LazyFrame, own: pl.LazyFrame, parts: pl.LazyFrame) -> list[pl.LazyFrame]:
    """That each category, and each rate of those that have several, has its breakdown."""
    keys = [DOC, "category"]
    stated = own.filter(pl.col("category").is_not_null()).with_columns(
        pl.col("taxable").cast(AMOUNT), pl.col("percent").fill_null(Decimal(0))
    )
    theirs = stated.group_by(keys).agg(stated=pl.col("taxable").sum(), subtotals=pl.len().cast(pl.Int64))
    sums = parts.group_by(keys).agg(pl.col("computed", "of_lines", "of_others").sum())
    both = (
        sums.join(theirs, on=keys, how="full", coalesce=True)
        .join(docs.select(DOC, "_is_cii"), on=DOC, how="left")
        .with_columns(pl.col("of_lines", "of_others", "subtotals").fill_null(0))
    )
    is_known, per_rate = pl.col("category").is_in(list(LETTERS)), pl.col("category").is_in(PER_RATE)
    letters = pl.col("category").replace_strict(LETTERS, default=None, return_dtype=pl.String)
    of_lines, of_others, subtotals = pl.col("of_lines"), pl.col("of_others"), pl.col("subtotals")
    count = of_lines + of_others
    exact = (
        pl.when(per_rate)
        .then((count > 0) == (subtotals > 0))
        .otherwise((subtotals == 1) | ((count == 0) & (subtotals == 0)))
    )
    # As it is written there: two lines of a category do without any breakdown.
    several = ((of_lines == 0) | (of_lines + subtotals >= 2)) & ((of_others == 0) | (of_others + subtotals >= 2))
    single = ((subtotals == 1) & (count > 0)) | ((subtotals == 0) & (count == 0))
    in_cii = (
        pl.when(per_rate)
        .then(several)
        .when((pl.col("category") == "O") & (subtotals == 0))
        .then(_TRUE)
        .otherwise(single)
    )
    official = pl.when(pl.col("_is_cii")).then(in_cii).otherwise(exact)
    missing = (
        parts.filter(per_rate | ~is_known)
        .join(stated, on=[DOC, "category", "percent"], how="anti")
        .join(theirs.select(*keys, "subtotals"), on=keys, how="left")
        .filter(pl.col("subtotals").is_not_null() | ~is_known)
    )
    rule = pl.when(is_known).then(pl.format("BR-{}-08", letters.fill_null(""))).otherwise(pl.lit(OWN_TAXABLE))
    return [
        _check(
            both.filter(is_known),
            12,
            pl.format("BR-{}-01", letters),
            pl.col("category"),
            pl.col("stated"),
            pl.col("computed"),
            exact=exact,
            official=official,
        ),
        _check(
            missing,
            13,
            rule,
            _place(pl.col("percent")),
            _NOTHING,
            pl.col("computed"),
            exact=~_TRUE,
            official=pl.when(is_known).then(_TRUE),
        ),
    ]


def _of_payable(docs: pl.LazyFrame, own: pl.LazyFrame) -> list[pl.LazyFrame]:
    where = pl.lit("")
    is_cii = pl.col("_is_cii")
    sums = own.group_by(DOC).agg(computed=pl.col("tax_amount").cast(AMOUNT).sum())
    stated = (
        docs.filter(pl.col("_own_taxes").list.len() > 0)
        .select(DOC, "_is_cii", stated=pl.col("_own_taxes"))
        .explode("stated")
        .join(sums, on=DOC, how="left", maintain_order="left")
        .filter(pl.col("computed").is_not_null() | is_cii)
        .with_columns(pl.col("computed").fill_null(_ZERO))
    )
    booked = docs.filter(pl.col("accounting_currency").is_not_null())
    is_there = pl.col("_booked").is_not_null()
    is_another = ~(is_cii & (pl.col("accounting_currency") == pl.col("currency")))
    own_taxes = pl.col("_own_taxes")
    exclusive, inclusive = _amount("tax_exclusive"), _amount("tax_inclusive")
    # Two totals in the document's currency would leave open which one counts.
    computed = (
        pl.when(own_taxes.list.len() == 1)
        .then(exclusive + pl.col("tax_total"))
        .when(is_cii & (own_taxes.list.len() == 0))
        .then(exclusive)
    )
    equal = (inclusive == computed).fill_null(value=False)
    # The official test of CII takes any document that has no tax at all in its total.
    lenient = is_cii & (inclusive == exclusive).fill_null(value=False)
    due = inclusive - _or_nothing("prepaid") + _or_nothing("rounding")
    third = pl.when(pl.col("_is_extension")).then(pl.col("third_party")).otherwise(_ZERO)
    rule = pl.when(pl.col("_is_extension")).then(pl.lit("BR-DEX-09")).otherwise(pl.lit("BR-CO-16"))
    return [
        _check(stated, 14, "BR-CO-14", where, pl.col("stated"), pl.col("computed")),
        _check(booked, 15, "BR-53", where, pl.col("_booked"), _NOTHING, exact=is_there, official=is_there & is_another),
        _check(docs, 16, "BR-CO-15", where, inclusive, computed, official=equal | lenient),
        _check(docs, 17, rule, where, pl.col("payable"), due + third),
    ]


def _of_digits(docs: pl.LazyFrame, lines: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Amounts with cents in a currency that has none."""
    is_whole = pl.col("_factor") != 1
    totals = [docs.select(DOC, "_factor", where=pl.lit(name), stated=_amount(name)) for name in TOTALS]
    taxes = docs.filter(pl.col("_own_taxes").list.len() > 0).select(
        DOC, "_factor", where=pl.lit("tax"), stated=pl.col("_own_taxes")
    )
    several = [
        lines.select(DOC, "_factor", where=pl.format("line {}", "id"), stated=pl.col("net").cast(AMOUNT)),
        *totals,
        taxes.explode("stated"),
    ]
    made = []
    for step, rows in enumerate(several, 18):
        amount = rounded(Scaled.column(pl.col("stated"), AMOUNT), _grid(), ROUNDING).amount.decimal()
        odd = rows.filter(is_whole & pl.col("stated").is_not_null()).with_columns(computed=amount)
        odd = odd.filter(pl.col("stated") != pl.col("computed"))
        made.append(
            _check(odd, step, OWN_DIGITS, pl.col("where"), pl.col("stated"), pl.col("computed"), official=_UNJUDGED)
        )
    return made


def _grid() -> Grid:
    """Whole cents, or whole units where the document's currency has no cents."""
    return Grid(DIGITS, pl.col("_factor"))


def _rounded_tax(taxable: pl.Expr, percent: pl.Expr, grid: Grid) -> pl.Expr:
    base = Scaled.column(taxable, AMOUNT)
    # What was read has 16 digits at most.
    narrow = Scaled(base.units, DIGITS, 10**16)
    return rounded_product(narrow, Scaled.column(percent, _PERCENT).behind(2), grid, ROUNDING).amount.decimal()


def _place(percent: pl.Expr) -> pl.Expr:
    """A category and its rate, such as `S 19`."""
    digits = percent.cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    return pl.when(percent.is_null()).then(pl.col("category")).otherwise(pl.format("{} {}", "category", digits))


def _signed(field: object) -> pl.Expr:
    """The amount of a charge, or an allowance's with the other sign."""
    amount = field("amount").cast(AMOUNT)  # type: ignore[operator]
    return pl.when(field("is_charge")).then(amount).otherwise(_ZERO - amount)  # type: ignore[operator]


def _absolute(column: str) -> pl.Expr:
    return pl.when(pl.col(column) < 0).then(_ZERO - pl.col(column)).otherwise(pl.col(column))


def _amount(column: str) -> pl.Expr:
    return pl.col(column).cast(AMOUNT)


def _or_nothing(column: str) -> pl.Expr:
    return _amount(column).fill_null(_ZERO)
