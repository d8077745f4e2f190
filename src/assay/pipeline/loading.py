"""Finding named pipelines in the pipelines folder."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from assay.errors import AssayError, ConfigurationError, UnknownNameError, unknown_name
from assay.pipeline.definition import Pipeline
from assay.settings import Settings


@dataclass(frozen=True)
class Broken:
    """A file in the pipelines folder that cannot be loaded, and why; `pipeline` is the one concerned, if known."""

    file: Path
    reason: str
    pipeline: str | None = None


def load(name: str, settings: Settings | None = None) -> Pipeline:
    """The pipeline of this name, from the pipelines folder of the project.

    Raises:
        UnknownNameError: there is none; the message lists the known ones and the nearest.
        ConfigurationError: its file cannot be loaded, with file and line.
    """
    settings = settings or Settings.load()
    found, broken = find(settings)
    if name in found:
        return found[name]
    for one in broken:
        if name in (one.pipeline, one.file.stem, one.file.parent.name):
            raise ConfigurationError(one.reason, where=_shown(one.file))
    if broken:
        files = "; ".join(f"{_shown(one.file)}: {one.reason}" for one in broken)
        message = f"{unknown_name('pipeline', name, found)}. It may be in a file that cannot be loaded: {files}"
        raise ConfigurationError(message)
    raise UnknownNameError("pipeline", name, found)


def find(settings: Settings) -> tuple[dict[str, Pipeline], list[Broken]]:
    """All pipelines by name, and the files that cannot be loaded."""
    folder = settings.pipelines_folder
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no folder {_shown(folder)}; go to your project, or set ASSAY_PIPELINES to the folder"
        )
    found: dict[str, Pipeline] = {}
    origin: dict[str, Path] = {}
    broken: list[Broken] = []
    for file in _files(folder):
        try:
            module = _import(file)
        except AssayError as error:
            broken.append(Broken(file, str(error)))
            continue
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a pipeline's file is code of its own
            broken.append(Broken(file, _words(error, file)))
            continue
        # One pipeline may have two names in a file.
        for value in {id(value): value for value in vars(module).values() if isinstance(value, Pipeline)}.values():
            if value.name in found:
                other = f"{_shown(origin[value.name])} as well" if origin[value.name] != file else "this file twice"
                reason = f'pipeline "{value.name}" is defined in {other}'
                broken.append(Broken(file, reason, value.name))
                continue
            found[value.name] = _described(value, module).at(file.parent)
            origin[value.name] = file
    # Which of two is meant, nobody can tell: neither runs.
    twice = {one.pipeline for one in broken}
    return {name: one for name, one in found.items() if name not in twice}, broken


def _files(folder: Path) -> list[Path]:
    files = [path for path in folder.glob("*.py") if not path.name.startswith("_")]
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith((".", "_")):
            files += [inner for name in ("pipeline.py", "__init__.py") if (inner := path / name).is_file()][:1]
    return sorted(files)


def _import(file: Path) -> ModuleType:
    name = f"assay_pipelines.{file.stem if file.stem not in ('pipeline', '__init__') else file.parent.name}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError("cannot be imported", where=str(file))
    module = importlib.util.module_from_spec(spec)
    # Pydantic looks up names of annotations in the module of a model.
    sys.modules[name] = module
    # Standard output is for the result; what a file prints is no result.
    with contextlib.redirect_stdout(sys.stderr):
        spec.loader.exec_module(module)
    return module


def _described(pipeline: Pipeline, module: ModuleType) -> Pipeline:

    first = (module.__doc__ or "").strip().partition("\n")[0]
    return pipeline if pipeline.description else replace(pipeline, description=first)


def _words(error: BaseException, file: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}" if error.lineno else error.msg
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {error}"


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
