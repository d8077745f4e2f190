"""What is read and where it goes: --input, --format, --output, --limit, budgets, and what a failed run leaves."""

import gzip
import io
import json
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from tests.cli.using import assay, document, tree

RUN_KEYS = {
    "lookups",
    "schema",
    "id",
    "pipeline",
    "status",
    "counts",
    "money",
    "outputs",
    "rejects",
    "verdicts",
    "seconds",
    "started",
    "params",
    "parent",
    "project",
}


def published(shop: Path) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    with sqlite3.connect(shop / "out/orders.db") as connection:
        totals = connection.execute("select * from by_customer order by 1").fetchall()
    connection.close()
    return pl.read_parquet(shop / "out/lines/*.parquet").sort("order_id", "line").rows(), totals


def first_lines(shop: Path, count: int) -> bytes:
    return b"".join((shop / "sample_data/orders/2026-01.jsonl").read_bytes().splitlines(keepends=True)[:count])


def test_the_document_of_a_run_has_the_keys_of_the_contract_and_adds_up(shop: Path) -> None:
    made = document(assay("run", "orders", "--json"))
    assert set(made) == RUN_KEYS
    counts = made["counts"]
    assert counts["read"] == counts["written"] + counts["filtered"] + counts["rejected"]
    assert sum(made["rejects"].values()) == counts["rejected"]
    for sums in made["money"].values():
        assert all(isinstance(amount, str) for amount in sums.values())
    refused = document(assay("run", "orders", "--max-rejects", "1", "--json"))
    assert set(refused) == RUN_KEYS | {"error"}
    assert refused["error"]["type"] == "OverBudget"
    kept = document(assay("runs", made["id"], "--json"))
    assert kept == made


def test_standard_input_needs_a_format_and_keeps_its_rejects(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = first_lines(shop, 10) + b"no json\n"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))
    asked = assay("run", "orders", "--input", "-")
    assert asked.exit_code == 2
    assert "cannot tell the format" in asked.stderr
    made = document(assay("run", "orders", "--input", "-", "--format", "jsonl", "--json"))
    assert (made["status"], made["counts"]["read"], made["counts"]["rejected"]) == ("published", 11, 1)
    assert "no json" in assay("rejects", "show", "latest", "1").stdout


def test_a_glob_reads_all_it_finds_and_only_that(shop: Path) -> None:
    (shop / "feeds/deep").mkdir(parents=True)
    (shop / "feeds/a.jsonl").write_bytes(first_lines(shop, 3))
    (shop / "feeds/deep/b.jsonl.gz").write_bytes(gzip.compress(first_lines(shop, 5)[len(first_lines(shop, 3)) :]))
    (shop / "feeds/deep/c.txt").write_text("not asked for")
    made = document(assay("run", "orders", "--input", "feeds/**/*.jsonl*", "--json"))
    assert made["counts"]["read"] == 5
    nothing = assay("run", "orders", "--input", "feeds/*.nope")
    assert nothing.exit_code == 1
    assert "feeds/*.nope: no file matches" in nothing.stderr
    folder = assay("run", "orders", "--input", "feeds")
    assert folder.exit_code == 1
    assert "feeds: is a folder" in folder.stderr


def test_output_keeps_everything_below_it(shop: Path) -> None:
    made = document(assay("run", "orders", "--output", "elsewhere", "--json"))
    assert made["status"] == "published"
    assert not (shop / "out").exists()
    assert {p.name for p in shop.iterdir()} == {".assay", "elsewhere", "pipelines", "sample_data"}
    assert all(one["target"].startswith("elsewhere/") for one in made["outputs"].values())
    assert assay("run", "orders").exit_code == 0
    for name in ("out", "elsewhere"):
        shutil.copytree(shop / name, shop / f"copy-{name}", symlinks=False)
    there = pl.read_parquet(shop / "elsewhere/lines/*.parquet").sort("order_id", "line")
    assert there.equals(pl.read_parquet(shop / "out/lines/*.parquet").sort("order_id", "line"))


@pytest.mark.parametrize(
    ("budget", "status"),
    [("57", 3), ("58", 0), ("2.8%", 3), ("2.9%", 0), ("0", 3), ("100%", 0)],
)
def test_the_budget_to_the_record(shop: Path, budget: str, status: int) -> None:
    assert assay("run", "orders", "--max-rejects", budget).exit_code == status
    assert (shop / "out").exists() == (status == 0)


