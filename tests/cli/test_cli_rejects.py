"""Rejects from the command line: mended, replayed, discarded; what is published and what the ledgers say."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.cli.using import assay, document


def rejects(run: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = document(assay("rejects", "list", run, "--json"))["rejects"]
    return made


def totals(shop: Path) -> dict[str, list[tuple[Any, ...]]]:
    with sqlite3.connect(shop / "out/orders.db") as connection:
        found = {
            name: connection.execute(f"select * from {name} order by 1").fetchall()
            for name in ("by_customer", "by_category")
        }
    connection.close()
    return found


def lines(shop: Path) -> pl.DataFrame:
    return pl.read_parquet(shop / "out/lines/*.parquet").sort("order_id", "line")


@pytest.fixture
def run(shop: Path) -> str:
    made: str = document(assay("run", "orders", "--json"))["id"]
    return made


def mend(shop: Path, run: str, old: str, new: str) -> int:
    """Edit every reject that has `old`; gives how many."""
    found = [r for r in rejects(run) if r["stage"] == "validate" and old in r.get("raw", "")]
    for one in found:
        (shop / "mended").write_text(one["raw"].replace(old, new) + "\n", "utf-8")
        assert assay("rejects", "edit", run, str(one["number"]), "--from", "mended").exit_code == 0
    return len(found)


def test_mended_and_replayed_equals_a_run_on_mended_files(shop: Path, run: str) -> None:
    mended = mend(shop, run, '"105"', '"10.5"') + mend(shop, run, '"pending"', '"live"')
    assert mended == 2
    replayed = document(assay("rejects", "replay", run, "--json"))
    assert replayed["status"] == "published"
    counts = replayed["counts"]
    assert counts["read"] == counts["written"] + counts["filtered"] + counts["rejected"] == 58
    assert counts["written"] > 2  # their orders came along
    after = (lines(shop).rows(), totals(shop))
    again = document(assay("rejects", "replay", run, "--json"))
    assert (again["status"], again["counts"]["written"]) == ("published", 0)
    assert (lines(shop).rows(), totals(shop)) == after
    for file in (shop / "sample_data/orders").glob("*.jsonl"):
        file.write_bytes(file.read_bytes().replace(b'"105"', b'"10.5"').replace(b'"pending"', b'"live"'))
    clean = document(assay("run", "orders", "--json"))
    assert clean["counts"]["written"] == 1909 + counts["written"]
    assert (lines(shop).rows(), totals(shop)) == after


def test_the_original_stays_beside_the_edit_and_states_are_shown(shop: Path, run: str) -> None:
    mend(shop, run, '"105"', '"10.5"')
    number = next(r["number"] for r in rejects(run) if '"105"' in r.get("raw", ""))
    shown = assay("rejects", "show", run, str(number)).stdout
    assert '"105"' in shown
    assert '"10.5"' in shown.partition("edited:")[2]
    assay("rejects", "replay", run)
    assert "replayed: " in assay("rejects", "show", run, str(number)).stdout
    late = assay("rejects", "edit", run, str(number), "--from", "mended")
    assert late.exit_code == 2
    assert "It is replayed" in late.stderr


def test_a_wrong_edit_is_rejected_again_and_can_be_mended_again(shop: Path, run: str) -> None:
    assert mend(shop, run, '"105"', '"106"') == 1
    assert document(assay("rejects", "replay", run, "--json"))["counts"]["written"] == 0
    number = next(r["number"] for r in rejects(run) if '"105"' in r.get("raw", ""))
    raw = next(r["raw"] for r in rejects(run) if r["number"] == number)
    (shop / "mended").write_text(raw.replace('"105"', '"10.5"'))
    assert assay("rejects", "edit", run, str(number), "--from", "mended").exit_code == 0
    assert document(assay("rejects", "replay", run, "--json"))["counts"]["written"] > 0


def test_a_mended_model_replays_without_edits(shop: Path, run: str) -> None:
    file = shop / "pipelines/orders.py"
    file.write_text(file.read_text().replace('Literal["live", ', 'Literal["live", "pending", '))
    before = lines(shop)
    made = document(assay("rejects", "replay", run, "--json"))
    added = lines(shop).join(before, on=["order_id", "line"], how="anti")
    assert made["counts"]["written"] == added.height > 0
    assert added["order_id"].n_unique() == 1


def test_a_model_that_no_longer_fits_what_is_published_is_refused_by_name(shop: Path, run: str) -> None:
    file = shop / "pipelines/orders.py"
    file.write_text(file.read_text().replace("max_digits=10, decimal_places=3", "max_digits=12, decimal_places=5"))
    before = (lines(shop).rows(), totals(shop))
    result = assay("rejects", "replay", run)
    assert result.exit_code == 1
    assert 'output lines: column "qty" is Decimal(precision=10, scale=3) in what is published' in result.stderr
    assert (lines(shop).rows(), totals(shop)) == before
    assert "58 open" in assay("rejects", "list", run).stdout


def test_after_a_replay_latest_still_means_the_rejects(shop: Path, run: str) -> None:
    replayed = assay("rejects", "replay", "latest")
    assert replayed.exit_code == 0
    assert f"assay rejects list {run}" in replayed.stdout
    assert "58 open" in assay("rejects", "list", "latest").stdout
    assert f"published of {run}" in assay("runs").stdout


def test_discard_wants_a_reason_and_open_records(shop: Path, run: str) -> None:
    empty = assay("rejects", "discard", run, "1", "2", "--reason", " ")
    assert empty.exit_code == 2
    assert "--reason is empty" in empty.stderr
    assert assay("rejects", "discard", run, "1", "2", "2", "--reason", "test orders").stdout == "2 discarded\n"
    listed = assay("rejects", "list", run).stdout
    assert "56 open" in listed
    assert "2 discarded" in listed
    again = assay("rejects", "discard", run, "3", "1", "--reason", "x")
    assert again.exit_code == 2
    assert "It is discarded: test orders" in again.stderr
    assert {r["number"]: r["state"] for r in rejects(run)}[3] == "open"
    unknown = assay("rejects", "discard", run, "999", "--reason", "x")
    assert (unknown.exit_code, "999" in unknown.stderr) == (2, True)
    assert document(assay("rejects", "replay", run, "--json"))["counts"]["read"] == 56


def test_edit_without_terminal_file_or_content(shop: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoTerminal:
        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stdin", NoTerminal())
    result = assay("rejects", "edit", run, "1")
    assert result.exit_code == 2
    assert "--from FILE" in result.stderr
    (shop / "empty").write_text("\n")
    result = assay("rejects", "edit", run, "1", "--from", "empty")
    assert result.exit_code == 2
    assert "assay rejects discard" in result.stderr
    assert assay("rejects", "edit", run, "1", "--from", "none").exit_code == 2
    assert "edited" not in assay("rejects", "show", run, "1").stdout


def test_the_list_leads_to_what_can_be_mended(shop: Path, run: str) -> None:
    listed = assay("rejects", "list").stdout
    assert listed.splitlines()[-3].split()[2] == "document"
    number = listed.splitlines()[-1].split()[-1]
    shown = assay("rejects", "show", run, number).stdout
    assert "document_rejected" not in shown
    # A record that is wrong as a whole is not printed twice.
    assert shown.count("A-100049") == 1


def test_nothing_rejected(shop: Path) -> None:
    (shop / "good.jsonl").write_bytes((shop / "sample_data/orders/2026-01.jsonl").read_bytes().splitlines()[0])
    assay("run", "orders", "--input", "good.jsonl")
    assert "rejected nothing" in assay("rejects", "list").stdout
    nothing = assay("rejects", "replay", "latest")
    assert nothing.exit_code == 2
    assert "no open reject" in nothing.stderr


def test_every_bad_byte_is_kept(shop: Path) -> None:
    bad = [b'{"order_id": "\xff\xfe"}', b"\x00\x01", b'{"a": NaN}', b"[" * 1000, b'{"note": "\\ud800"}', b"7"]
    (shop / "bad.jsonl").write_bytes(b"\n".join(bad))
    made = document(assay("run", "orders", "--input", "bad.jsonl", "--json"))
    assert made["counts"]["rejected"] == len(bad)
    frame = pl.DataFrame({"n": [r["number"] for r in rejects("latest")]})
    assert frame["n"].to_list() == list(range(1, len(bad) + 1))
    for number in frame["n"]:
        result = assay("rejects", "show", "latest", str(number))
        assert result.exit_code == 0
        result.stdout.encode("utf-8")
    assert "\\xff\\xfe" in assay("rejects", "show", "latest", "1").stdout
    assert json.loads(rejects("latest")[2]["raw"].replace("NaN", "1")) == {"a": 1}


def test_a_rerun_that_takes_back_mended_records_says_so_and_mends_them_again(shop: Path, run: str) -> None:
    assert mend(shop, run, '"105"', '"10.5"') == 1
    assert document(assay("rejects", "replay", run, "--json"))["counts"]["written"] > 0
    mended = (lines(shop).rows(), totals(shop))
    assert document(assay("run", "orders", "--json"))["repeats"] is True
    again = document(assay("run", "orders", "--force", "--json"))
    assert "records that were replayed after run" in again["warnings"][0]
    assert f"assay rejects edit {again['id']} --like {run}" in again["warnings"][0]
    assert f"warning  {again['warnings'][0]}" in assay("runs", "latest").stdout
    assert lines(shop).height < len(mended[0])
    assert assay("rejects", "edit", again["id"], "--like", run).stdout.startswith(f"1 mended as in run {run}; now: ")
    assert assay("rejects", "replay", "latest").exit_code == 0
    assert (lines(shop).rows(), totals(shop)) == mended


def test_an_edit_says_at_once_whether_it_is_valid(shop: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = next(r for r in rejects(run) if '"105"' in r.get("raw", ""))
    number = str(old["number"])

    def edited(text: str) -> list[str]:
        (shop / "mended").write_text(text)
        done = assay("rejects", "edit", run, number, "--from", "mended")
        assert done.exit_code == 0
        assert assay("rejects", "show", run, number).stdout.count("edited:") == 1
        return done.stdout.splitlines()

    again = "kept, but it would be rejected again:"
    assert edited(old["raw"].replace('"105"', '"10.5"')) == [f"kept, and it is valid; now: assay rejects replay {run}"]
    assert edited("garbage")[:2] == [again, "  json_invalid: Invalid JSON: expected value at line 1 column 1"]
    assert edited(old["raw"] + "\n" + old["raw"])[1].startswith("  json_invalid: ")
    wrong = edited(old["raw"].replace('"105"', '"1O"'))
    assert wrong[1].startswith("  discount  decimal_parsing: ")
    assert wrong[2] == f"mend it: assay rejects edit {run} {number}"
    monkeypatch.setenv("ASSAY_REDACT", "discount")
    assert "1O" not in "".join(edited(old["raw"].replace('"105"', '"1O"')))
    (shop / "pipelines/orders.py").write_text("x = \n")
    assert edited("{}")[0].startswith("kept, and not tried, since the pipeline cannot be used: pipelines/orders.py: ")


def test_edits_that_were_not_replayed_are_not_forgotten(shop: Path, run: str) -> None:
    assert mend(shop, run, '"105"', '"10.5"') == 1
    again = document(assay("run", "orders", "--json", "--force"))
    (warning, *_) = again["warnings"]
    assert warning.startswith(
        f"1 records that were mended after run {run} are rejected again. To mend them as before: "
    )
    assert assay("rejects", "edit", again["id"], "--like", run).stdout.startswith("1 mended as in run")
    late = assay("rejects", "edit", run, "1", "--from", "mended")
    assert (late.exit_code, f"It is superseded: run {again['id']} has replaced" in late.stderr) == (2, True)


def test_edit_takes_a_number_or_a_run(shop: Path, run: str) -> None:
    for arguments in ((run,), (run, "1", "--like", run)):
        wrong = assay("rejects", "edit", *arguments)
        assert (wrong.exit_code, "NUMBER of a record, or --like RUN" in wrong.stderr) == (2, True)
    assert assay("rejects", "edit", run, "--like", run).stdout == f"0 mended as in run {run}\n"
    assert assay("rejects", "edit", run, "--like", "zzzzzz").exit_code == 2


def test_edits_of_a_run_that_published_nothing_wait_for_the_next(shop: Path) -> None:
    stopped = document(assay("run", "orders", "--max-rejects", "0", "--json"))["id"]
    shown = assay("runs", stopped).stdout
    assert "none: nothing was published" in shown
    (shop / "mended").write_text(next(r["raw"] for r in rejects(stopped) if '"105"' in r["raw"]).replace("105", "10"))
    number = next(str(r["number"]) for r in rejects(stopped) if '"105"' in r["raw"])
    kept = assay("rejects", "edit", stopped, number, "--from", "mended").stdout
    assert "published nothing, so there is nothing to add them to: run orders again, then" in kept
    assay("run", "orders")
    assert assay("rejects", "edit", "latest", "--like", stopped).stdout.startswith("1 mended")
    assert document(assay("rejects", "replay", "latest", "--json"))["counts"]["written"] > 0


def test_a_missing_rate_is_told_as_such(shop: Path) -> None:
    file = shop / "sample_data/eurofxref.xml"
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if "USD" not in line))
    made = document(assay("run", "orders", "--json"))
    assert made["rejects"]["rate_missing"] > 100
    assert "for rate_missing (" in made["warnings"][0]
    assert "a budget would stop such a run" in made["warnings"][0]
    one = next(r for r in rejects("latest") if r["stage"] == "pricing")
    assert one["errors"] == [
        {
            "loc": "list_currency",
            "type": "rate_missing",
            "msg": 'convert: no rate from "USD" to EUR on 2026-01-01',
            "input": "USD",
        }
    ]
    file = shop / "pipelines/orders.py"
    file.write_text(file.read_text().replace('    "orders",\n', '    "orders",\n    max_rejects="10%",\n'))
    stopped = assay("run", "orders")
    assert (stopped.exit_code, "over the budget of 10%" in stopped.stderr) == (3, True)
    assert assay("run", "orders", "--max-rejects", "100%").exit_code == 0


def test_the_name_of_a_pipeline_stands_for_its_runs(shop: Path) -> None:
    nothing = assay("runs", "orders")
    assert (nothing.exit_code, nothing.stdout) == (0, "no runs of orders yet; assay run orders makes one\n")
    first = document(assay("run", "orders", "--json"))["id"]
    second = document(assay("run", "orders", "--force", "--json"))["id"]
    assert assay("run", "invoices").exit_code == 0
    listed = assay("runs", "orders").stdout
    assert first in listed
    assert second in listed
    assert "invoices" not in listed
    assert document(assay("rejects", "list", "orders", "--json"))["pipeline"] == "orders"
    assert f"run {second} of orders" in assay("explain", "orders", "A-100001/1").stdout
    assert assay("runs", "ordrs").exit_code == 2


def test_what_cannot_be_priced_is_listed_with_its_reason(shop: Path) -> None:
    book = shop / "pipelines/orders.toml"
    book.write_text(
        book.read_text().replace('"unit_price" }', '"unit_price" }\n[[steps]]\nkind = "flat"\namount = "1"')
    )
    assert assay("run", "orders").exit_code == 0
    line = next(line for line in assay("rejects", "list", "orders").stdout.splitlines() if "pricing_error" in line)
    assert line.split()[2:5] == ["pricing", "flat", "pricing_error"]
    assert "flat: amount is in EUR, the row in USD" in line
