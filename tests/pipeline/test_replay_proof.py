"""Replays, proven: they publish what a run on corrected records publishes, whatever was wrong and however it is mended.

Records are made with mistakes of ten kinds, on purpose; of each the right form is known. A reference run reads the
right forms in a project of its own.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

import polars as pl
import pytest
from pydantic import BaseModel, Field, field_validator

import assay
from assay import (
    Count,
    Deduplicate,
    Filter,
    GroupBy,
    Lookup,
    Max,
    Parquet,
    Pipeline,
    Price,
    PriceBook,
    Reconcile,
    Result,
    Rows,
    Settings,
    Source,
    Sql,
    Sum,
    Table,
)
from assay.pipeline import replay
from assay.runs import DeadLetter, RunStore

Record = dict[str, Any]


class Product(BaseModel):
    sku: str
    category: str


class Line(BaseModel):
    order_id: str
    line: int
    sku: str
    status: Literal["live", "void"]
    quantity: int = Field(gt=0, le=1000)
    list_price: Decimal | None = Field(default=None, ge=0, max_digits=10, decimal_places=2)
    points: int
    stated: Decimal = Field(max_digits=12, decimal_places=2)


class MildLine(Line):
    """A model that takes some of the mistakes for what they mean."""

    points: int = 0
    status: Literal["live", "void", "pending"]  # type: ignore[assignment]

    @field_validator("list_price", mode="before")
    @classmethod
    def comma(cls, value: Any) -> Any:
        return value.replace(",", ".") if isinstance(value, str) else value


BOOK = PriceBook.model_validate(
    {
        "currency": "EUR",
        "rounding": "half_up",
        "steps": [
            {"kind": "per_unit", "unit_price": {"column": "list_price"}},
            {"kind": "percent_off", "percent": "7.5"},
            {"kind": "tax", "rate": "19"},
        ],
    }
)


def pipeline(
    fmt: str, model: type[Line] = Line, *, mode: Literal["append", "replace"] = "append", documents: bool = True
) -> Pipeline:
    stated = Reconcile("stated", stated=pl.col("stated"), computed=pl.col("quantity") * pl.lit(Decimal("0.50")))
    return Pipeline(
        "proof",
        source=Source(
            f"in/*.{fmt}",
            model,
            record="line_item" if fmt == "xml" else None,
            key=["order_id", "line"],
            reject_with="order_id" if documents else None,
            incremental=mode == "append",
        ),
        steps=[
            Deduplicate("order_id", "line"),
            Filter("live", pl.col("status") != "void"),
            Lookup(Table("catalogue.jsonl", Product), on="sku"),
            stated,
            Price(BOOK, inputs={"quantity": "quantity"}),
        ],
        outputs={
            "lines": Rows(to=Parquet("out/lines", mode=mode)),
            "by_category": GroupBy(
                "category",
                lines=Count(),
                net=Sum("net"),
                most=Max("gross"),
                points=Sum("points"),
                to=Sql("by_category", mode="merge" if mode == "append" else "replace"),
            ),
        },
    )


# Records, and what can be wrong X


def good(order: str, line: int, draw: random.Random) -> Record:
    quantity = draw.randrange(1, 200)
    return {
        "order_id": order,
        "line": line,
        "sku": f"s{draw.randrange(5)}",
        "status": "void" if draw.random() < 0.1 else "live",
        "quantity": quantity,
        "list_price": f"{draw.randrange(1, 9999)}.{draw.randrange(100):02}",
        "points": draw.randrange(50),
        "stated": str(Decimal(quantity) * Decimal("0.50")),
    }


#: By kind, how the record is spoiled; "cut" spoils its text.
KINDS: dict[str, Callable[[Record], Record]] = {
    "cut": lambda r: r,
    "missing": lambda r: {k: v for k, v in r.items() if k != "points"},
    "type": lambda r: r | {"line": "one"},
    "comma": lambda r: r | {"list_price": str(r["list_price"]).replace(".", ",")},
    "constraint": lambda r: r | {"quantity": -1},
    "literal": lambda r: r | {"status": "pending"},
    "represent": lambda r: r | {"points": 2**70},
    "sku": lambda r: r | {"sku": "s-unknown", "status": "live"},
    "price": lambda r: {k: v for k, v in r.items() if k != "list_price"} | {"status": "live"},
    "stated": lambda r: r | {"stated": "0.01", "quantity": 9, "status": "live"},
    "twice": lambda r: r,
}


@dataclass
class Feed:
    """Records as they came, and as they should have come."""

    fmt: str
    given: list[bytes]
    right: list[bytes]
    kinds: list[str]

    def write(self, folder: Path, records: Sequence[bytes], name: str) -> None:
        folder.mkdir(exist_ok=True)
        if self.fmt == "xml":
            (folder / f"{name}.xml").write_bytes(b"<lines>\n" + b"\n".join(records) + b"\n</lines>\n")
        else:
            (folder / f"{name}.jsonl").write_bytes(b"\n".join(records) + b"\n")

    def mended(self) -> dict[bytes, list[bytes]]:
        """By the bytes of a wrong record, its right ones; two may be wrong alike."""
        made: dict[bytes, list[bytes]] = {}
        for given, right in zip(self.given, self.right, strict=True):
            if given != right:
                made.setdefault(given, []).append(right)
        return made


def rendered(record: Record, fmt: str) -> bytes:
    if fmt != "xml":
        return json.dumps(record).encode()
    inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in record.items())
    return f"<line_item>{inner}</line_item>".encode()


def feed(wrong: int, fmt: str, seed: int = 1, prefix: str = "o") -> Feed:
    """Orders of one to three lines with so many wrong records, of every kind, among good ones."""
    draw = random.Random(seed)
    names = [kind for kind in KINDS if not (kind == "cut" and fmt == "xml")]
    made = Feed(fmt, [], [], [])
    done = order = 0
    while done < wrong:
        order += 1
        for line in range(1, draw.randrange(1, 4) + 1):
            record = good(f"{prefix}{order:05}", line, draw)
            right = rendered(record, fmt)
            kind = names[done % len(names)] if draw.random() < 0.4 and done < wrong else ""
            done += bool(kind)
            if kind == "twice":
                # The line came once as it is, and another with its number, which should have been another.
                made.given.append(right)
                made.right.append(right)
                made.kinds.append("")
                other = record | {"points": int(record["points"]) + 1}
                made.given.append(rendered(other, fmt))
                made.right.append(rendered(other | {"line": line + 100}, fmt))
            elif kind == "cut":
                made.given.append(right[: len(right) // 2])
                made.right.append(right)
            else:
                spoiled = KINDS[kind](record) if kind else record
                mended = record | {k: spoiled[k] for k in ("status",) if kind in ("sku", "price", "stated")}
                made.given.append(rendered(spoiled, fmt))
                made.right.append(rendered(mended, fmt))
            made.kinds.append(kind)
    return made


# Projects ----------------------------------------------------------------------------------------------------


@dataclass
class Shop:
    """A project, and what it has published."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.settings = Settings(project=self.folder)
        catalogue = [{"sku": f"s{n}", "category": f"c{n % 3}"} for n in range(5)]
        (self.folder / "catalogue.jsonl").write_text("\n".join(map(json.dumps, catalogue)))

    def run(self, what: Pipeline, **how: Any) -> Result:
        return what.run(settings=self.settings, **how).raise_for_status()

    def replay(self, what: Pipeline, run: str) -> Result:
        return replay(what, run, settings=self.settings).raise_for_status()

    def published(self) -> tuple[list[str], list[Any]]:
        lines = assay.sinks.Parquet("out/lines").open(self.folder, self.folder / "x", "lines", default="x").read()
        groups = Sql("by_category").open(self.folder, self.folder / "x", "by_category", default="out/proof.db").read()
        assert lines is not None
        assert groups is not None
        texts = lines.collect().sort("order_id", "line").rows()
        return [repr(row) for row in texts], groups.collect().sort("category").rows()

    def store(self) -> RunStore:
        return RunStore(self.settings.run_store_url)

    def letters(self, run: str, **which: Any) -> list[DeadLetter]:
        store = self.store()
        try:
            return list(store.dead_letters(run, **which))
        finally:
            store.close()

    def edit(self, run: str, edits: Iterable[tuple[int, bytes]]) -> None:
        store = self.store()
        for number, data in edits:
            store.edit_reject(run, number, data)
        store.close()

    def states(self, run: str) -> dict[str, int]:
        return dict(Counter(letter.state for letter in self.letters(run)))


