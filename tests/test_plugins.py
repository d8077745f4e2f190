"""What other packages add by entry points: each factory finds it by name, and imports it only then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assay import LookupFactory, ProcessorFactory
from assay.errors import ConfigurationError
from assay.plugins import load_plugin, plugin_names
from assay.pricing import registry, strategy, strategy_kinds
from assay.sinks import SinkFactory

CODE = """
from typing import Literal
from assay.pricing.step import Step

class Doubled(Step):
    kind: Literal["doubled"] = "doubled"

class Kafka:
    kind = "kafka"

class Ldap:
    name, dated = "ldap", False
    def columns(self): ...
    def open(self, context, on): ...

class Lines:
    def process(self, data): return {"text": data.decode()}
    def split(self, stream): return iter(())
"""
#: Of each factory its group, what makes an object of a name, and what names all.
FACTORIES: dict[str, tuple[Callable[[str], Any], Callable[[], list[str]]]] = {
    "assay.lookups": (LookupFactory.create, LookupFactory.names),
    "assay.processors": (ProcessorFactory.create, ProcessorFactory.names),
    "assay.sinks": (lambda kind: SinkFactory.get(kind)(), SinkFactory.known),
    "assay.strategies": (lambda kind: strategy(kind).model_validate({"kind": kind}), strategy_kinds),
}

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package with entry points, as pip leaves it."""
    monkeypatch.setattr(registry, "_strategies", dict(registry._strategies))
    for factory in (LookupFactory, ProcessorFactory, SinkFactory):
        monkeypatch.setattr(factory, "_registered", dict(factory._registered))
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def make(package: str, code: str = CODE, **points: str) -> None:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"[assay.{group}]\n{name} = {module}:{name.title()}" for group, name in points.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))

    yield make
    for name in set(sys.modules) - before:
        if name.startswith("acme"):
            del sys.modules[name]


NAMES = {"assay.lookups": "ldap", "assay.processors": "lines", "assay.sinks": "kafka", "assay.strategies": "doubled"}
BY_GROUP = {group.removeprefix("assay."): name for group, name in NAMES.items()}


@pytest.mark.parametrize("group", FACTORIES)
def test_it_is_listed_without_being_imported_and_made_when_it_is_asked_for(install: Install, group: str) -> None:
    install("acme-feeds", **BY_GROUP)
    create, names = FACTORIES[group]
    assert NAMES[group] in names()
    assert "acme_feeds" not in sys.modules
    assert type(create(NAMES[group])).__module__ == "acme_feeds"


@pytest.mark.parametrize("group", FACTORIES)
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1/0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError"),
        ("", "AttributeError"),
    ],
)
def test_what_cannot_be_imported_is_named(install: Install, group: str, code: str, reason: str) -> None:
    install("acme-broken", code, **BY_GROUP)
    create, names = FACTORIES[group]
    assert NAMES[group] in names()
    with pytest.raises(ConfigurationError) as wrong:
        create(NAMES[group])
    for word in (f"entry point {NAMES[group]} of {group}", "of the package acme-broken cannot be imported", reason):
        assert word in str(wrong.value)
    # Nothing else is hindered by it.
    assert ProcessorFactory.create("jsonl")
    assert LookupFactory.get("table")


def test_two_packages_with_one_name_are_told_apart_by_nobody(install: Install) -> None:
    install("acme-one", lookups="ldap")
    install("acme-two", lookups="ldap")
    with pytest.raises(ConfigurationError, match="several packages: acme-one, acme-two"):
        load_plugin("assay.lookups", "ldap")
    assert plugin_names("assay.lookups") == ["ldap"]
    assert load_plugin("assay.lookups", "nothing") is None
