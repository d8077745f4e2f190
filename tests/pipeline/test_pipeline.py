import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
import sqlalchemy as sa
from pydantic import BaseModel, Field

import assay
from assay import (
    ConfigurationError,
    Count,
    Deduplicate,
    Explode,
    Filter,
    GroupBy,
    Lookup,
    Mean,
    MoneyColumns,
    Parquet,
    Pipeline,
    Price,
    PriceBook,
    Reconcile,
    Rows,
    Source,
    Sql,
    Sum,
    Table,
    rowwise,
)
from assay.pipeline import replay
from assay.runs import RunStore
from assay.settings import Settings

Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]


class Line(BaseModel):
    order: str
    n: int
    sku: str = "a"
    qty: Annotated[Decimal, Field(gt=0, max_digits=8, decimal_places=2)] = Decimal(1)
    status: str = "live"


class Product(BaseModel):
    sku: str
    price: Money


BOOK = PriceBook.model_validate(
    {
        "currency": "EUR",
        "rounding": "half_up",
        "steps": [
            {"kind": "per_unit", "unit_price": {"column": "price"}},
            {"kind": "percent_off", "percent": "10"},
            {"kind": "tax", "rate": "19"},
        ],
    }
)


def write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text(text + "\n")
    return path


@pytest.fixture
def shop(project: Path) -> Path:
    write(project / "catalogue.jsonl", {"sku": "a", "price": "10.00"}, {"sku": "b", "price": "0.05"})
    write(
        project / "orders.jsonl",
        {"order": "1", "n": 1, "qty": "2"},
        {"order": "1", "n": 2, "sku": "b", "qty": "3"},
        {"order": "2", "n": 1, "status": "void"},
        {"order": "3", "n": 1},
        {"order": "3", "n": 2, "qty": "x"},
        {"order": "4", "n": 1, "sku": "nothing"},
        {"order": "4", "n": 2},
        {"order": "1", "n": 1, "qty": "2"},
        '{"order": "5", "n": 1',
        {"order": "5", "n": 2},
    )
    return project


def pipeline(**changes: Any) -> Pipeline:
    fields: dict[str, Any] = {
        "source": Source("orders.jsonl", Line, key=["order", "n"], reject_with="order"),
        "steps": [
            Deduplicate(),
            Filter("live", pl.col("status") != "void"),
            Lookup(Table("catalogue.jsonl", Product), on="sku"),
            Price(BOOK, inputs={"quantity": "qty"}),
        ],
        "outputs": {
            "lines": Rows(to=Parquet("out/lines")),
            "by_order": GroupBy("order", lines=Count(), net=Sum("net"), to=Sql("by_order")),
        },
    }
    return Pipeline("shop", **(fields | changes))


def table(path: Path, name: str) -> list[tuple[Any, ...]]:
    with sa.create_engine(f"sqlite:///{path}").connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(f'select * from "{name}" order by 1'))]


def test_a_whole_run_counts_every_record_and_every_cent(shop: Path) -> None:
    result = pipeline().run()
    assert result.status == "published"
    assert result.counts == {"read": 10, "written": 2, "filtered": 2, "rejected": 6}
    assert {name: n for name, n in result.ledger["filtered"].items() if n} == {"deduplicate": 1, "live": 1}
    # 2 x 10.00 = 20.00 - 2.00 = 18.00 + 3.42; 3 x 0.05 = 0.15 - 0.02 (0.015) = 0.13 + 0.02 (0.0247)
    assert result.money == {
        "EUR": {
            "list": "20.15",
            "discounts": "2.02",
            "net": "18.13",
            "tax": "3.44",
            "gross": "21.57",
            "set_aside": str(Decimal("10.71") * 3),
        }
    }
    lines = pl.read_parquet(shop / "out/lines/*.parquet")
    assert lines.select("order", "n", "net").rows() == [("1", 1, Decimal("18.00")), ("1", 2, Decimal("0.13"))]
    assert not [name for name in lines.columns if name.startswith("_")]
    assert table(shop / "out/shop.db", "by_order") == [("1", 2, "18.13")]


def test_a_bad_line_takes_its_order_along_and_says_why(shop: Path) -> None:
    rejects = pipeline().run().rejects.sort("record").to_dicts()
    assert [(r["record"], r["stage"], r["errors"][0]["type"]) for r in rejects] == [
        (3, "document", "document_rejected"),
        (4, "validate", "decimal_parsing"),
        (5, "lookup", "lookup_missing"),
        (6, "document", "document_rejected"),
        (8, "validate", "json_invalid"),
        (9, "document", "document_rejected"),
    ]
    assert "orders.jsonl record 4: qty: decimal_parsing" in rejects[0]["errors"][0]["msg"]
    raw = (shop / "orders.jsonl").read_bytes().splitlines()
    assert [r["raw"] for r in rejects] == [raw[i] for i in (3, 4, 5, 6, 8, 9)]
    assert [r["line"] for r in rejects] == [4, 5, 6, 7, 9, 10]


