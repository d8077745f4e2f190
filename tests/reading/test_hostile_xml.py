"""Hostile and broken XML: nothing is resolved, fetched, dropped or guessed; the same compiled and by the reference."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field
from tests.cli.using import assay as run
from tests.reading.hostile import Line, both, measured, outcome

import assay
from assay.reading import ProcessorFactory
from assay.settings import Settings

FIRST = b'<a id="1"><amount>1.10</amount></a>'
LAST = b"<a><id>3</id><amount>3.30</amount></a>"
SECRET = "s3cret-of-the-host"


def document(middle: bytes, prolog: bytes = b'<?xml version="1.0"?>') -> bytes:
    return prolog + b"<r>" + FIRST + b"\n" + middle + b"\n" + LAST + b"</r>"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    (tmp_path / "secret.dtd").write_text(f'<!ENTITY x "{SECRET}">')
    return path


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server that notes what is asked of it: its address, and the notes."""
    notes: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            notes.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f'<!ENTITY x "{SECRET}">'.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", notes
    server.shutdown()
    server.server_close()


TRICKS = {
    "a DTD of nothing": "<!DOCTYPE r>",
    "an entity": '<!DOCTYPE r [<!ENTITY x "2">]>',
    "billion laughs": '<!DOCTYPE r [<!ENTITY a0 "2">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30))
    + '<!ENTITY x "&a29;">]>',
    "quadratic blow-up": f'<!DOCTYPE r [<!ENTITY b "{"2" * 50_000}"><!ENTITY x "{"&b;" * 20_000}">]>',
    "entities in a circle": '<!DOCTYPE r [<!ENTITY x "&y;"><!ENTITY y "&x;">]>',
    "a file": '<!DOCTYPE r [<!ENTITY x SYSTEM "{file}">]>',
    "a file by PUBLIC": '<!DOCTYPE r [<!ENTITY x PUBLIC "p" "{file}">]>',
    "a URL": '<!DOCTYPE r [<!ENTITY x SYSTEM "{http}/x">]>',
    "a DTD in a file": '<!DOCTYPE r SYSTEM "{dtd}">',
    "a DTD by HTTP": '<!DOCTYPE r SYSTEM "{http}/x.dtd">',
    "parameter entities": '<!DOCTYPE r [<!ENTITY % p SYSTEM "{dtd}"> %p;]>',
    "parameter entities by HTTP": '<!DOCTYPE r [<!ENTITY % p SYSTEM "{http}/p"> %p;]>',
    "parameter entities laughing": '<!DOCTYPE r [<!ENTITY % a "<!ENTITY x \'2\'>"><!ENTITY % b "%a;%a;"> %b;]>',
    "a default of an attribute": '<!DOCTYPE r [<!ATTLIST a id CDATA "2">]>',
}


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("place", ["<a><id>2</id><text>&x;</text></a>", '<a id="2" text="&x;"/>', "<a><id>2</id></a>"])
def test_no_doctype_is_read(trick: str, place: str, secret: Path, asked: tuple[str, list[str]]) -> None:
    http, notes = asked
    prolog = TRICKS[trick]
    for name, value in (("{file}", secret.as_uri()), ("{dtd}", secret.with_suffix(".dtd").as_uri()), ("{http}", http)):
        prolog = prolog.replace(name, value)
    data = document(place.encode(), prolog.encode())
    began = time.monotonic()
    for coded in (data, b'<?xml version="1.0" encoding="utf-8"?>\n' + data, data.decode().encode("utf-16")):
        found = both(coded, format="xml")
        assert (found.rows, found.rejects) == ([], [])
        assert "has a DOCTYPE, which is refused" in str(found.error)
        with pytest.raises(assay.ValidationError, match="DOCTYPE"):
            ProcessorFactory.create("xml").process(coded)
    # What a reject is replayed from may have been edited.
    with pytest.raises(assay.ValidationError, match="DOCTYPE|not well-formed"):
        ProcessorFactory.create("xml").json_for(Line)(data)  # type: ignore[attr-defined]
    assert notes == []
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<a><id>2</id><text>&x;</text></a>", "undefined entity"),
        (b'<a id="2" text="&x;"/>', "undefined entity"),
        (b"<a><id>2</id><text>&nbsp;</text></a>", "undefined entity"),
        (b"<a><id>2</id><text>%x;</text></a>", None),
        (b"<a><id>2</id><text>&#0;</text></a>", "invalid character number"),
        (b"<a><id>2</id><text>&#x1;</text></a>", "invalid character number"),
        (b"<a><id>2</id><text>&#xD800;</text></a>", "invalid character number"),
        (b"<a><id>2</id><text>&#x110000;</text></a>", "invalid character number"),
        (b"<a><id>2</id><text>a & b</text></a>", "invalid token"),
        (b"<a><id>2</id><text>\0</text></a>", "invalid token"),
        (b"<a><id>2</id><text>\x1b</text></a>", "invalid token"),
        (b"<a><id>2</id><text>\xef\xbf\xbf</text></a>", "invalid token"),
        (b"<a><id>2</id><text>\xff</text></a>", "invalid token"),
        (b"<a><id>2</id><text>\xed\xa0\x80</text></a>", "invalid token"),
        (b"<a><id>2</id><text>]]></text></a>", "invalid token"),
        (b'<a id="2" id="3"/>', "duplicate attribute"),
        (b'<a xmlns:p="u" xmlns:q="u" p:id="2" q:id="3"/>', "duplicate attribute"),
        (b"<q:a><id>2</id></q:a>", "unbound prefix"),
        (b'<a xmlns:p=""><id>2</id></a>', "must not undeclare"),
        (b'<a xmlns:xml="u"><id>2</id></a>', "reserved prefix"),
        (b"<a><id>2</ID></a>", "mismatched tag"),
        (b"<a id=2/>", "invalid token"),
        (b"<a><id>2</id>", "mismatched tag"),
        (b"<a><id>2<!-- -- --></id></a>", "invalid token"),
        (b"<a><id>2</id><?xml version='1.0'?></a>", "not at start"),
        (b"<!DOCTYPE x><a><id>2</id></a>", "not well-formed"),
    ],
)
def test_what_is_not_well_formed_ends_the_file_after_the_records_before(data: bytes, words: str | None) -> None:
    found = both(document(data), format="xml")
    if words is None:
        assert [row["text"] for row in found.rows] == ["", "%x;", ""]
        return
    assert (found.accepted, found.rejects) == ([1], [])
    assert words in str(found.error)
    assert "not well-formed XML at line " in str(found.error)
    assert "after record 1, byte " in str(found.error)


