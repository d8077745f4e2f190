"""The XML processor held against the W3C's conformance suite, which nearly always wants a DTD.

Assay refuses every DOCTYPE. To hold its parsers against the suite all the same, a subclass that lives here and nowhere
else lets them read DTDs, from the suite's own folder.
"""

from __future__ import annotations

import inspect
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

import pytest
from lxml import etree
from pydantic import BaseModel

import assay
from assay.errors import ConfigurationError, SourceError, ValidationError
from assay.reading import Limits, ProcessorFactory
from assay.reading.xml import XmlProcessor
from assay.reading.xml_path import Name, RecordPath
from assay.reading.xml_split import Place, XmlSplitter

#: Verdict -> how many documents of each type.
COUNTS = {
    "not-wf": {"rejected": 251},
    "valid": {"accepted": 196, "rejected": 1},
    "invalid": {"accepted": 63, "rejected": 15},
    "error": {"rejected": 8},
}
#: Where the verdict is not what the suite says, or what a parser that does not validate would say. But for the first,
#: these are well-formed and wrong in the DTD alone, of which libxml2 checks more than it must. Assay reads no DTD.
EXCEPTIONS = {
    # The one document with NAMESPACE="no": its attribute is called ":", which namespaces do not allow.
    "xmltest/valid/sa/012.xml",
    # Markup declarations that begin in one entity and end in another.
    "xmltest/invalid/002.xml",
    "xmltest/invalid/005.xml",
    "xmltest/invalid/006.xml",
    "xmltest/invalid/not-sa/022.xml",
    # Default values that are none of the attribute's type.
    "sun/invalid/attr09.xml",
    "sun/invalid/attr10.xml",
    "sun/invalid/attr11.xml",
    "sun/invalid/attr12.xml",
    "sun/invalid/attr13.xml",
    "sun/invalid/attr14.xml",
    # An element declared twice, an ID that stands twice, two attributes of type ID.
    "sun/invalid/el04.xml",
    "sun/invalid/id02.xml",
    "sun/invalid/id03.xml",
    # standalone="yes" with defaults from outside.
    "sun/invalid/not-sa02.xml",
    "sun/invalid/not-sa04.xml",
}
#: Of a carriage return that an entity of the DTD holds, libxml2 makes a newline.
OTHER_CONTENT = {"xmltest/valid/sa/068.xml": ("\n", "\r"), "xmltest/valid/sa/108.xml": ({"a": "x  y"}, {"a": "x y"})}
RIGHT = {"not-wf": "rejected", "valid": "accepted", "invalid": "accepted"}
#: How many documents of each type are refused for their DOCTYPE; the others are broken before it, or have none.
DOCTYPES = {"not-wf": 152, "valid": 197, "invalid": 76, "error": 2}


class Anything(BaseModel):
    """Any element is such a record."""

    nothing: str | None = None


class DtdSplitter(XmlSplitter):
    """Cuts documents with a DTD, internal and external."""

    def __init__(self, path: RecordPath, context: Sequence[Name], limits: Limits, document: Path) -> None:
        self._open: list[tuple[expat.XMLParserType, Path]] = []
        self._document = document
        super().__init__(path, context, limits)

    def _make_parser(self, encoding: str | None) -> expat.XMLParserType:
        parser = super()._make_parser(encoding)
        parser.StartDoctypeDeclHandler = None
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_ALWAYS)
        parser.ExternalEntityRefHandler = self._on_external
        self._open = [(parser, self._document)]
        return parser

    def _on_external(self, context: str, base: str | None, system: str | None, public: str | None) -> int:
        parser, document = self._open[-1]
        entity = document.parent / str(system)
        if entity.is_file():
            inner = parser.ExternalEntityParserCreate(context)
            self._open.append((inner, entity))
            inner.Parse(entity.read_bytes(), True)
            self._open.pop()
        return 1


