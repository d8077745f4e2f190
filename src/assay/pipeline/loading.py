"""Finding named pipelines in the pipelines folder.

The folder is a package of its own, which has no name that a user could give a module: its files import each other by
`from .models import Order`, and hide nothing that is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Final

from assay.errors import AssayError, ConfigurationError, UnknownNameError, unknown_name
from assay.pipeline.definition import Pipeline
from assay.settings import Settings

_PACKAGE: Final = "assay_pipelines"


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
    modules: dict[Path, ModuleType] = {}
    _begin_package(folder)
    for file in _files(folder):
        try:
            modules[file] = _import(file, folder)
        except AssayError as error:
            broken.append(Broken(file, str(error)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a pipeline's file is code of its own
            broken.append(Broken(file, _words(error, file, folder)))
    for file, value in _pipelines(modules):
        if value.name in found:
            other = f"{_shown(origin[value.name])} as well" if origin[value.name] != file else "this file twice"
            reason = f'pipeline "{value.name}" is defined in {other}'
            broken.append(Broken(file, reason, value.name))
            continue
        found[value.name] = _described(value, modules[file]).at(file.parent)
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


def _begin_package(folder: Path) -> None:
    """Make the package anew: files may have changed since they were imported, or be those of another project."""
    for name in [name for name in sys.modules if name == _PACKAGE or name.startswith(f"{_PACKAGE}.")]:
        del sys.modules[name]
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[_PACKAGE] = package
    importlib.invalidate_caches()


def _import(file: Path, folder: Path) -> ModuleType:
    inner = file.relative_to(folder).with_suffix("").parts
    name = ".".join([_PACKAGE, *(inner[:-1] if inner[-1] == "__init__" else inner)])
    # Standard output is for the result; what a file prints is no result.
    with contextlib.redirect_stdout(sys.stderr):
        if file.stem.isidentifier():
            return importlib.import_module(name)
        # No import statement could name it: nobody shares it, and it may still import others.
        spec = importlib.util.spec_from_file_location(name.replace(inner[-1], re.sub(r"\W", "_", inner[-1])), file)
        if spec is None or spec.loader is None:
            raise ConfigurationError("cannot be imported", where=str(file))
        module = importlib.util.module_from_spec(spec)
        # Pydantic looks up names of annotations in the module of a model.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module


def _pipelines(modules: Mapping[Path, ModuleType]) -> Iterator[tuple[Path, Pipeline]]:
    """Every pipeline with its file. One may have two names in a file, and be imported by others."""
    places: dict[int, list[Path]] = {}
    values: dict[int, Pipeline] = {}
    for file, module in modules.items():
        for value in vars(module).values():
            if isinstance(value, Pipeline):
                values[id(value)] = value
                places.setdefault(id(value), []).append(file)
    for key, value in values.items():
        # Which file has imported it, cannot be told: its own is called like it, or lies deepest.
        yield min(places[key], key=lambda f: (value.name not in (f.stem, f.parent.name), -len(f.parts), f)), value


def _described(pipeline: Pipeline, module: ModuleType) -> Pipeline:
    first = (module.__doc__ or "").strip().partition("\n")[0]
    return pipeline if pipeline.description else replace(pipeline, description=first)


def _words(error: BaseException, file: Path, folder: Path) -> str:
    if isinstance(error, SyntaxError):
        other = f"{Path(error.filename).name} " if error.filename and Path(error.filename) != file else ""
        return f"{other}line {error.lineno}: {error.msg}" if error.lineno else error.msg
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {error}{_hint(error, file, folder)}"


def _hint(error: BaseException, file: Path, folder: Path) -> str:
    """How a file is imported that lies beside, and was looked for among what is installed."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    name = error.name.removeprefix(f"{folder.name}.").partition(".")[0]
    if name == folder.name:
        return "; files of this folder import each other by: from .models import Order"
    beside = any((file.parent / one).exists() for one in (f"{name}.py", name))
    return f"; it lies beside this file: from .{name} import ..." if beside else ""


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
