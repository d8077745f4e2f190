"""Broken pipelines, steps, names and settings: each a message that names the place, and the right exit status."""

import json
from pathlib import Path

import pytest
from tests.cli.using import assay, document, tree

from assay.errors import SinkError


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) >= 1
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('pl.col("status")', 'pl.col("statu")', 'step live: no column "statu". Did you mean "status"?'),
        ('on="sku"', 'on="sk"', 'lookup catalogue: no column "sk". Did you mean "sku"?'),
        ('Sum("net")', 'Sum("nett")', 'no column "nett". Did you mean "net"?'),
        ('key=["order_id"', 'key=["orderid"', 'no column "orderid". Did you mean "order_id"?'),
        ("sample_data/orders/*", "sample_data/ordrs/*", "sample_data/ordrs/*: no file matches"),
        ("catalogue.xml", "catalog.xml", "catalog.xml: no such file"),
        ('"orders.toml"', '"order.toml"', "order.toml"),
        ("Deduplicate(),", "Deduplicate(), lambda rows: 1 / 0,", "step lambda: ZeroDivisionError"),
        ("Deduplicate(),", "Deduplicate(), lambda rows: rows.drop('_source'),", "loses the identity of its rows"),
        ("Deduplicate(),", "Deduplicate(), lambda rows: 1,", "step lambda: does not give a LazyFrame"),
    ],
)
def test_a_wrong_definition_is_found_by_check_and_before_a_run(shop: Path, old: str, new: str, words: str) -> None:
    replaced(shop / "pipelines/orders.py", old, new)
    checked = assay("check", "orders")
    # What is missing can come: a file is no misuse, a definition that is wrong is. The input is only told.
    assert checked.exit_code == (0 if "no file matches" in words else 1 if "no such file" in words else 2)
    assert words in checked.stdout + checked.stderr
    ran = assay("run", "orders")
    assert ran.exit_code in (1, 2)
    assert words in ran.stderr
    assert not (shop / "out").exists()
    assert assay("list").exit_code == 0


