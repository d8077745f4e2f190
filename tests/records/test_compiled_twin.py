"""The compiled verdict against Pydantic's, record by record: verdict, value, errors, raw bytes, place."""

from __future__ import annotations

import datetime as dt
import enum
import json
import string
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NaiveDatetime, create_model
from tests.records import twins

from assay.records import RecordReader
from assay.records.batches import Format
from assay.settings import Settings


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue sky"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 7


@dataclass(frozen=True)
class Kind:
    """A type of field, texts that it mostly takes, and texts that are near to them."""

    annotation: Any
    usual: st.SearchStrategy[str]
    near: tuple[str, ...]


def quoted(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return texts.map(lambda text: json.dumps(text, ensure_ascii=False))


ANYTHING = (
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "1.0",
    "1.5",
    "1e2",
    "1E-2",
    "007",
    "+1",
    ".5",
    "5.",
    "NaN",
    "Infinity",
    "-Infinity",
    "99999999999999999999",
    "9007199254740993",
    "123456789012345",
    "1234567890123456",
    "0.1234567890123456789",
    "1e400",
    '""',
    '" "',
    '"1"',
    '" 1 "',
    '"1.0"',
    '"1_000"',
    '"+1"',
    '"-0"',
    '"007"',
    '"1e3"',
    '"NaN"',
    '"inf"',
    '"٣"',
    '"yes"',
    '"true"',
    '"a"',
    '"\\ud800"',
    '"\\u00e9"',
    '"\\n"',
    '"\\/"',
    '"\\u0061"',
    '"é"',
    '"e\u0301"',
    '"\U0001f600"',
    '"\u00df"',
    '"\t"',
    '"\x7f"',
    "[]",
    "[1]",
    "[null]",
    "{}",
    '{"a":1}',
    '{"a":1,"a":2}',
    "[[",
    '"unterminated',
    '"2024-02-29"',
    '"2023-02-29"',
    '"2024-02-29T00:00:00"',
    '"2024-02-29T00:00:00Z"',
    '"2024-02-29 12:34:56"',
    '"2024-02-29T24:00:00"',
    '"2024-02-29T12:34:60Z"',
    '"2024-02-29T12:34:56.123456789"',
    '"2024-02-29T12:34:56+14:00"',
    '"2024-02-29T12:34:56+19:59"',
    '"0000-01-01"',
    '"0001-01-01"',
    '"9999-12-31"',
    '"2999-12-31T23:59:59-19:00"',
    '"2024-2-9"',
    '"2024-02-30"',
    '"1709164800"',
    '"12:34:56"',
    '"12:34"',
    '"12:34:56.5"',
    '"12:34:56Z"',
    '"24:00:00"',
    '"12345678-1234-1234-1234-123456789ABC"',
    '"{12345678-1234-1234-1234-123456789abc}"',
    '"red"',
    '"blue sky"',
    '"RED"',
    '"x"',
    '"y z"',
)

DATES = st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)).map(str)
TIMES = st.times().map(lambda t: t.isoformat(timespec="auto"))
STAMPS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)).map(lambda d: d.isoformat())
ZONES = st.sampled_from(["Z", "+00:00", "-05:30", "+14:00"])
NUMBERS = st.decimals(-(10**6), 10**6, places=2).map(lambda d: f"{d:f}")
WORDS = st.text(st.sampled_from(string.ascii_letters + " äöß漢'/:,{}[]"), max_size=8)

