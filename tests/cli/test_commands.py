"""The command line as a user meets it: what it prints, and its exit status."""

import base64
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from tests.cli.using import ASSAY, assay, document, tree
from tests.conftest import ROOT

from assay.cli import COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = assay(command, "--help")
    assert result.exit_code == 0
    assert f"assay {command}" in result.stdout
    assert "Example" in result.stdout


def test_help_is_quick_because_it_loads_little() -> None:
    code = "import sys, assay.cli; sys.exit('polars' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_and_its_history(shop: Path) -> None:
    result = assay("run", "orders")
    assert result.exit_code == 0
    assert "PUBLISHED" in result.stdout
    assert "read 2,000 = written 1,909 + filtered 33 + rejected 58" in result.stdout
    assert "ledger   balanced" in result.stdout
    assert "orders" in assay("runs").stdout
    listed = assay("rejects", "list")
    assert "decimal_parsing" in listed.stdout
    assert "58 open" in listed.stdout
    shown = assay("rejects", "show", "latest", "3").stdout
    assert 'qty  decimal_parsing: Input should be a valid decimal, got "12,50"' in shown
    assert '"qty":"12,50"' in shown


def test_json_is_one_document_and_nothing_else(shop: Path) -> None:
    done = document(assay("run", "orders", "--json"))
    assert set(done) >= {"id", "status", "counts", "money", "outputs", "rejects", "seconds"}
    assert done["counts"] == {"read": 2000, "written": 1909, "filtered": 33, "rejected": 58}
    for arguments in (["list"], ["show", "orders"], ["check"], ["runs"], ["rejects", "list"], ["preview", "orders"]):
        assert document(assay(*arguments, "--json"))["schema"] == 1
    failed = assay("run", "ordrs", "--json")
    assert failed.exit_code == 2
    assert document(failed)["error"]["type"] == "UnknownNameError"
    missing = assay("run", "orders", "--input", "no.jsonl", "--json")
    assert (missing.exit_code, document(missing)["error"]["where"]["file"]) == (1, "no.jsonl")


def test_over_the_budget(shop: Path) -> None:
    result = assay("run", "orders", "--max-rejects", "1%", "--json")
    assert (result.exit_code, document(result)["status"]) == (3, "rejected")
    assert not (shop / "out").exists()
    assert assay("run", "orders", "--max-rejects", "58").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "ordrs"], 'no pipeline "ordrs". Did you mean "orders"? Known: invoices, orders'),
        (["runn", "orders"], 'no command "runn". Did you mean "run"?'),
        (["run", "orders", "--set", "order=x"], 'no parameter "order". Did you mean "orders"?'),
        (["run", "orders", "--set", "orders"], "key=value"),
        (["run", "orders", "--engine", "locall"], 'no engine "locall". Did you mean "local"'),
        (["run", "orders", "--max-rejects", "x"], "max_rejects"),
        (["run", "orders", "--imput", "x"], "No such option '--imput'"),
        (["runs", "zzzzzz"], "no run 'zzzzzz'"),
    ],
)
def test_wrong_use_is_2_and_says_what_was_meant(shop: Path, arguments: list[str], words: str) -> None:
    result = assay(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")


LINE = (ROOT / "sample_data/orders/2026-01.jsonl").read_bytes().splitlines()[0]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("cut.jsonl.gz", gzip.compress(LINE * 1000)[:-30], "compressed data ends early"),
        ("plain.jsonl.gz", LINE, "not readable as .gz"),
        ("xml.jsonl", b"<a><b/></a>", "looks like XML"),
        ("json.xml", b'{"a": 1}', "looks like JSON"),
        ("wide.jsonl", LINE.decode().encode("utf-16"), "UTF-16"),
        ("cut.json", b"[" + LINE + b", {", "the file ends"),
        ("unknown.xyz", LINE, "cannot tell the format"),
    ],
)
def test_a_bad_file_fails_the_run_with_its_name_and_leaves_outputs_alone(
    shop: Path, name: str, data: bytes, words: str
) -> None:
    (shop / "out").mkdir()
    (shop / "out/mine").write_text("mine")
    before = tree(shop / "out")
    (shop / name).write_bytes(data)
    result = assay("run", "orders", "--input", name)
    assert result.exit_code in (1, 2)
    assert name in result.stderr
    assert words in result.stderr
    assert tree(shop / "out") == before
    assert not list(shop.rglob(".assay-staging"))


def test_bad_lines_are_kept_byte_for_byte(shop: Path) -> None:
    bad = [b"\xff\xfe broken", b'{"order_id": "A-1"', b"\x00", LINE.replace(b"A-100001", b"B-1")]
    (shop / "bad.jsonl").write_bytes(b"\n".join([LINE, *bad]) + b"\n")
    done = document(assay("run", "orders", "--input", "bad.jsonl", "--json"))
    assert done["counts"] == {"read": 5, "written": 1, "filtered": 0, "rejected": 4}
    kept = document(assay("rejects", "list", "--json"))["rejects"]
    raws = [r["raw"].encode() if "raw" in r else base64.b64decode(r["raw_base64"]) for r in kept]
    assert raws == bad
    assert [r["line"] for r in kept] == [2, 3, 4, 5]


