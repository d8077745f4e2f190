"""The battery finds sinks that break their promises: one seeded mistake each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from assay.sinks import Mode, OnSchemaChange, Parquet, Sink, SinkFactory, Staged
from assay.sinks.durable import sync_folder
from assay.sinks.parquet import OpenParquet
from assay.sinks.versions import Versions
from assay.testing import SinkConformance
from assay.testing.sinks import Bench


@dataclass(frozen=True)
class _Forgetful(Parquet):
    """Publishes as often as it is told."""

    kind: ClassVar[str] = "forgetful"

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        versions = Versions(Path(staged["target"]), staged["output"], "parquet", of="folder")
        current = versions.current()
        count = len(current.published) if current else 0
        return Parquet.publish(staged, f"{run_id} {count}")


@dataclass(frozen=True)
class _Hasty(Parquet):
    """Shows rows as soon as they are prepared."""

    kind: ClassVar[str] = "hasty"

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenParquet:
        class Hasty(OpenParquet):
            def prepare(self, mode: Mode | None = None) -> Staged:
                staged = super().prepare(mode)
                Parquet.publish(staged, "early")
                return staged

        opened = super().open(root, staging, name, default=default)
        return Hasty(self, Path(opened.location), staging, name)


@dataclass(frozen=True)
class _Rounding(Parquet):
    """Takes decimals through floats."""

    kind: ClassVar[str] = "rounding"

    def open(self, root: Path, staging: Path, name: str, *, default: str) -> OpenParquet:
        class Rounding(OpenParquet):
            def stage(self, frame: pl.DataFrame) -> None:
                column = pl.col("decimal").cast(pl.Float64).cast(frame.schema["decimal"], strict=False)
                super().stage(frame.with_columns(column))

        opened = super().open(root, staging, name, default=default)
        return Rounding(self, Path(opened.location), staging, name)


@dataclass(frozen=True)
class _Torn(Parquet):
    """Shows one version in two steps."""

    kind: ClassVar[str] = "torn"

    @classmethod
    def publish(cls, staged: Mapping[str, Any], run_id: str) -> bool:
        path = Path(staged["target"])
        if path.is_symlink():
            link = path.readlink()
            path.unlink()
            sync_folder(path.parent)
            # Long enough that a reader comes by, on a busy machine, too.
            time.sleep(0.02)
            path.symlink_to(link)
        return Parquet.publish(staged, run_id)


@pytest.fixture
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Parquet]:
    monkeypatch.setattr(SinkFactory, "_registered", dict(SinkFactory._registered))
    made: type[Parquet] = SinkFactory.register(request.param)
    return made


def battery(sink: type[Parquet]) -> SinkConformance:
    class Battery(SinkConformance):
        stride = 1

        def make(
            self, mode: Mode, key: tuple[str, ...] | None = None, on_schema_change: OnSchemaChange = "error"
        ) -> Sink:
            return sink("out/lines", mode=mode, key=key, on_schema_change=on_schema_change)

    return Battery()


@pytest.mark.parametrize(
    ("broken", "test", "arguments"),
    [
        (_Forgetful, "test_publishing_a_run_again_changes_nothing", ("append",)),
        (_Hasty, "test_staged_and_prepared_rows_are_not_visible", ()),
        (_Rounding, "test_values_come_back_equal", ()),
        (_Torn, "test_a_reader_never_sees_half_a_state", ()),
    ],
    indirect=["broken"],
)
def test_a_broken_sink_does_not_pass(
    broken: type[Parquet], test: str, arguments: tuple[Any, ...], tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    tests = battery(broken)
    with pytest.raises((AssertionError, pl.exceptions.PolarsError)):
        getattr(tests, test)(Bench(tmp_path, tests.make), *arguments)


@pytest.mark.parametrize("broken", [_Torn, _Forgetful], indirect=True)
def test_a_broken_sink_does_not_survive_crashes(
    broken: type[Parquet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    tests = battery(broken)
    with pytest.raises(AssertionError):
        tests.test_a_crash_at_any_step_of_publishing_is_mended_by_publishing_again(
            Bench(tmp_path, tests.make), "append", monkeypatch
        )
