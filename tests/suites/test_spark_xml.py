"""The files of Spark's XML source: as many rows as Spark has of them, with their values."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AwareDatetime, BaseModel, Field
from tests.reading.hostile import Outcome, both

import assay

Amount = Annotated[Decimal, Field(max_digits=8, decimal_places=2)]


@pytest.fixture
def spark(suites: Path) -> Path:
    folder = suites / "spark-xml"
    if not folder.is_dir():
        pytest.skip("spark-xml is absent")
    return folder


def read(path: Path, model: type[BaseModel], record: str, **options: Any) -> Outcome:
    found = both(path, model=model, record=record, **options)
    assert (found.error, found.rejects) == (None, [])
    return found


class Car(BaseModel):
    year: int
    make: str
    model: str
    comment: str


@pytest.mark.parametrize("name", ["cars.xml", "cars.xml.gz", "cars.xml.bz2", "cars-iso-8859-1.xml"])
def test_cars(spark: Path, name: str) -> None:
    rows = read(spark / name, Car, "ROW").rows
    assert [(row["year"], row["make"], row["model"], row["comment"]) for row in rows] == [
        (2012, "Tesla", "S", "No comment"),
        (1997, "Ford", "E350", "Go get one now they are going fast"),
        (2015, "Chevy", "Volt", "No"),
    ]


class Book(BaseModel):
    id: Annotated[str, Field(pattern=r"^bk\d{3}$")]
    author: str
    title: str
    genre: str
    price: Amount
    publish_date: list[dt.date]
    description: str


@pytest.mark.parametrize(("name", "dates"), [("books.xml", 12), ("books-nested-array.xml", 24)])
def test_books(spark: Path, name: str, dates: int) -> None:
    rows = read(spark / name, Book, "book").rows
    assert [row["id"] for row in rows] == [f"bk{n}" for n in range(101, 113)]
    assert sum(row["price"] for row in rows) == Decimal("214.40")
    assert sum(len(row["publish_date"]) for row in rows) == dates
    assert rows[0]["publish_date"][0] == dt.date(2000, 10, 1)


class Genre(BaseModel):
    genreid: int
    name: str


class PublishDate(BaseModel):
    tag: str | None = None
    year: int
    month: int
    day: int


class PublishDates(BaseModel):
    publish_date: list[PublishDate]


class NestedBook(BaseModel):
    id: str
    genre: Genre
    price: Amount | None = None
    publish_dates: PublishDates


def test_books_of_nested_models(spark: Path) -> None:
    rows = read(spark / "books-complicated.xml", NestedBook, "book").rows
    assert [row["genre"] for row in rows] == [
        {"genreid": 1, "name": "Computer"},
        {"genreid": 2, "name": "Fantasy"},
        {"genreid": 2, "name": "Fantasy"},
    ]
    assert [row["price"] for row in rows] == [Decimal("44.95"), Decimal("5.95"), None]
    assert [[date["tag"] for date in row["publish_dates"]["publish_date"]] for row in rows] == [
        [None],
        [None, "lastest"],
        [None, None],
    ]


def test_books_in_namespaces(spark: Path) -> None:
    class NamedBook(BaseModel):
        id: str
        author: str

    rows = read(spark / "books-namespaces.xml", NamedBook, "book").rows
    assert [(row["id"], row["author"]) for row in rows] == [
        ("bk101", "Gambardella, Matthew"),
        ("bk102", "Ralls, Kim"),
        ("bk103", "Corets, Eva"),
    ]

    class ExactBook(BaseModel):
        id: Annotated[str | None, assay.XPath("@a:id")] = None
        author: Annotated[str | None, assay.XPath("a:author")] = None

    rows = read(spark / "books-namespaces.xml", ExactBook, "book", namespaces={"a": "abc"}).rows
    assert [row["id"] for row in rows] == ["bk101", None, None]


def test_ages(spark: Path) -> None:
    class Person(BaseModel):
        name: str
        age: Annotated[int, assay.XPath("age/text()")]
        born: Annotated[dt.date, assay.XPath("age/@born")]

    rows = read(spark / "ages.xml", Person, "person").rows
    assert [(row["name"], row["age"], row["born"].year) for row in rows] == [
        ("Hyukjin", 25, 1990),
        ("Lars", 30, 1985),
        ("Lion", 30, 1980),
    ]


def test_topics_in_namespaces(spark: Path) -> None:
    class Topic(BaseModel):
        id: Annotated[str, Field(alias="r:id")]
        catid: int

    prefixes = {"r": "http://www.w3.org/TR/RDF/"}
    (row,) = read(spark / "topics-namespaces.xml", Topic, "Topic", namespaces=prefixes).rows
    assert (row["id"], row["catid"]) == ("", 1)


def test_gps_with_an_empty_field(spark: Path) -> None:
    class Extension(BaseModel):
        hr: int | None = None

    class Extensions(BaseModel):
        TrackPointExtension: Extension

    class Point(BaseModel):
        lat: Annotated[Decimal, Field(max_digits=10, decimal_places=8)]
        lon: Annotated[Decimal, Field(max_digits=11, decimal_places=8)]
        time: AwareDatetime
        extensions: Extensions

    rows = read(spark / "gps-empty-field.xml", Point, "ROW").rows
    assert [row["lat"] for row in rows] == [Decimal("59.9155180"), Decimal("52.34534522")]
    assert [row["extensions"]["TrackPointExtension"]["hr"] for row in rows] == [None, 119]


@pytest.mark.parametrize("name", ["fias_house.xml", "fias_house.xml.gz", "fias_house.large.xml.bz2"])
def test_two_byte_order_marks_are_a_clear_error_and_the_rows_are_there_without_one(spark: Path, name: str) -> None:
    class House(BaseModel):
        HOUSEID: str
        POSTALCODE: int | None = None

    found = both(spark / name, model=House, record="House")
    assert (found.rows, found.rejects) == ([], [])
    assert "not well-formed XML at line 1" in str(found.error)
    assert "byte 3" in str(found.error)
    data = (spark / "fias_house.xml").read_bytes()
    found = both(data.removeprefix(b"\xef\xbb\xbf"), model=House, record="House", format="xml")
    assert (found.error, found.rejects, len(found.rows)) == (None, [], 37)


class Anything(BaseModel):
    nothing: str | None = None


#: What is not well-formed.
BROKEN = {"books-malformed-attributes", "cars-malformed", "fias_house", "fias_house.large", "unclosed_tag"}


@pytest.mark.filterwarnings("ignore::assay.records.EmptySourceWarning")
def test_every_file_is_read_or_is_a_clear_error(spark: Path) -> None:
    paths = sorted(path for path in spark.rglob("*") if ".xml" in path.name)
    assert len(paths) == 58
    for path in paths:
        found = both(path, model=Anything)
        broken = path.name.partition(".xml")[0] in BROKEN
        assert (found.error is not None) == broken, path.name
        assert found.rejects == []
        assert bool(found.rows) != (broken or path.name == "empty.xml"), path.name
