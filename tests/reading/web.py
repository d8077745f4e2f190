"""A web server on this machine that serves files well or badly, as the test says."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import NamedTuple


class Asked(NamedTuple):
    method: str
    range: str | None
    if_match: str | None


@dataclass
class File:
    """How one path answers.

    Attributes:
        statuses: Answered first, one a request.
        refuses: Method -> status.
        cuts: How many answers end after half of what they promise.
        changes: From this GET on it is another version.
        hangs: From this GET on nothing comes after the head of the answer.
        location: Where it sends on to.
        asked: What it was asked.
    """

    data: bytes = b""
    statuses: list[int] = field(default_factory=list)
    refuses: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    length: bool = True
    tag: str | None = '"1"'
    cuts: int = 0
    changes: int | None = None
    hangs: int | None = None
    location: str | None = None
    asked: list[Asked] = field(default_factory=list)

    def version(self) -> tuple[bytes, str | None]:
        """Bytes and tag as they are now."""
        if self.changes is None or self.gets < self.changes:
            return self.data, self.tag
        return b"#" + self.data[1:] + b"#", self.tag and self.tag.replace("1", "2")

    @property
    def gets(self) -> int:
        return sum(asked.method == "GET" for asked in self.asked)


class Web(ThreadingHTTPServer):
    def __init__(self, tls: SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, File] = {}
        self.ending = threading.Event()
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asks may go away, or not trust the certificate."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        files = self.server.files
        file = files.get(self.path, files.get(self.path.partition("?")[0]))
        if file is None:
            self.head(404)
            return
        file.asked.append(Asked(self.command, self.headers["Range"], self.headers["If-Match"]))
        refused = file.statuses.pop(0) if file.statuses else file.refuses.get(self.command)
        if refused:
            self.head(refused)
        elif file.location:
            self.head(302, Location=file.location)
        else:
            self.send(file)

    def send(self, file: File) -> None:
        data, tag = file.version()
        if self.headers["If-Match"] not in (None, tag):
            self.head(412)
            return
        headers = {"ETag": tag} if tag else {}
        status = 200
        if self.headers["Range"] and file.ranges:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            whole = len(data)
            data, status = data[int(first) : int(last) + 1 if last else None], 206
            if not data:
                self.head(416)
                return
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(data) - 1}/{whole}"
        self.close_connection = not file.length
        self.head(status, len(data) if file.length else None, **headers)
        if self.command == "HEAD":
            return
        if file.hangs is not None and file.gets >= file.hangs:
            self.server.ending.wait(60)
            return
        if file.cuts:
            file.cuts -= 1
            self.close_connection = True
            data = data[: len(data) // 2]
        self.wfile.write(data)

    def head(self, status: int, length: int | None = 0, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def serve(tls: SSLContext | None = None) -> Iterator[Web]:
    with Web(tls) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield web
        finally:
            web.ending.set()
            web.shutdown()
            thread.join()


def wait_until_asked(file: File, times: int) -> None:
    begun = time.monotonic()
    while len(file.asked) < times:
        assert time.monotonic() - begun < 30
        time.sleep(0.005)