def edits(letters: Iterable[DeadLetter], mended: dict[bytes, list[bytes]]) -> list[tuple[int, bytes]]:
    """The right form of each letter that is wrong itself, and not only rejected with its document."""
    left = {raw: list(rights) for raw, rights in mended.items()}
    made = []
    for letter in letters:
        if left.get(letter.raw) and all(e["type"] != "document_rejected" for e in letter.errors):
            made.append((letter.number, left[letter.raw].pop(0)))
    return made


def clean(tmp_path: Path, what: Pipeline, *feeds: Feed) -> tuple[list[str], list[Any]]:
    """What a run on the right records publishes, in a project of its own."""
    shop = Shop(tmp_path / "clean")
    for number, one in enumerate(feeds):
        one.write(shop.folder / "in", one.right, f"f{number}")
    assert shop.run(what).counts["rejected"] == 0
    return shop.published()


FORMATS = ["jsonl", "xml"]
SIZES = [22, pytest.param(1000, marks=pytest.mark.campaign)]
#: The default run tries each format with some of the ways.
JSONL = pytest.mark.parametrize("fmt", ["jsonl", pytest.param("xml", marks=pytest.mark.campaign)])
XML = pytest.mark.parametrize("fmt", ["xml", pytest.param("jsonl", marks=pytest.mark.campaign)])


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("documents", [True, False])
def test_edited_records_are_published_as_by_a_run_on_the_corrected_file(
    tmp_path: Path, fmt: str, size: int, documents: bool
) -> None:
    records, what = feed(size, fmt), pipeline(fmt, documents=documents)
    shop = Shop(tmp_path / "shop")
    records.write(shop.folder / "in", records.given, "f0")
    first = shop.run(what)
    assert first.counts["rejected"] >= size
    letters = shop.letters(first.id)
    assert {letter.stage for letter in letters} >= {"validate", "represent", "lookup", "pricing", "check"}
    assert {"document"} & {letter.stage for letter in letters} == ({"document"} if documents else set())
    todo = edits(letters, records.mended())
    assert len(todo) == size
    shop.edit(first.id, todo)

    again = shop.replay(what, first.id)
    assert again.counts["read"] == first.counts["rejected"]
    assert again.counts["rejected"] == 0
    expected = clean(tmp_path, what, records)
    assert shop.published() == expected
    assert shop.states(first.id) == {"replayed": first.counts["rejected"]}
    assert {letter.closed_by for letter in shop.letters(first.id)} == {again.id}
    kept = {letter.number: letter for letter in shop.letters(first.id)}
    assert [(kept[number].raw in records.given, kept[number].edited) for number, data in todo] == [
        (True, data) for _, data in todo
    ]
    with pytest.raises(assay.NotFoundError, match="no open reject"):
        shop.replay(what, first.id)
    assert shop.published() == expected


