"""Settings: environment `ASSAY_*`, then `.env`, then `assay.toml`, then the defaults given here.

A `Settings` value is made once, at the edge (command line, notebook call), and handed down; nothing reads a
global. Every limit that an error message can name is a field of this class.
"""

from __future__ import annotations

import json
import os
import tomllib
import warnings
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from assay.errors import ConfigurationError, nearest

PREFIX = "ASSAY_"
TOML = "assay.toml"
MIB = 1024 * 1024
#: How near a variable is to a setting, of 1, to be taken for one that was mistyped.
_SLIP = 0.8


class Settings(BaseSettings):
    """What can be set from outside. `Settings.load()` finds the project folder and reads its files."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    project: Path = Field(
        default_factory=Path.cwd,
        description="The project folder: relative paths of pipelines start here.",
    )
    pipelines: Path = Field(Path("pipelines"), description="Folder of the named pipelines.")
    run_store: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of the run history; by default SQLite, .assay/runs.db in the project.",
    )
    secrets: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Secrets by name (tokens, database URLs), for lookups that ask for them; in the environment JSON.",
    )
    output: Path | None = Field(None, description="Folder that takes every file output of a run.")
    compiled: bool = Field(True, description="Judge by compiled checks where they are certain; else each by Pydantic.")
    max_record_bytes: int = Field(16 * MIB, gt=0, description="Longest record that is read; a longer one is a reject.")
    max_record_depth: int = Field(200, gt=0, description="Deepest nesting of a record.")
    max_record_errors: int = Field(100, gt=0, description="Errors kept per record.")
    max_error_input: int = Field(1_000, gt=0, description="Characters of a wrong value kept in an error.")
    max_decompressed_ratio: int = Field(
        250, gt=0, description="Times that compressed data may grow once past 64 MiB (bombs)."
    )
    max_decompressed_bytes: int = Field(
        256 * 1024 * MIB, gt=0, description="Bytes that one compressed file may become (bombs)."
    )
    lease_seconds: float = Field(
        30.0, gt=0, description="Seconds without a sign of life after which a run on another machine is taken for dead."
    )
    rejects_days: int | None = Field(
        None,
        ge=1,
        description="Days that the bytes of rejected records are kept, those of open ones too; by default for ever.",
    )
    redact: frozenset[str] = Field(
        frozenset(),
        description="Fields whose values are masked wherever rejected records are shown; names parted by commas.",
    )
    batch_records: int = Field(16_384, gt=0, description="Records handled at a time.")
    batch_bytes: int = Field(64 * MIB, gt=0, description="Bytes of raw records handled at a time.")

    @field_validator("secrets", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            # Neither the text nor what is wrong in it may be shown.
            return None

    @field_validator("redact", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        if isinstance(names, list | tuple | set | frozenset) and all(isinstance(name, str) for name in names):
            return [name.strip() for name in names if name.strip()]
        return names

    @field_validator("project", "pipelines", "output")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @property
    def work(self) -> Path:
        """The folder for run history and staging."""
        return self.project / ".assay"

    @property
    def pipelines_folder(self) -> Path:
        """The folder of the named pipelines, as an absolute path."""
        return (self.project / self.pipelines).resolve()

    @property
    def run_store_url(self) -> str:
        """The SQLAlchemy URL of the run history."""
        if self.run_store is not None:
            return self.run_store.get_secret_value()
        return f"sqlite:///{self.work / 'runs.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `load` composes the sources, a test passes values."""
        return (init_settings,)

    @classmethod
    def load(cls, project: Path | None = None, **values: Any) -> Settings:
        """Read the settings of the project at or above `project` (default: the current folder).

        Raises:
            ConfigurationError: an unknown key or a wrong value, with the file and the key.
        """
        root = find_project(project or Path.cwd())
        _warn_of_slips(cls)
        env = _Environment(cls, env_prefix=PREFIX)
        try:
            dotenv = _DotEnv(cls, env_file=root / ".env", env_prefix=PREFIX)
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"is no UTF-8 text, at byte {error.start}", where=str(root / ".env")) from None
        layers: list[tuple[str, dict[str, Any]]] = [
            ("arguments", {"project": root} | values),
            ("environment", env()),
            (str(root / ".env"), dotenv()),
            (str(root / TOML), _read_toml(root / TOML)),
        ]
        merged: dict[str, Any] = {}
        origin: dict[str, str] = {}
        for name, layer in layers:
            for key, value in layer.items():
                if key not in cls.model_fields:
                    raise ConfigurationError(_unknown(cls, key), where=name)
                if key not in merged:
                    merged[key], origin[key] = value, name
        try:
            return cls(**merged)
        except ValidationError as error:
            wrong = "; ".join(
                f"{origin.get(str(e['loc'][0]), 'settings')}: {e['loc'][0]}: {e['msg']}, got {_shown(e)}"
                for e in error.errors()
            )
            raise ConfigurationError(wrong) from None


def _warn_of_slips(cls: type[BaseSettings]) -> None:
    """Say which variables look like a setting and are none; others of that prefix may belong to other tools."""
    known = {f"{PREFIX}{name.upper()}" for name in cls.model_fields}
    for name in sorted(os.environ):
        if not name.upper().startswith(PREFIX) or name in known:
            continue
        # The prefix alone makes any two names alike.
        near = nearest(name[len(PREFIX) :], (one.removeprefix(PREFIX) for one in known), at_least=_SLIP)
        if near is not None:
            warnings.warn(f"the variable {name} is no setting; did you mean {PREFIX}{near}?", stacklevel=3)


def _shown(error: ErrorDetails) -> str:
    """The wrong value, unless it is a secret."""
    return "a value that is not shown" if error["loc"][0] in {"secrets", "run_store"} else repr(error["input"])


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` that holds `assay.toml` or `pipelines/`; else `start`."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / TOML).is_file() or (folder / "pipelines").is_dir():
            return folder
    return start


class _Environment(EnvSettingsSource):
    """Variables that begin with ASSAY_ and name a field; others of that prefix belong to other tools."""

    def __call__(self) -> dict[str, Any]:
        return {
            name: os.environ[key]
            for name in self.settings_cls.model_fields
            if (key := f"{PREFIX}{name.upper()}") in os.environ
        }


class _DotEnv(DotEnvSettingsSource):
    """Lines of `.env` that begin with ASSAY_; other lines belong to other tools."""

    def __call__(self) -> dict[str, Any]:
        prefix = PREFIX.lower()
        return {
            key.lower().removeprefix(prefix): value
            for key, value in self.env_vars.items()
            if key.lower().startswith(prefix) and value is not None
        }


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(error), where=str(path)) from None


def _unknown(cls: type[BaseSettings], key: str) -> str:
    near = nearest(key, cls.model_fields)
    hint = f' Did you mean "{near}"?' if near else ""
    return f'unknown setting "{key}".{hint} Known: {", ".join(sorted(cls.model_fields))}'
