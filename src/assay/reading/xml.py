"""XML: records by row tag or path, read by hardened parsers."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final

import orjson
from lxml import etree
from pydantic import BaseModel

from assay.errors import SourceError, ValidationError
from assay.reading.block import Block
from assay.reading.factory import ProcessorFactory
from assay.reading.raw import Limits, RawRecord
from assay.reading.xml_blocks import Roots, XmlBlocks
from assay.reading.xml_object import ModelShape, ShapeCompiler, plain, to_object
from assay.reading.xml_path import Name, RecordPath, parse_record_path
from assay.reading.xml_split import FRAME, Place, XmlSplitter

_ROOT: Final = RecordPath(((Name("*"),),), (True,))


class _Parsers(threading.local):
    """One parser a thread: making one for each record would cost more than parsing it."""

    def __init__(self) -> None:
        self.hardened = self._make(huge_tree=False)
        self.large = self._make(huge_tree=True)

    @staticmethod
    def _make(*, huge_tree: bool) -> etree.XMLParser:
        return etree.XMLParser(
            resolve_entities=False, load_dtd=False, dtd_validation=False, no_network=True, huge_tree=huge_tree
        )


_PARSERS: Final = _Parsers()


def parse_hardened(data: bytes) -> etree._Element:
    """Parse a document: no DTD, no network, no entity but the predefined ones.

    Raises:
        ValidationError: not well formed, or with a DOCTYPE.
    """
    try:
        root = etree.fromstring(data, _PARSERS.hardened)
    except (etree.XMLSyntaxError, ValueError):
        root = _parse_large(data)
    if root.getroottree().docinfo.internalDTD is not None:
        raise ValidationError("the record has a DOCTYPE, which is refused")
    return root


def _parse_large(data: bytes) -> etree._Element:
    """Parse what libxml2 refuses for its own limits (10 MB of text, 256 levels): ours hold, and no DOCTYPE passes."""
    try:
        for _ in XmlSplitter(_ROOT, (), Limits(max_record_bytes=len(data))).split(io.BytesIO(data)):
            pass
        return etree.fromstring(data, _PARSERS.large)
    except SourceError as error:
        raise ValidationError(error.message) from None
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ValidationError(f"not well-formed XML: {error}") from None


@ProcessorFactory.register("xml")
class XmlProcessor:
    """Records are elements: the children of the root, or those that `record` names.

    Args:
        record: A row tag (`book`), a path (`orders/order`, `/Invoice`), or several joined by `|`. Prefixed names are
            exact, by `namespaces`; others match the local name in any namespace.
        namespaces: Prefix to namespace, for `record`, for aliases and for `XPath` in the model.
        empty_as_null: An element without text and children is null.
        limits: Bounds on one record.
    """

    def __init__(
        self,
        *,
        record: str | None = None,
        namespaces: Mapping[str, str] | None = None,
        empty_as_null: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self._namespaces = dict(namespaces or {})
        self._path = parse_record_path(record, self._namespaces)
        self.empty_as_null = empty_as_null
        self._limits = limits or Limits()
        self._context: list[Name] = []
        self._roots = Roots(lambda tag: self._path.matches([tag]))

    def process(self, data: bytes) -> Any:
        """Parse one record without a model: repeated elements as lists, texts as strings.

        Raises:
            ValidationError: not well-formed XML, or with a DOCTYPE.
        """
        try:
            for raw in self._splitter(_ROOT, ()).split(io.BytesIO(data)):
                if raw.problem is not None:
                    raise ValidationError(raw.problem.msg)
        except SourceError as error:
            raise ValidationError(error.message) from None
        try:
            value = plain(record_of(self._parse(data)))
        except RecursionError:
            raise ValidationError(self._limits.too_deep().msg) from None
        return {"#text": value} if isinstance(value, str) and value.strip() else value or {}

    def json_for(self, model: type[BaseModel]) -> Callable[[bytes], bytes]:
        """The verdict is given on the object of texts that the model's shape makes of a record."""
        shape = self.shape(model)
        self._context = shape.context()
        empty_as_null = self.empty_as_null

        def to_json(data: bytes) -> bytes:
            record = record_of(self._parse(data))
            try:
                return orjson.dumps(to_object(record, shape, empty_as_null=empty_as_null))
            except (RecursionError, orjson.JSONEncodeError):
                # JSON may be nested less deeply than the setting says: Pydantic ends at 200 levels itself.
                raise ValidationError("the record is nested too deeply to be judged") from None

        return to_json

    def shape(self, model: type[BaseModel]) -> ModelShape:
        """How the fields of a model are made from XML."""
        return ShapeCompiler(self._namespaces).compile(model)

    def split(self, stream: BinaryIO) -> Iterator[RawRecord]:
        """Cut a stream into records, holding one chunk and one record at a time.

        Raises:
            SourceError: not well-formed, a DOCTYPE, or an encoding that cannot be read.
        """
        return self._splitter(self._path, self._context).split(stream)

    def blocks(self, stream: BinaryIO, size: int) -> Iterator[Block]:
        """Cut a stream into records, many at a time where they follow each other plainly.

        Raises:
            SourceError: as `split` does; that a record is not well formed is left to `Block.doubts`.
        """

        def splitter(place: Place | None) -> XmlSplitter:
            return self._splitter(self._path, self._context, place)

        return iter(XmlBlocks(stream, size, splitter, self._limits, self._roots))

    # The two parsers: what holds them against documents with a DTD puts its own in their place.

    def _splitter(self, path: RecordPath, context: Sequence[Name], place: Place | None = None) -> XmlSplitter:
        return XmlSplitter(path, context, self._limits, place)

    def _parse(self, data: bytes) -> etree._Element:
        return parse_hardened(data)


def record_of(root: etree._Element) -> etree._Element:
    """The record in its raw bytes: the root, or the element inside its frame."""
    before = root.getprevious()
    while before is not None:
        if isinstance(before, etree._ProcessingInstruction) and before.target == FRAME:  # noqa: SLF001 - lxml has no public name
            element = root
            for _ in range(int(before.text or 0)):
                element = element[-1]
            return element
        before = before.getprevious()
    return root