KINDS: dict[str, Kind] = {
    "bool": Kind(bool, st.sampled_from(["true", "false"]), ()),
    "int": Kind(int, st.integers(-(10**9), 10**9).map(str), ()),
    "int bounds": Kind(
        Annotated[int, Field(ge=-5, lt=100, multiple_of=5)],
        st.integers(-2, 21).map(lambda n: str(5 * n)),
        ("99", "105"),
    ),
    "int text": Kind(int, st.integers(-(10**15), 10**15).map(lambda n: f'"{n}"'), ()),
    "int strict": Kind(Annotated[int, Field(strict=True)], st.integers(-5, 5).map(str), ()),
    "float": Kind(float, st.floats(-1e9, 1e9).map(repr), ("1e5", "0.30000000000000004")),
    "float bounds": Kind(Annotated[float, Field(gt=0, le=2.5)], st.floats(0, 3).map(repr), ("2.5", "0.0")),
    "float text": Kind(float, NUMBERS.map(lambda t: f'"{t}"'), ()),
    "decimal": Kind(
        Annotated[Decimal, Field(max_digits=10, decimal_places=2)],
        NUMBERS,
        ("12345678.91", "123456789.1", "1.999", "1.000"),
    ),
    "decimal text": Kind(
        Annotated[Decimal, Field(max_digits=8, decimal_places=3)],
        quoted(NUMBERS),
        ('"12.3400"', '"123456.1"', '"00012.5"'),
    ),
    "decimal bounds": Kind(
        Annotated[Decimal, Field(ge=0, lt=Decimal("99.995"), max_digits=5, decimal_places=2)],
        NUMBERS,
        ("99.99", "100", "0", "-0", "-0.00"),
    ),
    "decimal small": Kind(
        Annotated[Decimal, Field(max_digits=2, decimal_places=2)],
        quoted(st.sampled_from(["0.5", ".25", "-0.75"])),
        ('"0"', "0.5", "0.0"),
    ),
    "decimal long": Kind(
        Annotated[Decimal, Field(max_digits=30, decimal_places=18)], quoted(NUMBERS), ("0.000000000000000001", "1e-18")
    ),
    "decimal places": Kind(Annotated[Decimal, Field(decimal_places=4)], NUMBERS, ()),
    "str": Kind(str, quoted(WORDS), ()),
    "str measured": Kind(Annotated[str, Field(min_length=1, max_length=3)], quoted(WORDS), ()),
    "str pattern": Kind(
        Annotated[str, Field(pattern=r"^[a-z]+\d?$")], quoted(st.sampled_from(["abc", "a1", "A", "ab\n"])), ()
    ),
    "literal": Kind(Literal["x", "y z", "ü"], st.sampled_from(['"x"', '"y z"', '"ü"']), ()),
    "literal int": Kind(Literal[1, 7, -3], st.sampled_from(["1", "7", "-3"]), ()),
    "enum": Kind(Colour, st.sampled_from(['"red"', '"blue sky"']), ()),
    "enum int": Kind(Level, st.sampled_from(["1", "7"]), ()),
    "date": Kind(dt.date, quoted(DATES), ()),
    "date bounds": Kind(Annotated[dt.date, Field(ge=dt.date(2000, 1, 1))], quoted(DATES), ()),
    "datetime naive": Kind(NaiveDatetime, quoted(STAMPS), ()),
    "datetime": Kind(dt.datetime, quoted(STAMPS), ()),
    "datetime aware": Kind(AwareDatetime, st.tuples(STAMPS, ZONES).map(lambda p: f'"{p[0]}{p[1]}"'), ()),
    "datetime bounds": Kind(
        Annotated[AwareDatetime, Field(lt=dt.datetime(2000, 1, 1, tzinfo=dt.UTC))],
        STAMPS.map(lambda s: f'"{s}Z"'),
        ('"2000-01-01T01:00:00+01:00"',),
    ),
    "time": Kind(dt.time, quoted(TIMES), ()),
    "uuid": Kind(UUID, st.uuids().map(lambda u: f'"{u}"'), ()),
    "list": Kind(
        list[int],
        st.lists(st.integers(-9, 9).map(str), max_size=3).map(lambda v: f"[{','.join(v)}]"),
        ("[1,null]", '["1"]', "[1.5]"),
    ),
    "list of dates": Kind(
        Annotated[list[dt.date], Field(min_length=1, max_length=2)],
        st.lists(quoted(DATES), max_size=3).map(lambda v: f"[{', '.join(v)}]"),
        ('["2023-02-29"]',),
    ),
    "list of optionals": Kind(
        list[Annotated[Decimal, Field(max_digits=6, decimal_places=2)] | None],
        st.lists(st.sampled_from(["null", "1.25", "0.5"]), max_size=3).map(lambda v: f"[{','.join(v)}]"),
        ("[1.255]",),
    ),
    "tuple": Kind(tuple[str, ...], st.lists(quoted(WORDS), max_size=3).map(lambda v: f"[{','.join(v)}]"), ()),
    # Not compiled: the reference has the last word on the whole model.
    "timedelta": Kind(dt.timedelta, st.sampled_from(['"P1D"', '"1 day"']), ()),
    "union": Kind(int | str, st.sampled_from(["1", '"1"']), ()),
}


class Part(BaseModel):
    """A nested model."""

    code: Annotated[str, Field(max_length=3)]
    amount: Annotated[Decimal, Field(ge=0, max_digits=8, decimal_places=2)] | None = None
    day: dt.date | None = None