class DtdProcessor(XmlProcessor):
    """Parses documents with a DTD."""

    def __init__(self, document: Path) -> None:
        super().__init__(record="/*")
        self._document = document

    def _splitter(self, path: RecordPath, context: Sequence[Name], place: Place | None = None) -> XmlSplitter:
        return DtdSplitter(path, context, self._limits, self._document)

    def _parse(self, data: bytes) -> etree._Element:
        parser = etree.XMLParser(load_dtd=True, attribute_defaults=True, resolve_entities=True, no_network=True)
        try:
            return etree.fromstring(data, parser, base_url=str(self._document))
        except etree.XMLSyntaxError as error:
            raise ValidationError(str(error)) from None


@dataclass(frozen=True)
class Case:
    path: Path
    name: str
    type: str
    output: Path | None

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


@pytest.fixture(scope="module")
def cases(suites: Path) -> list[Case]:
    folder = suites / "xmlconf"
    if not folder.is_dir():
        pytest.skip("xmlconf is absent")
    found = []
    for one in json.loads((folder / "index.json").read_text("utf-8")):
        if one.get("VERSION", "1.0") != "1.0" or "5" not in one.get("EDITION", "5").split():
            continue
        path = folder / one["path"]
        output = folder / one["path"].removesuffix(one["URI"]) / one["OUTPUT"] if "OUTPUT" in one else None
        found.append(Case(path, one["path"], one["TYPE"], output))
    return found


def verdict(processor: XmlProcessor, data: bytes) -> str:
    try:
        processor.process(data)
        (record,) = processor.split(io.BytesIO(data))
    except (SourceError, ValidationError):
        return "rejected"
    assert record.problem is None
    return "accepted"


def test_with_dtds_every_document_is_judged_as_the_suite_says(cases: list[Case]) -> None:
    verdicts = {case.name: verdict(DtdProcessor(case.path), case.data) for case in cases}
    counted = {kind: Counter(verdicts[case.name] for case in cases if case.type == kind) for kind in COUNTS}
    assert counted == COUNTS
    other = {case.name for case in cases if case.type in RIGHT and verdicts[case.name] != RIGHT[case.type]}
    assert other == EXCEPTIONS


def test_with_dtds_every_document_has_the_content_that_the_suite_says(cases: list[Case]) -> None:
    """The suite's canonical form: the same elements, attributes and texts."""
    compared = 0
    other = {}
    for case in cases:
        if case.output is not None and case.name not in EXCEPTIONS:
            found = DtdProcessor(case.path).process(case.data)
            expected = DtdProcessor(case.output).process(case.output.read_bytes())
            if found != expected:
                other[case.name] = (found, expected)
            compared += 1
    assert compared == 189
    assert other == OTHER_CONTENT


def test_every_doctype_is_refused_and_all_else_judged_as_the_suite_says(cases: list[Case]) -> None:
    refused, accepted = Counter[str](), Counter[str]()
    for case in cases:
        processor = XmlProcessor(record="/*")
        if case.type in {"valid", "invalid"} and b"<!DOCTYPE" not in case.data.replace(b"\0", b""):
            assert verdict(processor, case.data) == "accepted", case.name
            accepted[case.type] += 1
            continue
        with pytest.raises(ValidationError) as error:
            processor.process(case.data)
        if case.data:
            with pytest.raises(SourceError) as source_error:
                assay.read(case.data, Anything, format="xml", record="/*")
            assert source_error.value.message == error.value.message
        refused[case.type] += "DOCTYPE" in error.value.message
    assert accepted == {"invalid": 2}
    assert refused == DOCTYPES


def test_no_option_admits_a_doctype() -> None:
    with pytest.raises(ConfigurationError, match='"xml" takes no option "dtd"'):
        ProcessorFactory.create("xml", dtd=True)
    assert set(inspect.signature(XmlProcessor).parameters) == {"record", "namespaces", "empty_as_null", "limits"}
