"""Ledgers in whole runs: what was published is corrected by reversal and new line, and never changed."""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

import assay
from assay import (
    Booked,
    ConfigurationError,
    Csv,
    Delta,
    DuckDb,
    GroupBy,
    Jsonl,
    Parquet,
    Pipeline,
    Price,
    PriceBook,
    Rows,
    Source,
    Sql,
    Sum,
)
from assay.pipeline.execution import abandon, open_store, replay
from assay.settings import Settings

COLUMNS = ["id", "month", "quantity", "unit_price", "currency", "net"]


class Usage(BaseModel):
    id: str
    month: str
    quantity: Decimal
    unit_price: Decimal


class Params(BaseModel):
    month: str = "*"
    on: dt.date = dt.date(2026, 3, 31)


BOOK = PriceBook.model_validate(
    {"currency": "EUR", "rounding": "half_up", "steps": [{"kind": "per_unit", "unit_price": {"column": "unit_price"}}]}
)
SINKS: dict[str, Callable[[], Any]] = {
    "parquet": lambda: Parquet("out/ledger", mode="append"),
    "jsonl": lambda: Jsonl("out/ledger.jsonl", mode="append"),
    "csv": lambda: Csv("out/ledger.csv", mode="append"),
    "sql": lambda: Sql("ledger", mode="append"),
    "duckdb": lambda: DuckDb("ledger", mode="append"),
    "delta": lambda: Delta("out/delta", mode="append"),
}


def ledger(to: str = "parquet", **options: Any) -> Booked:
    given: dict[str, Any] = {"amounts": ["quantity", "net"], "rates": ["unit_price"], "columns": COLUMNS} | options
    return Booked(key=["id"], to=SINKS[to](), today="{on}", **given)


def usage(
    *, to: str = "parquet", incremental: bool = False, outputs: dict[str, Any] | None = None, **options: Any
) -> Pipeline:
    return Pipeline(
        "usage",
        Source("in/{month}.jsonl", Usage, key=["id"], decimals=(12, 2), incremental=incremental),
        steps=[Price(BOOK)],
        params=Params,
        outputs=outputs or {"ledger": ledger(to, **options)},
    )


Line = tuple[str, str, str]


def write(folder: Path, month: str, *lines: Line, more: str = "") -> None:
    file = folder / f"in/{month}.jsonl"
    file.parent.mkdir(exist_ok=True)
    made = [{"id": id_, "month": month, "quantity": quantity, "unit_price": price} for id_, quantity, price in lines]
    file.write_text("".join(json.dumps(one) + "\n" for one in made) + more)


def entries(pipeline: Pipeline) -> pl.DataFrame:
    """The whole ledger, as it is published now."""
    output = pipeline.outputs["ledger"]
    target = output.to.open(Path.cwd(), Path("staging"), "ledger", default="out/usage.db")
    stored = target.read()
    assert stored is not None
    return stored.collect()


def booked(pipeline: Pipeline, run: str | None = None) -> list[tuple[Any, ...]]:
    """Of each entry what it is, what it corrects, quantity, price and net; of one run only, or all."""
    found = entries(pipeline)
    if run is not None:
        found = found.filter(booked_run=run)
    shown = found.sort("entry_id").select("entry_id", "entry", "corrects", "quantity", "unit_price", "net")
    return [tuple(str(value) if isinstance(value, Decimal) else value for value in row) for row in shown.iter_rows()]


