"""Checks of what is about to be published."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

import assay
from assay import (
    ConfigurationError,
    ControlTotal,
    Freshness,
    GroupBy,
    Holds,
    Parquet,
    Pipeline,
    RowCount,
    Rows,
    Source,
    Sql,
    Sum,
    Unique,
)
from assay.pipeline import Pending
from assay.pipeline.execution import open_store, replay


class Line(BaseModel):
    order: str
    currency: str
    day: dt.date
    net: Decimal


class Params(BaseModel):
    control: Decimal = Decimal("6.50")


LINES = [
    ("1", "EUR", "2026-01-01", "1.50"),
    ("2", "EUR", "2026-01-02", "5.00"),
    ("2", "USD", "2026-01-03", "7.00"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    fields = ("order", "currency", "day", "net")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(dict(zip(fields, row, strict=True))) + "\n" for row in LINES))
    return tmp_path


def checked(*checks: Any) -> Pipeline:
    return Pipeline(
        "shop",
        Source("in.jsonl", Line, decimals=(10, 2)),
        outputs={
            "lines": Rows(to=Parquet("out/lines")),
            "total": GroupBy("currency", net=Sum("net"), to=Sql("total")),
        },
        params=Params,
        checks=checks,
    )


def at(day: int) -> dt.datetime:
    return dt.datetime(2026, 1, day, 12, tzinfo=dt.UTC)


EUR = pl.col("currency") == "EUR"
DAY = dt.timedelta(days=1)


@pytest.mark.parametrize(
    "check",
    [
        RowCount("lines", at_least=3, at_most=3),
        RowCount("total", at_least=2),
        Unique("lines", "order", "currency"),
        ControlTotal("lines", "net", equals=Decimal("13.5")),
        ControlTotal("lines", "net", equals="{control}", where=EUR),
        ControlTotal("total", "net", equals="13.49", within=Decimal("0.01")),
        Freshness("lines", "day", within=DAY, now=lambda: at(4)),
        Holds("positive", "lines", pl.col("net") > 0),
        lambda pending: None if pending.counts["read"] == 3 else "no",
    ],
)
def test_what_holds_is_published(folder: Path, check: Any) -> None:
    result = checked(check).run()
    assert result.status == "published", result.error
    assert len(result.ledger["checks"]) == 1


def explodes(_pending: Pending) -> str | None:
    raise ValueError("no such thing")


def money_is(pending: Pending) -> str | None:
    total = pending.outputs["total"].select(pl.col("net").sum()).collect().item()
    return f"{total} of {pending.counts['written']}"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (RowCount("lines", at_least=4), "row count of lines: 3 rows, at least 4 are expected"),
        (RowCount("lines", at_most=2), "3 rows, at most 2 are expected"),
        (Unique("lines", "order"), "unique order in lines: 1 are there more than once, such as order=2 (2 times)"),
        (
            ControlTotal("lines", "net", equals="{control}"),
            "control total of net in lines: 13.50, and 6.50 is expected: +7.00 off",
        ),
        (ControlTotal("lines", "net", equals=13, within=Decimal("0.1")), "+0.50 off, 0.1 is allowed"),
        (Freshness("lines", "day", within=DAY, now=lambda: at(5)), "older than 1 day"),
        (Holds("only EUR", "lines", EUR), "only EUR: 1 rows of lines are otherwise; the first: order=2, currency=USD"),
        (money_is, "money_is: 13.50 of 3"),
        (explodes, "explodes: ValueError: no such thing"),
    ],
)
def test_what_does_not_hold_is_not_published(folder: Path, check: Any, words: str) -> None:
    result = checked(RowCount("lines"), check).run()
    assert result.status == "failed"
    assert (result.error or {})["type"] == "CheckFailed"
    assert words in (result.error or {})["message"]
    assert not (folder / "out").exists()
    assert not (folder / ".assay-staging").exists()


def test_every_failure_is_told_at_once(folder: Path) -> None:
    message = (checked(RowCount("lines", 9), Unique("lines", "order")).run().error or {})["message"]
    assert "row count" in message
    assert "unique order" in message


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (RowCount("line"), 'no output "line". Did you mean "lines"'),
        (Unique("lines", "oder"), 'no column "oder". Did you mean "order"'),
        (Unique("lines"), "name the columns"),
        (ControlTotal("lines", "order", equals=1), "order is String"),
        (ControlTotal("lines", "net", equals="{contro}"), 'no parameter "contro"'),
        (ControlTotal("lines", "net", equals="much"), "'much' is no exact amount"),
        (ControlTotal("lines", "net", equals=1.5), "1.5 is no exact amount"),  # type: ignore[arg-type]
        (Freshness("lines", "net", within=DAY), "not a date or datetime"),
        (Holds("x", "lines", pl.col("net")), "not true or false"),
    ],
)
def test_a_check_that_cannot_be_made_is_told_before_any_data(folder: Path, check: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        checked(check).check()
    assert words in str(raised.value)
    assert "check " in str(raised.value)


def test_what_is_no_check_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is no check"):
        checked("rows > 3")
    with pytest.raises(ConfigurationError, match="is no check"):
        checked(RowCount)


def test_a_dry_run_checks_and_a_replay_is_not_taken_for_a_feed(folder: Path) -> None:
    assert checked(RowCount("lines", at_least=9)).run(dry_run=True).status == "failed"
    with (folder / "in.jsonl").open("a") as file:
        file.write('{"order": "3"}\n')
    made = checked(
        RowCount("lines", at_least=3), ControlTotal("lines", "net", equals="13.50"), Holds("+", "lines", EUR)
    )
    first = checked(RowCount("lines", at_least=3)).run()
    with open_store(assay.Settings.load()) as store:
        store.edit_reject(first.id, 1, b'{"order": "3", "currency": "USD", "day": "2026-01-04", "net": "1.00"}')
        failed = replay(made, first.id)
        assert "+: 1 rows of lines are otherwise" in (failed.error or {})["message"]
        store.edit_reject(first.id, 1, b'{"order": "3", "currency": "EUR", "day": "2026-01-04", "net": "1.00"}')
    assert replay(made, first.id).status == "published"