PARTS = st.tuples(
    quoted(st.text(st.sampled_from("abcd"), max_size=4)),
    NUMBERS,
    st.one_of(st.just("null"), quoted(DATES)),
    st.integers(0, 5),
).map(
    lambda p: (
        "{"
        + ",".join(
            [f'"code":{p[0]}', *([f'"amount":{p[1]}'] if p[3] else []), *([f'"day":{p[2]}'] if p[3] > 1 else [])]
        )
        + "}"
    )
)
KINDS["model"] = Kind(Part, PARTS, ('{"code":"a","amount":1,"code":"b"}', '{"amount":1}'))
KINDS["models"] = Kind(
    list[Part], st.lists(PARTS, max_size=3).map(lambda v: f"[{','.join(v)}]"), ('[{"code":"a"},{"code":"toolong"}]',)
)
KINDS["optional model"] = Kind(Part | None, st.one_of(st.just("null"), PARTS), ())


@dataclass(frozen=True)
class Drawn:
    """One field of a drawn model."""

    name: str
    kind: Kind
    optional: bool
    default: bool
    alias: str | None


NAMES = ("id", "qty", "name", "when", "x_1", "größe", "a.b", "c")
NO_DEFAULT = object()


@st.composite
def models(draw: st.DrawFn) -> tuple[type[BaseModel], list[Drawn]]:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5))
    fields = []
    for name, kind in zip(NAMES, kinds, strict=False):
        fields.append(
            Drawn(
                name.replace(".", "_"),
                KINDS[kind],
                draw(st.booleans()) and draw(st.booleans()),
                draw(st.integers(0, 3)) == 0,
                name if "." in name else draw(st.sampled_from([None, None, f"{name}Alias"])),
            )
        )
    config = draw(
        st.sampled_from(
            [
                ConfigDict(),
                ConfigDict(extra="forbid"),
                ConfigDict(strict=True),
                ConfigDict(str_strip_whitespace=True, str_to_lower=True),
                ConfigDict(str_max_length=3, populate_by_name=True),
                ConfigDict(populate_by_name=True),
                ConfigDict(extra="allow"),
                ConfigDict(coerce_numbers_to_str=True),
            ]
        )
    )
    definitions: dict[str, Any] = {}
    for one in fields:
        annotation = one.kind.annotation | None if one.optional else one.kind.annotation
        options: dict[str, Any] = {"alias": one.alias} if one.alias else {}
        if one.default:
            options["default"] = None
        definitions[one.name] = (annotation, Field(**options))
    return create_model("Drawn", __config__=config, **definitions), fields


def text_of(draw: st.DrawFn, fields: list[Drawn], style: tuple[str, str], *, odd: bool, extra: bool) -> str:
    members = []
    for one in fields:
        if one.default and draw(st.integers(0, 3)) == 0:
            continue
        if one.optional and draw(st.integers(0, 3)) == 0:
            value = "null"
        elif odd and draw(st.integers(0, 2)) == 0:
            value = draw(st.sampled_from([*one.kind.near, *ANYTHING]))
        else:
            value = draw(one.kind.usual)
        key = one.alias or one.name
        if odd and draw(st.integers(0, 9)) == 0:
            key = one.name
        members.append(f"{json.dumps(key, ensure_ascii=False)}:{style[1]}{value}")
    if extra:
        members.append(f'"more":{style[1]}{draw(st.sampled_from(ANYTHING)) if odd else 1}')
    if odd and members and draw(st.integers(0, 5)) == 0:
        members.append(draw(st.sampled_from(members)))
    if odd and draw(st.integers(0, 5)) == 0:
        members = draw(st.permutations(members))
    return "{" + f",{style[0]}".join(members) + "}"


def mutated(draw: st.DrawFn, line: str) -> bytes:
    data = line.encode()
    place = draw(st.integers(0, len(data)))
    new = draw(
        st.sampled_from(
            [
                b"",
                b'"',
                b"\\",
                b",",
                b":",
                b"{",
                b"}",
                b"[",
                b"]",
                b" ",
                b"\t",
                b"0",
                b"-",
                b".",
                b"\xff",
                b"\r",
                b"\x00",
                b"\xef\xbb\xbf",
            ]
        )
    )
    return data[:place] + new + data[place + draw(st.integers(0, 1)) :]


@st.composite
def feeds(draw: st.DrawFn) -> tuple[type[BaseModel], bytes, int]:
    model, fields = draw(models())
    style = draw(st.sampled_from([("", ""), (" ", " "), ("  ", " ")]))
    extra = draw(st.integers(0, 3)) == 0
    lines = []
    for _ in range(draw(st.integers(1, 12))):
        oddness = draw(st.integers(0, 9))
        line = text_of(draw, fields, style, odd=oddness > 6, extra=extra)
        lines.append(mutated(draw, line) if oddness == 9 else line.encode())
    if draw(st.integers(0, 5)) == 0:
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from([b"", b"  ", b"\t"])))
    end = draw(st.sampled_from([b"\n", b"\n", b"\n", b"\r\n"]))
    return model, end.join(lines) + draw(st.sampled_from([b"", end])), draw(st.sampled_from([40, 400, 10**6]))


