from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from assay.errors import ConfigurationError, LedgerError, NotFoundError
from assay.records import REJECTS, FileCount
from assay.runs import Ledger, Money, RunStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    made = RunStore(f"sqlite:///{tmp_path}/deep/er/runs.db")
    yield made
    made.close()


def rejects(*raws: bytes) -> pl.DataFrame:
    errors = [{"loc": "a.0", "type": "t", "msg": "m é \u0007", "input": "i"}]
    rows = [("f.jsonl", i, i + 1, i * 10, "validate", errors, raw) for i, raw in enumerate(raws)]
    return pl.DataFrame(rows, schema=REJECTS, orient="row")


def test_dead_letters_come_back_byte_for_byte(store: RunStore, tmp_path: Path) -> None:
    run = store.start("p", {}, None, staging=tmp_path)
    frame = rejects(b"", bytes(range(256)), b"x" * 100_000)
    store.add_rejects(run, frame, {"f.jsonl": "jsonl"}, 1)
    assert store.rejects_frame(run).equals(frame)
    letter = store.dead_letter(run, 2)
    assert (letter.raw, letter.format, letter.state, letter.current) == (bytes(range(256)), "jsonl", "open", letter.raw)
    store.edit_reject(run, 2, b"mended")
    assert store.dead_letter(run, 2).current == b"mended"
    assert store.dead_letter(run, 2).raw == bytes(range(256))
    store.close_rejects(run, [1], "discarded", "a test")
    assert store.count_rejects(run) == {"open": 2, "discarded": 1}
    assert [d.number for d in store.dead_letters(run, state="open")] == [2, 3]
    with pytest.raises(NotFoundError, match="no reject of run"):
        store.dead_letter(run, 4)


def test_runs_by_id_beginning_or_latest(store: RunStore, tmp_path: Path) -> None:
    ids = [store.start(name, {"n": 1}, None, staging=tmp_path) for name in ("a", "b", "a")]
    assert [run.id for run in store.runs()] == ids[::-1]
    assert store.get("latest").id == ids[2]
    assert store.get("latest", "b").id == ids[1]
    assert store.get(ids[0]).definition == {"n": 1, "staging": f"{tmp_path}/{ids[0]}"}
    shortest = next(n for n in range(1, 7) if sum(i.startswith(ids[1][:n]) for i in ids) == 1)
    assert store.get(ids[1][:shortest]).id == ids[1]
    with pytest.raises(NotFoundError):
        store.get("0000")
    with pytest.raises(NotFoundError, match="single run"):
        store.get("")


def test_an_impossible_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.db").mkdir()
    with pytest.raises(ConfigurationError, match="run store"):
        RunStore(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(ConfigurationError, match="not an SQLAlchemy URL"):
        RunStore("nonsense")


def test_a_ledger_that_does_not_balance_says_all_that_is_wrong() -> None:
    ledger = Ledger(files={"f": FileCount("f", read=3)}, written=1, money={"EUR": Money()})
    ledger.rejected["validate"] = 1
    ledger.rows["lines"] = 2
    ledger.money["EUR"].net += 1
    with pytest.raises(LedgerError) as error:
        ledger.check({"lines": 1})
    words = str(error.value)
    assert "read 3 is not written 1 + filtered 0 + rejected 1" in words
    assert "output lines: 2 rows were given to it, 1 are staged" in words
    assert "list 0 - discounts 0 is not net 1" in words
    ledger.filtered["f"] += 1
    ledger.rows["lines"] = 1
    ledger.money["EUR"] = Money()
    ledger.check({"lines": 1})
