"""Two books on the same rows, in one pass: each batch is priced by all books that count, and only sums are kept.

The effect of a change is the mean of what it does where the changes are made from the first on, and where they are
made from the last on (`changes`): of c(j) that is (P(j) - P(j-1) + Q(j-1) - Q(j)) / 2. The effects add up to the whole
change, turn their sign with it, and share what two changes do only together half and half.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from assay.errors import ConfigurationError, PricingError, unknown_name
from assay.money import EXACT, integer
from assay.pricing.binding import Inputs, bound, unknown_input
from assay.pricing.changes import Path as BookPath
from assay.pricing.changes import path_between, same_currency
from assay.pricing.difference import (
    MEASURES,
    Band,
    Difference,
    Effect,
    Measure,
    Moves,
    Party,
    Shift,
    Unpriced,
)
from assay.pricing.documents import by_document
from assay.pricing.rates import Rates
from assay.pricing.twin import ERROR, SIBLING, Twin, side_by_side
from assay.pricing.verification import Verifier

if TYPE_CHECKING:
    from assay.pricing.book import PriceBook

BATCH_ROWS = 100_000

_OWN = "__assay_diff_"
_ROW, _CLASS, _CURRENCY, _CHANGE = "row", f"{_OWN}class", f"{_OWN}currency", f"{_OWN}change"
# What a row is: priced by all books; by both, not by all between; by the first only; by the second only; by neither.
_ALL, _BOTH, _FIRST, _SECOND, _NEITHER = range(5)
# Sums of integers are estimated beforehand: an Int128 holds 1.7e38.
_SURELY = 16 * 10**37
_TOO_LARGE = "the amounts have too many digits to be compared and added up"
_REASONS = 1_000
_SIBLING = f"{SIBLING}another line of its document cannot be priced"
# Groups are merged when there are twice as many as after the last time, and so many at least.
_GROUPS = 200_000


@dataclass(frozen=True)
class Question:
    """What is to be compared, and how.

    Attributes:
        inputs, rates: As `price` takes them.
        by: Columns whose values make a party; none: each row is one.
        key: Columns that name a row, where rows are the parties.
        measure: By which amount rows are dearer or cheaper.
        top: How many parties are named on either side.
        together: The column of documents of which no row is priced if one cannot be, beyond what the books say.
        verify: So many rows of either book are priced once more by the reference.
        spool: The folder for rows that must be put on disk meanwhile.
    """

    inputs: Inputs
    rates: Mapping[str, Rates] | None
    by: Sequence[str]
    key: Sequence[str]
    measure: Measure
    top: int
    together: str | None
    verify: int
    spool: Path | None


def difference(before: PriceBook, after: PriceBook, frame: pl.LazyFrame, asked: Question) -> Difference:
    """Compare two books; see `PriceBook.diff`."""
    if asked.measure not in MEASURES:
        raise ConfigurationError(unknown_name("measure", str(asked.measure), MEASURES))
    same_currency(before, after)
    schema = frame.collect_schema()
    needless = [name for name in asked.inputs if not any(name in _known(book) for book in (before, after))]
    if needless:
        raise ConfigurationError(
            "\n".join(unknown_input(name, before.required_inputs(), _known(before)) for name in needless)
        )
    for name in (*asked.by, *asked.key, *([asked.together] if asked.together else [])):
        if name not in schema:
            raise ConfigurationError(unknown_name("column", name, schema.names()))
    for book in (before, after):
        _twin(book, schema, asked).check(schema)

    def usable(book: PriceBook) -> bool:
        try:
            _twin(book, schema, asked).check(schema)
        except ConfigurationError:
            return False
        return book.result_currency() == before.result_currency()

    path = path_between(before, after, usable)
    return _Comparison(before, after, path, schema, asked).run(frame)


def _known(book: PriceBook) -> frozenset[str]:
    return book.required_inputs() | book.optional_inputs()


def _inputs(book: PriceBook, asked: Question) -> dict[str, str | None]:
    """A book between need not know what the two know."""
    known = _known(book)
    return {name: column for name, column in asked.inputs.items() if name in known}


def _twin(book: PriceBook, schema: pl.Schema, asked: Question) -> Twin:
    return book.compiled(schema, inputs=_inputs(book, asked), rates=asked.rates, wanted=(*MEASURES, "currency", ERROR))


class _Comparison:
    """One pass over the rows."""

    def __init__(self, before: PriceBook, after: PriceBook, path: BookPath, schema: pl.Schema, asked: Question) -> None:
        self._asked = asked
        self._changes = path.changes
        between = [*path.first[1:-1], *path.last[1:-1]]
        books = [before, after, *between] if path.changes else [before]
        self._twins = [_twin(book, schema, asked) for book in books]
        for number, book in enumerate(books[:2] if asked.verify else ()):
            verifier = Verifier(book, asked.verify, inputs=_inputs(book, asked), rates=asked.rates)
            self._twins[number] = replace(self._twins[number], verify=verifier.check)
        count = len(self._changes)
        after_at = 1 if count else 0
        # Places of P(0) ... P(k) and Q(0) ... Q(k) among the books.
        self._first = [0, *range(2, count + 1), after_at] if count else [0]
        self._last = [after_at, *range(count + 1, 2 * count), 0] if count else [0]
        self._after = after_at
        scales = [_scale(twin) for twin in self._twins]
        self._scale = max(scales)
        self._factors = [10 ** (self._scale - scale) for scale in scales]
        self._mixed = before.mixed or after.mixed
        self._home = before.result_currency()
        self._document = self._document_of(books, schema)
        self._measured = f"{_OWN}0_{asked.measure}", f"{_OWN}{after_at}_{asked.measure}"
        shown = asked.by or asked.key
        self._shown = list(shown) or [_ROW]
        if not shown and _ROW in schema:
            raise ConfigurationError(f'the frame has a column "{_ROW}", which rows would be named by: give key or by')
        self._edges = [Decimal(1).scaleb(power) for power in range(-min(self._scale, 2), 5)]
        self._rows = 0
        self._counts: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        self._bands: dict[tuple[str, int, int], list[int]] = defaultdict(lambda: [0, 0])
        self._reasons: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._parties = _Groups(self._shown) if asked.by else _Rows(self._shown, asked.top)

    def run(self, frame: pl.LazyFrame) -> Difference:
        """Price all rows, and say what there is to say."""
        asked = self._asked
        schema = frame.collect_schema()
        used = {column for twin in self._twins for column in self._columns_of(twin, schema)}
        used |= {*asked.by, *asked.key, *([self._document] if self._document else [])}
        rows = frame.select([name for name in schema if name in used] or schema.names()[:1])
        if self._shown == [_ROW]:
            rows = rows.with_row_index(_ROW)
        if self._document is None:
            for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
                self._add(batch)
        else:
            parts = by_document(rows, self._document, self._added, one_row_each=False, spool=asked.spool)
            for _ in parts:
                continue
        return self._result()

    def _document_of(self, books: Sequence[PriceBook], schema: pl.Schema) -> str | None:
        """The column by which rows must stand together, if they must."""
        asked = self._asked
        document = bound(asked.inputs).get("document_id", "document_id")
        if any(book.concerns_documents() for book in books) and document in schema:
            if asked.together not in (None, document):
                raise ConfigurationError(
                    f'the books price the documents of "{document}", and those of "{asked.together}" are to be kept '
                    "together: give one of them"
                )
            return document
        return asked.together

    @staticmethod
    def _columns_of(twin: Twin, schema: pl.Schema) -> Iterator[str]:
        yield from (column for name in twin.runner.inputs if (column := twin.inputs.get(name, name)) in schema)
        yield from twin.unasked

    def _added(self, part: pl.DataFrame, _before: int) -> pl.DataFrame:
        self._add(part)
        return part.clear()

    # A batch

    def _add(self, batch: pl.DataFrame) -> None:
        if not batch.height:
            return
        self._rows += batch.height
        priced = side_by_side(self._twins, batch)
        wide = batch.select(self._shown)
        oks = [frame[ERROR].is_null() for frame in priced]
        if self._asked.together is not None and not all(ok.all() for ok in oks):
            oks = [_whole(ok, batch[self._asked.together]) for ok in oks]
        self._note_reasons(priced, oks)
        columns = []
        for number, (frame, ok) in enumerate(zip(priced, oks, strict=True)):
            columns += self._units(number, frame, ok)
        fine = all(ok.all() for ok in oks)
        wide = wide.hstack(columns).with_columns(
            pl.lit(_ALL, pl.UInt8).alias(_CLASS) if fine else _classes(oks, self._after).alias(_CLASS),
            _currency(priced, oks, self._after) if self._mixed else pl.lit(self._home).alias(_CURRENCY),
        )
        wide = wide.with_columns(self._change().alias(_CHANGE))
        self._count(wide, plain=fine and not self._mixed)
        moved = wide.lazy().filter(pl.col(_CHANGE) != 0).collect()
        self._note_bands(moved)
        before, after = (pl.col(name) for name in self._measured)
        told = moved if isinstance(self._parties, _Rows) else wide.filter(pl.col(_CLASS) <= _BOTH)
        self._parties.add(told.select(*self._shown, _CURRENCY, before.alias(_BEFORE), after.alias(_AFTER)), self._mixed)

    def _units(self, number: int, frame: pl.DataFrame, ok: pl.Series) -> list[pl.Series]:
        """The amounts of a book as whole numbers of one scale; null where the row is not priced."""
        factor = self._factors[number]
        units = frame.select(pl.col(name).reinterpret(dtype=pl.Int128) for name in MEASURES)
        ends = (*units.min().row(0), *units.max().row(0))
        largest = max((abs(value) for value in ends if value is not None), default=0)
        if largest * factor * frame.height >= _SURELY:
            raise PricingError(_TOO_LARGE)
        if factor != 1:
            units = units.select(pl.all() * integer(factor))
        if not ok.all():
            units = units.select(pl.when(ok).then(pl.all()))
        return [column.alias(f"{_OWN}{number}_{column.name}") for column in units]

    def _note_reasons(self, priced: Sequence[pl.DataFrame], oks: Sequence[pl.Series]) -> None:
        for number, counter in ((0, self._reasons[0]), (self._after, self._reasons[1])):
            ok = oks[number]
            if ok.all():
                continue
            told = priced[number].filter(~ok)[ERROR].fill_null(_SIBLING)
            told = (
                told.to_frame()
                .select(pl.when(pl.col(ERROR).str.starts_with(SIBLING)).then(pl.lit(_SIBLING)).otherwise(pl.col(ERROR)))
                .to_series()
            )
            for reason, rows in told.value_counts().sort(ERROR).iter_rows():
                known = reason in counter or len(counter) < _REASONS
                counter[reason if known else "other reasons"] += rows

    def _change(self) -> pl.Expr:
        before, after = (pl.col(name) for name in self._measured)
        return after - before

    def _count(self, wide: pl.DataFrame, *, plain: bool) -> None:
        change = pl.col(_CHANGE)
        rising, falling = change.filter(change > 0), change.filter(change < 0)
        made = [
            pl.len().alias("rows"),
            rising.len().alias("dearer"),
            falling.len().alias("cheaper"),
            rising.sum().alias("dearer_by"),
            falling.sum().alias("cheaper_by"),
            self._differ([(0, self._after)]).sum().alias("changed"),
            *(pl.col(f"{_OWN}{n}_{name}").sum() for n in range(len(self._twins)) for name in MEASURES),
        ]
        if len(self._changes) > 1:
            made += [
                self._differ([(self._first[j], self._first[j + 1]), (self._last[j], self._last[j + 1])])
                .sum()
                .alias(f"effect_{j}")
                for j in range(len(self._changes))
            ]
        if plain:
            groups = wide.select(pl.lit(self._home).alias(_CURRENCY), pl.lit(_ALL).alias(_CLASS), *made)
        else:
            groups = wide.group_by(_CURRENCY, _CLASS).agg(made)
        for row in groups.iter_rows(named=True):
            self._counts[row.pop(_CURRENCY), row.pop(_CLASS)].update(row)

    @staticmethod
    def _differ(pairs: Sequence[tuple[int, int]]) -> pl.Expr:
        """Whether any amount differs between any of the pairs of books."""
        return pl.any_horizontal(
            pl.col(f"{_OWN}{one}_{name}") != pl.col(f"{_OWN}{other}_{name}")
            for one, other in pairs
            for name in MEASURES
        )

    def _note_bands(self, moved: pl.DataFrame) -> None:
        size = pl.col(_CHANGE).abs()
        edges = [int(edge.scaleb(self._scale)) for edge in self._edges]
        band = pl.sum_horizontal([(size > integer(edge)).cast(pl.Int8) for edge in edges])
        groups = moved.group_by(_CURRENCY, (pl.col(_CHANGE) > 0).alias("up"), band.alias("band")).agg(
            pl.len().alias("rows"), pl.col(_CHANGE).sum()
        )
        for currency, up, number, rows, change in groups.iter_rows():
            found = self._bands[currency, 1 if up else -1, number]
            found[0] += rows
            found[1] += change

    # What there is to say

    def _result(self) -> Difference:
        found = {code for (code, which), counts in self._counts.items() if which != _NEITHER and counts["rows"]}
        shown = sorted(found) or ([] if self._mixed else [self._home])
        dearer, cheaper, parties = self._sides()
        return Difference(
            measure=self._asked.measure,
            rows=self._rows,
            totals={code: self._totals(code) for code in shown},
            moves={code: self._moves(code) for code in shown},
            effects=self._effects(shown),
            bands=[band for code in shown for band in self._banded(code)],
            dearer=dearer,
            cheaper=cheaper,
            parties=parties,
            unpriced=self._unpriced(shown),
        )

    def _sum(self, currency: str, classes: Sequence[int], book: int, name: str) -> Decimal:
        units = sum(self._counts[currency, one][f"{_OWN}{book}_{name}"] for one in classes)
        return self._amount(units)

    def _amount(self, units: int) -> Decimal:
        return EXACT.scaleb(Decimal(units), -self._scale)

    def _totals(self, currency: str) -> dict[str, Shift]:
        return {
            name: Shift(
                self._sum(currency, (_ALL, _BOTH, _FIRST), 0, name),
                self._sum(currency, (_ALL, _BOTH, _SECOND), self._after, name),
            )
            for name in MEASURES
        }

    def _moves(self, currency: str) -> Moves:
        total = Counter(self._counts[currency, _ALL])
        total.update(self._counts[currency, _BOTH])
        same = total["rows"] - total["dearer"] - total["cheaper"]
        return Moves(
            total["dearer"],
            total["cheaper"],
            same,
            total["changed"],
            self._amount(total["dearer_by"]),
            self._amount(total["cheaper_by"]),
        )

    def _effects(self, currencies: Sequence[str]) -> list[Effect]:
        made = []
        for j, change in enumerate(self._changes):
            counted = "changed" if len(self._changes) == 1 else f"effect_{j}"
            rows = sum(self._counts[code, _ALL][counted] for code in currencies)
            amounts = {code: {name: self._effect(code, j, name) for name in MEASURES} for code in currencies}
            made.append(Effect(change.rule, change.how, change.what, rows, amounts))
        inseparable = sum(self._counts[code, _BOTH]["rows"] for code in currencies)
        if inseparable:
            amounts = {code: self._shifts(code, (_BOTH,)) for code in currencies}
            words = "rows that a book between the two cannot price: all changes together"
            made.append(Effect(None, "inseparable", words, inseparable, amounts))
        alone = sum(self._counts[code, one]["rows"] for code in currencies for one in (_FIRST, _SECOND))
        if alone:
            amounts = {code: self._shifts(code, (_FIRST, _SECOND)) for code in currencies}
            made.append(Effect(None, "unpriced", "rows that only one of the books prices", alone, amounts))
        return made

    def _effect(self, currency: str, j: int, name: str) -> Decimal:
        def units(book: int) -> int:
            return self._counts[currency, _ALL][f"{_OWN}{book}_{name}"]

        first, last = self._first, self._last
        twice = units(first[j + 1]) - units(first[j]) + units(last[j]) - units(last[j + 1])
        if twice % 2 == 0:
            return self._amount(twice // 2)
        return EXACT.scaleb(Decimal(5 * twice), -self._scale - 1)

    def _shifts(self, currency: str, classes: Sequence[int]) -> dict[str, Decimal]:
        return {
            name: EXACT.subtract(
                self._sum(currency, [one for one in classes if one != _FIRST], self._after, name),
                self._sum(currency, [one for one in classes if one != _SECOND], 0, name),
            )
            for name in MEASURES
        }

    def _banded(self, currency: str) -> Iterator[Band]:
        for sign in (-1, 1):
            numbers = range(len(self._edges) + 1)
            for number in reversed(numbers) if sign < 0 else numbers:
                rows, change = self._bands.get((currency, sign, number), (0, 0))
                if not rows:
                    continue
                near = self._edges[number - 1] if number else Decimal(0)
                far = self._edges[number] if number < len(self._edges) else None
                low, high = (near, far) if sign > 0 else (None if far is None else -far, -near if near else near)
                yield Band(currency, low, high, rows, self._amount(change))

    def _sides(self) -> tuple[list[Party], list[Party], tuple[int, int]]:
        sides = []
        counts = []
        for sign in (1, -1):
            rows, count = self._parties.side(sign, self._asked.top)
            counts.append(count)
            sides.append([self._party(row) for row in rows])
        if isinstance(self._parties, _Rows):
            moves = [self._moves(code) for code in sorted({code for code, _ in self._counts})]
            counts = [sum(one.dearer for one in moves), sum(one.cheaper for one in moves)]
        return sides[0], sides[1], (counts[0], counts[1])

    def _party(self, row: dict[str, Any]) -> Party:
        key = {name: row[name] for name in self._shown}
        return Party(key, row[_CURRENCY], row["rows"], self._amount(row[_BEFORE]), self._amount(row[_AFTER]))

    def _unpriced(self, currencies: Sequence[str]) -> Unpriced:
        def rows(one: int) -> int:
            return sum(counts["rows"] for (_, which), counts in self._counts.items() if which == one)

        def sums(one: int, book: int) -> dict[str, dict[str, Decimal]]:
            return {
                code: {name: self._sum(code, (one,), book, name) for name in MEASURES}
                for code in currencies
                if self._counts[code, one]["rows"]
            }

        before, after = (dict(counter.most_common()) for counter in self._reasons)
        return Unpriced(
            both=rows(_NEITHER),
            only_before=rows(_SECOND),
            only_after=rows(_FIRST),
            before=before,
            after=after,
            lost=sums(_FIRST, 0),
            won=sums(_SECOND, self._after),
        )


_BEFORE, _AFTER = f"{_OWN}before", f"{_OWN}after"


@dataclass
class _Rows:
    """The rows that change most, in either direction."""

    names: list[str]
    top: int
    _best: dict[int, pl.DataFrame] = field(default_factory=dict)

    def add(self, rows: pl.DataFrame, mixed: bool) -> None:
        """Look at some rows."""
        rows = rows.with_columns(_moved().alias(_CHANGE))
        for sign in (1, -1):
            value = pl.col(_CHANGE) * integer(sign)
            side = rows.filter(value > 0)
            if not mixed and side.height > self.top > 0:
                least = side.select(value.top_k(self.top).min()).item()
                side = side.filter(value >= integer(least))
            known = self._best.get(sign)
            both = side if known is None else pl.concat([known, side])
            ranked = both.sort(value, descending=True, maintain_order=True)
            self._best[sign] = ranked.group_by(_CURRENCY, maintain_order=True).head(self.top).select(both.columns)

    def side(self, sign: int, top: int) -> tuple[list[dict[str, Any]], int]:
        """The first rows; how many there are is not known here."""
        found = self._best.get(sign)
        if found is None:
            return [], 0
        ranked = found.sort(_CURRENCY, maintain_order=True)
        return ranked.with_columns(rows=pl.lit(1)).to_dicts(), 0


@dataclass
class _Groups:
    """The sums of rows that have the same values of some columns; memory grows with the groups."""

    names: list[str]
    _parts: list[pl.DataFrame] = field(default_factory=list)
    _height: int = 0
    _last: int = _GROUPS // 2
    _bound: int = 0

    def add(self, rows: pl.DataFrame, mixed: bool) -> None:
        """Add up some rows."""
        made = rows.group_by([*self.names, _CURRENCY]).agg(
            pl.len().cast(pl.Int64).alias("rows"), pl.col(_BEFORE, _AFTER).sum()
        )
        for name in (_BEFORE, _AFTER):
            low, high = rows[name].min(), rows[name].max()
            if low is not None and high is not None:
                self._bound += max(abs(int(low)), abs(int(high))) * rows.height  # type: ignore[arg-type]  # Int128
        if self._bound >= _SURELY:
            raise PricingError(_TOO_LARGE)
        self._parts.append(made)
        self._height += made.height
        if self._height > 2 * self._last:
            self._merge()

    def side(self, sign: int, top: int) -> tuple[list[dict[str, Any]], int]:
        """The groups that change most in one direction, and how many do."""
        if not self._parts:
            return [], 0
        self._merge()
        value = _moved() * integer(sign)
        found = self._parts[0].filter(value > 0)
        ranked = found.sort(
            pl.col(_CURRENCY), value, *self.names, descending=[False, True, *([False] * len(self.names))]
        )
        return ranked.group_by(_CURRENCY, maintain_order=True).head(top).to_dicts(), found.height

    def _merge(self) -> None:
        merged = pl.concat(self._parts).group_by([*self.names, _CURRENCY]).agg(pl.col("rows", _BEFORE, _AFTER).sum())
        self._parts = [merged]
        self._height = self._last = merged.height


def _moved() -> pl.Expr:
    return pl.col(_AFTER) - pl.col(_BEFORE)


def _scale(twin: Twin) -> int:
    dtype = twin.outputs["net"]
    return dtype.scale if isinstance(dtype, pl.Decimal) else 0


def _whole(ok: pl.Series, document: pl.Series) -> pl.Series:
    """Whether all rows of the document are fine; a row without one is by itself."""
    frame = pl.DataFrame({"ok": ok, "document": document})
    whole = pl.col("ok").all().over("document")
    return frame.select(pl.when(pl.col("document").is_null()).then(pl.col("ok")).otherwise(whole)).to_series()


def _classes(oks: Sequence[pl.Series], after: int) -> pl.Series:
    frame = pl.DataFrame({str(number): ok for number, ok in enumerate(oks)})
    first, second = pl.col("0"), pl.col(str(after))
    return frame.select(
        pl.when(pl.all_horizontal(pl.all()))
        .then(_ALL)
        .when(first & second)
        .then(_BOTH)
        .when(first)
        .then(_FIRST)
        .when(second)
        .then(_SECOND)
        .otherwise(_NEITHER)
        .cast(pl.UInt8)
    ).to_series()


def _currency(priced: Sequence[pl.DataFrame], oks: Sequence[pl.Series], after: int) -> pl.Series:
    """The currency of each row, by a book that prices it."""
    first, second = priced[0]["currency"], priced[after]["currency"]
    return first.zip_with(oks[0], second).fill_null("").alias(_CURRENCY)
