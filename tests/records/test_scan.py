import datetime as dt
import enum
import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import polars as pl
import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel, field_validator

import assay
from assay.errors import ConfigurationError, SourceError
from assay.records import EmptySourceWarning
from assay.settings import Settings


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    price: Annotated[Decimal, Field(max_digits=6, decimal_places=2)]
    when: dt.date | None = None


class Everything(BaseModel):
    i: int
    f: float
    b: bool
    s: str
    money: Annotated[Decimal, Field(max_digits=10, decimal_places=4)]
    d: dt.date
    t: dt.time
    naive: dt.datetime
    aware: AwareDatetime
    span: dt.timedelta
    uuid: UUID
    colour: Colour
    choice: Literal["x", "y"]
    number: Literal[1, 2]
    inner: Inner
    inners: list[Inner]
    tags: set[str]
    counts: dict[str, int]
    either: int | str
    anything: Any
    maybe: Optional[int] = None  # noqa: UP045 - people write it so


GOOD: dict[str, Any] = {
    "i": 1,
    "f": 1.5,
    "b": True,
    "s": "é\u0000 ok",
    "money": "12.3400",
    "d": "2024-02-29",
    "t": "12:34:56.789",
    "naive": "2024-01-01T10:00:00",
    "aware": "2024-01-01T10:00:00+02:00",
    "span": "P1DT1H",
    "uuid": "12345678-1234-5678-1234-567812345678",
    "colour": "red",
    "choice": "x",
    "number": 2,
    "inner": {"price": 1.1},
    "inners": [{"price": "2.00", "when": "2024-01-01"}, {"price": 3}],
    "tags": ["b", "a"],
    "counts": {"k": 7},
    "either": "1",
    "anything": {"deep": [1, None]},
}


def lines(*rows: Any) -> bytes:
    return b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)


def test_every_kind_of_field_has_its_column() -> None:
    frame = assay.scan(lines(GOOD), Everything, format="jsonl").collect()
    assert dict(frame.schema) == {
        "i": pl.Int64,
        "f": pl.Float64,
        "b": pl.Boolean,
        "s": pl.String,
        "money": pl.Decimal(10, 4),
        "d": pl.Date,
        "t": pl.Time,
        "naive": pl.Datetime("us"),
        "aware": pl.Datetime("us", "UTC"),
        "span": pl.Duration("us"),
        "uuid": pl.String,
        "colour": pl.Enum(["red", "blue"]),
        "choice": pl.Enum(["x", "y"]),
        "number": pl.Int64,
        "inner": pl.Struct({"price": pl.Decimal(6, 2), "when": pl.Date}),
        "inners": pl.List(pl.Struct({"price": pl.Decimal(6, 2), "when": pl.Date})),
        "tags": pl.List(pl.String),
        "counts": pl.List(pl.Struct({"key": pl.String, "value": pl.Int64})),
        "either": pl.String,
        "anything": pl.String,
        "maybe": pl.Int64,
    }
    row = frame.row(0, named=True)
    assert row["money"] == Decimal("12.34")
    assert row["aware"] == dt.datetime(2024, 1, 1, 8, tzinfo=dt.UTC)
    assert row["naive"] == dt.datetime(2024, 1, 1, 10)
    assert row["span"] == dt.timedelta(days=1, hours=1)
    assert row["inners"] == [
        {"price": Decimal("2.00"), "when": dt.date(2024, 1, 1)},
        {"price": Decimal("3.00"), "when": None},
    ]
    assert (row["tags"], row["counts"]) == (["a", "b"], [{"key": "k", "value": 7}])
    assert (row["either"], row["anything"], row["maybe"]) == ('"1"', '{"deep":[1,null]}', None)


class Line(BaseModel):
    id: str
    qty: Annotated[Decimal, Field(max_digits=6, decimal_places=2, gt=0)]
    n: int = 0


BAD = lines(
    {"id": "a", "qty": "1"},
    {"id": "b", "qty": "1,5", "n": "x"},
    b"{broken",
    {"qty": "2"},
    {"id": "e", "qty": "3", "n": 2**70},
    {"id": "f", "qty": "4"},
)


