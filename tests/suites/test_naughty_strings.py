"""The big list of naughty strings: each comes back byte for byte, from every reader, compiled or not."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from pydantic import BaseModel
from tests.reading.hostile import both

from assay.reading import ProcessorFactory

#: What may stand in XML 1.0.
_XML = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
#: What layout would be, were it not written as references.
_KEPT = {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}


class Text(BaseModel):
    id: int
    s: str


@pytest.fixture(scope="module")
def strings(suites: Path) -> list[str]:
    file = suites / "blns" / "blns.json"
    if not file.is_file():
        pytest.skip("blns is absent")
    found: list[str] = json.loads(file.read_text("utf-8"))
    assert len(found) == 503
    return found


def came_back(data: bytes, fmt: str, strings: list[str]) -> None:
    found = both(data, model=Text, format=fmt)
    assert (found.error, found.rejects) == (None, [])
    assert found.accepted == list(range(len(strings)))
    assert [row["s"].encode() for row in found.rows] == [s.encode() for s in strings]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json(strings: list[str], ascii_only: bool) -> None:
    rows = [json.dumps({"id": n, "s": s}, ensure_ascii=ascii_only).encode() for n, s in enumerate(strings)]
    came_back(b"\n".join(rows), "jsonl", strings)
    came_back(b"\r\n".join(rows) + b"\r\n", "jsonl", strings)
    came_back(b"[" + b",".join(rows) + b"]", "json", strings)
    came_back(json.dumps([json.loads(row) for row in rows], indent=2).encode(), "json", strings)


@pytest.mark.parametrize("way", ["element", "attribute", "CDATA"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
def test_xml(strings: list[str], way: str, codec: str) -> None:
    fit = [s for s in strings if _XML.fullmatch(s)]
    assert len(strings) - len(fit) == 6

    def written(n: int, s: str) -> str:
        if way == "attribute":
            return f'<a id="{n}" s={quoteattr(s, _KEPT)}/>'
        if way == "CDATA":
            return f"<a><id>{n}</id><s><![CDATA[{s.replace(']]>', ']]]]><![CDATA[>')}]]></s></a>"
        return f"<a><id>{n}</id><s>{escape(s, _KEPT)}</s></a>"

    rows = "\n".join(written(n, s) for n, s in enumerate(fit))
    came_back(f'<?xml version="1.0" encoding="{codec}"?>\n<r>{rows}</r>'.encode(codec), "xml", fit)


def test_six_cannot_stand_in_xml(strings: list[str]) -> None:
    good = "<a><id>0</id><s>x</s></a>"
    for s in strings:
        if not _XML.fullmatch(s):
            found = both(f"<r>{good}<a><id>1</id><s>{escape(s)}</s></a></r>".encode(), model=Text, format="xml")
            assert (found.accepted, found.rejects) == ([0], [])
            assert "not well-formed" in str(found.error)


@pytest.mark.skipif("csv" not in ProcessorFactory.names(), reason="no CSV processor is registered")
@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_csv(strings: list[str], quoting: int, end: str) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(["id", "s"])
    writer.writerows(enumerate(strings))
    came_back(file.getvalue().encode(), "csv", strings)