@pytest.mark.parametrize("budget", ["-1", "x", "1%%", "nan", "%", "1e"])
def test_a_budget_that_is_none(shop: Path, budget: str) -> None:
    result = assay("run", "orders", f"--max-rejects={budget}")
    assert result.exit_code == 2
    assert "max_rejects is a number of records or a share" in result.stderr


def test_a_dry_run_says_so_leaves_nothing_and_is_remembered_as_such(shop: Path) -> None:
    dry = assay("run", "orders", "--dry-run")
    assert dry.exit_code == 0
    assert "DRY RUN" in dry.stdout
    assert "error" not in dry.stderr
    assert not (shop / "out").exists()
    assert not list(shop.rglob(".assay-staging"))
    assert "DRY RUN" in assay("runs", "latest").stdout
    assert assay("run", "orders", "--dry-run", "--max-rejects", "1").exit_code == 3
    assert assay("run", "orders", "--dry-run", "--input", "none.jsonl").exit_code == 1
    replay = assay("rejects", "replay", "latest")
    assert replay.exit_code == 2
    assert "published nothing" in replay.stderr


def test_a_second_run_replaces_and_a_failed_one_leaves_what_was_there(shop: Path) -> None:
    (shop / "few.jsonl").write_bytes(first_lines(shop, 20))
    assert assay("run", "orders").exit_code == 0
    assert assay("run", "orders", "--input", "few.jsonl").exit_code == 0
    few = published(shop)
    assert len(few[0]) == 20
    before = tree(shop / "out")
    whole = gzip.compress((shop / "sample_data/orders/2026-01.jsonl").read_bytes())
    (shop / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    cut = assay("run", "orders", "--input", "cut.jsonl.gz")
    assert cut.exit_code == 1
    assert "compressed data ends early" in cut.stderr
    assert "after record " in cut.stderr
    assert "Nothing was published." in cut.stderr
    assert assay("run", "orders", "--max-rejects", "0").exit_code == 3
    assert published(shop) == few
    assert tree(shop / "out") == before
    assert "failed" in assay("runs").stdout
    assert not list(shop.rglob(".assay-staging"))


def test_the_whole_of_a_file_of_bad_records_is_kept(shop: Path) -> None:
    # Well-formed, and not one record of it is an order line.
    made = document(assay("run", "orders", "--input", "sample_data/catalogue.xml", "--output", "x", "--json"))
    assert made["counts"] == {"read": 120, "written": 0, "filtered": 0, "rejected": 120}
    letter = document(assay("rejects", "show", "latest", "1", "--json"))
    assert letter["raw"].startswith("<product")
    assert letter["raw"].encode() in (shop / "sample_data/catalogue.xml").read_bytes()


def test_limit_reads_the_first_records_of_all_files_together(shop: Path) -> None:
    for limit in (1, 666, 700):
        made = document(assay("run", "orders", "--limit", str(limit), "--dry-run", "--json"))
        assert made["counts"]["read"] == limit


def test_invoices_with_a_doctype_or_cut_short_fail_by_name(shop: Path) -> None:
    invoice = (shop / "sample_data/invoices/INV-2026-0001.xml").read_text("utf-8")
    head, _, rest = invoice.partition("?>")
    evil = '\n<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
    (shop / "evil.xml").write_text(f"{head}?>{evil}{rest}", "utf-8")
    (shop / "cut.xml").write_text(invoice[:2000], "utf-8")
    for name in ("evil.xml", "cut.xml"):
        result = assay("run", "invoices", "--input", name)
        assert result.exit_code == 1
        assert f"error: {name}: " in result.stderr
        assert "Nothing was published." in result.stderr
    assert not (shop / "out").exists()


def test_another_order_of_keys_or_spaces_changes_no_cent(shop: Path) -> None:
    plain = document(assay("run", "orders", "--limit", "100", "--json"))
    lines = [json.loads(line) for line in first_lines(shop, 46).splitlines()]
    turned = "\r\n".join(
        json.dumps(dict(reversed(line.items())), indent=None, separators=(" , ", " : ")) for line in lines
    )
    (shop / "turned.jsonl").write_text(turned, "utf-8", newline="")
    straight = document(assay("run", "orders", "--limit", "46", "--json"))
    other = document(assay("run", "orders", "--input", "turned.jsonl", "--json"))
    assert (other["counts"], other["money"]) == (straight["counts"], straight["money"])
    assert other["money"] != plain["money"]
