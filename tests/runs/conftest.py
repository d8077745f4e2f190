"""Both databases that a run store may be in."""

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a run store that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/er/runs.db"
    url: str = request.getfixturevalue("postgres")
    return url