def test_replay_publishes_exactly_what_now_passes(shop: Path) -> None:
    first = pipeline().run()
    write(
        shop / "catalogue.jsonl",
        {"sku": "a", "price": "10.00"},
        {"sku": "b", "price": "0.05"},
        {"sku": "nothing", "price": "1.00"},
    )
    second = replay(pipeline(), first.id)
    assert second.status == "published"
    assert second.counts == {"read": 6, "written": 2, "filtered": 0, "rejected": 4}
    lines = pl.read_parquet(shop / "out/lines/*.parquet")
    assert sorted(lines.select("order", "n").rows()) == [("1", 1), ("1", 2), ("4", 1), ("4", 2)]
    assert [row[:2] for row in table(shop / "out/shop.db", "by_order")] == [("1", 2), ("4", 2)]
    again = replay(pipeline(), first.id)
    assert again.counts == {"read": 4, "written": 0, "filtered": 0, "rejected": 4}
    assert pl.read_parquet(shop / "out/lines/*.parquet").height == 4


def test_a_replay_of_what_was_replaced_is_refused(shop: Path) -> None:
    first = pipeline().run()
    second = pipeline().run(force=True)
    with pytest.raises(ConfigurationError, match=f"run {second.id} has replaced"):
        replay(pipeline(), first.id)


def test_a_replayed_run_equals_a_run_on_the_corrected_file(shop: Path) -> None:
    first = pipeline().run(output="a")
    from assay.pipeline.execution import open_store

    with open_store(assay.Settings.load()) as store:
        for letter in store.dead_letters(first.id):
            fixed = letter.raw.replace(b'"x"', b'"7"').replace(b"nothing", b"b")
            fixed = fixed if fixed.endswith(b"}") else fixed + b"}"
            store.edit_reject(first.id, letter.number, fixed)
    replayed = replay(pipeline(), first.id)
    assert replayed.counts["rejected"] == 0
    text = (
        (shop / "orders.jsonl")
        .read_text()
        .replace('"x"', '"7"')
        .replace("nothing", "b")
        .replace('"n": 1\n', '"n": 1}\n')
    )
    (shop / "orders.jsonl").write_text(text)
    assert pipeline().run(output="b").status == "published"
    a, b = (pl.read_parquet(shop / d / "lines/*.parquet").sort("order", "n") for d in "ab")
    assert a.equals(b)
    assert table(shop / "a/shop.db", "by_order") == table(shop / "b/shop.db", "by_order")


def test_over_the_budget_nothing_is_published(shop: Path) -> None:
    assert pipeline().run(max_rejects=6).status == "published"
    before = pl.read_parquet(shop / "out/lines/*.parquet")
    write(shop / "orders.jsonl", {"order": "9", "n": 1}, {"order": "8"})
    for budget in (0, "49%", "0.1%"):
        result = pipeline().run(max_rejects=budget)
        assert (result.status, (result.error or {})["type"]) == ("rejected", "OverBudget")
        assert result.rejects.height == 1
    assert pl.read_parquet(shop / "out/lines/*.parquet").equals(before)
    assert pipeline().run(max_rejects="50%").status == "published"
    with pytest.raises(ConfigurationError, match="max_rejects"):
        pipeline().run(max_rejects="many")


def test_a_dry_run_publishes_nothing(shop: Path) -> None:
    result = pipeline().run(dry_run=True)
    assert result.dry_run
    assert result.counts["written"] == 2
    assert not (shop / "out").exists()
    assert not list(shop.rglob(".assay-staging"))


def test_a_damaged_file_fails_the_run_and_names_the_place(shop: Path) -> None:
    (shop / "orders.json").write_text('[{"order":"1","n":1},{"order":"2","n":"x"},{"order":"3",')
    result = pipeline().run(input="orders.json")
    assert result.status == "failed"
    assert result.error is not None
    assert result.error["type"] == "SourceError"
    assert "orders.json: the file ends" in result.error["message"]
    assert result.counts["read"] == 2
    assert not (shop / "out").exists()
    with pytest.raises(assay.RunFailed, match=result.id):
        result.raise_for_status()