@JSONL
@pytest.mark.parametrize("size", SIZES)
def test_a_milder_model_publishes_what_a_run_with_it_publishes(tmp_path: Path, fmt: str, size: int) -> None:
    records, strict, mild = feed(size, fmt), pipeline(fmt), pipeline(fmt, MildLine)
    shop, fresh = Shop(tmp_path / "shop"), Shop(tmp_path / "fresh")
    for one in (shop, fresh):
        records.write(one.folder / "in", records.given, "f0")
    first = shop.run(strict)
    before = shop.published()
    for one in (shop, fresh):
        with (one.folder / "catalogue.jsonl").open("a") as catalogue:
            catalogue.write('\n{"sku": "s-unknown", "category": "c9"}')
    expected = fresh.run(mild)
    again = shop.replay(mild, first.id)
    assert again.counts["written"] > 0
    assert again.counts["rejected"] > 0
    assert len(before[0]) < len(shop.published()[0])
    assert shop.published() == fresh.published()
    # A conflict is not read again as long as nobody has mended it.
    withheld = len(shop.letters(first.id, state="open", type="duplicate_conflict"))
    assert again.counts["rejected"] + withheld == expected.counts["rejected"]
    assert shop.states(first.id) == {
        "replayed": again.counts["written"] + again.counts["filtered"],
        "open": expected.counts["rejected"],
    }
    nothing = shop.replay(mild, first.id)
    assert (nothing.counts["written"], nothing.counts["filtered"]) == (0, 0)
    assert shop.published() == fresh.published()

    # What the model could not mend is mended by hand; as if it had been so from the start.
    letters = shop.letters(first.id, state="open")
    by_hand = edits(letters, records.mended())
    shop.edit(first.id, by_hand)
    last = shop.replay(mild, first.id)
    assert last.counts["rejected"] == 0
    assert set(shop.states(first.id)) == {"replayed"}
    corrected = Shop(tmp_path / "corrected")
    (corrected.folder / "catalogue.jsonl").write_text((shop.folder / "catalogue.jsonl").read_text())
    done = {letter.raw for letter in shop.letters(first.id) if letter.edited is not None}
    pairs = zip(records.given, records.right, strict=True)
    records.write(corrected.folder / "in", [right if given in done else given for given, right in pairs], "f0")
    corrected.run(mild)
    assert shop.published() == corrected.published()