@pytest.mark.parametrize(
    "step",
    ['lambda rows: rows.with_columns(x=pl.col("note").cast(pl.Int64))', 'Filter("big", pl.col("note").cast(int) > 1)'],
)
def test_a_step_that_fails_on_data_is_named(shop: Path, step: str) -> None:
    replaced(shop / "pipelines/orders.py", "Deduplicate(),", f"Deduplicate(), {step},")
    assert assay("check", "orders").exit_code == 0
    for command in ("run", "preview"):
        result = assay(command, "orders")
        assert result.exit_code in (1, 2)
        assert "error: step " in result.stderr
        assert "conversion from `str`" in result.stderr
    assert not (shop / "out").exists()
    assert not list(shop.rglob(".assay-staging"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = (\n", "line 1: '(' was never closed"),
        ("\n1 / 0\n", "line 2: ZeroDivisionError"),
        ("raise SystemExit(0)\n", "SystemExit"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("a = 1\0\n", "null bytes"),
    ],
)
def test_a_broken_file_is_named_and_hides_no_other(shop: Path, code: str, words: str) -> None:
    (shop / "pipelines/broken.py").write_text(code)
    listed = assay("list")
    assert listed.exit_code == 2
    assert "orders" in listed.stdout
    assert "invoices" in listed.stdout
    assert "broken.py is broken: " in listed.stderr
    assert words in listed.stderr
    asked = assay("run", "broken")
    assert asked.exit_code == 2
    assert words in asked.stderr
    assert assay("check", "orders").exit_code == 0
    checked = assay("check")
    assert checked.exit_code == 2
    assert "orders  ok" in checked.stdout


def test_of_two_pipelines_of_one_name_neither_runs(shop: Path) -> None:
    (shop / "pipelines/again.py").write_text((shop / "pipelines/orders.py").read_text())
    result = assay("run", "orders")
    assert result.exit_code == 2
    assert 'pipeline "orders" is defined in pipelines/again.py as well' in result.stderr
    assert "invoices" in assay("list").stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("pipelnes = 'x'\n", 'unknown setting "pipelnes". Did you mean "pipelines"?'),
        ("batch_records = 'x'\n", "batch_records: Input should be a valid integer"),
        ("batch_records = = 1\n", "line 1"),
    ],
)
def test_wrong_settings_name_file_and_key(shop: Path, content: str, words: str) -> None:
    (shop / "assay.toml").write_text(content)
    result = assay("run", "orders")
    assert result.exit_code == 2
    assert "assay.toml" in result.stderr
    assert words in result.stderr
    assert assay("--help").exit_code == 0


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "nosuchdb://user:canary-secret@host/x",
        "sqlite:////proc/nowhere/runs.db",
        "mysql+nosuchdriver://user:canary-secret@h/x",
    ],
)
def test_a_run_store_that_cannot_be_used(shop: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ASSAY_RUN_STORE", url)
    for command in (["runs"], ["run", "orders"], ["run", "orders", "--json"]):
        result = assay(*command)
        assert result.exit_code == 2
        assert "run_store" in result.stdout + result.stderr or "run store" in result.stdout + result.stderr
        assert "canary-secret" not in result.stdout + result.stderr
    assert not (shop / "out").exists()


def test_no_project_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = assay("list")
    assert result.exit_code == 2
    assert "no folder pipelines" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rn"], 'no command \\"rn\\". Did you mean \\"run\\"?'),
        (["run"], "Missing argument"),
        (["run", "orders", "--limit", "0"], "--limit"),
        (["run", "orders", "--limit", "many"], "--limit"),
        (["rejects", "lst"], "Did you mean"),
        (["rejects", "show", "latest", "x"], "NUMBER"),
        (["run", "orders", "--set", "orders=a", "--set", "orders=b"], "given twice"),
        (["run", "orders", "--input", ""], "--input is empty"),
        (["run", "orders", "--format", "jsnl"], 'Did you mean \\"jsonl\\"'),
        (["runs", "--pipeline", "ordrs"], 'Did you mean \\"orders\\"'),
    ],
)
def test_wrong_use_with_json_is_one_document(shop: Path, arguments: list[str], words: str) -> None:
    result = assay(*arguments, "--json")
    assert result.exit_code == 2
    made = document(result)
    assert made["status"] == "failed"
    assert words in json.dumps(made["error"]["message"])
    plain = assay(*arguments)
    assert plain.exit_code == 2
    assert plain.stderr.startswith("error: ")
    assert plain.stdout == ""


def test_a_run_id_with_a_slip_and_no_runs_at_all(shop: Path) -> None:
    for command in (["runs", "latest"], ["rejects", "list"]):
        nothing = assay(*command)
        assert nothing.exit_code == 2
        assert "There are no runs yet" in nothing.stderr
    assert "no runs yet" in assay("runs").stdout
    assert "no runs of orders yet" in assay("runs", "--pipeline", "orders").stdout
    run = document(assay("run", "orders", "--json"))["id"]
    slip = run[:-1] + ("0" if run[-1] != "0" else "1")
    for arguments in (["runs", slip], ["rejects", "list", slip], ["run", "orders", "--resume", slip]):
        result = assay(*arguments)
        assert result.exit_code == 2
        assert f'Did you mean "{run}"?' in result.stderr
    assert document(assay("runs", run[:4], "--json"))["id"] == run
    assert f'Did you mean "{run}"' in document(assay("runs", slip, "--json"))["error"]["hint"]


def test_outputs_that_cannot_be_written(shop: Path) -> None:
    (shop / "taken").write_text("a file")
    before = tree(shop / "sample_data")
    result = assay("run", "orders", "--output", "taken/below")
    assert result.exit_code == 1
    assert "taken" in result.stderr
    assert (shop / "taken").read_text() == "a file"
    (shop / "out/lines").mkdir(parents=True)
    (shop / "out/lines/mine.txt").write_text("mine")
    result = assay("run", "orders")
    assert result.exit_code in (1, 2)
    assert "output lines" in result.stderr
    assert (shop / "out/lines/mine.txt").read_text() == "mine"
    assert not (shop / "out/orders.db").exists()
    assert tree(shop / "sample_data") == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('Rows(to=Parquet("out/lines"))', 'Parquet("out/lines")', "output lines: it is Rows(to=...)"),
        ('Rows(to=Parquet("out/lines"))', 'Rows(to="out/lines")', "output lines: to='out/lines' is no sink"),
        ('pl.col("status") != "void"', 'lambda: pl.col("status")', "step live: TypeError"),
        ('pl.col("status") != "void"', "lambda p: p.nothing > 1", "step live: AttributeError"),
        ("        OrderLine,\n", "        dict,\n", "a source needs a Pydantic model"),
        ('Sql("by_category")', 'Sql("t", url="bogus://x")', "output by_category"),
        ('Sql("by_category")', 'Sql("by_customer")', "outputs by_customer and by_category are the same"),
    ],
)
def test_any_mistake_is_said_in_words(shop: Path, old: str, new: str, words: str) -> None:
    replaced(shop / "pipelines/orders.py", old, new)
    for command in ("check", "run"):
        result = assay(command, "orders")
        assert result.exit_code in (1, 2)
        assert words in result.stderr
        assert not (shop / "out").exists()


