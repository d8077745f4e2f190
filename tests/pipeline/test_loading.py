"""Pipelines are found by name; their files share what they need, and hide nothing."""

import json
import sys
from pathlib import Path

import pytest

import assay
from assay import ConfigurationError, Settings
from assay.pipeline import find

MODELS = "from pydantic import BaseModel\n\nclass Line(BaseModel):\n    id: int\n"
PIPELINE = """
from assay import Parquet, Pipeline, Rows, Source

from .models import Line

NAME = Pipeline("NAME", Source("in.jsonl", Line), outputs={"lines": Rows(to=Parquet("out/NAME"))})
"""


@pytest.fixture
def shop(project: Path) -> Path:
    write(project, "models.py", MODELS)
    for name in ("a", "z"):
        write(project, f"{name}.py", PIPELINE.replace("NAME", name))
    (project / "in.jsonl").write_text(json.dumps({"id": 1}) + "\n")
    return project


def write(project: Path, name: str, text: str) -> None:
    file = project / "pipelines" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


def names() -> tuple[list[str], dict[str, str]]:
    found, broken = find(Settings.load())
    return sorted(found), {one.file.name: one.reason for one in broken}


def test_files_share_models(shop: Path) -> None:
    assert names() == (["a", "z"], {})
    assert assay.load("a").run().status == assay.load("z").run().status == "published"
    found, _ = find(Settings.load())
    assert found["a"].source.model is found["z"].source.model


def test_a_changed_model_is_read_anew_and_is_another_run(shop: Path) -> None:
    first = assay.load("a")
    write(shop, "models.py", MODELS + "    more: str = 'x'\n")
    second = assay.load("a")
    assert list(second.source.model.model_fields) == ["id", "more"]
    assert first.fingerprint() != second.fingerprint()
    assert second.fingerprint() == assay.load("a").fingerprint()


def test_a_file_of_the_name_of_an_installed_module_hides_none(shop: Path) -> None:
    write(shop, "json.py", "raise RuntimeError('imported')")
    write(shop, "pydantic.py", "HERE = 1")
    write(shop, "b.py", "import json\nfrom .pydantic import HERE\n" + PIPELINE.replace("NAME", "b"))
    path = list(sys.path)
    found, broken = names()
    assert found == ["a", "b", "z"]
    assert list(broken) == ["json.py"]
    assert sys.path == path
    assert sys.modules["json"] is json


def test_another_project_has_files_of_its_own(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    one = assay.load("a")
    other = tmp_path_factory.mktemp("other")
    write_all = {"models.py": MODELS.replace("id", "number"), "a.py": PIPELINE.replace("NAME", "a")}
    (other / "pipelines").mkdir()
    for name, text in write_all.items():
        write(other, name, text)
    assert list(assay.load("a", Settings.load(other)).source.model.model_fields) == ["number"]
    assert list(assay.load("a").source.model.model_fields) == list(one.source.model.model_fields) == ["id"]


def test_a_folder_of_its_own_has_siblings_and_the_shared_ones(shop: Path) -> None:
    text = "from ..models import Line as Shared\n" + PIPELINE.replace("NAME", "inner")
    write(shop, "inner/pipeline.py", text)
    write(shop, "inner/models.py", "from ..models import Line as Base\nclass Line(Base):\n    own: int = 0\n")
    write(shop, "whole/__init__.py", PIPELINE.replace("NAME", "whole").replace(".models", "..models"))
    write(shop, "2026-orders.v2.py", PIPELINE.replace("NAME", "x").replace("x = ", "it = "))
    assert names() == (["a", "inner", "whole", "x", "z"], {})
    inner = assay.load("inner")
    assert list(inner.source.model.model_fields) == ["id", "own"]
    assert inner.folder == shop.resolve() / "pipelines/inner"


def test_a_pipeline_that_another_file_imports_is_one(shop: Path) -> None:
    write(shop, "0.py", "from .z import z\nfrom .inner.pipeline import inner\n")
    write(shop, "inner/pipeline.py", PIPELINE.replace("NAME", "inner").replace(".models", "..models"))
    assert names() == (["a", "inner", "z"], {})
    assert assay.load("inner").folder == shop.resolve() / "pipelines/inner"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("from models import Line", "; it lies beside this file: from .models import ..."),
        ("from pipelines.models import Line", "from .models import "),
        ("from .model import Line", "No module named 'assay_pipelines.model'"),
    ],
)
def test_how_to_share_is_said(shop: Path, line: str, words: str) -> None:
    write(shop, "a.py", PIPELINE.replace("from .models import Line", line).replace("NAME", "a"))
    found, broken = names()
    assert found == ["z"]
    assert words in broken["a.py"]


def test_a_mistake_in_what_is_shared_names_its_file(shop: Path) -> None:
    write(shop, "models.py", "x = (\n")
    _, broken = names()
    assert broken["models.py"] == "line 1: '(' was never closed"
    assert broken["a.py"] == "models.py line 1: '(' was never closed"
    with pytest.raises(ConfigurationError, match="models.py line 1"):
        assay.load("a")
