"""Sources by URL: a web server, with and without TLS, and a store that speaks S3."""

import builtins
import datetime as dt
import gzip
import json
import random
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
import trustme
from moto.server import ThreadedMotoServer
from obstore.store import S3Store
from pydantic import BaseModel
from tests.cli.using import assay as command
from tests.cli.using import document
from tests.reading.web import File, Web, serve, wait_until_asked

import assay
from assay.errors import SourceError
from assay.reading import remote_objects, resolve, without_secrets
from assay.reading.remote_errors import words_of

LINES = b"".join(b'{"a":%d}\n' % i for i in range(5_000))
CANARY = "c4nary5ecret"


class A(BaseModel):
    a: int


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small blocks, and retries that do not keep a test waiting; no thread is left."""
    monkeypatch.setattr(remote_objects, "_BLOCK", 1_000)
    backoff = {"init_backoff": dt.timedelta(milliseconds=1), "max_backoff": dt.timedelta(milliseconds=2)}
    monkeypatch.setattr(remote_objects, "_RETRIES", {"max_retries": 3, "backoff": backoff})
    yield
    assert [t.name for t in threading.enumerate() if t.name == "assay-read-ahead"] == []


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as web:
        yield web


def content(url: str, size: int = 777) -> bytes:
    (file,) = resolve(url)
    with file.open() as stream:
        found = b"".join(iter(lambda: stream.read(size), b""))
        stream.finish()
        assert stream.raw_size == file.size
    return found


def until_damage(url: str) -> tuple[bytes, SourceError]:
    (file,) = resolve(url)
    found = b""
    with file.open() as stream, pytest.raises(SourceError) as caught:
        while chunk := stream.read(1):
            found += chunk
        pytest.fail("the end of a damaged file was taken for its end")
    return found, caught.value


# -- A web server ------------------------------------------------------------------------------------------------------


def test_ranges_of_one_version(web: Web) -> None:
    file = web.files["/a.jsonl"] = File(LINES)
    assert content(web.address + "/a.jsonl") == LINES
    gets = [asked for asked in file.asked if asked.method == "GET"]
    assert len(gets) == len(LINES) // 1_000 + 1
    assert gets[0] == ("GET", "bytes=0-999", None)
    assert all(asked.if_match == '"1"' for asked in gets[1:])


@pytest.mark.parametrize(
    "file",
    [
        File(LINES, ranges=False),
        File(LINES, tag=None),
        File(LINES, tag='W/"1"'),
        File(LINES, refuses={"HEAD": 405}),
        File(LINES, refuses={"HEAD": 403}),
        File(LINES, statuses=[500, 503]),
        File(LINES[:1_000]),
        File(LINES[:1_001]),
        File(b"\n"),
        File(b""),
        File(b"", ranges=False),
    ],
    ids=range(11),
)
def test_servers_differ(web: Web, file: File) -> None:
    web.files["/a.jsonl"] = file
    assert content(web.address + "/a.jsonl") == file.data


def test_scanned_with_format_and_compression_by_suffix(web: Web) -> None:
    web.files["/data/a.jsonl.gz?sig=x%2Fy&b=1"] = File(gzip.compress(LINES[:5_000]) + gzip.compress(LINES[5_000:]))
    read = assay.read(web.address + "/data/a.jsonl.gz?sig=x%2Fy&b=1#here", A, trace=True)
    assert read.frame["a"].to_list() == list(range(5_000))
    assert read.frame["_source"].unique().to_list() == [web.address + "/data/a.jsonl.gz"]


def test_a_path_is_sent_as_it_is_written(web: Web) -> None:
    web.files["/a%20b/%C3%BC+c%2Fd.jsonl"] = File(LINES)
    assert content(web.address + "/a%20b/%C3%BC+c%2Fd.jsonl") == LINES


def test_sent_on_to_another_address(web: Web) -> None:
    web.files["/a.jsonl"] = File(location="/b.jsonl")
    web.files["/b.jsonl"] = File(LINES)
    assert content(web.address + "/a.jsonl") == LINES


def test_a_cut_is_mended_by_asking_on(web: Web) -> None:
    web.files["/a.jsonl"] = File(LINES, cuts=2)
    assert content(web.address + "/a.jsonl") == LINES


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_that_cannot_be_mended_is_an_error(web: Web, ranges: bool) -> None:
    web.files["/a.jsonl"] = File(LINES, cuts=10_000, ranges=ranges)
    found, error = until_damage(web.address + "/a.jsonl")
    assert LINES.startswith(found)
    assert error.message == "is cut off by its server; run again"
    with pytest.raises(SourceError, match="cut off"):
        assay.read(web.address + "/a.jsonl", A)


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', None])
@pytest.mark.parametrize("at", [2, 9])
def test_changed_while_it_is_read(web: Web, tag: str | None, at: int) -> None:
    web.files["/a.jsonl"] = File(LINES, changes=at, tag=tag)
    found, error = until_damage(web.address + "/a.jsonl")
    assert error.message == "changed while it was read; run again when it is complete"
    # Requests of one round may arrive in any order.
    assert LINES.startswith(found)
    assert len(found) in range(1_000, at * 1_000, 1_000)


def test_changed_before_it_is_read_again(web: Web) -> None:
    web.files["/a.jsonl"] = File(LINES)
    (file,) = resolve(web.address + "/a.jsonl")
    for stands in (True, False):
        with file.open() as stream:
            if stands:
                assert stream.read() == LINES
                web.files["/a.jsonl"] = File(b"#" + LINES[1:], tag='"2"')
            else:
                with pytest.raises(SourceError, match="changed"):
                    stream.read(1)


def test_closed_while_the_server_is_silent(web: Web) -> None:
    file = web.files["/a.jsonl"] = File(LINES, hangs=2)
    (found,) = resolve(web.address + "/a.jsonl")
    with found.open() as stream:
        assert stream.read(1_000) == LINES[:1_000]
        wait_until_asked(file, 3)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2


def test_closed_while_what_is_decoded_waits_for_the_server(web: Web) -> None:
    noise = gzip.compress(random.Random(1).randbytes(50_000))
    file = web.files["/a.jsonl.gz"] = File(noise, hangs=2)
    (found,) = resolve(web.address + "/a.jsonl.gz")
    with found.open():
        wait_until_asked(file, 3)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2


def test_the_interpreter_ends_while_the_server_is_silent(web: Web) -> None:
    web.files["/a.jsonl"] = File(LINES, hangs=1)
    program = (
        "import sys, time; from assay.reading import resolve; "
        f"s = resolve('{web.address}/a.jsonl')[0].open(); time.sleep(0.5); print(s.name)"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=30, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [asked.method for asked in web.files["/a.jsonl"].asked] == ["HEAD", "GET"]


def test_a_server_that_stays_silent(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_objects, "_SILENCE", dt.timedelta(milliseconds=300))
    web.files["/a.jsonl"] = File(LINES, hangs=2)
    found, error = until_damage(web.address + "/a.jsonl")
    assert (found, error.offset) == (LINES[:1_000], 1_000)
    assert "does not answer in time" in error.message


def test_a_reader_that_takes_its_time(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_objects, "_SILENCE", dt.timedelta(milliseconds=200))
    web.files["/a.jsonl"] = File(LINES * 400, ranges=False)
    (file,) = resolve(web.address + "/a.jsonl")
    with file.open() as stream:
        found = stream.read(10)
        time.sleep(0.5)
        assert found + stream.read() == LINES * 400


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (None, "no such object"),
        (File(statuses=[410] * 9), "its server answers 410 Gone"),
        (File(statuses=[403] * 9), "may not be read with these credentials (403 Forbidden)"),
        (File(statuses=[401] * 9), "wants credentials (401 Unauthorized)"),
        (File(statuses=[500] * 9), "its server answers 500 Internal Server Error"),
        (File(statuses=[418] * 9), "its server answers 418"),
        (File(LINES, length=False), "does not say how long it is"),
        (File(location="/a.jsonl?sig=" + CANARY), "without end"),
    ],
    ids=range(8),
)
def test_what_a_server_refuses(web: Web, file: File | None, words: str) -> None:
    if file:
        web.files[f"/a.jsonl?sig={CANARY}"] = file
    with pytest.raises(SourceError) as caught:
        resolve(f"{web.address}/a.jsonl?sig={CANARY}")
    assert words in str(caught.value)
    assert caught.value.file == web.address + "/a.jsonl"
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/a.jsonl", "is not encrypted"),
        ("http://169.254.169.254/a.jsonl", "is not encrypted"),
        (f"https://me:{CANARY}@example.com/a.jsonl", "user and password in an address are refused"),
        ("https://example.com/*.jsonl", "cannot list its files"),
        ("https://example.com/", "is a folder"),
        ("https:///a.jsonl", "names no host"),
        ("https://[::1/a.jsonl", "is no valid address"),
        ("https://nosuch.invalid/a.jsonl", "cannot be resolved"),
        ("https://127.0.0.1:1/a.jsonl", "refuses the connection"),
        ("ftp://example.com/a.jsonl", 'no kind of address "ftp://"'),
        ("file:///a.jsonl", "by its path alone"),
        ("s3://", "names no bucket"),
        ("s3:///a.jsonl", "names no bucket"),
        ("az:///a.jsonl", "names no container"),
        ("s3://bucket", "is a folder; name the objects, for example s3://bucket/*.jsonl"),
        ("s3://bucket/orders/", "is a folder"),
        ("s3://bucket/a//b.jsonl", "may not have //"),
    ],
)
def test_addresses_that_cannot_be_read(url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError) as caught:
        resolve(url)
    assert words in str(caught.value)
    assert CANARY not in str(caught.value)


def test_words_that_are_our_own() -> None:
    assert "no credentials" in words_of(OSError("PUT http://169.254.169.254/latest/api/token: timed out"))
    unknown = f"odd: GET https://h/a?sig={CANARY} went wrong\nDebug source: {CANARY}"
    assert words_of(ValueError(unknown)) == "cannot be fetched (ValueError: odd: GET … went wrong)"
    denied = (
        f"status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code><StringToSign>{CANARY}</StringToSign>"
    )
    assert words_of(ValueError(denied)) == "its server answers 403 Forbidden, SignatureDoesNotMatch"


def test_addresses_that_differ_in_what_is_not_shown(web: Web) -> None:
    urls = [f"{web.address}/a.jsonl?month={month}" for month in (1, 2, 2)]
    for month in (1, 2):
        web.files[f"/a.jsonl?month={month}"] = File(b'{"a":%d}\n' % month)
    assert [file.name for file in resolve(urls)] == [web.address + "/a.jsonl", web.address + "/a.jsonl#2"]
    assert assay.read(urls, A).frame["a"].to_list() == [1, 2]


def test_what_is_shown_of_an_address() -> None:
    assert without_secrets(f"https://me:{CANARY}@h:1/a?b={CANARY}#c") == "https://h:1/a"
    assert without_secrets(f"https://h?b={CANARY}/a@c") == "https://h"
    assert without_secrets(f"s3://{CANARY}:x@bucket/a?b#c.jsonl") == "s3://bucket/a?b#c.jsonl"
    assert without_secrets("a?b.jsonl") == "a?b.jsonl"


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:  # noqa: A002
        if fromlist and "remote_objects" in fromlist:
            raise ModuleNotFoundError("No module named 'obstore'", name="obstore")
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SourceError, match=r"need an extra: pip install 'assay\[remote\]'"):
        resolve("s3://bucket/a.jsonl")


# -- TLS ---------------------------------------------------------------------------------------------------------------


def test_a_certificate_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with serve(tls) as web:
        web.files["/a.jsonl"] = File(LINES)
        with pytest.raises(SourceError, match="certificate of its server is not trusted; .* SSL_CERT_FILE"):
            resolve(web.address + "/a.jsonl")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert content(web.address + "/a.jsonl") == LINES
        with serve() as plain:
            web.files["/b.jsonl"] = File(location=plain.address + "/a.jsonl")
            plain.files["/a.jsonl"] = File(LINES)
            with pytest.raises(SourceError):
                resolve(web.address + "/b.jsonl")


# -- A store -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """An empty bucket `shop`, and the environment that leads to it."""
    urllib.request.urlopen(urllib.request.Request(endpoint + "/moto-api/reset", method="POST"), timeout=30).close()
    urllib.request.urlopen(urllib.request.Request(endpoint + "/shop", method="PUT"), timeout=30).close()
    environment = {"ACCESS_KEY_ID": "me", "SECRET_ACCESS_KEY": CANARY, "REGION": "us-east-1"}
    for name, value in (environment | {"ENDPOINT_URL": endpoint, "ALLOW_HTTP": "true"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return S3Store("shop")


def put(bucket: S3Store, *keys: str) -> None:
    for key in keys:
        obstore.put(bucket, key, b'{"a":1}\n')


def names(url: str) -> list[str]:
    return [file.name.removeprefix("s3://shop/") for file in resolve(url)]


def test_an_object_in_ranges(bucket: S3Store) -> None:
    obstore.put(bucket, "orders/a b/ü#1?.jsonl.gz", gzip.compress(LINES))
    url = "s3://shop/orders/a b/ü#1?.jsonl.gz".replace("?", "[?]")
    read = assay.read(url, A, trace=True)
    assert read.frame["a"].to_list() == list(range(5_000))
    assert read.frame["_source"][0] == "s3://shop/orders/a b/ü#1?.jsonl.gz"
    obstore.put(bucket, "empty.jsonl", b"")
    assert content("s3://shop/empty.jsonl") == b""


def test_objects_by_glob(bucket: S3Store) -> None:
    put(bucket, "b.jsonl", "a.jsonl", "o/1.jsonl", "o/2.jsonl", "o/x/3.jsonl", "o/x/y/4.jsonl", "o/.5.jsonl", "o/6.xml")
    put(bucket, "o2/7.jsonl", "o/.z/8.jsonl")
    assert names("s3://shop/*.jsonl") == ["a.jsonl", "b.jsonl"]
    assert names("s3://shop/o/*.jsonl") == ["o/1.jsonl", "o/2.jsonl"]
    assert names("s3://shop/o/[!1].jsonl") == ["o/2.jsonl"]
    assert names("s3://shop/o/**/*.jsonl") == ["o/1.jsonl", "o/2.jsonl", "o/x/3.jsonl", "o/x/y/4.jsonl"]
    assert names("s3://shop/o*/?.jsonl") == ["o/1.jsonl", "o/2.jsonl", "o2/7.jsonl"]
    assert names("s3://shop/o/.*") == ["o/.5.jsonl"]
    assert [file.size for file in resolve("s3://shop/o/*.xml")] == [8]
    # Globs may overlap: an object that is named twice is read once.
    assert assay.read(["s3://shop/*.jsonl", "s3://shop/a.jsonl"], A).frame.height == 2
    for url in ("s3://shop/o/*.csv", "s3://shop/no/**/*.jsonl"):
        with pytest.raises(SourceError, match="no object matches"):
            resolve(url)


@pytest.mark.parametrize("key", ["no.jsonl", "*.jsonl", "**/*.jsonl"])
def test_no_such_object_or_bucket(bucket: S3Store, key: str) -> None:
    with pytest.raises(SourceError, match=f"^s3://shop/{key}: no (such )?object".replace("*", "\\*")):
        resolve(f"s3://shop/{key}")
    with pytest.raises(SourceError, match="no such (object|bucket)"):
        resolve(f"s3://other/{key}")


@pytest.mark.parametrize("key", ["a.jsonl", "*.jsonl"])
def test_no_permission(web: Web, monkeypatch: pytest.MonkeyPatch, bucket: S3Store, key: str) -> None:
    web.files["/shop/a.jsonl"] = File(statuses=[403] * 9)
    web.files["/shop"] = File(statuses=[403] * 9)
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.address)
    with pytest.raises(SourceError) as caught:
        resolve(f"s3://shop/{key}")
    assert "403 Forbidden" in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("gone", [False, True])
def test_an_object_that_changes_or_goes_while_it_is_read(bucket: S3Store, gone: bool) -> None:
    # More than is fetched ahead.
    lines = LINES * 500
    obstore.put(bucket, "a.jsonl", lines)
    (file,) = resolve("s3://shop/a.jsonl")
    with file.open() as stream:
        found = stream.read(1)
        if gone:
            obstore.delete(bucket, "a.jsonl")
        else:
            put(bucket, "a.jsonl")
        with pytest.raises(SourceError, match="no such object" if gone else "changed while it was read"):
            while chunk := stream.read(100_000):
                found += chunk
    assert lines.startswith(found)


def test_plain_http_to_a_store_must_be_allowed(bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(SourceError, match="AWS_ALLOW_HTTP=true"):
        resolve("s3://shop/a.jsonl")


def test_azure_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        resolve("az://shop/a.jsonl")


# -- Pipelines ---------------------------------------------------------------------------------------------------------

PIPELINE = """
from pydantic import BaseModel
from assay import Pipeline, Source, Rows, Parquet, Lookup, Table
class A(BaseModel):
    a: int
