"""`assay check` on price books: findings, --strict, --allow, --write-tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.using import assay, document

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
