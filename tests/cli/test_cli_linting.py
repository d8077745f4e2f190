"""`assay check` on price books: findings, --strict, --allow, --write-tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.cli.using import assay, document

from assay.pricing import PriceList

BOOK = """
currency = "EUR"
rounding = "half_up"

[[steps]]
kind = "volume"
tiers = [{ up_to = "100", unit_price = "2" }, { up_to = "500", unit_price = "1" }]

[[steps]]
kind = "tax"
rate = { column = "tax_rate" }
"""


@pytest.fixture
def prices(project: Path) -> Path:
    (project / "prices.toml").write_text(BOOK)
    return project / "prices.toml"


@pytest.mark.usefixtures("prices")
def test_a_book_is_checked_by_its_file() -> None:
    checked = assay("check", "prices.toml")
    assert checked.exit_code == 0
    rate = "its rate comes from the input tax_rate, and the book sets no limit: at tax_rate 1,000,000 the total is "
    assert checked.stdout.splitlines() == [
        "prices.toml  ok",
        "  warning: volume: the total falls from 202.00 EUR at quantity 100 to 102.01 EUR at 101 (cliff)",
        "  warning: volume: quantity 501 and all beyond is refused: the quantity is above the last tier (limited)",
        f"  warning: tax: {rate}20002.00 EUR (unbounded)",
    ]


@pytest.mark.usefixtures("prices")
def test_strict_fails_where_nothing_is_allowed() -> None:
    refused = assay("check", "prices.toml", "--strict")
    assert refused.exit_code == 1
    assert "3 findings in price books" in refused.stderr
    fewer = assay("check", "prices.toml", "--strict", "--allow", "cliff:volume", "--allow", "limited")
    assert (fewer.exit_code, "1 finding in price books" in fewer.stderr) == (1, True)
    allowed = [word for rule in ("cliff", "limited", "unbounded:tax") for word in ("--allow", rule)]
    fine = assay("check", "prices.toml", "--strict", *allowed)
    assert (fine.exit_code, fine.stdout) == (0, "prices.toml  ok\n")
    slip = assay("check", "prices.toml", "--allow", "clif")
    assert slip.exit_code == 2
    assert 'no rule "clif". Did you mean "cliff"?' in slip.stderr


@pytest.mark.usefixtures("prices")
def test_findings_are_in_the_document() -> None:
    told = document(assay("check", "prices.toml", "--json", "--strict"))
    assert (told["ok"], told["checked"]) == (False, {"prices.toml": None})
    first = told["findings"][0]
    assert (first["of"], first["step"], first["rule"], first["book_step"]) == ("prices.toml", None, "cliff", "volume")
    assert (first["example"]["quantity"], first["beside"]["quantity"]) == ("101", "100")


def test_a_broken_book_is_told_with_its_file(project: Path) -> None:
    (project / "prices.toml").write_text(BOOK.replace("half_up", "half_way"))
    broken = assay("check", "prices.toml")
    assert (broken.exit_code, broken.stdout) == (2, "")
    assert broken.stderr.startswith("error: prices.toml: rounding: ")
    missing = assay("check", "nothing.toml")
    assert missing.exit_code == 2
    assert missing.stderr == "error: nothing.toml: cannot be read: No such file or directory\n"


@pytest.mark.usefixtures("prices")
def test_tests_are_written_once(project: Path) -> None:
    (project / "tests").mkdir()
    made = assay("check", "prices.toml", "--write-tests", "tests/test_prices.py")
    assert made.exit_code == 0
    assert made.stdout == "tests/test_prices.py  6 items at the edges of prices.toml, with what they cost now\n"
    text = (project / "tests/test_prices.py").read_text()
    assert 'PriceBook.load(HERE / "../prices.toml")' in text
    (project / "tests/test_prices.py").write_text("mine")
    again = assay("check", "prices.toml", "--write-tests", "tests/test_prices.py")
    assert (again.exit_code, (project / "tests/test_prices.py").read_text()) == (2, "mine")
    assert "is there already" in again.stderr
    assert assay("check", "prices.toml", "--write-tests", "tests/test_prices.py", "--force").exit_code == 0
    assert (project / "tests/test_prices.py").read_text() == text
    assert assay("check", "--write-tests", "tests/x.py").exit_code == 2
    nowhere = assay("check", "prices.toml", "--write-tests", "no/folder/test_prices.py")
    assert (nowhere.exit_code, "cannot be written" in nowhere.stderr) == (2, True)


def test_what_the_model_limits_the_book_need_not(shop: Path) -> None:
    assert "unbounded" not in assay("check", "orders").stdout
    source = shop / "pipelines/orders.py"
    wide = "    tax_rate: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4)]\n"
    source.write_text(source.read_text().replace("    tax_rate: Percent\n", wide))
    told = "  warning: step price: tax: its rate comes from the input tax_rate, and the book sets no limit"
    assert told in assay("check", "orders").stdout
    assert document(assay("check", "orders", "--json"))["findings"][0]["step"] == "price"


def test_a_book_whose_prices_are_in_a_list_says_who_looks_at_both(project: Path) -> None:
    steps = '[[steps]]\nkind = "resolve"\ntable = "list"\ngives = ["unit_price"]\n\n[[steps]]\nkind = "per_unit"\n'
    head = 'currency = "EUR"\nrounding = "half_up"\n\n'
    (project / "listed.toml").write_text(head + steps + 'unit_price = { column = "unit_price" }\n')
    checked = assay("check", "listed.toml")
    assert 'its prices are in the list "list", which a pipeline gives: assay check PIPELINE' in checked.stdout
    refused = assay("check", "listed.toml", "--write-tests", "test_listed.py")
    assert refused.exit_code == 2
    assert 'listed.toml: its prices are in the list "list"' in refused.stderr
    assert not (project / "test_listed.py").exists()


LIST = """id,product,min_quantity,valid_from,valid_to,priority,currency,unit_price,flat_fee,note
a,tea,,,2026-04-01,,EUR,4.00,,"two
lines"
b,tea,,2026-04-02,,,EUR,4.40,0.005,