class B(BaseModel):
    a: int
    b: str
pipeline = Pipeline("far", source=Source("s3://shop/in/*.jsonl", A),
    steps=[Lookup(Table("s3://shop/table.jsonl", B), on="a")],
    outputs={"rows": Rows(to=Parquet("out/rows"))})
"""


@pytest.fixture
def far(bucket: S3Store, project: Path) -> S3Store:
    (project / "pipelines" / "far.py").write_text(PIPELINE)
    rows = b"".join(b'{"a":%d,"b":"x"}\n' % i for i in range(5_000))
    obstore.put(bucket, "table.jsonl", rows)
    obstore.put(bucket, "in/1.jsonl", LINES + b'{"a":"x"}\n{"a":9999}\n')
    return bucket


def test_a_pipeline_reads_from_afar(far: S3Store) -> None:
    result = document(command("run", "far", "--json"))
    assert result["status"] == "published"
    # The second is rejected by the lookup: its bytes are fetched once more.
    assert result["counts"] == {"read": 5_002, "written": 5_000, "filtered": 0, "rejected": 2}
    rejected = json.loads(command("rejects", "list", "latest", "--json").stdout)["rejects"]
    assert [(one["source"], one["record"]) for one in rejected] == [
        ("s3://shop/in/1.jsonl", 5_000),
        ("s3://shop/in/1.jsonl", 5_001),
    ]
    assert command("check", "far").exit_code == 0


def test_input_from_afar(far: S3Store, web: Web, project: Path) -> None:
    web.files[f"/a.jsonl?sig={CANARY}"] = File(LINES)
    for url, read in ((f"{web.address}/a.jsonl?sig={CANARY}", 5_000), ("s3://shop/in/1.jsonl", 5_002)):
        done = command("run", "far", "--input", url, "--json")
        assert document(done)["counts"]["read"] == read
        shown = command("preview", "far", "--input", url)
        assert shown.exit_code == 0
        assert CANARY not in done.stdout + done.stderr + shown.stdout + shown.stderr
    for path in project.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def test_what_is_not_there_is_said_by_the_command(far: S3Store) -> None:
    obstore.delete(far, ["in/1.jsonl"])
    # An input that is not there yet is told by a check, and is no fault of the definition.
    runs = (("run", "far"), ("run", "far", "--input", "s3://shop/no.jsonl"))
    for arguments, status in ((("check", "far"), 0), *((one, 1) for one in runs)):
        done = command(*arguments)
        assert done.exit_code == status, done.stderr
        assert "s3://shop/" in done.stdout + done.stderr
        assert "no object matches" in done.stdout + done.stderr or "no such object" in done.stderr


def test_a_signature_is_not_shown_with_the_definition(project: Path) -> None:
    signed = f'"https://example.com/a.jsonl?sig={CANARY}"'
    text = PIPELINE.replace('"s3://shop/in/*.jsonl"', signed).replace('"s3://shop/table.jsonl"', signed)
    (project / "pipelines" / "far.py").write_text(text)
    for arguments in (("show", "far"), ("show", "far", "--json")):
        shown = command(*arguments).stdout
        assert "https://example.com/a.jsonl" in shown
        assert CANARY not in shown
    assert CANARY not in assay.load("far")._repr_html_()