#: A record, and the object of texts on which the verdict is given.
READ_AS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "CDATA": (b"<a><id><![CDATA[2]]></id><text><![CDATA[<b>&amp;]]>]]&gt;</text></a>", {"text": "<b>&amp;]]>"}),
    "comments inside values": (b"<a><id>2<!-- 9 --></id><text>x<!-- y -->z</text></a>", {"text": "xz"}),
    "instructions inside values": (b"<a><id><?x 9?>2</id><text>x<?y z?>z</text></a>", {"text": "xz"}),
    "a comment that looks like a record": (b"<!-- <a><id>9</id></a> --><a><id>2</id></a>", {}),
    "an instruction of ours": (b"<?assay-frame 1?><a><id>2</id></a>", {}),
    "attributes where elements were expected": (b'<a id="2" text="t" amount="7.00"/>', {"text": "t", "amount": "7.00"}),
    "> in an attribute": (
        b'<a id="2" text="</a>"/>'.replace(b"<", b"&lt;").replace(b"&lt;a ", b"<a "),
        {"text": "</a>"},
    ),
    "layout in attributes": (b'<a id=" 2 " text="a\nb\tc"/>', {"text": "a b c"}),
    "ends of lines": (b"<a><id>\r\n2\r\n</id><text>a\r\nb\rc&#13;d</text></a>", {"text": "a\nb\nc\rd"}),
    "references to characters": (b"<a><id>&#50;</id><text>&#x1F69A;&lt;&apos;</text></a>", {"text": "🚚<'"}),
    "text between elements": (b"<a>hello<id>2</id>world</a>", {}),
    "a default namespace": (b'<a xmlns="urn:x"><id>2</id><text xmlns="">t</text></a>', {"text": "t"}),
    "a prefix bound anew": (b'<p:a xmlns:p="u:1"><p:id xmlns:p="u:2">2</p:id><p:text>t</p:text></p:a>', {"text": "t"}),
    "an XInclude that nobody asks for": (
        b'<a><id>2</id><i:include xmlns:i="http://www.w3.org/2001/XInclude" href="file:///etc/hostname"/></a>',
        {},
    ),
    "a blank that is none of XML": (b"<a><id>2</id><text>\xc2\xa0</text></a>", {"text": "\xa0"}),
    "100 levels": (b"<a><id>2</id>" + b"<x>" * 100 + b"</x>" * 100 + b"</a>", {}),
    "100,000 attributes": (b'<a id="2" ' + b" ".join(b'a%d=""' % n for n in range(100_000)) + b"/>", {}),
    "20,000 namespaces": (b"<a><id>2</id><x " + b" ".join(b'xmlns:p%d="u"' % n for n in range(20_000)) + b"/></a>", {}),
    "200,000 comments": (b"<a><id>2</id><text>" + b"x<!---->" * 200_000 + b"</text></a>", {"text": "x" * 200_000}),
    "11 MB of text": (b"<a><id>2</id><text>" + b"x" * 11_000_000 + b"</text></a>", {"text": "x" * 11_000_000}),
    "11 MB in an attribute": (b'<a id="2" text="' + b"x" * 11_000_000 + b'"/>', {"text": "x" * 11_000_000}),
    "a name of 100,000 characters": (b"<a><id>2</id><" + b"x" * 100_000 + b"/></a>", {}),
}