def test_nothing_is_read_when_the_definition_is_wrong(shop: Path) -> None:
    plain = {"o": Rows(to=Parquet("o"))}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"steps": [Filter("f", pl.col("statsu") == "x")]}, 'no column "statsu". Did you mean "status"'),
        ({"steps": [Filter("f", pl.col("status"))]}, "not true or false"),
        ({"steps": [Lookup(Table("catalogue.jsonl", Product), on="skq")]}, 'no column "skq"'),
        ({"steps": [Lookup(Table("catalogue.jsonl", Product), on="n")]}, 'no column "n"'),
        ({"steps": [Explode("sku")]}, "sku is String, not a list"),
        ({"steps": [Price("no.toml")]}, "no.toml"),
        ({"steps": [Price(BOOK)]}, "price, quantity|quantity"),
        ({"steps": [Filter("f", pl.col("n") > 0), Filter("f", pl.col("n") > 0)]}, "two steps are called f"),
        ({"steps": [lambda lf: lf.select("n")]}, "loses the identity"),
        ({"steps": [lambda lf: lf.with_columns(pl.col("zzz"))]}, "zzz"),
        ({"outputs": {"o": GroupBy("ordr", n=Count(), to=Sql("t"))}, "steps": []}, 'Did you mean "order"'),
        ({"outputs": {"o": GroupBy("order", to=Sql("t"))}, "steps": []}, "measures nothing"),
        ({"outputs": {"o": Rows(columns=["x"], to=Parquet("o"))}, "steps": []}, 'no column "x"'),
        ({"money": MoneyColumns(), "steps": []}, 'no column "net"'),
        ({"source": Source("orders.jsonl", Line, reject_with="ordre")}, 'Did you mean "order"'),
        ({"source": Source("{file}", Line, key=["order"]), "steps": [], "outputs": plain}, 'no parameter "file"'),
    ]
    for changes, words in wrong:
        with pytest.raises(ConfigurationError, match=words):
            pipeline(**changes).run()
    assert not (shop / "out").exists()


def test_parameters(shop: Path) -> None:
    class Params(BaseModel):
        file: str
        least: int = 1

    made = pipeline(
        params=Params,
        source=Source("{file}.jsonl", Line),
        steps=[Filter("least", lambda params: pl.col("n") >= params.least)],
        outputs={"o": Rows(to=Parquet("o"))},
    )
    assert made.run({"file": "orders", "least": "2"}).counts["written"] == 3
    with pytest.raises(ConfigurationError, match="parameter file is missing; give --set file="):
        made.run()
    with pytest.raises(ConfigurationError, match='no parameter "leest". Did you mean "least"'):
        made.run({"file": "orders", "leest": 1})
    with pytest.raises(ConfigurationError, match="parameter least: .*got 'x'"):
        made.run({"file": "orders", "least": "x"})


class Order(BaseModel):
    id: str
    total: Money
    lines: list[Line]


def nested(**changes: Any) -> Pipeline:
    fields: dict[str, Any] = {
        "source": Source("nested.json", Order, key=["id"]),
        "outputs": {"rows": Rows(to=Parquet("rows"))},
    }
    return Pipeline("nested", **(fields | changes))


@pytest.fixture
def nested_orders(project: Path) -> Path:
    orders = [
        {"id": "1", "total": "3", "lines": [{"order": "1", "n": 1}, {"order": "1", "n": 2}]},
        {"id": "2", "total": "1", "lines": []},
        {"id": "3", "total": "5", "lines": [{"order": "3", "n": 5}]},
    ]
    (project / "nested.json").write_text(json.dumps(orders))
    return project


def test_fan_out_keeps_the_count_of_records(nested_orders: Path) -> None:
    result = nested(steps=[Explode("lines", prefix="line_"), Filter("small", pl.col("line_n") < 2)]).run()
    assert result.counts == {"read": 3, "written": 1, "filtered": 2, "rejected": 0}
    assert result.ledger["filtered"] == {"explode lines": 1, "small": 1}
    assert result.ledger["rows"] == {"rows": 1}


def test_one_rejected_row_rejects_the_whole_record(nested_orders: Path) -> None:
    bad = Reconcile("RULE", stated=pl.col("line_n"), computed=pl.lit(1, pl.Int64))
    result = nested(steps=[Explode("lines", prefix="line_"), bad]).run()
    assert result.counts == {"read": 3, "written": 0, "filtered": 1, "rejected": 2}
    assert [r[0]["msg"] for r in result.rejects["errors"]] == [
        "RULE: stated 2, computed 1",
        "RULE: stated 5, computed 1",
    ]