c,jam,,,,,EURO,1,,
d,milk,,,,,EUR,1.005,,
e,milk,,,,1,EUR,2,,
"""
LISTED = """
currency = "EUR"
rounding = "half_up"

[[steps]]
kind = "resolve"
table = "list"
gives = ["unit_price"]
date = "day"
quantity = "quantity"

[[steps]]
kind = "per_unit"
unit_price = { column = "unit_price" }
"""


def test_a_list_is_checked_by_its_file(project: Path) -> None:
    (project / "prices.csv").write_text(LIST)
    checked = assay("check", "prices.csv")
    assert checked.exit_code == 0
    assert checked.stdout.splitlines() == [
        "prices.csv  ok",
        "  left out (no columns of a price list, and no decimals in them): note",
        '  warning: no row for product "tea", currency "EUR" at 2026-04-01 00:00 UTC (dates)',
        '  warning: "d" (line 7) never counts: others come before it for product "milk", currency "EUR" (unreachable)',
        "  warning: line 4: flat_fee is 0.005, and EUR has 2 decimal places (digits)",
        '  warning: line 6: there is no currency "EURO" (did you mean "EUR"?) (digits)',
    ]
    allowed = [part for rule in ("digits", "unreachable", "dates") for part in ("--allow", rule)]
    assert assay("check", "prices.csv", "--strict").exit_code == 1
    assert assay("check", "prices.csv", "--strict", *allowed).exit_code == 0
    told = document(assay("check", "prices.csv", "--json"))
    assert told["left_out"] == {"prices.csv": ["note"]}
    assert told["findings"][0]["example"] == {"product": "tea", "currency": "EUR", "date": "2026-04-01 00:00:00+00:00"}


def test_every_format_of_a_list_is_checked(project: Path) -> None:
    tie = '{"product": "tea", "priority": 2, "min_quantity": %d, "unit_price": 1.10, "id": "%s"}'
    rows = [tie % (1, "a"), tie % (1, "b"), tie % (5, "c")]
    (project / "list.json").write_text(f"[{', '.join(rows)}]")
    (project / "list.jsonl").write_text("\n\n".join(rows))
    frame = pl.DataFrame({"product": ["tea"] * 3, "min_quantity": [1, 1, 5], "id": ["a", "b", "c"]})
    frame.with_columns(unit_price=pl.lit("1.10").cast(pl.Decimal(9, 2))).write_parquet(project / "list.parquet")
    (project / "list.tsv").write_text("product\tid\tunit_price\ntea\ta\t1\ntea\tb\t1\n")
    places = {"list.json": "row 1, row 2", "list.jsonl": "line 1, line 3", "list.parquet": "row 1, row 2"}
    for name, said in {**places, "list.tsv": "line 2, line 3"}.items():
        first, second = said.split(", ")
        assert f'warning: "a" ({first}) and "b" ({second}) tie' in assay("check", name).stdout


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("list.csv", "id,unit_price\na,1\nb,1,2\n", "list.csv: line 3 has 3 fields, and line 1 2"),
        ("list.csv", "", "list.csv: is empty"),
        ("list.csv", "id,unit_price,id\n", 'list.csv: line 1 names "id" twice'),
        ("list.csv", 'id,unit_price\na,"1', "list.csv: cannot be read as csv"),
        ("list.csv", "id,unit_price\na,1\nb,x\n", 'list.csv: line 3, unit_price: "x" is no decimal'),
        ("list.csv", "id,custmer,unit_price\na,b,1\n", 'did you mean "customer"'),
        ("list.csv", "id,valid_from,valid_to,unit_price\na,2026-01-02,2026-01-02,1\n", 'list.csv: line 2 ("a"): valid'),
        ("list.jsonl", '{"unit_price": 1}\n[]\n', "list.jsonl: line 2 is no object"),
        ("list.jsonl", "{\n", "list.jsonl: line 1 is no JSON"),
        ("list.json", "[1]", "list.json: a price list is one array of objects"),
        ("list.json", "[" * 100_000, "list.json: cannot be read as json"),
        ("list.parquet", "no", "list.parquet: cannot be read as parquet"),
    ],
)
def test_what_is_no_list_is_told_with_its_place(project: Path, name: str, content: str, words: str) -> None:
    (project / name).write_text(content)
    checked = assay("check", name)
    assert checked.exit_code == 2
    assert words in checked.stderr
    assert "Traceback" not in checked.stderr


def test_a_book_is_checked_and_tested_with_its_list(project: Path) -> None:
    (project / "listed.toml").write_text(LISTED)
    rows = [f"p{number},{number % 3 + 1},2026-01-0{number % 9 + 1},{number}.5" for number in range(120)]
    (project / "prices.csv").write_text("\n".join(["product,min_quantity,valid_from,unit_price", *rows]))
    assert assay("check", "listed.toml", "--prices", "list=prices.csv", "--strict").exit_code == 0
    written = assay("check", "listed.toml", "--prices", "list=prices.csv", "--write-tests", "test_listed.py")
    assert written.exit_code == 0, written.stderr
    text = (project / "test_listed.py").read_text()
    assert "# Of list: the edges of 50 rows, evenly apart; those of 120 are more.\n" in text
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "test_listed.py"]
    assert subprocess.run(command, cwd=project, capture_output=True, check=False).returncode == 0
    (project / "prices.csv").write_text((project / "prices.csv").read_text().replace("p12,1,", "p12,2,"))
    assert subprocess.run(command, cwd=project, capture_output=True, check=False).returncode == 1
    assert len(PriceList.load(project / "prices.csv")) == 120


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["listed.toml", "--prices", "list"], '"list" is no NAME=FILE'),
        (["listed.toml", "--prices", "lists=a.csv"], 'asks for the list "list", and not for "lists"'),
        (["orders", "--prices", "list=a.csv"], "--prices goes with a book's file"),
    ],
)
def test_a_list_is_given_by_the_name_that_the_book_has(project: Path, arguments: list[str], words: str) -> None:
    (project / "listed.toml").write_text(LISTED)
    checked = assay("check", *arguments)
    assert checked.exit_code == 2
    assert words in checked.stderr
