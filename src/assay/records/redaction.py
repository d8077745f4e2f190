"""Masking of fields that hold people's data, where a record or its errors are shown.

Names are compared as they stand in a record (keys, elements, attributes, columns), in any case, XML without its
prefixes. What cannot be told apart, because the record cannot be read, is masked as a whole: what is not understood is
not shown.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lxml import etree

from assay.errors import AssayError
from assay.reading.csv import Dialect
from assay.reading.texts import BLANKS
from assay.reading.xml import parse_hardened

MASK: Final = "***"

#: Errors of these types have words of a model's author, in which any value may stand in any form.
_OWN_WORDS: Final = frozenset({"value_error", "assertion_error", "validator_failed"})
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\]:,]|[^\s{}\[\]:,"]++', re.DOTALL)
_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?")


class Redaction:
    """Masks the values of some fields.

    Args:
        names: The fields, as records name them; nested ones by their own name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(map(_plain, names))

    def __bool__(self) -> bool:
        return bool(self._names)

    def record(self, raw: bytes, fmt: str, told: Mapping[str, Any] | None = None) -> str | None:
        """A record as it may be shown; None where its fields cannot be told apart.

        Args:
            raw: Its bytes.
            fmt: Name of the format that reads it.
            told: How the source is read: `delimiter`, `quote`, `columns`; of CSV nothing is shown without them.
        """
        masked = self._masked(raw, fmt, told)
        return None if masked is None else masked[0]

    def errors(
        self, errors: Iterable[Mapping[str, str]], raw: bytes, fmt: str, told: Mapping[str, Any] | None = None
    ) -> list[dict[str, str]]:
        """The errors of a record, without values of the fields: in their inputs, and in their messages."""
        masked = self._masked(raw, fmt, told)
        hidden = [] if masked is None else masked[1]
        return [self._error(error, hidden) for error in errors]

    def _error(self, error: Mapping[str, str], hidden: list[str]) -> dict[str, str]:
        message, value = error["msg"], error["input"]
        if self._is_named(error["loc"]):
            message = MASK if error["type"] in _OWN_WORDS else _without([*hidden, value], message)
            return {**error, "msg": message, "input": MASK if value else ""}
        return {**error, "msg": _without(hidden, message), "input": self._input(error, hidden)}

    def _is_named(self, loc: str) -> bool:
        # A name may have dots itself.
        place = ".".join(map(_plain, loc.split(".")))
        return any(f".{name}." in f".{place}." for name in self._names)

    def _input(self, error: Mapping[str, str], hidden: list[str]) -> str:
        text = error["input"]
        if text.lstrip().startswith(("{", "[", "<")) or (text and not error["loc"]):
            # It holds other fields, and perhaps the beginning of them alone.
            masked = self._json(text.encode())
            return MASK if masked is None else masked[0]
        return _without(hidden, text)

    def _masked(self, raw: bytes, fmt: str, told: Mapping[str, Any] | None) -> tuple[str, list[str]] | None:
        match fmt:
            case "json" | "jsonl":
                return self._json(raw)
            case "xml":
                return self._xml(raw)
            case "csv" if told is not None:
                return self._csv(raw, told)
        return None

    def _json(self, raw: bytes) -> tuple[str, list[str]] | None:
        try:
            text = raw.decode("utf-8-sig")
            # The scanner below takes any text; only of JSON it is known what it says.
            value = json.loads(text, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict | list):
            return None
        places = list(_TOKEN.finditer(text))
        tokens = [place[0] for place in places]
        made: list[str] = []
        hidden: list[str] = []
        at = index = 0
        while index < len(tokens):
            is_key = tokens[index].startswith('"') and tokens[index + 1 : index + 2] == [":"]
            if not is_key or _plain(json.loads(tokens[index], strict=False)) not in self._names:
                index += 1
                continue
            first = index + 2
            index = _behind_value(tokens, first)
            made += [text[at : places[first].start()], f'"{MASK}"']
            at = places[index - 1].end()
            hidden += _scalars(tokens[first:index])
        return "".join([*made, text[at:]]), hidden

    def _xml(self, raw: bytes) -> tuple[str, list[str]] | None:
        try:
            root = parse_hardened(raw)
        except AssayError:
            return None
        hidden: list[str] = []
        for element in list(root.iter(etree.Element)):
            whole = _plain(str(element.tag)) in self._names
            for name, value in element.attrib.items():
                if whole or _plain(str(name)) in self._names:
                    hidden.append(str(value))
                    element.attrib[name] = MASK
            if whole:
                inner = list(element.iter())
                hidden += [text for one in inner for text in (one.text, *one.attrib.values()) if text]
                hidden += [one.tail for one in inner if one is not element and one.tail]
                for child in list(element):
                    element.remove(child)
                element.text = MASK
        for note in (*root.itersiblings(etree.Comment, preceding=True), *root.iter(etree.Comment)):
            note.text = MASK
        stream = io.BytesIO()
        # In UTF-8: what is shown is text, whatever the file was.
        root.getroottree().write(stream, encoding="utf-8", xml_declaration=False)
        return stream.getvalue().decode(), [text.strip(BLANKS) for text in hidden]

    def _csv(self, raw: bytes, told: Mapping[str, Any]) -> tuple[str, list[str]] | None:
        delimiter, quote = told.get("delimiter") or ",", '"' if told.get("quote") is None else told["quote"]
        try:
            dialect = Dialect(delimiter, quote)
            header, row = (b"", raw) if told.get("columns") else _header(raw, dialect)
            cells = dialect.cells(row)
            columns = list(told["columns"]) if told.get("columns") else [name or "" for name in dialect.cells(header)]
        except AssayError:
            return None
        if len(cells) != len(columns):
            return None
        hidden = [
            cell for name, cell in zip(columns, cells, strict=True) if cell is not None and _plain(name) in self._names
        ]
        if not hidden:
            odd = [name.casefold() for name in columns if any(c in name for c in ",;|\t")]
            if any(name in column for column in odd for name in self._names):
                # A column that looks like several: it is parted by another character than was told.
                return None
            return raw.decode(), []
        shown = [
            MASK if cell is not None and _plain(name) in self._names else _cell(cell, delimiter, quote)
            for name, cell in zip(columns, cells, strict=True)
        ]
        above = header.decode() + "\n" if header else ""
        return above + delimiter.join(shown), hidden