@JSONL
@pytest.mark.parametrize("size", [6, pytest.param(100, marks=pytest.mark.campaign)])
def test_edits_one_by_one_end_where_all_at_once_do(tmp_path: Path, fmt: str, size: int) -> None:
    records, what = feed(size, fmt, seed=3), pipeline(fmt)
    shop = Shop(tmp_path / "shop")
    records.write(shop.folder / "in", records.given, "f0")
    first = shop.run(what)
    todo = edits(shop.letters(first.id), records.mended())
    random.Random(5).shuffle(todo)
    final = clean(tmp_path, what, records)
    rows = set(shop.published()[0])
    for one in todo:
        shop.edit(first.id, [one])
        made = shop.replay(what, first.id)
        now = shop.published()[0]
        # Nothing twice, nothing gone, and nothing that is not to be there in the end.
        assert len(now) == len(set(now)) == len(rows) + made.counts["written"]
        assert rows < set(now) or made.counts["written"] == 0
        assert set(now) <= set(final[0])
        rows = set(now)
    assert shop.published() == final
    assert set(shop.states(first.id)) == {"replayed"}


@XML
@pytest.mark.parametrize("size", SIZES)
def test_replays_after_later_runs_add_to_what_these_have_published(tmp_path: Path, fmt: str, size: int) -> None:
    what = pipeline(fmt)
    months = [feed(size, fmt, seed, prefix) for seed, prefix in ((1, "may-"), (2, "june-"), (3, "july-"))]
    shop = Shop(tmp_path / "shop")
    runs = []
    for number, month in enumerate(months):
        month.write(shop.folder / "in", month.given, f"f{number}")
        runs.append(shop.run(what))
        if number == 1:
            # The first month is mended when the second is published.
            shop.edit(runs[0].id, edits(shop.letters(runs[0].id), months[0].mended()))
            shop.replay(what, runs[0].id)
    assert len({run.id for run in runs}) == 3
    for number in (2, 1):
        shop.edit(runs[number].id, edits(shop.letters(runs[number].id), months[number].mended()))
        shop.replay(what, runs[number].id)
    assert shop.published() == clean(tmp_path, what, *months)
    assert [set(shop.states(run.id)) for run in runs] == [{"replayed"}] * 3


def test_replays_of_a_run_that_replaces(tmp_path: Path) -> None:
    records, what = feed(20, "jsonl"), pipeline("jsonl", mode="replace")
    shop = Shop(tmp_path / "shop")
    records.write(shop.folder / "in", records.given, "f0")
    first = shop.run(what)
    todo = edits(shop.letters(first.id), records.mended())
    for part in (todo[:10], todo[10:-1], todo[-1:]):
        assert "open" in shop.states(first.id)
        shop.edit(first.id, part)
        shop.replay(what, first.id)
    assert shop.published() == clean(tmp_path, what, records)
    first = shop.run(what, force=True)
    again = shop.run(what, limit=5)
    with pytest.raises(assay.ConfigurationError, match=f"run {again.id} has replaced what run {first.id} published"):
        shop.replay(what, first.id)


def test_a_document_waits_for_its_conflict_until_that_is_mended_or_given_up(tmp_path: Path) -> None:
    draw = random.Random(1)
    one, two = ({**good("a", n, draw), "status": "live"} for n in (1, 2))
    records = [rendered(one, "jsonl"), rendered(two, "jsonl"), rendered({**two, "points": 99}, "jsonl")]
    what = pipeline("jsonl")
    for how in ("given up", "mended"):
        shop = Shop(tmp_path / how.replace(" ", "-"))
        Feed("jsonl", [], [], []).write(shop.folder / "in", records, "f0")
        first = shop.run(what)
        assert (first.counts["written"], first.counts["rejected"]) == (0, 3)
        waits = shop.replay(what, first.id)
        assert (waits.counts["written"], waits.counts["rejected"]) == (0, 2)
        assert shop.states(first.id) == {"open": 3}
        number = shop.letters(first.id, type="duplicate_conflict")[0].number
        if how == "mended":
            shop.edit(first.id, [(number, rendered({**two, "line": 3}, "jsonl"))])
        else:
            store = shop.store()
            store.close_rejects(first.id, [number], "discarded", "a copy")
            store.close()
        assert shop.replay(what, first.id).counts["written"] == (3 if how == "mended" else 2)
