"""Telling by its beginning what a file is that is not what its name says.

Only what is plainly something else is refused: of anything that may be a bad record among good ones, the record is
rejected and not the file.
"""

from __future__ import annotations

import codecs
import csv
import re
from typing import Final, Literal

import orjson

from assay.errors import SourceError
from assay.reading.compression import looks_compressed

Expected = Literal["jsonl", "json", "xml", "csv"]

#: Bytes at the beginning of a file that are looked at.
SNIFFED: Final = 64 * 1024
_NAMES: Final[dict[Expected, str]] = {"jsonl": "JSON Lines", "json": "JSON", "xml": "XML", "csv": "CSV"}
#: First bytes -> what begins so, and what to do.
_MAGIC: Final = (
    (b"PK\x03\x04", "a ZIP archive or an office document", "unpack or export it"),
    (b"PK\x05\x06", "an empty ZIP archive", "get the file again"),
    (b"PAR1", "Parquet", "read it with polars.scan_parquet, or export it as text"),
    (b"ARROW1", "Arrow IPC", "read it with polars.scan_ipc, or export it as text"),
    (b"Obj\x01", "Avro", "read it with polars.read_avro, or export it as text"),
    (b"ORC", "ORC", "export it as text"),
    (b"SQLite format 3\0", "an SQLite database", "export its table"),
    (b"%PDF-", "a PDF document", "ask for the data itself"),
    (b"\xd0\xcf\x11\xe0", "an office document", "export it"),
    (b"\x89PNG", "a PNG picture", "ask for the data itself"),
    (b"\xff\xd8\xff", "a JPEG picture", "ask for the data itself"),
    (b"\xfd7zXZ\0", ".xz data", "unpack it, or compress it as .zst, .gz or .bz2"),
    (b"7z\xbc\xaf'\x1c", "a 7z archive", "unpack it"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself (git lfs pull)"),
)
_TAR: Final = slice(257, 262)
_BLANK: Final = " \t\r\n\ufeff"
_HTML: Final = re.compile(r"<!doctype html|<html[\s>]", re.IGNORECASE)
_JSON: Final = re.compile(r'\{\s*["}]|\[\s*[\[{"\]\d-]')
_TAGS: Final = re.compile(r"<\?xml\s|<!--|<[^\W\d][^<>]*>\s*<")
_DELIMITERS: Final = ",;\t|"
_LINES: Final = 20


def refuse_other(head: bytes, name: str, expected: Expected) -> None:
    """Let data pass that may be what is expected.

    Args:
        head: Its first bytes.
        name: Of the file.
        expected: The format by which it is to be read.

    Raises:
        SourceError: it is plainly something else; says what, and what to do.
    """
    found = _binary(head) or _wide(head, expected) or _other_text(_decoded(head[:SNIFFED]), expected)
    if found:
        looks, remedy = found
        raise SourceError(f"looks like {looks}, not {_NAMES[expected]}; {remedy}", file=name, offset=0)


def refuse_document(head: bytes, name: str) -> None:
    """Let JSON Lines pass.

    Raises:
        SourceError: it is one JSON document over several lines.
    """
    lines = [line.strip() for line in head[:SNIFFED].lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 2)[:2]]
    first, second = lines if len(lines) == 2 else (b"", b"")
    # A line that was cut is followed by a whole one, an object that goes on is not.
    if first in (b"[", b"{") or (first[:1] == b"[" and first[-1:] == b",") or _goes_on(first, second):
        looks = "looks like one JSON document over several lines, not JSON Lines"
        raise SourceError(f"{looks}; say format='json' or mend the suffix", file=name, offset=0)


def is_array_of_records(head: bytes) -> bool:
    """Whether there is but one line so far, and it begins like an array of objects."""
    line, _, rest = head[:SNIFFED].strip(b" \t\r\n").partition(b"\n")
    return not rest and re.match(rb"\[\s*\{", line) is not None


def _goes_on(first: bytes, second: bytes) -> bool:
    return first[:1] == b"{" and first[-1:] in b"{[,:" and bool(second) and second[:1] not in b"{["


def _binary(head: bytes) -> tuple[str, str] | None:
    for magic, looks, remedy in _MAGIC:
        if head.startswith(magic):
            return looks, remedy
    if head[_TAR] == b"ustar":
        return "a tar archive", "unpack it"
    suffix = looks_compressed(head)
    return (f"{suffix} data", f"give the file the suffix {suffix}") if suffix else None


def _wide(head: bytes, expected: Expected) -> tuple[str, str] | None:
    """UTF-32, and UTF-16 where it may not be."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) or re.match(rb"[^\0]\0\0\0|\0\0\0[^\0]", head):
        return "UTF-32", "convert the file to UTF-8"
    return ("UTF-16", "convert the file to UTF-8") if expected != "xml" and _utf16(head) else None


def _utf16(head: bytes) -> str | None:
    if head.startswith(codecs.BOM_UTF16_LE) or re.match(rb"(?:[^\0]\0){4}|[{[<]\0", head):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE) or re.match(rb"(?:\0[^\0]){4}|\0[{[<]", head):
        return "utf-16-be"
    return None


def _decoded(head: bytes) -> str:
    return head.decode(_utf16(head) or "utf-8", "replace").lstrip(_BLANK)


def _other_text(text: str, expected: Expected) -> tuple[str, str] | None:
    if _HTML.match(text):
        if expected != "xml":
            return "an HTML page, such as a server's error", "get the file again"
        if text.startswith("<!"):
            return "an HTML page, such as a server's error", "get the file again (a DOCTYPE is refused in any case)"
    if expected in ("json", "jsonl"):
        if text.startswith("<"):
            return "XML", "say format='xml' or mend the suffix"
    elif expected == "xml":
        if text.startswith(("{", "[")):
            return "JSON", "say format='json' or mend the suffix"
    else:
        if _TAGS.match(text):
            return "XML", "say format='xml' or mend the suffix"
        if _JSON.match(text):
            return "JSON", "say format='json' or 'jsonl', or mend the suffix"
        return None
    if _is_table(text):
        return "CSV", "say format='csv' or mend the suffix"
    is_text = expected == "xml" and text[:1].isprintable() and text[:1] not in ("", "<")
    return ("plain text", "XML begins with <") if is_text else None


def _is_table(text: str) -> bool:
    """Whether several lines have cells, as many in each, and none of them is JSON or begins like a record."""
    lines = [line for line in text.split("\n")[: _LINES + 1] if line.strip()]
    whole = lines[:-1] if len(lines) > _LINES else lines
    if len(whole) < 2 or any(line.lstrip()[:1] in "{[<" or _is_json(line) for line in whole):
        return False
    for delimiter in _DELIMITERS:
        try:
            widths = {len(row) for row in csv.reader(whole, delimiter=delimiter)}
        except csv.Error:
            continue
        if len(widths) == 1 and widths.pop() > 1:
            return True
    return False


def _is_json(line: str) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True
