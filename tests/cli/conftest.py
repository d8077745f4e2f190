"""A project to try the command line in."""

import shutil
from pathlib import Path

import pytest
from tests.conftest import ROOT


@pytest.fixture
def shop(project: Path) -> Path:
    """A copy of the pipelines and their data, made the current folder."""
    for name in ("pipelines", "sample_data"):
        shutil.copytree(ROOT / name, project / name, dirs_exist_ok=True)
    return project