def test_rejects_keep_place_bytes_and_every_error() -> None:
    result = assay.read(BAD, Line, format="jsonl", trace=True)
    assert result.counts == {"read": 6, "accepted": 2, "rejected": 4}
    assert result.frame["_record"].to_list() == [0, 5]
    rejects = result.rejects.to_dicts()
    assert [r["stage"] for r in rejects] == ["validate", "validate", "validate", "represent"]
    assert [[(e["loc"], e["type"]) for e in r["errors"]] for r in rejects] == [
        [("qty", "decimal_parsing"), ("n", "int_parsing")],
        [("", "json_invalid")],
        [("id", "missing")],
        [("n", "unrepresentable")],
    ]
    assert rejects[0]["errors"][0]["input"] == "1,5"
    for reject in rejects:
        assert BAD[reject["offset"] :].startswith(reject["raw"])
        assert BAD.split(b"\n")[reject["line"] - 1] == reject["raw"]


def test_the_first_reject_is_raised_with_a_way_out() -> None:
    with pytest.raises(assay.ValidationError, match=r"record 1 \(line 2\): qty: .*decimal_parsing.*rejects=") as error:
        assay.scan(BAD, Line, format="jsonl").collect()
    assert (error.value.record, error.value.line) == (1, 2)
    assert [e["loc"] for e in error.value.errors] == ["qty", "n"]


def test_where_rejects_can_go(tmp_path: Path) -> None:
    collected: list[pl.DataFrame] = []
    frame = assay.scan(BAD, Line, format="jsonl", rejects=collected.append).collect()
    assert frame.height == 2
    assert pl.concat(collected).height == 4
    assert assay.scan(BAD, Line, format="jsonl", rejects="drop").collect().equals(frame)
    for name in ("r.parquet", "r.jsonl"):
        assay.scan(BAD, Line, format="jsonl", rejects=tmp_path / name).collect()
    assert pl.read_parquet(tmp_path / "r.parquet").equals(pl.concat(collected))
    kept = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [k["raw"].encode() for k in kept] == pl.concat(collected)["raw"].to_list()
    with pytest.raises(ConfigurationError, match="no way to collect"):
        assay.scan(BAD, Line, format="jsonl", rejects="rais")


def test_lazy_projection_predicate_and_slice() -> None:
    data = lines(*({"id": str(i), "qty": "1", "n": i} for i in range(1000)))
    settings = Settings(batch_records=64)
    scan = assay.scan(data, Line, format="jsonl", settings=settings)
    assert scan.select("n").collect().columns == ["n"]
    assert scan.filter(pl.col("n") >= 500).select("id").head(2).collect()["id"].to_list() == ["500", "501"]
    assert scan.head(3).filter(pl.col("n") > 1).collect()["n"].to_list() == [2]
    assert scan.slice(990, 5).collect()["n"].to_list() == [990, 991, 992, 993, 994]
    assert scan.select(pl.col("n").sum()).collect(engine="streaming").item() == 499_500
    assert scan.collect_schema() == scan.collect().schema


def test_head_does_not_read_on() -> None:
    data = lines({"id": "a", "qty": "1"}) + b"\n" + b"{broken\n" * 10
    settings = Settings(batch_records=1)
    assert assay.scan(data, Line, format="jsonl", settings=settings).head(1).collect().height == 1


def test_an_empty_file_has_no_records_and_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"")
    with pytest.warns(EmptySourceWarning, match="empty"):
        assert assay.read(path, Line).counts == {"read": 0, "accepted": 0, "rejected": 0}


def test_the_format_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot tell the format of <bytes>.*json, jsonl, xml"):
        assay.scan(b"", Line)
    with pytest.raises(assay.UnknownFormatError, match='Did you mean "json"'):
        assay.scan(b"", Line, format="jason")
    with pytest.raises(SourceError, match="no such file"):
        assay.scan(tmp_path / "x.jsonl", Line)


def test_damage_comes_after_what_was_read() -> None:
    collected: list[pl.DataFrame] = []
    data = b'[{"id":"a","qty":"1"},{"id":"b","qty":"x"},{"id":"c","qty":'
    with pytest.raises(SourceError, match="after record 2"):
        assay.scan(data, Line, format="json", rejects=collected.append).collect()
    assert pl.concat(collected)["record"].to_list() == [1]