def test_what_a_file_prints_is_no_result(shop: Path) -> None:
    file = shop / "pipelines/orders.py"
    file.write_text(file.read_text() + '\nprint("hello")\n')
    result = assay("list", "--json")
    assert len(json.loads(result.stdout)["pipelines"]) == 2
    assert "hello" in result.stderr


def test_a_decision_that_cannot_be_carried_out_can_be_given_up(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise SinkError("the disk is gone", sink="lines")

    with monkeypatch.context() as patched:
        patched.setattr("assay.pipeline.execution.publish_all", broken)
        stopped = json.loads(assay("run", "orders", "--json").stdout)
        assert stopped["status"] == "running"
        again = assay("run", "orders")
        assert again.exit_code == 1
        assert f"run {stopped['id']} had decided to publish, and cannot: the disk is gone" in again.stderr
        assert f"assay run orders --abandon {stopped['id']}" in again.stderr
    wrong = assay("run", "orders", "--abandon", stopped["id"], "--dry-run")
    assert (wrong.exit_code, "without other options" in wrong.stderr) == (2, True)
    given_up = assay("run", "orders", "--abandon", stopped["id"])
    assert given_up.exit_code == 1
    assert "given up" in given_up.stderr
    assert "nothing was published" not in given_up.stdout + given_up.stderr
    assert assay("run", "orders").exit_code == 0
    assert assay("run", "orders", "--abandon", stopped["id"]).exit_code == 2


def test_a_name_that_may_be_in_a_broken_file_says_so(project: Path) -> None:
    (project / "pipelines/mine.py").write_text("import assay\nx = assay.Source('a.jsonl', int, delimeter=';')\n")
    done = assay("run", "orders")
    assert done.exit_code == 2
    assert "mine.py" in done.stderr
    assert "delimeter" in done.stderr


def test_an_input_that_is_not_there_yet_is_told_and_is_no_failure(shop: Path) -> None:
    for file in (shop / "sample_data/orders").iterdir():
        file.unlink()
    checked = assay("check")
    assert checked.exit_code == 0
    assert "orders  ok\n  its input is not there yet: sample_data/orders/*: no file matches" in checked.stdout
    told = document(assay("check", "--json"))
    assert (told["ok"], told["missing"]) == (True, {"orders": "sample_data/orders/*: no file matches"})
    (shop / "sample_data/orders/x.txt").write_text("")
    wrong = assay("check", "orders")
    assert (wrong.exit_code, "cannot tell the format" in wrong.stderr) == (2, True)
    (shop / "sample_data/orders/x.txt").unlink()
    (shop / "sample_data/catalogue.xml").unlink()
    assert assay("check", "orders").exit_code == 1


def test_check_says_which_inputs_no_column_gives(shop: Path) -> None:
    checked = assay("check", "orders")
    assert checked.exit_code == 0
    assert "step price: its book would also use these inputs, which no column gives: base_quantity, " in checked.stdout
    assert "warning" not in checked.stdout
    # Who looks over all of them is not told what each could also use.
    assert "no column gives" not in assay("check").stdout
    steps = document(assay("check", "orders", "--json"))["steps"]["orders"]
    assert steps["price"]["warnings"] == []
    assert "line_id" in steps["price"]["unbound"]


def test_a_conversion_that_no_currency_reaches_is_an_error(shop: Path) -> None:
    replaced(shop / "pipelines/orders.py", '"currency": "list_currency", ', "")
    for command in ("check", "run"):
        done = assay(command, "orders")
        assert done.exit_code == 2
        assert "step price (orders.toml): the book's step convert can never convert" in done.stderr
        assert '"list_currency" looks like one: give inputs={"currency": "list_currency"}' in done.stderr
    assert not (shop / "out").exists()


def test_rows_that_say_a_currency_nobody_asks_for_are_not_billed(shop: Path) -> None:
    replaced(shop / "pipelines/orders.py", '"currency": "list_currency", ', "")
    replaced(shop / "pipelines/orders.py", '"day": "ordered_at"', "")
    book = shop / "pipelines/orders.toml"
    text = book.read_text()
    convert = text[text.index('[[steps]]\nkind = "convert"') : text.index('[[steps]]\nkind = "tax"')]
    replaced(book, convert, "")
    replaced(shop / "pipelines/orders.py", 'rates={"ecb": EcbRates("{rates}")},', "")
    checked = assay("check", "orders")
    assert checked.exit_code == 0
    assert 'warning: step price: no column gives the input currency, and "list_currency" looks like one' in (
        checked.stdout
    )
    ran = assay("run", "orders")
    assert ran.exit_code == 1
    assert "error: step price: rows say " in ran.stderr
    assert 'in "list_currency", and no column gives the input currency' in ran.stderr
    assert not (shop / "out").exists()
    # A run whose rows are all in the book's currency may be right: it is done, and says so.
    catalogue = shop / "sample_data/catalogue.xml"
    for code in ("USD", "GBP", "CHF", "JPY", "SEK"):
        catalogue.write_text(catalogue.read_text().replace(f">{code}<", ">EUR<"))
    ran = assay("run", "orders")
    assert ran.exit_code == 0
    assert "warning" in ran.stdout
    assert '"list_currency" looks like one' in ran.stdout
    # Who means it says so.
    replaced(shop / "pipelines/orders.py", 'inputs={"quantity"', 'inputs={"currency": None, "quantity"')
    assert "warning" not in assay("check", "orders").stdout


def test_two_pipelines_of_one_name_in_one_file_are_an_error(shop: Path) -> None:
    file = shop / "pipelines/orders.py"
    file.write_text(file.read_text() + "\nsame = orders\n")
    assert assay("list").exit_code == 0
    file.write_text(file.read_text() + "\nfrom dataclasses import replace\nother = replace(orders, max_rejects=1)\n")
    listed = assay("list")
    assert listed.exit_code == 2
    assert 'orders.py is broken: pipeline "orders" is defined in this file twice' in listed.stderr
    assert assay("run", "orders").exit_code == 2
    assert not (shop / "out").exists()


def test_a_book_that_is_not_there_is_told_with_all_places(shop: Path) -> None:
    replaced(shop / "pipelines/orders.py", '"orders.toml"', '"order.toml"')
    told = assay("check", "orders").stderr
    assert 'there is no price book "order.toml": looked in ' in told
    assert str(shop / "pipelines") in told
    assert 'did you mean "orders.toml"?' in told


def test_rates_that_are_not_given_are_told(shop: Path) -> None:
    replaced(shop / "pipelines/orders.py", 'rates={"ecb"', 'rates={"ebc"')
    told = assay("check", "orders").stderr
    assert 'the book asks for the rates "ecb": give rates={"ecb": Table(...)}' in told
    assert 'given is "ebc"' in told


def test_show_names_what_an_expression_uses(shop: Path) -> None:
    nets = 'pl.col("lines").list.eval(pl.element().struct.field("net")).list.sum() + pl.col("charges_total")'
    step = f'Reconcile("R", stated=pl.col("lines_total"), computed={nets})'
    replaced(shop / "pipelines/invoices.py", "steps=[sums]", f"steps=[sums, {step}]")
    replaced(shop / "pipelines/invoices.py", "Pipeline, Rows", "Pipeline, Reconcile, Rows")
    shown = assay("show", "invoices").stdout
    assert ", ," not in shown
    assert "of lines, charges_total" in shown


def test_a_preview_shows_taxes_shortly(shop: Path) -> None:
    shown = assay("preview", "orders", "--rows", "1").stdout
    assert "code tax rate 19 base " in shown
    assert "Decimal(" not in shown
    assert "00000000" not in shown