@pytest.mark.parametrize("name", READ_AS)
def test_what_is_odd_and_well_formed_has_its_value(name: str) -> None:
    data, values = READ_AS[name]
    began = time.monotonic()
    found = both(document(data), format="xml")
    assert time.monotonic() - began < 10
    assert (found.error, found.rejects, found.accepted) == (None, [], [1, 2, 3])
    row = found.rows[1]
    assert {key: str(row[key]) for key in values} == values
    assert sum((found.rows[index]["amount"] for index in (0, 2)), Decimal(0)) == Decimal("4.40")


#: A record that the model does not take, and where and why.
REJECTED: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "an element twice": (b"<a><id>2</id><id>3</id></a>", [("id", "int_type")]),
    "an element and an attribute": (b'<a id="3"><id>2</id></a>', [("id", "int_type")]),
    "mixed content where a text was expected": (b"<a><id>2</id><text>a<b>c</b>d</text></a>", [("text", "string_type")]),
    "an XInclude where a text was expected": (
        b'<a><id>2</id><text><i:include xmlns:i="http://www.w3.org/2001/XInclude" href="x"/></text></a>',
        [("text", "string_type")],
    ),
    "an empty element": (b"<a><id/></a>", [("id", "int_parsing")]),
    "xsi:nil": (
        b'<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id xsi:nil="true">2</id></a>',
        [("id", "int_type")],
    ),
    "a comma": (b"<a><id>2</id><amount>1,50</amount></a>", [("amount", "decimal_parsing")]),
    "an amount of 10,000 digits": (
        b"<a><id>2</id><amount>" + b"9" * 10_000 + b"</amount></a>",
        [("amount", "decimal_max_digits")],
    ),
    "an id of 10,000 digits": (b"<a><id>" + b"9" * 10_000 + b"</id></a>", [("id", "int_parsing_size")]),
    "elements nested 100,000 deep": (b"<x>" * 100_000 + b"</x>" * 100_000, [("", "record_too_deep")]),
    "a namespace that is none": (b'<a xmlns="u}v"><id>2</id></a>', [("", "record_invalid")]),
    "text alone": (b"<a>2</a>", [("id", "missing")]),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_the_model_does_not_take_costs_its_record_only(name: str) -> None:
    data, errors = REJECTED[name]
    found = both(document(data), format="xml")
    assert (found.error, found.accepted) == (None, [1, 3])
    (reject,) = found.rejects
    assert [(e["loc"], e["type"]) for e in reject["errors"]] == errors
    assert (reject["record"], reject["line"]) == (1, 2)
    assert data in reject["raw"]
    # What is kept is enough to be judged again.
    if errors[0][1] not in ("record_too_deep", "record_invalid"):
        text = ProcessorFactory.create("xml").json_for(Line)(reject["raw"])  # type: ignore[attr-defined]
        assert isinstance(assay.validate([text], Line)[0], assay.Err)


