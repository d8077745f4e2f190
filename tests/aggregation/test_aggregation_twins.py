"""States of any partition, merged in any order, give what a plain loop over all rows gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assay.aggregation import Aggregation, Count, CountDistinct, Max, Mean, Measure, Min, Quantile, Sum
from assay.money import ROUNDINGS, Rounding, round_to

Row = dict[str, Any]
SCHEMA = pl.Schema(
    {
        "key": pl.String(),
        "day": pl.Date(),
        "net": pl.Decimal(38, 4),
        "fee": pl.Decimal(12, 2),
        "qty": pl.Int64(),
        "word": pl.String(),
    }
)


def units(digits: int) -> st.SearchStrategy[int]:
    """Integers of all sizes: small ones that collide, halves, and the largest that fit."""
    top = 10**digits - 1
    return st.one_of(st.integers(-3, 3), st.integers(-top, top), st.sampled_from([top, -top, top // 2, 5, -5]))


def amounts(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    return units(digits).map(lambda u: Decimal(u).scaleb(-scale, context=WIDE))


WIDE = Context(prec=100)

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["a", "b", "ä", None]),
            "day": st.sampled_from([date(2024, 1, 31), date(2024, 2, 29), None]),
            # Large, but so that no total of the few rows can exceed its column.
            "net": st.none() | amounts(36, 4),
            "fee": st.none() | amounts(12, 2),
            "qty": st.none() | st.integers(-(2**58), 2**58),
            "word": st.none() | st.sampled_from(["", "x", "y", "Z", "\x00"]),
        }
    ),
    max_size=30,
)


def merged(aggregation: Aggregation, frames: list[pl.DataFrame], tree: bool) -> pl.DataFrame:
    """Merge one after the other, or all at once."""
    states = [aggregation.partial(frame) for frame in frames]
    if not tree:
        return aggregation.merge(states)
    state = aggregation.empty(SCHEMA)
    for other in states:
        state = aggregation.merge([other, state])
    return state


def mean(values: list[Decimal], places: int, rounding: Rounding) -> Decimal | None:
    return round_to(sum(map(Fraction, values), Fraction(0)) / len(values), places, rounding) if values else None


def at(values: list[Any], index: Callable[[int], int]) -> Any:
    return sorted(values)[index(len(values))] if values else None


def plainly(rows: list[Row], by: tuple[str, ...], rounding: Rounding, q: Fraction) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    if not by:
        groups[()] = []
    for row in rows:
        groups[tuple(row[k] for k in by)].append(row)
    result = []
    for key in sorted(groups, key=lambda k: [(part is None, part) for part in k]):
        members = groups[key]

        def values(column: str, members: list[Row] = members) -> list[Any]:
            return [row[column] for row in members if row[column] is not None]

        result.append(
            dict(zip(by, key, strict=True))
            | {
                "rows": len(members),
                "words": len(values("word")),
                "net": sum(map(Fraction, values("net")), Fraction(0)),
                "fee": sum(map(Fraction, values("fee")), Fraction(0)),
                "qty": sum(values("qty")),
                "least": min(values("net"), default=None),
                "most": max(values("fee"), default=None),
                "first_word": min(values("word"), default=None),
                "last_day": max(values("day"), default=None),
                "mean_net": mean(values("net"), 4, rounding),
                "mean_fee": mean(values("fee"), 5, rounding),
                "mean_qty": mean(values("qty"), 0, rounding),
                "distinct": len(set(values("word"))),
                "distinct_net": len(set(values("net"))),
                "lower": at(values("net"), lambda n: int(q * (n - 1))),
                "higher": at(values("fee"), lambda n: -int(-q * (n - 1) // 1)),
                "rank": at(values("word"), lambda n: max(0, -int(-q * n // 1) - 1)),
            }
        )
    return result


def measures(rounding: Rounding, q: Decimal) -> dict[str, Measure]:
    return {
        "rows": Count(),
        "words": Count("word"),
        "net": Sum("net"),
        "fee": Sum("fee"),
        "qty": Sum("qty"),
        "least": Min("net"),
        "most": Max("fee"),
        "first_word": Min("word"),
        "last_day": Max("day"),
        "mean_net": Mean("net", rounding=rounding),
        "mean_fee": Mean("fee", places=5, rounding=rounding),
        "mean_qty": Mean("qty", places=0, rounding=rounding),
        "distinct": CountDistinct("word"),
        "distinct_net": CountDistinct("net"),
        "lower": Quantile("net", q),
        "higher": Quantile("fee", q, interpolation="higher"),
        "rank": Quantile("word", q, interpolation="nearest_rank"),
    }


@given(
    rows=ROWS,
    cuts=st.lists(st.integers(0, 30), max_size=4),
    by=st.sampled_from([("key",), (), ("key", "day"), ("day", "word")]),
    rounding=st.sampled_from(ROUNDINGS),
    q=st.sampled_from(["0", "0.1", "0.25", "0.5", "0.333333333", "0.95", "1"]).map(Decimal),
    tree=st.booleans(),
    shuffle=st.randoms(use_true_random=False),
)
def test_any_partition_in_any_order_gives_what_a_plain_loop_gives(
    rows: list[Row], cuts: list[int], by: tuple[str, ...], rounding: Rounding, q: Decimal, tree: bool, shuffle: Any
) -> None:
    chosen = {name: m for name, m in measures(rounding, q).items() if name not in by}
    aggregation = Aggregation(by, chosen)
    bounds = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
    if len(bounds) == 1:
        bounds = [0, 0]
    frames = [pl.DataFrame(rows[a:b], schema=SCHEMA) for a, b in pairwise(bounds)]
    shuffle.shuffle(frames)

    result = aggregation.finish(merged(aggregation, frames, tree))

    assert result.schema == aggregation.check(SCHEMA)
    expected = [{name: row[name] for name in (*by, *chosen)} for row in plainly(rows, by, rounding, Fraction(str(q)))]
    assert result.to_dicts() == expected


@given(first=ROWS, second=ROWS, by=st.sampled_from([("key",), (), ("day", "word")]))
def test_a_stored_result_and_a_new_one_give_what_all_rows_give(
    first: list[Row], second: list[Row], by: tuple[str, ...]
) -> None:
    aggregation = Aggregation(
        by, {"rows": Count(), "net": Sum("net"), "qty": Sum("qty"), "least": Min("fee"), "most": Max("key")}
    )

    def result(rows: list[Row]) -> pl.DataFrame:
        return aggregation.finish(aggregation.partial(pl.DataFrame(rows, schema=SCHEMA)))

    assert_frame_equal(aggregation.merge_results(result(first), result(second)), result(first + second))


@pytest.mark.parametrize("order", [1, -1])
def test_a_total_may_pass_through_values_that_no_column_could_hold(order: int) -> None:
    top = Decimal(10**38 - 1)
    batches = [pl.DataFrame({"x": pl.Series([v, v, v], dtype=pl.Decimal(38, 0))}) for v in (top, top.copy_negate())][
        ::order
    ]
    aggregation = Aggregation((), {"x": Sum("x"), "mean": Mean("x"), "n": Count()})

    state = aggregation.merge([aggregation.partial(batch) for batch in batches])

    assert aggregation.finish(state).row(0) == (Decimal(0), Decimal(0), 6)