def _header(raw: bytes, dialect: Dialect) -> tuple[bytes, bytes]:
    """The row of names above a row."""
    head = dialect.row(raw, 0, is_last=True)
    if head is None:
        return b"", raw
    return raw[: head.end], raw[head.after :]


def _cell(cell: str | None, delimiter: str, quote: str) -> str:
    if cell is None:
        return ""
    if quote and (not cell or any(c in cell for c in (delimiter, quote, "\n", "\r"))):
        return f"{quote}{cell.replace(quote, quote * 2)}{quote}"
    return cell


def _plain(name: str) -> str:
    """A name without namespace and prefix, in one case."""
    return name.rpartition("}")[2].rpartition(":")[2].casefold()


def _behind_value(tokens: list[str], first: int) -> int:
    """The place behind the value that begins at a token."""
    depth = 0
    for place in range(first, len(tokens)):
        depth += (tokens[place] in "{[") - (tokens[place] in "}]")
        if depth == 0:
            return place + 1
    return len(tokens)


def _scalars(tokens: list[str]) -> list[str]:
    """Texts and numbers of a value, keys among them."""
    made = []
    for token in tokens:
        if token.startswith('"'):
            made.append(str(json.loads(token, strict=False)))
        elif token not in ("true", "false", "null", "{", "}", "[", "]", ":", ","):
            made.append(token)
    return made


def _without(hidden: Iterable[str], text: str) -> str:
    """A text in which values stand masked: as words of their own, and numbers also where they are written otherwise."""
    numbers = set()
    for value in sorted({one for one in hidden if one}, key=len, reverse=True):
        before = r"(?<!\w)" if value[0].isalnum() else ""
        behind = r"(?!\w)" if value[-1].isalnum() else ""
        text = re.sub(before + re.escape(value) + behind, MASK, text)
        numbers.add(_number(value))
    numbers.discard(None)
    if not numbers:
        return text
    return _NUMBER.sub(lambda found: MASK if _number(found[0]) in numbers else found[0], text)


def _number(text: str) -> Decimal | None:
    try:
        made = Decimal(text.replace(",", "").strip())
    except InvalidOperation:
        return None
    return made if made.is_finite() else None
