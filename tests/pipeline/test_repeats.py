"""The same run twice publishes once; anything that may change the outcome makes it another run."""

import functools
import importlib
import json
import os
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

import assay
from assay import ConfigurationError, Filter, GroupBy, Lookup, Parquet, Pipeline, Rows, Source, Sql, Sum, Table
from assay.pipeline.fingerprint import fingerprint


class Line(BaseModel):
    order: str
    sku: str
    net: Decimal

    model_config = {"json_schema_extra": {}}


class Product(BaseModel):
    sku: str
    kind: str


class Params(BaseModel):
    rate: int = 1


LATE = 9


def _factor() -> int:
    return 2


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    write(tmp_path / "a.jsonl", ("1", "x", "1.00"), ("2", "y", "2.00"))
    (tmp_path / "catalogue.jsonl").write_text('{"sku": "x", "kind": "k"}\n{"sku": "y", "kind": "k"}\n')
    # As files that were not written a moment ago.
    for file in tmp_path.glob("*.jsonl"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    return tmp_path


def write(file: Path, *rows: tuple[str, str, str]) -> None:
    file.write_text("".join(json.dumps(dict(zip(("order", "sku", "net"), row, strict=True))) + "\n" for row in rows))


def shop_pipeline(mode: Any = "append", **changes: Any) -> Pipeline:
    given: dict[str, Any] = {
        "name": "shop",
        "source": Source("*.jsonl", Line, decimals=(10, 2)),
        "steps": [],
        "outputs": {"lines": Rows(to=Parquet("out/lines", mode=mode, key=("order",)))},
    } | changes
    return Pipeline(**given)


def lines() -> int:
    return pl.read_parquet("out/lines/*.parquet").height


def test_the_same_run_publishes_once(shop: Path) -> None:
    (shop / "catalogue.jsonl").unlink()
    first = shop_pipeline().run()
    assert (first.status, first.repeats, lines()) == ("published", False, 2)
    second = shop_pipeline().run()
    assert (second.id, second.status, second.repeats, lines()) == (first.id, "published", True, 2)
    assert second.counts == first.counts
    third = shop_pipeline().run(force=True)
    assert (third.repeats, lines()) == (False, 4)
    assert not (shop / ".assay-staging").exists()


def test_a_stream_of_the_same_bytes_publishes_once(shop: Path) -> None:
    content = (shop / "a.jsonl").read_bytes()
    told = shop_pipeline(source=Source("-", Line, format="jsonl", decimals=(10, 2)))
    first = told.run(input=content)
    # A file is known by its bytes, not by its name; a stream's are known when it has been read.
    (shop / "b.jsonl").write_bytes(content)
    assert told.run(input=content).id == told.run(input="b.jsonl").id == first.id
    assert lines() == 2
    assert told.run(input=content + b'{"order": "3", "sku": "x", "net": "1"}\n').repeats is False


@pytest.mark.parametrize(
    "change",
    [
        lambda shop: write(shop / "a.jsonl", ("1", "x", "1.01"), ("2", "y", "2.00")),
        lambda shop: write(shop / "b.jsonl", ("3", "x", "1.01")),
        lambda shop: (shop / "catalogue.jsonl").write_text('{"sku": "x", "kind": "K"}\n{"sku": "y", "kind": "k"}\n'),
    ],
    ids=["another byte", "another file", "another catalogue"],
)
def test_other_input_is_another_run(shop: Path, change: Callable[[Path], object]) -> None:
    made = shop_pipeline(
        source=Source("[ab].jsonl", Line, decimals=(10, 2)), steps=[Lookup(Table("catalogue.jsonl", Product), on="sku")]
    )
    first = made.run()
    assert made.run().repeats
    change(shop)
    again = made.run()
    assert (again.status, again.repeats) == ("published", False)
    assert again.id != first.id


def test_other_params_limits_targets_and_steps_are_other_runs(shop: Path) -> None:
    (shop / "catalogue.jsonl").unlink()
    made = shop_pipeline(params=Params)
    made.run()
    assert made.run({"rate": 1}).repeats
    assert not made.run({"rate": 2}).repeats
    assert not made.run(limit=1).repeats
    assert not made.run(output="elsewhere").repeats
    assert made.run(output="elsewhere").repeats
    assert not shop_pipeline(params=Params, steps=[Filter("all", pl.lit(value=True))]).run().repeats
    assert shop_pipeline(params=Params, description="other words", max_rejects="50%").run().repeats


def test_what_is_gone_or_replaced_is_published_again(shop: Path) -> None:
    (shop / "catalogue.jsonl").unlink()
    made = shop_pipeline("replace")
    made.run()
    assert made.run().repeats
    (shop / "out/lines").unlink()
    assert (made.run().repeats, lines()) == (False, 2)
    other = b'{"order": "3", "sku": "x", "net": "1"}\n'
    told = shop_pipeline("replace", source=Source("*.jsonl", Line, format="jsonl", decimals=(10, 2)))
    told.run()
    told.run(input=other)
    assert lines() == 1
    # Going back to what was there before is no repetition.
    assert (told.run().repeats, lines()) == (False, 2)


def test_a_run_over_its_budget_is_not_a_repetition(shop: Path) -> None:
    (shop / "catalogue.jsonl").unlink()
    (shop / "a.jsonl").write_text((shop / "a.jsonl").read_text() + "{}\n")
    shop_pipeline().run()
    assert shop_pipeline().run().repeats
    assert shop_pipeline().run(max_rejects=0).status == "rejected"


def test_only_what_was_published_is_repeated(shop: Path) -> None:
    (shop / "catalogue.jsonl").unlink()
    (shop / "a.jsonl").write_text((shop / "a.jsonl").read_text() + "{}\n")
    assert shop_pipeline().run(max_rejects=0).status == "rejected"
    assert shop_pipeline().run(dry_run=True).dry_run
    assert not shop_pipeline().run().repeats
    assert shop_pipeline().run(dry_run=True).dry_run


def test_totals_that_merge_are_merged_once(shop: Path) -> None:
    (shop / "catalogue.jsonl").unlink()
    made = shop_pipeline(outputs={"sum": GroupBy(net=Sum("net"), to=Sql("total", mode="merge"))})
    made.run()
    made.run()
    with assay.pipeline.execution.open_store(assay.Settings.load()) as store:
        assert len(store.runs(limit=10)) == 1


def test_functions_are_known_by_what_they_do() -> None:
    def made(factor: int, helper: Callable[[], int]) -> Any:
        def step(rows: pl.LazyFrame) -> pl.LazyFrame:
            return rows.with_columns(net=pl.col("net") * factor + helper())

        return step

    assert fingerprint(made(1, _factor)) == fingerprint(made(1, _factor))
    assert fingerprint(made(1, _factor)) != fingerprint(made(2, _factor))
    assert fingerprint(functools.partial(made, 1)) != fingerprint(functools.partial(made, 2))


def test_a_change_in_what_a_function_calls_is_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    rules = "RATE = 1\n\ndef inner():\n    return {}\n\ndef unrelated():\n    return 0\n"
    main = "import rules_of_{0}\n\ndef step(rows):\n    return rows, rules_of_{0}.inner(), LIMIT\n\nLIMIT = {1}\n"

    def step(name: str, number: int, limit: int) -> Any:
        (tmp_path / f"rules_of_{name}.py").write_text(rules.format(number))
        (tmp_path / f"main_{name}.py").write_text(main.format(name, limit))
        module: ModuleType = __import__(f"main_{name}")
        return module.step

    def neutral(name: str, text: str) -> str:
        return text.replace(f"_{name}", "")

    from assay.pipeline.fingerprint import describe

    first = neutral("a", describe(step("a", 1, 1)))
    assert neutral("b", describe(step("b", 1, 1))) == first
    assert neutral("c", describe(step("c", 2, 1))) != first
    assert neutral("d", describe(step("d", 1, 2))) != first
    assert "unrelated" not in first


_HEAD = """
import enum, functools, re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated
import polars as pl
from pydantic import AfterValidator, BaseModel, Field, field_validator

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

class Rule:
    def __init__(self, value):
        self.value = value

def told(value):
    return value

"""


_CLEAN = "def clean(v): return v{}\n"
_VALIDATED = """
class Validated(BaseModel):
    a: int
    @field_validator("a")
    def b(cls, v): return v + {}
"""


def _described_in(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str) -> str:
    """What is said of `it` in a module of this text, as a process would say it that begins."""
    from assay.pipeline.fingerprint import describe

    monkeypatch.syspath_prepend(folder)
    (folder / f"{name}.py").write_text(_HEAD + text)
    return describe(importlib.import_module(name).it).replace(name, "module")


@pytest.mark.parametrize(
    ("text", "one", "other"),
    [
        ("VALUE = {}\ndef it(rows): return VALUE", one, other)
        for one, other in [
            ('{"a", "b", "c"}', '{"a", "b", "d"}'),
            ('pl.col("a") == 1', 'pl.col("a") == 2'),
            ('re.compile("a" * 300)', 're.compile("a" * 299 + "b")'),
            ("Colour.RED", "Colour.BLUE"),
            ("Rule(1)", "Rule(2)"),
            ("Rule([1, 2])", "Rule([1, 3])"),
            ('pl.DataFrame({"a": list(range(100))})', 'pl.DataFrame({"a": [*range(50), 0, *range(51, 100)]})'),
            ("functools.partial(told, 1)", "functools.partial(told, 2)"),
        ]
    ]
    + [
        (_CLEAN + "class it(BaseModel):\n    a: Annotated[str, AfterValidator(clean)]", "", ".upper()"),
        (_CLEAN + "class it(BaseModel):\n    a: list[Annotated[str, AfterValidator(clean)]]", "", " * 2"),
        ("Money = Annotated[Decimal, Field(max_digits={})]\nclass it(BaseModel):\n    a: Money", "12", "9"),
        ("def new(): return {}\nclass it(BaseModel):\n    a: int = Field(default_factory=new)", "1", "2"),
        (_VALIDATED + "class it(Validated): pass", "1", "2"),
        (_VALIDATED + "class it(BaseModel):\n    a: dict[str, Validated] | None", "1", "2"),
        ("def old(v): return {}\nclass Old:\n    def a(self): return old(1)\nclass it(Old): pass", "1", "2"),
    ],
)
def test_what_a_definition_is_made_of_is_told_wherever_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, one: str, other: str
) -> None:
    first, same, changed = (
        _described_in(tmp_path, monkeypatch, text.replace("{}", value), f"m{uuid.uuid4().hex}")
        for value in (one, one, other)
    )
    assert first == same
    assert first != changed


def test_modules_beside_the_pipelines_and_those_imported_within_a_function_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "shared")
    (tmp_path / "shared" / "package").mkdir(parents=True)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "shared/package/__init__.py").write_text("")

    def described(number: int) -> str:
        name = f"m{uuid.uuid4().hex}"
        (tmp_path / f"shared/package/rules_{name}.py").write_text(f"def rule(): return {number}")
        importlib.import_module(f"package.rules_{name}")
        text = f"import package\ndef it(rows):\n    import package.rules_{name}\n    return package.rules_{name}.rule()"
        return _described_in(tmp_path / "pipelines", monkeypatch, text, name)

    assert described(1) == described(1)
    assert described(1) != described(2)


def test_an_expression_that_holds_a_python_function_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="write the step as a function"):
        fingerprint(Filter("a", pl.col("a").map_elements(lambda value: bool(hash(value)), return_dtype=pl.Boolean)))