def test_an_unbounded_decimal_needs_decimals() -> None:
    class Loose(BaseModel):
        x: Decimal

    with pytest.raises(ConfigurationError, match=r"Loose.x: this Decimal has no bound.*decimals=\(38, s\)"):
        assay.scan(b"", Loose, format="jsonl")
    data = lines({"x": "1.5"}, {"x": "1e60"}, {"x": "0.1234567"}, {"x": "1E+2"}, {"x": "-0"})
    result = assay.read(data, Loose, format="jsonl", decimals=(38, 6))
    assert result.frame["x"].to_list() == [Decimal("1.5"), Decimal(100), Decimal(0)]
    assert result.rejects["stage"].to_list() == ["represent", "represent"]


def test_datetimes_of_two_kinds_do_not_mix() -> None:
    class When(BaseModel):
        at: dt.datetime

    data = lines({"at": "2024-01-01T00:00:00"}, {"at": "2024-01-01T00:00:00Z"})
    naive = assay.read(data, When, format="jsonl")
    utc = assay.read(data, When, format="jsonl", datetimes="utc")
    assert naive.frame["at"].to_list() == [dt.datetime(2024, 1, 1)]
    assert utc.frame["at"].to_list() == [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]
    assert "AwareDatetime" in naive.rejects["errors"][0][0]["msg"]
    assert utc.rejects["record"].to_list() == [0]


def test_a_validator_may_raise_or_change_the_type_and_costs_only_its_record() -> None:
    class Odd(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def odd(cls, x: int) -> Any:
            if x == 1:
                raise KeyError("mine")
            return "text" if x == 2 else x

    result = assay.read(b'{"x":1}\n{"x":2}\n{"x":3}', Odd, format="jsonl")
    assert result.frame["x"].to_list() == [3]
    assert [r[0]["type"] for r in result.rejects["errors"]] == ["validator_failed", "unrepresentable"]


def test_aliases_recursion_and_root_models() -> None:
    class Node(BaseModel):
        model_config = ConfigDict(populate_by_name=True)
        name: str = Field(alias="Name")
        child: "Node | None" = None

    frame = assay.read(b'{"Name":"a","child":{"name":"b"}}', Node, format="jsonl").frame
    assert frame.columns == ["name", "child"]
    assert json.loads(frame["child"][0]["child"] or "null") is None
    numbers = assay.read(b"[[1,2],[3]]", RootModel[list[int]], format="json").frame
    assert numbers["root"].to_list() == [[1, 2], [3]]


def test_validate_in_memory() -> None:
    verdicts = assay.validate([{"id": "a", "qty": 1}, b'{"id":"b","qty":"2"}', '{"id":1}', {}], Line)
    assert [isinstance(v, assay.Ok) for v in verdicts] == [True, True, False, False]
    match verdicts[2]:
        case assay.Err(errors):
            assert {e["type"] for e in errors} == {"string_type", "missing"}
        case _:
            pytest.fail("accepted")


def test_an_alias_with_characters_that_json_escapes() -> None:
    class Odd(BaseModel):
        path: str = Field(alias="C:\\x\ty")
        quoted: str = Field(alias='"q"')

    row = {"C:\\x\ty": "a", '"q"': "b"}
    assert assay.scan(json.dumps(row).encode(), Odd, "jsonl").collect().rows() == [("a", "b")]


def test_a_misspelt_option_is_told() -> None:
    for function in (assay.scan, assay.read):
        with pytest.raises(TypeError, match='no option of .* "delimeter". Did you mean "delimiter"') as caught:
            function("x.csv", Inner, delimeter=";")  # type: ignore[call-arg]
        assert isinstance(caught.value, ConfigurationError)


def test_what_was_read_is_shown_shortly() -> None:
    read = assay.read(b'{"price": 1}\n{"price": "x"}\n', Inner, format="jsonl")
    assert repr(read) == "Read(2 read = 1 accepted + 1 rejected: price, when)"