@pytest.mark.filterwarnings("default")
def test_an_empty_file(shop: Path) -> None:
    (shop / "empty.jsonl").write_bytes(b"")
    result = assay("run", "orders", "--input", "empty.jsonl", "--json")
    assert "empty.jsonl: the file is empty" in result.stderr
    assert (result.exit_code, document(result)["counts"]["read"]) == (0, 0)
    manifest = next(shop.glob(".assay/runs/*/manifest.json"))
    assert [f["name"] for f in json.loads(manifest.read_text())["ledger"]["files"]] == ["empty.jsonl"]


def test_broken_settings_pipelines_and_books_do_not_hide_the_rest(shop: Path) -> None:
    (shop / "assay.toml").write_text("batch_recordz = 1\n")
    result = assay("list")
    assert (result.exit_code, 'Did you mean "batch_records"' in result.stderr) == (2, True)
    (shop / "assay.toml").unlink()
    (shop / "pipelines/broken.py").write_text("import assay\nassay.load(\n")
    listed = assay("list")
    assert "orders" in listed.stdout
    assert "broken.py" in listed.stderr
    (shop / "pipelines/broken.py").unlink()
    book = shop / "pipelines/orders.toml"
    good = book.read_text()
    for wrong, words in (
        ('kind = "per_unti"', 'Did you mean "per_unit"'),
        ('kind = "per_unit"\nunit_prices = "1"', "unit_prices"),
        ('kind = "tax"\nrate = 7.5', "float"),
        ("kind = ", "orders.toml"),
    ):
        book.write_text(good + f"\n[[steps]]\n{wrong}\n")
        result = assay("check")
        assert result.exit_code == 2
        assert words in result.stderr
        assert "invoices  ok" in result.stdout
        assert assay("list").exit_code == 0


def test_mend_and_replay_publishes_exactly_that(shop: Path) -> None:
    first = document(assay("run", "orders", "--json"))
    number = next(
        r["number"] for r in document(assay("rejects", "list", "--json"))["rejects"] if '"12,50"' in r.get("raw", "")
    )
    letter = document(assay("rejects", "show", "latest", str(number), "--json"))
    (shop / "mended.json").write_text(letter["raw"].replace('"12,50"', '"12.50"'))
    assert assay("rejects", "edit", first["id"], str(number), "--from", "mended.json").exit_code == 0
    order = json.loads(letter["raw"])["order_id"]
    before = pl.read_parquet(shop / "out/lines/*.parquet")
    replayed = document(assay("rejects", "replay", first["id"], "--json"))
    assert replayed["status"] == "published"
    assert replayed["counts"]["read"] == 58
    added = pl.read_parquet(shop / "out/lines/*.parquet").join(before, on=["order_id", "line"], how="anti")
    assert set(added["order_id"]) == {order}
    assert added.height == replayed["counts"]["written"]
    again = document(assay("rejects", "replay", first["id"], "--json"))
    assert again["counts"]["written"] == 0
    assert assay("rejects", "discard", first["id"], "1", "--reason", "a test").exit_code == 0
    assert "1 discarded" in assay("rejects", "list", first["id"]).stdout
    assert assay("rejects", "discard", first["id"], "1", "--reason", "again").exit_code == 2


def test_dry_run_limit_output_and_standard_input(shop: Path) -> None:
    dry = document(assay("run", "orders", "--dry-run", "--json"))
    assert (dry["dry_run"], dry["counts"]["written"]) == (True, 1909)
    assert not (shop / "out").exists()
    assert document(assay("run", "orders", "--limit", "10", "--json"))["counts"]["read"] == 10
    done = document(assay("run", "orders", "--output", "else where/é", "--json"))
    assert sorted(p.name for p in (shop / "else where/é").iterdir() if not p.name.startswith(".")) == [
        "lines",
        "orders.db",
    ]
    assert done["outputs"]["lines"]["rows"] == 1909
    (shop / "pipelines/orders.py").write_text(
        (shop / "pipelines/orders.py").read_text().replace("OrderLine,\n", 'OrderLine,\n        format="jsonl",\n', 1)
    )
    piped = subprocess.run(
        [ASSAY, "run", "orders", "--input", "-", "--json"], input=LINE, capture_output=True, check=True, cwd=shop
    )
    assert json.loads(piped.stdout)["counts"]["written"] == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_cleanly_with_nothing_published(shop: Path, number: int, status: int) -> None:
    assert assay("run", "orders").exit_code == 0
    before = tree(shop / "out")
    subprocess.run(
        [sys.executable, ROOT / "sample_data/make.py", "--rows", "60000", "--output", shop / "many"], check=True
    )
    process = subprocess.Popen(
        [ASSAY, "run", "orders", "--input", "many/orders/*"],
        cwd=shop,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    staging = shop / ".assay-staging"
    deadline = time.monotonic() + 20
    while not staging.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == status, stderr
    assert b"Traceback" not in stderr
    assert tree(shop / "out") == before
    assert not staging.exists()
    assert document(assay("runs", "latest", "--json"))["status"] == "interrupted"