def test_reconcile_each_element_names_the_place_and_both_numbers(nested_orders: Path) -> None:
    rule = Reconcile("ODD", each="lines", stated=pl.col("n") % 2, computed=pl.lit(1, pl.Int64))
    result = nested(steps=[rule]).run()
    assert result.counts["rejected"] == 1
    (error,) = result.rejects["errors"][0]
    assert (error["loc"], error["type"], error["msg"]) == ("lines.1", "ODD", "ODD at lines.1: stated 0, computed 1")


def test_functions_see_all_rows_unless_they_are_marked(project: Path) -> None:
    write(project / "many.jsonl", *({"order": str(i % 3), "n": i} for i in range(1000)))

    def share(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(total=pl.col("n").sum())

    @rowwise
    def double(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(twice=pl.col("n") * 2)

    def thirds(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.filter(pl.col("order") == "0").sort("n", descending=True)

    settings = assay.Settings.load(batch_records=10)
    made = Pipeline(
        "functions",
        source=Source("many.jsonl", Line),
        steps=[double, share, thirds],
        outputs={"rows": Rows(to=Parquet("rows"))},
    )
    result = made.run(settings=settings)
    assert result.counts == {"read": 1000, "written": 334, "filtered": 666, "rejected": 0}
    rows = pl.read_parquet("rows/*.parquet")
    assert rows["total"].unique().to_list() == [499_500]
    assert rows["n"].to_list() == sorted(rows["n"], reverse=True)


def test_a_function_may_not_invent_records(project: Path) -> None:
    write(project / "orders.jsonl", {"order": "1", "n": 1})

    def invent(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(_record=pl.col("_record") + 7)

    result = Pipeline(
        "invent", source=Source("orders.jsonl", Line), steps=[invent], outputs={"o": Rows(to=Parquet("o"))}
    ).run()
    assert result.status == "failed"
    assert "did not come in" in (result.error or {})["message"]


def test_duplicates_that_say_something_else_are_rejected(project: Path) -> None:
    rows = [{"order": "1", "n": 1}, {"order": "1", "n": 1, "qty": "2"}, {"order": "1", "n": 1}, {"order": "2", "n": 1}]
    write(project / "orders.jsonl", *rows)
    result = Pipeline(
        "dedup",
        source=Source("orders.jsonl", Line, key=["order", "n"]),
        steps=[Deduplicate()],
        outputs={"o": Rows(to=Parquet("o"))},
    ).run()
    assert result.counts == {"read": 4, "written": 2, "filtered": 1, "rejected": 1}
    assert result.rejects["record"].to_list() == [1]
    assert result.rejects["errors"][0][0]["type"] == "duplicate_conflict"


def test_lookup_policies(shop: Path) -> None:
    def run(**options: Any) -> Any:
        steps = [Lookup(Table("catalogue.jsonl", Product), on="sku", **options)]
        return pipeline(source=Source("orders.jsonl", Line), steps=steps, outputs={"o": Rows(to=Parquet("o"))}).run()

    assert run(on_missing="null").counts["written"] == 8
    assert run(on_missing="reject").counts["rejected"] == 3
    failed = run(on_missing="fail")
    assert failed.status == "failed"
    assert "has no row for nothing" in failed.error["message"]
    write(shop / "catalogue.jsonl", {"sku": "a", "price": "1"}, {"sku": "a", "price": "2"})
    with pytest.raises(assay.LookupFailed, match="more than once: 'a'"):
        run()
    write(shop / "catalogue.jsonl", {"sku": "a", "price": "1,00"})
    with pytest.raises(assay.LookupFailed, match=r"catalogue.jsonl: record 0 \(line 1\): price: .*'1,00'"):
        run()


def test_merge_adds_runs_up_and_refuses_what_cannot_be(shop: Path) -> None:
    made = pipeline(
        outputs={"by_order": GroupBy("order", lines=Count(), net=Sum("net"), to=Sql("by_order", mode="merge"))}
    )
    made.run()
    assert made.run().repeats
    made.run(force=True)
    assert table(shop / "out/shop.db", "by_order") == [("1", 4, "36.26")]
    mean = pipeline(outputs={"m": GroupBy("order", mean=Mean("net", places=2), to=Sql("m", mode="merge"))})
    with pytest.raises(ConfigurationError, match=r"output m: .*mean"):
        mean.run()


def test_streams_and_bytes_as_input_keep_their_rejects(shop: Path) -> None:
    data = (shop / "orders.jsonl").read_bytes()
    with pytest.raises(ConfigurationError, match="cannot tell the format of <bytes>"):
        pipeline().run(input=data)
    told = pipeline(source=Source("orders.jsonl", Line, format="jsonl", key=["order", "n"], reject_with="order"))
    result = told.run(input=data)
    assert result.counts == {"read": 10, "written": 2, "filtered": 2, "rejected": 6}
    assert result.rejects.filter(stage="lookup")["raw"].to_list() == [data.splitlines()[5]]


def test_the_definition_can_be_seen_and_hashed(shop: Path) -> None:
    made = pipeline()
    assert made.fingerprint() == pipeline().fingerprint()
    assert made.fingerprint() != pipeline(steps=[]).fingerprint()
    assert made.check().names()[:5] == ["order", "n", "sku", "qty", "status"]
    html = made._repr_html_()
    assert "deduplicate" in html
    preview = made.preview(3)
    assert list(preview.frames) == [
        "source",
        "deduplicate",
        "live",
        "catalogue",
        "price",
        "output lines",
        "output by_order",
    ]
    assert preview.frames["source"].height == 3
    assert not (shop / "out").exists()
    result = made.run()
    assert "PUBLISHED" in result._repr_html_()
    manifest = json.loads((shop / f".assay/runs/{result.id}/manifest.json").read_text())
    assert manifest["counts"] == result.counts
    assert manifest["ledger"]["files"][0]["sha256"]
    assert manifest["environment"]["polars"] == pl.__version__


def test_nothing_to_publish_is_published_as_nothing(shop: Path) -> None:
    def lines() -> pl.DataFrame:
        return pl.read_parquet(shop / "out/lines/*.parquet")

    pipeline().run()
    write(shop / "orders.jsonl", {"order": "2", "n": 1, "status": "void"})
    assert pipeline().run().counts == {"read": 1, "written": 0, "filtered": 1, "rejected": 0}
    assert (lines().height, "gross" in lines().columns, table(shop / "out/shop.db", "by_order")) == (0, True, [])
    write(shop / "orders.jsonl", {"order": "2"})
    result = pipeline().run()
    assert result.counts == {"read": 1, "written": 0, "filtered": 0, "rejected": 1}
    (shop / "orders.jsonl").write_bytes(b"")
    with pytest.warns(UserWarning, match="empty"):
        assert pipeline().run().counts["read"] == 0
    assert lines().height == 0


def test_small_batches_change_nothing(shop: Path) -> None:
    large = pipeline().run(output="large")
    small = pipeline().run(output="small", settings=assay.Settings.load(batch_records=1))
    assert (large.counts, large.money) == (small.counts, small.money)
    frames = [pl.read_parquet(shop / name / "lines/*.parquet") for name in ("large", "small")]
    assert frames[0].equals(frames[1])
    assert large.rejects.sort("record").equals(small.rejects.sort("record"))


def test_check_sees_outputs_too(shop: Path) -> None:
    (shop / "out").mkdir()
    (shop / "out/lines").write_text("mine")
    with pytest.raises(assay.SinkError, match="lines"):
        pipeline().check()
    with pytest.raises(assay.RunFailed, match="lines is a file that Assay did not make"):
        pipeline().run().raise_for_status()
    assert (shop / "out/lines").read_text() == "mine"


def test_two_files_of_one_name_in_two_folders(shop: Path) -> None:
    for folder in ("a b", "c[é]"):
        write(shop / folder / "o.jsonl", {"order": folder, "n": 1}, {"order": folder, "n": "x"})
    result = pipeline().run(input="**/o.jsonl")
    assert result.counts == {"read": 4, "written": 0, "filtered": 0, "rejected": 4}
    assert sorted(set(result.rejects["source"])) == ["a b/o.jsonl", "c[é]/o.jsonl"]
    assert pipeline().run(input="c[é]/o.jsonl").counts["read"] == 2


def test_rejects_of_steps_are_kept_some_at_a_time(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"order": str(i), "n": i, "sku": "nothing"} for i in range(100)]
    path = write(shop / "many.jsonl", *rows)
    kept: list[int] = []
    keep = RunStore.add_rejects

    def counted(store: RunStore, run: str, rejects: pl.DataFrame, formats: Any, first: int) -> None:
        kept.append(rejects.height)
        keep(store, run, rejects, formats, first)

    monkeypatch.setattr(RunStore, "add_rejects", counted)
    settings = Settings.load().model_copy(update={"batch_records": 16})
    result = pipeline().run(input=str(path), settings=settings)
    assert result.counts["rejected"] == 100
    assert max(kept) == 16
    assert [json.loads(raw) for raw in result.rejects["raw"]] == rows
