"""The manifest of a run: a JSON file that says what was read, with what, and what came of it."""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = ("assay", "polars", "pydantic", "lxml", "orjson", "sqlalchemy")
#: What is imported is no other version later; to ask is to read a file.
_version: Final = functools.cache(version)


def environment() -> dict[str, str]:
    """Versions of what decides the result."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def write_manifest(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write `manifest.json` into a run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.json"
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2, default=str) + "\n", "utf-8")
    return path
