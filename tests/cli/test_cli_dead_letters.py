"""Dead letters from the command line: found by what is asked, masked, purged after their time."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.cli.using import assay, document

from assay.runs import RunStore
from assay.settings import Settings

PIPELINE = '''
"""A feed with people in it."""

from pydantic import BaseModel, field_validator

from assay import Parquet, Pipeline, Price, PriceBook, Rows, Source


class Line(BaseModel):
    id: int
    email: str
    quantity: int

    @field_validator("email")
    @classmethod
    def plausible(cls, value: str) -> str:
        if "@" not in value:
            raise ValueError(f"{value} is no address")
        return value


book = PriceBook.model_validate(
    {"currency": "EUR", "rounding": "half_up", "steps": [{"kind": "package", "size": "10", "price": "1"}]}
)
feed = Pipeline(
    "feed",
    source=Source("in/*.jsonl", Line, delimiter=DELIMITER),
    steps=[Price(book)],
    outputs={"lines": Rows(to=Parquet("out/lines", mode="append"))},
)
'''


@pytest.fixture
def feed(project: Path) -> Path:
    (project / "pipelines").mkdir(exist_ok=True)
    (project / "pipelines/feed.py").write_text(PIPELINE.replace("DELIMITER", "None"))
    (project / "in").mkdir()
    (project / "in/may.jsonl").write_text(
        '{"id": "x", "email": "anna@example.org", "quantity": 1}\n'
        '{"id": 2, "email": "canary", "quantity": 1}\n'
        '{"id": 3, "email": "bob@example.org"}\n'
        '{"id": 4, "email": "eve@example.org", "quantity": -5}\n'
    )
    (project / "in/june.jsonl").write_text('{"id": "y", "email": "anna@example.org", "quantity": 1}\n{"id": \n')
    return project


def run(*arguments: str) -> dict[str, Any]:
    return document(assay("run", "feed", "--json", *arguments))


def listed(*arguments: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = document(assay("rejects", "list", *arguments, "--json"))["rejects"]
    return made


def test_what_is_asked_is_found(feed: Path) -> None:
    first, second = run()["id"], run("--input", "in/may.jsonl")["id"]
    assert [r["source"].rpartition("/")[2] for r in listed(first, "--type", "int_parsing")] == [
        "june.jsonl",
        "may.jsonl",
    ]
    by_place = {(r["run"], r["source"].rpartition("/")[2], r["line"]) for r in listed("feed", "--field", "id")}
    assert by_place == {(first, "june.jsonl", 1), (first, "may.jsonl", 1), (second, "may.jsonl", 1)}
    assert [r["line"] for r in listed(first, "--file", "may.jsonl", "--stage", "validate")] == [1, 2, 3]
    assert [r["line"] for r in listed(first, "--field", "-")] == [2]
    whole = document(assay("rejects", "list", "feed", "--limit", "3", "--json"))
    assert (whole["pipeline"], whole["count"], len(whole["rejects"])) == ("feed", 8, 3)
    assay("rejects", "discard", second, "1", "--reason", "a test")
    assert [r["state"] for r in listed("feed", "--state", "discarded")] == ["discarded"]
    assert listed("feed", "--state", "discarded")[0]["closed_by"] == "a test"
    assert listed("feed", "--state", "replayed") == []
    table = assay("rejects", "list", "feed", "--field", "id").stdout.splitlines()
    assert table[0].split() == ["count", "open", "stage", "field", "error", "value", "first", "at", "run", "number"]
    assert table[1].split()[:5] == ["3", "2", "validate", "id", "int_parsing"]
    assert '"y" + 1 more' in table[1]
    assert table[2:] == ["1 discarded, 2 open", f"one record: assay rejects show {first} 1"]
    assert "and 3 more kinds" in assay("rejects", "list", first, "--limit", "1").stdout
    nothing = assay("rejects", "list", first, "--type", "nope")
    assert (nothing.exit_code, nothing.stdout) == (0, f"run {first} of feed rejected nothing of this kind\n")
    wrong = assay("rejects", "list", "--state", "opn")
    assert (wrong.exit_code, "discarded" in wrong.stderr) == (2, True)


def test_a_price_that_could_not_be_said_tells_why(feed: Path) -> None:
    (feed / "in/june.jsonl").unlink()
    (feed / "in/may.jsonl").write_text('{"id": 4, "email": "e@e", "quantity": 4}\n')
    file = feed / "pipelines/feed.py"
    file.write_text(file.read_text().replace('"price": "1"', '"price": {"column": "list_price"}'))
    file.write_text(
        file.read_text().replace("    quantity: int\n", "    quantity: int\n    list_price: int | None = None\n")
    )
    run()
    row = assay("rejects", "list").stdout.splitlines()[1]
    assert row.split()[2:5] == ["pricing", "package", "pricing_error"]
    assert "package: list_price is null" in row


def test_pipelines_by_name(feed: Path) -> None:
    for command in (("runs",), ("rejects", "list")):
        assert assay(*command, "feed").exit_code == 0
        unknown = assay(*command, "feef")
        assert unknown.exit_code == 2
    assert assay("runs", "feed").stdout == "no runs of feed yet; assay run feed makes one\n"
    assert assay("rejects", "list", "feed").stdout == "feed rejected nothing\n"
    made = run()
    assert assay("runs", "feed").stdout == assay("runs", "--pipeline", "feed").stdout
    assert document(assay("runs", "feed", "--json"))["runs"][0]["id"] == made["id"]
    assert document(assay("runs", made["id"], "--json"))["id"] == made["id"]
    assert 'Did you mean "feed"?' in assay("runs", "feef").stderr
    assert (
        assay("rejects", "list", "feed")
        .stdout.splitlines()[-1]
        .startswith(f"one record: assay rejects show {made['id']}")
    )


@pytest.mark.parametrize("how", ["when it ran", "afterwards"])
def test_fields_are_masked_wherever_a_record_is_shown(feed: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "when it ran":
        monkeypatch.setenv("ASSAY_REDACT", "iban, Email")
    made = run()["id"]
    monkeypatch.setenv("ASSAY_REDACT", "iban, Email")
    (feed / "mended").write_text('{"id": 2, "email": "mended-canary@x", "quantity": 1}')
    number = next(r["number"] for r in listed("feed", "--type", "value_error"))
    assert assay("rejects", "edit", made, str(number), "--from", "mended").exit_code == 0
    texts = [assay("rejects", "list", made).stdout, assay("rejects", "list", made, "--json").stdout]
    for letter in listed(made):
        texts += [
            assay("rejects", "show", made, str(letter["number"])).stdout,
            assay("rejects", "show", made, str(letter["number"]), "--json").stdout,
        ]
        assert letter["redacted"] == ["Email", "iban"]
    for text in texts:
        assert "example.org" not in text
        assert "canary" not in text
    one = next(r for r in listed(made) if r["number"] == number)
    assert one["raw"] == '{"id": 2, "email": "***", "quantity": 1}'
    assert one["edited"] == '{"id": 2, "email": "***", "quantity": 1}'
    assert one["errors"] == [{"loc": "email", "type": "value_error", "msg": "***", "input": "***"}]
    broken = next(r for r in listed(made, "--field", "-") if r["stage"] != "pricing")
    assert broken["raw"] is None
    shown = assay("rejects", "show", made, str(broken["number"])).stdout
    assert "not shown: their fields cannot be told apart, and the setting redact is on" in shown
    store = RunStore(Settings.load().run_store_url)
    # The bytes are there, since a replay needs them.
    assert b"canary" in store.dead_letter(made, number).raw
    kept = json.dumps([letter.errors for letter in store.dead_letters(made)])
    store.close()
    assert ("canary" in kept) == (how == "afterwards")
    assert document(assay("rejects", "replay", made, "--json"))["counts"]["written"] == 1


def test_csv_is_masked_as_its_pipeline_reads_it(feed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_REDACT", "email")
    file = feed / "pipelines/feed.py"
    file.write_text(PIPELINE.replace("DELIMITER", '";"'))
    (feed / "may.csv").write_text("id;email;quantity\nx;a@example.org;1\n")
    made = run("--input", "may.csv")["id"]
    assert listed(made)[0]["raw"] == "id;email;quantity\nx;***;1"
    file.write_text("nonsense(")
    assert listed(made)[0]["raw"] is None


def started(feed: Path, days: int) -> None:
    """Set all runs back."""
    engine = sa.create_engine(Settings.load().run_store_url)
    with engine.begin() as connection:
        connection.execute(
            sa.text("update runs set started = date('now', :ago) || 'T00:00:00+00:00'"), {"ago": f"-{days} days"}
        )
    engine.dispose()


def test_rejects_are_kept_for_ever_or_for_some_days(feed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = run()["id"]
    started(feed, 100)
    new = run("--force")["id"]
    assert {r["state"] for r in listed(old)} == {"open"}
    monkeypatch.setenv("ASSAY_REJECTS_DAYS", "90")
    assert "purged" not in json.dumps(run("--dry-run").get("warnings"))
    # All is published already, and the time of rejects passes all the same.
    made = run()
    assert "5 open rejects of runs older than 90 days were purged (setting rejects_days)" in made["warnings"][-1]
    assert {(r["state"], r["raw"], r["closed_by"]) for r in listed(old)} == {("purged", None, "it was open")}
    assert {r["state"] for r in listed(new)} == {"open"}
    assert "purged: it was open" in assay("rejects", "show", old, "1").stdout
    assert "5 purged" in assay("rejects", "list", old).stdout
    edit = assay("rejects", "edit", old, "1", "--from", "pipelines/feed.py")
    assert (edit.exit_code, "It is purged" in edit.stderr) == (2, True)
    replay = assay("rejects", "replay", old)
    assert (replay.exit_code, "no open reject" in replay.stderr) == (2, True)
    assert "purged" not in json.dumps(run().get("warnings"))
    started(feed, 100)
    # Those of the dry run were superseded, when their file was read again.
    assert "5 open rejects" in run("--force")["warnings"][-1]


def test_purge_by_hand(feed: Path) -> None:
    old = run()["id"]
    started(feed, 100)
    for arguments, words in (
        (("purge",), "--days N"),
        (("purge", "--days", "3"), "add --yes"),
        (("purge", "nope", "--days", "3", "--yes"), "nope"),
    ):
        wrong = assay("rejects", *arguments)
        assert (wrong.exit_code, words in wrong.stderr) == (2, True)
    assert assay("rejects", "purge", "--days", "101", "--yes").stdout == "0 purged\n"
    assert {r["state"] for r in listed(old)} == {"open"}
    assert assay("rejects", "purge", "feed", "--days", "99", "--yes").stdout == "5 purged: 5 were open\n"
    assert {r["state"] for r in listed(old)} == {"purged"}


@pytest.mark.parametrize(("value", "names"), [("a, b,", {"a", "b"}), ("", set()), (["a"], {"a"})])
def test_the_setting_of_names(value: Any, names: set[str]) -> None:
    assert Settings.model_validate({"redact": value}).redact == names
