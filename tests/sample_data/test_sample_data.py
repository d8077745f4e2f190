"""The committed data is what the script makes, and its mistakes are where PLANTED.json says, and nowhere else."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from tests.suites.invoice_oracle import checks, disagreements, read

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"
SCRIPT = SAMPLES / "make.py"
NOT_JSON = {"cut_json", "lone_surrogate", "invalid_utf8"}


def make(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=60
    )


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def by_hand(name: str) -> bool:
    return "/" not in name and (name.startswith(".") or Path(name).suffix in {".py", ".md"})


@pytest.fixture(scope="module", params=[None, 20_000], ids=["committed", "20000 rows"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param is None:
        return SAMPLES
    made = tmp_path_factory.mktemp("made")
    done = make("--rows", str(request.param), "--output", made)
    assert done.returncode == 0, done.stderr
    return made


def order_lines(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    for path in sorted((folder / "orders").iterdir()):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert content.endswith(b"\n")
        for number, line in enumerate(content[:-1].split(b"\n"), 1):
            yield f"orders/{path.name}", number, line


def planted(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "PLANTED.json").read_bytes())
    return found


def products(folder: Path) -> dict[str, tuple[str, str]]:
    root = etree.parse(str(folder / "catalogue.xml")).getroot()
    return {each.get("sku", ""): (each.findtext("list_price", ""), each.findtext("currency", "")) for each in root}


def kind_of(line: bytes, seen: set[tuple[str, int]], known: dict[str, tuple[str, str]]) -> str | None:
    """Judge a line by itself, with nothing of the script's."""
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        return "invalid_utf8"
    except json.JSONDecodeError:
        return "cut_json"
    if re.search("[\ud800-\udfff]", row.get("note") or ""):
        return "lone_surrogate"
    if "customer_id" not in row:
        return "missing_customer"
    if row["status"] not in {"live", "void"}:
        return "unknown_status"
    if not re.fullmatch(r"-?\d+(\.\d+)?", str(row["qty"])):
        return "decimal_comma" if "," in row["qty"] else "qty_in_words"
    if Decimal(str(row["qty"])) <= 0:
        return "negative_qty"
    if not 0 <= Decimal(row["discount"]) <= 100:
        return "discount_over_100"
    try:
        datetime.fromisoformat(row["ordered_at"])
    except ValueError:
        return "bad_date"
    if row["sku"] not in known:
        return "unknown_sku"
    key = row["order_id"], row["line"]
    if key in seen:
        return "duplicate"
    seen.add(key)
    return None


def test_the_committed_files_are_what_the_script_makes(tmp_path: Path) -> None:
    done = make("--output", tmp_path, PYTHONHASHSEED="1", PYTHONUTF8="0", LC_ALL="C", TZ="Asia/Tokyo")
    assert done.returncode == 0, done.stderr

    made = files(tmp_path)
    committed = {name: content for name, content in files(SAMPLES).items() if not by_hand(name)}
    assert set(made) == set(committed)
    assert [name for name in made if made[name] != committed[name]] == []


def test_the_committed_files_are_small() -> None:
    assert sum(map(len, files(SAMPLES).values())) < 600_000


def test_the_compressed_file_says_nothing_of_when_and_where_it_was_made(folder: Path) -> None:
    header = (folder / "orders/2026-03.jsonl.gz").read_bytes()[:8]

    assert header == b"\x1f\x8b\x08" + bytes(5)


def test_every_mistake_is_planted_and_every_planted_one_is_there(folder: Path) -> None:
    known, seen = products(folder), set[tuple[str, int]]()
    found = {
        (file, number): kind
        for file, number, line in order_lines(folder)
        if (kind := kind_of(line, seen, known)) is not None
    }

    report = planted(folder)
    assert found == {(each["file"], each["line"]): each["kind"] for each in report["planted"]}
    assert Counter(found.values()) == report["counts"]
    assert min(report["counts"].values()) >= 1
    share = len(found) / report["orders"]["lines"]
    assert 0.008 < share < 0.012


def test_the_report_counts_lines_orders_and_touched_orders(folder: Path) -> None:
    report = planted(folder)
    lines = Counter[str]()
    void = Counter[str]()
    in_files = Counter[str]()
    numbers: list[str] = []
    unreadable = {(each["file"], each["line"]): each["order_id"] for each in report["planted"] if not each["is_json"]}
    for file, number, line in order_lines(folder):
        row = {} if (file, number) in unreadable else json.loads(line)
        order = row.get("order_id") or unreadable[file, number]
        lines[order] += 1
        void[order] += row.get("status") == "void"
        in_files[file] += 1
        if not numbers or numbers[-1] != order:
            numbers.append(order)

    assert len(numbers) == len(set(numbers)) == report["orders"]["orders"]
    assert sum(lines.values()) == report["orders"]["lines"]
    assert sum(void.values()) == report["orders"]["void_lines"]
    assert [{"file": file, "lines": count} for file, count in in_files.items()] == report["orders"]["files"]
    for each in report["planted"]:
        assert (each["order_lines"], each["order_void"]) == (lines[each["order_id"]], void[each["order_id"]])
        assert each["is_json"] is (each["kind"] not in NOT_JSON)
    assert report["orders_touched"] == [each["order_id"] for each in report["planted"] if each["effect"] != "duplicate"]
    assert len(set(report["orders_touched"])) == len(report["orders_touched"])