def compare(model: type[BaseModel], data: bytes, batch_bytes: int = 10**6, fmt: str = "jsonl") -> int:
    """Compare the two ways; gives how many records went to the reference."""
    return twins.compare(model, data, Format(fmt, decimals=(38, 10)), batch_bytes)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(feed=feeds())
def test_the_twins_agree(feed: tuple[type[BaseModel], bytes, int]) -> None:
    model, data, batch_bytes = feed
    compare(model, data, batch_bytes)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(feed=feeds(), indent=st.sampled_from([None, None, 2, "\t"]))
def test_the_twins_agree_on_documents(feed: tuple[type[BaseModel], bytes, int], indent: int | str | None) -> None:
    model, data, batch_bytes = feed
    compare(model, document(data, indent), batch_bytes, "json")


def document(data: bytes, indent: int | str | None) -> bytes:
    """Those of some lines that are JSON, as one array."""
    records = []
    for line in data.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        records.append(line if indent is None else json.dumps(value, indent=indent).encode())
    return b"[" + b",\n".join(records) + b"]"


#: Values as partners send them every day, by kind.
CLEAN: dict[str, tuple[str, ...]] = {
    "bool": ("true", "false"),
    "int": ("0", "17", "-3"),
    "int bounds": ("-5", "0", "95"),
    "int text": ('"0"', '"17"', '"007"'),
    "int strict": ("0", "-3"),
    "float": ("0.5", "17", "-3.25", "0"),
    "float bounds": ("0.5", "2.5"),
    "float text": ('"0.5"', '"17.25"'),
    "decimal": ("0", "17", "12.30", "-0.05", "99999999.99"),
    "decimal text": ('"0"', '"17.250"', '"-0.5"', '"99999.999"'),
    "decimal bounds": ("0", "99.99", "0.01"),
    "decimal small": ('"0.5"', '".25"', '"-0.75"'),
    "decimal long": ('"123456789012.000000000000000001"', '"0.5"'),
    "decimal places": ("17.1234", "0"),
    "str": (r'"\ud83d\ude9a, \uD83D\uDE9A"', '""', '"straße 漢"', '"1"', '"null"', r'"a\n\u00e9\"\/"'),
    "str measured": ('"abc"', '"ä"'),
    "str pattern": ('"abc"', '"a1"'),
    "literal": ('"x"', '"y z"', '"ü"'),
    "literal int": ("1", "7", "-3"),
    "enum": ('"red"', '"blue sky"'),
    "enum int": ("1", "7"),
    "date": ('"2024-02-29"', '"1999-12-31"'),
    "date bounds": ('"2000-01-01"',),
    "datetime naive": ('"2024-02-29T12:34:56"', '"2024-02-29T12:34:56.123456"'),
    "datetime": ('"2024-02-29T12:34:56"',),
    "datetime aware": ('"2024-02-29T12:34:56Z"', '"2024-02-29T12:34:56.5+05:30"', '"2024-02-29T00:00:00-11:00"'),
    "datetime bounds": ('"1999-12-31T23:59:59Z"',),
    "time": ('"12:34:56"', '"00:00:00.000001"'),
    "uuid": ('"12345678-1234-1234-1234-123456789abc"', '"12345678-1234-1234-1234-123456789ABC"'),
    "list": ("[]", "[1]", "[1,2,3]"),
    "list of dates": ('["2024-02-29"]', '["2024-02-29", "2024-03-01"]'),
    "list of optionals": ("[]", "[null, 1.25]"),
    "tuple": ("[]", '["a","b"]'),
    "model": ('{"code":"a","amount":1.5,"day":"2024-01-01"}', '{"code":"b"}', '{"code":"c","amount":null}'),
    "models": ("[]", '[{"code":"a","amount":1.5,"day":null},{"code":"b","day":"2024-01-01"}]'),
    "optional model": ("null", '{"code":"a","amount":1.5}'),
}
REFERRED = {"timedelta", "union"}


def test_every_kind_is_clean_or_referred() -> None:
    assert CLEAN.keys() | REFERRED == KINDS.keys()