def sums(pipeline: Pipeline) -> dict[str, tuple[Any, Any]]:
    """Quantity and net by id."""
    by = entries(pipeline).group_by("id").agg(pl.col("quantity", "net").sum())
    return {id_: (quantity, net) for id_, quantity, net in by.iter_rows()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    return tmp_path


@pytest.mark.parametrize("to", SINKS)
def test_a_correction_is_a_reversal_and_a_new_line(folder: Path, to: str) -> None:
    pipeline = usage(to=to)
    write(folder, "03", ("a", "15", "10"), ("b", "1.5", "2"))
    first = pipeline.run().raise_for_status()
    counts = {"new": 2, "corrected": 0, "unchanged": 0, "reversed": 0, "beyond": 0, "absent": 0}
    assert first.booked["ledger"] == counts | {"difference": {}, "forgone": {}}
    before = entries(pipeline)
    write(folder, "03", ("a", "16", "5"), ("b", "1.5", "2"), ("c", "1", "1"))
    second = pipeline.run({"on": dt.date(2026, 4, 30)}).raise_for_status()
    assert booked(pipeline, second.id) == [
        ("a#2", "reversal", "a#1", "-15.00", "10.00", "-150.00"),
        ("a#3", "correction", "a#1", "16.00", "5.00", "80.00"),
        ("c#1", "line", None, "1.00", "1.00", "1.00"),
    ]
    assert (second.booked["ledger"]["unchanged"], second.outputs["ledger"]["rows"]) == (1, 3)
    assert second.booked["ledger"]["difference"] == {"EUR": {"quantity": "1.00", "net": "-70.00"}}
    now = entries(pipeline)
    assert now.filter(booked_run=first.id).sort("id").equals(before.sort("id"))
    assert set(now.filter(booked_run=second.id)["booked_on"]) == {dt.date(2026, 4, 30)}
    again = pipeline.run({"on": dt.date(2026, 4, 30)}, force=True).raise_for_status()
    assert (again.booked["ledger"]["unchanged"], entries(pipeline).height) == (3, 5)


def test_what_was_booked_before_is_a_change_like_any_other(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"))
    usage().run().raise_for_status()
    assert usage().run().repeats
    write(folder, "03", ("a", "1", "5"))
    usage().run().raise_for_status()
    write(folder, "03", ("a", "1", "10"))
    back = usage().run().raise_for_status()
    assert (back.repeats, back.booked["ledger"]["corrected"]) == (False, 1)
    assert booked(usage(), back.id) == [
        ("a#4", "reversal", "a#3", "-1.00", "5.00", "-5.00"),
        ("a#5", "correction", "a#3", "1.00", "10.00", "10.00"),
    ]


def test_in_the_original_period(folder: Path) -> None:
    pipeline = usage(correction="original")
    write(folder, "03", ("a", "1", "10"))
    pipeline.run().raise_for_status()
    write(folder, "03", ("a", "1", "5"), ("b", "1", "1"))
    pipeline.run({"on": dt.date(2026, 4, 30)}).raise_for_status()
    found = entries(pipeline).sort("entry_id").select("entry_id", "booked_on").rows()
    march, april = dt.date(2026, 3, 31), dt.date(2026, 4, 30)
    assert found == [("a#1", march), ("a#2", march), ("a#3", march), ("b#1", april)]


def test_only_what_is_compared_makes_a_correction(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"))
    usage().run().raise_for_status()
    (folder / "in/03.jsonl").write_text('{"id": "a", "month": "march", "quantity": "1", "unit_price": "10"}\n')
    assert usage(compare=["currency"]).run().booked["ledger"]["unchanged"] == 1
    assert usage().run().booked["ledger"]["corrected"] == 1
    # Rates are compared only where all columns are.
    assert entries(usage())["month"].to_list() == ["03", "03", "march"]


def test_incremental_runs_take_nothing_for_gone(folder: Path) -> None:
    pipeline = usage(incremental=True, scope=["currency"], gone="reverse")
    write(folder, "03", ("a", "1", "10"), ("b", "1", "10"))
    pipeline.run().raise_for_status()
    write(folder, "04", ("c", "1", "10"))
    april = pipeline.run().raise_for_status()
    assert (april.counts["read"], april.booked["ledger"]["new"], april.booked["ledger"]["reversed"]) == (1, 1, 0)
    assert april.warnings == []
    write(folder, "03", ("a", "1", "9"))
    changed = pipeline.run().raise_for_status()
    assert (changed.counts["read"], changed.booked["ledger"]["corrected"], changed.booked["ledger"]["reversed"]) == (
        1,
        1,
        0,
    )
    before = entries(pipeline)
    full = pipeline.run(full=True).raise_for_status()
    assert (full.booked["ledger"]["unchanged"], full.booked["ledger"]["reversed"]) == (2, 1)
    assert booked(pipeline, full.id) == [("b#2", "reversal", "b#1", "-1.00", "10.00", "-10.00")]
    assert entries(pipeline).head(before.height).equals(before)
    assert pipeline.run().repeats


def test_a_full_run_prices_everything_anew_and_keeps_what_was_booked(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"))
    write(folder, "04", ("b", "2", "10"))

    def priced(steps: list[dict[str, Any]]) -> Pipeline:
        book = PriceBook.model_validate(BOOK.model_dump() | {"steps": [*BOOK.model_dump()["steps"], *steps]})
        outputs = {"ledger": ledger(), "total": GroupBy(net=Sum("net"), to=Parquet("out/total", mode="merge"))}
        return replace(usage(incremental=True, outputs=outputs), steps=[Price(book)])

    priced([]).run().raise_for_status()
    dearer = priced([{"kind": "percent_off", "percent": "10"}])
    assert dearer.run().repeats
    full = dearer.run(full=True).raise_for_status()
    assert full.booked["ledger"]["corrected"] == 2
    assert sums(dearer) == {"a": (1, 9), "b": (2, 18)}
    assert entries(dearer).height == 6
    assert pl.read_parquet("out/total/*.parquet")["net"].to_list() == [27]


def test_a_run_store_that_knows_nothing_books_nothing_twice(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"))
    usage(incremental=True).run().raise_for_status()
    shutil.rmtree(folder / ".assay")
    again = usage(incremental=True).run().raise_for_status()
    assert (again.booked["ledger"]["unchanged"], entries(usage()).height) == (1, 1)


def test_what_is_gone_is_said_or_reversed_within_its_scope(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"), ("b", "1", "10"))
    write(folder, "04", ("c", "1", "10"))
    usage().run().raise_for_status()
    write(folder, "03", ("a", "1", "10"))
    kept = usage().run({"month": "03"}).raise_for_status()
    assert kept.booked["ledger"]["absent"] == 2
    assert "of which this run has no record (any more, or since it was rejected): 2; they stay" in kept.warnings[0]
    scoped = usage(scope=["month"]).run({"month": "03"}, force=True).raise_for_status()
    assert scoped.booked["ledger"]["absent"] == 1
    reverse = usage(scope=["month"], gone="reverse")
    limited = reverse.run({"month": "03"}, limit=1, force=True).raise_for_status()
    assert (limited.booked["ledger"]["reversed"], limited.booked["ledger"]["absent"]) == (0, None)
    gone = reverse.run({"month": "03"}).raise_for_status()
    assert booked(reverse, gone.id) == [("b#2", "reversal", "b#1", "-1.00", "10.00", "-10.00")]
    assert gone.booked["ledger"]["difference"] == {"EUR": {"quantity": "-1.00", "net": "-10.00"}}
    assert reverse.run({"month": "03"}, force=True).booked["ledger"]["reversed"] == 0
    write(folder, "03", ("a", "1", "10"), ("b", "1", "10"))
    back = reverse.run({"month": "03"}).raise_for_status()
    assert booked(reverse, back.id) == [("b#3", "line", None, "1.00", "10.00", "10.00")]
    assert sums(reverse) == {"a": (1, 10), "b": (1, 10), "c": (1, 10)}


def test_rejects_are_booked_when_they_are_replayed(folder: Path) -> None:
    pipeline = usage(scope=["month"], gone="reverse")
    write(folder, "03", ("a", "1", "10"), ("b", "2", "10"))
    pipeline.run().raise_for_status()
    write(folder, "03", ("a", "1", "10"), more='{"id": "b", "month": "03", "quantity": "x", "unit_price": "9"}\n')
    second = pipeline.run().raise_for_status()
    assert (second.counts["rejected"], second.booked["ledger"]["reversed"]) == (1, 1)
    with open_store(Settings.load()) as store:
        letter = next(iter(store.dead_letters(second.id)))
        store.edit_reject(second.id, letter.number, letter.raw.replace(b'"x"', b'"2"'))
    replayed = replay(pipeline, second.id).raise_for_status()
    assert booked(pipeline, replayed.id) == [("b#3", "line", None, "2.00", "9.00", "18.00")]
    assert (replayed.booked["ledger"]["reversed"], replayed.booked["ledger"]["absent"]) == (0, None)
    assert sums(pipeline) == {"a": (1, 10), "b": (2, 18)}


def test_a_reject_does_not_correct_what_may_be_newer(folder: Path) -> None:
    pipeline = usage(incremental=True)
    write(folder, "03", ("a", "1", "10"), more='{"id": "b", "month": "03", "quantity": "x", "unit_price": "9"}\n')
    first = pipeline.run().raise_for_status()
    write(folder, "04", ("b", "2", "10"))
    later = pipeline.run().raise_for_status()
    with open_store(Settings.load()) as store:
        letter = next(iter(store.dead_letters(first.id)))
        store.edit_reject(first.id, letter.number, letter.raw.replace(b'"x"', b'"2"'))
    refused = replay(pipeline, first.id)
    assert refused.status == "failed"
    message = (refused.error or {})["message"]
    assert (
        f"1 of these records have a key that is published already, such as b: run {later.id} has published" in message
    )
    assert sums(pipeline) == {"a": (1, 10), "b": (2, 20)}


def test_a_full_run_over_a_part_of_the_files_takes_nothing_for_gone(folder: Path) -> None:
    pipeline = usage(incremental=True, scope=["currency"], gone="reverse")
    write(folder, "03", ("a", "1", "10"))
    write(folder, "04", ("b", "1", "10"))
    pipeline.run().raise_for_status()
    part = pipeline.run({"month": "04"}, full=True).raise_for_status()
    assert (part.booked["ledger"]["reversed"], part.booked["ledger"]["absent"]) == (0, None)


def test_lines_before_the_horizon_stay_and_are_said(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"), ("b", "1", "10"))
    usage().run({"on": dt.date(2026, 2, 28)}).raise_for_status()
    write(folder, "03", ("a", "1", "9"), ("b", "1", "10"), ("c", "1", "1"))
    closed = usage(horizon=dt.date(2026, 3, 1))
    result = closed.run().raise_for_status()
    counts = {"new": 1, "corrected": 0, "unchanged": 1, "reversed": 0, "beyond": 1, "absent": 0}
    forgone = {"EUR": {"quantity": "0.00", "net": "-1.00"}}
    assert result.booked["ledger"] == counts | {"difference": {}, "forgone": forgone}
    assert "before the horizon: 1; corrections would have added up to EUR net -1.00" in result.warnings[0]
    assert usage(horizon=dt.date(2026, 2, 28)).run().booked["ledger"]["corrected"] == 1


def test_a_dry_run_says_what_would_be_booked(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"))
    usage().run().raise_for_status()
    write(folder, "03", ("a", "1", "9"))
    dry = usage().run(dry_run=True)
    assert (dry.dry_run, dry.booked["ledger"]["corrected"]) == (True, 1)
    assert dry.as_json()["booked"]["ledger"]["difference"] == {"EUR": {"quantity": "0.00", "net": "-1.00"}}
    assert entries(usage()).height == 1
    assert "0 · corrected 1 · unchanged 0 ·" in dry._repr_html_()


@pytest.mark.parametrize("to", ["parquet", "sql"])
def test_nothing_is_booked_on_a_state_that_is_not_there_any_more(folder: Path, to: str) -> None:
    write(folder, "03", ("a", "1", "10"))
    other = replace(usage(to=to), name="other", source=replace(usage().source, path="in/03.jsonl"))
    sink = Sql("ledger", url="sqlite:///out/usage.db", mode="append") if to == "sql" else SINKS[to]()
    output = replace(ledger(to), to=sink)
    other = replace(other, outputs={"ledger": output})

    def interferes(_: Any) -> None:
        other.run().raise_for_status()

    late = replace(other, name="late", checks=[interferes]).run()
    assert (late.status, late.error and late.error["type"]) == ("running", "SinkError")
    assert "another run has published since this one read what was there" in (late.error or {})["message"]
    assert entries(replace(usage(), outputs={"ledger": output})).height == 1
    abandon(replace(other, name="late"), late.id, Settings.load())
    assert replace(other, name="late").run().booked["ledger"]["unchanged"] == 1


def failing(pipeline: Pipeline, *, force: bool = False) -> str:
    result = pipeline.run(force=force)
    assert result.status == "failed"
    return str((result.error or {})["message"])


def with_note(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(pl.lit(None, pl.String).alias("note"))


def test_two_rows_of_one_key_and_rows_without_one_are_named(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"), ("b", "1", "1"), ("a", "2", "10"))
    assert "key (id) does not tell the rows apart: id='a' is there 2 times" in failing(usage())
    without = replace(usage(outputs={"ledger": replace(ledger(), key=["id", "note"], columns=[*COLUMNS, "note"])}))
    assert "id='a', note=None has a null" in failing(replace(without, steps=[*without.steps, with_note]))


def test_a_ledger_keeps_its_key(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"))
    usage().run().raise_for_status()
    other = usage(outputs={"ledger": replace(ledger(), key=["month", "id"])})
    assert "entry a#1 was not booked by the key (month, id)" in failing(other)


def test_an_entry_that_is_there_twice_is_named(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"))
    usage().run().raise_for_status()
    copy = pl.read_parquet("out/ledger/*.parquet")
    target = SINKS["parquet"]().open(folder, folder / "staging", "ledger", default="")
    target.check(copy.schema)
    target.stage(copy)
    assay.sinks.publish(target.prepare(), "somebody")
    assert "entry a#1 is there twice: something else has written it" in failing(usage(), force=True)


def test_rows_that_were_not_booked_are_no_ledger(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"))
    plain = Rows(to=Parquet("out/ledger", mode="append"), columns=COLUMNS)
    usage(outputs={"ledger": plain}).run().raise_for_status()
    assert 'column "entry" is not in what is published' in failing(usage())
    adding = replace(ledger(), to=Parquet("out/ledger", mode="append", on_schema_change="add"))
    assert "has rows that were not booked: there is no column entry" in failing(usage(outputs={"ledger": adding}))


def test_a_new_column_is_a_change(folder: Path) -> None:
    write(folder, "03", ("a", "1", "10"))
    usage().run().raise_for_status()
    wider: dict[str, Any] = {"columns": [*COLUMNS, "gross"], "amounts": ["quantity", "net", "gross"]}
    adding = replace(ledger(**wider), to=Parquet("out/ledger", mode="append", on_schema_change="add"))
    pipeline = usage(outputs={"ledger": adding})
    assert pipeline.run().raise_for_status().booked["ledger"]["corrected"] == 1
    assert pipeline.run(force=True).booked["ledger"]["unchanged"] == 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"to": Parquet("out/x")}, 'give its sink mode="append", not "replace"'),
    ({"amounts": ["net"]}, "quantity: name each in amounts (it adds up, and a reversal negates it) or in rates"),
    ({"columns": None}, "base, discount, tax, gross: name each"),
    ({"amounts": ["net", "quantiti"]}, 'no amount "quantiti". Did you mean "quantity"?'),
    ({"amounts": ["net", "quantity", "month"]}, "month is String; an amount is a decimal or a signed integer"),
    ({"amounts": ["net", "quantity", "id"]}, "id is in the key"),
    ({"rates": ["unit_price", "net"]}, "net is named in amounts and in rates"),
    ({"rates": ["unit_prize"]}, 'no rate "unit_prize". Did you mean "unit_price"?'),
    ({"amounts": "net"}, '"net" is a text; name columns in a list: ["net"]'),
    ({"amounts": []}, "names no column in amounts"),
    ({"key": []}, "names no column in key"),
    ({"key": ["ident"]}, 'no column "ident"'),
    ({"correction": "currant"}, 'no correction "currant". Did you mean "current"?'),
    ({"gone": "reverse"}, 'gone="reverse" needs scope=[...]'),
    ({"dated": "month"}, "month is String, not a date"),
    ({"today": "{month}"}, 'today: "*" is no date, such as 2026-04-30'),
    ({"today": "{onn}"}, 'no parameter "onn"'),
    ({"horizon": dt.datetime(2026, 3, 1)}, 'horizon: "2026-03-01 00:00:00" is no date'),
    ({"currency": "curency"}, 'no column "curency". Did you mean "currency"?'),
]


@pytest.mark.parametrize(("options", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_definition_that_is_wrong_is_told_before_anything_is_read(
    folder: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError) as told:
        usage(outputs={"ledger": replace(ledger(), **options)}).check()
    assert words in str(told.value)


def test_amounts_in_lists_arrays_and_structs_are_negated(folder: Path) -> None:
    inner = pl.Struct({"x": pl.Struct({"net": pl.Decimal(9, 2), "rate": pl.Decimal(9, 2)}), "of": pl.List(pl.Int64)})

    def nested(rows: pl.LazyFrame) -> pl.LazyFrame:
        net = pl.col("unit_price").cast(pl.Decimal(9, 2)).alias("net")
        return rows.select(
            "_source",
            "_record",
            "id",
            net,
            pl.concat_list(net, net).alias("list"),
            pl.concat_list(net, net).list.to_array(2).alias("array"),
            pl.struct(pl.struct(net, net.alias("rate")).alias("x"), pl.lit([1], pl.List(pl.Int64)).alias("of"))
            .cast(inner)
            .alias("struct"),
        )

    output = replace(ledger(), columns=None, amounts=["net", "list", "array", "struct.x.net"], rates=["struct.x.rate"])
    pipeline = replace(usage(outputs={"ledger": output}), steps=[nested])
    write(folder, "03", ("a", "1", "10"))
    pipeline.run().raise_for_status()
    write(folder, "03", ("a", "1", "9"))
    told = pipeline.run().raise_for_status().booked["ledger"]
    assert told["difference"] == {"": {"net": "-1.00"}}
    reversal = entries(pipeline).filter(entry="reversal").row(0, named=True)
    ten = Decimal("10.00")
    assert (reversal["net"], reversal["list"], list(reversal["array"])) == (-ten, [-ten, -ten], [-ten, -ten])
    assert reversal["struct"] == {"x": {"net": -ten, "rate": ten}, "of": [1]}


def test_a_moment_is_no_key(folder: Path) -> None:
    def timed(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(pl.lit(dt.datetime(2026, 3, 1)).alias("at"))

    output = replace(ledger(columns=[*COLUMNS, "at"]), key=["id", "at"])
    with pytest.raises(ConfigurationError, match="the key of a ledger is text, whole numbers, decimals or dates"):
        replace(usage(outputs={"ledger": output}), steps=[Price(BOOK), timed]).check()


def test_a_name_of_the_ledgers_own_is_refused(folder: Path) -> None:
    def renamed(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(pl.lit("x").alias("entry"))

    wrong = replace(usage(columns=[*COLUMNS, "entry"]), steps=[Price(BOOK), renamed])
    with pytest.raises(ConfigurationError, match="entry is a column that the ledger adds: rename it"):
        wrong.check()


def test_outputs_that_would_have_the_rows_twice_do_not_stand_beside_a_ledger(folder: Path) -> None:
    rows = Rows(to=Parquet("out/rows", mode="append"))
    with pytest.raises(ConfigurationError, match=r"output rows: each run adds its rows again \(mode append\)"):
        usage(outputs={"ledger": ledger(), "rows": rows}).run()
    write(folder, "03")
    usage(outputs={"ledger": ledger(), "rows": replace(rows, to=Parquet("out/rows"))}).check()
    usage(outputs={"ledger": ledger(), "rows": rows}, incremental=True).check()


def test_a_row_without_a_date_is_named(folder: Path) -> None:
    def dated(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(pl.col("month").str.to_date("%Y-%m-%d", strict=False).alias("day"))

    pipeline = replace(usage(columns=[*COLUMNS, "day"], dated="day"), steps=[Price(BOOK), dated])
    write(folder, "2026-03-05", ("a", "1", "10"))
    pipeline.run().raise_for_status()
    assert entries(pipeline)["booked_on"].to_list() == [dt.date(2026, 3, 5)]
    write(folder, "04", ("b", "1", "10"))
    assert "id='b' has no day, by which lines are dated" in failing(pipeline)