def test_orders_have_what_a_reader_must_cope_with(folder: Path) -> None:
    bad = {(each["file"], each["line"]) for each in planted(folder)["planted"]}
    raw = [line for file, number, line in order_lines(folder) if (file, number) not in bad]
    rows = [json.loads(line) for line in raw]
    sizes = Counter(row["order_id"] for row in rows)

    assert {type(row["qty"]) for row in rows} == {str, int, float}
    assert {"0", "5", "7.5", "12.25"} <= {row["discount"] for row in rows}
    assert {row["tax_rate"] for row in rows} == {"0", "7", "19"}
    assert {type(row.get("note", 0)) for row in rows} == {str, type(None), int}
    assert any(b"\\u" in line for line in raw)
    assert any("日本語".encode() in line for line in raw)
    assert set(sizes.values()) >= {1, 2, 3, 4, 5, 6}
    customers = Counter(row["customer_id"] for row in rows)
    assert 50 <= len(customers) <= 60
    assert customers.most_common(1)[0][1] > 10 * min(customers.values())
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["ordered_at"]) for row in rows)


def test_the_catalogue_has_each_currency_that_the_rates_have_but_one(folder: Path) -> None:
    text = (folder / "catalogue.xml").read_text("utf-8")
    known = products(folder)
    rates = {each["currency"]: each["rate"] for each in json.loads((folder / "rates.json").read_bytes())["rates"]}

    assert len(known) == 120
    assert {currency for _, currency in known.values()} == {"EUR", "USD", "GBP", "JPY"} == set(rates) - {"CHF"}
    assert Counter(currency for _, currency in known.values()).most_common(1)[0][0] == "EUR"
    places = {len(price.partition(".")[2]) for price, _ in known.values()}
    assert places == {0, 2, 4}
    assert {len(price.partition(".")[2]) for price, currency in known.values() if currency == "JPY"} == {0}
    assert all(part in text for part in ("<!--", "<![CDATA[", "&amp;", "&lt;", "&#"))


def test_the_invoices_add_up_but_for_the_planted_figures(folder: Path) -> None:
    every = sorted((folder / "invoices").iterdir())
    paths = [path for path in every if "CrossIndustryInvoice" not in read(path).tag]
    found = [
        {"file": f"invoices/{path.name}", "rule": check.rule, "where": check.where}
        | {"stated": str(check.stated), "computed": str(check.computed)}
        for path in paths
        for check in disagreements(read(path))
    ]

    names = {f"invoices/{path.name}" for path in paths}
    # Those in CII are read by the pipeline's own tests.
    assert found == [each for each in planted(folder)["invoices"] if each["file"] in names]
    assert len({each["file"] for each in found}) == 2
    assert len({each["file"] for each in planted(folder)["invoices"]}) == 4
    assert len(every) == 18
    assert Counter(etree.QName(read(path)).localname for path in paths) == {"Invoice": 12, "CreditNote": 2}
    assert all(len(checks(read(path))) >= 11 for path in paths)


def test_the_invoices_differ_in_how_they_are_written() -> None:
    content = files(SAMPLES / "invoices")
    roots = {name: read(SAMPLES / "invoices" / name) for name in content}

    assert b'encoding="ISO-8859-1"' in content["INV-2026-0010.xml"]
    assert b"Gr\xf6\xdfe" in content["INV-2026-0010.xml"]
    assert len({frozenset(root.nsmap) for root in roots.values()}) == 3
    for name in ("PrepaidAmount", "PayableRoundingAmount", "BaseQuantity", "TaxCurrencyCode", "AllowanceCharge"):
        assert any(next(root.iter(f"{{*}}{name}"), None) is not None for root in roots.values()), name


def test_as_many_lines_are_made_as_were_asked_for(tmp_path: Path) -> None:
    done = make("--rows", "100", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(1 for _ in order_lines(tmp_path)) == 100

    done = make("--rows", "101", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(1 for _ in order_lines(tmp_path)) == 101


def test_other_rows_never_replace_the_committed_files() -> None:
    before = files(SAMPLES)

    done = make("--rows", "3000")

    assert done.returncode == 2
    assert "--rows needs --output" in done.stderr
    assert files(SAMPLES) == before


def test_files_of_other_data_are_not_mixed_in(tmp_path: Path) -> None:
    other = tmp_path / "orders" / "2025-12.jsonl"
    other.parent.mkdir()
    other.write_text("{}\n")

    done = make("--output", tmp_path)

    assert done.returncode == 1
    assert "2025-12.jsonl is not of this data" in done.stderr
    assert other.read_text() == "{}\n"


@pytest.mark.campaign
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
def test_a_million_rows_take_little_memory_and_files_are_of_bounded_length(tmp_path: Path) -> None:
    # Not getrusage: its peak starts with that of the process which forked.
    measured = (
        "import pathlib, runpy, sys; sys.argv[:] = sys.argv[1:];\n"
        "runpy.run_path(sys.argv[0], run_name='__main__');\n"
        "print(pathlib.Path('/proc/self/status').read_text())"
    )
    command = [sys.executable, "-c", measured, str(SCRIPT), "--rows", "1000000", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert peak is not None
    assert int(peak[1]) < 64_000
    assert sorted(path.name for path in (tmp_path / "orders").iterdir()) == [
        "2026-01.jsonl",
        "2026-02.jsonl",
        "2026-03.jsonl.gz",
        "2026-04.jsonl",
    ]
    assert sum(1 for _ in order_lines(tmp_path)) == 1_000_000
    assert max(each["lines"] for each in planted(tmp_path)["orders"]["files"]) <= 250_000