@pytest.mark.parametrize("name", sorted(CLEAN))
def test_no_clean_record_goes_to_the_reference(name: str) -> None:
    """The twin is used, not only right."""
    model = create_model("One", it=(KINDS[name].annotation, ...), other=(str, "none"))
    rows = [f'{{"it":{text}}}' for text in CLEAN[name]]
    rows += [f'{{"it": {text}, "other": "x"}}' for text in CLEAN[name]]
    assert compare(model, "".join(f"{row}\n" for row in rows).encode()) == 0


def test_a_clean_flat_feed_is_cut_and_a_change_of_its_look_is_learnt() -> None:
    model = create_model("Two", a=(int, ...), b=(str, ...), c=(dt.date | None, None))
    before = [f'{{"a":{n},"b":"x{n}","c":"2024-01-0{n % 9 + 1}"}}' for n in range(500)]
    after = [f'{{"b": "x{n}", "a": "{n}"}}' for n in range(2000)]
    data = "\n".join([*before, *after]).encode()
    referred = compare(model, data, batch_bytes=4000)
    # At most what comes while the new look is not yet known.
    assert referred < 800


def test_bad_records_cost_themselves_only() -> None:
    model = create_model("Two", a=(int, ...), b=(str, ...))
    good = b'{"a":1,"b":"x"}\n'
    bad = [
        b'{"a":1,"b":"\\ud800"}',
        b'{"a":1,"b":[1]}',
        b'{"a":{},"b":"x"}',
        b'{"a":1,"b":"x"',
        b"\x00",
        b'{"a":1,"b":"x"}}',
    ]
    data = b"".join(good * 100 + one + b"\n" for one in bad)
    assert compare(model, data) == len(bad)


def test_a_line_that_is_no_clean_text_costs_itself_only() -> None:
    model = create_model("Two", a=(int, ...), b=(str, ...))
    good = b'{"a":1,"b":"x"}\n'
    for odd, referred in (
        (b'{"a":1,"b":"\xff"}\n', 1),
        (b'{"a":1,\r"b":"x"}\n', 1),
        (b'{"a":1,"b":"\t"}\n', 1),
        (b'{"a":1,"b":"x"}\r\n', 0),
    ):
        data = good * 1000 + odd + good * 1000
        assert compare(model, data, batch_bytes=1600) == referred
        assert compare(model, (good * 50 + odd) * 40) == 40 * referred
    windows = create_model("Two", b=(str, ...), a=(int, ...))
    assert compare(windows, b'{"b":"x","a":1}\r\n' * 1000) == 0


def test_limit_and_overlong_lines() -> None:
    model = create_model("Two", a=(int, ...), b=(str, ...))
    data = b'{"a":1,"b":"x"}\n' * 50 + b'{"a":2,"b":"' + b"y" * 500 + b'"}\n' + b"\n \n" + b'{"a":3,"b":"z"}\n' * 50
    for limit in (None, 1, 49, 50, 51, 52, 75, 101, 200):
        for batch_bytes in (64, 300, 10**6):
            made = []
            for compiled in (True, False):
                reader = RecordReader(
                    model, Format("jsonl"), Settings(batch_bytes=batch_bytes, max_record_bytes=100, compiled=compiled)
                )
                batches = list(reader.batches(reader.check(data), limit=limit))
                made.append((pl.concat(b.frame for b in batches), pl.concat(b.rejects for b in batches)))
            assert_frame_equal(made[0][0], made[1][0])
            assert_frame_equal(made[0][1], made[1][1])
            assert made[0][0].height + made[0][1].height == min(limit or 101, 101)


def test_zero_is_a_digit_too_many_where_no_whole_digits_are_allowed() -> None:
    class Small(BaseModel):
        x: Annotated[Decimal, Field(max_digits=2, decimal_places=2)]

    numbers = ("0.0", "0.00", "-0.0", "0", "0.01", "0.10", "-0.5", '"0.0"', '".0"', '"0"')
    for order in (numbers, numbers[::-1]):
        compare(Small, "\n".join(f'{{"x":{number}}}' for number in order for _ in range(3)).encode())


@pytest.mark.campaign
@settings(max_examples=12_000, suppress_health_check=list(HealthCheck))
@given(feed=feeds())
def test_the_twins_agree_at_length(feed: tuple[type[BaseModel], bytes, int]) -> None:
    model, data, batch_bytes = feed
    compare(model, data, batch_bytes)


@pytest.mark.campaign
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(feed=feeds(), indent=st.sampled_from([None, None, 2, "\t"]))
def test_the_twins_agree_on_documents_at_length(
    feed: tuple[type[BaseModel], bytes, int], indent: int | str | None
) -> None:
    model, data, batch_bytes = feed
    compare(model, document(data, indent), batch_bytes, "json")