def test_a_prefixed_name_is_exact_whatever_the_prefix_is_called() -> None:
    class Exact(BaseModel):
        model_config = ConfigDict(extra="forbid")
        id: int = Field(alias="x:id")

    data = (
        b'<r xmlns="u:x" xmlns:y="u:y"><a><id>1</id></a><a><y:id>2</y:id></a><z:a xmlns:z="u:x"><z:id>3</z:id></z:a>'
        b'<a xmlns="u:other"><id>4</id></a><a xmlns:y="u:x"><y:id>5</y:id></a></r>'
    )
    found = both(data, model=Exact, format="xml", namespaces={"x": "u:x"})
    assert found.accepted == [1, 3, 5]
    assert [number for number, _ in found.refused] == [1, 3]
    found = both(data, model=Exact, format="xml", namespaces={"x": "u:x"}, record="x:a")
    assert (found.accepted, [number for number, _ in found.refused]) == ([1, 3, 5], [1])


TEXT = "naïve €"


@pytest.mark.parametrize(
    ("codec", "declared"),
    [
        ("utf-8", None),
        ("utf-8", "utf-8"),
        ("utf-8", "UTF8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", None),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16"),
        ("utf-16-be", "utf-16"),
        ("windows-1252", "windows-1252"),
        ("iso-8859-15", "ISO-8859-15"),
    ],
)
def test_encodings_that_are_declared_or_marked(codec: str, declared: str | None) -> None:
    prolog = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    rows = "".join(f"<a><id>{n}</id><text>{TEXT}</text></a>\n" for n in (1, 2))
    data = f"{prolog}<r>{rows}<a><id>x</id><text>{TEXT}</text></a></r>".encode(codec)
    found = both(data, format="xml")
    assert (found.error, [row["text"] for row in found.rows]) == (None, [TEXT] * 2)
    (reject,) = found.rejects
    assert ProcessorFactory.create("xml").process(reject["raw"]) == {"id": "x", "text": TEXT}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (document("<a><id>2</id><text>é</text></a>".encode("latin-1")), "invalid token"),
        (document(b"<a/>", b'<?xml version="1.0" encoding="utf-16"?>'), "encoding specified in XML declaration"),
        (document(b"", b'<?xml version="1.0" encoding="utf-8"?>').decode().encode("utf-16"), "encoding specified"),
        (document(b"<a><id>\xe9</id></a>", b'<?xml version="1.0" encoding="us-ascii"?>'), "invalid token"),
        (document(b"", b'<?xml version="1.0" encoding="no-such"?>'), "unknown encoding"),
        (document(b"", b'<?xml version="1.0" encoding="base64"?>'), "not a text encoding"),
        (document(b"", b'<?xml version="1.0" encoding="shift_jis"?>'), "convert the file to UTF-8"),
        (document(b"", b'<?xml version="1.0" encoding="iso-2022-jp"?>'), "is in iso-2022-jp, which is not read"),
        (document(b"", b'<?xml version="1.0" encoding="utf-7"?>'), "is in utf-7, which is not read"),
        (document(b"").decode().encode("utf-32"), "looks like UTF-32"),
        (b"\xef\xbb\xbf" * 2 + document(b"", b""), "not well-formed"),
    ],
)
def test_encodings_that_are_wrongly_declared_or_not_read(data: bytes, words: str) -> None:
    found = both(data, format="xml")
    assert words in str(found.error)
    assert found.accepted in ([], [1])
    assert found.rejects == []


@pytest.mark.parametrize("end", [1, 10, 25, 60, 75, 76])
def test_a_file_that_is_cut_short(end: int) -> None:
    data = document(b"<a><id>2</id></a>")
    found = both(data[:-end], format="xml")
    assert "not well-formed XML at line" in str(found.error)
    assert f"byte {len(data) - end:,}" in str(found.error) or "unclosed token" in str(found.error)
    assert found.accepted == [1, 2, 3][: data[:-end].count(b"</a>")]


