"""What all tests share: Hypothesis profiles, and the folder of other people's suites."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

pytest_plugins = ["tests.postgres", "tests.shop"]

settings.register_profile("fast", max_examples=10, deadline=None)
settings.register_profile("default", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("campaign", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def suites() -> Path:
    """The folder of other people's suites; a test that needs it skips where it is absent."""
    folder = Path(os.environ.get("ASSAY_SUITES", ROOT / ".." / "shared" / "suites")).resolve()
    if not folder.is_dir():
        pytest.skip("the suites folder is absent (set ASSAY_SUITES)")
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, made the current one."""
    (tmp_path / "pipelines").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("ASSAY_") and name != "ASSAY_SUITES":
            monkeypatch.delenv(name)
    return tmp_path
