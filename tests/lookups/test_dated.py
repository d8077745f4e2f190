from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field

from assay import Dated, EcbRates, Http, Lookup, Parquet, Pipeline, Rows, Source, Table
from assay.errors import ConfigurationError, LookupFailed, SourceError
from assay.lookups import LookupContext, cross_rate
from assay.settings import Settings

BERLIN = ZoneInfo("Europe/Berlin")
HERE = LookupContext((Path(),), Settings())


class Rate(BaseModel):
    currency: str
    rate: Annotated[Decimal, Field(max_digits=20, decimal_places=8)]
    valid_from: dt.date
    valid_to: dt.date | None = None
    known_from: AwareDatetime | None = None


class OpenRate(BaseModel):
    currency: str
    rate: Annotated[Decimal, Field(max_digits=20, decimal_places=8)]
    valid_from: dt.date
    known_from: AwareDatetime | None = None


class Price(BaseModel):
    sku: str
    price: int
    since: AwareDatetime


def day(number: int) -> dt.date:
    return dt.date(2026, 3, 20) + dt.timedelta(days=number)


def instant(hours: int) -> dt.datetime:
    # Across the night in which Berlin's clocks go forward.
    return dt.datetime(2026, 3, 27, tzinfo=dt.UTC) + dt.timedelta(hours=hours)


def dated(rows: list[dict[str, Any]], **told: Any) -> Dated:
    made = [{"rate": Decimal(1), "valid_to": None, "known_from": None} | row for row in rows]
    schema = pl.Schema({"currency": pl.String(), "rate": pl.Decimal(20, 8)})
    schema |= pl.Schema({"valid_from": pl.Date(), "valid_to": pl.Date(), "known_from": pl.Datetime("us", "UTC")})
    frame = pl.DataFrame(made, pl.Schema(schema))
    if told.get("missing") == "next" and "valid_to" not in told:
        # What begins early does not end.
        return Dated(Table(frame.drop("valid_to"), OpenRate, name="rates"), **told)
    return Dated(Table(frame, Rate, name="rates"), **told)


