"""Lookups by name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from assay import LookupFactory, Table
from assay.errors import ConfigurationError, UnknownNameError


class Product(BaseModel):
    sku: str


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LookupFactory, "_registered", dict(LookupFactory._registered))


def test_those_given_here() -> None:
    assert LookupFactory.names() == ["choice", "dated", "ecb", "http", "sql", "table"]
    made = LookupFactory.create("table", "products.csv", model=Product)
    assert isinstance(made, Table)
    assert (made.path, made.model, made.name) == ("products.csv", Product, "products")
    with pytest.raises(UnknownNameError, match=r'no lookup "tabel"\. Did you mean "table"\?'):
        LookupFactory.create("tabel")
    with pytest.raises(ConfigurationError, match=r"unexpected keyword argument 'modl'; it takes path, model, format"):
        LookupFactory.create("table", "products.csv", Product, modl=Product)


def lookup_class() -> type:
    class Ldap:
        name, dated = "ldap", False

        def columns(self) -> Any: ...

        def open(self, context: Any, on: Any) -> Any: ...

    return Ldap


def test_one_of_your_own() -> None:
    first, again = lookup_class(), lookup_class()
    assert LookupFactory.register("ldap")(first) is first
    LookupFactory.register("ldap")(again)
    assert type(LookupFactory.create("ldap")) is again
    with pytest.raises(ConfigurationError, match='a lookup "table" already: assay.lookups.table.Table'):
        LookupFactory.register("table")(first)
    with pytest.raises(ConfigurationError, match=r"has no method columns\(\)"):
        LookupFactory.register("product")(Product)