@pytest.mark.parametrize("data", [b"<!-- no root -->", b'<?xml version="1.0"?>', b"<!-- -->" + b" " * 100_000])
def test_a_document_without_a_root_is_an_error(data: bytes) -> None:
    assert "no element found" in str(both(data, format="xml").error)


def test_junk_behind_the_root() -> None:
    for junk in (b"<r/>", b"x", b"\0"):
        found = both(document(b"") + junk, format="xml")
        assert found.accepted == [1, 3]
        assert "not well-formed" in str(found.error)


@pytest.mark.parametrize(
    ("first", "filling", "last", "size", "accepted", "words"),
    [
        ("<r><a><id>1</id></a><a><id>2</id><text>", "x", "</text></a><a><id>3</id></a></r>", 1 << 26, [1, 3], None),
        ("<r><a><id>1</id></a><a><id>2</id>", "<x>y</x>", "</a><a><id>3</id></a></r>", 1 << 25, [1, 3], None),
        # Cut inside a record that is too long: once an end like any other.
        ("<r><a><id>1</id></a><a><id>2</id><text>", "x", "", 1 << 25, [1], "the file ends before its elements do"),
        ("<r><a><id>1</id></a>", "<x>", "", 1 << 25, [1], "nested more than 1,000,000 deep"),
        ('<r><a><id>1</id></a><a text="', "x", '"/></r>', 1 << 25, [1], "max_record_bytes"),
        ("<r><a><id>1</id></a><!--", "x", "--></r>", 1 << 25, [1], "max_record_bytes"),
        ("<r><a><id>1</id></a>", " \n", "<a><id>3</id></a></r>", 1 << 26, [1, 3], None),
    ],
)
def test_what_is_very_long_takes_no_memory(
    first: str, filling: str, last: str, size: int, accepted: list[int], words: str | None
) -> None:
    found = measured(first.encode(), filling.encode(), size, last.encode(), format="xml", compiled=True)
    assert found.accepted == accepted
    if words is None:
        assert found.error is None
        assert all("max_record_bytes" in message and kept == 4096 for _, _, kept, message in found.rejects)
    else:
        assert words in str(found.error)
    assert found.megabytes < 200


def test_limits_of_the_settings_hold() -> None:
    deep = document(b"<a><id>2</id>" + b"<x>" * 300 + b"</x>" * 300 + b"</a>")
    found = outcome(deep, Settings(max_record_depth=500), format="xml")
    assert (found.error, found.accepted, found.rejects) == (None, [1, 2, 3], [])
    found = outcome(
        document(b"<a><x>" + b"<y>" * 5 + b"</y>" * 5 + b"</x></a>"), Settings(max_record_depth=5), format="xml"
    )
    assert found.refused == [(1, ["record_too_deep"])]
    found = outcome(
        document(b"<a><id>2</id><text>" + b"x" * 200 + b"</text></a>"), Settings(max_record_bytes=100), format="xml"
    )
    assert found.refused == [(1, ["record_too_long"])]

    class Free(BaseModel):
        model_config = ConfigDict(extra="allow")
        id: int

    found = outcome(deep, Settings(max_record_depth=2_000), model=Free, format="xml")
    assert found.accepted == [1, 3]
    assert [number for number, _ in found.refused] == [1]


def test_the_command_line_names_the_file_and_publishes_nothing(project: Path) -> None:
    (project / "pipelines/feed.py").write_text(
        "from assay import Parquet, Pipeline, Rows, Source\n"
        "from tests.reading.hostile import Line\n"
        'pipeline = Pipeline("feed", source=Source("feed.xml", Line), outputs={"rows": Rows(to=Parquet("out/rows"))})\n'
    )
    for data, words in (
        (document(b"<a><id>2</id><text>&x;</text></a>"), "undefined entity"),
        (document(b"", b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>'), "DOCTYPE"),
        (document(b"")[:-9], "not well-formed"),
    ):
        (project / "feed.xml").write_bytes(data)
        done = run("run", "feed")
        assert done.exit_code == 1
        assert "error: feed.xml: " in done.stderr
        assert words in done.stderr
        assert "Nothing was published." in done.stderr
    assert not (project / "out").exists()
