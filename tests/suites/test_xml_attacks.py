"""Bombs, external entities and injected markup of others: refused where anything would have to be resolved."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from tests.reading.hostile import both

import assay
from assay.reading import ProcessorFactory

#: References to what is neither predefined nor a character.
_ENTITY = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)|<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


class Anything(BaseModel):
    nothing: str | None = None


def documents(suites: Path) -> dict[str, bytes]:
    folder = suites / "payloads" / "XXE Injection"
    if not folder.is_dir():
        pytest.skip("payloads are absent")
    found = {path.name: path.read_bytes() for path in sorted((folder / "Files").iterdir())}
    for path in sorted((folder / "Intruders").iterdir()):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if line.strip():
                found[f"{path.name}:{number}"] = line
    for number, block in enumerate(re.findall(rb"```xml\n(.*?)```", (folder / "README.md").read_bytes(), re.DOTALL)):
        found[f"README block {number}"] = block
    return found


def test_defusedxml(suites: Path) -> None:
    folder = suites / "defusedxml"
    if not folder.is_dir():
        pytest.skip("defusedxml is absent")
    refused = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        found = both(data, model=Anything, format="xml")
        if path.name.startswith(("simple", "xalan")):
            assert found.error is None
            continue
        assert (found.rows, found.rejects) == ([], [])
        assert "has a DOCTYPE, which is refused" in str(found.error)
        with pytest.raises(assay.ValidationError, match="DOCTYPE"):
            ProcessorFactory.create("xml").process(data)
        refused.append(path.name)
    assert len(refused) == 7


def test_payloads(suites: Path) -> None:
    refused = accepted = 0
    for name, data in documents(suites).items():
        found = both(data, model=Anything, format="xml", record="/*")
        try:
            value = ProcessorFactory.create("xml").process(data)
        except assay.ValidationError:
            assert found.error is not None, name
            refused += 1
            continue
        # What is taken has nothing to resolve, and its texts are all there.
        assert not _ENTITY.search(re.sub(rb"<!\[CDATA\[.*?\]\]>", b"", data, flags=re.DOTALL)), name
        assert found.error is None, name
        assert value is not None
        accepted += 1
    assert (refused, accepted) == (138, 20)


def test_markup_in_values_stays_text(suites: Path) -> None:
    cdata = {data: name for name, data in documents(suites).items() if b"<foo><![CDATA[<]]>SCRIPT" in data}
    assert cdata
    for data in cdata:
        assert ProcessorFactory.create("xml").process(data) == {"#text": "<SCRIPT>alert('XSS');</SCRIPT>"}
