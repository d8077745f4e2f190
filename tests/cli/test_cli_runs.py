"""What `assay runs` tells of past runs, and how a run is told where its project is."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.using import assay, document, tree

PIPELINE = """
from decimal import Decimal

from pydantic import BaseModel

from assay import GroupBy, Pipeline, Source, Sql, Sum


class Line(BaseModel):
    customer: str
    net: Decimal


class Params(BaseModel):
    month: str = "2026-01"


feed = Pipeline(
    "feed",
    source=Source("in/*.jsonl", Line, decimals=(20, 2), incremental=True),
    outputs={"totals": GroupBy("customer", net=Sum("net"), to=Sql("totals", mode="merge"))},
    params=Params,
)
"""


@pytest.fixture
def feed(project: Path) -> Path:
    (project / "pipelines/feed.py").write_text(PIPELINE)
    (project / "in").mkdir()
    (project / "in/1.jsonl").write_text('{"customer": "a", "net": "1.00"}\n{"customer": "a", "net": "x"}\n')
    return project


@pytest.fixture
def run(feed: Path) -> str:
    made: str = document(assay("run", "feed", "--set", "month=2026-02", "--json"))["id"]
    return made


def test_show_is_a_word_for_one_run(run: str) -> None:
    assert assay("runs", "show", run).stdout == assay("runs", run).stdout
    assert assay("runs", "show", "feed").stdout == assay("runs", "latest").stdout
    assert document(assay("runs", "show", run, "--json"))["id"] == run
    assert "which run?" in assay("runs", "show").stderr
    assert assay("runs", "one", "two").exit_code == 2
    assert "no run 'nosuch'" in assay("runs", "show", "nosuch").stderr


def test_json_tells_when_with_what_and_of_which(feed: Path, run: str) -> None:
    (feed / "mended").write_text('{"customer": "a", "net": "2.00"}')
    assert assay("rejects", "edit", run, "1", "--from", "mended").exit_code == 0
    replay = document(assay("rejects", "replay", run, "--json"))["id"]
    last, first = document(assay("runs", "--json"))["runs"]
    assert [(one["id"], one["parent"]) for one in (last, first)] == [(replay, run), (run, None)]
    assert first["params"] == last["params"] == {"month": "2026-02"}
    assert abs(datetime.fromisoformat(first["started"]) - datetime.now().astimezone()) < timedelta(minutes=5)
    assert first["project"] == str(feed.resolve())


def test_groups_that_are_merged_say_so(feed: Path, run: str) -> None:
    (feed / "in/2.jsonl").write_text('{"customer": "a", "net": "2.00"}\n')
    assert document(assay("run", "feed", "--json"))["outputs"]["totals"]["mode"] == "merge"
    assert "totals  merge  1 rows" in assay("runs", "latest").stdout
    assert document(assay("run", "feed", "--full", "--json"))["outputs"]["totals"]["mode"] == "replace"


def test_a_project_above_the_current_folder_is_named(feed: Path, monkeypatch: pytest.MonkeyPatch, run: str) -> None:
    assert "project" not in assay("runs", "show", run).stdout
    below = feed / "in"
    monkeypatch.chdir(below)
    assert f"project  {feed.resolve()}" in assay("run", "feed", "--full").stdout


def test_wait_takes_no_word_away(feed: Path) -> None:
    assert assay("run", "--wait", "feed").exit_code == 0
    assert assay("run", "--wait-seconds", "5", "feed", "--full").exit_code == 0
    assert "'x' is not a valid float" in assay("run", "feed", "--wait-seconds", "x").stderr


def test_a_replay_is_quiet_and_waits(run: str) -> None:
    done = assay("rejects", "replay", run, "--quiet", "--wait-seconds", "5")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_run_store_that_goes_away_during_a_run_stops_it(project: Path, how: str) -> None:
    text = PIPELINE.replace("feed = Pipeline", f"{GONE}\n\nfeed = Pipeline").replace(
        "    params=Params,\n", "    params=Params,\n    steps=[gone],\n"
    )
    (project / "pipelines/feed.py").write_text(text)
    (project / "in").mkdir()
    (project / "in/1.jsonl").write_text('{"customer": "a", "net": "1.00"}\n')
    (project / "how").write_text("keep")
    assert assay("run", "feed").exit_code == 0
    (project / "in/2.jsonl").write_text('{"customer": "a", "net": "2.00"}\n')
    (project / "how").write_text(how)
    before = tree(project / "out")
    done = assay("run", "feed")
    assert done.exit_code == 1
    assert "the file of the run store was deleted or replaced while the run was under way; nothing was" in done.stderr
    assert tree(project / "out") == before


GONE = """
def gone(rows):
    import pathlib
    import shutil

    # Before there are rows, it is only asked for its columns.
    how = pathlib.Path("how").read_text() if rows.collect().height else "keep"
    if how != "keep":
        pathlib.Path(".assay/runs.db").rename("kept.db")
    if how == "replaced":
        shutil.copy("kept.db", ".assay/runs.db")
    return rows
"""
