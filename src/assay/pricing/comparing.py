"""Two books on the same rows, in one pass: each batch is priced by all books that count, and only sums are kept.

The effect of a change is the mean of what it does where the changes are made from the first on, and where they are
made from the last on (`changes`): of c(j) that is (P(j) - P(j-1) + Q(j-1) - Q(j)) / 2. The effects add up to the whole
change, turn their sign with it, and share what two changes do only together half and half.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import polars as pl

from assay.errors import ConfigurationError, PricingError, unknown_name
from assay.money import EXACT, integer
from assay.pricing.binding import Inputs, bound, unknown_input
from assay.pricing.changes import TABLES, Stop, path_between, same_currency
from assay.pricing.changes import Path as BookPath
from assay.pricing.difference import (
    MEASURES,
    Band,
    Difference,
    Effect,
    Measure,
    Moves,
    Party,
    PriceEffect,
    Shift,
    Unpriced,
)
from assay.pricing.documents import by_document
from assay.pricing.price_list import PriceList
from assay.pricing.rates import Rates
from assay.pricing.tables import Tables
from assay.pricing.twin import ERROR, SIBLING, Twin, side_by_side
from assay.pricing.verification import Verifier

if TYPE_CHECKING:
    from assay.pricing.book import PriceBook

BATCH_ROWS = 400_000
"""Rows of a batch, shared out among the books."""

_OWN = "__assay_diff_"
_ROW_NUMBER, _FROM, _TO = f"{_OWN}row", f"{_OWN}from", f"{_OWN}to"
_ROW, _CLASS, _CURRENCY, _CHANGE = "row", f"{_OWN}class", f"{_OWN}currency", f"{_OWN}change"
_COUNT = f"{_OWN}count"
# What a row is: priced by all books; by both, not by all between; by the first only; by the second only; by neither.
_ALL, _BOTH, _FIRST, _SECOND, _NEITHER = range(5)
# Sums of whole numbers are estimated beforehand: an Int128 holds 1.7e38.
_SURELY = 16 * 10**37
# What fits an Int64 is computed in one, which is quicker.
_SHORT = 2**63
_TOO_LARGE = "the amounts have too many digits to be compared and added up"
_REASONS = 1_000
_SIBLING = f"{SIBLING}another line of its document cannot be priced"
# Groups are merged when there are twice as many as after the last time, and so many at least.
_GROUPS = 200_000


@dataclass(frozen=True)
class Given:
    """The tables that a book is given, and as far as what was known they count."""

    tables: Tables
    known_at: dt.datetime | str | None

    @classmethod
    def of(
        cls,
        rates: Mapping[str, Rates] | None,
        prices: Mapping[str, PriceList] | None,
        known_at: dt.datetime | str | None,
    ) -> Self:
        """As `price` takes them."""
        return cls(Tables.of(rates, prices, known_at), known_at)

    def told(self, other: Given) -> str:
        """What is different in other tables, in words."""
        mine, theirs = self.tables, other.tables
        known = "" if mine.known_at == theirs.known_at else f"known at {_at(self.known_at)} -> {_at(other.known_at)}"
        lists = [f"prices {name}" for name in _changed(mine.prices, theirs.prices, lambda one: one.rows)]
        rates = [f"rates {name}" for name in _changed(mine.rates, theirs.rates, lambda one: one.frame().rows())]
        return "; ".join(one for one in (known, *lists, *rates) if one)


def _at(known: dt.datetime | str | None) -> str:
    if known is None:
        return "any time"
    return known.isoformat() if isinstance(known, dt.datetime) else known


T = TypeVar("T")


def _changed(mine: Mapping[str, T], theirs: Mapping[str, T], content: Callable[[T], object]) -> list[str]:
    return [
        name
        for name in sorted(mine.keys() | theirs.keys())
        if mine.get(name) is not theirs.get(name)
        and (name not in mine or name not in theirs or content(mine[name]) != content(theirs[name]))
    ]


@dataclass(frozen=True)
class Question:
    """What is to be compared, and how.

    Attributes:
        inputs: As `price` takes them.
        given: The tables of the first book, and those of the second.
        by: Columns whose values make a party; none: each row is one.
        key: Columns that name a row, where rows are the parties.
        measure: By which amount rows are dearer or cheaper.
        top: How many parties are named on either side.
        together: The column of documents of which no row is priced if one cannot be, beyond what the books say.
        verify: So many rows of either book are priced once more by the reference.
        spool: The folder for rows that must be put on disk meanwhile.
    """

    inputs: Inputs
    given: tuple[Given, Given]
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
    for name in asked.by:
        if schema[name].is_nested():
            raise ConfigurationError(f'"{name}" is {schema[name]}: rows are put together by columns of single values')
    ends = Stop(before), Stop(after, second=True)
    for stop in ends:
        _twin(stop, schema, asked).check(schema)

    def usable(stop: Stop) -> bool:
        try:
            _twin(stop, schema, asked).check(schema)
        except ConfigurationError:
            return False
        return stop.book.result_currency() == before.result_currency()

    path = path_between(before, after, usable, asked.given[0].told(asked.given[1]))
    return _Comparison(ends, path, schema, asked).run(frame)


def _known(book: PriceBook) -> frozenset[str]:
    return book.required_inputs() | book.optional_inputs()


def _inputs(book: PriceBook, asked: Question) -> dict[str, str | None]:
    """A book between need not know what the two know."""
    known = _known(book)
    return {name: column for name, column in asked.inputs.items() if name in known}


def _twin(stop: Stop, schema: pl.Schema, asked: Question, parts: Sequence[str] = MEASURES) -> Twin:
    given = asked.given[1 if stop.second else 0]
    resolves = any(step.resolves for step in stop.book.steps)
    wanted = (*parts, "currency", *(["price_id"] if resolves else []), ERROR)
    return stop.book.compiled(schema, inputs=_inputs(stop.book, asked), tables=given.tables, wanted=wanted)


def _verifier(stop: Stop, asked: Question) -> Verifier:
    given = asked.given[1 if stop.second else 0]
    return Verifier(
        stop.book,
        asked.verify,
        inputs=_inputs(stop.book, asked),
        rates=given.tables.rates,
        prices=given.tables.prices,
        known_at=given.known_at,
    )


def _parts_of(books: Sequence[PriceBook]) -> list[str]:
    """The amounts from which all measures follow."""
    steps = [step for book in books for step in book.steps]
    taxed, due = any(step.taxes for step in steps), any(step.changes_due() for step in steps)
    return ["net", *(["tax"] if taxed else []), *(["payable"] if due else [])]


class _Comparison:
    """One pass over the rows."""

    def __init__(self, ends: tuple[Stop, Stop], path: BookPath, schema: pl.Schema, asked: Question) -> None:
        self._asked = asked
        self._changes = path.changes
        between = [*path.first[1:-1], *path.last[1:-1]]
        stops = [*ends, *between] if path.changes else [ends[0]]
        books = [stop.book for stop in stops]
        self._parts = _parts_of(books)
        self._twins = [_twin(stop, schema, asked, self._parts) for stop in stops]
        for number, stop in enumerate(stops[:2] if asked.verify else ()):
            self._twins[number] = replace(self._twins[number], verify=_verifier(stop, asked).check)
        count = len(self._changes)
        after_at = 1 if count else 0
        # Places of P(0) ... P(k) and Q(0) ... Q(k) among the books.
        self._first = [0, *range(2, count + 1), after_at] if count else [0]
        self._last = [after_at, *range(count + 1, 2 * count), 0] if count else [0]
        self._after = after_at
        scales = [_scale(twin) for twin in self._twins]
        self._scale = max(scales)
        self._factors = [10 ** (self._scale - scale) for scale in scales]
        self._mixed = any(book.mixed for book in books)
        self._home = books[0].result_currency()
        self._document = self._document_of(books, schema)
        # The tables, if they are changed, are a part of the first change.
        self._lists = bool(self._changes) and TABLES in self._changes[0].rule.split(" + ")
        self._prices: dict[tuple[str | None, str | None, str], Counter[str]] = defaultdict(Counter)
        self._keys = [_CURRENCY] if self._mixed else []
        shown = asked.by or asked.key
        self._shown = list(shown) or [_ROW]
        if not shown and _ROW in schema:
            raise ConfigurationError(f'the frame has a column "{_ROW}", which rows would be named by: give key or by')
        self._edges = [Decimal(0), *(Decimal(10) ** power for power in range(-min(self._scale, 2), 5))]
        self._rows = 0
        self._counts: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        self._reasons: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._parties = _Groups(self._shown + self._keys) if asked.by else _Rows(self._keys, asked.top)

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
            size = max(1, BATCH_ROWS // len(self._twins))
            for batch in rows.collect_batches(chunk_size=size, maintain_order=True):
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
        wide = wide.hstack(self._units(priced, oks))
        before, after = self._measured(0), self._measured(self._after)
        if self._mixed:
            wide = wide.with_columns(_currency(priced, oks, self._after))
        if not all(ok.all() for ok in oks):
            wide = wide.with_columns(_classes(oks, self._after).alias(_CLASS))
        wide = wide.with_columns(before.alias(_BEFORE), after.alias(_AFTER), (after - before).alias(_CHANGE))
        self._count(wide)
        if self._lists:
            self._note_prices(wide, priced)
        moved = wide.select(*self._shown, *self._keys, _BEFORE, _AFTER, _CHANGE).filter(pl.col(_CHANGE) != 0)
        if isinstance(self._parties, _Rows):
            self._parties.add(moved)
        else:
            self._parties.add(wide.filter(pl.col(_CLASS) <= _BOTH) if _CLASS in wide.columns else wide)

    def _measured(self, book: int) -> pl.Expr:
        """The measure of a book."""
        net, tax, payable = (pl.col(f"{_OWN}{book}_{name}") for name in ("net", "tax", "payable"))
        gross = net + tax if "tax" in self._parts else net
        known = {
            "net": net,
            "tax": tax if "tax" in self._parts else net - net,
            "gross": gross,
            "payable": payable if "payable" in self._parts else gross,
        }
        return known[self._asked.measure]

    def _units(self, priced: Sequence[pl.DataFrame], oks: Sequence[pl.Series]) -> list[pl.Series]:
        """The amounts of all books as whole numbers of one scale; null where the row is not priced."""
        units = [frame.select(pl.col(name).reinterpret(dtype=pl.Int128) for name in self._parts) for frame in priced]
        largest = max(_size(frame) * factor for frame, factor in zip(units, self._factors, strict=True))
        # A measure is the sum of two at most, and a change the difference of two.
        bound = 4 * largest * priced[0].height
        if bound >= _SURELY:
            raise PricingError(_TOO_LARGE)
        made = []
        for number, (frame, factor, ok) in enumerate(zip(units, self._factors, oks, strict=True)):
            values = pl.all() if factor == 1 else pl.all() * integer(factor)
            values = values if ok.all() else pl.when(ok).then(values)
            values = values.cast(pl.Int64) if bound < _SHORT else values
            made += frame.select(values.name.prefix(f"{_OWN}{number}_")).get_columns()
        return made

    def _note_reasons(self, priced: Sequence[pl.DataFrame], oks: Sequence[pl.Series]) -> None:
        for number, counter in ((0, self._reasons[0]), (self._after, self._reasons[1])):
            ok = oks[number]
            if ok.all():
                continue
            told = priced[number].filter(~ok)[ERROR].fill_null(_SIBLING)
            counted = told.set(told.str.starts_with(SIBLING), _SIBLING).value_counts()
            for reason, rows in counted.sort(ERROR).iter_rows():
                known = reason in counter or len(counter) < _REASONS
                counter[reason if known else "other reasons"] += rows

    def _count(self, wide: pl.DataFrame) -> None:
        made = [
            pl.len().alias("rows"),
            *self._beyond(wide[_CHANGE].dtype),
            self._differ([(0, self._after)]).sum().alias("changed"),
            *(pl.col(f"{_OWN}{n}_{name}").sum() for n in range(len(self._twins)) for name in self._parts),
        ]
        if len(self._changes) > 1:
            made += [
                self._differ([(self._first[j], self._first[j + 1]), (self._last[j], self._last[j + 1])])
                .sum()
                .alias(f"effect_{j}")
                for j in range(len(self._changes))
            ]
        keys = [*self._keys, *([_CLASS] if _CLASS in wide.columns else [])]
        groups = wide.group_by(keys).agg(made) if keys else wide.select(made)
        for row in groups.iter_rows(named=True):
            self._counts[row.pop(_CURRENCY, self._home), row.pop(_CLASS, _ALL)].update(row)

    def _note_prices(self, wide: pl.DataFrame, priced: Sequence[pl.DataFrame]) -> None:
        """The first change, by the rows of price lists that are for a row of ours before and after it."""
        ways = {(self._first[0], self._first[1]), (self._last[1], self._last[0])}
        made = []
        for one, other in ways:
            ids = [_ids(priced[number]).alias(name) for number, name in ((one, _FROM), (other, _TO))]
            changes = [
                (pl.col(f"{_OWN}{other}_{name}") - pl.col(f"{_OWN}{one}_{name}")).cast(pl.Int128).alias(name)
                for name in self._parts
            ]
            rows = wide.hstack(ids).with_row_index(_ROW_NUMBER)
            rows = rows.filter(pl.col(_CLASS) == _ALL) if _CLASS in rows.columns else rows
            rows = rows.filter(self._differ([(one, other)]))
            # Where both ways are the same one it counts for both.
            twice = [pl.col(name) * integer(2 // len(ways)) for name in self._parts]
            made.append(rows.select(_ROW_NUMBER, _FROM, _TO, *self._keys, *changes).with_columns(twice))
        summed = pl.col(_ROW_NUMBER).n_unique().alias("rows"), pl.col(self._parts).sum()
        for row in pl.concat(made).group_by(_FROM, _TO, *self._keys).agg(summed).iter_rows(named=True):
            self._prices[row.pop(_FROM), row.pop(_TO), row.pop(_CURRENCY, self._home)].update(row)

    def _differ(self, pairs: Sequence[tuple[int, int]]) -> pl.Expr:
        """Whether any amount differs between any of the pairs of books."""
        return pl.any_horizontal(
            pl.col(f"{_OWN}{one}_{name}") != pl.col(f"{_OWN}{other}_{name}")
            for one, other in pairs
            for name in self._parts
        )

    def _beyond(self, dtype: pl.DataType) -> Iterator[pl.Expr]:
        """How many rows change by more than each edge, up and down, and by how much together."""
        change = pl.col(_CHANGE)
        for number, edge in enumerate(self._edges):
            units = int(edge.scaleb(self._scale))
            for word, over in (("up", change > pl.lit(units, dtype)), ("down", change < pl.lit(-units, dtype))):
                yield over.sum().alias(f"{word}_{number}")
                yield pl.when(over).then(change).otherwise(pl.lit(0, dtype)).sum().alias(f"{word}_by_{number}")

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
            prices=self._price_effects(),
            bands=[band for code in shown for band in self._banded(code)],
            dearer=dearer,
            cheaper=cheaper,
            parties=parties,
            unpriced=self._unpriced(shown),
        )

    def _sum(self, currency: str, classes: Sequence[int], book: int, name: str) -> Decimal:
        return self._amount(sum(self._units_of(currency, one, book, name) for one in classes))

    def _units_of(self, currency: str, one: int, book: int, name: str) -> int:
        """The sum of a measure over one class of rows, in units."""
        sums = {part: self._counts[currency, one][f"{_OWN}{book}_{part}"] for part in self._parts}
        return _of_parts(sums, name, self._parts)

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
        total = self._compared(currency)
        return Moves(
            total["up_0"],
            total["down_0"],
            total["rows"] - total["up_0"] - total["down_0"],
            total["changed"],
            self._amount(total["up_by_0"]),
            self._amount(total["down_by_0"]),
        )

    def _compared(self, currency: str) -> Counter[str]:
        total = Counter(self._counts[currency, _ALL])
        total.update(self._counts[currency, _BOTH])
        return total

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
            return self._units_of(currency, _ALL, book, name)

        first, last = self._first, self._last
        return self._half(units(first[j + 1]) - units(first[j]) + units(last[j]) - units(last[j + 1]))

    def _half(self, twice: int) -> Decimal:
        """Half of so many units; one more digit where it must be."""
        return self._amount(twice // 2) if twice % 2 == 0 else EXACT.scaleb(Decimal(5 * twice), -self._scale - 1)

    def _price_effects(self) -> list[PriceEffect]:
        found: dict[tuple[str | None, str | None], dict[str, Counter[str]]] = defaultdict(dict)
        for (before, after, currency), counts in self._prices.items():
            found[before, after][currency] = counts
        made = [
            PriceEffect(
                *ids,
                sum(counts["rows"] for counts in named.values()),
                {
                    currency: {name: self._half(_of_parts(counts, name, self._parts)) for name in MEASURES}
                    for currency, counts in sorted(named.items())
                },
            )
            for ids, named in found.items()
        ]
        measure = self._asked.measure
        return sorted(
            made,
            key=lambda one: (
                -max(abs(amounts[measure]) for amounts in one.amounts.values()),
                one.before or "",
                one.after or "",
            ),
        )

    def _shifts(self, currency: str, classes: Sequence[int]) -> dict[str, Decimal]:
        return {
            name: EXACT.subtract(
                self._sum(currency, [one for one in classes if one != _FIRST], self._after, name),
                self._sum(currency, [one for one in classes if one != _SECOND], 0, name),
            )
            for name in MEASURES
        }

    def _banded(self, currency: str) -> Iterator[Band]:
        total = self._compared(currency)
        count = len(self._edges)
        for word, number in (*(("down", n) for n in reversed(range(count))), *(("up", n) for n in range(count))):
            beyond = number + 1
            rows = total[f"{word}_{number}"] - total[f"{word}_{beyond}"]
            change = total[f"{word}_by_{number}"] - total[f"{word}_by_{beyond}"]
            near, far = self._edges[number], self._edges[beyond] if beyond < count else None
            low, high = (near, far) if word == "up" else (None if far is None else -far, -near if near else near)
            if rows:
                yield Band(currency, low, high, rows, self._amount(change))

    def _sides(self) -> tuple[list[Party], list[Party], tuple[int, int]]:
        if isinstance(self._parties, _Groups):
            up, rising = self._parties.side(1, self._keys, self._asked.top)
            down, falling = self._parties.side(-1, self._keys, self._asked.top)
        else:
            up, down = self._parties.side(1), self._parties.side(-1)
            rising, falling = (sum(counts[name] for counts in self._counts.values()) for name in ("up_0", "down_0"))
        return [self._party(row) for row in up], [self._party(row) for row in down], (rising, falling)

    def _party(self, row: dict[str, Any]) -> Party:
        key = {name: row[name] for name in self._shown}
        return Party(
            key, row.get(_CURRENCY, self._home), row[_COUNT], self._amount(row[_BEFORE]), self._amount(row[_AFTER])
        )

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
    """The rows that change most, in either direction, of each value of the keys."""

    keys: list[str]
    top: int
    _best: dict[int, pl.DataFrame] = field(default_factory=dict)

    def add(self, moved: pl.DataFrame) -> None:
        """Look at some rows."""
        for sign in (1, -1):
            size = pl.col(_CHANGE).abs()
            side = moved.filter(pl.col(_CHANGE) > 0 if sign > 0 else pl.col(_CHANGE) < 0)
            if not self.keys and side.height > self.top > 0:
                least = side.select(size.top_k(self.top).min()).item()
                side = side.filter(size >= pl.lit(least, moved[_CHANGE].dtype))
            side = side.with_columns(pl.col(_BEFORE, _AFTER, _CHANGE).cast(pl.Int128))
            known = self._best.get(sign)
            both = side if known is None else pl.concat([known, side])
            self._best[sign] = _heads(both.sort(size, descending=True, maintain_order=True), self.keys, self.top)

    def side(self, sign: int) -> list[dict[str, Any]]:
        """The first rows in one direction."""
        found = self._best.get(sign)
        if found is None:
            return []
        return found.sort(self.keys, maintain_order=True).with_columns(pl.lit(1).alias(_COUNT)).to_dicts()


@dataclass
class _Groups:
    """The sums of rows that have the same values of some columns; memory grows with the groups."""

    names: list[str]
    _sums: list[pl.DataFrame] = field(default_factory=list)
    _height: int = 0
    _last: int = _GROUPS // 2
    _bound: int = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Add up some rows."""
        made = rows.group_by(self.names).agg(
            pl.len().cast(pl.Int64).alias(_COUNT), pl.col(_BEFORE, _AFTER).sum().cast(pl.Int128)
        )
        ends = rows.select(
            low=pl.min_horizontal(pl.col(_BEFORE, _AFTER).min()), high=pl.max_horizontal(pl.col(_BEFORE, _AFTER).max())
        )
        self._bound += max(abs(end or 0) for end in ends.row(0)) * rows.height
        if self._bound >= _SURELY:
            raise PricingError(_TOO_LARGE)
        self._sums.append(made)
        self._height += made.height
        if self._height > 2 * self._last:
            self._merge()

    def side(self, sign: int, keys: list[str], top: int) -> tuple[list[dict[str, Any]], int]:
        """The groups that change most in one direction, of each value of the keys, and how many change so."""
        if not self._sums:
            return [], 0
        self._merge()
        value = (pl.col(_AFTER) - pl.col(_BEFORE)) * integer(sign)
        found = self._sums[0].filter(value > 0)
        order = [*keys, value, *self.names]
        ranked = found.sort(order, descending=[one is value for one in order])
        return _heads(ranked, keys, top).to_dicts(), found.height

    def _merge(self) -> None:
        merged = pl.concat(self._sums).group_by(self.names).agg(pl.col(_COUNT, _BEFORE, _AFTER).sum())
        self._sums = [merged]
        self._height = self._last = merged.height


def _heads(ranked: pl.DataFrame, keys: list[str], top: int) -> pl.DataFrame:
    """The first rows of each value of the keys."""
    if not keys:
        return ranked.head(top)
    return ranked.group_by(keys, maintain_order=True).head(top).select(ranked.columns)


def _of_parts(sums: Mapping[str, int], name: str, parts: Sequence[str]) -> int:
    """A measure, of the amounts from which all follow."""
    if name in parts:
        return sums[name]
    of = {"tax": (), "gross": ("net", "tax"), "payable": ("gross",)}[name]
    return sum(_of_parts(sums, part, parts) for part in of)


def _ids(priced: pl.DataFrame) -> pl.Series:
    """Which rows of price lists applied."""
    if "price_id" in priced.columns:
        return priced["price_id"]
    return pl.repeat(None, priced.height, dtype=pl.String, eager=True)


def _size(frame: pl.DataFrame) -> int:
    """The largest amount, without its sign."""
    return max((abs(end) for end in (*frame.min().row(0), *frame.max().row(0)) if end is not None), default=0)


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