def ask(lookup: Dated, keys: pl.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    answer = lookup.open(HERE, tuple(keys.columns)).answer(keys)
    assert answer.failed is None
    made = {tuple(row[c] for c in keys.columns): row for row in answer.rows.iter_rows(named=True)}
    assert len(made) == answer.rows.height
    return made


def scalar(rows: list[dict[str, Any]], key: str, at: dt.date, told: dict[str, Any]) -> Decimal | None:
    """What holds, row by row: the reference."""
    known = [
        row
        for row in rows
        if row["currency"] == key and (told.get("known_at") is None or row["known_from"] <= told["known_at"])
    ]
    latest: dict[dt.date, dict[str, Any]] = {}
    for row in sorted(known, key=lambda r: r["known_from"]) if told.get("known_from") else known:
        latest[row["valid_from"]] = row
    starts = sorted(latest)
    match told["missing"]:
        case "previous":
            fitting = [start for start in starts if start <= at][-1:]
        case "next":
            fitting = [start for start in starts if start >= at][:1]
        case _:
            fitting = [start for start in starts if start == at]
    for start in fitting:
        row = latest[start]
        if row["valid_to"] is not None and at >= row["valid_to"]:
            return None
        age = told.get("max_age_days")
        return None if age is not None and abs((at - start).days) > age else row["rate"]
    return None


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    told: dict[str, Any] = {"missing": draw(st.sampled_from(["previous", "next", "error"]))}
    if draw(st.booleans()):
        told["max_age_days"] = draw(st.integers(0, 4))
    ends = told["missing"] != "next" and draw(st.booleans())
    bitemporal = draw(st.booleans())
    # A column of this name is meant where none is named.
    if ends and draw(st.booleans()):
        told["valid_to"] = "valid_to"
    if bitemporal:
        told["known_from"] = "known_from"
        if draw(st.booleans()):
            told["known_at"] = instant(draw(st.integers(0, 9)))
    unique = st.tuples(st.sampled_from("AB"), st.integers(0, 12), st.integers(0, 9) if bitemporal else st.just(0))
    rows = []
    for number, (currency, start, known) in enumerate(draw(st.lists(unique, max_size=14, unique=True))):
        end = day(start + draw(st.integers(1, 5))) if ends and draw(st.booleans()) else None
        row = {"currency": currency, "rate": Decimal(number + 1), "valid_from": day(start), "valid_to": end}
        rows.append(row | {"known_from": instant(known)})
    return rows, told


@given(tables())
def test_each_answer_is_that_of_a_scalar_reference(made: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    rows, told = made
    keys = pl.DataFrame([{"currency": c, "day": day(n)} for c in "ABC" for n in range(-2, 16)])
    found = ask(dated(rows, **told), keys)
    for key, at in keys.iter_rows():
        row = found.get((key, at))
        assert (row["rate"] if row else None) == scalar(rows, key, at, told), (key, at)


@given(st.lists(st.integers(0, 80), unique=True, max_size=8), st.integers(0, 3))
def test_instants_are_half_open_and_ages_are_calendar_days(starts: list[int], age: int) -> None:
    frame = pl.DataFrame(
        [{"sku": "a", "price": n, "since": instant(n)} for n in starts],
        schema={"sku": pl.String, "price": pl.Int64, "since": pl.Datetime("us", "UTC")},
    )
    lookup = Dated(Table(frame, Price, name="p"), valid_from="since", max_age_days=age, zone="Europe/Berlin")
    moments = [instant(n) + dt.timedelta(microseconds=off) for n in range(82) for off in (-1, 0, 1)]
    keys = pl.DataFrame({"sku": "a", "at": moments}, schema={"sku": pl.String, "at": pl.Datetime("us", "UTC")})
    found = ask(lookup, keys)
    for at in moments:
        before = [n for n in starts if instant(n) <= at]
        expected = max(before, default=None)
        if expected is not None:
            days = (at.astimezone(BERLIN).date() - instant(expected).astimezone(BERLIN).date()).days
            expected = expected if days <= age else None
        row = found.get(("a", at))
        assert (row["price"] if row else None) == expected


def test_an_instant_becomes_the_day_of_the_zone() -> None:
    rows = [{"currency": "A", "rate": Decimal(n), "valid_from": dt.date(2026, 3, n)} for n in (1, 2)]
    late = dt.datetime(2026, 3, 1, 23, 30, tzinfo=dt.UTC)
    keys = pl.DataFrame({"currency": "A", "at": [late]})
    for zone, rate in (("UTC", 1), ("Europe/Berlin", 2)):
        (row,) = ask(dated(rows, zone=zone), keys).values()
        assert row["rate"] == rate


def test_a_day_asked_of_instants_is_its_midnight_in_the_zone() -> None:
    frame = pl.DataFrame({"sku": "a", "price": 1, "since": [dt.datetime(2026, 3, 1, 23, tzinfo=dt.UTC)]})
    lookup = Dated(Table(frame, Price, name="p"), valid_from="since", zone="Europe/Berlin")
    days = [dt.date(2026, 3, 1), dt.date(2026, 3, 2)]
    assert list(ask(lookup, pl.DataFrame({"sku": "a", "on": days}))) == [("a", days[1])]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"missing": "nearest"}, 'is "previous", "next" or "error"'),
        ({"max_age_days": -1}, "max_age_days must not be under 0"),
        ({"missing": "next", "valid_to": "valid_to"}, "choose one"),
        ({"known_at": instant(1)}, "known_at needs known_from"),
        ({"known_at": dt.datetime(2026, 1, 1), "known_from": "known_from"}, "and a zone"),
        ({"zone": "Mars/Base"}, 'no time zone "Mars/Base"'),
        ({"valid_from": "rate"}, "rate is Decimal"),
        ({"known_from": "valid_to"}, "a time with its zone"),
        ({"valid_to": "known_from"}, "of different types"),
        ({"valid_from": "valid_form"}, 'Did you mean "valid_from"?'),
    ],
)
def test_what_makes_no_sense_is_refused(told: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        dated([], **told).open(HERE, ("currency", "at"))
    assert words in str(wrong.value)


def test_two_rows_of_a_moment_and_rows_that_end_before_they_begin_are_refused() -> None:
    row = {"currency": "A", "valid_from": day(1)}
    with pytest.raises(LookupFailed, match="1 keys stand in it more than once"):
        dated([row, row]).open(HERE, ("currency", "at"))
    with pytest.raises(LookupFailed, match="ends before it begins, or as it does"):
        dated([row | {"valid_to": day(1)}], valid_to="valid_to").open(HERE, ("currency", "at"))
    with pytest.raises(ConfigurationError, match="a column of the table as well"):
        dated([row]).open(HERE, ("currency", "valid_from"))


# ---- the ECB's files -------------------------------------------------------------------------------------------

XML = """<?xml version="1.0"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01"
 xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref"><Cube>{}</Cube></gesmes:Envelope>"""
DAY = '<Cube time="{}"><Cube currency="USD" rate="{}"/><Cube currency="JPY" rate="160.5"/></Cube>'


def rates(tmp_path: Path, text: str, **told: Any) -> pl.DataFrame:
    (tmp_path / "rates").write_text(text)
    return EcbRates(str(tmp_path / "rates"), **told).read(HERE)


def test_xml_and_csv_give_the_same_rates(tmp_path: Path) -> None:
    from_xml = rates(tmp_path, XML.format(DAY.format("2026-03-31", "1.25") + DAY.format("2026-03-30", "1.2")))
    from_csv = rates(tmp_path, "Date,USD,JPY,CYP,\n2026-03-31,1.25,160.5,N/A,\n2026-03-30,1.2,160.5,N/A,\n")
    of_a_day = rates(tmp_path, "Date, USD, JPY, \n31 March 2026, 1.25, 160.5, \n")
    assert from_xml.equals(from_csv)
    assert of_a_day.equals(from_xml.filter(pl.col("valid_from") == dt.date(2026, 3, 31)))
    assert of_a_day.rows() == [
        ("EUR", Decimal(1), dt.date(2026, 3, 31)),
        ("USD", Decimal("1.25"), dt.date(2026, 3, 31)),
        ("JPY", Decimal("160.5"), dt.date(2026, 3, 31)),
    ]


def test_cross_rates_go_by_way_of_the_euro(tmp_path: Path) -> None:
    crossed = rates(tmp_path, XML.format(DAY.format("2026-03-31", "1.25")), base="USD")
    assert dict(crossed.select("currency", "rate").iter_rows()) == {
        "EUR": Decimal("0.8"),
        "USD": Decimal(1),
        "JPY": Decimal("128.4"),
    }
    with pytest.raises(LookupFailed, match="no rate for CHF on any day"):
        rates(tmp_path, XML.format(DAY.format("2026-03-31", "1.25")), base="CHF")


positive = st.decimals("0.000001", "999999", places=6)


@given(positive, positive)
def test_a_cross_rate_is_the_quotient_to_18_places(base: Decimal, quoted: Decimal) -> None:
    from fractions import Fraction

    made = cross_rate(base, quoted)
    assert abs(Fraction(made) - Fraction(quoted) / Fraction(base)) <= Fraction(1, 2 * 10**18)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'first column is not "Date"'),
        ("Datum,USD\n", 'first column is not "Date"'),
        ("Date,USD\n", "has no rates"),
        ("Date,USD\n2026-13-01,1\n", "is no day"),
        ("Date,USD\n2026-03-31,1,2\n", "line 2 has 3 cells, the first 2"),
        ("Date,USD\n2026-03-31,1\n2026-03-31,1\n", "stands in it twice"),
        ("Date,USD,USD\n2026-03-31,1,2\n", "USD has two rates"),
        ('Date,USD\n2026-03-31,"1,2"\n', "is no rate"),
        ("Date,USD\n2026-03-31,0\n", "is no rate"),
        ("Date,USD\n2026-03-31,NaN\n", "is no rate"),
        ("<a><b></a>", "is no XML"),
        ("<a/>", "has no rates"),
        (XML.format(DAY.format("soon", "1")), "is no day"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises((SourceError, LookupFailed)) as wrong:
        rates(tmp_path, text)
    assert words in str(wrong.value)
    assert str(tmp_path) in str(wrong.value)


def test_the_real_history_has_no_weekends_and_a_sunday_has_fridays_rate(suites: Path) -> None:
    path = suites / "fx-ecb/eurofxref-hist-90d-b.xml"
    if not path.exists():
        pytest.skip("the ECB's files are absent")
    history = EcbRates(str(path))
    frame = history.read(HERE)
    days = frame.filter(currency="USD")["valid_from"].sort()
    assert days.dt.weekday().max() == 5
    assert frame.filter(pl.col("valid_from") == dt.date(2017, 3, 3), currency="USD")["rate"].item() == Decimal("1.0565")
    gaps = days.diff().dt.total_days()
    # Christmas of 2016 was a weekend and the Monday after.
    assert gaps.max() == 4
    last = days.max()
    keys = pl.DataFrame({"currency": "USD", "day": [dt.date(2017, 2, 26), last + dt.timedelta(days=4)]})  # type: ignore[operator]
    for age, answers in ((0, 0), (1, 0), (2, 1), (3, 1), (4, 2)):
        assert len(ask(Dated(history, max_age_days=age), keys)) == answers
    friday = frame.filter(pl.col("valid_from") == dt.date(2017, 2, 24), currency="USD")["rate"].item()
    assert ask(Dated(history), keys)["USD", dt.date(2017, 2, 26)]["rate"] == friday


def test_the_real_file_of_a_day_is_read(suites: Path) -> None:
    path = suites / "fx-ecb/eurofxref.csv"
    if not path.exists():
        pytest.skip("the ECB's files are absent")
    frame = EcbRates(str(path)).read(HERE)
    assert frame["valid_from"].unique().to_list() == [dt.date(2026, 10, 30)]
    assert frame.filter(currency="ISK")["rate"].item() == Decimal("136.00")


@pytest.mark.parametrize("base", ["EUR", "USD"])
def test_the_base_is_one_on_each_day(tmp_path: Path, base: str) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("Date,USD\n2026-03-30,1.2\n2026-03-27,1.1\n")
    frame = EcbRates(str(path), base=base).read(HERE)
    itself = frame.filter(currency=base)
    assert itself["valid_from"].to_list() == [dt.date(2026, 3, day) for day in (27, 28, 29, 30)]
    assert itself["rate"].unique().to_list() == [Decimal(1)]
    other = "USD" if base == "EUR" else "EUR"
    keys = pl.DataFrame({"currency": [base, other], "day": [dt.date(2026, 3, 28)] * 2})
    assert list(ask(Dated(EcbRates(str(path), base=base), missing="error"), keys)) == [(base, dt.date(2026, 3, 28))]


def test_the_zone_is_asked_for_where_it_matters(project: Path) -> None:
    def check(table: pl.DataFrame, at: str, **told: Any) -> None:
        class Day(BaseModel):
            sku: str
            price: int
            since: dt.date

        model = Day if table.schema["since"] == pl.Date else Price
        step = Lookup(Dated(Table(table, model, name="p"), valid_from="since", **told), on="sku", at=at)
        outputs = {"o": Rows(to=Parquet("out"))}
        Pipeline("p", source=Source("s.jsonl", Bought, key=["id"]), steps=[step], outputs=outputs).check()

    (project / "s.jsonl").write_text("")
    days = pl.DataFrame({"sku": ["a"], "price": [1], "since": [dt.date(2026, 1, 1)]})
    instants = pl.DataFrame({"sku": ["a"], "price": [1], "since": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]})
    check(days, "bought_on")
    check(instants, "bought_at")
    check(days, "bought_at", zone="Europe/Berlin")
    check(instants, "bought_at", zone="Europe/Berlin", max_age_days=3)
    for table, at, told, words in (
        (days, "bought_at", {}, "bought_at is an instant and since a day: say in which zone a day begins"),
        (instants, "bought_on", {}, "since is an instant and bought_on a day: say in which zone"),
        (instants, "bought_at", {"max_age_days": 3}, "max_age_days counts days between the instants"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            check(table, at, **told)


class Bought(BaseModel):
    id: int
    sku: str
    bought_on: dt.date
    bought_at: AwareDatetime


class Sale(BaseModel):
    id: int
    currency: str
    sold_at: AwareDatetime


def test_in_a_pipeline_each_row_gets_the_rate_of_its_day(project: Path) -> None:
    (project / "rates.csv").write_text("Date,USD\n2026-03-27,1.1\n2026-03-30,1.2\n")
    moments = ["2026-03-27T12:00:00Z", "2026-03-29T12:00:00Z", "2026-03-29T22:30:00Z", "2026-04-09T12:00:00Z"]
    rows = "\n".join(f'{{"id": {n}, "currency": "USD", "sold_at": "{at}"}}' for n, at in enumerate(moments))
    (project / "sales.jsonl").write_text(rows)
    made = Pipeline(
        "sales",
        source=Source("sales.jsonl", Sale, key=["id"]),
        steps=[
            Lookup(
                Dated(EcbRates("rates.csv"), max_age_days=5, zone="Europe/Berlin"),
                on="currency",
                at="sold_at",
                prefix="fx_",
            )
        ],
        outputs={"sales": Rows(to=Parquet("out"))},
    )
    result = made.run()
    assert result.status == "published"
    found = pl.read_parquet("out/*.parquet").select("id", "fx_rate", "fx_valid_from").rows()
    friday, monday = (Decimal("1.1"), dt.date(2026, 3, 27)), (Decimal("1.2"), dt.date(2026, 3, 30))
    assert found == [(0, *friday), (1, *friday), (2, *monday)]
    assert [r["errors"][0]["type"] for r in result.rejects.to_dicts()] == ["lookup_missing"]
    source = Source("sales.jsonl", Sale, key=["id"])
    for lookup in (
        Lookup(Dated(EcbRates("rates.csv")), on="currency"),
        Lookup(EcbRates("rates.csv"), "currency", at="id"),
    ):
        with pytest.raises(ConfigurationError, match="dated"):
            Pipeline("s", source=source, steps=[lookup], outputs=made.outputs).check()


DAYS = st.dates(dt.date(1975, 1, 1), dt.date(2026, 12, 31))
# Where clocks have gone forward at midnight, or a day is not in the calendar.
MISSING_MIDNIGHTS = [
    ("America/Sao_Paulo", dt.date(2018, 11, 4)),
    ("Africa/Cairo", dt.date(2024, 4, 26)),
    ("Asia/Beirut", dt.date(2022, 3, 27)),
    ("Pacific/Apia", dt.date(2011, 12, 30)),
]


def begins(zone: str, on: dt.date) -> dt.datetime:
    table = Table(pl.DataFrame({"sku": "a", "price": 1, "since": [instant(0)]}), Price)
    opened = Dated(table, valid_from="since", zone=zone).open(HERE, ("sku", "on"))
    made: dt.datetime = pl.DataFrame({"on": [on]}).select(opened.moment("on", pl.Date())).item()
    return made


@pytest.mark.parametrize(("zone", "on"), MISSING_MIDNIGHTS)
def test_a_day_without_midnight_begins_when_the_clocks_have_gone_forward(zone: str, on: dt.date) -> None:
    assert begins(zone, on) == dt.datetime.combine(on, dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)


@given(st.sampled_from([zone for zone, _ in MISSING_MIDNIGHTS] + ["America/Havana", "Atlantic/Azores"]), DAYS)
def test_a_day_begins_as_the_standard_library_has_it(zone: str, on: dt.date) -> None:
    assert begins(zone, on) == dt.datetime.combine(on, dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)


def test_a_row_that_does_not_say_from_when_on_it_holds_is_refused() -> None:
    class Unsure(Rate):
        valid_from: dt.date | None  # type: ignore[assignment]

    frame = pl.DataFrame({"currency": ["A"], "rate": [Decimal(1)], "valid_from": [None]})
    with pytest.raises(LookupFailed, match="a row of A has no valid_from"):
        Dated(Table(frame, Unsure, name="rates")).open(HERE, ("currency", "at"))
    unknown = {"currency": "A", "valid_from": day(1)}
    with pytest.raises(LookupFailed, match="a row of A has no known_from"):
        dated([unknown], known_from="known_from").open(HERE, ("currency", "at"))


def test_what_cannot_be_read_whole_cannot_be_dated() -> None:
    with pytest.raises(ConfigurationError, match="Http cannot be read whole"):
        Dated(Http("https://rates.example/{currency}", Rate))  # type: ignore[arg-type]


def test_days_on_which_the_base_has_no_rate_have_none(tmp_path: Path) -> None:
    # The krona was not quoted for nine years.
    crossed = rates(tmp_path, "Date,USD,ISK,\n2026-01-02,1.5,150,\n2026-01-01,1.2,N/A,\n", base="ISK")
    assert crossed.rows() == [
        ("EUR", Decimal("0.006666666666666667"), dt.date(2026, 1, 2)),
        ("USD", Decimal("0.01"), dt.date(2026, 1, 2)),
        ("ISK", Decimal(1), dt.date(2026, 1, 2)),
    ]


@pytest.mark.parametrize("rate", ["1_0.5", "\uff11.2", "1e3", "+1", ".5", "1.", "0", "-1", "NaN", "1 000", ""])
def test_a_rate_is_plain_digits(tmp_path: Path, rate: str) -> None:
    with pytest.raises(LookupFailed, match="is no rate"):
        rates(tmp_path, XML.format(DAY.format("2026-03-31", rate)))


@pytest.mark.parametrize("base", ["USD", "JPY"])
def test_a_cross_rate_that_does_not_fit_is_told_and_not_null(tmp_path: Path, base: str) -> None:
    with pytest.raises(LookupFailed, match="which no rate of 18 places"):
        rates(tmp_path, "Date,USD,JPY,\n2026-01-02,0.000000000000000001,100000000000000000,\n", base=base)


def test_a_file_of_rates_has_no_doctype_and_no_archive(tmp_path: Path) -> None:
    text = XML.format(DAY.format("2026-03-31", "&x;"))
    with pytest.raises(SourceError, match="has a DOCTYPE"):
        rates(tmp_path, text.replace("<gesmes", '<!DOCTYPE a [<!ENTITY x "9.99">]><gesmes', 1))
    (tmp_path / "rates.zip").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(SourceError, match="is an archive: take the CSV out"):
        EcbRates(str(tmp_path / "rates.zip")).read(HERE)
