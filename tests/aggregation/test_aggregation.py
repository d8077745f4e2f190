"""What an aggregation accepts, what it refuses, and how it says so."""

from __future__ import annotations

import math
import pickle
from decimal import Decimal

import polars as pl
import pytest

from assay.aggregation import (
    Aggregation,
    AggregationError,
    Count,
    CountDistinct,
    Max,
    Mean,
    Measure,
    Min,
    Quantile,
    Sum,
)
from assay.errors import ConfigurationError

SCHEMA = pl.Schema(
    {
        "customer": pl.String(),
        "net": pl.Decimal(12, 2),
        "qty": pl.Int32(),
        "weight": pl.Float64(),
        "tags": pl.List(pl.String()),
        "open": pl.Boolean(),
        "huge": pl.Int128(),
        "kind": pl.Enum(["retail", "bulk"]),
        "raw": pl.Binary(),
    }
)
NET = Decimal("10.00")


def frame(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame(columns, schema={name: SCHEMA[name] for name in columns})


def one(measure: Measure, **columns: list[object]) -> object:
    aggregation = Aggregation((), {"it": measure})
    return aggregation.finish(aggregation.partial(frame(**columns))).item()


@pytest.mark.parametrize(
    ("measure", "dtype"),
    [
        (Sum("net"), pl.Decimal(38, 2)),
        (Sum("qty"), pl.Int64()),
        (Sum("weight"), pl.Float64()),
        (Count(), pl.Int64()),
        (Count("tags"), pl.Int64()),
        (Min("net"), pl.Decimal(12, 2)),
        (Max("kind"), SCHEMA["kind"]),
        (Mean("net"), pl.Decimal(38, 2)),
        (Mean("net", places=6), pl.Decimal(38, 6)),
        (Mean("qty", places=1), pl.Decimal(38, 1)),
        (Mean("weight"), pl.Float64()),
        (CountDistinct("customer"), pl.Int64()),
        (Quantile("net", "0.5"), pl.Decimal(12, 2)),
    ],
    ids=repr,
)
def test_the_type_said_beforehand_is_the_type_of_the_result(measure: Measure, dtype: pl.DataType) -> None:
    aggregation = Aggregation(("customer",), {"it": measure})
    assert aggregation.check(SCHEMA) == {"customer": pl.String(), "it": dtype}
    result = aggregation.finish(aggregation.empty(SCHEMA))
    assert result.schema == aggregation.check(SCHEMA)
    assert result.is_empty()


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (Sum("nett"), 'measure it: Sum: no column "nett". Did you mean "net"?'),
        (Sum("customer"), 'Sum: column "customer" is String, and only numbers can be added up'),
        (Sum("open"), "only numbers"),
        (Sum("huge"), "cast to Decimal"),
        (Count("nett"), 'no column "nett"'),
        (Min("tags"), 'Min: column "tags" is List(String), and its values have no order'),
        (Max("raw"), "no order"),
        (Mean("qty"), "say to how many places"),
        (Mean("weight", places=2), "leave out places"),
        (CountDistinct("tags"), "only single values"),
        (Quantile("tags", "0.5"), "no order"),
    ],
    ids=repr,
)
def test_a_column_that_a_measure_does_not_take_is_named(measure: Measure, words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Aggregation((), {"it": measure}).check(SCHEMA)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("by", "measures", "words"),
    [
        (("customr",), {"n": Count()}, 'no column "customr". Did you mean "customer"?'),
        (("tags",), {"n": Count()}, '"tags" is List(String) and cannot be a key'),
    ],
)
def test_a_key_that_cannot_be_one_is_named(by: tuple[str, ...], measures: dict[str, Measure], words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Aggregation(by, measures).check(SCHEMA)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("by", "measures", "words"),
    [
        (("customer",), {}, "at least one measure"),
        (("customer",), {"customer": Count()}, '"customer" names a key and a measure'),
        (("customer", "net", "customer"), {"n": Count()}, '"customer" is named twice'),
        ("customer", {"n": Count()}, 'by=("customer",)'),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused_when_it_is_written(
    by: tuple[str, ...], measures: dict[str, Measure], words: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Aggregation(by, measures)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Quantile("net", "1.1"), "0 to 1"),
        (lambda: Quantile("net", "half"), "must be a number"),
        (lambda: Quantile("net", "nan"), "0 to 1"),
        (lambda: Quantile("net", "0.12345678901"), "nine|9 decimal places"),
        (lambda: Quantile("net", "0.5", interpolation="linear"), 'no interpolation "linear"'),  # type: ignore[arg-type]
        (lambda: Mean("net", rounding="half_odd"), 'no rounding "half_odd". Did you mean "half_'),  # type: ignore[arg-type]
        (lambda: Mean("net", places=37), "0 to 36"),
    ],
)
def test_an_argument_out_of_range_is_refused_when_it_is_written(make: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make()  # type: ignore[operator]


def test_a_measure_shows_what_it_is() -> None:
    assert repr(Mean("net", places=4)) == "Mean(column='net', places=4, rounding='half_even')"
    assert Sum("net") == Sum("net") != Sum("gross")


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_total_over_38_digits_is_an_error_that_names_the_group(size: int) -> None:
    """Polars alone wraps here, silently, to a negative total."""
    top = pl.Series([Decimal(9 * 10**37)] * size, dtype=pl.Decimal(38, 0))
    data = pl.DataFrame({"k": ["a"] * size, "x": top})
    assert data.group_by("k").agg(pl.col("x").sum())["x"].item() != sum(data["x"].to_list())
    aggregation = Aggregation(("k",), {"total": Sum("x")})

    with pytest.raises(AggregationError, match=r"measure total of the group k='a': .* Decimal") as raised:
        aggregation.finish(aggregation.partial(data))

    assert raised.value.group == {"k": "a"}
    assert pickle.loads(pickle.dumps(raised.value)).group == {"k": "a"}


@pytest.mark.parametrize("sign", [1, -1])
def test_the_edge_of_a_decimal_total(sign: int) -> None:
    aggregation = Aggregation((), {"total": Sum("x")})

    def total(*values: int) -> Decimal:
        data = pl.DataFrame({"x": pl.Series([Decimal(sign * v) for v in values], dtype=pl.Decimal(38, 0))})
        result: Decimal = aggregation.finish(aggregation.partial(data)).item()
        return result

    assert total(10**38 - 2, 1) == sign * (10**38 - 1)
    with pytest.raises(AggregationError):
        total(10**38 - 1, 1)


@pytest.mark.parametrize(("largest", "step"), [(2**63 - 1, 1), (-(2**63), -1)])
def test_the_edge_of_an_integer_total(largest: int, step: int) -> None:
    aggregation = Aggregation((), {"total": Sum("x")})
    fits = pl.DataFrame({"x": [largest - step, step]}, schema={"x": pl.Int64})
    assert aggregation.finish(aggregation.partial(fits)).item() == largest
    with pytest.raises(AggregationError, match="Int64"):
        aggregation.finish(aggregation.partial(pl.concat([fits, pl.DataFrame({"x": [step]})])))


def test_small_integers_do_not_wrap() -> None:
    data = pl.DataFrame(
        {"x": pl.Series([2**64 - 1, 2**64 - 1], dtype=pl.UInt64), "y": pl.Series([127] * 2, dtype=pl.Int8)}
    )
    aggregation = Aggregation((), {"y": Sum("y"), "mean": Mean("x", places=0)})
    assert aggregation.finish(aggregation.partial(data)).row(0) == (254, Decimal(2**64 - 1))


def test_a_mean_without_room_on_the_way_is_still_exact() -> None:
    top = Decimal(10**38 - 1)
    data = pl.DataFrame({"x": pl.Series([top, top, Decimal(10**38 - 2)], dtype=pl.Decimal(38, 0))})
    aggregation = Aggregation((), {"mean": Mean("x", rounding="floor")})
    assert aggregation.finish(aggregation.partial(data)).item() == Decimal(10**38 - 2)


def test_a_mean_that_does_not_fit_its_places_is_an_error() -> None:
    data = pl.DataFrame({"x": pl.Series([Decimal(10**30)], dtype=pl.Decimal(38, 0))})
    aggregation = Aggregation((), {"mean": Mean("x", places=10)})
    with pytest.raises(AggregationError, match="measure mean: the figure does not fit"):
        aggregation.finish(aggregation.partial(data))


def test_a_mean_is_rounded_once_by_name() -> None:
    values: list[object] = [Decimal("0.01"), Decimal("0.02")]
    assert one(Mean("net"), net=values) == Decimal("0.02")
    assert one(Mean("net", rounding="down"), net=values) == Decimal("0.01")
    assert one(Mean("net", places=3), net=values) == Decimal("0.015")


def test_floats_are_measured_as_floats() -> None:
    weights: list[object] = [0.5, None, 1.5]
    assert one(Sum("weight"), weight=weights) == 2.0
    assert one(Mean("weight"), weight=weights) == 1.0
    assert one(Mean("weight"), weight=[None]) is None
    assert one(CountDistinct("weight"), weight=[math.nan, math.nan, 1.0]) == 2
    assert one(Max("weight"), weight=[math.nan, 1.0]) == 1.0


def test_enumerations_compare_by_the_order_of_their_members() -> None:
    assert one(Max("kind"), kind=["retail", "bulk", None]) == "bulk"
    assert one(Quantile("kind", 0), kind=["bulk", "retail"]) == "retail"


def test_a_group_of_nulls_has_a_total_of_zero_and_no_extremes() -> None:
    aggregation = Aggregation(("customer",), {"sum": Sum("net"), "min": Min("net"), "mean": Mean("net"), "n": Count()})
    result = aggregation.finish(aggregation.partial(frame(customer=[None], net=[None])))
    assert result.to_dicts() == [{"customer": None, "sum": Decimal(0), "min": None, "mean": None, "n": 1}]


def test_the_grand_total_of_no_rows_is_one_row() -> None:
    aggregation = Aggregation((), {"sum": Sum("net"), "n": Count(), "max": Max("net")})
    assert aggregation.finish(aggregation.empty(SCHEMA)).rows() == [(Decimal(0), 0, None)]


def test_results_stand_in_the_order_of_their_keys_null_last() -> None:
    aggregation = Aggregation(("customer",), {"n": Count()})
    result = aggregation.finish(aggregation.partial(frame(customer=["b", None, "a", "b"])))
    assert result.rows() == [("a", 1), ("b", 2), (None, 1)]


def test_names_are_names_and_never_patterns() -> None:
    data = pl.DataFrame({"*": [1, 1], "^.*$": [2, 3], "a/b": [5, 5], "": [7, 8]})
    aggregation = Aggregation(
        ("*",), {"^.*$": Sum("^.*$"), "a": Max("a/b"), "a/high": Sum("a/b"), "by/*": Count("*"), "": CountDistinct("")}
    )
    result = aggregation.finish(aggregation.merge([aggregation.partial(data), aggregation.partial(data)]))
    assert result.to_dicts() == [{"*": 1, "^.*$": 10, "a": 5, "a/high": 20, "by/*": 4, "": 2}]


def test_a_stored_mean_cannot_be_merged_and_the_error_says_which() -> None:
    aggregation = Aggregation((), {"n": Count(), "mean": Mean("net"), "kinds": CountDistinct("kind")})
    result = aggregation.finish(aggregation.empty(SCHEMA))
    with pytest.raises(ConfigurationError, match=r"mean \(Mean\), kinds \(CountDistinct\) cannot be merged"):
        aggregation.merge_results(result, result)


def test_results_of_other_columns_cannot_be_merged() -> None:
    aggregation = Aggregation((), {"net": Sum("net")})
    two, four = (pl.DataFrame({"net": pl.Series([NET], dtype=pl.Decimal(38, s))}) for s in (2, 4))
    with pytest.raises(ConfigurationError, match=r'column "net" of the stored result is Decimal.*scale=2'):
        aggregation.merge_results(two, four)
    with pytest.raises(ConfigurationError, match='the new result has no column "net"'):
        aggregation.merge_results(two, four.rename({"net": "nett"}))


def test_merging_results_checks_the_room_too() -> None:
    aggregation = Aggregation((), {"net": Sum("net")})
    full = pl.DataFrame({"net": pl.Series([Decimal(10**38 - 1)], dtype=pl.Decimal(38, 0))})
    with pytest.raises(AggregationError):
        aggregation.merge_results(full, full)


def test_states_of_other_columns_and_of_none_cannot_be_merged() -> None:
    aggregation = Aggregation((), {"net": Sum("net")})
    with pytest.raises(ConfigurationError, match="no state"):
        aggregation.merge([])
    other = pl.DataFrame({"net": pl.Series([NET], dtype=pl.Decimal(12, 4))})
    with pytest.raises(ConfigurationError, match="not of the same columns"):
        aggregation.merge([aggregation.partial(other), aggregation.partial(frame(net=[NET]))])


def test_an_aggregation_and_its_states_cross_processes() -> None:
    aggregation = Aggregation(("customer",), {"net": Sum("net"), "q": Quantile("net", 0.5), "d": CountDistinct("net")})
    assert pickle.loads(pickle.dumps(aggregation)) == aggregation
    state = aggregation.partial(frame(customer=["a"], net=[NET]))
    sent = pl.read_ipc(state.write_ipc(None).getvalue())
    assert aggregation.finish(sent).rows() == [("a", NET, NET, 1)]


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (Sum("net"), True),
        (Count(), True),
        (Min("net"), True),
        (Max("net"), True),
        (Mean("net"), False),
        (CountDistinct("net"), False),
        (Quantile("net", 1), False),
    ],
    ids=repr,
)
def test_each_measure_says_whether_its_figure_can_be_merged(measure: Measure, expected: bool) -> None:
    assert measure.merges_from_result is expected
